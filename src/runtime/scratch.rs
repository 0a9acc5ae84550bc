//! Scratch for kernels: one buffer per thread, grown to what the largest kernel needed and kept.

use std::cell::RefCell;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u8; 64]);

thread_local! {
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(vec![]) };
}

/// Runs `with` on this thread's scratch of at least so many bytes, aligned to 64.
pub(super) fn with_scratch<R>(bytes: usize, with: impl FnOnce(*mut u8) -> R) -> R {
    SCRATCH.with_borrow_mut(|lines| {
        let count = bytes.div_ceil(64).max(1);
        if lines.len() < count {
            lines.resize(count, Line([0; 64]));
        }
        with(lines.as_mut_ptr().cast())
    })
}
