//! Plan: the order of the loops, and which axis is taken by blocks.
//!
//! Blocks serve four ends. A sum over pairs of rows takes several rows at once ([`pairs`](super::pairs)). Rows of a
//! few elements leave most lanes empty, so a block of them is turned: its lanes run from row to row, and what is
//! computed for each row is computed in lanes too. And of longer rows a block computes together what a row has one of, in
//! lanes along the rows, where that is much; and calls the elementary functions of elements in one long row. A block of columns,
//! last, goes through all rows where a fold over rows has a place for each column.

use super::pairs::PairSum;
use super::phases::order;
use super::{Layout, TILE};
use crate::ir::{AxisId, AxisSet, Fold, Graph, Id, Kind, Op, Point, Work};
use std::collections::BTreeSet;

#[derive(Clone, PartialEq, Debug)]
pub struct Plan {
    /// The axes that have loops, outermost first; inside a block too.
    pub order: Vec<AxisId>,
    pub blocks: Option<Blocks>,
    /// The sums over pairs that the kernel takes for a block.
    pub sums: Vec<PairSum>,
    /// Values that vary along the lanes but not along a loop around them: they are computed before that loop. And what rows
    /// that stand apart read by an index from data: it is read with the row, before anything is written in its place.
    pub invariants: BTreeSet<Id>,
    /// What is made for a block of rows at once: elementary functions of elements, which are one long row in memory, with what
    /// they are taken of, each in loops of its own; and what elements take from their row's functions and other work.
    pub flat: BTreeSet<Id>,
}

/// One axis, by blocks.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Blocks {
    pub axis: AxisId,
    /// Indices of a block.
    pub size: usize,
    /// The axes whose loops stand outside the blocks.
    pub outside: AxisSet,
    /// Where it is set, what does not run along this axis has loops of its own over a block, and so lanes along the rows.
    pub apart: Option<AxisId>,
}

/// Rows of more elements than this, in all buffers, are worth the calls of elementary functions that they make.
const SHORT: usize = 64;

/// The same where exponentials are summed from the largest on, which one call does: elements of a row, and in all buffers.
const SHORT_OF_EXPONENTIALS: (usize, usize) = (48, 84);

/// Rows of so few elements are turned for arithmetic alone.
const FEW: usize = 3;

/// Fewer rows than this are not worth turning: so many fill the widest vector.
const FEWEST_ROWS: usize = 16;

/// More flops for each row than this are worth lanes along the rows, however many elements it has.
const MUCH: u32 = 16;

/// Rows of a block whose elementary functions are called together.
const TOGETHER: usize = 64;

/// Rows of more elements than this take so long that one function more does not show.
const LONG: usize = 1 << 11;

/// Rows of so many elements are worth a call for several of them, where there are sums along them; and where elements wait for
/// the sums.
const SUMMED: (usize, usize) = (256, 48);

/// Elements of rows whose functions are called for several rows together, at least where they might be turned, and at most.
const FLAT: (usize, usize) = (16, 192);

/// Elements of rows, at most, that are gone over once more rather than wait each for its own function.
const AGAIN: usize = 1 << 10;

/// Elements of all that is kept of a block of such rows.
const FLAT_ELEMENTS: usize = 1 << 13;

/// Flops that are worth a load.
const WORTH: u32 = 4;

/// Elements of columns that folds over an outer axis take at once.
const COLUMNS: usize = 1 << 11;

/// Elements of a block, in all buffers: few enough for the first-level cache.
const ELEMENTS: usize = 1 << 13;

