//! What a graph means: each node's value as a whole array, in f64, in the order of the list.
//!
//! This is the definition that the compiled forms are held against, so it does nothing clever: an array along the
//! node's own axes, broadcast by name, folded lane by lane. Sums are compensated.
//!
//! A computed index outside its axis is an error only where its element shows in an output: the read gives a fault in
//! place of the element, faults go where values go, and `select` drops those of the branch not taken.

mod native;
mod point;
mod read;
mod survey;
#[cfg(test)]
mod tests;

pub use survey::{Seen, survey};

use crate::error::{Error, Result};
use crate::ir::{AxisSet, Fold, Graph, Id, InputId, Kind, Op, check};
use ndarray::{ArrayD, ArrayView1, ArrayViewD, Axis, CowArray, IxDyn, Zip};

/// A buffer's elements, along the buffer's axes.
#[derive(Clone, PartialEq, Debug)]
pub enum Buffer {
    Float(ArrayD<f64>),
    Int(ArrayD<i64>),
}

impl Buffer {
    pub fn shape(&self) -> &[usize] {
        match self {
            Buffer::Float(x) => x.shape(),
            Buffer::Int(x) => x.shape(),
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Buffer::Float(_) => Kind::Float,
            Buffer::Int(_) => Kind::Int,
        }
    }
}

/// The most elements one value may have.
const MAX_ELEMENTS: usize = 1 << 31;

/// Memory for more elements than this is tried for first, since the allocator ends the process otherwise.
const LARGE: usize = 1 << 26;

type Array<'a, T> = CowArray<'a, T, IxDyn>;
type Faults = ArrayD<Option<Fault>>;

/// A node's value along its own axes, in the order of the graph's table.
struct Value<'a> {
    axes: AxisSet,
    data: Data<'a>,
    /// Along the same axes; `None` where there is no fault at all.
    faults: Option<Faults>,
}

enum Data<'a> {
    Float(Array<'a, f64>),
    Int(Array<'a, i64>),
    Bool(Array<'a, bool>),
}

/// A read outside a buffer's extent: the index, and where in the index's own array, counted row by row.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Fault {
    input: InputId,
    extent: usize,
    index: Id,
    at: usize,
}

/// Evaluates every output: arrays along the output's axes, in that order.
///
/// `extents` has one number per axis of the graph, `inputs` one buffer per input.
///
/// # Errors
/// A buffer is missing or has another kind or shape than the graph's input; a value would have more than 2³¹ elements;
/// a computed index that an output depends on lies outside its axis. That error names the integer buffer read in the
/// index, where in it the index was read, and the index itself; the first in row-major order of the outputs.
pub fn evaluate(graph: &Graph, extents: &[usize], inputs: &[Buffer]) -> Result<Vec<ArrayD<f64>>> {
    evaluate_seen(graph, extents, inputs, &mut |_, _| ())
}

/// The same, with every node's value shown to `see` once it is there.
fn evaluate_seen(
    graph: &Graph,
    extents: &[usize],
    inputs: &[Buffer],
    see: &mut dyn FnMut(Id, &Value),
) -> Result<Vec<ArrayD<f64>>> {
    check(graph)?;
    check_inputs(graph, extents, inputs)?;
    let mut machine = Machine { graph, extents, inputs, values: graph.ids().map(|_| None).collect() };
    let last_use = last_use(graph);
    for id in graph.ids() {
        machine.values[usize::from(id)] = machine.node(id)?;
        if let Some(value) = &machine.values[usize::from(id)] {
            see(id, value);
        }
        for &arg in graph.node(id).args.iter().filter(|&&a| last_use[usize::from(a)] == Some(id)) {
            machine.values[usize::from(arg)] = None;
        }
    }
    (0..graph.outputs.len()).map(|output| machine.output(output)).collect()
}

fn check_inputs(graph: &Graph, extents: &[usize], inputs: &[Buffer]) -> Result<()> {
    if extents.len() != graph.axes.len() || inputs.len() > graph.inputs.len() {
        let (axes, buffers) = (graph.axes.len(), graph.inputs.len());
        let problem = format!("{} extents, {} buffers for {axes}, {buffers}", extents.len(), inputs.len());
        return Err(Error::internal("oracle", problem));
    }
    for (place, input) in graph.inputs.iter().enumerate() {
        let name = || input.name.clone();
        let buffer = inputs.get(place).ok_or_else(|| {
            let needed: Vec<_> = graph.inputs.iter().map(|i| i.name.as_str()).collect();
            Error::MissingInput { input: name(), loss: graph.name.clone(), needed: needed.join(", ") }
        })?;
        if buffer.kind() != input.kind {
            let expected = input.kind.name().to_string();
            return Err(Error::Dtype { input: name(), found: buffer.kind().name(), expected });
        }
        if buffer.shape().len() != input.axes.len() {
            let expected = input.axes.len().to_string();
            return Err(Error::Rank { input: name(), found: buffer.shape().to_vec(), expected });
        }
        for (&axis, &found) in input.axes.iter().zip(buffer.shape()) {
            let expected = extents[axis.index()];
            if found != expected {
                let axis = graph.axis_name(axis).to_string();
                return Err(Error::Extent { input: name(), axis, found, other: "the graph".into(), expected });
            }
        }
    }
    Ok(())
}

/// By node: the node after which its value is no longer needed, or `None` where it is kept to the end: outputs, and
/// the indices of reads, by which errors are told.
fn last_use(graph: &Graph) -> Vec<Option<Id>> {
    let mut last = vec![None; graph.nodes.len()];
    for id in graph.ids() {
        graph.node(id).args.iter().for_each(|&a| last[usize::from(a)] = Some(id));
    }
    let indices = graph.ids().filter_map(|id| graph.as_read(id)).flat_map(|(_, indices)| indices.iter().copied());
    indices.chain(graph.outputs.iter().map(|o| o.value)).for_each(|id| last[usize::from(id)] = None);
    last
}

struct Machine<'a> {
    graph: &'a Graph,
    extents: &'a [usize],
    inputs: &'a [Buffer],
    values: Vec<Option<Value<'a>>>,
}

