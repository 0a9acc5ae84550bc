//! Calls of vector loops: their arguments, and what is left to do behind them.

use super::super::emit::Emitter;
use super::program::{Program, STRIDE, Scalar, Source, Total};
use super::row_loop::row_steps;
use crate::error::{Error, Result};
use crate::ir::{AxisId, Id, Kind};
use crate::nest::Step;
use cranelift_codegen::ir::{FuncRef, InstBuilder, StackSlot, StackSlotData, StackSlotKind, Value, types};

/// Where the arguments lie, in bytes: addresses of streams, of the sums of rows, scalars, neutral elements of folds, the index of each lane
/// and its step, then totals of folds.
pub(in super::super) struct Arguments {
    pub scalars: usize,
    pub neutrals: usize,
    pub index: usize,
    pub step: usize,
    pub folds: usize,
    pub size: usize,
}

/// Bytes of a fold: its lanes, and its total.
const FOLD: usize = STRIDE + 8;

impl Arguments {
    pub fn of(program: &Program) -> Self {
        let scalars = 8 * program.addresses();
        let neutrals = scalars + 8 * program.scalars.len();
        let index = neutrals + 8 * program.folds.len();
        let step = index + if program.indexed { 64 } else { 0 };
        let folds = step + if program.indexed { 8 } else { 0 };
        Self { scalars, neutrals, index, step, folds, size: folds + FOLD * program.folds.len() }
    }

    /// Where a fold's lanes are: the largest of each, and sums on the way to their total.
    pub fn lanes(&self, fold: usize) -> usize {
        self.folds + FOLD * fold
    }

    /// Where a sum is, in f64, there and back.
    pub fn total(&self, fold: usize) -> usize {
        self.lanes(fold) + STRIDE
    }
}

