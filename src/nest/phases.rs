//! Phases: which loops there are, and which folds and stores share them.
//!
//! One order of axes holds for the whole nest. Along the first axis, everything that needs a fold's result from that
//! axis goes into a later loop than the fold; everything else shares a loop. What is inside a loop is arranged the same
//! way along the next axis.

use super::Layout;
use super::native::{native_sink, natives};
use super::pairs::PairSum;
use super::plan::{Blocks, Plan};
use crate::error::Result;
use crate::ir::{AxisId, AxisSet, Graph, Id, Native, Op};
use std::collections::BTreeSet;

/// What the loops are for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Sink {
    Fold(Id),
    Store(usize),
    /// A value that later loops, or a sum over pairs, take from a slot.
    Keep(Id),
    /// See [`Step::Pairs`](super::Step::Pairs).
    Pairs(Id),
    /// See [`Step::Native`](super::Step::Native).
    Native {
        loss: Option<Id>,
        grad: Option<usize>,
    },
}

impl Sink {
    /// The value that others wait for.
    fn gives(self) -> Option<Id> {
        match self {
            Sink::Fold(value) | Sink::Pairs(value) | Sink::Keep(value) => Some(value),
            Sink::Native { loss, .. } => loss,
            Sink::Store(_) => None,
        }
    }
}

/// A loop or a sink in its place. Loops are numbered, so that two places can be compared.
#[derive(Clone, Debug)]
pub enum Tree {
    Sink(Sink),
    Loop { axis: AxisId, number: usize, body: Vec<Tree> },
    Block { axis: AxisId, number: usize, body: Vec<Tree> },
}

/// The axes that have loops, outermost first: by the largest step that they make in any buffer. So the innermost is
/// the one that runs along memory.
pub fn order(graph: &Graph, extents: &[usize], layout: &Layout) -> Vec<AxisId> {
    let mut stride = vec![0usize; graph.axes.len()];
    let mut note = |axis: AxisId, step: isize| {
        let known = &mut stride[axis.index()];
        *known = (*known).max(step.unsigned_abs());
    };
    for (output, strides) in graph.outputs.iter().zip(&layout.outputs) {
        output.axes.iter().zip(strides).for_each(|(&axis, &step)| note(axis, step));
    }
    for id in graph.ids() {
        let Some((input, indices)) = graph.as_read(id) else { continue };
        for (&index, &step) in indices.iter().zip(&layout.inputs[input.index()]) {
            if let Some(axis) = graph.as_axis(index) {
                note(axis, step);
            }
        }
    }
    let mut axes: Vec<AxisId> = (0..graph.axes.len()).map(AxisId::new).collect();
    axes.retain(|a| extents[a.index()] != 1);
    axes.sort_by_key(|a| (std::cmp::Reverse(stride[a.index()]), *a));
    axes
}

/// The loops of the whole graph; `None` where the plan's sums over pairs do not end with their blocks.
///
/// # Errors
/// A native kernel's gradient is used otherwise than as an output.
pub fn tree(graph: &Graph, extents: &[usize], plan: &Plan) -> Result<Option<Vec<Tree>>> {
    let folds: Vec<BTreeSet<Id>> = results_under(graph, &plan.flat);
    let natives = natives(graph, extents)?;
    let mut sinks: Vec<SinkInfo> = vec![];
    for id in graph.ids() {
        if let Some((_, axis, body)) = graph.as_fold(id) {
            if let Some((blocks, sum)) = plan.blocks.zip(plan.sum(id)) {
                let bound = (axis == blocks.axis).then_some(axis);
                let needs = sum.weight.iter().copied().collect();
                sinks.push(SinkInfo { sink: Sink::Pairs(id), domain: AxisSet::of(blocks.axis), bound, needs });
                continue;
            }
            let domain = graph.ty(body).axes.with(axis);
            sinks.push(SinkInfo {
                sink: Sink::Fold(id),
                domain,
                bound: Some(axis),
                needs: folds[usize::from(body)].clone(),
            });
        }
    }
    let weights = plan.sums.iter().filter_map(|sum| sum.weight);
    let kept: BTreeSet<Id> = weights.chain(plan.invariants.iter().chain(&plan.flat).copied()).collect();
    for value in kept {
        let args = graph.node(value).args.iter();
        let (domain, needs) = (graph.ty(value).axes, args.flat_map(|&a| folds[usize::from(a)].clone()).collect());
        sinks.push(SinkInfo { sink: Sink::Keep(value), domain, bound: None, needs });
    }
    for sink in &natives {
        sinks.push(native_sink(graph, &folds, *sink));
    }
    let written = |index: usize| natives.iter().any(|s| matches!(s, Sink::Native { grad: Some(g), .. } if *g == index));
    for (index, output) in graph.outputs.iter().enumerate().filter(|(index, _)| !written(*index)) {
        let domain = output.axes.iter().copied().filter(|a| extents[a.index()] != 1).collect();
        let needs = folds[usize::from(output.value)].clone();
        sinks.push(SinkInfo { sink: Sink::Store(index), domain, bound: None, needs });
    }
    let sinks = in_order(sinks);
    if plan.blocks.is_some_and(|blocks| !is_in_one_block(plan, blocks.axis, &sinks)) {
        return Ok(None);
    }
    let mut phases = Phases { plan, in_block: false, loops: 0 };
    Ok(Some(phases.arrange(AxisSet::EMPTY, sinks)))
}

