//! Addresses, loads and stores: of inputs and of outputs. Every access carries the alias region of its buffer.

use super::Binding;
use super::emit::{Emitter, Val};
use super::kernel::Status;
use super::vector::WRITE_FAR;
use crate::error::Result;
use crate::ir::{AxisId, Dtype, Id, InputId, Kind, Op};
use crate::nest::{Nest, Step};
use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::{AliasRegion, AliasRegionData, Function, InstBuilder, MemFlagsData, Type, Value, types};
use std::borrow::Cow;

/// Which buffer an access is to.
#[derive(Clone, Copy)]
pub(super) enum Region {
    Input(usize),
    Output(usize),
    Scratch,
}

/// The alias regions of a function: reads, each output, scratch.
pub(super) struct Regions {
    inputs: AliasRegion,
    outputs: Vec<AliasRegion>,
    scratch: AliasRegion,
    /// Outputs that lie where an input does.
    in_place: Vec<(usize, usize)>,
}

impl Regions {
    pub fn new(func: &mut Function, outputs: &[String], in_place: &[(usize, usize)]) -> Self {
        let mut insert = |user_id: usize, name: String| {
            let data = AliasRegionData { user_id: user_id as u32, description: Cow::Owned(name) };
            func.dfg.alias_regions.insert(data)
        };
        Self {
            inputs: insert(0, "inputs".into()),
            scratch: insert(1, "scratch".into()),
            outputs: outputs.iter().enumerate().map(|(i, name)| insert(2 + i, name.clone())).collect(),
            in_place: in_place.to_vec(),
        }
    }

    pub fn flags(&self, region: Region) -> MemFlagsData {
        let flags = MemFlagsData::new().with_notrap();
        match region {
            Region::Input(input) => match self.in_place.iter().find(|(_, i)| *i == input) {
                Some(&(output, _)) => self.flags(Region::Output(output)),
                None => flags.with_readonly().with_alias_region(Some(self.inputs)),
            },
            Region::Output(output) => flags.with_alias_region(Some(self.outputs[output])),
            Region::Scratch => flags.with_alias_region(Some(self.scratch)),
        }
    }
}

/// A 64-bit index of an element along one axis.
#[derive(Clone, Copy)]
pub(super) struct Index {
    pub value: Value,
    /// From data, so it may be anything.
    pub computed: bool,
    pub along_lanes: bool,
}

