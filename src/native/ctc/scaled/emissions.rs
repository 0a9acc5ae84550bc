//! What the entries of a label emit at each step, relative to the likeliest class of all.

#[cfg(target_arch = "x86_64")]
mod registers;

use super::super::Ctc;
use super::super::arena::Arena;
use super::super::rows::{Plane, exp_in_place};
use super::super::word::Word;
use super::loops::{Block, Emission, LANES, Loops, smaller};
#[cfg(target_arch = "x86_64")]
use registers::Registers;
use std::f64::consts::LOG2_E;
use std::ops::Range;

/// Steps whose emissions are made together: their exponentials are one call, without a rest in each row. A power of two.
pub(in super::super) const BATCH: usize = 16;

/// A spread that no exponents allow.
const NO_END: f64 = 1e4;

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
    blanks: &'a mut [Block<f64>],
    /// By step: how many binary digits the smallest emission is below 1.
    spread: &'a mut [u16],
    /// Where they can make them.
    #[cfg(target_arch = "x86_64")]
    registers: Option<Registers<'a>>,
}

/// Blocks of so many entries, at least one.
fn width(labels: usize) -> usize {
    labels.div_ceil(LANES).max(1)
}

impl<'a> Emissions<'a> {
    pub(super) fn new(arena: &mut Arena<'a>, call: &Ctc, gradient: bool) -> Self {
        let (rows, kept) = if gradient { (call.steps.saturating_add(1), usize::MAX) } else { (BATCH, BATCH - 1) };
        let (loops, width) = (Loops::of_this_machine(), width(call.labels));
        Self {
            loops,
            classes: arena.take(width.saturating_mul(LANES)),
            width: 1,
            kept,
            entries: arena.take(width.saturating_mul(rows)),
            blanks: arena.take(rows.div_ceil(LANES)),
            spread: arena.take(call.steps.saturating_add(1)),
            #[cfg(target_arch = "x86_64")]
            registers: Registers::new(arena, loops, call, width.saturating_mul(LANES)),
        }
    }

    pub(super) fn spell(&mut self, word: &Word) {
        self.width = width(word.count);
        let classes = &mut self.classes[..self.width * LANES];
        classes.fill(word.classes()[0]);
        for (class, &place) in classes.iter_mut().zip(word.places()) {
            *class = word.classes()[place as usize];
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(registers) = &mut self.registers {
            registers.spell(classes);
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

    /// Takes the logits of some steps of a batch while they are in the cache; `tops` are the largest.
    ///
    /// # Safety
    /// The logits are valid at the steps and every class.
    pub(in super::super) unsafe fn take(&mut self, logits: Plane, word: &Word, steps: Range<usize>, tops: &[f64]) {
        let mut least = [0.0; BATCH];
        let least = &mut least[..steps.len()];
        // SAFETY: the caller's promise.
        unsafe { self.lower(logits, word, steps.clone(), tops, least) };
        for (spread, least) in self.spread[steps].iter_mut().zip(least) {
            // It may be one more than the exponent says, and where that is almost whole one less: neither matters.
            *spread = (-*least * LOG2_E).min(NO_END) as u16 + 1;
        }
    }

    /// The logits of entries and the blank less the largest; the least of each step.
    ///
    /// # Safety
    /// As for [`take`](Self::take).
    unsafe fn lower(&mut self, logits: Plane, word: &Word, steps: Range<usize>, tops: &[f64], least: &mut [f64]) {
        let blank = word.classes()[0] as usize;
        let (blocks, places) = (self.blocks(steps.clone()), self.places(steps.clone()));
        let (entries, blanks) = (&mut self.entries[blocks], &mut self.blanks.as_flattened_mut()[places]);
        #[cfg(target_arch = "x86_64")]
        if let Some(registers) = &self.registers {
            let rows = registers::Rows { logits, blank, first: steps.start, tops };
            // SAFETY: the caller's promise; rows are f32 along memory, and the machine has AVX-512.
            return unsafe { registers.take(rows, entries, blanks, least) };
        }
        let rows = entries.chunks_exact_mut(self.width).zip(tops).zip(blanks).zip(least);
        for (step, (((entries, &top), of_blank), least)) in steps.zip(rows) {
            // SAFETY: the caller's promise.
            unsafe {
                logits.gather(step, &self.classes[..entries.len() * LANES], top, entries.as_flattened_mut());
                *of_blank = logits.read(step, blank) - top;
            }
            *least = smaller(self.loops.least(entries), *of_blank);
        }
    }

    /// Makes emissions of the logits of a batch.
    pub(in super::super) fn make(&mut self, batch: Range<usize>) {
        let (blocks, places) = (self.blocks(batch.clone()), self.places(batch));
        // Whole blocks: those behind the last step are not used.
        let blanks = &mut self.blanks[places.start / LANES..places.end.div_ceil(LANES)];
        let entries = &mut self.entries[blocks];
        #[cfg(target_arch = "x86_64")]
        if self.registers.is_some() {
            // SAFETY: the machine has AVX-512.
            return unsafe { [blanks, entries].into_iter().for_each(|x| registers::exp(x)) };
        }
        exp_in_place(blanks.as_flattened_mut());
        exp_in_place(entries.as_flattened_mut());
    }

    /// Makes a step behind the last emit the blank alone.
    pub(super) fn end(&mut self, steps: usize) {
        let (blocks, place) = (self.blocks(steps..steps + 1), self.places(steps..steps + 1).start);
        self.entries[blocks].fill([0.0; LANES]);
        self.blanks.as_flattened_mut()[place] = 1.0;
        self.spread[steps] = 0;
    }

    /// What some steps emit, of one batch where only batches are kept.
    pub(super) fn of(&self, steps: Range<usize>) -> Emission<'_> {
        let places = self.places(steps.clone());
        Emission { entries: &self.entries[self.blocks(steps)], blanks: &self.blanks.as_flattened()[places] }
    }

    /// By step: binary digits by which the smallest emission is below 1; many where it is 0.
    pub(super) fn spread(&self, steps: Range<usize>) -> &[u16] {
        &self.spread[steps]
    }
}
