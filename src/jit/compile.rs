//! Compile: a module for one kernel, with the functions that it calls.

use super::emit::{Emitter, Natives};
use super::kernel::{Code, Entry};
use super::native;
use super::pairs;
use super::perf;
use super::rows::rows;
use super::slots::scratch;
use super::vector::{self, VectorLoop};
use super::{Binding, Kernel, target};
use crate::error::{Error, Result};
use crate::ir::{Dtype, Input, Kind, Point};
use crate::nest::{Nest, Place, Step, check_in_place, check_on};
use crate::vmath::{self, Function as Math};
use cranelift_codegen::Context;
use cranelift_codegen::binemit::Reloc;
use cranelift_codegen::ir::{AbiParam, types};
use cranelift_frontend::FunctionBuilderContext;
use cranelift_jit::{JITBuilder, JITModule};
use cranelift_module::{FuncId, Linkage, Module, default_libcall_names};
use std::collections::BTreeMap;

/// A function of `vmath`, in one of its forms, for one dtype.
pub(super) type TileFunction = (Math, Form, Dtype);

/// Which of the tile functions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    Map,
    MapSum,
    Sum,
    MapColumns,
    Columns,
    Row,
    MapRow,
    One,
}

impl Form {
    fn name(self) -> &'static str {
        match self {
            Form::Map => "map",
            Form::MapSum => "map_sum",
            Form::Sum => "sum",
            Form::MapColumns => "map_columns",
            Form::Columns => "columns",
            Form::Row => "row",
            Form::MapRow => "map_row",
            Form::One => "one",
        }
    }
}

/// Compiles a nest, once the checker has passed it.
pub fn compile(nest: Nest, binding: Binding) -> Result<Kernel> {
    let Built { mut module, id, mut context, scratch, shared, constants, vector_loops } = build(&nest, &binding)?;
    let fail = |e: &dyn std::fmt::Display| Error::internal("jit", e.to_string());
    module.define_function(id, &mut context).map_err(|e| fail(&format!("{e:?}")))?;
    let code = context.compiled_code().ok_or_else(|| fail(&"no code"))?;
    if let Some(relative) = code.buffer.relocs().iter().find(|reloc| reloc.kind != Reloc::Abs8) {
        return Err(fail(&format!("a relative address, {relative:?}")));
    }
    let size = code.code_buffer().len();
    module.finalize_definitions().map_err(|e| fail(&e))?;
    let address = module.get_finalized_function(id);
    let name = symbol(&nest, &binding);
    perf::note(&name, address, size)?;
    for Defined { name, function, code, .. } in &vector_loops {
        perf::note(name, module.get_finalized_function(*function), code.len())?;
    }
    // SAFETY: the function was declared with the signature of `Entry` and lives as long as the module, which the
    // kernel owns.
    let entry = unsafe { std::mem::transmute::<*const u8, Entry>(address) };
    Ok(Kernel {
        nest,
        binding,
        scratch,
        shared,
        entry,
        constants,
        #[cfg(feature = "gdb")]
        _registration: super::gdb::Registration::new(&name, address, size),
        code: Code::new(module, size),
    })
}

/// A kernel before its code is made.
pub(super) struct Built {
    pub module: JITModule,
    pub id: FuncId,
    pub context: Context,
    pub scratch: usize,
    pub shared: usize,
    pub constants: Box<[u64]>,
    pub vector_loops: Vec<Defined>,
}

/// A vector loop that has its code already.
pub(super) struct Defined {
    pub name: String,
    pub step: usize,
    pub function: FuncId,
    /// What it does, line by line.
    pub text: Vec<String>,
    pub code: Vec<u8>,
}

