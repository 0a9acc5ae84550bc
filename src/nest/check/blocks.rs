//! Blocks of rows, and sums over pairs of rows: what they read and write, and when it is there.

use super::{Checked, Checker, Scope, ensure};
use crate::ir::{AxisId, AxisSet, Id};
use crate::nest::{PairSum, Place, SlotId, Step, pair_sum};

impl Checker<'_> {
    pub(super) fn blocks(&mut self, axis: AxisId, size: usize, body: &[Step]) -> Checked {
        ensure(self.lanes.is_none() && self.block.is_none(), || "blocks inside blocks or lanes".into())?;
        ensure(!self.bound.contains(&axis), || "an axis has blocks inside its loop".into())?;
        ensure(self.nest.block() == Some((axis, size)) && size > 0, || "a nest has two kinds of blocks".into())?;
        self.block = Some((axis, vec![]));
        self.scopes.push(Scope::default());
        self.body(body)?;
        let ended = self.scopes.pop().expect("pushed above");
        let (_, sums) = self.block.take().expect("set above");
        let lasting = ended.filled.into_iter().filter(|&s| !self.nest.slots[s].block);
        let lasting: Vec<_> = lasting.chain(sums).collect();
        self.scope().filled.extend(lasting);
        self.finish(axis);
        Ok(())
    }

    /// A sum over pairs reads two matrices and writes one, along axes that have no loop.
    pub(super) fn pairs(&mut self, fold: Id, weight: Option<SlotId>, into: SlotId) -> Checked {
        let graph = &self.nest.graph;
        let sum = pair_sum(graph, fold).ok_or("a sum over pairs that is none")?;
        let (block, _) = self.block.as_ref().ok_or("a sum over pairs outside a block")?;
        let block = *block;
        let alone = self.lanes.is_none() && self.bound.is_empty();
        ensure(alone && [sum.rows, sum.columns].contains(&block), || "a sum over pairs in the wrong loops".into())?;
        self.bound.extend([sum.rows, sum.columns, sum.depth]);
        let reads = sum.x.map_or(Ok(()), |x| self.readable(x)).and_then(|()| self.readable(sum.y));
        self.bound.clear();
        reads?;
        let whole = |slot: SlotId, value: Id| {
            self.slot_of(slot, value)?;
            let found = &self.nest.slots[slot];
            let axes: AxisSet = found.axes.iter().copied().collect();
            let floats = !matches!(found.place, Place::Sums | Place::Tile);
            ensure(floats && axes == graph.ty(value).axes, || format!("the slot of %{value} has other axes"))?;
            match found.place {
                Place::Output(o) => {
                    ensure(!self.stored.contains(&o), || format!("the slot of %{value} is overwritten"))
                }
                _ => Ok(()),
            }
        };
        ensure(weight.is_some() == sum.weight.is_some(), || "a sum over pairs lacks its weight".into())?;
        if let (Some(slot), Some(value)) = (weight, sum.weight) {
            whole(slot, value)?;
            ensure(self.scopes.iter().any(|s| s.filled.contains(&slot)), || format!("the slot of %{value} is empty"))?;
        }
        whole(into, fold)?;
        self.rows_along_memory(&sum, into)?;
        let lasts = !graph.ty(fold).axes.contains(block);
        ensure(!lasts || self.nest.parts().next().is_none(), || "a sum over the pairs of all parts".into())?;
        ensure(!self.nest.slots[into].block || !lasts, || "a sum of all blocks in one".into())?;
        match &mut self.block {
            Some((_, sums)) if lasts => sums.push(into),
            _ => self.fill(into),
        }
        Ok(())
    }

    /// The kernel takes rows whose elements are neighbours.
    fn rows_along_memory(&self, sum: &PairSum, into: SlotId) -> Checked {
        let Some(layout) = self.layout else { return Ok(()) };
        let graph = &self.nest.graph;
        for read in sum.x.into_iter().chain([sum.y]) {
            let (input, indices) = graph.as_read(read).ok_or("a read of no buffer")?;
            let mut dims = indices.iter().zip(&layout.inputs[input.index()]);
            let along = dims.any(|(&i, &stride)| graph.as_axis(i) == Some(sum.depth) && stride == 1);
            ensure(along, || format!("rows of {} do not run along memory", graph.input(input).name))?;
        }
        let found = &self.nest.slots[into];
        match found.place {
            _ if sum.weight.is_none() => Ok(()),
            Place::Output(output) => {
                let mut dims = graph.outputs[output].axes.iter().zip(&layout.outputs[output]);
                let along = dims.any(|(&axis, &stride)| axis == sum.depth && stride == 1);
                ensure(along, || format!("rows of {} do not run along memory", graph.outputs[output].name))
            }
            _ => ensure(found.axes.last() == Some(&sum.depth), || "rows of a slot that do not run along memory".into()),
        }
    }
}
