//! The recursion with an exponent for each number (`exact/loops.rs`): none underflows, however long the sequence or
//! unlikely the label.

mod lattice;
mod loops;

use super::Sequence;
use super::arena::Arena;
use super::rows::{Plane, Softmax};
use super::word::Word;
use lattice::{Lattice, State};
use loops::Loops;

/// Working memory.
pub(super) struct Exact<'a> {
    lattice: Lattice<'a>,
    /// Forward rows: all of one segment, or the last two.
    rows: State<'a>,
    /// The first forward row of each segment.
    starts: State<'a>,
    /// Two rows of the way back, and one between them.
    back: State<'a>,
    segment: usize,
}

impl<'a> Exact<'a> {
    pub(super) fn new(arena: &mut Arena<'a>, steps: usize, labels: usize, gradient: bool) -> Self {
        let segment = if gradient { (1 + steps.isqrt()).min(steps.max(1)) } else { 2 };
        let segments = if gradient { steps.div_ceil(segment).max(1) } else { 0 };
        Self {
            lattice: Lattice::new(arena, labels),
            rows: State::new(arena, labels, segment),
            starts: State::new(arena, labels, segments),
            back: State::new(arena, labels, if gradient { 3 } else { 0 }),
            segment,
        }
    }

    /// Gives the lattice the probabilities of a step.
    ///
    /// # Safety
    /// As for [`forward`](Self::forward).
    unsafe fn emit(&mut self, sequence: &Sequence, softmax: &Softmax, word: &Word, step: usize) {
        // SAFETY: the caller's promise.
        self.lattice.emit(word, unsafe { softmax.log_p(sequence.logits, step) });
    }

    /// The forward variables; the probability of the label by mantissa and exponent.
    ///
    /// # Safety
    /// The sequence's logits are valid at all of its steps, of which there are some, and at every class of the word.
    pub(super) unsafe fn forward(&mut self, sequence: &Sequence, softmax: &Softmax, word: &Word) -> (f64, i64) {
        let loops = Loops::of_this_machine();
        self.lattice.spell(word);
        for t in 0..sequence.steps {
            // SAFETY: the caller's promise.
            unsafe { self.emit(sequence, softmax, word, t) };
            let place = t % self.segment;
            if t == 0 {
                self.rows.begin(&self.lattice);
            } else {
                let from = if place == 0 { self.segment - 1 } else { place - 1 };
                self.rows.forward(&loops, &self.lattice, from, place, t);
            }
            if place == 0 && self.starts.rows() > 0 {
                self.starts.copy_row(t / self.segment, &self.rows, place);
            }
        }
        self.rows.total(&self.lattice, (sequence.steps - 1) % self.segment)
    }

    /// The backward variables, and with them the gradient at the classes of the label.
    ///
    /// # Safety
    /// As for [`forward`](Self::forward), and the gradient is valid where the logits are.
    pub(super) unsafe fn backward(
        &mut self,
        sequence: &Sequence,
        softmax: &Softmax,
        word: &Word,
        (plane, head): (Plane, f64),
        total: (f64, i64),
    ) {
        let loops = Loops::of_this_machine();
        let (mut now, mut next) = (0, 1);
        for t in (0..sequence.steps).rev() {
            let place = t % self.segment;
            let first = t - place;
            // The lattice has the emissions of the step before.
            if t + 1 == sequence.steps {
                self.back.end(&self.lattice, now);
            } else {
                self.back.backward(&loops, &self.lattice, next, now, t);
            }
            // Of the last segment the rows are still there.
            if t + 1 < sequence.steps && place + 1 == self.segment {
                self.rows.copy_row(0, &self.starts, first / self.segment);
                for t in first + 1..first + self.segment {
                    // SAFETY: the caller's promise; t < steps.
                    unsafe { self.emit(sequence, softmax, word, t) };
                    self.rows.forward(&loops, &self.lattice, t - first - 1, t - first, t);
                }
            }
            // SAFETY: as above.
            unsafe { self.emit(sequence, softmax, word, t) };
            self.lattice.weigh(word, (&self.rows, place), (&self.back, now), total);
            // SAFETY: as above.
            unsafe { plane.scatter(t, word.classes().iter().zip(self.lattice.slopes(head).iter().copied())) };
            (now, next) = (next, now);
        }
    }
}
