//! Emit: the steps of a nest as Cranelift code, one arm a step.
//!
//! Lanes are 128-bit vectors, the widest that Cranelift has for this machine: 4 of f32, 2 of f64. A loop over lanes
//! runs four vectors at a time where it folds, so that the additions overlap, then one at a time, then single elements.

use super::kernel::{Code, Entry};
use super::memory::{Regions, scratch_offsets};
use super::{Binding, Kernel, target};
use crate::error::{Error, Result};
use crate::ir::{AxisId, Dtype, Fold, Id, Kind, Op, Point};
use crate::nest::{Nest, SlotId, Source, Step, TILE};
use crate::vmath::{self, Function as Math};
use cranelift_codegen::Context;
use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{
    AbiParam, ConstantData, FuncRef, InstBuilder, MemFlagsData, StackSlot, StackSlotData, StackSlotKind, Type, Value,
    types,
};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use std::collections::{BTreeMap, HashMap};

/// A value of one element, or of as many as there are lanes.
#[derive(Clone, Copy)]
pub(super) struct Val {
    pub value: Value,
    pub wide: bool,
}

/// A fold that is running, without a slot.
#[derive(Clone, Copy)]
struct Running {
    /// f64 for sums, the loss's dtype for maxima.
    total: Variable,
}

pub(super) struct Emitter<'a> {
    pub nest: &'a Nest,
    pub binding: &'a Binding,
    pub b: FunctionBuilder<'a>,
    pub regions: Regions,
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
    pub offsets: Vec<usize>,
    pub status: Variable,
    range: (Value, Value),
    at: HashMap<AxisId, Value>,
    env: HashMap<Id, Val>,
    running: HashMap<Id, Running>,
    functions: BTreeMap<(Math, Form), FuncRef>,
    spare: StackSlot,
}

/// Which of the three tile functions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Form {
    Map,
    MapSum,
    Sum,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Form::Map => "map",
            Form::MapSum => "map_sum",
            Form::Sum => "sum",
        }
    }
}

/// Compiles a checked nest.
pub fn compile(nest: Nest, binding: Binding) -> Result<Kernel> {
    let (mut module, id, mut context, scratch) = build(&nest, &binding)?;
    let fail = |e: &dyn std::fmt::Display| Error::internal("jit", e.to_string());
    module.define_function(id, &mut context).map_err(|e| fail(&format!("{e:?}")))?;
    let size = context.compiled_code().map_or(0, |code| code.code_buffer().len());
    module.finalize_definitions().map_err(|e| fail(&e))?;
    let address = module.get_finalized_function(id);
    // SAFETY: the function was declared with the signature of `Entry` and lives as long as the module, which the
    // kernel owns.
    let entry = unsafe { std::mem::transmute::<*const u8, Entry>(address) };
    Ok(Kernel { nest, binding, scratch, entry, code: Code::new(module, size) })
}

/// The code as Cranelift's text, before optimisation.
pub fn clif(nest: &Nest, binding: &Binding) -> Result<String> {
    let (module, _, context, _) = build(nest, binding)?;
    let text = context.func.display().to_string();
    // SAFETY: nothing was defined in the module, so nothing points into its memory.
    unsafe { module.free_memory() };
    Ok(text)
}

