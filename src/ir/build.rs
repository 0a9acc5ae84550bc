//! Short names for what passes build most.

use super::graph::Builder;
use super::node::Id;
use super::op::{Fold, Point};
use super::ty::AxisId;
use crate::error::Result;

macro_rules! shorthands {
    ($($name:ident $point:ident ($($arg:ident),*);)*) => {
        impl Builder {
            $(pub fn $name(&mut self, $($arg: Id),*) -> Result<Id> {
                self.point(Point::$point, &[$($arg),*])
            })*
        }
    };
}

shorthands! {
    neg Neg(x);
    abs Abs(x);
    sign Sign(x);
    exp Exp(x);
    log Log(x);
    log1p Log1p(x);
    sigmoid Sigmoid(x);
    add2 Add(x, y);
    sub Sub(x, y);
    mul Mul(x, y);
    div Div(x, y);
    max Max(x, y);
    le Le(x, y);
    eq Eq(x, y);
    and And(x, y);
    not Not(x);
    select Select(cond, x, y);
    to_float Float(x);
}

impl Builder {
    pub fn sum(&mut self, axis: AxisId, body: Id) -> Result<Id> {
        self.fold(Fold::Sum, axis, body)
    }
}
