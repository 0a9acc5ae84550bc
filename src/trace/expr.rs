//! A handle on a value of the graph being traced. It copies freely and has the operators of a number.

use super::tracer::{Axis, Tracer};
use crate::ir::{AxisSet, Fold, Id, Op, Point};
use std::ops;

/// A value of the loss being declared: a float, an integer or a truth value that varies along some axes.
///
/// Operators and methods work element by element; axes of the operands are matched by name. A mistake (adding a truth
/// value to a float, say) is kept by the tracer and reported when the declaration ends.
#[derive(Clone, Copy)]
pub struct Expr<'t> {
    pub(super) id: Id,
    pub(super) tracer: &'t Tracer,
}

/// What an operator takes beside an [`Expr`]: another one, or a number.
pub trait Operand<'t> {
    #[doc(hidden)]
    #[track_caller]
    fn id(self, tracer: &'t Tracer) -> Id;
}

impl<'t> Operand<'t> for Expr<'t> {
    fn id(self, _: &'t Tracer) -> Id {
        self.id
    }
}

impl<'t> Operand<'t> for f64 {
    fn id(self, tracer: &'t Tracer) -> Id {
        tracer.number(self).id
    }
}

impl<'t> Operand<'t> for i64 {
    fn id(self, tracer: &'t Tracer) -> Id {
        tracer.integer(self).id
    }
}

