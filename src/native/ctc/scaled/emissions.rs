//! What the entries of a label emit at each step, relative to the likeliest class of all.

use super::super::arena::Arena;
use super::super::rows::{Plane, exp_in_place};
use super::super::word::Word;
use super::loops::{Block, Emission, LANES, Loops};
use std::ops::Range;

/// Steps whose emissions are made together: their exponentials are one call, without a rest in each row. A power of two.
pub(in super::super) const BATCH: usize = 16;

pub(in super::super) struct Emissions<'a> {
    loops: Loops,
    /// By lane: the class of the entry; behind the last entry any that the label or the blank has.
    classes: &'a mut [u64],
    /// Blocks that have an entry, at least one.
    width: usize,
    /// The bits of a step that say where its row is kept: all, or those within a batch.
    kept: usize,
    /// By kept step and entry: e^(logit − the largest of the step).
    entries: &'a mut [Block<f64>],
    /// By kept step: the same of the blank.
    blanks: &'a mut [f64],
    /// By step: how many binary digits the smallest emission is below 1.
    spread: &'a mut [u64],
}

/// Blocks of so many entries, at least one.
fn width(labels: usize) -> usize {
    labels.div_ceil(LANES).max(1)
}

impl<'a> Emissions<'a> {
    pub(super) fn new(arena: &mut Arena<'a>, steps: usize, labels: usize, gradient: bool) -> Self {
        let (rows, kept) = if gradient { (steps.saturating_add(1), usize::MAX) } else { (BATCH, BATCH - 1) };
        Self {
            loops: Loops::of_this_machine(),
            classes: arena.take(width(labels).saturating_mul(LANES)),
            width: 1,
            kept,
            entries: arena.take(width(labels).saturating_mul(rows)),
            blanks: arena.take(rows),
            spread: arena.take(steps.saturating_add(1)),
        }
    }

    pub(super) fn spell(&mut self, word: &Word) {
        self.width = width(word.count);
        self.classes[..self.width * LANES].fill(word.classes()[0]);
        for (class, &place) in self.classes.iter_mut().zip(word.places()) {
            *class = word.classes()[place as usize];
        }
    }

    /// Where some steps are kept.
    fn places(&self, steps: Range<usize>) -> Range<usize> {
        let start = steps.start & self.kept;
        start..start + steps.len()
    }

    fn blocks(&self, steps: Range<usize>) -> Range<usize> {
        let places = self.places(steps);
        places.start * self.width..places.end * self.width
    }

    /// Takes the logits of a step while they are in the cache; `top` is the largest.
    ///
    /// # Safety
    /// The logits are valid at the step and every class of the word.
    pub(in super::super) unsafe fn take(&mut self, logits: Plane, word: &Word, step: usize, top: f64) {
        let (blocks, place) = (self.blocks(step..step + 1), self.places(step..step + 1).start);
        let entries = self.entries[blocks].as_flattened_mut();
        // SAFETY: the caller's promise.
        unsafe {
            logits.gather(step, &self.classes[..entries.len()], top, entries);
            self.blanks[place] = logits.read(step, word.classes()[0] as usize) - top;
        }
    }

    /// Makes emissions of the logits of a batch.
    pub(in super::super) fn make(&mut self, batch: Range<usize>) {
        let (blocks, places) = (self.blocks(batch.clone()), self.places(batch.clone()));
        let (entries, blanks) = (&mut self.entries[blocks], &mut self.blanks[places]);
        exp_in_place(entries.as_flattened_mut());
        exp_in_place(blanks);
        self.loops.spreads(&mut self.spread[batch], Emission { entries, blanks });
    }

    /// Makes a step behind the last emit the blank alone.
    pub(super) fn end(&mut self, steps: usize) {
        let (blocks, place) = (self.blocks(steps..steps + 1), self.places(steps..steps + 1).start);
        self.entries[blocks].fill([0.0; LANES]);
        self.blanks[place] = 1.0;
        self.spread[steps] = 0;
    }

    /// What some steps emit, of one batch where only batches are kept.
    pub(super) fn of(&self, steps: Range<usize>) -> Emission<'_> {
        let places = self.places(steps.clone());
        Emission { entries: &self.entries[self.blocks(steps)], blanks: &self.blanks[places] }
    }

    /// By step: binary digits by which the smallest emission is below 1; many where it is 0.
    pub(super) fn spread(&self, steps: Range<usize>) -> &[u64] {
        &self.spread[steps]
    }
}
