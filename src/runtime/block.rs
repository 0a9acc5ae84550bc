//! A block: a loss that can be evaluated, by the interpreter or, once hybridized, as machine code.

use super::bind::{Buffer, Signature, specs};
use super::cache::{Cache, Key};
pub use super::cache::{CacheStatistics, Difference, Miss};
use super::call::Compiled;
use super::pipeline::{self, Stages};
use super::program::{Program, compile};
use super::view::{Inputs, Real, View, ViewMut, zeros};
use super::vjp::{Backward, Pullback, Vjp, wrong_dtype};
use crate::error::{Error, Result};
use crate::grad::{HEAD, Wanted, differentiable};
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
    cache: Arc<Mutex<Caches>>,
}

/// The programs of a block.
struct Caches {
    whole: Cache<Wanted, Program>,
    vjps: Cache<(Vec<String>, Backward), Vjp>,
    last_miss: Option<Miss>,
}

impl Caches {
    fn insert(&mut self, key: Key<Wanted>, program: Program) {
        self.last_miss = Some(self.whole.insert(key, program));
    }

    fn insert_vjp(&mut self, key: Key<(Vec<String>, Backward)>, vjp: Vjp) {
        self.last_miss = Some(self.vjps.insert(key, vjp));
    }

    fn new(capacity: usize) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self { whole: Cache::new(capacity), vjps: Cache::new(capacity), last_miss: None }))
    }
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

impl<L: Loss> HybridBlock<L> {
    /// An imperative block.
    pub fn new(loss: L) -> Self {
        let cache = Caches::new(CAPACITY);
        Self { loss: Arc::new(loss), hybrid: false, threads: None, cache }
    }

    /// The block with compilation switched on.
    pub fn hybridize(mut self) -> Self {
        self.hybrid = true;
        self.cache = Caches::new(CAPACITY);
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
        self.cache = Caches::new(programs);
        self
    }

    pub fn loss(&self) -> &L {
        &self.loss
    }

    pub fn cache_statistics(&self) -> CacheStatistics {
        let caches = self.lock();
        caches.whole.statistics().plus(caches.vjps.statistics())
    }

    /// The handles that the cache holds, the one used last at the end: to be looked at, or kept.
    pub fn cached(&self) -> Vec<Compiled> {
        let compiled = |program: &Program| match program {
            Program::Compiled(compiled) => Some(compiled.clone()),
            Program::Interpreted(_) => None,
        };
        self.lock().whole.programs().filter_map(compiled).collect()
    }

    /// Why the last program that was not there had to be made: where calls compile again and again, what changes.
    ///
    /// ```
    /// use lossjit::{HybridBlock, inputs, losses::L1Loss};
    /// use ndarray::Array2;
    ///
    /// let block = HybridBlock::new(L1Loss::new()).hybridize();
    /// for rows in [64, 64, 17] {
    ///     let (pred, label) = (Array2::<f32>::zeros((rows, 10)), Array2::<f32>::zeros((rows, 10)));
    ///     block.forward::<f32>(&inputs! { pred: &pred, label: &label })?;
    /// }
    /// let miss = block.last_miss().unwrap();
    /// assert_eq!(miss.differences[0].field, "pred.shape");
    /// assert!(miss.to_string().starts_with("pred.shape is [17, 10], in the nearest program [64, 10]; "));
    /// assert_eq!((block.cache_statistics().misses, block.cache_statistics().hits), (2, 1));
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    pub fn last_miss(&self) -> Option<Miss> {
        self.lock().last_miss.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Caches> {
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
        let wanted = Wanted::value_and_grad(wrt).with_head();
        self.evaluate(&wanted, &with_head(inputs, head)?)
    }

    /// The gradients of `Σ loss · head`, without the loss.
    ///
    /// # Errors
    /// As [`value_and_grad_with_head`](Self::value_and_grad_with_head).
    pub fn backward<T: Real>(&self, inputs: &Inputs, head: View, wrt: &[&str]) -> Result<Gradients<T>> {
        let wanted = Wanted::backward(wrt);
        Ok(self.evaluate(&wanted, &with_head(inputs, head)?)?.grads)
    }

    /// The loss now, and its gradients later, once the head gradient is known. `T` is the dtype of the inputs; where it has
    /// 16 bits, the loss and its head are f32.
    ///
    /// ```
    /// use lossjit::{Backward, HybridBlock, View, inputs, losses::SoftmaxCrossEntropyLoss};
    /// use ndarray::array;
    ///
    /// let (pred, label) = (array![[2.0f32, 1.0, -1.0], [0.0, 1e4, 0.0]], array![0i32, 1]);
    /// let inputs = inputs! { pred: &pred, label: &label };
    /// let loss = HybridBlock::new(SoftmaxCrossEntropyLoss::new()).hybridize();
    ///
    /// let (value, pullback) = loss.vjp::<f32>(&inputs, &["pred"], Backward::Recomputed)?;
    /// let head = value.mapv(|loss| 1.0 / (1.0 + loss)); // d Σ log(1 + loss) / d loss
    /// let grads = pullback.backward(&inputs, Some(View::from(&head)))?;
    /// assert_eq!(grads[0].0, "pred");
    /// assert_eq!(pullback.backward(&inputs, Some(View::from(&head)))?, grads);
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`value_and_grad`](Self::value_and_grad).
    pub fn vjp<T: Real>(
        &self,
        inputs: &Inputs,
        wrt: &[&str],
        backward: Backward,
    ) -> Result<(ArrayD<T::Computed>, Pullback<T>)> {
        Pullback::new(self.passes(inputs, wrt, backward)?, inputs)
    }

