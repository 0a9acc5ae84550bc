//! What a nest means: its steps, one element at a time, in f64.
//!
//! The interpreter trusts nothing: a value that is not at hand, an element of a slot or an output that was not written,
//! written twice, or lies outside, and a fold read before its loop has ended are errors. So it judges the order of the
//! steps as well as their results. An index computed from data that is outside its axis reads NaN (an integer: 0), as
//! its element only counts where a `select` drops it.

mod native;
mod number;
mod pairs;
mod parts;

use super::graph::Buffer;
use crate::error::{Error, Result};
use crate::ir::{AxisId, Fold, Id, Input, Op, Point};
use crate::nest::{Columns, Nest, Place, SlotId, Source, Step, TILE};
use ndarray::{ArrayD, IxDyn};
use number::{Number, apply};
use std::collections::HashMap;
use std::ops::Range;

/// Runs a nest: arrays along the outputs' axes, in that order. `inputs` has one buffer per input of its graph. Where axes were
/// collapsed, inputs may have the shapes declared; results have the nest's, with the same elements in the same order.
///
/// # Errors
/// [`Error::Internal`] where a step cannot be done.
pub fn evaluate(nest: &Nest, inputs: &[Buffer]) -> Result<Vec<ArrayD<f64>>> {
    let inputs = shaped(nest, inputs).map_err(|problem| Error::internal("nest", problem))?;
    let mut machine = Machine::new(nest, &inputs);
    machine.body(&nest.body).map_err(|problem| Error::internal("nest", problem))?;
    machine.results().map_err(|problem| Error::internal("nest", problem))
}

/// The inputs in the shapes that they have in the nest.
fn shaped(nest: &Nest, inputs: &[Buffer]) -> Done<Vec<Buffer>> {
    let shaped = |(input, buffer): (&Input, &Buffer)| {
        let shape: Vec<usize> = input.axes.iter().map(|a| nest.extents[a.index()]).collect();
        let reshaped = match buffer {
            Buffer::Float(x) => x.to_shape(shape).map(|x| Buffer::Float(x.into_owned())),
            Buffer::Int(x) => x.to_shape(shape).map(|x| Buffer::Int(x.into_owned())),
        };
        reshaped.map_err(|e| format!("{}: {e}", input.name))
    };
    nest.graph.inputs.iter().zip(inputs).map(shaped).collect()
}

type Done<T = ()> = Result<T, String>;

/// An output's memory. Until an element is stored, a slot may lie there.
struct Output {
    elements: Vec<Option<f64>>,
    stored: Vec<bool>,
}

struct Machine<'n> {
    nest: &'n Nest,
    inputs: &'n [Buffer],
    /// The index along each axis that has one; axes of one element always do.
    at: Vec<Option<usize>>,
    /// The start of the open tile.
    tile: usize,
    /// The axis of the open block, and its indices.
    block: Option<(AxisId, Range<usize>)>,
    /// The same of the open part.
    part: Option<(AxisId, Range<usize>)>,
    scopes: Vec<HashMap<Id, Number>>,
    /// Folds whose loop has not ended: their total, or the slot that has it.
    running: HashMap<Id, Total>,
    slots: Vec<Vec<Option<f64>>>,
    outputs: Vec<Output>,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Total {
    Value(f64),
    Slot(SlotId),
}

impl<'n> Machine<'n> {
    fn new(nest: &'n Nest, inputs: &'n [Buffer]) -> Self {
        let count = |axes: &[AxisId]| axes.iter().map(|a| nest.extents[a.index()]).product::<usize>();
        let slots = nest.slots.iter().enumerate().map(|(index, slot)| match slot.place {
            Place::Tile => vec![None; TILE],
            Place::Row | Place::Sums => vec![None; slot.axes.iter().map(|&a| nest.slot_extent(index, a)).product()],
            Place::Output(_) => vec![],
        });
        let outputs = nest.graph.outputs.iter().map(|o| {
            let size = count(&o.axes);
            Output { elements: vec![None; size], stored: vec![false; size] }
        });
        let (slots, outputs) = (slots.collect(), outputs.collect());
        let at = nest.extents.iter().map(|&size| (size == 1).then_some(0)).collect();
        Self {
            nest,
            inputs,
            at,
            tile: 0,
            block: None,
            part: None,
            scopes: vec![HashMap::new()],
            running: HashMap::new(),
            slots,
            outputs,
        }
    }

