//! Listings: Cranelift's code and machine code as text, each line with the step of the nest that it was made for.

use super::Binding;
use super::compile::{Built, Defined, build};
use super::source::step;
use crate::error::{Error, Result};
use crate::nest::Nest;
use cranelift_codegen::ir::{ExternalName, Function, SourceLoc};
use cranelift_codegen::{CompiledCode, FinalizedRelocTarget};
use cranelift_jit::JITModule;
use cranelift_module::{FuncId, Module};

/// A line of code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Instruction {
    pub text: String,
    /// The place in [`Nest::steps`] of the step that it was made for, where it was for one.
    pub step: Option<usize>,
    /// The symbol that `fn0` of Cranelift's text stands for, where it is declared or called.
    pub callee: Option<String>,
}

/// The lines as one text.
pub fn text(lines: &[Instruction]) -> String {
    lines.iter().map(|line| format!("{}\n", line.text)).collect()
}

/// The code as Cranelift's text, before optimisation; behind it, the vector loops that it calls.
pub fn clif(nest: &Nest, binding: &Binding) -> Result<Vec<Instruction>> {
    let Built { module, context, vector_loops, .. } = build(nest, binding)?;
    let symbols: Vec<(String, String)> = (context.func.dfg.ext_funcs.iter())
        .filter_map(|(function, data)| Some((function.to_string(), symbol_of(&module, &context.func, &data.name)?)))
        .collect();
    let mut lines = clif_lines(context.func, &symbols);
    for found in &vector_loops {
        let line = |text: String| Instruction { text, step: Some(found.step), callee: None };
        lines.push(line(format!("vector loop {}:", found.name)));
        lines.extend(found.text.iter().map(|text| line(format!("    {text}"))));
    }
    // SAFETY: nothing was defined in the module, so nothing points into its memory.
    unsafe { module.free_memory() };
    Ok(lines)
}

/// The text has no locations in it: they come from a second text, with them, which has the same lines.
fn clif_lines(mut function: Function, symbols: &[(String, String)]) -> Vec<Instruction> {
    let located = function.display().to_string();
    function.srclocs.clear();
    let plain = function.display().to_string();
    let location = |line: &str| {
        let digits = line.strip_prefix('@')?.split(' ').next()?;
        step(SourceLoc::new(u32::from_str_radix(digits, 16).ok()?))
    };
    let lines = plain.lines().zip(located.lines());
    let callee = |text: &str| {
        let names = |(function, _): &&(String, String)| {
            let declared =
                text.trim_start().strip_prefix(function.as_str()).is_some_and(|rest| rest.starts_with(" = "));
            declared || text.contains(&format!("call {function}("))
        };
        symbols.iter().find(names).map(|(_, symbol)| symbol.clone())
    };
    let line = |(text, located): (&str, &str)| Instruction {
        text: text.to_string(),
        step: location(located),
        callee: callee(text),
    };
    lines.map(line).collect()
}

/// The machine code.
pub fn assembly(nest: &Nest, binding: &Binding) -> Result<Vec<Instruction>> {
    let Built { mut module, id, mut context, vector_loops, .. } = build(nest, binding)?;
    context.set_disasm(true);
    let defined = module.define_function(id, &mut context);
    let kernel = context.compiled_code().map(|code| disassemble(code, &|name| callee(&module, &context.func, name)));
    let lines = kernel.map(|mut lines| {
        lines.extend(vector_loops.iter().flat_map(disassemble_loop));
        lines
    });
    // SAFETY: the function is never called.
    unsafe { module.free_memory() };
    defined.map_err(|e| Error::internal("jit", e.to_string()))?;
    lines.ok_or_else(|| Error::internal("jit", "no code was made"))
}

/// The symbol of a function that the code calls.
fn callee(module: &JITModule, function: &Function, name: &FinalizedRelocTarget) -> Option<String> {
    let FinalizedRelocTarget::ExternalName(name) = name else { return None };
    symbol_of(module, function, name)
}

fn symbol_of(module: &JITModule, function: &Function, name: &ExternalName) -> Option<String> {
    let ExternalName::User(name) = name else { return None };
    let id = FuncId::from_u32(function.params.user_named_funcs()[*name].index);
    module.declarations().get_function_decl(id).name.clone()
}

/// Instruction by instruction, as they lie in memory.
#[cfg(all(feature = "inspect", target_arch = "x86_64"))]
fn disassemble(code: &CompiledCode, callee: &dyn Fn(&FinalizedRelocTarget) -> Option<String>) -> Vec<Instruction> {
    super::disassemble::x86(code, callee)
}

/// A vector loop, under its name.
#[cfg(all(feature = "inspect", target_arch = "x86_64"))]
fn disassemble_loop(found: &Defined) -> Vec<Instruction> {
    super::disassemble::vector_loop(found)
}

/// Without a disassembler only its name.
#[cfg(not(all(feature = "inspect", target_arch = "x86_64")))]
fn disassemble_loop(found: &Defined) -> Vec<Instruction> {
    let text = format!("{}: {} bytes", found.name, found.code.len());
    vec![Instruction { text, step: Some(found.step), callee: None }]
}

/// Cranelift's own text, which does not say which line is which instruction in memory: the lines have no steps.
#[cfg(not(all(feature = "inspect", target_arch = "x86_64")))]
fn disassemble(code: &CompiledCode, _: &dyn Fn(&FinalizedRelocTarget) -> Option<String>) -> Vec<Instruction> {
    let text = code.vcode.as_deref().unwrap_or_default();
    text.lines().map(|line| Instruction { text: line.to_string(), step: None, callee: None }).collect()
}
