//! Tile: the innermost loop, cut into tiles and its body into segments at the elementary functions.
//!
//! Within a tile, a segment's arithmetic runs in lanes, then its elementary functions are called, each for the whole
//! tile; the next segment takes their results from slots. An argument that is affine in unit-stride memory goes to the
//! function as it lies; a sum of a function's results is taken by the function.

use super::{Columns, Layout, Place, Slot, SlotId, Source, Step};
use crate::ir::{AxisId, Fold, Graph, Id, Kind, Op, Point, Work};
use std::collections::{HashMap, HashSet};

/// A float that costs more flops than this goes to a later segment by a slot; other values are computed again.
const CHEAP: u32 = 6;

/// The tiled form of a loop whose body is straight.
/// `block` says that the loop runs over one block of its axis.
pub fn tile(graph: &Graph, layout: &Layout, slots: &mut Vec<Slot>, axis: AxisId, block: bool, body: Vec<Step>) -> Step {
    let lets = body.iter().filter_map(|s| if let Step::Let(v) = s { Some(*v) } else { None }).collect();
    let loads =
        body.iter().filter_map(|s| if let Step::Load { value, slot } = s { Some((*value, *slot)) } else { None });
    let loads = loads.collect();
    let slot_folds = body.iter().filter_map(|s| match s {
        Step::Fold { fold, slot: Some(slot) } => Some((*fold, *slot)),
        _ => None,
    });
    let slot_folds = slot_folds.collect();
    let mut cut = Cut {
        graph,
        layout,
        slots,
        axis,
        block,
        lets,
        loads,
        segment: HashMap::new(),
        lanes: vec![],
        calls: vec![],
        spilt: HashMap::new(),
        done: HashSet::new(),
        slot_folds,
        columns: HashSet::new(),
    };
    cut.segments(&body);
    cut.fill(&body);
    let mut steps = vec![];
    for (lanes, calls) in cut.lanes.into_iter().zip(cut.calls) {
        if !lanes.is_empty() {
            steps.push(Step::Lanes { body: lanes });
        }
        steps.extend(calls);
    }
    Step::Tile { axis, body: steps }
}

struct Cut<'a> {
    graph: &'a Graph,
    layout: &'a Layout,
    slots: &'a mut Vec<Slot>,
    axis: AxisId,
    block: bool,
    /// Values computed in the loop.
    lets: HashSet<Id>,
    /// Values that the loop gets from slots.
    loads: HashMap<Id, SlotId>,
    /// The first segment in which a value is there.
    segment: HashMap<Id, usize>,
    lanes: Vec<Vec<Step>>,
    calls: Vec<Vec<Step>>,
    /// The slots by which values go from segment to segment.
    spilt: HashMap<Id, SlotId>,
    /// Which segments have which values.
    done: HashSet<(usize, Id)>,
    /// The folds of the loop that have slots, and those that calls take care of.
    slot_folds: Vec<(Id, SlotId)>,
    columns: HashSet<Id>,
}

