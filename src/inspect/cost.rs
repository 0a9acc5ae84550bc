//! Cost: what one run of a nest reads, writes and computes, counted step by step.

use super::report::{BufferCost, Cost, LoopCost};
use crate::ir::{AxisId, Fold, Graph, Id, Op, Point, Work};
use crate::jit::{Binding, Kernel};
use crate::nest::{Nest, Place, SlotId, Source, Step, Term, pair_sum};
use std::collections::{BTreeMap, HashMap};

/// Iterations are counted up to this: days of work, and far from what a sum can hold.
const MOST: u64 = 1 << 44;

/// The cost of a kernel whose nest's steps begin at line `first` of its listing.
pub(super) fn cost(kernel: &Kernel, first: usize) -> Cost {
    let (nest, binding) = (&kernel.nest, &kernel.binding);
    let mut count = Count {
        nest,
        numbers: nest.graph.numbers(),
        first,
        line: 0,
        loops: vec![],
        open: vec![],
        outside: Tally::default(),
        math: BTreeMap::new(),
    };
    count.body(&nest.body, 1, 0);
    let Count { mut loops, outside, math, .. } = count;
    if outside.flops + outside.math + outside.kept > 0 || !outside.does.is_empty() {
        let heading = first.saturating_sub(nest.slots.len() + 1);
        loops.insert(0, (LoopCost { line: heading, extent: 1, iterations: 1, ..LoopCost::default() }, outside));
    }
    let tallies = || loops.iter().map(|(_, tally)| tally);
    let (inputs, outputs) = sizes(nest, binding);
    let accesses =
        |name: &str, of: fn(&Tally) -> &BTreeMap<String, u64>| tallies().filter_map(|t| of(t).get(name)).sum();
    let buffer = |(name, bytes, elements): &(String, u64, u64), written: bool| {
        let accesses: u64 = accesses(name, if written { |t| &t.writes } else { |t| &t.reads });
        let passes = if *elements == 0 { 0.0 } else { accesses as f64 / *elements as f64 };
        BufferCost { name: name.clone(), written, bytes: *bytes, accesses, passes }
    };
    let mut buffers: Vec<BufferCost> = inputs.iter().map(|b| buffer(b, false)).collect();
    buffers.extend(outputs.iter().map(|b| buffer(b, true)));
    let bytes_of = |written: bool| buffers.iter().filter(move |b| b.written == written).map(|b| b.bytes);
    let total = |written: bool| bytes_of(written).fold(0, u64::saturating_add);
    let (bytes_read, bytes_written) = (total(false), total(true));
    let flops = tallies().map(|t| t.flops).sum::<u64>();
    let math_calls = tallies().map(|t| t.math).sum::<u64>();
    let bytes = bytes_read.saturating_add(bytes_written);
    Cost {
        bytes_read,
        bytes_written,
        flops,
        math_calls,
        scratch_bytes: kernel.scratch as u64,
        intensity: if bytes == 0 { 0.0 } else { (flops + math_calls) as f64 / bytes as f64 },
        buffers,
        loops: loops.into_iter().map(|(cost, tally)| tally.into_loop(cost)).collect(),
        math: math.into_iter().map(|(point, calls)| (point.name().to_string(), calls)).collect(),
    }
}

type Sizes = Vec<(String, u64, u64)>;

/// Name, bytes and elements of each input and each output.
fn sizes(nest: &Nest, binding: &Binding) -> (Sizes, Sizes) {
    let extent = |a: &AxisId| nest.extents[a.index()] as u64;
    let elements = |axes: &[AxisId]| axes.iter().map(extent).fold(1, u64::saturating_mul);
    let inputs = nest.graph.inputs.iter().zip(&binding.inputs).map(|(input, dtype)| {
        let elements = elements(&input.axes);
        (input.name.clone(), elements.saturating_mul(dtype.size() as u64), elements)
    });
    let outputs = nest.graph.outputs.iter().enumerate().map(|(place, output)| {
        let elements = elements(&output.axes);
        (output.name.clone(), elements.saturating_mul(binding.output(place).size() as u64), elements)
    });
    (inputs.collect(), outputs.collect())
}

/// What the steps of one loop do over a whole run.
#[derive(Default)]
struct Tally {
    reads: BTreeMap<String, u64>,
    writes: BTreeMap<String, u64>,
    kept: u64,
    loaded: u64,
    flops: u64,
    math: u64,
    /// In words, each once.
    does: Vec<String>,
}

impl Tally {
    fn into_loop(self, cost: LoopCost) -> LoopCost {
        LoopCost {
            reads: self.reads.into_iter().collect(),
            writes: self.writes.into_iter().collect(),
            kept: self.kept,
            loaded: self.loaded,
            flops: self.flops,
            math_calls: self.math,
            summary: self.does.join("; "),
            ..cost
        }
    }

    fn does(&mut self, what: String) {
        if !self.does.contains(&what) {
            self.does.push(what);
        }
    }
}

