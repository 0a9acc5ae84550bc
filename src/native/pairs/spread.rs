//! A row from a number for each pair. Lanes run along the row; a panel of the other side's rows is packed, so that
//! it is in cache lines that follow each other, and each of its rows is added to several at once.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

use super::access::{load, row};
use super::lanes::{CHUNK, Lanes, MOST, Real};
use super::turn::turn;
use super::{Matrix, Pairs, Rows, Term};
use std::array::from_fn;
use std::mem::MaybeUninit;

/// Elements of a row, and rows, that are packed at once: a panel stays in the second-level cache.
const SLAB: usize = 256;
const ROWS: usize = 128;

/// Rows of x whose weights are packed at once: a multiple of rows of a tile and of lanes. In f32 they are in a first-level
/// cache of 48 KiB, with a part of the panel.
const BLOCK: usize = 48;

/// Scratch of a call, from the beginning of a line of the cache on, so that no vector lies across two.
#[repr(align(64))]
struct Space<T> {
    /// Parts of rows of y, row by row.
    panel: [T; SLAB * ROWS],
    /// For each row of the panel the weights of the packed rows of x.
    weights: [T; ROWS * BLOCK],
}

/// Where the result of a spread goes.
#[derive(Clone, Copy)]
pub(super) struct Target {
    pub out: Rows,
    pub factor: f64,
    pub adds: bool,
}