impl Emitter<'_> {
    /// An address from terms of index and bytes: what stays the same along the lanes first, so that it can move out of
    /// their loop.
    pub(super) fn address(&mut self, base: Value, terms: &[(Index, i64)]) -> Value {
        let mut address = base;
        for along_lanes in [false, true] {
            for &(index, bytes) in terms.iter().filter(|(index, _)| index.along_lanes == along_lanes) {
                let step = self.scaled(index.value, bytes, along_lanes);
                address = self.b.ins().iadd(address, step);
            }
        }
        address
    }

    /// The running index of a loop.
    pub(super) fn index(&mut self, axis: AxisId) -> Result<Index> {
        let value = self.axis_index(axis)?;
        Ok(Index { value, computed: false, along_lanes: self.lane_axis == Some(axis) })
    }

    /// The address of an input's element whose indices are i64 values; one computed from data that is outside its axis
    /// is noted, and replaced by the address of some scratch.
    fn input_address(&mut self, input: InputId, indices: &[Index]) -> Value {
        let size = self.binding.inputs[input.index()].size() as i64;
        let strides = self.binding.layout.inputs[input.index()].clone();
        let dims = self.nest.graph.input(input).axes.clone();
        let mut valid: Option<Value> = None;
        let mut terms = vec![];
        for ((&index, stride), dim) in indices.iter().zip(strides).zip(dims) {
            if index.computed {
                let extent = self.b.ins().iconst(types::I64, self.nest.extents[dim.index()] as i64);
                let within = self.b.ins().icmp(IntCC::UnsignedLessThan, index.value, extent);
                valid = Some(match valid {
                    Some(others) => self.b.ins().band(others, within),
                    None => within,
                });
            }
            terms.push((index, stride as i64 * size));
        }
        let address = self.address(self.inputs[input.index()], &terms);
        match valid {
            Some(valid) => {
                let outside = self.b.ins().bxor_imm_s(valid, 1);
                self.note(outside, Status::OUTSIDE);
                self.b.ins().select(valid, address, self.scratch)
            }
            None => address,
        }
    }

    /// Adds a status bit where an 8-bit truth value holds.
    pub(super) fn note(&mut self, holds: Value, bit: u32) {
        let holds = self.b.ins().uextend(types::I32, holds);
        let bit = self.b.ins().imul_imm_s(holds, i64::from(bit));
        let known = self.b.use_var(self.status);
        let status = self.b.ins().bor(known, bit);
        self.b.def_var(self.status, status);
    }

    /// The indices of a read for one lane.
    fn indices(&mut self, indices: &[Id], lane: usize) -> Result<Vec<Index>> {
        let mut values = vec![];
        for &index in indices {
            values.push(match self.nest.graph.op(index) {
                Op::Axis(axis) => {
                    let mut index = self.index(axis)?;
                    if index.along_lanes && lane > 0 {
                        index.value = self.b.ins().iadd_imm_s(index.value, lane as i64);
                    }
                    index
                }
                Op::Int(i) => {
                    let value = self.constant(types::I64, i as u64);
                    Index { value, computed: false, along_lanes: false }
                }
                _ => {
                    let found = self.get(index)?;
                    let one = if found.wide { self.b.ins().extractlane(found.value, lane as u8) } else { found.value };
                    Index { value: self.widened(one), computed: true, along_lanes: found.wide }
                }
            });
        }
        Ok(values)
    }

    pub(super) fn widened(&mut self, value: Value) -> Value {
        if self.int == types::I64 { value } else { self.b.ins().sextend(types::I64, value) }
    }

    /// The address of a read's first element of the tile.
    pub(super) fn read_address(&mut self, read: Id) -> Result<Value> {
        let (input, indices) = self.nest.graph.as_read(read).expect("checked");
        let indices = indices.to_vec();
        let indices = self.indices(&indices, 0)?;
        Ok(self.input_address(input, &indices))
    }

    pub(super) fn read(&mut self, read: Id) -> Result<Val> {
        let (input, indices) = self.nest.graph.as_read(read).expect("checked");
        let indices = indices.to_vec();
        let kind = self.nest.graph.input(input).kind;
        let varies = self.lane_axis.is_some_and(|axis| self.nest.graph.ty(read).axes.contains(axis));
        if !varies || self.lanes == 1 {
            let at = self.indices(&indices, 0)?;
            let address = self.input_address(input, &at);
            return Ok(Val::one(self.read_one(input, kind, address, 0)));
        }
        let axis = self.lane_axis.expect("in lanes");
        let stride = lane_stride(self.nest, self.binding, axis, input, &indices);
        if let (Some(1), Some(lane)) = (stride, self.lane_type(input, kind)) {
            let at = self.indices(&indices, 0)?;
            let address = self.input_address(input, &at);
            if lane != self.real && kind == Kind::Float {
                return Ok(Val::lanes(self.load_narrow(input, address, self.lanes)));
            }
            let ty = lane.by(self.lanes as u32).expect("a vector type");
            let value = self.load_lanes(ty, Region::Input(input.index()), address);
            return Ok(Val::lanes(value));
        }
        let mut lanes = vec![];
        let size = self.binding.inputs[input.index()].size() as i64;
        let reach = |stride: isize| i32::try_from((stride as i64).checked_mul(size * self.lanes as i64)?).ok();
        if let Some(reach) = stride.and_then(reach) {
            let at = self.indices(&indices, 0)?;
            let address = self.input_address(input, &at);
            for lane in 0..self.lanes as i32 {
                lanes.push(self.read_one(input, kind, address, lane * (reach / self.lanes as i32)));
            }
        } else {
            let held = self.held_within(input, &indices)?;
            for lane in 0..self.lanes {
                let mut at = self.indices(&indices, lane)?;
                if let Some((place, held)) = held {
                    let one = self.b.ins().extractlane(held, lane as u8);
                    let value = self.b.ins().uextend(types::I64, one);
                    at[place] = Index { value, computed: false, along_lanes: true };
                }
                let address = self.input_address(input, &at);
                lanes.push(self.read_one(input, kind, address, 0));
            }
        }
        Ok(Val::lanes(self.gather(&lanes)))
    }

    /// The one index of a read that is computed from data, for all lanes at once and with 0 in place of what is outside
    /// its axis, which is noted; with its place among the indices. `None` where there is no such index.
    fn held_within(&mut self, input: InputId, indices: &[Id]) -> Result<Option<(usize, Value)>> {
        let is_data = |&index: &Id| !matches!(self.nest.graph.op(index), Op::Axis(_) | Op::Int(_));
        let mut computed = (0..indices.len()).filter(|&place| is_data(&indices[place]));
        let (Some(place), None) = (computed.next(), computed.next()) else { return Ok(None) };
        let extent = self.nest.extents[self.nest.graph.input(input).axes[place].index()];
        let found = self.get(indices[place])?;
        if !found.wide || self.int != types::I32 || extent == 0 {
            return Ok(None);
        }
        let extent = self.b.ins().iconst(types::I32, extent as i64);
        let extents = self.splat(extent);
        let within = self.b.ins().icmp(IntCC::UnsignedLessThan, found.value, extents);
        let all = self.b.ins().vall_true(within);
        let outside = self.b.ins().bxor_imm_s(all, 1);
        self.note(outside, Status::OUTSIDE);
        Ok(Some((place, self.b.ins().band(found.value, within))))
    }

    /// The type of a lane, where an input's elements are what lanes hold.
    fn lane_type(&self, input: InputId, kind: Kind) -> Option<Type> {
        match (kind, self.binding.inputs[input.index()]) {
            (Kind::Float, dtype) => Some(float_type(dtype)),
            (_, Dtype::I32) => Some(types::I32).filter(|&ty| ty == self.int),
            (_, Dtype::I64) => Some(types::I64).filter(|&ty| ty == self.int),
            _ => None,
        }
    }

    /// A vector of scalars.
    fn gather(&mut self, lanes: &[Value]) -> Value {
        let mut vector = self.splat(lanes[0]);
        for (lane, &value) in lanes.iter().enumerate().skip(1) {
            vector = self.b.ins().insertlane(vector, value, lane as u8);
        }
        vector
    }

    /// The element so many bytes behind an address.
    fn read_one(&mut self, input: InputId, kind: Kind, address: Value, offset: i32) -> Value {
        let flags = self.regions.flags(Region::Input(input.index()));
        let dtype = self.binding.inputs[input.index()];
        if kind == Kind::Float {
            let (value, ty) = if dtype.is_half() {
                let values = self.load_halves(dtype, flags, address, offset, 1);
                (self.b.ins().extractlane(values, 0), types::F32)
            } else {
                let ty = float_type(dtype);
                (self.b.ins().load(ty, flags, address, offset), ty)
            };
            return if ty == self.real { value } else { self.b.ins().fpromote(self.real, value) };
        }
        let whole = match dtype {
            Dtype::I64 => self.b.ins().load(types::I64, flags, address, offset),
            Dtype::I32 => {
                let value = self.b.ins().load(types::I32, flags, address, offset);
                self.b.ins().sextend(types::I64, value)
            }
            Dtype::U32 => {
                let value = self.b.ins().load(types::I32, flags, address, offset);
                self.b.ins().uextend(types::I64, value)
            }
            Dtype::U8 => {
                let value = self.b.ins().load(types::I8, flags, address, offset);
                self.b.ins().uextend(types::I64, value)
            }
            Dtype::F32 | Dtype::F64 | Dtype::Bf16 | Dtype::F16 => {
                let ty = float_type(dtype);
                let value = self.b.ins().load(ty, flags, address, offset);
                self.whole(value, ty)
            }
        };
        if self.int == types::I64 {
            return whole;
        }
        // Numbers beyond 32 bits stay beyond every class.
        let (low, high) = (i64::from(i32::MIN), i64::from(i32::MAX));
        let low = self.b.ins().iconst(types::I64, low);
        let high = self.b.ins().iconst(types::I64, high);
        let whole = self.b.ins().smax(whole, low);
        let whole = self.b.ins().smin(whole, high);
        self.b.ins().ireduce(types::I32, whole)
    }

    /// A whole float as an integer; one that is not whole is noted.
    fn whole(&mut self, value: Value, ty: Type) -> Value {
        let whole = self.b.ins().fcvt_to_sint_sat(types::I64, value);
        let back = self.b.ins().fcvt_from_sint(ty, whole);
        let same = self.b.ins().fcmp(FloatCC::Equal, back, value);
        let differs = self.b.ins().bxor_imm_s(same, 1);
        self.note(differs, Status::FRACTION);
        whole
    }

    pub(super) fn output_address(&mut self, output: usize) -> Result<Value> {
        let axes = self.nest.graph.outputs[output].axes.clone();
        let strides = self.binding.layout.outputs[output].clone();
        let size = self.binding.output(output).size() as i64;
        let mut terms = vec![];
        for (axis, stride) in axes.into_iter().zip(strides) {
            if self.nest.extents[axis.index()] != 1 {
                terms.push((self.index(axis)?, stride as i64 * size));
            }
        }
        Ok(self.address(self.outputs[output], &terms))
    }

    /// Writes an output's element, or as many as there are lanes.
    pub(super) fn store(&mut self, output: usize) -> Result<()> {
        let val = self.get(self.nest.graph.outputs[output].value)?;
        let address = self.output_address(output)?;
        let axes = &self.nest.graph.outputs[output].axes;
        let mut strides = axes.iter().zip(&self.binding.layout.outputs[output]);
        let stride = strides.find(|(a, _)| Some(**a) == self.lane_axis).map_or(1, |(_, &stride)| stride);
        let wide = self.lanes > 1;
        let value = self.widen(val, Kind::Float, wide);
        let flags = self.regions.flags(Region::Output(output));
        let stored = self.binding.output(output);
        let bytes = stored.size() as i64;
        let narrow = float_type(stored) != self.real;
        let value = match (narrow, wide) {
            (true, _) if stored.is_half() => {
                let singles = self.four_singles(value, wide);
                if !wide || stride == 1 {
                    self.store_halves(stored, flags, singles, address, self.lanes);
                    return Ok(());
                }
                self.halves(stored, singles)
            }
            (false, _) => value,
            (true, false) => self.b.ins().fdemote(types::F32, value),
            (true, true) => self.b.ins().fvdemote(value),
        };
        if !wide || stride == 1 {
            // Two narrowed lanes are the lower half of their vector.
            let value = if narrow && wide { self.lower_half(value) } else { value };
            self.b.ins().store(flags, value, address, 0);
            return Ok(());
        }
        for lane in 0..self.lanes {
            let one = self.b.ins().extractlane(value, lane as u8);
            let one = if stored.is_half() { self.b.ins().ireduce(types::I16, one) } else { one };
            let step = stride as i64 * lane as i64 * bytes;
            match i32::try_from(step) {
                Ok(step) => self.b.ins().store(flags, one, address, step),
                Err(_) => {
                    let far = self.b.ins().iadd_imm_s(address, step);
                    self.b.ins().store(flags, one, far, 0)
                }
            };
        }
        Ok(())
    }

    fn lower_half(&mut self, vector: Value) -> Value {
        let halves = self.bits(vector, types::I64X2);
        self.b.ins().extractlane(halves, 0)
    }

    /// Neighbouring floats that fill a vector once they are widened.
    fn load_narrow(&mut self, input: InputId, address: Value, lanes: usize) -> Value {
        let flags = self.regions.flags(Region::Input(input.index()));
        let dtype = self.binding.inputs[input.index()];
        if dtype.is_half() {
            let singles = self.load_halves(dtype, flags, address, 0, lanes);
            return if self.real == types::F64 { self.b.ins().fvpromote_low(singles) } else { singles };
        }
        let both = self.b.ins().load(types::I64, flags, address, 0);
        let vector = self.b.ins().scalar_to_vector(types::I64X2, both);
        let singles = self.bits(vector, types::F32X4);
        self.b.ins().fvpromote_low(singles)
    }

    /// Whether a call takes tiles of an input from where they were widened.
    pub(super) fn is_widened(&self, read: Id) -> bool {
        let (input, _) = self.nest.graph.as_read(read).expect("checked");
        float_type(self.binding.inputs[input.index()]) != self.real
    }

    /// The address of a tile of an input in the width of the arithmetic.
    pub(super) fn widened_tile(&mut self, read: Id, address: Value, length: Value) -> Result<Value> {
        let (input, _) = self.nest.graph.as_read(read).expect("checked");
        if !self.is_widened(read) {
            return Ok(address);
        }
        let dtype = self.binding.inputs[input.index()];
        let (narrow, wide) = (dtype.size() as i64, i64::from(self.real.bytes()));
        let tile = self.b.ins().iadd_imm_s(self.scratch, self.wide_tile as i64);
        let mut first = self.b.ins().iconst(types::I64, 0);
        if dtype.is_half() {
            let lanes = 16 / wide;
            let last = self.b.ins().iadd_imm_s(length, 1 - lanes);
            first = self.counted(first, last, lanes, |e, index| {
                let (from, to) = (e.b.ins().imul_imm_s(index, narrow), e.b.ins().imul_imm_s(index, wide));
                let (from, to) = (e.b.ins().iadd(address, from), e.b.ins().iadd(tile, to));
                let values = e.load_narrow(input, from, lanes as usize);
                e.b.ins().store(e.regions.flags(Region::Scratch), values, to, 0);
                Ok(())
            })?;
        }
        self.counted(first, length, 1, |e, index| {
            let (from, to) = (e.b.ins().imul_imm_s(index, narrow), e.b.ins().imul_imm_s(index, wide));
            let (from, to) = (e.b.ins().iadd(address, from), e.b.ins().iadd(tile, to));
            let value = e.read_one(input, Kind::Float, from, 0);
            e.b.ins().store(e.regions.flags(Region::Scratch), value, to, 0);
            Ok(())
        })?;
        Ok(tile)
    }

    /// One float, or as many as there are lanes, from memory at any address.
    ///
    /// Before AVX an instruction that takes lanes from memory itself needs them aligned. Cranelift knows that of all but
    /// `cmpps` and `cmppd` (0.135), so loads are kept apart there: what is cast is not merged.
    pub(super) fn load_lanes(&mut self, ty: Type, region: Region, address: Value) -> Value {
        let flags = self.regions.flags(region);
        if self.before_avx && ty.is_vector() {
            let bytes = self.b.ins().load(types::I8X16, flags, address, 0);
            return self.bits(bytes, ty);
        }
        self.b.ins().load(ty, flags, address, 0)
    }
}

