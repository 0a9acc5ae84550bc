//! Softmax of narrow rows of f32 in registers of AVX-512, several rows at a time: what one waits for, the others do
//! meanwhile.
//!
//! The numbers are those of `narrow.rs`, bit by bit: sums run over as many lanes, and these are joined in the same order.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

use super::super::scaled::BATCH;
use crate::vmath::registers::single;
use std::arch::x86_64::*;

/// Lanes of a register.
const LANES: usize = 16;
/// The most classes of a row: half of the registers hold it.
pub(super) const MOST: usize = 8 * LANES;
/// Rows whose sums are joined together.
const TOGETHER: usize = 8;

/// The largest logits and the sums of some rows, at most [`BATCH`], of equally many classes, at most [`MOST`]; with a head
/// also head · softmax.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) fn softmax(rows: &[&[f32]], to: &mut [&mut [f32]], head: Option<f64>, tops: &mut [f64], sums: &mut [f64]) {
    match rows.first().map_or(0, |row| row.len()).div_ceil(LANES) {
        0 | 1 => softmax_of::<1>(rows, to, head, tops, sums),
        2 => softmax_of::<2>(rows, to, head, tops, sums),
        3 => softmax_of::<3>(rows, to, head, tops, sums),
        4 => softmax_of::<4>(rows, to, head, tops, sums),
        5 => softmax_of::<5>(rows, to, head, tops, sums),
        6 => softmax_of::<6>(rows, to, head, tops, sums),
        7 => softmax_of::<7>(rows, to, head, tops, sums),
        8 => softmax_of::<8>(rows, to, head, tops, sums),
        _ => unreachable!("rows have as many classes at most"),
    }
}

/// Of rows in so many registers. Each part is done to all of them before the next, so that none waits for another.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
fn softmax_of<const N: usize>(
    rows: &[&[f32]],
    to: &mut [&mut [f32]],
    head: Option<f64>,
    tops: &mut [f64],
    sums: &mut [f64],
) {
    let classes = rows[0].len();
    let mut most = [0.0; BATCH];
    for ((row, top), most) in rows.iter().zip(tops).zip(&mut most) {
        *most = largest(&load::<N>(row, classes));
        *top = f64::from(*most);
    }
    let mut eights = [_mm512_setzero_pd(); BATCH];
    for (k, row) in rows.iter().enumerate() {
        let mut x = load::<N>(row, classes);
        for x in &mut x {
            *x = _mm512_sub_ps(*x, _mm512_set1_ps(most[k]));
        }
        let exps = single(x);
        eights[k] = eight(&exps);
        if head.is_some() {
            store(to[k], classes, &exps);
        }
    }
    for (sums, eights) in sums.chunks_mut(TOGETHER).zip(eights.as_chunks().0) {
        let mut all = [0.0; TOGETHER];
        // SAFETY: there are as many as a register has.
        unsafe { _mm512_storeu_pd(all.as_mut_ptr(), across(eights)) };
        sums.copy_from_slice(&all[..sums.len()]);
    }
    let Some(head) = head else { return };
    for (to, sum) in to.iter_mut().zip(sums) {
        let factor = _mm512_set1_ps((head / *sum) as f32);
        let mut x = load::<N>(to, classes);
        for x in &mut x {
            *x = _mm512_mul_ps(*x, factor);
        }
        store(to, classes, &x);
    }
}

/// The largest; NaN counts as nothing.
#[target_feature(enable = "avx512f")]
#[inline]
fn largest<const N: usize>(x: &[__m512; N]) -> f32 {
    let mut most = _mm512_set1_ps(f32::NEG_INFINITY);
    for x in x {
        // The second where the first is no number.
        most = _mm512_max_ps(*x, most);
    }
    _mm512_reduce_max_ps(most)
}

/// Sums of some of the lanes, in f64.
#[target_feature(enable = "avx512f,avx512dq")]
#[inline]
fn eight<const N: usize>(x: &[__m512; N]) -> __m512d {
    let mut lanes = [x[0], if N > 1 { x[1] } else { _mm512_setzero_ps() }];
    for part in 2..N {
        lanes[part % 2] = _mm512_add_ps(lanes[part % 2], x[part]);
    }
    let [[a, b], [c, d]] =
        lanes.map(|x| [_mm512_cvtps_pd(_mm512_castps512_ps256(x)), _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(x))]);
    _mm512_add_pd(_mm512_add_pd(a, c), _mm512_add_pd(b, d))
}

/// The sum of each of eight registers, by halves.
#[target_feature(enable = "avx512f")]
#[inline]
fn across(x: &[__m512d; TOGETHER]) -> __m512d {
    let four = |a: usize, b: usize| {
        let low = _mm512_shuffle_f64x2::<0b01_00_01_00>(x[a], x[b]);
        _mm512_add_pd(low, _mm512_shuffle_f64x2::<0b11_10_11_10>(x[a], x[b]))
    };
    let two = |a: __m512d, b: __m512d| {
        let low = _mm512_shuffle_f64x2::<0b10_00_10_00>(a, b);
        _mm512_add_pd(low, _mm512_shuffle_f64x2::<0b11_01_11_01>(a, b))
    };
    let (even, odd) = (two(four(0, 2), four(4, 6)), two(four(1, 3), four(5, 7)));
    _mm512_add_pd(_mm512_unpacklo_pd(even, odd), _mm512_unpackhi_pd(even, odd))
}

/// A mask of the lanes of a register that are in a row.
#[inline(always)]
fn within(classes: usize, part: usize) -> __mmask16 {
    match classes.saturating_sub(part * LANES) {
        rest @ 0..LANES => (1 << rest) - 1,
        _ => __mmask16::MAX,
    }
}

/// A row of so many classes in so many registers, filled up with −∞.
#[target_feature(enable = "avx512f")]
#[inline]
pub(in super::super) fn load<const N: usize>(row: &[f32], classes: usize) -> [__m512; N] {
    // Of its length all rows have the same masks.
    let row = &row[..classes];
    let mut x = [_mm512_set1_ps(f32::NEG_INFINITY); N];
    for part in 0..N {
        let start = row.as_ptr().wrapping_add(part * LANES);
        // SAFETY: lanes that are not in the row are not read.
        x[part] = unsafe { _mm512_mask_loadu_ps(x[part], within(classes, part), start) };
    }
    x
}

/// As many as a row has.
#[target_feature(enable = "avx512f")]
#[inline]
fn store<const N: usize>(row: &mut [f32], classes: usize, x: &[__m512; N]) {
    let row = &mut row[..classes];
    for part in 0..N {
        let start = row.as_mut_ptr().wrapping_add(part * LANES);
        // SAFETY: lanes that are not in the row are not written.
        unsafe { _mm512_mask_storeu_ps(start, within(classes, part), x[part]) };
    }
}
