//! Partial sums as a level holds them, and what of a function a level has an instruction for.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

use super::tile::{Function, Real};
#[cfg(target_arch = "x86_64")]
use super::{double, single};

/// Partial sums of so many lanes.
pub trait Partial<T: Real, const LANES: usize>: Copy {
    /// Whether they are registers by name.
    const NAMED: bool = false;

    fn none() -> Self;
    fn add(&mut self, value: [T; LANES]);
    /// Their sum in f64, halving the lanes: a fixed order that vectorises. `LANES` is a power of two.
    fn total(self) -> f64;
    /// f(x), lane by lane. `F` indexes [`Function::ALL`].
    fn values<const F: usize>(x: [T; LANES]) -> [T; LANES];

    /// Others in place of all but the first `n` of a block.
    #[inline(always)]
    fn only(mut block: [T; LANES], n: usize, other: T) -> [T; LANES] {
        for lane in 0..LANES {
            // Else the compiler makes a branch for each lane.
            block[lane] = std::hint::select_unpredictable((lane as u32) < n as u32, block[lane], other);
        }
        block
    }

    /// The largest of a block; NaN counts as nothing.
    #[inline(always)]
    fn largest(mut block: [T; LANES]) -> T {
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                block[lane] = if block[lane + width] > block[lane] { block[lane + width] } else { block[lane] };
            }
            width /= 2;
        }
        block[0]
    }

    /// The first `n < LANES` of a block, and zeros.
    ///
    /// # Safety
    /// `x` is valid for reads of `n` elements.
    #[inline(always)]
    unsafe fn load(x: *const T, n: usize) -> [T; LANES] {
        let mut block = [T::default(); LANES];
        // SAFETY: the caller's promise.
        unsafe { block.as_mut_ptr().copy_from_nonoverlapping(x, n) };
        block
    }

    /// The first `n < LANES` of a block.
    ///
    /// # Safety
    /// `y` is valid for writes of `n` elements.
    #[inline(always)]
    unsafe fn store(y: *mut T, block: [T; LANES], n: usize) {
        // SAFETY: the caller's promise.
        unsafe { y.copy_from_nonoverlapping(block.as_ptr(), n) };
    }
}

/// As the compiler's vectoriser will have them.
impl<T: Real, const LANES: usize> Partial<T, LANES> for [T; LANES] {
    #[inline(always)]
    fn none() -> Self {
        [T::default(); LANES]
    }

    #[inline(always)]
    fn add(&mut self, value: [T; LANES]) {
        for lane in 0..LANES {
            self[lane] = self[lane].plus(value[lane]);
        }
    }

    #[inline(always)]
    fn total(self) -> f64 {
        // Not `map`: it would be a function of its own, without the level's instructions.
        let mut sums = [0.0; LANES];
        for lane in 0..LANES {
            sums[lane] = self[lane].wide();
        }
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                sums[lane] += sums[lane + width];
            }
            width /= 2;
        }
        sums[0]
    }

    #[inline(always)]
    fn values<const F: usize>(x: [T; LANES]) -> [T; LANES] {
        let mut y = [T::default(); LANES];
        let mut plain = true;
        for lane in 0..LANES {
            plain &= T::is_plain(Function::ALL[F], x[lane]);
        }
        if plain {
            for lane in 0..LANES {
                y[lane] = T::plain(Function::ALL[F], x[lane]);
            }
            return y;
        }
        for lane in 0..LANES {
            y[lane] = T::value(Function::ALL[F], x[lane]);
        }
        y
    }
}

/// # Safety
/// The processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn eight_of_singles([low, high]: [std::arch::x86_64::__m512; 2]) -> std::arch::x86_64::__m512d {
    use std::arch::x86_64::*;
    // SAFETY: the caller's promise, here and below.
    unsafe {
        let (low_first, low_last) = (_mm512_castps512_ps256(low), _mm512_extractf32x8_ps::<1>(low));
        let (high_first, high_last) = (_mm512_castps512_ps256(high), _mm512_extractf32x8_ps::<1>(high));
        let first = _mm512_add_pd(_mm512_cvtps_pd(low_first), _mm512_cvtps_pd(high_first));
        _mm512_add_pd(first, _mm512_add_pd(_mm512_cvtps_pd(low_last), _mm512_cvtps_pd(high_last)))
    }
}

/// # Safety
/// The processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn eight_of_doubles([low, high]: [std::arch::x86_64::__m512d; 2]) -> std::arch::x86_64::__m512d {
    // SAFETY: as above.
    unsafe { std::arch::x86_64::_mm512_add_pd(low, high) }
}

/// The sum of eight, halving the lanes.
///
/// # Safety
/// The processor has AVX-512.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
unsafe fn across(eight: std::arch::x86_64::__m512d) -> f64 {
    use std::arch::x86_64::*;
    // SAFETY: as above.
    unsafe {
        let four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd::<1>(eight));
        let two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd::<1>(four));
        _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
    }
}

