//! What the classes of a label emit at each step, relative to the likeliest class of all.

use super::super::arena::Arena;
use super::super::rows::{Plane, exp_in_place};
use super::super::word::Word;
use super::loops::{Loops, exponent};
use std::ops::Range;

/// Steps whose emissions are made together: their exponentials are one call, without a rest in each row. A power of two.
pub(in super::super) const BATCH: usize = 16;

pub(in super::super) struct Emissions<'a> {
    loops: Loops,
    different: usize,
    /// The bits of a step that say where its row is kept: all, or those within a batch.
    kept: usize,
    /// By kept step and different class: e^(logit − the largest of the step).
    rows: &'a mut [f64],
    /// By step: how many binary digits the smallest emission is below 1.
    spread: &'a mut [u64],
}

impl<'a> Emissions<'a> {
    pub(super) fn new(arena: &mut Arena<'a>, steps: usize, labels: usize, gradient: bool) -> Self {
        let (rows, kept) = if gradient { (steps, usize::MAX) } else { (BATCH, BATCH - 1) };
        Self {
            loops: Loops::of_this_machine(),
            different: 0,
            kept,
            rows: arena.take((labels + 1).saturating_mul(rows)),
            spread: arena.take(steps),
        }
    }

    pub(super) fn spell(&mut self, word: &Word) {
        self.different = word.classes().len();
    }

    fn place(&self, step: usize) -> Range<usize> {
        let start = (step & self.kept) * self.different;
        start..start + self.different
    }

    /// Takes the logits of a step while they are in the cache; `top` is the largest.
    ///
    /// # Safety
    /// The logits are valid at the step and every class of the word.
    pub(in super::super) unsafe fn take(&mut self, logits: Plane, word: &Word, step: usize, top: f64) {
        let place = self.place(step);
        // SAFETY: the caller's promise.
        unsafe { logits.gather(step, word.classes(), top, &mut self.rows[place]) };
    }

    /// Makes emissions of the logits of a batch.
    pub(in super::super) fn make(&mut self, batch: Range<usize>) {
        let start = self.place(batch.start).start;
        exp_in_place(&mut self.rows[start..start + batch.len() * self.different]);
        for step in batch {
            let least = self.loops.least(&self.rows[self.place(step)]);
            self.spread[step] = -exponent(least) as u64;
        }
    }

    /// By different class.
    pub(super) fn row(&self, step: usize) -> &[f64] {
        &self.rows[self.place(step)]
    }

    /// Binary digits by which the smallest emission of a step is below 1; many where it is 0.
    pub(super) fn spread(&self, step: usize) -> u64 {
        self.spread[step]
    }
}
