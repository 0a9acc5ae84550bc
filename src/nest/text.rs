//! The text form of a nest: its graph, the slots in which values are kept, and an indented program over the graph's
//! equations. [`parse`](super::parse) reads it.
//!
//! ```text
//! nest softmax_cross_entropy over n=64 c=1000
//! slot %3 in grad.pred[c]
//! for n, parallel
//!   %1 = -inf
//!   for c by tile
//!     lanes
//!       %0 = read pred @n @c
//!       %1 max= %0
//! ```

use super::{Nest, Place, SlotId, Source, Step};
use crate::ir::{Fold, Id};
use std::collections::HashMap;
use std::fmt;

impl fmt::Display for Nest {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "{}", self.graph)?;
        let extents = self.graph.axes.iter().zip(&self.extents).map(|(name, size)| format!(" {name}={size}"));
        writeln!(f, "nest {} over{}", self.graph.name, extents.collect::<String>())?;
        let numbers = self.graph.numbers();
        for (number, slot) in self.slots.iter().enumerate() {
            let axes = self.graph.axes_text(slot.axes.iter().copied());
            let value = self.graph.operand_text(slot.value, &numbers);
            let block = if slot.block { ", by block" } else { "" };
            writeln!(f, "slot {value} in {}{axes}{block}", self.place_text(number))?;
        }
        Text { nest: self, numbers }.body(f, &self.body, 0)
    }
}

struct Text<'n> {
    nest: &'n Nest,
    numbers: HashMap<Id, usize>,
}

