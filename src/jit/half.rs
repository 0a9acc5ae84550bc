//! Floats of 16 bits: widened to f32 as they are loaded, rounded to the nearest even as they are stored.
//!
//! Four lanes at a time, without branches; one element goes as the first of four. NaN stays NaN, quiet and with its sign.

use super::emit::Emitter;
use crate::ir::Dtype;
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};

/// The exponent of infinity in f32.
const INFINITY: u32 = 0x7f80_0000;
/// 2¹¹²: what an f16's exponent and fraction are short of in the place of an f32's.
const SCALE: u32 = (127 + 112) << 23;
/// 65536: from here on an f32 is no finite f16.
const BEYOND: u32 = (127 + 16) << 23;
/// 2⁻¹⁴, the least normal f16.
const NORMAL: u32 = (127 - 14) << 23;
/// 0.5, whose last place is that of the subnormals of f16.
const SUBNORMAL: u32 = (127 - 1) << 23;

impl Emitter<'_> {
    /// One, two or four neighbouring elements as the first of four f32.
    pub(super) fn load_halves(
        &mut self,
        dtype: Dtype,
        flags: MemFlagsData,
        address: Value,
        offset: i32,
        count: usize,
    ) -> Value {
        let words = if count == 1 {
            let word = self.b.ins().uload16(types::I32, flags, address, offset);
            self.b.ins().scalar_to_vector(types::I32X4, word)
        } else {
            let (one, lanes) = if count == 2 { (types::I32, types::I32X4) } else { (types::I64, types::I64X2) };
            let bits = self.b.ins().load(one, flags, address, offset);
            let vector = self.b.ins().scalar_to_vector(lanes, bits);
            let halves = self.bits(vector, types::I16X8);
            self.b.ins().uwiden_low(halves)
        };
        if dtype == Dtype::Bf16 { self.widen_bf16(words) } else { self.widen_f16(words) }
    }

    /// Stores the first one, two or four of four f32.
    pub(super) fn store_halves(
        &mut self,
        dtype: Dtype,
        flags: MemFlagsData,
        values: Value,
        address: Value,
        count: usize,
    ) {
        let words = self.halves(dtype, values);
        if count == 1 {
            let word = self.b.ins().extractlane(words, 0);
            self.b.ins().istore16(flags, word, address, 0);
            return;
        }
        let packed = self.b.ins().unarrow(words, words);
        let packed = self.bits(packed, if count == 2 { types::I32X4 } else { types::I64X2 });
        let bits = self.b.ins().extractlane(packed, 0);
        self.b.ins().store(flags, bits, address, 0);
    }

    /// One float of the arithmetic, or a vector of them, as the first of four f32.
    pub(super) fn four_singles(&mut self, value: Value, wide: bool) -> Value {
        match (self.real == types::F64, wide) {
            (false, true) => value,
            (true, true) => self.b.ins().fvdemote(value),
            (double, false) => {
                let single = if double { self.b.ins().fdemote(types::F32, value) } else { value };
                self.b.ins().scalar_to_vector(types::F32X4, single)
            }
        }
    }

    /// Four f32 rounded, each in the lower half of a word.
    pub(super) fn halves(&mut self, dtype: Dtype, values: Value) -> Value {
        if dtype == Dtype::Bf16 { self.round_bf16(values) } else { self.round_f16(values) }
    }

    /// The same number in four lanes.
    fn four(&mut self, bits: u32) -> Value {
        let word = self.constant(types::I32, u64::from(bits));
        self.b.ins().splat(types::I32X4, word)
    }

    fn widen_bf16(&mut self, words: Value) -> Value {
        let bits = self.b.ins().ishl_imm_u(words, 16);
        self.bits(bits, types::F32X4)
    }

    /// Half of the bits, plus a little less than a half of the last place, or exactly one where the place is odd.
    fn round_bf16(&mut self, values: Value) -> Value {
        let bits = self.bits(values, types::I32X4);
        let (one, below, quiet) = (self.four(1), self.four(0x7fff), self.four(0x40));
        let high = self.b.ins().ushr_imm_u(bits, 16);
        let odd = self.b.ins().band(high, one);
        let rounded = self.b.ins().iadd(bits, below);
        let rounded = self.b.ins().iadd(rounded, odd);
        let rounded = self.b.ins().ushr_imm_u(rounded, 16);
        let nan = self.b.ins().bor(high, quiet);
        let is_nan = self.b.ins().fcmp(FloatCC::Unordered, values, values);
        self.b.ins().bitselect(is_nan, nan, rounded)
    }

    /// Exponent and fraction moved to their places in f32, and scaled by the difference of the biases, which is exact for
    /// subnormals too; what has the largest exponent gets the largest.
    fn widen_f16(&mut self, words: Value) -> Value {
        let (magnitude, sign) = (self.four(0x7fff), self.four(0x8000));
        let (scale, largest, infinity) = (self.four(SCALE), self.four(0x7bff), self.four(INFINITY));
        let quiet = self.four(0x0040_0000);
        let sign = self.b.ins().band(words, sign);
        let sign = self.b.ins().ishl_imm_u(sign, 16);
        let magnitude = self.b.ins().band(words, magnitude);
        let moved = self.b.ins().ishl_imm_u(magnitude, 13);
        let (moved, scale) = (self.bits(moved, types::F32X4), self.bits(scale, types::F32X4));
        let scaled = self.b.ins().fmul(moved, scale);
        let is_special = self.b.ins().icmp(IntCC::SignedGreaterThan, magnitude, largest);
        let special = self.b.ins().band(is_special, infinity);
        let scaled = self.bits(scaled, types::I32X4);
        let bits = self.b.ins().bor(scaled, special);
        let is_nan = self.b.ins().icmp(IntCC::SignedGreaterThan, bits, infinity);
        let quiet = self.b.ins().band(is_nan, quiet);
        let bits = self.b.ins().bor(bits, quiet);
        let bits = self.b.ins().bor(bits, sign);
        self.bits(bits, types::F32X4)
    }

    /// Normal numbers are rounded as integers. A subnormal is added to a float whose last place is the subnormals', so
    /// that the addition rounds it.
    fn round_f16(&mut self, values: Value) -> Value {
        let bits = self.bits(values, types::I32X4);
        let (magnitude, one, nan, infinity) =
            (self.four(0x7fff_ffff), self.four(1), self.four(0x7e00), self.four(0x7c00));
        let (beyond, normal, subnormal) = (self.four(BEYOND), self.four(NORMAL), self.four(SUBNORMAL));
        let rebias = self.four((0xfff_u32).wrapping_sub(112 << 23));
        let magnitude = self.b.ins().band(bits, magnitude);

        let odd = self.b.ins().ushr_imm_u(magnitude, 13);
        let odd = self.b.ins().band(odd, one);
        let rounded = self.b.ins().iadd(magnitude, rebias);
        let rounded = self.b.ins().iadd(rounded, odd);
        let rounded = self.b.ins().ushr_imm_u(rounded, 13);

        let (small, last_place) = (self.bits(magnitude, types::F32X4), self.bits(subnormal, types::F32X4));
        let sum = self.b.ins().fadd(small, last_place);
        let sum = self.bits(sum, types::I32X4);
        let small = self.b.ins().isub(sum, subnormal);

        let is_nan = self.b.ins().fcmp(FloatCC::Unordered, values, values);
        let special = self.b.ins().bitselect(is_nan, nan, infinity);
        let is_small = self.b.ins().icmp(IntCC::SignedLessThan, magnitude, normal);
        let is_beyond = self.b.ins().icmp(IntCC::SignedGreaterThanOrEqual, magnitude, beyond);
        let finite = self.b.ins().bitselect(is_small, small, rounded);
        let half = self.b.ins().bitselect(is_beyond, special, finite);
        let sign = self.b.ins().bxor(bits, magnitude);
        let sign = self.b.ins().ushr_imm_u(sign, 16);
        self.b.ins().bor(half, sign)
    }
}
