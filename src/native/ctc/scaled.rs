//! The recursion in plain f64, where that is exact; else it says so, and `exact.rs` does the sequence.
//!
//! A number of the recursion is a mantissa under an exponent, and exponents stay in force for some steps: what flows from
//! one place to another is multiplied by the power of two between their exponents, and nothing else tells this from a
//! recursion in plain numbers. Then exponents are renewed: each mantissa becomes 1 to 4.
//!
//! Nothing is lost, however far numbers are apart:
//! * Every class of the label has a positive emission, else the sequence is given up. So once a path reaches a place its
//!   number stays positive, and each step it is at least its own last value times an emission.
//! * Exponents fall by [`FALL`] at most along the flow: a number that is lower takes a higher exponent, and a smaller
//!   mantissa. With one below 2^-[`FLOOR`] the sequence is given up.
//! * Until the next renewal emissions shrink a mantissa by 2^-[`SHRINK`] at most: they are taken relative to the likeliest
//!   class of the step, exponents are renewed before that is spent, and a step that needs more is given up.
//! * Nor does any grow by more than 2^[`GROW`]: a step adds three numbers at most, each times the steepest fall of the
//!   exponents in force. That is eight steps where it is [`FALL`], and mostly several times as many.
//!
//! So positive mantissas stay above 2^-(580 + 300) = 2^-880, and below 4 · 2^656 = 2^658, and what underflows on its way to
//! another place is far below the rounding of the number there:
//! * Where there is none yet, the first that can come is multiplied by 1: an entry has the exponent of the blank that flows
//!   there or, where that is not lower, one [`FALL`] below the entry's; a blank has that of its entry.
//! * A product that underflows is below 2^-1022, and the number above 2^-880.
//! * A power of two that underflows brings less than 2^(658 - 1023) = 2^-365. There the exponent is far above what flows
//!   in, so it was not raised for that; the mantissa was 1 or more, or another that is flows in, and is above 2^-300.

mod emissions;
mod exponents;
mod loops;
mod rows;
mod slopes;
mod steps;
#[cfg(target_arch = "x86_64")]
mod tiles;

pub(super) use emissions::BATCH;
pub(super) use loops::{exponent, pow2};

use super::Ctc;
use super::arena::Arena;
use super::rows::{Plane, Softmax};
use super::word::Word;
use emissions::Emissions;
use exponents::{Exponents, Way};
use loops::{Both, LANES, Loops, Weighing};
use rows::Rows;
use slopes::{Slopes, Steps};
use std::ops::Range;

const FLOOR: i32 = 580;
const SHRINK: u64 = 300;
const GROW: u64 = 656;
const FALL: i32 = 80;

/// Steps of the way back that are done at once, at most: their posteriors are scratch.
const BACK: usize = 8;

/// The exponent of a 0 that no number flows into.
const NONE: i32 = -(1 << 29);

/// Steps and labels, at most: exponents stay above [`NONE`].
const MOST: usize = 1 << 19;

/// Forward rows that are kept whole, up to so many numbers; of more, every √T-th.
const KEPT: usize = 1 << 15;

/// The sequence leaves what can be computed here.
pub(super) struct GivenUp;

/// Working memory.
pub(super) struct Scaled<'a> {
    loops: Loops,
    pub emissions: Emissions<'a>,
    /// Forward rows: all of one segment, or the last.
    rows: Rows<'a>,
    /// The first forward row of each segment, where there are several.
    starts: Rows<'a>,
    segment: usize,
    ahead: Exponents<'a>,
    /// The backward row.
    back: Rows<'a>,
    behind: Exponents<'a>,
    half: &'a mut [Both<f64>],
    slopes: Slopes<'a>,
}

impl<'a> Scaled<'a> {
    pub(super) fn new(arena: &mut Arena<'a>, call: &Ctc, gradient: bool) -> Self {
        let blocks = (call.labels + 1).div_ceil(LANES);
        let segment = match call.steps.max(1) {
            _ if !gradient => 1,
            steps if steps.saturating_mul(blocks.saturating_mul(2 * LANES)) <= KEPT => steps,
            steps => (1 + steps.isqrt()).min(steps),
        };
        let starts = if gradient && segment < call.steps { call.steps.div_ceil(segment) } else { 0 };
        let back = if gradient { blocks } else { 0 };
        Self {
            loops: Loops::of_this_machine(),
            emissions: Emissions::new(arena, call, gradient),
            rows: Rows::new(arena, blocks, segment),
            starts: Rows::new(arena, blocks, starts),
            segment,
            ahead: Exponents::new(arena, blocks, Way::Forward),
            back: Rows::new(arena, back, 1),
            behind: Exponents::new(arena, back, Way::Backward),
            half: arena.take(back),
            slopes: Slopes::new(arena, call, back),
        }
    }

