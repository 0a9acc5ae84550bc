//! A number for each pair. Some rows of one side are packed side by side, so that lanes run from row to row: element by
//! element of several rows of the other side, each against all lanes, and no sum goes across lanes.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

use super::access::{load, row, store};
use super::lanes::{CHUNK, Lanes, Real};
use super::turn::turn;
use super::{Matrix, Pairs, Rows, Term};
use std::array::from_fn;
use std::mem::MaybeUninit;
use std::ops::Range;

/// Elements of a row that are packed at once.
const SLAB: usize = 256;

/// Rows that are packed at once, at most.
const WIDE: usize = 64;

/// Rows of the other side whose numbers are gathered before they are written: a multiple of rows of a tile and of lanes.
const GROUP: usize = 48;

/// Scratch of a call, from the beginning of a line of the cache on, so that no vector lies across two.
#[repr(align(64))]
struct Space<T> {
    /// Packed rows, element by element.
    panel: [T; SLAB * WIDE],
    /// The numbers of a group: for each of its rows one for each packed row.
    group: [T; GROUP * WIDE],
}

/// The sums of `R` rows against those of the panel, `W` vectors of them. What is summed up one after the other is short:
/// chunks have sums of their own.
///
/// # Safety
/// The panel is valid for reads of `depth` times its width, each row for reads of `depth` elements.
#[inline(always)]
unsafe fn tile<L: Lanes, const PRODUCT: bool, const R: usize, const W: usize>(
    panel: *const L::Real,
    rows: [*const L::Real; R],
    depth: usize,
) -> [[L; W]; R] {
    let zero = L::splat(L::Real::ZERO);
    let mut totals = [[zero; W]; R];
    let mut d = 0;
    while d < depth {
        let end = depth.min(d + CHUNK);
        let mut sums = [[zero; W]; R];
        while d < end {
            // SAFETY: the caller's promise, here and below.
            let packed: [L; W] = from_fn(|w| unsafe { L::load(panel.add((d * W + w) * L::COUNT)) });
            for r in 0..R {
                let one = L::splat(unsafe { *rows[r].add(d) });
                for w in 0..W {
                    let (a, b) = if PRODUCT {
                        (packed[w], one)
                    } else {
                        let difference = packed[w].minus(one);
                        (difference, difference)
                    };
                    sums[r][w] = a.times_plus(b, sums[r][w]);
                }
            }
            d += 1;
        }
        for r in 0..R {
            for w in 0..W {
                totals[r][w] = totals[r][w].plus(sums[r][w]);
            }
        }
    }
    totals
}

/// Some of the elements of some rows, packed: element by element, `W` vectors of rows side by side. Lanes without a row
/// repeat the last; nobody reads what they come to.
///
/// # Safety
/// The rows are valid for reads of those elements, the panel for writes of whole vectors of them.
#[inline(always)]
unsafe fn pack<L: Lanes, const W: usize>(rows: Rows, elements: Range<usize>, panel: *mut L::Real) {
    for w in 0..W {
        for d in elements.clone().step_by(L::COUNT) {
            let some = L::first(elements.end - d);
            let from = |lane: usize| {
                let index = (w * L::COUNT + lane % L::COUNT).min(rows.count - 1);
                row::<L::Real>(rows, index).cast_const().wrapping_add(d)
            };
            // SAFETY: the caller's promise.
            unsafe {
                let turned = turn::<L>(from_fn(|lane| L::load_some(from(lane), some)));
                for k in 0..L::COUNT {
                    turned[k].store(panel.add(((d - elements.start + k) * W + w) * L::COUNT));
                }
            }
        }
    }
}

/// Writes the numbers of a group, `count` of its rows: `out[i, j]` by packed row and row, added to what it has where `adds`.
///
/// # Safety
/// The group has these rows; `out` is valid for reads and writes of so many.
#[inline(always)]
unsafe fn write<L: Lanes>(group: *const L::Real, [packed, count]: [usize; 2], out: Matrix, adds: bool) {
    for i in (0..packed).step_by(L::COUNT) {
        for j in (0..count).step_by(L::COUNT) {
            let of = |k: usize| group.wrapping_add((j + k % L::COUNT).min(count - 1) * WIDE + i);
            // SAFETY: the caller's promise, here and below.
            let numbers = turn::<L>(from_fn(|k| unsafe { L::load(of(k)) }));
            for lane in 0..L::COUNT.min(packed - i) {
                unsafe {
                    let known = if adds { load(out, [i + lane, j], count - j) } else { L::splat(L::Real::ZERO) };
                    store(out, [i + lane, j], count - j, known.plus(numbers[lane]));
                }
            }
        }
    }
}

