//! The loops over pairs of rows, for the lanes of each vector level, with the same bits at every level.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

use super::lanes::Lanes;
use super::{Matrix, Pairs, Rows, Term};
use crate::vmath::{Level, level};
use std::array::from_fn;

/// Elements, or rows, after which partial sums move to f64, so that their error does not grow with their number.
const FLUSH: usize = 512;

/// Rows of each side that are in registers while pairs are contracted.
const SIDE: usize = 4;

/// Rows that are in registers while others are spread over them, and their elements in units of lanes.
const TALL: usize = 4;
const LONG: usize = 2;

/// What the loops need of a real number beside its lanes.
pub(super) trait Real: Copy + Default {
    fn wide(self) -> f64;
    fn narrow(value: f64) -> Self;
}

impl Real for f32 {
    #[inline(always)]
    fn wide(self) -> f64 {
        f64::from(self)
    }

    #[inline(always)]
    fn narrow(value: f64) -> Self {
        value as f32
    }
}

impl Real for f64 {
    #[inline(always)]
    fn wide(self) -> f64 {
        self
    }

    #[inline(always)]
    fn narrow(value: f64) -> Self {
        value
    }
}

fn row<T>(rows: Rows, index: usize) -> *mut T {
    rows.start.cast::<T>().wrapping_offset(rows.stride * index as isize)
}

fn at<T>(matrix: Matrix, i: usize, j: usize) -> *mut T {
    let [rows, columns] = matrix.strides;
    matrix.start.cast::<T>().wrapping_offset(rows * i as isize + columns * j as isize)
}

/// The elements of a row from `from` on: of a part all that there are, and 0 behind the row's end.
///
/// # Safety
/// The row is valid for reads of `depth` elements; if this is no part, as many as there are lanes are left.
#[inline(always)]
unsafe fn load<L: Lanes<Real: Real>, const PART: bool>(row: *const L::Real, from: usize, depth: usize) -> L {
    // SAFETY: the caller's promise; the buffer has as many elements as there are lanes.
    unsafe {
        if !PART {
            return L::load(row.add(from));
        }
        let mut part = [L::Real::default(); 16];
        part.as_mut_ptr().copy_from_nonoverlapping(row.add(from), depth - from);
        L::load(part.as_ptr())
    }
}

/// Adds the terms from `d` on of `R` rows of x and `C` rows of y.
///
/// # Safety
/// As [`load`], for all rows.
#[inline(always)]
unsafe fn contract_step<L: Lanes<Real: Real>, const PRODUCT: bool, const PART: bool, const R: usize, const C: usize>(
    x: &[*const L::Real; R],
    y: &[*const L::Real; C],
    d: usize,
    depth: usize,
    sums: &mut [[L; C]; R],
) {
    let mut ys = [L::splat(L::Real::default()); C];
    for c in 0..C {
        // SAFETY: the caller's promise.
        ys[c] = unsafe { load::<L, PART>(y[c], d, depth) };
    }
    for r in 0..R {
        // SAFETY: as above.
        let xs = unsafe { load::<L, PART>(x[r], d, depth) };
        for c in 0..C {
            let (a, b) = if PRODUCT { (xs, ys[c]) } else { (xs.minus(ys[c]), xs.minus(ys[c])) };
            sums[r][c] = a.times_plus(b, sums[r][c]);
        }
    }
}

/// `R` rows of x against `C` rows of y.
///
/// # Safety
/// All rows are valid for reads of `depth` elements.
#[inline(always)]
unsafe fn contract_some<L: Lanes<Real: Real>, const PRODUCT: bool, const R: usize, const C: usize>(
    x: [*const L::Real; R],
    y: [*const L::Real; C],
    depth: usize,
) -> [[f64; C]; R] {
    let mut totals = [[0.0; C]; R];
    let mut d = 0;
    while d < depth {
        let end = depth.min(d + FLUSH);
        let mut sums = [[L::splat(L::Real::default()); C]; R];
        while d + L::COUNT <= end {
            // SAFETY: the caller's promise.
            unsafe { contract_step::<L, PRODUCT, false, R, C>(&x, &y, d, depth, &mut sums) };
            d += L::COUNT;
        }
        if d < end {
            // SAFETY: as above.
            unsafe { contract_step::<L, PRODUCT, true, R, C>(&x, &y, d, depth, &mut sums) };
            d = end;
        }
        for r in 0..R {
            for c in 0..C {
                totals[r][c] += sums[r][c].sum().wide();
            }
        }
    }
    totals
}

