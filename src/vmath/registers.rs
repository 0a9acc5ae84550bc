//! exp of a register of AVX-512, for loops that are written in registers: the formula of `single.rs` and `double.rs`, and the
//! same bits, but that the sign and payload of a NaN may differ.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

use super::{double, single};
use std::arch::x86_64::*;

macro_rules! exp {
    ($formulas:ident, $real:ident, $register:ident, $all:ident, $max:ident, $min:ident, $sub:ident, $fma:ident, $scale:ident) => {
        /// e^x, lane by lane. Each step is done to all of the registers before the next, so that none waits for another.
        ///
        /// # Safety
        /// The machine has AVX-512.
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
        #[inline]
        pub fn $formulas<const N: usize>(mut x: [$register; N]) -> [$register; N] {
            let [least, most] = $formulas::EXP_RANGE;
            for x in &mut x {
                // The second where one is NaN.
                *x = $min($all(most), $max($all(least), *x));
            }
            let shifter = $all($formulas::SHIFTER);
            let mut n = x;
            for n in &mut n {
                *n = $sub($fma(*n, $all(std::$real::consts::LOG2_E), shifter), shifter);
            }
            for part in [$formulas::LN2_HI, $formulas::LN2_LO] {
                for i in 0..N {
                    x[i] = $fma(n[i], $all(-part), x[i]);
                }
            }
            let [lower @ .., highest] = $formulas::EXP;
            let mut p = [$all(highest); N];
            for c in lower.iter().rev() {
                for i in 0..N {
                    p[i] = $fma(p[i], x[i], $all(*c));
                }
            }
            for i in 0..N {
                p[i] = $scale(p[i], n[i]);
            }
            p
        }
    };
}
exp!(
    single,
    f32,
    __m512,
    _mm512_set1_ps,
    _mm512_max_ps,
    _mm512_min_ps,
    _mm512_sub_ps,
    _mm512_fmadd_ps,
    _mm512_scalef_ps
);
exp!(
    double,
    f64,
    __m512d,
    _mm512_set1_pd,
    _mm512_max_pd,
    _mm512_min_pd,
    _mm512_sub_pd,
    _mm512_fmadd_pd,
    _mm512_scalef_pd
);
