//! Bind: what buffers are to be, from a traced loss and the arrays given; and whether given ones are that.

use super::view::{Dims, Inputs, View, ViewMut, row_major};
use crate::error::{Error, Result};
use crate::grad::grad_name;
use crate::ir::{Dtype, Graph};
use crate::jit::Binding;
use crate::nest::Layout;
use crate::runtime::pipeline;
use crate::trace::{Port, Spec, Trace};

/// One buffer of a program: the array that a caller gives for it.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Buffer {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// In elements.
    pub strides: Vec<isize>,
}

impl Buffer {
    /// Whether an array has this place in memory; strides along one element or none do not matter.
    pub(super) fn is_like(&self, dtype: Dtype, shape: &[usize], strides: &[isize]) -> bool {
        let empty = shape.contains(&0);
        let matter = |size: usize| size > 1 && !empty;
        let same = self.strides.iter().zip(strides).zip(shape).all(|((a, b), &n)| a == b || !matter(n));
        self.dtype == dtype && self.shape == shape && same
    }

    /// # Errors
    /// The array has another dtype, shape or strides.
    pub(super) fn check(&self, dtype: Dtype, shape: &[usize], strides: &[isize]) -> Result<()> {
        if self.is_like(dtype, shape, strides) {
            return Ok(());
        }
        let input = self.name.clone();
        Err(if self.dtype != dtype {
            Error::Dtype { input, found: dtype.name(), expected: self.dtype.to_string() }
        } else if self.shape != shape {
            let problem = format!("does not fit: {:?} is needed", self.shape);
            Error::Shape { input, found: shape.to_vec(), problem }
        } else {
            Error::Layout {
                input,
                problem: format!("strides {strides:?}, but this was compiled for {:?}", self.strides),
            }
        })
    }

    pub(super) fn is_row_major(&self) -> bool {
        self.is_like(self.dtype, &self.shape, &row_major(&self.shape))
    }

    fn of_view(name: &str, view: &View) -> Self {
        let (shape, strides) = (view.shape.to_vec(), view.strides.to_vec());
        Self { name: name.to_string(), dtype: view.dtype, shape, strides }
    }

    fn row_major(name: &str, dtype: Dtype, shape: Vec<usize>) -> Self {
        let strides = row_major(&shape).to_vec();
        Self { name: name.to_string(), dtype, shape, strides }
    }
}

/// The buffers of a program: of every input of its graph and of every output, in their order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Signature {
    pub inputs: Vec<Buffer>,
    pub outputs: Vec<Buffer>,
}

impl Signature {
    /// The buffers for arrays given, with outputs as given, in order, or row-major where none are.
    pub(super) fn new(trace: &Trace, joint: &Graph, inputs: &Inputs, outputs: &[ViewMut]) -> Result<Self> {
        let mut bound = vec![];
        for port in pipeline::ports(trace, joint) {
            let view = find(inputs, &port.name).ok_or_else(|| missing(&joint.name, &port))?;
            if view.shape() != port.shape || (view.dtype != port.dtype && port.dtype.is_float()) {
                let buffer = Buffer::row_major(&port.name, port.dtype, port.shape);
                buffer.check(view.dtype, &view.shape, &view.strides)?;
            }
            bound.push(Buffer::of_view(&port.name, view));
        }
        let mut results = vec![];
        for (place, wanted) in Self::results(trace, joint).into_iter().enumerate() {
            match outputs.get(place) {
                None => results.push(wanted),
                Some(given) => {
                    let strides = given.strides.to_vec();
                    let buffer = Buffer { strides, ..wanted };
                    buffer.check(given.dtype, &given.shape, &given.strides)?;
                    results.push(buffer);
                }
            }
        }
        Ok(Self { inputs: bound, outputs: results })
    }

    /// The buffers of row-major arrays, as the loss was traced for them.
    pub(super) fn row_major(trace: &Trace, joint: &Graph) -> Self {
        let input = |port: Port| Buffer::row_major(&port.name, port.dtype, port.shape);
        let inputs = pipeline::ports(trace, joint).into_iter().map(input).collect();
        Self { inputs, outputs: Self::results(trace, joint) }
    }

