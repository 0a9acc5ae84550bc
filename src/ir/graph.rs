//! A graph: a list of nodes in which arguments stand before their users, with the names of its axes and buffers and
//! its outputs. Built through [`Builder`], which shares equal nodes, folds constants and puts the operands of
//! commutative ops in one order; finished graphs are numbered canonically and verified.

use super::node::{Id, Node};
use super::op::{Bits, Fold, Native, Op, Point};
use super::origin::{Origin, Origins};
use super::ty::{AxisId, AxisSet, InputId, Kind, MAX_AXES, Type};
use super::{check, fold_constants};
use crate::error::{Error, Result};
use std::collections::HashMap;

/// A buffer that a graph reads: its name, the axes that give its extents, and the kind of its elements.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Input {
    pub name: String,
    pub axes: Vec<AxisId>,
    pub kind: Kind,
}

/// A buffer that a graph writes: `value` along `axes`, in that order.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Output {
    pub name: String,
    pub axes: Vec<AxisId>,
    pub value: Id,
}

/// The most nodes a graph may have.
pub const MAX_NODES: usize = 20_000;
/// The most buffers a graph may read.
pub const MAX_INPUTS: usize = 64;

/// A loss, or a loss with its gradients, in index notation over named axes. Extents are no part of it.
#[derive(Clone, Debug)]
pub struct Graph {
    pub name: String,
    pub axes: Vec<String>,
    pub inputs: Vec<Input>,
    pub nodes: Vec<Node>,
    pub types: Vec<Type>,
    pub outputs: Vec<Output>,
    /// Where each node comes from; equality does not look at it.
    pub origins: Vec<Origins>,
    /// What the numbers in `origins` stand for.
    pub places: Vec<Origin>,
}

impl PartialEq for Graph {
    fn eq(&self, other: &Self) -> bool {
        let Self { name, axes, inputs, nodes, types, outputs, origins: _, places: _ } = self;
        *name == other.name
            && *axes == other.axes
            && *inputs == other.inputs
            && *nodes == other.nodes
            && *types == other.types
            && *outputs == other.outputs
    }
}

impl Graph {
    pub fn node(&self, id: Id) -> &Node {
        &self.nodes[usize::from(id)]
    }

    pub fn op(&self, id: Id) -> Op {
        self.node(id).op
    }

    pub fn ty(&self, id: Id) -> Type {
        self.types[usize::from(id)]
    }

    /// The places of the declaration that a node comes from.
    pub fn origins_of(&self, id: Id) -> impl Iterator<Item = Origin> {
        self.origins[usize::from(id)].iter().map(|place| self.places[place])
    }

    pub fn ids(&self) -> impl Iterator<Item = Id> + use<> {
        (0..self.nodes.len()).map(Id::from)
    }

    pub fn axis_name(&self, axis: AxisId) -> &str {
        &self.axes[axis.index()]
    }

    pub fn input(&self, id: InputId) -> &Input {
        &self.inputs[id.index()]
    }

    pub fn find_input(&self, name: &str) -> Option<InputId> {
        self.inputs.iter().position(|i| i.name == name).map(InputId::new)
    }

    /// The axes of every buffer, inputs then outputs.
    pub fn buffers(&self) -> impl Iterator<Item = &Vec<AxisId>> + Clone {
        self.inputs.iter().map(|i| &i.axes).chain(self.outputs.iter().map(|o| &o.axes))
    }

    /// The axis that an argument names, where it is a plain axis.
    pub fn as_axis(&self, id: Id) -> Option<AxisId> {
        match self.op(id) {
            Op::Axis(a) => Some(a),
            _ => None,
        }
    }

    /// A fold's parts: which, the axis it binds, its body.
    pub fn as_fold(&self, id: Id) -> Option<(Fold, AxisId, Id)> {
        let node = self.node(id);
        match node.op {
            Op::Fold(fold) => Some((fold, self.as_axis(node.args[0])?, node.args[1])),
            _ => None,
        }
    }

