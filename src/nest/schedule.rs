//! Schedule: from an expanded graph and the layout of its buffers to a nest.

use super::in_place::{check_in_place, read_first};
use super::plan::Plan;
use super::{Layout, Nest, Place, Step, check_on, parts, phases, place};
use crate::error::{Error, Result};
use crate::ir::{AxisId, AxisSet, Graph, Id, Op};

/// The nest of a graph that [`expand`](super::expand) has written out.
///
/// # Errors
/// A buffer is read along an axis longer than its own; the loops do not allow an output in the place of an input.
pub fn schedule(graph: &Graph, extents: &[usize], layout: &Layout) -> Result<Nest> {
    graph.ids().try_for_each(|id| check_read(graph, extents, id))?;
    let mut refused = None;
    for plan in Plan::all(graph, extents, layout) {
        match by_plan(graph, extents, layout, &plan) {
            Ok(Some(nest)) => return Ok(nest),
            Ok(None) => {}
            Err(error @ Error::Layout { .. }) => refused = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refused.unwrap_or_else(|| Error::internal("nest", "no plan holds")))
}

/// The nest by one plan; `None` where the plan does not hold.
fn by_plan(graph: &Graph, extents: &[usize], layout: &Layout, plan: &Plan) -> Result<Option<Nest>> {
    let Some(tree) = phases::tree(graph, extents, plan)? else { return Ok(None) };
    let (slots, body) = place::place(graph, extents, layout, plan, &tree)?;
    let bare = Nest { graph: graph.clone(), extents: extents.to_vec(), slots, body };
    // The arithmetic of a small problem may be wider than its outputs.
    let is_narrow = |output: &usize| bare.is_small() || layout.narrow.iter().any(|(narrow, _)| narrow == output);
    let all: Vec<usize> = (0..graph.outputs.len()).filter(|output| !is_narrow(output)).collect();
    let nest = finish(&bare, layout, &all)?;
    let in_parts = |nest: Nest| parts::split(&nest, layout, parts::WORTH).unwrap_or(nest);
    if check_in_place(&nest, layout).is_ok() {
        return Ok(Some(in_parts(nest)));
    }
    // What is kept in the place of an input may be in the way of its reads; a row of scratch never is.
    let own: Vec<usize> = all.into_iter().filter(|o| layout.in_place.iter().all(|(shared, _)| shared != o)).collect();
    let nest = finish(&bare, layout, &own)?;
    check_in_place(&nest, layout)?;
    Ok(Some(in_parts(nest)))
}

/// The nest with values kept in the buffers of these outputs where they fit.
fn finish(bare: &Nest, layout: &Layout, outputs: &[usize]) -> Result<Nest> {
    let mut nest = bare.clone();
    keep_in_outputs(&mut nest, layout, outputs);
    read_first(&mut nest, layout);
    check_on(&nest, layout)?;
    Ok(nest)
}

/// Whether the indices of a read that are known are within its buffer; of those computed from data the machine code says.
fn check_read(graph: &Graph, extents: &[usize], read: Id) -> Result<()> {
    let Some((input, indices)) = graph.as_read(read) else { return Ok(()) };
    let input = graph.input(input);
    for (&index, dim) in indices.iter().zip(&input.axes) {
        let size = extents[dim.index()];
        let index = match graph.op(index) {
            Op::Axis(axis) if extents[axis.index()] > size => {
                format!("by {}, which has {}", graph.axis_name(axis), extents[axis.index()])
            }
            Op::Int(i) if size > 0 && !usize::try_from(i).is_ok_and(|i| i < size) => format!("at {i}"),
            _ => continue,
        };
        let along = graph.axis_name(*dim);
        let problem = format!("{} is read along {along}, which has {size} elements, {index}", input.name);
        return Err(Error::Declaration { loss: graph.name.clone(), problem });
    }
    Ok(())
}

/// Elements of all buffers that no cache holds.
const FAR: usize = 1 << 23;

/// Elements of a row that a core's cache holds beside another, and that are worth to pass the caches.
const NEAR: std::ops::RangeInclusive<usize> = 1 << 10..=1 << 17;

/// Values kept for a later loop go into the buffer of an output that is stored after their last use, along the same
/// axes: what is written there is in the cache when it is overwritten, and the scratch is saved. Not where caches do not
/// hold the output: a row of scratch stays in them, and the output is written once.
fn keep_in_outputs(nest: &mut Nest, layout: &Layout, outputs: &[usize]) {
    let mut taken = vec![false; nest.graph.outputs.len()];
    let count = |axes: &[AxisId]| axes.iter().fold(1usize, |n, a| n.saturating_mul(nest.extents[a.index()]));
    let is_far = nest.graph.buffers().map(|axes| count(axes)).fold(0, usize::saturating_add) >= FAR;
    let movable = |&slot: &usize| {
        let found = &nest.slots[slot];
        let stays = is_far && NEAR.contains(&count(&found.axes));
        found.place == Place::Row && !stays && is_kept(&nest.body, slot)
    };
    for slot in (0..nest.slots.len()).filter(movable).collect::<Vec<_>>() {
        let axes = nest.graph.ty(nest.slots[slot].value).axes;
        let fits = |output: usize| {
            let (dims, strides) = (&nest.graph.outputs[output].axes, &layout.outputs[output]);
            let long: AxisSet = dims.iter().copied().filter(|a| nest.extents[a.index()] != 1).collect();
            let lanes = nest.slots[slot].axes.last();
            let runs_along = dims.iter().zip(strides).any(|(a, &step)| Some(a) == lanes && step == 1);
            long == axes && runs_along && stored_last(&nest.body, slot, output)
        };
        if let Some(&output) = outputs.iter().find(|&&o| !taken[o] && fits(o)) {
            taken[output] = true;
            nest.slots[slot].place = Place::Output(output);
            nest.slots[slot].block = false;
        }
    }
}

/// Whether a slot holds a value of the graph for later, rather than being accumulated in.
fn is_kept(body: &[Step], slot: usize) -> bool {
    flat(body).iter().all(|s| !matches!(s, Step::Start { slot: Some(s), .. } if *s == slot))
}

/// Whether the output is stored after everything that uses the slot.
fn stored_last(body: &[Step], slot: usize, output: usize) -> bool {
    let steps = flat(body);
    let uses = |step: &Step| match step {
        Step::Keep { slot: s, .. } | Step::Load { slot: s, .. } => *s == slot,
        Step::Pairs { weight, into, .. } => *into == slot || *weight == Some(slot),
        Step::Call { from, into, columns, .. } => {
            *into == Some(slot)
                || columns.is_some_and(|c| c.less_slot == slot || c.sums == slot)
                || matches!(from, super::Source::Slot { slot: s, .. } if *s == slot)
        }
        _ => false,
    };
    let last = steps.iter().rposition(|s| uses(s));
    let store = steps.iter().position(|s| matches!(s, Step::Store { output: o } if *o == output));
    last < store
}

/// The steps that do something, in the order of the text.
fn flat(body: &[Step]) -> Vec<&Step> {
    body.iter().flat_map(|step| step.body().map_or_else(|| vec![step], flat)).collect()
}
