//! JIT: from a nest to machine code, by Cranelift. The only room that names Cranelift.
//!
//! The code trusts what [`nest::check`](crate::nest::check) has shown of the nest and what `runtime` has shown of the
//! buffers; what neither can know, indices computed from data, it checks itself.

mod compile;
mod constants;
#[cfg(all(feature = "inspect", target_arch = "x86_64"))]
mod disassemble;
mod emit;
mod folds;
#[cfg(any(feature = "gdb", test))]
mod gdb;
mod kernel;
mod listing;
mod memory;
mod native;
mod ops;
mod pairs;
mod perf;
mod source;
mod target;

pub use compile::{compile, symbol};
pub use kernel::{Kernel, Status};
pub use listing::{Instruction, assembly, clif, text};

use crate::ir::Dtype;
use crate::nest::Layout;

/// What machine code depends on beside the nest: the dtype of the computation, that of each input, and strides.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Binding {
    pub real: Dtype,
    pub inputs: Vec<Dtype>,
    pub layout: Layout,
}