/// Two registers of AVX-512, which has an instruction for the last step of exp, m · 2^n. Only that level's instance of
/// the block loop uses them.
#[cfg(target_arch = "x86_64")]
macro_rules! registers {
    ($name:ident, $real:ident, $formulas:ident, $register:ident, $lanes:literal, $mask:ident,
     $zero:ident, $load:ident, $store:ident, $load_some:ident, $store_some:ident, $add:ident, $scale:ident,
     $all:ident, $blend:ident, $max:ident, $reduce_max:ident, $eight:ident) => {
        #[derive(Clone, Copy)]
        pub struct $name([std::arch::x86_64::$register; 2]);

        impl Partial<$real, $lanes> for $name {
            const NAMED: bool = true;

            #[inline(always)]
            fn none() -> Self {
                // SAFETY: the level's instance runs where the processor has it, here and below.
                Self([unsafe { std::arch::x86_64::$zero() }; 2])
            }

            #[inline(always)]
            fn add(&mut self, value: [$real; $lanes]) {
                use std::arch::x86_64::{$add, $load};
                for part in 0..2 {
                    // SAFETY: see above; a register ends within the array.
                    self.0[part] = unsafe { $add(self.0[part], $load(value.as_ptr().add(part * $lanes / 2))) };
                }
            }

            #[inline(always)]
            fn total(self) -> f64 {
                // SAFETY: see above.
                unsafe { across($eight(self.0)) }
            }

            #[inline(always)]
            fn values<const F: usize>(x: [$real; $lanes]) -> [$real; $lanes] {
                use std::arch::x86_64::{$load, $scale, $store};
                if !matches!(Function::ALL[F], Function::Exp) {
                    return <[$real; $lanes]>::values::<F>(x);
                }
                let (mut m, mut n) = ([0.0; $lanes], [0.0; $lanes]);
                for lane in 0..$lanes {
                    (m[lane], n[lane]) = $formulas::exp_parts(x[lane]);
                }
                let mut y = [0.0; $lanes];
                for start in [0, $lanes / 2] {
                    // SAFETY: as above.
                    unsafe {
                        let (m, n) = ($load(m.as_ptr().add(start)), $load(n.as_ptr().add(start)));
                        $store(y.as_mut_ptr().add(start), $scale(m, n));
                    }
                }
                y
            }

            #[inline(always)]
            fn only(mut block: [$real; $lanes], n: usize, other: $real) -> [$real; $lanes] {
                use std::arch::x86_64::{$all, $blend, $load, $store};
                for start in [0, $lanes / 2] {
                    let wanted = first(n.saturating_sub(start)) as std::arch::x86_64::$mask;
                    // SAFETY: as above.
                    unsafe {
                        let part = block.as_mut_ptr().add(start);
                        $store(part, $blend(wanted, $all(other), $load(part)));
                    }
                }
                block
            }

            #[inline(always)]
            fn largest(block: [$real; $lanes]) -> $real {
                use std::arch::x86_64::{$load, $max, $reduce_max};
                // SAFETY: as above.
                unsafe { $reduce_max($max($load(block.as_ptr()), $load(block.as_ptr().add($lanes / 2)))) }
            }

            #[inline(always)]
            unsafe fn load(x: *const $real, n: usize) -> [$real; $lanes] {
                use std::arch::x86_64::{$load_some, $store};
                let mut block = [0.0; $lanes];
                for start in [0, $lanes / 2] {
                    let wanted = first(n.saturating_sub(start)) as std::arch::x86_64::$mask;
                    // SAFETY: as above; lanes that are not wanted are not read.
                    unsafe { $store(block.as_mut_ptr().add(start), $load_some(wanted, x.wrapping_add(start))) };
                }
                block
            }

            #[inline(always)]
            unsafe fn store(y: *mut $real, block: [$real; $lanes], n: usize) {
                use std::arch::x86_64::{$load, $store_some};
                for start in [0, $lanes / 2] {
                    let wanted = first(n.saturating_sub(start)) as std::arch::x86_64::$mask;
                    // SAFETY: as above; lanes that are not wanted are not written.
                    unsafe { $store_some(y.wrapping_add(start), wanted, $load(block.as_ptr().add(start))) };
                }
            }
        }
    };
}

/// A mask of the first `n` lanes of a register, of all if it has fewer.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn first(n: usize) -> u16 {
    if n < 16 { (1 << n) - 1 } else { u16::MAX }
}
#[cfg(target_arch = "x86_64")]
registers!(
    Singles,
    f32,
    single,
    __m512,
    32,
    __mmask16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_maskz_loadu_ps,
    _mm512_mask_storeu_ps,
    _mm512_add_ps,
    _mm512_scalef_ps,
    _mm512_set1_ps,
    _mm512_mask_blend_ps,
    _mm512_max_ps,
    _mm512_reduce_max_ps,
    eight_of_singles
);
#[cfg(target_arch = "x86_64")]
registers!(
    Doubles,
    f64,
    double,
    __m512d,
    16,
    __mmask8,
    _mm512_setzero_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_maskz_loadu_pd,
    _mm512_mask_storeu_pd,
    _mm512_add_pd,
    _mm512_scalef_pd,
    _mm512_set1_pd,
    _mm512_mask_blend_pd,
    _mm512_max_pd,
    _mm512_reduce_max_pd,
    eight_of_doubles
);
