//! Forward now, backward later: for programs that learn the head gradient only after they have the loss.

use super::bind::Buffer;
use super::block::Gradients;
use super::program::Program;
use super::view::{Element, Inputs, Real, View, ViewMut, zeros};
use crate::error::{Error, Result};
use crate::grad::{HEAD, grad_name};
use crate::ir::Dtype;
use ndarray::{ArrayD, IxDyn};
use smallvec::SmallVec;
use std::sync::Arc;

/// What the forward pass keeps for the backward pass.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum Backward {
    /// The gradients of the loss's sum are computed with the loss, in the same pass over the inputs, and kept; backward
    /// multiplies them by the head. Fastest, and the inputs are not read again; takes the memory of the gradients between
    /// the passes. A gradient that is no product of that kind, because its elements gather from several losses (that of
    /// a shared weight, say, or of SDML's `x2`), is computed by the backward pass as in `Recomputed`.
    Kept,
    /// Statistics of rows, such as the maximum and the sum of a softmax, are kept: one or two numbers for a row. Backward
    /// reads the inputs once more and computes the gradients from them.
    Recomputed,
    /// Nothing is kept: a backward pass is an error.
    Never,
}

/// A loss compiled as a forward and a backward pass, for arrays of certain shapes, dtypes and strides. Cheap to clone;
/// may be called from many threads at once.
///
/// Of inputs in bf16 or f16 the gradients are in their dtype, and the loss, its head and what is saved in f32.
///
/// All memory is the caller's: [`out`](Self::out), [`saved`](Self::saved) and [`grads`](Self::grads) say what is needed
/// before anything runs. What is saved is only read, so backward may run as often as you like, and gives the same bits for
/// the same head. Calls allocate nothing once a thread has made its first, and take no lock.
///
/// ```
/// use lossjit::{Backward, Buffer, Dtype, HybridBlock, View, ViewMut, losses};
///
/// // Chosen at run time: the loss, its inputs, the gradients.
/// let loss = losses::find("SoftmaxCrossEntropyLoss").unwrap();
/// let block = HybridBlock::new((loss.build)(&[])?).hybridize();
/// let inputs = [Buffer::new("pred", Dtype::F32, &[2, 3]), Buffer::new("label", Dtype::U32, &[2])];
/// let vjp = block.compile_vjp(&inputs, &["pred"], Backward::Recomputed)?;
/// assert_eq!((vjp.out().shape.as_slice(), vjp.grads()[0].name.as_str()), (&[2][..], "grad.pred"));
///
/// let (pred, label) = ([0f32, 0.0, 0.0, 9.0, 0.0, 0.0], [0u32, 0]);
/// let inputs = [("pred", View::new(&pred, &[2, 3])?), ("label", View::new(&label, &[2])?)];
/// let mut out = [0f32; 2];
/// let mut saved: Vec<Vec<f32>> = vjp.saved().iter().map(|b| vec![0.0; b.elements()]).collect();
/// let mut into = vec![];
/// for (memory, buffer) in saved.iter_mut().zip(vjp.saved()) {
///     into.push(ViewMut::new(memory, &buffer.shape)?);
/// }
/// vjp.forward(&inputs, ViewMut::new(&mut out, &[2])?, &mut into)?;
/// assert!((out[0] - 3f32.ln()).abs() < 1e-6);
///
/// let mut from = vec![];
/// for (memory, buffer) in saved.iter().zip(vjp.saved()) {
///     from.push(View::new(memory, &buffer.shape)?);
/// }
/// let (head, mut grad) = ([1f32, 0.5], [0f32; 6]);
/// vjp.backward(&inputs, &from, View::new(&head, &[2])?, &mut [ViewMut::new(&mut grad, &[2, 3])?])?;
/// assert!((grad[0] + 2.0 / 3.0).abs() < 1e-6);
/// # Ok::<(), lossjit::Error>(())
/// ```
#[derive(Clone)]
pub struct Vjp {
    passes: Arc<Passes>,
    threads: Option<usize>,
}

struct Passes {
    loss: String,
    inputs: Vec<Buffer>,
    forward: Program,
    backward: Option<Program>,
}

impl Vjp {
    pub(super) fn new(loss: &str, inputs: Vec<Buffer>, forward: Program, backward: Option<Program>) -> Self {
        let passes = Passes { loss: loss.to_string(), inputs, forward, backward };
        Self { passes: Arc::new(passes), threads: None }
    }

    /// The handle with a limit of threads per call; without one a call uses rayon's current pool. Results have the same
    /// bits for any number.
    pub fn threads(self, threads: impl Into<Option<usize>>) -> Self {
        Self { threads: threads.into(), ..self }
    }

    /// The loss's inputs.
    pub fn inputs(&self) -> &[Buffer] {
        &self.passes.inputs
    }

    /// The loss.
    pub fn out(&self) -> &Buffer {
        &self.passes.forward.signature().outputs[0]
    }

    /// What the forward pass writes besides, and the backward pass reads.
    pub fn saved(&self) -> &[Buffer] {
        &self.passes.forward.signature().outputs[1..]
    }

    /// The gradients, in the order in which they were asked for; empty where backward is never.
    pub fn grads(&self) -> &[Buffer] {
        self.passes.backward.as_ref().map_or(&[], |backward| &backward.signature().outputs)
    }

    /// Whether the backward pass reads this input of the loss; otherwise it may be gone by then.
    pub fn backward_reads(&self, input: &str) -> bool {
        let needed = |backward: &Program| backward.signature().inputs.iter().any(|b| b.name == input);
        self.passes.backward.as_ref().is_some_and(needed)
    }

