//! The stages in order: trace, simplify, grad, joint, nest, kernel.

use crate::error::{Error, Result};
use crate::grad::{HEAD, Wanted, grad};
use crate::ir::{AxisId, Graph, MAX_NODES};
use crate::jit::{Binding, Kernel, compile};
use crate::losses::Loss;
use crate::nest::{Layout, Nest, expand, schedule};
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

/// Traces a loss for inputs of these shapes.
pub fn trace(loss: &dyn Loss, given: &[Spec]) -> Result<Trace> {
    let tracer = Tracer::new(loss.name(), given)?;
    let value = loss.declare(&tracer)?.id();
    tracer.finish(value)
}

/// Everything that no extent enters: it holds for all shapes that trace alike.
pub fn graphs(trace: &Graph, wanted: &Wanted) -> Result<Stages> {
    with_stack(trace, || {
        let (simple, first) = simplify(trace)?;
        let with_gradients = grad(&simple, wanted)?;
        let (joint, second) = simplify(&with_gradients)?;
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
    with_stack(joint, || schedule(&expand(joint, extents)?, extents, layout))
}

/// The machine code of a joint graph.
pub fn kernel(joint: &Graph, extents: &[usize], binding: Binding) -> Result<Kernel> {
    let nest = nest(joint, extents, &binding.layout)?;
    compile(nest, binding)
}

/// The buffers that a joint graph reads, as a caller gives them: those of the trace, then the head gradient.
pub fn ports(trace: &Trace, joint: &Graph) -> Vec<Port> {
    let head = || Port { name: HEAD.into(), dtype: trace.dtype(), shape: output_shape(trace) };
    let known = |name: &str| trace.ports.iter().find(|p| p.name == name).cloned();
    joint.inputs.iter().map(|input| known(&input.name).unwrap_or_else(head)).collect()
}

/// The shape of the loss.
pub fn output_shape(trace: &Trace) -> Vec<usize> {
    shape_of(&trace.graph.outputs[0].axes, &trace.extents)
}

fn shape_of(axes: &[AxisId], extents: &[usize]) -> Vec<usize> {
    axes.iter().map(|a| extents[a.index()]).collect()
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
