//! Slots: where they lie in scratch, and the loads and stores of what is kept in them.

use super::Binding;
use super::emit::{Emitter, Val};
use super::memory::{Index, Region};
use crate::error::{Error, Result};
use crate::ir::{AxisId, Id, Kind, Op};
use crate::nest::{Nest, Place, SlotId, Source, Step, TILE, part_sums};
use cranelift_codegen::ir::{ConstantData, InstBuilder, MemFlagsData, Value, types};

/// Where a slot lies.
#[derive(Clone, Copy)]
pub(super) struct Home {
    /// In the memory that threads share, or in scratch.
    pub shared: bool,
    pub offset: usize,
}

/// Where scratch lies: what is read in place of elements outside their buffer, then each slot on cache lines of its own,
/// then what native kernels need.
pub(super) struct Scratch {
    pub homes: Vec<Home>,
    /// A tile of an input whose floats are narrower than the arithmetic.
    pub wide_tile: usize,
    pub native: usize,
    pub size: usize,
    /// Where the sums of each step of parts lie in shared memory, and the bytes of one part's.
    pub parts: Vec<(usize, usize)>,
    /// Bytes of shared memory.
    pub shared: usize,
}

pub(super) fn scratch(nest: &Nest, binding: &Binding, native: usize) -> Result<Scratch> {
    let real = binding.arithmetic(nest);
    let too_large = || Error::internal("jit", "scratch is larger than the address space");
    let mut end = if takes_rows_by_data(nest, &nest.body) { TILE * real.size() } else { 64 };
    let mut shared_end = 0usize;
    let (mut homes, shared) = (vec![], nest.shared_slots());
    for (index, slot) in nest.slots.iter().enumerate() {
        let end = if shared[index] { &mut shared_end } else { &mut end };
        homes.push(Home { shared: shared[index], offset: *end });
        let elements = match slot.place {
            Place::Output(_) => 0,
            Place::Tile => TILE,
            Place::Row | Place::Sums => {
                let sizes = slot.axes.iter().map(|&a| nest.slot_extent(index, a));
                sizes.into_iter().try_fold(1usize, |n, size| n.checked_mul(size)).ok_or_else(too_large)?
            }
        };
        let size = if slot.place == Place::Sums { 8 } else { real.size() };
        let bytes = elements.checked_mul(size).and_then(|b| b.checked_next_multiple_of(64)).ok_or_else(too_large)?;
        *end = end.checked_add(bytes).filter(|&e| e < isize::MAX as usize).ok_or_else(too_large)?;
    }
    let mut parts = vec![];
    for (axis, size, body) in nest.parts() {
        let sizes = part_sums(body).map(|(_, slot)| slot.map_or(1, |slot| elements_of(nest, slot)));
        let elements = sizes.fold(0, usize::saturating_add);
        let bytes = elements.checked_mul(8).ok_or_else(too_large)?;
        parts.push((shared_end, bytes));
        let all = bytes.checked_mul(nest.count(axis, size)).and_then(|b| b.checked_next_multiple_of(64));
        shared_end = all.and_then(|all| shared_end.checked_add(all)).ok_or_else(too_large)?;
    }
    let wide_tile = end;
    if binding.has_narrow_inputs(nest) {
        end += TILE * real.size();
    }
    let size = end.checked_add(native).filter(|&e| e < isize::MAX as usize).ok_or_else(too_large)?;
    Ok(Scratch { homes, wide_tile, native: end, size, parts, shared: shared_end })
}

/// Elements of a slot along its axes.
pub(super) fn elements_of(nest: &Nest, slot: SlotId) -> usize {
    nest.slots[slot].axes.iter().fold(1, |n, &axis| n.saturating_mul(nest.slot_extent(slot, axis)))
}

/// Whether a call takes its tile from a row whose number is data: it reads the whole tile, wherever it is told to.
fn takes_rows_by_data(nest: &Nest, body: &[Step]) -> bool {
    body.iter().any(|step| match step {
        Step::Loop { body, .. } | Step::Block { body, .. } | Step::Part { body, .. } | Step::Tile { body, .. } => {
            takes_rows_by_data(nest, body)
        }
        Step::Call { from: Source::Read(read), .. } => is_row_by_data(nest, *read),
        step => step.body().is_some_and(|body| takes_rows_by_data(nest, body)),
    })
}

pub(super) fn is_row_by_data(nest: &Nest, read: Id) -> bool {
    let plain = |&index: &Id| matches!(nest.graph.op(index), Op::Axis(_) | Op::Int(_));
    nest.graph.as_read(read).is_some_and(|(_, indices)| !indices.iter().all(plain))
}