impl Plan {
    /// The plans that a graph may have, best first. The last one always holds.
    pub(super) fn all(graph: &Graph, extents: &[usize], layout: &Layout) -> Vec<Self> {
        let order = order(graph, extents, layout);
        let pairs = Self::of_pairs(graph, extents, layout, &order);
        let rows = Self::of_short_rows(graph, extents, &order);
        // Turned, or else as they lie.
        let shortest = if rows.is_some() { FLAT.0 } else { 2 };
        let flat = Self::of_flat_rows(graph, extents, layout, &order, shortest);
        let long = Self::of_long_rows(graph, extents, &order);
        // Exponentials from the largest of a row on wait for it, so that its elements are not by themselves.
        let waits = order.last().is_some_and(|&inner| has_largest(graph, inner));
        let (first, second) = if waits { (rows, flat) } else { (flat, rows) };
        let columns = Self::of_columns(graph, extents, &order);
        let plans = [pairs, columns, first, second, long, Some(Self::in_order(&order))].into_iter().flatten();
        plans.map(|plan| Self { invariants: plan.loop_invariants(graph), ..plan }).collect()
    }

    /// Loops in this order, and nothing else.
    pub(super) fn in_order(order: &[AxisId]) -> Self {
        let (invariants, flat) = (BTreeSet::new(), BTreeSet::new());
        Self { order: order.to_vec(), blocks: None, sums: vec![], invariants, flat }
    }

    /// What a loop around the lanes would compute again in each of its turns. Where that loop is the outermost one, it is
    /// cut among threads, and nothing stands before it.
    fn loop_invariants(&self, graph: &Graph) -> BTreeSet<Id> {
        let outermost = match self.blocks {
            Some(blocks) if blocks.outside == AxisSet::EMPTY => Some(blocks.axis),
            _ => self.order.first().copied(),
        };
        let (Some(first), Some(&lanes)) = (outermost, self.order.last()) else { return BTreeSet::new() };
        let works = works(graph);
        let mut invariants = self.reads_by_data(graph);
        for user in graph.ids().filter(|&id| graph.as_point(id).is_some()) {
            for &value in &graph.node(user).args {
                let axes = graph.ty(value).axes;
                let stays = axes.contains(lanes) && axes.contains(first) && axes != graph.ty(user).axes;
                if stays && graph.ty(value).kind == Kind::Float && works[usize::from(value)] >= WORTH {
                    invariants.insert(value);
                }
            }
        }
        invariants
    }

    fn reads_by_data(&self, graph: &Graph) -> BTreeSet<Id> {
        let Some(Blocks { axis, apart: Some(inner), .. }) = self.blocks else { return BTreeSet::new() };
        let by_data = |&id: &Id| {
            let (axes, read) = (graph.ty(id).axes, graph.as_read(id));
            let plain = |&index: &Id| matches!(graph.op(index), Op::Axis(_) | Op::Int(_));
            let float = graph.ty(id).kind == Kind::Float && axes.contains(axis) && !axes.contains(inner);
            float && read.is_some_and(|(_, indices)| !indices.iter().all(plain))
        };
        graph.ids().filter(by_data).collect()
    }

    /// Blocks of the second axis from the inside, and lanes along it, where the innermost is short.
    fn of_short_rows(graph: &Graph, extents: &[usize], order: &[AxisId]) -> Option<Self> {
        let [outside @ .., rows, inner] = order else { return None };
        let extent = |axis: &AxisId| extents[axis.index()];
        let whole = |axes: &[AxisId]| axes.contains(rows) && axes.contains(inner);
        let row = extent(inner) * graph.buffers().filter(|axes| whole(axes)).count();
        // A sum over the rows would share one element of its slot among the lanes.
        let across = |id| {
            let along_rows = graph.as_fold(id).is_some_and(|(_, bound, _)| bound == *rows);
            along_rows && graph.ty(id).axes.contains(*inner)
        };
        let native = graph.ids().any(|id| matches!(graph.op(id), Op::Native(_)));
        let many = extent(rows) >= FEWEST_ROWS.max(2 * extent(inner));
        if row == 0 || !many || native || graph.ids().any(across) || !is_short(graph, *inner, extent(inner), row) {
            return None;
        }
        let size = rows_with(ELEMENTS, row).clamp(FEWEST_ROWS, TILE).min(extent(rows));
        let blocks = Blocks { axis: *rows, size, outside: outside.iter().copied().collect(), apart: None };
        Some(Self { blocks: Some(blocks), ..Self::in_order(&[outside, &[*inner, *rows]].concat()) })
    }
}

