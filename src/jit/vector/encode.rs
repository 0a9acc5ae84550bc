//! A program as machine code: a function of the address of its arguments and of the bytes to go over, or the number of rows, in
//! the convention of System V.
//!
//! An iteration takes as many elements of every stream as fit into 64 bytes, in one part or in two; parts run one after the other and have
//! accumulators of their own, so that lane by lane a fold has the same order whatever the width. Sums go to f64 after
//! every tile.

use super::Arguments;
use super::codes::{self, Form, Width};
use super::program::{Binary, Operand, Program, STRIDE};
use super::registers::Registers;
use crate::error::{Error, Result};
use crate::ir::Dtype;
use crate::nest::TILE;
use iced_x86::{
    BlockEncoder, BlockEncoderOptions, Code, IcedError, Instruction, InstructionBlock, MemoryOperand, Register,
};

/// Registers of addresses: those that a function may spoil, then those that it must save.
pub(super) const ADDRESSES: [Register; 11] = [
    Register::RAX,
    Register::RCX,
    Register::R8,
    Register::R9,
    Register::R10,
    Register::RBX,
    Register::RBP,
    Register::R12,
    Register::R13,
    Register::R14,
    Register::R15,
];
const FREE: usize = 5;

pub(super) const ARGUMENTS: Register = Register::RDI;
pub(super) const LIMIT: Register = Register::RSI;
pub(super) const OFFSET: Register = Register::RDX;
/// Where the tile ends.
pub(super) const END: Register = Register::R11;

/// The code; `None` where a level has no instruction for an operation, or too few registers.
pub(super) fn encode(program: &Program, width: Width) -> Result<Option<Vec<u8>>> {
    if program.addresses() > ADDRESSES.len() {
        return Ok(None);
    }
    let parts = STRIDE / width.bytes();
    let held = |copies: usize| Some((copies, Registers::of(program, width.registers(), parts * copies)?));
    let Some((copies, registers)) = held(program.copies()).or_else(|| held(1)) else { return Ok(None) };
    let arguments = Arguments::of(program);
    let (constants, code) = (vec![], vec![]);
    let mut assembler =
        Assembler { program, width, registers, arguments, parts, copies, past: false, in_tail: false, constants, code };
    let fail = |e: IcedError| Error::internal("jit", format!("a vector loop: {e}"));
    if !assembler.function().map_err(fail)? {
        return Ok(None);
    }
    assembler.write_constants().map_err(fail)?;
    let block = InstructionBlock::new(&assembler.code, 0);
    Ok(Some(BlockEncoder::encode(64, block, BlockEncoderOptions::NONE).map_err(fail)?.code_buffer))
}

pub(super) struct Assembler<'a> {
    pub program: &'a Program,
    pub width: Width,
    pub registers: Registers,
    pub(super) arguments: Arguments,
    /// Of an iteration.
    pub parts: usize,
    /// Iterations that are done side by side while so many are left, or rows.
    pub copies: usize,
    /// Whether far stores go past the caches.
    pub past: bool,
    /// Whether the iteration is the one of the elements that are left behind whole ones.
    pub in_tail: bool,
    /// Vectors that stand behind the code: the instruction that loads one, and its bytes.
    pub constants: Vec<(usize, Vec<u8>)>,
    pub code: Vec<Instruction>,
}

pub(super) type Done<T = ()> = std::result::Result<T, IcedError>;

