//! The tracer: holds the graph while a loss is declared, names axes, and turns the shapes that were given into axes.
//!
//! Shapes are needed to trace, because they say which axes of a weight are there to be broadcast, but no extent enters
//! the graph: equal declarations on other sizes give equal graphs.

use super::dtypes;
use super::expr::Expr;
use crate::error::{Error, Result};
use crate::ir::{AxisId, Builder, Dtype, Fold, Graph, Id, InputId, Kind, Native, Op, Origin, Point, Type};
use std::cell::RefCell;

/// An axis of the loss being declared.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Axis(pub(super) AxisId);

/// An input as it is given: name, dtype and shape.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Spec {
    pub name: String,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
}

impl Spec {
    pub fn new(name: &str, dtype: Dtype, shape: &[usize]) -> Self {
        Self { name: name.to_string(), dtype, shape: shape.to_vec() }
    }
}

/// A buffer of the traced graph beside the array that a caller gives for it: the array, read row by row in its own
/// shape, has the elements of the buffer, read row by row along the buffer's axes.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Port {
    pub name: String,
    pub dtype: Dtype,
    /// The shape of the array given.
    pub shape: Vec<usize>,
}

/// What [`Tracer::ctc`] takes.
#[derive(Clone, Copy)]
pub struct Sequence<'t> {
    /// Of time steps, of classes, of labels.
    pub axes: [Axis; 3],
    pub logits: Expr<'t>,
    pub label: Expr<'t>,
    /// How many steps count.
    pub steps: Expr<'t>,
    /// How many labels count; −1 for those before the first −1.
    pub labels: Expr<'t>,
    /// The class of the blank.
    pub blank: Expr<'t>,
}

/// What tracing gives.
#[derive(Clone, Debug)]
pub struct Trace {
    pub graph: Graph,
    /// One per axis of the graph.
    pub extents: Vec<usize>,
    /// One per buffer of the graph.
    pub ports: Vec<Port>,
}

impl Trace {
    /// The dtype of the computation: that of the floating inputs.
    pub fn dtype(&self) -> Dtype {
        let floats = self.graph.inputs.iter().zip(&self.ports).filter(|(input, _)| input.kind == Kind::Float);
        floats.map(|(_, port)| port.dtype).next().unwrap_or(Dtype::F32)
    }
}

/// The extent of an axis and the input that gave it first.
struct Extent {
    size: usize,
    from: String,
}

struct State {
    builder: Builder,
    extents: Vec<Option<Extent>>,
    ports: Vec<Port>,
    asked: Vec<String>,
    along: Option<Vec<AxisId>>,
    error: Option<Error>,
}

/// What a declaration is written against: gives inputs as [`Expr`]s and records what is done with them.
pub struct Tracer {
    name: String,
    given: Vec<Spec>,
    state: RefCell<State>,
}

impl Tracer {
    /// # Errors
    /// An input given twice.
    pub(crate) fn new(name: &str, given: &[Spec]) -> Result<Self> {
        for (i, spec) in given.iter().enumerate() {
            if given[..i].iter().any(|s| s.name == spec.name) {
                return Err(Error::DuplicateInput { input: spec.name.clone() });
            }
        }
        let state = State {
            builder: Builder::new(name),
            extents: vec![],
            ports: vec![],
            asked: vec![],
            along: None,
            error: None,
        };
        Ok(Self { name: name.to_string(), given: given.to_vec(), state: RefCell::new(state) })
    }

    /// Ends the declaration: the graph with one output, `out`.
    pub(crate) fn finish(self, value: Id) -> Result<Trace> {
        let mut state = self.state.into_inner();
        if let Some(error) = state.error.take() {
            return Err(error);
        }
        if let Some(unknown) = self.given.iter().find(|s| !state.asked.contains(&s.name)) {
            let known = state.asked.join(", ");
            return Err(Error::UnknownInput { input: unknown.name.clone(), loss: self.name, known });
        }
        let axes = state.builder.graph().ty(value).axes;
        let axes = state.along.unwrap_or_else(|| axes.iter().collect());
        state.builder.output("out", &axes, value);
        let graph = state.builder.finish()?;
        let size = |(index, extent): (usize, Option<Extent>)| match extent {
            Some(e) => Ok(e.size),
            None => Err(Error::Declaration {
                loss: graph.name.clone(),
                problem: format!("axis {} belongs to no input", graph.axes[index]),
            }),
        };
        let extents = state.extents.into_iter().enumerate().map(size).collect::<Result<_>>()?;
        Ok(Trace { graph, extents, ports: state.ports })
    }

