//! The op table: every operation a graph may hold, one row each.
//!
//! An op is a leaf, an access, a fold over an axis, or a pointwise primitive. Attributes (the axis of a fold, the
//! buffer of a read) are arguments like any other, so that a rewrite pattern can bind them. A new pointwise op is one
//! row in [`points!`] and the arms that the compiler then asks for.

use super::ty::{AxisId, InputId, Kind};
use std::fmt;

/// A float constant, compared and hashed by its bits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bits(u64);

impl Bits {
    pub fn new(value: f64) -> Self {
        Self(value.to_bits())
    }

    pub fn get(self) -> f64 {
        f64::from_bits(self.0)
    }
}

impl fmt::Debug for Bits {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}", self.get())
    }
}

/// The operator of a node; its arguments stand beside it in [`Node`](super::Node).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Op {
    /// The running index along an axis: an integer.
    Axis(AxisId),
    /// A named buffer; only `read` takes it.
    Input(InputId),
    Float(Bits),
    Int(i64),
    /// `read buffer i j …`: one element. Each index is an integer: an axis, or computed from another buffer.
    Read,
    /// `size @c`: the extent of an axis, an integer.
    Size,
    /// `fold @c body`: binds the axis in the body.
    Fold(Fold),
    /// A hand-written kernel: binds axes in the buffers that it reads.
    Native(Native),
    /// `point a b …`: element by element.
    Point(Point),
}

/// Reductions over one axis, which they bind.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Fold {
    /// Σ over the axis; 0 where it is empty.
    Sum,
    /// The maximum along the axis; −inf where it is empty, NaN where an element is NaN.
    Amax,
    /// Log-sum-exp: log Σ exp, finite for every finite row.
    Lse,
}

impl Fold {
    pub const ALL: [Fold; 3] = [Fold::Sum, Fold::Amax, Fold::Lse];

    pub fn name(self) -> &'static str {
        match self {
            Fold::Sum => "sum",
            Fold::Amax => "amax",
            Fold::Lse => "lse",
        }
    }
}

/// Kernels written by hand, for what loops over index notation cannot say. Both read whole planes: they bind the axes t
/// of time steps, c of classes and l of labels in what they read.
///
/// `ctc @t @c @l logits label steps labels blank`: connectionist temporal classification of one sequence of unnormalised
/// logits, −log of the probability of all alignments of the label (Graves et al., 2006). Of both buffers the first
/// `steps` and `labels` entries count; with `labels` = −1, those before the first −1.
///
/// `ctc_grad @t @c @l logits label steps labels blank head i j`: the derivative of that by the logit of step i and class
/// j, times head. It is 0 where no alignment exists, whatever the head.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Native {
    Ctc,
    CtcGrad,
}

impl Native {
    pub const ALL: [Native; 2] = [Native::Ctc, Native::CtcGrad];
    /// The arguments that name bound axes.
    pub const AXES: usize = 3;
    /// The arguments in which they are bound.
    pub const BOUND: std::ops::Range<usize> = 3..8;

    pub fn name(self) -> &'static str {
        match self {
            Native::Ctc => "ctc",
            Native::CtcGrad => "ctc_grad",
        }
    }

    pub fn arity(self) -> usize {
        match self {
            Native::Ctc => 8,
            Native::CtcGrad => 11,
        }
    }
}

/// What a pointwise op takes and gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signature {
    /// float → float
    Float1,
    /// float, float → float
    Float2,
    /// two numbers of one kind → the same kind
    Number2,
    /// two numbers of one kind → bool
    Compare,
    /// bool → bool
    Logic1,
    /// bool, bool → bool
    Logic2,
    /// bool, then two numbers of one kind → the same kind
    Select,
    /// int → float
    Cast,
}

impl Signature {
    pub fn arity(self) -> usize {
        match self {
            Signature::Float1 | Signature::Logic1 | Signature::Cast => 1,
            Signature::Float2 | Signature::Number2 | Signature::Compare | Signature::Logic2 => 2,
            Signature::Select => 3,
        }
    }

    /// The result's kind, or `None` where the arguments do not fit.
    pub fn result(self, args: &[Kind]) -> Option<Kind> {
        use Kind::{Bool, Float, Int};
        match (self, args) {
            (Signature::Float1, [Float]) | (Signature::Float2, [Float, Float]) | (Signature::Cast, [Int]) => {
                Some(Float)
            }
            (Signature::Number2, [a @ (Float | Int), b]) if a == b => Some(*a),
            (Signature::Compare, [a @ (Float | Int), b]) if a == b => Some(Bool),
            (Signature::Logic1, [Bool]) | (Signature::Logic2, [Bool, Bool]) => Some(Bool),
            (Signature::Select, [Bool, a @ (Float | Int), b]) if a == b => Some(*a),
            _ => None,
        }
    }
}

/// What one evaluation of a pointwise op takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// So many arithmetic instructions, made in place.
    Flops(u32),
    /// An elementary function: called for a tile at a time.
    Math,
    /// A name for a formula that `expand` writes out before scheduling.
    Composite,
}

