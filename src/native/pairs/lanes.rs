//! Lanes: as many numbers as one register of the widest level has, in the registers of each level. Every operation has
//! the same bits at every level.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

use std::ops::Add;

/// Elements that are summed up one after the other; sums of more are sums of these sums.
pub(super) const CHUNK: usize = 32;

/// A number of one lane.
pub(super) trait Real: Copy + Add<Output = Self> {
    const ZERO: Self;
    fn narrow(value: f64) -> Self;
}

impl Real for f32 {
    const ZERO: f32 = 0.0;

    #[inline(always)]
    fn narrow(value: f64) -> f32 {
        value as f32
    }
}

impl Real for f64 {
    const ZERO: f64 = 0.0;

    #[inline(always)]
    fn narrow(value: f64) -> f64 {
        value
    }
}

/// 16 of f32, or 8 of f64.
pub(super) trait Lanes: Copy {
    type Real: Real;
    const COUNT: usize;

    fn splat(value: Self::Real) -> Self;
    /// # Safety
    /// `from` is valid for reads of `COUNT` elements.
    unsafe fn load(from: *const Self::Real) -> Self;
    /// # Safety
    /// `to` is valid for writes of `COUNT` elements.
    unsafe fn store(self, to: *mut Self::Real);
    fn plus(self, other: Self) -> Self;
    fn minus(self, other: Self) -> Self;
    /// `self · factor + other`, rounded once.
    fn times_plus(self, factor: Self, other: Self) -> Self;
}

macro_rules! array {
    ($real:ident, $count:literal) => {
        impl Lanes for [$real; $count] {
            type Real = $real;
            const COUNT: usize = $count;

            #[inline(always)]
            fn splat(value: $real) -> Self {
                [value; $count]
            }

            #[inline(always)]
            unsafe fn load(from: *const $real) -> Self {
                // SAFETY: the caller's promise; an array is aligned as its element.
                unsafe { from.cast::<Self>().read() }
            }

            #[inline(always)]
            unsafe fn store(self, to: *mut $real) {
                // SAFETY: as above.
                unsafe { to.cast::<Self>().write(self) }
            }

            #[inline(always)]
            fn plus(mut self, other: Self) -> Self {
                self.iter_mut().zip(other).for_each(|(a, b)| *a += b);
                self
            }

            #[inline(always)]
            fn minus(mut self, other: Self) -> Self {
                self.iter_mut().zip(other).for_each(|(a, b)| *a -= b);
                self
            }

            #[inline(always)]
            fn times_plus(mut self, factor: Self, other: Self) -> Self {
                self.iter_mut().zip(factor).zip(other).for_each(|((a, b), c)| *a = a.mul_add(b, c));
                self
            }
        }
    };
}
array!(f32, 16);
array!(f64, 8);

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{F32x8x2, F32x16, F64x4x2, F64x8};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// Registers of one level as lanes.
    macro_rules! registers {
        ($name:ident, $real:ident, $register:ident, $per:literal, $parts:literal, $lanes:literal,
         $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $fma:ident
        ) => {
            #[derive(Clone, Copy)]
            pub(in super::super) struct $name([$register; $parts]);

            // SAFETY of all below: these types are used by functions of their level only, which run where the
            // processor has it; loads and stores have the caller's promise.
            impl Lanes for $name {
                type Real = $real;
                const COUNT: usize = $lanes;

                #[inline(always)]
                fn splat(value: $real) -> Self {
                    // SAFETY: see above.
                    Self([unsafe { $splat(value) }; $parts])
                }

                #[inline(always)]
                unsafe fn load(from: *const $real) -> Self {
                    // SAFETY: see above.
                    let mut parts = [unsafe { $splat(0.0) }; $parts];
                    for part in 0..$parts {
                        // SAFETY: see above.
                        parts[part] = unsafe { $load(from.add(part * $per)) };
                    }
                    Self(parts)
                }

                #[inline(always)]
                unsafe fn store(self, to: *mut $real) {
                    for part in 0..$parts {
                        // SAFETY: see above.
                        unsafe { $store(to.add(part * $per), self.0[part]) };
                    }
                }

                #[inline(always)]
                fn plus(mut self, other: Self) -> Self {
                    for part in 0..$parts {
                        // SAFETY: see above.
                        self.0[part] = unsafe { $add(self.0[part], other.0[part]) };
                    }
                    self
                }

                #[inline(always)]
                fn minus(mut self, other: Self) -> Self {
                    for part in 0..$parts {
                        // SAFETY: see above.
                        self.0[part] = unsafe { $sub(self.0[part], other.0[part]) };
                    }
                    self
                }

                #[inline(always)]
                fn times_plus(mut self, factor: Self, other: Self) -> Self {
                    for part in 0..$parts {
                        // SAFETY: see above.
                        self.0[part] = unsafe { $fma(self.0[part], factor.0[part], other.0[part]) };
                    }
                    self
                }
            }
        };
    }
    registers!(
        F32x16,
        f32,
        __m512,
        16,
        1,
        16,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_fmadd_ps
    );
    registers!(
        F64x8,
        f64,
        __m512d,
        8,
        1,
        8,
        _mm512_set1_pd,
        _mm512_loadu_pd,
        _mm512_storeu_pd,
        _mm512_add_pd,
        _mm512_sub_pd,
        _mm512_fmadd_pd
    );
    registers!(
        F32x8x2,
        f32,
        __m256,
        8,
        2,
        16,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_fmadd_ps
    );
    registers!(
        F64x4x2,
        f64,
        __m256d,
        4,
        2,
        8,
        _mm256_set1_pd,
        _mm256_loadu_pd,
        _mm256_storeu_pd,
        _mm256_add_pd,
        _mm256_sub_pd,
        _mm256_fmadd_pd
    );
}
