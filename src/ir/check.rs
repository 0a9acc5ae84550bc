//! Type inference for one node, and the verifier that every finished graph passes.

use super::graph::Graph;
use super::node::Node;
use super::op::{Native, Op};
use super::ty::{AxisSet, Kind, Type};
use crate::error::{Error, Result};

/// The type of a node whose arguments are in the graph, or what is wrong with it.
pub(super) fn infer(graph: &Graph, node: &Node) -> Result<Type, String> {
    if let Some(arity) = node.op.arity()
        && arity != node.args.len()
    {
        return Err(format!("{} takes {arity} arguments, not {}", node.op, node.args.len()));
    }
    let kinds: Vec<Kind> = node.args.iter().map(|&a| graph.ty(a).kind).collect();
    let union = |args: &[super::Id]| args.iter().fold(AxisSet::EMPTY, |set, &a| set.union(graph.ty(a).axes));
    let plain = |kind| Ok(Type { kind, axes: AxisSet::EMPTY });
    match node.op {
        Op::Axis(axis) if axis.index() >= graph.axes.len() => Err(format!("axis number {} is unknown", axis.index())),
        Op::Axis(axis) => Ok(Type { kind: Kind::Int, axes: AxisSet::of(axis) }),
        Op::Input(input) if input.index() >= graph.inputs.len() => {
            Err(format!("input number {} is unknown", input.index()))
        }
        Op::Input(_) => plain(Kind::Buffer),
        Op::Float(_) => plain(Kind::Float),
        Op::Int(_) => plain(Kind::Int),
        Op::Read => {
            let Some(Op::Input(input)) = node.args.first().map(|&b| graph.op(b)) else {
                return Err("read needs a buffer first".into());
            };
            let buffer = graph.input(input);
            if buffer.axes.len() != node.args.len() - 1 {
                let (wanted, found) = (buffer.axes.len(), node.args.len() - 1);
                return Err(format!("read {}: {found} indices for {wanted} axes", buffer.name));
            }
            if kinds[1..].iter().any(|&k| k != Kind::Int) {
                return Err(format!("read {}: an index is no integer", buffer.name));
            }
            Ok(Type { kind: buffer.kind, axes: union(&node.args[1..]) })
        }
        Op::Size if graph.as_axis(node.args[0]).is_none() => Err("size needs an axis".into()),
        Op::Size => plain(Kind::Int),
        Op::Fold(fold) => {
            let Some(axis) = graph.as_axis(node.args[0]) else { return Err(format!("{} needs an axis", fold.name())) };
            let body = graph.ty(node.args[1]);
            if body.kind != Kind::Float {
                return Err(format!("{} of {}, not float", fold.name(), body.kind.name()));
            }
            Ok(Type { kind: Kind::Float, axes: body.axes.without(axis) })
        }
        Op::Native(native) => infer_native(graph, native, &node.args, &kinds),
        Op::Point(point) => match point.signature().result(&kinds) {
            Some(kind) => Ok(Type { kind, axes: union(&node.args) }),
            None => {
                let kinds: Vec<_> = kinds.iter().map(|k| k.name()).collect();
                Err(format!("{} does not take {}", point.name(), kinds.join(", ")))
            }
        },
    }
}

fn infer_native(graph: &Graph, native: Native, args: &[super::Id], kinds: &[Kind]) -> Result<Type, String> {
    let name = native.name();
    let axis = |place: usize| graph.as_axis(args[place]).ok_or_else(|| format!("{name} needs three axes first"));
    let [t, c, l] = [axis(0)?, axis(1)?, axis(2)?];
    let wanted = [Kind::Float, Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Float, Kind::Int, Kind::Int];
    if let Some(place) = (3..args.len()).find(|&i| kinds[i] != wanted[i - 3]) {
        return Err(format!("argument {place} of {name} is {}, not {}", kinds[place].name(), wanted[place - 3].name()));
    }
    let axes = |place: usize| graph.ty(args[place]).axes;
    let (plane, row) = (AxisSet::of(t).with(c), AxisSet::of(l));
    let strangers = [axes(3).intersection(row), axes(4).intersection(plane), axes(5).union(axes(6)).union(axes(7))];
    if !strangers[0].is_empty() || !strangers[1].is_empty() || !strangers[2].intersection(plane.union(row)).is_empty() {
        return Err(format!("an argument of {name} varies along an axis of another"));
    }
    let read = Native::BOUND.map(axes).fold(AxisSet::EMPTY, AxisSet::union).minus(plane.union(row));
    Ok(Type { kind: Kind::Float, axes: (Native::BOUND.end..args.len()).map(axes).fold(read, AxisSet::union) })
}

/// Verifies a whole graph: order, types, outputs.
pub fn check(graph: &Graph) -> Result<()> {
    let fail = |problem: String| Err(Error::Declaration { loss: graph.name.clone(), problem });
    for id in graph.ids() {
        let node = graph.node(id);
        if node.args.iter().any(|&a| a >= id) {
            return fail(format!("%{id} uses a later node"));
        }
        match infer(graph, node) {
            Ok(ty) if ty == graph.ty(id) => {}
            Ok(_) => return fail(format!("%{id} has the wrong type")),
            Err(problem) => return fail(format!("%{id}: {problem}")),
        }
    }
    for output in &graph.outputs {
        let ty = graph.ty(output.value);
        let dims: AxisSet = output.axes.iter().copied().collect();
        if dims.len() != output.axes.len() {
            return fail(format!("output {} has an axis twice", output.name));
        }
        if !ty.axes.is_subset(dims) {
            let extra: Vec<_> = ty.axes.minus(dims).iter().map(|a| graph.axis_name(a)).collect();
            return fail(format!("output {} varies along {} too", output.name, extra.join(" ")));
        }
        if ty.kind != Kind::Float {
            return fail(format!("output {} is {}, not float", output.name, ty.kind.name()));
        }
    }
    Ok(())
}