fn build(nest: &Nest, binding: &Binding) -> Result<(JITModule, FuncId, Context, usize)> {
    let fits = |size: usize| i64::try_from(size).is_ok() && (binding.real == Dtype::F64 || size <= i32::MAX as usize);
    if let Some(axis) = nest.extents.iter().position(|&size| !fits(size)) {
        let problem = format!("axis {} is too long for {}", nest.graph.axes[axis], binding.real);
        return Err(Error::Declaration { loss: nest.graph.name.clone(), problem });
    }
    let (offsets, scratch) = scratch_offsets(nest, binding.real)?;
    let mut builder = JITBuilder::with_isa(target::host()?, default_libcall_names());
    let wanted = functions(nest);
    for &(math, form) in &wanted {
        builder.symbol(symbol(math, form, binding.real), address(math, form, binding.real)?);
    }
    let mut module = JITModule::new(builder);
    let fail = |e: cranelift_module::ModuleError| Error::internal("jit", e.to_string());
    let mut context = module.make_context();
    let pointer = AbiParam::new(types::I64);
    context.func.signature = module.make_signature();
    context.func.signature.params = vec![pointer; 4];
    context.func.signature.returns = vec![AbiParam::new(types::I32)];
    let id = module.declare_function("kernel", Linkage::Export, &context.func.signature).map_err(fail)?;
    let real = if binding.real == Dtype::F32 { types::F32 } else { types::F64 };
    let mut refs = BTreeMap::new();
    for &(math, form) in &wanted {
        let mut signature = module.make_signature();
        signature.params = [types::I64, types::I64, types::I64, real, real].map(AbiParam::new).to_vec();
        signature.returns = vec![AbiParam::new(types::F64)];
        let name = symbol(math, form, binding.real);
        let function = module.declare_function(&name, Linkage::Import, &signature).map_err(fail)?;
        refs.insert((math, form), module.declare_func_in_func(function, &mut context.func));
    }
    let mut frontend = FunctionBuilderContext::new();
    let config = module.target_config();
    Emitter::new(nest, binding, &mut context, &mut frontend, refs, offsets).function(config)?;
    Ok((module, id, context, scratch))
}

fn symbol(math: Math, form: Form, real: Dtype) -> String {
    format!("vmath.{math:?}.{}.{real}", form.name()).to_lowercase()
}

fn address(math: Math, form: Form, real: Dtype) -> Result<*const u8> {
    macro_rules! pick {
        ($entry:expr) => {{
            let entry = $entry.map_err(Error::Machine)?;
            match form {
                Form::Map => entry.map as *const u8,
                Form::MapSum => entry.map_sum as *const u8,
                Form::Sum => entry.sum as *const u8,
            }
        }};
    }
    Ok(match real {
        Dtype::F32 => pick!(vmath::entry::<f32>(math)),
        _ => pick!(vmath::entry::<f64>(math)),
    })
}

fn math_of(point: Point) -> Option<Math> {
    match point {
        Point::Exp => Some(Math::Exp),
        Point::Log => Some(Math::Log),
        Point::Log1p => Some(Math::Log1p),
        Point::Expm1 => Some(Math::Expm1),
        Point::Tanh => Some(Math::Tanh),
        _ => None,
    }
}

/// The tile functions that a nest calls.
fn functions(nest: &Nest) -> Vec<(Math, Form)> {
    fn visit(nest: &Nest, body: &[Step], found: &mut Vec<(Math, Form)>) {
        for step in body {
            let value = match step {
                Step::Loop { body, .. } | Step::Tile { body, .. } | Step::Lanes { body } => {
                    visit(nest, body, found);
                    continue;
                }
                Step::Let(value) | Step::Call { value, .. } => *value,
                _ => continue,
            };
            let form = match step {
                Step::Call { into: None, .. } => Form::Sum,
                Step::Call { sum: Some(_), .. } => Form::MapSum,
                _ => Form::Map,
            };
            found.extend(nest.graph.as_point(value).and_then(|(p, _)| math_of(p)).map(|math| (math, form)));
        }
    }
    let mut found = vec![];
    visit(nest, &nest.body, &mut found);
    found.sort();
    found.dedup();
    found
}

