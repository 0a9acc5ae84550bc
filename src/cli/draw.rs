//! Random inputs that a loss accepts.

use super::array::Array;
use crate::error::{Error, Result};
use crate::ir::{Dtype, Graph, Kind};
use crate::oracle::graph::{Buffer, evaluate};
use crate::trace::{Port, Trace};
use fastrand::Rng;
use ndarray::{ArrayD, IxDyn};
use std::collections::HashMap;

/// Buffers for a graph of the trace, drawn until the interpreter accepts them: floats between 0.05 and 0.95, integers
/// from 0 up to a bound that is halved for each input as long as the interpreter finds it too large.
///
/// # Errors
/// The interpreter accepts nothing.
pub(super) fn draw(trace: &Trace, graph: &Graph, rng: &mut Rng) -> Result<Vec<Buffer>> {
    let largest = trace.extents.iter().copied().max().unwrap_or(1) as i64;
    let mut bounds: HashMap<String, i64> = HashMap::new();
    loop {
        let mut buffers = vec![];
        for input in &graph.inputs {
            let shape: Vec<usize> = input.axes.iter().map(|a| trace.extents[a.index()]).collect();
            let bound = *bounds.entry(input.name.clone()).or_insert(largest);
            buffers.push(match input.kind {
                Kind::Float => Buffer::Float(ArrayD::from_shape_simple_fn(shape, || float(trace.dtype(), rng))),
                _ => Buffer::Int(ArrayD::from_shape_simple_fn(shape, || rng.i64(0..=bound))),
            });
        }
        let error = match evaluate(graph, &trace.extents, &buffers) {
            Ok(_) => return Ok(buffers),
            Err(error) => error,
        };
        let (Error::Label { input, .. } | Error::Value { input, .. }) = &error else { return Err(error) };
        let bound = bounds.get_mut(input).filter(|bound| **bound > 0).ok_or(error)?;
        *bound /= 2;
    }
}

fn float(dtype: Dtype, rng: &mut Rng) -> f64 {
    let x = 0.05 + 0.9 * rng.f64();
    if dtype == Dtype::F32 { f64::from(x as f32) } else { x }
}

/// A buffer as a caller gives it.
pub(super) fn array(buffer: &Buffer, port: &Port) -> Result<Array> {
    macro_rules! of {
        ($($dtype:ident $ty:ty),*) => {
            match port.dtype {
                $(Dtype::$dtype => {
                    let elements: Vec<$ty> = match buffer {
                        Buffer::Float(x) => x.iter().map(|&x| x as $ty).collect(),
                        Buffer::Int(x) => x.iter().map(|&x| x as $ty).collect(),
                    };
                    let array = ArrayD::from_shape_vec(IxDyn(&port.shape), elements);
                    Ok(Array::from(array.map_err(|e| Error::internal("check", e.to_string()))?))
                })*
            }
        };
    }
    of!(F32 f32, F64 f64, I32 i32, I64 i64, U8 u8, U32 u32)
}
