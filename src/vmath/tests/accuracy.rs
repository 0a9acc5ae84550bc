//! Errors in ulps: `f32` against the `f64` functions of std, `f64` against [`double_double`].

use super::double_double::{self, Double};
use super::*;

/// Errors are measured in ulps of the true value, that of subnormals below the least normal number.
fn ulp(exponent: i32, digits: i32, least: i32) -> f64 {
    f64::from(exponent.max(least) - digits).exp2() // powi does not reach subnormals
}

fn exponent(x: f64) -> i32 {
    (x.abs().to_bits() >> 52) as i32 - 1023
}

fn reference(f: Function, x: f64) -> f64 {
    match f {
        Exp => x.exp(),
        Log => x.ln(),
        Log1p => x.ln_1p(),
        Expm1 => x.exp_m1(),
        Tanh => x.tanh(),
    }
}

fn single_error(f: Function, x: f32, y: f32) -> f64 {
    let expected = reference(f, x.into());
    let rounded = expected as f32;
    if expected.is_nan() || expected == 0.0 || rounded.is_infinite() || y.is_infinite() {
        return if y.bits() == rounded.bits() { 0.0 } else { f64::INFINITY };
    }
    let error = (f64::from(y) - expected).abs() / ulp(exponent(expected), 23, -126);
    if error.is_nan() { f64::INFINITY } else { error }
}

/// The greatest error over the `f32` with bits `start..end` in steps of `step`, and where.
fn single_worst(f: Function, start: u64, end: u64, step: u64) -> (f64, f32) {
    // The baseline has the formulas of the next level, but maybe no instruction for multiply-adds: too slow for every number.
    let levels = Level::available();
    let levels = &levels[usize::from(levels.len() > 1)..];
    let entries: Vec<_> = levels.iter().map(|&level| entry_at::<f32>(level, f)).collect();
    let (mut x, mut y) = ([0f32; 1024], [0f32; 1024]);
    let mut worst = (0.0, 0.0);
    let mut bits = start;
    while bits < end {
        for x in &mut x {
            *x = f32::from_bits(bits.min(end - 1) as u32);
            bits += step;
        }
        for entry in &entries {
            // SAFETY: the level is available, and x and y have 1024 elements.
            unsafe { (entry.map)(x.as_ptr(), y.as_mut_ptr(), 1024, 1.0, -0.0, 0) };
            for (&x, &y) in x.iter().zip(&y) {
                assert_eq!(y.bits(), scalar(f, x).bits(), "{f:?}({x:e}): one formula in a block, another alone");
            }
        }
        for (&x, &y) in x.iter().zip(&y) {
            let error = single_error(f, x, y);
            if error > worst.0 {
                worst = (error, x);
            }
        }
    }
    worst
}

#[test]
fn f32_within_an_ulp_sampled() {
    for f in Function::ALL {
        // A stride over all floats; a finer one over 2^-6 … 2^7 of both signs, where the results vary; and every float
        // around 0.5 and −0.25, where log1p changes its exponent.
        for (start, end, step) in [
            (0, 1 << 32, 104_729),
            (0x3c80_0000, 0x4300_0000, 7_919),
            (0xbc80_0000, 0xc300_0000, 7_919),
            (0x3eff_ff00, 0x3f00_0100, 1),
            (0xbe7f_ff00, 0xbe80_0100, 1),
        ] {
            let (error, x) = single_worst(f, start, end, step);
            assert!(error <= 1.0, "{f:?}({x:e}): {error} ulp");
        }
    }
}

/// Every `f32`; some minutes:
/// `cargo test --release f32_within_an_ulp_everywhere -- --ignored --nocapture`
#[test]
#[ignore = "four billion inputs for each function"]
fn f32_within_an_ulp_everywhere() {
    for f in Function::ALL {
        let (error, x) = single_worst(f, 0, 1 << 32, 1);
        println!("{f:?}: {error:.4} ulp at {x:e}");
        assert!(error <= 1.0, "{f:?}({x:e}): {error} ulp");
    }
}

fn double_error(f: Function, x: f64) -> f64 {
    let y = scalar(f, x);
    let (Double { high, low }, n) = double_double::value(f, x);
    let unit = ulp(exponent(high) + n as i32, 52, -1022);
    if high == 0.0 {
        return if y == 0.0 { 0.0 } else { f64::INFINITY };
    }
    // Scaled by 2^-n in two halves, since neither need be a number.
    let half = (n / 2.0).trunc() as i32;
    let down = |v: f64| v * 2f64.powi(-half) * 2f64.powi(half - n as i32);
    let error = ((down(y) - high) - low).abs() / down(unit);
    if error.is_nan() { f64::INFINITY } else { error }
}

