//! Parts: a round does its share of them and returns; later rounds pass over them and take their sums together.

use super::emit::Emitter;
use super::memory::Region;
use super::slots::elements_of;
use crate::error::Result;
use crate::ir::{AxisId, Id};
use crate::nest::{SlotId, Step, part_sums};
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Type, Value, types};

/// A sum of a part: its fold, its slot, its place among those of the part in bytes.
type Sum = (Id, Option<SlotId>, i64);

impl Emitter<'_> {
    pub(super) fn part(&mut self, axis: AxisId, size: usize, body: &[Step]) -> Result<()> {
        let round = self.rounds as i64;
        self.rounds += 1;
        let mut sums: Vec<Sum> = vec![];
        let mut place = 0;
        for (fold, slot) in part_sums(body) {
            sums.push((fold, slot, place));
            place += 8 * slot.map_or(1, |slot| elements_of(self.nest, slot)) as i64;
        }
        let (mine, later) = (self.b.create_block(), self.b.create_block());
        let now = self.b.ins().icmp_imm_s(IntCC::Equal, self.round, round);
        self.b.ins().brif(now, mine, &[], later, &[]);
        self.b.switch_to_block(mine);
        self.b.seal_block(mine);
        self.share(axis, size, body, &sums)?;
        let status = self.b.use_var(self.status);
        self.b.ins().return_(&[status]);
        self.b.switch_to_block(later);
        self.b.seal_block(later);
        sums.iter().try_for_each(|&sum| self.together(sum, self.nest.count(axis, size) as i64))
    }

    /// The caller's share of the parts.
    fn share(&mut self, axis: AxisId, size: usize, body: &[Step], sums: &[Sum]) -> Result<()> {
        let extent = self.nest.extents[axis.index()] as i64;
        let (first, last) = self.range;
        self.counted(first, last, 1, |e, index| {
            let start = e.b.ins().imul_imm_s(index, size as i64);
            let end = e.b.ins().iadd_imm_s(start, size as i64);
            let whole = e.b.ins().iconst(types::I64, extent);
            let stop = e.b.ins().smin(end, whole);
            e.part = Some((axis, start, stop));
            e.body(body)?;
            e.part = None;
            for &(fold, slot, place) in sums {
                let there = e.sums_of_part(index, place);
                let flags = e.regions.flags(Region::Scratch);
                match slot {
                    None => {
                        let total = e.b.use_var(e.running[&fold].total);
                        e.b.ins().store(flags, total, there, 0);
                    }
                    Some(slot) => {
                        let base = e.slot_base(slot);
                        e.each_element(slot, |e, offset| {
                            let from = e.b.ins().iadd(base, offset);
                            let to = e.b.ins().iadd(there, offset);
                            let sum = e.b.ins().load(types::F64, flags, from, 0);
                            e.b.ins().store(flags, sum, to, 0);
                            Ok(())
                        })?;
                    }
                }
            }
            Ok(())
        })?;
        Ok(())
    }

    /// A fold's total from those of all parts.
    fn together(&mut self, (fold, slot, place): Sum, count: i64) -> Result<()> {
        self.start(fold, slot)?;
        let (first, last) = (self.b.ins().iconst(types::I64, 0), self.b.ins().iconst(types::I64, count));
        let flags = self.regions.flags(Region::Scratch);
        self.counted(first, last, 1, |e, index| {
            let there = e.sums_of_part(index, place);
            let Some(slot) = slot else {
                let total = e.running[&fold].total;
                let known = e.b.use_var(total);
                let ty: Type = e.b.func.dfg.value_type(known);
                let more = e.b.ins().load(ty, flags, there, 0);
                let sum = e.combine(fold, known, more);
                e.b.def_var(total, sum);
                return Ok(());
            };
            let base = e.slot_base(slot);
            e.each_element(slot, |e, offset| {
                let (from, to) = (e.b.ins().iadd(there, offset), e.b.ins().iadd(base, offset));
                let known = e.b.ins().load(types::F64, flags, to, 0);
                let more = e.b.ins().load(types::F64, flags, from, 0);
                let sum = e.b.ins().fadd(known, more);
                e.b.ins().store(flags, sum, to, 0);
                Ok(())
            })
        })?;
        Ok(())
    }

    /// Where a sum of a part lies in shared memory.
    fn sums_of_part(&mut self, part: Value, place: i64) -> Value {
        let (base, bytes) = self.parts[self.rounds - 1];
        let offset = self.b.ins().imul_imm_s(part, bytes as i64);
        let start = self.b.ins().iadd_imm_s(offset, base as i64 + place);
        self.b.ins().iadd(self.shared, start)
    }

    /// The offset in bytes of every element of a slot of sums.
    fn each_element(&mut self, slot: SlotId, body: impl FnOnce(&mut Self, Value) -> Result<()>) -> Result<()> {
        let bytes = 8 * elements_of(self.nest, slot) as i64;
        let (first, last) = (self.b.ins().iconst(types::I64, 0), self.b.ins().iconst(types::I64, bytes));
        self.counted(first, last, 8, body)?;
        Ok(())
    }
}
