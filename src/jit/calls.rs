//! Calls of elementary functions: for a tile, and for one element.

use super::compile::{Form, math_of};
use super::emit::Emitter;
use super::memory::next_block;
use super::vector::READ_FAR;
use crate::error::{Error, Result};
use crate::ir::{AxisId, Dtype, Id, Point};
use crate::nest::{Columns, Nest, Place, SlotId, Source, Step};
use cranelift_codegen::ir::{InstBuilder, Value, types};

/// Bytes from what a call is the first to read to what it asks the caches for, as measured: a few tiles.
const AHEAD: i64 = 1 << 12;

/// Whether a tile before that in which a value is called for has read the same.
fn is_read_before(nest: &Nest, value: Id, read: Id) -> bool {
    let (mut known, mut here) = (false, false);
    for (_, step) in nest.steps() {
        match step {
            Step::Tile { .. } => known |= std::mem::take(&mut here),
            Step::Let(id) => here |= *id == read,
            Step::Call { value: called, .. } if *called == value => return known,
            Step::Call { from: Source::Read(id), .. } => here |= *id == read,
            _ => {}
        }
    }
    false
}

/// Bytes of a row that a core's cache holds beside the next.
const ROW_NEAR: usize = 1 << 19;

impl Emitter<'_> {
    #[allow(clippy::too_many_arguments)]
    pub(super) fn call(
        &mut self,
        axis: AxisId,
        start: Value,
        length: Value,
        value: Id,
        from: Source,
        into: Option<SlotId>,
        sum: Option<Id>,
        columns: Option<Columns>,
    ) -> Result<()> {
        let (point, args) = self.nest.graph.as_point(value).expect("checked");
        let arg = args[0];
        self.lane_axis = Some(axis);
        self.at.insert(axis, start);
        self.tile_index = Some(self.b.ins().iconst(types::I64, 0));
        let x = match from {
            Source::Slot { slot, .. } => self.slot_address(slot)?.0,
            Source::Read(read) => {
                let address = self.read_address(read)?;
                self.widened_tile(read, address, length)?
            }
        };
        let y = match into {
            Some(slot) => self.slot_address(slot)?.0,
            None => x,
        };
        let columns = match columns {
            Some(c) => Some((self.slot_address(c.less_slot)?.0, self.slot_address(c.sums)?.0)),
            None => None,
        };
        self.lane_axis = None;
        self.tile_index = None;
        let math = math_of(point).expect("checked");
        if let Some((less, sums)) = columns {
            let form = if into.is_some() { Form::MapColumns } else { Form::Columns };
            let function = self.functions[&(math, form, self.dtype())];
            self.b.ins().call(function, &[x, less, y, sums, length]);
            return Ok(());
        }
        let in_f64 = matches!(from, Source::Slot { slot, .. } if self.nest.slots[slot].place == Place::Sums);
        let (scale, shift, dtype) = if in_f64 {
            (self.f64_const(1.0), self.f64_const(-0.0), Dtype::F64)
        } else {
            let (scale, shift) = self.affine(arg, from.value())?;
            (scale, shift, self.dtype())
        };
        let form = match (into, sum) {
            (None, _) => Form::Sum,
            (Some(_), Some(_)) => Form::MapSum,
            (Some(_), None) => Form::Map,
        };
        let function = self.functions[&(math, form, dtype)];
        let ahead = match from {
            Source::Read(read) => self.ahead(axis, value, read),
            Source::Slot { .. } => 0,
        };
        let ahead = self.b.ins().iconst(types::I64, ahead);
        let call = self.b.ins().call(function, &[x, y, length, scale, shift, ahead]);
        if let Some(fold) = sum {
            let part = self.b.inst_results(call)[0];
            self.add_part(fold, part);
        }
        Ok(())
    }

    /// Bytes from what a call reads to what it asks the caches for: the next row where this one was read before, so that
    /// memory has nothing to do; 0 where caches hold everything.
    pub(super) fn ahead(&self, axis: AxisId, value: Id, read: Id) -> i64 {
        let (input, indices) = self.nest.graph.as_read(read).expect("checked");
        let size = self.binding.inputs[input.index()].size();
        if self.is_widened(read) || self.binding.bytes(self.nest) < READ_FAR {
            return 0;
        }
        if let Some(bytes) = next_block(self.nest, self.binding, read) {
            return bytes as i64;
        }
        if !is_read_before(self.nest, value, read) {
            return AHEAD;
        }
        let strides = indices.iter().zip(&self.binding.layout.inputs[input.index()]);
        let rows = strides.filter(|(index, _)| self.nest.graph.as_axis(**index).is_some_and(|along| along != axis));
        let steps = rows.map(|(_, &stride)| stride.unsigned_abs().saturating_mul(size));
        let next = steps.filter(|&bytes| bytes >= self.nest.extents[axis.index()].saturating_mul(size)).min();
        next.filter(|&bytes| bytes <= ROW_NEAR).map_or(0, |bytes| bytes as i64)
    }

    /// `scale` and `shift` such that `arg = scale · source + shift`.
    fn affine(&mut self, arg: Id, source: Id) -> Result<(Value, Value)> {
        let (one, minus, nothing) =
            (self.float_const(1.0, false), self.float_const(-1.0, false), self.float_const(-0.0, false));
        if arg == source {
            return Ok((one, nothing));
        }
        let (point, args) = self.nest.graph.as_point(arg).expect("checked");
        let (args, first) = (args.to_vec(), args[0] == source);
        if point == Point::Neg {
            return Ok((minus, nothing));
        }
        let other = self.get(if first { args[1] } else { args[0] })?.value;
        Ok(match (point, first) {
            (Point::Add, _) => (one, other),
            (Point::Mul, _) => (other, nothing),
            (Point::Sub, true) => (one, self.b.ins().fneg(other)),
            (Point::Sub, false) => (minus, other),
            _ => return Err(Error::internal("jit", "an argument is not affine")),
        })
    }

    pub(super) fn dtype(&self) -> Dtype {
        if self.real == types::F32 { Dtype::F32 } else { Dtype::F64 }
    }

    /// An elementary function of one element.
    pub(super) fn math(&mut self, point: Point, x: Value) -> Result<Value> {
        let math = math_of(point).expect("an elementary function");
        let function = self.functions[&(math, Form::One, self.dtype())];
        let call = self.b.ins().call(function, &[x]);
        Ok(self.b.inst_results(call)[0])
    }
}
