//! The recursion in plain f64, where that is exact; else it says so, and `exact.rs` does the sequence.
//!
//! A number of the recursion is a mantissa under an exponent, and exponents stay in force for up to [`STEPS`] steps: what
//! flows from one place to another is multiplied by the power of two between their exponents, and nothing else tells
//! this from a recursion in plain numbers. Then exponents are renewed: each mantissa becomes 1 to 4.
//!
//! Nothing is lost, however far numbers are apart:
//! * Every class of the label has a positive emission, else the sequence is given up. So once a path reaches a place its
//!   number stays positive, and each step it is at least its own last value times an emission.
//! * Exponents fall by [`FALL`] at most along the flow: a number that is lower takes a higher exponent, and a smaller
//!   mantissa. With one below 2^-[`FLOOR`] the sequence is given up.
//! * Until the next renewal emissions shrink a mantissa by 2^-[`SHRINK`] at most: they are taken relative to the likeliest
//!   class of the step, exponents are renewed before that is spent, and a step that needs more is given up.
//!
//! So positive mantissas stay above 2^-(580 + 300) = 2^-880, and below 4 · 3⁸ · 2^(8·80) < 2^655, and what underflows
//! on its way to another place is far below the rounding of the number there:
//! * Where there is none yet, each power of two is 1 or more: its exponent is [`FALL`] below the highest that flows
//!   there, and a blank's, which may be a lower one, is not further below that of the entry before it.
//! * A product that underflows is below 2^-1022, and the number above 2^-880.
//! * A power of two that underflows brings less than 2^(655 - 1023) = 2^-368. There the exponent is far above what flows
//!   in, so it was not raised for that; the mantissa was 1 or more, or another that is flows in, and is above 2^-300.

mod emissions;
mod exponents;
mod loops;
mod rows;

pub(super) use emissions::BATCH;

use super::arena::Arena;
use super::rows::{Plane, Softmax};
use super::word::Word;
use emissions::Emissions;
use exponents::{Exponents, Way};
use loops::{LANES, Loops, exponent, pow2};
use rows::Rows;

