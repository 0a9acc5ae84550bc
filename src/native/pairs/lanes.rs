//! Lanes: as many numbers as one register of the widest level has, in the registers of each level. Every operation has
//! the same bits at every level.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

/// 16 of f32, or 8 of f64.
pub(super) trait Lanes: Copy {
    type Real: Copy;
    const COUNT: usize;

    fn splat(value: Self::Real) -> Self;
    /// # Safety
    /// `from` is valid for reads of `COUNT` elements.
    unsafe fn load(from: *const Self::Real) -> Self;
    /// # Safety
    /// `to` is valid for writes of `COUNT` elements.
    unsafe fn store(self, to: *mut Self::Real);
    fn minus(self, other: Self) -> Self;
    /// `self · factor + other`, rounded once.
    fn times_plus(self, factor: Self, other: Self) -> Self;
    /// The sum, halving the lanes.
    fn sum(self) -> Self::Real;
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
            fn minus(mut self, other: Self) -> Self {
                self.iter_mut().zip(other).for_each(|(a, b)| *a -= b);
                self
            }

            #[inline(always)]
            fn times_plus(mut self, factor: Self, other: Self) -> Self {
                self.iter_mut().zip(factor).zip(other).for_each(|((a, b), c)| *a = a.mul_add(b, c));
                self
            }

            #[inline(always)]
            fn sum(mut self) -> $real {
                let mut width = $count / 2;
                while width > 0 {
                    for lane in 0..width {
                        self[lane] += self[lane + width];
                    }
                    width /= 2;
                }
                self[0]
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

    /// # Safety
    /// The processor has AVX-512.
    #[inline(always)]
    unsafe fn sum_f32x16([x]: [__m512; 1]) -> f32 {
        // SAFETY: the caller's promise, here and below.
        unsafe { sum_f32x8(_mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x))) }
    }

    /// # Safety
    /// The processor has AVX.
    #[inline(always)]
    unsafe fn sum_f32x8x2([low, high]: [__m256; 2]) -> f32 {
        // SAFETY: as above.
        unsafe { sum_f32x8(_mm256_add_ps(low, high)) }
    }

    /// # Safety
    /// The processor has AVX.
    #[inline(always)]
    unsafe fn sum_f32x8(x: __m256) -> f32 {
        // SAFETY: as above.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps::<1>(x));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_shuffle_ps::<1>(two, two)))
        }
    }

    /// # Safety
    /// The processor has AVX-512.
    #[inline(always)]
    unsafe fn sum_f64x8([x]: [__m512d; 1]) -> f64 {
        // SAFETY: as above.
        unsafe { sum_f64x4(_mm256_add_pd(_mm512_castpd512_pd256(x), _mm512_extractf64x4_pd::<1>(x))) }
    }

    /// # Safety
    /// The processor has AVX.
    #[inline(always)]
    unsafe fn sum_f64x4x2([low, high]: [__m256d; 2]) -> f64 {
        // SAFETY: as above.
        unsafe { sum_f64x4(_mm256_add_pd(low, high)) }
    }

    /// # Safety
    /// The processor has AVX.
    #[inline(always)]
    unsafe fn sum_f64x4(x: __m256d) -> f64 {
        // SAFETY: as above.
        unsafe {
            let two = _mm_add_pd(_mm256_castpd256_pd128(x), _mm256_extractf128_pd::<1>(x));
            _mm_cvtsd_f64(_mm_add_sd(two, _mm_unpackhi_pd(two, two)))
        }
    }

    /// Registers of one level as lanes; `$sum` adds the halves of an array of them.
    macro_rules! registers {
        ($name:ident, $real:ident, $register:ident, $per:literal, $parts:literal, $lanes:literal,
         $splat:ident, $load:ident, $store:ident, $sub:ident, $fma:ident, $sum:ident
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

                #[inline(always)]
                fn sum(self) -> $real {
                    // SAFETY: see above.
                    unsafe { $sum(self.0) }
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
        _mm512_sub_ps,
        _mm512_fmadd_ps,
        sum_f32x16
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
        _mm512_sub_pd,
        _mm512_fmadd_pd,
        sum_f64x8
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
        _mm256_sub_ps,
        _mm256_fmadd_ps,
        sum_f32x8x2
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
        _mm256_sub_pd,
        _mm256_fmadd_pd,
        sum_f64x4x2
    );
}
