//! The nest: where and when the values of a graph are computed. Loops, tiles, lanes, accumulators, stores; every value
//! is named by its id in the graph, and the nest has no arithmetic of its own.

mod check;
mod collapse;
mod expand;
mod in_place;
mod native;
mod pairs;
mod parse;
mod parts;
mod phases;
mod place;
mod plan;
mod schedule;
mod text;
mod tile;

pub use check::{check, check_on};
pub use collapse::collapse;
pub use expand::{expand, sized};
pub use in_place::check_in_place;
pub use pairs::{PairSum, Term, pair_sum};
pub use parse::parse;
pub use parts::split;
pub(crate) use parts::sums as part_sums;
pub(crate) use plan::follows_rows;
pub use schedule::schedule;

use crate::ir::{AxisId, Dtype, Graph, Id};

/// Elements of one tile: what an elementary function is called for, small enough for all slots of a loop to stay in
/// the first-level cache.
pub const TILE: usize = 512;

/// A graph with the places and times of its values.
#[derive(Clone, PartialEq, Debug)]
pub struct Nest {
    /// The arithmetic: expanded, without axes of one element.
    pub graph: Graph,
    /// By axis of the graph; where axes were collapsed, not as declared.
    pub extents: Vec<usize>,
    pub slots: Vec<Slot>,
    pub body: Vec<Step>,
}

/// Memory for values that outlive the loop that makes them.
#[derive(Clone, PartialEq, Debug)]
pub struct Slot {
    pub value: Id,
    /// Row-major along these axes; for a tile slot the lanes of one tile.
    pub axes: Vec<AxisId>,
    pub place: Place,
    /// Of the axis that is taken by blocks it has one block only.
    pub block: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// Scratch of one tile.
    Tile,
    /// Scratch along the slot's axes.
    Row,
    /// Scratch in f64 whatever the loss's dtype: of sums, and of elementary functions of them.
    Sums,
    /// The buffer of an output that is stored later along the same axes.
    Output(usize),
}

pub type SlotId = usize;

#[derive(Clone, PartialEq, Debug)]
pub enum Step {
    /// The body for every index of the axis, one after the other.
    Loop {
        axis: AxisId,
        body: Vec<Step>,
    },
    /// The body for every block of so many indices of the axis; loops over the axis inside run over the block.
    Block {
        axis: AxisId,
        size: usize,
        body: Vec<Step>,
    },
    /// A loop over the axis for every part of so many of its indices; threads may share the parts. The folds that start in
    /// the body start with every part, and their totals are taken together in the order of the parts. It stands in no loop.
    Part {
        axis: AxisId,
        size: usize,
        body: Vec<Step>,
    },
    /// A sum over pairs of rows ([`PairSum`]) for the open block, by a native kernel. A sum over the axis of the blocks adds
    /// to that of the blocks before.
    Pairs {
        fold: Id,
        weight: Option<SlotId>,
        into: SlotId,
    },
    /// The body for every tile of the axis; it holds only `Lanes` and `Call`.
    Tile {
        axis: AxisId,
        body: Vec<Step>,
    },
    /// The body for every element of the tile, many at a time.
    Lanes {
        body: Vec<Step>,
    },
    /// An elementary function over the tile: `value` = f(affine in `from`), put into a slot, added to a sum, or both.
    Call {
        value: Id,
        from: Source,
        into: Option<SlotId>,
        sum: Option<Id>,
        columns: Option<Columns>,
    },
    /// Computes a value from its arguments, which are at hand.
    Let(Id),
    /// Begins a fold; where it has a slot, every element of it at the open loops' indices.
    Start {
        fold: Id,
        slot: Option<SlotId>,
    },
    /// Takes the fold's body into the fold.
    Fold {
        fold: Id,
        slot: Option<SlotId>,
    },
    Keep {
        value: Id,
        slot: SlotId,
    },
    /// Gets a value back.
    Load {
        value: Id,
        slot: SlotId,
    },
    /// Writes an output's element.
    Store {
        output: usize,
    },
    /// A native kernel for one row: gives the loss, writes the plane of an output whose value is its gradient, or both.
    Native {
        loss: Option<Id>,
        grad: Option<usize>,
    },
}

/// A call whose lanes have sums of their own: `value` = f(`from` − `less`), added to the element of a sum at its lane.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Columns {
    pub less: Id,
    pub less_slot: SlotId,
    pub fold: Id,
    pub sums: SlotId,
}

/// Where a call takes its tile from; unit-stride memory either way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    Slot {
        value: Id,
        slot: SlotId,
    },
    /// A read of an input.
    Read(Id),
}

impl Source {
    pub fn value(self) -> Id {
        match self {
            Source::Slot { value, .. } | Source::Read(value) => value,
        }
    }
}

