//! A loss as an operation on burn's tensors.

use crate::extension::{Call, Dtypes, LossBackend, Operand};
use burn::backend::{Dispatch, DispatchTensor, DispatchTensorKind, TensorMetadata};
use burn::tensor::{DType, Int, IntDType, Tensor};
use lossjit::{Backward, Error, HybridBlock, Loss, Result};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// A loss as an operation with a gradient. Make one for a loss and keep it: it compiles once for each set of shapes, dtypes
/// and strides, and remembers. Clones share what has been compiled.
#[derive(Clone)]
pub struct LossOp {
    block: HybridBlock<Box<dyn Loss>>,
    backward: Backward,
    /// The dtypes of inputs that the loss has not taken, floats of 16 bits among them: its native kernel reads f32, or
    /// its floats are of several dtypes. To find that out again would take as long as to compile.
    refused: Arc<Mutex<HashSet<Dtypes>>>,
}

/// A tensor as an input of a loss.
#[derive(Clone, Debug)]
pub struct Input(Operand<Dispatch>);

impl<const D: usize> From<&Tensor<D>> for Input {
    fn from(tensor: &Tensor<D>) -> Self {
        Self(Operand::Float(tensor.clone().into_dispatch()))
    }
}

impl<const D: usize> From<&Tensor<D, Int>> for Input {
    fn from(tensor: &Tensor<D, Int>) -> Self {
        let tensor = match tensor.dtype() {
            DType::I8 | DType::I16 | DType::U16 => tensor.clone().cast(IntDType::I32),
            DType::U64 => tensor.clone().cast(IntDType::I64),
            _ => tensor.clone(),
        };
        Self(Operand::Int(tensor.into_dispatch()))
    }
}

impl LossOp {
    pub fn new(loss: impl Loss + 'static) -> Self {
        let block = HybridBlock::new(Box::new(loss) as Box<dyn Loss>).hybridize();
        Self { block, backward: Backward::Recomputed, refused: Arc::default() }
    }

    /// The operation with another way to its gradients; [`Backward::Recomputed`] unless told otherwise. With
    /// [`Backward::Never`] the loss has no place in burn's graph, as if its inputs were detached.
    pub fn backward(self, backward: Backward) -> Self {
        Self { backward, ..self }
    }

    /// The block that compiles and remembers.
    pub fn block(&self) -> &HybridBlock<Box<dyn Loss>> {
        &self.block
    }

    /// The loss, with its place in burn's graph: one value for each element of the batch, or one of all with a
    /// `reduction`.
    ///
    /// # Errors
    /// An input is missing, unknown, or of a wrong shape, dtype or device; a class number is out of range; an input requires
    /// a gradient, but has none; the loss is of another rank than 1, as one of your own may be.
    pub fn forward(&self, inputs: &[(&str, Input)]) -> Result<Tensor<1>> {
        self.forward_nd(inputs)
    }

    /// [`forward`](Self::forward) for a loss of your own whose result has `D` dimensions.
    ///
    /// # Errors
    /// As [`forward`](Self::forward).
    pub fn forward_nd<const D: usize>(&self, inputs: &[(&str, Input)]) -> Result<Tensor<D>> {
        inputs.iter().try_for_each(|(name, input)| input.check(name))?;
        if inputs.is_empty() {
            // No tensor, no backend to dispatch to; what is missing, the loss knows.
            self.block.passes(&[], &[], Backward::Never)?;
        }
        let operands = inputs.iter().map(|(name, input)| (name.to_string(), input.0.clone())).collect();
        let value = self.value(Call { block: self.block.clone(), backward: self.backward, operands })?;
        let shape = value.shape();
        if shape.num_dims() != D {
            let expected = format!("the {D} asked for");
            return Err(Error::Rank { input: "result".into(), found: shape.to_vec(), expected });
        }
        Ok(Tensor::from_dispatch(value))
    }

    /// The value of the call as it is, or with its floats of 16 bits widened where the loss does not take them.
    fn value(&self, call: Call<Dispatch>) -> Result<DispatchTensor> {
        let evaluate = |call| <Dispatch as LossBackend>::loss(call).0;
        let Some(dtypes) = call.halves() else { return evaluate(call) };
        // Nothing panics while it holds the lock.
        let refused = || self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if !refused().contains(&dtypes) {
            match evaluate(call.clone()) {
                Err(Error::Dtype { .. }) => refused().insert(dtypes),
                known => return known,
            };
        }
        evaluate(call.widened())
    }
}

impl Input {
    fn check(&self, name: &str) -> Result<()> {
        let (Operand::Float(tensor) | Operand::Int(tensor)) = &self.0;
        if !is_flex(&tensor.kind) {
            let problem = format!("lies on {:?}, but lossjit computes on burn's flex device", tensor_device(tensor));
            return Err(Error::Layout { input: name.to_string(), problem });
        }
        Ok(())
    }
}

fn is_flex(kind: &DispatchTensorKind) -> bool {
    match kind {
        DispatchTensorKind::Flex(_) => true,
        DispatchTensorKind::Autodiff(inner) => is_flex(inner),
        // Others exist where a program enables more backends than this crate does.
        #[allow(unreachable_patterns)]
        _ => false,
    }
}

fn tensor_device(tensor: &DispatchTensor) -> impl std::fmt::Debug {
    tensor.kind.device()
}