pub(super) fn build(nest: &Nest, binding: &Binding) -> Result<Built> {
    check_on(nest, &binding.layout)?;
    check_in_place(nest, &binding.layout)?;
    check_dtypes(nest, binding)?;
    check_natives(nest, binding)?;
    let fits = |size: usize| i64::try_from(size).is_ok() && (binding.real == Dtype::F64 || size <= i32::MAX as usize);
    if let Some(axis) = nest.extents.iter().position(|&size| !fits(size)) {
        let problem = format!("axis {} is too long for {}", nest.graph.axes[axis], binding.real);
        return Err(Error::Declaration { loss: nest.graph.name.clone(), problem });
    }
    let native_scratch = native::scratch(nest, binding);
    let arithmetic = binding.arithmetic(nest);
    let scratch = scratch(nest, binding, native_scratch.unwrap_or(0))?;
    let (size, shared) = (scratch.size, scratch.shared);
    let mut builder = JITBuilder::with_isa(target::host()?, default_libcall_names());
    let rows = rows(nest, binding);
    let mut wanted = functions(nest, arithmetic);
    wanted.extend(rows.iter().map(|row| (Math::Exp, row.form(), arithmetic)));
    wanted.sort();
    wanted.dedup();
    for &(math, form, real) in &wanted {
        builder.symbol(math_symbol(math, form, real), address(math, form, real)?);
    }
    if native_scratch.is_some() {
        builder.symbol(native::CTC, crate::native::ctc as *const u8);
    }
    let has_pairs = pairs::has_pairs(&nest.body);
    if has_pairs {
        builder.symbol(pairs::PAIRS, crate::native::pairs as *const u8);
    }
    let mut module = JITModule::new(builder);
    let fail = |e: cranelift_module::ModuleError| Error::internal("jit", e.to_string());
    let mut context = module.make_context();
    let pointer = AbiParam::new(types::I64);
    context.func.signature = module.make_signature();
    context.func.signature.params = vec![pointer; 7];
    context.func.signature.returns = vec![AbiParam::new(types::I32)];
    let name = symbol(nest, binding);
    let id = module.declare_function(&name, Linkage::Export, &context.func.signature).map_err(fail)?;
    let mut refs = BTreeMap::new();
    for &(math, form, dtype) in &wanted {
        let real = if dtype == Dtype::F32 { types::F32 } else { types::F64 };
        let mut signature = module.make_signature();
        match form {
            Form::Map | Form::MapSum | Form::Sum => {
                let params = [types::I64, types::I64, types::I64, real, real, types::I64];
                signature.params = params.map(AbiParam::new).to_vec();
                signature.returns = vec![AbiParam::new(types::F64)];
            }
            Form::MapColumns | Form::Columns => signature.params = vec![pointer; 5],
            Form::Row | Form::MapRow => {
                signature.params = vec![pointer; 5];
                signature.returns = vec![AbiParam::new(types::F64)];
            }
            Form::One => {
                signature.params = vec![AbiParam::new(real)];
                signature.returns = signature.params.clone();
            }
        }
        let name = math_symbol(math, form, dtype);
        let function = module.declare_function(&name, Linkage::Import, &signature).map_err(fail)?;
        refs.insert((math, form, dtype), module.declare_func_in_func(function, &mut context.func));
    }
    let mut natives = Natives::default();
    if native_scratch.is_some() {
        let mut signature = module.make_signature();
        signature.params = vec![pointer; 6];
        signature.returns = vec![AbiParam::new(types::I32)];
        let function = module.declare_function(native::CTC, Linkage::Import, &signature).map_err(fail)?;
        natives.ctc = Some(module.declare_func_in_func(function, &mut context.func));
    }
    if has_pairs {
        let mut signature = module.make_signature();
        signature.params = vec![pointer; 5];
        let function = module.declare_function(pairs::PAIRS, Linkage::Import, &signature).map_err(fail)?;
        natives.pairs = Some(module.declare_func_in_func(function, &mut context.func));
    }
    let mut frontend = FunctionBuilderContext::new();
    let config = module.target_config();
    let before_avx = target::is_before_avx(module.isa());
    let vector_loops = vector::loops(nest, binding, &rows)?;
    let mut listed = vec![];
    let mut called = BTreeMap::new();
    for VectorLoop { step, program, code } in vector_loops {
        let text = program.text(nest);
        let mut signature = module.make_signature();
        signature.params = vec![pointer; 2];
        let name = format!("{name}.lanes.{step}");
        let function = module.declare_function(&name, Linkage::Local, &signature).map_err(fail)?;
        module.define_function_bytes(function, 16, &code, &[]).map_err(fail)?;
        let reference = module.declare_func_in_func(function, &mut context.func);
        // By its whole address: the memory of two functions may lie further apart than a relative call reaches.
        context.func.dfg.ext_funcs[reference].colocated = false;
        called.insert(step, (program, reference));
        listed.push(Defined { name, step, function, text, code });
    }
    let mut emitter = Emitter::new(nest, binding, &mut context, &mut frontend, refs, natives, scratch);
    emitter.before_avx = before_avx;
    emitter.vector_loops = called;
    emitter.rows = rows.into_iter().map(|row| (row.largest, row)).collect();
    let constants = emitter.function(config)?.into_words();
    Ok(Built { module, id, context, scratch: size, shared, constants, vector_loops: listed })
}

