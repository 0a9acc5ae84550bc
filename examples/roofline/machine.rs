//! What one core of this machine can do at best, measured in plain loops: reading memory, and multiplying with adding.

use std::hint::black_box;
use std::time::Instant;

/// Bytes in a second from memory: the best of several passes over far more than the near caches hold. Two arrays or
/// more are often read faster than one, as each is fetched ahead on its own.
pub fn memory() -> f64 {
    let data = vec![1.0f32; 64 << 20];
    let of = |streams: usize| {
        let seconds = (0..6).map(|_| {
            let start = Instant::now();
            black_box(sum(black_box(&data), streams));
            start.elapsed().as_secs_f64()
        });
        4.0 * data.len() as f64 / seconds.fold(f64::INFINITY, f64::min)
    };
    [1, 2, 3, 4].map(of).into_iter().fold(0.0, f64::max)
}

fn sum(data: &[f32], streams: usize) -> f32 {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        return unsafe { sum_with_avx2(data, streams) };
    }
    sum_in_lanes(data, streams)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_with_avx2(data: &[f32], streams: usize) -> f32 {
    sum_in_lanes(data, streams)
}

#[inline(always)]
fn sum_in_lanes(data: &[f32], streams: usize) -> f32 {
    let parts: Vec<&[f32]> = data.chunks_exact(data.len() / streams).collect();
    let mut lanes = [0.0f32; 64];
    for start in (0..=parts[0].len() - 64).step_by(64) {
        for part in &parts {
            let block = &part[start..start + 64];
            lanes.iter_mut().zip(block).for_each(|(lane, x)| *lane += x);
        }
    }
    lanes.iter().sum()
}

const ROUNDS: usize = 100_000;
/// Enough independent chains to hide the latency of one.
const CHAINS: usize = 12;
const LANES: usize = 16;
type Chains = [[f32; LANES]; CHAINS];

/// Flops in a second, in the widest vectors.
pub fn arithmetic() -> f64 {
    let mut chains = [[1.0f32; LANES]; CHAINS];
    let seconds = (0..10).map(|_| {
        let start = Instant::now();
        widest(black_box(&mut chains), black_box([0.999; LANES]));
        start.elapsed().as_secs_f64()
    });
    (2 * ROUNDS * CHAINS * LANES) as f64 / seconds.fold(f64::INFINITY, f64::min)
}

fn widest(chains: &mut Chains, factor: [f32; LANES]) {
    #[cfg(target_arch = "x86_64")]
    if std::is_x86_feature_detected!("avx512f") {
        // SAFETY: the processor has AVX-512.
        return unsafe { with_avx512(chains, factor) };
    } else if std::is_x86_feature_detected!("fma") {
        // SAFETY: the processor has FMA.
        return unsafe { with_fma(chains, factor) };
    }
    multiply_add(chains, factor);
}

/// In intrinsics: left alone, the compiler prefers 256 bits.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn with_avx512(chains: &mut Chains, factor: [f32; LANES]) {
    use std::arch::x86_64::*;
    // SAFETY: sixteen f32 are loaded from arrays of sixteen.
    let load = |lanes: &[f32; LANES]| unsafe { _mm512_loadu_ps(lanes.as_ptr()) };
    let (mut vectors, factor) = (chains.each_ref().map(load), load(&factor));
    for _ in 0..ROUNDS {
        vectors.iter_mut().for_each(|v| *v = _mm512_fmadd_ps(*v, factor, factor));
    }
    // SAFETY: sixteen f32 are stored to arrays of sixteen.
    chains.iter_mut().zip(vectors).for_each(|(lanes, v)| unsafe { _mm512_storeu_ps(lanes.as_mut_ptr(), v) });
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn with_fma(chains: &mut Chains, factor: [f32; LANES]) {
    multiply_add(chains, factor);
}

#[inline(always)]
fn multiply_add(chains: &mut Chains, factor: [f32; LANES]) {
    let mut own = *chains;
    for _ in 0..ROUNDS {
        for chain in &mut own {
            (0..LANES).for_each(|i| chain[i] = chain[i].mul_add(factor[i], factor[i]));
        }
    }
    *chains = own;
}
