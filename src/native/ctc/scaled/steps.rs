//! Steps of the recursion, by the instructions that the machine has.

use super::loops::{Block, Both, Emission, Flow, Loops, Weighing};
#[cfg(target_arch = "x86_64")]
use super::tiles;
#[cfg(target_arch = "x86_64")]
use crate::vmath::Level;

/// As [`Loops::forward`], of a batch at most.
pub(super) fn forward(loops: Loops, rows: &mut [Both<f64>], in_place: bool, flow: &[Flow], emission: Emission) {
    #[cfg(target_arch = "x86_64")]
    if loops.level == Level::Avx512 {
        // SAFETY: the level is one that this machine has.
        return unsafe { tiles::forward(rows, in_place, flow, emission) };
    }
    loops.forward(rows, in_place, flow, emission);
}

/// As [`Loops::backward`], of [`BACK`](super::BACK) steps at most.
pub(super) fn backward(
    loops: Loops,
    row: &mut [Both<f64>],
    flow: &[Flow],
    emission: Emission,
    weighing: Weighing,
    weights: &mut [Block<f64>],
    blanks: &mut [f64],
) {
    #[cfg(target_arch = "x86_64")]
    if loops.level == Level::Avx512 {
        // SAFETY: as above.
        return unsafe { tiles::backward(row, flow, emission, weighing, weights, blanks) };
    }
    loops.backward(row, flow, emission, weighing, weights, blanks);
}