impl Emitter<'_> {
    pub(in super::super) fn has_vector_loop(&self, step: &Step) -> bool {
        self.numbers.place(step).is_some_and(|place| self.vector_loops.contains_key(&place))
    }

    pub(in super::super) fn vector_loop_of(&mut self, step: &Step) -> Option<(Program, FuncRef)> {
        self.vector_loops.remove(&self.numbers.place(step)?)
    }

    /// How many elements of a tile the function may leave.
    pub(in super::super) fn left_by(&self, axis: AxisId, program: &Program) -> usize {
        match self.nest.extents[axis.index()] % program.elements() {
            _ if self.is_cut(axis) => program.elements() - 1,
            left => left - program.tail,
        }
    }

    /// Whether a loop over an axis takes a part of it, at whose end any number of elements may be left.
    pub(in super::super) fn is_cut(&self, axis: AxisId) -> bool {
        self.flat == Some(axis) || self.nest.is_cut(axis)
    }

    /// The whole iterations of a tile, and the tail if the program takes it; gives how many elements that were.
    pub(in super::super) fn vector_loop(
        &mut self,
        axis: AxisId,
        start: Value,
        length: Value,
        body: &[Step],
        program: &Program,
        function: FuncRef,
    ) -> Result<Value> {
        let arguments = Arguments::of(program);
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, arguments.size as u32, 3);
        let words = self.b.create_sized_stack_slot(slot);
        let outside = self.env.clone();
        let steps: Vec<&Step> = body.iter().collect();
        self.store_arguments(axis, start, &steps, program, &arguments, words)?;
        if program.indexed {
            self.store_index(axis, words, &arguments, program)?;
        }
        self.env = outside;
        let taken = match program.tail {
            0 => self.b.ins().band_imm_s(length, !(program.elements() as i64 - 1)),
            _ => length,
        };
        let bytes = self.b.ins().imul_imm_s(taken, i64::from(self.real.bytes()));
        let address = self.b.ins().stack_addr(types::I64, words, 0);
        self.writes_past_caches |= program.far_stores().next().is_some();
        for (place, &Total { fold, largest }) in program.folds.iter().enumerate() {
            if !largest {
                let known = self.b.use_var(self.running[&fold].total);
                self.b.ins().stack_store(types::I64, known, words, arguments.total(place) as i32);
            }
        }
        self.b.ins().call(function, &[address, bytes]);
        for (place, &Total { fold, largest }) in program.folds.iter().enumerate() {
            if largest {
                self.largest_of_lanes(fold, words, arguments.lanes(place) as i32)?;
            } else {
                let total = self.b.ins().stack_load(types::I64, types::F64, words, arguments.total(place) as i32);
                self.b.def_var(self.running[&fold].total, total);
            }
        }
        Ok(taken)
    }

    /// A loop over rows that has a function for all of them.
    pub(in super::super) fn row_loop(
        &mut self,
        rows: AxisId,
        body: &[Step],
        program: &Program,
        function: FuncRef,
    ) -> Result<()> {
        let missing = || Error::internal("jit", "a loop over rows without rows");
        let sums = &program.rows.as_ref().ok_or_else(missing)?.sums;
        let (inner, steps, _) = row_steps(body).ok_or_else(missing)?;
        let (first, last) = self.bounds(rows);
        let count = self.b.ins().isub(last, first);
        let arguments = Arguments::of(program);
        let slot = StackSlotData::new(StackSlotKind::ExplicitSlot, arguments.size as u32, 3);
        let words = self.b.create_sized_stack_slot(slot);
        let outside = self.env.clone();
        self.at.insert(rows, first);
        let start = self.b.ins().iconst(types::I64, 0);
        self.store_arguments(inner, start, &steps, program, &arguments, words)?;
        if program.indexed {
            self.store_index(inner, words, &arguments, program)?;
        }
        for (place, &slot) in sums.iter().enumerate() {
            let address = self.slot_address(slot)?.0;
            self.b.ins().stack_store(types::I64, address, words, 8 * (program.streams.len() + place) as i32);
        }
        self.env = outside;
        self.at.remove(&inner);
        self.at.remove(&rows);
        (self.lane_axis, self.tile_index) = (None, None);
        let address = self.b.ins().stack_addr(types::I64, words, 0);
        self.b.ins().call(function, &[address, count]);
        Ok(())
    }

    /// Stores the addresses of streams, the scalars, and the neutral elements of folds.
    fn store_arguments(
        &mut self,
        axis: AxisId,
        start: Value,
        steps: &[&Step],
        program: &Program,
        arguments: &Arguments,
        words: StackSlot,
    ) -> Result<()> {
        self.lanes = 1;
        self.lane_axis = Some(axis);
        self.at.insert(axis, start);
        self.tile_index = Some(self.b.ins().iconst(types::I64, 0));
        for &place in &program.outside {
            self.for_step(steps[place], |e| e.step(steps[place]))?;
        }
        for (place, stream) in program.streams.iter().enumerate() {
            let address = match stream.source {
                Source::Read(read) => self.read_address(read)?,
                Source::Slot(slot) => self.slot_address(slot)?.0,
                Source::Output(output) => self.output_address(output)?,
            };
            self.b.ins().stack_store(types::I64, address, words, 8 * place as i32);
        }
        for (place, &scalar) in program.scalars.iter().enumerate() {
            let value = match scalar {
                Scalar::Bits(bits) if self.int == types::I32 => self.constant(types::I32, bits & 0xffff_ffff),
                Scalar::Bits(bits) => self.constant(types::I64, bits),
                Scalar::Value(id) => {
                    let value = self.get(id)?.value;
                    if self.nest.graph.ty(id).kind == Kind::Bool { self.mask(value) } else { value }
                }
            };
            self.b.ins().stack_store(types::I64, value, words, (arguments.scalars + 8 * place) as i32);
        }
        for (place, &Total { fold, .. }) in program.folds.iter().enumerate() {
            let neutral = self.neutral(fold);
            let neutral = self.float_const(neutral, false);
            self.b.ins().stack_store(types::I64, neutral, words, (arguments.neutrals + 8 * place) as i32);
        }
        Ok(())
    }

    /// Takes the maximum of an iteration's lanes into a fold's.
    fn largest_of_lanes(&mut self, fold: Id, words: StackSlot, place: i32) -> Result<()> {
        self.lanes = 16 / self.real.bytes() as usize;
        let ty = self.real.by(self.lanes as u32).expect("a vector type");
        let mut parts = vec![];
        for part in 0..(STRIDE / 16) as i32 {
            parts.push(self.b.ins().stack_load(types::I64, ty, words, place + 16 * part));
        }
        let value = parts.into_iter().reduce(|a, b| self.combine(fold, a, b)).expect("four parts");
        let value = self.across(fold, value);
        self.add_to_total(fold, value);
        self.lanes = 1;
        Ok(())
    }

    /// The index of each lane of the first iteration, and the step to the next.
    fn store_index(&mut self, axis: AxisId, words: StackSlot, arguments: &Arguments, program: &Program) -> Result<()> {
        let first = self.axis_index(axis)?;
        let size = self.int.bytes() as i32;
        for lane in 0..program.elements() as i32 {
            let index = self.b.ins().iadd_imm_s(first, i64::from(lane));
            let index = if self.int == types::I64 { index } else { self.b.ins().ireduce(self.int, index) };
            self.b.ins().stack_store(types::I64, index, words, arguments.index as i32 + size * lane);
        }
        let step = self.b.ins().iconst(self.int, program.elements() as i64);
        self.b.ins().stack_store(types::I64, step, words, arguments.step as i32);
        Ok(())
    }
}