    /// A native kernel's parts: which, the axes it binds, all its arguments.
    pub fn as_native(&self, id: Id) -> Option<(Native, [AxisId; Native::AXES], &[Id])> {
        let node = self.node(id);
        match node.op {
            Op::Native(native) => {
                let axis = |place: usize| self.as_axis(node.args[place]);
                Some((native, [axis(0)?, axis(1)?, axis(2)?], &node.args))
            }
            _ => None,
        }
    }

    /// The axes that a node binds, and the arguments in which it does.
    fn binding(&self, id: Id) -> Option<(AxisSet, std::ops::Range<usize>)> {
        match (self.as_fold(id), self.as_native(id)) {
            (Some((_, axis, _)), _) => Some((AxisSet::of(axis), 1..2)),
            (_, Some((_, axes, _))) => Some((axes.into_iter().collect(), Native::BOUND)),
            _ => None,
        }
    }

    /// A pointwise node's op and arguments.
    pub fn as_point(&self, id: Id) -> Option<(Point, &[Id])> {
        let node = self.node(id);
        match node.op {
            Op::Point(p) => Some((p, &node.args)),
            _ => None,
        }
    }

    /// A read's buffer and indices.
    pub fn as_read(&self, id: Id) -> Option<(InputId, &[Id])> {
        let node = self.node(id);
        match (node.op, node.args.first().map(|&b| self.op(b))) {
            (Op::Read, Some(Op::Input(input))) => Some((input, &node.args[1..])),
            _ => None,
        }
    }

    pub fn as_float(&self, id: Id) -> Option<f64> {
        match self.op(id) {
            Op::Float(x) => Some(x.get()),
            _ => None,
        }
    }
}

/// Makes graphs, node by node.
#[derive(Clone, Debug)]
pub struct Builder {
    graph: Graph,
    known: HashMap<Node, Id>,
    /// Where the nodes made now come from.
    from: Origins,
}

impl Builder {
    pub fn new(name: &str) -> Self {
        let graph = Graph {
            name: name.to_string(),
            axes: vec![],
            inputs: vec![],
            nodes: vec![],
            types: vec![],
            outputs: vec![],
            origins: vec![],
            places: vec![],
        };
        Self { graph, known: HashMap::new(), from: Origins::default() }
    }

    /// An empty graph with the tables of another: same axes, same buffers, nothing computed.
    pub fn like(graph: &Graph) -> Self {
        let mut builder = Self::new(&graph.name);
        builder.graph.axes = graph.axes.clone();
        builder.graph.inputs = graph.inputs.clone();
        builder.graph.places = graph.places.clone();
        builder
    }

    /// A copy of a graph to add to; its nodes keep their ids.
    pub fn from(graph: &Graph) -> Self {
        let known = graph.ids().map(|id| (graph.node(id).clone(), id)).collect();
        Self { graph: graph.clone(), known, from: Origins::default() }
    }

    /// Every node asked for from now on comes from this place too.
    pub fn at(&mut self, origin: Origin) {
        let known = self.graph.places.iter().rposition(|&place| place == origin);
        let place = known.unwrap_or_else(|| {
            self.graph.places.push(origin);
            self.graph.places.len() - 1
        });
        self.from = Origins::of(place);
    }

    /// Every node asked for from now on comes from these too.
    pub fn made_from(&mut self, origins: &Origins) {
        self.from.clone_from(origins);
    }

    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// A new axis. A name that is taken gets a number behind it.
    pub fn axis(&mut self, name: &str) -> Result<AxisId> {
        if self.graph.axes.len() == MAX_AXES {
            return Err(self.problem(format!("more than {MAX_AXES} axes")));
        }
        let taken = |candidate: &str| self.graph.axes.iter().any(|a| a == candidate);
        let unique = (2..).map(|i| format!("{name}{i}")).find(|n| !taken(n)).filter(|_| taken(name));
        self.graph.axes.push(unique.unwrap_or_else(|| name.to_string()));
        Ok(AxisId::new(self.graph.axes.len() - 1))
    }