    /// Row-major outputs.
    fn results(trace: &Trace, joint: &Graph) -> Vec<Buffer> {
        let shape_of = |name: &str| match trace.ports.iter().find(|p| grad_name(&p.name) == name) {
            Some(port) => port.shape.clone(),
            None => pipeline::output_shape(trace),
        };
        let result = |name: &str| Buffer::row_major(name, trace.dtype(), shape_of(name));
        joint.outputs.iter().map(|output| result(&output.name)).collect()
    }

    /// The strides along the graph's axes.
    pub(super) fn binding(&self, trace: &Trace, joint: &Graph) -> Result<Binding> {
        let along = |buffer: &Buffer, axes: &[crate::ir::AxisId]| {
            let extents: Vec<usize> = axes.iter().map(|a| trace.extents[a.index()]).collect();
            reshape(&buffer.shape, &buffer.strides, &extents).ok_or_else(|| Error::Layout {
                input: buffer.name.clone(),
                problem: format!(
                    "with strides {:?} its shape {:?} cannot be read as {extents:?} without a copy",
                    buffer.strides, buffer.shape
                ),
            })
        };
        let inputs = self.inputs.iter().zip(&joint.inputs).map(|(b, i)| along(b, &i.axes)).collect::<Result<_>>()?;
        let outputs = self.outputs.iter().zip(&joint.outputs).map(|(b, o)| along(b, &o.axes)).collect::<Result<_>>()?;
        let dtypes = self.inputs.iter().map(|b| b.dtype).collect();
        Ok(Binding { real: trace.dtype(), inputs: dtypes, layout: Layout { inputs, outputs } })
    }
}

fn missing(loss: &str, port: &Port) -> Error {
    Error::MissingInput { input: port.name.clone(), loss: loss.to_string(), needed: port.name.clone() }
}

pub(super) fn find<'v, 'a>(inputs: &'v Inputs<'a>, name: &str) -> Option<&'v View<'a>> {
    inputs.iter().find(|(n, _)| *n == name).map(|(_, view)| view)
}

/// What tracing needs of the inputs.
pub(super) fn specs(inputs: &Inputs) -> Vec<Spec> {
    inputs.iter().map(|(name, view)| Spec::new(name, view.dtype, &view.shape)).collect()
}

/// The strides with which the elements of an array, in row-major order of `shape`, are those of another shape; `None`
/// where no strides do that. They are 0 along what is not stepped along.
pub(super) fn reshape(shape: &[usize], strides: &[isize], wanted: &[usize]) -> Option<Vec<isize>> {
    if shape.contains(&0) || wanted.contains(&0) {
        return Some(vec![0; wanted.len()]);
    }
    // Runs of dimensions that step through memory evenly, outermost first: (elements, innermost stride).
    let mut runs: Dims<(usize, isize)> = Dims::new();
    for (&size, &stride) in shape.iter().zip(strides).filter(|(n, _)| **n > 1) {
        match runs.last_mut() {
            Some((count, step)) if *step == stride * size as isize => (*count, *step) = (*count * size, stride),
            _ => runs.push((size, stride)),
        }
    }
    let mut result = vec![0isize; wanted.len()];
    let mut left = 1usize;
    let mut step = 0isize;
    for (stride, &size) in result.iter_mut().zip(wanted).rev() {
        if size == 1 {
            continue;
        }
        if left == 1 {
            (left, step) = runs.pop()?;
        }
        if !left.is_multiple_of(size) {
            return None;
        }
        *stride = step;
        left /= size;
        step *= size as isize;
    }
    (left == 1 && runs.is_empty()).then_some(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reshapes_without_a_copy() {
        assert_eq!(reshape(&[12], &[1], &[3, 4]), Some(vec![4, 1]));
        assert_eq!(reshape(&[3, 4], &[4, 1], &[2, 6]), Some(vec![6, 1]));
        assert_eq!(reshape(&[3, 1], &[7, 9], &[3]), Some(vec![7]));
        assert_eq!(reshape(&[6, 2], &[4, 1], &[2, 3, 2]), Some(vec![12, 4, 1]));
        assert_eq!(reshape(&[3, 4], &[1, 3], &[12]), None);
        assert_eq!(reshape(&[3, 4], &[8, 1], &[12]), None);
        assert_eq!(reshape(&[0, 4], &[4, 1], &[4, 0]), Some(vec![0, 0]));
        assert_eq!(reshape(&[], &[], &[1, 1]), Some(vec![0, 0]));
        assert_eq!(reshape(&[4], &[0], &[2, 2]), Some(vec![0, 0]));
    }
}
