//! The formulas for `f64`: as `single.rs`, whose comments hold here too, with two differences.
//!
//! * `log(1 + r)` goes through `s = r / (2 + r)`, `log(1 + r) = 2 artanh s`: one division buys half the polynomial
//!   (the arrangement of its terms is that of fdlibm's `e_log.c`, Sun Microsystems, 1993).
//! * Exponents become floating-point numbers by arithmetic on the bits of `2⁵²`: AVX2 lacks the conversion.
//!
//! Errors stay below 1 ulp on all samples of `tests.rs`.

pub const SHIFTER: f64 = 6_755_399_441_055_744.0; // 1.5 · 2^52
pub const LN2_HI: f64 = 0.693_147_180_559_890_3; // 42 bits, so that n · LN2_HI is exact
pub const LN2_LO: f64 = 5.497_923_018_708_371e-14;
const REDUCED_MIN: u64 = 0.75f64.to_bits() + 1;
const ONE: u64 = 1.0f64.to_bits();

#[inline(always)]
fn horner<const N: usize>(x: f64, c: [f64; N]) -> f64 {
    let mut sum = c[N - 1];
    let mut i = N - 1;
    while i > 0 {
        i -= 1;
        sum = sum.mul_add(x, c[i]);
    }
    sum
}

/// 2^(n + offset) for `shifted` = SHIFTER + n, where it is normal.
#[inline(always)]
fn power_of_two(shifted: f64, offset: i64) -> f64 {
    f64::from_bits((shifted.to_bits() << 52).wrapping_add(((1023 + offset) as u64) << 52))
}

/// x − n ln 2
#[inline(always)]
fn reduce(x: f64, n: f64) -> f64 {
    n.mul_add(-LN2_LO, n.mul_add(-LN2_HI, x))
}

/// Beyond these e^x is 0 or infinite.
pub const EXP_RANGE: [f64; 2] = [-746.0, 710.0];
/// |r| ≤ ln 2 / 2: 2^-57.2
pub const EXP: [f64; 12] = [
    1.0,
    1.0,
    0.5,
    0.16666666666666433,
    0.041666666666603756,
    0.008_333_333_333_500_214,
    0.0013888888926894883,
    0.000_198_412_694_673_712_9,
    2.480_150_853_491_023e-5,
    2.7557638545050187e-6,
    2.7625254997511003e-7,
    2.4979388059669712e-8,
];

#[inline(always)]
fn exp_shifted(x: f64) -> (f64, f64) {
    let shifted = x.mul_add(std::f64::consts::LOG2_E, SHIFTER);
    (horner(reduce(x, shifted - SHIFTER), EXP), shifted)
}

/// m and n of exp(x) = m · 2^n; n is a whole number from −1076 to 1024, or NaN with x.
#[inline(always)]
pub fn exp_parts(x: f64) -> (f64, f64) {
    let [least, most] = EXP_RANGE;
    let x = if x < least { least } else { x };
    let x = if x > most { most } else { x };
    let (m, shifted) = exp_shifted(x);
    (m, shifted - SHIFTER)
}

/// m · 2^n of [`exp_parts`], in two factors: only the last product may round, overflow or underflow.
#[inline(always)]
pub fn scale((m, n): (f64, f64)) -> f64 {
    let (offset, rest) = if n < 0.0 { (512, 7.458_340_731_200_207e-155) } else { (-512, 1.340_780_792_994_259_7e154) };
    m * power_of_two(n + SHIFTER, offset) * rest
}

#[inline(always)]
pub fn exp(x: f64) -> f64 {
    scale(exp_parts(x))
}

#[inline(always)]
pub fn is_plain_exp(x: f64) -> bool {
    x.abs() <= 708.0
}

#[inline(always)]
pub fn plain_exp(x: f64) -> f64 {
    let (m, shifted) = exp_shifted(x);
    f64::from_bits(m.to_bits().wrapping_add(shifted.to_bits() << 52))
}

/// e ln 2 + log(1 + r), −0.25 < r ≤ 0.5.
#[inline(always)]
fn log_reduced(e: f64, r: f64) -> f64 {
    let s = r / (2.0 + r);
    let z = s * s;
    // 2 artanh s = 2s + s z P(z), z ≤ 0.04: 2^-61.2
    let c = [
        0.666_666_666_666_666,
        0.400_000_000_000_567,
        0.2857142855581043,
        0.22222224299325075,
        0.18181665676934392,
        0.15391118893120256,
        0.1317347961463361,
        0.13843847916741261,
    ];
    let half_square = 0.5 * r * r;
    let correction = s.mul_add(z.mul_add(horner(z, c), half_square), e * LN2_LO);
    e.mul_add(LN2_HI, r - (half_square - correction))
}

#[inline(always)]
fn log_special(x: f64, value: f64) -> f64 {
    let value = if x < f64::INFINITY { value } else { x };
    let value = if x < 0.0 { f64::NAN } else { value };
    if x == 0.0 { f64::NEG_INFINITY } else { value }
}

/// The exponent e that leaves x 2^-e in (0.75, 1.5], as a number and shifted to its place in the bits. With `include`
/// = 1 the interval is [0.75, 1.5).
#[inline(always)]
fn exponent(x: f64, include: u64) -> (f64, u64) {
    const TWO_52: f64 = 4_503_599_627_370_496.0;
    let biased = (x.to_bits().wrapping_add(ONE - REDUCED_MIN + include)) >> 52;
    let e = f64::from_bits(TWO_52.to_bits() | biased) - (TWO_52 + 1023.0);
    (e, (biased << 52).wrapping_sub(ONE))
}

