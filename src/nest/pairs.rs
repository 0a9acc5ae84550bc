//! Pairs: sums over what two rows share, or over the pairs themselves, that a native kernel takes for a block of rows.
//!
//! Such sums are the distances or products of every row of one input with every row of another, and what gradients
//! make of a weight for each pair. Loops of one row at a time read a row from the cache for each other row; the kernel
//! holds several in registers.

use super::Layout;
use super::plan::{Blocks, Plan};
use crate::ir::{AxisId, AxisSet, Fold, Graph, Id, Kind, Point};

/// What a pair's elements give.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Term {
    /// Σ (x − y)², or Σ weight · (x − y).
    Difference,
    /// Σ x · y, or Σ weight · y.
    Product,
}

/// A sum that the kernel can take.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PairSum {
    pub fold: Id,
    pub term: Term,
    /// The reads of a row of each side; x is not needed where a product is weighed.
    pub x: Option<Id>,
    pub y: Id,
    /// The axis of x's rows, of y's rows, and along a row.
    pub rows: AxisId,
    pub columns: AxisId,
    pub depth: AxisId,
    /// A number for each pair, where the sum runs over columns rather than along rows.
    pub weight: Option<Id>,
    /// What the kernel's sum is multiplied with.
    pub factor: f64,
}

/// Rows of a block: enough that reading the other side is spread over many. Twice as many, which is a panel of the kernel,
/// where a sum adds to what it came to in earlier blocks.
const BLOCK: usize = 64;

/// Numbers of pairs that a block may have: two such slots stay in the second-level cache.
const PAIRS: usize = 1 << 16;

/// Fewer terms than this are not worth a call.
const WORTH: usize = 1 << 14;

impl Plan {
    /// Blocks for the sums of a graph that go to the kernel; `None` where there are none.
    pub(super) fn of_pairs(graph: &Graph, extents: &[usize], layout: &Layout, order: &[AxisId]) -> Option<Self> {
        let found: Vec<PairSum> = graph.ids().filter_map(|id| pair_sum(graph, id)).collect();
        let first = found.iter().find(|sum| sum.weight.is_none())?;
        let axes = |sum: &PairSum| AxisSet::of(sum.rows).with(sum.columns).with(sum.depth);
        let along = |read: Id| is_along(graph, layout, read, first.depth);
        let fits = |sum: &PairSum| {
            axes(sum) == axes(first) && sum.depth == first.depth && sum.x.is_none_or(along) && along(sum.y)
        };
        let sums: Vec<PairSum> = found.iter().copied().filter(fits).collect();
        let place = |axis: AxisId| order.iter().position(|a| *a == axis);
        let (rows, columns) = (place(first.rows)?, place(first.columns)?);
        let (block, other) = if rows < columns { (first.rows, first.columns) } else { (first.columns, first.rows) };
        let terms = axes(first).iter().try_fold(1usize, |n, a| n.checked_mul(extents[a.index()]))?;
        // Such a block reads and writes the whole sum.
        let adds = sums.iter().any(|sum| sum.weight.is_some() && sum.columns == block);
        let most = if adds { 2 * BLOCK } else { BLOCK };
        let size = most.min(PAIRS / extents[other.index()].max(1)).max(1).min(extents[block.index()]);
        let worth = terms >= WORTH && extents[first.depth.index()] > 1 && place(first.depth)? > rows.max(columns);
        let blocks = Blocks { axis: block, size, outside: AxisSet::EMPTY, apart: None };
        let fits = worth && sums.contains(first) && order.first() == Some(&block);
        fits.then(|| Self { blocks: Some(blocks), sums, ..Self::in_order(order) })
    }

    pub(super) fn sum(&self, fold: Id) -> Option<&PairSum> {
        self.sums.iter().find(|sum| sum.fold == fold)
    }
}

