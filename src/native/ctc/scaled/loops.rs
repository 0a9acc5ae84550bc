//! The inner loops of scaled rows. Every array is whole blocks of [`LANES`] numbers, so that no loop has a rest.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

use super::super::arena::Plain;
use super::super::levels::{at_every_level, one_block};
use super::NONE;

pub(super) const LANES: usize = 8;

pub(super) type Block<T> = [T; LANES];

/// Those of entries, and of the blanks before them.
pub(super) type Both<T> = [Block<T>; 2];

/// What numbers are multiplied with on their way from one row into the next, by where they arrive: into an entry from a
/// blank, and from another entry, which may not be allowed; into a blank. Powers of two, or 0.
#[derive(Clone, Copy)]
pub(super) struct Flow {
    pub blank_to_entry: Block<f64>,
    pub skip: Block<f64>,
    pub entry_to_blank: Block<f64>,
}
impl Plain for Flow {}

/// What some steps emit: at entries by step and block, and the blank by step.
#[derive(Clone, Copy)]
pub(super) struct Emission<'a> {
    pub entries: &'a [Block<f64>],
    pub blanks: &'a [f64],
}

impl Emission<'_> {
    pub(super) fn steps(&self) -> usize {
        self.blanks.len()
    }

    /// Blocks at each step: those that have an entry.
    fn width(&self) -> usize {
        self.entries.len() / self.blanks.len()
    }

    /// The blocks of a step.
    #[inline(always)]
    pub(super) fn row(&self, step: usize) -> &[Block<f64>] {
        &self.entries[step * self.width()..][..self.width()]
    }
}

/// A block of what a step emits. Where a row has one more, that has no entry: any numbers will do.
#[inline(always)]
fn emitted(row: &[Block<f64>], block: usize) -> Block<f64> {
    row[block.min(row.len() - 1)]
}

/// What the rows of the way back are multiplied with: forward rows by step, and powers of two.
#[derive(Clone, Copy)]
pub(super) struct Weighing<'a> {
    pub forward: &'a [Both<f64>],
    pub half: &'a [Both<f64>],
}

/// By lane. A block is computed as a whole before any of it is stored, so that the compiler makes vectors of it.
#[inline(always)]
fn block<T: Copy + Default>(at: impl Fn(usize) -> T) -> Block<T> {
    let mut block = [T::default(); LANES];
    for lane in 0..LANES {
        block[lane] = at(lane);
    }
    block
}

/// One place later, behind what came before.
#[inline(always)]
fn later<T: Copy + Default>(before: T, x: Block<T>) -> Block<T> {
    block(|l| if l == 0 { before } else { x[l - 1] })
}