    /// The forward and the backward pass for these inputs, compiled now or remembered. Their contents do not matter.
    ///
    /// # Errors
    /// As [`compile_vjp`](Self::compile_vjp).
    pub fn passes(&self, inputs: &Inputs, wrt: &[&str], backward: Backward) -> Result<Vjp> {
        let is_wanted = |(known, b): &(Vec<String>, Backward)| *b == backward && known == wrt;
        let known = self.lock().vjps.find(&is_wanted, inputs, &[]);
        if let Some(vjp) = known {
            // Clones of a block share what is compiled, but each has its own limit of threads.
            return Ok(vjp.threads(self.threads));
        }
        let vjp = self.compile_vjp(&Buffer::of(inputs), wrt, backward)?;
        let wanted = (wrt.iter().map(|s| s.to_string()).collect(), backward);
        let key = Key { wanted, inputs: Buffer::of(inputs), outputs: vec![] };
        self.lock().insert_vjp(key, vjp.clone());
        Ok(vjp)
    }

    /// [`forward`](Self::forward) into a buffer. Once compiled, nothing is allocated.
    pub fn forward_into(&self, inputs: &Inputs, out: ViewMut) -> Result<()> {
        self.run_into(Asked { value: true, head: false, wrt: &[], in_place: &[] }, inputs, &mut [out])
    }

