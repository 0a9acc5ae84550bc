//! Collapse: axes that follow each other in memory are one.
//!
//! ```text
//! sum @j sum @k x[n j k]   over j=3 k=224   →   sum @k x[n 0 k]   over j=1 k=672
//! ```
//!
//! Two axes may be collapsed where every buffer that has one of them has both, side by side and one stride apart as in row-major
//! memory, and every value varies along both or neither, but for a fold along the inner one that only the same fold along the outer
//! one uses. The inner one then runs over all their elements, and the outer one has one index. Loops are longer so: an image is a
//! row, and a small last axis costs nothing.

use super::{Layout, sized};
use crate::error::Result;
use crate::ir::{AxisId, Graph, Id, Op};
use std::collections::BTreeSet;

/// Indices of an axis, at most: in f32 an index is an integer as wide as the floats are.
const LONGEST: usize = i32::MAX as usize;

/// The graph with its sizes as numbers, and the extents of its axes: of collapsed ones, all but the innermost have one index. Strides
/// of buffers hold as they are.
///
/// # Errors
/// None but faults of the compiler.
pub fn collapse(graph: &Graph, extents: &[usize], layout: &Layout) -> Result<(Graph, Vec<usize>)> {
    let (mut graph, mut extents) = (sized(graph, extents)?, extents.to_vec());
    while let Some(pair) = pairs(&graph, &extents).into_iter().find(|&pair| are_one(&graph, &extents, layout, pair)) {
        let [outer, inner] = pair.map(AxisId::index);
        extents[inner] *= std::mem::replace(&mut extents[outer], 1);
        graph = sized(&graph, &extents)?;
    }
    Ok((graph, extents))
}

/// The axes that stand side by side in a buffer, beside those of one element.
fn pairs(graph: &Graph, extents: &[usize]) -> Vec<[AxisId; 2]> {
    let side_by_side = |axes: &Vec<AxisId>| {
        let long: Vec<AxisId> = axes.iter().copied().filter(|a| extents[a.index()] > 1).collect();
        long.windows(2).map(|pair| [pair[0], pair[1]]).collect::<Vec<_>>()
    };
    let found: BTreeSet<[AxisId; 2]> = graph.buffers().flat_map(side_by_side).collect();
    found.into_iter().filter(|[outer, inner]| outer != inner).collect()
}

fn are_one(graph: &Graph, extents: &[usize], layout: &Layout, pair: [AxisId; 2]) -> bool {
    let inputs = graph.inputs.iter().map(|input| &input.axes).zip(&layout.inputs);
    let outputs = graph.outputs.iter().map(|output| &output.axes).zip(&layout.outputs);
    let [outer, inner] = pair.map(|axis| extents[axis.index()]);
    outer.checked_mul(inner).is_some_and(|both| both <= LONGEST)
        && inputs.chain(outputs).all(|(axes, strides)| follow(axes, strides, extents, pair))
        && graph.ids().all(|id| is_along_both(graph, id, pair))
        && graph.outputs.iter().all(|output| has_both_or_none(graph, output.value, pair))
}

/// Whether a buffer has both axes, one behind the other in memory too, or none of them.
fn follow(axes: &[AxisId], strides: &[isize], extents: &[usize], [outer, inner]: [AxisId; 2]) -> bool {
    let mut long = axes.iter().zip(strides).filter(|(axis, _)| extents[axis.index()] > 1);
    while let Some((axis, stride)) = long.next() {
        let follows = |(next, step): (&AxisId, &isize)| {
            *next == inner && step.checked_mul(extents[inner.index()] as isize) == Some(*stride)
        };
        if *axis == inner || *axis == outer && !long.next().is_some_and(follows) {
            return false;
        }
    }
    true
}

fn has_both_or_none(graph: &Graph, id: Id, [outer, inner]: [AxisId; 2]) -> bool {
    let axes = graph.ty(id).axes;
    axes.contains(outer) == axes.contains(inner)
}

/// Whether a node does the same along both axes: reads along them, folds both, or has nothing to do with their indices.
fn is_along_both(graph: &Graph, id: Id, pair: [AxisId; 2]) -> bool {
    let [outer, inner] = pair;
    let names = |arg: &Id| graph.as_axis(*arg).filter(|axis| pair.contains(axis));
    if let Some((input, indices)) = graph.as_read(id) {
        let alike = |(index, dim): (&Id, &AxisId)| names(index) == Some(*dim).filter(|dim| pair.contains(dim));
        return indices.iter().zip(&graph.input(input).axes).all(alike);
    }
    match (graph.op(id), graph.as_fold(id)) {
        (Op::Axis(_), _) => true, // its users say
        (_, Some((fold, axis, body))) if axis == outer => {
            matches!(graph.as_fold(body), Some((same, along, _)) if same == fold && along == inner)
        }
        (_, Some((fold, axis, _))) if axis == inner => {
            let folds_it = |user: Id| graph.as_fold(user) == Some((fold, outer, id));
            let mut users = graph.ids().filter(|&user| graph.node(user).args.contains(&id));
            graph.ty(id).axes.contains(outer) && users.all(folds_it)
        }
        (_, fold) => {
            let args = &graph.node(id).args[usize::from(fold.is_some())..];
            has_both_or_none(graph, id, pair) && args.iter().all(|arg| names(arg).is_none())
        }
    }
}
