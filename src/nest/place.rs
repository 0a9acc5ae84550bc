//! Place: puts every value into the outermost loop body that has what it needs.
//!
//! A value that a later loop needs again is computed again where that is cheap, and kept in a slot where it is not.
//! Which values are kept is found by trying: a walk that meets a costly value of a closed loop notes it, and the walk
//! starts over.

use super::phases::{Sink, Tree};
use super::plan::Plan;
use super::{Layout, Place, Slot, SlotId, Step, native_numbers, tile};
use crate::error::{Error, Result};
use crate::ir::{AxisId, AxisSet, Fold, Graph, Id, Kind, Op, Point, Work};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Recomputing costs at most so many flops; what costs more is kept.
const CHEAP: u32 = 10;

pub fn place(
    graph: &Graph,
    extents: &[usize],
    layout: &Layout,
    plan: &Plan,
    tree: &[Tree],
) -> Result<(Vec<Slot>, Vec<Step>)> {
    let mut kept = BTreeMap::new();
    // Every restart notes one more value, or shortens the loops that it and its users share.
    for _ in 0..=graph.nodes.len() * (plan.order.len() + 1) {
        let mut walk = Walk::new(graph, extents, layout, plan, &kept);
        match walk.trees(tree) {
            Ok(()) => return Ok((walk.slots, walk.bodies.pop().expect("the outermost"))),
            Err(Stop::Error(error)) => return Err(error),
            Err(Stop::Keep(value, shared)) => {
                let known = kept.entry(value).or_insert_with(|| shared.clone());
                let same = known.iter().zip(&shared).take_while(|(a, b)| a == b).count();
                known.truncate(same);
            }
        }
    }
    Err(Error::internal("nest", "no end of values to keep"))
}

/// An open loop, by its axis and number.
type Nested = (AxisId, usize);

enum Stop {
    Error(Error),
    /// The value must be kept; the loops that its maker and its user share.
    Keep(Id, Vec<Nested>),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Stop::Error(error)
    }
}

/// How a value is at hand.
#[derive(Clone, Copy)]
enum AtHand {
    Value,
    Slot(SlotId),
}

struct Walk<'g> {
    graph: &'g Graph,
    extents: &'g [usize],
    layout: &'g Layout,
    plan: &'g Plan,
    /// Where among the open loops the blocks are.
    block: Option<usize>,
    kept: &'g BTreeMap<Id, Vec<Nested>>,
    slots: Vec<Slot>,
    /// The loops that are open, outermost first.
    path: Vec<Nested>,
    /// The body of each open loop, and of the outermost level.
    bodies: Vec<Vec<Step>>,
    /// What is at hand in each of them.
    scopes: Vec<HashMap<Id, AtHand>>,
    /// Folds that are running: where they end, and their slot.
    running: HashMap<Id, Option<SlotId>>,
    /// The loops in which each value was made first.
    made: HashMap<Id, Vec<Nested>>,
}

impl<'g> Walk<'g> {
    fn new(
        graph: &'g Graph,
        extents: &'g [usize],
        layout: &'g Layout,
        plan: &'g Plan,
        kept: &'g BTreeMap<Id, Vec<Nested>>,
    ) -> Self {
        Self {
            graph,
            extents,
            layout,
            plan,
            block: None,
            kept,
            slots: vec![],
            path: vec![],
            bodies: vec![vec![]],
            scopes: vec![HashMap::new()],
            running: HashMap::new(),
            made: HashMap::new(),
        }
    }

    fn trees(&mut self, trees: &[Tree]) -> Result<(), Stop> {
        for tree in trees {
            match tree {
                Tree::Sink(Sink::Store(output)) => {
                    self.require(self.graph.outputs[*output].value)?;
                    self.push(Step::Store { output: *output });
                }
                Tree::Sink(Sink::Fold(fold)) => self.fold(*fold)?,
                Tree::Sink(Sink::Native { loss, grad }) => self.native(*loss, *grad)?,
                Tree::Sink(Sink::Keep(value)) => self.keep_early(*value)?,
                Tree::Sink(Sink::Pairs(fold)) => self.pairs(*fold)?,
                Tree::Loop { axis, number, body } => self.enter(*axis, *number, body)?,
                Tree::Block { axis, number, body } => self.blocks(*axis, *number, body)?,
            }
        }
        Ok(())
    }

    fn push(&mut self, step: Step) {
        self.bodies.last_mut().expect("the outermost").push(step);
    }