    fn results(self) -> Done<Vec<ArrayD<f64>>> {
        let mut results = vec![];
        for (output, memory) in self.nest.graph.outputs.iter().zip(self.outputs) {
            if memory.stored.iter().any(|stored| !stored) {
                return Err(format!("an element of {} is not stored", output.name));
            }
            let shape: Vec<usize> = output.axes.iter().map(|a| self.nest.extents[a.index()]).collect();
            let elements = memory.elements.into_iter().flatten().collect();
            results.push(ArrayD::from_shape_vec(IxDyn(&shape), elements).map_err(|e| e.to_string())?);
        }
        Ok(results)
    }

    fn body(&mut self, body: &[Step]) -> Done {
        body.iter().try_for_each(|step| self.step(step))
    }

    fn step(&mut self, step: &Step) -> Done {
        match step {
            Step::Loop { axis, body } => self.run_loop(*axis, body),
            Step::Tile { axis, body } => self.run_tiles(*axis, body),
            Step::Block { axis, size, body } => self.run_blocks(*axis, *size, body),
            Step::Part { axis, size, body } => self.run_parts(*axis, *size, body),
            Step::Pairs { fold, weight, into } => self.pairs(*fold, *weight, *into),
            Step::Lanes { .. } | Step::Call { .. } => Err("lanes outside a tile".into()),
            Step::Native { loss, grad } => self.native(*loss, *grad),
            Step::Let(value) => {
                let number = self.compute(*value, None)?;
                self.define(*value, number)
            }
            Step::Start { fold, slot } => self.start(*fold, *slot),
            Step::Fold { fold, slot } => {
                let (_, _, body) = self.nest.graph.as_fold(*fold).ok_or("a fold that is none")?;
                let value = self.get(body)?.float()?;
                self.fold(*fold, *slot, value)
            }
            Step::Keep { value, slot } => {
                let number = self.get(*value)?.float()?;
                *self.element(*slot)? = Some(number);
                Ok(())
            }
            Step::Load { value, slot } => {
                let number = self.load(*slot)?;
                self.define(*value, Number::Float(number))
            }
            Step::Store { output } => {
                let value = self.nest.graph.outputs.get(*output).ok_or("a store without an output")?.value;
                let (number, place) = (self.get(value)?.float()?, self.output_place(*output)?);
                let memory = &mut self.outputs[*output];
                if std::mem::replace(&mut memory.stored[place], true) {
                    return Err(format!("output {output} is stored twice"));
                }
                memory.elements[place] = Some(number);
                Ok(())
            }
        }
    }

    fn run_loop(&mut self, axis: AxisId, body: &[Step]) -> Done {
        for index in self.open(axis)? {
            self.inside(axis, index, |m| m.body(body))?;
        }
        self.close(axis)
    }

    fn run_tiles(&mut self, axis: AxisId, body: &[Step]) -> Done {
        let range = self.open(axis)?;
        let size = range.end;
        for start in range.step_by(TILE) {
            self.tile = start;
            for slot in 0..self.slots.len() {
                if self.nest.slots[slot].place == Place::Tile {
                    self.slots[slot].fill(None);
                }
            }
            for step in body {
                for index in start..size.min(start + TILE) {
                    self.inside(axis, index, |m| match step {
                        Step::Lanes { body } => m.body(body),
                        Step::Call { value, from, into, sum, columns } => m.call(*value, *from, *into, *sum, *columns),
                        _ => Err("a tile holds more than lanes and calls".into()),
                    })?;
                }
            }
        }
        self.close(axis)
    }

    /// The indices of an axis that is about to have a loop.
    fn open(&self, axis: AxisId) -> Done<Range<usize>> {
        match self.nest.extents[axis.index()] {
            size if size == 1 || self.at[axis.index()].is_none() => Ok(self.range(axis)),
            _ => Err("an axis has a loop inside its loop".into()),
        }
    }

    fn inside(&mut self, axis: AxisId, index: usize, run: impl FnOnce(&mut Self) -> Done) -> Done {
        let outside = self.at[axis.index()].replace(index);
        self.scopes.push(HashMap::new());
        run(self)?;
        self.scopes.pop();
        self.at[axis.index()] = outside;
        Ok(())
    }

