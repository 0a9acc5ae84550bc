//! Numbers as people and JSON readers want them.

use serde_json::Value;
use std::time::Duration;

/// Six significant digits, without zeros at the end; in scientific notation where that is shorter. The sign of 0 is not
/// shown.
pub(super) fn short(x: f64) -> String {
    if !x.is_finite() {
        return non_finite(x).to_string();
    }
    let x = x + 0.0;
    let scientific = format!("{x:.5e}");
    let (digits, exponent) = scientific.split_once('e').expect("`{:e}` writes an exponent");
    let exponent: i32 = exponent.parse().expect("and it is a whole number");
    match exponent {
        -4..=5 => without_zeros(&format!("{x:.*}", (5 - exponent) as usize)).to_string(),
        _ => format!("{}e{exponent}", without_zeros(digits)),
    }
}

fn without_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// JSON has no numbers that are not finite: they are the words that Python's `float` reads.
pub(super) fn json(x: f64) -> Value {
    if x.is_finite() { x.into() } else { non_finite(x).into() }
}

fn non_finite(x: f64) -> &'static str {
    match x {
        x if x.is_nan() => "nan",
        x if x > 0.0 => "inf",
        _ => "-inf",
    }
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// A time with three digits, in the unit that suits it.
pub(super) fn time(time: Duration) -> String {
    let ns = time.as_nanos() as f64;
    let (value, unit) = match ns {
        ns if ns < 999.5 => return format!("{ns} ns"),
        ns if ns < 999.5e3 => (ns / 1e3, "µs"),
        ns if ns < 999.5e6 => (ns / 1e6, "ms"),
        ns => (ns / 1e9, "s"),
    };
    let decimals = if value < 9.995 { 2 } else { usize::from(value < 99.95) };
    format!("{value:.decimals$} {unit}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let numbers = [-0.0, 1.0, -0.25, 1.0 / 3.0, 999999.4, 999999.6, 1e6, 123456.7, 1e-4, 9.999999e-5, 1.5e-45];
        let texts = ["0", "1", "-0.25", "0.333333", "999999", "1e6", "1e6", "123457", "0.0001", "0.0001", "1.5e-45"];
        assert_eq!(numbers.map(short), texts);
        assert_eq!([f64::NAN, f64::INFINITY, f64::NEG_INFINITY].map(short), ["nan", "inf", "-inf"]);
    }

    #[test]
    fn times_have_three_digits() {
        let times = [0, 999, 1_000, 99_949, 99_951, 1_234_567, 12_345_678, 999_499_999, 61_000_000_000];
        let texts = ["0 ns", "999 ns", "1.00 µs", "99.9 µs", "100 µs", "1.23 ms", "12.3 ms", "999 ms", "61.0 s"];
        assert_eq!(times.map(|ns| time(Duration::from_nanos(ns))), texts);
    }
}
