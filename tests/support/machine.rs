//! Runs a case as machine code, on buffers that lie in memory in every way that strides allow.

use super::Case;
use lossjit::Dtype;
use lossjit::ir::{AxisId, Kind};
use lossjit::jit::{Binding, compile};
use lossjit::nest::{Layout, Nest, expand, schedule};
use lossjit::oracle::graph::Buffer;
use ndarray::{ArrayD, Dimension, IxDyn};

/// Bytes before and behind every buffer that nobody may touch.
const FENCE: usize = 64;
const UNTOUCHED: u8 = 0xA5;

/// Strides with the axes in a random order in memory, and sometimes room between rows.
fn strides(random: &mut fastrand::Rng, shape: &[usize]) -> Vec<isize> {
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

/// A buffer in memory, between fences.
struct Memory {
    bytes: Vec<u8>,
    dtype: Dtype,
    shape: Vec<usize>,
    strides: Vec<isize>,
}

impl Memory {
    fn new(dtype: Dtype, shape: &[usize], strides: &[isize]) -> Self {
        let last: isize = shape.iter().zip(strides).map(|(&n, &s)| (n.max(1) as isize - 1) * s).sum();
        let bytes = vec![UNTOUCHED; (last as usize + 1) * dtype.size() + 2 * FENCE];
        Self { bytes, dtype, shape: shape.to_vec(), strides: strides.to_vec() }
    }

    fn places(&self) -> Vec<usize> {
        let offset = |index: ndarray::Dim<ndarray::IxDynImpl>| -> usize {
            let steps = index.slice().iter().zip(&self.strides).map(|(&i, &s)| i as isize * s);
            FENCE + steps.sum::<isize>() as usize * self.dtype.size()
        };
        ndarray::indices(IxDyn(&self.shape)).into_iter().map(offset).collect()
    }

    fn fill(&mut self, values: impl Iterator<Item = f64>) {
        for (place, value) in self.places().into_iter().zip(values) {
            let bytes = match self.dtype {
                Dtype::F32 => (value as f32).to_le_bytes().to_vec(),
                Dtype::F64 => value.to_le_bytes().to_vec(),
                Dtype::I32 => (value as i32).to_le_bytes().to_vec(),
                Dtype::I64 => (value as i64).to_le_bytes().to_vec(),
                Dtype::U8 => vec![value as u8],
                _ => (value as u32).to_le_bytes().to_vec(),
            };
            self.bytes[place..place + bytes.len()].copy_from_slice(&bytes);
        }
    }

    fn values(&self) -> ArrayD<f64> {
        let read = |place: usize| match self.dtype {
            Dtype::F32 => f64::from(f32::from_le_bytes(self.bytes[place..place + 4].try_into().unwrap())),
            _ => f64::from_le_bytes(self.bytes[place..place + 8].try_into().unwrap()),
        };
        ArrayD::from_shape_vec(IxDyn(&self.shape), self.places().into_iter().map(read).collect()).unwrap()
    }

    /// Whether anything but the elements was written.
    fn is_fenced(&self) -> bool {
        let mut touched = vec![false; self.bytes.len()];
        self.places().into_iter().for_each(|p| touched[p..p + self.dtype.size()].fill(true));
        self.bytes.iter().zip(touched).all(|(&byte, touched)| touched || byte == UNTOUCHED)
    }

    fn start(&mut self) -> *mut u8 {
        self.bytes[FENCE..].as_mut_ptr()
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
        let layout = Layout { inputs, outputs };
        let dtypes = case.graph.inputs.iter().zip(&case.inputs).map(|(input, values)| match values {
            _ if input.kind == Kind::Float => real,
            Buffer::Int(x) if x.iter().all(|v| (0..256).contains(v)) => Dtype::ALL[random.usize(0..6)],
            _ => Dtype::I64,
        });
        let binding = Binding { real, inputs: dtypes.collect(), layout: layout.clone() };
        let nest = schedule(&expand(&case.graph, &case.extents)?, &case.extents, &layout)?;
        Ok(Self { nest, binding })
    }

    /// The outputs, from memory in which nothing else was written.
    pub fn run(self, case: &Case) -> Result<Vec<ArrayD<f64>>, String> {
        let Self { nest, binding } = self;
        let text = nest.to_string();
        let shape = |axes: &[AxisId]| axes.iter().map(|a| case.extents[a.index()]).collect::<Vec<_>>();
        let mut memory: Vec<Memory> = vec![];
        for (place, (input, values)) in case.graph.inputs.iter().zip(&case.inputs).enumerate() {
            let mut buffer = Memory::new(binding.inputs[place], &shape(&input.axes), &binding.layout.inputs[place]);
            match values {
                Buffer::Float(x) => buffer.fill(x.iter().copied()),
                Buffer::Int(x) => buffer.fill(x.iter().map(|&i| i as f64)),
            }
            memory.push(buffer);
        }
        for (output, strides) in case.graph.outputs.iter().zip(&binding.layout.outputs) {
            memory.push(Memory::new(binding.real, &shape(&output.axes), strides));
        }
        let before: Vec<Vec<u8>> = memory.iter().map(|m| m.bytes.clone()).collect();
        let kernel = compile(nest, binding).map_err(|e| format!("{e}\n{text}"))?;
        let pointers: Vec<*mut u8> = memory.iter_mut().map(Memory::start).collect();
        let mut scratch = vec![0u64; kernel.scratch / 8 + 16];
        let start = scratch.as_mut_ptr().cast::<u8>();
        let start = start.wrapping_add(start.align_offset(64));
        let rows = kernel.nest.parallel_axis().map_or(0, |a| kernel.nest.extents[a.index()]);
        // SAFETY: the buffers are those that the kernel was compiled for, and the scratch is large enough.
        unsafe { kernel.run(&pointers, 0..rows, start) };
        let inputs = case.graph.inputs.len();
        if memory[..inputs].iter().zip(&before).any(|(m, b)| m.bytes != *b) {
            return Err(format!("an input was written\n{text}"));
        }
        if let Some(place) = memory[inputs..].iter().position(|m| !m.is_fenced()) {
            return Err(format!("output {place} was written outside\n{text}"));
        }
        Ok(memory[inputs..].iter().map(Memory::values).collect())
    }
}
