//! Elements that are no neighbours: to vectors and back. Where few lie between them, AVX-512 reads all that lies there and its
//! lanes change places; else they are taken lane by lane.

use super::codes::Width;
use super::encode::{ADDRESSES, Assembler, Done};
use super::program::Action;
use crate::ir::Dtype;
use iced_x86::{Code, Instruction, MemoryOperand, Register};

/// Elements from lane to lane, at most, for which all between them is read too.
const NEAR: usize = 4;

/// Which elements of a vector of memory are lanes', of those that are stored: of vector `v` place `p` where `v·lanes + p` is a
/// multiple of their distance. For 2 and 4 all vectors have the same mask.
const STORED: [Register; 3] = [Register::K5, Register::K6, Register::K7];

impl Assembler<'_> {
    /// How far apart a stream's elements are, where those between them are read too. What is stored so has the masks of one
    /// distance; at another one, it is taken lane by lane.
    pub(super) fn near(&self, stream: usize) -> Option<usize> {
        let stored = self.stored().any(|other| other == stream);
        let masked = |distance: &usize| !stored || Some(*distance) == self.stored_near();
        self.distance(stream).filter(|_| self.width == Width::Zmm && !self.in_tail).filter(masked)
    }

    fn distance(&self, stream: usize) -> Option<usize> {
        usize::try_from(self.program.streams[stream].stride).ok().filter(|distance| (2..=NEAR).contains(distance))
    }

    fn stored(&self) -> impl Iterator<Item = usize> {
        let store = |action: &Action| if let Action::Store { stream, .. } = *action { Some(stream) } else { None };
        self.program.line.iter().filter_map(store)
    }

    fn stored_near(&self) -> Option<usize> {
        self.stored().find_map(|stream| self.distance(stream))
    }

    /// Sets the masks of what is stored among other elements.
    pub(super) fn prepare_stored(&mut self) -> Done {
        let Some(distance) = self.stored_near().filter(|_| self.width == Width::Zmm) else { return Ok(()) };
        debug_assert!(self.program.rows.is_none(), "rows have masks of their own");
        let lanes = self.program.elements();
        for (vector, &mask) in STORED.iter().enumerate().take(masks_for(distance)) {
            let bits = (0..lanes).filter(|place| (vector * lanes + place).is_multiple_of(distance));
            self.mask(mask, bits.map(|place| 1 << place).sum())?;
        }
        Ok(())
    }

    /// Vectors of memory from the first lane's element to the last's: the last one ends with that.
    pub(super) fn load_near(&mut self, to: u32, stream: usize, distance: usize) -> Done {
        let (lanes, spare) = (self.program.elements(), self.registers.spare);
        let single = self.program.real == Dtype::F32;
        let first = |vector: usize| if vector + 1 < distance { vector * lanes } else { (distance - 1) * (lanes - 1) };
        self.load(spare, self.element(stream, 0))?;
        for vector in 1..distance {
            // From two vectors, the lanes that are in one of them; then, lane by lane, from what is there already or the next
            // vector. Lanes of vectors to come get anything.
            let from = |lane: usize| match lane * distance {
                place if place >= vector * lanes => lanes + (place - first(vector)).min(lanes - 1),
                place if vector == 1 => place,
                _ => lane,
            };
            let indices: Vec<usize> = (0..lanes).map(from).collect();
            let next = self.element(stream, first(vector));
            // The first takes its indices from where the result goes, the others from the second operand.
            let (code, index) = match (vector, single) {
                (1, true) => (Code::EVEX_Vpermi2ps_zmm_k1z_zmm_zmmm512b32, to),
                (1, false) => (Code::EVEX_Vpermi2pd_zmm_k1z_zmm_zmmm512b64, to),
                (_, true) => (Code::EVEX_Vpermt2ps_zmm_k1z_zmm_zmmm512b32, spare),
                (_, false) => (Code::EVEX_Vpermt2pd_zmm_k1z_zmm_zmmm512b64, spare),
            };
            self.load_indices(index, &indices)?;
            self.push(Instruction::with3(code, self.vector(to), self.vector(spare), next)?);
        }
        Ok(())
    }

    /// Into vectors of memory, of whose elements only those of the lanes are written.
    pub(super) fn store_near(&mut self, stream: usize, from: u32, distance: usize) -> Done {
        let (lanes, spare) = (self.program.elements(), self.registers.spare);
        let (permute, store) = match self.program.real {
            Dtype::F32 => (Code::EVEX_Vpermps_zmm_k1z_zmm_zmmm512b32, Code::EVEX_Vmovups_zmmm512_k1z_zmm),
            _ => (Code::EVEX_Vpermpd_zmm_k1z_zmm_zmmm512b64, Code::EVEX_Vmovupd_zmmm512_k1z_zmm),
        };
        for vector in 0..distance {
            let indices: Vec<usize> = (0..lanes).map(|place| (vector * lanes + place) / distance).collect();
            self.load_indices(spare, &indices)?;
            self.three(permute, spare, spare, from)?;
            let to = self.element(stream, vector * lanes);
            let mask = STORED[vector % masks_for(distance)];
            self.push_masked(Instruction::with2(store, to, self.vector(spare))?, mask, false)?;
        }
        Ok(())
    }

    /// Numbers of lanes, as wide as they are.
    fn load_indices(&mut self, to: u32, indices: &[usize]) -> Done {
        let size = self.program.real.size();
        let bytes = indices.iter().flat_map(|&index| index.to_le_bytes()[..size].to_vec()).collect();
        self.load_constant(to, bytes)
    }

    /// An element from the first lane's on. The address moves on with every iteration.
    fn element(&self, stream: usize, place: usize) -> MemoryOperand {
        MemoryOperand::with_base_displ(ADDRESSES[stream], (place * self.program.real.size()) as i64)
    }

    /// A lane of a stream that is no neighbour of the one before. Its address moves on with every iteration.
    fn lane(&self, stream: usize, lane: usize) -> MemoryOperand {
        let place = self.program.streams[stream].stride as i64 * (lane * self.program.real.size()) as i64;
        MemoryOperand::with_base_displ(ADDRESSES[stream], place)
    }

    /// Lane by lane.
    pub(super) fn load_apart(&mut self, to: u32, stream: usize, part: usize) -> Done {
        let single = self.program.real == Dtype::F32;
        let per_quarter = 16 / self.program.real.size();
        let (quarters, lanes) = (self.width.bytes() / 16, self.lanes(part));
        for quarter in 0..lanes.div_ceil(per_quarter) {
            let first = (part * quarters + quarter) * per_quarter;
            let narrow = Register::XMM0 + if quarter == 0 { to } else { self.registers.spare };
            let low = match (self.width, single) {
                (Width::Zmm, true) => Code::EVEX_Vmovss_xmm_k1z_m32,
                (Width::Ymm, true) => Code::VEX_Vmovss_xmm_m32,
                (Width::Zmm, false) => Code::EVEX_Vmovsd_xmm_k1z_m64,
                (Width::Ymm, false) => Code::VEX_Vmovsd_xmm_m64,
            };
            self.push(Instruction::with2(low, narrow, self.lane(stream, first))?);
            for lane in 1..per_quarter.min(lanes - quarter * per_quarter) {
                let from = self.lane(stream, first + lane);
                let (insert, high) = match self.width {
                    Width::Zmm => (Code::EVEX_Vinsertps_xmm_xmm_xmmm32_imm8, Code::EVEX_Vmovhpd_xmm_xmm_m64),
                    Width::Ymm => (Code::VEX_Vinsertps_xmm_xmm_xmmm32_imm8, Code::VEX_Vmovhpd_xmm_xmm_m64),
                };
                let next = if single {
                    Instruction::with4(insert, narrow, narrow, from, (lane as u32) << 4)
                } else {
                    Instruction::with3(high, narrow, narrow, from)
                };
                self.push(next?);
            }
            if quarter > 0 {
                let code = match self.width {
                    Width::Zmm => Code::EVEX_Vinsertf32x4_zmm_k1z_zmm_xmmm128_imm8,
                    Width::Ymm => Code::VEX_Vinsertf128_ymm_ymm_xmmm128_imm8,
                };
                let to = self.vector(to);
                self.push(Instruction::with4(code, to, to, narrow, quarter as u32)?);
            }
        }
        Ok(())
    }

    /// Lane by lane.
    pub(super) fn store_apart(&mut self, stream: usize, from: u32, part: usize) -> Done {
        let single = self.program.real == Dtype::F32;
        let per_quarter = 16 / self.program.real.size();
        let (quarters, lanes) = (self.width.bytes() / 16, self.lanes(part));
        let (narrow, wide) = (Register::XMM0 + self.registers.spare, self.vector(from));
        for quarter in 0..lanes.div_ceil(per_quarter) {
            self.quarter(narrow, wide, quarter)?;
            for lane in 0..per_quarter.min(lanes - quarter * per_quarter) {
                let to = self.lane(stream, (part * quarters + quarter) * per_quarter + lane);
                let (first, later) = match (self.width, single) {
                    (Width::Zmm, true) => (Code::EVEX_Vmovss_m32_k1_xmm, Code::EVEX_Vextractps_rm32_xmm_imm8),
                    (Width::Ymm, true) => (Code::VEX_Vmovss_m32_xmm, Code::VEX_Vextractps_rm32_xmm_imm8),
                    (Width::Zmm, false) => (Code::EVEX_Vmovlpd_m64_xmm, Code::EVEX_Vmovhpd_m64_xmm),
                    (Width::Ymm, false) => (Code::VEX_Vmovlpd_m64_xmm, Code::VEX_Vmovhpd_m64_xmm),
                };
                let next = match (lane, single) {
                    (0, _) => Instruction::with2(first, to, narrow),
                    (_, true) => Instruction::with3(later, to, narrow, lane as u32),
                    (_, false) => Instruction::with2(later, to, narrow),
                };
                self.push(next?);
            }
        }
        Ok(())
    }
}

/// The masks for elements so far from each other: a power of two divides a vector.
fn masks_for(distance: usize) -> usize {
    if distance.is_power_of_two() { 1 } else { distance }
}