#[derive(Clone)]
pub(super) struct SinkInfo {
    pub sink: Sink,
    /// The axes whose loops it stands in.
    pub domain: AxisSet,
    /// The axis that it folds.
    pub bound: Option<AxisId>,
    /// The folds that it depends on directly.
    pub needs: BTreeSet<Id>,
}

/// Each sink behind those that it needs, otherwise as they come.
fn in_order(mut sinks: Vec<SinkInfo>) -> Vec<SinkInfo> {
    let mut ordered: Vec<SinkInfo> = vec![];
    while !sinks.is_empty() {
        let waits = |sink: &SinkInfo| sinks.iter().filter_map(|s| s.sink.gives()).any(|id| sink.needs.contains(&id));
        let next = sinks.iter().position(|sink| !waits(sink)).expect("a graph has no cycle");
        ordered.push(sinks.remove(next));
    }
    ordered
}

/// For every node the folds, native losses and flat values that it depends on, not looking below them.
fn results_under(graph: &Graph, flat: &BTreeSet<Id>) -> Vec<BTreeSet<Id>> {
    let mut under: Vec<BTreeSet<Id>> = vec![];
    for id in graph.ids() {
        let set = match graph.op(id) {
            Op::Fold(_) | Op::Native(Native::Ctc) => BTreeSet::from([id]),
            _ if flat.contains(&id) => BTreeSet::from([id]),
            _ => graph.node(id).args.iter().flat_map(|&a| under[usize::from(a)].iter().copied()).collect(),
        };
        under.push(set);
    }
    under
}

/// Whether whatever needs a sum over pairs, or a flat value, runs in the same pass over the blocks: they end with a block.
fn is_in_one_block(plan: &Plan, block: AxisId, sinks: &[SinkInfo]) -> bool {
    let phases = phases(block, sinks);
    let pass = |id: Id| sinks.iter().zip(&phases).find(|(s, _)| s.sink.gives() == Some(id)).map(|(_, phase)| *phase);
    // A sum along rows has a number for each pair, of which a block has its own only.
    let of_block = |sum: &PairSum| sum.weight.is_none() || sum.rows == block;
    let of_pairs = |id: Id| plan.sums.iter().any(|s| s.fold == id && of_block(s) || s.weight == Some(id));
    let lasts = |id: Id| !of_pairs(id) && !plan.flat.contains(&id);
    sinks.iter().zip(&phases).all(|(sink, phase)| sink.needs.iter().all(|&id| lasts(id) || pass(id) == Some(*phase)))
}

struct Phases<'a> {
    plan: &'a Plan,
    in_block: bool,
    loops: usize,
}

