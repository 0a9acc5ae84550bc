//! From scalar formulas to tile functions: the block loop, its instances per level, and the table of entries.
//!
//! A tile is cut into blocks of as many elements as there are partial sums; a block is copied in, computed and copied
//! out, so that the loop over its lanes has no aliasing and a constant length, and vectorises whole. The last, partial
//! block takes the same path in a padded copy: the bits of an element do not depend on where it stands.

use super::level::{Level, level};
use super::partial::Partial;
use super::{double, products, rows, single};

/// An elementary function of one real argument.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum Function {
    Exp,
    Log,
    Log1p,
    Expm1,
    Tanh,
}

impl Function {
    pub const ALL: [Function; 5] = [Function::Exp, Function::Log, Function::Log1p, Function::Expm1, Function::Tanh];
}

/// `y[i] = f(scale · x[i] + shift)` for `i < n`; returns `Σ y[i]` where the form has a sum, else 0. What lies `ahead` bytes
/// behind the elements of `x` is asked for meanwhile; there may be nothing.
///
/// # Safety
/// `x` is valid for reads of `n` elements, `y` for writes of `n` where the form stores, both aligned to an element;
/// they are equal or do not overlap. The level that the function was taken from is available.
pub type Tile<T> = unsafe extern "C" fn(x: *const T, y: *mut T, n: usize, scale: T, shift: T, ahead: isize) -> f64;

/// `y[i] = f(x[i] − less[i])` and `sums[i] += y[i]` for `i < n`.
///
/// # Safety
/// As [`Tile`]; `less` is valid for reads of `n` elements and `sums` for reads and writes, and `sums` overlaps no other.
pub type Columns<T> = unsafe extern "C" fn(x: *const T, less: *const T, y: *mut T, sums: *mut f64, n: usize);

/// `y[i] = f(x[i] − top)` for `i < n`, where `top` is the largest of `x`, which is written to `largest`: NaN where one is
/// there. Returns `Σ y[i]`.
///
/// # Safety
/// As [`Tile`], but that `y` must not be `x`; `largest` is valid for a write, and overlaps neither.
pub type Row<T> = unsafe extern "C" fn(x: *const T, y: *mut T, n: usize, largest: *mut T, ahead: isize) -> f64;

/// `f(x)`: the bits that a tile function would store.
///
/// # Safety
/// The level that the function was taken from is available.
pub type One<T> = unsafe extern "C" fn(x: T) -> T;

/// The forms of one function at one level.
#[derive(Debug)]
pub struct Entry<T: 'static> {
    /// Stores; returns 0.
    pub map: Tile<T>,
    /// Stores and sums.
    pub map_sum: Tile<T>,
    /// Sums without storing; `y` is not used and may be null.
    pub sum: Tile<T>,
    /// Stores, and adds to a sum for each element.
    pub map_columns: Columns<T>,
    /// Adds to a sum for each element without storing; `y` is not used.
    pub columns: Columns<T>,
    /// Sums what is computed from the largest on, without storing; `y` is not used.
    pub row: Row<T>,
    /// Stores that too.
    pub map_row: Row<T>,
    /// For a single element.
    pub one: One<T>,
}

/// `f32` and `f64`.
pub trait Real: sealed::Arithmetic {}
impl Real for f32 {}
impl Real for f64 {}

/// The tile functions of `f` at the level of this process; an error if `LOSSJIT_LEVEL` asks for the impossible.
pub fn entry<T: Real>(f: Function) -> Result<&'static Entry<T>, String> {
    Ok(T::entry(level()?, f))
}

/// The tile functions of `f` at `level`. Panics if this machine lacks it.
pub fn entry_at<T: Real>(level: Level, f: Function) -> &'static Entry<T> {
    assert!(level.is_available(), "vmath: this machine lacks level {}", level.word());
    T::entry(level, f)
}

/// `f(x)`: the bits that a tile function would store.
pub fn scalar<T: Real>(f: Function, x: T) -> T {
    T::value(f, x)
}

mod sealed {
    use super::{Entry, Function, Level};

