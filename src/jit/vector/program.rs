//! A `lanes` step as a straight line of operations on vectors, over streams of elements.

use super::super::Binding;
use super::super::memory::{lane_stride, next_block};
use crate::ir::{AxisId, Dtype, Fold, Id, Kind, Op, Point};
use crate::nest::{Nest, Place, SlotId, Step};
use std::collections::HashMap;

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
    /// Elements from one lane to the next.
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

/// One pass over the elements of a tile.
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
}

/// Bytes of the elements that an iteration takes: a register of the widest level, so that every level folds alike.
pub const STRIDE: usize = 64;

/// Bytes of all buffers from which reads are far, and outputs: as measured, about a core's cache and all cores'.
pub const READ_FAR: usize = 1 << 20;
pub const WRITE_FAR: usize = 1 << 25;

/// Bytes from what is read to what is asked for ahead of it, where caches do not hold it.
const AHEAD: usize = 256;

/// Enough to hide how long the largest of two takes.
const COPIES: usize = 4;

/// Bytes of a row whose end, which does not pass the caches, is little.
const WRITE_LONG: usize = 1 << 12;

/// What a tile says of a `lanes` step in it.
#[derive(Clone, Copy)]
pub struct Around {
    pub axis: AxisId,
    /// Elements of all tiles of a row.
    pub length: usize,
    /// Whether nothing else is in the tile.
    pub alone: bool,
}

/// Elements from lane to lane, at most: those of an iteration are within what an instruction may add to an address.
const REACH: usize = 1 << 20;

/// Fewer iterations than this are not worth a call.
const WORTH: usize = 2;

impl Program {
    /// What a `lanes` step does in its tile; `None` where some of it has no vector operation here.
    pub fn of(nest: &Nest, binding: &Binding, Around { axis, length, alone }: Around, body: &[Step]) -> Option<Self> {
        let real = binding.arithmetic(nest);
        if length < WORTH * STRIDE / real.size() {
            return None;
        }
        let program = Self {
            real,
            streams: vec![],
            scalars: vec![],
            folds: vec![],
            line: vec![],
            indexed: false,
            outside: vec![],
        };
        let mut builder = Builder { nest, binding, axis, alone, made: HashMap::new(), program };
        for (place, step) in body.iter().enumerate() {
            builder.step(place, step)?;
        }
        Some(builder.program)
    }

    /// The streams that are written past the caches.
    pub fn far_stores(&self) -> impl Iterator<Item = usize> {
        let far = |stream: &Stream| stream.far && matches!(stream.source, Source::Output(_));
        self.streams.iter().enumerate().filter(move |(_, stream)| far(stream)).map(|(place, _)| place)
    }

    /// Iterations that may be done side by side, with accumulators of their own: maxima have no order, and one alone would
    /// wait for the one before.
    pub fn copies(&self) -> usize {
        let maxima = !self.folds.is_empty() && self.folds.iter().all(|fold| fold.largest);
        let reads = self.line.iter().all(|a| !matches!(a, Action::Store { .. } | Action::AddSums { .. }));
        let neighbours = !self.indexed && self.streams.iter().all(|stream| stream.stride == 1);
        if maxima && reads && neighbours { COPIES } else { 1 }
    }

    /// Elements of an iteration.
    pub fn elements(&self) -> usize {
        STRIDE / self.real.size()
    }
}

struct Builder<'a> {
    nest: &'a Nest,
    binding: &'a Binding,
    axis: AxisId,
    alone: bool,
    made: HashMap<Id, Operand>,
    program: Program,
}