impl Text<'_> {
    fn body(&self, f: &mut fmt::Formatter, body: &[Step], depth: usize) -> fmt::Result {
        body.iter().try_for_each(|step| {
            write!(f, "{:1$}", "", 2 * depth)?;
            self.step(f, step, depth)
        })
    }

    fn step(&self, f: &mut fmt::Formatter, step: &Step, depth: usize) -> fmt::Result {
        let graph = &self.nest.graph;
        let name = |id: Id| graph.operand_text(id, &self.numbers);
        match step {
            Step::Loop { axis, body } => {
                let parallel = if depth == 0 && self.nest.parallel_axis() == Some(*axis) { ", parallel" } else { "" };
                writeln!(f, "for {}{parallel}", graph.axis_name(*axis))?;
                self.body(f, body, depth + 1)
            }
            Step::Tile { axis, body } => {
                let parallel = if depth == 0 && self.nest.parallel_axis() == Some(*axis) { ", parallel" } else { "" };
                writeln!(f, "for {} by tile{parallel}", graph.axis_name(*axis))?;
                self.body(f, body, depth + 1)
            }
            Step::Block { axis, size, body } => {
                let parallel = if self.nest.parallel_axis() == Some(*axis) { ", parallel" } else { "" };
                writeln!(f, "for {} by block of {size}{parallel}", graph.axis_name(*axis))?;
                self.body(f, body, depth + 1)
            }
            Step::Part { axis, size, body } => {
                writeln!(f, "for {} by part of {size}, parallel", graph.axis_name(*axis))?;
                self.body(f, body, depth + 1)
            }
            Step::Pairs { fold, weight, into } => {
                let adds = graph.as_fold(*fold).map(|(_, axis, _)| axis) == self.nest.block().map(|(axis, _)| axis);
                let operator = if adds { "+=" } else { "=" };
                write!(f, "pairs {} {operator} {}", name(*fold), graph.equation_text(*fold, &self.numbers))?;
                if let Some(slot) = weight {
                    let value = self.nest.slots[*slot].value;
                    write!(f, " with {} = load {}", name(value), self.slot_text(*slot))?;
                }
                writeln!(f, ", into {}", self.slot_text(*into))
            }
            Step::Lanes { body } => {
                writeln!(f, "lanes")?;
                self.body(f, body, depth + 1)
            }
            Step::Let(value) => writeln!(f, "{} = {}", name(*value), graph.equation_text(*value, &self.numbers)),
            Step::Start { fold, slot } => {
                let start = match graph.as_fold(*fold) {
                    Some((Fold::Sum, ..)) => "0",
                    _ => "-inf",
                };
                writeln!(f, "{} = {start}{}", name(*fold), self.in_slot(*slot))
            }
            Step::Fold { fold, slot } => {
                let (operator, body) = match graph.as_fold(*fold) {
                    Some((Fold::Sum, _, body)) => ("+=", body),
                    Some((_, _, body)) => ("max=", body),
                    None => ("?=", *fold),
                };
                writeln!(f, "{} {operator} {}{}", name(*fold), name(body), self.in_slot(*slot))
            }
            Step::Call { value, from, into, sum, columns } => {
                let (arg, source) = (graph.node(*value).args[0], from.value());
                let equation = |id: Id| format!("{} = {}", name(id), graph.equation_text(id, &self.numbers));
                write!(f, "call {} with ", equation(*value))?;
                if arg != source {
                    write!(f, "{}, ", equation(arg))?;
                }
                match from {
                    Source::Slot { slot, .. } => write!(f, "{} = load {}", name(source), self.slot_text(*slot))?,
                    Source::Read(read) => f.write_str(&equation(*read))?,
                }
                if let Some(c) = columns {
                    write!(f, ", {} = load {}", name(c.less), self.slot_text(c.less_slot))?;
                }
                if let Some(slot) = into {
                    write!(f, ", into {}", self.slot_text(*slot))?;
                }
                if let Some(sum) = sum {
                    write!(f, ", {} += {}", name(*sum), name(*value))?;
                }
                if let Some(c) = columns {
                    write!(f, ", {} += {}{}", name(c.fold), name(*value), self.in_slot(Some(c.sums)))?;
                }
                writeln!(f)
            }
            Step::Keep { value, slot } => writeln!(f, "keep {} in {}", name(*value), self.slot_text(*slot)),
            Step::Load { value, slot } => writeln!(f, "{} = load {}", name(*value), self.slot_text(*slot)),
            Step::Store { output } => {
                let o = &graph.outputs[*output];
                let axes: Vec<_> = o.axes.iter().map(|&a| graph.axis_name(a)).collect();
                writeln!(f, "store {}[{}] = {}", o.name, axes.join(" "), name(o.value))
            }
            Step::Native { loss, grad } => {
                let equation = |id: Id| format!("{} = {}", name(id), graph.equation_text(id, &self.numbers));
                let grads = grad.iter().map(|&output| {
                    let o = &graph.outputs[output];
                    format!("{}, into {}", equation(o.value), o.name)
                });
                let calls: Vec<_> = loss.iter().map(|&id| equation(id)).chain(grads).collect();
                writeln!(f, "native {}", calls.join("; "))
            }
        }
    }

    fn in_slot(&self, slot: Option<SlotId>) -> String {
        slot.map_or(String::new(), |s| format!(", in {}", self.slot_text(s)))
    }

    fn slot_text(&self, slot: SlotId) -> String {
        self.nest.slot_text(slot)
    }
}

impl Nest {
    /// A slot where it is used: `tile0`, `row1[c]`, `sums2[c]`, or the output whose buffer it is.
    pub(super) fn slot_text(&self, slot: SlotId) -> String {
        let found = &self.slots[slot];
        match found.place {
            Place::Row | Place::Sums => self.place_text(slot) + &self.graph.axes_text(found.axes.iter().copied()),
            Place::Tile | Place::Output(_) => self.place_text(slot),
        }
    }

    fn place_text(&self, slot: SlotId) -> String {
        match self.slots[slot].place {
            Place::Tile => format!("tile{slot}"),
            Place::Row => format!("row{slot}"),
            Place::Sums => format!("sums{slot}"),
            Place::Output(output) => self.graph.outputs[output].name.clone(),
        }
    }
}
