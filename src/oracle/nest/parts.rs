//! Parts: each as by a thread of its own, which has nothing but the shared slots from another; then their sums together.

use super::{Done, Machine, Number};
use crate::ir::{AxisId, Fold, Id};
use crate::nest::{SlotId, Step, part_sums};

impl Machine<'_> {
    pub(super) fn run_parts(&mut self, axis: AxisId, size: usize, body: &[Step]) -> Done {
        if self.part.is_some() || self.block.is_some() || size == 0 {
            return Err("parts inside a loop".into());
        }
        let sums: Vec<(Id, Option<SlotId>)> = part_sums(body).collect();
        let shared = self.nest.shared_slots();
        let before = self.slots.clone();
        let mut parts: Vec<Vec<Vec<f64>>> = vec![];
        let all = self.open(axis)?;
        for start in all.clone().step_by(size) {
            self.part = Some((axis, start..all.end.min(start + size)));
            self.scopes.push(Default::default());
            self.body(body)?;
            parts.push(sums.iter().map(|sum| self.total(*sum)).collect::<Done<_>>()?);
            self.scopes.pop();
            for slot in (0..self.slots.len()).filter(|&slot| !shared[slot]) {
                self.slots[slot].clone_from(&before[slot]);
            }
        }
        self.part = None;
        for (place, (fold, slot)) in sums.into_iter().enumerate() {
            self.start(fold, slot)?;
            self.running.remove(&fold);
            let largest = matches!(self.nest.graph.as_fold(fold), Some((Fold::Amax, ..)));
            let take = |known: f64, more: f64| if largest { known.max(more) } else { known + more };
            match slot {
                None => {
                    let neutral = if largest { f64::NEG_INFINITY } else { 0.0 };
                    let total = parts.iter().fold(neutral, |total, part| take(total, part[place][0]));
                    self.define(fold, Number::Float(total))?;
                }
                Some(slot) => {
                    for part in &parts {
                        let elements = self.slots[slot].iter_mut().zip(&part[place]);
                        elements.for_each(|(known, &more)| *known = known.map(|known| take(known, more)));
                    }
                }
            }
        }
        Ok(())
    }

    /// What a fold has come to by the end of a part.
    fn total(&self, (fold, slot): (Id, Option<SlotId>)) -> Done<Vec<f64>> {
        match slot {
            None => Ok(vec![self.get(fold)?.float()?]),
            Some(slot) => {
                let whole: Option<Vec<f64>> = self.slots[slot].iter().copied().collect();
                whole.ok_or_else(|| format!("fold %{fold} of a part is not whole"))
            }
        }
    }
}