#[inline(always)]
pub fn log(x: f64) -> f64 {
    let subnormal = x < f64::MIN_POSITIVE;
    let y = if subnormal { x * 4_503_599_627_370_496.0 } else { x };
    let e0 = if subnormal { -52.0 } else { 0.0 };
    let (e, bits) = exponent(y, 0);
    let m = f64::from_bits(y.to_bits().wrapping_sub(bits));
    log_special(x, log_reduced(e + e0, m - 1.0))
}

/// Whether log(x) has no special value and x is not subnormal.
#[inline(always)]
pub fn is_plain_log(x: f64) -> bool {
    x.to_bits().wrapping_sub(f64::MIN_POSITIVE.to_bits()) < f64::INFINITY.to_bits() - f64::MIN_POSITIVE.to_bits()
}

/// The bits of [`log`] where [`is_plain_log`].
#[inline(always)]
pub fn plain_log(x: f64) -> f64 {
    let (e, bits) = exponent(x, 0);
    log_reduced(e, f64::from_bits(x.to_bits().wrapping_sub(bits)) - 1.0)
}

#[inline(always)]
pub fn log1p(x: f64) -> f64 {
    let u = 1.0 + x;
    let (e, bits) = exponent(u, x.to_bits() >> 63);
    let scaled = f64::from_bits(x.to_bits().wrapping_sub(bits));
    let power = ONE.wrapping_sub(bits) as i64;
    let power = f64::from_bits(if power < 0 { 0 } else { power } as u64);
    let value = log_reduced(e, scaled + (power - 1.0));
    log_special(u, value).copysign(x)
}

/// Whether x is in [0, 1], and not −0: where softplus takes its logarithms.
#[inline(always)]
pub fn is_plain_log1p(x: f64) -> bool {
    x.to_bits() <= 1.0f64.to_bits()
}

/// The bits of [`log1p`] where [`is_plain_log1p`]: there e is 0 or 1.
#[inline(always)]
pub fn plain_log1p(x: f64) -> f64 {
    let halve = 1.0 + x > 1.5;
    let r = if halve { x.mul_add(0.5, -0.5) } else { x };
    log_reduced(if halve { 1.0 } else { 0.0 }, r)
}

/// r² Q(r), so that expm1(r) = r + r² Q(r), |r| ≤ 0.5: 2^-60.4
#[inline(always)]
fn expm1_tail(r: f64) -> f64 {
    let c = [
        0.5,
        0.16666666666666669,
        0.041666666666667115,
        0.008_333_333_333_332_346,
        0.001388888888867518,
        0.00019841269842987982,
        2.4801587652306155e-5,
        2.7557317960545225e-6,
        2.7557059700376217e-7,
        2.5052483428210995e-8,
        2.0965673622377454e-9,
        1.6043648531077566e-10,
    ];
    r * r * horner(r, c)
}

#[inline(always)]
pub fn expm1(x: f64) -> f64 {
    let y = if x < -40.0 { -40.0 } else { x };
    let y = if y > 709.9 { 709.9 } else { y };
    let small = y.abs() < 0.5;
    let shifted = y.mul_add(std::f64::consts::LOG2_E, SHIFTER);
    let shifted = if small { SHIFTER } else { shifted };
    let n = shifted - SHIFTER;
    let r = reduce(y, n);
    let lost = n.mul_add(-LN2_LO, n.mul_add(-LN2_HI, y) - r);
    let s = power_of_two(shifted, -1);
    let high = s - 0.5;
    let low = (s - high) - 0.5;
    let inverse = f64::from_bits((2046u64 << 52).wrapping_sub(s.to_bits()));
    let expm1_r = r + low.mul_add(inverse, expm1_tail(r) + lost);
    let half = s.mul_add(expm1_r, high);
    let value = if small { expm1_r } else { half + half };
    value.copysign(x)
}

#[inline(always)]
pub fn tanh(x: f64) -> f64 {
    let a = x.abs();
    // x + x z P(z), z = x² ≤ 0.961: 2^-56.8
    let z = x * x;
    let c = [
        -0.333333333333331,
        0.1333333333330787,
        -0.05396825395854644,
        0.021869488347963456,
        -0.008863233349449013,
        0.003592111513281604,
        -0.0014557477915207327,
        0.0005897020234053525,
        -0.00023823147636237177,
        9.507149820449984e-05,
        -3.643594349075819e-05,
        1.2620901480524946e-05,
        -3.567416137983995e-06,
        7.008312522768949e-07,
        -6.922406488982896e-08,
    ];
    let near = (a * z).mul_add(horner(z, c), a);
    // From 2a = 40 on it rounds to 1.
    let y = if a > 20.0 { 40.0 } else { a + a };
    let shifted = y.mul_add(std::f64::consts::LOG2_E, SHIFTER);
    let r = reduce(y, shifted - SHIFTER);
    let s = power_of_two(shifted, 0);
    let denominator = s.mul_add(r + expm1_tail(r), s + 1.0);
    let far = 1.0 - 2.0 / denominator;
    (if a < 0.98 { near } else { far }).copysign(x)
}
