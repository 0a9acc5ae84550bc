//! Losses on the flex backend: burn's memory as lossjit's views, and new tensors for results. Nothing is copied.

use crate::extension::{Call, LossBackend, Operand, Outcome};
use burn::backend::flex::FlexTensor;
use burn::backend::{Element, Flex};
use burn::tensor::{DType, TensorData, bf16, f16};
use lossjit::runtime::Real;
use lossjit::{Backward, Buffer, Dtype, Error, Result, View, ViewMut, Vjp};

/// A tensor with the name that the loss knows it by.
type Named = (String, FlexTensor);

impl LossBackend for Flex {
    fn loss(call: Call<Flex>) -> Outcome<Flex> {
        Outcome(call.evaluate(&[]).map(|(value, _)| value))
    }
}

impl Call<Flex> {
    /// The value, and what its gradients with respect to the inputs named are computed from.
    pub(crate) fn evaluate(self, wrt: &[&str]) -> Result<(FlexTensor, Evaluated)> {
        let backward = if wrt.is_empty() { Backward::Never } else { self.backward };
        let tensors = self.operands.into_iter().map(|(name, operand)| match operand {
            Operand::Float(tensor) | Operand::Int(tensor) => (name, tensor),
        });
        let mut inputs: Vec<Named> = tensors.collect();
        let vjp = match self.block.passes(&views(&inputs)?, wrt, backward) {
            // No strides lead through these tensors in the shape in which the loss reads them.
            Err(Error::Layout { .. }) => {
                inputs = inputs.into_iter().map(|(name, tensor)| (name, tensor.to_contiguous())).collect();
                self.block.passes(&views(&inputs)?, wrt, backward)?
            }
            known => known?,
        };
        let buffers: Vec<_> = std::iter::once(vjp.out()).chain(vjp.saved()).collect();
        let mut results = new_tensors(&buffers, |memory| {
            let (out, saved) = memory.split_first_mut().expect("a loss has a value");
            vjp.forward(&views(&inputs)?, out.reborrow(), saved)
        })?;
        let value = results.remove(0);
        inputs.retain(|(name, _)| vjp.backward_reads(name));
        let saved = vjp.saved().iter().map(|buffer| buffer.name.clone()).zip(results).collect();
        Ok((value, Evaluated { vjp, inputs, saved }))
    }
}

/// One evaluation of a loss: what its gradients are computed from.
pub(crate) struct Evaluated {
    vjp: Vjp,
    inputs: Vec<Named>,
    saved: Vec<Named>,
}

impl Evaluated {
    /// The gradients of `Σ value · head`, in the order in which they were asked for.
    pub(crate) fn gradients(&self, head: &FlexTensor) -> Result<Vec<FlexTensor>> {
        let saved: Vec<View> = self.saved.iter().map(|(name, tensor)| view(name, tensor)).collect::<Result<_>>()?;
        let head = head.to_contiguous();
        let buffers: Vec<_> = self.vjp.grads().iter().collect();
        new_tensors(&buffers, |grads| self.vjp.backward(&views(&self.inputs)?, &saved, view("head", &head)?, grads))
    }
}

fn views(tensors: &[Named]) -> Result<Vec<(&str, View<'_>)>> {
    tensors.iter().map(|(name, tensor)| Ok((name.as_str(), view(name, tensor)?))).collect()
}

fn view<'t>(name: &str, tensor: &'t FlexTensor) -> Result<View<'t>> {
    let layout = tensor.layout();
    let (offset, shape, strides) = (layout.start_offset(), layout.shape().as_slice(), layout.strides());
    match tensor.dtype() {
        DType::F32 => View::with_offset(tensor.storage::<f32>(), offset, shape, strides),
        DType::F64 => View::with_offset(tensor.storage::<f64>(), offset, shape, strides),
        DType::BF16 => View::with_offset(tensor.storage::<bf16>(), offset, shape, strides),
        DType::F16 => View::with_offset(tensor.storage::<f16>(), offset, shape, strides),
        DType::I32 => View::with_offset(tensor.storage::<i32>(), offset, shape, strides),
        DType::I64 => View::with_offset(tensor.storage::<i64>(), offset, shape, strides),
        DType::U8 => View::with_offset(tensor.storage::<u8>(), offset, shape, strides),
        DType::U32 => View::with_offset(tensor.storage::<u32>(), offset, shape, strides),
        other => Err(Error::Dtype {
            input: name.to_string(),
            found: other.name(),
            expected: "f32, f64, bf16, f16 or a whole number".into(),
        }),
    }
}

/// New tensors with what is written into their memory.
fn new_tensors(buffers: &[&Buffer], write: impl FnOnce(&mut [ViewMut]) -> Result<()>) -> Result<Vec<FlexTensor>> {
    match buffers.first().map(|buffer| buffer.dtype) {
        Some(Dtype::F64) => new_tensors_of::<f64>(buffers, write),
        Some(Dtype::Bf16) => new_tensors_of::<bf16>(buffers, write),
        Some(Dtype::F16) => new_tensors_of::<f16>(buffers, write),
        _ => new_tensors_of::<f32>(buffers, write),
    }
}

fn new_tensors_of<T: Real + Element>(
    buffers: &[&Buffer],
    write: impl FnOnce(&mut [ViewMut]) -> Result<()>,
) -> Result<Vec<FlexTensor>> {
    let mut memory: Vec<Vec<T>> = buffers.iter().map(|buffer| vec![T::default(); buffer.elements()]).collect();
    let views = memory.iter_mut().zip(buffers).map(|(memory, buffer)| ViewMut::new(memory, &buffer.shape));
    write(&mut views.collect::<Result<Vec<_>>>()?)?;
    let tensor =
        |(memory, buffer): (Vec<T>, &&Buffer)| FlexTensor::from_data(TensorData::new(memory, buffer.shape.clone()));
    Ok(memory.into_iter().zip(buffers).map(tensor).collect())
}
