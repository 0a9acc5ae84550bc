//! Runs a case as machine code, on buffers that lie in memory in every way that strides allow, between pages that
//! nobody may touch.

use super::Case;
use super::guard::{Flush, Guarded, running};
use lossjit::Dtype;
use lossjit::ir::{AxisId, Kind};
use lossjit::jit::{Binding, Kernel, Status, compile};
use lossjit::nest::{Layout, Nest, Step, split};
use lossjit::oracle::graph::Buffer;
use lossjit::runtime::pipeline;
use ndarray::{ArrayD, IxDyn};

/// Strides with the axes in a random order in memory, and sometimes room between rows.
pub fn strides(random: &mut fastrand::Rng, shape: &[usize]) -> Vec<isize> {
    let mut order: Vec<usize> = (0..shape.len()).collect();
    if random.bool() {
        random.shuffle(&mut order);
    }
    let mut strides = vec![0isize; shape.len()];
    let mut step = if random.u8(0..6) == 0 { 2 } else { 1 };
    for &axis in order.iter().rev() {
        strides[axis] = step;
        step *= shape[axis].max(1) as isize;
        if random.u8(0..5) == 0 {
            step += random.isize(1..4);
        }
    }
    strides
}

/// Blocks of three, so that few rows have several and the last is not whole.
fn smaller_blocks(body: &mut [Step]) {
    for step in body {
        if let Step::Block { size, .. } = step {
            *size = (*size).min(3);
        } else if let Step::Loop { body, .. } = step {
            smaller_blocks(body);
        }
    }
}

/// A case with its buffers laid out, scheduled for that layout.
pub struct Machine {
    pub nest: Nest,
    binding: Binding,
}

impl Machine {
    pub fn new(case: &Case, real: Dtype, seed: u64) -> lossjit::Result<Self> {
        let mut random = fastrand::Rng::with_seed(seed);
        let shape = |axes: &[AxisId]| axes.iter().map(|a| case.extents[a.index()]).collect::<Vec<_>>();
        let inputs = case.graph.inputs.iter().map(|i| strides(&mut random, &shape(&i.axes))).collect();
        let outputs = case.graph.outputs.iter().map(|o| strides(&mut random, &shape(&o.axes))).collect();
        let layout = Layout { inputs, outputs, in_place: vec![], narrow: vec![] };
        let dtypes = case.graph.inputs.iter().zip(&case.inputs).map(|(input, values)| match values {
            _ if input.kind == Kind::Float => real,
            Buffer::Int(x) if x.iter().all(|v| (0..256).contains(v)) => Dtype::ALL[random.usize(0..6)],
            _ => Dtype::I64,
        });
        let binding = Binding { real, widen: seed % 2 == 1, inputs: dtypes.collect(), layout: layout.clone() };
        let mut nest = pipeline::nest(&case.graph, &case.extents, &layout)?;
        if seed % 3 == 1 {
            smaller_blocks(&mut nest.body);
        }
        Ok(Self { nest, binding })
    }

    /// The same in parts, where it has loops that can be.
    pub fn in_parts(self) -> Option<Self> {
        let nest = split(&self.nest, &self.binding.layout, 0)?;
        Some(Self { nest, ..self })
    }

    /// The outputs, from memory in which nothing else was written.
    pub fn run(self, case: &Case) -> Result<Vec<ArrayD<f64>>, String> {
        self.run_on(case).map(|(_, outputs)| outputs)
    }

    /// The same with what the run found in the data.
    pub fn run_on(self, case: &Case) -> Result<(Status, Vec<ArrayD<f64>>), String> {
        let Self { nest, binding } = self;
        let text = nest.to_string();
        let flush = if text.len().is_multiple_of(3) { Flush::Start } else { Flush::End };
        let shape = |axes: &[AxisId]| axes.iter().map(|a| case.extents[a.index()]).collect::<Vec<_>>();
        let mut memory: Vec<Guarded> = vec![];
        for (place, (input, values)) in case.graph.inputs.iter().zip(&case.inputs).enumerate() {
            let strides = &binding.layout.inputs[place];
            let mut buffer = Guarded::new(binding.inputs[place], &shape(&input.axes), strides, flush);
            match values {
                Buffer::Float(x) => buffer.fill(&x.iter().copied().collect::<Vec<_>>()),
                Buffer::Int(x) => buffer.fill(&x.iter().map(|&i| i as f64).collect::<Vec<_>>()),
            }
            buffer.read_only();
            memory.push(buffer);
        }
        for (output, strides) in case.graph.outputs.iter().zip(&binding.layout.outputs) {
            memory.push(Guarded::new(binding.real, &shape(&output.axes), strides, flush));
        }
        let kernel = compile(nest, binding).map_err(|e| format!("{e}\n{text}"))?;
        running(format!("{case}{text}"));
        let status = run_guarded(&kernel, &mut memory);
        let outputs = &memory[case.graph.inputs.len()..];
        if let Some(place) = outputs.iter().position(|m| !m.is_untouched_elsewhere()) {
            return Err(format!("output {place} was written outside\n{text}"));
        }
        let array = |m: &Guarded| ArrayD::from_shape_vec(IxDyn(&m.shape), m.values()).unwrap();
        Ok((status, outputs.iter().map(array).collect()))
    }
}

/// Runs a kernel on all its rows, with scratch and shared memory that end where a forbidden page begins.
pub fn run_guarded(kernel: &Kernel, memory: &mut [Guarded]) -> Status {
    let mut scratch = Guarded::new(Dtype::U8, &[kernel.scratch.next_multiple_of(64)], &[1], Flush::End);
    let pointers: Vec<*mut u8> = memory.iter_mut().map(Guarded::start).collect();
    let mut shared = Guarded::new(Dtype::U8, &[kernel.shared.next_multiple_of(64)], &[1], Flush::End);
    kernel.nest.rounds().into_iter().enumerate().fold(Status::default(), |status, (round, length)| {
        // SAFETY: the buffers are what the kernel was compiled for, and the scratch is what it asks for.
        status.union(unsafe { kernel.run(&pointers, round, 0..length, scratch.start(), shared.start()) })
    })
}
