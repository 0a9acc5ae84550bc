//! Emit: the steps of a nest as Cranelift code, one arm a step.

use super::Binding;
use super::compile::TileFunction;
use super::constants::Constants;
use super::flat::long_row;
use super::memory::Regions;
use super::rows::Row;
use super::slots::{Home, Scratch};
use super::source::Numbers;
use super::vector::Program;
use crate::error::{Error, Result};
use crate::ir::{AxisId, Dtype, Id, Op};
use crate::nest::{Nest, Step};
use cranelift_codegen::Context;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{ConstantData, FuncRef, InstBuilder, MemFlagsData, Type, Value, types};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use std::collections::{BTreeMap, HashMap};

/// A value of one element, or of as many as there are lanes.
#[derive(Clone, Copy)]
pub(super) struct Val {
    pub value: Value,
    pub wide: bool,
    /// The same in f64, where it is one element computed outside lanes: what is computed once for a row costs the same in
    /// f64, and keeps its digits.
    pub exact: Option<Value>,
}

impl Val {
    pub(super) fn one(value: Value) -> Self {
        Self { value, wide: false, exact: None }
    }

    pub(super) fn lanes(value: Value) -> Self {
        Self { value, wide: true, exact: None }
    }
}

/// A fold that is running, without a slot.
#[derive(Clone, Copy)]
pub(super) struct Running {
    /// f64 for sums, the loss's dtype for maxima.
    pub total: Variable,
}

/// The native kernels that a nest calls.
#[derive(Clone, Copy, Default)]
pub(super) struct Natives {
    pub ctc: Option<FuncRef>,
    pub pairs: Option<FuncRef>,
}

pub(super) struct Emitter<'a> {
    pub nest: &'a Nest,
    pub binding: &'a Binding,
    pub b: FunctionBuilder<'a>,
    pub regions: Regions,
    /// Of floats as they are computed.
    pub real: Type,
    pub int: Type,
    /// Elements per value where code for lanes is made; 1 outside and in the last elements of a tile.
    pub lanes: usize,
    pub lane_axis: Option<AxisId>,
    /// The index of the first lane within the tile.
    pub tile_index: Option<Value>,
    pub inputs: Vec<Value>,
    pub outputs: Vec<Value>,
    pub scratch: Value,
    /// Memory of all threads of one run.
    pub shared: Value,
    /// The address of the constants.
    pub table: Value,
    pub constants: Constants,
    pub homes: Vec<Home>,
    /// Where the scratch of native kernels begins, and the kernels.
    pub native_scratch: usize,
    /// Where a tile of an input is put in the width of the arithmetic.
    pub wide_tile: usize,
    pub natives: Natives,
    /// The axis of the open block, its first index and the one behind its last.
    pub block: Option<(AxisId, Value, Value)>,
    /// The same of the open part; the round that runs, and how many have been emitted.
    pub part: Option<(AxisId, Value, Value)>,
    /// The axis whose tile goes on from row to row.
    pub flat: Option<AxisId>,
    pub round: Value,
    pub rounds: usize,
    /// See [`Scratch::parts`].
    pub parts: Vec<(usize, usize)>,
    pub status: Variable,
    /// Whether loads of lanes are kept out of other instructions: see `load_lanes`.
    pub before_avx: bool,
    pub(super) range: (Value, Value),
    pub(super) at: HashMap<AxisId, Value>,
    pub env: HashMap<Id, Val>,
    pub(super) running: HashMap<Id, Running>,
    pub(super) functions: BTreeMap<TileFunction, FuncRef>,
    /// By the place of their step.
    pub(super) vector_loops: BTreeMap<usize, (Program, FuncRef)>,
    /// By the place of their first tile, and what their second one gives.
    pub(super) rows: BTreeMap<usize, Row>,
    pub(super) row_sums: BTreeMap<usize, (Id, Value)>,
    pub(super) numbers: Numbers,
    /// Whether stores pass the caches: such are in no order until a fence.
    pub(super) writes_past_caches: bool,
}

