//! Split: a graph of loss and gradients cut in two, for programs that learn the head gradient only after the loss.
//!
//! The forward half gives the loss and what is saved; the backward half reads that, the head gradient and, of the loss's
//! own inputs, what it still needs. Saved are the outputs named `saved.NAME`, and statistics of rows: results of folds
//! that the gradients take and that are smaller than an input, such as the maximum and the sum of a softmax. Everything
//! else is cheaper to compute again than to keep.

use super::{HEAD, grad_name, saved_name};
use crate::error::{Error, Result};
use crate::ir::{AxisId, AxisSet, Builder, Graph, Id, InputId, Native, Node, Op, Output};
use std::collections::{BTreeSet, HashMap};

/// A loss and its gradients in two graphs.
#[derive(Clone, PartialEq, Debug)]
pub struct Halves {
    /// `out`, then what is saved.
    pub forward: Graph,
    /// `grad.NAME` for each input asked for; reads what was saved under the same names.
    pub backward: Graph,
}

/// Cuts a graph whose outputs are `out`, any `saved.NAME`, and a gradient by a head for each of these inputs. Best
/// after expansion: the parts of a log-sum-exp keep digits that it has lost.
///
/// # Errors
/// A gradient is missing.
pub fn split(graph: &Graph, extents: &[usize], wrt: &[String]) -> Result<Halves> {
    let output = |name: &str| graph.outputs.iter().find(|o| o.name == name).cloned();
    let missing = |name: &str| Error::internal("split", format!("no output {name}"));
    let out = output("out").ok_or_else(|| missing("out"))?;
    let grads = wrt.iter().map(|name| output(&grad_name(name)).ok_or_else(|| missing(name)));
    let grads: Vec<Output> = grads.collect::<Result<_>>()?;
    let whole = graph.outputs.iter().filter(|o| is_worth_saving(graph, extents, o));
    let mut saved: Vec<Output> = whole.cloned().collect();
    let found = first_saveable(graph, &grads, &saved);
    saved.retain(|o| found.contains(&o.value));
    let rows = found.iter().filter(|&value| saved.iter().all(|o| o.value != *value));
    let rows = rows.enumerate().map(|(number, &value)| {
        let axes = graph.ty(value).axes.iter().collect();
        Output { name: format!("row.{number}"), axes, value }
    });
    let rows: Vec<Output> = rows.collect();
    saved.extend(rows);
    let forward: Vec<Output> = std::iter::once(out).chain(saved.iter().cloned()).collect();
    Ok(Halves { forward: part(graph, &forward, &[])?, backward: part(graph, &grads, &saved)? })
}

/// A gradient to save as a whole: not what is an input or a number anyway, nor what is the same along an axis.
fn is_worth_saving(graph: &Graph, extents: &[usize], output: &Output) -> bool {
    let varies = |a: &AxisId| extents[a.index()] == 1 || graph.ty(output.value).axes.contains(*a);
    let computed = !matches!(graph.op(output.value), Op::Read | Op::Float(_) | Op::Int(_));
    output.name.starts_with(&saved_name("")) && computed && output.axes.iter().all(varies)
}

/// Looks down from the gradients for the first values that are saved or can be; in the order of the graph.
fn first_saveable(graph: &Graph, grads: &[Output], saved: &[Output]) -> BTreeSet<Id> {
    let by_head = depend_on_head(graph);
    let mut found = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let mut open: Vec<Id> = grads.iter().map(|o| o.value).collect();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let is_row = !by_head[usize::from(id)] && is_statistic(graph, id);
        if is_row || saved.iter().any(|o| o.value == id) {
            found.insert(id);
        } else {
            open.extend(&graph.node(id).args);
        }
    }
    found
}

/// A result along fewer axes than some input has.
fn is_statistic(graph: &Graph, id: Id) -> bool {
    let axes = graph.ty(id).axes;
    let smaller = |dims: &[AxisId]| {
        let dims: AxisSet = dims.iter().copied().collect();
        axes.is_subset(dims) && axes != dims
    };
    matches!(graph.op(id), Op::Fold(_) | Op::Native(Native::Ctc)) && graph.inputs.iter().any(|i| smaller(&i.axes))
}

fn depend_on_head(graph: &Graph) -> Vec<bool> {
    let mut by_head: Vec<bool> = vec![];
    for id in graph.ids() {
        let is_head = matches!(graph.op(id), Op::Input(input) if graph.input(input).name == HEAD);
        by_head.push(is_head || graph.node(id).args.iter().any(|&a| by_head[usize::from(a)]));
    }
    by_head
}

/// The graph of some outputs, with only the inputs that they need, in which saved values are inputs.
fn part(graph: &Graph, outputs: &[Output], saved: &[Output]) -> Result<Graph> {
    let saved: HashMap<Id, &Output> = saved.iter().map(|o| (o.value, o)).collect();
    let mut needed = BTreeSet::new();
    let mut open: Vec<Id> = outputs.iter().map(|o| o.value).collect();
    while let Some(id) = open.pop() {
        if needed.insert(id) && !saved.contains_key(&id) {
            open.extend(&graph.node(id).args);
        }
    }
    let mut b = Builder::like(&Graph { inputs: vec![], ..graph.clone() });
    let mut inputs: HashMap<InputId, InputId> = HashMap::new();
    for (place, input) in graph.inputs.iter().enumerate() {
        let place = InputId::new(place);
        if needed.iter().any(|&id| graph.op(id) == Op::Input(place)) {
            inputs.insert(place, b.input(&input.name, &input.axes, input.kind)?);
        }
    }
    let mut at: HashMap<Id, Id> = HashMap::new();
    for &id in &needed {
        let copy = match (saved.get(&id), graph.op(id)) {
            (Some(output), _) => {
                let input = b.input(&output.name, &output.axes, graph.ty(id).kind)?;
                let indices = output.axes.iter().map(|&a| index(&mut b, graph, id, a)).collect::<Result<Vec<_>>>()?;
                b.read(input, &indices)?
            }
            (None, Op::Input(input)) => b.intern(Node::leaf(Op::Input(inputs[&input])))?,
            (None, op) => {
                let args: Vec<Id> = graph.node(id).args.iter().map(|a| at[a]).collect();
                b.intern(Node::new(op, &args))?
            }
        };
        at.insert(id, copy);
    }
    outputs.iter().for_each(|o| b.output(&o.name, &o.axes, at[&o.value]));
    b.finish()
}

/// The index at which a saved value is read; axes of one element have no running index.
fn index(b: &mut Builder, graph: &Graph, value: Id, axis: AxisId) -> Result<Id> {
    if graph.ty(value).axes.contains(axis) { b.index(axis) } else { b.int(0) }
}
