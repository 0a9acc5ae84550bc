//! Native kernels: one row by its definition in [`ctc`](crate::oracle::ctc).

use super::{Done, Machine, Number};
use crate::ir::{AxisId, Id, Native};
use crate::oracle::ctc::ctc;
use ndarray::Array2;

impl Machine<'_> {
    pub(super) fn native(&mut self, loss: Option<Id>, grad: Option<usize>) -> Done {
        let node = self.nest.native_node(loss, grad).ok_or("a native kernel for nothing")?;
        let (_, [t, c, l], args) = self.nest.graph.as_native(node).ok_or("a native kernel that is none")?;
        let [most_steps, classes, most_labels] = [t, c, l].map(|axis| self.nest.extents[axis.index()]);
        let number = |id: Id| self.get(id)?.int();
        let (steps, labels, blank) = (number(args[5])?, number(args[6])?, number(args[7])?);
        let within = |n: i64, most: usize| {
            usize::try_from(n).ok().filter(|&n| n <= most).ok_or_else(|| format!("{n} is out of range: 0 to {most}"))
        };
        let steps = within(steps, most_steps)?;

        let mut word = vec![];
        for place in 0..if labels == -1 { most_labels } else { within(labels, most_labels)? } {
            let entry = self.read_at(args[4], &[(l, place)])?.int()?;
            if entry == -1 && labels == -1 {
                break;
            }
            word.push(within(entry, classes.saturating_sub(1))?);
        }
        let mut logits = Array2::zeros((steps, classes));
        for ((step, class), logit) in logits.indexed_iter_mut() {
            *logit = self.read_at(args[3], &[(t, step), (c, class)])?.float()?;
        }
        let (value, slope) = ctc(logits.view(), &word, within(blank, classes.saturating_sub(1))?);
        if let Some(output) = grad {
            let (_, _, args) = self.gradient_of(output)?;
            let head = self.get(args[8])?.float()?;
            let element = |step: usize, class: usize| match slope.get((step, class)) {
                Some(slope) if value != f64::INFINITY => head * slope,
                _ => 0.0,
            };
            for step in 0..most_steps {
                for class in 0..classes {
                    let place = self.fixed(&[(t, step), (c, class)], |m| m.output_place(output))?;
                    let memory = &mut self.outputs[output];
                    if std::mem::replace(&mut memory.stored[place], true) {
                        return Err(format!("output {output} is stored twice"));
                    }
                    memory.elements[place] = Some(element(step, class));
                }
            }
        }
        loss.map_or(Ok(()), |loss| self.define(loss, Number::Float(value)))
    }

    fn gradient_of(&self, output: usize) -> Done<(Native, [AxisId; Native::AXES], Vec<Id>)> {
        let graph = &self.nest.graph;
        let value = graph.outputs.get(output).ok_or("a gradient without an output")?.value;
        let (native, axes, args) = graph.as_native(value).ok_or("a native gradient that is none")?;
        Ok((native, axes, args.to_vec()))
    }

    fn read_at(&mut self, read: Id, indices: &[(AxisId, usize)]) -> Done<Number> {
        self.fixed(indices, |m| m.read(read))
    }

    /// Does something at some more indices.
    fn fixed<T>(&mut self, indices: &[(AxisId, usize)], run: impl FnOnce(&Self) -> Done<T>) -> Done<T> {
        let outside = self.at.clone();
        indices.iter().for_each(|(axis, index)| self.at[axis.index()] = Some(*index));
        let result = run(self);
        self.at = outside;
        result
    }
}