impl<'a> Emitter<'a> {
    pub(super) fn new(
        nest: &'a Nest,
        binding: &'a Binding,
        context: &'a mut Context,
        frontend: &'a mut FunctionBuilderContext,
        functions: BTreeMap<TileFunction, FuncRef>,
        natives: Natives,
        scratch: Scratch,
    ) -> Self {
        let names: Vec<String> = nest.graph.outputs.iter().map(|o| o.name.clone()).collect();
        let regions = Regions::new(&mut context.func, &names, &binding.layout.in_place);
        let mut b = FunctionBuilder::new(&mut context.func, frontend);
        let entry = b.create_block();
        b.append_block_params_for_function_params(entry);
        b.switch_to_block(entry);
        b.seal_block(entry);
        let params = b.block_params(entry).to_vec();
        let table = MemFlagsData::trusted().with_readonly();
        let mut pointers = (0..nest.graph.inputs.len() + nest.graph.outputs.len())
            .map(|i| b.ins().load(types::I64, table, params[0], 8 * i as i32))
            .collect::<Vec<_>>();
        let outputs = pointers.split_off(nest.graph.inputs.len());
        let status = b.declare_var(types::I32);
        let clean = b.ins().iconst(types::I32, 0);
        b.def_var(status, clean);
        let single = binding.arithmetic(nest) == Dtype::F32;
        Self {
            nest,
            binding,
            b,
            regions,
            real: if single { types::F32 } else { types::F64 },
            int: if single { types::I32 } else { types::I64 },
            lanes: 1,
            lane_axis: None,
            tile_index: None,
            inputs: pointers,
            outputs,
            scratch: params[3],
            table: params[4],
            constants: Constants::default(),
            shared: params[5],
            homes: scratch.homes,
            native_scratch: scratch.native,
            wide_tile: scratch.wide_tile,
            natives,
            block: None,
            part: None,
            flat: None,
            round: params[6],
            rounds: 0,
            parts: scratch.parts,
            status,
            before_avx: false,
            range: (params[1], params[2]),
            at: HashMap::new(),
            env: HashMap::new(),
            running: HashMap::new(),
            functions,
            vector_loops: BTreeMap::new(),
            rows: BTreeMap::new(),
            row_sums: BTreeMap::new(),
            numbers: Numbers::new(nest),
            writes_past_caches: false,
        }
    }

    pub(super) fn function(mut self, config: cranelift_codegen::isa::TargetFrontendConfig) -> Result<Constants> {
        let nest = self.nest;
        self.body(&nest.body)?;
        if self.writes_past_caches {
            self.b.ins().fence();
        }
        let status = self.b.use_var(self.status);
        self.b.ins().return_(&[status]);
        self.b.finalize(config);
        Ok(self.constants)
    }

    pub(super) fn body(&mut self, body: &[Step]) -> Result<()> {
        body.iter().try_for_each(|step| self.for_step(step, |e| e.step(step)))
    }

