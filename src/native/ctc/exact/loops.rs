//! The inner loops of rows whose numbers have an exponent each.
//!
//! A number of the recursion is `mantissa · 2^exponent` in two arrays. A mantissa is 0, or at least about 1; it grows by
//! less than a factor of 16 a step, and is brought back below 2 every [`NORMAL`] steps.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

use super::super::levels::at_every_level;

/// The exponent of 0: below that of every number, however many are multiplied.
pub(super) const LOW: i64 = -(1 << 40);

/// What takes a number out of a sum: added to its exponent, below that of every 0.
pub(super) const NEVER: i64 = -(1 << 50);

/// Steps between normalisations.
pub(super) const NORMAL: usize = 32;

/// Numbers by mantissas and exponents.
#[derive(Clone, Copy)]
pub(super) struct Wide<'a> {
    pub m: &'a [f64],
    pub e: &'a [i64],
}

pub(super) struct WideMut<'a> {
    pub m: &'a mut [f64],
    pub e: &'a mut [i64],
}

impl<'a> Wide<'a> {
    fn part(self, from: usize, count: usize) -> Self {
        Self { m: &self.m[from..from + count], e: &self.e[from..from + count] }
    }

    fn at(self, i: usize) -> (f64, i64) {
        (self.m[i], self.e[i])
    }
}

/// 2^power; 0 where that is no normal number.
#[inline(always)]
pub(super) fn pow2(power: i64) -> f64 {
    let bits = if power < -1022 { 0 } else { ((power + 1023) as u64) << 52 };
    f64::from_bits(bits)
}

#[inline(always)]
fn larger(a: i64, b: i64) -> i64 {
    if a > b { a } else { b }
}

#[inline(always)]
pub(super) fn sum2(a: (f64, i64), b: (f64, i64)) -> (f64, i64) {
    let e = larger(a.1, b.1);
    (a.0 * pow2(a.1 - e) + b.0 * pow2(b.1 - e), e)
}

#[inline(always)]
fn sum3(a: (f64, i64), b: (f64, i64), c: (f64, i64)) -> (f64, i64) {
    let e = larger(larger(a.1, b.1), c.1);
    (a.0 * pow2(a.1 - e) + b.0 * pow2(b.1 - e) + c.0 * pow2(c.1 - e), e)
}

/// `to[i] = (a[i] + b[i] + c[i]·2^shift[i]) · p[i]`
#[inline(always)]
fn join3(to: WideMut, a: Wide, b: Wide, c: Wide, shift: &[i64], p: Wide) {
    let n = to.m.len();
    let (a, b, c, p) = (a.part(0, n), b.part(0, n), c.part(0, n), p.part(0, n));
    let (shift, to_e) = (&shift[..n], &mut to.e[..n]);
    for i in 0..n {
        let (cm, ce) = c.at(i);
        let (m, e) = sum3(a.at(i), b.at(i), (cm, ce + shift[i]));
        to.m[i] = m * p.m[i];
        to_e[i] = e + p.e[i];
    }
}

/// `to[i] = a[i] + b[i] + c[i]·2^shift[i]`
#[inline(always)]
fn gather3(to: WideMut, a: Wide, b: Wide, c: Wide, shift: &[i64]) {
    let n = to.m.len();
    let (a, b, c) = (a.part(0, n), b.part(0, n), c.part(0, n));
    let (shift, to_e) = (&shift[..n], &mut to.e[..n]);
    for i in 0..n {
        let (cm, ce) = c.at(i);
        (to.m[i], to_e[i]) = sum3(a.at(i), b.at(i), (cm, ce + shift[i]));
    }
}

/// `to[i] = (a[i] + b[i]) · p`
#[inline(always)]
fn join2(to: WideMut, a: Wide, b: Wide, p: (f64, i64)) {
    let n = to.m.len();
    let (a, b, to_e) = (a.part(0, n), b.part(0, n), &mut to.e[..n]);
    for i in 0..n {
        let (m, e) = sum2(a.at(i), b.at(i));
        to.m[i] = m * p.0;
        to_e[i] = e + p.1;
    }
}

/// `to[i] = a[i] · p[i]`
#[inline(always)]
fn times(to: WideMut, a: Wide, p: Wide) {
    let n = to.m.len();
    let (a, p, to_e) = (a.part(0, n), p.part(0, n), &mut to.e[..n]);
    for i in 0..n {
        to.m[i] = a.m[i] * p.m[i];
        to_e[i] = a.e[i] + p.e[i];
    }
}

/// Mantissas from 1 to 2, exponents to match.
#[inline(always)]
fn normalise(row: WideMut) {
    let e = &mut row.e[..row.m.len()];
    for (m, e) in row.m.iter_mut().zip(e) {
        let (normal, exponent) = split(*m);
        *e = if *m == 0.0 { LOW } else { *e + exponent };
        *m = normal;
    }
}

/// A mantissa and the exponent that was in it; 0, infinities and NaN stay.
#[inline(always)]
pub(super) fn split(m: f64) -> (f64, i64) {
    let bits = m.to_bits();
    let exponent = (bits >> 52) & 0x7ff;
    let plain = exponent == 0 || exponent == 0x7ff;
    let normal = f64::from_bits(bits & !(0x7ff << 52) | (1023 << 52));
    if plain { (m, 0) } else { (normal, exponent as i64 - 1023) }
}

/// `w[i] = a[i]·b[i] / total`
#[inline(always)]
fn ratios(w: &mut [f64], a: Wide, b: Wide, total: (f64, i64)) {
    let n = w.len();
    let (a, b) = (a.part(0, n), b.part(0, n));
    let inverse = 1.0 / total.0;
    for i in 0..n {
        w[i] = a.m[i] * b.m[i] * inverse * pow2(a.e[i] + b.e[i] - total.1);
    }
}

at_every_level! {
    Loops uses { super::Wide, super::WideMut }
    join3(to: WideMut, a: Wide, b: Wide, c: Wide, shift: &[i64], p: Wide);
    gather3(to: WideMut, a: Wide, b: Wide, c: Wide, shift: &[i64]);
    join2(to: WideMut, a: Wide, b: Wide, p: (f64, i64));
    times(to: WideMut, a: Wide, p: Wide);
    normalise(row: WideMut);
    ratios(w: &mut [f64], a: Wide, b: Wide, total: (f64, i64));
}