impl Cut<'_> {
    fn is_math(&self, value: Id) -> bool {
        self.graph.as_point(value).is_some_and(|(p, _)| p.is_math())
    }

    fn segments(&mut self, body: &[Step]) {
        for step in body {
            if let Step::Let(value) = *step {
                let args = self.graph.node(value).args.iter();
                let after = args.filter_map(|a| self.segment.get(a)).copied().max().unwrap_or(0);
                self.segment.insert(value, after + usize::from(self.is_math(value)));
            }
        }
        let count = self.segment.values().copied().max().unwrap_or(0) + 1;
        self.lanes = vec![vec![]; count];
        self.calls = vec![vec![]; count];
    }

    fn at(&self, value: Id) -> usize {
        self.segment.get(&value).copied().unwrap_or(0)
    }

    /// Stores go last in their segment: a slot may lie in the buffer that they write.
    fn fill(&mut self, body: &[Step]) {
        let keeps: HashMap<Id, SlotId> = body
            .iter()
            .filter_map(|s| if let Step::Keep { value, slot } = s { Some((*value, *slot)) } else { None })
            .collect();
        let mut sums: HashMap<Id, Id> = HashMap::new();
        for step in body {
            if let Step::Fold { fold, slot: None } = *step
                && let Some((Fold::Sum, _, summed)) = self.graph.as_fold(fold)
                && self.lets.contains(&summed)
                && self.is_math(summed)
            {
                sums.entry(summed).or_insert(fold);
            }
        }
        for step in body {
            match *step {
                Step::Let(value) if self.is_math(value) => self.call(value, &keeps, sums.get(&value).copied()),
                Step::Keep { value, slot } if !(self.is_math(value) && self.lets.contains(&value)) => {
                    let at = self.at(value);
                    self.need(value, at);
                    self.lanes[at].push(Step::Keep { value, slot });
                }
                Step::Fold { fold, slot } => {
                    let (_, _, value) = self.graph.as_fold(fold).expect("a fold");
                    if sums.get(&value) != Some(&fold) && !self.columns.contains(&fold) {
                        let at = self.at(value);
                        self.need(value, at);
                        self.lanes[at].push(Step::Fold { fold, slot });
                    }
                }
                _ => {}
            }
        }
        let stores: Vec<usize> =
            body.iter().filter_map(|s| if let Step::Store { output } = s { Some(*output) } else { None }).collect();
        let places: Vec<usize> = stores.iter().map(|&output| self.store_place(output)).collect();
        for (&output, &place) in stores.iter().zip(&places) {
            self.need(self.graph.outputs[output].value, place);
        }
        for (output, place) in stores.into_iter().zip(places) {
            self.lanes[place].push(Step::Store { output });
        }
    }

    /// The segment that writes an output: the one that has its value, or the last where the output lies in the place of an
    /// input, which may be read until then.
    fn store_place(&self, output: usize) -> usize {
        if self.layout.in_place.iter().any(|&(shared, _)| shared == output) {
            return self.lanes.len() - 1;
        }
        self.at(self.graph.outputs[output].value)
    }

    /// Schedules an elementary function behind the segment that has its argument. One of a sum is in f64 like the sum:
    /// the logarithm of what is little more than 1 needs its digits.
    fn call(&mut self, value: Id, keeps: &HashMap<Id, SlotId>, sum: Option<Id>) {
        let at = self.at(value) - 1;
        let arg = self.graph.node(value).args[0];
        let kept = keeps.get(&value).copied();
        let exact = kept.is_none_or(|slot| self.slots[slot].place == Place::Sums);
        if let Some(sums) = self.sums(arg).filter(|_| sum.is_none() && exact) {
            let slot = kept.unwrap_or_else(|| {
                self.slots.push(Slot { value, axes: vec![self.axis], place: Place::Sums, block: self.block });
                self.slots.len() - 1
            });
            self.spilt.insert(value, slot);
            let from = Source::Slot { value: arg, slot: sums };
            self.calls[at].push(Step::Call { value, from, into: Some(slot), sum, columns: None });
            return;
        }
        if let Some((from, columns)) = self.columns(value, at).filter(|_| sum.is_none()) {
            let used = self.is_used(value, Some(columns.fold));
            let into = keeps.get(&value).copied().or_else(|| used.then(|| self.tile_slot(value)));
            if let Some(slot) = into {
                self.spilt.insert(value, slot);
            }
            self.columns.insert(columns.fold);
            self.calls[at].push(Step::Call { value, from, into, sum, columns: Some(columns) });
            return;
        }
        let from = match self.direct(arg, at) {
            Some(source) => source,
            None => {
                self.need(arg, at);
                let slot = self.spill(arg, at);
                Source::Slot { value: arg, slot }
            }
        };
        let used = self.is_used(value, sum);
        let into = keeps.get(&value).copied().or_else(|| used.then(|| self.tile_slot(value)));
        if let Some(slot) = into {
            self.spilt.insert(value, slot);
        }
        self.calls[at].push(Step::Call { value, from, into, sum, columns: None });
    }

    /// What makes a call one with columns: its argument is the difference of two tiles in memory, and its result goes into
    /// sums of which each lane has its own.
    fn columns(&self, value: Id, at: usize) -> Option<(Source, Columns)> {
        let (Point::Sub, &[x, less]) = self.graph.as_point(self.graph.node(value).args[0])? else { return None };
        let from = self.memory(x, at)?;
        let Source::Slot { slot: less_slot, .. } = self.memory(less, at)? else { return None };
        let (fold, sums) = self.slot_folds.iter().copied().find(|&(fold, slot)| {
            let sum = matches!(self.graph.as_fold(fold), Some((Fold::Sum, _, body)) if body == value);
            sum && self.slots[slot].place == Place::Sums && self.slots[slot].axes.last() == Some(&self.axis)
        })?;
        Some((from, Columns { less, less_slot, fold, sums }))
    }

    /// The slot of a sum for each element of the tile.
    fn sums(&self, value: Id) -> Option<SlotId> {
        let slot = *self.loads.get(&value)?;
        let found = &self.slots[slot];
        (found.place == Place::Sums && found.axes.last() == Some(&self.axis)).then_some(slot)
    }

    /// Whether anything but the sum that the call takes itself uses a value.
    fn is_used(&self, value: Id, sum: Option<Id>) -> bool {
        let by_value = self.lets.iter().any(|&user| self.graph.node(user).args.contains(&value));
        let by_store = self.graph.outputs.iter().any(|o| o.value == value);
        let by_fold =
            self.graph.ids().any(|f| Some(f) != sum && self.graph.as_fold(f).is_some_and(|(_, _, body)| body == value));
        by_value || by_store || by_fold
    }

    fn tile_slot(&mut self, value: Id) -> SlotId {
        self.slots.push(Slot { value, axes: vec![self.axis], place: Place::Tile, block: false });
        self.slots.len() - 1
    }

    /// The slot by which a value of segment `at` goes on.
    fn spill(&mut self, value: Id, at: usize) -> SlotId {
        let known = self.spilt.get(&value).copied();
        if let Some(slot) = known.filter(|&slot| self.slots[slot].place != Place::Sums) {
            return slot;
        }
        let slot = self.tile_slot(value);
        self.lanes[at].push(Step::Keep { value, slot });
        self.spilt.entry(value).or_insert(slot);
        slot
    }

    /// Makes a value available to the lanes of a segment.
    fn need(&mut self, value: Id, at: usize) {
        if !self.done.insert((at, value)) {
            return;
        }
        if let Some(&slot) = self.loads.get(&value) {
            self.lanes[at].push(Step::Load { value, slot });
        } else if self.lets.contains(&value) {
            let made = self.at(value);
            let math = self.is_math(value);
            let float = self.graph.ty(value).kind == Kind::Float;
            if math || made < at && float && self.cost(value, &mut HashSet::new()) > CHEAP {
                if !math {
                    self.need(value, made);
                }
                let slot = if math { self.spilt[&value] } else { self.spill(value, made) };
                self.lanes[at].push(Step::Load { value, slot });
            } else {
                for &arg in &self.graph.node(value).args {
                    self.need(arg, at);
                }
                self.lanes[at].push(Step::Let(value));
            }
        }
    }

    fn cost(&self, value: Id, counted: &mut HashSet<Id>) -> u32 {
        if !self.lets.contains(&value) || self.is_math(value) || !counted.insert(value) {
            return 0;
        }
        let own = match self.graph.op(value) {
            Op::Point(point) => match point.work() {
                Work::Flops(n) => n,
                Work::Math | Work::Composite => 0,
            },
            _ => 1,
        };
        own + self.graph.node(value).args.iter().map(|&a| self.cost(a, counted)).sum::<u32>()
    }

    /// The memory in which the argument is affine, where a call can take it from there.
    fn direct(&self, arg: Id, at: usize) -> Option<Source> {
        self.memory(arg, at).or_else(|| {
            let (point, args) = self.graph.as_point(arg)?;
            let fixed = |id: Id| !self.lets.contains(&id) && !self.loads.contains_key(&id) && self.is_fixed(id);
            match (point, args) {
                (Point::Neg, &[x]) => self.memory(x, at),
                (Point::Add | Point::Sub | Point::Mul, &[x, k]) if fixed(k) => self.memory(x, at),
                (Point::Add | Point::Sub | Point::Mul, &[k, x]) if fixed(k) => self.memory(x, at),
                _ => None,
            }
        })
    }

    fn is_fixed(&self, id: Id) -> bool {
        !matches!(self.graph.op(id), Op::Axis(a) if a == self.axis)
    }

    fn memory(&self, value: Id, at: usize) -> Option<Source> {
        if let Some(&slot) = self.loads.get(&value) {
            let unit = self.slots[slot].axes.last() == Some(&self.axis) && self.slots[slot].place != Place::Sums;
            return unit.then_some(Source::Slot { value, slot });
        }
        if self.is_math(value) && self.at(value) <= at {
            let floats = |slot: &&SlotId| self.slots[**slot].place != Place::Sums;
            return self.spilt.get(&value).filter(floats).map(|&slot| Source::Slot { value, slot });
        }
        let (input, indices) = self.graph.as_read(value).filter(|_| self.lets.contains(&value))?;
        let strides = &self.layout.inputs[input.index()];
        let float = self.graph.ty(value).kind == Kind::Float;
        let lane = |index: &Id| self.graph.as_axis(*index) == Some(self.axis);
        let unit = indices.iter().zip(strides).filter(|(i, _)| lane(i)).all(|(_, &step)| step == 1);
        let plain = indices.iter().filter(|i| lane(i)).count() == 1
            && indices.iter().all(|i| lane(i) || !self.graph.ty(*i).axes.contains(self.axis));
        (float && unit && plain).then_some(Source::Read(value))
    }
}
