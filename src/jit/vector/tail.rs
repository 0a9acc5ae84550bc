//! Tails of rows: the elements behind the whole iterations, in some lanes of one more. The other lanes read nothing, write
//! nothing, and add nothing.

use super::codes::{self, Width};
use super::encode::{Assembler, Done, END};
use crate::ir::Dtype;
use iced_x86::{Code, Instruction, MemoryOperand, Register};

/// The lanes that have elements; those of the first eight and of the others, which are two vectors of f64.
const MASK: Register = Register::K2;
const HALVES: [Register; 2] = [Register::K3, Register::K4];

impl Assembler<'_> {
    /// How many lanes of a part have elements.
    pub(super) fn lanes(&self, part: usize) -> usize {
        let all = self.width.bytes() / self.program.real.size();
        if self.in_tail { self.program.tail.saturating_sub(part % self.parts * all).min(all) } else { all }
    }

    fn is_partial(&self, part: usize) -> bool {
        self.lanes(part) * self.program.real.size() < self.width.bytes()
    }

    /// Lanes of one of the two vectors of f64 that a part of f32 is.
    pub(super) fn lanes_of_half(&self, part: usize, half: usize) -> usize {
        let all = self.width.bytes() / 8;
        self.lanes(part).saturating_sub(half * all).min(all)
    }

    /// Sets the masks that AVX-512 has registers for.
    pub(super) fn prepare_masks(&mut self) -> Done {
        if self.program.tail == 0 || self.width == Width::Ymm {
            return Ok(());
        }
        let bits = (1u32 << self.program.tail) - 1;
        self.mask(MASK, bits)?;
        if self.program.streams.iter().any(|stream| stream.doubled) {
            self.mask(HALVES[0], bits & 0xff)?;
            self.mask(HALVES[1], bits >> 8)?;
        }
        Ok(())
    }

    pub(super) fn mask(&mut self, mask: Register, bits: u32) -> Done {
        self.push(Instruction::with2(Code::Mov_r32_imm32, Register::R11D, bits)?);
        debug_assert_eq!(END, Register::R11);
        self.push(Instruction::with2(Code::VEX_Kmovw_kr_r32, mask, Register::R11D)?);
        Ok(())
    }

    /// A vector from memory.
    pub(super) fn load_part(&mut self, to: u32, from: MemoryOperand, part: usize) -> Done {
        if !self.is_partial(part) {
            return self.load(to, from);
        }
        let single = self.program.real == Dtype::F32;
        if self.width == Width::Zmm {
            let code = if single { Code::EVEX_Vmovups_zmm_k1z_zmmm512 } else { Code::EVEX_Vmovupd_zmm_k1z_zmmm512 };
            return self.push_masked(Instruction::with2(code, self.vector(to), from)?, MASK, true);
        }
        self.load_mask(to, self.lanes(part) * self.program.real.size())?;
        let code = if single { Code::VEX_Vmaskmovps_ymm_ymm_m256 } else { Code::VEX_Vmaskmovpd_ymm_ymm_m256 };
        let to = self.vector(to);
        self.push(Instruction::with3(code, to, to, from)?);
        Ok(())
    }

    pub(super) fn store_part(&mut self, to: MemoryOperand, from: u32, part: usize) -> Done {
        if !self.is_partial(part) {
            return self.store(to, from);
        }
        let (single, from) = (self.program.real == Dtype::F32, self.vector(from));
        if self.width == Width::Zmm {
            let code = if single { Code::EVEX_Vmovups_zmmm512_k1z_zmm } else { Code::EVEX_Vmovupd_zmmm512_k1z_zmm };
            return self.push_masked(Instruction::with2(code, to, from)?, MASK, false);
        }
        let mask = self.registers.spare;
        self.load_mask(mask, self.lanes(part) * self.program.real.size())?;
        let code = if single { Code::VEX_Vmaskmovps_m256_ymm_ymm } else { Code::VEX_Vmaskmovpd_m256_ymm_ymm };
        self.push(Instruction::with3(code, to, self.vector(mask), from)?);
        Ok(())
    }

    /// Adds to a fold's lanes.
    pub(super) fn add_tail(&mut self, total: u32, from: u32, part: usize) -> Done {
        let add = codes::add(self.width, self.program.real);
        if !self.is_partial(part) {
            return self.three(add, total, total, from);
        }
        if self.width == Width::Zmm {
            let (total, from) = (self.vector(total), self.vector(from));
            return self.push_masked(Instruction::with3(add, total, total, from)?, MASK, false);
        }
        let spare = self.registers.spare;
        self.load_mask(spare, self.lanes(part) * self.program.real.size())?;
        self.three(Code::VEX_Vandps_ymm_ymm_ymmm256, spare, spare, from)?;
        self.three(add, total, total, spare)
    }

    /// An instruction on one of the two vectors of f64 of a part, which is done for the lanes that have elements.
    pub(super) fn push_half(&mut self, instruction: Instruction, part: usize, half: usize, zeroing: bool) -> Done {
        if self.lanes_of_half(part, half) * 8 < self.width.bytes() {
            return self.push_masked(instruction, HALVES[half], zeroing);
        }
        self.push(instruction);
        Ok(())
    }

    pub(super) fn push_masked(&mut self, mut instruction: Instruction, mask: Register, zeroing: bool) -> Done {
        instruction.set_op_mask(mask);
        instruction.set_zeroing_masking(zeroing);
        self.push(instruction);
        Ok(())
    }

    /// A mask that lets so many bytes through, where masks are vectors.
    pub(super) fn load_mask(&mut self, to: u32, bytes: usize) -> Done {
        let mask = (0..self.width.bytes()).map(|byte| if byte < bytes { 0xff } else { 0 }).collect();
        self.load_constant(to, mask)
    }
}
