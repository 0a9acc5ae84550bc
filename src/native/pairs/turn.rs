//! Square blocks of numbers, turned.

use super::lanes::{Lanes, MOST};

/// The first `COUNT` vectors: lane j of vector i becomes lane i of vector j. A place is the bits of its vector's number and
/// those of its lane's behind them; each round turns all of these by one, the highest bit to the end.
#[inline(always)]
pub(super) fn turn<L: Lanes>(mut block: [L; MOST]) -> [L; MOST] {
    for _ in 0..L::COUNT.ilog2() {
        let before = block;
        for i in 0..L::COUNT / 2 {
            [block[2 * i], block[2 * i + 1]] = before[i].interleave(before[i + L::COUNT / 2]);
        }
    }
    block
}
