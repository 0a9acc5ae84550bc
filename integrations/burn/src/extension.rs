//! The backend extension: one operation, for every loss and any number of inputs.

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{
    Backend, BackendTensor, Dispatch, DispatchAutodiffContext, DispatchTensor, DispatchTensorKind, ExtensionType,
    TensorMetadata, backend_extension,
};
use burn::tensor::{DType, FloatDType};
use lossjit::{Backward, Error, HybridBlock, Loss};

/// What a backend must be able to do.
#[backend_extension(Flex, Autodiff)]
pub trait LossBackend: Backend {
    /// Evaluates a loss.
    fn loss(#[extension_type] call: Call<Self>) -> Outcome<Self>;
}

/// A loss with its inputs.
#[derive(Clone)]
pub struct Call<B: Backend> {
    pub block: HybridBlock<Box<dyn Loss>>,
    /// How its gradients are to be computed.
    pub backward: Backward,
    /// By name.
    pub operands: Vec<(String, Operand<B>)>,
}

/// An input of a loss on a backend.
#[derive(Clone, Debug)]
pub enum Operand<B: Backend> {
    Float(FloatTensor<B>),
    Int(IntTensor<B>),
}

/// The inputs of a call by name, each with its dtype.
pub(crate) type Dtypes = Vec<(String, DType)>;

impl<B: Backend> Call<B> {
    /// The dtypes of the inputs, where some are floats of 16 bits.
    pub(crate) fn halves(&self) -> Option<Dtypes> {
        let dtype = |operand: &Operand<B>| match operand {
            Operand::Float(tensor) => tensor.dtype(),
            Operand::Int(tensor) => tensor.dtype(),
        };
        let some = self.operands.iter().any(|(_, operand)| is_half(dtype(operand)));
        some.then(|| self.operands.iter().map(|(name, operand)| (name.clone(), dtype(operand))).collect())
    }

    /// The call with floats of 16 bits converted to f32, by the backend's own operation.
    pub(crate) fn widened(self) -> Self {
        let widened = |operand: Operand<B>| match operand {
            Operand::Float(tensor) if is_half(tensor.dtype()) => Operand::Float(B::float_cast(tensor, FloatDType::F32)),
            other => other,
        };
        let operands = self.operands.into_iter().map(|(name, operand)| (name, widened(operand))).collect();
        Self { operands, ..self }
    }
}

fn is_half(dtype: DType) -> bool {
    matches!(dtype, DType::BF16 | DType::F16)
}

/// The value of a loss, or what was wrong.
pub struct Outcome<B: Backend>(pub Result<FloatTensor<B>, Error>);

// `#[derive(ExtensionType)]` knows structs of single tensors; these hold any number, or perhaps none.

impl<B: Backend> ExtensionType<B> for Call<B> {
    type Target = Call<Dispatch>;

    fn map_to_dispatch<F>(self, map_kind: F, autodiff: DispatchAutodiffContext) -> Call<Dispatch>
    where
        F: Fn(BackendTensor<B>) -> DispatchTensorKind,
    {
        let wrap = |tensor| DispatchTensor { kind: map_kind(tensor), autodiff };
        let operands = self.operands.into_iter().map(|(name, operand)| match operand {
            Operand::Float(tensor) => (name, Operand::Float(wrap(BackendTensor::Float(tensor)))),
            Operand::Int(tensor) => (name, Operand::Int(wrap(BackendTensor::Int(tensor)))),
        });
        Call { block: self.block, backward: self.backward, operands: operands.collect() }
    }

    fn map_from_dispatch<F>(target: Call<Dispatch>, unwrap_kind: F) -> Self
    where
        F: Fn(DispatchTensor) -> BackendTensor<B>,
    {
        let operands = target.operands.into_iter().map(|(name, operand)| match operand {
            Operand::Float(tensor) => (name, Operand::Float(unwrap_kind(tensor).float())),
            Operand::Int(tensor) => (name, Operand::Int(unwrap_kind(tensor).int())),
        });
        Call { block: target.block, backward: target.backward, operands: operands.collect() }
    }

    fn routing_tensor(target: &Call<Dispatch>) -> Option<&DispatchTensor> {
        tensors(target).next()
    }

    fn routing_float_tensor(target: &Call<Dispatch>) -> Option<&DispatchTensor> {
        target.operands.iter().find_map(|(_, operand)| match operand {
            Operand::Float(tensor) => Some(tensor),
            Operand::Int(_) => None,
        })
    }

    fn autodiff_context(target: &Call<Dispatch>) -> DispatchAutodiffContext {
        tensors(target).fold(DispatchAutodiffContext::Disabled, |context, tensor| context.merge(tensor.autodiff))
    }
}

fn tensors(call: &Call<Dispatch>) -> impl Iterator<Item = &DispatchTensor> {
    call.operands.iter().map(|(_, operand)| match operand {
        Operand::Float(tensor) | Operand::Int(tensor) => tensor,
    })
}

impl<B: Backend> ExtensionType<B> for Outcome<B> {
    type Target = Outcome<Dispatch>;

    fn map_to_dispatch<F>(self, map_kind: F, autodiff: DispatchAutodiffContext) -> Outcome<Dispatch>
    where
        F: Fn(BackendTensor<B>) -> DispatchTensorKind,
    {
        Outcome(self.0.map(|tensor| DispatchTensor { kind: map_kind(BackendTensor::Float(tensor)), autodiff }))
    }

    fn map_from_dispatch<F>(target: Outcome<Dispatch>, unwrap_kind: F) -> Self
    where
        F: Fn(DispatchTensor) -> BackendTensor<B>,
    {
        Outcome(target.0.map(|tensor| unwrap_kind(tensor).float()))
    }

    fn routing_tensor(target: &Outcome<Dispatch>) -> Option<&DispatchTensor> {
        target.0.as_ref().ok()
    }

    fn routing_float_tensor(target: &Outcome<Dispatch>) -> Option<&DispatchTensor> {
        Self::routing_tensor(target)
    }
}