/// Steps between renewals, at most.
const STEPS: usize = 8;
const FLOOR: i32 = 580;
const SHRINK: u64 = 300;
const FALL: i32 = 80;

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
    width: usize,
    pub emissions: Emissions<'a>,
    /// By entry: its emission at one step; then zeros.
    entries: &'a mut [f64],
    /// Forward rows: all of one segment, or the last two.
    rows: Rows<'a>,
    /// The first forward row of each segment, where there are several.
    starts: Rows<'a>,
    segment: usize,
    ahead: Exponents<'a>,
    /// The backward row, and the same times the emissions of its step, each part with a block of zeros behind it.
    back: Rows<'a>,
    emitted: [&'a mut [f64]; 2],
    behind: Exponents<'a>,
    half: [&'a mut [f64]; 2],
    weights: &'a mut [f64],
    posterior: &'a mut [f64],
}

impl<'a> Scaled<'a> {
    pub(super) fn new(arena: &mut Arena<'a>, steps: usize, labels: usize, gradient: bool) -> Self {
        let width = (labels + 1).next_multiple_of(LANES);
        let segment = match steps.max(1) {
            _ if !gradient => 2,
            steps if steps.saturating_mul(width.saturating_mul(2)) <= KEPT => steps,
            steps => (1 + steps.isqrt()).min(steps),
        };
        let starts = if gradient && segment < steps { steps.div_ceil(segment) } else { 0 };
        let back = if gradient { width } else { 0 };
        Self {
            loops: Loops::of_this_machine(),
            width,
            emissions: Emissions::new(arena, steps, labels, gradient),
            entries: arena.take(width),
            rows: Rows::new(arena, width, segment),
            starts: Rows::new(arena, width, starts),
            segment,
            ahead: Exponents::new(arena, width, Way::Forward),
            back: Rows::new(arena, back, if gradient { 1 } else { 0 }),
            emitted: [arena.take(back + LANES), arena.take(back + LANES)],
            behind: Exponents::new(arena, back, Way::Backward),
            half: [arena.take(back), arena.take(back)],
            weights: arena.take(back),
            posterior: arena.take(labels + 1),
        }
    }

    /// Begins a sequence.
    pub(super) fn spell(&mut self, word: &Word) {
        self.emissions.spell(word);
        self.entries.fill(0.0);
        self.rows.clear_fronts();
        self.ahead.skips.fill(0.0);
        self.behind.skips.fill(0.0);
        self.emitted.iter_mut().for_each(|part| part.fill(0.0));
        for (entry, _) in word.skips().enumerate().filter(|(_, skips)| *skips) {
            self.ahead.skips[entry] = 1.0;
            if let Some(skips) = self.behind.skips.get_mut(entry - 1) {
                *skips = 1.0;
            }
        }
    }

    /// Spreads the emissions of a step over the entries; that of the blank.
    fn emit(&mut self, word: &Word, step: usize) -> f64 {
        let row = self.emissions.row(step);
        for (emission, &place) in self.entries.iter_mut().zip(word.places()) {
            *emission = row[place as usize];
        }
        row[0]
    }

    /// The forward row of a step, whose emissions are known.
    pub(super) fn forward(&mut self, word: &Word, step: usize) -> Result<(), GivenUp> {
        let place = step % self.segment;
        if step.max(word.count) > MOST {
            return Err(GivenUp);
        }
        if step == 0 {
            let blank = self.emit(word, 0);
            let (entries, blanks) = self.rows.row_mut(0);
            entries.fill(0.0);
            blanks.fill(0.0);
            (entries[0], blanks[0]) = (self.entries[0], blank);
            self.ahead.start(self.loops, None);
            self.rows.set_exponents(0, self.ahead.now());
            if !self.ahead.allow(self.emissions.spread(0)) {
                return Err(GivenUp);
            }
        } else {
            self.advance(word, step, if place == 0 { self.segment - 1 } else { place - 1 }, place)?;
        }
        if place == 0 && self.starts.count > 0 {
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

    /// The forward row of a step from that before it.
    fn advance(&mut self, word: &Word, step: usize, from: usize, to: usize) -> Result<(), GivenUp> {
        let spread = self.emissions.spread(step);
        if !self.ahead.allow(spread) {
            self.renew(from)?;
            if !self.ahead.allow(spread) {
                return Err(GivenUp);
            }
        }
        let blank = self.emit(word, step);
        let (row, target) = self.rows.pair(from, to);
        self.loops.forward(target, row.before, row.numbers, self.ahead.flow(self.entries, blank));
        self.rows.share_exponents(to, from);
        Ok(())
    }

    /// The probability of all paths by mantissa and even exponent, but for the sums of the softmax: paths end with the
    /// last entry or the last blank.
    pub(super) fn total(&self, word: &Word, steps: usize) -> (f64, i32) {
        let (n, last) = (word.count, word.count.saturating_sub(1));
        let (entries, blanks) = self.rows.row((steps - 1) % self.segment).numbers;
        let (of_entries, of_blanks) = self.ahead.now();
        let e = of_entries[last].max(of_blanks[n]);
        // Without labels the entry is 0.
        let m = entries[last] * pow2(of_entries[last] - e) + blanks[n] * pow2(of_blanks[n] - e);
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
        let inverse = 1.0 / mantissa;
        let mut known = None;
        for t in (0..steps).rev() {
            let place = t % self.segment;
            if t + 1 == steps {
                self.end(word);
            } else {
                self.retreat(word, t)?;
            }
            // Of the last segment the rows are still there.
            if t + 1 < steps && place + 1 == self.segment {
                self.again(word, t - place)?;
            }
            let epochs = (t - place + self.rows.epoch(place), self.behind.renewals);
            if known != Some(epochs) {
                known = Some(epochs);
                let (ahead, behind) = (self.rows.exponents(place), self.behind.now());
                let [entries, blanks] = &mut self.half;
                self.loops.halves(entries, ahead.0, behind.0, exponent);
                self.loops.halves(blanks, ahead.1, behind.1, exponent);
            }
            self.weigh(word, place);
            let weight = 1.0 / softmax.sum(t);
            for (slope, emission) in self.posterior.iter_mut().zip(self.emissions.row(t)) {
                *slope = head * (emission * weight - *slope * inverse);
            }
            // SAFETY: the caller's promise.
            unsafe { plane.scatter(t, word.classes(), self.posterior) };
        }
        Ok(())
    }

    /// The last backward row.
    fn end(&mut self, word: &Word) {
        let (entries, blanks) = self.back.row_mut(0);
        entries.fill(0.0);
        blanks.fill(0.0);
        blanks[word.count] = 1.0;
        if word.count > 0 {
            entries[word.count - 1] = 1.0;
        }
        self.behind.start(self.loops, None);
    }

    /// The backward row of a step from that of the next.
    fn retreat(&mut self, word: &Word, step: usize) -> Result<(), GivenUp> {
        let spread = self.emissions.spread(step + 1);
        if !self.behind.allow(spread) {
            self.behind.renew(self.loops, self.back.row_mut(0))?;
            if !self.behind.allow(spread) {
                return Err(GivenUp);
            }
        }
        let blank = self.emit(word, step + 1);
        let flow = self.behind.flow(self.entries, blank);
        let ([entries, blanks], width) = (&mut self.emitted, self.width);
        self.loops.emit((&mut entries[..width], &mut blanks[..width]), self.back.row(0).numbers, flow);
        self.loops.backward(self.back.row_mut(0), (entries, blanks), flow);
        Ok(())
    }

    /// The forward rows of a whole segment, from its first.
    fn again(&mut self, word: &Word, first: usize) -> Result<(), GivenUp> {
        self.rows.copy_row(0, &self.starts, first / self.segment);
        self.ahead.start(self.loops, Some(self.rows.exponents(0)));
        for place in 1..self.segment {
            self.advance(word, first + place, place - 1, place)?;
        }
        Ok(())
    }

    /// By different class, the posterior of its states times the mantissa of the probability of all paths.
    fn weigh(&mut self, word: &Word, place: usize) {
        let (forward, backward) = (self.rows.row(place).numbers, self.back.row(0).numbers);
        let [half_entries, half_blanks] = &self.half;
        self.posterior[..word.classes().len()].fill(0.0);
        self.posterior[0] = self.loops.weigh(self.weights, forward, backward, (half_entries, half_blanks));
        for (weight, &place) in self.weights.iter().zip(word.places()) {
            self.posterior[place as usize] += weight;
        }
    }
}
