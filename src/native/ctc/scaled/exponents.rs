//! The exponents in force in one direction of the recursion, and their renewal.

use super::super::arena::Arena;
use super::loops::{Flow, LANES, Loops, PairMut, pow2};
use super::{FALL, FLOOR, GivenUp, NONE, SHRINK, STEPS};

/// Which way numbers flow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A blank into its entry, an entry into the next blank or entry.
    Forward,
    /// The other way round.
    Backward,
}

/// Where the exponents begin between those that only stand for a neighbour.
const FIRST: usize = LANES;

pub(super) struct Exponents<'a> {
    way: Way,
    width: usize,
    /// Of entries and of blanks, with a block before and one behind.
    entries: &'a mut [i32],
    blanks: &'a mut [i32],
    next_entries: &'a mut [i32],
    next_blanks: &'a mut [i32],
    /// By entry: 1 where a skip arrives, else 0.
    pub skips: &'a mut [f64],
    blank_to_entry: &'a mut [f64],
    skip: &'a mut [f64],
    entry_to_blank: &'a mut [f64],
    steps: usize,
    spent: u64,
    /// How often exponents have come into force.
    pub renewals: usize,
}

impl<'a> Exponents<'a> {
    pub(super) fn new(arena: &mut Arena<'a>, width: usize, way: Way) -> Self {
        Self {
            way,
            width,
            entries: arena.take(width + 2 * LANES),
            blanks: arena.take(width + 2 * LANES),
            next_entries: arena.take(width),
            next_blanks: arena.take(width),
            skips: arena.take(width),
            blank_to_entry: arena.take(width),
            skip: arena.take(width),
            entry_to_blank: arena.take(width),
            steps: 0,
            spent: 0,
            renewals: 0,
        }
    }

    /// Those of entries and of blanks.
    pub(super) fn now(&self) -> (&[i32], &[i32]) {
        (&self.entries[FIRST..][..self.width], &self.blanks[FIRST..][..self.width])
    }

    /// How numbers flow under these exponents at a step with such emissions.
    pub(super) fn flow<'b>(&'b self, entries: &'b [f64], blank: f64) -> Flow<'b> {
        let Self { blank_to_entry, skip, entry_to_blank, .. } = self;
        Flow { blank_to_entry, skip, entry_to_blank, entries, blank }
    }

    /// Whether one more step, with emissions of this spread, can use the exponents in force.
    pub(super) fn allow(&mut self, spread: u64) -> bool {
        self.steps += 1;
        self.spent += spread;
        self.steps <= STEPS && self.spent <= SHRINK
    }

    /// Puts exponents in force: those given, or all 0.
    pub(super) fn start(&mut self, loops: Loops, exponents: Option<(&[i32], &[i32])>) {
        let range = FIRST..FIRST + self.width;
        match exponents {
            Some((entries, blanks)) => {
                self.entries[range.clone()].copy_from_slice(entries);
                self.blanks[range].copy_from_slice(blanks);
            }
            None => {
                self.entries[range.clone()].fill(0);
                self.blanks[range].fill(0);
            }
        }
        self.derive(loops);
    }

    fn derive(&mut self, loops: Loops) {
        let (width, end) = (self.width, FIRST + self.width);
        for exponents in [&mut *self.entries, &mut *self.blanks] {
            exponents[FIRST - 1] = exponents[FIRST];
            exponents[end] = exponents[end - 1];
        }
        let (entries, blanks) = (&self.entries[FIRST..end], &self.blanks[FIRST..end]);
        let (from_blank, from_entry, into_blank) = match self.way {
            Way::Forward => (FIRST, FIRST - 1, FIRST - 1),
            Way::Backward => (FIRST + 1, FIRST + 1, FIRST),
        };
        loops.ratios(self.blank_to_entry, &self.blanks[from_blank..][..width], entries);
        loops.ratios(self.skip, &self.entries[from_entry..][..width], entries);
        loops.multiply(self.skip, self.skips);
        loops.ratios(self.entry_to_blank, &self.entries[into_blank..][..width], blanks);
        (self.steps, self.spent) = (0, 0);
        self.renewals += 1;
    }

    /// Renews the exponents with those of a row, and moves the row to them.
    pub(super) fn renew(&mut self, loops: Loops, (entries, blanks): PairMut) -> Result<(), GivenUp> {
        let range = FIRST..FIRST + self.width;
        self.next_entries.copy_from_slice(&self.entries[range.clone()]);
        self.next_blanks.copy_from_slice(&self.blanks[range.clone()]);
        loops.measure(self.next_entries, entries, NONE);
        loops.measure(self.next_blanks, blanks, NONE);
        self.limit();
        let least_entry = loops.rescale(entries, &self.entries[range.clone()], self.next_entries);
        let least_blank = loops.rescale(blanks, &self.blanks[range.clone()], self.next_blanks);
        self.entries[range.clone()].copy_from_slice(self.next_entries);
        self.blanks[range].copy_from_slice(self.next_blanks);
        self.derive(loops);
        if least_entry.min(least_blank) >= pow2(-FLOOR) { Ok(()) } else { Err(GivenUp) }
    }

    /// Raises exponents that are more than [`FALL`] below one that flows there.
    fn limit(&mut self) {
        let mut places = self.next_entries.iter_mut().zip(self.next_blanks.iter_mut());
        match self.way {
            Way::Forward => {
                let mut before = NONE;
                for (entry, blank) in places {
                    *blank = (*blank).max(before);
                    before = (*entry).max(before).max(*blank - FALL) - FALL;
                    *entry = before + FALL;
                }
            }
            Way::Backward => {
                let (mut entry_after, mut blank_after) = (NONE, NONE);
                while let Some((entry, blank)) = places.next_back() {
                    *entry = (*entry).max(entry_after - FALL).max(blank_after - FALL);
                    *blank = (*blank).max(*entry - FALL);
                    (entry_after, blank_after) = (*entry, *blank);
                }
            }
        }
    }
}