impl Builder<'_> {
    fn step(&mut self, place: usize, step: &Step) -> Option<()> {
        match *step {
            Step::Let(id) => match self.nest.graph.op(id) {
                Op::Read if self.varies(id) => {
                    let stream = self.read(id)?;
                    self.make(id, Action::Load(stream));
                }
                Op::Point(point) if self.varies(id) => {
                    let args = self.nest.graph.node(id).args.clone();
                    let made = self.point(point, &args)?;
                    self.made.insert(id, made);
                }
                _ => self.program.outside.push(place),
            },
            Step::Load { value, slot } if self.nest.slots[slot].axes.contains(&self.axis) => {
                let doubled = self.is_doubled(slot);
                let stream = self.slot(slot)?;
                self.make(value, if doubled { Action::LoadSums(stream) } else { Action::Load(stream) });
            }
            Step::Load { .. } => self.program.outside.push(place),
            Step::Keep { value, slot } => {
                if self.nest.slots[slot].place == Place::Sums {
                    return None;
                }
                let (from, stream) = (self.operand(value)?, self.slot(slot)?);
                self.put(Action::Store { stream, from });
            }
            Step::Store { output } => {
                let found = &self.nest.graph.outputs[output];
                let stride = self.output_stride(output)?;
                let from = self.operand(found.value)?;
                let stream = self.stream(Source::Output(output), stride, false)?;
                self.put(Action::Store { stream, from });
            }
            Step::Fold { fold, slot } => self.fold(fold, slot)?,
            _ => return None,
        }
        Some(())
    }

    fn fold(&mut self, id: Id, slot: Option<SlotId>) -> Option<()> {
        let (kind, _, body) = self.nest.graph.as_fold(id)?;
        let (largest, from) = (kind != Fold::Sum, self.operand(body)?);
        let Some(slot) = slot else {
            self.program.folds.push(Total { fold: id, largest });
            let fold = self.program.folds.len() - 1;
            self.put(Action::Fold { fold, from });
            return Some(());
        };
        let doubled = self.is_doubled(slot);
        let stream = self.slot(slot)?;
        if doubled {
            self.put(Action::AddSums { stream, from });
            return Some(());
        }
        let known = self.put(Action::Load(stream));
        let from = if largest {
            self.put(Action::Extreme { largest, first: known, second: from, may_be_nan: true })
        } else {
            self.put(Action::Binary(Binary::Add, known, from))
        };
        self.put(Action::Store { stream, from });
        Some(())
    }

    /// The ops as `jit::ops` has them, bit for bit.
    fn point(&mut self, point: Point, args: &[Id]) -> Option<Operand> {
        let float = self.nest.graph.ty(*args.last()?).kind == Kind::Float;
        let v = args.iter().map(|&arg| self.operand(arg)).collect::<Option<Vec<_>>>()?;
        let may_be_nan = |id: &Id| !matches!(self.nest.graph.op(*id), Op::Float(x) if !x.get().is_nan());
        let binary = match (point, float) {
            (Point::Add, true) => Binary::Add,
            (Point::Add, false) => Binary::IntAdd,
            (Point::Sub, true) => Binary::Sub,
            (Point::Sub, false) => Binary::IntSub,
            (Point::Mul, true) => Binary::Mul,
            (Point::Mul, false) => Binary::IntMul,
            (Point::Div, true) => Binary::Div,
            (Point::Lt, true) => Binary::Less,
            (Point::Lt, false) => Binary::IntLess,
            (Point::Le, true) => Binary::LessOrEqual,
            (Point::Eq, true) => Binary::Equal,
            (Point::Eq, false) => Binary::IntEqual,
            (Point::And, _) => Binary::And,
            (Point::Or, _) => Binary::Or,
            _ => {
                return Some(match point {
                    Point::Neg if float => self.with_bits(Binary::Xor, v[0], self.sign_bit()),
                    Point::Abs if float => self.with_bits(Binary::And, v[0], !self.sign_bit()),
                    Point::Sqrt => self.put(Action::Sqrt(v[0])),
                    Point::Sign if float => self.sign(v[0]),
                    Point::Max | Point::Min if float => {
                        let may_be_nan = may_be_nan(&args[1]);
                        let largest = point == Point::Max;
                        self.put(Action::Extreme { largest, first: v[0], second: v[1], may_be_nan })
                    }
                    Point::Le => {
                        let more = self.put(Action::Binary(Binary::IntLess, v[1], v[0]));
                        self.with_bits(Binary::Xor, more, u64::MAX)
                    }
                    Point::Not => self.with_bits(Binary::Xor, v[0], u64::MAX),
                    Point::Select if self.is_nothing(args[2]) => self.put(Action::Binary(Binary::And, v[0], v[1])),
                    Point::Select => self.put(Action::Select { mask: v[0], yes: v[1], no: v[2] }),
                    Point::Float => self.put(Action::Float(v[0])),
                    _ => return None,
                });
            }
        };
        Some(self.put(Action::Binary(binary, v[0], v[1])))
    }

    /// −1 or 1 by the sign; ±0 and NaN stay themselves.
    fn sign(&mut self, x: Operand) -> Operand {
        let one = if self.program.real == Dtype::F32 { u64::from(1f32.to_bits()) } else { 1f64.to_bits() };
        let (zero, one, minus) = (self.bits(0), self.bits(one), self.bits(one | self.sign_bit()));
        let above = self.put(Action::Binary(Binary::Less, zero, x));
        let below = self.put(Action::Binary(Binary::Less, x, zero));
        let rest = self.put(Action::Select { mask: below, yes: minus, no: x });
        self.put(Action::Select { mask: above, yes: one, no: rest })
    }

    fn sign_bit(&self) -> u64 {
        if self.program.real == Dtype::F32 { 1 << 31 } else { 1 << 63 }
    }

    fn is_nothing(&self, id: Id) -> bool {
        matches!(self.nest.graph.op(id), Op::Float(x) if x.get().to_bits() == 0)
    }

    fn with_bits(&mut self, binary: Binary, x: Operand, bits: u64) -> Operand {
        let bits = self.bits(bits);
        self.put(Action::Binary(binary, x, bits))
    }

    fn bits(&mut self, bits: u64) -> Operand {
        self.scalar(Scalar::Bits(bits))
    }

    fn varies(&self, id: Id) -> bool {
        self.nest.graph.ty(id).axes.contains(self.axis)
    }

    fn operand(&mut self, id: Id) -> Option<Operand> {
        match self.nest.graph.op(id) {
            _ if self.made.contains_key(&id) => self.made.get(&id).copied(),
            Op::Axis(axis) if axis == self.axis => {
                self.program.indexed = true;
                Some(Operand::Index)
            }
            _ if self.varies(id) => None,
            _ => Some(self.scalar(Scalar::Value(id))),
        }
    }

    fn scalar(&mut self, scalar: Scalar) -> Operand {
        let known = self.program.scalars.iter().position(|&s| s == scalar);
        Operand::Scalar(known.unwrap_or_else(|| {
            self.program.scalars.push(scalar);
            self.program.scalars.len() - 1
        }))
    }

    fn put(&mut self, action: Action) -> Operand {
        self.program.line.push(action);
        Operand::Made(self.program.line.len() - 1)
    }

    fn make(&mut self, id: Id, action: Action) {
        let made = self.put(action);
        self.made.insert(id, made);
    }

    /// `None` where an iteration would reach too far.
    fn stream(&mut self, source: Source, stride: isize, doubled: bool) -> Option<usize> {
        if stride.unsigned_abs() > REACH {
            return None;
        }
        let known = self.program.streams.iter().position(|s| s.source == source);
        Some(known.unwrap_or_else(|| {
            let far = stride == 1 && self.is_far(source);
            let next = |read| next_block(self.nest, self.binding, read);
            let ahead = if let Source::Read(read) = source { next(read) } else { None };
            self.program.streams.push(Stream { source, stride, doubled, far, ahead: ahead.unwrap_or(AHEAD) });
            self.program.streams.len() - 1
        }))
    }

    /// The elements of an output from one lane to the next, where they are stored as they are computed.
    fn output_stride(&self, output: usize) -> Option<isize> {
        let along = self.nest.graph.outputs[output].axes.iter().position(|&a| a == self.axis)?;
        let same = self.binding.output(output) == self.program.real;
        same.then(|| self.binding.layout.outputs[output][along])
    }

    /// Reads of problems that the caches of one core do not hold; outputs of those that none does, where nothing has the
    /// output's memory in a cache already, and where arithmetic is not what takes the time: beside calls, ordinary stores
    /// have time enough.
    fn is_far(&self, source: Source) -> bool {
        let bytes = self.binding.bytes(self.nest);
        match source {
            Source::Read(_) => bytes >= READ_FAR,
            Source::Slot(_) => false,
            Source::Output(output) => {
                let kept = self.nest.slots.iter().any(|slot| slot.place == Place::Output(output));
                let read = self.binding.layout.in_place.iter().any(|&(place, _)| place == output);
                let row = self.nest.extents[self.axis.index()] * self.program.real.size();
                let whole = row.is_multiple_of(STRIDE) || row >= WRITE_LONG;
                self.alone && bytes >= WRITE_FAR && whole && !kept && !read
            }
        }
    }

    /// A read of what is as wide as it is computed, at places that no data decides.
    fn read(&mut self, read: Id) -> Option<usize> {
        let (input, indices) = self.nest.graph.as_read(read)?;
        let plain = |&index: &Id| matches!(self.nest.graph.op(index), Op::Axis(_) | Op::Int(_));
        let int = if self.program.real == Dtype::F32 { Dtype::I32 } else { Dtype::I64 };
        let wanted = if self.nest.graph.input(input).kind == Kind::Float { self.program.real } else { int };
        let fits = self.binding.inputs[input.index()] == wanted && indices.iter().all(plain);
        let stride = lane_stride(self.nest, self.binding, self.axis, input, indices)?;
        if fits { self.stream(Source::Read(read), stride, false) } else { None }
    }

    fn is_doubled(&self, slot: SlotId) -> bool {
        self.nest.slots[slot].place == Place::Sums && self.program.real == Dtype::F32
    }

    /// A slot with an element for each lane.
    fn slot(&mut self, slot: SlotId) -> Option<usize> {
        let found = &self.nest.slots[slot];
        let along = found.axes.iter().position(|&a| a == self.axis)?;
        let stride = match found.place {
            Place::Output(output) => self.output_stride(output)?,
            Place::Tile | Place::Row | Place::Sums if along + 1 == found.axes.len() => 1,
            Place::Tile | Place::Row | Place::Sums => return None,
        };
        self.stream(Source::Slot(slot), stride, self.is_doubled(slot))
    }
}
