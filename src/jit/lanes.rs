//! Tiles: their lanes and calls.
//!
//! Lanes are 128-bit vectors, the widest that Cranelift has for this machine: 4 of f32, 2 of f64. A loop over lanes
//! runs four vectors at a time where it folds, so that the additions overlap, then one at a time, then single elements.
//! Where the machine has wider registers, most loops have a function of their own in place of the first ([`vector`](super::vector)).

use super::emit::{Emitter, Running};
use super::slots::is_row_by_data;
use crate::error::{Error, Result};
use crate::ir::{AxisId, Id};
use crate::nest::{Place, SlotId, Source, Step, TILE};
use cranelift_codegen::ir::{InstBuilder, Value, types};
use cranelift_frontend::Variable;

/// Turns of a loop that are shorter than what a loop is made of.
const FEW: usize = 2;

/// Elements along an axis from `start` on; whether they are certainly all of the axis.
#[derive(Clone, Copy)]
struct Span {
    start: Value,
    length: Value,
    whole: bool,
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
        // Four parts of a fold overlap their additions; without one, two copies share what a loop costs.
        let unroll = if folds.is_empty() { 2 } else { 4 };
        let vector_loop = self.vector_loop_of(step);
        let mut first = match &vector_loop {
            Some((program, function)) => self.vector_loop(axis, start, length, body, program, *function)?,
            None => self.b.ins().iconst(types::I64, 0),
        };
        self.lane_axis = Some(axis);
        let extent = self.nest.extents[axis.index()];
        let mut rest = vector_loop.as_ref().map_or(extent, |(program, _)| self.rest(axis, program));
        for (lanes, copies) in [(width, unroll), (width, 1), (1, 1)] {
            if copies * lanes <= rest {
                let turns = whole.then(|| rest / (copies * lanes));
                first = self.lane_loop(axis, span, first, turns, body, &folds, lanes, copies)?;
                rest = if whole { rest % (copies * lanes) } else { rest };
            }
        }
        self.lane_axis = None;
        self.tile_index = None;
        self.lanes = 1;
        Ok(())
    }

    /// One loop: `copies` values of `lanes` elements at a time, from `first` on while they fit, which is for so many turns
    /// where that is known.
    #[allow(clippy::too_many_arguments)]
    fn lane_loop(
        &mut self,
        axis: AxisId,
        Span { start, length, .. }: Span,
        first: Value,
        turns: Option<usize>,
        body: &[Step],
        folds: &[Id],
        lanes: usize,
        copies: usize,
    ) -> Result<Value> {
        self.lanes = lanes;
        // Every copy has its own part of each fold.
        let mut parts: Vec<Vec<Variable>> = vec![];
        let ty = if lanes > 1 { self.real.by(lanes as u32).expect("a vector type") } else { self.real };
        for _ in 0..copies {
            let mut copy = vec![];
            for &fold in folds {
                let part = self.b.declare_var(ty);
                let neutral = self.neutral(fold);
                let neutral = self.float_const(neutral, lanes > 1);
                self.b.def_var(part, neutral);
                copy.push(part);
            }
            parts.push(copy);
        }
        let outside = self.running.clone();
        let stop = self.b.ins().iadd_imm_s(length, 1 - (copies * lanes) as i64);
        let end = self.repeated(turns, first, stop, (copies * lanes) as i64, |e, index| {
            for (copy, parts) in parts.iter().enumerate() {
                let index = e.b.ins().iadd_imm_s(index, (copy * lanes) as i64);
                let along = e.b.ins().iadd(start, index);
                e.at.insert(axis, along);
                e.tile_index = Some(index);
                for (fold, &part) in folds.iter().zip(parts) {
                    e.running.insert(*fold, Running { total: part });
                }
                let env = e.env.clone();
                e.body(body)?;
                e.env = env;
            }
            Ok(())
        })?;
        self.running = outside;
        for (place, &fold) in folds.iter().enumerate() {
            let values: Vec<Value> = parts.iter().map(|copy| self.b.use_var(copy[place])).collect();
            let value = values.into_iter().reduce(|a, b| self.combine(fold, a, b)).expect("a copy");
            let value = self.across(fold, value);
            self.add_to_total(fold, value);
        }
        Ok(end)
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