    pub trait Arithmetic: Copy + Default + PartialOrd + std::fmt::Debug + Send + Sync + 'static {
        const ONE: Self;
        const LEAST: Self;
        const NAN: Self;
        fn value(f: Function, x: Self) -> Self;
        /// Whether the short formula holds for `x`.
        fn is_plain(f: Function, x: Self) -> bool;
        /// The bits of `value` where `is_plain`.
        fn plain(f: Function, x: Self) -> Self;
        fn affine(self, scale: Self, shift: Self) -> Self;
        fn plus(self, other: Self) -> Self;
        fn minus(self, other: Self) -> Self;
        fn negative(self) -> Self;
        /// (1 + self)(1 + other) − 1
        fn join(self, other: Self) -> Self;
        fn wide(self) -> f64;
        fn entry(level: Level, f: Function) -> &'static Entry<Self>;
    }
}

macro_rules! arithmetic {
    ($real:ident, $formulas:ident, $lanes:literal, $registers:ident) => {
        impl sealed::Arithmetic for $real {
            const ONE: $real = 1.0;
            const LEAST: $real = $real::NEG_INFINITY;
            const NAN: $real = $real::NAN;

            #[inline(always)]
            fn value(f: Function, x: $real) -> $real {
                match f {
                    Function::Exp => $formulas::exp(x),
                    Function::Log => $formulas::log(x),
                    Function::Log1p => $formulas::log1p(x),
                    Function::Expm1 => $formulas::expm1(x),
                    Function::Tanh => $formulas::tanh(x),
                }
            }
            #[inline(always)]
            fn is_plain(f: Function, x: $real) -> bool {
                match f {
                    Function::Exp => $formulas::is_plain_exp(x),
                    Function::Log => $formulas::is_plain_log(x),
                    Function::Log1p => $formulas::is_plain_log1p(x),
                    Function::Expm1 | Function::Tanh => false,
                }
            }
            #[inline(always)]
            fn plain(f: Function, x: $real) -> $real {
                match f {
                    Function::Exp => $formulas::plain_exp(x),
                    Function::Log => $formulas::plain_log(x),
                    Function::Log1p => $formulas::plain_log1p(x),
                    Function::Expm1 | Function::Tanh => $real::NAN,
                }
            }
            #[inline(always)]
            fn affine(self, scale: $real, shift: $real) -> $real {
                scale.mul_add(self, shift)
            }
            #[inline(always)]
            fn plus(self, other: $real) -> $real {
                self + other
            }
            #[inline(always)]
            fn minus(self, other: $real) -> $real {
                self - other
            }
            #[inline(always)]
            fn negative(self) -> $real {
                -self
            }
            #[inline(always)]
            fn join(self, other: $real) -> $real {
                self.mul_add(other, self + other)
            }
            #[inline(always)]
            fn wide(self) -> f64 {
                f64::from(self)
            }
            fn entry(level: Level, f: Function) -> &'static Entry<$real> {
                match level {
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx512 => avx512::entry::<$real, super::partial::$registers, $lanes>(f),
                    #[cfg(target_arch = "x86_64")]
                    Level::Avx2Fma => avx2::entry::<$real, [$real; $lanes], $lanes>(f),
                    #[cfg(target_arch = "aarch64")]
                    Level::Neon => neon::entry::<$real, [$real; $lanes], $lanes>(f),
                    _ => baseline::entry::<$real, [$real; $lanes], $lanes>(f),
                }
            }
        }
    };
}
// Two 512-bit registers of partial sums: enough to hide the latency of an addition.
arithmetic!(f32, single, 32, Singles);
arithmetic!(f64, double, 16, Doubles);

