//! Rows of scaled numbers, and the exponents of each.

use super::super::arena::Arena;
use super::loops::{LANES, Pair, PairMut};

/// Rows of the recursion: entries, with a 0 before the first, then blanks; and the exponents that a row has, or the one
/// where they were renewed.
pub(super) struct Rows<'a> {
    pub count: usize,
    width: usize,
    numbers: &'a mut [f64],
    exponents: &'a mut [i32],
    epochs: &'a mut [u64],
}

/// One row to read.
#[derive(Clone, Copy)]
pub(super) struct Row<'a> {
    /// The entries, one place later.
    pub before: &'a [f64],
    pub numbers: Pair<'a>,
}

impl<'a> Row<'a> {
    fn of(numbers: &'a [f64], width: usize) -> Self {
        let (front, blanks) = numbers.split_at(LANES + width);
        Self { before: &front[LANES - 1..][..width], numbers: (&front[LANES..], blanks) }
    }
}

/// One row to write.
fn parts(numbers: &mut [f64], width: usize) -> PairMut<'_> {
    let (front, blanks) = numbers.split_at_mut(LANES + width);
    (&mut front[LANES..], blanks)
}

impl<'a> Rows<'a> {
    pub(super) fn new(arena: &mut Arena<'a>, width: usize, count: usize) -> Self {
        let size = width.saturating_mul(2).saturating_add(LANES).saturating_mul(count);
        Self {
            count,
            width,
            numbers: arena.take(size),
            exponents: arena.take(width.saturating_mul(2).saturating_mul(count)),
            epochs: arena.take(count),
        }
    }

    fn stride(&self) -> usize {
        LANES + 2 * self.width
    }

    /// Writes the zeros before all entries.
    pub(super) fn clear_fronts(&mut self) {
        let stride = self.stride();
        self.numbers.chunks_exact_mut(stride).for_each(|row| row[..LANES].fill(0.0));
    }

    pub(super) fn row(&self, row: usize) -> Row<'_> {
        let stride = self.stride();
        Row::of(&self.numbers[row * stride..][..stride], self.width)
    }

    pub(super) fn row_mut(&mut self, row: usize) -> PairMut<'_> {
        let stride = self.stride();
        parts(&mut self.numbers[row * stride..][..stride], self.width)
    }

    /// Two rows, the first to read and the second to write.
    pub(super) fn pair(&mut self, from: usize, to: usize) -> (Row<'_>, PairMut<'_>) {
        let (stride, width) = (self.stride(), self.width);
        let (low, high) = self.numbers.split_at_mut(from.max(to) * stride);
        let (low, high) = (&mut low[from.min(to) * stride..][..stride], &mut high[..stride]);
        let (from, to) = if from < to { (low, high) } else { (high, low) };
        (Row::of(from, width), parts(to, width))
    }

    pub(super) fn copy_row(&mut self, to: usize, from: &Rows, row: usize) {
        let (stride, width) = (self.stride(), self.width);
        self.numbers[to * stride..][..stride].copy_from_slice(&from.numbers[row * stride..][..stride]);
        self.exponents[2 * to * width..][..2 * width].copy_from_slice(&from.exponents[2 * row * width..][..2 * width]);
        self.epochs[to] = to as u64;
    }

    /// A row has exponents of its own.
    pub(super) fn set_exponents(&mut self, row: usize, (entries, blanks): (&[i32], &[i32])) {
        let (to_entries, to_blanks) = self.exponents[2 * row * self.width..][..2 * self.width].split_at_mut(self.width);
        to_entries.copy_from_slice(entries);
        to_blanks.copy_from_slice(blanks);
        self.epochs[row] = row as u64;
    }

    /// A row has the exponents of another.
    pub(super) fn share_exponents(&mut self, row: usize, of: usize) {
        self.epochs[row] = self.epochs[of];
    }

    /// The row where the exponents of a row were renewed.
    pub(super) fn epoch(&self, row: usize) -> usize {
        self.epochs[row] as usize
    }

    pub(super) fn exponents(&self, row: usize) -> (&[i32], &[i32]) {
        self.exponents[2 * self.epoch(row) * self.width..][..2 * self.width].split_at(self.width)
    }
}