impl<'a> Emitter<'a> {
    fn new(
        nest: &'a Nest,
        binding: &'a Binding,
        context: &'a mut Context,
        frontend: &'a mut FunctionBuilderContext,
        functions: BTreeMap<(Math, Form), FuncRef>,
        offsets: Vec<usize>,
    ) -> Self {
        let names: Vec<String> = nest.graph.outputs.iter().map(|o| o.name.clone()).collect();
        let regions = Regions::new(&mut context.func, &names);
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
        let single = binding.real == Dtype::F32;
        let spare = b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, 16, 4));
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
            offsets,
            status,
            range: (params[1], params[2]),
            at: HashMap::new(),
            env: HashMap::new(),
            running: HashMap::new(),
            functions,
            spare,
        }
    }

    fn function(mut self, config: cranelift_codegen::isa::TargetFrontendConfig) -> Result<()> {
        let nest = self.nest;
        self.body(&nest.body)?;
        let status = self.b.use_var(self.status);
        self.b.ins().return_(&[status]);
        self.b.finalize(config);
        Ok(())
    }

    fn body(&mut self, body: &[Step]) -> Result<()> {
        body.iter().try_for_each(|step| self.step(step))
    }

    fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Loop { axis, body } => {
                let (first, last) = self.bounds(*axis);
                self.counted(first, last, 1, |e, index| {
                    e.at.insert(*axis, index);
                    e.body(body)
                })?;
                self.at.remove(axis);
                Ok(())
            }
            Step::Tile { axis, body } => self.tile(*axis, body),
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
    fn bounds(&mut self, axis: AxisId) -> (Value, Value) {
        if self.nest.parallel_axis() == Some(axis) {
            return self.range;
        }
        let size = self.nest.extents[axis.index()] as i64;
        (self.b.ins().iconst(types::I64, 0), self.b.ins().iconst(types::I64, size))
    }

    /// A loop: the body for `first`, `first + step`, … below `last`. What the body computes ends with it.
    fn counted(
        &mut self,
        first: Value,
        last: Value,
        step: i64,
        body: impl FnOnce(&mut Self, Value) -> Result<()>,
    ) -> Result<Value> {
        let (head, inside, after) = (self.b.create_block(), self.b.create_block(), self.b.create_block());
        let counter = self.b.declare_var(types::I64);
        self.b.def_var(counter, first);
        self.b.ins().jump(head, &[]);
        self.b.switch_to_block(head);
        let index = self.b.use_var(counter);
        let more = self.b.ins().icmp(IntCC::SignedLessThan, index, last);
        self.b.ins().brif(more, inside, &[], after, &[]);
        self.b.switch_to_block(inside);
        self.b.seal_block(inside);
        let env = self.env.clone();
        body(self, index)?;
        self.env = env;
        let next = self.b.ins().iadd_imm_s(index, step);
        self.b.def_var(counter, next);
        self.b.ins().jump(head, &[]);
        self.b.seal_block(head);
        self.b.switch_to_block(after);
        self.b.seal_block(after);
        Ok(self.b.use_var(counter))
    }

    fn tile(&mut self, axis: AxisId, body: &[Step]) -> Result<()> {
        let (first, last) = self.bounds(axis);
        self.counted(first, last, TILE as i64, |e, start| {
            let left = e.b.ins().isub(last, start);
            let most = e.b.ins().iconst(types::I64, TILE as i64);
            let length = e.b.ins().smin(left, most);
            for step in body {
                match step {
                    Step::Lanes { body } => e.lane_loops(axis, start, length, body)?,
                    Step::Call { value, from, into, sum } => e.call(axis, start, length, *value, *from, *into, *sum)?,
                    _ => return Err(Error::internal("jit", "a tile holds more than lanes and calls")),
                }
            }
            Ok(())
        })?;
        self.at.remove(&axis);
        Ok(())
    }

    /// The loops over the elements of one tile.
    fn lane_loops(&mut self, axis: AxisId, start: Value, length: Value, body: &[Step]) -> Result<()> {
        let width = 16 / self.real.bytes() as usize;
        let folds: Vec<Id> = body
            .iter()
            .filter_map(|s| if let Step::Fold { fold, slot: None } = s { Some(*fold) } else { None })
            .collect();
        let unroll = if folds.is_empty() { 1 } else { 4 };
        self.lane_axis = Some(axis);
        let mut first = self.b.ins().iconst(types::I64, 0);
        let whole = self.nest.extents[axis.index()];
        for (lanes, copies) in [(width, unroll), (width, 1), (1, 1)] {
            let covered = copies * lanes;
            let redundant =
                lanes == width && copies == 1 && unroll == 1 && folds.is_empty() && covered != width * unroll;
            if covered > whole || redundant {
                continue;
            }
            first = self.lane_loop(axis, start, first, length, body, &folds, lanes, copies)?;
        }
        self.lane_axis = None;
        self.tile_index = None;
        self.lanes = 1;
        Ok(())
    }

    /// One loop: `copies` values of `lanes` elements at a time, from `first` on while they fit.
    #[allow(clippy::too_many_arguments)]
    fn lane_loop(
        &mut self,
        axis: AxisId,
        start: Value,
        first: Value,
        length: Value,
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
        let end = self.counted(first, stop, (copies * lanes) as i64, |e, index| {
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

    fn neutral(&self, fold: Id) -> f64 {
        if self.is_sum(fold) { 0.0 } else { f64::NEG_INFINITY }
    }

    fn is_sum(&self, fold: Id) -> bool {
        matches!(self.nest.graph.as_fold(fold), Some((Fold::Sum, ..)))
    }

    fn combine(&mut self, fold: Id, a: Value, b: Value) -> Value {
        if self.is_sum(fold) { self.b.ins().fadd(a, b) } else { self.b.ins().fmax(a, b) }
    }

    /// The fold of a vector's lanes.
    fn across(&mut self, fold: Id, vector: Value) -> Value {
        if self.lanes == 1 {
            return vector;
        }
        let lanes: Vec<Value> = (0..self.lanes).map(|i| self.b.ins().extractlane(vector, i as u8)).collect();
        let mut lanes = lanes;
        while lanes.len() > 1 {
            let half = lanes.len() / 2;
            lanes = (0..half).map(|i| self.combine(fold, lanes[i], lanes[i + half])).collect();
        }
        lanes[0]
    }

    /// Takes one element's worth of a fold into its total.
    fn add_to_total(&mut self, fold: Id, value: Value) {
        let total = self.running[&fold].total;
        let known = self.b.use_var(total);
        let value =
            if self.is_sum(fold) && self.real == types::F32 { self.b.ins().fpromote(types::F64, value) } else { value };
        let sum = self.combine(fold, known, value);
        self.b.def_var(total, sum);
    }

    fn start(&mut self, fold: Id, slot: Option<SlotId>) -> Result<()> {
        let neutral = self.neutral(fold);
        let sum = self.is_sum(fold);
        if let Some(slot) = slot {
            return self.fill(slot, neutral, sum);
        }
        let total = self.b.declare_var(if sum { types::F64 } else { self.real });
        let value = if sum { self.b.ins().f64const(neutral) } else { self.float_const(neutral, false) };
        self.b.def_var(total, value);
        self.running.insert(fold, Running { total });
        Ok(())
    }

    /// Sets every element of the part of a slot that the open loops fix.
    fn fill(&mut self, slot: SlotId, neutral: f64, sum: bool) -> Result<()> {
        let axes = &self.nest.slots[slot].axes;
        let open = axes.iter().filter(|a| !self.is_open(**a)).map(|a| self.nest.extents[a.index()] as i64);
        let count = open.product::<i64>();
        let (address, region) = self.slot_address(slot)?;
        let value = if sum { self.b.ins().f64const(neutral) } else { self.float_const(neutral, false) };
        let size = i64::from(self.b.func.dfg.value_type(value).bytes());
        let (first, last) = (self.b.ins().iconst(types::I64, 0), self.b.ins().iconst(types::I64, count));
        self.counted(first, last, 1, |e, index| {
            let step = e.b.ins().imul_imm_s(index, size);
            let at = e.b.ins().iadd(address, step);
            let flags = e.regions.flags(region);
            e.b.ins().store(flags, value, at, 0);
            Ok(())
        })?;
        Ok(())
    }

    fn fold(&mut self, fold: Id, slot: Option<SlotId>) -> Result<()> {
        let (kind, _, body) = self.nest.graph.as_fold(fold).expect("checked");
        let val = self.get(body)?;
        let wide = self.lanes > 1;
        let value = self.widen(val, Kind::Float, wide);
        let Some(slot) = slot else {
            if self.lane_axis.is_some() {
                let part = self.running[&fold].total;
                let known = self.b.use_var(part);
                let sum = self.combine(fold, known, value);
                self.b.def_var(part, sum);
            } else {
                self.add_to_total(fold, value);
            }
            return Ok(());
        };
        let (address, region) = self.slot_address(slot)?;
        if kind == Fold::Sum {
            let known = self.load_sums(address, wide);
            let more = self.widen_sums(value, wide);
            let sums: Vec<Value> = known.into_iter().zip(more).map(|(a, b)| self.b.ins().fadd(a, b)).collect();
            self.store_sums(&sums, address);
        } else {
            let flags = self.regions.flags(region);
            let ty = self.b.func.dfg.value_type(value);
            let known = self.b.ins().load(ty, flags, address, 0);
            let top = self.b.ins().fmax(known, value);
            self.b.ins().store(flags, top, address, 0);
        }
        Ok(())
    }

    #[allow(clippy::too_many_arguments)]
    fn call(
        &mut self,
        axis: AxisId,
        start: Value,
        length: Value,
        value: Id,
        from: Source,
        into: Option<SlotId>,
        sum: Option<Id>,
    ) -> Result<()> {
        let (point, args) = self.nest.graph.as_point(value).expect("checked");
        let arg = args[0];
        self.lane_axis = Some(axis);
        self.at.insert(axis, start);
        self.tile_index = Some(self.b.ins().iconst(types::I64, 0));
        let x = match from {
            Source::Slot { slot, .. } => self.slot_address(slot)?.0,
            Source::Read(read) => self.read_address(read)?,
        };
        let y = match into {
            Some(slot) => self.slot_address(slot)?.0,
            None => x,
        };
        self.lane_axis = None;
        self.tile_index = None;
        let (scale, shift) = self.affine(arg, from.value())?;
        let form = match (into, sum) {
            (None, _) => Form::Sum,
            (Some(_), Some(_)) => Form::MapSum,
            (Some(_), None) => Form::Map,
        };
        let math = math_of(point).expect("checked");
        let call = self.b.ins().call(self.functions[&(math, form)], &[x, y, length, scale, shift]);
        if let Some(fold) = sum {
            let part = self.b.inst_results(call)[0];
            let total = self.running[&fold].total;
            let known = self.b.use_var(total);
            let known = self.b.ins().fadd(known, part);
            self.b.def_var(total, known);
        }
        Ok(())
    }

    /// `scale` and `shift` such that `arg = scale · source + shift`.
    fn affine(&mut self, arg: Id, source: Id) -> Result<(Value, Value)> {
        let (one, minus, nothing) =
            (self.float_const(1.0, false), self.float_const(-1.0, false), self.float_const(-0.0, false));
        if arg == source {
            return Ok((one, nothing));
        }
        let (point, args) = self.nest.graph.as_point(arg).expect("checked");
        let (args, first) = (args.to_vec(), args[0] == source);
        if point == Point::Neg {
            return Ok((minus, nothing));
        }
        let other = self.get(if first { args[1] } else { args[0] })?.value;
        Ok(match (point, first) {
            (Point::Add, _) => (one, other),
            (Point::Mul, _) => (other, nothing),
            (Point::Sub, true) => (one, self.b.ins().fneg(other)),
            (Point::Sub, false) => (minus, other),
            _ => return Err(Error::internal("jit", "an argument is not affine")),
        })
    }

    /// An elementary function of one element: a tile of one, so that the bits are the same.
    pub(super) fn math(&mut self, point: Point, x: Value) -> Result<Value> {
        let math = math_of(point).expect("an elementary function");
        self.b.ins().stack_store(types::I64, x, self.spare, 0);
        let at = self.b.ins().stack_addr(types::I64, self.spare, 0);
        let (one, nothing) = (self.float_const(1.0, false), self.float_const(-0.0, false));
        let count = self.b.ins().iconst(types::I64, 1);
        self.b.ins().call(self.functions[&(math, Form::Map)], &[at, at, count, one, nothing]);
        Ok(self.b.ins().stack_load(types::I64, self.real, self.spare, 0))
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
            Op::Float(x) => Val { value: self.float_const(x.get(), false), wide: false },
            Op::Int(i) => Val { value: self.b.ins().iconst(self.int, i), wide: false },
            Op::Axis(axis) => self.axis_value(axis)?,
            Op::Fold(_) if self.running.contains_key(&id) => {
                let total = self.b.use_var(self.running[&id].total);
                let narrow = self.is_sum(id) && self.real == types::F32;
                Val { value: if narrow { self.b.ins().fdemote(types::F32, total) } else { total }, wide: false }
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
            return Ok(Val { value: index, wide: false });
        }
        let first = self.splat(index);
        let ty = self.b.func.dfg.value_type(first);
        let bytes: Vec<u8> = match self.int {
            types::I64 => (0..self.lanes as i64).flat_map(i64::to_le_bytes).collect(),
            _ => (0..self.lanes as i32).flat_map(i32::to_le_bytes).collect(),
        };
        let steps = self.b.func.dfg.constants.insert(ConstantData::from(bytes.as_slice()));
        let steps = self.b.ins().vconst(ty, steps);
        Ok(Val { value: self.b.ins().iadd(first, steps), wide: true })
    }
}