impl<'a> Machine<'a> {
    fn value(&self, id: Id) -> &Value<'a> {
        self.values[usize::from(id)].as_ref().expect("an argument stands before its users and is kept for the last")
    }

    /// The extents along some axes.
    ///
    /// # Errors
    /// They make too many elements.
    fn shape(&self, axes: AxisSet) -> Result<Vec<usize>> {
        let shape: Vec<usize> = axes.iter().map(|a| self.extents[a.index()]).collect();
        let elements = shape.iter().filter(|&&n| n > 0).try_fold(1usize, |count, &n| count.checked_mul(n));
        if elements.is_none_or(|count| count > MAX_ELEMENTS) {
            let problem = format!("a value along {shape:?} has more than {MAX_ELEMENTS} elements");
            return Err(Error::Declaration { loss: self.graph.name.clone(), problem });
        }
        if elements > Some(LARGE) && Vec::<f64>::new().try_reserve_exact(elements.unwrap_or(0)).is_err() {
            let problem = format!("a value along {shape:?} needs more memory than there is");
            return Err(Error::Declaration { loss: self.graph.name.clone(), problem });
        }
        Ok(shape)
    }

    fn node(&self, id: Id) -> Result<Option<Value<'a>>> {
        let node = self.graph.node(id);
        let axes = self.graph.ty(id).axes;
        let scalar = |data| Value { axes: AxisSet::EMPTY, data, faults: None };
        let integer = |i: i64| scalar(Data::Int(ArrayD::from_elem(vec![], i).into()));
        Ok(Some(match node.op {
            Op::Input(_) => return Ok(None),
            Op::Axis(_) => {
                let shape = self.shape(axes)?;
                let index = ArrayD::from_shape_fn(shape, |at| at[0] as i64);
                Value { axes, data: Data::Int(index.into()), faults: None }
            }
            Op::Float(x) => scalar(Data::Float(ArrayD::from_elem(vec![], x.get()).into())),
            Op::Int(i) => integer(i),
            Op::Size => {
                let axis = self.graph.as_axis(node.args[0]).expect("verified");
                integer(self.extents[axis.index()] as i64)
            }
            Op::Read => self.read(id)?,
            Op::Fold(_) => self.fold(id)?,
            Op::Native(_) => self.native(id)?,
            Op::Point(point) => {
                let args: Vec<&Value> = node.args.iter().map(|&a| self.value(a)).collect();
                point::apply(point, &args, axes, &self.shape(axes)?)
            }
        }))
    }

    fn fold(&self, id: Id) -> Result<Value<'a>> {
        let (fold, axis, body) = self.graph.as_fold(id).expect("verified");
        let body = self.value(body);
        let domain = body.axes.with(axis);
        let (shape, lane) = (self.shape(domain)?, Axis(domain.iter().take_while(|&a| a != axis).count()));
        let along = match fold {
            Fold::Sum => |x: ArrayView1<f64>| sum(x.iter().copied()),
            Fold::Amax => |x: ArrayView1<f64>| amax(x),
            Fold::Lse => |x: ArrayView1<f64>| log_sum_exp(x),
        };
        let Data::Float(x) = &body.data else { unreachable!("verified") };
        let x = aligned(x.view(), body.axes, domain);
        let x = x.broadcast(shape.clone()).expect("own axes have the domain's extents");
        let data = Data::Float(Zip::from(x.lanes(lane)).map_collect(along).into());
        let faults = body.faults.as_ref().and_then(|faults| {
            let faults = aligned(faults.view(), body.axes, domain);
            let faults = faults.broadcast(shape).expect("own axes have the domain's extents");
            some(Zip::from(faults.lanes(lane)).map_collect(|lane| lane.iter().flatten().next().copied()))
        });
        Ok(Value { axes: domain.without(axis), data, faults })
    }

    fn output(&self, output: usize) -> Result<ArrayD<f64>> {
        let output = &self.graph.outputs[output];
        let value = self.value(output.value);
        let domain: AxisSet = output.axes.iter().copied().collect();
        let shape = self.shape(domain)?;
        let order: Vec<usize> = output.axes.iter().map(|a| domain.iter().take_while(|b| b != a).count()).collect();
        if let Some(faults) = &value.faults {
            let faults = aligned(faults.view(), value.axes, domain);
            let faults = faults.broadcast(shape.clone()).expect("own axes have the domain's extents");
            if let Some(fault) = faults.permuted_axes(order.clone()).iter().flatten().next() {
                return Err(self.label_error(*fault));
            }
        }
        let Data::Float(x) = &value.data else { unreachable!("verified") };
        let x = aligned(x.view(), value.axes, domain);
        let x = x.broadcast(shape).expect("own axes have the domain's extents");
        Ok(x.permuted_axes(order).as_standard_layout().into_owned())
    }
}

