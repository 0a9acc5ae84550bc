//! The inner loops of scaled rows. Every array is whole blocks of [`LANES`] numbers, so that no loop has a rest.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

use super::super::levels::at_every_level;

pub(super) const LANES: usize = 8;

type Block<T> = [T; LANES];

/// By lane. A block is computed as a whole before any of it is stored, so that the compiler makes vectors of it.
#[inline(always)]
fn block<T: Copy + Default>(at: impl Fn(usize) -> T) -> Block<T> {
    let mut block = [T::default(); LANES];
    for lane in 0..LANES {
        block[lane] = at(lane);
    }
    block
}

/// Keeps the compiler from making vectors of several blocks, a lane from each: it would gather and scatter.
#[inline(always)]
fn one_block() {
    std::sync::atomic::compiler_fence(std::sync::atomic::Ordering::SeqCst);
}

#[inline(always)]
fn blocks<T>(x: &[T]) -> &[Block<T>] {
    x.as_chunks().0
}

#[inline(always)]
fn blocks_mut<T>(x: &mut [T]) -> &mut [Block<T>] {
    x.as_chunks_mut().0
}

/// The lanes joined, by halves: a fixed order.
#[inline(always)]
fn fold(mut lanes: Block<f64>, join: impl Fn(f64, f64) -> f64) -> f64 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = join(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// The smaller; the first where one is NaN.
#[inline(always)]
fn smaller(a: f64, b: f64) -> f64 {
    if b < a { b } else { a }
}

/// 2^power, of what lies outside the normal numbers 0 or the largest.
#[inline(always)]
pub(super) fn pow2(power: i32) -> f64 {
    let power = if power > 1023 { 1023 } else { power };
    let power = if power < -1023 { -1023 } else { power };
    f64::from_bits(u64::from((power + 1023) as u32) << 52)
}

/// The binary exponent of a positive normal number.
#[inline(always)]
pub(super) fn exponent(x: f64) -> i32 {
    (x.to_bits() >> 52) as i32 - 1023
}

/// What numbers are multiplied with on their way from one row into the next, by where they arrive.
#[derive(Clone, Copy)]
pub(super) struct Flow<'a> {
    /// Powers of two: into an entry from a blank, and from another entry, which may not be allowed; into a blank.
    pub blank_to_entry: &'a [f64],
    pub skip: &'a [f64],
    pub entry_to_blank: &'a [f64],
    /// Emissions: of entries, and of the blank.
    pub entries: &'a [f64],
    pub blank: f64,
}

/// Entries and blanks.
pub(super) type Pair<'a> = (&'a [f64], &'a [f64]);
pub(super) type PairMut<'a> = (&'a mut [f64], &'a mut [f64]);

/// A step of forward variables; `before` is the entries, one place later:
///
/// `to entry[l] = (entry[l] + blank[l]·… + before[l]·…) · emission[l]`, `to blank[l] = (blank[l] + before[l]·…) · emission`
#[inline(always)]
fn forward(to: PairMut, before: &[f64], from: Pair, flow: Flow) {
    let (to_entries, to_blanks) = (blocks_mut(to.0), blocks_mut(to.1));
    let n = to_entries.len();
    let to_blanks = &mut to_blanks[..n];
    let (before, entries, blanks) = (&blocks(before)[..n], &blocks(from.0)[..n], &blocks(from.1)[..n]);
    let (blank_to_entry, skip) = (&blocks(flow.blank_to_entry)[..n], &blocks(flow.skip)[..n]);
    let (entry_to_blank, emission) = (&blocks(flow.entry_to_blank)[..n], &blocks(flow.entries)[..n]);
    for i in 0..n {
        one_block();
        let (before, entry, blank, emission) = (before[i], entries[i], blanks[i], emission[i]);
        let (blank_to_entry, skip, entry_to_blank) = (blank_to_entry[i], skip[i], entry_to_blank[i]);
        let sum = block(|l| (entry[l] + blank[l] * blank_to_entry[l]) + before[l] * skip[l]);
        let to_entry = block(|l| sum[l] * emission[l]);
        let to_blank = block(|l| (blank[l] + before[l] * entry_to_blank[l]) * flow.blank);
        (to_entries[i], to_blanks[i]) = (to_entry, to_blank);
    }
}

