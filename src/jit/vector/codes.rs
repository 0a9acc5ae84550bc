//! The instructions of vector operations, by width and dtype: what the assembler calls them.

use super::program::Binary;
use crate::ir::Dtype;
use iced_x86::Code;

/// Registers of a vector level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Width {
    /// AVX2: 16 registers of 256 bits; an iteration has two parts.
    Ymm,
    /// AVX-512: 32 of 512.
    Zmm,
}

impl Width {
    pub fn registers(self) -> u32 {
        if self == Width::Zmm { 32 } else { 16 }
    }

    pub fn bytes(self) -> usize {
        if self == Width::Zmm { 64 } else { 32 }
    }
}

/// An instruction of three registers; comparisons have a predicate too.
#[derive(Clone, Copy)]
pub(super) enum Form {
    Plain(Code),
    /// `b` before `a`.
    Swapped(Code),
    /// Into a mask register on AVX-512.
    Compare(Code, u32),
}

/// `None` where the level has no such instruction.
pub(super) fn binary(binary: Binary, width: Width, real: Dtype) -> Option<Form> {
    use Binary::*;
    use Form::*;
    let single = real == Dtype::F32;
    // Ordered comparisons: less, less or equal, equal.
    let predicate = match binary {
        Less => 1,
        LessOrEqual => 2,
        IntLess => 1,
        _ => 0,
    };
    Some(match (width, single, binary) {
        (_, _, Add) => Plain(add(width, real)),
        (Width::Zmm, true, Sub) => Plain(Code::EVEX_Vsubps_zmm_k1z_zmm_zmmm512b32_er),
        (Width::Zmm, true, Mul) => Plain(Code::EVEX_Vmulps_zmm_k1z_zmm_zmmm512b32_er),
        (Width::Zmm, true, Div) => Plain(Code::EVEX_Vdivps_zmm_k1z_zmm_zmmm512b32_er),
        (Width::Zmm, true, IntAdd) => Plain(Code::EVEX_Vpaddd_zmm_k1z_zmm_zmmm512b32),
        (Width::Zmm, true, IntSub) => Plain(Code::EVEX_Vpsubd_zmm_k1z_zmm_zmmm512b32),
        (Width::Zmm, true, IntMul) => Plain(Code::EVEX_Vpmulld_zmm_k1z_zmm_zmmm512b32),
        (Width::Zmm, false, Sub) => Plain(Code::EVEX_Vsubpd_zmm_k1z_zmm_zmmm512b64_er),
        (Width::Zmm, false, Mul) => Plain(Code::EVEX_Vmulpd_zmm_k1z_zmm_zmmm512b64_er),
        (Width::Zmm, false, Div) => Plain(Code::EVEX_Vdivpd_zmm_k1z_zmm_zmmm512b64_er),
        (Width::Zmm, false, IntAdd) => Plain(Code::EVEX_Vpaddq_zmm_k1z_zmm_zmmm512b64),
        (Width::Zmm, false, IntSub) => Plain(Code::EVEX_Vpsubq_zmm_k1z_zmm_zmmm512b64),
        (Width::Zmm, false, IntMul) => Plain(Code::EVEX_Vpmullq_zmm_k1z_zmm_zmmm512b64),
        (Width::Zmm, _, And) => Plain(Code::EVEX_Vpandd_zmm_k1z_zmm_zmmm512b32),
        (Width::Zmm, _, Or) => Plain(Code::EVEX_Vpord_zmm_k1z_zmm_zmmm512b32),
        (Width::Zmm, _, Xor) => Plain(Code::EVEX_Vpxord_zmm_k1z_zmm_zmmm512b32),
        (_, _, Less | LessOrEqual | Equal) => Compare(compare(width, real), predicate),
        (Width::Zmm, true, IntLess | IntEqual) => Compare(Code::EVEX_Vpcmpd_kr_k1_zmm_zmmm512b32_imm8, predicate),
        (Width::Zmm, false, IntLess | IntEqual) => Compare(Code::EVEX_Vpcmpq_kr_k1_zmm_zmmm512b64_imm8, predicate),
        (Width::Ymm, true, Sub) => Plain(Code::VEX_Vsubps_ymm_ymm_ymmm256),
        (Width::Ymm, true, Mul) => Plain(Code::VEX_Vmulps_ymm_ymm_ymmm256),
        (Width::Ymm, true, Div) => Plain(Code::VEX_Vdivps_ymm_ymm_ymmm256),
        (Width::Ymm, true, IntAdd) => Plain(Code::VEX_Vpaddd_ymm_ymm_ymmm256),
        (Width::Ymm, true, IntSub) => Plain(Code::VEX_Vpsubd_ymm_ymm_ymmm256),
        (Width::Ymm, true, IntMul) => Plain(Code::VEX_Vpmulld_ymm_ymm_ymmm256),
        (Width::Ymm, false, Sub) => Plain(Code::VEX_Vsubpd_ymm_ymm_ymmm256),
        (Width::Ymm, false, Mul) => Plain(Code::VEX_Vmulpd_ymm_ymm_ymmm256),
        (Width::Ymm, false, Div) => Plain(Code::VEX_Vdivpd_ymm_ymm_ymmm256),
        (Width::Ymm, false, IntAdd) => Plain(Code::VEX_Vpaddq_ymm_ymm_ymmm256),
        (Width::Ymm, false, IntSub) => Plain(Code::VEX_Vpsubq_ymm_ymm_ymmm256),
        (Width::Ymm, false, IntMul) => return None,
        (Width::Ymm, _, And) => Plain(Code::VEX_Vpand_ymm_ymm_ymmm256),
        (Width::Ymm, _, Or) => Plain(Code::VEX_Vpor_ymm_ymm_ymmm256),
        (Width::Ymm, _, Xor) => Plain(Code::VEX_Vpxor_ymm_ymm_ymmm256),
        (Width::Ymm, true, IntLess) => Swapped(Code::VEX_Vpcmpgtd_ymm_ymm_ymmm256),
        (Width::Ymm, true, IntEqual) => Plain(Code::VEX_Vpcmpeqd_ymm_ymm_ymmm256),
        (Width::Ymm, false, IntLess) => Swapped(Code::VEX_Vpcmpgtq_ymm_ymm_ymmm256),
        (Width::Ymm, false, IntEqual) => Plain(Code::VEX_Vpcmpeqq_ymm_ymm_ymmm256),
    })
}

