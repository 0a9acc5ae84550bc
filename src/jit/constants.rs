//! Constants: a table in memory, its address an argument of the kernel.
//!
//! Cranelift makes immediate constants anew wherever they are used, and so keeps what is computed from them inside the
//! loops. A load from a table that never changes can move, and takes with it what depends on it.

use super::emit::Emitter;
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value, types};

/// The bits of the constants that a kernel uses.
#[derive(Default)]
pub(super) struct Constants {
    words: Vec<u64>,
}

impl Constants {
    fn place(&mut self, bits: u64) -> i32 {
        let known = self.words.iter().position(|&word| word == bits);
        let place = known.unwrap_or_else(|| {
            self.words.push(bits);
            self.words.len() - 1
        });
        (place * size_of::<u64>()) as i32
    }

    pub fn into_words(self) -> Box<[u64]> {
        self.words.into()
    }
}

impl Emitter<'_> {
    /// A constant of 32 or 64 bits, by its bits.
    pub(super) fn constant(&mut self, ty: Type, bits: u64) -> Value {
        let offset = self.constants.place(bits);
        let flags = MemFlagsData::trusted().with_readonly().with_can_move();
        self.b.ins().load(ty, flags, self.table, offset)
    }

    pub(super) fn f64_const(&mut self, value: f64) -> Value {
        self.constant(types::F64, value.to_bits())
    }

    /// A float of the loss's dtype, in every lane where it is wide.
    pub(super) fn float_const(&mut self, value: f64, wide: bool) -> Value {
        let scalar = match self.real {
            types::F32 => self.constant(types::F32, u64::from((value as f32).to_bits())),
            _ => self.f64_const(value),
        };
        if wide { self.splat(scalar) } else { scalar }
    }

    /// An integer of the width of class numbers.
    pub(super) fn int_const(&mut self, value: i64) -> Value {
        let bits = if self.int == types::I64 { value as u64 } else { u64::from(value as i32 as u32) };
        self.constant(self.int, bits)
    }

    /// A multiple of an index. What is along the lanes varies with every iteration and keeps the number at hand.
    pub(super) fn scaled(&mut self, index: Value, factor: i64, along_lanes: bool) -> Value {
        if factor == 1 {
            return index;
        }
        if along_lanes {
            return self.b.ins().imul_imm_s(index, factor);
        }
        let factor = self.constant(types::I64, factor as u64);
        self.b.ins().imul(index, factor)
    }
}
