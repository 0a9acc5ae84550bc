//! Parts: a long loop with sums along its own axis, cut so that threads can share it. Every part has sums of its own, which
//! are added in the order of the parts. Where the cuts are depends on extents and strides alone, and so do the results.
//!
//! Threads come to the parts in rounds: one for each step of parts, and a last one for what stands behind them all. A
//! round begins at the top of the nest and passes over the parts of the rounds before.

use super::{Layout, Nest, Place, SlotId, Step, TILE, opened};
use crate::ir::{AxisId, Id};

/// Less work than this is not worth parts, and a part has at least an eighth of it.
pub(super) const WORTH: usize = 1 << 19;

/// Parts of one loop: enough for the threads of a large machine.
const MOST: usize = 64;

/// Elements of the sums of all parts together: one megabyte.
const ELEMENTS: usize = 1 << 17;

/// Adding up the sums of the parts takes at most this part of what the threads share.
const LITTLE: usize = 64;

impl Nest {
    /// The rounds of one run, in order: how many indices each has for threads to share, none where one thread runs it.
    pub fn rounds(&self) -> Vec<usize> {
        let mut rounds: Vec<usize> = self.parts().map(|(axis, size, _)| self.count(axis, size)).collect();
        rounds.push(self.parallel_axis().map_or(0, |axis| self.extents[axis.index()]));
        rounds
    }

    /// The steps of parts, with the axis and the size of each.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (AxisId, usize, &[Step])> {
        self.body.iter().filter_map(|step| match step {
            Step::Part { axis, size, body } => Some((*axis, *size, &body[..])),
            _ => None,
        })
    }

    pub(crate) fn count(&self, axis: AxisId, size: usize) -> usize {
        self.extents[axis.index()].div_ceil(size.max(1))
    }

    /// Whether the so-manyth step, in the order of the text and counted from 1, is one of parts.
    pub(super) fn is_part(&self, at: usize) -> bool {
        at > 0 && self.steps().get(at - 1).is_some_and(|(_, step)| matches!(step, Step::Part { .. }))
    }

    /// By slot: whether threads share its memory, as one round fills it and another loads it.
    pub(crate) fn shared_slots(&self) -> Vec<bool> {
        let of_part = |step: &Step, slot: SlotId| match step {
            Step::Part { body, .. } => uses(body, slot, true) && !sums(body).any(|(_, own)| own == Some(slot)),
            _ => false,
        };
        let is_shared = |slot: SlotId| {
            let scratch = matches!(self.slots[slot].place, Place::Row | Place::Sums) && !self.slots[slot].block;
            let filled = self.body.iter().position(|step| of_part(step, slot));
            let elsewhere = |at: usize| {
                let mut others = self.body.iter().enumerate().filter(|(other, _)| *other != at);
                others.any(|(_, step)| uses(std::slice::from_ref(step), slot, false))
            };
            scratch && filled.is_some_and(elsewhere)
        };
        (0..self.slots.len()).map(is_shared).collect()
    }

    /// Whether a step that every thread runs for itself writes to an output.
    pub(super) fn is_written_by_all(&self) -> bool {
        let last = self.body.iter().rposition(|step| matches!(step, Step::Part { .. })).unwrap_or(0);
        self.body[..last].iter().any(|step| !matches!(step, Step::Part { .. }) && self.writes_output(step))
    }

    fn writes_output(&self, step: &Step) -> bool {
        (0..self.graph.outputs.len()).any(|output| super::in_place::writes_within(self, step, output))
    }
}

/// The sums of a part: those that start in it, with their slots.
pub(crate) fn sums(body: &[Step]) -> impl Iterator<Item = (Id, Option<SlotId>)> {
    body.iter().filter_map(|step| if let Step::Start { fold, slot } = step { Some((*fold, *slot)) } else { None })
}

/// Whether steps fill a slot, or (where `fills` is not set) touch it at all.
fn uses(body: &[Step], slot: SlotId, fills: bool) -> bool {
    body.iter().any(|step| match step {
        Step::Keep { slot: s, .. } => *s == slot,
        Step::Call { into, from, columns, .. } => {
            let reads = || {
                matches!(from, super::Source::Slot { slot: s, .. } if *s == slot)
                    || columns.is_some_and(|c| c.less_slot == slot)
            };
            *into == Some(slot) || columns.is_some_and(|c| c.sums == slot) || !fills && reads()
        }
        Step::Pairs { into, weight, .. } => *into == slot || !fills && *weight == Some(slot),
        Step::Start { slot: s, .. } | Step::Fold { slot: s, .. } => *s == Some(slot),
        Step::Load { slot: s, .. } => !fills && *s == slot,
        step => step.body().is_some_and(|body| uses(body, slot, fills)),
    })
}

