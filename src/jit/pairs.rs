//! Sums over pairs of rows: calls of the native kernel, by numbers as words and by addresses.

use super::emit::Emitter;
use crate::error::{Error, Result};
use crate::ir::{AxisId, Dtype, Id};
use crate::native::{PAIR_WORDS, PairWord};
use crate::nest::{PairSum, Place, SlotId, Step, Term, pair_sum};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, Value, types};

/// The symbol of the kernel.
pub(super) const PAIRS: &str = "native.pairs";

/// Whether a nest has such sums.
pub(super) fn has_pairs(body: &[Step]) -> bool {
    body.iter().any(|step| matches!(step, Step::Pairs { .. }) || step.body().is_some_and(has_pairs))
}

fn fault(problem: &str) -> Error {
    Error::internal("jit", format!("pairs: {problem}"))
}

impl Emitter<'_> {
    pub(super) fn pairs(&mut self, fold: Id, weight: Option<SlotId>, into: SlotId) -> Result<()> {
        let sum = pair_sum(&self.nest.graph, fold).ok_or_else(|| fault("a sum that is none"))?;
        let function = self.natives.pairs.ok_or_else(|| fault("no kernel"))?;
        let size = PAIR_WORDS as u32 * 8;
        let words = self.b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, size, 3));
        let put = |e: &mut Self, word: PairWord, value: Value| {
            e.b.ins().stack_store(types::I64, value, words, word as i32 * 8);
        };
        let (rows, columns) = (self.index_range(sum.rows)?, self.index_range(sum.columns)?);
        let depth = self.nest.extents[sum.depth.index()] as i64;
        let (x, x_stride) = match sum.x {
            Some(x) => self.matrix_read(x, sum.rows, sum.depth)?,
            None => (self.scratch, 0),
        };
        let (y, y_stride) = self.matrix_read(sum.y, sum.columns, sum.depth)?;
        let numbers = [
            (PairWord::Real, i64::from(self.binding.real == Dtype::F64)),
            (PairWord::Product, i64::from(sum.term == Term::Product)),
            (PairWord::Spread, i64::from(weight.is_some())),
            (PairWord::Depth, depth),
            (PairWord::StrideOfX, x_stride),
            (PairWord::StrideOfY, y_stride),
            (PairWord::Factor, sum.factor.to_bits() as i64),
        ];
        for (word, number) in numbers {
            let value = self.b.ins().iconst(types::I64, number);
            put(self, word, value);
        }
        put(self, PairWord::Rows, rows.1);
        put(self, PairWord::Columns, columns.1);
        let (out, weights) = match weight {
            None => (self.slot_matrix(into, [sum.rows, sum.columns])?, None),
            Some(slot) => {
                let out = self.slot_matrix(into, [sum.rows, sum.depth])?;
                (out, Some(self.slot_matrix(slot, [sum.rows, sum.columns])?))
            }
        };
        if weight.is_some() && out.1[1] != 1 {
            return Err(fault("rows that do not run along memory"));
        }
        let weights = weights.unwrap_or((self.scratch, [0; 2]));
        for (word, stride) in [
            (PairWord::RowsOfOut, out.1[0]),
            (PairWord::ColumnsOfOut, out.1[1]),
            (PairWord::RowsOfWeight, weights.1[0]),
            (PairWord::ColumnsOfWeight, weights.1[1]),
        ] {
            let value = self.b.ins().iconst(types::I64, stride);
            put(self, word, value);
        }
        let adds = self.adds(&sum, rows.0, columns.0);
        put(self, PairWord::Adds, adds);
        let words = self.b.ins().stack_addr(types::I64, words, 0);
        self.b.ins().call(function, &[words, x, y, weights.0, out.0]);
        Ok(())
    }

    /// Whether the sum adds to that of earlier blocks: 1 or 0.
    fn adds(&mut self, sum: &PairSum, first_row: Value, first_column: Value) -> Value {
        let block = self.nest.block().map(|(axis, _)| axis);
        let first = match () {
            () if sum.weight.is_some() && block == Some(sum.columns) => first_column,
            () if sum.weight.is_some() && block == Some(sum.rows) => return self.b.ins().iconst(types::I64, 0),
            () => first_row,
        };
        if sum.weight.is_none() {
            return self.b.ins().iconst(types::I64, 0);
        }
        let later = self.b.ins().icmp_imm_s(IntCC::NotEqual, first, 0);
        self.b.ins().uextend(types::I64, later)
    }

    /// The first index and the number of indices that a sum takes of an axis: those of the open block, or all.
    fn index_range(&mut self, axis: AxisId) -> Result<(Value, Value)> {
        match self.block {
            Some((block, start, stop)) if block == axis => Ok((start, self.b.ins().isub(stop, start))),
            _ => {
                let size = self.nest.extents[axis.index()] as i64;
                Ok((self.b.ins().iconst(types::I64, 0), self.b.ins().iconst(types::I64, size)))
            }
        }
    }

    /// The address of a read's first row, and the stride from row to row.
    fn matrix_read(&mut self, read: Id, rows: AxisId, depth: AxisId) -> Result<(Value, i64)> {
        let (input, indices) = self.nest.graph.as_read(read).ok_or_else(|| fault("a read that is none"))?;
        let strides = &self.binding.layout.inputs[input.index()];
        let along = |axis: AxisId| {
            let mut dims = indices.iter().zip(strides);
            dims.find(|(i, _)| self.nest.graph.as_axis(**i) == Some(axis)).map(|(_, &stride)| stride as i64)
        };
        let (stride, step) = (along(rows).ok_or_else(|| fault("no rows"))?, along(depth));
        if step != Some(1) {
            return Err(fault("rows that do not run along memory"));
        }
        let (first, _) = self.index_range(rows)?;
        let offset = self.scaled(first, stride * i64::from(self.real.bytes()), false);
        let address = self.b.ins().iadd(self.inputs[input.index()], offset);
        Ok((address, stride))
    }

    /// The address of a slot's first element in the open block, and its strides along two axes.
    fn slot_matrix(&mut self, slot: SlotId, axes: [AxisId; 2]) -> Result<(Value, [i64; 2])> {
        let (place, dims) = (self.nest.slots[slot].place, self.nest.slots[slot].axes.clone());
        let bytes = i64::from(self.real.bytes());
        let (base, strides): (Value, Vec<(AxisId, i64)>) = match place {
            Place::Output(output) => {
                let dims = self.nest.graph.outputs[output].axes.iter().copied();
                let strides = self.binding.layout.outputs[output].iter().map(|&s| s as i64);
                (self.outputs[output], dims.zip(strides).collect())
            }
            Place::Row => {
                let base = self.slot_base(slot);
                let mut step = 1i64;
                let mut strides = vec![];
                for &axis in dims.iter().rev() {
                    strides.push((axis, step));
                    step = step.saturating_mul(self.nest.slot_extent(slot, axis) as i64);
                }
                (base, strides)
            }
            Place::Tile | Place::Sums => return Err(fault("a slot of another kind")),
        };
        let along = |axis: AxisId| {
            let found = strides.iter().find(|(a, _)| *a == axis).map(|(_, stride)| *stride);
            found.ok_or_else(|| fault("a slot without an axis"))
        };
        let found = [along(axes[0])?, along(axes[1])?];
        // Slots of a block begin with it; whole ones have it somewhere inside.
        let within = self.block.filter(|(block, ..)| !self.nest.slots[slot].block && axes.contains(block));
        let address = match within {
            Some((block, start, _)) => {
                let stride = if block == axes[0] { found[0] } else { found[1] };
                let offset = self.scaled(start, stride * bytes, false);
                self.b.ins().iadd(base, offset)
            }
            None => base,
        };
        Ok((address, found))
    }
}
