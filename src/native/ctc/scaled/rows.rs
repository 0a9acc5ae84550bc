//! Rows of scaled numbers, and the exponents of each.

use super::super::arena::Arena;
use super::loops::Both;

/// Rows of the recursion, in blocks; and the exponents that a row has, or the one where they were renewed.
pub(super) struct Rows<'a> {
    pub count: usize,
    blocks: usize,
    numbers: &'a mut [Both<f64>],
    exponents: &'a mut [Both<i32>],
    epochs: &'a mut [u64],
}

impl<'a> Rows<'a> {
    pub(super) fn new(arena: &mut Arena<'a>, blocks: usize, count: usize) -> Self {
        let size = blocks.saturating_mul(count);
        Self { count, blocks, numbers: arena.take(size), exponents: arena.take(size), epochs: arena.take(count) }
    }

    pub(super) fn row(&self, row: usize) -> &[Both<f64>] {
        &self.numbers[row * self.blocks..][..self.blocks]
    }

    pub(super) fn row_mut(&mut self, row: usize) -> &mut [Both<f64>] {
        &mut self.numbers[row * self.blocks..][..self.blocks]
    }

    /// Two rows, the first to read and the second to write.
    pub(super) fn pair(&mut self, from: usize, to: usize) -> (&[Both<f64>], &mut [Both<f64>]) {
        let blocks = self.blocks;
        let (low, high) = self.numbers.split_at_mut(from.max(to) * blocks);
        let (low, high) = (&mut low[from.min(to) * blocks..][..blocks], &mut high[..blocks]);
        if from < to { (low, high) } else { (high, low) }
    }

    pub(super) fn copy_row(&mut self, to: usize, from: &Rows, row: usize) {
        self.row_mut(to).copy_from_slice(from.row(row));
        self.set_exponents(to, from.own_exponents(row));
    }

    /// A row has exponents of its own.
    pub(super) fn set_exponents(&mut self, row: usize, exponents: &[Both<i32>]) {
        self.exponents[row * self.blocks..][..self.blocks].copy_from_slice(exponents);
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

    pub(super) fn exponents(&self, row: usize) -> &[Both<i32>] {
        self.own_exponents(self.epoch(row))
    }

    fn own_exponents(&self, row: usize) -> &[Both<i32>] {
        &self.exponents[row * self.blocks..][..self.blocks]
    }
}
