//! Calls: a compiled handle checks the buffers against its signature and runs its kernel, on several threads where
//! there is enough to do.

use super::bind::{Signature, find};
use super::pipeline::Stages;
use super::scratch::{with_scratch, with_shared};
use super::view::{Inputs, Real, View, ViewMut, no_memory};
use crate::error::{Error, Result};
use crate::ir::{AxisId, Dtype, Graph, Kind};
use crate::jit::{Kernel, Status};
use crate::nest::Step;
use crate::oracle::graph::{Buffer as Values, evaluate};
use crate::team;
use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

/// Less work than this, as [`Nest::work`](crate::nest::Nest::work) counts it, is not worth a thread: one to
/// five µs.
const GRAIN: usize = 1 << 17;
/// Pieces of a range for each thread.
const PIECES: usize = 8;

/// A loss compiled for certain inputs and results. Cheap to clone; may be called from many threads at once.
///
/// Once a thread has made its first call, its calls allocate nothing but to wake a thread that is to share the work; they take no
/// lock and look nothing up.
#[derive(Clone)]
pub struct Compiled(Arc<Program>);

struct Program {
    kernel: Kernel,
    signature: Signature,
    stages: Arc<Stages>,
    /// The half of the last stage that is compiled, where it is not all of it.
    half: Option<Graph>,
    extents: Vec<usize>,
    /// See [`Nest::rounds`](crate::nest::Nest::rounds).
    rounds: Box<[usize]>,
    /// See [`Nest::work`](crate::nest::Nest::work).
    work: usize,
    /// See [`Nest::parallel_unit`](crate::nest::Nest::parallel_unit).
    block: usize,
    /// Whether it has native kernels that share their rows among threads.
    shares: bool,
}

impl Compiled {
    pub(super) fn new(
        kernel: Kernel,
        signature: Signature,
        stages: Arc<Stages>,
        half: Option<Graph>,
        extents: Vec<usize>,
    ) -> Self {
        let (nest, work) = (&kernel.nest, kernel.nest.work());
        let rounds = nest.rounds().into();
        let block = nest.parallel_unit();
        let shares = nest.steps().iter().any(|(_, step)| matches!(step, Step::Pairs { .. }));
        Self(Arc::new(Program { kernel, signature, stages, half, extents, rounds, work, block, shares }))
    }

    /// The buffers it reads and writes.
    pub fn signature(&self) -> &Signature {
        &self.0.signature
    }

    /// Every graph on the way from the declaration.
    pub fn stages(&self) -> &Stages {
        &self.0.stages
    }

    /// By axis of the declaration.
    #[cfg(feature = "inspect")]
    pub(crate) fn extents(&self) -> &[usize] {
        &self.0.extents
    }

    /// The kernel with its nest.
    pub fn kernel(&self) -> &Kernel {
        &self.0.kernel
    }

    /// Runs on this thread and workers of rayon's current pool, as many together as the pool has. Outputs come in the
    /// signature's order.
    ///
    /// # Errors
    /// A buffer is missing, unknown, given twice, or not as the signature has it; a class number is not whole or
    /// outside its axis. On an error of the last kind the contents of the outputs are not specified.
    pub fn run(&self, inputs: &Inputs, outputs: &mut [ViewMut]) -> Result<()> {
        self.run_on(team::size(), inputs, outputs)
    }

    /// The same on at most so many threads. The results have the same bits for any number.
    pub fn run_on(&self, threads: usize, inputs: &Inputs, outputs: &mut [ViewMut]) -> Result<()> {
        let program = &*self.0;
        let buffers = program.signature.addresses(&program.stages.joint.name, inputs, outputs)?;
        let status = self.execute(threads, &buffers)?;
        if status.is_clean() { Ok(()) } else { self.explain(inputs, outputs) }
    }

