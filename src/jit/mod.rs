//! JIT: from a nest to machine code, by Cranelift. The only room that names Cranelift.
//!
//! The code trusts what [`nest::check`](crate::nest::check) has shown of the nest and what `runtime` has shown of the
//! buffers; what neither can know, indices computed from data, it checks itself.

mod calls;
mod compile;
mod constants;
#[cfg(all(feature = "inspect", target_arch = "x86_64"))]
mod disassemble;
mod emit;
mod flat;
mod folds;
#[cfg(any(feature = "gdb", test))]
mod gdb;
mod half;
mod kernel;
mod lanes;
mod listing;
mod memory;
mod native;
mod ops;
mod pairs;
mod parts;
mod perf;
mod rows;
mod slots;
mod source;
mod target;
mod vector;

pub use compile::{compile, symbol};
pub use kernel::{Kernel, Status};
pub use listing::{Instruction, assembly, clif, text};

use crate::ir::{AxisId, Dtype, Kind};
use crate::nest::{Layout, Nest, Place};

/// What machine code depends on beside the nest: the dtype that the loss is computed in, that of each input, and strides.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Binding {
    pub real: Dtype,
    /// Whether the arithmetic of a small problem is in f64, and its results are rounded once.
    pub widen: bool,
    pub inputs: Vec<Dtype>,
    pub layout: Layout,
}

impl Binding {
    /// The dtype that a nest's arithmetic is done in: that of the loss, or f64 where the problem is small.
    pub fn arithmetic(&self, nest: &Nest) -> Dtype {
        let in_buffers = nest.slots.iter().any(|slot| matches!(slot.place, Place::Output(_)));
        let wide = self.widen && nest.is_small() && !in_buffers && !pairs::has_pairs(&nest.body);
        if wide { Dtype::F64 } else { self.real }
    }

    /// Bytes of all buffers.
    fn bytes(&self, nest: &Nest) -> usize {
        let count = |axes: &[AxisId]| axes.iter().fold(1usize, |n, a| n.saturating_mul(nest.extents[a.index()]));
        let inputs = nest.graph.inputs.iter().zip(&self.inputs).map(|(i, dtype)| (count(&i.axes), dtype.size()));
        let outputs = nest.graph.outputs.iter().enumerate().map(|(o, out)| (count(&out.axes), self.output(o).size()));
        inputs.chain(outputs).fold(0, |sum, (count, size)| sum.saturating_add(count.saturating_mul(size)))
    }

    /// How an output's elements are stored.
    pub fn output(&self, output: usize) -> Dtype {
        let narrow = self.layout.narrow.iter().find(|(narrow, _)| *narrow == output);
        narrow.map_or(self.real, |(_, dtype)| *dtype)
    }

    /// Floating inputs that are stored in fewer bits than arithmetic takes.
    fn has_narrow_inputs(&self, nest: &Nest) -> bool {
        let real = self.arithmetic(nest);
        let mut inputs = nest.graph.inputs.iter().zip(&self.inputs);
        inputs.any(|(input, dtype)| input.kind == Kind::Float && *dtype != real)
    }
}
