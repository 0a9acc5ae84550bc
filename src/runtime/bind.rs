//! Bind: what buffers are to be, from a traced loss and the arrays given; and whether given ones are that.

use super::pipeline::port_of;
use super::view::{Dims, Inputs, View, ViewMut, row_major};
use crate::error::{Error, Result};
use crate::grad::{HEAD, grad_name, saved_name};
use crate::ir::{AxisId, Dtype, Graph};
use crate::jit::Binding;
use crate::nest::Layout;
use crate::trace::{Port, Spec, Trace};
use smallvec::SmallVec;

/// One buffer of a program: the array that a caller gives for it, without its contents.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Buffer {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    /// In elements.
    pub strides: Vec<isize>,
}

impl Buffer {
    /// A row-major array.
    pub fn new(name: &str, dtype: Dtype, shape: &[usize]) -> Self {
        let strides = row_major(shape).to_vec();
        Self { name: name.to_string(), dtype, shape: shape.to_vec(), strides }
    }

    /// The same array with other strides, in elements.
    pub fn with_strides(self, strides: &[isize]) -> Self {
        Self { strides: strides.to_vec(), ..self }
    }

    /// The buffers in which these arrays lie.
    pub fn of(inputs: &Inputs) -> Vec<Self> {
        inputs.iter().map(|(name, view)| Self::of_view(name, view)).collect()
    }

    /// The number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    fn of_view(name: &str, view: &View) -> Self {
        Self::new(name, view.dtype, &view.shape).with_strides(&view.strides)
    }

    pub(super) fn of_output(name: &str, view: &ViewMut) -> Self {
        Self::new(name, view.dtype, &view.shape).with_strides(&view.strides)
    }

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
}

/// The buffers of a program: of every input of its graph and of every output, in their order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Signature {
    pub inputs: Vec<Buffer>,
    pub outputs: Vec<Buffer>,
    /// Outputs that are written over an input, by their places: (output, input). A caller gives such an array once, as
    /// the output; it holds the input when the call begins.
    pub in_place: Vec<(usize, usize)>,
}

impl Signature {
    /// The buffers for arrays given, with outputs as given, in order, or row-major where none are. The gradients of the
    /// inputs named in `in_place` lie where these do.
    pub(super) fn new(
        trace: &Trace,
        graph: &Graph,
        given: &[Buffer],
        outputs: &[Buffer],
        in_place: &[String],
    ) -> Result<Self> {
        let mut bound: Vec<Buffer> = vec![];
        for input in &graph.inputs {
            let port = port_of(trace, &input.name, &input.axes);
            let wanted = Buffer::new(&port.name, port.dtype, &port.shape);
            let found = match given.iter().find(|b| b.name == port.name) {
                Some(found) => found.clone(),
                None if is_ours(trace, &port.name) => wanted.clone(),
                None => return Err(missing(&graph.name, &port)),
            };
            let ours = is_ours(trace, &port.name);
            let fits = found.dtype == port.dtype || (ours && found.dtype == port.dtype.computed());
            if found.shape != port.shape || (!fits && port.dtype.is_float()) {
                wanted.check(found.dtype, &found.shape, &found.strides)?;
            }
            bound.push(found);
        }
        let mut results: Vec<Buffer> = vec![];
        let mut shared = vec![];
        for (place, output) in graph.outputs.iter().enumerate() {
            let port = port_of(trace, &output.name, &output.axes);
            let wanted = Buffer::new(&port.name, port.dtype, &port.shape);
            let over = bound.iter().position(|b| {
                in_place.contains(&b.name) && [grad_name(&b.name), saved_name(&b.name)].contains(&output.name)
            });
            shared.extend(over.map(|input| (place, input)));
            let strides = match (over, outputs.get(place)) {
                (Some(input), _) => bound[input].strides.clone(),
                (None, Some(given)) => given.strides.clone(),
                (None, None) => wanted.strides.clone(),
            };
            let mut buffer = Buffer { strides, ..wanted };
            // An output of a loss of 16 bits may be as wide as the arithmetic.
            if over.is_none()
                && let Some(given) = outputs.get(place)
                && given.dtype == port.dtype.computed()
            {
                buffer.dtype = given.dtype;
            }
            if let Some(given) = outputs.get(place) {
                buffer.check(given.dtype, &given.shape, &given.strides)?;
            }
            results.push(buffer);
        }
        if let Some(name) = in_place.iter().find(|name| shared.iter().all(|(_, i)| bound[*i].name != **name)) {
            let problem = "to be overwritten with its gradient, which is not asked for".into();
            return Err(Error::Layout { input: name.clone(), problem });
        }
        Ok(Self { inputs: bound, outputs: results, in_place: shared })
    }

    /// The same with the loss and its head as wide as the arithmetic: other programs go on from the one to the other.
    pub(super) fn with_computed_loss(mut self) -> Self {
        let head = self.inputs.iter_mut().filter(|input| input.name == HEAD);
        let loss = self.outputs.iter_mut().filter(|output| output.name == "out");
        head.chain(loss).for_each(|buffer| buffer.dtype = buffer.dtype.computed());
        self
    }

