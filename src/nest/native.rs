//! Native kernels in the nest: which calls there are. A loss and its gradient are one call, unless the gradient's head
//! depends on the loss.

use super::phases::{Sink, SinkInfo};
use crate::error::{Error, Result};
use crate::ir::{AxisId, AxisSet, Graph, Id, Native, Op};
use std::collections::BTreeSet;

/// The calls of a graph.
///
/// # Errors
/// A gradient is not the value of an output, along the output's own axes: its plane has nowhere to go.
pub(super) fn natives(graph: &Graph, extents: &[usize]) -> Result<Vec<Sink>> {
    let of_kind = |kind: Native| graph.ids().filter(move |&id| graph.op(id) == Op::Native(kind));
    let mut grads = vec![];
    for id in of_kind(Native::CtcGrad) {
        grads.push((id, output_of(graph, extents, id)?));
    }
    let mut sinks = vec![];
    for loss in of_kind(Native::Ctc) {
        let same = |grad: Id| graph.node(grad).args[..Native::BOUND.end] == graph.node(loss).args[..];
        let together = grads.iter().position(|&(grad, _)| same(grad) && !depends(graph, grad, loss));
        let grad = together.map(|place| grads.remove(place).1);
        sinks.push(Sink::Native { loss: Some(loss), grad });
    }
    sinks.extend(grads.into_iter().map(|(_, output)| Sink::Native { loss: None, grad: Some(output) }));
    Ok(sinks)
}

fn output_of(graph: &Graph, extents: &[usize], grad: Id) -> Result<usize> {
    let used = graph.ids().any(|id| graph.node(id).args.contains(&grad));
    let mut outputs = (0..graph.outputs.len()).filter(|&o| graph.outputs[o].value == grad);
    match (outputs.next(), outputs.next()) {
        (Some(output), None) if !used && is_whole(graph, extents, grad, output) => Ok(output),
        _ => Err(Error::Declaration {
            loss: graph.name.clone(),
            problem: "ctc needs logits of its own: an input that nothing else reads".into(),
        }),
    }
}

/// Whether the steps and classes at which the gradient is taken are the output's own axes.
fn is_whole(graph: &Graph, extents: &[usize], grad: Id, output: usize) -> bool {
    let Some((_, [t, c, _], args)) = graph.as_native(grad) else { return false };
    let along = |axis: AxisId, index: Id| match graph.op(index) {
        Op::Axis(a) => a == axis,
        Op::Int(0) => extents[axis.index()] == 1,
        _ => false,
    };
    let axes: AxisSet = graph.outputs[output].axes.iter().copied().collect();
    along(t, args[9]) && along(c, args[10]) && axes.contains(t) && axes.contains(c)
}

/// Whether a value is computed from another.
fn depends(graph: &Graph, value: Id, on: Id) -> bool {
    let mut reached = vec![false; graph.nodes.len()];
    for id in graph.ids() {
        reached[usize::from(id)] = id == on || graph.node(id).args.iter().any(|&a| reached[usize::from(a)]);
    }
    reached[usize::from(value)]
}

/// A call stands in the loops over the rows, and needs what its numbers need.
pub(super) fn native_sink(graph: &Graph, under: &[BTreeSet<Id>], sink: Sink) -> SinkInfo {
    let Sink::Native { loss, grad } = sink else { unreachable!("a native sink") };
    let nodes = loss.into_iter().chain(grad.map(|output| graph.outputs[output].value));
    let (mut domain, mut needs) = (AxisSet::EMPTY, BTreeSet::new());
    for node in nodes {
        let (_, [t, c, _], args) = graph.as_native(node).expect("a native kernel");
        domain = domain.union(graph.ty(node).axes.without(t).without(c));
        needs.extend(super::native_numbers(args).iter().flat_map(|&a| under[usize::from(a)].iter().copied()));
    }
    SinkInfo { sink, domain, bound: None, needs }
}
