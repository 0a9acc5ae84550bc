//! Rows: the largest of a row and the sum of exponentials from there, which a nest has in two tiles, by one function.
//!
//! ```text
//! %1 = -inf
//! for c by tile
//!   lanes
//!     %0 = read pred @n @c
//!     %1 max= %0
//! %4 = 0
//! for c by tile
//!   call %3 = exp %2 with %2 = sub %0 %1, %0 = read pred @n @c, %4 += %3
//! ```
//!
//! Of short rows, calls and what joins their lanes take as long as the elements; one function does neither twice.

use super::compile::Form;
use super::emit::Emitter;
use super::source::Numbers;
use super::{Binding, memory};
use crate::error::Result;
use crate::ir::{AxisId, Fold, Id, Kind, Point};
use crate::nest::{Nest, Place, SlotId, Source, Step};
use crate::vmath::Function;
use cranelift_codegen::ir::{InstBuilder, StackSlotData, StackSlotKind, types};

/// Elements of a row, at most: a longer one is asked for ahead by the two tiles, each as it needs.
const SHORT: usize = 1 << 12;

/// Two tiles that one function does.
#[derive(Clone, Copy)]
pub(super) struct Row {
    /// Their places in [`Nest::steps`]; the call comes behind the second.
    pub largest: usize,
    pub sum: usize,
    axis: AxisId,
    read: Id,
    top: Id,
    exp: Id,
    total: Id,
    into: Option<SlotId>,
}

impl Row {
    pub fn form(&self) -> Form {
        if self.into.is_some() { Form::MapRow } else { Form::Row }
    }
}

/// The rows of a nest, but of one whose outputs lie in the place of inputs: their elements are gone when a NaN is looked for.
pub(super) fn rows(nest: &Nest, binding: &Binding) -> Vec<Row> {
    let mut found = vec![];
    if binding.layout.in_place.is_empty() {
        visit(nest, binding, &Numbers::new(nest), &nest.body, &mut found);
    }
    found
}

fn visit(nest: &Nest, binding: &Binding, numbers: &Numbers, body: &[Step], found: &mut Vec<Row>) {
    for (place, step) in body.iter().enumerate() {
        found.extend(row(nest, binding, numbers, step, &body[place + 1..]));
        if let Some(inside) = step.body() {
            visit(nest, binding, numbers, inside, found);
        }
    }
}

/// The row that begins with a step, if the other tile is behind it with nothing between that matters.
fn row(nest: &Nest, binding: &Binding, numbers: &Numbers, first: &Step, behind: &[Step]) -> Option<Row> {
    let (axis, read, top) = largest(nest, first)?;
    let second = behind.iter().find(|step| match step {
        Step::Start { .. } => false,
        Step::Keep { value, .. } => *value != top,
        _ => true,
    })?;
    let Step::Tile { axis: along, body } = second else { return None };
    let [Step::Call { value, from: Source::Read(from), into, sum: Some(total), columns: None }] = body[..] else {
        return None;
    };
    let (point, args) = nest.graph.as_point(value)?;
    let of_difference = nest.graph.as_point(args[0]).is_some_and(|(p, args)| p == Point::Sub && *args == [read, top]);
    let (input, indices) = nest.graph.as_read(read)?;
    let beside = memory::lane_stride(nest, binding, axis, input, indices) == Some(1);
    let plain = binding.inputs[input.index()] == binding.arithmetic(nest);
    let kept = into.is_none_or(|slot| nest.slots[slot].place != Place::Tile);
    let short = nest.extents[axis.index()] <= SHORT;
    let fits =
        point == Point::Exp && of_difference && *along == axis && from == read && beside && plain && kept && short;
    fits.then(|| {
        let place = |step| numbers.place(step).expect("a step of the nest");
        Row { largest: place(first), sum: place(second), axis, read, top, exp: value, total, into }
    })
}

/// The axis, read and maximum of a tile that takes a maximum of what it reads, and does nothing else.
fn largest(nest: &Nest, step: &Step) -> Option<(AxisId, Id, Id)> {
    let Step::Tile { axis, body } = step else { return None };
    let [Step::Lanes { body }] = &body[..] else { return None };
    let [Step::Let(read), Step::Fold { fold, slot: None }] = body[..] else { return None };
    let (kind, bound, of) = nest.graph.as_fold(fold)?;
    let float = nest.graph.ty(read).kind == Kind::Float;
    (kind == Fold::Amax && bound == *axis && of == read && float).then_some((*axis, read, fold))
}

impl Emitter<'_> {
    /// Both tiles of a row: its maximum is there from now on, its sum where it starts.
    pub(super) fn row(&mut self, row: Row) -> Result<()> {
        let call = self.nest.steps()[row.sum + 1].1;
        self.for_step(call, |e| e.call_of_row(row))
    }

    fn call_of_row(&mut self, row: Row) -> Result<()> {
        let (first, last) = self.bounds(row.axis);
        let length = self.b.ins().isub(last, first);
        self.lane_axis = Some(row.axis);
        self.at.insert(row.axis, first);
        self.tile_index = Some(self.b.ins().iconst(types::I64, 0));
        let x = self.read_address(row.read)?;
        let y = match row.into {
            Some(slot) => self.slot_address(slot)?.0,
            None => x,
        };
        self.lane_axis = None;
        self.tile_index = None;
        self.at.remove(&row.axis);
        let word = self.b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, 8, 3));
        let top = self.b.ins().stack_addr(types::I64, word, 0);
        let ahead = self.ahead(row.axis, row.exp, row.read);
        let ahead = self.b.ins().iconst(types::I64, ahead);
        let function = self.functions[&(Function::Exp, row.form(), self.dtype())];
        let call = self.b.ins().call(function, &[x, y, length, top, ahead]);
        let sum = self.b.inst_results(call)[0];
        self.row_sums.insert(row.sum, (row.total, sum));
        let top = self.b.ins().stack_load(types::I64, self.real, word, 0);
        self.add_to_total(row.top, top);
        Ok(())
    }

    /// Adds a sum that a row's function gave to the fold's total.
    pub(super) fn add_row_sum(&mut self, place: usize) -> bool {
        let Some((fold, part)) = self.row_sums.remove(&place) else { return false };
        self.add_part(fold, part);
        true
    }
}