    /// The addresses of every input and output, in order, of arrays that are as they should be.
    ///
    /// # Errors
    /// One is missing, unknown, given twice, or has another dtype, shape or strides.
    pub(super) fn addresses(
        &self,
        loss: &str,
        inputs: &Inputs,
        outputs: &mut [ViewMut],
    ) -> Result<SmallVec<[*mut u8; 16]>> {
        let mut addresses: SmallVec<[*mut u8; 16]> = SmallVec::new();
        for (place, buffer) in self.inputs.iter().enumerate() {
            if self.is_in_place(place) {
                addresses.push(std::ptr::null_mut()); // that of its output, below
                continue;
            }
            let view = find(inputs, &buffer.name).ok_or_else(|| self.missing(loss, &buffer.name))?;
            buffer.check(view.dtype, &view.shape, &view.strides)?;
            addresses.push(view.start.cast_mut());
        }
        if outputs.len() != self.outputs.len() {
            let problem = format!("{} are given, but {} are needed", outputs.len(), self.outputs.len());
            return Err(Error::Layout { input: "outputs".into(), problem });
        }
        for (buffer, view) in self.outputs.iter().zip(outputs) {
            buffer.check(view.dtype, &view.shape, &view.strides)?;
            addresses.push(view.start);
        }
        for &(output, input) in &self.in_place {
            addresses[input] = addresses[self.inputs.len() + output];
        }
        self.all_known(loss, inputs)?;
        Ok(addresses)
    }

    fn is_in_place(&self, input: usize) -> bool {
        self.in_place.iter().any(|(_, i)| *i == input)
    }

    fn missing(&self, loss: &str, name: &str) -> Error {
        Error::MissingInput { input: name.to_string(), loss: loss.to_string(), needed: self.listed() }
    }

    /// The inputs that a caller gives.
    fn listed(&self) -> String {
        let given = self.inputs.iter().enumerate().filter(|(place, _)| !self.is_in_place(*place));
        given.map(|(_, b)| b.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Every input given is one of the signature's, and none is given twice.
    fn all_known(&self, loss: &str, inputs: &Inputs) -> Result<()> {
        if inputs.len() + self.in_place.len() == self.inputs.len() {
            return Ok(()); // each of the signature's was found
        }
        for (place, (name, _)) in inputs.iter().enumerate() {
            if inputs[..place].iter().any(|(n, _)| n == name) {
                return Err(Error::DuplicateInput { input: name.to_string() });
            }
            match self.inputs.iter().position(|b| b.name == *name) {
                Some(place) if self.is_in_place(place) => {
                    let problem = "is given as an input too, but lies where its gradient is written".into();
                    return Err(Error::Layout { input: name.to_string(), problem });
                }
                Some(_) => {}
                None => {
                    let (input, loss, known) = (name.to_string(), loss.to_string(), self.listed());
                    return Err(Error::UnknownInput { input, loss, known });
                }
            }
        }
        Ok(())
    }

    /// The inputs with those that lie in an output.
    pub(super) fn with_in_place<'v>(
        &'v self,
        inputs: &Inputs<'v>,
        outputs: &'v [ViewMut],
    ) -> SmallVec<[(&'v str, View<'v>); 8]> {
        let mut all: SmallVec<[(&str, View); 8]> = inputs.iter().cloned().collect();
        let shared = self.in_place.iter().map(|&(output, input)| (self.inputs[input].name.as_str(), &outputs[output]));
        all.extend(shared.map(|(name, view)| (name, view.as_view())));
        all
    }

    /// The strides along the graph's axes.
    pub(super) fn binding(&self, trace: &Trace, graph: &Graph) -> Result<Binding> {
        let along = |buffer: &Buffer, axes: &[AxisId]| {
            let extents: Vec<usize> = axes.iter().map(|a| trace.extents[a.index()]).collect();
            reshape(&buffer.shape, &buffer.strides, &extents).ok_or_else(|| Error::Layout {
                input: buffer.name.clone(),
                problem: format!(
                    "with strides {:?} its shape {:?} cannot be read as {extents:?} without a copy",
                    buffer.strides, buffer.shape
                ),
            })
        };
        let inputs = self.inputs.iter().zip(&graph.inputs).map(|(b, i)| along(b, &i.axes)).collect::<Result<_>>()?;
        let outputs = self.outputs.iter().zip(&graph.outputs).map(|(b, o)| along(b, &o.axes)).collect::<Result<_>>()?;
        let dtypes = self.inputs.iter().map(|b| b.dtype).collect();
        let narrow = self.outputs.iter().enumerate().filter(|(_, b)| b.dtype.is_half()).map(|(i, b)| (i, b.dtype));
        let layout = Layout { inputs, outputs, in_place: self.in_place.clone(), narrow: narrow.collect() };
        Ok(Binding { real: trace.dtype().computed(), widen: true, inputs: dtypes, layout })
    }
}

/// Whether a buffer comes from another half of the program or from the caller's own gradient, not from the loss.
fn is_ours(trace: &Trace, name: &str) -> bool {
    trace.ports.iter().all(|p| p.name != name)
}

fn missing(loss: &str, port: &Port) -> Error {
    Error::MissingInput { input: port.name.clone(), loss: loss.to_string(), needed: port.name.clone() }
}

pub(super) fn find<'v, 'a>(inputs: &'v Inputs<'a>, name: &str) -> Option<&'v View<'a>> {
    inputs.iter().find(|(n, _)| *n == name).map(|(_, view)| view)
}

/// What tracing needs of the inputs.
pub(super) fn specs(inputs: &[Buffer]) -> Vec<Spec> {
    inputs.iter().map(|b| Spec::new(&b.name, b.dtype, &b.shape)).collect()
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
