//! The steps of the recursion in registers of AVX-512: a few blocks of a row, over all steps of a batch, before the next
//! few. Numbers flow one way along a row, so that a tile needs no more of its neighbour than what flows over at each step.
//!
//! The numbers are those of `loops.rs`, bit by bit: a product with a power of two is exact, so that it may be fused with
//! the addition; where one underflows, it is far below the rounding of the sum either way.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

use super::loops::{Block, Both, Emission, Flow, LANES, Weighing};
use super::{BACK, BATCH};
use std::arch::x86_64::*;

/// Blocks of the largest tile: two registers for each, and as many for the rest.
const MOST: usize = 8;

/// Calls the instance of a tile of so many blocks.
macro_rules! tile {
    ($tile:ident, $blocks:expr, $($arg:expr),*) => {
        match $blocks {
            1 => $tile::<1>($($arg),*),
            2 => $tile::<2>($($arg),*),
            3 => $tile::<3>($($arg),*),
            4 => $tile::<4>($($arg),*),
            5 => $tile::<5>($($arg),*),
            6 => $tile::<6>($($arg),*),
            7 => $tile::<7>($($arg),*),
            MOST => $tile::<MOST>($($arg),*),
            _ => unreachable!("a tile has as many blocks at most"),
        }
    };
}

/// The blocks of each tile of a row, of about the same size.
fn size(blocks: usize) -> usize {
    blocks.div_ceil(blocks.div_ceil(MOST))
}

#[target_feature(enable = "avx512f")]
#[inline]
fn load(block: &Block<f64>) -> __m512d {
    // SAFETY: a block is as long as a register.
    unsafe { _mm512_loadu_pd(block.as_ptr()) }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn store(block: &mut Block<f64>, x: __m512d) {
    // SAFETY: as above.
    unsafe { _mm512_storeu_pd(block.as_mut_ptr(), x) }
}

/// One place later, behind the last lane of what came before.
#[target_feature(enable = "avx512f")]
#[inline]
fn later(before: __m512d, x: __m512d) -> __m512d {
    _mm512_castsi512_pd(_mm512_alignr_epi64::<7>(_mm512_castpd_si512(x), _mm512_castpd_si512(before)))
}

/// One place earlier, before the first lane of what comes after.
#[target_feature(enable = "avx512f")]
#[inline]
fn earlier(x: __m512d, after: __m512d) -> __m512d {
    _mm512_castsi512_pd(_mm512_alignr_epi64::<1>(_mm512_castpd_si512(after), _mm512_castpd_si512(x)))
}

/// The sum of the lanes, by halves.
#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
fn sum(lanes: __m512d) -> f64 {
    let four = _mm256_add_pd(_mm512_castpd512_pd256(lanes), _mm512_extractf64x4_pd::<1>(lanes));
    let two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd::<1>(four));
    _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
}

/// As [`forward`](super::loops::Loops::forward), of a batch at most.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) fn forward(rows: &mut [Both<f64>], in_place: bool, flow: &[Flow], emission: Emission) {
    let mut over = [[0.0; LANES]; BATCH];
    let over = &mut over[..emission.steps()];
    let size = size(flow.len());
    for start in (0..flow.len()).step_by(size) {
        tile!(forward_tile, size.min(flow.len() - start), rows, in_place, flow, emission, start, over);
    }
}

/// The blocks from `start` on. What flows over is, at each step, in the last entry of the block before.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn forward_tile<const N: usize>(
    rows: &mut [Both<f64>],
    in_place: bool,
    flow: &[Flow],
    emission: Emission,
    start: usize,
    over: &mut [Block<f64>],
) {
    let n = flow.len();
    let flow: &[Flow; N] = flow[start..].first_chunk().expect("a tile ends with its row");
    let mut row = [[_mm512_setzero_pd(); 2]; N];
    for i in 0..N {
        row[i] = [load(&rows[start + i][0]), load(&rows[start + i][1])];
    }
    for (step, over) in over.iter_mut().enumerate() {
        let (emissions, of_blank) = (emission.row(step), _mm512_set1_pd(emission.blanks[step]));
        let mut last = load(over);
        store(over, row[N - 1][0]);
        for i in 0..N {
            let [entry, blank] = row[i];
            let flow = &flow[i];
            let before = later(last, entry);
            let with_blank = _mm512_fmadd_pd(blank, load(&flow.blank_to_entry), entry);
            let sum = _mm512_fmadd_pd(before, load(&flow.skip), with_blank);
            let to_blank = _mm512_fmadd_pd(before, load(&flow.entry_to_blank), blank);
            let emissions = load(&emissions[(start + i).min(emissions.len() - 1)]);
            row[i] = [_mm512_mul_pd(sum, emissions), _mm512_mul_pd(to_blank, of_blank)];
            last = entry;
        }
        if !in_place {
            let to: &mut [Both<f64>; N] =
                rows[(step + 1) * n + start..].first_chunk_mut().expect("a row for each step");
            put(to, &row);
        }
    }
    if in_place {
        put(rows[start..].first_chunk_mut().expect("a tile ends with its row"), &row);
    }
}

