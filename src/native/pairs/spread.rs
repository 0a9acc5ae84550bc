//! A row from a number for each pair. Lanes run along the row; a panel of the other side's rows is packed, so that
//! it is in cache lines that follow each other, and each of its rows is added to several at once.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

use super::access::{at, row};
use super::lanes::{CHUNK, Lanes, Real};
use super::{Matrix, Pairs, Rows, Term};
use std::array::from_fn;
use std::mem::MaybeUninit;

/// Elements of a row, and rows, that are packed at once: a panel stays in the second-level cache.
const SLAB: usize = 512;
const ROWS: usize = 64;

/// How often so many rows as a tile has are done for a part of the panel: their weights are in the first-level cache with it.
const BLOCK: usize = 11;

/// Elements of several vectors, at most.
const WIDE: usize = 64;

/// Where the result of a spread goes.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub out: Rows,
    pub factor: f64,
    pub adds: bool,
}

/// `count` elements as `W` vectors, and 0 behind them.
///
/// # Safety
/// `from` is valid for reads of `count` elements.
#[inline(always)]
unsafe fn load<L: Lanes, const W: usize>(from: *const L::Real, count: usize) -> [L; W] {
    // SAFETY: the caller's promise; the buffer has as many elements as there are lanes.
    unsafe {
        if count == W * L::COUNT {
            return from_fn(|w| L::load(from.add(w * L::COUNT)));
        }
        let mut part = [L::Real::ZERO; WIDE];
        part.as_mut_ptr().copy_from_nonoverlapping(from, count);
        from_fn(|w| L::load(part.as_ptr().add(w * L::COUNT)))
    }
}

/// The first `count` elements of `W` vectors.
///
/// # Safety
/// `to` is valid for writes of `count` elements.
#[inline(always)]
unsafe fn store<L: Lanes, const W: usize>(vectors: [L; W], to: *mut L::Real, count: usize) {
    let whole = count == W * L::COUNT;
    let mut part = [L::Real::ZERO; WIDE];
    let place = if whole { to } else { part.as_mut_ptr() };
    // SAFETY: the caller's promise; the buffer has as many elements as there are lanes.
    unsafe {
        for w in 0..W {
            vectors[w].store(place.add(w * L::COUNT));
        }
        if !whole {
            to.copy_from_nonoverlapping(part.as_ptr(), count);
        }
    }
}

/// The sums of a panel's rows, weighed, for `R` rows of x. What is summed up one after the other is short: chunks have
/// sums of their own.
///
/// # Safety
/// The panel is valid for reads of as many times its width as there are weights.
#[inline(always)]
unsafe fn tile<L: Lanes, const PRODUCT: bool, const R: usize, const W: usize>(
    x: [[L; W]; R],
    panel: *const L::Real,
    weights: &[[L::Real; R]],
) -> [[L; W]; R] {
    let zero = L::splat(L::Real::ZERO);
    let mut totals = [[zero; W]; R];
    let mut place = 0;
    for chunk in weights.chunks(CHUNK) {
        let mut sums = [[zero; W]; R];
        for weights in chunk {
            // SAFETY: the caller's promise.
            let y: [L; W] = from_fn(|w| unsafe { L::load(panel.add((place * W + w) * L::COUNT)) });
            for r in 0..R {
                let g = L::splat(weights[r]);
                for w in 0..W {
                    let term = if PRODUCT { y[w] } else { x[r][w].minus(y[w]) };
                    sums[r][w] = g.times_plus(term, sums[r][w]);
                }
            }
            place += 1;
        }
        for r in 0..R {
            for w in 0..W {
                totals[r][w] = totals[r][w].plus(sums[r][w]);
            }
        }
    }
    totals
}

/// A panel with the weights of some rows of x: `count` rows of y from `first` on, and of all rows the elements from `d` on,
/// `long` of them.
#[derive(Clone, Copy)]
struct Part {
    count: usize,
    first: usize,
    d: usize,
    long: usize,
}

