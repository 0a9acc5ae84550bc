//! The two sides of a rule as terms: read from their text, typed, and built with something in place of the variables.

use lossjit::ir::{Builder, Id, Kind, Native, Node, Op};
use lossjit::simplify::{Guard, Rule};
use std::collections::BTreeMap;

/// A pattern: `(log (sum ?i (exp ?x)))`.
pub enum Term {
    Var(&'static str),
    Node(Op, Vec<Term>),
}

pub fn term(text: &'static str) -> Term {
    let (term, rest) = parse(text.trim());
    assert!(rest.trim().is_empty(), "{text}: {rest} is left over");
    term
}

fn parse(text: &'static str) -> (Term, &'static str) {
    let word = |text: &'static str| text.split_at(text.find([' ', '(', ')']).unwrap_or(text.len()));
    if let Some(inside) = text.strip_prefix('(') {
        let (name, mut rest) = word(inside);
        let mut args = vec![];
        loop {
            rest = rest.trim_start();
            if let Some(rest) = rest.strip_prefix(')') {
                return (Term::Node(Op::from_name(name).expect("an op"), args), rest);
            }
            let (arg, after) = parse(rest);
            args.push(arg);
            rest = after;
        }
    }
    match word(text) {
        (name, rest) if name.starts_with('?') => (Term::Var(name), rest),
        (number, rest) => (Term::Node(Op::from_number(number).expect("a number"), vec![]), rest),
    }
}

impl Term {
    /// The variables, with whether each stands for an axis.
    pub fn variables(&self, found: &mut BTreeMap<&'static str, bool>) {
        if let Term::Node(op, args) = self {
            for (place, arg) in args.iter().enumerate() {
                let axis = place == 0 && matches!(op, Op::Fold(_) | Op::Size)
                    || place < Native::AXES && matches!(op, Op::Native(_));
                match arg {
                    Term::Var(name) => *found.entry(name).or_default() |= axis,
                    _ => arg.variables(found),
                }
            }
        }
    }

    /// The variables that are arguments of a native kernel, with their places there.
    pub fn roles(&self, found: &mut BTreeMap<&'static str, usize>) {
        let Term::Node(op, args) = self else { return };
        for (place, arg) in args.iter().enumerate() {
            match arg {
                Term::Var(name) if matches!(op, Op::Native(_)) => drop(found.insert(name, place)),
                _ => arg.roles(found),
            }
        }
    }

    /// The kind of the value, where the variables have these kinds and the term is well typed.
    pub fn kind(&self, of: &BTreeMap<&'static str, Kind>) -> Option<Kind> {
        match self {
            Term::Var(name) => of.get(name).copied(),
            Term::Node(Op::Float(_), _) => Some(Kind::Float),
            Term::Node(Op::Int(_) | Op::Size, _) => Some(Kind::Int),
            Term::Node(Op::Fold(_), args) => args[1].kind(of).filter(|&k| k == Kind::Float),
            Term::Node(Op::Point(p), args) => {
                p.signature().result(&args.iter().map(|a| a.kind(of)).collect::<Option<Vec<_>>>()?)
            }
            Term::Node(Op::Native(_), args) => {
                const WANTED: [Kind; 8] =
                    [Kind::Float, Kind::Int, Kind::Int, Kind::Int, Kind::Int, Kind::Float, Kind::Int, Kind::Int];
                let fits = args[Native::AXES..].iter().zip(WANTED).all(|(arg, kind)| arg.kind(of) == Some(kind));
                fits.then_some(Kind::Float)
            }
            Term::Node(op, _) => panic!("{op} in a rule"),
        }
    }

    pub fn build(&self, b: &mut Builder, of: &BTreeMap<&'static str, Id>) -> Id {
        match self {
            Term::Var(name) => of[name],
            Term::Node(op, args) => {
                let args: Vec<Id> = args.iter().map(|a| a.build(b, of)).collect();
                b.intern(Node::new(*op, &args)).expect("well typed")
            }
        }
    }
}

/// Every way to give kinds to the variables under which the left side is well typed and the guards may hold.
pub fn typings(rule: &Rule, variables: &BTreeMap<&'static str, bool>) -> Vec<BTreeMap<&'static str, Kind>> {
    let left = term(rule.left);
    let mut all = vec![BTreeMap::new()];
    for (&name, _) in variables.iter().filter(|(_, axis)| !**axis) {
        let with = |typing: &BTreeMap<_, _>, kind| typing.iter().map(|(n, k)| (*n, *k)).chain([(name, kind)]).collect();
        all = all.iter().flat_map(|t| [Kind::Float, Kind::Int, Kind::Bool].map(|kind| with(t, kind))).collect();
    }
    let allowed = |typing: &BTreeMap<&str, Kind>| {
        rule.guards.iter().all(|guard| match guard {
            Guard::FreeOf(..) | Guard::Variable(_) | Guard::Scalar(_) => true,
            Guard::Positive(v) | Guard::Constant(v) | Guard::Float(v) => typing[v] == Kind::Float,
        })
    };
    all.retain(|typing| left.kind(typing).is_some() && allowed(typing));
    all
}
