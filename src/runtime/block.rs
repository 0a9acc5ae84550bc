//! A block: a loss that can be evaluated, by the interpreter or, once hybridized, as machine code.

use super::bind::{Signature, specs};
use super::cache::Cache;
pub use super::cache::CacheStatistics;
use super::call::{Compiled, interpret, write};
use super::pipeline::{self, Stages};
use super::view::{Inputs, Real, View, ViewMut, zeros};
use crate::error::{Error, Result};
use crate::grad::{HEAD, Wanted, differentiable};
use crate::ir::Graph;
use crate::losses::Loss;
use crate::trace::{Spec, Trace};
use ndarray::{ArrayD, IxDyn};
use smallvec::SmallVec;
use std::sync::{Arc, Mutex, MutexGuard};

/// Programs that a block keeps unless told otherwise.
const CAPACITY: usize = 64;

/// A loss that can be evaluated. New blocks are imperative: the interpreter evaluates the graph, in f64, with nothing
/// compiled. [`hybridize`](Self::hybridize) makes them compile: once for every set of shapes, dtypes and strides.
///
/// Clones share what has been compiled, and may be used from many threads at once.
pub struct HybridBlock<L> {
    loss: Arc<L>,
    hybrid: bool,
    threads: Option<usize>,
    cache: Arc<Mutex<Cache>>,
}

impl<L> Clone for HybridBlock<L> {
    fn clone(&self) -> Self {
        Self { loss: self.loss.clone(), hybrid: self.hybrid, threads: self.threads, cache: self.cache.clone() }
    }
}

/// Gradients by the names of their inputs.
pub type Gradients<T> = Vec<(String, ArrayD<T>)>;

/// A loss and its gradients.
#[derive(Clone, PartialEq, Debug)]
pub struct ValueAndGrad<T> {
    pub value: ArrayD<T>,
    /// In the order in which they were asked for.
    pub grads: Gradients<T>,
}

impl<T> ValueAndGrad<T> {
    /// The gradient with respect to an input, where it was asked for.
    pub fn grad(&self, input: &str) -> Option<&ArrayD<T>> {
        self.grads.iter().find(|(name, _)| name == input).map(|(_, grad)| grad)
    }
}

/// What evaluates a loss for certain buffers.
#[derive(Clone)]
pub(super) enum Program {
    Compiled(Compiled),
    Interpreted(Arc<Interpreted>),
}

pub(super) struct Interpreted {
    joint: Graph,
    extents: Vec<usize>,
    signature: Signature,
}

impl Program {
    pub(super) fn signature(&self) -> &Signature {
        match self {
            Program::Compiled(compiled) => compiled.signature(),
            Program::Interpreted(interpreted) => &interpreted.signature,
        }
    }

    fn run(&self, threads: Option<usize>, inputs: &Inputs, outputs: &mut [ViewMut]) -> Result<()> {
        match self {
            Program::Compiled(compiled) => match threads {
                Some(threads) => compiled.run_on(threads, inputs, outputs),
                None => compiled.run(inputs, outputs),
            },
            Program::Interpreted(program) => {
                let results = interpret(&program.joint, &program.extents, inputs)?;
                outputs.iter_mut().zip(&results).try_for_each(|(output, result)| write(result, output))
            }
        }
    }
}

impl<L: Loss> HybridBlock<L> {
    /// An imperative block.
    pub fn new(loss: L) -> Self {
        let cache = Arc::new(Mutex::new(Cache::new(CAPACITY)));
        Self { loss: Arc::new(loss), hybrid: false, threads: None, cache }
    }

    /// The block with compilation switched on.
    pub fn hybridize(mut self) -> Self {
        self.hybrid = true;
        self.cache = Arc::new(Mutex::new(Cache::new(CAPACITY)));
        self
    }