/// Whether the elements of a row are neighbours in memory.
fn is_along(graph: &Graph, layout: &Layout, read: Id, depth: AxisId) -> bool {
    let Some((input, indices)) = graph.as_read(read) else { return false };
    let mut dims = indices.iter().zip(&layout.inputs[input.index()]);
    dims.any(|(&index, &stride)| graph.as_axis(index) == Some(depth) && stride == 1)
}

/// What the kernel would make of a fold.
pub fn pair_sum(graph: &Graph, fold: Id) -> Option<PairSum> {
    let (kind, axis, body) = graph.as_fold(fold)?;
    let (Point::Mul, &[a, b]) = graph.as_point(body)? else { return None };
    if kind != Fold::Sum {
        return None;
    }
    let none = PairSum {
        fold,
        term: Term::Product,
        x: None,
        y: b,
        rows: axis,
        columns: axis,
        depth: axis,
        weight: None,
        factor: 1.0,
    };
    let sum = if a == b {
        let (x, y) = difference(graph, a)?;
        PairSum {
            term: Term::Difference,
            x: Some(x),
            y,
            rows: row(graph, x, axis)?,
            columns: row(graph, y, axis)?,
            ..none
        }
    } else if let (Some(rows), Some(columns)) = (row(graph, a, axis), row(graph, b, axis)) {
        PairSum { x: Some(a), y: b, rows, columns, ..none }
    } else {
        weighed(graph, none, a, b).or_else(|| weighed(graph, none, b, a))?
    };
    let distinct = AxisSet::of(sum.rows).with(sum.columns).with(sum.depth).len() == 3;
    let free = graph.ty(fold).axes;
    let whole = AxisSet::of(sum.rows).with(sum.columns).with(sum.depth).without(axis);
    (distinct && free == whole).then_some(sum)
}

/// A sum over columns of terms with a weight for each pair.
fn weighed(graph: &Graph, none: PairSum, term: Id, weight: Id) -> Option<PairSum> {
    let axis = none.columns;
    let pair = graph.ty(weight).axes;
    if pair.len() != 2 || !pair.contains(axis) || graph.ty(weight).kind != Kind::Float {
        return None;
    }
    let rows = pair.without(axis).iter().next()?;
    let weighed = PairSum { weight: Some(weight), rows, ..none };
    if let Some((x, y)) = difference(graph, term) {
        let depth = graph.ty(term).axes.minus(pair).iter().next()?;
        let (of_x, of_y) = (row(graph, x, depth)?, row(graph, y, depth)?);
        let weighed = PairSum { term: Term::Difference, depth, ..weighed };
        return match (of_x == rows && of_y == axis, of_y == rows && of_x == axis) {
            (true, _) => Some(PairSum { x: Some(x), y, ..weighed }),
            (_, true) => Some(PairSum { x: Some(y), y: x, factor: -1.0, ..weighed }),
            _ => None,
        };
    }
    let depth = graph.ty(term).axes.without(axis).iter().next()?;
    (row(graph, term, depth)? == axis).then_some(PairSum { y: term, depth, ..weighed })
}

/// The operands of a difference of two reads.
fn difference(graph: &Graph, id: Id) -> Option<(Id, Id)> {
    match graph.as_point(id)? {
        (Point::Sub, &[x, y]) => Some((x, y)),
        _ => None,
    }
}

/// The axis of rows, where a value is a matrix read with its rows along `depth`.
fn row(graph: &Graph, read: Id, depth: AxisId) -> Option<AxisId> {
    let (_, indices) = graph.as_read(read)?;
    let axes: Vec<AxisId> = indices.iter().filter_map(|&i| graph.as_axis(i)).collect();
    match (axes.len() == indices.len() && graph.ty(read).kind == Kind::Float, &axes[..]) {
        (true, &[a, b]) if b == depth && a != depth => Some(a),
        (true, &[a, b]) if a == depth && b != depth => Some(b),
        _ => None,
    }
}
