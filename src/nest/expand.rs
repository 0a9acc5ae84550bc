//! Expand: what has a name in the graph but no loop or instruction of its own is written out, for known extents.
//!
//! Log-sum-exp becomes maximum, exponential and sum; a softmax shares that exponential; sigmoid and softplus share
//! `exp(−|x|)`, so none of them overflows. Sizes become numbers, and axes of one element vanish;
//! quotients by powers of two become products; logarithms that a long sum has beside other terms get a sum of their own.

use crate::error::Result;
use crate::ir::{AxisId, Builder, Fold, Graph, Id, Native, Op, Point};
use std::collections::HashMap;

pub fn expand(graph: &Graph, extents: &[usize]) -> Result<Graph> {
    expanded(graph, extents, true)
}

/// Only what extents and exact arithmetic say: sizes as numbers, quotients by powers of two as products, and axes of one
/// element gone.
pub fn sized(graph: &Graph, extents: &[usize]) -> Result<Graph> {
    expanded(graph, extents, false)
}

fn expanded(graph: &Graph, extents: &[usize], composites: bool) -> Result<Graph> {
    let mut expansion =
        Expansion { graph, extents, composites, b: Builder::like(graph), at: vec![], rows: HashMap::new() };
    for id in graph.ids() {
        expansion.b.made_from(&graph.origins[usize::from(id)]);
        let expanded = expansion.node(id)?;
        expansion.at.push(expanded);
    }
    let Expansion { mut b, at, .. } = expansion;
    for output in &graph.outputs {
        b.output(&output.name, &output.axes, at[usize::from(output.value)]);
    }
    b.finish()
}

/// The parts of a log-sum-exp along a row.
#[derive(Clone, Copy)]
struct Row {
    exp: Id,
    sum: Id,
}

/// Whether a number is a power of two whose reciprocal is a normal number of every dtype.
fn is_power_of_two(x: f64) -> bool {
    let fraction = x.to_bits() << 12;
    fraction == 0 && (2f64.powi(-126)..=2f64.powi(126)).contains(&x)
}

/// Elements of a row whose logarithms are worth a sum of their own.
const LONG: usize = 256;

struct Expansion<'g> {
    graph: &'g Graph,
    extents: &'g [usize],
    /// Whether composites are written out too.
    composites: bool,
    b: Builder,
    /// Each node's expansion.
    at: Vec<Id>,
    /// By axis and (expanded) body.
    rows: HashMap<(AxisId, Id), Row>,
}