/// The sums of a panel's rows, weighed, for `R` rows of x. What is summed up one after the other is short: chunks have
/// sums of their own.
///
/// # Safety
/// The panel has `count` rows, and there are as many of weights, `BLOCK` apart, of which `R` numbers are read.
#[inline(always)]
unsafe fn tile<L: Lanes, const PRODUCT: bool, const R: usize, const W: usize>(
    x: [[L; W]; R],
    panel: *const L::Real,
    weights: *const L::Real,
    count: usize,
) -> [[L; W]; R] {
    let zero = L::splat(L::Real::ZERO);
    let mut totals = [[zero; W]; R];
    let mut place = 0;
    while place < count {
        let end = count.min(place + CHUNK);
        let mut sums = [[zero; W]; R];
        while place < end {
            // SAFETY: the caller's promise, here and below.
            let y: [L; W] = from_fn(|w| unsafe { L::load(panel.add((place * W + w) * L::COUNT)) });
            for r in 0..R {
                let g = L::splat(unsafe { *weights.add(place * BLOCK + r) });
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

/// A panel's part: `count` rows of y from `first` on, and of all rows the elements from `d` on, as many as its vectors have
/// lanes, and none from `end` on.
#[derive(Clone, Copy)]
struct Part {
    count: usize,
    first: usize,
    d: usize,
    end: usize,
}

impl Part {
    /// The lanes of each vector that have elements.
    #[inline(always)]
    fn masks<L: Lanes, const W: usize>(&self) -> [L::Mask; W] {
        from_fn(|w| L::first(self.end.saturating_sub(self.d + w * L::COUNT)))
    }
}

/// `R` rows from `i` on, as far as they are before `end`, against a panel.
///
/// # Safety
/// As [`Pairs::spread`]; the panel has the part's rows, and the weights those of these rows.
#[inline(always)]
unsafe fn rows<L: Lanes, const PRODUCT: bool, const R: usize, const W: usize>(
    pairs: &Pairs,
    panel: *const L::Real,
    weights: *const L::Real,
    target: Target,
    part: Part,
    (i, end): (usize, usize),
) {
    let factor = L::splat(L::Real::narrow(target.factor));
    let adds = target.adds || part.first > 0;
    let masks = part.masks::<L, W>();
    // SAFETY: the caller's promise.
    unsafe {
        // Of the last tile, rows that are none repeat the last one.
        let x = from_fn(|r| {
            let x = row::<L::Real>(pairs.x, (i + r).min(end - 1)).cast_const().wrapping_add(part.d);
            let vector = |w| L::load_some(x.wrapping_add(w * L::COUNT), masks[w]);
            from_fn(|w| if PRODUCT { L::splat(L::Real::ZERO) } else { vector(w) })
        });
        let sums = tile::<L, PRODUCT, R, W>(x, panel, weights, part.count);
        for r in 0..R.min(end - i) {
            let out = row::<L::Real>(target.out, i + r).wrapping_add(part.d);
            for w in 0..W {
                let out = out.wrapping_add(w * L::COUNT);
                let known = if adds { L::load_some(out, masks[w]) } else { L::splat(L::Real::ZERO) };
                sums[r][w].times_plus(factor, known).store_some(out, masks[w]);
            }
        }
    }
}

/// The weights of `count` rows of x from `i` on, by row of the panel, for tiles of `R`. Lanes without a row repeat the
/// last, or are 0.
///
/// # Safety
/// As [`Pairs::spread`]; there is place for whole vectors of the part's rows.
#[inline(always)]
unsafe fn pack_weights<L: Lanes, const R: usize>(
    weight: Matrix,
    part: Part,
    (i, count): (usize, usize),
    to: *mut L::Real,
) {
    let turned = weight.turned();
    for lane in (0..count.next_multiple_of(R)).step_by(L::COUNT) {
        for place in (0..part.count).step_by(L::COUNT) {
            let of_x = |k: usize| i + (lane + k % L::COUNT).min(count - 1);
            let of_y = |k: usize| part.first + (place + k % L::COUNT).min(part.count - 1);
            // SAFETY: the caller's promise.
            unsafe {
                let block: [L; MOST] = if turned.strides[1] == 1 {
                    from_fn(|k| load(turned, [of_y(k), i + lane], count.saturating_sub(lane)))
                } else {
                    turn(from_fn(|k| load(weight, [of_x(k), part.first + place], part.count - place)))
                };
                for k in 0..L::COUNT {
                    block[k].store(to.add((place + k) * BLOCK + lane));
                }
            }
        }
    }
}

/// A part of a panel, packed: of each row `W` vectors, and 0 behind its elements.
///
/// # Safety
/// As [`Pairs::spread`]; the panel has place for it.
#[inline(always)]
unsafe fn pack<L: Lanes, const W: usize>(rows: Rows, part: Part, panel: *mut L::Real) {
    let masks = part.masks::<L, W>();
    for place in 0..part.count {
        let y = row::<L::Real>(rows, part.first + place).cast_const().wrapping_add(part.d);
        for w in 0..W {
            // SAFETY: the caller's promise.
            unsafe {
                L::load_some(y.wrapping_add(w * L::COUNT), masks[w]).store(panel.add((place * W + w) * L::COUNT))
            };
        }
    }
}

/// Panel by panel: the weights of some rows of x are packed once for all of its parts.
///
/// # Safety
/// As [`Pairs::spread`]; the space is valid for writes, and nothing is read of it that was not written.
#[inline(always)]
unsafe fn all<L: Lanes, const PRODUCT: bool, const R: usize, const W: usize>(
    pairs: &Pairs,
    weight: Matrix,
    target: Target,
    space: *mut Space<L::Real>,
) {
    const {
        let lanes = L::COUNT;
        assert!(BLOCK.is_multiple_of(R) && BLOCK.is_multiple_of(lanes));
        assert!(ROWS.is_multiple_of(lanes) && SLAB.is_multiple_of(W * lanes));
    }
    let width = W * L::COUNT;
    // SAFETY: the caller's promise.
    let (panel, weights) =
        unsafe { ((&raw mut (*space).panel).cast::<L::Real>(), (&raw mut (*space).weights).cast::<L::Real>()) };
    for from in (0..pairs.depth).step_by(SLAB) {
        let to = pairs.depth.min(from + SLAB);
        // Of no rows the sums are 0.
        for first in (0..pairs.y.count.max(1)).step_by(ROWS) {
            let whole = Part { count: ROWS.min(pairs.y.count - first), first, d: from, end: to };
            // Each part with its place in the panel.
            let parts =
                (from..to).step_by(width).map(|d| (Part { d, ..whole }, panel.wrapping_add((d - from) * whole.count)));
            let short = |part: Part| W > 1 && part.end - part.d <= L::COUNT;
            for (part, place) in parts.clone() {
                // SAFETY: the caller's promise; a panel has place for `width` elements of each row.
                unsafe {
                    if short(part) { pack::<L, 1>(pairs.y, part, place) } else { pack::<L, W>(pairs.y, part, place) }
                }
            }
            for start in (0..pairs.x.count).step_by(BLOCK) {
                let end = pairs.x.count.min(start + BLOCK);
                // SAFETY: the panel has the part's rows; else the caller's promise.
                unsafe {
                    pack_weights::<L, R>(weight, whole, (start, end - start), weights);
                    for (part, place) in parts.clone() {
                        for i in (start..end).step_by(R) {
                            let (weights, range) = (weights.add(i - start), (i, end));
                            if short(part) {
                                rows::<L, PRODUCT, R, 1>(pairs, place, weights, target, part, range);
                            } else {
                                rows::<L, PRODUCT, R, W>(pairs, place, weights, target, part, range);
                            }
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
    let mut space = MaybeUninit::uninit();
    let space = space.as_mut_ptr();
    // SAFETY: the caller's promise; what is read of the space was written.
    unsafe {
        match pairs.term {
            Term::Difference => all::<L, false, R, W>(pairs, weight, target, space),
            Term::Product => all::<L, true, R, W>(pairs, weight, target, space),
        }
    }
}
