//! A program as text: its arguments, then an operation a line, as a listing shows it.

use super::program::{Action, Binary, Operand, Program, Scalar, Source, Total};
use crate::nest::Nest;

impl Binary {
    fn word(self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::IntAdd => "add_int",
            Binary::IntSub => "sub_int",
            Binary::IntMul => "mul_int",
            Binary::And => "and",
            Binary::Or => "or",
            Binary::Xor => "xor",
            Binary::Less => "lt",
            Binary::LessOrEqual => "le",
            Binary::Equal => "eq",
            Binary::IntLess => "lt_int",
            Binary::IntEqual => "eq_int",
        }
    }
}

impl Program {
    /// A line for each operation; `v` numbers vectors, `s` what is the same in all lanes.
    pub fn text(&self, nest: &Nest) -> Vec<String> {
        let mut lines = vec![];
        for (place, scalar) in self.scalars.iter().enumerate() {
            lines.push(match scalar {
                Scalar::Value(id) => format!("s{place} = %{id}"),
                Scalar::Bits(bits) if self.real.size() == 4 => format!("s{place} = 0x{:08x}", *bits as u32),
                Scalar::Bits(bits) => format!("s{place} = 0x{bits:016x}"),
            });
        }
        lines.extend(self.line.iter().enumerate().map(|(place, action)| self.action(nest, place, action)));
        lines
    }

    fn stream(&self, nest: &Nest, stream: usize) -> String {
        let found = &self.streams[stream];
        let name = match found.source {
            Source::Read(read) => format!("%{read}"),
            Source::Slot(slot) => format!("slot {slot}"),
            Source::Output(output) => nest.graph.outputs[output].name.clone(),
        };
        match found.stride {
            1 if found.far => format!("{name}, far"),
            0 | 1 => name,
            stride => format!("{name}, every {stride}"),
        }
    }

    fn action(&self, nest: &Nest, place: usize, action: &Action) -> String {
        let of = |operand: Operand| match operand {
            Operand::Scalar(scalar) => format!("s{scalar}"),
            Operand::Index => "index".to_string(),
            Operand::Made(place) => format!("v{place}"),
        };
        match *action {
            Action::Load(stream) => format!("v{place} = load {}", self.stream(nest, stream)),
            Action::Row(stream) => format!("v{place} = row's {}", self.stream(nest, stream)),
            Action::LoadSums(stream) => format!("v{place} = load {}, f64", self.stream(nest, stream)),
            Action::Store { stream, from } => format!("store {} {}", of(from), self.stream(nest, stream)),
            Action::AddSums { stream, from } => format!("{}, f64 += {}", self.stream(nest, stream), of(from)),
            Action::Binary(binary, a, b) => format!("v{place} = {} {} {}", binary.word(), of(a), of(b)),
            Action::Sqrt(x) => format!("v{place} = sqrt {}", of(x)),
            Action::Float(x) => format!("v{place} = float {}", of(x)),
            Action::Extreme { largest, first, second, may_be_nan } => {
                let word = if largest { "max" } else { "min" };
                let number = if may_be_nan { "" } else { ", a number" };
                format!("v{place} = {word} {} {}{number}", of(first), of(second))
            }
            Action::Select { mask, yes, no } => format!("v{place} = select {} {} {}", of(mask), of(yes), of(no)),
            Action::Fold { fold, from } => {
                let Total { fold, largest } = self.folds[fold];
                format!("%{fold} {} {}", if largest { "max=" } else { "+=" }, of(from))
            }
        }
    }
}
