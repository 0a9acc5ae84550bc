//! A loss as an operation of candle's graph.

use crate::attach::attach;
use crate::tensor::{Named, are_halves, converted, foreign, new_tensors, readable, with_views};
use candle_core::{Result, Tensor};
use lossjit::{Backward, Error, HybridBlock, Loss, Vjp};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Inputs by name: what [`inputs!`](crate::inputs) makes.
pub type Inputs<'a> = [(&'a str, &'a Tensor)];

/// A loss as an operation with a gradient. Make one for a loss and keep it: it compiles once for each set of shapes, dtypes
/// and strides, and remembers. Clones share what has been compiled.
#[derive(Clone)]
pub struct LossOp {
    block: HybridBlock<Box<dyn Loss>>,
    backward: Backward,
    /// Whether floats of 16 bits were refused: the loss has a native kernel for f32.
    converts: Arc<AtomicBool>,
}

impl LossOp {
    pub fn new(loss: impl Loss + 'static) -> Self {
        let block = HybridBlock::new(Box::new(loss) as Box<dyn Loss>).hybridize();
        Self { block, backward: Backward::Recomputed, converts: Arc::default() }
    }

    /// The operation with another way to its gradients; [`Backward::Recomputed`] unless told otherwise. With
    /// [`Backward::Never`] the loss has no place in candle's graph, as if its inputs were detached.
    pub fn backward(self, backward: Backward) -> Self {
        Self { backward, ..self }
    }

    /// The block that compiles and remembers.
    pub fn block(&self) -> &HybridBlock<Box<dyn Loss>> {
        &self.block
    }

    /// The loss, with its place in candle's graph: one value for each element of the batch, or one of all with a
    /// `reduction`.
    ///
    /// # Errors
    /// An input is missing, unknown, or of a wrong shape, dtype or device; a class number is out of range; an input depends
    /// on a variable, but has no gradient.
    pub fn forward(&self, inputs: &Inputs) -> Result<Tensor> {
        let given = inputs.iter().map(|(name, tensor)| Ok((name.to_string(), readable(name, tensor)?)));
        let given = given.collect::<Result<Vec<Named>>>()?;
        if are_halves(&given) && !self.converts.load(Relaxed) {
            let (names, tracked) = self.tracked(&given);
            match self.evaluate(&given, &names)? {
                Ok((value, call)) => return attach(value, call, &tracked),
                Err(Error::Dtype { .. }) => self.converts.store(true, Relaxed),
                Err(error) => return Err(foreign(error)),
            }
        }
        let given = converted(given)?;
        let (names, tracked) = self.tracked(&given);
        let (value, call) = self.evaluate(&given, &names)?.map_err(foreign)?;
        attach(value, call, &tracked)
    }

    /// The inputs that want a gradient, with their names.
    fn tracked<'n>(&self, given: &'n [Named]) -> (Vec<&'n str>, Vec<Tensor>) {
        let wants =
            |tensor: &Tensor| self.backward != Backward::Never && tensor.dtype().is_float() && tensor.track_op();
        given.iter().filter(|(_, t)| wants(t)).map(|(name, t)| (name.as_str(), t.clone())).unzip()
    }

    /// The value, and what its gradients with respect to the inputs named are computed from; the inner error is that of
    /// the inputs' dtypes and shapes.
    fn evaluate(&self, inputs: &[Named], wrt: &[&str]) -> Result<lossjit::Result<(Tensor, Call)>> {
        let backward = if wrt.is_empty() { Backward::Never } else { self.backward };
        let passes = |inputs: &[Named]| with_views(inputs, |views| Ok(self.block.passes(views, wrt, backward)));
        let mut inputs = inputs.to_vec();
        let vjp = match passes(&inputs)? {
            // No strides lead through these tensors in the shape in which the loss reads them.
            Err(Error::Layout { .. }) => {
                inputs = inputs.into_iter().map(|(name, t)| Ok((name, t.contiguous()?))).collect::<Result<_>>()?;
                passes(&inputs)?
            }
            known => known,
        };
        let vjp = match vjp {
            Ok(vjp) => vjp,
            Err(error) => return Ok(Err(error)),
        };
        let buffers: Vec<_> = std::iter::once(vjp.out()).chain(vjp.saved()).collect();
        let mut results = with_views(&inputs, |views| {
            new_tensors(&buffers, |memory| {
                let (out, saved) = memory.split_first_mut().expect("a loss has a value");
                vjp.forward(views, out.reborrow(), saved)
            })
        })?;
        let value = results.remove(0);
        inputs.retain(|(name, _)| vjp.backward_reads(name));
        let saved = vjp.saved().iter().map(|buffer| buffer.name.clone()).zip(results).collect();
        Ok(Ok((value, Call { vjp, inputs, saved })))
    }
}

/// One evaluation of a loss: what its gradients are computed from.
pub(crate) struct Call {
    vjp: Vjp,
    inputs: Vec<Named>,
    saved: Vec<Named>,
}

impl Call {
    /// The gradients of `Σ value · head`, in the order in which they were asked for.
    pub(crate) fn gradients(&self, head: &Tensor) -> Result<Vec<Tensor>> {
        let mut read = self.inputs.clone();
        read.extend(self.saved.iter().cloned());
        read.push(("head".to_string(), head.contiguous()?));
        let buffers: Vec<_> = self.vjp.grads().iter().collect();
        with_views(&read, |views| {
            let (inputs, rest) = views.split_at(self.inputs.len());
            let saved: Vec<_> = rest[..self.saved.len()].iter().map(|(_, view)| view.clone()).collect();
            let head = &rest[self.saved.len()].1;
            new_tensors(&buffers, |grads| self.vjp.backward(inputs, &saved, head.clone(), grads))
        })
    }
}
