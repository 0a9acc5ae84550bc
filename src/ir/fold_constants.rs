//! What needs no rewriting system: arithmetic on constants and the neutral elements, decided as a node is made.
//!
//! Only identities that hold for every float are here: `x·1`, `x − 0`, `x + 0` (up to the sign of a zero).

use super::graph::Graph;
use super::node::{Id, Node};
use super::op::{Bits, Op, Point};

/// What a node comes to.
pub(super) enum Folded {
    Leaf(Op),
    Same(Id),
}

pub(super) fn fold(graph: &Graph, node: &Node) -> Option<Folded> {
    let Op::Point(point) = node.op else { return None };
    let floats: Option<Vec<f64>> = node.args.iter().map(|&a| graph.as_float(a)).collect();
    if let Some(value) = floats.and_then(|args| on_floats(point, &args)) {
        return Some(Folded::Leaf(Op::Float(Bits::new(value))));
    }
    if let (Point::Float, &[a]) = (point, &node.args[..])
        && let Op::Int(i) = graph.op(a)
    {
        return Some(Folded::Leaf(Op::Float(Bits::new(i as f64))));
    }
    neutral(graph, point, &node.args).map(Folded::Same)
}

/// Arithmetic on float constants; elementary functions are left to the machine that runs them.
pub fn on_floats(point: Point, args: &[f64]) -> Option<f64> {
    Some(match (point, args) {
        (Point::Neg, [x]) => -x,
        (Point::Abs, [x]) => x.abs(),
        (Point::Sqrt, [x]) => x.sqrt(),
        (Point::Add, [x, y]) => x + y,
        (Point::Sub, [x, y]) => x - y,
        (Point::Mul, [x, y]) => x * y,
        (Point::Div, [x, y]) => x / y,
        _ => return None,
    })
}

fn neutral(graph: &Graph, point: Point, args: &[Id]) -> Option<Id> {
    let is = |id: Id, value: f64| graph.as_float(id) == Some(value);
    match (point, args) {
        (Point::Add, &[x, y]) if is(x, 0.0) => Some(y),
        (Point::Add | Point::Sub, &[x, y]) if is(y, 0.0) => Some(x),
        (Point::Mul, &[x, y]) if is(x, 1.0) => Some(y),
        (Point::Mul | Point::Div, &[x, y]) if is(y, 1.0) => Some(x),
        (Point::Select, &[_, x, y]) if x == y => Some(x),
        _ => None,
    }
}
