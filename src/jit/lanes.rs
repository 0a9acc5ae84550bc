//! Tiles: their lanes and calls.
//!
//! Lanes are 128-bit vectors, the widest that Cranelift has for this machine: 4 of f32, 2 of f64. A loop over lanes
//! runs four vectors at a time where it folds, so that the additions overlap, then one at a time, then single elements. Of sums along a
//! whole axis, those last elements join the lanes of the four. Where the machine has wider registers, most loops have a function of
//! their own ([`vector`](super::vector)).

use super::emit::{Emitter, Running};
use super::slots::is_row_by_data;
use super::vector::joins_lanes;
use crate::error::{Error, Result};
use crate::ir::{AxisId, Id};
use crate::nest::{Place, SlotId, Source, Step, TILE};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use cranelift_frontend::Variable;

/// Turns of a loop that are shorter than what a loop is made of.
const FEW: usize = 2;

/// Vectors that a loop with folds takes at a time: their additions overlap.
const COPIES: usize = 4;

/// Elements along an axis from `start` on; whether they are certainly all of the axis.
#[derive(Clone, Copy)]
struct Span {
    start: Value,
    length: Value,
    whole: bool,
}

/// What is done for the elements of a tile, and the folds in it that are made in registers.
#[derive(Clone, Copy)]
struct Lanes<'a> {
    axis: AxisId,
    span: Span,
    body: &'a [Step],
    folds: &'a [Id],
}

