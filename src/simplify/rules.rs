//! The rules: directed equations, one a line. There is no commutativity and no associativity; where the order of
//! operands matters, both orders stand here.
//!
//! Most hold for all floats ([`Validity::Exact`]: the same float, up to the sign of a zero). The rest are identities
//! of the real numbers ([`Validity::Real`]): they may round otherwise, and give a number where the left side
//! overflows or is NaN; that is what they are for.

use super::facts::{Egraph, Fact, Facts};
use crate::ir::{AxisSet, Id, Kind, Node};
use egg::{Applier, ENodeOrVar, Pattern, PatternAst, Rewrite, Subst, Symbol, Var};
use std::sync::OnceLock;

/// How far a rule holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Validity {
    /// For every float, up to the sign of a zero.
    Exact,
    /// For the real numbers.
    Real,
}

/// What must be known for a rule to apply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Guard {
    /// The first does not vary along the axis that the second names.
    FreeOf(&'static str, &'static str),
    Positive(&'static str),
    /// A finite constant other than 0. A number of which twice is the same would give products of it without end.
    Constant(&'static str),
    /// No constant. Two constants of a product that changed places would breed others without end.
    Variable(&'static str),
    Float(&'static str),
    /// Varies along no axis.
    Scalar(&'static str),
}

/// One equation, read from left to right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    pub name: &'static str,
    pub left: &'static str,
    pub right: &'static str,
    pub guards: &'static [Guard],
    pub validity: Validity,
}

macro_rules! rules {
    ($($validity:ident $name:literal: $left:literal => $right:literal $(if $($guard:expr),+)?;)*) => {
        /// Every rule of `simplify`.
        pub const RULES: &[Rule] = &[$(Rule {
            name: $name, left: $left, right: $right, guards: &[$($($guard),+)?], validity: Validity::$validity,
        }),*];
    };
}

use Guard::{Constant, Float, FreeOf, Positive, Scalar, Variable};

rules! {
    // Signs move outward and meet.
    Exact "negation of a negation": "(neg (neg ?x))" => "?x";
    Exact "product with a negation": "(mul ?a (neg ?b))" => "(neg (mul ?a ?b))";
    Exact "product with a negation on the left": "(mul (neg ?a) ?b)" => "(neg (mul ?a ?b))";
    Exact "quotient of a negation": "(div (neg ?a) ?b)" => "(neg (div ?a ?b))";
    Exact "quotient by a negation": "(div ?a (neg ?b))" => "(neg (div ?a ?b))";
    Exact "sum with a negation": "(add ?a (neg ?b))" => "(sub ?a ?b)";
    Exact "sum with a negation on the left": "(add (neg ?a) ?b)" => "(sub ?b ?a)";
    Exact "difference with a negation": "(sub ?a (neg ?b))" => "(add ?a ?b)";
    Exact "difference from a negation": "(sub (neg ?a) ?b)" => "(neg (add ?a ?b))";
    Exact "negation of a difference": "(neg (sub ?a ?b))" => "(sub ?b ?a)";
    Exact "sum of negations along an axis": "(sum ?i (neg ?x))" => "(neg (sum ?i ?x))";
    Exact "negations in both branches": "(select ?c (neg ?a) (neg ?b))" => "(neg (select ?c ?a ?b))";
    Exact "negation or nothing": "(select ?c (neg ?a) 0.0)" => "(neg (select ?c ?a 0.0))";
    Exact "nothing or negation": "(select ?c 0.0 (neg ?a))" => "(neg (select ?c 0.0 ?a))";
    Exact "absolute value of a negation": "(abs (neg ?x))" => "(abs ?x)";
    Exact "sign of a negation": "(sign (neg ?x))" => "(neg (sign ?x))";

    // Constants and equal operands.
    Exact "product with one": "(mul 1.0 ?x)" => "?x";
    Exact "product with one on the right": "(mul ?x 1.0)" => "?x";
    Exact "quotient by one": "(div ?x 1.0)" => "?x";
    Exact "sum with zero": "(add 0.0 ?x)" => "?x";
    Exact "sum with zero on the right": "(add ?x 0.0)" => "?x";
    Exact "difference with zero": "(sub ?x 0.0)" => "?x";
    Exact "difference from zero": "(sub 0.0 ?x)" => "(neg ?x)";
    Exact "logarithm of one": "(log 1.0)" => "0.0";
    Exact "twice the same": "(add ?x ?x)" => "(mul 2.0 ?x)" if Float("?x");
    Exact "product with minus one": "(mul -1.0 ?x)" => "(neg ?x)";
    Real "constants of a product": "(mul ?a (mul ?b ?x))" => "(mul (mul ?a ?b) ?x)" if Constant("?a"), Constant("?b");
    Real "constants of a quotient": "(div (mul ?a ?x) ?b)" => "(mul (div ?a ?b) ?x)" if Constant("?a"), Constant("?b");
    Real "constant in a product": "(mul ?x (mul ?a ?y))" => "(mul ?a (mul ?x ?y))" if Constant("?a"), Variable("?x");
    Exact "sign times absolute value": "(mul (sign ?x) (abs ?x))" => "?x";
    Exact "absolute value times sign": "(mul (abs ?x) (sign ?x))" => "?x";
    Exact "square of an absolute value": "(mul (abs ?x) (abs ?x))" => "(mul ?x ?x)";
    Exact "same in both branches": "(select ?c ?x ?x)" => "?x";

    // What a difference has on both sides leaves it, before it costs digits.
    Real "difference of two differences": "(sub (sub ?a ?k) (sub ?b ?k))" => "(sub ?a ?b)";
    Real "factor of both sides": "(sub (mul ?k ?a) (mul ?k ?b))" => "(mul ?k (sub ?a ?b))" if Float("?k");
    Real "right factor of both sides": "(sub (mul ?a ?k) (mul ?b ?k))" => "(mul ?k (sub ?a ?b))" if Float("?k");
    Real "left and right factor of both sides": "(sub (mul ?k ?a) (mul ?b ?k))" => "(mul ?k (sub ?a ?b))" if Float("?k");
    Real "right and left factor of both sides": "(sub (mul ?a ?k) (mul ?k ?b))" => "(mul ?k (sub ?a ?b))" if Float("?k");

    // What does not vary along an axis leaves its sum.
    Real "factor of a sum along an axis": "(sum ?i (mul ?k ?x))" => "(mul ?k (sum ?i ?x))" if FreeOf("?k", "?i");
    Real "right factor of a sum along an axis": "(sum ?i (mul ?x ?k))" => "(mul ?k (sum ?i ?x))" if FreeOf("?k", "?i");
    Real "divisor of a sum along an axis": "(sum ?i (div ?x ?k))" => "(div (sum ?i ?x) ?k)" if FreeOf("?k", "?i");
    Real "sum of the same along an axis": "(sum ?i ?k)" => "(mul (float (size ?i)) ?k)" if FreeOf("?k", "?i");

    // Exponentials and logarithms.
    Real "log of exp": "(log (exp ?x))" => "?x";
    Real "log of a quotient": "(log (div ?a ?b))" => "(sub (log ?a) (log ?b))" if Positive("?a"), Positive("?b");
    Real "log of a product": "(log (mul ?a ?b))" => "(add (log ?a) (log ?b))" if Positive("?a"), Positive("?b");
    Real "log of sum of exp": "(log (sum ?i (exp ?x)))" => "(lse ?i ?x)";
    Real "exp over sum of exp": "(div (exp ?a) (sum ?i (exp ?x)))" => "(exp (sub ?a (lse ?i ?x)))";
    Real "log-softmax of a shift": "(sub (sub ?a ?k) (lse ?i (sub ?x ?k)))" => "(sub ?a (lse ?i ?x))" if FreeOf("?k", "?i");
    Real "log of sigmoid": "(log (sigmoid ?x))" => "(neg (softplus (neg ?x)))";
    Real "one minus sigmoid": "(sub 1.0 (sigmoid ?x))" => "(sigmoid (neg ?x))";
    Real "sigmoid by its definition": "(div 1.0 (add 1.0 (exp ?x)))" => "(sigmoid (neg ?x))";
    Real "sigmoid by its other definition": "(div (exp ?x) (add 1.0 (exp ?x)))" => "(sigmoid ?x)";
    Real "log of one plus exp": "(log (add 1.0 (exp ?x)))" => "(softplus ?x)";
    Real "softplus less that of the opposite": "(sub (softplus (neg ?x)) (softplus ?x))" => "(neg ?x)";
    Real "softplus of the opposite less that": "(sub (softplus ?x) (softplus (neg ?x)))" => "?x";
    Real "log1p of exp": "(log1p (exp ?x))" => "(softplus ?x)";
    Real "log of one plus": "(log (add 1.0 ?x))" => "(log1p ?x)";
    Real "exp minus one": "(sub (exp ?x) 1.0)" => "(expm1 ?x)";

    // A native kernel: where no alignment exists its gradient is 0 by itself.
    Exact "head where an alignment exists": "(ctc_grad ?t ?c ?l ?x ?y ?n ?k ?b (select (eq inf (ctc ?t ?c ?l ?x ?y ?n ?k ?b)) 0.0 ?h) ?i ?j)"
        => "(ctc_grad ?t ?c ?l ?x ?y ?n ?k ?b ?h ?i ?j)";

    // A choice between two values that are the same everywhere: what is made of it is made of the two, once.
    Exact "constant and a choice": "(add ?k (select ?c ?a ?b))" => "(select ?c (add ?k ?a) (add ?k ?b))"
        if Constant("?k"), Scalar("?a"), Scalar("?b");
    Exact "choice and a constant": "(add (select ?c ?a ?b) ?k)" => "(select ?c (add ?a ?k) (add ?b ?k))"
        if Constant("?k"), Scalar("?a"), Scalar("?b");
    Exact "log of a choice": "(log (select ?c ?a ?b))" => "(select ?c (log ?a) (log ?b))" if Scalar("?a"), Scalar("?b");

    // A value or nothing: factors go inside, halves meet.
    Real "factor of a value or nothing": "(mul ?k (select ?c ?a 0.0))" => "(select ?c (mul ?k ?a) 0.0)";
    Real "right factor of a value or nothing": "(mul (select ?c ?a 0.0) ?k)" => "(select ?c (mul ?k ?a) 0.0)";
    Real "factor of nothing or a value": "(mul ?k (select ?c 0.0 ?a))" => "(select ?c 0.0 (mul ?k ?a))";
    Real "right factor of nothing or a value": "(mul (select ?c 0.0 ?a) ?k)" => "(select ?c 0.0 (mul ?k ?a))";
    Exact "two halves": "(add (select ?c ?a 0.0) (select ?c 0.0 ?b))" => "(select ?c ?a ?b)";
    Exact "two halves, the other first": "(add (select ?c 0.0 ?b) (select ?c ?a 0.0))" => "(select ?c ?a ?b)";
    Exact "difference of values or nothing": "(sub (select ?c ?a 0.0) (select ?c ?b 0.0))" => "(select ?c (sub ?a ?b) 0.0)";
    Exact "difference of nothing or values": "(sub (select ?c 0.0 ?a) (select ?c 0.0 ?b))" => "(select ?c 0.0 (sub ?a ?b))";
    Exact "difference of two halves": "(sub (select ?c ?a 0.0) (select ?c 0.0 ?b))" => "(select ?c ?a (neg ?b))";
}

/// The rules as egg runs them; made once.
pub fn rewrites() -> &'static [Rewrite<Node, Facts>] {
    static REWRITES: OnceLock<Vec<Rewrite<Node, Facts>>> = OnceLock::new();
    REWRITES.get_or_init(|| RULES.iter().map(rewrite).collect())
}

/// # Panics
/// Where a rule of the table is not well formed: every rule is parsed by the first test that runs.
fn rewrite(rule: &Rule) -> Rewrite<Node, Facts> {
    let pattern = |text: &str| text.parse::<Pattern<Node>>().unwrap_or_else(|e| panic!("{}: {e}", rule.name));
    let (left, right) = (pattern(rule.left), pattern(rule.right));
    let applier = Guarded { guards: rule.guards, left: left.ast.clone(), right };
    Rewrite::new(rule.name, left, applier).expect("the right side binds nothing new")
}

/// Applies a rule where its guards hold. What it makes comes from where everything that the left side matched does.
struct Guarded {
    guards: &'static [Guard],
    left: PatternAst<Node>,
    right: Pattern<Node>,
}

impl Applier<Node, Facts> for Guarded {
    fn apply_one(
        &self,
        egraph: &mut Egraph,
        class: Id,
        subst: &Subst,
        searched: Option<&PatternAst<Node>>,
        name: Symbol,
    ) -> Vec<Id> {
        if !self.guards.iter().all(|guard| holds(egraph, subst, *guard)) {
            return vec![];
        }
        let mut origins = egraph[class].data.origins.clone();
        inner(&self.left, &instances(egraph, &self.left, subst)).for_each(|id| origins.unite(&egraph[id].data.origins));
        let known = instances(egraph, &self.right.ast, subst);
        let changed = self.right.apply_one(egraph, class, subst, searched, name);
        if !changed.is_empty() {
            let made = instances(egraph, &self.right.ast, subst);
            let new: Vec<_> = made.iter().zip(&known).map(|(made, known)| made.filter(|_| known.is_none())).collect();
            for id in inner(&self.right.ast, &new).chain([class]) {
                egraph[id].data.origins.unite(&origins);
            }
        }
        changed
    }

    fn vars(&self) -> Vec<Var> {
        Applier::<Node, Facts>::vars(&self.right)
    }
}

/// The class of each node of a pattern, where it is in the e-graph.
fn instances(egraph: &Egraph, pattern: &PatternAst<Node>, subst: &Subst) -> Vec<Option<Id>> {
    let mut classes: Vec<Option<Id>> = vec![];
    for part in pattern.as_ref() {
        classes.push(match part {
            ENodeOrVar::Var(var) => subst.get(*var).copied(),
            ENodeOrVar::ENode(node) => {
                let args: Option<Vec<Id>> = node.args.iter().map(|&a| classes[usize::from(a)]).collect();
                args.and_then(|args| egraph.lookup(Node::new(node.op, &args)))
            }
        });
    }
    classes
}

/// The classes of the nodes that a pattern writes out, constants aside: those stand for themselves wherever they are.
fn inner(pattern: &PatternAst<Node>, classes: &[Option<Id>]) -> impl Iterator<Item = Id> {
    let written = |part: &ENodeOrVar<Node>| matches!(part, ENodeOrVar::ENode(node) if !node.op.is_leaf());
    let parts = pattern.as_ref().iter().zip(classes);
    parts.filter(move |(part, _)| written(part)).filter_map(|(_, class)| *class)
}

fn holds(egraph: &Egraph, subst: &Subst, guard: Guard) -> bool {
    let fact = |name: &str| -> &Fact { &egraph[subst[name.parse::<Var>().expect("a variable")]].data };
    match guard {
        FreeOf(value, axis) => fact(axis).axis.is_some_and(|axis| !fact(value).axes.contains(axis)),
        Positive(value) => fact(value).positive,
        Constant(value) => fact(value).constant.is_some_and(|c| c.get().is_finite() && c.get() != 0.0),
        Variable(value) => fact(value).constant.is_none(),
        Float(value) => fact(value).kind == Kind::Float,
        Scalar(value) => fact(value).axes == AxisSet::EMPTY,
    }
}