/// Numbers times the emissions of their step.
#[inline(always)]
fn emit(to: PairMut, from: Pair, flow: Flow) {
    let (to_entries, to_blanks) = (blocks_mut(to.0), blocks_mut(to.1));
    let n = to_entries.len();
    let to_blanks = &mut to_blanks[..n];
    let (entries, blanks, emission) = (&blocks(from.0)[..n], &blocks(from.1)[..n], &blocks(flow.entries)[..n]);
    for i in 0..n {
        one_block();
        let (entry, blank, emission) = (entries[i], blanks[i], emission[i]);
        to_entries[i] = block(|l| entry[l] * emission[l]);
        to_blanks[i] = block(|l| blank[l] * flow.blank);
    }
}

/// A step of backward variables from what [`emit`] made of them, followed by a block of zeros:
///
/// `to entry[l] = entry[l] + blank[l + 1]·… + entry[l + 1]·…`, `to blank[l] = blank[l] + entry[l]·…`
#[inline(always)]
fn backward(to: PairMut, from: Pair, flow: Flow) {
    let (to_entries, to_blanks) = (blocks_mut(to.0), blocks_mut(to.1));
    let n = to_entries.len();
    let to_blanks = &mut to_blanks[..n];
    let (entry_after, blank_after) = (&blocks(&from.0[1..])[..n], &blocks(&from.1[1..])[..n]);
    let (entries, blanks) = (&blocks(from.0)[..n], &blocks(from.1)[..n]);
    let (blank_to_entry, skip) = (&blocks(flow.blank_to_entry)[..n], &blocks(flow.skip)[..n]);
    let entry_to_blank = &blocks(flow.entry_to_blank)[..n];
    for i in 0..n {
        one_block();
        let (entry, blank, entry_after, blank_after) = (entries[i], blanks[i], entry_after[i], blank_after[i]);
        let (blank_to_entry, skip, entry_to_blank) = (blank_to_entry[i], skip[i], entry_to_blank[i]);
        let to_entry = block(|l| (entry[l] + blank_after[l] * blank_to_entry[l]) + entry_after[l] * skip[l]);
        let to_blank = block(|l| blank[l] + entry[l] * entry_to_blank[l]);
        (to_entries[i], to_blanks[i]) = (to_entry, to_blank);
    }
}

/// Adds to exponents those of their mantissas, to an even sum; 0 has `none`.
#[inline(always)]
fn measure(exponents: &mut [i32], mantissas: &[f64], none: i32) {
    for (exponents, mantissas) in blocks_mut(exponents).iter_mut().zip(blocks(mantissas)) {
        one_block();
        let (old, x) = (*exponents, *mantissas);
        *exponents = block(|l| if x[l] > 0.0 { (old[l] + exponent(x[l])) & !1 } else { none });
    }
}

/// Moves mantissas from old exponents to new ones. Returns the smallest of those that were not 0, at most 1.
#[inline(always)]
fn rescale(mantissas: &mut [f64], old: &[i32], new: &[i32]) -> f64 {
    let mantissas = blocks_mut(mantissas);
    let n = mantissas.len();
    let (old, new) = (&blocks(old)[..n], &blocks(new)[..n]);
    let mut least = [1.0f64; LANES];
    for i in 0..n {
        one_block();
        let (x, old, new) = (mantissas[i], old[i], new[i]);
        let moved = block(|l| x[l] * pow2(old[l] - new[l]));
        mantissas[i] = moved;
        // A number that becomes 0 is no 0.
        let positive = block(|l| if x[l] == 0.0 { 1.0 } else { moved[l] });
        least = block(|l| smaller(least[l], positive[l]));
    }
    fold(least, smaller)
}

