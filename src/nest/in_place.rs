//! In place: outputs that are written where an input lies. Shows of a nest that every element is read for the last time
//! before it is written, and moves the reads that can come sooner.

use super::{Layout, Nest, Place, Source, Step, pair_sum};
use crate::error::{Error, Result};
use crate::ir::{AxisId, Graph, Id, InputId, Op};
use std::collections::BTreeSet;

/// Shows for every output that lies in an input's place that no element is read after it is written.
///
/// An element that both a read and a write index by the axis of a loop around both is theirs alone in each turn of the
/// loop. So where every loop around both is of that kind it is enough that the read comes first in the text of one turn;
/// a loop of another kind may come back to what an earlier turn has written, and is refused.
///
/// # Errors
/// The input, and what reads it too late.
pub fn check_in_place(nest: &Nest, layout: &Layout) -> Result<()> {
    for &(output, input) in &layout.in_place {
        let (written, read) = (&nest.graph.outputs[output], &nest.graph.inputs[input]);
        let refuse = |why: String| Error::Layout {
            input: read.name.clone(),
            problem: format!("{} cannot be written over it: {why}", written.name),
        };
        if written.axes != read.axes || layout.outputs[output] != layout.inputs[input] {
            return Err(refuse("it lies along other axes or strides".into()));
        }
        let accesses = Accesses::of(nest, output, InputId::new(input)).map_err(&refuse)?;
        for write in accesses.found.iter().filter(|a| a.writes) {
            for read in accesses.found.iter().filter(|a| !a.writes) {
                precedes(nest, read, write).map_err(&refuse)?;
            }
        }
    }
    Ok(())
}

/// One step that touches the memory.
struct Access {
    writes: bool,
    /// The loops around it, outermost first, by number and axis.
    loops: Vec<(usize, AxisId)>,
    /// By dimension: the axis that is the index, if it is one.
    index: Vec<Option<AxisId>>,
    /// Its place in the text.
    at: usize,
}

fn precedes(nest: &Nest, read: &Access, write: &Access) -> Result<(), String> {
    let shared = read.loops.iter().zip(&write.loops).take_while(|(a, b)| a == b).map(|(a, _)| a.1);
    let shared: Vec<AxisId> = shared.collect();
    let alone = |axis: &AxisId| read.index.iter().zip(&write.index).any(|(r, w)| r == w && *r == Some(*axis));
    if let Some(axis) = shared.iter().find(|axis| !alone(axis)) {
        let axis = nest.graph.axis_name(*axis);
        return Err(format!("a later turn of the loop over {axis} reads what an earlier one has written"));
    }
    // Threads share the outermost loop; what is outside it runs once for each of them.
    if shared.is_empty() && nest.parallel_axis().is_some() && !(read.loops.is_empty() && write.loops.is_empty()) {
        return Err("a read outside the loop that is cut among threads".into());
    }
    // Every round begins at the top.
    let in_rounds = nest.parts().next().is_some();
    if in_rounds && read.loops.first().is_none_or(|(at, _)| !nest.is_part(*at)) {
        return Err("a read outside the parts that threads share".into());
    }
    // A call reads each part of its tile before it writes it.
    let same_call = read.at == write.at && read.index == write.index;
    if read.at < write.at || same_call {
        return Ok(());
    }
    Err("an element is needed again after its place is written".into())
}

struct Accesses<'n> {
    nest: &'n Nest,
    output: usize,
    input: InputId,
    found: Vec<Access>,
    loops: Vec<(usize, AxisId)>,
    steps: usize,
}

impl<'n> Accesses<'n> {
    fn of(nest: &'n Nest, output: usize, input: InputId) -> Result<Self, String> {
        let mut accesses = Self { nest, output, input, found: vec![], loops: vec![], steps: 0 };
        accesses.body(&nest.body, None)?;
        Ok(accesses)
    }

    fn body(&mut self, body: &[Step], tiled: Option<AxisId>) -> Result<(), String> {
        for step in body {
            self.steps += 1;
            match step {
                Step::Loop { axis, body } | Step::Block { axis, body, .. } | Step::Part { axis, body, .. } => {
                    self.inside(*axis, body, None)?;
                }
                Step::Tile { axis, body } => self.inside(*axis, body, Some(*axis))?,
                Step::Lanes { body } => self.inside(tiled.ok_or("lanes outside a tile")?, body, None)?,
                Step::Pairs { fold, .. } => {
                    let sum = pair_sum(&self.nest.graph, *fold).ok_or("a sum over pairs that is none")?;
                    let reads = sum.x.into_iter().chain([sum.y]).any(|read| self.reads(read).is_some());
                    reads.then(|| self.note(false, vec![None; self.rank()]));
                    writes(self.nest, step, self.output).then(|| self.note(true, vec![None; self.rank()]));
                }
                Step::Native { loss, grad } => {
                    let node = self.nest.native_node(*loss, *grad).ok_or("a native kernel that is none")?;
                    let reads = self.nest.graph.node(node).args.iter().any(|&a| self.reads(a).is_some());
                    if reads && *grad == Some(self.output) {
                        return Err("a kernel written by hand reads its plane more than once".into());
                    }
                    reads.then(|| self.note(false, vec![None; self.rank()]));
                    (*grad == Some(self.output)).then(|| self.note(true, vec![None; self.rank()]));
                }
                step => {
                    if let Some(index) = read_of(step).and_then(|read| self.reads(read)) {
                        self.note(false, index);
                    }
                    if writes(self.nest, step, self.output) {
                        let long = |a: &AxisId| Some(*a).filter(|a| self.nest.extents[a.index()] != 1);
                        let index = self.nest.graph.outputs[self.output].axes.iter().map(long).collect();
                        self.note(true, index);
                    }
                }
            }
        }
        Ok(())
    }

