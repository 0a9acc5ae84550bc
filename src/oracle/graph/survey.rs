//! Survey: what values every node takes on certain inputs, in a few numbers.

use super::{Buffer, Data, evaluate_seen};
use crate::error::Result;
use crate::ir::{AxisId, Graph, Id};
use ndarray::Dimension;

/// The values of one floating node.
#[derive(Clone, PartialEq, Debug)]
pub struct Seen {
    pub id: Id,
    /// How many elements there are.
    pub count: usize,
    /// The smallest and the largest finite value, where there is any.
    pub range: Option<(f64, f64)>,
    pub nan: usize,
    /// Infinities, and what is beyond `largest`.
    pub infinite: usize,
    /// The first element that is NaN, else the first that is infinite, by its index along each of the node's axes.
    pub first_bad: Option<Vec<(AxisId, usize)>>,
}

impl Seen {
    /// Whether an element is NaN or infinite.
    pub fn is_bad(&self) -> bool {
        self.nan + self.infinite > 0
    }
}

/// Evaluates a graph and looks at every floating node but numbers, in order. Values beyond `largest` count as infinite, as
/// they would be in a narrower dtype.
///
/// # Errors
/// As [`evaluate`](super::evaluate).
pub fn survey(graph: &Graph, extents: &[usize], inputs: &[Buffer], largest: f64) -> Result<Vec<Seen>> {
    let mut all = vec![];
    evaluate_seen(graph, extents, inputs, &mut |id, value| {
        if let (Data::Float(values), false) = (&value.data, graph.op(id).is_leaf()) {
            let mut seen = Seen { id, count: values.len(), range: None, nan: 0, infinite: 0, first_bad: None };
            for (at, &x) in values.indexed_iter() {
                let first_nan = x.is_nan() && seen.nan == 0;
                if x.is_nan() {
                    seen.nan += 1;
                } else if x.abs() > largest {
                    seen.infinite += 1;
                } else {
                    let (low, high) = seen.range.unwrap_or((x, x));
                    seen.range = Some((low.min(x), high.max(x)));
                    continue;
                }
                if first_nan || seen.first_bad.is_none() {
                    seen.first_bad = Some(value.axes.iter().zip(at.slice().iter().copied()).collect());
                }
            }
            all.push(seen);
        }
    })?;
    Ok(all)
}