/// `R` rows of x, from `i` on, against `C` rows of y, from `j` on.
///
/// # Safety
/// As [`Pairs::contract`]; the rows are there.
#[inline(always)]
unsafe fn contract_tile<L: Lanes<Real: Real>, const PRODUCT: bool, const R: usize, const C: usize>(
    pairs: &Pairs,
    out: Matrix,
    i: usize,
    j: usize,
) {
    let x = from_fn(|r| row::<L::Real>(pairs.x, i + r).cast_const());
    let y = from_fn(|c| row::<L::Real>(pairs.y, j + c).cast_const());
    // SAFETY: the caller's promise.
    unsafe {
        let totals = contract_some::<L, PRODUCT, R, C>(x, y, pairs.depth);
        for r in 0..R {
            for c in 0..C {
                at::<L::Real>(out, i + r, j + c).write(L::Real::narrow(totals[r][c]));
            }
        }
    }
}

/// # Safety
/// As [`Pairs::contract`]; the rows from `i` to `i + R` are there.
#[inline(always)]
unsafe fn contract_rows<L: Lanes<Real: Real>, const PRODUCT: bool, const R: usize>(
    pairs: &Pairs,
    out: Matrix,
    i: usize,
) {
    let whole = pairs.y.count / SIDE * SIDE;
    // SAFETY: the caller's promise.
    unsafe {
        for j in (0..whole).step_by(SIDE) {
            contract_tile::<L, PRODUCT, R, SIDE>(pairs, out, i, j);
        }
        for j in whole..pairs.y.count {
            contract_tile::<L, PRODUCT, R, 1>(pairs, out, i, j);
        }
    }
}

/// # Safety
/// As [`Pairs::contract`].
#[inline(always)]
unsafe fn contract_all<L: Lanes<Real: Real>, const PRODUCT: bool>(pairs: &Pairs, out: Matrix) {
    let whole = pairs.x.count / SIDE * SIDE;
    // SAFETY: the caller's promise.
    unsafe {
        for i in (0..whole).step_by(SIDE) {
            contract_rows::<L, PRODUCT, SIDE>(pairs, out, i);
        }
        for i in whole..pairs.x.count {
            contract_rows::<L, PRODUCT, 1>(pairs, out, i);
        }
    }
}

/// # Safety
/// As [`Pairs::contract`].
#[inline(always)]
unsafe fn contract<L: Lanes<Real: Real>>(pairs: &Pairs, out: Matrix) {
    // SAFETY: the caller's promise.
    unsafe {
        match pairs.term {
            Term::Difference => contract_all::<L, false>(pairs, out),
            Term::Product => contract_all::<L, true>(pairs, out),
        }
    }
}

/// Where the result of a spread goes.
#[derive(Clone, Copy)]
struct Target {
    out: Rows,
    factor: f64,
    adds: bool,
}

/// `R` rows from `i` on, `W` times the lanes of them from `d` on.
///
/// # Safety
/// As [`Pairs::spread`]; the rows are there.
#[inline(always)]
unsafe fn spread_some<L: Lanes<Real: Real>, const PRODUCT: bool, const PART: bool, const R: usize, const W: usize>(
    pairs: &Pairs,
    weight: Matrix,
    target: Target,
    i: usize,
    d: usize,
) {
    let (zero, depth) = (L::splat(L::Real::default()), pairs.depth);
    let mut x = [[zero; W]; R];
    if !PRODUCT {
        for r in 0..R {
            for w in 0..W {
                // SAFETY: the caller's promise.
                x[r][w] = unsafe { load::<L, PART>(row(pairs.x, i + r), d + w * L::COUNT, depth) };
            }
        }
    }
    let mut totals = [[[0.0f64; 16]; W]; R];
    let mut j = 0;
    while j < pairs.y.count {
        let end = pairs.y.count.min(j + FLUSH);
        let mut sums = [[zero; W]; R];
        while j < end {
            let y = row::<L::Real>(pairs.y, j).cast_const();
            let mut ys = [zero; W];
            for w in 0..W {
                // SAFETY: the caller's promise.
                ys[w] = unsafe { load::<L, PART>(y, d + w * L::COUNT, depth) };
            }
            for r in 0..R {
                // SAFETY: as above.
                let g = L::splat(unsafe { at::<L::Real>(weight, i + r, j).read() });
                for w in 0..W {
                    let term = if PRODUCT { ys[w] } else { x[r][w].minus(ys[w]) };
                    sums[r][w] = g.times_plus(term, sums[r][w]);
                }
            }
            j += 1;
        }
        for r in 0..R {
            for w in 0..W {
                let mut lanes = [L::Real::default(); 16];
                // SAFETY: no lanes are more than 16.
                unsafe { sums[r][w].store(lanes.as_mut_ptr()) };
                totals[r][w].iter_mut().zip(lanes).for_each(|(total, lane)| *total += lane.wide());
            }
        }
    }
    for r in 0..R {
        let out = row::<L::Real>(target.out, i + r);
        for w in 0..W {
            let from = d + w * L::COUNT;
            for place in from..depth.min(from + L::COUNT) {
                // SAFETY: the caller's promise.
                unsafe {
                    let known = if target.adds { out.add(place).read().wide() } else { 0.0 };
                    let sum = known + target.factor * totals[r][w][place - from];
                    out.add(place).write(L::Real::narrow(sum));
                }
            }
        }
    }
}

