//! A number for each pair. Some rows of one side are packed side by side, so that lanes run from row to row: element by
//! element of several rows of the other side, each against all lanes, and no sum goes across lanes.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

use super::access::{at, row};
use super::lanes::{CHUNK, Lanes, Real};
use super::{Matrix, Pairs, Rows, Term};
use std::array::from_fn;
use std::mem::MaybeUninit;

/// Elements of a row that are packed at once.
const SLAB: usize = 256;

/// Rows that are packed at once, at most.
const WIDE: usize = 64;

/// Rows of the other side whose numbers are gathered before they are written: for each packed row a few cache lines.
const GROUP: usize = 48;

/// The numbers of a group, by packed row.
type Group<T> = [[T; GROUP]; WIDE];

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

/// `R` rows, from `j` on, against the panel; their numbers go to the group's places from `place` on.
///
/// # Safety
/// As [`tile`], for the rows' elements from `from` to `to`.
#[inline(always)]
unsafe fn some<L: Lanes, const PRODUCT: bool, const R: usize, const W: usize>(
    panel: *const L::Real,
    rows: Rows,
    (j, place): (usize, usize),
    (from, to): (usize, usize),
    group: &mut Group<L::Real>,
) {
    // SAFETY: the caller's promise; no lanes of a panel are more than `WIDE`.
    unsafe {
        let rows = from_fn(|r| row::<L::Real>(rows, j + r).cast_const().add(from));
        let sums = tile::<L, PRODUCT, R, W>(panel, rows, to - from);
        let mut lanes = [[L::Real::ZERO; WIDE]; R];
        for r in 0..R {
            for w in 0..W {
                sums[r][w].store(lanes[r].as_mut_ptr().add(w * L::COUNT));
            }
        }
        for lane in 0..W * L::COUNT {
            for r in 0..R {
                group[lane][place + r] = lanes[r][lane];
            }
        }
    }
}

/// Every row of `packed` against every row of `rows`: `out[i, j]` by their numbers.
///
/// # Safety
/// As [`Pairs::contract`].
#[inline(always)]
unsafe fn all<L: Lanes, const PRODUCT: bool, const R: usize, const W: usize>(
    packed: Rows,
    rows: Rows,
    depth: usize,
    out: Matrix,
) {
    let width = W * L::COUNT;
    let mut panel = [const { MaybeUninit::<L::Real>::uninit() }; SLAB * WIDE];
    let mut group: Group<L::Real> = [[L::Real::ZERO; GROUP]; WIDE];
    for from in (0..depth).step_by(SLAB) {
        let to = depth.min(from + SLAB);
        for i in (0..packed.count).step_by(width) {
            let count = width.min(packed.count - i);
            for lane in 0..width {
                // Lanes without a row repeat the last; nobody reads what they come to.
                let x = row::<L::Real>(packed, i + lane.min(count - 1));
                for d in from..to {
                    // SAFETY: the caller's promise.
                    panel[(d - from) * width + lane].write(unsafe { *x.add(d) });
                }
            }
            let panel = panel.as_ptr().cast::<L::Real>();
            for start in (0..rows.count).step_by(GROUP) {
                let end = rows.count.min(start + GROUP);
                let (whole, even) = ((end - start) / R * R, (end - start) / 2 * 2);
                // SAFETY: the panel is filled for all of its width; else as above.
                unsafe {
                    for place in (0..whole).step_by(R) {
                        some::<L, PRODUCT, R, W>(panel, rows, (start + place, place), (from, to), &mut group);
                    }
                    for place in (whole..even).step_by(2) {
                        some::<L, PRODUCT, 2, W>(panel, rows, (start + place, place), (from, to), &mut group);
                    }
                    for place in whole.max(even)..end - start {
                        some::<L, PRODUCT, 1, W>(panel, rows, (start + place, place), (from, to), &mut group);
                    }
                    for lane in 0..count {
                        for place in 0..end - start {
                            let number = at::<L::Real>(out, i + lane, start + place);
                            let known = if from > 0 { number.read() } else { L::Real::ZERO };
                            number.write(known + group[lane][place]);
                        }
                    }
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
    let [rows, columns] = out.strides;
    let turned = Matrix { strides: [columns, rows], ..out };
    let (packed, rows, out) =
        if pairs.x.count <= pairs.y.count { (pairs.x, pairs.y, out) } else { (pairs.y, pairs.x, turned) };
    // SAFETY: the caller's promise.
    unsafe {
        match pairs.term {
            Term::Difference => all::<L, false, R, W>(packed, rows, pairs.depth, out),
            Term::Product => all::<L, true, R, W>(packed, rows, pairs.depth, out),
        }
    }
}