/// How buffers lie in memory: strides in elements, along the axes of each.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Layout {
    pub inputs: Vec<Vec<isize>>,
    pub outputs: Vec<Vec<isize>>,
    /// Outputs that lie where an input does: (output, input). Each element is written after its last read.
    pub in_place: Vec<(usize, usize)>,
    /// Outputs that are stored in fewer bits than they are computed in: nothing else is kept there.
    pub narrow: Vec<(usize, Dtype)>,
}

impl Layout {
    /// Every buffer row-major.
    pub fn row_major(graph: &Graph, extents: &[usize]) -> Self {
        let strides = |axes: &[AxisId]| {
            if axes.iter().any(|a| extents[a.index()] == 0) {
                return vec![0; axes.len()]; // nothing is there to step over
            }
            let mut step = 1isize;
            let mut strides: Vec<isize> = axes
                .iter()
                .rev()
                .map(|a| {
                    let stride = step;
                    step = step.saturating_mul(extents[a.index()] as isize);
                    stride
                })
                .collect();
            strides.reverse();
            strides
        };
        Self {
            inputs: graph.inputs.iter().map(|i| strides(&i.axes)).collect(),
            outputs: graph.outputs.iter().map(|o| strides(&o.axes)).collect(),
            in_place: vec![],
            narrow: vec![],
        }
    }
}

impl Nest {
    /// The axis whose loop may be cut among threads: the last loop of the outermost level, where no fold runs along it and
    /// nothing beside it writes to an output. What is beside it every thread does for itself: little, and along other axes.
    pub fn parallel_axis(&self) -> Option<AxisId> {
        if self.parts().next().is_some() {
            return None;
        }
        let place = self.body.iter().rposition(|step| opened(step).is_some())?;
        let (axis, body) = opened(&self.body[place])?;
        let beside = || self.body.iter().enumerate().filter(|(at, _)| *at != place).map(|(_, step)| step);
        let own = self.work_of(&self.body[place..=place], 1);
        let others = beside().fold(0usize, |sum, step| sum.saturating_add(self.work_of(std::slice::from_ref(step), 1)));
        let apart = beside().all(|step| !self.touches(step, axis)) && others <= own / LITTLE;
        (apart && !folds_along(&self.graph, axis, body)).then_some(axis)
    }

    /// Indices of the parallel axis that one thread does together: a block's, or a tile's where its loop goes by tiles, so that a
    /// thread's first element lies in memory as the first of all does.
    pub fn parallel_unit(&self) -> usize {
        let Some(axis) = self.parallel_axis() else { return 1 };
        let is_tile = |step: &Step| matches!(step, Step::Tile { axis: along, .. } if *along == axis);
        let by_tiles = if self.body.iter().any(is_tile) { TILE } else { 1 };
        self.block().filter(|(block, _)| *block == axis).map_or(by_tiles, |(_, size)| size.max(1))
    }

    /// Whether a step runs along an axis, or writes to an output.
    fn touches(&self, step: &Step, axis: AxisId) -> bool {
        match step {
            Step::Store { .. } | Step::Native { grad: Some(_), .. } => true,
            Step::Keep { slot, .. } | Step::Call { into: Some(slot), .. } | Step::Pairs { into: slot, .. } => {
                matches!(self.slots[*slot].place, Place::Output(_))
            }
            Step::Lanes { body } => body.iter().any(|step| self.touches(step, axis)),
            step => opened(step)
                .is_some_and(|(along, body)| along == axis || body.iter().any(|step| self.touches(step, axis))),
        }
    }
}

impl Step {
    /// The steps inside this one, if it is of those that have some.
    pub(crate) fn body(&self) -> Option<&[Step]> {
        match self {
            Step::Lanes { body } => Some(body),
            step => opened(step).map(|(_, body)| body),
        }
    }
}

/// The axis and the body of a loop.
fn opened(step: &Step) -> Option<(AxisId, &[Step])> {
    match step {
        Step::Loop { axis, body }
        | Step::Tile { axis, body }
        | Step::Block { axis, body, .. }
        | Step::Part { axis, body, .. } => Some((*axis, body)),
        _ => None,
    }
}

/// What every thread does for itself is at most this part of what they share.
const LITTLE: usize = 8;

/// Elements of the largest buffer of a small problem.
const SMALL: usize = 512;

impl Nest {
    /// Whether a call costs more than the arithmetic, so that in f64 it costs the same, and every result is rounded once.
    pub fn is_small(&self) -> bool {
        let count = |axes: &Vec<AxisId>| axes.iter().fold(1usize, |n, a| n.saturating_mul(self.extents[a.index()]));
        self.graph.buffers().all(|axes| count(axes) <= SMALL)
    }
}

impl Nest {
    /// A rough count of the arithmetic of one run, in instructions of one lane: enough to tell whether a second thread
    /// is worth waking.
    pub fn work(&self) -> usize {
        self.work_of(&self.body, 1)
    }

