//! The checker: shows of a nest, without regard to how it was made, that every value is there when it is used, every
//! index is within its buffer, every output is stored once for each of its elements, and slots are filled before they
//! are loaded. It runs before any machine code is made from a nest.
//!
//! What runs over many elements at a time, lanes and calls, takes them from neighbouring memory: that it is so depends on
//! the layout, and is shown here too. Indices computed from data are not known here; the machine code holds them within
//! the buffer itself and reports those that were outside.

mod blocks;
mod calls;
mod parts;

use super::{Layout, Nest, Place, SlotId, Step};
use crate::error::{Error, Result};
use crate::ir::{AxisId, AxisSet, Fold, Id, Kind, Native, Op, Work};
use std::collections::{HashMap, HashSet};

/// What holds whatever the layout of the buffers.
///
/// # Errors
/// The nest would not keep to its order or its memory: a fault of what made it.
pub fn check(nest: &Nest) -> Result<()> {
    verify(nest, None)
}

/// All that machine code for buffers laid out so relies on.
///
/// # Errors
/// As [`check`]; besides, what runs over lanes would not find them in memory.
pub fn check_on(nest: &Nest, layout: &Layout) -> Result<()> {
    verify(nest, Some(layout))
}

fn verify(nest: &Nest, layout: Option<&Layout>) -> Result<()> {
    crate::ir::check(&nest.graph)?;
    let mut checker = Checker {
        nest,
        layout,
        bound: vec![],
        lanes: None,
        block: None,
        scopes: vec![Scope::default()],
        running: HashMap::new(),
        stored: HashSet::new(),
    };
    checker
        .shapes()
        .and_then(|()| checker.strides())
        .and_then(|()| checker.body(&nest.body))
        .and_then(|()| ensure(!nest.is_written_by_all(), || "every thread writes to an output".into()))
        .map_err(|problem| Error::internal("nest", problem))?;
    match nest.graph.outputs.iter().enumerate().find(|(i, _)| !checker.stored.contains(i)) {
        Some((_, output)) => Err(Error::internal("nest", format!("output {} is never stored", output.name))),
        None => Ok(()),
    }
}

/// Bytes of the widest element.
const LARGEST_ELEMENT: isize = 8;

#[derive(Default)]
struct Scope {
    values: HashSet<Id>,
    filled: HashSet<SlotId>,
}

struct Checker<'n> {
    nest: &'n Nest,
    layout: Option<&'n Layout>,
    /// The axes whose loops are open.
    bound: Vec<AxisId>,
    /// The axis of the tile, inside one; whether inside lanes.
    lanes: Option<(AxisId, bool)>,
    /// The axis of the open block, and the slots of sums that end with the last block.
    block: Option<(AxisId, Vec<SlotId>)>,
    scopes: Vec<Scope>,
    running: HashMap<Id, Option<SlotId>>,
    stored: HashSet<usize>,
}

type Checked = Result<(), String>;

fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(problem()) }
}