pub(super) fn add(width: Width, real: Dtype) -> Code {
    match (width, real == Dtype::F32) {
        (Width::Zmm, true) => Code::EVEX_Vaddps_zmm_k1z_zmm_zmmm512b32_er,
        (Width::Zmm, false) => Code::EVEX_Vaddpd_zmm_k1z_zmm_zmmm512b64_er,
        (Width::Ymm, true) => Code::VEX_Vaddps_ymm_ymm_ymmm256,
        (Width::Ymm, false) => Code::VEX_Vaddpd_ymm_ymm_ymmm256,
    }
}

/// Compares floats by a predicate.
pub(super) fn compare(width: Width, real: Dtype) -> Code {
    match (width, real == Dtype::F32) {
        (Width::Zmm, true) => Code::EVEX_Vcmpps_kr_k1_zmm_zmmm512b32_imm8_sae,
        (Width::Zmm, false) => Code::EVEX_Vcmppd_kr_k1_zmm_zmmm512b64_imm8_sae,
        (Width::Ymm, true) => Code::VEX_Vcmpps_ymm_ymm_ymmm256_imm8,
        (Width::Ymm, false) => Code::VEX_Vcmppd_ymm_ymm_ymmm256_imm8,
    }
}

/// The predicate of a comparison that holds where a number is none.
pub(super) const UNORDERED: u32 = 3;

/// `second > first ? second : first`, or the smaller; `first` where one is NaN.
pub(super) fn extreme(largest: bool, width: Width, real: Dtype) -> Code {
    match (width, real == Dtype::F32, largest) {
        (Width::Zmm, true, true) => Code::EVEX_Vmaxps_zmm_k1z_zmm_zmmm512b32_sae,
        (Width::Zmm, true, false) => Code::EVEX_Vminps_zmm_k1z_zmm_zmmm512b32_sae,
        (Width::Zmm, false, true) => Code::EVEX_Vmaxpd_zmm_k1z_zmm_zmmm512b64_sae,
        (Width::Zmm, false, false) => Code::EVEX_Vminpd_zmm_k1z_zmm_zmmm512b64_sae,
        (Width::Ymm, true, true) => Code::VEX_Vmaxps_ymm_ymm_ymmm256,
        (Width::Ymm, true, false) => Code::VEX_Vminps_ymm_ymm_ymmm256,
        (Width::Ymm, false, true) => Code::VEX_Vmaxpd_ymm_ymm_ymmm256,
        (Width::Ymm, false, false) => Code::VEX_Vminpd_ymm_ymm_ymmm256,
    }
}

pub(super) fn sqrt(width: Width, real: Dtype) -> Code {
    match (width, real == Dtype::F32) {
        (Width::Zmm, true) => Code::EVEX_Vsqrtps_zmm_k1z_zmmm512b32_er,
        (Width::Zmm, false) => Code::EVEX_Vsqrtpd_zmm_k1z_zmmm512b64_er,
        (Width::Ymm, true) => Code::VEX_Vsqrtps_ymm_ymmm256,
        (Width::Ymm, false) => Code::VEX_Vsqrtpd_ymm_ymmm256,
    }
}

/// Integers to floats; AVX2 has none of 64 bits.
pub(super) fn to_float(width: Width, real: Dtype) -> Option<Code> {
    match (width, real == Dtype::F32) {
        (Width::Zmm, true) => Some(Code::EVEX_Vcvtdq2ps_zmm_k1z_zmmm512b32_er),
        (Width::Zmm, false) => Some(Code::EVEX_Vcvtqq2pd_zmm_k1z_zmmm512b64_er),
        (Width::Ymm, true) => Some(Code::VEX_Vcvtdq2ps_ymm_ymmm256),
        (Width::Ymm, false) => None,
    }
}

pub(super) fn broadcast(width: Width, real: Dtype) -> Code {
    match (width, real == Dtype::F32) {
        (Width::Zmm, true) => Code::EVEX_Vbroadcastss_zmm_k1z_xmmm32,
        (Width::Zmm, false) => Code::EVEX_Vbroadcastsd_zmm_k1z_xmmm64,
        (Width::Ymm, true) => Code::VEX_Vbroadcastss_ymm_m32,
        (Width::Ymm, false) => Code::VEX_Vbroadcastsd_ymm_m64,
    }
}
