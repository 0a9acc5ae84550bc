//! The one node type: what graphs are made of, what egg rewrites and what is printed.

use super::op::Op;
use smallvec::SmallVec;
use std::fmt;

pub use egg::Id;

/// An op and its arguments.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Node {
    pub op: Op,
    pub args: SmallVec<[Id; 3]>,
}

impl Node {
    pub fn new(op: Op, args: &[Id]) -> Self {
        Self { op, args: args.into() }
    }

    pub fn leaf(op: Op) -> Self {
        Self::new(op, &[])
    }
}

impl egg::Language for Node {
    type Discriminant = Op;

    fn discriminant(&self) -> Op {
        self.op
    }

    fn matches(&self, other: &Self) -> bool {
        self.op == other.op && self.args.len() == other.args.len()
    }

    fn children(&self) -> &[Id] {
        &self.args
    }

    fn children_mut(&mut self) -> &mut [Id] {
        &mut self.args
    }
}

/// Rewrite patterns are written with the ops' own words: `(log (sum ?i (exp ?x)))`.
impl egg::FromOp for Node {
    type Error = egg::FromOpError;

    fn from_op(op: &str, args: Vec<Id>) -> Result<Self, Self::Error> {
        (Op::from_name(op).or_else(|| Op::from_number(op)))
            .filter(|found| found.arity().is_none_or(|n| n == args.len()))
            .map(|found| Node::new(found, &args))
            .ok_or_else(|| egg::FromOpError::new(op, args))
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        self.op.fmt(f)
    }
}
