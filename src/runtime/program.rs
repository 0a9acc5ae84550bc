//! A program: what evaluates one graph for certain buffers, compiled or interpreted.

use super::bind::Signature;
use super::call::{Compiled, interpret, write};
use super::pipeline::{self, Stages};
use super::view::{Inputs, ViewMut};
use crate::error::Result;
use crate::ir::Graph;
use crate::trace::Trace;
use std::sync::Arc;

#[derive(Clone)]
pub(super) enum Program {
    Compiled(Compiled),
    Interpreted(Arc<Interpreted>),
}

pub(super) struct Interpreted {
    graph: Graph,
    extents: Vec<usize>,
    signature: Signature,
}

impl Program {
    /// The program of a graph that was made from a trace by these stages: their last, or a half of it.
    ///
    /// # Errors
    /// The buffers do not suit, or the nest does not allow what is to be in place.
    pub(super) fn new(
        trace: &Trace,
        stages: &Arc<Stages>,
        graph: &Graph,
        signature: Signature,
        compiled: bool,
    ) -> Result<Self> {
        Ok(if compiled {
            Program::Compiled(compile(trace, stages, graph, signature)?)
        } else {
            let (graph, extents) = (graph.clone(), trace.extents.clone());
            Program::Interpreted(Arc::new(Interpreted { graph, extents, signature }))
        })
    }

    pub(super) fn signature(&self) -> &Signature {
        match self {
            Program::Compiled(compiled) => compiled.signature(),
            Program::Interpreted(interpreted) => &interpreted.signature,
        }
    }

    pub(super) fn run(&self, threads: Option<usize>, inputs: &Inputs, outputs: &mut [ViewMut]) -> Result<()> {
        match self {
            Program::Compiled(compiled) => match threads {
                Some(threads) => compiled.run_on(threads, inputs, outputs),
                None => compiled.run(inputs, outputs),
            },
            Program::Interpreted(program) => {
                program.signature.addresses(&program.graph.name, inputs, outputs)?;
                let results = {
                    let inputs = program.signature.with_in_place(inputs, outputs);
                    interpret(&program.graph, &program.extents, &inputs)?
                };
                outputs.iter_mut().zip(&results).try_for_each(|(output, result)| write(result, output))
            }
        }
    }
}

/// The machine code of a graph made from a trace: the last of its stages, or a half of it.
pub(super) fn compile(trace: &Trace, stages: &Arc<Stages>, graph: &Graph, signature: Signature) -> Result<Compiled> {
    let binding = signature.binding(trace, graph)?;
    let kernel = pipeline::kernel(graph, &trace.extents, binding)?;
    let half = if std::ptr::eq(graph, &stages.joint) { None } else { Some(graph.clone()) };
    Ok(Compiled::new(kernel, signature, stages.clone(), half, trace.extents.clone()))
}