    /// The loss, and what is to be saved, into the caller's memory.
    ///
    /// # Errors
    /// A buffer is missing, unknown, given twice, or not as [`inputs`](Self::inputs), [`out`](Self::out) and
    /// [`saved`](Self::saved) have it; a class number is not whole or outside its axis.
    pub fn forward(&self, inputs: &Inputs, out: ViewMut, saved: &mut [ViewMut]) -> Result<()> {
        let mut outputs: SmallVec<[ViewMut; 8]> = SmallVec::new();
        outputs.push(out);
        outputs.extend(saved.iter_mut().map(ViewMut::reborrow));
        // A loss may take inputs that only decide what it declares; the program needs none of those.
        let needed = self.needed(&self.passes.forward, inputs);
        self.passes.forward.run(self.threads, &needed, &mut outputs)
    }

    /// The gradients of `Σ loss · head` into the caller's memory, from the same inputs as the loss and what it saved.
    /// `head` is row-major, of the loss's shape; inputs that [it does not read](Self::backward_reads) may be left out.
    ///
    /// # Errors
    /// As [`forward`](Self::forward); besides, backward is never.
    pub fn backward(&self, inputs: &Inputs, saved: &[View], head: View, grads: &mut [ViewMut]) -> Result<()> {
        let Some(backward) = &self.passes.backward else {
            let why = "it was compiled without a backward pass".into();
            return Err(Error::NoGradient { input: self.passes.loss.clone(), why });
        };
        let kept = self.saved();
        if kept.len() != saved.len() {
            let problem = format!("{} are given, but {} are needed", saved.len(), kept.len());
            return Err(Error::Layout { input: "saved".into(), problem });
        }
        let mut needed = self.needed(backward, inputs);
        needed.extend(kept.iter().zip(saved).map(|(buffer, view)| (buffer.name.as_str(), view.clone())));
        // A gradient that is the same for every head does not read it.
        if backward.signature().inputs.iter().any(|b| b.name == HEAD) {
            needed.push((HEAD, head));
        }
        backward.run(self.threads, &needed, grads)
    }

    /// Those of the loss's inputs that a pass reads.
    fn needed<'a>(&self, pass: &Program, inputs: &Inputs<'a>) -> SmallVec<[(&'a str, View<'a>); 8]> {
        let own = |name: &str| self.passes.inputs.iter().any(|b| b.name == name);
        let read = |name: &str| pass.signature().inputs.iter().any(|b| b.name == name);
        inputs.iter().filter(|(name, _)| read(name) || !own(name)).cloned().collect()
    }
}

/// The backward pass of one evaluation, with what was saved for it: from [`HybridBlock::vjp`](super::HybridBlock::vjp).
#[derive(Clone)]
pub struct Pullback<T: Real> {
    vjp: Vjp,
    saved: Vec<ArrayD<T::Computed>>,
}

impl<T: Real> Pullback<T> {
    /// Runs the forward pass into new arrays.
    pub(super) fn new(vjp: Vjp, inputs: &Inputs) -> Result<(ArrayD<T::Computed>, Self)> {
        let out = vjp.out();
        if out.dtype != T::Computed::DTYPE {
            return Err(wrong_dtype::<T>(out.dtype));
        }
        if let Some(grad) = vjp.grads().iter().find(|grad| grad.dtype != T::DTYPE) {
            return Err(wrong_dtype::<T>(grad.dtype));
        }
        let mut value = zeros(&out.name, &out.shape)?;
        let mut saved: Vec<ArrayD<T::Computed>> =
            vjp.saved().iter().map(|b| zeros(&b.name, &b.shape)).collect::<Result<_>>()?;
        let mut views: Vec<ViewMut> = saved.iter_mut().map(ViewMut::from).collect();
        vjp.forward(inputs, ViewMut::from(&mut value), &mut views)?;
        Ok((value, Self { vjp, saved }))
    }

    /// The gradients of `Σ loss · head`, or of the loss's sum without a head, for the same inputs as the loss. It may be
    /// called as often as you like.
    ///
    /// # Errors
    /// An input is missing or of another shape, dtype or layout; `head` is not of the loss's shape; backward is never.
    pub fn backward(&self, inputs: &Inputs, head: Option<View>) -> Result<Gradients<T>> {
        let mut grads: Vec<ArrayD<T>> =
            self.vjp.grads().iter().map(|b| zeros(&b.name, &b.shape)).collect::<Result<_>>()?;
        let mut views: Vec<ViewMut> = grads.iter_mut().map(ViewMut::from).collect();
        let saved: Vec<View> = self.saved.iter().map(View::from).collect();
        let ones;
        let head = match head {
            Some(head) => head,
            None => {
                ones = ArrayD::from_elem(IxDyn(&self.vjp.out().shape), T::Computed::from_f64(1.0));
                View::from(&ones)
            }
        };
        self.vjp.backward(inputs, &saved, head, &mut views)?;
        let names = self.vjp.grads().iter().map(|b| b.name.strip_prefix(&grad_name("")).unwrap_or(&b.name).to_string());
        Ok(names.zip(grads).collect())
    }

    /// The arrays that were saved, by name.
    pub fn saved(&self) -> impl Iterator<Item = (&str, &ArrayD<T::Computed>)> {
        self.vjp.saved().iter().map(|b| b.name.as_str()).zip(&self.saved)
    }
}

pub(super) fn wrong_dtype<T: Real>(dtype: Dtype) -> Error {
    let expected = format!("{dtype}, the dtype of the inputs,");
    Error::Dtype { input: "result".into(), found: T::DTYPE.name(), expected }
}