/// The nest with its long loops in parts: those of at least so much work, as [`Nest::work`] counts it. With 0 all that can
/// be are. `None` where the outermost loop can be cut as it is, or nothing is gained.
pub fn split(nest: &Nest, layout: &Layout, worth: usize) -> Option<Nest> {
    if nest.parallel_axis().is_some() || nest.work() < 2 * worth {
        return None;
    }
    let work = |step: &Step| nest.work_of(std::slice::from_ref(step), 1);
    let is_long = |step: &Step| opened(step).is_some() && work(step) >= worth && size(nest, step, worth).is_some();
    let last = nest.body.iter().rposition(is_long)?;
    // What is short goes in parts too where it writes, as every thread would.
    let in_parts = |at: usize| {
        let step = &nest.body[at];
        is_long(step) || at < last && opened(step).is_some() && nest.writes_output(step)
    };
    let for_all = (0..last).filter(|&at| !in_parts(at)).map(|at| work(&nest.body[at]));
    if worth > 0 && for_all.fold(0, usize::saturating_add) > nest.work() / LITTLE {
        return None;
    }
    let (mut body, mut stores) = (vec![], vec![]);
    for (at, step) in nest.body.iter().enumerate() {
        match step {
            step if in_parts(at) => {
                let (axis, inner) = opened(step)?;
                let own = |s: &Step| matches!(s, Step::Start { fold, .. } if folds(inner, *fold));
                let mut part: Vec<Step> = body.extract_if(.., |s| own(s)).collect();
                part.push(step.clone());
                body.push(Step::Part { axis, size: size(nest, step, worth)?, body: part });
            }
            Step::Store { .. } if at < last => stores.push(step.clone()),
            step => body.push(step.clone()),
        }
    }
    body.extend(stores);
    let cut = Nest { body, ..nest.clone() };
    let holds = !cut.is_written_by_all() && super::check_on(&cut, layout).is_ok();
    (holds && super::check_in_place(&cut, layout).is_ok()).then_some(cut)
}

/// Indices of one part of a loop; `None` where its sums cannot be kept apart.
fn size(nest: &Nest, step: &Step, worth: usize) -> Option<usize> {
    let (axis, body) = opened(step)?;
    let along = |fold: Id| nest.graph.as_fold(fold).is_some_and(|(_, bound, _)| bound == axis);
    if any(body, &|step| matches!(step, Step::Pairs { fold, .. } if along(*fold))) {
        return None;
    }
    let mut elements = 0usize;
    for (fold, slot) in sums(&nest.body).filter(|(fold, _)| folds(body, *fold)) {
        let Some(slot) = slot else { continue };
        let found = &nest.slots[slot];
        if found.place != Place::Sums || found.block || !along(fold) {
            return None;
        }
        elements =
            found.axes.iter().fold(1usize, |n, a| n.saturating_mul(nest.extents[a.index()])).saturating_add(elements);
    }
    let (extent, each) = (nest.extents[axis.index()], elements.max(1));
    let work = nest.work_of(std::slice::from_ref(step), 1);
    let parts = match worth {
        0 => 3,
        _ => MOST.min(work.saturating_mul(8) / worth).min(ELEMENTS / each).min(work / LITTLE / each),
    };
    let together = match step {
        Step::Block { size, .. } => *size,
        Step::Tile { .. } => TILE,
        _ => 1,
    };
    (parts > 1 || elements == 0).then(|| extent.div_ceil(parts.max(1)).max(1).next_multiple_of(together))
}

/// Whether steps take anything into a fold.
fn folds(body: &[Step], fold: Id) -> bool {
    any(body, &|step| match step {
        Step::Fold { fold: f, .. } => *f == fold,
        Step::Call { sum, columns, .. } => *sum == Some(fold) || columns.is_some_and(|c| c.fold == fold),
        _ => false,
    })
}

fn any(body: &[Step], holds: &dyn Fn(&Step) -> bool) -> bool {
    body.iter().any(|step| step.body().map_or_else(|| holds(step), |body| any(body, holds)))
}
