//! Elements of streams to vectors and back: neighbours, what all lanes share, sums in f64, and past the caches.

use super::codes::{self, Width};
use super::encode::{ADDRESSES, Assembler, Done, OFFSET};
use crate::ir::Dtype;
use iced_x86::{Code, Instruction, MemoryOperand, Register};

impl Assembler<'_> {
    /// A stream's elements of a part, so many bytes behind; of rows side by side, each has parts.
    pub(super) fn memory(&self, stream: usize, part: usize, behind: usize) -> MemoryOperand {
        let scale = if self.program.streams[stream].doubled { 2 } else { 1 };
        let (part, beside) = match &self.program.rows {
            Some(rows) => {
                (part % self.parts, rows.steps[stream] * (part / self.parts * self.program.real.size()) as isize)
            }
            None => (part, 0),
        };
        let place = (scale * part * self.width.bytes() + behind) as i64 + beside as i64;
        let size = u32::from(place != 0);
        MemoryOperand::with_base_index_scale_displ_size(ADDRESSES[stream], OFFSET, scale as u32, place, size)
    }

    /// A row's element, for all lanes.
    pub(super) fn load_row(&mut self, to: u32, stream: usize) -> Done {
        let from = MemoryOperand::with_base(ADDRESSES[stream]);
        let single = self.program.real == Dtype::F32;
        if !(self.program.streams[stream].doubled && single) {
            let code = codes::broadcast(self.width, self.program.real);
            self.push(Instruction::with2(code, self.vector(to), from)?);
            return Ok(());
        }
        // Scalar conversions of AVX reach 16 registers only.
        let (spare, wide) = (Register::XMM0 + self.registers.spare, self.vector(to));
        self.push(Instruction::with3(Code::VEX_Vcvtsd2ss_xmm_xmm_xmmm64, spare, spare, from)?);
        let code = if self.width == Width::Zmm {
            Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32
        } else {
            Code::VEX_Vbroadcastss_ymm_xmm
        };
        self.push(Instruction::with2(code, wide, spare)?);
        Ok(())
    }

    pub(super) fn load_stream(&mut self, to: u32, stream: usize, part: usize) -> Done {
        if self.program.streams[stream].stride == 1 {
            return self.load_part(to, self.memory(stream, part, 0), part);
        }
        match self.near(stream) {
            Some(distance) => self.load_near(to, stream, distance),
            None => self.load_apart(to, stream, part),
        }
    }

    pub(super) fn store_stream(&mut self, stream: usize, from: u32, part: usize) -> Done {
        if self.program.streams[stream].stride == 1 {
            return self.store_part(self.memory(stream, part, 0), from, part);
        }
        match self.near(stream) {
            Some(distance) => self.store_near(stream, from, distance),
            None => self.store_apart(stream, from, part),
        }
    }

    /// 16 bytes of a vector.
    pub(super) fn quarter(&mut self, to: Register, from: Register, quarter: usize) -> Done {
        let code = match self.width {
            Width::Zmm => Code::EVEX_Vextractf32x4_xmmm128_k1z_zmm_imm8,
            Width::Ymm => Code::VEX_Vextractf128_xmmm128_ymm_imm8,
        };
        self.push(Instruction::with3(code, to, from, quarter as u32)?);
        Ok(())
    }

    /// Stores past the caches, 16 bytes at a time: memory that nobody reads soon is not read before it is written.
    pub(super) fn store_past(&mut self, stream: usize, from: u32, part: usize) -> Done {
        let (narrow, from) = (Register::XMM0 + self.registers.spare, self.vector(from));
        for quarter in 0..self.width.bytes() / 16 {
            self.quarter(narrow, from, quarter)?;
            let to = self.memory(stream, part, 16 * quarter);
            self.push(Instruction::with2(Code::VEX_Vmovntps_m128_xmm, to, narrow)?);
        }
        Ok(())
    }

    /// Two vectors of f64 as one of f32.
    pub(super) fn load_sums(&mut self, to: u32, stream: usize, part: usize) -> Done {
        let (low, high) = (self.memory(stream, part, 0), self.memory(stream, part, self.width.bytes()));
        let spare = self.registers.spare;
        let upper = self.lanes_of_half(part, 1) > 0;
        if self.width == Width::Zmm {
            let code = Code::EVEX_Vcvtpd2ps_ymm_k1z_zmmm512b64_er;
            let (half, spare) = (Register::YMM0 + to, Register::YMM0 + spare);
            self.push_half(Instruction::with2(code, half, low)?, part, 0, true)?;
            if upper {
                self.push_half(Instruction::with2(code, spare, high)?, part, 1, true)?;
                let to = self.vector(to);
                let join = Code::EVEX_Vinsertf64x4_zmm_k1z_zmm_ymmm256_imm8;
                self.push(Instruction::with4(join, to, to, spare, 1u32)?);
            }
            return Ok(());
        }
        self.narrow_half(to, low, self.lanes_of_half(part, 0))?;
        if upper {
            self.narrow_half(spare, high, self.lanes_of_half(part, 1))?;
            let (to, spare) = (self.vector(to), Register::XMM0 + spare);
            self.push(Instruction::with4(Code::VEX_Vinsertf128_ymm_ymm_xmmm128_imm8, to, to, spare, 1u32)?);
        }
        Ok(())
    }

    /// Four of f64, or the first of them, as f32.
    fn narrow_half(&mut self, to: u32, from: MemoryOperand, lanes: usize) -> Done {
        let (half, wide) = (Register::XMM0 + to, self.vector(to));
        if lanes * 8 == self.width.bytes() {
            self.push(Instruction::with2(Code::VEX_Vcvtpd2ps_xmm_ymmm256, half, from)?);
            return Ok(());
        }
        self.load_mask(to, lanes * 8)?;
        self.push(Instruction::with3(Code::VEX_Vmaskmovpd_ymm_ymm_m256, wide, wide, from)?);
        self.push(Instruction::with2(Code::VEX_Vcvtpd2ps_xmm_ymmm256, half, wide)?);
        Ok(())
    }

    /// A vector of f32 added to two of f64.
    pub(super) fn add_sums(&mut self, stream: usize, from: u32, part: usize) -> Done {
        let spare = self.registers.spare;
        for half in (0..2u32).filter(|&half| self.lanes_of_half(part, half as usize) > 0).collect::<Vec<_>>() {
            let memory = self.memory(stream, part, half as usize * self.width.bytes());
            let to = self.vector(spare);
            if self.width == Width::Zmm {
                let (source, narrow) = (self.vector(from), Register::YMM0 + spare);
                self.push(Instruction::with3(Code::EVEX_Vextractf64x4_ymmm256_k1z_zmm_imm8, narrow, source, half)?);
                self.push(Instruction::with2(Code::EVEX_Vcvtps2pd_zmm_k1z_ymmm256b32_sae, to, narrow)?);
                let add = Instruction::with3(Code::EVEX_Vaddpd_zmm_k1z_zmm_zmmm512b64_er, to, to, memory)?;
                self.push_half(add, part, half as usize, true)?;
                let store = Instruction::with2(Code::EVEX_Vmovupd_zmmm512_k1z_zmm, memory, to)?;
                self.push_half(store, part, half as usize, false)?;
            } else {
                let (source, narrow) = (self.vector(from), Register::XMM0 + spare);
                self.push(Instruction::with3(Code::VEX_Vextractf128_xmmm128_ymm_imm8, narrow, source, half)?);
                self.push(Instruction::with2(Code::VEX_Vcvtps2pd_ymm_xmmm128, to, narrow)?);
                self.push(Instruction::with3(Code::VEX_Vaddpd_ymm_ymm_ymmm256, to, to, memory)?);
                self.store(memory, spare)?;
            }
        }
        Ok(())
    }
}