    fn enter(&mut self, axis: AxisId, number: usize, trees: &[Tree]) -> Result<(), Stop> {
        let body = self.inside(axis, number, trees)?;
        let is_loop = |s: &Step| matches!(s, Step::Loop { .. } | Step::Tile { .. } | Step::Block { .. });
        let leaf = !body.iter().any(|s| is_loop(s) || matches!(s, Step::Native { .. }));
        let in_block = self.block.is_some_and(|place| self.path[place].0 == axis);
        let step = if leaf {
            tile::tile(self.graph, self.layout, &mut self.slots, axis, in_block, body)
        } else {
            Step::Loop { axis, body }
        };
        self.push(step);
        if in_block { Ok(()) } else { self.finish_folds(axis) }
    }

    fn blocks(&mut self, axis: AxisId, number: usize, trees: &[Tree]) -> Result<(), Stop> {
        let size = self.plan.blocks.map_or(1, |blocks| blocks.size);
        self.block = Some(self.path.len());
        let body = self.inside(axis, number, trees)?;
        self.block = None;
        self.push(Step::Block { axis, size, body });
        self.finish_folds(axis)
    }

    /// The body of a loop.
    fn inside(&mut self, axis: AxisId, number: usize, trees: &[Tree]) -> Result<Vec<Step>, Stop> {
        self.path.push((axis, number));
        self.bodies.push(vec![]);
        self.scopes.push(HashMap::new());
        self.trees(trees)?;
        self.scopes.pop();
        self.path.pop();
        Ok(self.bodies.pop().expect("pushed above"))
    }

    /// A value that stays the same in later loops is made now; a weight is kept for all pairs of a block besides, a flat value
    /// for all its rows.
    fn keep_early(&mut self, value: Id) -> Result<(), Stop> {
        let is_weight = self.plan.sums.iter().any(|sum| sum.weight == Some(value));
        if (is_weight || self.plan.flat.contains(&value)) && !self.kept.contains_key(&value) {
            let block = self.block.ok_or_else(|| Error::internal("nest", "what a block keeps outside of it"))?;
            return Err(Stop::Keep(value, self.path[..=block].to_vec()));
        }
        self.require(value)?;
        Ok(())
    }

    fn pairs(&mut self, fold: Id) -> Result<(), Stop> {
        let missing = || Error::internal("nest", "a sum over pairs that has no plan");
        let block = self.block.ok_or_else(missing)?;
        let sum = *self.plan.sum(fold).ok_or_else(missing)?;
        let weight = match sum.weight {
            None => None,
            Some(value) => match self.scopes.last().and_then(|scope| scope.get(&value)) {
                Some(&AtHand::Slot(slot)) => Some(slot),
                _ => return Err(missing().into()),
            },
        };
        // A sum over the axis of the blocks lasts beyond them.
        let depth = if self.graph.ty(fold).axes.contains(self.path[block].0) { block + 1 } else { block };
        let into = self.slot(fold, depth, Place::Row);
        self.push(Step::Pairs { fold, weight, into });
        self.at_hand(depth, fold, AtHand::Slot(into));
        self.made.insert(fold, self.path[..depth].to_vec());
        Ok(())
    }

    /// The axes that have one index within the outer `depth` loops: a block has several.
    fn fixed(&self, depth: usize) -> AxisSet {
        let loops = self.path[..depth].iter().enumerate().filter(|(place, _)| Some(*place) != self.block);
        loops.map(|(_, (axis, _))| *axis).collect()
    }

    /// The folds along an axis end with its loop.
    fn finish_folds(&mut self, axis: AxisId) -> Result<(), Stop> {
        let along = |fold: &Id| self.graph.as_fold(*fold).is_some_and(|(_, bound, _)| bound == axis);
        let mut ended: Vec<(Id, Option<SlotId>)> =
            self.running.iter().map(|(f, s)| (*f, *s)).filter(|(f, _)| along(f)).collect();
        ended.sort();
        for (fold, slot) in ended {
            self.running.remove(&fold);
            self.made.insert(fold, self.path.clone());
            match slot {
                None => {
                    self.at_hand(self.path.len(), fold, AtHand::Value);
                    self.keep(self.path.len(), fold);
                }
                Some(slot) => self.at_hand(self.depth_of_kept(fold), fold, AtHand::Slot(slot)),
            }
        }
        Ok(())
    }

    fn at_hand(&mut self, depth: usize, value: Id, how: AtHand) {
        self.scopes[depth].insert(value, how);
    }

