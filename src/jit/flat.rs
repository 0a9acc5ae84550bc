//! Flat loops: a loop over rows that lie one behind the other is a loop over one long row, where every element is by itself.
//!
//! ```text
//! for n
//!   for c by tile
//!     call %1 = exp %0 with %0 = read pred @n @c, into row0[n c]
//! ```
//!
//! Addresses go on from the end of a row to the beginning of the next, so the tile's index just runs on.

use super::Binding;
use super::emit::Emitter;
use crate::error::Result;
use crate::ir::{AxisId, Id, Kind, Op};
use crate::nest::{Nest, Place, SlotId, Source, Step, follows_rows};
use cranelift_codegen::ir::{InstBuilder, types};

/// A loop over `rows` around a tile of one step along `inner`.
struct Flat<'a> {
    nest: &'a Nest,
    binding: &'a Binding,
    rows: AxisId,
    inner: AxisId,
}

impl Flat<'_> {
    fn length(&self) -> usize {
        self.nest.extents[self.inner.index()]
    }

    fn holds(&self, step: &Step) -> bool {
        match step {
            Step::Call { value, from, into, sum: None, columns: None } => {
                let from = match *from {
                    Source::Slot { slot, .. } => self.slot(slot),
                    Source::Read(read) => self.read(read) && self.is_as_wide(read),
                };
                let (_, args) = self.nest.graph.as_point(*value).expect("checked");
                from && into.is_some_and(|slot| self.slot(slot)) && self.is_affine(args[0])
            }
            Step::Lanes { body } => body.iter().all(|step| match *step {
                Step::Let(id) => match self.nest.graph.op(id) {
                    Op::Read => self.read(id),
                    _ => self.nest.graph.node(id).args.iter().all(|&arg| self.runs_on(arg, body)),
                },
                Step::Load { slot, .. } | Step::Keep { slot, .. } => self.slot(slot),
                Step::Store { output } => self.output(output),
                _ => false,
            }),
            _ => false,
        }
    }

    /// Whether a value is made in the lanes, or is the same for all of them.
    fn runs_on(&self, value: Id, body: &[Step]) -> bool {
        let made = |step: &Step| matches!(*step, Step::Let(v) | Step::Load { value: v, .. } if v == value);
        body.iter().any(made) || self.is_same(value)
    }

    fn is_same(&self, value: Id) -> bool {
        let axes = self.nest.graph.ty(value).axes;
        !axes.contains(self.rows) && !axes.contains(self.inner)
    }

    /// Whether what is added to a call's argument, or multiplied with it, is the same for all rows.
    fn is_affine(&self, arg: Id) -> bool {
        let along_lanes = |id: Id| self.nest.graph.ty(id).axes.contains(self.inner);
        match self.nest.graph.op(arg) {
            Op::Point(point) if !point.is_math() => {
                self.nest.graph.node(arg).args.iter().all(|&x| along_lanes(x) || self.is_same(x))
            }
            _ => true,
        }
    }

    fn read(&self, read: Id) -> bool {
        let (graph, layout) = (&self.nest.graph, &self.binding.layout);
        let follows = follows_rows(graph, layout, read, [self.rows, self.inner], self.length());
        follows && graph.ty(read).kind == Kind::Float
    }

    /// Whether a call takes the elements from where they lie.
    fn is_as_wide(&self, read: Id) -> bool {
        let input = self.nest.graph.as_read(read).map(|(input, _)| self.binding.inputs[input.index()]);
        input == Some(self.binding.arithmetic(self.nest))
    }

    fn slot(&self, slot: SlotId) -> bool {
        match self.nest.slots[slot].place {
            Place::Output(output) => self.output(output),
            Place::Row => self.nest.slots[slot].axes.ends_with(&[self.rows, self.inner]),
            Place::Tile | Place::Sums => false,
        }
    }

    fn output(&self, output: usize) -> bool {
        let axes = self.nest.graph.outputs[output].axes.iter();
        let strides = || axes.clone().zip(&self.binding.layout.outputs[output]);
        let step = |axis| strides().find(|(along, _)| **along == axis).map(|(_, &step)| step);
        step(self.inner) == Some(1) && step(self.rows) == Some(self.length() as isize)
    }
}

/// The axis of a loop's tile, if the loop over the rows is one over a long row.
pub(super) fn long_row(nest: &Nest, binding: &Binding, rows: AxisId, body: &[Step]) -> Option<AxisId> {
    let [Step::Tile { axis: inner, body }] = body else { return None };
    let flat = Flat { nest, binding, rows, inner: *inner };
    let whole = nest.length(*inner) == flat.length() && !nest.is_cut(*inner);
    (whole && matches!(&body[..], [step] if flat.holds(step))).then_some(*inner)
}

impl Emitter<'_> {
    /// The tile of a loop over rows that is one over a long row.
    pub(super) fn flat_loop(&mut self, rows: AxisId, inner: AxisId, body: &[Step]) -> Result<()> {
        let (first, last) = self.bounds(rows);
        let count = self.b.ins().isub(last, first);
        let count = self.b.ins().imul_imm_s(count, self.nest.extents[inner.index()] as i64);
        let start = self.b.ins().iconst(types::I64, 0);
        self.at.insert(rows, first);
        self.flat = Some(inner);
        for tile in body.iter().filter_map(Step::body) {
            self.tile_of(inner, (start, count), tile)?;
        }
        self.flat = None;
        self.at.remove(&rows);
        Ok(())
    }
}