    fn inside(&mut self, axis: AxisId, body: &[Step], tiled: Option<AxisId>) -> Result<(), String> {
        self.loops.push((self.steps, axis));
        self.body(body, tiled)?;
        self.loops.pop();
        Ok(())
    }

    fn rank(&self) -> usize {
        self.nest.graph.input(self.input).axes.len()
    }

    fn note(&mut self, writes: bool, index: Vec<Option<AxisId>>) {
        self.found.push(Access { writes, loops: self.loops.clone(), index, at: self.steps });
    }

    /// The axes by which a read of the input is indexed.
    fn reads(&self, value: Id) -> Option<Vec<Option<AxisId>>> {
        let (_, indices) = self.nest.graph.as_read(value).filter(|(input, _)| *input == self.input)?;
        Some(indices.iter().map(|&i| self.nest.graph.as_axis(i)).collect())
    }
}

/// The read that a step makes.
fn read_of(step: &Step) -> Option<Id> {
    match step {
        Step::Let(value) | Step::Call { from: Source::Read(value), .. } => Some(*value),
        _ => None,
    }
}

/// Whether a step, without those inside it, writes to an output's buffer.
fn writes(nest: &Nest, step: &Step, output: usize) -> bool {
    let there = |slot: &usize| nest.slots[*slot].place == Place::Output(output);
    match step {
        Step::Store { output: o } => *o == output,
        Step::Keep { slot, .. } => there(slot),
        Step::Call { into, .. } => into.as_ref().is_some_and(there),
        Step::Start { slot, .. } | Step::Fold { slot, .. } => slot.as_ref().is_some_and(there),
        Step::Pairs { into, .. } => there(into),
        Step::Native { grad, .. } => *grad == Some(output),
        Step::Loop { .. }
        | Step::Block { .. }
        | Step::Part { .. }
        | Step::Tile { .. }
        | Step::Lanes { .. }
        | Step::Let(_)
        | Step::Load { .. } => false,
    }
}

/// Moves single reads of an input before the first step of their body that writes where it lies: the logit of the label
/// is read before the row becomes its gradient.
pub(super) fn read_first(nest: &mut Nest, layout: &Layout) {
    let mut body = std::mem::take(&mut nest.body);
    for &(output, input) in &layout.in_place {
        move_reads(nest, &mut body, output, InputId::new(input));
    }
    nest.body = body;
}

fn move_reads(nest: &Nest, body: &mut Vec<Step>, output: usize, input: InputId) {
    for step in body.iter_mut() {
        if let Step::Loop { body, .. } | Step::Block { body, .. } = step {
            move_reads(nest, body, output, input);
        }
    }
    let Some(first) = body.iter().position(|step| writes_within(nest, step, output)) else { return };
    let behind: BTreeSet<Id> = body[first..].iter().filter_map(made).collect();
    let lets: BTreeSet<Id> =
        body[first..].iter().filter_map(|s| if let Step::Let(value) = s { Some(*value) } else { None }).collect();
    let mut sooner = BTreeSet::new();
    for &value in &lets {
        if nest.graph.as_read(value).is_some_and(|(read, _)| read == input)
            && let Some(needed) = needed(&nest.graph, value, &behind, &lets)
        {
            sooner.extend(needed);
        }
    }
    let late = body.split_off(first);
    let (moved, rest): (Vec<Step>, Vec<Step>) =
        late.into_iter().partition(|step| matches!(step, Step::Let(value) if sooner.contains(value)));
    body.extend(moved);
    body.extend(rest);
}

pub(super) fn writes_within(nest: &Nest, step: &Step, output: usize) -> bool {
    match step.body() {
        Some(body) => body.iter().any(|step| writes_within(nest, step, output)),
        None => writes(nest, step, output),
    }
}

/// A value that is at hand behind a step, other than the results of its folds.
fn made(step: &Step) -> Option<Id> {
    match step {
        Step::Let(value) | Step::Load { value, .. } => Some(*value),
        Step::Start { fold, .. } | Step::Pairs { fold, .. } => Some(*fold),
        Step::Native { loss, .. } => *loss,
        _ => None,
    }
}

/// A value with all that it needs of what comes behind; `None` where that is more than can be computed sooner.
fn needed(graph: &Graph, value: Id, behind: &BTreeSet<Id>, lets: &BTreeSet<Id>) -> Option<BTreeSet<Id>> {
    let mut needed = BTreeSet::new();
    let mut open = vec![value];
    while let Some(id) = open.pop() {
        if !behind.contains(&id) || matches!(graph.op(id), Op::Input(_)) {
            continue;
        }
        if !lets.contains(&id) {
            return None;
        }
        if needed.insert(id) {
            open.extend(&graph.node(id).args);
        }
    }
    Some(needed)
}