impl Assembler<'_> {
    /// Whether there are instructions for all of it.
    fn function(&mut self) -> Done<bool> {
        let saved: Vec<Register> = ADDRESSES[FREE..self.program.addresses().max(FREE)].to_vec();
        for &register in &saved {
            self.push(Instruction::with1(Code::Push_r64, register)?);
        }
        self.arguments()?;
        self.prepare_masks()?;
        self.prepare_stored()?;
        let done = if self.program.rows.is_some() { self.rows()? } else { self.one_row()? };
        self.push(Instruction::with(Code::VEX_Vzeroupper));
        for &register in saved.iter().rev() {
            self.push(Instruction::with1(Code::Pop_r64, register)?);
        }
        self.push(Instruction::with(Code::Retnq));
        Ok(done)
    }

    /// What goes over elements one behind the other. Whether there are instructions for all of it.
    fn one_row(&mut self) -> Done<bool> {
        self.push(Instruction::with2(Code::Xor_r32_rm32, Register::EDX, Register::EDX)?);
        self.push(Instruction::with2(Code::Cmp_r64_rm64, OFFSET, LIMIT)?);
        let before = self.jump(Code::Jge_rel32_64)?;
        let far: Vec<usize> = self.program.far_stores().collect();
        let mut ends = vec![before];
        if self.copies > 1 {
            match self.side_by_side()? {
                Some(end) => ends.push(end),
                None => return Ok(false),
            }
        }
        if !far.is_empty() {
            // Stores past the caches take 16 bytes at addresses that are multiples of 16.
            self.push(Instruction::with2(Code::Mov_r64_rm64, END, ADDRESSES[far[0]])?);
            for &stream in &far[1..] {
                self.push(Instruction::with2(Code::Or_r64_rm64, END, ADDRESSES[stream])?);
            }
            self.push(Instruction::with2(Code::Test_rm64_imm32, END, 15)?);
            let elsewhere = self.jump(Code::Jne_rel32_64)?;
            self.past = true;
            if !self.tiles()? {
                return Ok(false);
            }
            self.past = false;
            ends.push(self.jump(Code::Jmp_rel32_64)?);
            self.land(elsewhere);
        }
        if !self.tiles()? {
            return Ok(false);
        }
        ends.into_iter().for_each(|end| self.land(end));
        for fold in 0..self.program.folds.len() {
            if self.program.folds[fold].largest {
                self.store_lanes(fold)?;
            }
        }
        Ok(true)
    }

    /// A loop over several iterations at a time, whose accumulators then join those of the first. Gives the jump for when
    /// none is left; `None` where there is no instruction for something.
    fn side_by_side(&mut self) -> Done<Option<usize>> {
        let stride = (self.copies * STRIDE) as i32;
        let end = MemoryOperand::with_base_displ(LIMIT, i64::from(STRIDE as i32 - stride));
        self.push(Instruction::with2(Code::Lea_r64_m, END, end)?);
        self.push(Instruction::with2(Code::Cmp_r64_rm64, OFFSET, END)?);
        let few = self.jump(Code::Jge_rel32_64)?;
        let others: Vec<(u32, u32)> = (self.parts..self.parts * self.copies)
            .flat_map(|part| (0..self.program.folds.len()).map(move |fold| (part, fold)))
            .map(|(part, fold)| (self.registers.folds[part % self.parts][fold], self.registers.folds[part][fold]))
            .collect();
        let copy =
            if self.width == Width::Zmm { Code::EVEX_Vmovaps_zmm_k1z_zmmm512 } else { Code::VEX_Vmovaps_ymm_ymmm256 };
        for &(first, other) in &others {
            self.two(copy, other, first)?;
        }
        let start = self.code.len();
        if !self.iteration(self.copies)? {
            return Ok(None);
        }
        self.push(Instruction::with2(Code::Add_rm64_imm32, OFFSET, stride)?);
        self.push(Instruction::with2(Code::Cmp_r64_rm64, OFFSET, END)?);
        self.push(Instruction::with_branch(Code::Jl_rel32_64, start as u64 + 1)?);
        for (first, other) in others {
            self.extreme(true, first, first, other, true)?;
        }
        self.land(few);
        self.push(Instruction::with2(Code::Cmp_r64_rm64, OFFSET, LIMIT)?);
        self.jump(Code::Jge_rel32_64).map(Some)
    }

    /// The operations on so many iterations' elements. Whether there are instructions for all of them.
    pub(super) fn iteration(&mut self, copies: usize) -> Done<bool> {
        for part in (0..self.parts * copies).filter(|&part| self.lanes(part) > 0).collect::<Vec<_>>() {
            for place in self.once()..self.program.line.len() {
                if !self.action(place, part)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// How many operations are done once for a row.
    pub(super) fn once(&self) -> usize {
        self.program.rows.as_ref().map_or(0, |rows| rows.once)
    }

    /// The loop over the tiles, with the loop over the iterations of each. Whether there are instructions for all of it.
    fn tiles(&mut self) -> Done<bool> {
        let tile = self.code.len();
        self.open_tile()?;
        // There may be less than an iteration in all, or none beside whole tiles.
        let few = if self.program.tail > 0 {
            self.push(Instruction::with2(Code::And_rm64_imm8, END, -(STRIDE as i32))?);
            self.push(Instruction::with2(Code::Cmp_r64_rm64, OFFSET, END)?);
            Some(self.jump(Code::Jge_rel32_64)?)
        } else {
            None
        };
        let start = self.code.len();
        if !self.iteration(1)? {
            return Ok(false);
        }
        if !self.next_index()? {
            return Ok(false);
        }
        for (stream, &address) in self.program.streams.iter().zip(&ADDRESSES) {
            if stream.stride != 1 {
                let step =
                    (stream.stride * self.program.elements() as isize * self.program.real.size() as isize) as i32;
                self.push(Instruction::with2(Code::Add_rm64_imm32, address, step)?);
            }
        }
        self.push(Instruction::with2(Code::Add_rm64_imm8, OFFSET, STRIDE as i32)?);
        self.push(Instruction::with2(Code::Cmp_r64_rm64, OFFSET, END)?);
        self.push(Instruction::with_branch(Code::Jl_rel32_64, start as u64 + 1)?);
        if let Some(few) = few {
            // Behind a full tile, the tail is a tile of its own.
            let full = if self.has_sums() {
                let bytes = (TILE * self.program.real.size()) as i32;
                self.push(Instruction::with2(Code::Test_rm64_imm32, OFFSET, bytes - 1)?);
                Some(self.jump(Code::Je_rel32_64)?)
            } else {
                None
            };
            self.land(few);
            if !self.tail()? {
                return Ok(false);
            }
            full.into_iter().for_each(|full| self.land(full));
        }
        if self.has_sums() {
            self.close_tile()?;
            self.push(Instruction::with2(Code::Cmp_r64_rm64, OFFSET, LIMIT)?);
            self.push(Instruction::with_branch(Code::Jl_rel32_64, tile as u64 + 1)?);
        }
        Ok(true)
    }

    /// The indices of the next iteration. Whether there are instructions for it.
    pub(super) fn next_index(&mut self) -> Done<bool> {
        let Some(step) = self.registers.step else { return Ok(true) };
        let Some(Form::Plain(add)) = codes::binary(Binary::IntAdd, self.width, self.program.real) else {
            return Ok(false);
        };
        for part in 0..self.registers.index.len() {
            let index = self.registers.index[part];
            self.three(add, index, index, step)?;
        }
        Ok(true)
    }

    /// The elements behind all whole iterations, if there are any. Whether there are instructions for all of it.
    fn tail(&mut self) -> Done<bool> {
        self.push(Instruction::with2(Code::Cmp_r64_rm64, OFFSET, LIMIT)?);
        let none = self.jump(Code::Jge_rel32_64)?;
        self.in_tail = true;
        let done = self.iteration(1)?;
        self.in_tail = false;
        self.push(Instruction::with2(Code::Mov_r64_rm64, OFFSET, LIMIT)?);
        self.land(none);
        Ok(done)
    }

    /// A jump forward, to where it will [land](Self::land).
    pub(super) fn jump(&mut self, code: Code) -> Done<usize> {
        Ok(self.push(Instruction::with_branch(code, 0)?))
    }

    pub(super) fn land(&mut self, jump: usize) {
        let here = self.code.len() as u64 + 1;
        self.code[jump].set_near_branch64(here);
    }

    /// Instructions are labels of jumps by their place, from 1.
    pub(super) fn push(&mut self, mut instruction: Instruction) -> usize {
        instruction.set_ip(self.code.len() as u64 + 1);
        self.code.push(instruction);
        self.code.len() - 1
    }

    fn arguments(&mut self) -> Done {
        for (stream, &address) in ADDRESSES[..self.program.addresses()].iter().enumerate() {
            let from = MemoryOperand::with_base_displ(ARGUMENTS, 8 * stream as i64);
            self.push(Instruction::with2(Code::Mov_r64_rm64, address, from)?);
        }
        for scalar in 0..self.program.scalars.len() {
            self.broadcast(self.registers.scalars[scalar], self.arguments.scalars + 8 * scalar)?;
        }
        self.neutral(true)?;
        self.first_index()?;
        match self.registers.step {
            Some(step) => self.broadcast(step, self.arguments.step),
            None => Ok(()),
        }
    }

    /// The index of each lane of the first iteration.
    pub(super) fn first_index(&mut self) -> Done {
        for part in 0..self.registers.index.len() {
            let place = self.arguments.index + part * self.width.bytes();
            let memory = MemoryOperand::with_base_displ(ARGUMENTS, place as i64);
            self.load(self.registers.index[part], memory)?;
        }
        Ok(())
    }

    fn has_sums(&self) -> bool {
        self.program.folds.iter().any(|total| !total.largest)
    }

    /// Sets the accumulators of maxima, or those of sums.
    fn neutral(&mut self, largest: bool) -> Done {
        for part in 0..self.parts {
            for fold in 0..self.program.folds.len() {
                if self.program.folds[fold].largest == largest {
                    self.broadcast(self.registers.folds[part][fold], self.arguments.neutrals + 8 * fold)?;
                }
            }
        }
        Ok(())
    }

    /// Where the tile ends, and sums of its own; without sums all is one tile.
    fn open_tile(&mut self) -> Done {
        if !self.has_sums() {
            self.push(Instruction::with2(Code::Mov_r64_rm64, END, LIMIT)?);
            return Ok(());
        }
        let bytes = TILE * self.program.real.size();
        let end = MemoryOperand::with_base_displ(OFFSET, bytes as i64);
        self.push(Instruction::with2(Code::Lea_r64_m, END, end)?);
        self.push(Instruction::with2(Code::Cmp_r64_rm64, END, LIMIT)?);
        self.push(Instruction::with2(Code::Cmovg_r64_rm64, END, LIMIT)?);
        self.neutral(false)
    }

    /// Adds the sums of a tile to their totals.
    fn close_tile(&mut self) -> Done {
        for fold in 0..self.program.folds.len() {
            if !self.program.folds[fold].largest {
                let total = MemoryOperand::with_base_displ(ARGUMENTS, self.arguments.total(fold) as i64);
                let sum = self.across(fold, 0)?;
                self.push(Instruction::with3(Code::VEX_Vaddsd_xmm_xmm_xmmm64, sum, sum, total)?);
                self.push(Instruction::with2(Code::VEX_Vmovsd_m64_xmm, total, sum)?);
            }
        }
        Ok(())
    }

    /// The sum of a fold's lanes, of so many copies' the one, in f64: quarters of an iteration in turn, then their lanes by
    /// halves, as [`across`](super::super::emit::Emitter::across) has them.
    pub(super) fn across(&mut self, fold: usize, copy: usize) -> Done<Register> {
        let parts: Vec<u32> =
            (0..self.parts).map(|part| self.registers.folds[copy * self.parts + part][fold]).collect();
        let (lowest, spare) = (parts[0], self.registers.spare);
        let (sum, other) = (Register::XMM0 + lowest, Register::XMM0 + spare);
        let single = self.program.real == Dtype::F32;
        let add = if single { Code::VEX_Vaddps_xmm_xmm_xmmm128 } else { Code::VEX_Vaddpd_xmm_xmm_xmmm128 };
        // Not through memory: loads of a part of what was stored wait until all before them is done. Nothing is added to
        // the quarters that are still to come.
        let quarters = self.width.bytes() / 16;
        for quarter in 1..STRIDE / 16 {
            let lanes = self.vector(parts[quarter / quarters]);
            self.quarter(other, lanes, quarter % quarters)?;
            self.three(codes::add(self.width, self.program.real), lowest, lowest, spare)?;
        }
        if single {
            self.push(Instruction::with3(Code::VEX_Vmovhlps_xmm_xmm_xmm, other, sum, sum)?);
            self.push(Instruction::with3(add, sum, sum, other)?);
            self.push(Instruction::with2(Code::VEX_Vmovshdup_xmm_xmmm128, other, sum)?);
            self.push(Instruction::with3(Code::VEX_Vaddss_xmm_xmm_xmmm32, sum, sum, other)?);
            self.push(Instruction::with3(Code::VEX_Vcvtss2sd_xmm_xmm_xmmm32, sum, sum, sum)?);
        } else {
            self.push(Instruction::with3(Code::VEX_Vunpckhpd_xmm_xmm_xmmm128, other, sum, sum)?);
            self.push(Instruction::with3(Code::VEX_Vaddsd_xmm_xmm_xmmm64, sum, sum, other)?);
        }
        Ok(sum)
    }

    /// Stores the accumulators of a fold, lane by lane.
    fn store_lanes(&mut self, fold: usize) -> Done {
        for part in 0..self.parts {
            let place = self.arguments.lanes(fold) + part * self.width.bytes();
            self.store(MemoryOperand::with_base_displ(ARGUMENTS, place as i64), self.registers.folds[part][fold])?;
        }
        Ok(())
    }

    fn broadcast(&mut self, to: u32, place: usize) -> Done {
        let code = codes::broadcast(self.width, self.program.real);
        let from = MemoryOperand::with_base_displ(ARGUMENTS, place as i64);
        self.push(Instruction::with2(code, self.vector(to), from)?);
        Ok(())
    }

    /// A vector that will stand behind the code.
    pub(super) fn load_constant(&mut self, to: u32, bytes: Vec<u8>) -> Done {
        let behind = MemoryOperand::with_base_displ(Register::RIP, 0);
        let load =
            if self.width == Width::Zmm { Code::EVEX_Vmovups_zmm_k1z_zmmm512 } else { Code::VEX_Vmovups_ymm_ymmm256 };
        let place = self.push(Instruction::with2(load, self.vector(to), behind)?);
        self.constants.push((place, bytes));
        Ok(())
    }

    /// The vectors that were asked for, each once.
    fn write_constants(&mut self) -> Done {
        let mut asked = std::mem::take(&mut self.constants);
        asked.sort_by(|(_, a), (_, b)| a.cmp(b));
        for alike in asked.chunk_by(|(_, a), (_, b)| a == b) {
            let address = self.code.len() as u64 + 1;
            for quarter in alike[0].1.chunks(16) {
                self.push(Instruction::with_declare_byte(quarter)?);
            }
            for &(load, _) in alike {
                self.code[load].set_memory_displacement64(address);
            }
        }
        Ok(())
    }

    pub(super) fn vector(&self, number: u32) -> Register {
        if self.width == Width::Zmm { Register::ZMM0 + number } else { Register::YMM0 + number }
    }

    pub(super) fn register(&self, operand: Operand, part: usize) -> u32 {
        match operand {
            Operand::Scalar(scalar) => self.registers.scalars[scalar],
            Operand::Index => self.registers.index[part],
            Operand::Made(place) => self.registers.made[place].unwrap_or(self.registers.spare),
        }
    }

    pub(super) fn load(&mut self, to: u32, from: MemoryOperand) -> Done {
        let code =
            if self.width == Width::Zmm { Code::EVEX_Vmovups_zmm_k1z_zmmm512 } else { Code::VEX_Vmovups_ymm_ymmm256 };
        self.push(Instruction::with2(code, self.vector(to), from)?);
        Ok(())
    }

    pub(super) fn store(&mut self, to: MemoryOperand, from: u32) -> Done {
        let code =
            if self.width == Width::Zmm { Code::EVEX_Vmovups_zmmm512_k1z_zmm } else { Code::VEX_Vmovups_ymmm256_ymm };
        self.push(Instruction::with2(code, to, self.vector(from))?);
        Ok(())
    }

    pub(super) fn three(&mut self, code: Code, to: u32, a: u32, b: u32) -> Done {
        self.push(Instruction::with3(code, self.vector(to), self.vector(a), self.vector(b))?);
        Ok(())
    }

    pub(super) fn two(&mut self, code: Code, to: u32, from: u32) -> Done {
        self.push(Instruction::with2(code, self.vector(to), self.vector(from))?);
        Ok(())
    }
}