/// The name of a kernel: the loss, what is computed, and the dtype and extents of the first input, as in
/// `softmax_cross_entropy.value_and_grad.f32[512,32000]`; collapsed axes have their elements in the last of them.
pub fn symbol(nest: &Nest, binding: &Binding) -> String {
    let graph = &nest.graph;
    let value = graph.outputs.iter().any(|o| o.name == "out");
    let what = match (value, graph.outputs.len()) {
        (true, 1) => "forward",
        (true, _) => "value_and_grad",
        (false, _) => "backward",
    };
    let input = graph.inputs.iter().zip(&binding.inputs).find(|(input, _)| input.kind == Kind::Float);
    let shape = input.map(|(input, dtype)| {
        let extents: Vec<String> = input.axes.iter().map(|a| nest.extents[a.index()].to_string()).collect();
        format!(".{dtype}[{}]", extents.join(","))
    });
    format!("{}.{what}{}", graph.name, shape.unwrap_or_default())
}

/// Floats are loaded in the width of the loss, or widened from 16 bits to 32.
fn check_dtypes(nest: &Nest, binding: &Binding) -> Result<()> {
    let (inputs, dtypes) = (&nest.graph.inputs, &binding.inputs);
    let fits = |(input, dtype): (&Input, &Dtype)| match input.kind {
        Kind::Float => dtype.is_float() && dtype.computed() == binding.real,
        _ => !dtype.is_half(),
    };
    let narrow = binding.layout.narrow.iter().all(|(_, dtype)| dtype.is_half());
    let stores = binding.real.is_float() && narrow && (binding.real == Dtype::F32 || binding.layout.narrow.is_empty());
    if stores && inputs.len() == dtypes.len() && inputs.iter().zip(dtypes).all(fits) {
        return Ok(());
    }
    Err(Error::internal("jit", format!("inputs of {dtypes:?} for a loss in {}", binding.real)))
}

/// Native kernels read and write the caller's floats themselves.
fn check_natives(nest: &Nest, binding: &Binding) -> Result<()> {
    let inputs = nest.graph.inputs.iter().map(|input| &input.name).zip(&binding.inputs);
    let outputs = binding.layout.narrow.iter().map(|(output, dtype)| (&nest.graph.outputs[*output].name, dtype));
    match inputs.chain(outputs).find(|(_, dtype)| dtype.is_half()) {
        Some((name, dtype)) if native::has_kernels(&nest.body) || pairs::has_pairs(&nest.body) => {
            let expected = format!("f32 or f64 for the native kernel of {}", nest.graph.name);
            Err(Error::Dtype { input: name.clone(), found: dtype.name(), expected })
        }
        _ => Ok(()),
    }
}

fn math_symbol(math: Math, form: Form, real: Dtype) -> String {
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
                Form::MapColumns => entry.map_columns as *const u8,
                Form::Columns => entry.columns as *const u8,
                Form::Row => entry.row as *const u8,
                Form::MapRow => entry.map_row as *const u8,
                Form::One => entry.one as *const u8,
            }
        }};
    }
    Ok(match real {
        Dtype::F32 => pick!(vmath::entry::<f32>(math)),
        _ => pick!(vmath::entry::<f64>(math)),
    })
}

pub(super) fn math_of(point: Point) -> Option<Math> {
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
fn functions(nest: &Nest, real: Dtype) -> Vec<TileFunction> {
    fn visit(nest: &Nest, real: Dtype, body: &[Step], found: &mut Vec<TileFunction>) {
        for step in body {
            if let Some(body) = step.body() {
                visit(nest, real, body, found);
                continue;
            }
            let value = match step {
                Step::Let(value) | Step::Call { value, .. } => *value,
                _ => continue,
            };
            // Of single elements, outside lanes, everything is in f64.
            let (form, dtype) = match step {
                Step::Call { into: Some(slot), .. } if nest.slots[*slot].place == Place::Sums => {
                    (Form::Map, Dtype::F64)
                }
                Step::Call { into: None, columns: Some(_), .. } => (Form::Columns, real),
                Step::Call { columns: Some(_), .. } => (Form::MapColumns, real),
                Step::Call { into: None, .. } => (Form::Sum, real),
                Step::Call { sum: Some(_), .. } => (Form::MapSum, real),
                Step::Call { .. } => (Form::Map, real),
                _ => (Form::One, Dtype::F64),
            };
            found.extend(nest.graph.as_point(value).and_then(|(p, _)| math_of(p)).map(|math| (math, form, dtype)));
        }
    }
    let mut found = vec![];
    visit(nest, real, &nest.body, &mut found);
    found.sort();
    found.dedup();
    found
}