    /// Puts a value just made at `depth` into its slot, where it has one.
    fn keep(&mut self, depth: usize, value: Id) {
        if self.kept.contains_key(&value) {
            let shared = self.depth_of_kept(value);
            // The functions of a row's sum take all of its digits.
            let apart = self.plan.blocks.is_some_and(|blocks| blocks.apart.is_some());
            let slot = self.slot(value, shared, if apart && self.has_digits(value) { Place::Sums } else { Place::Row });
            self.bodies[depth].push(Step::Keep { value, slot });
            self.at_hand(shared, value, AtHand::Slot(slot));
            // In the loop that made it, the value itself is nearer.
            if shared != depth {
                self.at_hand(depth, value, AtHand::Value);
            }
        }
    }

    /// Whether a value is a sum, or the elementary function of one that is called for all rows.
    fn has_digits(&self, value: Id) -> bool {
        let is_sum = |id: Id| matches!(self.graph.as_fold(id), Some((Fold::Sum, ..)));
        let is_called = |(point, args): (Point, &[Id])| point.is_math() && args.iter().all(|&arg| is_sum(arg));
        let of_sum = || self.graph.as_point(value).is_some_and(is_called);
        is_sum(value) || self.plan.flat.contains(&value) && of_sum()
    }

    /// The depth of the loops that the maker of a value and its users share.
    fn depth_of_kept(&self, value: Id) -> usize {
        let shared = self.kept.get(&value).map_or(self.path.as_slice(), |p| p.as_slice());
        self.path.iter().zip(shared).take_while(|(a, b)| a == b).count()
    }

    /// Memory along the axes of a value that the outer `depth` loops do not fix.
    fn slot(&mut self, value: Id, depth: usize, place: Place) -> SlotId {
        let open = self.graph.ty(value).axes.minus(self.fixed(depth));
        let block = self.block.is_some_and(|block| depth > block && open.contains(self.path[block].0));
        let axes = self.plan.order.iter().copied().filter(|a| open.contains(*a)).collect();
        self.slots.push(Slot { value, axes, place, block });
        self.slots.len() - 1
    }

    fn fold(&mut self, fold: Id) -> Result<(), Stop> {
        let (kind, axis, body) = self.graph.as_fold(fold).expect("a fold");
        self.require(body)?;
        // A fold along the axis of the blocks lasts beyond them.
        let outside = match self.block {
            Some(block) if self.path[block].0 == axis => block,
            _ => self.depth_of(axis)? - 1,
        };
        let slot = if self.graph.ty(fold).axes.is_subset(self.fixed(outside)) {
            None
        } else {
            let place = if kind == Fold::Sum { Place::Sums } else { Place::Row };
            let shared = self.depth_of_kept(fold).min(outside);
            Some(self.slot(fold, shared, place))
        };
        self.bodies[outside].push(Step::Start { fold, slot });
        self.push(Step::Fold { fold, slot });
        self.running.insert(fold, slot);
        Ok(())
    }

    /// A native kernel takes numbers and whole planes; only the numbers must be at hand.
    fn native(&mut self, loss: Option<Id>, grad: Option<usize>) -> Result<(), Stop> {
        for node in loss.into_iter().chain(grad.map(|output| self.graph.outputs[output].value)) {
            let (_, _, args) = self.graph.as_native(node).expect("a native kernel");
            for &number in native_numbers(args) {
                self.require(number)?;
            }
        }
        self.push(Step::Native { loss, grad });
        if let Some(loss) = loss {
            let depth = self.path.len();
            self.at_hand(depth, loss, AtHand::Value);
            self.made.insert(loss, self.path.clone());
            self.keep(depth, loss);
        }
        Ok(())
    }

    /// The depth at which an axis has its index.
    fn depth_of(&self, axis: AxisId) -> Result<usize, Stop> {
        let found = self.path.iter().enumerate().position(|(place, (a, _))| *a == axis && Some(place) != self.block);
        Ok(found.ok_or_else(|| Error::internal("nest", "an index outside its loop"))? + 1)
    }

    fn depth_of_axes(&self, axes: AxisSet) -> Result<usize, Stop> {
        axes.iter().try_fold(0, |depth, axis| Ok(depth.max(self.depth_of(axis)?)))
    }

