//! The loops over pairs of rows for each vector level, with as many sums at a time as its registers hold (at AVX2 those of a
//! spread, whose rows are read from memory again): the same bits at every level, as no sum depends on what is done beside it.

use super::contract::contract;
use super::spread::{Target, spread};
use super::{Matrix, Pairs, Rows};
use crate::vmath::{Level, level};

macro_rules! levels {
    ($contract:ident, $spread:ident, $array:ty, $avx512:ident, $avx2:ident) => {
        /// # Safety
        /// As [`Pairs::contract`].
        pub(super) unsafe fn $contract(pairs: &Pairs, out: Matrix) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn avx512(pairs: &Pairs, out: Matrix) {
                // SAFETY: the caller's promise.
                unsafe { contract::<super::lanes::$avx512, 6, 4>(pairs, out) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2(pairs: &Pairs, out: Matrix) {
                // SAFETY: the caller's promise.
                unsafe { contract::<super::lanes::$avx2, 6, 1>(pairs, out) }
            }
            // By itself, so that its scratch is not on the stack of the others.
            #[inline(never)]
            unsafe fn baseline(pairs: &Pairs, out: Matrix) {
                // SAFETY: the caller's promise.
                unsafe { contract::<$array, 2, 1>(pairs, out) }
            }
            // SAFETY: the caller's promise; the level is one that this machine has.
            unsafe {
                match level() {
                    #[cfg(target_arch = "x86_64")]
                    Ok(Level::Avx512) => avx512(pairs, out),
                    #[cfg(target_arch = "x86_64")]
                    Ok(Level::Avx2Fma) => avx2(pairs, out),
                    _ => baseline(pairs, out),
                }
            }
        }

        /// # Safety
        /// As [`Pairs::spread`].
        pub(super) unsafe fn $spread(pairs: &Pairs, weight: Matrix, out: Rows, factor: f64, adds: bool) {
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
            unsafe fn avx512(pairs: &Pairs, weight: Matrix, target: Target) {
                // SAFETY: the caller's promise.
                unsafe { spread::<super::lanes::$avx512, 6, 2>(pairs, weight, target) }
            }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            unsafe fn avx2(pairs: &Pairs, weight: Matrix, target: Target) {
                // SAFETY: the caller's promise.
                unsafe { spread::<super::lanes::$avx2, 4, 1>(pairs, weight, target) }
            }
            #[inline(never)]
            unsafe fn baseline(pairs: &Pairs, weight: Matrix, target: Target) {
                // SAFETY: the caller's promise.
                unsafe { spread::<$array, 2, 1>(pairs, weight, target) }
            }
            let target = Target { out, factor, adds };
            // SAFETY: as above.
            unsafe {
                match level() {
                    #[cfg(target_arch = "x86_64")]
                    Ok(Level::Avx512) => avx512(pairs, weight, target),
                    #[cfg(target_arch = "x86_64")]
                    Ok(Level::Avx2Fma) => avx2(pairs, weight, target),
                    _ => baseline(pairs, weight, target),
                }
            }
        }
    };
}
levels!(contract_f32, spread_f32, [f32; 16], F32x16, F32x8x2);
levels!(contract_f64, spread_f64, [f64; 8], F64x8, F64x4x2);