    pub(super) fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Loop { axis, body } => {
                if let Some(inner) = long_row(self.nest, self.binding, *axis, body) {
                    return self.for_step(&body[0], |e| e.flat_loop(*axis, inner, body));
                }
                if let Some((program, function)) = self.vector_loop_of(step) {
                    return self.row_loop(*axis, body, &program, function);
                }
                let (first, last) = self.bounds(*axis);
                self.counted(first, last, 1, |e, index| {
                    e.at.insert(*axis, index);
                    e.body(body)
                })?;
                self.at.remove(axis);
                Ok(())
            }
            Step::Tile { axis, body } => {
                let place = self.numbers.place(step).unwrap_or(usize::MAX);
                match self.rows.get(&place).copied() {
                    Some(row) => self.row(row),
                    None if self.add_row_sum(place) => Ok(()),
                    None => self.tile(*axis, body),
                }
            }
            Step::Block { axis, size, body } => self.blocks(*axis, *size, body),
            Step::Part { axis, size, body } => self.part(*axis, *size, body),
            Step::Pairs { fold, weight, into } => self.pairs(*fold, *weight, *into),
            Step::Let(id) => {
                let node = self.nest.graph.node(*id).clone();
                let val = match node.op {
                    Op::Read => self.read(*id)?,
                    Op::Point(point) => self.point(*id, point, &node.args)?,
                    op => return Err(Error::internal("jit", format!("{op} has no instruction"))),
                };
                self.env.insert(*id, val);
                Ok(())
            }
            Step::Native { loss, grad } => self.native(*loss, *grad),
            Step::Start { fold, slot } => self.start(*fold, *slot),
            Step::Fold { fold, slot } => self.fold(*fold, *slot),
            Step::Keep { value, slot } => self.keep(*value, *slot),
            Step::Load { value, slot } => {
                let val = self.load_slot(*slot)?;
                self.env.insert(*value, val);
                Ok(())
            }
            Step::Store { output } => self.store(*output),
            Step::Lanes { .. } | Step::Call { .. } => Err(Error::internal("jit", "lanes outside a tile")),
        }
    }

    /// The indices that a loop runs over: the whole axis, or the caller's part of it.
    pub(super) fn bounds(&mut self, axis: AxisId) -> (Value, Value) {
        let mut open = self.block.iter().chain(&self.part);
        if let Some(&(_, start, stop)) = open.find(|(open, ..)| *open == axis) {
            return (start, stop);
        }
        if self.nest.parallel_axis() == Some(axis) {
            return self.range;
        }
        let size = self.nest.extents[axis.index()] as i64;
        (self.b.ins().iconst(types::I64, 0), self.b.ins().iconst(types::I64, size))
    }

    /// A loop: the body for `first`, `first + step`, … below `last`. What the body computes ends with it.
    ///
    /// The condition is tested before the loop and at its end, so that the body is the loop's header: Cranelift moves
    /// what does not change out of such loops only.
    pub(super) fn counted(
        &mut self,
        first: Value,
        last: Value,
        step: i64,
        body: impl FnOnce(&mut Self, Value) -> Result<()>,
    ) -> Result<Value> {
        let (inside, after) = (self.b.create_block(), self.b.create_block());
        let counter = self.b.declare_var(types::I64);
        self.b.def_var(counter, first);
        let any = self.b.ins().icmp(IntCC::SignedLessThan, first, last);
        self.b.ins().brif(any, inside, &[], after, &[]);
        self.b.switch_to_block(inside);
        let index = self.b.use_var(counter);
        let env = self.env.clone();
        body(self, index)?;
        self.env = env;
        let next = self.b.ins().iadd_imm_s(index, step);
        self.b.def_var(counter, next);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, next, last);
        self.b.ins().brif(more, inside, &[], after, &[]);
        self.b.seal_block(inside);
        self.b.switch_to_block(after);
        self.b.seal_block(after);
        Ok(self.b.use_var(counter))
    }

    fn blocks(&mut self, axis: AxisId, size: usize, body: &[Step]) -> Result<()> {
        let (first, last) = self.bounds(axis);
        self.counted(first, last, size as i64, |e, start| {
            let end = e.b.ins().iadd_imm_s(start, size as i64);
            let stop = e.b.ins().smin(end, last);
            e.block = Some((axis, start, stop));
            e.body(body)?;
            e.block = None;
            Ok(())
        })?;
        Ok(())
    }

    pub(super) fn is_open(&self, axis: AxisId) -> bool {
        self.at.contains_key(&axis)
    }

    /// The index along an axis, of the first lane where it has lanes: 64 bits.
    pub(super) fn axis_index(&mut self, axis: AxisId) -> Result<Value> {
        self.at.get(&axis).copied().ok_or_else(|| Error::internal("jit", "an index outside its loop"))
    }

    /// A value that is at hand.
    pub(super) fn get(&mut self, id: Id) -> Result<Val> {
        if let Some(&val) = self.env.get(&id) {
            return Ok(val);
        }
        let val = match self.nest.graph.op(id) {
            Op::Float(x) => Val::one(self.float_const(x.get(), false)),
            Op::Int(i) => Val::one(self.int_const(i)),
            Op::Axis(axis) => self.axis_value(axis)?,
            Op::Fold(_) if self.running.contains_key(&id) => {
                let total = self.total(id);
                let narrow = self.is_sum(id) && self.real == types::F32;
                let value = if narrow { self.b.ins().fdemote(types::F32, total) } else { total };
                Val { exact: narrow.then_some(total), ..Val::one(value) }
            }
            _ => return Err(Error::internal("jit", format!("%{id} is not there yet"))),
        };
        Ok(val)
    }

    /// The running index as a value: along the lanes each has its own.
    fn axis_value(&mut self, axis: AxisId) -> Result<Val> {
        let index = self.axis_index(axis)?;
        let index = if self.int == types::I64 { index } else { self.b.ins().ireduce(self.int, index) };
        if self.lane_axis != Some(axis) || self.lanes == 1 {
            return Ok(Val::one(index));
        }
        let first = self.splat(index);
        let ty = self.b.func.dfg.value_type(first);
        let bytes: Vec<u8> = match self.int {
            types::I64 => (0..self.lanes as i64).flat_map(i64::to_le_bytes).collect(),
            _ => (0..self.lanes as i32).flat_map(i32::to_le_bytes).collect(),
        };
        let steps = self.b.func.dfg.constants.insert(ConstantData::from(bytes.as_slice()));
        let steps = self.b.ins().vconst(ty, steps);
        Ok(Val::lanes(self.b.ins().iadd(first, steps)))
    }
}
