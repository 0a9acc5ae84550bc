//! The exponents in force in one direction of the recursion, and their renewal.

use super::super::arena::Arena;
use super::super::word::Word;
use super::loops::{Block, Both, Flow, Loops, exponent, pow2};
use super::{FALL, FLOOR, GROW, GivenUp, NONE, SHRINK};

/// Which way numbers flow.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// A blank into its entry, an entry into the next blank or entry.
    Forward,
    /// The other way round.
    Backward,
}

pub(super) struct Exponents<'a> {
    way: Way,
    now: &'a mut [Both<i32>],
    next: &'a mut [Both<i32>],
    /// By entry: 1 where there is one, else 0.
    lives: &'a mut [Block<f64>],
    /// By entry: 1 where a skip arrives, else 0.
    skips: &'a mut [Block<f64>],
    flow: &'a mut [Flow],
    /// Binary digits by which a step may raise a mantissa, and by which those since the renewal may have raised or
    /// lowered one.
    rise: u64,
    risen: u64,
    sunk: u64,
    /// How often exponents have come into force.
    pub renewals: usize,
}

impl<'a> Exponents<'a> {
    pub(super) fn new(arena: &mut Arena<'a>, blocks: usize, way: Way) -> Self {
        Self {
            way,
            now: arena.take(blocks),
            next: arena.take(blocks),
            lives: arena.take(blocks),
            skips: arena.take(blocks),
            flow: arena.take(blocks),
            rise: 0,
            risen: 0,
            sunk: 0,
            renewals: 0,
        }
    }

    pub(super) fn now(&self) -> &[Both<i32>] {
        self.now
    }

    /// How numbers flow under these exponents.
    pub(super) fn flow(&self) -> &[Flow] {
        self.flow
    }

    /// Begins a label.
    pub(super) fn spell(&mut self, word: &Word) {
        let (lives, skips) = (self.lives.as_flattened_mut(), self.skips.as_flattened_mut());
        lives.fill(0.0);
        skips.fill(0.0);
        lives[..word.count].fill(1.0);
        for (entry, _) in word.skips().enumerate().filter(|(_, skips)| *skips) {
            skips[entry - usize::from(self.way == Way::Backward)] = 1.0;
        }
    }

    /// How many of the next steps, with emissions of these spreads, can use the exponents in force; they are taken as done.
    pub(super) fn allow<'s>(&mut self, spreads: impl Iterator<Item = &'s u16>) -> usize {
        let mut steps = 0;
        for spread in spreads {
            let (risen, sunk) = (self.risen + self.rise, self.sunk + u64::from(*spread));
            if risen > GROW || sunk > SHRINK {
                break;
            }
            (self.risen, self.sunk) = (risen, sunk);
            steps += 1;
        }
        steps
    }

    /// Puts exponents in force: those given, or all 0.
    pub(super) fn start(&mut self, loops: Loops, exponents: Option<&[Both<i32>]>) {
        match exponents {
            Some(exponents) => self.now.copy_from_slice(exponents),
            None => self.now.as_flattened_mut().as_flattened_mut().fill(0),
        }
        self.derive(loops);
    }

    fn derive(&mut self, loops: Loops) {
        let steepest = match self.way {
            Way::Forward => loops.flow_forward(self.flow, self.now, self.lives, self.skips),
            Way::Backward => loops.flow_backward(self.flow, self.now, self.lives, self.skips),
        };
        // Up to three numbers flow together.
        self.rise = 2 + exponent(steepest) as u64;
        (self.risen, self.sunk) = (0, 0);
        self.renewals += 1;
    }

    /// Renews the exponents with those of a row, and moves the row to them.
    pub(super) fn renew(&mut self, loops: Loops, row: &mut [Both<f64>]) -> Result<(), GivenUp> {
        loops.measure(self.next, self.now, row);
        self.limit();
        let least = loops.rescale(row, self.now, self.next);
        self.now.copy_from_slice(self.next);
        self.derive(loops);
        if least >= pow2(-FLOOR) { Ok(()) } else { Err(GivenUp) }
    }

    /// Raises exponents that are more than [`FALL`] below one that flows there; where there is no number yet, to that of
    /// the first that can come.
    fn limit(&mut self) {
        let fall = |exponent: i32| if exponent == NONE { 0 } else { FALL };
        let places = self.next.iter_mut().flat_map(|[entries, blanks]| entries.iter_mut().zip(blanks));
        match self.way {
            Way::Forward => {
                let mut before = NONE;
                for (entry, blank) in places {
                    *blank = (*blank).max(before - fall(*blank));
                    *entry = (*entry).max(before - FALL).max(*blank - fall(*entry));
                    before = *entry;
                }
            }
            Way::Backward => {
                let (mut entry_after, mut blank_after) = (NONE, NONE);
                for (entry, blank) in places.rev() {
                    *entry = (*entry).max(entry_after - FALL).max(blank_after - fall(*entry));
                    *blank = (*blank).max(*entry - fall(*blank));
                    (entry_after, blank_after) = (*entry, *blank);
                }
            }
        }
    }
}
