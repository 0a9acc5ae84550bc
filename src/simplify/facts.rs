//! What is known of every value while rewriting: its kind, the axes it may vary along, constants, and two properties
//! that rules and costs ask for. An egg analysis.

use crate::ir::fold_constants::on_floats;
use crate::ir::{AxisId, AxisSet, Bits, Fold, Id, Kind, Native, Node, Op, Origins, Point};
use egg::{Analysis, DidMerge, EGraph};

/// The kinds of the graph's buffers, by number.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub inputs: Vec<Kind>,
}

/// The reason, in an explanation, for a value to be the constant that arithmetic on constants gives.
pub const ARITHMETIC: &str = "arithmetic on constants";

/// What is known of one value.
#[derive(Clone, PartialEq, Debug)]
pub struct Fact {
    pub kind: Kind,
    /// The value varies along no other axes.
    pub axes: AxisSet,
    /// The axis, where the value is a plain running index.
    pub axis: Option<AxisId>,
    pub constant: Option<Bits>,
    /// Greater than 0 wherever it is a number.
    pub positive: bool,
    /// A sum, product or quotient of exponentials: its logarithm has a better form.
    pub exponential: bool,
    /// Where the forms of the value that are known come from. No rule and no cost looks at it.
    pub origins: Origins,
}

pub type Egraph = EGraph<Node, Facts>;

impl Analysis<Node> for Facts {
    type Data = Fact;

    fn make(egraph: &mut Egraph, node: &Node, _: Id) -> Fact {
        let of = |i: usize| &egraph[node.args[i]].data;
        let axes = node.args.iter().fold(AxisSet::EMPTY, |set, &a| set.union(egraph[a].data.axes));
        let value = |kind| Fact {
            kind,
            axes,
            axis: None,
            constant: None,
            positive: false,
            exponential: false,
            origins: Origins::default(),
        };
        match node.op {
            Op::Axis(axis) => Fact { axes: AxisSet::of(axis), axis: Some(axis), ..value(Kind::Int) },
            Op::Input(_) => value(Kind::Buffer),
            Op::Float(x) => Fact { constant: Some(x), positive: x.get() > 0.0, ..value(Kind::Float) },
            Op::Int(_) => value(Kind::Int),
            Op::Read => {
                let buffer = egraph[node.args[0]].nodes.iter().find_map(|n| match n.op {
                    Op::Input(input) => egraph.analysis.inputs.get(input.index()).copied(),
                    _ => None,
                });
                value(buffer.unwrap_or(Kind::Float))
            }
            Op::Size => Fact { axes: AxisSet::EMPTY, positive: true, ..value(Kind::Int) },
            Op::Fold(fold) => {
                let free = of(0).axis.map_or(axes, |axis| of(1).axes.without(axis));
                let summed = fold == Fold::Sum;
                Fact {
                    axes: free,
                    positive: summed && of(1).positive,
                    exponential: summed && of(1).exponential,
                    ..value(Kind::Float)
                }
            }
            Op::Native(_) => Fact { axes: native_axes(egraph, node).unwrap_or(axes), ..value(Kind::Float) },
            Op::Point(point) => {
                let args: Vec<&Fact> = node.args.iter().map(|&a| &egraph[a].data).collect();
                let kinds: Vec<Kind> = args.iter().map(|f| f.kind).collect();
                let constants: Option<Vec<f64>> = args.iter().map(|f| f.constant.map(Bits::get)).collect();
                let constant = constants.and_then(|c| on_floats(point, &c));
                Fact {
                    constant: constant.map(Bits::new),
                    positive: positive(point, &args) || constant.is_some_and(|c| c > 0.0),
                    exponential: exponential(point, &args),
                    ..value(point.signature().result(&kinds).unwrap_or(Kind::Float))
                }
            }
        }
    }

    fn merge(&mut self, a: &mut Fact, b: Fact) -> DidMerge {
        let mut origins = a.origins.clone();
        origins.unite(&b.origins);
        let merged = Fact {
            kind: a.kind,
            axes: a.axes.intersection(b.axes),
            axis: a.axis.or(b.axis),
            constant: a.constant.or(b.constant),
            positive: a.positive || b.positive,
            exponential: a.exponential || b.exponential,
            origins,
        };
        let changed = DidMerge(*a != merged, b != merged);
        *a = merged;
        changed
    }

    /// A value known to be constant is the constant: arithmetic on constants would breed more of them without end.
    fn modify(egraph: &mut Egraph, id: Id) {
        if let Some(constant) = egraph[id].data.constant {
            let leaf = egraph.add(Node::leaf(Op::Float(constant)));
            egraph.union_trusted(id, leaf, ARITHMETIC);
            egraph[id].nodes.retain(|node| node.op.is_leaf());
        }
    }
}

/// The axes along which a native kernel's value varies, as its arguments have them.
pub fn native_axes(egraph: &Egraph, node: &Node) -> Option<AxisSet> {
    let facts = |places: std::ops::Range<usize>| {
        node.args[places].iter().fold(AxisSet::EMPTY, |set, &a| set.union(egraph[a].data.axes))
    };
    let axis = |place: usize| egraph[node.args[place]].data.axis;
    let bound: AxisSet = (0..Native::AXES).map(axis).collect::<Option<Vec<_>>>()?.into_iter().collect();
    Some(facts(Native::BOUND).minus(bound).union(facts(Native::BOUND.end..node.args.len())))
}

fn positive(point: Point, args: &[&Fact]) -> bool {
    match point {
        Point::Exp | Point::Sigmoid | Point::Softplus => true,
        Point::Add | Point::Mul | Point::Div | Point::Min => args.iter().all(|f| f.positive),
        Point::Max => args.iter().any(|f| f.positive),
        Point::Sqrt | Point::Float | Point::Log1p | Point::Expm1 => args[0].positive,
        Point::Select => args[1].positive && args[2].positive,
        _ => false,
    }
}

fn exponential(point: Point, args: &[&Fact]) -> bool {
    let one = |f: &Fact| f.constant.map(Bits::get) == Some(1.0);
    match point {
        Point::Exp | Point::Sigmoid => true,
        Point::Add | Point::Sub => args.iter().any(|f| f.exponential) && args.iter().all(|f| f.exponential || one(f)),
        Point::Mul => args.iter().all(|f| f.exponential),
        Point::Div => args[0].exponential || (args[1].exponential && one(args[0])),
        _ => false,
    }
}