    /// The loss's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// New axes of these names.
    pub fn axes<const N: usize>(&self, names: [&str; N]) -> Result<[Axis; N]> {
        let mut axes = [Axis(AxisId::new(0)); N];
        for (axis, name) in axes.iter_mut().zip(names) {
            *axis = self.axis(name)?;
        }
        Ok(axes)
    }

    /// A new axis. Its extent is that of the first input along it.
    pub fn axis(&self, name: &str) -> Result<Axis> {
        let mut state = self.state.borrow_mut();
        let axis = state.builder.axis(name)?;
        state.extents.push(None);
        Ok(Axis(axis))
    }

    /// A new axis as long as another: a second name for the running index.
    pub fn axis_like(&self, name: &str, other: Axis) -> Result<Axis> {
        let axis = self.axis(name)?;
        let mut state = self.state.borrow_mut();
        state.extents[axis.0.index()] =
            state.extents[other.0.index()].as_ref().map(|e| Extent { size: e.size, from: e.from.clone() });
        Ok(axis)
    }

    /// A new axis of one element.
    pub fn unit_axis(&self, name: &str) -> Result<Axis> {
        let axis = self.axis(name)?;
        self.state.borrow_mut().extents[axis.0.index()] = Some(Extent { size: 1, from: self.name.clone() });
        Ok(axis)
    }

    /// A new axis of a known number of elements: for what is made of several dimensions of an input.
    pub fn axis_of(&self, name: &str, size: usize, from: &str) -> Result<Axis> {
        let axis = self.axis(name)?;
        self.state.borrow_mut().extents[axis.0.index()] = Some(Extent { size, from: from.to_string() });
        Ok(axis)
    }

    /// The axes of the result and their order, where they are not just those it varies along.
    pub fn along<'t>(&'t self, value: Expr<'t>, axes: &[Axis]) -> Expr<'t> {
        self.state.borrow_mut().along = Some(axes.iter().map(|a| a.0).collect());
        value
    }

    /// Whether an optional input was given.
    pub fn has(&self, name: &str) -> bool {
        self.ask(name);
        self.given.iter().any(|s| s.name == name)
    }

    fn ask(&self, name: &str) {
        let asked = &mut self.state.borrow_mut().asked;
        if !asked.iter().any(|a| a == name) {
            asked.push(name.to_string());
        }
    }

    /// The shape in which an input was given.
    ///
    /// # Errors
    /// The input is missing.
    pub fn shape(&self, name: &str) -> Result<&[usize]> {
        Ok(&self.spec(name)?.shape)
    }

    /// The dtype in which an input was given.
    ///
    /// # Errors
    /// The input is missing.
    pub fn dtype(&self, name: &str) -> Result<Dtype> {
        Ok(self.spec(name)?.dtype)
    }

    fn spec(&self, name: &str) -> Result<&Spec> {
        self.ask(name);
        self.given.iter().find(|s| s.name == name).ok_or_else(|| {
            // An optional input that is not there is not needed; what was not asked for yet may be this one, misspelt.
            let is_asked = |s: &&str| self.state.borrow().asked.iter().any(|a| a == s);
            let (known, others): (_, Vec<_>) = self.given.iter().map(|s| &*s.name).chain([name]).partition(is_asked);
            let needed = others.iter().fold(known.join(", "), |list, s| list + "; " + s + " is given");
            Error::MissingInput { input: name.to_string(), loss: self.name.clone(), needed }
        })
    }

