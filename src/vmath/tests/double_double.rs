//! The oracle for `f64`: unevaluated sums of two doubles, about 100 bits (Dekker, Numer. Math. 18, 1971), and the
//! elementary functions in them by reduction and Taylor series. Slow, and simple enough to trust.

use super::super::Function;

/// `high + low`, |low| ≤ ½ ulp(high).
#[derive(Clone, Copy, Debug)]
pub struct Double {
    pub high: f64,
    pub low: f64,
}

/// ln 2 in three parts of at most 32, 53 and 53 bits: n times the first is exact.
const LN2: [f64; 3] = [0.693_147_180_369_123_8, 1.908_214_929_270_587_7e-10, 1.161_222_722_936_253_2e-26];

impl Double {
    pub const fn new(x: f64) -> Double {
        Double { high: x, low: 0.0 }
    }

    fn two_sum(a: f64, b: f64) -> Double {
        let high = a + b;
        let t = high - a;
        Double { high, low: (a - (high - t)) + (b - t) }
    }

    pub fn plus(self, other: Double) -> Double {
        let s = Double::two_sum(self.high, other.high);
        let t = Double::two_sum(self.low, other.low);
        let s = Double::two_sum(s.high, s.low + t.high);
        Double::two_sum(s.high, s.low + t.low)
    }

    pub fn times(self, other: Double) -> Double {
        let high = self.high * other.high;
        let low = self.high.mul_add(other.high, -high);
        Double::two_sum(high, self.low.mul_add(other.high, self.high.mul_add(other.low, low)))
    }

    fn scaled(self, s: f64) -> Double {
        Double { high: self.high * s, low: self.low * s }
    }

    fn over(self, other: Double) -> Double {
        let q = self.high / other.high;
        let rest = self.plus(other.times_number(-q));
        let q2 = rest.high / other.high;
        let rest = rest.plus(other.times_number(-q2));
        Double::two_sum(q, q2).plus(Double::new(rest.high / other.high))
    }

    fn times_number(self, s: f64) -> Double {
        self.times(Double::new(s))
    }
}

/// (expm1(x − n ln 2), n) with n = 0 for |x| < ½.
fn reduced_expm1(x: Double) -> (Double, f64) {
    let n = if x.high.abs() < 0.5 { 0.0 } else { (x.high / std::f64::consts::LN_2).round() };
    let mut r = x;
    for part in LN2 {
        r = r.plus(Double::new(part).times_number(-n));
    }
    // expm1 of r/16 by its series, then expm1(2t) = e (e + 2) four times.
    let r = r.scaled(1.0 / 16.0);
    let mut e = Double::new(0.0);
    for k in (1..=16).rev() {
        e = Double::new(1.0).plus(e).times(r).over(Double::new(f64::from(k)));
    }
    for _ in 0..4 {
        e = e.times(e.plus(Double::new(2.0)));
    }
    (e, n)
}

/// exp(x) 2^-n and n.
fn exp(x: Double) -> (Double, f64) {
    let (e, n) = reduced_expm1(x);
    (e.plus(Double::new(1.0)), n)
}

fn expm1(x: Double) -> Double {
    let (e, n) = reduced_expm1(x);
    let s = 2f64.powi(n as i32);
    e.scaled(s).plus(Double::new(s)).plus(Double::new(-1.0))
}

/// One Newton step from `guess`, which is right to 40 bits or more: guess + d − d²/2 + d³/3, d = u exp(−guess) − 1.
fn log(u: Double, guess: f64) -> Double {
    let (e, n) = exp(Double::new(-guess));
    // u may be huge or subnormal, and 2^n the reverse: scale in two halves.
    let half = (n / 2.0).trunc();
    let u = u.scaled(2f64.powi(half as i32)).scaled(2f64.powi((n - half) as i32));
    let d = u.times(e).plus(Double::new(-1.0));
    let correction = d.high - d.high * d.high / 2.0;
    Double::new(guess).plus(Double { high: correction, low: d.low })
}

fn log1p(x: f64) -> Double {
    if x.abs() < 1e-9 {
        let x = Double::new(x);
        let cubic = Double::new(1.0).over(Double::new(3.0)).times(x).plus(Double::new(-0.5));
        return cubic.times(x).times(x).plus(x);
    }
    log(Double::two_sum(1.0, x), x.ln_1p())
}

fn tanh(x: f64) -> Double {
    let e = expm1(Double::new(2.0 * x));
    e.over(e.plus(Double::new(2.0)))
}

/// f(x) 2^-n and n, for finite x where f is finite and not zero.
pub fn value(f: Function, x: f64) -> (Double, f64) {
    match f {
        // Far out, expm1 is exp to 140 bits; it would overflow in the oracle before it does in `f64`.
        Function::Expm1 if x > 100.0 => exp(Double::new(x)),
        Function::Exp => exp(Double::new(x)),
        Function::Log => (log(Double::new(x), x.ln()), 0.0),
        Function::Log1p => (log1p(x), 0.0),
        Function::Expm1 => (expm1(Double::new(x)), 0.0),
        Function::Tanh => (tanh(x), 0.0),
    }
}