impl Emitter<'_> {
    /// The address of a slot's element at the open loops' indices.
    pub(super) fn slot_address(&mut self, slot: SlotId) -> Result<(Value, Region)> {
        let found = &self.nest.slots[slot];
        let (place, axes) = (found.place, found.axes.clone());
        if let Place::Output(output) = place {
            return Ok((self.output_address(output)?, Region::Output(output)));
        }
        let base = self.slot_base(slot);
        let size = if place == Place::Sums { 8 } else { i64::from(self.real.bytes()) };
        let terms = match place {
            Place::Tile => {
                let value = self.tile_index.ok_or_else(|| Error::internal("jit", "tile scratch outside a tile"))?;
                vec![(Index { value, computed: false, along_lanes: true }, size)]
            }
            _ => self.row_major(slot, &axes, size)?,
        };
        Ok((self.address(base, &terms), Region::Scratch))
    }

    /// The address of a slot's first element.
    pub(super) fn slot_base(&mut self, slot: SlotId) -> Value {
        let Home { shared, offset } = self.homes[slot];
        let base = if shared { self.shared } else { self.scratch };
        self.b.ins().iadd_imm_s(base, offset as i64)
    }

    /// The terms of a row-major array's address; axes without an open loop count as 0.
    fn row_major(&mut self, slot: SlotId, axes: &[AxisId], size: i64) -> Result<Vec<(Index, i64)>> {
        let mut bytes = size;
        let mut terms = vec![];
        for &axis in axes.iter().rev() {
            if self.is_open(axis) {
                let mut index = self.index(axis)?;
                if let Some((block, start, _)) = self.block
                    && block == axis
                    && self.nest.slots[slot].block
                {
                    index.value = self.b.ins().isub(index.value, start);
                }
                terms.push((index, bytes));
            }
            bytes = bytes.saturating_mul(self.nest.slot_extent(slot, axis) as i64);
        }
        Ok(terms)
    }

    /// Whether a slot has an element per lane; otherwise all lanes share one.
    fn is_laned(&self, slot: SlotId) -> bool {
        self.lanes > 1 && self.lane_axis.is_some_and(|a| self.nest.slots[slot].axes.contains(&a))
    }

    pub(super) fn load_slot(&mut self, slot: SlotId) -> Result<Val> {
        let wide = self.is_laned(slot);
        let (address, region) = self.slot_address(slot)?;
        if self.nest.slots[slot].place == Place::Sums {
            let total = self.load_sums(address, wide);
            let value = self.narrow_sums(&total, wide);
            let exact = (!wide && self.real == types::F32).then(|| total[0]);
            return Ok(Val { value, wide, exact });
        }
        let ty = if wide { self.real.by(self.lanes as u32).expect("a vector type") } else { self.real };
        Ok(Val { value: self.load_lanes(ty, region, address), wide, exact: None })
    }

    pub(super) fn keep(&mut self, value: Id, slot: SlotId) -> Result<()> {
        let val = self.get(value)?;
        let wide = self.is_laned(slot);
        if self.nest.slots[slot].place == Place::Sums {
            let total = self.exact(value)?;
            let (address, _) = self.slot_address(slot)?;
            self.store_sums(&[total], address);
            return Ok(());
        }
        let value = self.widen(val, Kind::Float, wide);
        let (address, region) = self.slot_address(slot)?;
        self.b.ins().store(self.regions.flags(region), value, address, 0);
        Ok(())
    }

    /// Elements of a sums slot: f64, two to a vector.
    pub(super) fn load_sums(&mut self, address: Value, wide: bool) -> Vec<Value> {
        let flags = self.regions.flags(Region::Scratch);
        if !wide {
            return vec![self.b.ins().load(types::F64, flags, address, 0)];
        }
        (0..self.lanes as i32 / 2).map(|i| self.b.ins().load(types::F64X2, flags, address, 16 * i)).collect()
    }

    pub(super) fn store_sums(&mut self, sums: &[Value], address: Value) {
        let flags = self.regions.flags(Region::Scratch);
        for (i, &sum) in sums.iter().enumerate() {
            self.b.ins().store(flags, sum, address, 16 * i as i32);
        }
    }

    /// A value of the loss's dtype as f64, two to a vector.
    pub(super) fn widen_sums(&mut self, value: Value, wide: bool) -> Vec<Value> {
        match (self.real == types::F64, wide) {
            (true, _) => vec![value],
            (false, false) => vec![self.b.ins().fpromote(types::F64, value)],
            (false, true) => {
                let low = self.b.ins().fvpromote_low(value);
                let swapped = self.mix(value, value, [2, 3, 2, 3]);
                vec![low, self.b.ins().fvpromote_low(swapped)]
            }
        }
    }

    fn narrow_sums(&mut self, sums: &[Value], wide: bool) -> Value {
        match (self.real == types::F64, wide) {
            (true, _) => sums[0],
            (false, false) => self.b.ins().fdemote(types::F32, sums[0]),
            (false, true) => {
                let (low, high) = (self.b.ins().fvdemote(sums[0]), self.b.ins().fvdemote(sums[1]));
                self.mix(low, high, [0, 1, 4, 5])
            }
        }
    }

    /// Four lanes of 32 bits out of the eight of two vectors.
    fn mix(&mut self, a: Value, b: Value, lanes: [u8; 4]) -> Value {
        let bytes: Vec<u8> = lanes.iter().flat_map(|&lane| (0..4).map(move |i| 4 * lane + i)).collect();
        let mask = self.b.func.dfg.immediates.push(ConstantData::from(bytes.as_slice()));
        let cast = MemFlagsData::new().with_endianness(cranelift_codegen::ir::Endianness::Little);
        let (a, b) = (self.b.ins().bitcast(types::I8X16, cast, a), self.b.ins().bitcast(types::I8X16, cast, b));
        let mixed = self.b.ins().shuffle(a, b, mask);
        self.b.ins().bitcast(types::F32X4, cast, mixed)
    }
}
