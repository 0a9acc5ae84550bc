//! The gradient of narrow rows of f32 by registers of AVX-512, bit by bit what `slopes.rs` writes otherwise.

use super::super::super::Ctc;
use super::super::super::arena::Arena;
use super::super::super::levels::one_block;
use super::super::super::picks::{self, Picks};
use super::super::super::word::Word;
use super::super::LANES;
use super::super::loops::{Block, Loops, Slope};
use super::Steps;
use crate::ir::Dtype;
use crate::vmath::Level;
use std::arch::x86_64::*;

/// Which entry is at each class of a row; behind the entries is the blank.
pub(super) struct Registers<'a> {
    picks: Picks<'a>,
    /// Registers of a row.
    row: usize,
}

impl<'a> Registers<'a> {
    /// Where the rows of a call are narrow, and so is the label, and the machine has AVX-512.
    pub(super) fn new(arena: &mut Arena<'a>, loops: Loops, call: &Ctc) -> Option<Self> {
        let is_narrow =
            call.real == Dtype::F32 && call.gradient[1] == 1 && call.classes.max(call.labels + 1) <= picks::MOST;
        (is_narrow && loops.level == Level::Avx512)
            .then(|| Self { picks: Picks::new(arena, call.classes), row: call.classes.div_ceil(picks::LANES) })
    }

    pub(super) fn spell(&mut self, word: &Word) {
        self.picks.clear();
        let [blank, classes @ ..] = word.classes() else { unreachable!("the blank is a class") };
        self.picks.set(*blank as usize, word.count);
        for (&class, &first) in classes.iter().zip(word.firsts()) {
            self.picks.set(class as usize, first as usize);
        }
    }

    /// Writes some steps, of so many entries; weights are by step and block.
    ///
    /// # Safety
    /// The machine has AVX-512; the plane is valid at the steps and every class of the label.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub(super) unsafe fn write(&self, entries: usize, weights: &mut [Block<f64>], steps: Steps) {
        let blocks = weights.len() / steps.sums.len();
        for (weights, &blank) in weights.as_flattened_mut().chunks_exact_mut(blocks * LANES).zip(steps.blanks) {
            one_block();
            weights[entries] = blank;
        }
        // SAFETY: the caller's promise.
        unsafe {
            match blocks.div_ceil(2) {
                1 => self.write_of::<1>(blocks, weights, steps),
                2 => self.write_of::<2>(blocks, weights, steps),
                3 => self.write_of::<3>(blocks, weights, steps),
                4 => self.write_of::<4>(blocks, weights, steps),
                5 => self.write_of::<5>(blocks, weights, steps),
                6 => self.write_of::<6>(blocks, weights, steps),
                7 => self.write_of::<7>(blocks, weights, steps),
                picks::REGISTERS => self.write_of::<{ picks::REGISTERS }>(blocks, weights, steps),
                _ => unreachable!("narrow labels have as many entries at most"),
            }
        }
    }

    /// With slopes in so many registers.
    ///
    /// # Safety
    /// As for [`write`](Self::write).
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn write_of<const N: usize>(&self, blocks: usize, weights: &[Block<f64>], steps: Steps) {
        for (k, weights) in weights.chunks_exact(blocks).enumerate() {
            let slopes = slopes::<N>(weights, steps.emission.row(k), steps.emission.blanks[k], steps.slope(k));
            let row = steps.plane.address(steps.first + k);
            for register in 0..self.row {
                let (x, lanes) = self.picks.pick(register, &slopes);
                // SAFETY: the lanes are classes of the label, where the caller's promise holds.
                unsafe { _mm512_mask_storeu_ps(row.wrapping_add(register * picks::LANES), lanes, x) };
            }
        }
    }
}

/// The slopes of a step: of blocks with an entry, and of one more with the blank alone, where there is one.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
#[inline]
fn slopes<const N: usize>(
    posteriors: &[Block<f64>],
    emissions: &[Block<f64>],
    of_blank: f64,
    slope: Slope,
) -> [__m512; N] {
    let (head, weight, inverse) =
        (_mm512_set1_pd(slope.head), _mm512_set1_pd(slope.weight), _mm512_set1_pd(slope.inverse));
    let half = |i: usize| {
        let Some(posterior) = posteriors.get(i) else { return _mm256_setzero_ps() };
        // SAFETY: a block is as long as a register, here and below.
        let posterior = unsafe { _mm512_loadu_pd(posterior.as_ptr()) };
        let emission = match emissions.get(i) {
            Some(emission) => unsafe { _mm512_loadu_pd(emission.as_ptr()) },
            None => _mm512_set1_pd(of_blank),
        };
        let parts = [_mm512_mul_pd(emission, weight), _mm512_mul_pd(posterior, inverse)];
        _mm512_cvtpd_ps(_mm512_mul_pd(head, _mm512_sub_pd(parts[0], parts[1])))
    };
    let mut slopes = [_mm512_setzero_ps(); N];
    for (register, slopes) in slopes.iter_mut().enumerate() {
        let (first, last) = (half(2 * register), half(2 * register + 1));
        *slopes = _mm512_insertf32x8::<1>(_mm512_castps256_ps512(first), last);
    }
    slopes
}
