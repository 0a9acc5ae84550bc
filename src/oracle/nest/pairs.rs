//! Blocks of rows, and sums over pairs of rows: term by term, as the fold in the graph says.

use super::{Done, Machine, Number, apply};
use crate::ir::{AxisId, Id, Op};
use crate::nest::{SlotId, Step};
use std::ops::Range;

impl Machine<'_> {
    pub(super) fn run_blocks(&mut self, axis: AxisId, size: usize, body: &[Step]) -> Done {
        if self.block.is_some() || size == 0 {
            return Err("blocks inside blocks".into());
        }
        let all = self.open(axis)?;
        for start in all.clone().step_by(size) {
            for slot in 0..self.slots.len() {
                if self.nest.slots[slot].block {
                    self.slots[slot].fill(None);
                }
            }
            self.block = Some((axis, start..all.end.min(start + size)));
            self.scopes.push(Default::default());
            self.body(body)?;
            self.scopes.pop();
        }
        self.block = None;
        self.close(axis)
    }

    /// The indices that a loop over an axis has: those of the open block or part, or all.
    pub(super) fn range(&self, axis: AxisId) -> Range<usize> {
        let mut open = self.block.iter().chain(&self.part);
        open.find(|(open, _)| *open == axis).map_or(0..self.nest.extents[axis.index()], |(_, range)| range.clone())
    }

    /// Where a block slot's element at the open loops' indices lies.
    pub(super) fn place_in_block(&self, slot: SlotId) -> Done<usize> {
        self.nest.slots[slot].axes.iter().try_fold(0, |place, &axis| {
            let index = self.at[axis.index()].ok_or("memory along an axis outside its loop")?;
            let index = index.checked_sub(self.range(axis).start).ok_or("an index before its block")?;
            let extent = self.nest.slot_extent(slot, axis);
            if index < extent { Ok(place * extent + index) } else { Err("an index behind its block".to_string()) }
        })
    }

    pub(super) fn pairs(&mut self, fold: Id, weight: Option<SlotId>, into: SlotId) -> Done {
        let (_, along, body) = self.nest.graph.as_fold(fold).ok_or("a fold that is none")?;
        let axes: Vec<AxisId> = self.nest.graph.ty(fold).axes.iter().collect();
        self.each(&axes, &mut |machine| {
            let mut total = 0.0;
            for index in machine.range(along) {
                machine.at[along.index()] = Some(index);
                total += machine.term(body, weight)?.float()?;
            }
            machine.at[along.index()] = None;
            let earlier = machine.range(along).start > 0;
            let element = machine.element(into)?;
            let known = if earlier { element.ok_or("a sum of blocks that has no beginning")? } else { 0.0 };
            *element = Some(known + total);
            Ok(())
        })
    }

    /// Runs for every index of the axes.
    fn each(&mut self, axes: &[AxisId], run: &mut dyn FnMut(&mut Self) -> Done) -> Done {
        let Some((&axis, inner)) = axes.split_first() else { return run(self) };
        for index in self.range(axis) {
            self.at[axis.index()] = Some(index);
            self.each(inner, run)?;
        }
        self.at[axis.index()] = (self.nest.extents[axis.index()] == 1).then_some(0);
        Ok(())
    }

    /// A term of the sum, from the buffers and from the slot of the weight.
    fn term(&mut self, value: Id, weight: Option<SlotId>) -> Done<Number> {
        if let Some(slot) = weight.filter(|&slot| self.nest.slots[slot].value == value) {
            return Ok(Number::Float(self.load(slot)?));
        }
        match self.nest.graph.op(value) {
            Op::Read => self.read(value),
            Op::Point(point) => {
                let args = self.nest.graph.node(value).args.clone();
                let args = args.iter().map(|&a| self.term(a, weight)).collect::<Done<Vec<_>>>()?;
                apply(point, &args)
            }
            _ => self.get(value),
        }
    }
}
