//! Numbers picked from a few registers of AVX-512 by place, as an instruction does: from a row of logits those of a label's
//! entries, or from the slopes of entries those of a row.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

use super::arena::Arena;
use std::arch::x86_64::*;

/// Lanes of a register.
pub(super) const LANES: usize = 16;
/// Pairs of registers to pick from: an instruction picks from two.
const PAIRS: usize = 4;
/// Registers to pick from, at most.
pub(super) const REGISTERS: usize = 2 * PAIRS;
/// The most numbers to pick from.
pub(super) const MOST: usize = REGISTERS * LANES;

/// Which number each lane takes.
pub(super) struct Picks<'a> {
    /// By register of results and lane: the place.
    places: &'a mut [[i32; LANES]],
    /// By register of results and pair: the lanes that pick there.
    lanes: &'a mut [[u16; PAIRS]],
}

impl<'a> Picks<'a> {
    /// For so many results at most.
    pub(super) fn new(arena: &mut Arena<'a>, results: usize) -> Self {
        let registers = results.div_ceil(LANES);
        Self { places: arena.take(registers), lanes: arena.take(registers) }
    }

    /// Nothing is picked.
    pub(super) fn clear(&mut self) {
        self.places.fill([0; LANES]);
        self.lanes.fill([0; PAIRS]);
    }

    /// A result takes the number at a place, which is below [`MOST`].
    pub(super) fn set(&mut self, result: usize, place: usize) {
        let (register, lane) = (result / LANES, result % LANES);
        self.places[register][lane] = place as i32;
        self.lanes[register][place / (2 * LANES)] |= 1 << lane;
    }

    /// A register of results, and the lanes that have one; the others have any of the numbers.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    #[inline]
    pub(super) fn pick<const N: usize>(&self, register: usize, from: &[__m512; N]) -> (__m512, u16) {
        // SAFETY: a register is as long as the places of its lanes.
        let places = unsafe { _mm512_loadu_si512(self.places[register].as_ptr().cast()) };
        let mut result = from[0];
        let mut lanes = 0;
        for pair in 0..N.div_ceil(2) {
            let here = self.lanes[register][pair];
            // The last bits of a place are those within the pair.
            let others = match from.get(2 * pair + 1) {
                Some(&second) => _mm512_permutex2var_ps(from[2 * pair], places, second),
                None => _mm512_permutexvar_ps(places, from[2 * pair]),
            };
            result = if pair == 0 { others } else { _mm512_mask_blend_ps(here, result, others) };
            lanes |= here;
        }
        (result, lanes)
    }
}