    /// Begins a sequence.
    pub(super) fn spell(&mut self, word: &Word) {
        self.emissions.spell(word);
        self.ahead.spell(word);
        if !self.half.is_empty() {
            self.behind.spell(word);
            self.slopes.spell(word);
        }
    }

    /// The forward rows of some steps, whose emissions are known.
    pub(super) fn forward(&mut self, word: &Word, steps: Range<usize>) -> Result<(), GivenUp> {
        if steps.end.max(word.count) > MOST {
            return Err(GivenUp);
        }
        let mut next = steps.start;
        if next == 0 {
            self.begin(word)?;
            next = 1;
        }
        while next < steps.end {
            next += self.advance(next..steps.end)?;
        }
        Ok(())
    }

    /// The first forward row.
    fn begin(&mut self, word: &Word) -> Result<(), GivenUp> {
        let first = self.emissions.of(0..1);
        let row = self.rows.row_mut(0);
        row.fill([[0.0; LANES]; 2]);
        row[0][1][0] = first.blanks[0];
        if word.count > 0 {
            row[0][0][0] = first.entries[0][0];
        }
        self.ahead.start(self.loops, None);
        self.rows.set_exponents(0, self.ahead.now());
        if self.ahead.allow(self.emissions.spread(0..1).iter()) == 0 {
            return Err(GivenUp);
        }
        self.start_segment(0)
    }

    /// Keeps the first forward row of a segment, where there are several.
    fn start_segment(&mut self, step: usize) -> Result<(), GivenUp> {
        if self.starts.count > 0 {
            self.renew(0)?;
            self.starts.copy_row(step / self.segment, &self.rows, 0);
        }
        Ok(())
    }

    /// Renews the exponents of a forward row.
    fn renew(&mut self, place: usize) -> Result<(), GivenUp> {
        self.ahead.renew(self.loops, self.rows.row_mut(place))?;
        self.rows.set_exponents(place, self.ahead.now());
        Ok(())
    }

    /// How many of some steps, at least one, the exponents in force allow, or those of the row before them renewed.
    fn allow(&mut self, steps: Range<usize>, before: usize) -> Result<usize, GivenUp> {
        let spreads = self.emissions.spread(steps);
        match self.ahead.allow(spreads.iter()) {
            0 => self.ahead.renew(self.loops, self.rows.row_mut(before))?,
            allowed => return Ok(allowed),
        }
        self.rows.set_exponents(before, self.ahead.now());
        match self.ahead.allow(spreads.iter()) {
            0 => Err(GivenUp),
            allowed => Ok(allowed),
        }
    }

    /// The forward rows of the first of some steps, of a batch, from the row before; how many.
    fn advance(&mut self, steps: Range<usize>) -> Result<usize, GivenUp> {
        let (first, place) = (steps.start, steps.start % self.segment);
        if self.segment == 1 || place == 0 {
            return self.advance_in_place(steps);
        }
        let most = steps.len().min(self.segment - place);
        let count = self.allow(first..first + most, place - 1)?;
        let rows = self.rows.rows_mut(place - 1..place + count);
        steps::forward(self.loops, rows, false, self.ahead.flow(), self.emissions.of(first..first + count));
        self.rows.share_exponents(place..place + count, place - 1);
        Ok(count)
    }

    /// The same where rows are not kept, or the last of a segment becomes the first of the next.
    fn advance_in_place(&mut self, steps: Range<usize>) -> Result<usize, GivenUp> {
        let first = steps.start;
        let most = if self.segment == 1 { steps.len() } else { 1 };
        self.rows.wrap();
        let count = self.allow(first..first + most, 0)?;
        let row = self.rows.row_mut(0);
        steps::forward(self.loops, row, true, self.ahead.flow(), self.emissions.of(first..first + count));
        self.start_segment(first)?;
        Ok(count)
    }

