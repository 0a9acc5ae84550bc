//! Pairs: every row of one matrix against every row of another, for sums over what the two rows share.
//!
//! [`contract`](Pairs::contract) gives a number for each pair, [`spread`](Pairs::spread) a row from a number for each
//! pair. Both hold a few rows in registers while they pass over the others, so that a row is read from the cache once
//! for several; and both work on the differences themselves, whose digits an expansion into products would lose.

mod access;
mod contract;
mod lanes;
mod levels;
mod spread;
mod turn;

use crate::ir::Dtype;
use crate::team;
use std::ops::Range;

/// What two elements x and y of a pair of rows give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Term {
    /// Contracted (x − y)², spread x − y.
    Difference,
    /// Contracted x · y, spread y.
    Product,
}

impl Term {
    pub const ALL: [Term; 2] = [Term::Difference, Term::Product];
}

/// Rows of floats in memory: elements of a row are neighbours; the stride from row to row counts elements.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    pub start: *mut u8,
    pub stride: isize,
    pub count: usize,
}

/// What a call is about.
#[derive(Clone, Copy, Debug)]
pub struct Pairs {
    pub real: Dtype,
    pub term: Term,
    pub x: Rows,
    pub y: Rows,
    /// Elements of a row.
    pub depth: usize,
}

/// A number for each pair, by its row of x and its row of y.
#[derive(Clone, Copy, Debug)]
pub struct Matrix {
    pub start: *mut u8,
    pub strides: [isize; 2],
}

impl Rows {
    /// Some of the rows.
    fn part(self, range: &Range<usize>, real: Dtype) -> Self {
        let bytes = self.stride * (range.start * real.size()) as isize;
        Self { start: self.start.wrapping_offset(bytes), count: range.len(), ..self }
    }
}

impl Matrix {
    /// The numbers from so many rows and columns on.
    fn from(self, [i, j]: [usize; 2], real: Dtype) -> Self {
        let elements = self.strides[0] * i as isize + self.strides[1] * j as isize;
        Self { start: self.start.wrapping_offset(elements * real.size() as isize), ..self }
    }

    /// The numbers by row of y and row of x.
    fn turned(self) -> Self {
        let [rows, columns] = self.strides;
        Self { strides: [columns, rows], ..self }
    }
}

/// Fewer terms than this, for each thread, are not worth waking it.
const GRAIN: usize = 1 << 18;

/// Addresses that several threads may have: each writes rows of its own.
struct Shared<T>(T);

// SAFETY: see above; what is read is written by nobody.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    fn get(&self) -> &T {
        &self.0
    }
}

impl Pairs {
    /// Cuts rows in as many parts as there are threads for them. What a row comes to does not depend on the cut.
    fn each_part(&self, rows: usize, job: &(dyn Fn(Range<usize>) + Sync)) {
        let terms = self.x.count.saturating_mul(self.y.count).saturating_mul(self.depth);
        let parts = team::lent().min(terms / GRAIN).min(rows).max(1);
        team::share(parts, parts, &|part| job(rows * part / parts..rows * (part + 1) / parts));
    }

    /// `out[i, j] = Σ_d term(x[i, d], y[j, d])`
    ///
    /// # Safety
    /// `x` and `y` are valid for reads of all their rows, `out` for writes of every pair, and does not overlap them.
    pub unsafe fn contract(&self, out: Matrix) {
        let along_x = self.x.count > self.y.count;
        let shared = Shared((*self, out));
        self.each_part(if along_x { self.x.count } else { self.y.count }, &|range| {
            let &(whole, out) = shared.get();
            let (part, from) = if along_x {
                (Self { x: whole.x.part(&range, whole.real), ..whole }, [range.start, 0])
            } else {
                (Self { y: whole.y.part(&range, whole.real), ..whole }, [0, range.start])
            };
            let out = out.from(from, whole.real);
            // SAFETY: the caller's promise, of which this is a part.
            unsafe {
                match part.real {
                    Dtype::F64 => levels::contract_f64(&part, out),
                    _ => levels::contract_f32(&part, out),
                }
            }
        });
    }

    /// `out[i, d] = factor · Σ_j weight[i, j] · term'(x[i, d], y[j, d])`, added to what `out` has where `adds`.
    ///
    /// # Safety
    /// `x` and `y` are valid for reads of all their rows, `weight` for reads of every pair, `out` for reads and writes of
    /// as many rows as `x` has; it overlaps none of them.
    pub unsafe fn spread(&self, weight: Matrix, out: Rows, factor: f64, adds: bool) {
        let shared = Shared((*self, weight, out));
        self.each_part(self.x.count, &|range| {
            let &(whole, weight, out) = shared.get();
            let part = Self { x: whole.x.part(&range, whole.real), ..whole };
            let (weight, out) = (weight.from([range.start, 0], whole.real), out.part(&range, whole.real));
            // SAFETY: the caller's promise, of which this is a part.
            unsafe {
                match part.real {
                    Dtype::F64 => levels::spread_f64(&part, weight, out, factor, adds),
                    _ => levels::spread_f32(&part, weight, out, factor, adds),
                }
            }
        });
    }
}

#[cfg(test)]
mod tests;
