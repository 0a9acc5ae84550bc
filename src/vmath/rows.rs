//! Rows: what is computed from the largest element of a row on, and its sum.

use super::partial::Partial;
use super::tile::{Real, Tile, run};

/// The largest, then the block loop; where partial sums are no registers by name, that of the tile function, since the
/// compiler would take them apart in a larger one.
///
/// # Safety
/// As [`Row`](super::tile::Row).
#[inline(always)]
pub unsafe fn row<T: Real, P: Partial<T, LANES>, const F: usize, const LANES: usize, const STORE: bool>(
    x: *const T,
    y: *mut T,
    n: usize,
    largest: *mut T,
    ahead: isize,
    sum_of: Tile<T>,
) -> f64 {
    // SAFETY: the caller's promise.
    let top = unsafe { largest_of::<T, P, LANES>(x, n) };
    // SAFETY: as above.
    let mut sum = unsafe {
        if P::NAMED {
            run::<T, P, F, LANES, STORE, true>(x, y, n, T::ONE, top.negative(), ahead)
        } else {
            sum_of(x, y, n, T::ONE, top.negative(), ahead)
        }
    };
    let mut written = top;
    // A NaN is in the sum, so that the search for the largest need not look for one.
    // SAFETY: as above, here and below.
    if sum.is_nan() && unsafe { has_nan(x, n) } {
        written = T::NAN;
        sum = unsafe { sum_of(x, y, n, T::ONE, written, ahead) };
    }
    // SAFETY: as above.
    unsafe { largest.write(written) };
    sum
}

/// The largest; NaN counts as nothing.
///
/// # Safety
/// `x` is valid for reads of `n` elements.
#[inline(always)]
unsafe fn largest_of<T: Real, P: Partial<T, LANES>, const LANES: usize>(x: *const T, n: usize) -> T {
    let mut most = [T::LEAST; LANES];
    let mut start = 0;
    while start + LANES <= n {
        // SAFETY: start + LANES ≤ n, and an array is aligned as its element.
        let block = unsafe { x.add(start).cast::<[T; LANES]>().read() };
        for lane in 0..LANES {
            most[lane] = if block[lane] > most[lane] { block[lane] } else { most[lane] };
        }
        start += LANES;
    }
    if start < n {
        // SAFETY: n − start < LANES elements are left.
        let block = P::only(unsafe { P::load(x.add(start), n - start) }, n - start, T::LEAST);
        for lane in 0..LANES {
            most[lane] = if block[lane] > most[lane] { block[lane] } else { most[lane] };
        }
    }
    P::largest(most)
}

/// # Safety
/// As [`largest_of`].
#[cold]
#[inline(never)]
unsafe fn has_nan<T: Real>(x: *const T, n: usize) -> bool {
    // SAFETY: the caller's promise.
    (0..n).any(|i| unsafe { x.add(i).read() }.wide().is_nan())
}