/// `R` rows from `i` on, against a panel.
///
/// # Safety
/// As [`Pairs::spread`]; the panel has the part's rows.
#[inline(always)]
unsafe fn rows<L: Lanes, const PRODUCT: bool, const R: usize, const W: usize>(
    pairs: &Pairs,
    panel: *const L::Real,
    weights: &[[L::Real; R]],
    target: Target,
    part: Part,
    i: usize,
) {
    let factor = L::splat(L::Real::narrow(target.factor));
    let Part { d, long, .. } = part;
    // SAFETY: the caller's promise.
    unsafe {
        let x = from_fn(|r| {
            if PRODUCT {
                [L::splat(L::Real::ZERO); W]
            } else {
                load::<L, W>(row::<L::Real>(pairs.x, i + r).add(d), long)
            }
        });
        let sums = tile::<L, PRODUCT, R, W>(x, panel, weights);
        for r in 0..R {
            let out = row::<L::Real>(target.out, i + r).add(d);
            let adds = target.adds || part.first > 0;
            let known = if adds { load::<L, W>(out, long) } else { [L::splat(L::Real::ZERO); W] };
            store::<L, W>(from_fn(|w| sums[r][w].times_plus(factor, known[w])), out, long);
        }
    }
}

/// The weights of `R` rows from `i` on, by row of the panel.
///
/// # Safety
/// As [`Pairs::spread`].
#[inline(always)]
unsafe fn weights_of<T: Copy, const R: usize>(weight: Matrix, part: Part, i: usize, to: &mut [[T; R]]) {
    for (place, weights) in to[..part.count].iter_mut().enumerate() {
        for r in 0..R {
            // SAFETY: the caller's promise.
            weights[r] = unsafe { at::<T>(weight, i + r, part.first + place).read() };
        }
    }
}

/// # Safety
/// As [`Pairs::spread`].
#[inline(always)]
unsafe fn all<L: Lanes, const PRODUCT: bool, const R: usize, const W: usize>(
    pairs: &Pairs,
    weight: Matrix,
    target: Target,
) {
    let width = W * L::COUNT;
    let mut panel = [const { MaybeUninit::<L::Real>::uninit() }; SLAB * ROWS];
    // Of as many rows of x as fill the tiles of a block.
    let mut several = [[[L::Real::ZERO; R]; ROWS]; BLOCK];
    let mut single = [[L::Real::ZERO; 1]; ROWS];
    for from in (0..pairs.depth).step_by(SLAB) {
        let to = pairs.depth.min(from + SLAB);
        for first in (0..pairs.y.count).step_by(ROWS) {
            let whole = Part { count: ROWS.min(pairs.y.count - first), first, d: from, long: width };
            let parts = (from..to).step_by(width).map(|d| Part { d, long: width.min(to - d), ..whole });
            for (block, part) in parts.clone().enumerate() {
                for place in 0..part.count {
                    let packed = panel[(block * part.count + place) * width..].as_mut_ptr().cast::<L::Real>();
                    // SAFETY: the caller's promise; a block of the panel has `width` elements of each row.
                    unsafe {
                        let y = load::<L, W>(row::<L::Real>(pairs.y, first + place).add(part.d), part.long);
                        store::<L, W>(y, packed, width);
                    }
                }
            }
            let panel = panel.as_ptr().cast::<L::Real>();
            for start in (0..pairs.x.count).step_by(BLOCK * R) {
                let end = pairs.x.count.min(start + BLOCK * R);
                let tiles = (end - start) / R;
                // SAFETY: the panel has the part's rows; else the caller's promise.
                unsafe {
                    for tile in 0..tiles {
                        weights_of(weight, whole, start + tile * R, &mut several[tile]);
                    }
                    for (block, part) in parts.clone().enumerate() {
                        let panel = panel.add(block * part.count * width);
                        for tile in 0..tiles {
                            let weights = &several[tile][..part.count];
                            rows::<L, PRODUCT, R, W>(pairs, panel, weights, target, part, start + tile * R);
                        }
                    }
                    for i in start + tiles * R..end {
                        weights_of(weight, whole, i, &mut single);
                        for (block, part) in parts.clone().enumerate() {
                            let panel = panel.add(block * part.count * width);
                            rows::<L, PRODUCT, 1, W>(pairs, panel, &single[..part.count], target, part, i);
                        }
                    }
                }
            }
        }
    }
}

/// `R` rows at a time, `W` vectors of each.
///
/// # Safety
/// As [`Pairs::spread`].
#[inline(always)]
pub(super) unsafe fn spread<L: Lanes, const R: usize, const W: usize>(pairs: &Pairs, weight: Matrix, target: Target) {
    // SAFETY: the caller's promise.
    unsafe {
        match pairs.term {
            Term::Difference => all::<L, false, R, W>(pairs, weight, target),
            Term::Product => all::<L, true, R, W>(pairs, weight, target),
        }
    }
}
