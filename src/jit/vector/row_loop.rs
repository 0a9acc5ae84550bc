//! Row loops: all short rows of a block in one call.
//!
//! ```text
//! for n
//!   %4 = 0
//!   for c by tile
//!     lanes
//!       ...
//!       %4 += %3
//!   keep %4 in sums0[n]
//! ```
//!
//! A call for each row would take longer than the row. Where registers suffice, four rows run side by side, and their lanes
//! are joined together: in the order of one row alone, so that its sum does not tell where it stands.

use super::super::Binding;
use super::super::memory::lane_stride;
use super::builder::straight;
use super::program::{Action, Around, Program, Source, Stream};
use crate::ir::{AxisId, Dtype, Id, Kind, Op};
use crate::nest::{Nest, Place, SlotId, Step, TILE};

/// Rows that run side by side.
pub const ABREAST: usize = 4;

#[derive(Clone, PartialEq, Debug)]
pub struct Rows {
    /// Elements of a row.
    pub length: usize,
    /// Elements from row to row, by stream.
    pub steps: Vec<isize>,
    /// Where the sums go, by fold: neighbours, in f64.
    pub sums: Vec<SlotId>,
    /// So many operations are done once for a row.
    pub once: usize,
}

/// Bytes from what is read to what is asked for ahead of it: behind the rows that are read, the next ones.
const ROWS_AHEAD: usize = 1 << 12;

/// Elements from row to row, at most: four rows are within what an instruction may add to an address.
const ROWS_REACH: usize = 1 << 24;

/// The steps of a loop over rows: what a row has one of, then the lanes of its only tile; the axis of the tile; and how many
/// the former are. `None` where it is another kind of loop: behind the tile, sums are kept and nothing else is done.
pub fn row_steps(body: &[Step]) -> Option<(AxisId, Vec<&Step>, usize)> {
    let is_tile = |step: &Step| matches!(step, Step::Tile { .. });
    let place = body.iter().position(is_tile)?;
    let behind = &body[place + 1..];
    let before = |step: &Step| matches!(step, Step::Start { slot: None, .. } | Step::Let(_) | Step::Load { .. });
    if !body[..place].iter().all(before) || !behind.iter().all(|step| matches!(step, Step::Keep { .. })) {
        return None;
    }
    let Step::Tile { axis, body: tile } = &body[place] else { return None };
    let [Step::Lanes { body: lanes }] = &tile[..] else { return None };
    let of_row = body[..place].iter().filter(|step| !matches!(step, Step::Start { .. }));
    let before = of_row.clone().count();
    Some((*axis, of_row.chain(lanes).collect(), before))
}

/// What a loop over rows does; `None` where what it does for a row is more than sums, or not the same at all levels.
pub(super) fn of_rows(nest: &Nest, binding: &Binding, rows: AxisId, body: &[Step]) -> Option<Program> {
    let (inner, steps, before) = row_steps(body)?;
    let length = nest.extents[inner.index()];
    if length > TILE || nest.is_cut(inner) || !are_exact(nest, binding, &steps[..before]) {
        return None;
    }
    let around = Around { axis: inner, length, alone: true, whole: true };
    let (mut program, once) = straight(nest, binding, around, Some((rows, before)), &steps)?;
    let sums = sums(nest, rows, body, &program)?;
    let is_plain = |stream: usize| program.streams[stream].stride == 1 && !program.streams[stream].doubled;
    let plain = program.line.iter().all(|action| match *action {
        Action::Load(stream) | Action::Store { stream, .. } => is_plain(stream),
        Action::LoadSums(_) | Action::AddSums { .. } => false,
        _ => true,
    });
    if !plain || program.far_stores().next().is_some() {
        return None;
    }
    let step = |stream: &Stream| {
        let step = row_step(nest, binding, rows, stream.source)? * if stream.doubled { 2 } else { 1 };
        (step.unsigned_abs() <= ROWS_REACH).then_some(step)
    };
    let steps = program.streams.iter().map(step).collect::<Option<Vec<_>>>()?;
    let tail = length % program.elements();
    for (stream, step) in program.streams.iter_mut().zip(&steps) {
        stream.ahead = stream.ahead.max(ROWS_AHEAD).max(ABREAST * step.unsigned_abs() * program.real.size());
    }
    Some(Program { tail, rows: Some(Rows { length, steps, sums, once }), ..program })
}

/// Whether what is computed for a row has the same bits in f32 as in f64, which it is computed in where a row has a loop of its
/// own: comparisons, and one operation on what is f32 in memory, as it rounds the same in both.
fn are_exact(nest: &Nest, binding: &Binding, steps: &[&Step]) -> bool {
    let graph = &nest.graph;
    let loaded = |id: Id| {
        let loads = |step: &&Step| matches!(**step, Step::Load { value, slot } if value == id && nest.slots[slot].place != Place::Sums);
        steps.iter().any(loads)
    };
    let is_single = |&arg: &Id| match graph.op(arg) {
        Op::Float(x) => f64::from(x.get() as f32) == x.get(),
        Op::Read => true,
        _ => graph.ty(arg).kind != Kind::Float || loaded(arg),
    };
    let is_float = |id: Id| graph.as_point(id).is_some() && graph.ty(id).kind == Kind::Float;
    binding.arithmetic(nest) == Dtype::F64
        || steps.iter().all(|step| match **step {
            Step::Let(id) if is_float(id) => graph.node(id).args.iter().all(is_single),
            _ => true,
        })
}

/// The slots into which a row's sums are put, if that is all that is done for a row.
fn sums(nest: &Nest, rows: AxisId, body: &[Step], program: &Program) -> Option<Vec<SlotId>> {
    let kept = |fold: Id| {
        let into =
            |step: &Step| if let Step::Keep { value, slot } = *step { (value == fold).then_some(slot) } else { None };
        let slot = body.iter().find_map(into)?;
        let found = &nest.slots[slot];
        (found.place == Place::Sums && found.axes.last() == Some(&rows)).then_some(slot)
    };
    let sums =
        program.folds.iter().map(|fold| kept(fold.fold).filter(|_| !fold.largest)).collect::<Option<Vec<_>>>()?;
    let started = |fold: Id| program.folds.iter().any(|total| total.fold == fold);
    let nothing_else = body.iter().all(|step| match *step {
        Step::Start { fold, .. } => started(fold),
        Step::Keep { slot, .. } => sums.contains(&slot),
        _ => true,
    });
    nothing_else.then_some(sums)
}

/// Elements of a stream from one row to the next.
fn row_step(nest: &Nest, binding: &Binding, rows: AxisId, source: Source) -> Option<isize> {
    let of_output = |output: usize| {
        let along = nest.graph.outputs[output].axes.iter().position(|&axis| axis == rows)?;
        Some(binding.layout.outputs[output][along])
    };
    match source {
        Source::Read(read) => {
            let (input, indices) = nest.graph.as_read(read)?;
            lane_stride(nest, binding, rows, input, indices)
        }
        Source::Output(output) => of_output(output),
        Source::Slot(slot) => match nest.slots[slot].place {
            Place::Output(output) => of_output(output),
            Place::Row => {
                let axes = &nest.slots[slot].axes;
                let along = axes.iter().position(|&axis| axis == rows)?;
                let inside = axes[along + 1..].iter().map(|&axis| nest.slot_extent(slot, axis));
                Some(inside.product::<usize>() as isize)
            }
            Place::Sums if nest.slots[slot].axes.last() == Some(&rows) => Some(1),
            Place::Tile | Place::Sums => None,
        },
    }
}
