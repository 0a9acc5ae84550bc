//! A `lanes` step as a straight line of operations on vectors, over streams of elements.

use super::super::Binding;
use super::builder::straight;
use super::row_loop::{ABREAST, Rows};
use crate::ir::{AxisId, Dtype, Fold, Id};
use crate::nest::{Nest, SlotId, Step};

/// Whose elements a stream has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    Read(Id),
    Slot(SlotId),
    Output(usize),
}

/// Elements in memory, one for each lane: read, written, or both.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Stream {
    pub source: Source,
    /// Elements from one lane to the next; 0 where a row has one for all of them.
    pub stride: isize,
    /// Whether its elements are f64 in a program of f32.
    pub doubled: bool,
    /// Whether caches will not hold it: reads are asked for ahead, and what is written goes past them.
    pub far: bool,
    /// Bytes from what is read to what is asked for ahead of it.
    pub ahead: usize,
}

/// What is the same for all elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Scalar {
    Value(Id),
    /// Of a lane.
    Bits(u64),
}

/// Where an operation takes a vector from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operand {
    Scalar(usize),
    /// The running index of each lane.
    Index,
    /// The result of an operation, by its place in the line.
    Made(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    IntAdd,
    IntSub,
    IntMul,
    And,
    Or,
    Xor,
    /// All bits where floats compare so, or integers, else none.
    Less,
    LessOrEqual,
    Equal,
    IntLess,
    IntEqual,
}

/// One operation on vectors. Truth values fill their lanes with their bit.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Action {
    Load(usize),
    /// Elements of f64 as the program's f32.
    LoadSums(usize),
    /// A row's element, in all lanes.
    Row(usize),
    Store {
        stream: usize,
        from: Operand,
    },
    /// Adds to elements of f64.
    AddSums {
        stream: usize,
        from: Operand,
    },
    Binary(Binary, Operand, Operand),
    Sqrt(Operand),
    Float(Operand),
    /// The larger or the smaller of two; NaN where the first is, and where the second is if it `may_be_nan`.
    Extreme {
        largest: bool,
        first: Operand,
        second: Operand,
        may_be_nan: bool,
    },
    Select {
        mask: Operand,
        yes: Operand,
        no: Operand,
    },
    /// Takes a vector into a fold, lane by lane.
    Fold {
        fold: usize,
        from: Operand,
    },
}

/// A fold that a program takes part of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Total {
    pub fold: Id,
    /// Whether it is the largest, or the sum.
    pub largest: bool,
}

/// One pass over elements: of a tile, of a row, or of each row of several.
#[derive(Clone, PartialEq, Debug)]
pub struct Program {
    /// F32 or F64; integers are as wide.
    pub real: Dtype,
    pub streams: Vec<Stream>,
    pub scalars: Vec<Scalar>,
    pub folds: Vec<Total>,
    pub line: Vec<Action>,
    /// Whether the running index is used.
    pub indexed: bool,
    /// The places in the body of the steps that give scalars: they come before the loop.
    pub outside: Vec<usize>,
    /// Elements behind the whole iterations, which some lanes of one more take.
    pub tail: usize,
    /// What makes it a loop over rows too.
    pub rows: Option<Rows>,
}

/// Bytes of the elements that an iteration takes: a register of the widest level, so that every level folds alike.
pub const STRIDE: usize = 64;

/// Bytes of all buffers from which reads are far, and outputs: as measured, about a core's cache and all cores'.
pub const READ_FAR: usize = 1 << 20;
pub const WRITE_FAR: usize = 1 << 25;

/// Enough to hide how long the largest of two takes.
const COPIES: usize = 4;

/// What a tile says of a `lanes` step in it.
#[derive(Clone, Copy)]
pub struct Around {
    pub axis: AxisId,
    /// Elements of all tiles of a row.
    pub length: usize,
    /// Whether nothing else is in the tile.
    pub alone: bool,
    /// Whether all tiles together are the whole axis.
    pub whole: bool,
}

/// Fewer iterations than this are not worth a call.
const WORTH: usize = 2;

impl Program {
    /// What a `lanes` step does in its tile; `None` where some of it has no vector operation here.
    pub fn of(nest: &Nest, binding: &Binding, around: Around, body: &[Step]) -> Option<Self> {
        let steps: Vec<&Step> = body.iter().collect();
        let program = straight(nest, binding, around, None, &steps)?.0;
        if around.length < WORTH * program.elements() {
            return None;
        }
        let takes_tail = around.whole && (joins_lanes(nest, body) || !program.adds_to_sums());
        let tail = if takes_tail { nest.extents[around.axis.index()] % program.elements() } else { 0 };
        Some(Self { tail: if program.has_maxima() { 0 } else { tail }, ..program })
    }

    fn has_maxima(&self) -> bool {
        self.folds.iter().any(|fold| fold.largest)
    }

    pub(super) fn adds_to_sums(&self) -> bool {
        self.line.iter().any(|action| matches!(action, Action::AddSums { .. }))
    }

    /// The streams that are written past the caches.
    pub fn far_stores(&self) -> impl Iterator<Item = usize> {
        let far = |stream: &Stream| stream.far && matches!(stream.source, Source::Output(_));
        self.streams.iter().enumerate().filter(move |(_, stream)| far(stream)).map(|(place, _)| place)
    }

    /// Iterations that may be done side by side, with accumulators of their own: maxima have no order, and one alone would
    /// wait for the one before.
    pub fn copies(&self) -> usize {
        if let Some(rows) = &self.rows {
            let of_rows = rows.once > 0 || self.line.iter().any(|action| matches!(action, Action::Row(_)));
            return if of_rows || self.indexed { 1 } else { ABREAST };
        }
        let maxima = !self.folds.is_empty() && self.folds.iter().all(|fold| fold.largest);
        let reads = self.line.iter().all(|a| !matches!(a, Action::Store { .. } | Action::AddSums { .. }));
        let neighbours = !self.indexed && self.streams.iter().all(|stream| stream.stride == 1);
        if maxima && reads && neighbours { COPIES } else { 1 }
    }

    /// Addresses that a function of it takes.
    pub fn addresses(&self) -> usize {
        self.streams.len() + self.rows.as_ref().map_or(0, |rows| rows.sums.len())
    }

    /// Elements of an iteration.
    pub fn elements(&self) -> usize {
        STRIDE / self.real.size()
    }
}

/// Whether elements behind the whole iterations of a row are added in the lanes of these, which is one order for all vector
/// levels: where there are sums. A maximum has no order.
pub fn joins_lanes(nest: &Nest, body: &[Step]) -> bool {
    let folds = || body.iter().filter_map(|s| if let Step::Fold { fold, slot: None } = s { Some(*fold) } else { None });
    folds().next().is_some() && folds().all(|fold| matches!(nest.graph.as_fold(fold), Some((Fold::Sum, ..))))
}
