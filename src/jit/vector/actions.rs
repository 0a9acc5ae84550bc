//! The operations of a program as instructions.

use super::codes::{self, Form, UNORDERED, Width};
use super::encode::{Assembler, Done};
use super::program::Action;
use crate::ir::Dtype;
use iced_x86::{Code, Instruction, Register};

impl Assembler<'_> {
    /// Whether there are instructions for it.
    pub(super) fn action(&mut self, place: usize, part: usize) -> Done<bool> {
        let (real, spare) = (self.program.real, self.registers.spare);
        let to = self.registers.made[place].unwrap_or(spare);
        match self.program.line[place] {
            Action::Load(stream) => {
                if part.is_multiple_of(self.parts) && self.program.streams[stream].far {
                    let ahead = self.memory(stream, part, self.program.streams[stream].ahead);
                    self.push(Instruction::with1(Code::Prefetcht0_m8, ahead)?);
                }
                self.load_stream(to, stream, part)?;
            }
            Action::LoadSums(stream) => self.load_sums(to, stream, part)?,
            Action::Row(stream) => self.load_row(to, stream)?,
            Action::AddSums { .. } if self.in_tail && self.width == Width::Ymm => return Ok(false),
            Action::Store { stream, from } if self.past && !self.in_tail && self.program.streams[stream].far => {
                self.store_past(stream, self.register(from, part), part)?;
            }
            Action::Store { stream, from } => self.store_stream(stream, self.register(from, part), part)?,
            Action::AddSums { stream, from } => self.add_sums(stream, self.register(from, part), part)?,
            Action::Binary(binary, a, b) => {
                let (a, b) = (self.register(a, part), self.register(b, part));
                match codes::binary(binary, self.width, real) {
                    None => return Ok(false),
                    Some(Form::Plain(code)) => self.three(code, to, a, b)?,
                    Some(Form::Swapped(code)) => self.three(code, to, b, a)?,
                    Some(Form::Compare(code, predicate)) => self.compare(code, to, a, b, predicate)?,
                }
            }
            Action::Sqrt(x) => self.two(codes::sqrt(self.width, real), to, self.register(x, part))?,
            Action::Float(x) => match codes::to_float(self.width, real) {
                Some(code) => self.two(code, to, self.register(x, part))?,
                None => return Ok(false),
            },
            Action::Extreme { largest, first, second, may_be_nan } => {
                let (first, second) = (self.register(first, part), self.register(second, part));
                self.extreme(largest, to, first, second, may_be_nan)?;
            }
            Action::Select { mask, yes, no } => {
                let (mask, yes, no) = (self.register(mask, part), self.register(yes, part), self.register(no, part));
                self.select(to, mask, yes, no)?;
            }
            Action::Fold { fold, from } => {
                let (total, from) = (self.registers.folds[part][fold], self.register(from, part));
                if self.program.folds[fold].largest {
                    self.extreme(true, total, total, from, true)?;
                } else if self.in_tail {
                    self.add_tail(total, from, part)?;
                } else {
                    self.three(codes::add(self.width, real), total, total, from)?;
                }
            }
        }
        Ok(true)
    }

    fn compare(&mut self, code: Code, to: u32, a: u32, b: u32, predicate: u32) -> Done {
        let (a, b) = (self.vector(a), self.vector(b));
        if self.width == Width::Ymm {
            self.push(Instruction::with4(code, self.vector(to), a, b, predicate)?);
            return Ok(());
        }
        self.push(Instruction::with4(code, Register::K1, a, b, predicate)?);
        let fill =
            if self.program.real == Dtype::F32 { Code::EVEX_Vpmovm2d_zmm_kr } else { Code::EVEX_Vpmovm2q_zmm_kr };
        self.push(Instruction::with2(fill, self.vector(to), Register::K1)?);
        Ok(())
    }

    fn select(&mut self, to: u32, mask: u32, yes: u32, no: u32) -> Done {
        if self.width == Width::Ymm {
            let (to, mask, yes, no) = (self.vector(to), self.vector(mask), self.vector(yes), self.vector(no));
            self.push(Instruction::with4(Code::VEX_Vblendvps_ymm_ymm_ymmm256_ymm, to, no, yes, mask)?);
            return Ok(());
        }
        self.two(Code::EVEX_Vmovaps_zmm_k1z_zmmm512, to, mask)?;
        let (to, yes, no) = (self.vector(to), self.vector(yes), self.vector(no));
        // By bit: 0b11001010 is the middle operand where the first has a 1, and the last where it has a 0.
        self.push(Instruction::with4(Code::EVEX_Vpternlogd_zmm_k1z_zmm_zmmm512b32_imm8, to, yes, no, 0xcau32)?);
        Ok(())
    }

    pub(super) fn extreme(&mut self, largest: bool, to: u32, first: u32, second: u32, may_be_nan: bool) -> Done {
        self.three(codes::extreme(largest, self.width, self.program.real), to, second, first)?;
        if !may_be_nan {
            return Ok(());
        }
        let (to, second) = (self.vector(to), self.vector(second));
        let compare = codes::compare(self.width, self.program.real);
        if self.width == Width::Ymm {
            let spare = self.vector(self.registers.spare);
            self.push(Instruction::with4(compare, spare, second, second, UNORDERED)?);
            self.push(Instruction::with4(Code::VEX_Vblendvps_ymm_ymm_ymmm256_ymm, to, to, second, spare)?);
            return Ok(());
        }
        self.push(Instruction::with4(compare, Register::K1, second, second, UNORDERED)?);
        let single = self.program.real == Dtype::F32;
        let code = if single { Code::EVEX_Vmovaps_zmm_k1z_zmmm512 } else { Code::EVEX_Vmovapd_zmm_k1z_zmmm512 };
        let mut chosen = Instruction::with2(code, to, second)?;
        chosen.set_op_mask(Register::K1);
        self.push(chosen);
        Ok(())
    }
}