    /// The folds along an axis end with its loop.
    fn close(&mut self, axis: AxisId) -> Done {
        if self.block.as_ref().is_some_and(|(block, _)| *block == axis) {
            return Ok(()); // the blocks go on
        }
        let along = |fold: &Id| self.nest.graph.as_fold(*fold).is_some_and(|(_, bound, _)| bound == axis);
        let ended: Vec<Id> = self.running.keys().copied().filter(along).collect();
        for fold in ended {
            if let Some(Total::Value(total)) = self.running.remove(&fold) {
                self.define(fold, Number::Float(total))?;
            }
        }
        Ok(())
    }

    fn start(&mut self, fold: Id, slot: Option<SlotId>) -> Done {
        let (kind, ..) = self.nest.graph.as_fold(fold).ok_or("a fold that is none")?;
        let neutral = match kind {
            Fold::Sum => 0.0,
            Fold::Amax => f64::NEG_INFINITY,
            Fold::Lse => return Err("a log-sum-exp was not expanded".into()),
        };
        let total = match slot {
            None => Total::Value(neutral),
            Some(slot) => {
                let found = self.nest.slots.get(slot).ok_or("a slot that is none")?;
                if matches!(found.place, Place::Output(_) | Place::Tile) {
                    return Err("a fold in memory that is not its own".into());
                }
                self.fill(slot, &found.axes, 0, neutral)?;
                Total::Slot(slot)
            }
        };
        self.running.insert(fold, total).map_or(Ok(()), |_| Err(format!("fold %{fold} starts twice")))
    }

    /// Fills the elements of a slot at the indices of the open loops and the open block; `place` is where those of the outer axes begin.
    fn fill(&mut self, slot: SlotId, axes: &[AxisId], place: usize, value: f64) -> Done {
        let Some((axis, inner)) = axes.split_first() else {
            let element = self.slots[slot].get_mut(place).ok_or("an element outside its slot")?;
            *element = Some(value);
            return Ok(());
        };
        let size = self.nest.slot_extent(slot, *axis);
        let first = if self.nest.slots[slot].block { self.range(*axis).start } else { 0 };
        let range = match self.at[axis.index()] {
            Some(index) => index - first..index - first + 1,
            // Of a slot that outlives the block, the other blocks' elements stay.
            None if !self.nest.slots[slot].block => self.range(*axis),
            None => 0..size,
        };
        range.into_iter().try_for_each(|index| self.fill(slot, inner, place * size + index, value))
    }

    fn fold(&mut self, fold: Id, slot: Option<SlotId>, value: f64) -> Done {
        let (kind, ..) = self.nest.graph.as_fold(fold).ok_or("a fold that is none")?;
        let join = |total: f64| if kind == Fold::Sum { total + value } else { number::max(total, value) };
        match (self.running.get_mut(&fold), slot) {
            (Some(Total::Value(total)), None) => *total = join(*total),
            (Some(&mut Total::Slot(known)), Some(slot)) if known == slot => {
                let element = self.element(slot)?;
                *element = Some(join(element.ok_or("a fold into nothing")?));
            }
            _ => return Err(format!("fold %{fold} has not started")),
        }
        Ok(())
    }

    /// One element of a call over a tile.
    fn call(
        &mut self,
        value: Id,
        from: Source,
        into: Option<SlotId>,
        sum: Option<Id>,
        columns: Option<Columns>,
    ) -> Done {
        let given = match from {
            Source::Slot { slot, .. } => Number::Float(self.load(slot)?),
            Source::Read(read) => self.compute(read, None)?,
        };
        let &[arg] = &self.nest.graph.node(value).args[..] else { return Err("a call of more than one value".into()) };
        let argument = match columns {
            Some(c) => apply(Point::Sub, &[given, Number::Float(self.load(c.less_slot)?)])?,
            None if arg == from.value() => given,
            None => self.compute(arg, Some((from.value(), given)))?,
        };
        let result = self.compute(value, Some((arg, argument)))?.float()?;
        if let Some(slot) = into {
            *self.element(slot)? = Some(result);
        }
        if let Some(c) = columns {
            self.fold(c.fold, Some(c.sums), result)?;
        }
        sum.map_or(Ok(()), |fold| self.fold(fold, None, result))
    }