    /// [`value_and_grad`](Self::value_and_grad) into buffers; gradients by the names of their inputs. Once compiled,
    /// nothing is allocated.
    pub fn value_and_grad_into<'v>(
        &self,
        inputs: &Inputs,
        out: ViewMut<'v>,
        grads: impl IntoIterator<Item = (&'v str, ViewMut<'v>)>,
    ) -> Result<()> {
        let (names, outputs) = named(Some(out), grads);
        self.run_into(Asked { value: true, head: false, wrt: &names, in_place: &[] }, inputs, &mut { outputs })
    }

    /// [`backward`](Self::backward) into buffers; gradients by the names of their inputs. Once compiled, nothing is
    /// allocated.
    pub fn backward_into<'v>(
        &self,
        inputs: &Inputs,
        head: View,
        grads: impl IntoIterator<Item = (&'v str, ViewMut<'v>)>,
    ) -> Result<()> {
        let (names, outputs) = named(None, grads);
        let inputs = with_head(inputs, head)?;
        self.run_into(Asked { value: false, head: true, wrt: &names, in_place: &[] }, &inputs, &mut { outputs })
    }

    /// [`value_and_grad`](Self::value_and_grad) with each gradient written over its input: what is in `over` is read as
    /// the input of its name, which `inputs` does not have, and left as the gradient. Saves the memory of the gradients.
    ///
    /// ```
    /// use lossjit::{HybridBlock, ViewMut, inputs, losses::SoftmaxCrossEntropyLoss};
    /// use ndarray::array;
    ///
    /// let mut logits = array![[0.0f32, 0.0], [3f32.ln(), 0.0]];
    /// let label = array![0i32, 1];
    /// let mut out = [0f32; 2];
    /// let loss = HybridBlock::new(SoftmaxCrossEntropyLoss::new()).hybridize();
    /// let over = [("pred", ViewMut::from(&mut logits))];
    /// loss.value_and_grad_in_place(&inputs! { label: &label }, ViewMut::new(&mut out, &[2])?, over)?;
    /// assert!((out[1] - 4f32.ln()).abs() < 1e-6);
    /// assert!((logits[[1, 0]] - 0.75).abs() < 1e-6);
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`value_and_grad`](Self::value_and_grad); besides, a loss whose loops need an element of the input once more
    /// after its gradient's place is written. On an error in the data, such as a class number out of range, the
    /// contents of `over` are not specified.
    pub fn value_and_grad_in_place<'v>(
        &self,
        inputs: &Inputs,
        out: ViewMut<'v>,
        over: impl IntoIterator<Item = (&'v str, ViewMut<'v>)>,
    ) -> Result<()> {
        let (names, outputs) = named(Some(out), over);
        self.run_into(Asked { value: true, head: false, wrt: &names, in_place: &names }, inputs, &mut { outputs })
    }

    /// The program for these inputs and results, as a handle to keep: for callers who call often.
    ///
    /// The inputs' contents do not matter, only their shapes, dtypes and strides; results are row-major.
    ///
    /// # Errors
    /// As [`value_and_grad`](Self::value_and_grad), but for what depends on the inputs' contents.
    pub fn compile(&self, inputs: &Inputs, wanted: &Wanted) -> Result<Compiled> {
        self.compile_for(&Buffer::of(inputs), wanted)
    }

    /// [`compile`](Self::compile) for inputs that are not there yet. A head gradient that is not among them is
    /// row-major.
    pub fn compile_for(&self, inputs: &[Buffer], wanted: &Wanted) -> Result<Compiled> {
        let (trace, stages) = self.prepare(inputs, wanted)?;
        let signature = Signature::new(&trace, &stages.joint, inputs, &[], &wanted.in_place)?;
        compile(&trace, &stages, &stages.joint, signature)
    }

    /// A forward and a backward pass for such inputs, as a handle to keep: for automatic differentiation around the loss.
    /// Nothing is given but names, dtypes, shapes and strides. See [`Vjp`] for an example.
    ///
    /// # Errors
    /// As [`value_and_grad`](Self::value_and_grad), but for what depends on the inputs' contents.
    pub fn compile_vjp(&self, inputs: &[Buffer], wrt: &[&str], backward: Backward) -> Result<Vjp> {
        let trace = self.trace(&specs(inputs))?;
        let wrt: Vec<String> = wrt.iter().map(|s| s.to_string()).collect();
        let wanted = if backward == Backward::Never { vec![] } else { wrt };
        let key = (wanted, backward);
        let known = self.lock().vjps.stages(&trace.graph, &key);
        let stages = match known {
            Some(stages) => stages,
            None => {
                let stages = Arc::new(pipeline::vjp_graphs(&trace.graph, &key.0, backward)?);
                self.lock().vjps.insert_stages(key.clone(), stages.clone());
                stages
            }
        };
        let halves = pipeline::halves(&stages.joint, &trace.extents, &key.0)?;
        let program = |graph| {
            let signature = Signature::new(&trace, graph, inputs, &[], &[])?.with_computed_loss();
            Program::new(&trace, &stages, graph, signature, self.hybrid)
        };
        let forward = program(&halves.forward)?;
        let backward = if key.0.is_empty() { None } else { Some(program(&halves.backward)?) };
        Ok(Vjp::new(&trace.graph.name, inputs.to_vec(), forward, backward).threads(self.threads))
    }

    fn evaluate<T: Real>(&self, wanted: &Wanted, inputs: &Inputs) -> Result<ValueAndGrad<T>> {
        let program = self.program(&|w| w == wanted, &|| wanted.clone(), inputs, &[])?;
        let buffers = &program.signature().outputs;
        if let Some(buffer) = buffers.iter().find(|b| b.dtype != T::DTYPE) {
            return Err(wrong_dtype::<T>(buffer.dtype));
        }
        let mut results = buffers.iter().map(|b| zeros(&b.name, &b.shape)).collect::<Result<Vec<ArrayD<T>>>>()?;
        let mut outputs: Vec<ViewMut> = results.iter_mut().map(ViewMut::from).collect();
        program.run(self.threads, inputs, &mut outputs)?;
        let mut results = results.into_iter();
        let value = if wanted.value { results.next() } else { None };
        let grads = wanted.wrt.iter().cloned().zip(results).collect();
        Ok(ValueAndGrad { value: value.unwrap_or_else(|| ArrayD::default(IxDyn(&[0]))), grads })
    }

    fn run_into(&self, asked: Asked, inputs: &Inputs, outputs: &mut [ViewMut]) -> Result<()> {
        self.program(&|w| asked.is(w), &|| asked.wanted(), inputs, outputs)?.run(self.threads, inputs, outputs)
    }

    /// The program for these buffers: from the cache, or made and put there.
    fn program(
        &self,
        is_wanted: &dyn Fn(&Wanted) -> bool,
        wanted: &dyn Fn() -> Wanted,
        inputs: &Inputs,
        outputs: &[ViewMut],
    ) -> Result<Program> {
        if let Some(program) = self.lock().whole.find(is_wanted, inputs, outputs) {
            return Ok(program);
        }
        // Made outside the lock: two threads may make the same one, and neither waits for the other.
        let wanted = wanted();
        let given = Buffer::of(inputs);
        let mut all = given.clone();
        all.extend(over(&wanted, outputs));
        let (trace, stages) = self.prepare(&all, &wanted)?;
        let written: Vec<Buffer> = outputs.iter().map(|view| Buffer::of_output("", view)).collect();
        let signature = Signature::new(&trace, &stages.joint, &all, &written, &wanted.in_place)?;
        let key = Key { wanted, inputs: given, outputs: signature.outputs.clone() };
        let program = Program::new(&trace, &stages, &stages.joint, signature, self.hybrid)?;
        self.lock().insert(key, program.clone());
        Ok(program)
    }

    pub(super) fn prepare(&self, inputs: &[Buffer], wanted: &Wanted) -> Result<(Trace, Arc<Stages>)> {
        let given: Vec<Spec> = specs(inputs).into_iter().filter(|s| !(wanted.head && s.name == HEAD)).collect();
        let trace = self.trace(&given)?;
        let known = self.lock().whole.stages(&trace.graph, wanted);
        if let Some(stages) = known {
            return Ok((trace, stages));
        }
        let stages = Arc::new(pipeline::graphs(&trace.graph, wanted)?);
        self.lock().whole.insert_stages(wanted.clone(), stages.clone());
        Ok((trace, stages))
    }
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
        let inputs: Vec<Buffer> = given.iter().map(|s| Buffer::new(&s.name, s.dtype, &s.shape)).collect();
        let signature = Signature::new(&trace, &stages.joint, &inputs, &[], &wanted.in_place)?;
        compile(&trace, &stages, &stages.joint, signature)
    }
}