struct Count<'n> {
    nest: &'n Nest,
    numbers: HashMap<Id, usize>,
    first: usize,
    /// The step's place in the order of the text.
    line: usize,
    loops: Vec<(LoopCost, Tally)>,
    /// The open loops, by their places in `loops`.
    open: Vec<usize>,
    outside: Tally,
    math: BTreeMap<Point, u64>,
}

impl Count<'_> {
    fn body(&mut self, body: &[Step], times: u64, depth: usize) {
        for step in body {
            let line = self.first + self.line;
            self.line += 1;
            match step {
                Step::Loop { axis, body } | Step::Tile { axis, body } => {
                    let extent = self.nest.extents[axis.index()];
                    let iterations = times.saturating_mul(extent as u64).min(MOST);
                    let cost = LoopCost {
                        line,
                        depth,
                        axis: self.nest.graph.axis_name(*axis).to_string(),
                        extent,
                        tiled: matches!(step, Step::Tile { .. }),
                        parallel: depth == 0 && self.nest.parallel_axis() == Some(*axis),
                        iterations,
                        ..LoopCost::default()
                    };
                    self.loops.push((cost, Tally::default()));
                    self.open.push(self.loops.len() - 1);
                    self.body(body, iterations, depth + 1);
                    self.open.pop();
                }
                Step::Block { axis, size, body } | Step::Part { axis, size, body } => {
                    let extent = self.nest.extents[axis.index()];
                    let is_part = matches!(step, Step::Part { .. });
                    let cost = LoopCost {
                        line,
                        depth,
                        axis: self.nest.graph.axis_name(*axis).to_string(),
                        extent,
                        block: (!is_part).then_some(*size),
                        part: is_part.then_some(*size),
                        parallel: is_part || self.nest.parallel_axis() == Some(*axis),
                        iterations: times.saturating_mul(extent.div_ceil(*size) as u64),
                        ..LoopCost::default()
                    };
                    self.loops.push((cost, Tally::default()));
                    self.open.push(self.loops.len() - 1);
                    self.body(body, times, depth + 1);
                    self.open.pop();
                }
                Step::Lanes { body } => self.body(body, times, depth),
                Step::Pairs { fold, weight, into } => self.pairs((*fold, *weight, *into), times, (line, depth)),
                step => self.step(step, times),
            }
        }
    }

    fn tally(&mut self) -> &mut Tally {
        match self.open.last() {
            Some(&open) => &mut self.loops[open].1,
            None => &mut self.outside,
        }
    }

    fn step(&mut self, step: &Step, times: u64) {
        let graph = &self.nest.graph;
        match step {
            Step::Loop { .. }
            | Step::Tile { .. }
            | Step::Block { .. }
            | Step::Part { .. }
            | Step::Lanes { .. }
            | Step::Pairs { .. }
            | Step::Start { .. } => {}
            Step::Let(value) => match graph.op(*value) {
                Op::Read => self.read(*value, times),
                Op::Point(point) => self.point(point, times),
                _ => {}
            },
            Step::Fold { fold, slot } => {
                self.tally().flops += times;
                if slot.is_some() {
                    (self.tally().kept, self.tally().loaded) = (self.tally().kept + times, self.tally().loaded + times);
                }
                let what = self.folds(*fold);
                self.tally().does(what);
            }
            Step::Call { value, from, into, sum, columns } => {
                match from {
                    Source::Read(read) => self.read(*read, times),
                    Source::Slot { slot, .. } => self.load(*slot, times),
                }
                // The prologue, scale · x + shift, is part of the call.
                if graph.node(*value).args[0] != from.value() {
                    self.tally().flops += 2 * times;
                }
                if let Some((point, _)) = graph.as_point(*value) {
                    self.point(point, times);
                }
                if let Some(slot) = into {
                    self.keep(*slot, times);
                }
                if let Some(c) = columns {
                    self.load(c.less_slot, times);
                    (self.tally().kept, self.tally().loaded) = (self.tally().kept + times, self.tally().loaded + times);
                }
                if let Some(sum) = sum.or(columns.map(|c| c.fold)) {
                    self.tally().flops += times;
                    let what = self.folds(sum);
                    self.tally().does(what);
                }
            }
            Step::Keep { slot, .. } => self.keep(*slot, times),
            Step::Load { slot, .. } => self.load(*slot, times),
            Step::Store { output } => self.write(*output, times),
            Step::Native { loss, grad } => self.native(*loss, *grad, times),
        }
    }

    fn folds(&self, fold: Id) -> String {
        let graph = &self.nest.graph;
        let text = graph.operand_text(fold, &self.numbers);
        match graph.as_fold(fold) {
            Some((Fold::Sum, axis, _)) => format!("sums {text} over {}", graph.axis_name(axis)),
            Some((_, axis, _)) => format!("finds the maximum {text} over {}", graph.axis_name(axis)),
            None => format!("folds {text}"),
        }
    }

    fn read(&mut self, read: Id, times: u64) {
        let graph = &self.nest.graph;
        let Some((input, indices)) = graph.as_read(read) else { return };
        let name = graph.input(input).name.clone();
        let index = |&i: &Id| graph.operand_text(i, &self.numbers).replace('@', "");
        let indices: Vec<String> = indices.iter().map(index).collect();
        let tally = self.tally();
        tally.does(format!("reads {name}[{}]", indices.join(",")));
        *tally.reads.entry(name).or_default() += times;
    }

    fn write(&mut self, output: usize, times: u64) {
        let name = self.nest.graph.outputs[output].name.clone();
        let tally = self.tally();
        tally.does(format!("writes {name}"));
        *tally.writes.entry(name).or_default() += times;
    }

    fn point(&mut self, point: Point, times: u64) {
        match point.work() {
            Work::Flops(flops) => self.tally().flops += u64::from(flops) * times,
            Work::Math | Work::Composite => {
                self.tally().math += times;
                self.tally().does(format!("computes {}", point.name()));
                *self.math.entry(point).or_default() += times;
            }
        }
    }

    fn keep(&mut self, slot: SlotId, times: u64) {
        let found = &self.nest.slots[slot];
        let graph: &Graph = &self.nest.graph;
        let text = graph.operand_text(found.value, &self.numbers);
        match found.place {
            Place::Output(output) => {
                let name = graph.outputs[output].name.clone();
                let tally = self.tally();
                tally.does(format!("keeps {text} in {name}"));
                *tally.writes.entry(name).or_default() += times;
            }
            Place::Tile => self.tally().kept += times,
            Place::Row | Place::Sums => {
                self.tally().kept += times;
                self.tally().does(format!("keeps {text}"));
            }
        }
    }

    fn load(&mut self, slot: SlotId, times: u64) {
        let found = &self.nest.slots[slot];
        let graph: &Graph = &self.nest.graph;
        let text = graph.operand_text(found.value, &self.numbers);
        self.tally().loaded += times;
        match found.place {
            Place::Output(output) => {
                let name = graph.outputs[output].name.clone();
                self.tally().does(format!("takes {text} from {name}"));
            }
            Place::Tile => {}
            Place::Row | Place::Sums => self.tally().does(format!("takes {text} from scratch")),
        }
    }

    /// A sum over pairs reads a row of each side for each pair, and does two or three flops for each term. Its loops are
    /// the kernel's own, so it has a row for itself.
    fn pairs(&mut self, step: (Id, Option<SlotId>, SlotId), times: u64, (line, at): (usize, usize)) {
        let (fold, weight, into) = step;
        let Some(sum) = pair_sum(&self.nest.graph, fold) else { return };
        let axes = [sum.rows, sum.columns, sum.depth];
        let [rows, columns, depth] = axes.map(|a| self.nest.extents[a.index()] as u64);
        let terms = times * rows * columns * depth;
        let cost = LoopCost {
            line,
            depth: at,
            axis: axes.map(|a| self.nest.graph.axis_name(a)).join(" "),
            extent: terms as usize,
            kernel: true,
            iterations: terms,
            ..LoopCost::default()
        };
        self.loops.push((cost, Tally::default()));
        self.open.push(self.loops.len() - 1);
        sum.x.into_iter().chain([sum.y]).for_each(|read| self.read(read, terms));
        self.tally().flops += terms * if sum.term == Term::Difference { 3 } else { 2 };
        let what = self.folds(fold);
        self.tally().does(what);
        if let Some(slot) = weight {
            self.load(slot, times * rows * columns);
        }
        self.keep(into, times * rows * if weight.is_some() { depth } else { columns });
        self.open.pop();
    }

    /// A row of a native kernel reads its whole planes; for each step it takes the softmax of the classes, and goes through
    /// the lattice of labels forwards and, for a gradient, backwards.
    fn native(&mut self, loss: Option<Id>, grad: Option<usize>, times: u64) {
        let graph = &self.nest.graph;
        let node = self.nest.native_node(loss, grad).and_then(|node| graph.as_native(node));
        let Some((native, axes, args)) = node else { return };
        let [steps, classes, labels] = axes.map(|a| self.nest.extents[a.index()] as u64);
        let (logits, label) = (args[3], args[4]);
        self.tally().does(format!("runs {}", native.name()));
        let plane = times.saturating_mul(steps).saturating_mul(classes).min(MOST);
        let lattice = times.saturating_mul(steps).saturating_mul(labels.saturating_mul(2).saturating_add(1)).min(MOST);
        self.read(logits, plane);
        self.read(label, times.saturating_mul(labels).min(MOST));
        let ways = if grad.is_some() { 2 } else { 1 };
        let tally = self.tally();
        tally.flops += 4 * plane + ways * 6 * lattice;
        tally.math += plane;
        *self.math.entry(Point::Exp).or_default() += plane;
        if let Some(output) = grad {
            self.write(output, plane);
        }
    }
}
