//! Narrow rows, several at a time: what one waits for, the others do meanwhile, and their exponentials are one call.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

use super::super::levels::{at_every_level, one_block};
use super::super::scaled::BATCH;
#[cfg(target_arch = "x86_64")]
use super::registers;
use super::{FEW, LANES, LEVEL, Plane, Row, SMALL, top_f32, top_f64};
#[cfg(target_arch = "x86_64")]
use crate::vmath::Level;
use crate::vmath::{self, Function};
use std::ops::Range;

/// The most classes of a narrow row: a batch stays in the first-level cache.
const MOST: usize = 256;

/// Numbers of a narrow row's exponentials with what fills them up to whole blocks; 0 where a row is not narrow.
pub(super) fn size(classes: usize) -> usize {
    if classes <= MOST { classes.next_multiple_of(SMALL) } else { 0 }
}

/// f32 or f64.
pub(super) trait Narrow: Row {
    /// All of this at once, with the same bits, where the machine has registers that whole rows fit into; whether it has.
    fn in_registers(
        loops: &Loops,
        rows: &[&[Self]],
        to: &mut [&mut [Self]],
        head: Option<f64>,
        tops: &mut [f64],
        sums: &mut [f64],
    ) -> bool;
    /// Each row less its largest, filled up with −∞; the largest ones.
    fn lower(loops: &Loops, rows: &[&[Self]], tops: &mut [f64], to: &mut [Self]);
    /// e^x in place.
    fn exp(x: &mut [Self]);
    /// The sums of rows behind one another.
    fn sums(loops: &Loops, x: &[Self], sums: &mut [f64]);
    /// Each row from those behind one another, times head / its sum.
    fn share(loops: &Loops, x: &[Self], sums: &[f64], head: f64, to: &mut [&mut [Self]]);
}

/// The largest logits and the sums of some steps; with a gradient also head · softmax, written there.
///
/// # Safety
/// Both planes hold `T` and are valid at the steps and below `classes`, which lie along memory; there are at most
/// [`BATCH`] steps, and as many `tops`, `sums` and rows of `exps`.
pub(super) unsafe fn rows<T: Narrow>(
    logits: Plane,
    gradient: Option<(Plane, f64)>,
    steps: Range<usize>,
    classes: usize,
    (tops, sums, exps): (&mut [f64], &mut [f64], &mut [T]),
) {
    let loops = Loops::of_this_machine();
    let mut from: [&[T]; BATCH] = [&[]; BATCH];
    for (row, step) in from.iter_mut().zip(steps.clone()) {
        // SAFETY: the caller's promise.
        *row = unsafe { std::slice::from_raw_parts(logits.at::<T>(step, 0), classes) };
    }
    let mut to: [&mut [T]; BATCH] = std::array::from_fn(|_| &mut [] as &mut [T]);
    if let Some((plane, _)) = gradient {
        for (row, step) in to.iter_mut().zip(steps.clone()) {
            // SAFETY: the caller's promise; rows do not overlap.
            *row = unsafe { std::slice::from_raw_parts_mut(plane.at::<T>(step, 0), classes) };
        }
    }
    let (from, to, head) = (&from[..steps.len()], &mut to[..steps.len()], gradient.map(|(_, head)| head));
    if T::in_registers(&loops, from, to, head, tops, sums) {
        return;
    }
    T::lower(&loops, from, tops, exps);
    T::exp(exps);
    T::sums(&loops, exps, sums);
    if let Some(head) = head {
        T::share(&loops, exps, sums, head, to);
    }
}

/// As [`Narrow::in_registers`].
fn singles_in_registers(
    loops: &Loops,
    rows: &[&[f32]],
    to: &mut [&mut [f32]],
    head: Option<f64>,
    tops: &mut [f64],
    sums: &mut [f64],
) -> bool {
    #[cfg(target_arch = "x86_64")]
    if loops.level == Level::Avx512 && rows.iter().all(|row| row.len() <= registers::MOST) {
        // SAFETY: the level is one that this machine has.
        unsafe { registers::softmax(rows, to, head, tops, sums) };
        return true;
    }
    let _ = (loops, rows, to, head, tops, sums);
    false
}

