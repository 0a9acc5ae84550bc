//! A program as machine code: a function of the address of its arguments and of the bytes to go over, in the convention
//! of System V.
//!
//! An iteration takes 64 bytes of every stream, in one part or in two; parts run one after the other and have
//! accumulators of their own, so that lane by lane a fold has the same order whatever the width. Sums go to f64 after
//! every tile.

use super::Arguments;
use super::codes::{self, Form, UNORDERED, Width};
use super::program::{Action, Binary, Operand, Program, STRIDE};
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

const ARGUMENTS: Register = Register::RDI;
const LIMIT: Register = Register::RSI;
pub(super) const OFFSET: Register = Register::RDX;
/// Where the tile ends.
const END: Register = Register::R11;

/// The code; `None` where a level has no instruction for an operation, or too few registers.
pub(super) fn encode(program: &Program, width: Width) -> Result<Option<Vec<u8>>> {
    if program.streams.len() > ADDRESSES.len() {
        return Ok(None);
    }
    let parts = STRIDE / width.bytes();
    let held = |copies: usize| Some((copies, Registers::of(program, width.registers(), parts * copies)?));
    let Some((copies, registers)) = held(program.copies()).or_else(|| held(1)) else { return Ok(None) };
    let arguments = Arguments::of(program);
    let mut assembler = Assembler { program, width, registers, arguments, parts, copies, past: false, code: vec![] };
    let fail = |e: IcedError| Error::internal("jit", format!("a vector loop: {e}"));
    if !assembler.function().map_err(fail)? {
        return Ok(None);
    }
    let block = InstructionBlock::new(&assembler.code, 0);
    Ok(Some(BlockEncoder::encode(64, block, BlockEncoderOptions::NONE).map_err(fail)?.code_buffer))
}

pub(super) struct Assembler<'a> {
    pub program: &'a Program,
    pub width: Width,
    pub registers: Registers,
    arguments: Arguments,
    /// Of an iteration.
    parts: usize,
    /// Iterations that are done side by side while so many are left.
    copies: usize,
    /// Whether far stores go past the caches.
    past: bool,
    code: Vec<Instruction>,
}

pub(super) type Done<T = ()> = std::result::Result<T, IcedError>;

impl Assembler<'_> {
    /// Whether there are instructions for all of it.
    fn function(&mut self) -> Done<bool> {
        let saved: Vec<Register> = ADDRESSES[FREE..self.program.streams.len().max(FREE)].to_vec();
        for &register in &saved {
            self.push(Instruction::with1(Code::Push_r64, register)?);
        }
        self.arguments()?;
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
        self.push(Instruction::with(Code::VEX_Vzeroupper));
        for &register in saved.iter().rev() {
            self.push(Instruction::with1(Code::Pop_r64, register)?);
        }
        self.push(Instruction::with(Code::Retnq));
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
    fn iteration(&mut self, copies: usize) -> Done<bool> {
        for part in 0..self.parts * copies {
            for place in 0..self.program.line.len() {
                if !self.action(place, part)? {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// The loop over the tiles, with the loop over the iterations of each. Whether there are instructions for all of it.
    fn tiles(&mut self) -> Done<bool> {
        let tile = self.code.len();
        self.open_tile()?;
        let start = self.code.len();
        if !self.iteration(1)? {
            return Ok(false);
        }
        if let Some(step) = self.registers.step {
            let Some(Form::Plain(add)) = codes::binary(Binary::IntAdd, self.width, self.program.real) else {
                return Ok(false);
            };
            for part in 0..self.registers.index.len() {
                let index = self.registers.index[part];
                self.three(add, index, index, step)?;
            }
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
        if self.has_sums() {
            self.close_tile()?;
            self.push(Instruction::with2(Code::Cmp_r64_rm64, OFFSET, LIMIT)?);
            self.push(Instruction::with_branch(Code::Jl_rel32_64, tile as u64 + 1)?);
        }
        Ok(true)
    }

    /// A jump forward, to where it will [land](Self::land).
    fn jump(&mut self, code: Code) -> Done<usize> {
        Ok(self.push(Instruction::with_branch(code, 0)?))
    }

    fn land(&mut self, jump: usize) {
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
        for (stream, &address) in ADDRESSES[..self.program.streams.len()].iter().enumerate() {
            let from = MemoryOperand::with_base_displ(ARGUMENTS, 8 * stream as i64);
            self.push(Instruction::with2(Code::Mov_r64_rm64, address, from)?);
        }
        for scalar in 0..self.program.scalars.len() {
            self.broadcast(self.registers.scalars[scalar], self.arguments.scalars + 8 * scalar)?;
        }
        self.neutral(true)?;
        for part in 0..self.registers.index.len() {
            let place = self.arguments.index + part * self.width.bytes();
            let memory = MemoryOperand::with_base_displ(ARGUMENTS, place as i64);
            self.load(self.registers.index[part], memory)?;
        }
        match self.registers.step {
            Some(step) => self.broadcast(step, self.arguments.step),
            None => Ok(()),
        }
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

    /// Adds the sums of a tile to their totals: quarters of an iteration in turn, then their lanes by halves, as
    /// [`across`](super::super::emit::Emitter::across) has them.
    fn close_tile(&mut self) -> Done {
        for fold in 0..self.program.folds.len() {
            if self.program.folds[fold].largest {
                continue;
            }
            let at = |place: usize| MemoryOperand::with_base_displ(ARGUMENTS, place as i64);
            let total = at(self.arguments.total(fold));
            let (lowest, spare) = (self.registers.folds[0][fold], self.registers.spare);
            let (sum, other) = (Register::XMM0 + lowest, Register::XMM0 + spare);
            let single = self.program.real == Dtype::F32;
            let add = if single { Code::VEX_Vaddps_xmm_xmm_xmmm128 } else { Code::VEX_Vaddpd_xmm_xmm_xmmm128 };
            // Not through memory: loads of a part of what was stored wait until all before them is done. Nothing is added to
            // the quarters that are still to come.
            let quarters = self.width.bytes() / 16;
            for quarter in 1..STRIDE / 16 {
                let lanes = self.vector(self.registers.folds[quarter / quarters][fold]);
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
            self.push(Instruction::with3(Code::VEX_Vaddsd_xmm_xmm_xmmm64, sum, sum, total)?);
            self.push(Instruction::with2(Code::VEX_Vmovsd_m64_xmm, total, sum)?);
        }
        Ok(())
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

    pub(super) fn vector(&self, number: u32) -> Register {
        if self.width == Width::Zmm { Register::ZMM0 + number } else { Register::YMM0 + number }
    }

    fn register(&self, operand: Operand, part: usize) -> u32 {
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

    fn three(&mut self, code: Code, to: u32, a: u32, b: u32) -> Done {
        self.push(Instruction::with3(code, self.vector(to), self.vector(a), self.vector(b))?);
        Ok(())
    }

    fn two(&mut self, code: Code, to: u32, from: u32) -> Done {
        self.push(Instruction::with2(code, self.vector(to), self.vector(from))?);
        Ok(())
    }

    /// Whether there are instructions for it.
    fn action(&mut self, place: usize, part: usize) -> Done<bool> {
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
            Action::Store { stream, from } if self.past && self.program.streams[stream].far => {
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

    fn extreme(&mut self, largest: bool, to: u32, first: u32, second: u32, may_be_nan: bool) -> Done {
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