impl Plan {
    /// Blocks of rows for all of which together is computed what a row has one of: one by one an elementary function takes as
    /// long as a hundred elements of the row, and roots and quotients one after the other as long as dozens.
    fn of_long_rows(graph: &Graph, extents: &[usize], order: &[AxisId]) -> Option<Self> {
        let [outside @ .., rows, inner] = order else { return None };
        let native = graph.ids().any(|id| matches!(graph.op(id), Op::Native(_)));
        let few = extents[rows.index()] < FEWEST_ROWS || extents[inner.index()] > LONG;
        let functions = || row_functions(graph, [*rows, *inner]).iter().any(|(_, waited)| !waited);
        let sums = || has_short_sums(graph, [*rows, *inner], extents[inner.index()]);
        if native || few || !(sums() || functions() || is_much_for_row(graph, [*rows, *inner])) {
            return None;
        }
        let size = rows_with(ELEMENTS, extents[inner.index()]).clamp(TOGETHER, TILE).min(extents[rows.index()]);
        let outside = outside.iter().copied().collect();
        let blocks = Some(Blocks { axis: *rows, size, outside, apart: Some(*inner) });
        Some(Self { blocks, ..Self::in_order(order) })
    }
}

impl Plan {
    /// Blocks of rows that lie one behind the other, whose elements' functions are called for all of them together; or of any
    /// rows whose elements wait for functions or much other work of their row.
    fn of_flat_rows(
        graph: &Graph,
        extents: &[usize],
        layout: &Layout,
        order: &[AxisId],
        shortest: usize,
    ) -> Option<Self> {
        let [outside @ .., rows, inner] = order else { return None };
        let (count, length) = (extents[rows.index()], extents[inner.index()]);
        let native = graph.ids().any(|id| matches!(graph.op(id), Op::Native(_)));
        if native || count < FEWEST_ROWS || !(shortest..=AGAIN).contains(&length) {
            return None;
        }
        let short = length <= FLAT.1;
        let mut flat = if short { flat_values(graph, layout, [*rows, *inner], length) } else { BTreeSet::new() };
        // Where no elements are kept, those are gone over again that the row has.
        let whole = |axes: &&Vec<AxisId>| axes.contains(rows) && axes.contains(inner);
        let kept = if flat.is_empty() { graph.buffers().filter(whole).count().max(1) } else { flat.len() };
        let of_row = row_functions(graph, [*rows, *inner]);
        // What depends on another loop than that over the row may end outside of the blocks.
        let beyond = below_folds(graph, |along| along != *inner);
        let much = is_much_for_row(graph, [*rows, *inner]);
        let sums = has_short_sums(graph, [*rows, *inner], length);
        let results = if sums || much { row_results(graph, [*rows, *inner]) } else { BTreeSet::new() };
        let waited = of_row.iter().filter(|(_, waited)| *waited).map(|(id, _)| *id);
        flat.extend(waited.chain(results).filter(|id| !beyond.contains(id)));
        if flat.is_empty() {
            return None;
        }
        let apart = (sums || much || !of_row.is_empty()).then_some(*inner);
        let size = rows_with(FLAT_ELEMENTS, length * kept).clamp(FEWEST_ROWS, TOGETHER).min(count);
        let blocks = Some(Blocks { axis: *rows, size, outside: outside.iter().copied().collect(), apart });
        Some(Self { blocks, flat, ..Self::in_order(order) })
    }
}