macro_rules! unary {
    ($($(#[$doc:meta])* $name:ident $point:ident;)*) => {
        impl<'t> Expr<'t> {
            $($(#[$doc])* #[track_caller]
            pub fn $name(self) -> Self {
                self.tracer.point(Point::$point, &[self.id])
            })*
        }
    };
}

unary! {
    /// `|x|`; its slope at 0 is 0.
    abs Abs;
    /// −1, 0 or 1.
    sign Sign;
    /// √x.
    sqrt Sqrt;
    /// e^x.
    exp Exp;
    /// The natural logarithm.
    ln Log;
    /// log(1 + x), exact near 0.
    ln_1p Log1p;
    /// e^x − 1, exact near 0.
    exp_m1 Expm1;
    /// The hyperbolic tangent.
    tanh Tanh;
    /// 1 / (1 + e^−x).
    sigmoid Sigmoid;
    /// log(1 + e^x).
    softplus Softplus;
    /// An integer as a float.
    to_float Float;
}

macro_rules! binary {
    ($($(#[$doc:meta])* $name:ident $point:ident;)*) => {
        impl<'t> Expr<'t> {
            $($(#[$doc])* #[track_caller]
            pub fn $name(self, other: impl Operand<'t>) -> Self {
                let other = other.id(self.tracer);
                self.tracer.point(Point::$point, &[self.id, other])
            })*
        }
    };
}

binary! {
    /// The larger; where they tie, the slope is the left operand's.
    max Max;
    /// The smaller; where they tie, the slope is the left operand's.
    min Min;
    /// self < other.
    lt Lt;
    /// self ≤ other.
    le Le;
    /// self = other.
    equals Eq;
    /// self ∧ other.
    and And;
    /// self ∨ other.
    or Or;
}

impl<'t> Expr<'t> {
    /// self > other.
    #[track_caller]
    pub fn gt(self, other: impl Operand<'t>) -> Self {
        let other = other.id(self.tracer);
        self.tracer.point(Point::Lt, &[other, self.id])
    }

    /// self ≥ other.
    #[track_caller]
    pub fn ge(self, other: impl Operand<'t>) -> Self {
        let other = other.id(self.tracer);
        self.tracer.point(Point::Le, &[other, self.id])
    }

    /// `a` where this truth value holds, else `b`. The branch not taken never shows, in value or in slope.
    #[track_caller]
    pub fn select(self, a: impl Operand<'t>, b: impl Operand<'t>) -> Self {
        let (a, b) = (a.id(self.tracer), b.id(self.tracer));
        self.tracer.point(Point::Select, &[self.id, a, b])
    }

    /// max(x, 0); its slope at 0 is 0.
    #[track_caller]
    pub fn relu(self) -> Self {
        let zero = self.tracer.number(0.0);
        zero.max(self)
    }

    /// x².
    #[track_caller]
    pub fn square(self) -> Self {
        self * self
    }

    /// x to a whole power, by repeated squaring.
    #[track_caller]
    pub fn powi(self, exponent: i32) -> Self {
        let one = self.tracer.number(1.0);
        let (mut result, mut power, mut left) = (one, self, exponent.unsigned_abs());
        while left > 0 {
            if left & 1 == 1 {
                result = result * power;
            }
            left >>= 1;
            if left > 0 {
                power = power.square();
            }
        }
        if exponent < 0 { one / result } else { result }
    }

    /// Σ along the axis.
    #[track_caller]
    pub fn sum(self, axis: Axis) -> Self {
        self.tracer.fold(Fold::Sum, axis, self)
    }

    /// Σ along several axes.
    #[track_caller]
    pub fn sum_over(self, axes: &[Axis]) -> Self {
        let mut value = self; // a closure would be the caller that origins name
        for &axis in axes.iter().rev() {
            value = value.sum(axis);
        }
        value
    }

    /// The maximum along the axis.
    #[track_caller]
    pub fn amax(self, axis: Axis) -> Self {
        self.tracer.fold(Fold::Amax, axis, self)
    }

    /// The mean along several axes.
    #[track_caller]
    pub fn mean_over(self, axes: &[Axis]) -> Self {
        let Some((&first, rest)) = axes.split_first() else { return self };
        let mut count = self.tracer.size(first).to_float();
        for &axis in rest {
            count = count * self.tracer.size(axis).to_float();
        }
        self.sum_over(axes) / count
    }

    /// exp(x) / Σ exp(x) along the axis, as it is defined: the compiler makes it stable.
    #[track_caller]
    pub fn softmax(self, axis: Axis) -> Self {
        self.exp() / self.exp().sum(axis)
    }

    /// log softmax(x), as it is defined.
    #[track_caller]
    pub fn log_softmax(self, axis: Axis) -> Self {
        self.softmax(axis).ln()
    }
    /// The value at one index of an axis: `p.at(c, label)` is p[…, label]. An index outside the axis is an error when
    /// the loss is evaluated.
    #[track_caller]
    pub fn at(self, axis: Axis, index: Expr<'t>) -> Self {
        self.tracer.substitute(self, axis, index)
    }

    /// The axes that the value varies along, in the order in which they were declared.
    pub fn axes(self) -> Vec<Axis> {
        self.axis_set().iter().map(Axis).collect()
    }

    pub(crate) fn id(self) -> Id {
        self.id
    }

    pub(super) fn axis_set(self) -> AxisSet {
        self.tracer.type_of(self.id).axes
    }
}

macro_rules! operator {
    ($($trait:ident $method:ident $point:ident;)*) => {$(
        impl<'t, R: Operand<'t>> ops::$trait<R> for Expr<'t> {
            type Output = Expr<'t>;
            #[track_caller]
            fn $method(self, other: R) -> Expr<'t> {
                let other = other.id(self.tracer);
                self.tracer.point(Point::$point, &[self.id, other])
            }
        }
        impl<'t> ops::$trait<Expr<'t>> for f64 {
            type Output = Expr<'t>;
            #[track_caller]
            fn $method(self, other: Expr<'t>) -> Expr<'t> {
                let this = other.tracer.number(self);
                other.tracer.point(Point::$point, &[this.id, other.id])
            }
        }
    )*};
}

operator! {
    Add add Add;
    Sub sub Sub;
    Mul mul Mul;
    Div div Div;
}

/// ¬x of a condition.
impl<'t> ops::Not for Expr<'t> {
    type Output = Expr<'t>;
    #[track_caller]
    fn not(self) -> Expr<'t> {
        self.tracer.add(Op::Point(Point::Not), &[self.id])
    }
}

impl<'t> ops::Neg for Expr<'t> {
    type Output = Expr<'t>;
    #[track_caller]
    fn neg(self) -> Expr<'t> {
        self.tracer.add(Op::Point(Point::Neg), &[self.id])
    }
}
