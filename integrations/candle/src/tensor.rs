//! Tensors at the edge: candle's memory as lossjit's views, and new tensors for results. Nothing is copied.

use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor, bail};
use half::{bf16, f16};
use lossjit::runtime::Real;
use lossjit::{Buffer, Dtype, Error, View, ViewMut};

/// A tensor with the name that the loss knows it by.
pub(crate) type Named = (String, Tensor);

pub(crate) fn foreign(error: Error) -> candle_core::Error {
    candle_core::Error::wrap(error)
}

/// The tensor as lossjit can read it: on the CPU, in a dtype it has.
pub(crate) fn readable(name: &str, tensor: &Tensor) -> Result<Tensor> {
    if !matches!(tensor.device(), Device::Cpu) {
        let place = tensor.device().location();
        bail!("{name}: lies on {place:?}, but lossjit computes on the CPU; `to_device(&Device::Cpu)` moves it");
    }
    match tensor.dtype() {
        DType::F32 | DType::F64 | DType::BF16 | DType::F16 => Ok(tensor.clone()),
        DType::U8 | DType::U32 | DType::I32 | DType::I64 => Ok(tensor.clone()),
        DType::I16 => tensor.to_dtype(DType::I32),
        other => bail!("{name}: dtype {}, but f32, f64, bf16, f16 or whole numbers are needed", other.as_str()),
    }
}

fn is_half(tensor: &Tensor) -> bool {
    matches!(tensor.dtype(), DType::BF16 | DType::F16)
}

/// Whether some floats have 16 bits, and all of them the same dtype: as lossjit takes them.
pub(crate) fn are_halves(inputs: &[Named]) -> bool {
    let mut floats = inputs.iter().map(|(_, tensor)| tensor).filter(|tensor| tensor.dtype().is_float());
    let Some(first) = floats.next() else { return false };
    is_half(first) && floats.all(|other| other.dtype() == first.dtype())
}

/// The inputs with floats of 16 bits converted to f32, by candle's own operation.
pub(crate) fn converted(inputs: Vec<Named>) -> Result<Vec<Named>> {
    let convert = |tensor: Tensor| if is_half(&tensor) { tensor.to_dtype(DType::F32) } else { Ok(tensor) };
    inputs.into_iter().map(|(name, tensor)| Ok((name, convert(tensor)?))).collect()
}

/// Calls with views of the tensors; they are locked against writers meanwhile.
pub(crate) fn with_views<R>(tensors: &[Named], call: impl FnOnce(&[(&str, View)]) -> Result<R>) -> Result<R> {
    let locked: Vec<_> = tensors.iter().map(|(name, tensor)| (name, tensor.storage_and_layout())).collect();
    let mut views = Vec::with_capacity(locked.len());
    for (name, (storage, layout)) in &locked {
        let Storage::Cpu(storage) = &**storage else { bail!("{name}: is not in the memory of the CPU") };
        let strides: Vec<isize> = layout.stride().iter().map(|&s| s as isize).collect();
        let (offset, shape) = (layout.start_offset(), layout.dims());
        let view = match storage {
            CpuStorage::F32(x) => View::with_offset(x, offset, shape, &strides),
            CpuStorage::F64(x) => View::with_offset(x, offset, shape, &strides),
            CpuStorage::BF16(x) => View::with_offset(x, offset, shape, &strides),
            CpuStorage::F16(x) => View::with_offset(x, offset, shape, &strides),
            CpuStorage::U8(x) => View::with_offset(x, offset, shape, &strides),
            CpuStorage::U32(x) => View::with_offset(x, offset, shape, &strides),
            CpuStorage::I32(x) => View::with_offset(x, offset, shape, &strides),
            CpuStorage::I64(x) => View::with_offset(x, offset, shape, &strides),
            _ => bail!("{name}: a dtype that is no input of a loss"),
        };
        views.push((name.as_str(), view.map_err(foreign)?));
    }
    call(&views)
}

/// New tensors with what is written into their memory.
pub(crate) fn new_tensors(
    buffers: &[&Buffer],
    write: impl FnOnce(&mut [ViewMut]) -> lossjit::Result<()>,
) -> Result<Vec<Tensor>> {
    match buffers.first().map(|buffer| buffer.dtype) {
        Some(Dtype::F64) => new_tensors_of::<f64>(buffers, write),
        Some(Dtype::Bf16) => new_tensors_of::<bf16>(buffers, write),
        Some(Dtype::F16) => new_tensors_of::<f16>(buffers, write),
        _ => new_tensors_of::<f32>(buffers, write),
    }
}

fn new_tensors_of<T: Real + candle_core::WithDType>(
    buffers: &[&Buffer],
    write: impl FnOnce(&mut [ViewMut]) -> lossjit::Result<()>,
) -> Result<Vec<Tensor>> {
    let mut memory: Vec<Vec<T>> = buffers.iter().map(|buffer| vec![T::default(); buffer.elements()]).collect();
    let views = memory.iter_mut().zip(buffers).map(|(memory, buffer)| ViewMut::new(memory, &buffer.shape));
    views.collect::<lossjit::Result<Vec<_>>>().and_then(|mut views| write(&mut views)).map_err(foreign)?;
    let tensor = |(memory, buffer): (Vec<T>, &&Buffer)| Tensor::from_vec(memory, &buffer.shape[..], &Device::Cpu);
    memory.into_iter().zip(buffers).map(tensor).collect()
}
