//! The machine code of a [row loop](super::row_loop): several rows side by side, then those that are left one by one.

use super::codes::{self, Width};
use super::encode::{ADDRESSES, Assembler, Done, LIMIT, OFFSET};
use super::program::STRIDE;
use crate::ir::Dtype;
use iced_x86::{Code, Instruction, MemoryOperand, Register};

/// The lanes that have the sum of a row.
const SUMS: Register = Register::K5;

impl Assembler<'_> {
    /// All rows, whose number stands in [`LIMIT`]. Whether there are instructions for all of it.
    pub(super) fn rows(&mut self) -> Done<bool> {
        if self.joins_rows() {
            self.mask(SUMS, if self.program.real == Dtype::F32 { 0x1111 } else { 0x55 })?;
        }
        let groups = if self.copies > 1 { vec![self.copies, 1] } else { vec![1] };
        for rows in groups {
            self.push(Instruction::with2(Code::Cmp_rm64_imm8, LIMIT, rows as i32)?);
            let few = self.jump(Code::Jl_rel32_64)?;
            let start = self.code.len();
            if !self.group(rows)? {
                return Ok(false);
            }
            self.push(Instruction::with2(Code::Sub_rm64_imm8, LIMIT, rows as i32)?);
            self.push(Instruction::with2(Code::Cmp_rm64_imm8, LIMIT, rows as i32)?);
            self.push(Instruction::with_branch(Code::Jge_rel32_64, start as u64 + 1)?);
            self.land(few);
        }
        Ok(true)
    }

    /// So many rows side by side, and the way to the next.
    fn group(&mut self, rows: usize) -> Done<bool> {
        let Some(around) = self.program.rows.clone() else { return Ok(false) };
        for part in 0..self.parts * rows {
            for fold in 0..self.program.folds.len() {
                let total = self.registers.folds[part][fold];
                let nothing = if self.width == Width::Zmm {
                    Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32
                } else {
                    Code::VEX_Vpxor_ymm_ymm_ymmm256
                };
                self.three(nothing, total, total, total)?;
            }
        }
        for place in 0..around.once {
            if !self.action(place, 0)? {
                return Ok(false);
            }
        }
        self.first_index()?;
        let whole = around.length / self.program.elements();
        self.push(Instruction::with2(Code::Xor_r32_rm32, Register::EDX, Register::EDX)?);
        if whole > 0 {
            let start = self.code.len();
            if !self.iteration(rows)? || !self.next_index()? {
                return Ok(false);
            }
            self.push(Instruction::with2(Code::Add_rm64_imm8, OFFSET, STRIDE as i32)?);
            if whole > 1 {
                self.push(Instruction::with2(Code::Cmp_rm64_imm32, OFFSET, (whole * STRIDE) as i32)?);
                self.push(Instruction::with_branch(Code::Jl_rel32_64, start as u64 + 1)?);
            }
        }
        if self.program.tail > 0 {
            self.in_tail = true;
            let done = self.iteration(rows)?;
            self.in_tail = false;
            if !done {
                return Ok(false);
            }
        }
        let streams = self.program.streams.len();
        for fold in 0..self.program.folds.len() {
            let sums = ADDRESSES[streams + fold];
            if rows > 1 && self.joins_rows() {
                self.join_rows(fold, sums)?;
            } else {
                for row in 0..rows {
                    let sum = self.across(fold, row)?;
                    let to = MemoryOperand::with_base_displ(sums, 8 * row as i64);
                    self.push(Instruction::with2(Code::VEX_Vmovsd_m64_xmm, to, sum)?);
                }
            }
            self.push(Instruction::with2(Code::Add_rm64_imm32, sums, 8 * rows as i32)?);
        }
        for (&step, &address) in around.steps.iter().zip(&ADDRESSES) {
            if step != 0 {
                let bytes = step * (rows * self.program.real.size()) as isize;
                self.push(Instruction::with2(Code::Add_rm64_imm32, address, bytes as i32)?);
            }
        }
        Ok(true)
    }

    /// Whether the lanes of four rows are joined together.
    fn joins_rows(&self) -> bool {
        self.width == Width::Zmm && self.copies == 4
    }

    /// The sums of four rows: their quarters change places, so that each quarter of a vector is of another row, and are added
    /// as those of one row are.
    fn join_rows(&mut self, fold: usize, sums: Register) -> Done {
        let [a, b, c, d] = [0, 1, 2, 3].map(|row| self.registers.folds[row][fold]);
        let (spare, real) = (self.registers.spare, self.program.real);
        let add = codes::add(self.width, real);
        // Two quarters of one and two of the other, by two bits each.
        let (low, high, even, odd) = (0x44, 0xee, 0x88, 0xdd);
        self.quarters(spare, a, b, low)?;
        self.quarters(a, a, b, high)?;
        self.quarters(b, c, d, low)?;
        self.quarters(c, c, d, high)?;
        self.quarters(d, spare, b, even)?;
        self.quarters(spare, spare, b, odd)?;
        self.three(add, d, d, spare)?;
        self.quarters(spare, a, c, even)?;
        self.three(add, d, d, spare)?;
        self.quarters(spare, a, c, odd)?;
        self.three(add, d, d, spare)?;
        let (lanes, other) = (self.vector(d), self.vector(spare));
        if real == Dtype::F32 {
            let halves = Code::EVEX_Vpermilps_zmm_k1z_zmmm512b32_imm8;
            self.push(Instruction::with3(halves, other, lanes, 0b0100_1110u32)?);
            self.three(add, d, d, spare)?;
            self.push(Instruction::with2(Code::EVEX_Vmovshdup_zmm_k1z_zmmm512, other, lanes)?);
            self.three(add, d, d, spare)?;
            let packed = Instruction::with2(Code::EVEX_Vcompressps_zmmm512_k1z_zmm, other, lanes)?;
            self.push_masked(packed, SUMS, true)?;
            let (narrow, wide) = (Register::XMM0 + spare, Register::YMM0 + spare);
            self.push(Instruction::with2(Code::VEX_Vcvtps2pd_ymm_xmmm128, wide, narrow)?);
        } else {
            self.push(Instruction::with3(Code::EVEX_Vpermilpd_zmm_k1z_zmmm512b64_imm8, other, lanes, 0x55u32)?);
            self.three(add, d, d, spare)?;
            let packed = Instruction::with2(Code::EVEX_Vcompresspd_zmmm512_k1z_zmm, other, lanes)?;
            self.push_masked(packed, SUMS, true)?;
        }
        let to = MemoryOperand::with_base(sums);
        self.push(Instruction::with2(Code::VEX_Vmovupd_ymmm256_ymm, to, Register::YMM0 + spare)?);
        Ok(())
    }

    fn quarters(&mut self, to: u32, a: u32, b: u32, which: u32) -> Done {
        let (to, a, b) = (self.vector(to), self.vector(a), self.vector(b));
        self.push(Instruction::with4(Code::EVEX_Vshuff32x4_zmm_k1z_zmm_zmmm512b32_imm8, to, a, b, which)?);
        Ok(())
    }
}
