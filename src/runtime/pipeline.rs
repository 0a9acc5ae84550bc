//! The stages in order: trace, simplify, grad, joint, nest, kernel.

use super::vjp::Backward;
use crate::error::{Error, Result};
use crate::grad::{HEAD, Halves, Wanted, grad, grad_name, saved_name, scale_by_head, scaled_by_head, split};
use crate::ir::{AxisId, Graph, MAX_NODES};
use crate::jit::{Binding, Kernel, compile};
use crate::losses::Loss;
use crate::nest::{Layout, Nest, collapse, expand, schedule};
use crate::simplify::{Report, simplify};
use crate::trace::{Port, Spec, Trace, Tracer};
use std::{panic, thread};

/// Every graph on the way from a declaration to what is scheduled.
#[derive(Clone, Debug)]
pub struct Stages {
    pub wanted: Wanted,
    /// The formula as declared.
    pub trace: Graph,
    /// The same, stable.
    pub simplify: Graph,
    /// With its gradients.
    pub grad: Graph,
    /// Loss and gradients simplified together.
    pub joint: Graph,
    /// What each simplification did.
    pub reports: [Report; 2],
}

/// Does a stage inside a span of its word, for whoever listens to `tracing`.
macro_rules! stage {
    ($word:literal, $loss:expr, $work:expr) => {
        tracing::debug_span!($word, loss = %$loss).in_scope(|| $work)
    };
}

/// Traces a loss for inputs of these shapes.
pub fn trace(loss: &dyn Loss, given: &[Spec]) -> Result<Trace> {
    stage!("trace", loss.name(), {
        let tracer = Tracer::new(loss.name(), given)?;
        let value = loss.declare(&tracer)?.id();
        tracer.finish(value)
    })
}

/// Everything that no extent enters: it holds for all shapes that trace alike.
pub fn graphs(trace: &Graph, wanted: &Wanted) -> Result<Stages> {
    with_stack(trace, || {
        let (simple, first) = stage!("simplify", trace.name, simplify(trace))?;
        let with_gradients = stage!("grad", trace.name, grad(&simple, wanted))?;
        let (joint, second) = stage!("joint", trace.name, simplify(&with_gradients))?;
        Ok(Stages {
            wanted: wanted.clone(),
            trace: trace.clone(),
            simplify: simple,
            grad: with_gradients,
            joint,
            reports: [first, second],
        })
    })
}

/// The nest for known extents and strides.
pub fn nest(joint: &Graph, extents: &[usize], layout: &Layout) -> Result<Nest> {
    with_stack(joint, || {
        stage!("nest", joint.name, {
            let (graph, extents) = collapse(joint, extents, layout)?;
            schedule(&expand(&graph, &extents)?, &extents, layout)
        })
    })
}

/// The machine code of a joint graph.
pub fn kernel(joint: &Graph, extents: &[usize], binding: Binding) -> Result<Kernel> {
    let nest = nest(joint, extents, &binding.layout)?;
    stage!("kernel", joint.name, compile(nest, binding))
}

/// The graphs of a loss and its gradients in two halves. The last graph has what is saved as outputs too, and is cut
/// once extents are known.
pub fn vjp_graphs(trace: &Graph, wrt: &[String], backward: Backward) -> Result<Stages> {
    let (simple, first) = stage!("simplify", trace.name, simplify(trace))?;
    let scaled = if backward == Backward::Kept { scaled_by_head(&simple, wrt)? } else { vec![] };
    let others: Vec<&String> = wrt.iter().filter(|name| !scaled.contains(name)).collect();
    let mut gradients = stage!("grad", trace.name, grad(&simple, &Wanted::value_and_grad(&scaled)))?;
    for output in &mut gradients.outputs {
        if let Some(name) = scaled.iter().find(|name| grad_name(name) == output.name) {
            output.name = saved_name(name);
        }
    }
    let with_gradients = stage!("grad", trace.name, grad(&gradients, &Wanted::value_and_grad(&others).with_head()))?;
    let (joint, second) = stage!("joint", trace.name, simplify(&with_gradients))?;
    let joint = scale_by_head(&joint, &scaled)?;
    Ok(Stages {
        wanted: Wanted::value_and_grad(wrt).with_head(),
        trace: trace.clone(),
        simplify: simple,
        grad: with_gradients,
        joint,
        reports: [first, second],
    })
}

/// Cuts the last of [`vjp_graphs`] into a forward and a backward graph.
pub fn halves(joint: &Graph, extents: &[usize], wrt: &[String]) -> Result<Halves> {
    split(&expand(joint, extents)?, extents, wrt)
}

/// The shape of the loss.
pub fn output_shape(trace: &Trace) -> Vec<usize> {
    let out = &trace.graph.outputs[0];
    port_of(trace, &out.name, &out.axes).shape
}

/// The buffers that a graph made from a trace reads, as a caller gives them.
pub fn ports(trace: &Trace, graph: &Graph) -> Vec<Port> {
    graph.inputs.iter().map(|input| port_of(trace, &input.name, &input.axes)).collect()
}

/// A buffer of a graph made from a trace, as a caller gives it: an input of the loss or its gradient in the shape that
/// the input was given in, anything else along its axes.
pub fn port_of(trace: &Trace, name: &str, axes: &[AxisId]) -> Port {
    let whole = |p: &&Port| p.name == name || grad_name(&p.name) == name || saved_name(&p.name) == name;
    let shape = trace.ports.iter().find(whole).map(|port| port.shape.clone());
    let shape = shape.unwrap_or_else(|| axes.iter().map(|a| trace.extents[a.index()]).collect());
    let own = trace.ports.iter().find(|p| p.name == name).map(|p| p.dtype);
    // What the backward pass goes on from keeps the digits that it was computed with.
    let is_callers = name == "out" || name == HEAD || name.starts_with(&grad_name(""));
    let dtype = if is_callers { trace.dtype() } else { trace.dtype().computed() };
    Port { name: name.to_string(), dtype: own.unwrap_or(dtype), shape }
}

/// The passes recurse along a graph. Graphs of more nodes than this get a thread with a stack for any graph that there can
/// be, whatever the caller's is.
const SHALLOW: usize = 500;

/// Bytes of stack for a node, with room to spare. They are reserved, and taken only where the recursion goes.
const FRAME: usize = 16 << 10;

/// Does work that recurses along a graph, on a stack that is deep enough.
pub(crate) fn with_stack<R: Send>(graph: &Graph, work: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    if graph.nodes.len() <= SHALLOW {
        return work();
    }
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(MAX_NODES * FRAME).spawn_scoped(scope, work);
        let thread = thread.map_err(|e| Error::Machine(format!("no thread to compile on: {e}")))?;
        thread.join().unwrap_or_else(|cause| panic::resume_unwind(cause))
    })
}