impl Plan {
    /// Blocks of what folds over an outer axis have a place for, where all of it would fill the nearest cache: each block goes
    /// through all indices of that axis.
    fn of_columns(graph: &Graph, extents: &[usize], order: &[AxisId]) -> Option<Self> {
        let folds = || graph.ids().filter_map(|id| graph.as_fold(id).map(|(_, bound, _)| (bound, graph.ty(id).axes)));
        let native = graph.ids().any(|id| matches!(graph.op(id), Op::Native(_)));
        let place = (1..order.len()).rev().find(|&place| {
            folds().any(|(bound, axes)| bound == order[place - 1] && order[place..].iter().all(|a| axes.contains(*a)))
        })?;
        let size = |axes: &[AxisId]| axes.iter().fold(1usize, |n, axis| n.saturating_mul(extents[axis.index()]));
        let (all, inside) = (size(&order[place..]), size(&order[place + 1..]));
        // A sum along the blocks would share one element of its slot among them.
        let across = folds().any(|(bound, axes)| bound == order[place] && axes.contains(order[place - 1]));
        if native || across || all <= 4 * COLUMNS || extents[order[place - 1].index()] < 2 {
            return None;
        }
        let size = (COLUMNS / inside.max(1)).clamp(1, extents[order[place].index()]);
        let outside = order[..place - 1].iter().copied().collect();
        let blocks = Some(Blocks { axis: order[place], size, outside, apart: None });
        Some(Self { blocks, ..Self::in_order(order) })
    }
}

/// How many rows of such a length have so many elements together, in whole vectors.
fn rows_with(elements: usize, length: usize) -> usize {
    elements / length.max(1) / FEWEST_ROWS * FEWEST_ROWS
}

/// The elementary functions of elements of rows that follow each other in memory, but those that wait for what a whole loop
/// gives; with their arguments, where these are no memory already.
fn flat_values(graph: &Graph, layout: &Layout, [rows, inner]: [AxisId; 2], length: usize) -> BTreeSet<Id> {
    let both = |id: Id| graph.ty(id).axes.contains(rows) && graph.ty(id).axes.contains(inner);
    let waits = below_folds(graph, |_| true);
    let mut flat = BTreeSet::new();
    for id in graph.ids().filter(|id| !waits.contains(id)) {
        let Some((_, &[arg])) = graph.as_point(id).filter(|(point, _)| point.is_math() && both(id)) else { continue };
        let in_memory = |x: Id| flat.contains(&x) || follows_rows(graph, layout, x, [rows, inner], length);
        let alike = |k: Id| graph.ty(k).axes == AxisSet::EMPTY;
        let affine = match graph.as_point(arg) {
            Some((Point::Neg, &[x])) => in_memory(x),
            Some((Point::Add | Point::Sub | Point::Mul, &[x, k])) => {
                in_memory(x) && alike(k) || in_memory(k) && alike(x)
            }
            _ => in_memory(arg),
        };
        if !affine {
            flat.insert(arg);
        }
        flat.insert(id);
    }
    flat
}

/// The values that depend on a fold along such an axis.
fn below_folds(graph: &Graph, along: impl Fn(AxisId) -> bool) -> BTreeSet<Id> {
    let mut below = BTreeSet::new();
    for id in graph.ids() {
        let is_fold = graph.as_fold(id).is_some_and(|(_, bound, _)| along(bound));
        if is_fold || graph.node(id).args.iter().any(|arg| below.contains(arg)) {
            below.insert(id);
        }
    }
    below
}

/// The elementary functions that a row has one of, each with whether its elements wait for it.
fn row_functions(graph: &Graph, [rows, inner]: [AxisId; 2]) -> Vec<(Id, bool)> {
    let mut waited: BTreeSet<Id> = BTreeSet::new();
    for user in graph.ids().collect::<Vec<_>>().into_iter().rev() {
        if graph.ty(user).axes.contains(inner) || waited.contains(&user) {
            waited.extend(graph.node(user).args.iter().copied());
        }
    }
    let of_row = |id: &Id| {
        let math = graph.as_point(*id).is_some_and(|(point, _)| point.is_math());
        math && graph.ty(*id).axes.contains(rows) && !graph.ty(*id).axes.contains(inner)
    };
    graph.ids().filter(of_row).map(|id| (id, waited.contains(&id))).collect()
}

