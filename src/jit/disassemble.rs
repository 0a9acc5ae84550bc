//! Machine code back to text, each instruction with its offset and the step that it belongs to.

use super::compile::Defined;
use super::listing::Instruction;
use super::source::step;
use cranelift_codegen::{CompiledCode, FinalizedRelocTarget};
use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter, Mnemonic};

fn formatter() -> IntelFormatter {
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_branch_leading_zeros(false);
    options.set_space_after_operand_separator(true);
    options.set_rip_relative_addresses(true);
    formatter
}

/// A vector loop under its name; all of it belongs to its step.
pub(super) fn vector_loop(found: &Defined) -> Vec<Instruction> {
    let mut formatter = formatter();
    let line = |text: String| Instruction { text, step: Some(found.step), callee: None };
    let mut lines = vec![line(format!("{}:", found.name))];
    for instruction in Decoder::with_ip(64, &found.code, 0, DecoderOptions::NONE).iter() {
        let mut text = format!("{:5x}: ", instruction.ip());
        formatter.format(&instruction, &mut text);
        lines.push(line(text));
        let next = instruction.next_ip();
        if instruction.mnemonic() == Mnemonic::Ret && (next as usize) < found.code.len() {
            lines.push(line(format!("{next:5x}: ; {} bytes of constants", found.code.len() - next as usize)));
            break;
        }
    }
    lines
}

/// The instructions of x86-64 code, in Intel's syntax; targets of jumps are offsets.
pub(super) fn x86(code: &CompiledCode, callee: &dyn Fn(&FinalizedRelocTarget) -> Option<String>) -> Vec<Instruction> {
    let bytes = code.code_buffer();
    let places = code.buffer.get_srclocs_sorted();
    // Behind the last instruction there are constants.
    let end = places.iter().map(|place| place.end as usize).max().unwrap_or(bytes.len());
    let mut formatter = formatter();
    let mut lines = vec![];
    for instruction in Decoder::with_ip(64, &bytes[..end], 0, DecoderOptions::NONE).iter() {
        let (start, next) = (instruction.ip() as u32, instruction.next_ip() as u32);
        let mut text = format!("{start:5x}: ");
        formatter.format(&instruction, &mut text);
        let relocations = code.buffer.relocs().iter().filter(|r| (start..next).contains(&r.offset));
        for name in relocations.filter_map(|r| callee(&r.target)) {
            text += &format!("  ; {name}");
        }
        let place = places.iter().find(|place| (place.start..place.end).contains(&start));
        lines.push(Instruction { text, step: place.and_then(|place| step(place.loc)), callee: None });
    }
    if end < bytes.len() {
        lines.push(Instruction {
            text: format!("{end:5x}: ; {} bytes of constants", bytes.len() - end),
            step: None,
            callee: None,
        });
    }
    lines
}