/// Arguments that are dense where the function is hard: near its zeros, the ends of its reduced interval, its limits.
fn hard(f: Function, random: &mut Random) -> f64 {
    let sign = if random.bits() & 1 == 0 { 1.0 } else { -1.0 };
    let small = sign * random.uniform(-40.0, 0.0).exp2();
    match (f, random.bits() % 4) {
        (Exp, 0) => random.uniform(-745.0, -700.0),
        (Exp, 1) => random.uniform(-1.0, 1.0),
        (Exp, _) => random.uniform(-745.0, 709.7),
        (Log, 0) => 1.0 + small / 2.0,
        (Log, 1) => random.uniform(0.3, 3.2),
        (Log, 2) => random.uniform(-1074.0, 1023.9).exp2(),
        (Log, _) => random.uniform(0.74, 0.76) * if sign > 0.0 { 1.0 } else { 2.0 },
        (Log1p, 0) => small,
        (Log1p, 1) => random.uniform(-0.999, 2.5),
        (Log1p, 2) => random.uniform(-60.0, 1023.9).exp2(),
        (Log1p, _) => [-0.25, 0.5][(sign > 0.0) as usize] * (1.0 + small / 16.0),
        (Expm1, 0) => small,
        (Expm1, 1) => random.uniform(-2.0, 2.0),
        (Expm1, 2) => random.uniform(-40.0, 40.0),
        (Expm1, _) => random.uniform(0.0, 709.7),
        (Tanh, 0) => small,
        (Tanh, 1) => sign * random.uniform(0.8, 1.2),
        (Tanh, _) => random.uniform(-3.0, 3.0),
    }
}

fn double_worst(f: Function, points: usize, seed: u64) -> (f64, f64) {
    let mut random = Random(seed);
    let mut worst = (0.0, 0.0);
    for _ in 0..points {
        let x = hard(f, &mut random);
        let error = double_error(f, x);
        if error > worst.0 {
            worst = (error, x);
        }
    }
    worst
}

#[test]
fn f64_within_an_ulp_sampled() {
    for f in Function::ALL {
        let (error, x) = double_worst(f, if cfg!(debug_assertions) { 4_000 } else { 40_000 }, 4);
        assert!(error <= 1.0, "{f:?}({x:e}): {error} ulp");
    }
    // Where simpler formulas exceed 1 ulp.
    for (f, x) in [(Expm1, 0.985_036_033_279_811_8), (Tanh, -0.906_887_032_527_879_8)] {
        assert!(double_error(f, x) <= 1.0, "{f:?}({x:e}): {} ulp", double_error(f, x));
    }
}

/// Twenty million points for each function; some minutes:
/// `cargo test --release f64_within_an_ulp_densely -- --ignored --nocapture`
#[test]
#[ignore = "slow"]
fn f64_within_an_ulp_densely() {
    for f in Function::ALL {
        let (error, x) = double_worst(f, 20_000_000, 5);
        println!("{f:?}: {error:.4} ulp at {x:e}");
        assert!(error <= 1.0, "{f:?}({x:e}): {error} ulp");
    }
}

#[test]
fn the_oracle_knows_published_digits() {
    // From 300-bit arithmetic: the nearest f64, and what it lacks.
    let cases = [
        (Exp, 1.0, std::f64::consts::E, 1.445_646_891_729_250_2e-16),
        (Log, 10.0, std::f64::consts::LN_10, -2.170_756_223_382_249_4e-16),
        (Log1p, 1.0, std::f64::consts::LN_2, 2.319_046_813_846_299_6e-17),
        (Log1p, -0.25, -0.287_682_072_451_780_9, -2.607_160_616_442_564e-17),
        (Expm1, 0.3125, 0.366_837_941_173_796_37, -4.061_704_634_846_282e-18),
        (Tanh, 0.8125, 0.670_967_074_206_873_6, 4.795_145_961_254_172_5e-17),
    ];
    for (f, x, high, low) in cases {
        let (value, n) = double_double::value(f, x);
        let value = (value.high * n.exp2(), value.low * n.exp2());
        assert_eq!(value.0, high);
        assert!((value.1 - low).abs() < 1e-30, "{f:?}({x}) = {value:?}");
    }
}