/// The numbers that elements take from what is computed for their row.
fn row_results(graph: &Graph, [rows, inner]: [AxisId; 2]) -> BTreeSet<Id> {
    let below = below_folds(graph, |along| along == inner);
    let of_element = |id: &Id| graph.as_point(*id).is_some() && graph.ty(*id).axes.contains(inner);
    let mut users: Vec<Id> = graph.ids().filter(of_element).collect();
    let mut results = BTreeSet::new();
    while let Some(user) = users.pop() {
        for &arg in &graph.node(user).args {
            let ty = graph.ty(arg);
            if !ty.axes.contains(rows) || ty.axes.contains(inner) || !below.contains(&arg) {
                continue;
            }
            if ty.kind != Kind::Float {
                users.push(arg);
            } else if graph.as_point(arg).is_some() {
                results.insert(arg);
            }
        }
    }
    results
}

/// Whether what is computed once for a row, below its folds, is worth lanes along the rows.
fn is_much_for_row(graph: &Graph, [rows, inner]: [AxisId; 2]) -> bool {
    let below = below_folds(graph, |along| along == inner);
    let for_row = |id: &Id| graph.ty(*id).axes.contains(rows) && !graph.ty(*id).axes.contains(inner);
    let flops = |id: Id| match graph.as_point(id).map(|(point, _)| point.work()) {
        Some(Work::Flops(flops)) => flops,
        _ => 0,
    };
    graph.ids().filter(|id| below.contains(id) && for_row(id)).map(flops).sum::<u32>() > MUCH
}

/// Whether a read goes from the end of a row to the beginning of the next.
pub(crate) fn follows_rows(
    graph: &Graph,
    layout: &Layout,
    read: Id,
    [rows, inner]: [AxisId; 2],
    length: usize,
) -> bool {
    let Some((input, indices)) = graph.as_read(read) else { return false };
    let strides = &layout.inputs[input.index()];
    let along = |axis| indices.iter().zip(strides).filter(move |(i, _)| graph.as_axis(**i) == Some(axis));
    let step = |axis| along(axis).map(|(_, stride)| *stride).sum::<isize>();
    let plain = indices.iter().all(|&i| matches!(graph.op(i), Op::Axis(_) | Op::Int(_)));
    plain && step(inner) == 1 && step(rows) == length as isize
}

/// For every node the flops of its value from folds, reads and constants.
fn works(graph: &Graph) -> Vec<u32> {
    let mut works: Vec<u32> = vec![];
    for id in graph.ids() {
        let own = graph.as_point(id).map(|(point, args)| {
            let own = match point.work() {
                Work::Flops(flops) => flops,
                Work::Math | Work::Composite => WORTH,
            };
            args.iter().fold(own, |work, &arg| work.saturating_add(works[usize::from(arg)]))
        });
        works.push(own.unwrap_or(0));
    }
    works
}

/// Whether rows have sums, and are so short that calls for several of them pay: the more so if elements wait for the sums, and
/// would be nearer in the cache if each row was done at once.
fn has_short_sums(graph: &Graph, [rows, inner]: [AxisId; 2], length: usize) -> bool {
    let is_sum = |id| matches!(graph.as_fold(id), Some((Fold::Sum, bound, _)) if bound == inner);
    let at_once = row_functions(graph, [rows, inner]).is_empty() && !row_results(graph, [rows, inner]).is_empty();
    let (summed, waited) = SUMMED;
    length <= if at_once { waited } else { summed } && graph.ids().any(is_sum)
}

fn has_largest(graph: &Graph, axis: AxisId) -> bool {
    graph.ids().any(|id| matches!(graph.as_fold(id), Some((Fold::Amax, bound, _)) if bound == axis))
}

/// Whether rows gain by being turned. Elementary functions are called for a row's few elements else. Arithmetic alone gains
/// where lanes would be empty: four elements fill a narrow vector.
fn is_short(graph: &Graph, inner: AxisId, length: usize, row: usize) -> bool {
    if graph.ids().any(|id| graph.as_point(id).is_some_and(|(point, _)| point.is_math())) {
        let (most, in_all) = SHORT_OF_EXPONENTIALS;
        return if has_largest(graph, inner) { length <= most && row <= in_all } else { row <= SHORT };
    }
    length <= FEW
}