/// # Safety
/// As [`Pairs::spread`]; the rows from `i` to `i + R` are there.
#[inline(always)]
unsafe fn spread_rows<L: Lanes<Real: Real>, const PRODUCT: bool, const R: usize>(
    pairs: &Pairs,
    weight: Matrix,
    target: Target,
    i: usize,
) {
    let long = LONG * L::COUNT;
    let whole = pairs.depth / long * long;
    // SAFETY: the caller's promise.
    unsafe {
        for d in (0..whole).step_by(long) {
            spread_some::<L, PRODUCT, false, R, LONG>(pairs, weight, target, i, d);
        }
        let single = pairs.depth / L::COUNT * L::COUNT;
        for d in (whole..single).step_by(L::COUNT) {
            spread_some::<L, PRODUCT, false, R, 1>(pairs, weight, target, i, d);
        }
        if single < pairs.depth {
            spread_some::<L, PRODUCT, true, R, 1>(pairs, weight, target, i, single);
        }
    }
}

/// # Safety
/// As [`Pairs::spread`].
#[inline(always)]
unsafe fn spread_all<L: Lanes<Real: Real>, const PRODUCT: bool>(pairs: &Pairs, weight: Matrix, target: Target) {
    let whole = pairs.x.count / TALL * TALL;
    // SAFETY: the caller's promise.
    unsafe {
        for i in (0..whole).step_by(TALL) {
            spread_rows::<L, PRODUCT, TALL>(pairs, weight, target, i);
        }
        for i in whole..pairs.x.count {
            spread_rows::<L, PRODUCT, 1>(pairs, weight, target, i);
        }
    }
}

/// # Safety
/// As [`Pairs::spread`].
#[inline(always)]
unsafe fn spread<L: Lanes<Real: Real>>(pairs: &Pairs, weight: Matrix, target: Target) {
    // SAFETY: the caller's promise.
    unsafe {
        match pairs.term {
            Term::Difference => spread_all::<L, false>(pairs, weight, target),
            Term::Product => spread_all::<L, true>(pairs, weight, target),
        }
    }
}

macro_rules! levels {
    ($contract:ident, $spread:ident, $array:ty, $avx512:ident, $avx2:ident) => {
        /// # Safety
        /// As [`Pairs::contract`].
        pub(super) unsafe fn $contract(pairs: &Pairs, out: Matrix) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn avx512(pairs: &Pairs, out: Matrix) {
                // SAFETY: the caller's promise.
                unsafe { contract::<super::lanes::$avx512>(pairs, out) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2(pairs: &Pairs, out: Matrix) {
                // SAFETY: the caller's promise.
                unsafe { contract::<super::lanes::$avx2>(pairs, out) }
            }
            // SAFETY: the caller's promise; the level is one that this machine has.
            unsafe {
                match level() {
                    #[cfg(target_arch = "x86_64")]
                    Ok(Level::Avx512) => avx512(pairs, out),
                    #[cfg(target_arch = "x86_64")]
                    Ok(Level::Avx2Fma) => avx2(pairs, out),
                    _ => contract::<$array>(pairs, out),
                }
            }
        }

        /// # Safety
        /// As [`Pairs::spread`].
        pub(super) unsafe fn $spread(pairs: &Pairs, weight: Matrix, out: Rows, factor: f64, adds: bool) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn avx512(pairs: &Pairs, weight: Matrix, target: Target) {
                // SAFETY: the caller's promise.
                unsafe { spread::<super::lanes::$avx512>(pairs, weight, target) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2(pairs: &Pairs, weight: Matrix, target: Target) {
                // SAFETY: the caller's promise.
                unsafe { spread::<super::lanes::$avx2>(pairs, weight, target) }
            }
            let target = Target { out, factor, adds };
            // SAFETY: as above.
            unsafe {
                match level() {
                    #[cfg(target_arch = "x86_64")]
                    Ok(Level::Avx512) => avx512(pairs, weight, target),
                    #[cfg(target_arch = "x86_64")]
                    Ok(Level::Avx2Fma) => avx2(pairs, weight, target),
                    _ => spread::<$array>(pairs, weight, target),
                }
            }
        }
    };
}
levels!(contract_f32, spread_f32, [f32; 16], F32x16, F32x8x2);
levels!(contract_f64, spread_f64, [f64; 8], F64x8, F64x4x2);
