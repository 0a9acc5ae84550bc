//! Square blocks of numbers, turned.

use super::lanes::{Lanes, MOST};

/// As many vectors as each has lanes: lane j of vector i becomes lane i of vector j. Each round moves the highest bit of a
/// lane's number behind those of its vector's number, and that one's highest bit behind the lane's.
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