macro_rules! points {
    ($($variant:ident $name:literal $signature:ident $work:expr, $doc:literal;)*) => {
        /// Pointwise primitives.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
        pub enum Point { $(#[doc = $doc] $variant,)* }

        impl Point {
            pub const ALL: &[Point] = &[$(Point::$variant),*];

            pub fn name(self) -> &'static str {
                match self { $(Point::$variant => $name),* }
            }

            pub fn signature(self) -> Signature {
                match self { $(Point::$variant => Signature::$signature),* }
            }

            pub fn work(self) -> Work {
                use Work::*;
                match self { $(Point::$variant => $work),* }
            }
        }
    };
}

points! {
    Neg      "neg"      Float1  Flops(1), "−x";
    Abs      "abs"      Float1  Flops(1), "|x|; slope 0 at 0";
    Sign     "sign"     Float1  Flops(3), "−1, 0 or 1; 0 at 0; slope 0";
    Sqrt     "sqrt"     Float1  Flops(8), "√x";
    Exp      "exp"      Float1  Math, "e^x";
    Log      "log"      Float1  Math, "the natural logarithm";
    Log1p    "log1p"    Float1  Math, "log(1 + x), exact near 0";
    Expm1    "expm1"    Float1  Math, "e^x − 1, exact near 0";
    Tanh     "tanh"     Float1  Math, "the hyperbolic tangent";
    Sigmoid  "sigmoid"  Float1  Composite, "1 / (1 + e^−x)";
    Softplus "softplus" Float1  Composite, "log(1 + e^x), finite for every finite x";
    Add      "add"      Number2 Flops(1), "a + b";
    Sub      "sub"      Number2 Flops(1), "a − b";
    Mul      "mul"      Number2 Flops(1), "a · b";
    Div      "div"      Float2  Flops(4), "a / b";
    Max      "max"      Number2 Flops(2), "the larger; NaN where either is; ties go to the left operand's slope";
    Min      "min"      Number2 Flops(2), "the smaller; NaN where either is; ties go to the left operand's slope";
    Lt       "lt"       Compare Flops(1), "a < b";
    Le       "le"       Compare Flops(1), "a ≤ b";
    Eq       "eq"       Compare Flops(1), "a = b";
    Not      "not"      Logic1  Flops(1), "¬a";
    And      "and"      Logic2  Flops(1), "a ∧ b";
    Or       "or"       Logic2  Flops(1), "a ∨ b";
    Select   "select"   Select  Flops(1), "a where the condition holds, else b; the untaken branch never shows, in value or slope";
    Float    "float"    Cast    Flops(1), "an integer as a float";
}

impl Point {
    /// Whether swapping the two arguments changes nothing, slopes included.
    pub fn commutes(self) -> bool {
        matches!(self, Point::Add | Point::Mul | Point::Eq | Point::And | Point::Or)
    }

    pub fn is_math(self) -> bool {
        self.work() == Work::Math
    }
}

impl Op {
    /// The op of this name that takes arguments, or `None`.
    pub fn from_name(name: &str) -> Option<Op> {
        match name {
            "read" => Some(Op::Read),
            "size" => Some(Op::Size),
            _ => (Fold::ALL.iter().find(|f| f.name() == name).map(|&f| Op::Fold(f)))
                .or_else(|| Native::ALL.iter().find(|n| n.name() == name).map(|&n| Op::Native(n)))
                .or_else(|| Point::ALL.iter().find(|p| p.name() == name).map(|&p| Op::Point(p))),
        }
    }

    /// A number as it is written: with a point, an exponent, `inf` or `NaN` a float, else an integer.
    pub fn from_number(text: &str) -> Option<Op> {
        if let Ok(i) = text.parse::<i64>() {
            return Some(Op::Int(i));
        }
        let spelled = text.starts_with(|c: char| c.is_ascii_digit() || c == '-') || text == "inf" || text == "NaN";
        let value = text.parse::<f64>().ok().filter(|_| spelled)?;
        Some(Op::Float(Bits::new(value)))
    }

    /// How many arguments the op takes; `None` for `read`, where the buffer decides.
    pub fn arity(self) -> Option<usize> {
        match self {
            Op::Axis(_) | Op::Input(_) | Op::Float(_) | Op::Int(_) => Some(0),
            Op::Read => None,
            Op::Size => Some(1),
            Op::Fold(_) => Some(2),
            Op::Native(native) => Some(native.arity()),
            Op::Point(p) => Some(p.signature().arity()),
        }
    }

    pub fn is_leaf(self) -> bool {
        self.arity() == Some(0)
    }
}

/// The op's word. Axes and inputs print by number here, for lack of the graph's table of names.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Op::Axis(a) => write!(f, "@{}", a.index()),
            Op::Input(i) => write!(f, "${}", i.index()),
            Op::Float(x) => write!(f, "{x:?}"),
            Op::Int(i) => write!(f, "{i}"),
            Op::Read => f.write_str("read"),
            Op::Size => f.write_str("size"),
            Op::Fold(fold) => f.write_str(fold.name()),
            Op::Native(native) => f.write_str(native.name()),
            Op::Point(p) => f.write_str(p.name()),
        }
    }
}