#[target_feature(enable = "avx512f")]
#[inline]
fn put<const N: usize>(to: &mut [Both<f64>; N], row: &[[__m512d; 2]; N]) {
    for i in 0..N {
        for part in 0..2 {
            store(&mut to[i][part], row[i][part]);
        }
    }
}

/// What flows from one tile into that before it, at one step.
#[derive(Clone, Copy, Default)]
struct Over {
    /// The first entry and the first blank of the block behind.
    entry: Block<f64>,
    blank: Block<f64>,
    /// The products of the blanks, summed by lane.
    sums: Block<f64>,
}

/// As [`backward`](super::loops::Loops::backward), of [`BACK`] steps at most.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) fn backward(
    row: &mut [Both<f64>],
    flow: &[Flow],
    emission: Emission,
    weighing: Weighing,
    weights: &mut [Block<f64>],
    blanks: &mut [f64],
) {
    let mut over = [Over::default(); BACK];
    let over = &mut over[..emission.steps()];
    let size = size(flow.len());
    for start in (0..flow.len()).step_by(size).rev() {
        tile!(backward_tile, size.min(flow.len() - start), row, flow, emission, weighing, weights, start, over);
    }
    for (blank, over) in blanks.iter_mut().zip(over) {
        *blank = sum(load(&over.sums));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn backward_tile<const N: usize>(
    whole: &mut [Both<f64>],
    flow: &[Flow],
    emission: Emission,
    weighing: Weighing,
    weights: &mut [Block<f64>],
    start: usize,
    over: &mut [Over],
) {
    let n = flow.len();
    let flow: &[Flow; N] = flow[start..].first_chunk().expect("a tile ends with its row");
    let half: &[Both<f64>; N] = weighing.half[start..].first_chunk().expect("as many as flow");
    let whole: &mut [Both<f64>; N] = whole[start..].first_chunk_mut().expect("as many as flow");
    let mut row = [[_mm512_setzero_pd(); 2]; N];
    for i in 0..N {
        row[i] = [load(&whole[i][0]), load(&whole[i][1])];
    }
    for (step, over) in over.iter_mut().enumerate().rev() {
        let (emissions, of_blank) = (emission.row(step), _mm512_set1_pd(emission.blanks[step]));
        let forward: &[Both<f64>; N] = weighing.forward[step * n + start..].first_chunk().expect("a row for each step");
        let weights: &mut [Block<f64>; N] = weights[step * n + start..].first_chunk_mut().expect("a row for each step");
        let (mut entry_after, mut blank_after, mut sums) = (load(&over.entry), load(&over.blank), load(&over.sums));
        for i in (0..N).rev() {
            let flow = &flow[i];
            let emissions = load(&emissions[(start + i).min(emissions.len() - 1)]);
            let (entry, blank) = (_mm512_mul_pd(row[i][0], emissions), _mm512_mul_pd(row[i][1], of_blank));
            let (next_entry, next_blank) = (earlier(entry, entry_after), earlier(blank, blank_after));
            let with_blank = _mm512_fmadd_pd(next_blank, load(&flow.blank_to_entry), entry);
            let to_entry = _mm512_fmadd_pd(next_entry, load(&flow.skip), with_blank);
            let to_blank = _mm512_fmadd_pd(entry, load(&flow.entry_to_blank), blank);
            row[i] = [to_entry, to_blank];
            store(&mut weights[i], product(load(&forward[i][0]), to_entry, load(&half[i][0])));
            sums = _mm512_add_pd(sums, product(load(&forward[i][1]), to_blank, load(&half[i][1])));
            (entry_after, blank_after) = (entry, blank);
        }
        store(&mut over.entry, entry_after);
        store(&mut over.blank, blank_after);
        store(&mut over.sums, sums);
    }
    put(whole, &row);
}

/// `(a·half)·(b·half)`, and 0 where that is 0 times infinity.
#[target_feature(enable = "avx512f")]
#[inline]
fn product(a: __m512d, b: __m512d, half: __m512d) -> __m512d {
    let product = _mm512_mul_pd(_mm512_mul_pd(a, half), _mm512_mul_pd(b, half));
    // The second where the first is no number.
    _mm512_max_pd(product, _mm512_setzero_pd())
}