impl Phases<'_> {
    /// Arranges sinks, in order of dependence, inside the loops over `context`.
    fn arrange(&mut self, context: AxisSet, sinks: Vec<SinkInfo>) -> Vec<Tree> {
        let open = |axis: &AxisId| !context.contains(*axis) && sinks.iter().any(|s| s.domain.contains(*axis));
        let Some(next) = self.plan.order.iter().copied().find(open) else {
            return sinks.into_iter().map(|s| Tree::Sink(s.sink)).collect();
        };
        let opens = |blocks: &Blocks| !self.in_block && !blocks.outside.contains(next) && open(&blocks.axis);
        let blocks = self.plan.blocks.filter(opens);
        let axis = blocks.map_or(next, |blocks| blocks.axis);
        let phases = phases(axis, &sinks);
        let last = phases.iter().copied().max().unwrap_or(0);
        let mut trees = vec![];
        for phase in 0..=last {
            let at = |along: bool| -> Vec<SinkInfo> {
                let here = sinks.iter().zip(&phases).filter(|(s, p)| **p == phase && s.domain.contains(axis) == along);
                here.map(|(s, _)| s.clone()).collect()
            };
            let (beside, along) = (at(false), at(true));
            trees.extend(self.arrange(context, beside));
            if !along.is_empty() {
                let number = self.loops;
                self.loops += 1;
                trees.push(if blocks.is_some() {
                    self.in_block = true;
                    let body = self.arrange_block(context, along);
                    self.in_block = false;
                    Tree::Block { axis, number, body }
                } else {
                    Tree::Loop { axis, number, body: self.arrange(context.with(axis), along) }
                });
            }
        }
        trees
    }

    /// Arranges sinks inside blocks: loops over a block's indices, and between them what is taken for all of them: sums, and
    /// flat values, each with loops of its own.
    fn arrange_block(&mut self, context: AxisSet, sinks: Vec<SinkInfo>) -> Vec<Tree> {
        let apart = self.plan.blocks.and_then(|blocks| blocks.apart);
        let is_pairs = |sink: &SinkInfo| matches!(sink.sink, Sink::Pairs(_));
        let keeps = |sink: &SinkInfo| matches!(sink.sink, Sink::Keep(_));
        let is_flat = |sink: &SinkInfo| matches!(sink.sink, Sink::Keep(value) if self.plan.flat.contains(&value));
        let of_row = |sink: &SinkInfo| apart.is_some_and(|a| !sink.domain.contains(a));
        let is_apart = |sink: &SinkInfo| of_row(sink) && (is_flat(sink) || !keeps(sink));
        let is_whole = |sink: &SinkInfo| is_pairs(sink) || is_apart(sink) || is_flat(sink);
        let mut passes: Vec<usize> = vec![];
        for sink in &sinks {
            let earliest = sinks.iter().zip(&passes).filter_map(|(other, &pass)| {
                let finished = usize::from(is_whole(sink) && !is_whole(other));
                sink.needs.contains(&other.sink.gives()?).then_some(pass + finished)
            });
            passes.push(earliest.max().unwrap_or(0));
        }
        let mut trees = vec![];
        for pass in 0..=passes.iter().copied().max().unwrap_or(0) {
            let at = |whole: bool| -> Vec<SinkInfo> {
                let here = sinks.iter().zip(&passes).filter(|(s, p)| **p == pass && is_whole(s) == whole);
                here.map(|(s, _)| s.clone()).collect()
            };
            let of_rows = at(false);
            let (pairs, others): (Vec<SinkInfo>, Vec<SinkInfo>) = at(true).into_iter().partition(is_pairs);
            let (flat, apart): (Vec<SinkInfo>, Vec<SinkInfo>) =
                others.into_iter().partition(|s| is_flat(s) && !of_row(s));
            trees.extend(pairs.into_iter().map(|s| Tree::Sink(s.sink)));
            trees.extend(self.arrange(context, apart));
            for sink in flat {
                trees.extend(self.arrange(context, vec![sink]));
            }
            trees.extend(self.arrange(context, of_rows));
        }
        trees
    }
}

/// The loop along `axis` that each sink goes into; a sink without the axis goes before the loop of its number.
fn phases(axis: AxisId, sinks: &[SinkInfo]) -> Vec<usize> {
    let mut phases: Vec<usize> = vec![];
    for sink in sinks {
        let earliest = sinks.iter().zip(&phases).filter_map(|(other, &phase)| {
            let finished = usize::from(other.bound == Some(axis));
            sink.needs.contains(&other.sink.gives()?).then_some(phase + finished)
        });
        phases.push(earliest.max().unwrap_or(0));
    }
    phases
}
