//! Smaller versions of a failing case.

use super::Case;
use lossjit::ir::{Builder, Graph, Id, Kind, Output};
use lossjit::oracle::graph::Buffer;
use ndarray::{ArrayD, Slice};

/// Versions of a case that are smaller by one step, those that drop most first: one output alone, a sub-expression as
/// the output, shorter axes, a node left out.
pub fn shrink(case: &Case) -> Vec<Case> {
    let graph = &case.graph;
    let with = |graph: Graph| Case { graph, ..case.clone() };
    let mut smaller = vec![];
    if graph.outputs.len() > 1 {
        smaller.extend(graph.outputs.iter().filter_map(|o| outputs(graph, vec![o.clone()])).map(with));
    } else {
        for id in graph.ids().filter(|&id| graph.ty(id).kind == Kind::Float && id != graph.outputs[0].value) {
            let output = Output { name: "out".into(), axes: graph.ty(id).axes.iter().collect(), value: id };
            smaller.extend(outputs(graph, vec![output]).map(with));
        }
    }
    let mut extents: Vec<usize> = case.extents.iter().copied().filter(|&n| n > 1).collect();
    extents.sort();
    extents.dedup();
    for extent in extents.into_iter().rev() {
        smaller.extend([1, extent / 2, extent - 1].map(|n| shorten(case, extent, n)));
    }
    for id in graph.ids() {
        smaller.extend(graph.node(id).args.iter().filter_map(|&arg| without(graph, id, arg)).map(with));
    }
    let size = |c: &Case| (c.graph.nodes.len() + c.graph.outputs.len(), c.extents.iter().sum::<usize>());
    let before = size(case);
    smaller.retain(|c| size(c) < before);
    smaller
}

/// The smallest version found on which `fails` still holds.
pub fn smallest(case: &Case, fails: impl Fn(&Case) -> bool) -> Case {
    let mut case = case.clone();
    while let Some(smaller) = shrink(&case).into_iter().find(&fails) {
        case = smaller;
    }
    case
}

fn outputs(graph: &Graph, outputs: Vec<Output>) -> Option<Graph> {
    Builder::from(&Graph { outputs, ..graph.clone() }).finish().ok()
}

/// The graph with one node's argument in the node's place, where the types allow it.
fn without(graph: &Graph, node: Id, arg: Id) -> Option<Graph> {
    let (whole, part) = (graph.ty(node), graph.ty(arg));
    if whole.kind != part.kind || !part.axes.is_subset(whole.axes) {
        return None;
    }
    let mut builder = Builder::like(graph);
    let mut place: Vec<Id> = vec![];
    for id in graph.ids() {
        let mut copy = graph.node(id).clone();
        copy.args.iter_mut().for_each(|a| *a = place[usize::from(*a)]);
        place.push(if id == node { place[usize::from(arg)] } else { builder.intern(copy).ok()? });
    }
    graph.outputs.iter().for_each(|o| builder.output(&o.name, &o.axes, place[usize::from(o.value)]));
    builder.finish().ok()
}

/// The case with every axis of one extent cut to another: axes that are as long may stand for each other.
fn shorten(case: &Case, from: usize, to: usize) -> Case {
    let keep = |n: usize| if n == from { to } else { n };
    let class = |i: i64| if i >= to as i64 { i % to as i64 } else { i };
    let cut = |buffer: &Buffer| match buffer {
        Buffer::Float(x) => Buffer::Float(first(x, keep)),
        Buffer::Int(x) => Buffer::Int(first(x, keep).mapv(class)),
    };
    let extents = case.extents.iter().map(|&n| keep(n)).collect();
    Case { graph: case.graph.clone(), extents, inputs: case.inputs.iter().map(cut).collect() }
}

fn first<T: Clone>(x: &ArrayD<T>, keep: impl Fn(usize) -> usize) -> ArrayD<T> {
    x.slice_each_axis(|axis| Slice::from(..keep(axis.len))).to_owned()
}
