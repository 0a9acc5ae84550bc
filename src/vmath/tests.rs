//! What every entry promises apart from accuracy (`tests/accuracy.rs`).

mod accuracy;
mod double_double;

use super::*;
use Function::*;

/// The bits of a number, with one pattern for all NaNs.
trait Bits: Real {
    fn of(x: f64) -> Self;
    fn bits(self) -> u64;
    fn f64(self) -> f64;
}
impl Bits for f32 {
    fn of(x: f64) -> f32 {
        x as f32
    }
    fn bits(self) -> u64 {
        if self.is_nan() { u64::MAX } else { self.to_bits().into() }
    }
    fn f64(self) -> f64 {
        self.into()
    }
}
impl Bits for f64 {
    fn of(x: f64) -> f64 {
        x
    }
    fn bits(self) -> u64 {
        if self.is_nan() { u64::MAX } else { self.to_bits() }
    }
    fn f64(self) -> f64 {
        self
    }
}

/// Splitmix64 (Steele, Lea, Flood, OOPSLA 2014).
struct Random(u64);
impl Random {
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn uniform(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// y and the sum returned by `sum`, after checks that the two other forms agree with it: in the last bits of a sum of
/// logarithms only where many have one.
fn run<T: Bits>(level: Level, f: Function, x: &[T], scale: T, shift: T) -> (Vec<T>, f64) {
    let entry = entry_at::<T>(level, f);
    let guard = T::of(77.0);
    let mut y = vec![guard; x.len() + 40];
    let mut mapped = y.clone();
    // SAFETY: `entry_at` checks the level; y is longer than x; `sum` does not use y.
    let (sum, zero, only) = unsafe {
        (
            (entry.map_sum)(x.as_ptr(), y.as_mut_ptr(), x.len(), scale, shift, 64),
            (entry.map)(x.as_ptr(), mapped.as_mut_ptr(), x.len(), scale, shift, 64),
            (entry.sum)(x.as_ptr(), std::ptr::null_mut(), x.len(), scale, shift, 64),
        )
    };
    assert_eq!(zero, 0.0);
    let magnitude: f64 = y[..x.len()].iter().map(|y| y.f64().abs()).sum();
    let digits = if size_of::<T>() == 4 { 3e-7 } else { 1e-15 };
    let same = sum.bits() == only.bits() || f == Log1p && (sum - only).abs() <= digits * magnitude;
    assert!(same, "{level:?} {f:?}: {sum} and {only}");
    assert_eq!(y[x.len()..], vec![guard; 40], "wrote beyond n = {}", x.len());
    assert_eq!(bits(&mapped), bits(&y));
    y.truncate(x.len());
    (y, only)
}

fn bits<T: Bits>(values: &[T]) -> Vec<u64> {
    values.iter().map(|v| v.bits()).collect()
}

/// Arguments over all magnitudes, the special ones first.
fn arguments<T: Bits>(n: usize, seed: u64) -> Vec<T> {
    let special = [0.0, -0.0, 1.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 1e-310, 1e-40];
    let mut random = Random(seed);
    let mut draw = |i: usize| match i % 3 {
        0 => random.uniform(-4.0, 4.0),
        1 => random.uniform(-120.0, 120.0),
        _ => random.uniform(-120.0, 120.0).exp(),
    };
    (0..n).map(|i| T::of(special.get(i).copied().unwrap_or_else(|| draw(i)))).collect()
}

#[test]
fn special_values() {
    fn check<T: Bits>(overflow: f64, underflow: f64, huge: f64) {
        let (inf, nan) = (f64::INFINITY, f64::NAN);
        let tiny = if size_of::<T>() == 4 { 1e-45 } else { 5e-324 };
        let cases = [
            (Exp, vec![(0.0, 1.0), (-0.0, 1.0), (inf, inf), (-inf, 0.0), (overflow, inf), (underflow, 0.0)]),
            (Exp, vec![(tiny, 1.0), (huge, inf), (-huge, 0.0)]),
            (Log, vec![(0.0, -inf), (-0.0, -inf), (1.0, 0.0), (inf, inf), (-1.0, nan), (-inf, nan), (-tiny, nan)]),
            (Log1p, vec![(0.0, 0.0), (-0.0, -0.0), (-1.0, -inf), (-1.5, nan), (inf, inf), (-inf, nan)]),
            (Log1p, vec![(tiny, tiny), (-tiny, -tiny), (-huge, nan)]),
            (Expm1, vec![(0.0, 0.0), (-0.0, -0.0), (inf, inf), (-inf, -1.0), (overflow, inf), (underflow, -1.0)]),
            (Expm1, vec![(tiny, tiny), (-tiny, -tiny), (huge, inf), (-huge, -1.0)]),
            (Tanh, vec![(0.0, 0.0), (-0.0, -0.0), (inf, 1.0), (-inf, -1.0), (tiny, tiny), (-tiny, -tiny)]),
            (Tanh, vec![(huge, 1.0), (-huge, -1.0), (30.0, 1.0)]),
        ];
        for level in Level::available() {
            for (f, pairs) in &cases {
                for &(x, expected) in pairs.iter().chain(&[(nan, nan), (-nan, nan)]) {
                    let (y, _) = run(level, *f, &[T::of(x)], T::of(1.0), T::of(-0.0));
                    assert_eq!(y[0].bits(), T::of(expected).bits(), "{level:?} {f:?}({x}) = {:?}", y[0]);
                }
            }
        }
    }
    check::<f32>(88.8, -104.0, f32::MAX.into());
    check::<f64>(709.8, -745.2, f64::MAX);
}

#[test]
fn nan_payloads_stay_nan() {
    for bits in [0x7f80_0001, 0x7fff_ffff, 0xff80_0001, 0xffc0_0123, 0x7fa5_5aa5] {
        for f in Function::ALL {
            assert!(scalar(f, f32::from_bits(bits)).is_nan(), "{f:?}({bits:x})");
            let wide = u64::from(bits) << 32 | 0x1234_5678;
            assert!(scalar(f, f64::from_bits(wide | 7 << 52)).is_nan(), "{f:?}({wide:x})");
        }
    }
}

#[test]
fn same_bits_at_every_level_and_place() {
    fn check<T: Bits>() {
        for f in Function::ALL {
            let x = arguments::<T>(2100, 1);
            let alone: Vec<u64> = x.iter().map(|&x| scalar(f, x).bits()).collect();
            let finite: Vec<T> = x.iter().copied().filter(|&x| scalar(f, x).f64().abs() < 1e9).collect();
            let expected = run(Level::Baseline, f, &finite, T::of(1.0), T::of(-0.0)).1;
            for level in Level::available() {
                let (y, _) = run(level, f, &x, T::of(1.0), T::of(-0.0));
                assert_eq!(bits(&y), alone, "{level:?} {f:?}");
                // SAFETY: the level is available.
                let ones = x.iter().map(|&x| unsafe { (entry_at::<T>(level, f).one)(x) }.bits());
                assert_eq!(ones.collect::<Vec<_>>(), alone, "{level:?} {f:?}");
                let sum = run(level, f, &finite, T::of(1.0), T::of(-0.0)).1;
                assert_eq!(sum.to_bits(), expected.to_bits(), "{level:?} {f:?}: {sum} and {expected}");
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

/// Blocks without special results have a formula of their own below AVX-512; its limits are 86 and 708.
#[test]
fn exp_of_plain_blocks() {
    fn check<T: Bits>(limit: f64) {
        let mut random = Random(7);
        let mut x: Vec<T> = (0..2048).map(|_| T::of(random.uniform(-limit, limit))).collect();
        x.extend([-limit, limit, 0.0, -0.0].map(T::of));
        x.resize(x.len().next_multiple_of(32), T::of(limit));
        let wanted: Vec<T> = x.iter().map(|&x| scalar(Exp, x)).collect();
        for level in Level::available() {
            assert_eq!(bits(&run(level, Exp, &x, T::of(1.0), T::of(-0.0)).0), bits(&wanted), "{level:?}");
        }
    }
    check::<f32>(86.0);
    check::<f64>(708.0);
}

/// exp of a register is that of the tile functions.
#[cfg(target_arch = "x86_64")]
#[test]
fn same_bits_in_registers() {
    use std::arch::x86_64::*;
    if !Level::Avx512.is_available() {
        return;
    }
    for block in arguments::<f32>(2096, 2).as_chunks::<16>().0 {
        let mut y = [0.0; 16];
        // SAFETY: the level is available, and blocks are as long as registers; here and below.
        unsafe {
            let [e] = registers::single([_mm512_loadu_ps(block.as_ptr())]);
            _mm512_storeu_ps(y.as_mut_ptr(), e);
        }
        assert_eq!(bits(&y), bits(&block.map(|x| scalar(Exp, x))), "{block:?}");
    }
    for block in arguments::<f64>(2096, 2).as_chunks::<8>().0 {
        let mut y = [0.0; 8];
        unsafe {
            let [e] = registers::double([_mm512_loadu_pd(block.as_ptr())]);
            _mm512_storeu_pd(y.as_mut_ptr(), e);
        }
        assert_eq!(bits(&y), bits(&block.map(|x| scalar(Exp, x))), "{block:?}");
    }
}

#[test]
fn every_tail() {
    fn check<T: Bits>(tolerance: f64) {
        for level in Level::available() {
            for f in Function::ALL {
                for n in 0..=70 {
                    // log of the padding is −∞ with this shift, and exp of it ∞: neither may reach the sum.
                    let shift = if f == Exp { 1000.0 } else { -0.0 };
                    let x: Vec<T> = (0..n).map(|i| T::of(0.1 + i as f64 / 7.0 - shift)).collect();
                    let (y, sum) = run(level, f, &x, T::of(1.0), T::of(shift));
                    for (&x, &y) in x.iter().zip(&y) {
                        let argument = T::of(x.f64() + shift);
                        assert_eq!(y.bits(), scalar(f, argument).bits(), "{level:?} {f:?} n = {n}");
                    }
                    let expected: f64 = y.iter().map(|y| y.f64()).sum();
                    let magnitude: f64 = y.iter().map(|y| y.f64().abs()).sum();
                    assert!((sum - expected).abs() <= tolerance * magnitude, "{level:?} {f:?} n = {n}");
                }
            }
        }
    }
    check::<f32>(3e-7);
    check::<f64>(1e-15);
}

/// Differences of two tiles, added to a sum for each element: whole blocks and every tail, stored or not, in place too.
#[test]
fn columns() {
    fn check<T: Bits>() {
        for level in Level::available() {
            for f in Function::ALL {
                let entry = entry_at::<T>(level, f);
                for n in (0..=70).chain([512]) {
                    let (x, less) = (arguments::<T>(n, 3), arguments::<T>(n + 1, 4)[1..].to_vec());
                    let value = |i: usize| scalar(f, T::of(x[i].f64() - less[i].f64()));
                    let sum = |i: usize| 0.25 * i as f64 + value(i).f64();
                    let (mut y, mut own) = (vec![T::of(77.0); n + 3], x.clone());
                    let mut sums: [Vec<f64>; 3] =
                        std::array::from_fn(|_| (0..n + 3).map(|i| 0.25 * i as f64).collect());
                    // SAFETY: the level is available; all but `x` in place are apart, and hold n elements at least.
                    unsafe {
                        let [stored, summed, in_place] = sums.each_mut().map(|sums| sums.as_mut_ptr());
                        (entry.map_columns)(x.as_ptr(), less.as_ptr(), y.as_mut_ptr(), stored, n);
                        (entry.columns)(x.as_ptr(), less.as_ptr(), std::ptr::null_mut(), summed, n);
                        (entry.map_columns)(own.as_ptr(), less.as_ptr(), own.as_mut_ptr(), in_place, n);
                    }
                    let expected: Vec<u64> = (0..n).map(|i| value(i).bits()).collect();
                    assert_eq!(bits(&y[..n]), expected, "{level:?} {f:?} n = {n}");
                    assert_eq!(bits(&own), expected, "{level:?} {f:?} n = {n} in place");
                    assert!(y[n..].iter().all(|&y| y == T::of(77.0)), "wrote beyond n = {n}");
                    for sums in &sums {
                        let expected: Vec<u64> = (0..n).map(|i| sum(i).bits()).collect();
                        assert_eq!(bits(&sums[..n]), expected, "{level:?} {f:?} n = {n}");
                        assert!(
                            sums[n..].iter().zip(n..).all(|(&sum, i)| sum == 0.25 * i as f64),
                            "added beyond n = {n}"
                        );
                    }
                }
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

/// A row in one call is its maximum and what the tile forms make of it: whole blocks and every tail, with and without NaN
/// and infinities.
#[test]
fn rows() {
    fn check<T: Bits>() {
        let beside = [None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY)];
        for level in Level::available() {
            let entry = entry_at::<T>(level, Exp);
            for (n, beside) in (0..=70).chain([512, 1000, 1300]).flat_map(|n| beside.map(|beside| (n, beside))) {
                let mut random = Random(n as u64);
                let mut x: Vec<T> = (0..n).map(|_| T::of(random.uniform(-20.0, 20.0))).collect();
                if let (Some(beside), Some(last)) = (beside, x.last_mut()) {
                    *last = T::of(beside);
                }
                let nan = x.iter().any(|x| x.f64().is_nan());
                let top = x.iter().map(|x| x.f64()).fold(f64::NEG_INFINITY, f64::max);
                let top = T::of(if nan { f64::NAN } else { top });
                let (mut y, mut tops) = (vec![T::of(77.0); n + 3], [T::of(77.0); 2]);
                // SAFETY: the level is available; y holds n elements, and is not used where nothing is stored.
                let (stored, summed) = unsafe {
                    let [first, second] = tops.each_mut().map(std::ptr::from_mut);
                    let stored = (entry.map_row)(x.as_ptr(), y.as_mut_ptr(), n, first, 64);
                    (stored, (entry.row)(x.as_ptr(), std::ptr::null_mut(), n, second, 0))
                };
                let (expected, sum) = run(level, Exp, &x, T::of(1.0), T::of(-top.f64()));
                assert_eq!(bits(&tops), [top.bits(); 2], "{level:?} n = {n} {beside:?}");
                assert_eq!([stored.bits(), summed.bits()], [sum.bits(); 2], "{level:?} n = {n} {beside:?}");
                assert_eq!(bits(&y[..n]), bits(&expected), "{level:?} n = {n} {beside:?}");
                assert!(y[n..].iter().all(|&y| y == T::of(77.0)), "wrote beyond n = {n}");
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn long_sums_keep_their_accuracy() {
    // 3 million equal terms: one f32 partial sum per lane, never flushed, would be wrong by 1e-4.
    let x = vec![-0.7f32; if cfg!(debug_assertions) { 300_001 } else { 3_000_001 }];
    let level = *Level::available().last().unwrap();
    let entry = entry_at::<f32>(level, Exp);
    // SAFETY: the level is available, and `sum` does not use y.
    let sum = unsafe { (entry.sum)(x.as_ptr(), std::ptr::null_mut(), x.len(), 1.0, -0.0, 0) };
    let expected = f64::from(scalar(Exp, -0.7f32)) * x.len() as f64;
    assert!((sum / expected - 1.0).abs() < 1e-6, "{sum} {expected}");
}

/// Logarithms of products: numbers in [0, 1] of all magnitudes, with one beside them now and then that has no such sum.
#[test]
fn sums_of_logarithms() {
    fn check<T: Bits>(tolerance: f64) {
        for beside in [None, Some(-0.5), Some(1.5), Some(f64::NAN), Some(f64::INFINITY)] {
            for n in [1, 31, 255, 256, 257, 1000, 1024, 2600] {
                let mut random = Random(n as u64);
                let mut x: Vec<T> = (0..n).map(|_| T::of(random.uniform(-60.0, 0.0).exp())).collect();
                (x[0], x[n / 2]) = (T::of(1.0), T::of(0.0));
                if let Some(beside) = beside {
                    x[n - 1] = T::of(beside);
                }
                let expected: f64 = x.iter().map(|x| x.f64().ln_1p()).sum();
                let sums = Level::available().into_iter().map(|level| {
                    // SAFETY: the level is available, and `sum` does not use y.
                    let sum = entry_at::<T>(level, Log1p).sum;
                    unsafe { sum(x.as_ptr(), std::ptr::null_mut(), n, T::of(1.0), T::of(-0.0), 0) }
                });
                let sums: Vec<f64> = sums.collect();
                assert!(sums.iter().all(|sum| sum.bits() == sums[0].bits()), "n = {n}: {sums:?}");
                let magnitude: f64 = x.iter().map(|x| x.f64().ln_1p().abs()).sum();
                let near = (sums[0] - expected).abs() <= tolerance * magnitude;
                assert!(near || sums[0].bits() == expected.bits(), "n = {n}: {} and {expected}", sums[0]);
            }
        }
    }
    check::<f32>(3e-7);
    check::<f64>(1e-14);
}

#[test]
fn in_place() {
    fn check<T: Bits>() {
        for level in Level::available() {
            for f in Function::ALL {
                let mut x = arguments::<T>(101, 2);
                let (expected, sum) = run(level, f, &x, T::of(0.5), T::of(0.25));
                let entry = entry_at::<T>(level, f);
                let y = x.as_mut_ptr();
                // SAFETY: the level is available; x and y are the same 101 elements.
                let again = unsafe { (entry.map_sum)(y, y, 101, T::of(0.5), T::of(0.25), 0) };
                assert_eq!(bits(&x), bits(&expected), "{level:?} {f:?}");
                assert!(again.bits() == sum.bits() || f == Log1p, "{level:?} {f:?}");
            }
        }
    }
    check::<f32>();
    check::<f64>();
}

#[test]
fn affine_prologue_rounds_once() {
    let (scale, shift) = (1.234_567_8f32, -0.333_333_34f32);
    let x = arguments::<f32>(500, 3);
    assert!(x.iter().any(|&x| scale.mul_add(x, shift) != scale * x + shift), "the case must tell the two apart");
    for level in Level::available() {
        for f in Function::ALL {
            let (y, _) = run(level, f, &x, scale, shift);
            for (&x, &y) in x.iter().zip(&y) {
                assert_eq!(y.bits(), scalar(f, scale.mul_add(x, shift)).bits(), "{level:?} {f:?} {x}");
            }
        }
    }
}

#[test]
fn level_choice() {
    let available = Level::available();
    assert_eq!(Level::choose(None), Ok(*available.last().unwrap()));
    for &level in &available {
        assert_eq!(Level::choose(Some(level.word())), Ok(level));
    }
    assert!(Level::choose(Some("avx1024")).unwrap_err().contains("unknown level `avx1024`"));
    let foreign = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    assert!(Level::choose(Some(foreign)).unwrap_err().contains("lacks"));
    if std::env::var_os("LOSSJIT_LEVEL").is_none() {
        assert_eq!(level(), Level::choose(None));
        assert!(std::ptr::eq(entry::<f32>(Exp).unwrap(), entry_at::<f32>(level().unwrap(), Exp)));
    }
}
