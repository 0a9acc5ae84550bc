//! Random instances of a rule: for each variable an axis, a constant, or a small random expression that honours the
//! guards.

use crate::pattern::{term, typings};
use crate::support::Case;
use lossjit::ir::{AxisId, AxisSet, Builder, Id, Kind, Node, Op, Point};
use lossjit::oracle::graph::Buffer;
use lossjit::simplify::{Guard, Rule, Validity};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// Instances for each rule and each typing of its variables.
const INSTANCES: u64 = 300;

/// The instances of a rule, by typing and seed.
pub fn instances(rule: &Rule) -> impl Iterator<Item = Case> {
    let mut variables = BTreeMap::new();
    term(rule.left).variables(&mut variables);
    let typings = typings(rule, &variables);
    assert!(!typings.is_empty(), "{}: the left side is never well typed", rule.name);
    for typing in &typings {
        let kinds = (term(rule.left).kind(typing), term(rule.right).kind(typing));
        assert_eq!(kinds.0, kinds.1, "{}: the sides are of different kinds where {typing:?}", rule.name);
    }
    let count = typings.len() as u64;
    let instance = move |seed: u64| Instance::new(rule, seed).case(&typings[(seed % count) as usize], &variables);
    (0..INSTANCES * count).map(instance)
}

/// A rule with something put in for each variable: a graph with both sides as outputs.
struct Instance<'r> {
    rule: &'r Rule,
    rng: fastrand::Rng,
    b: Builder,
    axes: Vec<AxisId>,
    extents: Vec<usize>,
    inputs: Vec<Buffer>,
    /// Whether numbers are moderate whatever the rule.
    tame: bool,
}

/// What is put in for each variable.
type Filling = BTreeMap<&'static str, Id>;

/// The left sides of several rules, each inside the next where it has a place for a float: a graph with one output.
pub fn chain(rules: &[&Rule], seed: u64) -> Case {
    let mut instance = Instance { tame: true, ..Instance::new(rules[0], seed) };
    let mut value = None;
    for &rule in rules {
        instance.rule = rule;
        let mut variables = BTreeMap::new();
        term(rule.left).variables(&mut variables);
        let typings = typings(rule, &variables);
        let typing = &typings[instance.rng.usize(..typings.len())];
        let of = instance.fill(typing, &variables, value);
        let left = term(rule.left).build(&mut instance.b, &of);
        value = Some(instance.as_float(left));
    }
    let value = value.expect("a rule");
    let axes: Vec<AxisId> = instance.b.graph().ty(value).axes.iter().collect();
    instance.b.output("out", &axes, value);
    let graph = instance.b.finish().expect("well typed");
    Case { graph, extents: instance.extents, inputs: instance.inputs }
}

impl<'r> Instance<'r> {
    fn new(rule: &'r Rule, seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut b = Builder::new("rule");
        let axes: Vec<AxisId> = ["i", "j", "k"].map(|name| b.axis(name).expect("few axes")).into();
        let extents = axes.iter().map(|_| [0, 1, 2, 3, 3, 5][rng.usize(..6)]).collect();
        Self { rule, rng, b, axes, extents, inputs: vec![], tame: false }
    }

    /// The left side, then the right, along the axes that either varies along.
    fn case(mut self, typing: &BTreeMap<&'static str, Kind>, variables: &BTreeMap<&'static str, bool>) -> Case {
        let of = self.fill(typing, variables, None);
        let sides = [self.rule.left, self.rule.right].map(|side| {
            let value = term(side).build(&mut self.b, &of);
            self.as_float(value)
        });
        let axes = sides.iter().flat_map(|&side| self.b.graph().ty(side).axes.iter().collect::<Vec<_>>());
        let axes: Vec<AxisId> = axes.collect::<AxisSet>().iter().collect();
        self.b.output("left", &axes, sides[0]);
        self.b.output("right", &axes, sides[1]);
        let graph = self.b.finish().unwrap_or_else(|e| panic!("{}: {e}", self.rule.name));
        Case { graph, extents: self.extents, inputs: self.inputs }
    }