/// `to[l] = 2^(from[l] − at[l])`
#[inline(always)]
fn ratios(to: &mut [f64], from: &[i32], at: &[i32]) {
    let to = blocks_mut(to);
    let n = to.len();
    let (from, at) = (&blocks(from)[..n], &blocks(at)[..n]);
    for i in 0..n {
        one_block();
        let (from, at) = (from[i], at[i]);
        to[i] = block(|l| pow2(from[l] - at[l]));
    }
}

/// `x[l] = x[l]·by[l]`
#[inline(always)]
fn multiply(x: &mut [f64], by: &[f64]) {
    for (x, by) in blocks_mut(x).iter_mut().zip(blocks(by)) {
        one_block();
        let value = *x;
        *x = block(|l| value[l] * by[l]);
    }
}

/// `half[l] = 2^((a[l] + b[l] − total) / 2)`; all exponents are even.
#[inline(always)]
fn halves(half: &mut [f64], a: &[i32], b: &[i32], total: i32) {
    let half = blocks_mut(half);
    let n = half.len();
    let (a, b) = (&blocks(a)[..n], &blocks(b)[..n]);
    for i in 0..n {
        one_block();
        let (a, b) = (a[i], b[i]);
        half[i] = block(|l| pow2((a[l] + b[l] - total) >> 1));
    }
}

/// `(a·half)·(b·half)`: neither factor overflows where the product does not, and 0 times anything is 0.
#[inline(always)]
fn product(a: f64, b: f64, half: f64) -> f64 {
    let (a, b) = (a * half, b * half);
    if a == 0.0 || b == 0.0 { 0.0 } else { a * b }
}

/// A row of forward times one of backward variables: that of entries by entry, that of blanks summed.
#[inline(always)]
fn weigh(to: &mut [f64], forward: Pair, backward: Pair, half: Pair) -> f64 {
    let to = blocks_mut(to);
    let n = to.len();
    let (forward_a, forward_b) = (&blocks(forward.0)[..n], &blocks(forward.1)[..n]);
    let (backward_a, backward_b) = (&blocks(backward.0)[..n], &blocks(backward.1)[..n]);
    let (half_a, half_b) = (&blocks(half.0)[..n], &blocks(half.1)[..n]);
    let mut sums = [0.0; LANES];
    for i in 0..n {
        one_block();
        let (forward_a, backward_a, half_a) = (forward_a[i], backward_a[i], half_a[i]);
        to[i] = block(|l| product(forward_a[l], backward_a[l], half_a[l]));
        let (forward_b, backward_b, half_b) = (forward_b[i], backward_b[i], half_b[i]);
        sums = block(|l| sums[l] + product(forward_b[l], backward_b[l], half_b[l]));
    }
    fold(sums, |a, b| a + b)
}

/// The smallest number, at most 1.
#[inline(always)]
fn least(x: &[f64]) -> f64 {
    let mut least = [1.0; LANES];
    for x in blocks(x) {
        one_block();
        least = block(|l| smaller(least[l], x[l]));
    }
    match x.last_chunk::<LANES>() {
        // It overlaps the last whole block, which does not matter to a minimum.
        Some(x) => least = block(|l| smaller(least[l], x[l])),
        None => least = block(|l| x.get(l).map_or(1.0, |&x| smaller(least[l], x))),
    }
    fold(least, smaller)
}

at_every_level! {
    Loops uses { super::Flow, super::Pair, super::PairMut }
    forward(to: PairMut, before: &[f64], from: Pair, flow: Flow);
    emit(to: PairMut, from: Pair, flow: Flow);
    backward(to: PairMut, from: Pair, flow: Flow);
    measure(exponents: &mut [i32], mantissas: &[f64], none: i32);
    rescale(mantissas: &mut [f64], old: &[i32], new: &[i32]) -> f64;
    ratios(to: &mut [f64], from: &[i32], at: &[i32]);
    multiply(x: &mut [f64], by: &[f64]);
    halves(half: &mut [f64], a: &[i32], b: &[i32], total: i32);
    weigh(to: &mut [f64], forward: Pair, backward: Pair, half: Pair) -> f64;
    least(x: &[f64]) -> f64;
}
