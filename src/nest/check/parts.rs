//! Parts: what threads share, and what each has for itself.

use super::{Checked, Checker, Scope, ensure};
use crate::ir::{AxisId, Id};
use crate::nest::{Place, SlotId, Step, opened, part_sums};

impl Checker<'_> {
    pub(super) fn part(&mut self, axis: AxisId, size: usize, body: &[Step]) -> Checked {
        let graph = &self.nest.graph;
        let outermost = self.lanes.is_none() && self.block.is_none() && self.bound.is_empty();
        ensure(outermost && size > 0, || "parts inside a loop".into())?;
        let along = |fold: Id| graph.as_fold(fold).is_some_and(|(_, bound, _)| bound == axis);
        ensure(!self.running.keys().any(|&fold| along(fold)), || "a fold begins before the parts of its axis".into())?;
        let Some((last, starts)) = body.split_last() else { return Err("a part without a loop".into()) };
        ensure(starts.iter().all(|step| matches!(step, Step::Start { .. })), || {
            "a part holds more than folds and a loop".into()
        })?;
        let loops = matches!(last, Step::Loop { .. } | Step::Tile { .. } | Step::Block { .. });
        ensure(loops && opened(last).is_some_and(|(inner, _)| inner == axis), || {
            "a part without a loop over its axis".into()
        })?;
        let sums: Vec<(Id, Option<SlotId>)> = part_sums(body).collect();
        for &(fold, slot) in &sums {
            let apart = slot.is_none_or(|s| self.nest.slots.get(s).is_some_and(|s| s.place == Place::Sums && !s.block));
            ensure(along(fold) && apart, || format!("fold %{fold} cannot be taken together from parts"))?;
        }
        self.scopes.push(Scope::default());
        self.body(body)?;
        let ended = self.scopes.pop().expect("pushed above");
        // A thread keeps to itself what it fills, but for the slots that threads share.
        let shared = self.nest.shared_slots();
        for slot in ended.filled {
            let found = &self.nest.slots[slot];
            let common = shared[slot] || matches!(found.place, Place::Output(_));
            if common {
                ensure(matches!(found.place, Place::Output(_)) || found.axes.contains(&axis), || {
                    format!("threads write the same element of the slot of %{}", found.value)
                })?;
            }
            if common || sums.iter().any(|(_, own)| *own == Some(slot)) {
                self.fill(slot);
            }
        }
        self.scope().values.extend(sums.into_iter().filter(|(_, slot)| slot.is_none()).map(|(fold, _)| fold));
        Ok(())
    }
}