/// One place earlier, before what comes after.
#[inline(always)]
fn earlier<T: Copy + Default>(x: Block<T>, after: T) -> Block<T> {
    block(|l| if l == LANES - 1 { after } else { x[l + 1] })
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
pub(super) fn smaller(a: f64, b: f64) -> f64 {
    if b < a { b } else { a }
}

#[inline(always)]
fn larger(a: f64, b: f64) -> f64 {
    if b > a { b } else { a }
}

/// 2^power, of what lies outside the normal numbers 0 or the largest.
#[inline(always)]
pub(in super::super) fn pow2(power: i32) -> f64 {
    let power = if power > 1023 { 1023 } else { power };
    let power = if power < -1023 { -1023 } else { power };
    f64::from_bits(u64::from((power + 1023) as u32) << 52)
}

/// The binary exponent of a positive normal number.
#[inline(always)]
pub(in super::super) fn exponent(x: f64) -> i32 {
    (x.to_bits() >> 52) as i32 - 1023
}

/// Steps of forward variables, each row from the row before it, or in its place:
///
/// `to entry[l] = (entry[l] + blank[l]·… + entry[l - 1]·…) · emission[l]`, `to blank[l] = (blank[l] + entry[l - 1]·…) · emission`
#[inline(always)]
fn forward(rows: &mut [Both<f64>], in_place: bool, flow: &[Flow], emission: Emission) {
    let n = flow.len();
    let stride = if in_place { 0 } else { n };
    for step in 0..emission.steps() {
        let (emissions, of_blank) = (emission.row(step), emission.blanks[step]);
        let from = step * stride;
        let mut last = 0.0;
        for i in 0..n {
            one_block();
            let ([entry, blank], flow, emissions) = (rows[from + i], flow[i], emitted(emissions, i));
            let before = later(last, entry);
            let sum = block(|l| (entry[l] + blank[l] * flow.blank_to_entry[l]) + before[l] * flow.skip[l]);
            let to_entry = block(|l| sum[l] * emissions[l]);
            let to_blank = block(|l| (blank[l] + before[l] * flow.entry_to_blank[l]) * of_blank);
            rows[from + stride + i] = [to_entry, to_blank];
            last = entry[LANES - 1];
        }
    }
}

/// Steps of backward variables in place, from the last step on; of each the products with forward variables: those of
/// entries by step and entry, and the sum of the blanks'.
#[inline(always)]
fn backward(
    row: &mut [Both<f64>],
    flow: &[Flow],
    emission: Emission,
    weighing: Weighing,
    weights: &mut [Block<f64>],
    blanks: &mut [f64],
) {
    let n = row.len();
    for step in (0..emission.steps()).rev() {
        retreat(row, flow, emission.row(step), emission.blanks[step]);
        let forward = &weighing.forward[step * n..][..n];
        blanks[step] = weigh(&mut weights[step * n..][..n], forward, row, weighing.half);
    }
}

/// A step of backward variables in place, from what they are times the emissions of their step:
///
/// `entry[l] ← entry[l] + blank[l + 1]·… + entry[l + 1]·…`, `blank[l] ← blank[l] + entry[l]·…`
#[inline(always)]
fn retreat(row: &mut [Both<f64>], flow: &[Flow], emissions: &[Block<f64>], of_blank: f64) {
    let n = row.len();
    let flow = &flow[..n];
    let (mut entry_after, mut blank_after) = (0.0, 0.0);
    for i in (0..n).rev() {
        one_block();
        let ([entry, blank], flow, emissions) = (row[i], flow[i], emitted(emissions, i));
        let entry = block(|l| entry[l] * emissions[l]);
        let blank = block(|l| blank[l] * of_blank);
        let (next_entry, next_blank) = (earlier(entry, entry_after), earlier(blank, blank_after));
        let to_entry = block(|l| (entry[l] + next_blank[l] * flow.blank_to_entry[l]) + next_entry[l] * flow.skip[l]);
        let to_blank = block(|l| blank[l] + entry[l] * flow.entry_to_blank[l]);
        row[i] = [to_entry, to_blank];
        (entry_after, blank_after) = (entry[0], blank[0]);
    }
}

/// Exponents with those of their mantissas added, to an even sum; 0 has [`NONE`].
#[inline(always)]
fn measure(to: &mut [Both<i32>], exponents: &[Both<i32>], mantissas: &[Both<f64>]) {
    let n = to.len();
    let (exponents, mantissas) = (&exponents[..n], &mantissas[..n]);
    for i in 0..n {
        for part in 0..2 {
            one_block();
            let (old, x) = (exponents[i][part], mantissas[i][part]);
            let sum = block(|l| (old[l] + exponent(x[l])) & !1);
            to[i][part] = block(|l| if x[l] > 0.0 { sum[l] } else { NONE });
        }
    }
}

/// Moves mantissas from old exponents to new ones. Returns the smallest of those that were not 0, at most 1.
#[inline(always)]
fn rescale(mantissas: &mut [Both<f64>], old: &[Both<i32>], new: &[Both<i32>]) -> f64 {
    let n = mantissas.len();
    let (old, new) = (&old[..n], &new[..n]);
    let mut least = [1.0f64; LANES];
    for i in 0..n {
        for part in 0..2 {
            one_block();
            let (x, old, new) = (mantissas[i][part], old[i][part], new[i][part]);
            let moved = block(|l| x[l] * pow2(old[l] - new[l]));
            mantissas[i][part] = moved;
            // A number that becomes 0 is no 0.
            let positive = block(|l| if x[l] == 0.0 { 1.0 } else { moved[l] });
            least = block(|l| smaller(least[l], positive[l]));
        }
    }
    fold(least, smaller)
}

/// How numbers flow forward under exponents, by where a skip arrives. Returns the largest power of two, at least 1.
#[inline(always)]
fn flow_forward(to: &mut [Flow], exponents: &[Both<i32>], lives: &[Block<f64>], skips: &[Block<f64>]) -> f64 {
    let n = to.len();
    let (exponents, lives, skips) = (&exponents[..n], &lives[..n], &skips[..n]);
    let mut last = NONE;
    let mut most = [1.0; LANES];
    for i in 0..n {
        one_block();
        let [entry, blank] = exponents[i];
        let before = later(last, entry);
        to[i] = flow(&mut most, [entry, blank], [before, blank, before], [lives[i], skips[i]]);
        last = entry[LANES - 1];
    }
    fold(most, larger)
}

/// The same of the way back.
#[inline(always)]
fn flow_backward(to: &mut [Flow], exponents: &[Both<i32>], lives: &[Block<f64>], skips: &[Block<f64>]) -> f64 {
    let n = to.len();
    let (exponents, lives, skips) = (&exponents[..n], &lives[..n], &skips[..n]);
    let (mut entry_after, mut blank_after) = (NONE, NONE);
    let mut most = [1.0; LANES];
    for i in (0..n).rev() {
        one_block();
        let [entry, blank] = exponents[i];
        let (next_entry, next_blank) = (earlier(entry, entry_after), earlier(blank, blank_after));
        to[i] = flow(&mut most, [entry, blank], [next_entry, next_blank, entry], [lives[i], skips[i]]);
        (entry_after, blank_after) = (entry[0], blank[0]);
    }
    fold(most, larger)
}

/// Under the exponents of a block and of the entries and blanks that flow into its entries, and those into its blanks.
#[inline(always)]
fn flow(
    most: &mut Block<f64>,
    [entry, blank]: Both<i32>,
    [other_entry, into_entry, into_blank]: [Block<i32>; 3],
    [lives, skips]: Both<f64>,
) -> Flow {
    let blank_to_entry = block(|l| pow2(into_entry[l] - entry[l]));
    let skip = block(|l| pow2(other_entry[l] - entry[l]));
    let entry_to_blank = block(|l| pow2(into_blank[l] - blank[l]));
    *most = block(|l| larger(larger(most[l], skip[l]), larger(blank_to_entry[l], entry_to_blank[l])));
    Flow {
        blank_to_entry: block(|l| blank_to_entry[l] * lives[l]),
        skip: block(|l| skip[l] * skips[l]),
        entry_to_blank,
    }
}

/// `half[l] = 2^((a[l] + b[l] − total) / 2)`; all exponents are even.
#[inline(always)]
fn halves(half: &mut [Both<f64>], a: &[Both<i32>], b: &[Both<i32>], total: i32) {
    let n = half.len();
    let (a, b) = (&a[..n], &b[..n]);
    for i in 0..n {
        for part in 0..2 {
            one_block();
            let (a, b) = (a[i][part], b[i][part]);
            half[i][part] = block(|l| pow2((a[l] + b[l] - total) >> 1));
        }
    }
}

/// `(a·half)·(b·half)`: neither factor overflows where the product does not, and 0 times anything is 0.
#[inline(always)]
fn product(a: f64, b: f64, half: f64) -> f64 {
    larger(0.0, (a * half) * (b * half))
}

/// A row of forward times one of backward variables: that of entries by entry, that of blanks summed.
#[inline(always)]
fn weigh(to: &mut [Block<f64>], forward: &[Both<f64>], backward: &[Both<f64>], half: &[Both<f64>]) -> f64 {
    let n = to.len();
    let (forward, backward, half) = (&forward[..n], &backward[..n], &half[..n]);
    let mut sums = [0.0; LANES];
    for i in (0..n).rev() {
        one_block();
        let ([entry, blank], [entry_after, blank_after]) = (forward[i], backward[i]);
        let [half_entry, half_blank] = half[i];
        to[i] = block(|l| product(entry[l], entry_after[l], half_entry[l]));
        sums = block(|l| sums[l] + product(blank[l], blank_after[l], half_blank[l]));
    }
    // Else the compiler makes vectors of so few lanes as the last additions have.
    fold(std::hint::black_box(sums), |a, b| a + b)
}

/// What the slope of a step is made of: the derivative of the loss by a logit is
/// `head · (emission · weight − posterior · inverse)`.
#[derive(Clone, Copy)]
pub(super) struct Slope {
    pub head: f64,
    pub weight: f64,
    pub inverse: f64,
}

impl Slope {
    #[inline(always)]
    pub(super) fn at(&self, emission: f64, posterior: f64) -> f64 {
        self.head * (emission * self.weight - posterior * self.inverse)
    }
}

/// Slopes in place of posteriors.
#[inline(always)]
fn slopes(posteriors: &mut [Block<f64>], emissions: &[Block<f64>], slope: Slope) {
    for (posterior, emission) in posteriors.iter_mut().zip(emissions) {
        one_block();
        let (x, e) = (*posterior, *emission);
        *posterior = block(|l| slope.at(e[l], x[l]));
    }
}

/// The least of numbers and 0.
#[inline(always)]
fn least(x: &[Block<f64>]) -> f64 {
    let mut least = [0.0; LANES];
    for x in x {
        one_block();
        least = block(|l| smaller(least[l], x[l]));
    }
    fold(std::hint::black_box(least), smaller)
}

at_every_level! {
    Loops uses { super::Block, super::Both, super::Emission, super::Flow, super::Slope, super::Weighing }
    forward(rows: &mut [Both<f64>], in_place: bool, flow: &[Flow], emission: Emission);
    backward(
        row: &mut [Both<f64>],
        flow: &[Flow],
        emission: Emission,
        weighing: Weighing,
        weights: &mut [Block<f64>],
        blanks: &mut [f64],
    );
    measure(to: &mut [Both<i32>], exponents: &[Both<i32>], mantissas: &[Both<f64>]);
    rescale(mantissas: &mut [Both<f64>], old: &[Both<i32>], new: &[Both<i32>]) -> f64;
    flow_forward(to: &mut [Flow], exponents: &[Both<i32>], lives: &[Block<f64>], skips: &[Block<f64>]) -> f64;
    flow_backward(to: &mut [Flow], exponents: &[Both<i32>], lives: &[Block<f64>], skips: &[Block<f64>]) -> f64;
    halves(half: &mut [Both<f64>], a: &[Both<i32>], b: &[Both<i32>], total: i32);
    slopes(posteriors: &mut [Block<f64>], emissions: &[Block<f64>], slope: Slope);
    least(x: &[Block<f64>]) -> f64;
}
