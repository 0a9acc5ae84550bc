//! The formulas for `f32`: branch-free, correct to 1 ulp on every input (`tests.rs` checks them all).
//!
//! * Argument reduction after Cody and Waite, *Software Manual for the Elementary Functions* (1980), in the form with
//!   fused multiply-adds of Muller et al., *Handbook of Floating-Point Arithmetic* (2nd ed., 2018), ch. 10.
//! * `x = n ln 2 + r`, rounding to the integer `n` by adding `1.5 · 2²³`, whose low bits then hold `n`.
//! * `log1p` scales the exact sum `1 + x` instead of correcting the rounded one.
//! * Polynomials are relative minimax fits: Lawson's reweighted least squares in 260-bit arithmetic, coefficients
//!   rounded to `f32` from the lowest degree up, the rest fitted again after each. The comment at each gives its bound.
//!
//! `if a < b { a } else { b }` is one instruction and keeps a NaN in `b`; `f32::min` is not and does not.

pub const SHIFTER: f32 = 12_582_912.0; // 1.5 · 2^23
const LN2: f32 = std::f32::consts::LN_2;
pub const LN2_HI: f32 = 0.693_145_75; // 17 bits, so that n · LN2_HI is exact
pub const LN2_LO: f32 = 1.428_606_8e-6;
/// log reduces its argument to m in (0.75, 1.5]: m − 1 is exact, and also where log1p forms it as 2^-e (1 + x) − 1 for
/// e = ±1, the cases where the result is small.
const REDUCED_MIN: u32 = 0.75f32.to_bits() + 1; // the next number, to include 1.5
const EXPONENT: u32 = 0xff80_0000;

#[inline(always)]
fn horner<const N: usize>(x: f32, c: [f32; N]) -> f32 {
    let mut sum = c[N - 1];
    let mut i = N - 1;
    while i > 0 {
        i -= 1;
        sum = sum.mul_add(x, c[i]);
    }
    sum
}

/// 2^n for −126 ≤ n + offset ≤ 127, where `shifted` = SHIFTER + n, times 2^offset.
#[inline(always)]
fn power_of_two(shifted: f32, offset: i32) -> f32 {
    f32::from_bits((shifted.to_bits() << 23).wrapping_add(((127 + offset) as u32) << 23))
}

/// x − n ln 2
#[inline(always)]
fn reduce(x: f32, n: f32) -> f32 {
    n.mul_add(-LN2_LO, n.mul_add(-LN2_HI, x))
}

/// Beyond these e^x is 0 or infinite.
pub const EXP_RANGE: [f32; 2] = [-104.0, 89.0];
/// 1 + r + r² Q(r), |r| ≤ ln 2 / 2: 2^-27.9
pub const EXP: [f32; 7] = [1.0, 1.0, 0.5, 0.166_665_33, 0.041_667_197, 0.008_367_551_5, 0.001_386_544];

/// m and SHIFTER + n of exp(x) = m · 2^n.
#[inline(always)]
fn exp_shifted(x: f32) -> (f32, f32) {
    let shifted = x.mul_add(std::f32::consts::LOG2_E, SHIFTER);
    (horner(reduce(x, shifted - SHIFTER), EXP), shifted)
}

/// m and n of exp(x) = m · 2^n; n is a whole number from −150 to 128, or NaN with x.
#[inline(always)]
pub fn exp_parts(x: f32) -> (f32, f32) {
    let [least, most] = EXP_RANGE;
    let x = if x < least { least } else { x };
    let x = if x > most { most } else { x };
    let (m, shifted) = exp_shifted(x);
    (m, shifted - SHIFTER)
}

/// m · 2^n of [`exp_parts`], in two factors: only the last product may round, overflow or underflow.
#[inline(always)]
pub fn scale((m, n): (f32, f32)) -> f32 {
    let (offset, rest) = if n < 0.0 { (64, 5.421_011e-20) } else { (-64, 1.844_674_4e19) };
    m * power_of_two(n + SHIFTER, offset) * rest
}

#[inline(always)]
pub fn exp(x: f32) -> f32 {
    scale(exp_parts(x))
}

/// Within these limits m, 2^n and exp(x) are normal numbers.
#[inline(always)]
pub fn is_plain_exp(x: f32) -> bool {
    x.abs() <= 86.0
}

/// The bits of [`exp`] where [`is_plain_exp`]: m with n added to its exponent.
#[inline(always)]
pub fn plain_exp(x: f32) -> f32 {
    let (m, shifted) = exp_shifted(x);
    f32::from_bits(m.to_bits().wrapping_add(shifted.to_bits() << 23))
}

/// e ln 2 + log(1 + r), −0.25 < r ≤ 0.5
#[inline(always)]
fn log_reduced(e: f32, r: f32) -> f32 {
    // r + r² Q(r): 2^-27.5
    let q = horner(
        r,
        [
            -0.5,
            0.333_334_5,
            -0.250_001_04,
            0.199_908_18,
            -0.166_470_2,
            0.144_784_06,
            -0.131_632_54,
            0.104_660_7,
            -0.045_083_623,
        ],
    );
    // The error of LN2 itself costs at most 0.07 ulp.
    e.mul_add(LN2, (r * r).mul_add(q, r))
}

/// The special values of log: `value` is right where 0 < x < ∞.
#[inline(always)]
fn log_special(x: f32, value: f32) -> f32 {
    let value = if x < f32::INFINITY { value } else { x };
    let value = if x < 0.0 { f32::NAN } else { value };
    if x == 0.0 { f32::NEG_INFINITY } else { value }
}