    /// The block with a limit of threads per call; otherwise a call uses rayon's current pool. Results have the same
    /// bits for any number.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads.max(1));
        self
    }

    /// The block with room for so many programs.
    pub fn cache_capacity(mut self, programs: usize) -> Self {
        self.cache = Arc::new(Mutex::new(Cache::new(programs)));
        self
    }

    pub fn loss(&self) -> &L {
        &self.loss
    }

    pub fn cache_statistics(&self) -> CacheStatistics {
        self.lock().statistics()
    }

    /// The handles that the cache holds, the one used last at the end: to be looked at, or kept.
    pub fn cached(&self) -> Vec<Compiled> {
        let compiled = |program: &Program| match program {
            Program::Compiled(compiled) => Some(compiled.clone()),
            Program::Interpreted(_) => None,
        };
        self.lock().programs().filter_map(compiled).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        // Nothing panics while it holds the lock; what a panic elsewhere left is whole.
        self.cache.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// The declared graph for inputs of these shapes.
    pub fn trace(&self, given: &[Spec]) -> Result<Trace> {
        pipeline::trace(&*self.loss, given)
    }

    /// Every graph from the declaration to what is compiled.
    pub fn stages(&self, given: &[Spec], wanted: &Wanted) -> Result<Stages> {
        pipeline::graphs(&self.trace(given)?.graph, wanted)
    }

    /// The inputs that have gradients.
    pub fn differentiable(&self, given: &[Spec]) -> Result<Vec<String>> {
        differentiable(&self.trace(given)?.graph)
    }

    /// The loss.
    ///
    /// # Errors
    /// An input is missing, unknown or of a wrong shape or dtype, `T` is not the dtype of the inputs, or a class number
    /// is out of range.
    pub fn forward<T: Real>(&self, inputs: &Inputs) -> Result<ArrayD<T>> {
        Ok(self.evaluate(&Wanted::value(), inputs)?.value)
    }

    /// The loss, and the gradients of its sum with respect to the inputs named.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); besides, an input that has no gradient.
    pub fn value_and_grad<T: Real>(&self, inputs: &Inputs, wrt: &[&str]) -> Result<ValueAndGrad<T>> {
        self.evaluate(&Wanted::value_and_grad(wrt), inputs)
    }

    /// The loss, and the gradients of `Σ loss · head`.
    ///
    /// # Errors
    /// As [`value_and_grad`](Self::value_and_grad); besides, `head` is not of the loss's shape.
    pub fn value_and_grad_with_head<T: Real>(
        &self,
        inputs: &Inputs,
        head: View,
        wrt: &[&str],
    ) -> Result<ValueAndGrad<T>> {
        let wanted = Wanted { head: true, ..Wanted::value_and_grad(wrt) };
        self.evaluate(&wanted, &with_head(inputs, head)?)
    }

    /// The gradients of `Σ loss · head`, without the loss.
    ///
    /// # Errors
    /// As [`value_and_grad_with_head`](Self::value_and_grad_with_head).
    pub fn backward<T: Real>(&self, inputs: &Inputs, head: View, wrt: &[&str]) -> Result<Gradients<T>> {
        let wanted = Wanted { value: false, head: true, ..Wanted::value_and_grad(wrt) };
        Ok(self.evaluate(&wanted, &with_head(inputs, head)?)?.grads)
    }

    /// [`forward`](Self::forward) into a buffer. Once compiled, nothing is allocated.
    pub fn forward_into(&self, inputs: &Inputs, out: ViewMut) -> Result<()> {
        let wanted = |w: &Wanted| w.value && w.wrt.is_empty() && !w.head;
        self.run(&wanted, &Wanted::value, inputs, &mut [out])
    }

    /// [`value_and_grad`](Self::value_and_grad) into buffers; gradients by the names of their inputs. Once compiled,
    /// nothing is allocated.
    pub fn value_and_grad_into<'v, const N: usize>(
        &self,
        inputs: &Inputs,
        out: ViewMut<'v>,
        grads: [(&str, ViewMut<'v>); N],
    ) -> Result<()> {
        self.run_into(inputs, Some(out), grads, false)
    }

    /// [`backward`](Self::backward) into buffers; gradients by the names of their inputs. Once compiled, nothing is
    /// allocated.
    pub fn backward_into<'v, const N: usize>(
        &self,
        inputs: &Inputs,
        head: View,
        grads: [(&str, ViewMut<'v>); N],
    ) -> Result<()> {
        self.run_into(&with_head(inputs, head)?, None, grads, true)
    }

    fn run_into<'v, const N: usize>(
        &self,
        inputs: &Inputs,
        out: Option<ViewMut<'v>>,
        grads: [(&str, ViewMut<'v>); N],
        head: bool,
    ) -> Result<()> {
        let names = grads.each_ref().map(|(name, _)| *name);
        let value = out.is_some();
        let mut outputs: SmallVec<[ViewMut; 4]> = out.into_iter().collect();
        outputs.extend(grads.into_iter().map(|(_, view)| view));
        let is_wanted = |w: &Wanted| w.value == value && w.head == head && w.wrt == names;
        let wanted = || Wanted { value, head, ..Wanted::value_and_grad(&names) };
        self.run(&is_wanted, &wanted, inputs, &mut outputs)
    }

    /// The program for these inputs and results, as a handle to keep: for callers who call often.
    ///
    /// The inputs' contents do not matter, only their shapes, dtypes and strides; results are row-major.
    pub fn compile(&self, inputs: &Inputs, wanted: &Wanted) -> Result<Compiled> {
        let (trace, stages) = self.prepare(inputs, wanted)?;
        let signature = Signature::new(&trace, &stages.joint, inputs, &[])?;
        compile(trace, stages, signature)
    }

    fn evaluate<T: Real>(&self, wanted: &Wanted, inputs: &Inputs) -> Result<ValueAndGrad<T>> {
        let program = self.program(&|w| w == wanted, &|| wanted.clone(), inputs, &[])?;
        let buffers = &program.signature().outputs;
        if let Some(buffer) = buffers.iter().find(|b| b.dtype != T::DTYPE) {
            let expected = format!("{}, the dtype of the inputs,", buffer.dtype);
            return Err(Error::Dtype { input: "result".into(), found: T::DTYPE.name(), expected });
        }
        let mut results = buffers.iter().map(|b| zeros(&b.name, &b.shape)).collect::<Result<Vec<ArrayD<T>>>>()?;
        let mut outputs: Vec<ViewMut> = results.iter_mut().map(ViewMut::from).collect();
        program.run(self.threads, inputs, &mut outputs)?;
        let mut results = results.into_iter();
        let value = if wanted.value { results.next() } else { None };
        let grads = wanted.wrt.iter().cloned().zip(results).collect();
        Ok(ValueAndGrad { value: value.unwrap_or_else(|| ArrayD::default(IxDyn(&[0]))), grads })
    }

    fn run(
        &self,
        is_wanted: &dyn Fn(&Wanted) -> bool,
        wanted: &dyn Fn() -> Wanted,
        inputs: &Inputs,
        outputs: &mut [ViewMut],
    ) -> Result<()> {
        self.program(is_wanted, wanted, inputs, outputs)?.run(self.threads, inputs, outputs)
    }

    /// The program for these buffers: from the cache, or made and put there.
    fn program(
        &self,
        is_wanted: &dyn Fn(&Wanted) -> bool,
        wanted: &dyn Fn() -> Wanted,
        inputs: &Inputs,
        outputs: &[ViewMut],
    ) -> Result<Program> {
        if let Some(program) = self.lock().find(is_wanted, inputs, outputs) {
            return Ok(program);
        }
        // Made outside the lock: two threads may make the same one, and neither waits for the other.
        let wanted = wanted();
        let (trace, stages) = self.prepare(inputs, &wanted)?;
        let signature = Signature::new(&trace, &stages.joint, inputs, outputs)?;
        let program = if self.hybrid {
            Program::Compiled(compile(trace, stages, signature)?)
        } else {
            let (joint, extents) = (stages.joint.clone(), trace.extents);
            Program::Interpreted(Arc::new(Interpreted { joint, extents, signature }))
        };
        self.lock().insert(wanted, program.clone());
        Ok(program)
    }

    fn prepare(&self, inputs: &Inputs, wanted: &Wanted) -> Result<(Trace, Arc<Stages>)> {
        let given: Vec<Spec> = specs(inputs).into_iter().filter(|s| !(wanted.head && s.name == HEAD)).collect();
        let trace = self.trace(&given)?;
        let known = self.lock().stages(&trace.graph, wanted);
        if let Some(stages) = known {
            return Ok((trace, stages));
        }
        let stages = Arc::new(pipeline::graphs(&trace.graph, wanted)?);
        self.lock().insert_stages(wanted.clone(), stages.clone());
        Ok((trace, stages))
    }
}

fn compile(trace: Trace, stages: Arc<Stages>, signature: Signature) -> Result<Compiled> {
    let binding = signature.binding(&trace, &stages.joint)?;
    let kernel = pipeline::kernel(&stages.joint, &trace.extents, binding)?;
    Ok(Compiled::new(kernel, signature, stages, trace.extents))
}

impl Compiled {
    /// A loss compiled for row-major arrays of these dtypes and shapes, none of which need exist yet.
    ///
    /// # Errors
    /// The inputs do not suit the loss, or one asked for has no gradient.
    pub fn for_specs(loss: &dyn Loss, given: &[Spec], wanted: &Wanted) -> Result<Self> {
        let fits = |spec: &Spec| {
            let bytes = spec.shape.iter().try_fold(spec.dtype.size(), |bytes, &size| bytes.checked_mul(size));
            bytes.is_some_and(|bytes| isize::try_from(bytes).is_ok())
        };
        if let Some(spec) = given.iter().find(|spec| !fits(spec)) {
            let problem = "has more elements than memory can hold".to_string();
            return Err(Error::Shape { input: spec.name.clone(), found: spec.shape.clone(), problem });
        }
        let trace = pipeline::trace(loss, given)?;
        let stages = Arc::new(pipeline::graphs(&trace.graph, wanted)?);
        let signature = Signature::row_major(&trace, &stages.joint);
        compile(trace, stages, signature)
    }
}

/// The inputs with the head gradient behind them.
fn with_head<'a>(inputs: &Inputs<'a>, head: View<'a>) -> Result<SmallVec<[(&'a str, View<'a>); 8]>> {
    if inputs.iter().any(|(name, _)| *name == HEAD) {
        return Err(Error::DuplicateInput { input: HEAD.into() });
    }
    let mut all: SmallVec<[(&'a str, View<'a>); 8]> = inputs.iter().cloned().collect();
    all.push((HEAD, head));
    Ok(all)
}
