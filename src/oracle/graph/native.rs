//! Native kernels: each sequence by its definition in [`ctc`](crate::oracle::ctc).

use super::{Data, Machine, Value};
use crate::error::{Error, Result};
use crate::ir::{AxisId, AxisSet, Id, Native};
use crate::oracle::ctc::ctc;
use ndarray::{Array2, ArrayD, Dimension, IxDyn, indices};

/// An index for each axis of the graph; those not fixed are 0.
type Place = Vec<usize>;

/// The loss of one sequence with its derivatives by the logits.
struct Sequence {
    loss: f64,
    slope: Array2<f64>,
}

impl<'a> Machine<'a> {
    pub(super) fn native(&self, id: Id) -> Result<Value<'a>> {
        let (native, axes, args) = self.graph.as_native(id).expect("verified");
        let bound: AxisSet = axes.into_iter().collect();
        let of = |args: &[Id]| args.iter().fold(AxisSet::EMPTY, |set, &a| set.union(self.graph.ty(a).axes));
        let rows = of(&args[Native::BOUND]).minus(bound);
        let mut sequences = vec![];
        let shape = self.shape(rows)?;
        for row in indices(IxDyn(&shape)) {
            sequences.push(self.sequence(axes, args, &self.place(rows, row.slice()))?);
        }
        let sequences = ArrayD::from_shape_vec(shape, sequences).expect("one for each row");

        let domain = self.graph.ty(id).axes;
        let value = |index: IxDyn| {
            let place = self.place(domain, index.slice());
            let row: Vec<usize> = rows.iter().map(|a| place[a.index()]).collect();
            let sequence = &sequences[&row[..]];
            match native {
                Native::Ctc => sequence.loss,
                // No alignment, no slope, whatever the head is multiplied with.
                Native::CtcGrad if sequence.loss == f64::INFINITY => 0.0,
                Native::CtcGrad => {
                    let [head, step, class] = [8, 9, 10].map(|place| args[place]);
                    let slope = [self.integer(step, &place) as usize, self.integer(class, &place) as usize];
                    let steps = self.integer(args[5], &place) as usize;
                    if slope[0] < steps { sequence.slope[slope] * self.float(head, &place) } else { 0.0 }
                }
            }
        };
        let data = ArrayD::from_shape_fn(self.shape(domain)?, value);
        Ok(Value { axes: domain, data: Data::Float(data.into()), faults: None })
    }

    fn sequence(&self, [t, c, l]: [AxisId; 3], args: &[Id], row: &Place) -> Result<Sequence> {
        let [logits, label] = [args[3], args[4]];
        let [most_steps, classes, most_labels] = [t, c, l].map(|a| self.extents[a.index()]);
        let at = |axis: AxisId, index: usize| {
            let mut place = row.clone();
            place[axis.index()] = index;
            place
        };
        let steps = self.length(args[5], row, most_steps, false)?;
        let blank = self.integer(args[7], row);
        if !(0..classes as i64).contains(&blank) {
            return Err(self.fault(args[7], row, blank, format!("is no class for the blank: there are {classes}")));
        }
        let end = |i: &usize| self.integer(label, &at(l, *i)) == -1;
        let labels = match self.length(args[6], row, most_labels, true)? {
            Some(labels) => labels,
            None => (0..most_labels).find(end).unwrap_or(most_labels),
        };
        let mut word = vec![];
        for i in 0..labels {
            let value = self.integer(label, &at(l, i));
            if value < 0 || value >= classes as i64 || value == blank {
                let problem = format!("is no label: there are {classes} classes, and {blank} is the blank");
                return Err(self.fault(label, &at(l, i), value, problem));
            }
            word.push(value as usize);
        }
        let steps = steps.unwrap_or(most_steps);
        let plane = Array2::from_shape_fn((steps, classes), |(step, class)| {
            let mut place = at(t, step);
            place[c.index()] = class;
            self.float(logits, &place)
        });
        let (loss, slope) = ctc(plane.view(), &word, blank as usize);
        Ok(Sequence { loss, slope })
    }

    /// A number of entries that count; `None` for −1, where that may be.
    fn length(&self, id: Id, row: &Place, most: usize, open: bool) -> Result<Option<usize>> {
        let value = self.integer(id, row);
        match usize::try_from(value) {
            Ok(length) if length <= most => Ok(Some(length)),
            _ if open && value == -1 && self.graph.as_read(id).is_none() => Ok(None),
            _ => Err(self.fault(id, row, value, format!("is out of range: 0 to {most}"))),
        }
    }

    /// What is wrong with a number, with its place in the buffer that it was read from.
    fn fault(&self, id: Id, place: &Place, value: i64, problem: String) -> Error {
        let value = value.to_string();
        match self.graph.as_read(id) {
            Some((input, indices)) => {
                let position = indices.iter().map(|&i| self.integer(i, place).max(0) as usize).collect();
                Error::Value { input: self.graph.input(input).name.clone(), position, value, problem }
            }
            None => Error::Declaration { loss: self.graph.name.clone(), problem: format!("{value} {problem}") },
        }
    }

    fn place(&self, axes: AxisSet, index: &[usize]) -> Place {
        let mut place = vec![0; self.extents.len()];
        axes.iter().zip(index).for_each(|(axis, &i)| place[axis.index()] = i);
        place
    }

    fn integer(&self, id: Id, place: &Place) -> i64 {
        match &self.value(id).data {
            Data::Int(x) => x[&self.own(id, place)[..]],
            _ => unreachable!("verified"),
        }
    }

    fn float(&self, id: Id, place: &Place) -> f64 {
        match &self.value(id).data {
            Data::Float(x) => x[&self.own(id, place)[..]],
            _ => unreachable!("verified"),
        }
    }

    /// The index into a value's own array.
    fn own(&self, id: Id, place: &Place) -> Vec<usize> {
        self.value(id).axes.iter().map(|a| place[a.index()]).collect()
    }
}