    pub fn input(&mut self, name: &str, axes: &[AxisId], kind: Kind) -> Result<InputId> {
        if self.graph.inputs.len() == MAX_INPUTS {
            return Err(self.problem(format!("more than {MAX_INPUTS} inputs")));
        }
        if self.graph.find_input(name).is_some() {
            return Err(self.problem(format!("input {name} is declared twice")));
        }
        if !matches!(kind, Kind::Float | Kind::Int) {
            return Err(self.problem(format!("input {name} cannot hold {}", kind.name())));
        }
        self.graph.inputs.push(Input { name: name.to_string(), axes: axes.to_vec(), kind });
        Ok(InputId::new(self.graph.inputs.len() - 1))
    }

    pub fn output(&mut self, name: &str, axes: &[AxisId], value: Id) {
        self.graph.outputs.push(Output { name: name.to_string(), axes: axes.to_vec(), value });
    }

    /// The node of an op and its arguments: one that is there already, a constant, or a new one.
    pub fn add(&mut self, op: Op, args: &[Id]) -> Result<Id> {
        let mut node = Node::new(op, args);
        if let Op::Point(p) = op
            && p.commutes()
            && args.len() == 2
        {
            node.args.sort_by_key(|&id| (!self.is_constant(id), id));
        }
        if let Some(same) = fold_constants::fold(&self.graph, &node) {
            return match same {
                fold_constants::Folded::Leaf(op) => self.intern(Node::leaf(op)),
                fold_constants::Folded::Same(id) => Ok(id),
            };
        }
        self.intern(node)
    }

    /// The node exactly as written: shared, but neither folded nor reordered.
    pub fn intern(&mut self, node: Node) -> Result<Id> {
        if let Some(&id) = self.known.get(&node) {
            self.graph.origins[usize::from(id)].unite(&self.from);
            return Ok(id);
        }
        if self.graph.nodes.len() == MAX_NODES {
            return Err(self.problem(format!("more than {MAX_NODES} nodes")));
        }
        let ty = check::infer(&self.graph, &node).map_err(|problem| self.problem(problem))?;
        let id = Id::from(self.graph.nodes.len());
        self.graph.nodes.push(node.clone());
        self.graph.types.push(ty);
        self.graph.origins.push(self.from.clone());
        self.known.insert(node, id);
        Ok(id)
    }

    fn is_constant(&self, id: Id) -> bool {
        matches!(self.graph.op(id), Op::Float(_) | Op::Int(_))
    }

    fn problem(&self, problem: String) -> Error {
        Error::Declaration { loss: self.graph.name.clone(), problem }
    }

    pub fn float(&mut self, value: f64) -> Result<Id> {
        self.intern(Node::leaf(Op::Float(Bits::new(value))))
    }

    pub fn int(&mut self, value: i64) -> Result<Id> {
        self.intern(Node::leaf(Op::Int(value)))
    }

    pub fn index(&mut self, axis: AxisId) -> Result<Id> {
        self.intern(Node::leaf(Op::Axis(axis)))
    }

    pub fn size(&mut self, axis: AxisId) -> Result<Id> {
        let axis = self.index(axis)?;
        self.add(Op::Size, &[axis])
    }

    pub fn read(&mut self, input: InputId, indices: &[Id]) -> Result<Id> {
        let mut args = vec![self.intern(Node::leaf(Op::Input(input)))?];
        args.extend(indices);
        self.add(Op::Read, &args)
    }

    pub fn fold(&mut self, fold: Fold, axis: AxisId, body: Id) -> Result<Id> {
        let axis = self.index(axis)?;
        self.add(Op::Fold(fold), &[axis, body])
    }

    pub fn point(&mut self, point: Point, args: &[Id]) -> Result<Id> {
        self.add(Op::Point(point), args)
    }

    /// The value with indices put in place of axes, all at once. Bound axes stay.
    ///
    /// # Errors
    /// Where an index would be captured: it varies along an axis that a fold inside the value binds.
    pub fn substitute(&mut self, value: Id, with: &[(AxisId, Id)]) -> Result<Id> {
        let mut done = HashMap::new();
        self.substitute_in(value, with, &mut done)
    }