    /// Makes a value available to the innermost body, and says how deep it stands.
    fn require(&mut self, value: Id) -> Result<usize, Stop> {
        let op = self.graph.op(value);
        if op.is_leaf() {
            return self.depth_of_axes(self.graph.ty(value).axes);
        }
        for depth in (0..self.scopes.len()).rev() {
            match self.scopes[depth].get(&value) {
                Some(AtHand::Value) => return Ok(depth),
                Some(&AtHand::Slot(slot)) => {
                    let axes: AxisSet = self.slots[slot].axes.iter().copied().collect();
                    let at = depth.max(self.depth_of_axes(axes)?);
                    self.bodies[at].push(Step::Load { value, slot });
                    self.at_hand(at, value, AtHand::Value);
                    return Ok(at);
                }
                None => {}
            }
        }
        let elsewhere = self.made.get(&value).filter(|made| is_result(op) || !self.may_not_run(made, value)).cloned();
        if let Some(made) = elsewhere
            && (is_result(op)
                || self.is_float(value) && (self.plan.invariants.contains(&value) || self.is_costly(value)))
        {
            let shared = self.path.iter().zip(&made).take_while(|(a, b)| a == b).count();
            return Err(Stop::Keep(value, self.path[..shared].to_vec()));
        }
        if is_result(op) {
            return Err(Error::internal("nest", format!("{op} is needed before it runs")).into());
        }
        let mut depth = self.depth_of_axes(self.graph.ty(value).axes)?;
        for &arg in &self.graph.node(value).args {
            if !matches!(self.graph.op(arg), Op::Input(_)) {
                depth = depth.max(self.require(arg)?);
            }
        }
        self.bodies[depth].push(Step::Let(value));
        self.at_hand(depth, value, AtHand::Value);
        self.made.entry(value).or_insert_with(|| self.path[..depth].to_vec());
        self.keep(depth, value);
        Ok(depth)
    }

    /// Whether loops that have nothing to do with a value may have no turn.
    fn may_not_run(&self, loops: &[Nested], value: Id) -> bool {
        let own = self.graph.ty(value).axes;
        let open = |nested: &Nested| self.path.contains(nested);
        loops.iter().any(|nested| !open(nested) && !own.contains(nested.0) && self.extents[nested.0.index()] == 0)
    }

    /// What is compared with the largest of it is not made again either: outside lanes it would be rounded otherwise than in
    /// them, and the largest of several values would be none of them.
    fn is_costly(&self, value: Id) -> bool {
        self.cost(value, &mut HashSet::new()) > CHEAP || self.is_compared(value)
    }

    fn is_compared(&self, value: Id) -> bool {
        let is_largest = |&id: &Id| matches!(self.graph.as_fold(id), Some((Fold::Amax, ..)));
        let compares = |id: Id| {
            let compared = self.graph.as_point(id).filter(|(point, _)| *point == Point::Eq);
            compared.is_some_and(|(_, args)| args.contains(&value) && args.iter().any(is_largest))
        };
        self.graph.as_point(value).is_some() && self.graph.ids().any(compares)
    }

    /// Lanes that are no neighbours in memory take several instructions, or are read one by one.
    fn read_cost(&self, read: Id) -> u32 {
        let (Some((input, indices)), Some(blocks)) = (self.graph.as_read(read), self.plan.blocks) else { return 2 };
        let mut dims = indices.iter().zip(&self.layout.inputs[input.index()]);
        let apart = dims.any(|(&i, &stride)| self.graph.as_axis(i) == Some(blocks.axis) && stride != 1);
        if apart && self.plan.order.last() == Some(&blocks.axis) { CHEAP + 1 } else { 2 }
    }

    /// Slots hold floats; truth values and integers are made again from the floats and indices that they come from.
    fn is_float(&self, value: Id) -> bool {
        self.graph.ty(value).kind == Kind::Float
    }

    /// The flops of computing a value anew from what is at hand.
    fn cost(&self, value: Id, counted: &mut HashSet<Id>) -> u32 {
        let at_hand = self.scopes.iter().any(|s| s.contains_key(&value));
        if at_hand || !counted.insert(value) {
            return 0;
        }
        let own = match self.graph.op(value) {
            Op::Read => self.read_cost(value),
            Op::Point(point) => match point.work() {
                Work::Flops(n) => n,
                Work::Math | Work::Composite => 100,
            },
            op if is_result(op) => return 0, // kept on its own account
            _ => 0,
        };
        own + self.graph.node(value).args.iter().map(|&a| self.cost(a, counted)).sum::<u32>()
    }
}

/// Whether a value is what a loop or a native kernel gives in the end, rather than computed where it is needed.
fn is_result(op: Op) -> bool {
    matches!(op, Op::Fold(_) | Op::Native(_))
}
