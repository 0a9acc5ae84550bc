//! Random inputs that a loss accepts.

use super::array::Array;
use crate::error::{Error, Result};
use crate::ir::{AxisId, Dtype, Graph, Id, Kind};
use crate::oracle::graph::{Buffer, evaluate};
use crate::trace::{Port, Trace};
use fastrand::Rng;
use ndarray::{ArrayD, IxDyn};
use std::collections::HashMap;

/// Buffers for a graph of the trace, drawn until the interpreter accepts them: floats between 0.05 and 0.95, integers
/// from 0 up to what they are used for; the bound is halved for an input that the interpreter finds fault with.
///
/// # Errors
/// The interpreter accepts nothing.
pub(super) fn draw(trace: &Trace, graph: &Graph, rng: &mut Rng) -> Result<Vec<Buffer>> {
    let mut bounds: HashMap<String, i64> = HashMap::new();
    loop {
        let mut buffers = vec![];
        for input in &graph.inputs {
            let shape: Vec<usize> = input.axes.iter().map(|a| trace.extents[a.index()]).collect();
            let likely = || bound(&trace.graph, &trace.extents, &input.name);
            let bound = *bounds.entry(input.name.clone()).or_insert_with(likely);
            buffers.push(buffer(input.kind, shape, trace.dtype(), bound, rng));
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

/// Arrays as a caller gives them, the same way, but not tried: the interpreter would take long on large ones.
pub(super) fn draw_arrays(trace: &Trace, rng: &mut Rng) -> Result<Vec<(String, Array)>> {
    let mut arrays = vec![];
    for (input, port) in trace.graph.inputs.iter().zip(&trace.ports) {
        let shape: Vec<usize> = input.axes.iter().map(|a| trace.extents[a.index()]).collect();
        let bound = bound(&trace.graph, &trace.extents, &input.name);
        let buffer = buffer(input.kind, shape, trace.dtype(), bound, rng);
        arrays.push((port.name.clone(), array(&buffer, port)?));
    }
    Ok(arrays)
}

fn buffer(kind: Kind, shape: Vec<usize>, dtype: Dtype, bound: i64, rng: &mut Rng) -> Buffer {
    match kind {
        Kind::Float => Buffer::Float(ArrayD::from_shape_simple_fn(shape, || float(dtype, rng))),
        _ => Buffer::Int(ArrayD::from_shape_simple_fn(shape, || rng.i64(0..=bound))),
    }
}

/// The largest integer that makes sense in an input: by the axis that it picks an element of, or the length that it is.
fn bound(graph: &Graph, extents: &[usize], input: &str) -> i64 {
    let depend = depend_on(graph, input);
    let from = |id: Id| depend[usize::from(id)];
    let extent = |axis: AxisId| extents[axis.index()] as i64;
    let mut least = 1;
    for id in graph.ids() {
        if let Some((buffer, indices)) = graph.as_read(id) {
            let dims = &graph.input(buffer).axes;
            let picked = indices.iter().zip(dims).find(|(i, _)| graph.as_axis(**i).is_none() && from(**i));
            least = picked.map_or(least, |(_, &axis)| extent(axis) - 1);
        }
        if let Some((_, [t, c, l], args)) = graph.as_native(id) {
            // The last class may be the blank.
            let roles = [(args[4], extent(c) - 2), (args[5], extent(t)), (args[6], extent(l))];
            least = roles.into_iter().find(|(arg, _)| from(*arg)).map_or(least, |(_, most)| most);
        }
    }
    least.max(0)
}

/// Which nodes are computed from an input.
fn depend_on(graph: &Graph, input: &str) -> Vec<bool> {
    let mut depend: Vec<bool> = vec![];
    for id in graph.ids() {
        let own = graph.as_read(id).is_some_and(|(buffer, _)| graph.input(buffer).name == input);
        depend.push(own || graph.node(id).args.iter().any(|&a| depend[usize::from(a)]));
    }
    depend
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