    fn work_of(&self, body: &[Step], times: usize) -> usize {
        let work = |step: &Step| match step {
            Step::Loop { axis, body } | Step::Tile { axis, body } => {
                self.work_of(body, times.saturating_mul(self.extents[axis.index()]))
            }
            Step::Lanes { body } | Step::Block { body, .. } | Step::Part { body, .. } => self.work_of(body, times),
            Step::Pairs { fold, .. } => times.saturating_mul(self.pairs_work(*fold)),
            Step::Call { .. } => times.saturating_mul(CALL_WORK),
            Step::Let(id) if self.graph.as_point(*id).is_some_and(|(p, _)| p.is_math()) => {
                times.saturating_mul(CALL_WORK)
            }
            Step::Native { loss, grad } => times.saturating_mul(self.native_work(*loss, *grad)),
            _ => times,
        };
        body.iter().fold(0, |sum, step| sum.saturating_add(work(step)))
    }
}

impl Nest {
    /// Every step with its depth, in the order of the text, where each has a line.
    pub fn steps(&self) -> Vec<(usize, &Step)> {
        fn visit<'n>(body: &'n [Step], depth: usize, found: &mut Vec<(usize, &'n Step)>) {
            for step in body {
                found.push((depth, step));
                if let Some(body) = step.body() {
                    visit(body, depth + 1, found);
                }
            }
        }
        let mut found = vec![];
        visit(&self.body, 0, &mut found);
        found
    }
}

/// The arguments of a native kernel that are numbers: lengths, the blank, the head.
pub fn native_numbers(args: &[Id]) -> &[Id] {
    &args[5..args.len().min(9)]
}

impl Nest {
    /// The node that says what a native step reads.
    pub fn native_node(&self, loss: Option<Id>, grad: Option<usize>) -> Option<Id> {
        loss.or_else(|| Some(self.graph.outputs.get(grad?)?.value))
    }

    /// One instruction for each of several lanes, and several for each term.
    fn pairs_work(&self, fold: Id) -> usize {
        let axes = pair_sum(&self.graph, fold).map_or([None; 3], |s| [s.rows, s.columns, s.depth].map(Some));
        axes.iter().flatten().fold(1usize, |n, a| n.saturating_mul(self.extents[a.index()])) / 4
    }

    /// The axis that is taken by blocks, and the indices of a block.
    pub fn block(&self) -> Option<(AxisId, usize)> {
        fn find(body: &[Step]) -> Option<(AxisId, usize)> {
            body.iter().find_map(|step| match step {
                Step::Block { axis, size, .. } => Some((*axis, *size)),
                Step::Loop { body, .. } | Step::Part { body, .. } => find(body),
                _ => None,
            })
        }
        find(&self.body)
    }

    /// Whether a loop over an axis may take a part of it only: a thread's, a block, or one of the parts of a sum.
    pub fn is_cut(&self, axis: AxisId) -> bool {
        let cut = self.parts().map(|(cut, ..)| cut).chain(self.block().map(|(cut, _)| cut)).chain(self.parallel_axis());
        cut.into_iter().any(|cut| cut == axis)
    }

    /// The indices that a loop over an axis has, at most: those of a block where the axis is taken by blocks.
    pub fn length(&self, axis: AxisId) -> usize {
        let extent = self.extents[axis.index()];
        self.block().filter(|(block, _)| *block == axis).map_or(extent, |(_, size)| size.min(extent))
    }

    /// The elements that a slot has along an axis.
    pub fn slot_extent(&self, slot: SlotId, axis: AxisId) -> usize {
        if self.slots[slot].block { self.length(axis) } else { self.extents[axis.index()] }
    }

    /// A softmax of every step, and a recursion over the labels with a blank before, between and behind them.
    fn native_work(&self, loss: Option<Id>, grad: Option<usize>) -> usize {
        let axes = self.native_node(loss, grad).and_then(|node| self.graph.as_native(node)).map(|(_, axes, _)| axes);
        let [steps, classes, labels] = axes.map_or([0; 3], |axes| axes.map(|a| self.extents[a.index()]));
        let step = classes.saturating_add(labels.saturating_mul(4));
        steps.saturating_mul(step).saturating_mul(CALL_WORK)
    }
}

/// What an elementary function counts as, per element.
const CALL_WORK: usize = 8;

fn folds_along(graph: &Graph, axis: AxisId, body: &[Step]) -> bool {
    body.iter().any(|step| match step {
        Step::Fold { fold, .. }
        | Step::Pairs { fold, .. }
        | Step::Call { sum: Some(fold), .. }
        | Step::Call { columns: Some(Columns { fold, .. }), .. } => {
            graph.as_fold(*fold).is_some_and(|(_, bound, _)| bound == axis)
        }
        step => step.body().is_some_and(|body| folds_along(graph, axis, body)),
    })
}