    /// Something for each variable; `inside` for one that may be any float.
    fn fill(
        &mut self,
        typing: &BTreeMap<&'static str, Kind>,
        variables: &BTreeMap<&'static str, bool>,
        mut inside: Option<Id>,
    ) -> Filling {
        let mut of = Filling::new();
        let mut axis_of: BTreeMap<&str, AxisId> = BTreeMap::new();
        let mut native = BTreeMap::new();
        term(self.rule.left).roles(&mut native);
        if !native.is_empty() {
            self.extents[1] = self.extents[1].max(1); // the blank is a class
        }
        for (&name, _) in variables.iter().filter(|(_, axis)| **axis) {
            let axis = match native.get(name) {
                Some(&place) => self.axes[place],
                None => self.axes[self.rng.usize(..self.axes.len())],
            };
            axis_of.insert(name, axis);
            of.insert(name, self.b.index(axis).expect("few nodes"));
        }
        for (&name, &role) in &native {
            of.insert(name, self.native_argument(role));
        }
        for (&name, &kind) in typing.iter().filter(|(name, _)| !native.contains_key(*name)) {
            let has = |guard: Guard| self.rule.guards.contains(&guard);
            let free = axis_of.iter().filter(|(axis, _)| has(Guard::FreeOf(name, axis))).map(|(_, a)| *a);
            let bound: Vec<AxisId> = if has(Guard::Scalar(name)) { self.axes.to_vec() } else { free.collect() };
            let takes = |value: &Id| bound.iter().all(|a| !self.b.graph().ty(*value).axes.contains(*a));
            let free = kind == Kind::Float
                && !has(Guard::Constant(name))
                && !has(Guard::Positive(name))
                && !has(Guard::Variable(name));
            if free && let Some(value) = inside.filter(takes) {
                of.insert(name, value);
                inside = None;
                continue;
            }
            let id = match kind {
                Kind::Float if has(Guard::Constant(name)) => self.constant(),
                Kind::Float if has(Guard::Positive(name)) => self.positive(&bound),
                _ if has(Guard::Variable(name)) => self.read(kind, &bound),
                // Now and then two variables stand for the same.
                _ if bound.is_empty() && self.rng.u8(..) < 25 => {
                    self.same(&of, kind).unwrap_or_else(|| self.float(&[]))
                }
                Kind::Float => self.float(&bound),
                Kind::Int => self.int(&bound),
                _ => self.condition(&bound),
            };
            let id = if self.b.graph().ty(id).kind == kind { id } else { self.value(kind, &bound) };
            of.insert(name, id);
        }
        of
    }

    /// An argument of a native kernel over the axes i of steps, j of classes, k of labels: the last class is the blank,
    /// and where there is no other, no label counts.
    fn native_argument(&mut self, role: usize) -> Id {
        let [t, c, l] = [self.axes[0], self.axes[1], self.axes[2]];
        let [steps, classes, labels] = [0, 1, 2].map(|place| self.extents[place]);
        let mut input = |name: &str, axes: &[AxisId], kind: Kind, buffer: Buffer| {
            self.inputs.push(buffer);
            let input = self.b.input(name, axes, kind).expect("few inputs");
            let indices: Vec<Id> = axes.iter().map(|&a| self.b.index(a).expect("few nodes")).collect();
            self.b.read(input, &indices).expect("well typed")
        };
        match role {
            0..3 => self.b.index(self.axes[role]).expect("few nodes"),
            3 => {
                let logits = ArrayD::from_shape_simple_fn(vec![steps, classes], || self.rng.f64() * 4.0 - 2.0);
                input("logits", &[t, c], Kind::Float, Buffer::Float(logits))
            }
            4 => {
                let entry = || self.rng.i64(0..(classes as i64 - 1).max(1));
                input("label", &[l], Kind::Int, Buffer::Int(ArrayD::from_shape_simple_fn(vec![labels], entry)))
            }
            5 => self.b.int(steps as i64).expect("few nodes"),
            6 => self.b.int(if classes < 2 { 0 } else { -1 }).expect("few nodes"),
            7 => self.b.int(classes as i64 - 1).expect("few nodes"),
            8 => self.constant(),
            _ => self.b.index(self.axes[role - 9]).expect("few nodes"),
        }
    }

    /// The value as an output may have it.
    fn as_float(&mut self, value: Id) -> Id {
        match self.b.graph().ty(value).kind {
            Kind::Int => self.node(Op::Point(Point::Float), &[value]),
            Kind::Bool => {
                let (one, zero) = (self.leaf(1.0), self.leaf(0.0));
                self.node(Op::Point(Point::Select), &[value, one, zero])
            }
            _ => value,
        }
    }

    fn node(&mut self, op: Op, args: &[Id]) -> Id {
        self.b.intern(Node::new(op, args)).expect("well typed")
    }

    fn leaf(&mut self, value: f64) -> Id {
        self.b.float(value).expect("few nodes")
    }

    fn same(&mut self, of: &Filling, kind: Kind) -> Option<Id> {
        let alike: Vec<Id> = of.values().copied().filter(|&id| self.b.graph().ty(id).kind == kind).collect();
        // A plain axis is no value of a rule's variable, but an index.
        let alike: Vec<Id> = alike.into_iter().filter(|&id| self.b.graph().as_axis(id).is_none()).collect();
        if alike.is_empty() { None } else { Some(alike[self.rng.usize(..alike.len())]) }
    }

