//! Rows of scaled numbers, and the exponents of each.

use super::super::arena::Arena;
use super::loops::Both;
use std::ops::Range;

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

    pub(super) fn rows(&self, rows: Range<usize>) -> &[Both<f64>] {
        &self.numbers[rows.start * self.blocks..rows.end * self.blocks]
    }

    pub(super) fn rows_mut(&mut self, rows: Range<usize>) -> &mut [Both<f64>] {
        &mut self.numbers[rows.start * self.blocks..rows.end * self.blocks]
    }

    /// The first row becomes the last one, under its exponents.
    pub(super) fn wrap(&mut self) {
        let last = (self.count - 1) * self.blocks;
        self.numbers.copy_within(last..last + self.blocks, 0);
        self.epochs[0] = self.epochs[self.count - 1];
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

    /// Some rows have the exponents of another.
    pub(super) fn share_exponents(&mut self, rows: Range<usize>, of: usize) {
        let epoch = self.epochs[of];
        self.epochs[rows].fill(epoch);
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