impl Expansion<'_> {
    fn node(&mut self, id: Id) -> Result<Id> {
        let node = self.graph.node(id);
        let args: Vec<Id> = node.args.iter().map(|&a| self.at[usize::from(a)]).collect();
        match node.op {
            Op::Axis(axis) if self.extents[axis.index()] == 1 => self.b.int(0),
            Op::Size => {
                let axis = self.graph.as_axis(node.args[0]).expect("verified");
                self.b.int(self.extents[axis.index()] as i64)
            }
            Op::Fold(fold) => {
                let (_, axis, _) = self.graph.as_fold(id).expect("verified");
                match fold {
                    _ if self.extents[axis.index()] == 1 => Ok(args[1]),
                    Fold::Lse if self.composites => self.lse(axis, args[1]),
                    Fold::Sum if self.composites && self.extents[axis.index()] >= LONG => self.sum(axis, args[1]),
                    _ => self.b.fold(fold, axis, args[1]),
                }
            }
            Op::Native(_) => {
                // Axes that are bound keep their names, even where they have one element.
                let (_, axes, _) = self.graph.as_native(id).expect("verified");
                let mut named = axes.into_iter().map(|a| self.b.index(a)).collect::<Result<Vec<_>>>()?;
                named.extend(&args[Native::AXES..]);
                self.b.add(node.op, &named)
            }
            Op::Point(Point::Div) => self.quotient(args[0], args[1]),
            op if !self.composites => self.b.add(op, &args),
            Op::Point(Point::Exp) => match self.softmax(node.args[0])? {
                Some(softmax) => Ok(softmax),
                None => self.b.exp(args[0]),
            },
            Op::Point(Point::Add) => self.add(args[0], args[1]),
            Op::Point(Point::Sub) => self.difference(node.args[0], node.args[1]),
            Op::Point(Point::Abs) => self.abs(args[0]),
            Op::Point(Point::Softplus) => self.softplus(args[0]),
            Op::Point(Point::Sigmoid) => self.sigmoid(args[0]),
            op => self.b.add(op, &args),
        }
    }

    fn row(&mut self, axis: AxisId, x: Id) -> Result<(Id, Row)> {
        let top = self.b.fold(Fold::Amax, axis, x)?;
        if let Some(&row) = self.rows.get(&(axis, x)) {
            return Ok((top, row));
        }
        let shifted = self.b.sub(x, top)?;
        let exp = self.b.exp(shifted)?;
        let sum = self.b.sum(axis, exp)?;
        let row = Row { exp, sum };
        self.rows.insert((axis, x), row);
        Ok((top, row))
    }

    /// max x + log Σ exp(x − max x)
    fn lse(&mut self, axis: AxisId, x: Id) -> Result<Id> {
        let (top, row) = self.row(axis, x)?;
        let log = self.b.log(row.sum)?;
        self.b.add2(log, top)
    }

    /// a − b. Where one is a log-sum-exp its maximum meets the other side first: the difference of two large numbers
    /// is exact, and the small logarithm keeps its digits.
    fn difference(&mut self, a: Id, b: Id) -> Result<Id> {
        let (left, right) = (self.at[usize::from(a)], self.at[usize::from(b)]);
        if let Some((top, log)) = self.parts(b)? {
            let shifted = self.b.sub(left, top)?;
            return self.b.sub(shifted, log);
        }
        if let Some((top, log)) = self.parts(a)? {
            let shifted = self.b.sub(top, right)?;
            return self.b.add2(shifted, log);
        }
        self.b.sub(left, right)
    }

    /// The maximum and the logarithm that make up a log-sum-exp.
    fn parts(&mut self, id: Id) -> Result<Option<(Id, Id)>> {
        match self.graph.as_fold(id) {
            Some((Fold::Lse, axis, x)) if self.extents[axis.index()] != 1 => {
                let (top, row) = self.row(axis, self.at[usize::from(x)])?;
                Ok(Some((top, self.b.log(row.sum)?)))
            }
            _ => Ok(None),
        }
    }

    /// exp(x − lse x) as exp(x − max x) · 1/Σ, where the argument has that form.
    fn softmax(&mut self, arg: Id) -> Result<Option<Id>> {
        let Some((Point::Sub, &[x, lse])) = self.graph.as_point(arg) else { return Ok(None) };
        let Some((Fold::Lse, axis, body)) = self.graph.as_fold(lse) else { return Ok(None) };
        if body != x || self.extents[axis.index()] == 1 {
            return Ok(None);
        }
        let (_, row) = self.row(axis, self.at[usize::from(x)])?;
        let one = self.b.float(1.0)?;
        let scale = self.b.div(one, row.sum)?;
        self.b.mul(row.exp, scale).map(Some)
    }

    /// z (c + a) + (1 − z) (c + b) as c + (z a + (1 − z) b): weights that add to one leave alone what both have.
    fn add(&mut self, x: Id, y: Id) -> Result<Id> {
        let Some((common, [(p, a), (q, b)])) = self.mixture(x, y) else { return self.b.add2(x, y) };
        let (a, b) = (self.b.mul(p, a)?, self.b.mul(q, b)?);
        let own = self.b.add2(a, b)?;
        self.b.add2(common, own)
    }

    /// c, and each weight with what its sum has beside c.
    fn mixture(&self, x: Id, y: Id) -> Option<(Id, [(Id, Id); 2])> {
        for (p, left) in self.pairs(x, Point::Mul) {
            for (q, right) in self.pairs(y, Point::Mul) {
                if !self.is_rest(q, p) && !self.is_rest(p, q) {
                    continue;
                }
                for (common, a) in self.pairs(left, Point::Add) {
                    if let Some((_, b)) = self.pairs(right, Point::Add).into_iter().find(|&(c, _)| c == common) {
                        return Some((common, [(p, a), (q, b)]));
                    }
                }
            }
        }
        None
    }

    /// The arguments of an expanded sum or product, in both orders.
    fn pairs(&self, id: Id, of: Point) -> Vec<(Id, Id)> {
        match self.b.graph().as_point(id) {
            Some((point, &[a, b])) if point == of => vec![(a, b), (b, a)],
            _ => vec![],
        }
    }

    /// Whether an expanded value is 1 − z.
    fn is_rest(&self, id: Id, z: Id) -> bool {
        let graph = self.b.graph();
        matches!(graph.as_point(id), Some((Point::Sub, &[one, of])) if of == z && graph.as_float(one) == Some(1.0))
    }

    /// Σ (log1p a + b) as Σ log1p a + Σ b: logarithms are added together, many with one.
    fn sum(&mut self, axis: AxisId, body: Id) -> Result<Id> {
        for (log, rest) in self.pairs(body, Point::Add) {
            if matches!(self.b.graph().as_point(log), Some((Point::Log1p, _))) {
                let (logs, rests) = (self.b.sum(axis, log)?, self.b.sum(axis, rest)?);
                return self.b.add2(logs, rests);
            }
        }
        self.b.sum(axis, body)
    }

    /// a / b; times 1/b where b is a power of two, which is the same float in less time.
    fn quotient(&mut self, a: Id, b: Id) -> Result<Id> {
        match self.b.graph().as_float(b) {
            Some(divisor) if is_power_of_two(divisor) => {
                let factor = self.b.float(divisor.recip())?;
                self.b.mul(factor, a)
            }
            _ => self.b.div(a, b),
        }
    }

    /// |x|, the same for −x.
    fn abs(&mut self, x: Id) -> Result<Id> {
        match self.b.graph().as_point(x) {
            Some((Point::Neg, &[opposite])) => self.b.abs(opposite),
            _ => self.b.abs(x),
        }
    }

    /// exp(−|x|)
    fn decay(&mut self, x: Id) -> Result<Id> {
        let size = self.abs(x)?;
        let exponent = self.b.neg(size)?;
        self.b.exp(exponent)
    }

    /// max(x, 0) + log1p(exp(−|x|))
    fn softplus(&mut self, x: Id) -> Result<Id> {
        let decay = self.decay(x)?;
        let rest = self.b.log1p(decay)?;
        let zero = self.b.float(0.0)?;
        let ramp = self.b.max(x, zero)?;
        self.b.add2(ramp, rest)
    }

    /// 1/(1 + e) where x ≥ 0, e/(1 + e) elsewhere, with e = exp(−|x|)
    fn sigmoid(&mut self, x: Id) -> Result<Id> {
        let decay = self.decay(x)?;
        let (zero, one) = (self.b.float(0.0)?, self.b.float(1.0)?);
        let below = self.b.add2(one, decay)?;
        let right = self.b.le(zero, x)?;
        let above = self.b.select(right, one, decay)?;
        self.b.div(above, below)
    }
}