/// Compiles the block loop for one instruction set.
macro_rules! instance {
    ($(#[$attribute:meta])* $level:ident) => {
        mod $level {
            use super::{Entry, Function, Partial, Real, rows, run, run_columns};

            $(#[$attribute])*
            unsafe extern "C" fn tile<
                T: Real, P: Partial<T, LANES>, const F: usize, const LANES: usize, const STORE: bool, const SUM: bool,
            >(x: *const T, y: *mut T, n: usize, scale: T, shift: T, ahead: isize) -> f64 {
                // SAFETY: the same contract.
                unsafe { run::<T, P, F, LANES, STORE, SUM>(x, y, n, scale, shift, ahead) }
            }

            $(#[$attribute])*
            unsafe extern "C" fn columns<
                T: Real, P: Partial<T, LANES>, const F: usize, const LANES: usize, const STORE: bool,
            >(
                x: *const T, less: *const T, y: *mut T, sums: *mut f64, n: usize,
            ) {
                // SAFETY: the same contract.
                unsafe { run_columns::<T, P, F, LANES, STORE>(x, less, y, sums, n) }
            }

            $(#[$attribute])*
            unsafe extern "C" fn row<
                T: Real, P: Partial<T, LANES>, const F: usize, const LANES: usize, const STORE: bool,
            >(
                x: *const T, y: *mut T, n: usize, largest: *mut T, ahead: isize,
            ) -> f64 {
                let sum_of = tile::<T, P, F, LANES, STORE, true>;
                // SAFETY: the same contract.
                unsafe { rows::row::<T, P, F, LANES, STORE>(x, y, n, largest, ahead, sum_of) }
            }

            $(#[$attribute])*
            unsafe extern "C" fn one<T: Real, const F: usize>(x: T) -> T {
                T::value(Function::ALL[F], x)
            }

            const fn forms<T: Real, P: Partial<T, LANES>, const F: usize, const LANES: usize>() -> Entry<T> {
                Entry {
                    map: tile::<T, P, F, LANES, true, false>,
                    map_sum: tile::<T, P, F, LANES, true, true>,
                    sum: tile::<T, P, F, LANES, false, true>,
                    map_columns: columns::<T, P, F, LANES, true>,
                    columns: columns::<T, P, F, LANES, false>,
                    row: row::<T, P, F, LANES, false>,
                    map_row: row::<T, P, F, LANES, true>,
                    one: one::<T, F>,
                }
            }

            pub fn entry<T: Real, P: Partial<T, LANES>, const LANES: usize>(f: Function) -> &'static Entry<T> {
                match f {
                    Function::Exp => const { &forms::<T, P, { Function::Exp as usize }, LANES>() },
                    Function::Log => const { &forms::<T, P, { Function::Log as usize }, LANES>() },
                    Function::Log1p => const { &forms::<T, P, { Function::Log1p as usize }, LANES>() },
                    Function::Expm1 => const { &forms::<T, P, { Function::Expm1 as usize }, LANES>() },
                    Function::Tanh => const { &forms::<T, P, { Function::Tanh as usize }, LANES>() },
                }
            }
        }
    };
}
instance!(baseline);
#[cfg(target_arch = "x86_64")]
instance!(
    #[target_feature(enable = "avx2,fma")]
    avx2
);
#[cfg(target_arch = "x86_64")]
instance!(
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    avx512
);
#[cfg(target_arch = "aarch64")]
instance!(
    #[target_feature(enable = "neon")]
    neon
);

/// Elements after which the partial sums move to `f64`, so that their error does not grow with `n`: those of a tile, so that
/// a row has the same bits whether one call takes it or one for each tile.
pub const FLUSH: usize = 512;

/// The block loop. `F` indexes [`Function::ALL`]: a constant, so the choice folds away. `P` has the
/// partial sums as the level holds them.
///
/// # Safety
/// As [`Tile`].
#[inline(always)]
pub unsafe fn run<
    T: Real,
    P: Partial<T, LANES>,
    const F: usize,
    const LANES: usize,
    const STORE: bool,
    const SUM: bool,
>(
    x: *const T,
    y: *mut T,
    n: usize,
    scale: T,
    shift: T,
    ahead: isize,
) -> f64 {
    if SUM && !STORE && matches!(Function::ALL[F], Function::Log1p) {
        // SAFETY: the caller's promise.
        return unsafe { products::sum::<T, P, LANES>(x, n, scale, shift, ahead) };
    }
    let mut lanes = P::none();
    let mut total = 0.0;
    for block in 0..n / LANES {
        let start = block * LANES;
        if ahead != 0 {
            ask_for(x.wrapping_add(start).wrapping_byte_offset(ahead), LANES);
        }
        // SAFETY: start + LANES ≤ n, and an array is aligned as its element.
        let argument = unsafe { x.add(start).cast::<[T; LANES]>().read() };
        let value = apply::<T, P, F, LANES>(argument, scale, shift);
        if STORE {
            // SAFETY: as above; the block of `x` was read before.
            unsafe { y.add(start).cast::<[T; LANES]>().write(value) };
        }
        if SUM {
            lanes.add(value);
            if (start + LANES).is_multiple_of(FLUSH) {
                total += lanes.total();
                lanes = P::none();
            }
        }
    }
    let rest = n % LANES;
    if rest > 0 {
        let start = n - rest;
        // SAFETY: start + rest = n, here and below.
        let argument = unsafe { P::load(x.add(start), rest) };
        let value = apply::<T, P, F, LANES>(argument, scale, shift);
        if STORE {
            unsafe { P::store(y.add(start), value, rest) };
        }
        if SUM {
            lanes.add(P::only(value, rest, T::default()));
        }
    }
    if SUM { total + lanes.total() } else { 0.0 }
}

/// Asks the caches for so many elements.
#[inline(always)]
pub fn ask_for<T>(x: *const T, n: usize) {
    #[cfg(target_arch = "x86_64")]
    for byte in (0..n * size_of::<T>()).step_by(64) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: it reads nothing, whatever the address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(x.wrapping_byte_add(byte).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (x, n);
}

/// The block loop of the forms with a sum for each element. The last block goes through padded copies.
///
/// # Safety
/// As [`Columns`].
#[inline(always)]
unsafe fn run_columns<T: Real, P: Partial<T, LANES>, const F: usize, const LANES: usize, const STORE: bool>(
    x: *const T,
    less: *const T,
    y: *mut T,
    sums: *mut f64,
    n: usize,
) {
    for block in 0..n / LANES {
        let start = block * LANES;
        // SAFETY: start + LANES ≤ n, and an array is aligned as its element.
        unsafe {
            let (a, b) = (x.add(start).cast::<[T; LANES]>().read(), less.add(start).cast::<[T; LANES]>().read());
            let mut total = sums.add(start).cast::<[f64; LANES]>().read();
            let value = differ::<T, P, F, LANES>(a, b);
            add_each(&mut total, value);
            if STORE {
                y.add(start).cast::<[T; LANES]>().write(value);
            }
            sums.add(start).cast::<[f64; LANES]>().write(total);
        }
    }
    let rest = n % LANES;
    if rest > 0 {
        let start = n - rest;
        let mut total = [0.0; LANES];
        // SAFETY: start + rest = n.
        unsafe {
            total.as_mut_ptr().copy_from_nonoverlapping(sums.add(start), rest);
            let (a, b) = (P::load(x.add(start), rest), P::load(less.add(start), rest));
            let value = differ::<T, P, F, LANES>(a, b);
            add_each(&mut total, value);
            if STORE {
                P::store(y.add(start), value, rest);
            }
            sums.add(start).copy_from_nonoverlapping(total.as_ptr(), rest);
        }
    }
}

#[inline(always)]
fn differ<T: Real, P: Partial<T, LANES>, const F: usize, const LANES: usize>(
    mut a: [T; LANES],
    b: [T; LANES],
) -> [T; LANES] {
    for lane in 0..LANES {
        a[lane] = a[lane].minus(b[lane]);
    }
    P::values::<F>(a)
}

/// Apart from what computes the values, whose registers hold twice as many lanes in f32.
#[inline(always)]
fn add_each<T: Real, const LANES: usize>(sums: &mut [f64; LANES], value: [T; LANES]) {
    for lane in 0..LANES {
        sums[lane] += value[lane].wide();
    }
}

#[inline(always)]
fn apply<T: Real, P: Partial<T, LANES>, const F: usize, const LANES: usize>(
    x: [T; LANES],
    scale: T,
    shift: T,
) -> [T; LANES] {
    P::values::<F>(affine(x, scale, shift))
}

#[inline(always)]
pub fn affine<T: Real, const LANES: usize>(mut x: [T; LANES], scale: T, shift: T) -> [T; LANES] {
    for x in &mut x {
        *x = x.affine(scale, shift);
    }
    x
}