impl Emitter<'_> {
    pub(super) fn tile(&mut self, axis: AxisId, body: &[Step]) -> Result<()> {
        let range = self.bounds(axis);
        self.tile_of(axis, range, body)
    }

    /// The tiles of a range of indices.
    pub(super) fn tile_of(&mut self, axis: AxisId, (first, last): (Value, Value), body: &[Step]) -> Result<()> {
        let whole = !self.is_cut(axis);
        if let [step] = body
            && self.goes_from_tile_to_tile(step)
        {
            let span = Span { start: first, length: self.b.ins().isub(last, first), whole };
            self.for_step(step, |e| e.of_tile(axis, span, step))?;
            self.at.remove(&axis);
            return Ok(());
        }
        let whole = whole && self.nest.extents[axis.index()] <= TILE;
        self.counted(first, last, TILE as i64, |e, start| {
            let left = e.b.ins().isub(last, start);
            let most = e.b.ins().iconst(types::I64, TILE as i64);
            let span = Span { start, length: e.b.ins().smin(left, most), whole };
            body.iter().try_for_each(|step| e.for_step(step, |e| e.of_tile(axis, span, step)))
        })?;
        self.at.remove(&axis);
        Ok(())
    }

    fn of_tile(&mut self, axis: AxisId, span: Span, step: &Step) -> Result<()> {
        match step {
            Step::Lanes { body } => self.lane_loops(axis, span, step, body),
            Step::Call { value, from, into, sum, columns } => {
                self.call(axis, span.start, span.length, *value, *from, *into, *sum, *columns)
            }
            _ => Err(Error::internal("jit", "a tile holds more than lanes and calls")),
        }
    }

    /// Whether a step that is alone in its tile takes all of them at once: what it reads and writes has a place for every
    /// element of the axis, not for those of one tile.
    fn goes_from_tile_to_tile(&self, step: &Step) -> bool {
        let is_long = |slot: &SlotId| self.nest.slots[*slot].place != Place::Tile;
        match step {
            Step::Call { from, into, .. } => {
                let from = match from {
                    Source::Slot { slot, .. } => is_long(slot),
                    Source::Read(read) => !self.is_widened(*read) && !is_row_by_data(self.nest, *read),
                };
                from && into.as_ref().is_none_or(is_long)
            }
            _ => self.has_vector_loop(step),
        }
    }

    /// The loops over the elements of one tile.
    fn lane_loops(&mut self, axis: AxisId, span: Span, step: &Step, body: &[Step]) -> Result<()> {
        let Span { start, length, whole } = span;
        let width = 16 / self.real.bytes() as usize;
        let folds: Vec<Id> = body
            .iter()
            .filter_map(|s| if let Step::Fold { fold, slot: None } = s { Some(*fold) } else { None })
            .collect();
        // Without folds, two copies share what a loop costs.
        let unroll = if folds.is_empty() { 2 } else { COPIES };
        let vector_loop = self.vector_loop_of(step);
        let mut first = match &vector_loop {
            Some((program, function)) => self.vector_loop(axis, start, length, body, program, *function)?,
            None => self.b.ins().iconst(types::I64, 0),
        };
        self.lane_axis = Some(axis);
        let extent = self.nest.extents[axis.index()];
        let work = Lanes { axis, span, body, folds: &folds };
        let joins = vector_loop.is_none() && joins_lanes(self.nest, body) && !self.is_cut(axis);
        if joins {
            self.joined_lanes(work, width)?;
        }
        let mut left = vector_loop.as_ref().map_or(extent, |(program, _)| self.left_by(axis, program));
        for (lanes, copies) in [(width, unroll), (width, 1), (1, 1)] {
            if !joins && copies * lanes <= left {
                let turns = whole.then(|| left / (copies * lanes));
                first = self.lane_loop(work, first, turns, lanes, copies)?;
                left = if whole { left % (copies * lanes) } else { left };
            }
        }
        self.lane_axis = None;
        self.tile_index = None;
        self.lanes = 1;
        Ok(())
    }

    /// One loop: `copies` vectors of `lanes` elements at a time, from `first` on while they fit, which is for so many turns
    /// where that is known.
    fn lane_loop(
        &mut self,
        work: Lanes,
        first: Value,
        turns: Option<usize>,
        lanes: usize,
        copies: usize,
    ) -> Result<Value> {
        let parts = self.start_parts(work.folds, lanes, copies);
        let stop = self.b.ins().iadd_imm_s(work.span.length, 1 - (copies * lanes) as i64);
        let end = self
            .repeated(turns, first, stop, (copies * lanes) as i64, |e, index| e.copies(work, index, lanes, &parts))?;
        self.close_parts(work.folds, &parts);
        Ok(end)
    }

    /// All elements of a tile whose sums have one order for all vector levels: the last ones are added in the lanes of the whole
    /// iterations.
    fn joined_lanes(&mut self, work: Lanes, width: usize) -> Result<()> {
        let Span { length, whole, .. } = work.span;
        let (iteration, extent) = (COPIES * width, self.nest.extents[work.axis.index()]);
        let parts = self.start_parts(work.folds, width, COPIES);
        let stop = self.b.ins().iadd_imm_s(length, 1 - iteration as i64);
        let first = self.b.ins().iconst(types::I64, 0);
        let end = self.repeated(whole.then(|| extent / iteration), first, stop, iteration as i64, |e, index| {
            e.copies(work, index, width, &parts)
        })?;
        let tail = extent % iteration;
        if tail > 0 {
            let turns = whole.then_some(1);
            self.repeated(turns, end, length, iteration as i64, |e, index| e.tail(work, index, tail, width, &parts))?;
        }
        self.close_parts(work.folds, &parts);
        Ok(())
    }

    /// So many elements that are no whole iteration: vectors as far as they go, then single elements, each in its lane of the
    /// next one.
    fn tail(&mut self, work: Lanes, index: Value, tail: usize, width: usize, parts: &[Vec<Variable>]) -> Result<()> {
        let whole = tail / width;
        self.copies(work, index, width, &parts[..whole])?;
        for lane in 0..tail % width {
            let index = self.b.ins().iadd_imm_s(index, (whole * width + lane) as i64);
            let single = self.start_parts(work.folds, 1, 1);
            self.turn(work, index, &single[0])?;
            self.lanes = width;
            for ((&fold, &part), &single) in work.folds.iter().zip(&parts[whole]).zip(&single[0]) {
                let (known, value) = (self.b.use_var(part), self.b.use_var(single));
                let nothing = self.float_const(0.0, true);
                let value = self.b.ins().insertlane(nothing, value, lane as u8);
                let sum = self.combine(fold, known, value);
                self.b.def_var(part, sum);
            }
        }
        Ok(())
    }

    /// A part of each fold, for every copy.
    fn start_parts(&mut self, folds: &[Id], lanes: usize, copies: usize) -> Vec<Vec<Variable>> {
        self.lanes = lanes;
        let ty = if lanes > 1 { self.real.by(lanes as u32).expect("a vector type") } else { self.real };
        let part = |e: &mut Self, fold: Id| {
            let part = e.b.declare_var(ty);
            let neutral = e.neutral(fold);
            let neutral = e.float_const(neutral, lanes > 1);
            e.b.def_var(part, neutral);
            part
        };
        (0..copies).map(|_| folds.iter().map(|&fold| part(self, fold)).collect()).collect()
    }

    /// The body for as many vectors of `lanes` elements as there are parts, one behind the other.
    fn copies(&mut self, work: Lanes, index: Value, lanes: usize, parts: &[Vec<Variable>]) -> Result<()> {
        parts.iter().enumerate().try_for_each(|(copy, parts)| {
            let index = self.b.ins().iadd_imm_s(index, (copy * lanes) as i64);
            self.turn(work, index, parts)
        })
    }

    /// The body for the lanes from an index of the tile on, which takes its folds into these parts.
    fn turn(&mut self, work: Lanes, index: Value, parts: &[Variable]) -> Result<()> {
        let along = self.b.ins().iadd(work.span.start, index);
        self.at.insert(work.axis, along);
        self.tile_index = Some(index);
        let (running, env) = (self.running.clone(), self.env.clone());
        for (fold, &part) in work.folds.iter().zip(parts) {
            self.running.insert(*fold, Running { total: part });
        }
        self.body(work.body)?;
        (self.running, self.env) = (running, env);
        Ok(())
    }

    /// Takes the parts into their folds: those of the copies in turn, then their lanes.
    fn close_parts(&mut self, folds: &[Id], parts: &[Vec<Variable>]) {
        for (place, &fold) in folds.iter().enumerate() {
            let values: Vec<Value> = parts.iter().map(|copy| self.b.use_var(copy[place])).collect();
            let value = values.into_iter().reduce(|a, b| self.combine(fold, a, b)).expect("a copy");
            let value = self.across(fold, value);
            self.add_to_total(fold, value);
        }
    }

    /// A [counted](Self::counted) loop; a few turns, where their number is known, one behind the other.
    fn repeated(
        &mut self,
        turns: Option<usize>,
        first: Value,
        last: Value,
        step: i64,
        mut body: impl FnMut(&mut Self, Value) -> Result<()>,
    ) -> Result<Value> {
        let Some(turns) = turns.filter(|&turns| turns <= FEW) else { return self.counted(first, last, step, body) };
        let mut index = first;
        for _ in 0..turns {
            let env = self.env.clone();
            body(self, index)?;
            self.env = env;
            index = self.b.ins().iadd_imm_s(index, step);
        }
        Ok(index)
    }
}