impl Checker<'_> {
    fn shapes(&self) -> Checked {
        ensure(self.nest.extents.len() == self.nest.graph.axes.len(), || "an axis has no extent".into())?;
        for slot in &self.nest.slots {
            let axes: AxisSet = slot.axes.iter().copied().collect();
            ensure(axes.len() == slot.axes.len(), || "a slot has an axis twice".into())?;
            ensure(axes.is_subset(self.nest.graph.ty(slot.value).axes) || slot.place == Place::Tile, || {
                format!("the slot of %{} has axes that its value lacks", slot.value)
            })?;
            ensure(self.nest.graph.ty(slot.value).kind == Kind::Float, || {
                format!("the slot of %{} holds no floats", slot.value)
            })?;
            let block = self.nest.block().map(|(axis, _)| axis);
            let scratch = matches!(slot.place, Place::Row | Place::Sums);
            ensure(!slot.block || scratch && block.is_some_and(|a| axes.contains(a)), || {
                "block scratch without the axis of the blocks".into()
            })?;
            if let Place::Output(output) = slot.place {
                let found = self.nest.graph.outputs.get(output).ok_or("a slot in an output that is none")?;
                let dims: AxisSet = found.axes.iter().copied().collect();
                ensure(self.nest.graph.ty(slot.value).axes.is_subset(dims), || {
                    "a slot is wider than its output".into()
                })?;
                let narrow = self.layout.is_some_and(|layout| layout.narrow.iter().any(|(o, _)| *o == output));
                ensure(!narrow, || "a slot in an output that is stored in fewer bits".into())?;
            }
        }
        Ok(())
    }

    /// Whether every buffer has its strides, and no element an address that does not fit into a word.
    fn strides(&self) -> Checked {
        let Some(layout) = self.layout else { return Ok(()) };
        let (inputs, outputs) = (&self.nest.graph.inputs, &self.nest.graph.outputs);
        let buffers = self.nest.graph.buffers();
        let strides = layout.inputs.iter().chain(&layout.outputs);
        let counts = (layout.inputs.len(), layout.outputs.len()) == (inputs.len(), outputs.len());
        ensure(counts && buffers.clone().zip(strides.clone()).all(|(a, s)| a.len() == s.len()), || {
            "a buffer has no stride along an axis".into()
        })?;
        let addressable = |(axes, strides): (&Vec<AxisId>, &Vec<isize>)| {
            axes.iter().zip(strides).try_fold(0isize, |reach, (axis, &stride)| {
                let last = isize::try_from(self.nest.extents[axis.index()].max(1) - 1).ok()?;
                let bytes = stride.checked_mul(LARGEST_ELEMENT)?.checked_abs()?;
                bytes.checked_mul(last)?.checked_add(reach)
            })
        };
        ensure(buffers.zip(strides).all(|b| addressable(b).is_some()), || {
            "a buffer reaches beyond the address space".into()
        })
    }

    fn body(&mut self, body: &[Step]) -> Checked {
        body.iter().try_for_each(|step| self.step(step))
    }

    fn step(&mut self, step: &Step) -> Checked {
        let graph = &self.nest.graph;
        match step {
            Step::Loop { axis, body } => self.inside(*axis, None, body),
            Step::Block { axis, size, body } => self.blocks(*axis, *size, body),
            Step::Part { axis, size, body } => self.part(*axis, *size, body),
            Step::Pairs { fold, weight, into } => self.pairs(*fold, *weight, *into),
            Step::Tile { axis, body } => {
                let fits = |s: &Step| matches!(s, Step::Lanes { .. } | Step::Call { .. });
                ensure(body.iter().all(fits), || "a tile holds more than lanes and calls".into())?;
                self.inside(*axis, Some((*axis, false)), body)
            }
            Step::Lanes { body } => {
                let Some((axis, false)) = self.lanes else { return Err("lanes outside a tile".into()) };
                let straight = |s: &Step| {
                    !matches!(
                        s,
                        Step::Loop { .. }
                            | Step::Tile { .. }
                            | Step::Lanes { .. }
                            | Step::Call { .. }
                            | Step::Start { .. }
                            | Step::Native { .. }
                            | Step::Block { .. }
                            | Step::Part { .. }
                            | Step::Pairs { .. }
                    )
                };
                ensure(body.iter().all(straight), || "lanes are not straight".into())?;
                self.lanes = Some((axis, true));
                self.scopes.push(Scope::default());
                self.body(body)?;
                let ended = self.scopes.pop().expect("pushed above");
                self.scope().filled.extend(ended.filled);
                self.lanes = Some((axis, false));
                Ok(())
            }
            Step::Let(value) => {
                self.computable(*value)?;
                self.scope().values.insert(*value);
                Ok(())
            }
            Step::Start { fold, slot } => {
                ensure(matches!(graph.as_fold(*fold), Some((Fold::Sum | Fold::Amax, ..))), || {
                    format!("%{fold} is no loop's fold")
                })?;
                let open = graph.ty(*fold).axes.minus(self.bound());
                ensure(slot.is_some() || open.is_empty(), || {
                    format!("fold %{fold} varies inside its loop, without a slot")
                })?;
                if let Some(slot) = slot {
                    self.slot_of(*slot, *fold)?;
                    let is_sum = matches!(graph.as_fold(*fold), Some((Fold::Sum, ..)));
                    let own = if is_sum { Place::Sums } else { Place::Row };
                    ensure(self.nest.slots[*slot].place == own, || format!("fold %{fold} is in the wrong place"))?;
                }
                let blocked = slot.is_some_and(|slot| self.nest.slots[slot].block);
                ensure(!blocked || self.block.is_some(), || "block scratch outside its block".into())?;
                let bound = graph.as_fold(*fold).map(|(_, bound, _)| bound);
                ensure(self.block.as_ref().is_none_or(|(block, _)| Some(*block) != bound), || {
                    format!("fold %{fold} would start again with every block")
                })?;
                ensure(self.running.insert(*fold, *slot).is_none(), || format!("fold %{fold} starts twice"))
            }
            Step::Fold { fold, slot } => {
                let (_, axis, value) = graph.as_fold(*fold).ok_or("a fold that is none")?;
                ensure(self.running.get(fold) == Some(slot), || format!("fold %{fold} has not started"))?;
                ensure(self.bound().contains(axis), || format!("fold %{fold} is outside its loop"))?;
                if let Some(slot) = slot {
                    self.indexable(*slot)?;
                    let axes = &self.nest.slots[*slot].axes;
                    ensure(self.lanes.is_none_or(|(lane, _)| axes.contains(&lane)), || {
                        format!("the lanes of fold %{fold} share one element of its slot")
                    })?;
                }
                self.available(value)
            }
            Step::Call { value, from, into, sum, columns } => self.call(*value, *from, *into, *sum, *columns),
            Step::Keep { value, slot } => {
                self.available(*value)?;
                self.slot_of(*slot, *value)?;
                self.indexable(*slot)?;
                let (found, axes) = (&self.nest.slots[*slot], graph.ty(*value).axes);
                let is_sum = matches!(graph.as_fold(*value), Some((Fold::Sum, ..))) && self.lanes.is_none();
                ensure(found.place != Place::Sums || is_sum, || format!("%{value} is kept among sums"))?;
                let shared = |lane: AxisId| axes.contains(lane) && !found.axes.contains(&lane);
                ensure(!self.lanes.is_some_and(|(lane, _)| shared(lane)), || {
                    format!("the lanes of %{value} share one element of its slot")
                })?;
                self.fill(*slot);
                Ok(())
            }
            Step::Load { value, slot } => {
                self.slot_of(*slot, *value)?;
                self.indexable(*slot)?;
                ensure(self.scopes.iter().any(|s| s.filled.contains(slot)), || {
                    format!("the slot of %{value} is empty")
                })?;
                self.scope().values.insert(*value);
                Ok(())
            }
            Step::Native { loss, grad } => self.native(*loss, *grad),
            Step::Store { output } => {
                let found = graph.outputs.get(*output).ok_or("a store without an output")?;
                self.available(found.value)?;
                let long: AxisSet = found.axes.iter().copied().filter(|a| self.nest.extents[a.index()] != 1).collect();
                ensure(long == self.bound(), || format!("{} is stored in the wrong loops", found.name))?;
                ensure(self.stored.insert(*output), || format!("{} is stored twice", found.name))
            }
        }
    }

    /// A native kernel reads planes of its own axes, and writes a plane of an output for every row.
    fn native(&mut self, loss: Option<Id>, grad: Option<usize>) -> Checked {
        let graph = &self.nest.graph;
        ensure(self.lanes.is_none(), || "a native kernel inside a tile".into())?;
        let written = grad.map(|output| graph.outputs.get(output).ok_or("a gradient without an output")).transpose()?;
        let of_kind = |id: Id, kind: Native| graph.as_native(id).filter(|(found, ..)| *found == kind);
        let loss_parts = loss.map(|id| of_kind(id, Native::Ctc).ok_or("a native loss that is none")).transpose()?;
        let grad_parts =
            written.map(|o| of_kind(o.value, Native::CtcGrad).ok_or("a native gradient that is none")).transpose()?;
        let (_, axes, args) = loss_parts.or(grad_parts).ok_or("a native kernel for nothing")?;
        let plane: AxisSet = axes.into_iter().collect();
        ensure(plane.len() == axes.len() && self.bound().intersection(plane).is_empty(), || {
            "a native kernel inside a loop over its own axes".into()
        })?;
        for parts in [loss_parts, grad_parts].into_iter().flatten() {
            ensure(parts.2[..Native::BOUND.end] == args[..Native::BOUND.end], || "two native kernels in one".into())?;
            super::native_numbers(parts.2).iter().try_for_each(|&number| self.available(number))?;
        }
        let plain = |read: Id| {
            let indices = graph.as_read(read).map_or(&[][..], |(_, indices)| indices);
            indices.iter().all(|&i| matches!(graph.op(i), Op::Axis(_) | Op::Int(_)))
        };
        ensure(plain(args[3]) && plain(args[4]), || "a native kernel reads by a computed index".into())?;
        let open = self.bound.len();
        self.bound.extend(axes);
        let reads = self.readable(args[3]).and_then(|()| self.readable(args[4]));
        self.bound.truncate(open);
        reads?;
        if let (Some(written), Some(output)) = (written, grad) {
            let long = |a: &AxisId| self.nest.extents[a.index()] != 1;
            let dims: AxisSet = written.axes.iter().copied().filter(long).collect();
            let [t, c, _] = axes;
            let whole: AxisSet = self.bound().iter().chain([t, c].into_iter().filter(long)).collect();
            ensure(dims == whole && [t, c].iter().all(|a| written.axes.contains(a)), || {
                format!("{} is written in the wrong loops", written.name)
            })?;
            ensure(self.stored.insert(output), || format!("{} is stored twice", written.name))?;
        }
        if let Some(loss) = loss {
            self.scope().values.insert(loss);
        }
        Ok(())
    }

    fn inside(&mut self, axis: AxisId, lanes: Option<(AxisId, bool)>, body: &[Step]) -> Checked {
        ensure(self.lanes.is_none(), || "a loop inside a tile".into())?;
        ensure(!self.bound.contains(&axis), || "an axis has a loop inside its loop".into())?;
        self.bound.push(axis);
        self.lanes = lanes;
        self.scopes.push(Scope::default());
        self.body(body)?;
        let ended = self.scopes.pop().expect("pushed above");
        self.lanes = None;
        self.bound.pop();
        // What was put into slots along the axis is there for all of it; tile scratch ends with the tile.
        let lasting = ended.filled.into_iter().filter(|&s| self.nest.slots[s].place != Place::Tile);
        let lasting: Vec<_> = lasting.collect();
        self.scope().filled.extend(lasting);
        if self.block.as_ref().is_some_and(|(block, _)| *block == axis) {
            return Ok(()); // the blocks go on
        }
        self.finish(axis);
        Ok(())
    }

    /// The folds along an axis end.
    fn finish(&mut self, axis: AxisId) {
        let along = |fold: &Id| self.nest.graph.as_fold(*fold).is_some_and(|(_, bound, _)| bound == axis);
        let finished: Vec<_> = self.running.iter().map(|(f, s)| (*f, *s)).filter(|(f, _)| along(f)).collect();
        for (fold, slot) in finished {
            self.running.remove(&fold);
            match slot {
                Some(slot) => self.fill(slot),
                None => {
                    self.scope().values.insert(fold);
                }
            }
        }
    }

    fn scope(&mut self) -> &mut Scope {
        self.scopes.last_mut().expect("the outermost")
    }

    fn fill(&mut self, slot: SlotId) {
        self.scope().filled.insert(slot);
    }

    fn bound(&self) -> AxisSet {
        self.bound.iter().copied().collect()
    }

    fn available(&self, value: Id) -> Checked {
        let there = match self.nest.graph.op(value) {
            Op::Axis(axis) => self.bound().contains(axis) && self.lanes.is_none_or(|(a, inside)| a != axis || inside),
            Op::Float(_) | Op::Int(_) => true,
            Op::Input(_) => false,
            _ => self.scopes.iter().any(|s| s.values.contains(&value)),
        };
        ensure(there, || format!("%{value} is not there yet"))
    }

    /// Whether a value has an instruction and its arguments are there.
    fn computable(&self, value: Id) -> Checked {
        let graph = &self.nest.graph;
        match graph.op(value) {
            Op::Read => self.readable(value),
            Op::Point(point) => {
                ensure(point.work() != Work::Composite, || format!("{} was not expanded", point.name()))?;
                ensure(!(point.is_math() && self.lanes.is_some()), || format!("{} inside lanes", point.name()))?;
                graph.node(value).args.iter().try_for_each(|&a| self.available(a))
            }
            op => Err(format!("{op} has no instruction")),
        }
    }

    /// Whether every index of a read is there and, where it is an axis, within the buffer.
    fn readable(&self, value: Id) -> Checked {
        let graph = &self.nest.graph;
        let (input, indices) = graph.as_read(value).ok_or("a read of no buffer")?;
        for (&index, dim) in indices.iter().zip(&graph.input(input).axes) {
            self.available(index)?;
            let extent = self.nest.extents[dim.index()];
            let within = match graph.op(index) {
                Op::Axis(axis) => self.nest.extents[axis.index()] <= extent,
                Op::Int(i) => usize::try_from(i).is_ok_and(|i| i < extent) || self.runs_never(),
                _ => true,
            };
            ensure(within, || format!("an index of {} is outside it", graph.input(input).name))?;
        }
        Ok(())
    }

    /// Whether an open loop has no iterations.
    fn runs_never(&self) -> bool {
        self.bound.iter().any(|a| self.nest.extents[a.index()] == 0)
    }

    fn slot_of(&self, slot: SlotId, value: Id) -> Checked {
        let found = self.nest.slots.get(slot).ok_or("a slot that is none")?;
        ensure(found.value == value, || format!("the slot of %{} is used for %{value}", found.value))
    }

    /// Whether the lanes of a slot are neighbours in memory.
    fn in_lanes(&self, slot: SlotId, lane: AxisId) -> Checked {
        let found = &self.nest.slots[slot];
        let neighbours = match found.place {
            Place::Output(output) => {
                let steps_by_one = |layout: &Layout| {
                    let mut dims = self.nest.graph.outputs[output].axes.iter().zip(&layout.outputs[output]);
                    dims.any(|(&axis, &stride)| axis == lane && stride == 1)
                };
                self.layout.is_none_or(steps_by_one)
            }
            _ => found.axes.last() == Some(&lane),
        };
        ensure(neighbours, || format!("the slot of %{} lies across lanes", found.value))
    }

    /// Whether the loops give every index of a slot.
    fn indexable(&self, slot: SlotId) -> Checked {
        let found = &self.nest.slots[slot];
        let in_tile = self.lanes.is_some_and(|(axis, _)| found.axes == [axis]);
        ensure(found.place != Place::Tile || in_tile, || "tile scratch outside its tile".into())?;
        let mut axes: AxisSet = found.axes.iter().copied().collect();
        if let Place::Output(output) = found.place {
            axes = self.nest.graph.outputs[output]
                .axes
                .iter()
                .copied()
                .filter(|a| self.nest.extents[a.index()] != 1)
                .collect();
            ensure(!self.stored.contains(&output), || format!("the slot of %{} is overwritten", found.value))?;
        }
        ensure(!found.block || self.block.is_some(), || "block scratch outside its block".into())?;
        ensure(axes.is_subset(self.bound()), || format!("the slot of %{} lacks an index", found.value))?;
        match self.lanes {
            Some((lane, _)) if axes.contains(lane) => self.in_lanes(slot, lane),
            _ => Ok(()),
        }
    }
}
