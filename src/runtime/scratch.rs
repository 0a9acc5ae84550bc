//! Memory for kernels: scratch of a thread, and what the threads of one call share. Each thread has a buffer for either,
//! grown to what the largest kernel needed, of which up to 64 MiB are kept for the next call.

use std::cell::RefCell;
use std::thread::LocalKey;

/// A cache line.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Line(#[allow(dead_code)] [u8; 64]);

thread_local! {
    static SCRATCH: RefCell<Vec<Line>> = const { RefCell::new(vec![]) };
    static SHARED: RefCell<Vec<Line>> = const { RefCell::new(vec![]) };
}

/// Lines that a thread keeps between calls: 64 MiB.
const KEPT: usize = 1 << 20;

/// Runs `with` on this thread's scratch of at least so many bytes, aligned to 64; `None` where there is no memory for it.
pub(super) fn with_scratch<R>(bytes: usize, with: impl FnOnce(*mut u8) -> R) -> Option<R> {
    with_lines(&SCRATCH, bytes, with)
}

/// The same with the memory that this thread has for the threads of its calls. While it waits for them it may do a part of
/// another call, which then finds none and makes its own.
pub(super) fn with_shared<R>(bytes: usize, with: impl FnOnce(*mut u8) -> R) -> Option<R> {
    with_lines(&SHARED, bytes, with)
}

fn with_lines<R>(
    key: &'static LocalKey<RefCell<Vec<Line>>>,
    bytes: usize,
    with: impl FnOnce(*mut u8) -> R,
) -> Option<R> {
    let mut lines = key.take();
    let count = bytes.div_ceil(64).max(1);
    if lines.len() < count {
        lines.try_reserve_exact(count - lines.len()).ok()?;
        lines.resize(count, Line([0; 64]));
    }
    let result = with(lines.as_mut_ptr().cast());
    if lines.len() <= KEPT {
        key.set(lines);
    }
    Some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is() {
        assert_eq!(with_scratch(1 << 50, |_| ()), None);
        assert_eq!(with_scratch(usize::MAX - 63, |_| ()), None);
        assert_eq!(with_scratch(100, |scratch| scratch.align_offset(64)), Some(0));
    }

    #[test]
    fn only_so_much_is_kept() {
        let held = || SCRATCH.with_borrow(|lines| lines.capacity());
        assert_eq!(with_scratch(64 * KEPT, |_| ()), Some(()));
        assert_eq!(held(), KEPT);
        assert_eq!(with_scratch(64 * KEPT + 1, |_| ()), Some(()));
        assert_eq!(held(), 0);
    }
}