#[inline(always)]
pub fn log(x: f32) -> f32 {
    let subnormal = x < f32::MIN_POSITIVE;
    let y = if subnormal { x * 8_388_608.0 } else { x };
    let e0 = if subnormal { -23.0 } else { 0.0 };
    let above = y.to_bits().wrapping_sub(REDUCED_MIN);
    let e = ((above as i32) >> 23) as f32 + e0;
    let m = f32::from_bits(y.to_bits().wrapping_sub(above & EXPONENT));
    log_special(x, log_reduced(e, m - 1.0))
}

/// Whether log(x) has no special value and x is not subnormal.
#[inline(always)]
pub fn is_plain_log(x: f32) -> bool {
    x.to_bits().wrapping_sub(f32::MIN_POSITIVE.to_bits()) < f32::INFINITY.to_bits() - f32::MIN_POSITIVE.to_bits()
}

/// The bits of [`log`] where [`is_plain_log`].
#[inline(always)]
pub fn plain_log(x: f32) -> f32 {
    let above = x.to_bits().wrapping_sub(REDUCED_MIN);
    let m = f32::from_bits(x.to_bits().wrapping_sub(above & EXPONENT));
    log_reduced(((above as i32) >> 23) as f32, m - 1.0)
}

#[inline(always)]
pub fn log1p(x: f32) -> f32 {
    let u = 1.0 + x;
    // Where u was rounded to an end of the interval, e = 0 keeps the sum below exact: a negative x includes 0.75.
    let above = u.to_bits().wrapping_sub(REDUCED_MIN).wrapping_add(x.to_bits() >> 31);
    let e = ((above as i32) >> 23) as f32;
    // 2^-e (1 + x) − 1 = 2^-e x + (2^-e − 1). Where e ≠ 0, x is far from subnormal and its exponent can take −e; the
    // power 2^-e is taken as 0 where it would underflow.
    let scaled = f32::from_bits(x.to_bits().wrapping_sub(above & EXPONENT));
    let power = 1.0f32.to_bits().wrapping_sub(above & EXPONENT) as i32;
    let power = f32::from_bits(if power < 0 { 0 } else { power } as u32);
    let value = log_reduced(e, scaled + (power - 1.0));
    log_special(u, value).copysign(x)
}

/// Whether x is in [0, 1], and not −0: where softplus takes its logarithms.
#[inline(always)]
pub fn is_plain_log1p(x: f32) -> bool {
    x.to_bits() <= 1.0f32.to_bits()
}

/// The bits of [`log1p`] where [`is_plain_log1p`]: there e is 0 or 1.
#[inline(always)]
pub fn plain_log1p(x: f32) -> f32 {
    let halve = 1.0 + x > 1.5;
    let r = if halve { x.mul_add(0.5, -0.5) } else { x };
    log_reduced(if halve { 1.0 } else { 0.0 }, r)
}

/// r² Q(r), so that expm1(r) = r + r² Q(r), |r| ≤ 0.5: 2^-27.5
#[inline(always)]
fn expm1_tail(r: f32) -> f32 {
    let c = [0.5, 0.166_666_63, 0.041_665_874, 0.008_333_803, 0.001_398_108_1, 0.000_197_769_78];
    r * r * horner(r, c)
}

#[inline(always)]
pub fn expm1(x: f32) -> f32 {
    // Beyond these the result is −1 or infinite.
    let y = if x < -20.0 { -20.0 } else { x };
    let y = if y > 88.8 { 88.8 } else { y };
    let small = y.abs() < 0.5;
    let shifted = y.mul_add(std::f32::consts::LOG2_E, SHIFTER);
    let shifted = if small { SHIFTER } else { shifted };
    // What the rounding of r loses is half an ulp of some results: it joins the tail.
    let n = shifted - SHIFTER;
    let r = reduce(y, n);
    let lost = n.mul_add(-LN2_LO, n.mul_add(-LN2_HI, y) - r);
    // s (r + tail) + (s − ½) with s = ½ 2^n, since 2^128 is no number. What s − ½ loses for large n joins the tail.
    let s = power_of_two(shifted, -1);
    let high = s - 0.5;
    let low = (s - high) - 0.5;
    let inverse = f32::from_bits((254u32 << 23).wrapping_sub(s.to_bits()));
    let expm1_r = r + low.mul_add(inverse, expm1_tail(r) + lost);
    let half = s.mul_add(expm1_r, high);
    let value = if small { expm1_r } else { half + half };
    value.copysign(x)
}

#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let a = x.abs();
    // x + x z P(z), z = x² ≤ 0.961: 2^-27.8
    let z = x * x;
    let c = [
        -0.333_333_04,
        0.133_325_37,
        -0.053_893_495,
        0.021_531_535,
        -0.008_020_287,
        0.002_361_474_8,
        -0.000_377_428_78,
    ];
    let near = (a * z).mul_add(horner(z, c), a);
    // 1 − 2 / (e^2a + 1); from 2a = 20 on it rounds to 1.
    let y = if a > 10.0 { 20.0 } else { a + a };
    let shifted = y.mul_add(std::f32::consts::LOG2_E, SHIFTER);
    let r = reduce(y, shifted - SHIFTER);
    let s = power_of_two(shifted, 0);
    let denominator = s.mul_add(r + expm1_tail(r), s + 1.0);
    let far = 1.0 - 2.0 / denominator;
    (if a < 0.98 { near } else { far }).copysign(x)
}