    fn execute(&self, threads: usize, buffers: &[*mut u8]) -> Result<Status> {
        let program = &*self.0;
        let threads = threads.min(program.work / GRAIN);
        let threads = if threads > 1 { threads.min(team::size()) } else { 1 };
        if let [length] = program.rounds[..] {
            let call = Call { program, buffers, round: 0, shared: std::ptr::null_mut() };
            // Where the loops are not cut, native kernels may share their rows.
            let uncut = program.shares && length == 0 && threads > 1;
            return if uncut { team::lend(threads, || call.run(0..0)) } else { call.share(threads, length) };
        }
        let rounds = with_shared(program.kernel.shared, |shared| {
            program.rounds.iter().enumerate().try_fold(Status::default(), |status, (round, &length)| {
                let call = Call { program, buffers, round, shared };
                Ok(status.union(call.share(threads, length)?))
            })
        });
        rounds.ok_or_else(|| program.no_memory(program.kernel.shared))?
    }

    /// Words what was wrong with the data that a run stumbled over, by the interpreter.
    fn explain(&self, inputs: &Inputs, outputs: &mut [ViewMut]) -> Result<()> {
        // Where the interpreter finds nothing, the index belonged to a branch that was not taken.
        let inputs = self.0.signature.with_in_place(inputs, outputs);
        let graph = self.0.half.as_ref().unwrap_or(&self.0.stages.joint);
        interpret(graph, &self.0.extents, &inputs).map(|_| ())
    }
}

impl Program {
    fn no_memory(&self, bytes: usize) -> Error {
        let problem = format!("needs {bytes} bytes of scratch for each thread, more memory than there is");
        Error::Declaration { loss: self.kernel.nest.graph.name.clone(), problem }
    }
}

/// One round of a call, for its threads.
#[derive(Clone, Copy)]
struct Call<'a> {
    program: &'a Program,
    buffers: &'a [*mut u8],
    round: usize,
    shared: *mut u8,
}

// SAFETY: the threads of one round write different rows and different sums, and read what nobody writes.
unsafe impl Sync for Call<'_> {}

impl Call<'_> {
    /// Runs the whole range on so many threads. It is cut in several pieces for each, so that who has less to do, or comes
    /// late, is no reason to wait for long; but no piece is less than a block.
    fn share(&self, threads: usize, length: usize) -> Result<Status> {
        let blocks = length.div_ceil(self.program.block);
        let pieces = blocks.min(threads * PIECES);
        if threads <= 1 || pieces <= 1 {
            return self.run(0..length);
        }
        let start = |piece: usize| (blocks * piece / pieces * self.program.block).min(length);
        let (found, failed) = (AtomicU32::new(0), AtomicBool::new(false));
        team::share(threads, pieces, &|piece| match self.run(start(piece)..start(piece + 1)) {
            Ok(status) => _ = found.fetch_or(status.0, Relaxed),
            Err(_) => failed.store(true, Relaxed),
        });
        if failed.into_inner() {
            Err(self.program.no_memory(self.program.kernel.scratch))
        } else {
            Ok(Status(found.into_inner()))
        }
    }

    fn run(&self, range: Range<usize>) -> Result<Status> {
        let (kernel, buffers, round, shared) = (&self.program.kernel, self.buffers, self.round, self.shared);
        // SAFETY: `run_on` has compared every buffer's dtype, shape and strides with those that the kernel was compiled
        // for; views are borrows of memory that holds all their elements, outputs exclusively. The scratch is this
        // thread's own, the shared memory this call's; ranges do not overlap, and a round begins when the one before it
        // has ended.
        let status =
            with_scratch(kernel.scratch, |scratch| unsafe { kernel.run(buffers, round, range, scratch, shared) });
        status.ok_or_else(|| self.program.no_memory(kernel.scratch))
    }
}

/// More elements than this are not evaluated by the interpreter.
const INTERPRETED: usize = 1 << 31;