    fn value(&mut self, kind: Kind, bound: &[AxisId]) -> Id {
        match kind {
            Kind::Float => self.float(bound),
            Kind::Int => self.int(bound),
            _ => self.condition(bound),
        }
    }

    /// One number: any float for exact rules, a moderate one for those of the real numbers.
    fn number(&mut self) -> f64 {
        const CORNERS: [f64; 14] = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::NAN,
            1e308,
            -1e308,
            f64::MAX,
            f64::MIN_POSITIVE,
            -5e-324,
            1e-310,
            800.0,
        ];
        match self.rule.validity {
            _ if self.tame => (self.rng.f64() * 6.0 - 3.0) * if self.rng.u8(..8) == 0 { 10.0 } else { 1.0 },
            Validity::Exact if self.rng.bool() => CORNERS[self.rng.usize(..CORNERS.len())],
            Validity::Exact => (self.rng.f64() - 0.5) * 10f64.powi(self.rng.i32(-20..20)),
            Validity::Real => self.rng.f64() * 6.0 - 3.0,
        }
    }

    /// Not 0, which a rule may divide by.
    fn constant(&mut self) -> Id {
        let value = self.number();
        self.leaf(if (self.tame || self.rule.validity == Validity::Real) && value.abs() < 0.1 { 0.5 } else { value })
    }

    /// An element of a new input along random axes, none of them `bound`.
    fn read(&mut self, kind: Kind, bound: &[AxisId]) -> Id {
        let mut axes = self.axes.clone();
        self.rng.shuffle(&mut axes);
        axes.retain(|a| !bound.contains(a));
        axes.truncate(self.rng.usize(..=axes.len()));
        let shape: Vec<usize> = axes.iter().map(|a| self.extents[a.index()]).collect();
        let buffer = match kind {
            Kind::Float => Buffer::Float(ArrayD::from_shape_fn(shape, |_| self.number())),
            _ => Buffer::Int(ArrayD::from_shape_fn(shape, |_| self.rng.i64(-3..4))),
        };
        let name = format!("x{}", self.inputs.len());
        self.inputs.push(buffer);
        let input = self.b.input(&name, &axes, kind).expect("few inputs");
        let indices: Vec<Id> = axes.iter().map(|&a| self.b.index(a).expect("few nodes")).collect();
        self.b.read(input, &indices).expect("well typed")
    }

    fn float(&mut self, bound: &[AxisId]) -> Id {
        match self.rng.u8(0..12) {
            0 => {
                let value = self.number();
                self.leaf(value)
            }
            1 => {
                let whole = self.int(bound);
                self.node(Op::Point(Point::Float), &[whole])
            }
            // A sum inside may bind the very axis that the rule's fold binds.
            2 | 3 => {
                let axis = self.axes[self.rng.usize(..self.axes.len())];
                let others: Vec<AxisId> = bound.iter().copied().filter(|&a| a != axis).collect();
                let body = self.read(Kind::Float, &others);
                self.b.sum(axis, body).expect("well typed")
            }
            4 => {
                let (condition, x, y) = (self.condition(bound), self.read(Kind::Float, bound), self.leaf(0.0));
                self.node(Op::Point(Point::Select), &[condition, x, y])
            }
            5 => self.positive(bound),
            _ => self.read(Kind::Float, bound),
        }
    }

    fn positive(&mut self, bound: &[AxisId]) -> Id {
        let x = self.read(Kind::Float, bound);
        let point = [Point::Exp, Point::Sigmoid, Point::Softplus][self.rng.usize(..3)];
        self.node(Op::Point(point), &[x])
    }

    fn int(&mut self, bound: &[AxisId]) -> Id {
        let free: Vec<AxisId> = self.axes.iter().copied().filter(|a| !bound.contains(a)).collect();
        match self.rng.u8(0..4) {
            0 => self.b.int(self.rng.i64(-3..4)).expect("few nodes"),
            1 if !free.is_empty() => self.b.index(free[self.rng.usize(..free.len())]).expect("few nodes"),
            _ => self.read(Kind::Int, bound),
        }
    }

    fn condition(&mut self, bound: &[AxisId]) -> Id {
        let point = [Point::Lt, Point::Le, Point::Eq][self.rng.usize(..3)];
        let kind = if self.rng.bool() { Kind::Float } else { Kind::Int };
        let mut side = || if kind == Kind::Float { self.read(kind, bound) } else { self.int(bound) };
        let (x, y) = (side(), side());
        self.node(Op::Point(point), &[x, y])
    }
}