    fn substitute_in(&mut self, value: Id, with: &[(AxisId, Id)], done: &mut HashMap<(Id, AxisSet), Id>) -> Result<Id> {
        let free = self.graph.ty(value).axes;
        let with: Vec<_> = with.iter().copied().filter(|(a, _)| free.contains(*a)).collect();
        if with.is_empty() {
            return Ok(value);
        }
        let key = (value, with.iter().map(|(a, _)| *a).collect());
        if let Some(&id) = done.get(&key) {
            return Ok(id);
        }
        let node = self.graph.node(value).clone();
        let mut copied = self.from.clone();
        copied.unite(&self.graph.origins[usize::from(value)]);
        let result = match (node.op, self.graph.binding(value)) {
            (Op::Axis(axis), _) => with.iter().find(|(a, _)| *a == axis).map_or(value, |(_, index)| *index),
            (_, Some((bound, inside))) => {
                let mut args = node.args.clone();
                for (place, arg) in args.iter_mut().enumerate().skip(inside.start) {
                    *arg = if inside.contains(&place) {
                        let free: Vec<_> = with.iter().copied().filter(|(a, _)| !bound.contains(*a)).collect();
                        self.check_capture(*arg, &free, bound)?;
                        self.substitute_in(*arg, &free, done)?
                    } else {
                        self.substitute_in(*arg, &with, done)?
                    };
                }
                self.add_from(copied, node.op, &args)?
            }
            _ => {
                let args: Result<Vec<_>> = node.args.iter().map(|&a| self.substitute_in(a, &with, done)).collect();
                self.add_from(copied, node.op, &args?)?
            }
        };
        done.insert(key, result);
        Ok(result)
    }

    fn add_from(&mut self, origins: Origins, op: Op, args: &[Id]) -> Result<Id> {
        let outside = std::mem::replace(&mut self.from, origins);
        let added = self.add(op, args);
        self.from = outside;
        added
    }

    /// No index put into `value` may vary along an axis that is bound there.
    fn check_capture(&self, value: Id, with: &[(AxisId, Id)], bound: AxisSet) -> Result<()> {
        let free = self.graph.ty(value).axes;
        for (axis, index) in with.iter().filter(|(axis, _)| free.contains(*axis)) {
            if let Some(captured) = self.graph.ty(*index).axes.intersection(bound).iter().next() {
                let (axis, captured) = (self.graph.axis_name(*axis), self.graph.axis_name(captured));
                return Err(
                    self.problem(format!("index in place of {axis} varies along {captured}, which is bound there"))
                );
            }
        }
        Ok(())
    }

    /// The finished graph: what the outputs do not need is dropped, the rest numbered in order of need, and all of it
    /// verified.
    pub fn finish(self) -> Result<Graph> {
        let canonical = canonical(&self.graph);
        check::check(&canonical)?;
        Ok(canonical)
    }
}

/// The graph renumbered depth first from its outputs, so that equal graphs are equal lists.
fn canonical(graph: &Graph) -> Graph {
    let mut place: HashMap<Id, Id> = HashMap::new();
    let mut nodes: Vec<Node> = vec![];
    let mut types = vec![];
    let mut origins = vec![];
    let mut stack: Vec<(Id, bool)> = graph.outputs.iter().rev().map(|o| (o.value, false)).collect();
    while let Some((id, ready)) = stack.pop() {
        if place.contains_key(&id) {
            continue;
        }
        let node = graph.node(id);
        if !ready {
            stack.push((id, true));
            stack.extend(node.args.iter().rev().map(|&a| (a, false)));
            continue;
        }
        place.insert(id, Id::from(nodes.len()));
        nodes.push(Node { op: node.op, args: node.args.iter().map(|a| place[a]).collect() });
        types.push(graph.ty(id));
        origins.push(graph.origins[usize::from(id)].clone());
    }
    let outputs = graph.outputs.iter().map(|o| Output { value: place[&o.value], ..o.clone() }).collect();
    Graph {
        name: graph.name.clone(),
        axes: graph.axes.clone(),
        inputs: graph.inputs.clone(),
        nodes,
        types,
        outputs,
        origins,
        places: graph.places.clone(),
    }
}