    /// A value from its arguments, one of which may be given.
    fn compute(&self, value: Id, given: Option<(Id, Number)>) -> Done<Number> {
        let graph = &self.nest.graph;
        let argument = |id: Id| match given {
            Some((known, number)) if known == id => Ok(number),
            _ => self.get(id),
        };
        match graph.op(value) {
            Op::Read => self.read(value),
            Op::Point(point) => {
                let args = graph.node(value).args.iter().map(|&a| argument(a)).collect::<Done<Vec<_>>>()?;
                apply(point, &args)
            }
            op => Err(format!("{op} has no instruction")),
        }
    }

    fn read(&self, read: Id) -> Done<Number> {
        let (input, indices) = self.nest.graph.as_read(read).ok_or("a read of no buffer")?;
        let buffer = self.inputs.get(input.index()).ok_or("a buffer is missing")?;
        let mut place = Some(vec![]);
        for (&index, &extent) in indices.iter().zip(buffer.shape()) {
            let found = usize::try_from(self.get(index)?.int()?).ok().filter(|&i| i < extent);
            match (self.nest.graph.op(index), found, &mut place) {
                (Op::Axis(_), None, _) => return Err("an axis runs outside a buffer".into()),
                (_, Some(i), Some(place)) => place.push(i),
                _ => place = None,
            }
        }
        Ok(match (buffer, place) {
            (Buffer::Float(x), Some(place)) => Number::Float(x[&place[..]]),
            (Buffer::Int(x), Some(place)) => Number::Int(x[&place[..]]),
            (Buffer::Float(_), None) => Number::Float(f64::NAN),
            (Buffer::Int(_), None) => Number::Int(0),
        })
    }

    fn define(&mut self, value: Id, number: Number) -> Done {
        self.scopes.last_mut().ok_or("no scope")?.insert(value, number);
        Ok(())
    }

    fn get(&self, id: Id) -> Done<Number> {
        match self.nest.graph.op(id) {
            Op::Axis(axis) => {
                let index = self.at[axis.index()].ok_or("an index outside its loop")?;
                Ok(Number::Int(index as i64))
            }
            Op::Float(x) => Ok(Number::Float(x.get())),
            Op::Int(i) => Ok(Number::Int(i)),
            _ => {
                let found = self.scopes.iter().rev().find_map(|scope| scope.get(&id).copied());
                found.ok_or_else(|| format!("%{id} is not there yet"))
            }
        }
    }

    fn output_place(&self, output: usize) -> Done<usize> {
        self.place(&self.nest.graph.outputs[output].axes)
    }

    /// Where the element at the open loops' indices lies, row-major along some axes.
    fn place(&self, axes: &[AxisId]) -> Done<usize> {
        axes.iter().try_fold(0, |place, axis| {
            let index = self.at[axis.index()].ok_or("memory along an axis outside its loop")?;
            Ok(place * self.nest.extents[axis.index()] + index)
        })
    }

    /// The memory of a slot's element at the open loops' indices.
    fn element(&mut self, slot: SlotId) -> Done<&mut Option<f64>> {
        let found = self.nest.slots.get(slot).ok_or("a slot that is none")?;
        let place = match found.place {
            Place::Tile => {
                let &[axis] = &found.axes[..] else { return Err("a tile of more than one axis".into()) };
                let index = self.at[axis.index()].ok_or("a tile outside its loop")?;
                index.checked_sub(self.tile).filter(|&lane| lane < TILE).ok_or("a lane outside its tile")?
            }
            Place::Row | Place::Sums if found.block => self.place_in_block(slot)?,
            Place::Row | Place::Sums => self.place(&found.axes)?,
            Place::Output(output) => {
                let place = self.output_place(output)?;
                let memory = &mut self.outputs[output];
                if memory.stored[place] {
                    return Err(format!("output {output} is used as a slot after it is stored"));
                }
                return Ok(&mut memory.elements[place]);
            }
        };
        self.slots[slot].get_mut(place).ok_or_else(|| "an element outside its slot".into())
    }

    fn load(&mut self, slot: SlotId) -> Done<f64> {
        if self.running.values().any(|&total| total == Total::Slot(slot)) {
            return Err("a fold is read before its loop has ended".into());
        }
        self.element(slot)?.ok_or_else(|| "an element of a slot is read before it is written".into())
    }
}
