//! How a head gradient enters: where it is only a factor, a gradient can be computed before the head is known.

use super::{HEAD, Walk, Wanted, grad_name, saved_name, seed};
use crate::error::{Error, Result};
use crate::ir::{Builder, Graph, Id, Native, Op};

/// Of these inputs, those whose gradient of `Σ loss · head` is their gradient of the loss's sum, times the head, for
/// every head: each element of the gradient comes from one element of the loss. The gradient of a weight that a batch
/// shares is not so.
///
/// # Errors
/// The loss does not depend smoothly on one of them.
pub fn scaled_by_head(graph: &Graph, wrt: &[String]) -> Result<Vec<String>> {
    let mut walk = Walk::new(graph, &Wanted::backward(wrt))?;
    walk.run()?;
    let mut scaled = vec![];
    for name in wrt {
        let input = graph.find_input(name).filter(|_| !scaled.contains(name));
        if let Some(gradient) = input.map(|input| walk.gradient(input)).transpose()?.flatten()
            && is_factor(walk.b.graph(), walk.seed, gradient)
        {
            scaled.push(name.clone());
        }
    }
    Ok(scaled)
}

/// Whether the seed enters a gradient, which is linear in it, along its own axes only.
fn is_factor(graph: &Graph, seed: Id, gradient: Id) -> bool {
    let axes = graph.ty(seed).axes;
    // By node: whether the seed is below, and whether the head is by another way.
    let mut below: Vec<(bool, bool)> = vec![];
    for id in graph.ids() {
        let at = |args: &[Id]| {
            args.iter().fold((false, false), |(s, h), &a| {
                let (seed, head) = below[usize::from(a)];
                (s || seed, h || head)
            })
        };
        let node = graph.node(id);
        let (mut of_seed, mut of_head) = at(&node.args);
        if id == seed {
            (of_seed, of_head) = (true, false);
        } else if graph.as_read(id).is_some_and(|(input, _)| graph.input(input).name == HEAD) {
            of_head = true;
        }
        let bound = match node.op {
            Op::Fold(_) => graph.as_fold(id).is_some_and(|(_, axis, _)| axes.contains(axis)) && of_seed,
            Op::Native(_) => at(&node.args[Native::BOUND]).0,
            _ => false,
        };
        below.push((of_seed, of_head || bound));
    }
    !below[usize::from(gradient)].1
}

/// The joint graph with a gradient `grad.NAME` for each of these inputs: its `saved.NAME` times the head.
///
/// # Errors
/// Nothing was saved for one of them.
pub fn scale_by_head(joint: &Graph, inputs: &[String]) -> Result<Graph> {
    if inputs.is_empty() {
        return Ok(joint.clone());
    }
    let mut b = Builder::from(joint);
    let seed = seed(&mut b, &joint.outputs[0], true)?;
    for name in inputs {
        let saved = joint.outputs.iter().find(|o| o.name == saved_name(name));
        let saved = saved.ok_or_else(|| Error::internal("grad", format!("no {}", saved_name(name))))?;
        let scaled = b.mul(saved.value, seed)?;
        b.output(&grad_name(name), &saved.axes, scaled);
    }
    b.finish()
}
