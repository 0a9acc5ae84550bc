//! How a [`Program`] is made: step by step, the ops as `jit::ops` has them, bit for bit.

use super::super::Binding;
use super::super::memory::{lane_stride, next_block};
use super::program::*;
use crate::ir::{AxisId, Dtype, Fold, Id, Kind, Op, Point};
use crate::nest::{Nest, Place, SlotId, Step};
use std::collections::HashMap;
use std::ops::Range;

/// Bytes of a row whose end, which does not pass the caches, is little.
const WRITE_LONG: usize = 1 << 12;

/// Bytes from what is read to what is asked for ahead of it, where caches do not hold it.
const AHEAD: usize = 256;

/// The same where a call's buffers take so much that the last cache has a part of them: what it does not have is asked for
/// long before, while what it has is read. Beside calls, which ask for what is theirs, it is no better.
const LONG_AHEAD: usize = 6 << 10;
const PARTLY_CACHED: Range<usize> = 32 << 20..128 << 20;

/// Elements from lane to lane, at most: those of an iteration are within what an instruction may add to an address.
const REACH: usize = 1 << 20;

/// The line of steps, however long their tile is. Where they are in a loop over rows, those before its lanes are so many,
/// and give operations that are done once for a row; how many, is the other number.
pub fn straight(
    nest: &Nest,
    binding: &Binding,
    Around { axis, alone, .. }: Around,
    rows: Option<(AxisId, usize)>,
    steps: &[&Step],
) -> Option<(Program, usize)> {
    let program = Program {
        real: binding.arithmetic(nest),
        streams: vec![],
        scalars: vec![],
        folds: vec![],
        line: vec![],
        indexed: false,
        outside: vec![],
        tail: 0,
        rows: None,
    };
    let (rows, before) = (rows.map(|(rows, _)| rows), rows.map_or(0, |(_, before)| before));
    let mut builder = Builder { nest, binding, axis, rows, alone, made: HashMap::new(), program };
    let mut once = 0;
    for (place, step) in steps.iter().enumerate() {
        builder.step(place, step)?;
        if place < before {
            once = builder.program.line.len();
        }
    }
    Some((builder.program, once))
}

struct Builder<'a> {
    nest: &'a Nest,
    binding: &'a Binding,
    axis: AxisId,
    /// The axis of the loop over rows.
    rows: Option<AxisId>,
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
                    let of_row = !self.nest.graph.ty(id).axes.contains(self.axis);
                    self.make(id, if of_row { Action::Row(stream) } else { Action::Load(stream) });
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
            Step::Load { value, slot } if self.rows.is_some_and(|rows| self.nest.slots[slot].axes.contains(&rows)) => {
                let stream = self.stream(Source::Slot(slot), 0, self.is_doubled(slot))?;
                self.make(value, Action::Row(stream));
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

    /// Whether a value is not the same for all that the function goes over.
    fn varies(&self, id: Id) -> bool {
        let axes = self.nest.graph.ty(id).axes;
        axes.contains(self.axis) || self.rows.is_some_and(|rows| axes.contains(rows))
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
            let partly = self.alone && PARTLY_CACHED.contains(&self.binding.bytes(self.nest));
            let ahead = ahead.unwrap_or(if partly { LONG_AHEAD } else { AHEAD });
            self.program.streams.push(Stream { source, stride, doubled, far, ahead });
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
