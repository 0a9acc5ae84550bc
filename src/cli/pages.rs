//! Room for arrays, in large pages of memory where they fill some: where an element lies is looked up for 2 MiB at a time,
//! in place of 4 KiB, and what is neighbours for the program is neighbours for the caches too.

use crate::error::{Error, Result};
use ndarray::{ArrayD, IxDyn};
use std::collections::TryReserveError;

/// From so many bytes on: what NumPy asks large pages for.
#[cfg(target_os = "linux")]
const LARGE: usize = 4 << 20;

/// An empty vector with room for so many elements.
///
/// # Errors
/// There is no memory for it.
pub(super) fn room<T>(count: usize) -> std::result::Result<Vec<T>, TryReserveError> {
    let mut elements = Vec::new();
    elements.try_reserve_exact(count)?;
    #[cfg(target_os = "linux")]
    advise(elements.spare_capacity_mut());
    Ok(elements)
}

/// An array of the first of these elements.
///
/// # Errors
/// There is no memory for it.
pub(super) fn filled<T>(name: &str, shape: &[usize], elements: impl Iterator<Item = T>) -> Result<ArrayD<T>> {
    let refused = || Error::Shape {
        input: name.to_string(),
        found: shape.to_vec(),
        problem: "needs more memory than there is".into(),
    };
    let count = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size)).ok_or_else(refused)?;
    let mut all = room(count).map_err(|_| refused())?;
    all.extend(elements.take(count));
    ArrayD::from_shape_vec(IxDyn(shape), all).map_err(|_| refused())
}

/// Says that these elements may have large pages. They may be refused: then they have small ones.
#[cfg(target_os = "linux")]
fn advise<T>(elements: &mut [std::mem::MaybeUninit<T>]) {
    const PAGE: usize = 4096;
    let bytes = size_of_val(elements);
    let before = elements.as_ptr().addr().wrapping_neg() % PAGE;
    if bytes < LARGE {
        return;
    }
    // SAFETY: the pages from the first that begins within these elements to their end, which nobody else has. Their
    // contents stay what they are.
    unsafe {
        let start = elements.as_mut_ptr().wrapping_byte_add(before);
        libc::madvise(start.cast(), bytes - before, libc::MADV_HUGEPAGE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_room_for_all() {
        for count in [0, 1, 1000, (4 << 20) + 3] {
            let mut elements = room::<u8>(count).unwrap();
            let before = elements.as_ptr();
            elements.resize(count, 7);
            assert!(elements.as_ptr() == before && elements.iter().all(|&element| element == 7));
        }
        assert!(room::<f64>(usize::MAX / 16).is_err());
    }
}
