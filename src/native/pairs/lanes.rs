//! Lanes: as many numbers as one register of the widest level has, in the registers of each level. Every operation has
//! the same bits at every level.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

use crate::ir::Dtype;
use std::array::from_fn;

/// Elements that are summed up one after the other; sums of more are sums of these sums.
pub(super) const CHUNK: usize = 32;

/// Lanes of a vector, at most.
pub(super) const MOST: usize = 16;

/// A number of one lane.
pub(super) trait Real: Copy {
    const ZERO: Self;
    const DTYPE: Dtype;
    fn narrow(value: f64) -> Self;
}

impl Real for f32 {
    const ZERO: f32 = 0.0;
    const DTYPE: Dtype = Dtype::F32;

    #[inline(always)]
    fn narrow(value: f64) -> f32 {
        value as f32
    }
}

impl Real for f64 {
    const ZERO: f64 = 0.0;
    const DTYPE: Dtype = Dtype::F64;

    #[inline(always)]
    fn narrow(value: f64) -> f64 {
        value
    }
}

/// 16 of f32, or 8 of f64.
pub(super) trait Lanes: Copy {
    type Real: Real;
    /// Some of the lanes.
    type Mask: Copy;
    const COUNT: usize;

    fn splat(value: Self::Real) -> Self;
    /// The first `count` lanes; all, where there are fewer.
    fn first(count: usize) -> Self::Mask;
    /// # Safety
    /// `from` is valid for reads of the elements of these lanes; the others are 0.
    unsafe fn load_some(from: *const Self::Real, some: Self::Mask) -> Self;
    /// # Safety
    /// `to` is valid for writes of the elements of these lanes.
    unsafe fn store_some(self, to: *mut Self::Real, some: Self::Mask);
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
    /// Elements of both by turns: of the first halves, and of the second halves.
    fn interleave(self, other: Self) -> [Self; 2];
}

/// Lanes through memory, where instructions that leave out some are slow or not there.
///
/// # Safety
/// As [`Lanes::load_some`].
#[inline(always)]
unsafe fn load_first<L: Lanes>(from: *const L::Real, count: usize) -> L {
    // SAFETY: the caller's promise; the buffer has as many elements as there are lanes.
    unsafe {
        if count == L::COUNT {
            return L::load(from);
        }
        let mut all = [L::Real::ZERO; MOST];
        all.as_mut_ptr().copy_from_nonoverlapping(from, count);
        L::load(all.as_ptr())
    }
}

/// # Safety
/// As [`Lanes::store_some`].
#[inline(always)]
unsafe fn store_first<L: Lanes>(vector: L, to: *mut L::Real, count: usize) {
    // SAFETY: as above.
    unsafe {
        if count == L::COUNT {
            return vector.store(to);
        }
        let mut all = [L::Real::ZERO; MOST];
        vector.store(all.as_mut_ptr());
        to.copy_from_nonoverlapping(all.as_ptr(), count);
    }
}

macro_rules! array {
    ($real:ident, $count:literal) => {
        impl Lanes for [$real; $count] {
            type Real = $real;
            type Mask = usize;
            const COUNT: usize = $count;

            #[inline(always)]
            fn first(count: usize) -> usize {
                count.min($count)
            }

            #[inline(always)]
            unsafe fn load_some(from: *const $real, some: usize) -> Self {
                // SAFETY: the caller's promise.
                unsafe { load_first(from, some) }
            }

            #[inline(always)]
            unsafe fn store_some(self, to: *mut $real, some: usize) {
                // SAFETY: the caller's promise.
                unsafe { store_first(self, to, some) }
            }

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

            #[inline(always)]
            fn interleave(self, other: Self) -> [Self; 2] {
                let half = |from: usize| from_fn(|k| [self, other][k % 2][from + k / 2]);
                [half(0), half($count / 2)]
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
    use super::{Lanes, load_first, store_first};
    use std::arch::x86_64::*;
    use std::array::from_fn;

    /// Registers of one level as lanes.
    macro_rules! registers {
        ($name:ident, $real:ident, $register:ident, $per:literal, $parts:literal, $lanes:literal,
         $splat:ident, $load:ident, $store:ident, $add:ident, $sub:ident, $fma:ident,
         $interleave:ident, $mask:ident, $first:expr, $load_some:expr, $store_some:expr
        ) => {
            #[derive(Clone, Copy)]
            pub(in super::super) struct $name([$register; $parts]);

            // SAFETY of all below: these types are used by functions of their level only, which run where the
            // processor has it; loads and stores have the caller's promise.
            impl Lanes for $name {
                type Real = $real;
                type Mask = $mask;
                const COUNT: usize = $lanes;

                #[inline(always)]
                fn first(count: usize) -> $mask {
                    $first(count.min($lanes))
                }

                #[inline(always)]
                unsafe fn load_some(from: *const $real, some: $mask) -> Self {
                    // SAFETY: see above.
                    unsafe { $load_some(from, some) }
                }

                #[inline(always)]
                unsafe fn store_some(self, to: *mut $real, some: $mask) {
                    // SAFETY: see above.
                    unsafe { $store_some(self, to, some) }
                }

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

                #[inline(always)]
                fn interleave(self, other: Self) -> [Self; 2] {
                    let mut all = [self.0[0]; 2 * $parts];
                    for part in 0..$parts {
                        // SAFETY: see above.
                        [all[2 * part], all[2 * part + 1]] = unsafe { $interleave(self.0[part], other.0[part]) };
                    }
                    [0, $parts].map(|half| Self(from_fn(|part| all[half + part])))
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
        _mm512_fmadd_ps,
        interleave_16,
        __mmask16,
        |count| ((1u32 << count) - 1) as __mmask16,
        |from, some| Self([_mm512_maskz_loadu_ps(some, from)]),
        |all: Self, to, some| _mm512_mask_storeu_ps(to, some, all.0[0])
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
        _mm512_fmadd_pd,
        interleave_8,
        __mmask8,
        |count| ((1u32 << count) - 1) as __mmask8,
        |from, some| Self([_mm512_maskz_loadu_pd(some, from)]),
        |all: Self, to, some| _mm512_mask_storeu_pd(to, some, all.0[0])
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
        _mm256_fmadd_ps,
        interleave_2x4,
        usize,
        |count| count,
        load_first,
        store_first
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
        _mm256_fmadd_pd,
        interleave_2x2,
        usize,
        |count| count,
        load_first,
        store_first
    );

    /// Elements of two registers by turns: those of the lower halves, and those of the upper.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn interleave_16(a: __m512, b: __m512) -> [__m512; 2] {
        let low = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
        let high = _mm512_setr_epi32(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
        [_mm512_permutex2var_ps(a, low, b), _mm512_permutex2var_ps(a, high, b)]
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn interleave_8(a: __m512d, b: __m512d) -> [__m512d; 2] {
        let low = _mm512_setr_epi64(0, 8, 1, 9, 2, 10, 3, 11);
        let high = _mm512_setr_epi64(4, 12, 5, 13, 6, 14, 7, 15);
        [_mm512_permutex2var_pd(a, low, b), _mm512_permutex2var_pd(a, high, b)]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn interleave_2x4(a: __m256, b: __m256) -> [__m256; 2] {
        let (low, high) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        [_mm256_permute2f128_ps::<0x20>(low, high), _mm256_permute2f128_ps::<0x31>(low, high)]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn interleave_2x2(a: __m256d, b: __m256d) -> [__m256d; 2] {
        let (low, high) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
        [_mm256_permute2f128_pd::<0x20>(low, high), _mm256_permute2f128_pd::<0x31>(low, high)]
    }
}