macro_rules! narrow_loops {
    ($real:ident, $in_registers:expr, $top:ident, $lower:ident, $sums:ident, $share:ident) => {
        #[inline(always)]
        fn $lower(rows: &[&[$real]], tops: &mut [f64], to: &mut [$real]) {
            let size = to.len() / rows.len();
            for ((row, top), to) in rows.iter().zip(tops).zip(to.chunks_exact_mut(size)) {
                let largest = $top(row);
                *top = f64::from(largest);
                if let Some(end) = to.last_chunk_mut::<SMALL>() {
                    *end = [$real::NEG_INFINITY; SMALL];
                }
                let (blocks, rest) = row.as_chunks::<SMALL>();
                for (to, block) in to.as_chunks_mut::<SMALL>().0.iter_mut().zip(blocks) {
                    one_block();
                    let mut x = *block;
                    for lane in 0..SMALL {
                        x[lane] -= largest;
                    }
                    *to = x;
                }
                match (row.last_chunk::<SMALL>(), to[..row.len()].last_chunk_mut::<SMALL>()) {
                    // It overlaps the last whole block, to the same numbers.
                    (Some(last), Some(to)) => {
                        let mut x = *last;
                        for lane in 0..SMALL {
                            x[lane] -= largest;
                        }
                        *to = x;
                    }
                    _ => rest.iter().zip(to).for_each(|(x, to)| *to = x - largest),
                }
            }
        }

        #[inline(always)]
        fn $sums(x: &[$real], sums: &mut [f64]) {
            let size = x.len() / sums.len();
            for (row, sum) in x.chunks_exact(size).zip(sums) {
                let mut lanes = [0.0; LANES];
                let (blocks, rest) = row.as_chunks::<LANES>();
                for block in blocks {
                    for lane in 0..LANES {
                        lanes[lane] += block[lane];
                    }
                }
                for block in rest.as_chunks::<SMALL>().0 {
                    for lane in 0..SMALL {
                        lanes[lane] += block[lane];
                    }
                }
                let mut few = [0.0; FEW];
                for lane in 0..FEW {
                    let wide = |part: usize| f64::from(lanes[lane + part * FEW]);
                    few[lane] = (wide(0) + wide(2)) + (wide(1) + wide(3));
                }
                // Else the compiler makes vectors of so few lanes as the last additions have.
                let mut few = std::hint::black_box(few);
                let mut width = FEW / 2;
                while width > 0 {
                    for lane in 0..width {
                        few[lane] += few[lane + width];
                    }
                    width /= 2;
                }
                *sum = few[0];
            }
        }

        #[inline(always)]
        fn $share(x: &[$real], sums: &[f64], head: f64, to: &mut [&mut [$real]]) {
            let size = x.len() / sums.len();
            for ((row, sum), to) in x.chunks_exact(size).zip(sums).zip(to) {
                let factor = (head / sum) as $real;
                let row = &row[..to.len()];
                let (blocks, rest) = to.as_chunks_mut::<SMALL>();
                for (to, block) in blocks.iter_mut().zip(row.as_chunks::<SMALL>().0) {
                    one_block();
                    let mut x = *block;
                    for lane in 0..SMALL {
                        x[lane] *= factor;
                    }
                    *to = x;
                }
                let few = rest.len();
                match (row.last_chunk::<SMALL>(), to.last_chunk_mut::<SMALL>()) {
                    (Some(last), Some(to)) => {
                        let mut x = *last;
                        for lane in 0..SMALL {
                            x[lane] *= factor;
                        }
                        *to = x;
                    }
                    _ => to[..few].iter_mut().zip(row).for_each(|(to, x)| *to = x * factor),
                }
            }
        }

        impl Narrow for $real {
            fn in_registers(
                loops: &Loops,
                rows: &[&[Self]],
                to: &mut [&mut [Self]],
                head: Option<f64>,
                tops: &mut [f64],
                sums: &mut [f64],
            ) -> bool {
                $in_registers(loops, rows, to, head, tops, sums)
            }

            fn lower(loops: &Loops, rows: &[&[Self]], tops: &mut [f64], to: &mut [Self]) {
                loops.$lower(rows, tops, to);
            }

            fn exp(x: &mut [Self]) {
                let exp = vmath::entry::<$real>(Function::Exp).expect(LEVEL);
                // SAFETY: one slice, read and written in place.
                unsafe { (exp.map)(x.as_ptr(), x.as_mut_ptr(), x.len(), 1.0, -0.0, 0) };
            }

            fn sums(loops: &Loops, x: &[Self], sums: &mut [f64]) {
                loops.$sums(x, sums);
            }

            fn share(loops: &Loops, x: &[Self], sums: &[f64], head: f64, to: &mut [&mut [Self]]) {
                loops.$share(x, sums, head, to);
            }
        }
    };
}
narrow_loops!(f32, singles_in_registers, top_f32, lower_f32, sums_f32, share_f32);
narrow_loops!(f64, |_: &Loops, _, _, _, _, _| false, top_f64, lower_f64, sums_f64, share_f64);

at_every_level! {
    Loops uses {}
    lower_f32(rows: &[&[f32]], tops: &mut [f64], to: &mut [f32]);
    lower_f64(rows: &[&[f64]], tops: &mut [f64], to: &mut [f64]);
    sums_f32(x: &[f32], sums: &mut [f64]);
    sums_f64(x: &[f64], sums: &mut [f64]);
    share_f32(x: &[f32], sums: &[f64], head: f64, to: &mut [&mut [f32]]);
    share_f64(x: &[f64], sums: &[f64], head: f64, to: &mut [&mut [f64]]);
}
