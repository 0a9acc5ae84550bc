//! One random op at a time, with the bounds of its result.

use super::{Draw, Known};
use lossjit::error::Result;
use lossjit::ir::{AxisId, Fold, Id, InputId, Kind, Point};

/// Nothing has a larger magnitude.
const LARGEST: f64 = 16.0;
/// Divisors and arguments of logarithms are at least this.
const LEAST: f64 = 0.1;

impl Draw {
    pub(super) fn step(&mut self) -> Result<Known> {
        match self.rng.u8(0..20) {
            0..5 => self.unary(),
            5..10 => self.binary(),
            10..14 => self.fold(),
            14..16 => self.select(),
            16 | 17 => self.idiom(),
            _ => self.reread(),
        }
    }

    fn make(&mut self, point: Point, args: &[Known], low: f64, high: f64) -> Result<Known> {
        let args: Vec<Id> = args.iter().map(|k| k.id).collect();
        Ok(Known { id: self.b.point(point, &args)?, low, high })
    }

    /// A value of moderate size: scaled by a power of two, or squashed.
    pub(super) fn tame(&mut self, x: Known) -> Result<Known> {
        let size = x.low.abs().max(x.high.abs());
        if size <= LARGEST {
            return Ok(x);
        }
        if self.rng.bool() {
            return self.make(Point::Tanh, &[x], -1.0, 1.0);
        }
        let factor = 0.5f64.powi((size / LARGEST).log2().ceil() as i32);
        let constant = Known { id: self.b.float(factor)?, low: factor, high: factor };
        self.make(Point::Mul, &[x, constant], x.low * factor, x.high * factor)
    }

    /// The value, or one made from it that is well above 0.
    fn positive(&mut self, x: Known) -> Result<Known> {
        if x.low >= LEAST {
            return Ok(x);
        }
        let y = self.make(Point::Softplus, &[x], 0.0, x.high.max(0.0) + 0.7)?;
        let least = Known { id: self.b.float(LEAST)?, low: LEAST, high: LEAST };
        self.make(Point::Add, &[y, least], LEAST, y.high + LEAST)
    }

    /// The value, or one made from it that may be exponentiated.
    fn moderate(&mut self, x: Known) -> Result<Known> {
        if x.high <= 2.5 { Ok(x) } else { self.make(Point::Tanh, &[x], -1.0, 1.0) }
    }

    fn unary(&mut self) -> Result<Known> {
        let x = self.any();
        match self.rng.u8(0..11) {
            0 => self.make(Point::Neg, &[x], -x.high, -x.low),
            1 => self.make(Point::Abs, &[x], 0.0, x.low.abs().max(x.high.abs())),
            2 => {
                let x = self.leaf();
                self.make(Point::Sign, &[x], -1.0, 1.0)
            }
            3 => {
                let x = self.positive(x)?;
                self.make(Point::Sqrt, &[x], x.low.sqrt(), x.high.sqrt())
            }
            4 => {
                let x = self.moderate(x)?;
                self.make(Point::Exp, &[x], x.low.exp(), x.high.exp())
            }
            5 => {
                let x = self.positive(x)?;
                self.make(Point::Log, &[x], x.low.ln(), x.high.ln())
            }
            6 => {
                let x = self.positive(x)?;
                self.make(Point::Log1p, &[x], x.low.ln_1p(), x.high.ln_1p())
            }
            7 => {
                let x = self.moderate(x)?;
                self.make(Point::Expm1, &[x], x.low.exp_m1(), x.high.exp_m1())
            }
            8 => self.make(Point::Tanh, &[x], -1.0, 1.0),
            9 => self.make(Point::Sigmoid, &[x], 0.0, 1.0),
            _ => self.make(Point::Softplus, &[x], 0.0, x.high.max(0.0) + 0.7),
        }
    }

    fn binary(&mut self) -> Result<Known> {
        let x = self.any();
        let y = self.partner(x.id);
        let hull = |ends: [f64; 4]| {
            (ends.iter().copied().fold(f64::MAX, f64::min), ends.iter().copied().fold(f64::MIN, f64::max))
        };
        match self.rng.u8(0..6) {
            0 => self.make(Point::Add, &[x, y], x.low + y.low, x.high + y.high),
            1 => self.make(Point::Sub, &[x, y], x.low - y.high, x.high - y.low),
            2 => {
                let (low, high) = hull([x.low * y.low, x.low * y.high, x.high * y.low, x.high * y.high]);
                self.make(Point::Mul, &[x, y], low, high)
            }
            3 => {
                let y = self.positive(y)?;
                let (low, high) = hull([x.low / y.low, x.low / y.high, x.high / y.low, x.high / y.high]);
                self.make(Point::Div, &[x, y], low, high)
            }
            4 => self.make(Point::Max, &[x, y], x.low.max(y.low), x.high.max(y.high)),
            _ => self.make(Point::Min, &[x, y], x.low.min(y.low), x.high.min(y.high)),
        }
    }