/// A few packed rows, no more than `W` vectors have lanes, against every row of `rows`: `out[i, j]` by their numbers, of
/// some of the elements.
///
/// # Safety
/// As [`Pairs::contract`]; the space is valid for writes, and nothing is read of it that was not written.
#[inline(always)]
unsafe fn panel<L: Lanes, const PRODUCT: bool, const R: usize, const W: usize>(
    packed: Rows,
    rows: Rows,
    elements: Range<usize>,
    out: Matrix,
    space: *mut Space<L::Real>,
) {
    const {
        let lanes = L::COUNT;
        assert!(GROUP.is_multiple_of(R) && GROUP.is_multiple_of(lanes));
        assert!(SLAB.is_multiple_of(lanes) && W * lanes <= WIDE);
    }
    // SAFETY: the caller's promise; a panel has place for all elements of its lanes, a group for whole tiles.
    unsafe {
        let (panel, group) = ((&raw mut (*space).panel).cast(), (&raw mut (*space).group).cast::<L::Real>());
        pack::<L, W>(packed, elements.clone(), panel);
        for start in (0..rows.count).step_by(GROUP) {
            let count = GROUP.min(rows.count - start);
            for place in (0..count).step_by(R) {
                // Of the last tile, rows that are none repeat the last one.
                let of = |r: usize| row::<L::Real>(rows, start + (place + r).min(count - 1)).cast_const();
                let from = from_fn(|r| of(r).add(elements.start));
                let sums = tile::<L, PRODUCT, R, W>(panel, from, elements.len());
                for r in 0..R {
                    for w in 0..W {
                        sums[r][w].store(group.add((place + r) * WIDE + w * L::COUNT));
                    }
                }
            }
            let out = out.from([0, start], L::Real::DTYPE);
            write::<L>(group, [packed.count, count], out, elements.start > 0);
        }
    }
}

/// Every row of `packed` against every row of `rows`: `out[i, j]` by their numbers.
///
/// # Safety
/// As [`panel`].
#[inline(always)]
unsafe fn all<L: Lanes, const PRODUCT: bool, const R: usize, const W: usize>(
    packed: Rows,
    rows: Rows,
    depth: usize,
    out: Matrix,
    space: *mut Space<L::Real>,
) {
    let real = L::Real::DTYPE;
    // Of no elements the sums are 0.
    for from in (0..depth.max(1)).step_by(SLAB) {
        for i in (0..packed.count).step_by(W * L::COUNT) {
            let some = packed.part(&(i..packed.count.min(i + W * L::COUNT)), real);
            let (elements, out) = (from..depth.min(from + SLAB), out.from([i, 0], real));
            // SAFETY: the caller's promise.
            unsafe {
                match some.count.div_ceil(L::COUNT) {
                    1 if W > 1 => panel::<L, PRODUCT, R, 1>(some, rows, elements, out, space),
                    2 if W > 2 => panel::<L, PRODUCT, R, 2>(some, rows, elements, out, space),
                    3 if W > 3 => panel::<L, PRODUCT, R, 3>(some, rows, elements, out, space),
                    _ => panel::<L, PRODUCT, R, W>(some, rows, elements, out, space),
                }
            }
        }
    }
}

/// `R` rows at a time against `W` vectors of packed ones.
///
/// # Safety
/// As [`Pairs::contract`].
#[inline(always)]
pub(super) unsafe fn contract<L: Lanes, const R: usize, const W: usize>(pairs: &Pairs, out: Matrix) {
    // Either side may be packed, as a term's two sides may change places; packing fewer rows costs less.
    let (packed, rows, out) =
        if pairs.x.count <= pairs.y.count { (pairs.x, pairs.y, out) } else { (pairs.y, pairs.x, out.turned()) };
    let mut space = MaybeUninit::uninit();
    let space = space.as_mut_ptr();
    // SAFETY: the caller's promise; what is read of the space was written.
    unsafe {
        match pairs.term {
            Term::Difference => all::<L, false, R, W>(packed, rows, pairs.depth, out, space),
            Term::Product => all::<L, true, R, W>(packed, rows, pairs.depth, out, space),
        }
    }
}
