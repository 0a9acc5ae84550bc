//! Scratch, handed out piece by piece. An arena without memory only counts.

use std::marker::PhantomData;

/// Numbers that any bytes are.
pub(super) trait Plain: Copy {}
impl Plain for f64 {}
impl Plain for u16 {}
impl Plain for i32 {}
impl Plain for i64 {}
impl Plain for u64 {}
impl<T: Plain, const N: usize> Plain for [T; N] {}

const LINE: usize = 64;

pub(super) struct Arena<'a> {
    /// Null where the arena only counts.
    start: *mut u8,
    size: usize,
    used: usize,
    memory: PhantomData<&'a mut [u8]>,
}

impl<'a> Arena<'a> {
    /// # Safety
    /// `start` is valid for `size` initialised bytes during `'a`, aligned to 64, and used by nobody else.
    pub(super) unsafe fn new(start: *mut u8, size: usize) -> Self {
        Self { start, size, used: 0, memory: PhantomData }
    }

    pub(super) fn counting() -> Self {
        Self { start: std::ptr::null_mut(), size: 0, used: 0, memory: PhantomData }
    }

    /// What is not handed out yet, for a while.
    pub(super) fn rest(&mut self) -> Arena<'_> {
        Arena { start: self.start, size: self.size, used: self.used, memory: PhantomData }
    }

    /// Bytes handed out so far, and those before them.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// The next `count` numbers, on a cache line of their own; they hold anything. None where the arena only counts.
    ///
    /// # Panics
    /// Where the memory does not suffice: it is sized by an arena that counts the same.
    pub(super) fn take<T: Plain>(&mut self, count: usize) -> &'a mut [T] {
        let bytes = count.saturating_mul(size_of::<T>()).saturating_add(LINE - 1) / LINE * LINE;
        let place = self.used;
        self.used = self.used.saturating_add(bytes);
        if self.start.is_null() {
            return &mut [];
        }
        assert!(self.used <= self.size, "scratch is too small");
        // SAFETY: the bytes from `place` on are in the memory, aligned, initialised and handed out once.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(place).cast::<T>(), count) }
    }
}
