//! Numbers and what the pointwise ops make of them.

use crate::ir::Point;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Number {
    Float(f64),
    Int(i64),
    Bool(bool),
}

impl Number {
    pub(super) fn float(self) -> Result<f64, String> {
        if let Number::Float(x) = self { Ok(x) } else { Err(format!("{self:?} is no float")) }
    }

    pub(super) fn int(self) -> Result<i64, String> {
        if let Number::Int(i) = self { Ok(i) } else { Err(format!("{self:?} is no integer")) }
    }

    fn truth(self) -> Result<bool, String> {
        if let Number::Bool(b) = self { Ok(b) } else { Err(format!("{self:?} is no truth value")) }
    }
}

pub(super) fn apply(point: Point, args: &[Number]) -> Result<Number, String> {
    use Number::{Bool, Float, Int};
    let float = |f: fn(f64) -> f64| Ok(Float(f(args[0].float()?)));
    Ok(match (point, args) {
        (Point::Neg, _) => return float(|x| -x),
        (Point::Abs, _) => return float(f64::abs),
        (Point::Sign, _) => return float(|x| if x == 0.0 || x.is_nan() { x } else { 1f64.copysign(x) }),
        (Point::Sqrt, _) => return float(f64::sqrt),
        (Point::Exp, _) => return float(f64::exp),
        (Point::Log, _) => return float(f64::ln),
        (Point::Log1p, _) => return float(f64::ln_1p),
        (Point::Expm1, _) => return float(f64::exp_m1),
        (Point::Tanh, _) => return float(f64::tanh),
        (Point::Sigmoid | Point::Softplus, _) => return Err(format!("{} was not expanded", point.name())),
        (Point::Add, &[Float(x), Float(y)]) => Float(x + y),
        (Point::Sub, &[Float(x), Float(y)]) => Float(x - y),
        (Point::Mul, &[Float(x), Float(y)]) => Float(x * y),
        (Point::Div, &[Float(x), Float(y)]) => Float(x / y),
        (Point::Max, &[Float(x), Float(y)]) => Float(max(x, y)),
        (Point::Min, &[Float(x), Float(y)]) => Float(-max(-x, -y)),
        (Point::Lt, &[Float(x), Float(y)]) => Bool(x < y),
        (Point::Le, &[Float(x), Float(y)]) => Bool(x <= y),
        (Point::Eq, &[Float(x), Float(y)]) => Bool(x == y),
        (Point::Add, &[Int(x), Int(y)]) => Int(x.wrapping_add(y)),
        (Point::Sub, &[Int(x), Int(y)]) => Int(x.wrapping_sub(y)),
        (Point::Mul, &[Int(x), Int(y)]) => Int(x.wrapping_mul(y)),
        (Point::Max, &[Int(x), Int(y)]) => Int(x.max(y)),
        (Point::Min, &[Int(x), Int(y)]) => Int(x.min(y)),
        (Point::Lt, &[Int(x), Int(y)]) => Bool(x < y),
        (Point::Le, &[Int(x), Int(y)]) => Bool(x <= y),
        (Point::Eq, &[Int(x), Int(y)]) => Bool(x == y),
        (Point::Not, &[x]) => Bool(!x.truth()?),
        (Point::And, &[x, y]) => Bool(x.truth()? & y.truth()?),
        (Point::Or, &[x, y]) => Bool(x.truth()? | y.truth()?),
        (Point::Select, &[c, x, y]) => {
            if c.truth()? {
                x
            } else {
                y
            }
        }
        (Point::Float, &[i]) => Float(i.int()? as f64),
        (
            Point::Add
            | Point::Sub
            | Point::Mul
            | Point::Div
            | Point::Max
            | Point::Min
            | Point::Lt
            | Point::Le
            | Point::Eq
            | Point::Not
            | Point::And
            | Point::Or
            | Point::Select
            | Point::Float,
            _,
        ) => return Err(format!("{} does not take {args:?}", point.name())),
    })
}

/// The larger; NaN where either is.
pub(super) fn max(x: f64, y: f64) -> f64 {
    if x.is_nan() || y.is_nan() { f64::NAN } else { x.max(y) }
}