    /// The probability of all paths by mantissa and even exponent, but for the sums of the softmax: paths end with the
    /// last entry or the last blank.
    pub(super) fn total(&self, word: &Word, steps: usize) -> (f64, i32) {
        let (row, exponents) = (self.rows.row((steps - 1) % self.segment), self.ahead.now());
        // Without labels the first entry is 0.
        let (entry, blank) = (word.count.saturating_sub(1), word.count);
        let of_entry = exponents[entry / LANES][0][entry % LANES];
        let of_blank = exponents[blank / LANES][1][blank % LANES];
        let e = of_entry.max(of_blank);
        let m = row[entry / LANES][0][entry % LANES] * pow2(of_entry - e)
            + row[blank / LANES][1][blank % LANES] * pow2(of_blank - e);
        if m > 0.0 {
            let normal = exponent(m) & !1;
            (m * pow2(-normal), e + normal)
        } else {
            (m, 0)
        }
    }

    /// The way back, and with it the gradient at the classes of the label.
    ///
    /// # Safety
    /// The gradient is valid at all steps and at every class of the word.
    pub(super) unsafe fn backward(
        &mut self,
        softmax: &Softmax,
        word: &Word,
        (plane, head): (Plane, f64),
        (mantissa, exponent): (f64, i32),
        steps: usize,
    ) -> Result<(), GivenUp> {
        self.end(word, steps);
        let mut known = None;
        let mut next = steps;
        while next > 0 {
            let place = (next - 1) % self.segment;
            // Of the last segment the rows are still there.
            if next < steps && place + 1 == self.segment {
                self.again(next - self.segment)?;
            }
            let count = self.allow_back(next, place)?;
            let epochs = (next - 1 - place + self.rows.epoch(place), self.behind.renewals);
            if known != Some(epochs) {
                known = Some(epochs);
                self.loops.halves(self.half, self.rows.exponents(place), self.behind.now(), exponent);
            }
            let blanks = &self.retreat(next, place, count)[..count];
            let (first, sums) = (next - count, softmax.sums(next - count..next));
            let emission = self.emissions.of(first..next);
            let steps = Steps { plane, first, emission, blanks, sums, head, mantissa };
            // SAFETY: the caller's promise.
            unsafe { self.slopes.write(word, steps) };
            next -= count;
        }
        Ok(())
    }

    /// The backward row of the step behind the last: all that flows from the last blank into itself and the last entry.
    fn end(&mut self, word: &Word, steps: usize) {
        self.emissions.end(steps);
        let row = self.back.row_mut(0);
        row.fill([[0.0; LANES]; 2]);
        row[word.count / LANES][1][word.count % LANES] = 1.0;
        self.behind.start(self.loops, None);
    }

    /// How many steps back from `next` can be done at once: the exponents in force allow them, or those of the row there
    /// renewed, and the forward rows, the last of which is at `place`, have the same exponents.
    fn allow_back(&mut self, next: usize, place: usize) -> Result<usize, GivenUp> {
        let epoch = self.rows.epoch(place);
        let alike = (0..=place).rev().take(BACK).take_while(|&place| self.rows.epoch(place) == epoch).count();
        let spreads = self.emissions.spread(next + 1 - alike..next + 1);
        match self.behind.allow(spreads.iter().rev()) {
            0 => self.behind.renew(self.loops, self.back.row_mut(0))?,
            allowed => return Ok(allowed),
        }
        match self.behind.allow(spreads.iter().rev()) {
            0 => Err(GivenUp),
            allowed => Ok(allowed),
        }
    }

    /// So many backward rows from that of `next`; the posteriors, times the mantissa of the probability of all paths:
    /// those of entries are the weights, those of the blank by step are returned.
    fn retreat(&mut self, next: usize, place: usize, count: usize) -> [f64; BACK] {
        let mut blanks = [0.0; BACK];
        let emission = self.emissions.of(next + 1 - count..next + 1);
        let weighing = Weighing { forward: self.rows.rows(place + 1 - count..place + 1), half: self.half };
        let (row, flow) = (self.back.row_mut(0), self.behind.flow());
        steps::backward(self.loops, row, flow, emission, weighing, self.slopes.weights, &mut blanks);
        blanks
    }

    /// The forward rows of a whole segment, from its first.
    fn again(&mut self, first: usize) -> Result<(), GivenUp> {
        self.rows.copy_row(0, &self.starts, first / self.segment);
        self.ahead.start(self.loops, Some(self.rows.exponents(0)));
        let mut next = first + 1;
        while next < first + self.segment {
            let most = (first + self.segment).min(next + BATCH);
            next += self.advance(next..most)?;
        }
        Ok(())
    }
}
