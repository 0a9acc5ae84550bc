//! Random inputs that a loss accepts.

use super::array::Array;
use super::pages::filled;
use crate::error::{Error, Result};
use crate::ir::{AxisId, Dtype, Graph, Id, Input, Kind, Op, Point};
use crate::oracle::graph::{Buffer, evaluate};
use crate::trace::{Port, Trace};
use fastrand::Rng;
use half::{bf16, f16};
use std::collections::HashMap;
use std::iter::repeat_with;

/// Buffers for a graph of the trace, drawn until the interpreter accepts them: floats between 0.05 and 0.95, integers
/// from 0 up to what they are used for, and every other one what it is compared with; the bound is halved for an input
/// that the interpreter finds fault with.
///
/// # Errors
/// The interpreter accepts nothing, or there is no memory for them.
pub(super) fn draw(trace: &Trace, graph: &Graph, rng: &mut Rng) -> Result<Vec<Buffer>> {
    let mut likely: HashMap<String, Likely> = HashMap::new();
    loop {
        let mut buffers = vec![];
        for input in &graph.inputs {
            let shape: Vec<usize> = input.axes.iter().map(|a| trace.extents[a.index()]).collect();
            let likely = likely.entry(input.name.clone()).or_insert_with(|| Likely::new(trace, &input.name));
            buffers.push(buffer(input, shape, trace.dtype(), likely, rng)?);
        }
        let error = match evaluate(graph, &trace.extents, &buffers) {
            Ok(_) => return Ok(buffers),
            Err(error) => error,
        };
        let (Error::Label { input, .. } | Error::Value { input, .. }) = &error else { return Err(error) };
        let likely = likely.get_mut(input).filter(|likely| likely.bound > 0).ok_or(error)?;
        likely.bound /= 2;
    }
}

/// Arrays as a caller gives them, the same way, but not tried: the interpreter would take long on large ones.
///
/// # Errors
/// There is no memory for them.
pub(super) fn draw_arrays(trace: &Trace, rng: &mut Rng) -> Result<Vec<(String, Array)>> {
    let mut arrays = vec![];
    for (input, port) in trace.graph.inputs.iter().zip(&trace.ports) {
        let shape: Vec<usize> = input.axes.iter().map(|a| trace.extents[a.index()]).collect();
        let likely = Likely::new(trace, &input.name);
        let buffer = buffer(input, shape, trace.dtype(), &likely, rng)?;
        arrays.push((port.name.clone(), array(&buffer, port)?));
    }
    Ok(arrays)
}

/// What makes sense in an input.
struct Likely {
    /// The largest integer.
    bound: i64,
    /// What elements are compared with, such as 1 and −1: without them one branch only would be seen.
    marks: Vec<f64>,
}

impl Likely {
    fn new(trace: &Trace, input: &str) -> Self {
        let unsigned = trace.ports.iter().any(|p| p.name == input && matches!(p.dtype, Dtype::U8 | Dtype::U32));
        let mut marks = marks(&trace.graph, input);
        marks.retain(|&mark| !unsigned || (0.0..=255.0).contains(&mark));
        Self { bound: bound(&trace.graph, &trace.extents, input), marks }
    }

    fn mark(&self, rng: &mut Rng) -> Option<f64> {
        if self.marks.is_empty() || rng.bool() { None } else { Some(self.marks[rng.usize(..self.marks.len())]) }
    }
}

fn buffer(input: &Input, shape: Vec<usize>, dtype: Dtype, likely: &Likely, rng: &mut Rng) -> Result<Buffer> {
    Ok(match input.kind {
        Kind::Float => {
            let element = || likely.mark(rng).unwrap_or_else(|| float(dtype, rng));
            Buffer::Float(filled(&input.name, &shape, repeat_with(element))?)
        }
        _ => {
            let element = || likely.mark(rng).map_or_else(|| rng.i64(0..=likely.bound), |mark| mark as i64);
            Buffer::Int(filled(&input.name, &shape, repeat_with(element))?)
        }
    })
}

/// The constants that elements of an input are compared with.
fn marks(graph: &Graph, input: &str) -> Vec<f64> {
    let element = |id: Id| graph.as_read(id).is_some_and(|(buffer, _)| graph.input(buffer).name == input);
    let constant = |id: Id| match graph.op(id) {
        Op::Float(x) => Some(x.get()),
        Op::Int(n) => Some(n as f64),
        _ => None,
    };
    let compared = graph.ids().filter_map(|id| graph.as_point(id).filter(|(p, _)| *p == Point::Eq));
    let pairs = compared.flat_map(|(_, args)| [(args[0], args[1]), (args[1], args[0])]);
    pairs.filter(|(own, _)| element(*own)).filter_map(|(_, other)| constant(other)).collect()
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
    match dtype {
        Dtype::F32 => f64::from(x as f32),
        Dtype::Bf16 => bf16::from_f64(x).into(),
        Dtype::F16 => f16::from_f64(x).into(),
        _ => x,
    }
}

/// A buffer as a caller gives it.
pub(super) fn array(buffer: &Buffer, port: &Port) -> Result<Array> {
    macro_rules! of {
        ($($dtype:ident $ty:ty, $float:expr, $int:expr;)*) => {
            match port.dtype {
                $(Dtype::$dtype => {
                    Ok(Array::from(match buffer {
                        Buffer::Float(x) => filled(&port.name, &port.shape, x.iter().map(|&x| $float(x)))?,
                        Buffer::Int(x) => filled(&port.name, &port.shape, x.iter().map(|&x| $int(x)))?,
                    }))
                })*
            }
        };
    }
    of!(
        F32 f32, |x| x as f32, |x| x as f32;
        F64 f64, |x| x, |x| x as f64;
        I32 i32, |x| x as i32, |x| x as i32;
        I64 i64, |x| x as i64, |x| x;
        U8 u8, |x| x as u8, |x| x as u8;
        U32 u32, |x| x as u32, |x| x as u32;
        Bf16 bf16, bf16::from_f64, |x| bf16::from_f64(x as f64);
        F16 f16, f16::from_f64, |x| f16::from_f64(x as f64);
    )
}
