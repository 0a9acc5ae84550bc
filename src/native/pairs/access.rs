//! Elements of rows and matrices, one and several.

#![allow(clippy::needless_range_loop)] // a buffer and addresses go by one index

use super::lanes::{Lanes, MOST, Real};
use super::{Matrix, Rows};

pub(super) fn row<T>(rows: Rows, index: usize) -> *mut T {
    rows.start.cast::<T>().wrapping_offset(rows.stride * index as isize)
}

fn at<T>(matrix: Matrix, [i, j]: [usize; 2]) -> *mut T {
    let [rows, columns] = matrix.strides;
    matrix.start.cast::<T>().wrapping_offset(rows * i as isize + columns * j as isize)
}

/// Some of the numbers of a row of a matrix from `[i, j]` on, `count` of them or a whole vector, and 0 in the other lanes.
///
/// # Safety
/// The matrix is valid for reads of them.
#[inline(always)]
pub(super) unsafe fn load<L: Lanes>(matrix: Matrix, [i, j]: [usize; 2], count: usize) -> L {
    // SAFETY: the caller's promise; the buffer has as many elements as there are lanes.
    unsafe {
        if matrix.strides[1] == 1 {
            return L::load_some(at::<L::Real>(matrix, [i, j]), L::first(count));
        }
        let mut part = [L::Real::ZERO; MOST];
        for k in 0..count.min(L::COUNT) {
            part[k] = at::<L::Real>(matrix, [i, j + k]).read();
        }
        L::load(part.as_ptr())
    }
}

/// Writes what [`load`] reads.
///
/// # Safety
/// The matrix is valid for writes of them.
#[inline(always)]
pub(super) unsafe fn store<L: Lanes>(matrix: Matrix, [i, j]: [usize; 2], count: usize, vector: L) {
    // SAFETY: the caller's promise; the buffer has as many elements as there are lanes.
    unsafe {
        if matrix.strides[1] == 1 {
            return vector.store_some(at::<L::Real>(matrix, [i, j]), L::first(count));
        }
        let mut part = [L::Real::ZERO; MOST];
        vector.store(part.as_mut_ptr());
        for k in 0..count.min(L::COUNT) {
            at::<L::Real>(matrix, [i, j + k]).write(part[k]);
        }
    }
}
