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

pub(super) use emissions::BATCH;

use super::arena::Arena;
use super::rows::{Plane, Softmax};
use super::word::Word;
use emissions::Emissions;
use exponents::{Exponents, Way};
use loops::{Block, Both, Emission, LANES, Loops, exponent, pow2};
use rows::Rows;

const FLOOR: i32 = 580;
const SHRINK: u64 = 300;
const GROW: u64 = 656;
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
    pub emissions: Emissions<'a>,
    /// By entry: its emission at one step; then zeros.
    entries: &'a mut [Block<f64>],
    /// Forward rows: all of one segment, or the last two.
    rows: Rows<'a>,
    /// The last of them.
    last: usize,
    /// The first forward row of each segment, where there are several.
    starts: Rows<'a>,
    segment: usize,
    ahead: Exponents<'a>,
    /// The backward row.
    back: Rows<'a>,
    behind: Exponents<'a>,
    half: &'a mut [Both<f64>],
    weights: &'a mut [Block<f64>],
}

impl<'a> Scaled<'a> {
    pub(super) fn new(arena: &mut Arena<'a>, steps: usize, labels: usize, gradient: bool) -> Self {
        let blocks = (labels + 1).div_ceil(LANES);
        let segment = match steps.max(1) {
            _ if !gradient => 2,
            steps if steps.saturating_mul(blocks.saturating_mul(2 * LANES)) <= KEPT => steps,
            steps => (1 + steps.isqrt()).min(steps),
        };
        let starts = if gradient && segment < steps { steps.div_ceil(segment) } else { 0 };
        let back = if gradient { blocks } else { 0 };
        Self {
            loops: Loops::of_this_machine(),
            emissions: Emissions::new(arena, steps, labels, gradient),
            entries: arena.take(blocks),
            rows: Rows::new(arena, blocks, segment),
            last: 0,
            starts: Rows::new(arena, blocks, starts),
            segment,
            ahead: Exponents::new(arena, blocks, Way::Forward),
            back: Rows::new(arena, back, 1),
            behind: Exponents::new(arena, back, Way::Backward),
            half: arena.take(back),
            weights: arena.take(back),
        }
    }

    /// Begins a sequence.
    pub(super) fn spell(&mut self, word: &Word) {
        self.emissions.spell(word);
        self.entries.as_flattened_mut().fill(0.0);
        let (ahead, behind) = (self.ahead.skips.as_flattened_mut(), self.behind.skips.as_flattened_mut());
        ahead.fill(0.0);
        behind.fill(0.0);
        for (entry, _) in word.skips().enumerate().filter(|(_, skips)| *skips) {
            ahead[entry] = 1.0;
            if let Some(skips) = behind.get_mut(entry - 1) {
                *skips = 1.0;
            }
        }
    }

    /// Spreads the emissions of a step over the entries; that of the blank.
    fn emit(&mut self, word: &Word, step: usize) -> f64 {
        let row = self.emissions.row(step);
        for (emission, &place) in self.entries.as_flattened_mut().iter_mut().zip(word.places()) {
            *emission = row[place as usize];
        }
        row[0]
    }

    /// The forward row of a step, whose emissions are known.
    pub(super) fn forward(&mut self, word: &Word, step: usize) -> Result<(), GivenUp> {
        if step.max(word.count) > MOST {
            return Err(GivenUp);
        }
        if step == 0 {
            self.begin(word)?;
        } else {
            let place = if self.last + 1 == self.segment { 0 } else { self.last + 1 };
            self.advance(word, step, self.last, place)?;
            self.last = place;
        }
        if self.last == 0 && self.starts.count > 0 {
            self.renew(0)?;
            self.starts.copy_row(step / self.segment, &self.rows, 0);
        }
        Ok(())
    }

    /// The first forward row.
    fn begin(&mut self, word: &Word) -> Result<(), GivenUp> {
        self.last = 0;
        let blank = self.emit(word, 0);
        let row = self.rows.row_mut(0);
        row.fill([[0.0; LANES]; 2]);
        (row[0][0][0], row[0][1][0]) = (self.entries[0][0], blank);
        self.ahead.start(self.loops, None);
        self.rows.set_exponents(0, self.ahead.now());
        if self.ahead.allow(self.emissions.spread(0)) { Ok(()) } else { Err(GivenUp) }
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
        self.loops.forward(target, row, self.ahead.flow(), Emission { entries: self.entries, blank });
        self.rows.share_exponents(to, from);
        Ok(())
    }

    /// The probability of all paths by mantissa and even exponent, but for the sums of the softmax: paths end with the
    /// last entry or the last blank.
    pub(super) fn total(&self, word: &Word) -> (f64, i32) {
        let (row, exponents) = (self.rows.row(self.last), self.ahead.now());
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
        let mut known = None;
        let mut place = self.last;
        for t in (0..steps).rev() {
            if t + 1 == steps {
                self.end(word);
            } else {
                self.retreat(word, t)?;
                place = if place == 0 { self.segment - 1 } else { place - 1 };
                // Of the last segment the rows are still there.
                if place + 1 == self.segment {
                    self.again(word, t - place)?;
                }
            }
            let epochs = (t - place + self.rows.epoch(place), self.behind.renewals);
            if known != Some(epochs) {
                known = Some(epochs);
                self.loops.halves(self.half, self.rows.exponents(place), self.behind.now(), exponent);
            }
            let blanks = self.weigh(word, place);
            let (weight, inverse) = (1.0 / softmax.sum(t), 1.0 / mantissa);
            let slope = |emission: f64, posterior: f64| head * (emission * weight - posterior * inverse);
            let (emissions, weights) = (self.emissions.row(t), self.weights.as_flattened());
            let [blank, classes @ ..] = word.classes() else { unreachable!("the blank is a class") };
            let slopes = emissions[1..].iter().zip(word.firsts());
            let slopes = slopes.map(|(&emission, &first)| slope(emission, weights[first as usize]));
            // SAFETY: the caller's promise.
            unsafe {
                plane.write(t, *blank as usize, slope(emissions[0], blanks));
                plane.scatter(t, classes.iter().zip(slopes));
            }
        }
        Ok(())
    }

    /// The last backward row.
    fn end(&mut self, word: &Word) {
        let row = self.back.row_mut(0);
        row.fill([[0.0; LANES]; 2]);
        row[word.count / LANES][1][word.count % LANES] = 1.0;
        if let Some(last) = word.count.checked_sub(1) {
            row[last / LANES][0][last % LANES] = 1.0;
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
        let emission = Emission { entries: self.entries, blank };
        self.loops.backward(self.back.row_mut(0), self.behind.flow(), emission);
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

    /// The posterior of the blank, and by first entry of a class that of the class, times the mantissa of the probability
    /// of all paths.
    fn weigh(&mut self, word: &Word, place: usize) -> f64 {
        let blanks = self.loops.weigh(self.weights, self.rows.row(place), self.back.row(0), self.half);
        let weights = self.weights.as_flattened_mut();
        for (entry, first) in word.repeats() {
            weights[first] += weights[entry];
        }
        blanks
    }
}