/// Evaluates a graph by the interpreter, on arrays in whatever shape they are given in.
pub(super) fn interpret(graph: &Graph, extents: &[usize], inputs: &Inputs) -> Result<Vec<ArrayD<f64>>> {
    let values = values_by_name(graph, extents, inputs)?;
    evaluate(graph, extents, &values).map_err(|error| match error {
        Error::Label { input, position: along, value, classes } => {
            let place = graph.find_input(&input).map(|i| row_major_place(&along, &graph.input(i).axes, extents));
            let shape = find(inputs, &input).map(|view| &view.shape);
            let position = place.zip(shape).map_or(along, |(place, shape)| position(place, shape));
            Error::Label { input, position, value, classes }
        }
        other => other,
    })
}

/// What the interpreter reads, from arrays in whatever shape they are given in.
pub(super) fn values_by_name(graph: &Graph, extents: &[usize], inputs: &Inputs) -> Result<Vec<Values>> {
    let mut values = vec![];
    for input in &graph.inputs {
        let view = find(inputs, &input.name).ok_or_else(|| Error::MissingInput {
            input: input.name.clone(),
            loss: graph.name.clone(),
            needed: input.name.clone(),
        })?;
        let shape: Vec<usize> = input.axes.iter().map(|a| extents[a.index()]).collect();
        if view.shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size)).is_none_or(|n| n > INTERPRETED) {
            return Err(no_memory(&input.name, &view.shape));
        }
        values.push(values_of(&input.name, input.kind, view, &shape)?);
    }
    Ok(values)
}

/// Which element this is in row-major order along the axes.
fn row_major_place(index: &[usize], axes: &[AxisId], extents: &[usize]) -> usize {
    index.iter().zip(axes).fold(0, |place, (&i, axis)| place * extents[axis.index()] + i)
}

fn values_of(name: &str, kind: Kind, view: &View, shape: &[usize]) -> Result<Values> {
    let fits = |e: ndarray::ShapeError| Error::internal("bind", e.to_string());
    Ok(match kind {
        Kind::Float => Values::Float(ArrayD::from_shape_vec(IxDyn(shape), view.to_f64()).map_err(fits)?),
        _ => {
            let whole = view.to_i64().map_err(|(place, value)| Error::Fraction {
                input: name.to_string(),
                position: position(place, &view.shape),
                value: value.to_string(),
            })?;
            Values::Int(ArrayD::from_shape_vec(IxDyn(shape), whole).map_err(fits)?)
        }
    })
}

/// The index of an element that is the so-manyth in row-major order.
fn position(place: usize, shape: &[usize]) -> Vec<usize> {
    let mut left = place;
    let mut index: Vec<usize> = shape
        .iter()
        .rev()
        .map(|&size| {
            let along = left % size.max(1);
            left /= size.max(1);
            along
        })
        .collect();
    index.reverse();
    index
}

/// Writes an interpreter's result to an output.
pub(super) fn write(values: &ArrayD<f64>, output: &mut ViewMut) -> Result<()> {
    let count: usize = output.shape.iter().product();
    if count != values.len() {
        return Err(Error::internal("bind", "a result has another number of elements"));
    }
    for (place, &value) in values.iter().enumerate() {
        let index = position(place, &output.shape);
        let offset: isize = index.iter().zip(&output.strides).map(|(&i, &s)| i as isize * s).sum();
        // SAFETY: the view's maker has shown that every index within its shape lies in the memory it borrows.
        unsafe {
            match output.dtype {
                Dtype::F32 => *output.start.cast::<f32>().offset(offset) = value as f32,
                Dtype::F64 => *output.start.cast::<f64>().offset(offset) = value,
                Dtype::Bf16 => *output.start.cast::<bf16>().offset(offset) = Real::from_f64(value),
                Dtype::F16 => *output.start.cast::<f16>().offset(offset) = Real::from_f64(value),
                other => {
                    return Err(Error::Dtype { input: "out".into(), found: other.name(), expected: "a float".into() });
                }
            }
        }
    }
    Ok(())
}