/// What a call asks for, borrowed: compared with what programs give, without allocating.
#[derive(Clone, Copy)]
struct Asked<'a> {
    value: bool,
    head: bool,
    wrt: &'a [&'a str],
    in_place: &'a [&'a str],
}

impl Asked<'_> {
    fn is(&self, wanted: &Wanted) -> bool {
        wanted.value == self.value
            && wanted.head == self.head
            && wanted.wrt == self.wrt
            && wanted.in_place == self.in_place
    }

    fn wanted(&self) -> Wanted {
        let (value, head) = (self.value, self.head);
        Wanted { value, head, ..Wanted::value_and_grad(self.wrt).in_place(self.in_place) }
    }
}

type Named<'v> = (SmallVec<[&'v str; 8]>, SmallVec<[ViewMut<'v>; 4]>);

/// The names of gradients, and all outputs.
fn named<'v>(out: Option<ViewMut<'v>>, grads: impl IntoIterator<Item = (&'v str, ViewMut<'v>)>) -> Named<'v> {
    let (mut names, mut outputs): Named = (SmallVec::new(), out.into_iter().collect());
    for (name, view) in grads {
        names.push(name);
        outputs.push(view);
    }
    (names, outputs)
}

/// The inputs that lie where their gradients are written.
fn over(wanted: &Wanted, outputs: &[ViewMut]) -> Vec<Buffer> {
    let grads = wanted.wrt.iter().zip(&outputs[usize::from(wanted.value).min(outputs.len())..]);
    grads.filter(|(name, _)| wanted.in_place.contains(name)).map(|(name, view)| Buffer::of_output(name, view)).collect()
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