    /// A fold over one of the value's own axes, seldom another.
    fn fold(&mut self) -> Result<Known> {
        let x = self.any();
        let own: Vec<AxisId> = self.b.graph().ty(x.id).axes.iter().collect();
        let axis = if own.is_empty() || self.rng.u8(..) < 20 { self.axis() } else { self.choose(&own) };
        if !self.fits(self.b.graph().ty(x.id).axes.with(axis)) {
            return Ok(x);
        }
        let fold = self.choose(&Fold::ALL);
        let n = self.extents[axis.index()] as f64;
        let folded = self.b.fold(fold, axis, x.id)?;
        match fold {
            Fold::Sum => Ok(Known { id: folded, low: n * x.low, high: n * x.high }),
            _ if n == 0.0 => {
                // −inf goes no further.
                let floor = self.b.float(-3.0)?;
                Ok(Known { id: self.b.point(Point::Max, &[folded, floor])?, low: -3.0, high: -3.0 })
            }
            Fold::Amax => Ok(Known { id: folded, ..x }),
            Fold::Lse => Ok(Known { id: folded, low: x.low + n.ln(), high: x.high + n.ln() }),
        }
    }

    /// A truth value of things that are the same in every width.
    fn condition(&mut self, domain: Id) -> Result<Id> {
        let compare = self.choose(&[Point::Lt, Point::Le, Point::Eq]);
        let (x, y) = match self.rng.bool() {
            true => (self.leaf().id, self.leaf().id),
            false => (self.choose(&self.ints.clone()), self.choose(&self.ints.clone())),
        };
        let zero = self.b.float(0.0)?;
        let condition =
            if self.meet(x, y) { self.b.point(compare, &[x, y])? } else { self.b.point(compare, &[zero, zero])? };
        if self.meet(domain, condition) { Ok(condition) } else { self.b.point(compare, &[zero, zero]) }
    }

    fn select(&mut self) -> Result<Known> {
        let x = self.any();
        let mut condition = self.condition(x.id)?;
        match self.rng.u8(0..6) {
            0 => condition = self.b.not(condition)?,
            1 | 2 => {
                let other = self.condition(x.id)?;
                if self.meet(condition, other) {
                    let point = self.choose(&[Point::And, Point::Or]);
                    condition = self.b.point(point, &[condition, other])?;
                }
            }
            _ => {}
        }
        // One branch is often nothing, as in gradients.
        let zero = Known { id: self.b.float(0.0)?, low: 0.0, high: 0.0 };
        let reach = self.b.select(condition, x.id, zero.id)?;
        let y = if self.rng.bool() { zero } else { self.partner(reach) };
        let (x, y) = if self.rng.bool() { (x, y) } else { (y, x) };
        Ok(Known { id: self.b.select(condition, x.id, y.id)?, low: x.low.min(y.low), high: x.high.max(y.high) })
    }

    /// Formulas of losses, as they are declared.
    fn idiom(&mut self) -> Result<Known> {
        let x = self.any();
        let x = self.moderate(x)?;
        let one = self.b.float(1.0)?;
        let exp = self.b.exp(x.id)?;
        let own: Vec<AxisId> = self.b.graph().ty(x.id).axes.iter().filter(|a| self.extents[a.index()] > 0).collect();
        let id = match self.rng.u8(0..6) {
            0..3 if !own.is_empty() => {
                let axis = self.choose(&own);
                let n = self.extents[axis.index()] as f64;
                let total = self.b.sum(axis, exp)?;
                let softmax = self.b.div(exp, total)?;
                let spread = x.high - x.low + n.ln();
                return match self.rng.u8(0..3) {
                    0 => Ok(Known { id: softmax, low: 0.0, high: 1.0 }),
                    1 => Ok(Known { id: self.b.log(softmax)?, low: -spread, high: 0.0 }),
                    _ => Ok(Known { id: self.b.log(total)?, low: x.low + n.ln(), high: x.high + n.ln() }),
                };
            }
            0..4 => {
                let sigmoid = self.b.sigmoid(x.id)?;
                self.b.log(sigmoid)?
            }
            4 => {
                let sigmoid = self.b.sigmoid(x.id)?;
                let rest = self.b.sub(one, sigmoid)?;
                self.b.log(rest)?
            }
            _ => {
                let sum = self.b.add2(one, exp)?;
                self.b.log(sum)?
            }
        };
        let size = x.low.abs().max(x.high.abs()) + 0.7;
        Ok(Known { id, low: -size, high: size })
    }

    /// An input read again: at a class, or along other axes that are as long.
    fn reread(&mut self) -> Result<Known> {
        let floats: Vec<usize> =
            (0..self.inputs.len()).filter(|&i| self.b.graph().inputs[i].kind == Kind::Float).collect();
        let input = InputId::new(self.choose(&floats));
        let mut indices = vec![];
        for axis in self.b.graph().input(input).axes.clone() {
            let same = |b: AxisId| self.extents[b.index()] == self.extents[axis.index()];
            let others: Vec<AxisId> = self.axes.iter().copied().filter(|&b| same(b)).collect();
            let classes: Vec<Id> = self.classes.iter().filter(|(_, of)| same(*of)).map(|(id, _)| *id).collect();
            let other = self.choose(&others);
            indices.push(match self.rng.u8(0..4) {
                0..2 if !classes.is_empty() => self.choose(&classes),
                2 => self.b.index(other)?,
                _ => self.b.index(axis)?,
            });
        }
        let id = self.b.read(input, &indices)?;
        let known = Known { id, low: -2.0, high: 2.0 };
        if !self.fits(self.b.graph().ty(id).axes) {
            return Ok(self.any());
        }
        self.exact.push(known);
        Ok(known)
    }
}
