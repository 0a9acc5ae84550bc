//! What a node costs: its work, times a weight for every axis along which the work is done again. A form that loses
//! its digits or overflows costs more than any that does not.

use super::facts::{Egraph, Fact};
use crate::ir::{AxisSet, Bits, Fold, Graph, Id, Node, Op, Point, Work};

/// The weight of one axis: the work of a row counts as that of so many elements.
const AXIS: u64 = 16;
const MATH: u64 = 20;
/// More than any stable formula of sensible size.
const UNSTABLE: u64 = 1 << 40;

/// The cost of one node of an e-graph, without its arguments.
pub fn cost(egraph: &Egraph, node: &Node) -> u64 {
    let facts: Vec<&Fact> = node.args.iter().map(|&a| &egraph[a].data).collect();
    let axes: Vec<AxisSet> = facts.iter().map(|f| f.axes).collect();
    work(node.op, &axes) + if unstable(node.op, &facts) { UNSTABLE } else { 0 }
}

/// The cost of a whole graph, stability aside; what is shared counts once.
pub fn graph_cost(graph: &Graph) -> u64 {
    let axes = |id: Id| graph.node(id).args.iter().map(|&a| graph.ty(a).axes).collect::<Vec<_>>();
    graph.ids().map(|id| work(graph.op(id), &axes(id))).sum()
}

fn work(op: Op, args: &[AxisSet]) -> u64 {
    let domain = args.iter().fold(AxisSet::EMPTY, |set, &a| set.union(a));
    let often = AXIS.saturating_pow(domain.len() as u32);
    let each = match op {
        Op::Axis(_) | Op::Input(_) | Op::Float(_) | Op::Int(_) => 0,
        Op::Size => 1,
        Op::Read => 2,
        Op::Fold(Fold::Sum | Fold::Amax) => 1,
        Op::Fold(Fold::Lse) => MATH + 3,
        // There is no other form of it; what counts is that it runs once.
        Op::Native(_) => 100 * MATH,
        Op::Point(point) => match point.work() {
            Work::Flops(n) => u64::from(n),
            Work::Math => MATH,
            Work::Composite => 2 * MATH,
        },
    };
    each.saturating_mul(often)
}

fn unstable(op: Op, args: &[&Fact]) -> bool {
    match op {
        Op::Point(Point::Log | Point::Log1p) => args[0].exponential,
        Op::Point(Point::Div) => args[0].exponential && args[1].exponential,
        Op::Point(Point::Sub) => args[0].constant.map(Bits::get) == Some(1.0) && args[1].exponential,
        _ => false,
    }
}