/// The array with an axis of one element for every axis of the domain that it does not have.
fn aligned<T>(mut array: ArrayViewD<T>, axes: AxisSet, domain: AxisSet) -> ArrayViewD<T> {
    for (place, _) in domain.iter().enumerate().filter(|(_, axis)| !axes.contains(*axis)) {
        array = array.insert_axis(Axis(place));
    }
    array
}

/// The faults, where there is any.
fn some(faults: Faults) -> Option<Faults> {
    faults.iter().any(Option::is_some).then_some(faults)
}

/// Σ x with the rounding errors summed apart (Neumaier 1974).
fn sum(x: impl Iterator<Item = f64>) -> f64 {
    let (mut total, mut lost) = (0.0f64, 0.0);
    for x in x {
        let next = total + x;
        lost += if total.abs() >= x.abs() { (total - next) + x } else { (x - next) + total };
        total = next;
    }
    if total.is_finite() { total + lost } else { total }
}

fn amax(x: ArrayView1<f64>) -> f64 {
    x.iter().fold(f64::NEG_INFINITY, |top, &x| point::max(top, x))
}

fn log_sum_exp(x: ArrayView1<f64>) -> f64 {
    let top = amax(x);
    if top.is_finite() { top + sum(x.iter().map(|&x| (x - top).exp())).ln() } else { top }
}
