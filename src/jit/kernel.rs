//! A kernel: machine code with the memory that it lives in and what a caller must provide.

use super::Binding;
use crate::nest::Nest;
use cranelift_jit::JITModule;
use std::sync::Mutex;

/// Pointers to every buffer, inputs then outputs; the range of the round; scratch; constants; shared memory; the round.
/// Returns [`Status`] bits.
pub(super) type Entry = unsafe extern "C" fn(*const *mut u8, i64, i64, *mut u8, *const u64, *mut u8, i64) -> u32;

/// What a run found in the data.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Status(pub(crate) u32);

impl Status {
    /// A class number that was given as a float is not whole.
    pub const FRACTION: u32 = 1;
    /// An index computed from data is outside its axis. The run read something else in its place.
    pub const OUTSIDE: u32 = 2;

    pub fn is_clean(self) -> bool {
        self.0 == 0
    }

    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Machine code for one nest and one binding. It is freed with the kernel.
pub struct Kernel {
    pub nest: Nest,
    pub binding: Binding,
    /// Bytes of scratch for one run; every thread needs its own.
    pub scratch: usize,
    /// Bytes of memory that the threads of one run share.
    pub shared: usize,
    pub(super) entry: Entry,
    pub(super) constants: Box<[u64]>,
    /// Before the code: gdb forgets it first.
    #[cfg(feature = "gdb")]
    pub(super) _registration: super::gdb::Registration,
    pub(super) code: Code,
}

impl Kernel {
    /// Runs one of the nest's [rounds](Nest::rounds) for the indices `range` of those that threads share.
    ///
    /// # Safety
    /// `buffers` holds the address of the first element of every input and output of the nest's graph, in order. Each
    /// is valid for reads (outputs: writes) at every index within the nest's extents under the binding's strides and
    /// dtypes, for as long as the call lasts; what lies between neighbours up to four elements apart may be read too, and has
    /// no effect. No output overlaps another buffer, but for those that the binding's layout has in place of an input, which
    /// are that input's memory. `scratch` is valid for `self.scratch` bytes, aligned to 64, and used by nobody else.
    /// `shared` is valid for `self.shared` bytes, aligned to 64, and used by this run's rounds only. `range` lies within the
    /// round; no two ranges of a round overlap, and the rounds before it have been run for all of theirs.
    pub unsafe fn run(
        &self,
        buffers: &[*mut u8],
        round: usize,
        range: std::ops::Range<usize>,
        scratch: *mut u8,
        shared: *mut u8,
    ) -> Status {
        debug_assert_eq!(buffers.len(), self.nest.graph.inputs.len() + self.nest.graph.outputs.len());
        let (first, last) = (range.start as i64, range.end as i64);
        // SAFETY: the entry lives as long as `self.code`, and was made with this table of constants; the rest is the
        // caller's promise.
        let constants = self.constants.as_ptr();
        Status(unsafe { (self.entry)(buffers.as_ptr(), first, last, scratch, constants, shared, round as i64) })
    }

    /// Where the machine code begins: for tools that look at memory, such as debuggers and profilers.
    pub fn code_address(&self) -> usize {
        self.entry as usize
    }

    /// The size of the machine code's function, in bytes.
    pub fn code_size(&self) -> usize {
        self.code.size
    }
}

/// The module that owns the code's memory. Cranelift's own drop leaks it, because a function pointer might be left
/// somewhere; here the only one is in the kernel that owns this.
pub(super) struct Code {
    /// Only there to be dropped: the lock is never taken while the code can run.
    module: Mutex<Option<JITModule>>,
    size: usize,
}

impl Code {
    pub(super) fn new(module: JITModule, size: usize) -> Self {
        Self { module: Mutex::new(Some(module)), size }
    }
}

impl Drop for Code {
    fn drop(&mut self) {
        let module = self.module.get_mut().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        if let Some(module) = module {
            // SAFETY: the kernel that owns this code is being dropped, and its entry is not handed out.
            unsafe { module.free_memory() };
        }
    }
}
