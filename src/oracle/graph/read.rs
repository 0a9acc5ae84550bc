//! Reads, by plain axes or by computed indices.

use super::point::first_of;
use super::{Array, Buffer, Data, Fault, Faults, Machine, Value, aligned};
use crate::error::{Error, Result};
use crate::ir::{AxisId, AxisSet, Id, InputId, Kind};
use ndarray::{ArrayD, Zip};

/// The offset of an element that does not exist.
const NOWHERE: usize = usize::MAX;

impl<'a> Machine<'a> {
    pub(super) fn read(&self, id: Id) -> Result<Value<'a>> {
        let (input, indices) = self.graph.as_read(id).expect("verified");
        let axes = self.graph.ty(id).axes;
        if let Some(order) = self.plain(input, indices) {
            let data = match &self.inputs[input.index()] {
                Buffer::Float(x) => Data::Float(x.view().permuted_axes(order).into()),
                Buffer::Int(x) => Data::Int(x.view().permuted_axes(order).into()),
            };
            return Ok(Value { axes, data, faults: None });
        }
        let shape = self.shape(axes)?;
        let offsets = self.offsets(input, indices, axes, &shape);
        let parts: Vec<_> = indices.iter().enumerate().map(|(dim, &i)| self.out_of_range(input, dim, i)).collect();
        let own = indices.iter().map(|&i| self.value(i).axes);
        let faults = first_of(own.zip(parts.iter().map(Option::as_ref)), axes, &shape);
        let data = match &self.inputs[input.index()] {
            Buffer::Float(x) => Data::Float(gather(x, &offsets, f64::NAN)),
            Buffer::Int(x) => Data::Int(gather(x, &offsets, 0)),
        };
        Ok(Value { axes, data, faults })
    }

    /// Where every index is an axis of its own, as long as the dimension: the order of the dimensions by axis.
    fn plain(&self, input: InputId, indices: &[Id]) -> Option<Vec<usize>> {
        let axes: Vec<AxisId> = indices.iter().map(|&i| self.graph.as_axis(i)).collect::<Option<_>>()?;
        let set: AxisSet = axes.iter().copied().collect();
        let fits = axes.iter().zip(self.inputs[input.index()].shape()).all(|(a, &n)| self.extents[a.index()] == n);
        let place = |axis| axes.iter().position(|&a| a == axis);
        if set.len() == axes.len() && fits { set.iter().map(place).collect() } else { None }
    }

    fn index(&self, id: Id) -> &Array<'a, i64> {
        match &self.value(id).data {
            Data::Int(index) => index,
            _ => unreachable!("verified"),
        }
    }

    /// By element: where in the buffer, row by row, it stands.
    fn offsets(&self, input: InputId, indices: &[Id], axes: AxisSet, shape: &[usize]) -> ArrayD<usize> {
        let mut offsets = ArrayD::zeros(shape);
        for (&id, &extent) in indices.iter().zip(self.inputs[input.index()].shape()) {
            let index = aligned(self.index(id).view(), self.value(id).axes, axes);
            Zip::from(&mut offsets).and_broadcast(index).for_each(|offset, &index| {
                let inside = usize::try_from(index).ok().filter(|&i| i < extent && *offset != NOWHERE);
                *offset = inside.map_or(NOWHERE, |i| *offset * extent + i);
            });
        }
        offsets
    }

    /// The faults of one index along its own axes: those of its parts, else that it lies outside its dimension.
    fn out_of_range(&self, input: InputId, dim: usize, id: Id) -> Option<Faults> {
        let extent = self.inputs[input.index()].shape()[dim];
        let index = self.index(id);
        let inside = |i: i64| usize::try_from(i).is_ok_and(|i| i < extent);
        let earlier = self.value(id).faults.as_ref();
        if earlier.is_none() && index.iter().all(|&i| inside(i)) {
            return None;
        }
        let mut faults = earlier.cloned().unwrap_or_else(|| ArrayD::from_elem(index.raw_dim(), None));
        for (at, (fault, &i)) in faults.iter_mut().zip(index).enumerate() {
            *fault = fault.or((!inside(i)).then_some(Fault { input, extent, index: id, at }));
        }
        Some(faults)
    }

    /// The error of a fault: it names the first integer buffer read in the index, or the buffer itself where the index
    /// is made of axes only.
    pub(super) fn label_error(&self, fault: Fault) -> Error {
        let index = self.index(fault.index);
        let place = unravel(fault.at, index.shape());
        let value = index[&place[..]].to_string();
        let (input, position) = match self.integer_read(fault.index) {
            None => (fault.input, place),
            Some((input, indices)) => {
                let axes = self.value(fault.index).axes;
                let at = |&id: &Id| {
                    let own = self.value(id).axes;
                    let own: Vec<usize> =
                        axes.iter().zip(&place).filter(|(a, _)| own.contains(*a)).map(|(_, &i)| i).collect();
                    self.index(id)[&own[..]].max(0) as usize
                };
                (input, indices.iter().map(at).collect())
            }
        };
        Error::Label { input: self.graph.input(input).name.clone(), position, value, classes: fault.extent }
    }

    /// The first integer read that an integer is made from. (Conditions of `select` only choose.)
    fn integer_read(&self, id: Id) -> Option<(InputId, &[Id])> {
        self.graph.as_read(id).or_else(|| {
            let args = &self.graph.as_point(id)?.1;
            args.iter().filter(|&&a| self.graph.ty(a).kind == Kind::Int).find_map(|&a| self.integer_read(a))
        })
    }
}

/// The elements at the offsets; a stand-in where there is none.
fn gather<'a, T: Copy>(buffer: &ArrayD<T>, offsets: &ArrayD<usize>, stand_in: T) -> Array<'a, T> {
    let rows = buffer.as_standard_layout();
    let elements = rows.as_slice().expect("standard layout");
    offsets.map(|&offset| if offset == NOWHERE { stand_in } else { elements[offset] }).into()
}

/// The indices of the element at a place counted row by row.
fn unravel(mut at: usize, shape: &[usize]) -> Vec<usize> {
    let mut place = vec![0; shape.len()];
    for (index, &extent) in place.iter_mut().zip(shape).rev() {
        (*index, at) = (at % extent, at / extent);
    }
    place
}
