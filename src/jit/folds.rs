//! Folds: where they start, what a step takes in, how lanes and tiles come together. Sums over tiles are in f64.

use super::emit::{Emitter, Running};
use crate::error::Result;
use crate::ir::{AxisId, Fold, Id, Kind};
use crate::nest::SlotId;
use cranelift_codegen::ir::{InstBuilder, Value, types};

impl Emitter<'_> {
    pub(super) fn neutral(&self, fold: Id) -> f64 {
        if self.is_sum(fold) { 0.0 } else { f64::NEG_INFINITY }
    }

    pub(super) fn is_sum(&self, fold: Id) -> bool {
        matches!(self.nest.graph.as_fold(fold), Some((Fold::Sum, ..)))
    }

    pub(super) fn combine(&mut self, fold: Id, a: Value, b: Value) -> Value {
        if self.is_sum(fold) {
            return self.b.ins().fadd(a, b);
        }
        if self.b.func.dfg.value_type(a).is_vector() {
            return self.extreme(true, a, b, true, true);
        }
        self.b.ins().fmax(a, b)
    }

    /// The fold of a vector's lanes.
    pub(super) fn across(&mut self, fold: Id, vector: Value) -> Value {
        if self.lanes == 1 {
            return vector;
        }
        let lanes: Vec<Value> = (0..self.lanes).map(|i| self.b.ins().extractlane(vector, i as u8)).collect();
        let mut lanes = lanes;
        while lanes.len() > 1 {
            let half = lanes.len() / 2;
            lanes = (0..half).map(|i| self.combine(fold, lanes[i], lanes[i + half])).collect();
        }
        lanes[0]
    }

    /// The value of a fold that is finished. A maximum of zeros is +0: which of them comes first depends on the lanes.
    pub(super) fn total(&mut self, fold: Id) -> Value {
        let total = self.b.use_var(self.running[&fold].total);
        if self.is_sum(fold) {
            return total;
        }
        let zero = self.float_const(0.0, false);
        self.b.ins().fadd(total, zero)
    }

    /// Takes one element's worth of a fold into its total.
    pub(super) fn add_to_total(&mut self, fold: Id, value: Value) {
        let total = self.running[&fold].total;
        let known = self.b.use_var(total);
        let value =
            if self.is_sum(fold) && self.real == types::F32 { self.b.ins().fpromote(types::F64, value) } else { value };
        let sum = self.combine(fold, known, value);
        self.b.def_var(total, sum);
    }

    /// Adds part of a sum, in f64, to its total.
    pub(super) fn add_part(&mut self, fold: Id, part: Value) {
        let total = self.running[&fold].total;
        let known = self.b.use_var(total);
        let known = self.b.ins().fadd(known, part);
        self.b.def_var(total, known);
    }

    pub(super) fn start(&mut self, fold: Id, slot: Option<SlotId>) -> Result<()> {
        let neutral = self.neutral(fold);
        let sum = self.is_sum(fold);
        if let Some(slot) = slot {
            return self.fill(slot, neutral, sum);
        }
        let total = self.b.declare_var(if sum { types::F64 } else { self.real });
        let value = if sum { self.f64_const(neutral) } else { self.float_const(neutral, false) };
        self.b.def_var(total, value);
        self.running.insert(fold, Running { total });
        Ok(())
    }

    /// Sets every element of the part of a slot that the open loops and the open block fix.
    fn fill(&mut self, slot: SlotId, neutral: f64, sum: bool) -> Result<()> {
        let value = |e: &mut Self| if sum { e.f64_const(neutral) } else { e.float_const(neutral, false) };
        let axes: Vec<AxisId> = self.nest.slots[slot].axes.iter().copied().filter(|a| !self.is_open(*a)).collect();
        let found = &self.nest.slots[slot];
        // Of a slot that outlives the block, the other blocks' elements stay.
        if !found.block && self.block.is_some_and(|(axis, ..)| axes.contains(&axis)) {
            let value = value(self);
            return self.fill_each(slot, &axes, value);
        }
        let count = axes.iter().map(|&a| self.nest.slot_extent(slot, a) as i64).product::<i64>();
        let (address, region) = self.slot_address(slot)?;
        // Words by their bits: a vector would be kept on the stack across calls, and go through it for every store.
        let (width, bits) = match (sum, self.real) {
            (false, types::F32) => (4, u64::from((neutral as f32).to_bits()) * 0x1_0000_0001),
            _ => (8, neutral.to_bits()),
        };
        let bytes = count * width;
        for (first, last, step, words) in [(0, bytes & !31, 32, 4), (bytes & !31, bytes & !7, 8, 1)] {
            if first < last {
                let (first, last) = (self.b.ins().iconst(types::I64, first), self.b.ins().iconst(types::I64, last));
                self.counted(first, last, step, |e, offset| {
                    let at = e.b.ins().iadd(address, offset);
                    let flags = e.regions.flags(region);
                    for word in 0..words {
                        let bits = e.b.ins().iconst(types::I64, bits as i64);
                        e.b.ins().store(flags, bits, at, 8 * word);
                    }
                    Ok(())
                })?;
            }
        }
        if bytes % 8 != 0 {
            let flags = self.regions.flags(region);
            let bits = self.b.ins().iconst(types::I32, i64::from(bits as u32));
            self.b.ins().store(flags, bits, address, (bytes - 4) as i32);
        }
        Ok(())
    }

    /// Sets a slot's elements one by one, along axes that have no loop yet.
    fn fill_each(&mut self, slot: SlotId, axes: &[AxisId], value: Value) -> Result<()> {
        let Some((&axis, inner)) = axes.split_first() else {
            let (address, region) = self.slot_address(slot)?;
            let flags = self.regions.flags(region);
            self.b.ins().store(flags, value, address, 0);
            return Ok(());
        };
        let (first, last) = self.bounds(axis);
        self.counted(first, last, 1, |e, index| {
            e.at.insert(axis, index);
            e.fill_each(slot, inner, value)
        })?;
        self.at.remove(&axis);
        Ok(())
    }

    pub(super) fn fold(&mut self, fold: Id, slot: Option<SlotId>) -> Result<()> {
        let (kind, _, body) = self.nest.graph.as_fold(fold).expect("checked");
        let val = self.get(body)?;
        let wide = self.lanes > 1;
        let value = self.widen(val, Kind::Float, wide);
        let Some(slot) = slot else {
            if self.lane_axis.is_some() {
                let part = self.running[&fold].total;
                let known = self.b.use_var(part);
                let sum = self.combine(fold, known, value);
                self.b.def_var(part, sum);
            } else {
                self.add_to_total(fold, value);
            }
            return Ok(());
        };
        let (address, region) = self.slot_address(slot)?;
        if kind == Fold::Sum {
            let known = self.load_sums(address, wide);
            let more = self.widen_sums(value, wide);
            let sums: Vec<Value> = known.into_iter().zip(more).map(|(a, b)| self.b.ins().fadd(a, b)).collect();
            self.store_sums(&sums, address);
        } else {
            let flags = self.regions.flags(region);
            let ty = self.b.func.dfg.value_type(value);
            let known = self.load_lanes(ty, region, address);
            let top = self.combine(fold, known, value);
            self.b.ins().store(flags, top, address, 0);
        }
        Ok(())
    }
}