    /// A floating input along these axes.
    ///
    /// # Errors
    /// It is missing, of another rank or dtype, or an axis has another extent in an earlier input.
    #[track_caller]
    pub fn float<'t>(&'t self, name: &str, axes: &[Axis]) -> Result<Expr<'t>> {
        self.exactly(name, axes)?;
        self.input(name, axes, Kind::Float)
    }

    /// An input of class numbers along these axes: any integer dtype, or whole floats.
    ///
    /// # Errors
    /// It is missing, of another rank, or an axis has another extent in an earlier input.
    #[track_caller]
    pub fn class<'t>(&'t self, name: &str, axes: &[Axis]) -> Result<Expr<'t>> {
        self.exactly(name, axes)?;
        self.input(name, axes, Kind::Int)
    }

    /// Unifies an input's dimensions with axes, one for one.
    pub(super) fn exactly(&self, name: &str, axes: &[Axis]) -> Result<()> {
        let shape = self.shape(name)?.to_vec();
        if shape.len() != axes.len() {
            let dims: Vec<_> = axes.iter().copied().map(Some).collect();
            return Err(Error::Rank { input: name.to_string(), found: shape, expected: self.rank(&dims) });
        }
        axes.iter().zip(shape).try_for_each(|(&axis, size)| self.unify(name, axis, size))
    }

    /// A number of dimensions with their names: `2 [n c]`.
    fn rank(&self, dims: &[Option<Axis>]) -> String {
        let names: Vec<String> = dims.iter().map(|d| d.map_or("1".into(), |a| self.axis_name(a))).collect();
        format!("{} [{}]", dims.len(), names.join(" "))
    }

    pub(super) fn unify(&self, name: &str, axis: Axis, size: usize) -> Result<()> {
        let mut state = self.state.borrow_mut();
        let extent = &mut state.extents[axis.0.index()];
        match extent {
            None => *extent = Some(Extent { size, from: name.to_string() }),
            Some(known) if known.size == size => {}
            Some(known) => {
                let (other, expected) = (known.from.clone(), known.size);
                let axis = state.builder.graph().axis_name(axis.0).to_string();
                return Err(Error::Extent { input: name.to_string(), axis, found: size, other, expected });
            }
        }
        Ok(())
    }

    /// One element along an axis that nothing has given an extent.
    pub(super) fn or_one(&self, axis: Axis) {
        let from = self.name.clone();
        self.state.borrow_mut().extents[axis.0.index()].get_or_insert(Extent { size: 1, from });
    }

    /// An input whose elements, read row by row, are those along the axes, whatever its shape: for inputs that take
    /// another's shape. The axes must have their extents.
    ///
    /// # Errors
    /// It is missing, of another dtype, or has another number of elements.
    #[track_caller]
    pub fn reshaped<'t>(&'t self, name: &str, axes: &[Axis], kind: Kind) -> Result<Expr<'t>> {
        let found = self.shape(name)?.to_vec();
        let wanted: Vec<usize> = axes.iter().map(|&a| self.extent(a)).collect();
        if elements(&found) != elements(&wanted) {
            let problem = format!(
                "has {} elements, but {} are needed, for shape {wanted:?}",
                count_text(&found),
                count_text(&wanted)
            );
            return Err(Error::Shape { input: name.to_string(), found, problem });
        }
        self.input(name, axes, kind)
    }

    /// An input with these dimensions, where `None` stands for a dimension of one element, which may be left out when
    /// all such are.
    ///
    /// # Errors
    /// It is missing, of another rank or dtype, or a dimension has another extent.
    #[track_caller]
    pub fn aligned<'t>(&'t self, name: &str, dims: &[Option<Axis>], kind: Kind) -> Result<Expr<'t>> {
        let shape = self.shape(name)?.to_vec();
        let axes: Vec<Axis> = dims.iter().copied().flatten().collect();
        if shape.len() == dims.len() {
            for (place, (&dim, &size)) in dims.iter().zip(&shape).enumerate() {
                match dim {
                    Some(axis) => self.unify(name, axis, size)?,
                    None if size == 1 => {}
                    None => {
                        let problem = format!("has {size} elements at dimension {place}, but 1 is needed");
                        return Err(Error::Shape { input: name.to_string(), found: shape, problem });
                    }
                }
            }
        } else if shape.len() == axes.len() {
            self.exactly(name, &axes)?;
        } else {
            let short: Vec<_> = axes.iter().copied().map(Some).collect();
            let expected = format!("{} or {}", self.rank(&short), self.rank(dims));
            return Err(Error::Rank { input: name.to_string(), found: shape, expected });
        }
        self.input(name, &axes, kind)
    }

    /// An input of numpy's broadcasting, one way: aligned at the right, each of its dimensions is 1 or the axis's.
    /// `None` among the axes stands for a dimension of one element. The result is `None` where the input does not fit.
    ///
    /// # Errors
    /// It is missing or of another dtype.
    #[track_caller]
    pub fn broadcast<'t>(&'t self, name: &str, axes: &[Option<Axis>]) -> Result<Option<Expr<'t>>> {
        let shape = self.shape(name)?.to_vec();
        if shape.len() > axes.len() {
            return Ok(None);
        }
        let mut along = vec![];
        for (&axis, &size) in axes[axes.len() - shape.len()..].iter().zip(&shape) {
            match axis {
                _ if size == 1 => {}
                Some(axis) if self.extent(axis) == size => along.push(axis),
                _ => return Ok(None),
            }
        }
        self.input(name, &along, Kind::Float).map(Some)
    }

    #[track_caller]
    fn input<'t>(&'t self, name: &str, axes: &[Axis], kind: Kind) -> Result<Expr<'t>> {
        let input = self.declare(name, axes, kind)?;
        let mut state = self.state.borrow_mut();
        state.builder.at(Origin::here());
        let indices = axes.iter().map(|a| state.builder.index(a.0)).collect::<Result<Vec<_>>>()?;
        let id = state.builder.read(input, &indices)?;
        Ok(Expr { id, tracer: self })
    }

    /// The buffer of an input along these axes: the one that is there, or a new one.
    pub(super) fn declare(&self, name: &str, axes: &[Axis], kind: Kind) -> Result<InputId> {
        let spec = self.spec(name)?;
        let axes: Vec<AxisId> = axes.iter().map(|a| a.0).collect();
        let mut state = self.state.borrow_mut();
        dtypes::check(spec, kind, &state.builder.graph().inputs, &state.ports)?;
        match state.builder.graph().find_input(name) {
            Some(known) if state.builder.graph().input(known).axes == axes => Ok(known),
            _ => {
                let port = Port { name: name.to_string(), dtype: spec.dtype, shape: spec.shape.clone() };
                state.ports.push(port);
                state.builder.input(name, &axes, kind)
            }
        }
    }

    /// The extent of an axis that some input has given.
    ///
    /// # Panics
    /// Where no input has yet: an axis is declared, then given its extent by an input, then asked for.
    pub fn extent(&self, axis: Axis) -> usize {
        self.state.borrow().extents[axis.0.index()].as_ref().expect("an input along the axis comes first").size
    }

    pub fn axis_name(&self, axis: Axis) -> String {
        self.state.borrow().builder.graph().axis_name(axis.0).to_string()
    }

    /// A float constant.
    #[track_caller]
    pub fn number(&self, value: f64) -> Expr<'_> {
        self.record(|builder| builder.float(value))
    }

    /// An integer constant.
    #[track_caller]
    pub fn integer(&self, value: i64) -> Expr<'_> {
        self.record(|builder| builder.int(value))
    }

    /// The running index along an axis: an integer.
    #[track_caller]
    pub fn index(&self, axis: Axis) -> Expr<'_> {
        self.record(|builder| builder.index(axis.0))
    }

    /// The extent of an axis as a value: an integer.
    #[track_caller]
    pub fn size(&self, axis: Axis) -> Expr<'_> {
        self.record(|builder| builder.size(axis.0))
    }

    /// The CTC loss of sequences of unnormalised logits: −log of the probability of all alignments of the label, for
    /// every index that `logits` and `label` have beside the axes t of steps, c of classes and l of labels.
    #[track_caller]
    pub fn ctc<'t>(&'t self, sequence: Sequence<'t>) -> Expr<'t> {
        let Sequence { axes, logits, label, steps, labels, blank } = sequence;
        let [t, c, l] = axes;
        let [t, c, l] = [self.index(t).id, self.index(c).id, self.index(l).id];
        let args = [t, c, l, logits.id, label.id, steps.id, labels.id, blank.id];
        self.add(Op::Native(Native::Ctc), &args)
    }

    /// A node of a graph that has an origin of its own.
    pub(super) fn add_from(&self, origin: Option<Origin>, op: Op, args: &[Id]) -> Result<Id> {
        let mut state = self.state.borrow_mut();
        origin.into_iter().for_each(|origin| state.builder.at(origin));
        state.builder.add(op, args)
    }

    #[track_caller]
    pub(super) fn point(&self, point: Point, args: &[Id]) -> Expr<'_> {
        self.add(Op::Point(point), args)
    }

    #[track_caller]
    pub(super) fn add(&self, op: Op, args: &[Id]) -> Expr<'_> {
        self.record(|builder| builder.add(op, args))
    }

    #[track_caller]
    pub(super) fn fold<'t>(&'t self, fold: Fold, axis: Axis, body: Expr<'t>) -> Expr<'t> {
        self.record(|builder| builder.fold(fold, axis.0, body.id))
    }

    #[track_caller]
    pub(super) fn substitute<'t>(&'t self, value: Expr<'t>, axis: Axis, index: Expr<'t>) -> Expr<'t> {
        self.record(|builder| builder.substitute(value.id, &[(axis.0, index.id)]))
    }

    pub(super) fn type_of(&self, id: Id) -> Type {
        self.state.borrow().builder.graph().ty(id)
    }

    /// Adds to the graph; keeps the first mistake, which `finish` reports.
    #[track_caller]
    fn record(&self, add: impl FnOnce(&mut Builder) -> Result<Id>) -> Expr<'_> {
        let mut state = self.state.borrow_mut();
        state.builder.at(Origin::here());
        let id = add(&mut state.builder).or_else(|error| {
            state.error.get_or_insert(error);
            state.builder.float(f64::NAN)
        });
        // The constant above is the only way on; where even that finds no room, node 0 stands in and `finish` fails.
        Expr { id: id.unwrap_or(Id::from(0)), tracer: self }
    }
}

fn elements(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size))
}

fn count_text(shape: &[usize]) -> String {
    elements(shape).map_or("too many".into(), |n| n.to_string())
}
