//! Sums of log1p: Σ log(1 + a) = log Π (1 + a), so that of numbers in [0, 1] eight take one logarithm.
//!
//! A product is held as c = Π (1 + a) − 1, which keeps the digits of small a: (1 + c)(1 + a) − 1 = (c + a) + c a, without
//! cancellation. Its error is that of an addition or two, relative to c, and no more of that reaches log(1 + c), as
//! c ≤ (1 + c) log(1 + c): the error of the sum stays what adding eight logarithms would make it.

use super::partial::Partial;
use super::tile::{FLUSH, Function, Real, affine, ask_for};

/// Blocks whose numbers are multiplied, lane by lane: products stay below 2⁸.
const TOGETHER: usize = 8;

const LOG1P: usize = Function::Log1p as usize;

/// `Σ log1p(scale · x[i] + shift)`.
///
/// # Safety
/// As [`Tile`](super::tile::Tile); nothing is written.
#[inline(always)]
pub unsafe fn sum<T: Real, P: Partial<T, LANES>, const LANES: usize>(
    x: *const T,
    n: usize,
    scale: T,
    shift: T,
    ahead: isize,
) -> f64 {
    let mut lanes = P::none();
    let mut total = 0.0;
    let mut start = 0;
    let whole = n - n % LANES;
    while start < whole {
        let end = whole.min(start + TOGETHER * LANES);
        let mut product = [T::default(); LANES];
        let (mut least, mut largest) = (product, product);
        let mut at = start;
        while at < end {
            if ahead != 0 {
                ask_for(x.wrapping_add(at).wrapping_byte_offset(ahead), LANES);
            }
            // SAFETY: at + LANES ≤ end ≤ n.
            let a = unsafe { block::<T, LANES>(x, at, scale, shift) };
            for lane in 0..LANES {
                least[lane] = if a[lane] < least[lane] { a[lane] } else { least[lane] };
                largest[lane] = if a[lane] > largest[lane] { a[lane] } else { largest[lane] };
                product[lane] = a[lane].join(product[lane]);
            }
            at += LANES;
        }
        // NaN is in the product too.
        let mut within = true;
        for lane in 0..LANES {
            within &= least[lane] >= T::default() && largest[lane] <= T::ONE;
        }
        if within {
            lanes.add(P::values::<LOG1P>(product));
        } else {
            // SAFETY: end ≤ n.
            unsafe { add_each::<T, P, LANES>(&mut lanes, x, start, end, scale, shift) };
        }
        start = end;
        if start.is_multiple_of(FLUSH) {
            total += lanes.total();
            lanes = P::none();
        }
    }
    if whole < n {
        // SAFETY: n − whole < LANES elements are left.
        let argument = affine(unsafe { P::load(x.add(whole), n - whole) }, scale, shift);
        lanes.add(P::only(P::values::<LOG1P>(argument), n - whole, T::default()));
    }
    total + lanes.total()
}

/// Logarithm by logarithm.
///
/// # Safety
/// `x` is valid for reads from `start` up to `end`, whole blocks.
#[inline(always)]
unsafe fn add_each<T: Real, P: Partial<T, LANES>, const LANES: usize>(
    lanes: &mut P,
    x: *const T,
    mut start: usize,
    end: usize,
    scale: T,
    shift: T,
) {
    while start < end {
        // SAFETY: the caller's promise.
        lanes.add(P::values::<LOG1P>(unsafe { block::<T, LANES>(x, start, scale, shift) }));
        start += LANES;
    }
}

/// # Safety
/// `x` is valid for reads of `LANES` elements from `start` on.
#[inline(always)]
unsafe fn block<T: Real, const LANES: usize>(x: *const T, start: usize, scale: T, shift: T) -> [T; LANES] {
    // SAFETY: the caller's promise, and an array is aligned as its element.
    affine(unsafe { x.add(start).cast::<[T; LANES]>().read() }, scale, shift)
}
