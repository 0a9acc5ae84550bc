//! Elements of rows and matrices.

use super::{Matrix, Rows};

pub(super) fn row<T>(rows: Rows, index: usize) -> *mut T {
    rows.start.cast::<T>().wrapping_offset(rows.stride * index as isize)
}

pub(super) fn at<T>(matrix: Matrix, i: usize, j: usize) -> *mut T {
    let [rows, columns] = matrix.strides;
    matrix.start.cast::<T>().wrapping_offset(rows * i as isize + columns * j as isize)
}
