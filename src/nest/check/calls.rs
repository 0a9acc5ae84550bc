//! Calls of elementary functions: what they take from memory, and where their results go.

use super::{Checked, Checker, ensure};
use crate::ir::{AxisId, Fold, Id, Kind, Point};
use crate::nest::{Columns, Layout, Place, SlotId, Source};

impl Checker<'_> {
    /// Whether a call can take its tile from memory as a read has it: floats, one beside the other.
    fn is_tile(&self, read: Id, lane: AxisId) -> Checked {
        let graph = &self.nest.graph;
        let (input, indices) = graph.as_read(read).ok_or("a read of no buffer")?;
        let along = |index: &Id| graph.as_axis(*index) == Some(lane);
        let steps_by_one = |layout: &Layout| {
            let steps = indices.iter().zip(&layout.inputs[input.index()]).filter(|(i, _)| along(i));
            steps.map(|(_, &stride)| stride).sum::<isize>() == 1
        };
        let fixed = indices.iter().all(|i| along(i) || !graph.ty(*i).axes.contains(lane));
        ensure(graph.ty(read).kind == Kind::Float && fixed && self.layout.is_none_or(steps_by_one), || {
            format!("a call takes {} across lanes", graph.input(input).name)
        })
    }

    pub(super) fn call(
        &mut self,
        value: Id,
        from: Source,
        into: Option<SlotId>,
        sum: Option<Id>,
        columns: Option<Columns>,
    ) -> Checked {
        let graph = &self.nest.graph;
        let Some((axis, false)) = self.lanes else { return Err("a call outside a tile".into()) };
        let (point, args) = graph.as_point(value).filter(|(p, _)| p.is_math()).ok_or("a call of no function")?;
        ensure(args.len() == 1, || format!("{} takes more than a tile", point.name()))?;
        let source = from.value();
        match from {
            Source::Slot { slot, .. } => {
                self.slot_of(slot, source)?;
                self.in_lanes(slot, axis)?;
                self.indexable(slot)?;
                ensure(self.scopes.iter().any(|s| s.filled.contains(&slot)), || "a call of an empty slot".into())?;
            }
            Source::Read(read) => {
                self.lanes = Some((axis, true));
                self.readable(read)?;
                self.is_tile(read, axis)?;
                self.lanes = Some((axis, false));
            }
        }
        if let Some(columns) = columns {
            self.columns(value, source, columns, axis)?;
            ensure(sum.is_none(), || "a call with two sums".into())?;
        } else if args[0] != source {
            let (outer, operands) = graph.as_point(args[0]).ok_or("a call of something not affine")?;
            ensure(matches!(outer, Point::Neg | Point::Add | Point::Sub | Point::Mul), || {
                format!("{} is not affine", outer.name())
            })?;
            ensure(operands.iter().filter(|&&o| o == source).count() == 1, || "a call of another tile".into())?;
            operands.iter().filter(|&&o| o != source).try_for_each(|&o| self.available(o))?;
        }
        if let Some(slot) = into {
            self.slot_of(slot, value)?;
            self.indexable(slot)?;
            self.in_lanes(slot, axis)?;
            self.fill(slot);
        }
        // Sums are in f64, and so is what is called for them.
        let in_sums = |slot: SlotId| self.nest.slots[slot].place == Place::Sums;
        let from_sums = matches!(from, Source::Slot { slot, .. } if in_sums(slot));
        ensure(from_sums == into.is_some_and(in_sums) && !(from_sums && (sum.is_some() || args[0] != source)), || {
            format!("{} goes from sums to other floats, or back", point.name())
        })?;
        if let Some(fold) = sum {
            let (kind, bound, body) = graph.as_fold(fold).ok_or("a sum that is none")?;
            ensure(kind == Fold::Sum && bound == axis && body == value, || "a call adds to another fold".into())?;
            ensure(self.running.get(&fold) == Some(&None), || format!("fold %{fold} has not started"))?;
        }
        Ok(())
    }
    /// A call of the difference of two tiles, whose lanes have sums of their own.
    fn columns(&mut self, value: Id, source: Id, columns: Columns, axis: AxisId) -> Checked {
        let graph = &self.nest.graph;
        let Columns { less, less_slot, fold, sums } = columns;
        let argument = graph.as_point(graph.node(value).args[0]);
        ensure(matches!(argument, Some((Point::Sub, &[a, b])) if a == source && b == less), || {
            "a call of something else than a difference".into()
        })?;
        self.slot_of(less_slot, less)?;
        self.in_lanes(less_slot, axis)?;
        self.indexable(less_slot)?;
        ensure(self.scopes.iter().any(|s| s.filled.contains(&less_slot)), || "a call of an empty slot".into())?;
        let found = graph.as_fold(fold);
        let own = matches!(found, Some((Fold::Sum, bound, body)) if body == value && bound != axis && self.bound().contains(bound));
        ensure(own && self.running.get(&fold) == Some(&Some(sums)), || format!("fold %{fold} has not started"))?;
        self.in_lanes(sums, axis)?;
        self.indexable(sums)?;
        let place = |slot: SlotId| self.nest.slots[slot].place;
        ensure(place(sums) == Place::Sums && place(less_slot) != Place::Sums, || {
            format!("fold %{fold} is in the wrong place")
        })
    }
}