/// The elements of an input from one lane to the next; `None` where an index computed from data decides.
pub(super) fn lane_stride(
    nest: &Nest,
    binding: &Binding,
    axis: AxisId,
    input: InputId,
    indices: &[Id],
) -> Option<isize> {
    let mut step = 0isize;
    for (&index, &stride) in indices.iter().zip(&binding.layout.inputs[input.index()]) {
        match nest.graph.op(index) {
            Op::Axis(a) if a == axis => step = step.checked_add(stride)?,
            _ if nest.graph.ty(index).axes.contains(axis) => return None,
            _ => {}
        }
    }
    Some(step)
}

/// Bytes of a block that a core's cache holds beside the next.
const BLOCK_NEAR: usize = 1 << 15;

/// Bytes from an element of an input to that at its place in the next block of rows, where a block is gone over several times:
/// memory would have nothing to do in all of them but the first.
pub(super) fn next_block(nest: &Nest, binding: &Binding, read: Id) -> Option<usize> {
    let ((axis, size), (input, indices)) = (nest.block()?, nest.graph.as_read(read)?);
    let passes =
        nest.steps().iter().filter(|(_, s)| matches!(s, Step::Tile { axis: along, .. } if *along != axis)).count();
    let stride = lane_stride(nest, binding, axis, input, indices)?.unsigned_abs();
    let bytes = stride.checked_mul(size)?.checked_mul(binding.inputs[input.index()].size())?;
    let alike = |&id: &Id| nest.graph.as_read(id).is_some() && nest.graph.ty(id).axes == nest.graph.ty(read).axes;
    let from_memory = binding.bytes(nest) >= WRITE_FAR;
    let reads = if from_memory { 1 } else { nest.graph.ids().filter(alike).count() };
    (passes > 1 && stride > 1 && bytes.checked_mul(reads)? <= BLOCK_NEAR).then_some(bytes)
}

/// The type of a stored float; 16 bits are a word of memory, no float that machines compute with.
fn float_type(dtype: Dtype) -> Type {
    match dtype {
        Dtype::F64 => types::F64,
        Dtype::Bf16 | Dtype::F16 => types::I16,
        _ => types::F32,
    }
}
