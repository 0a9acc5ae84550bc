//! Chooses one node per value so that the whole graph, what is shared counted once, costs least.
//!
//! Greedy over sets: each class keeps the cheapest known set of classes that computes it, and improves on it until
//! nothing changes. (An exact choice is NP-hard; the sets see sharing below a class, which a tree cost does not.)

use super::cost::cost;
use super::facts::{Egraph, native_axes};
use crate::ir::{AxisSet, Id, Node, Op};
use std::collections::HashMap;

/// The cheapest node of each class that is needed.
pub struct Extraction {
    best: Vec<Option<Best>>,
    places: HashMap<Id, usize>,
}

struct Best {
    node: Node,
    /// What the node costs itself.
    own: u64,
    total: u64,
    set: Set,
}

/// The classes that are computed for a value, itself included: a bit for each, by place. Sets of all classes of a deep graph
/// in any wider form would take gigabytes.
#[derive(Clone)]
struct Set(Vec<u64>);

impl Set {
    fn extend(&mut self, other: &Set) {
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| *a |= b);
    }

    /// Whether the place is new.
    fn insert(&mut self, place: usize) -> bool {
        let (word, bit) = (&mut self.0[place / 64], 1 << (place % 64));
        let new = *word & bit == 0;
        *word |= bit;
        new
    }

    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        let ones = |mut word: u64| {
            std::iter::from_fn(move || {
                let bit = word.trailing_zeros() as usize;
                word &= word.wrapping_sub(1);
                (bit < 64).then_some(bit)
            })
        };
        self.0.iter().enumerate().flat_map(move |(at, &word)| ones(word).map(move |bit| 64 * at + bit))
    }
}

impl Extraction {
    pub fn new(egraph: &Egraph) -> Self {
        let mut classes: Vec<Id> = egraph.classes().map(|c| c.id).collect();
        classes.sort();
        let places = classes.iter().enumerate().map(|(place, &id)| (id, place)).collect();
        let mut found = Self { best: classes.iter().map(|_| None).collect(), places };
        let mut changed = true;
        while changed {
            changed = false;
            for (place, &id) in classes.iter().enumerate() {
                for node in egraph[id].nodes.iter().filter(|n| admissible(egraph, id, n)) {
                    let Some(candidate) = found.candidate(egraph, place, node) else { continue };
                    let known = found.best[place].as_ref();
                    if known.is_none_or(|b| (candidate.total, &candidate.node) < (b.total, &b.node)) {
                        found.best[place] = Some(candidate);
                        changed = true;
                    }
                }
            }
        }
        found
    }

    fn of(&self, egraph: &Egraph, id: Id) -> Option<&Best> {
        self.best[*self.places.get(&egraph.find(id))?].as_ref()
    }

    fn candidate(&self, egraph: &Egraph, place: usize, node: &Node) -> Option<Best> {
        let mut set = Set(vec![0; self.best.len().div_ceil(64)]);
        let mut dearest = 0;
        for &arg in &node.args {
            let arg = self.of(egraph, arg)?;
            set.extend(&arg.set);
            dearest = dearest.max(arg.total);
        }
        let below = set.places().filter_map(|p| self.best[p].as_ref()).map(|b| b.own);
        let own = cost(egraph, node);
        // Sets are those of the moment, and what they hold may have become cheaper by needing more. A total above that of
        // each argument keeps the choices free of cycles, as totals only fall.
        let total = below.fold(own, u64::saturating_add).max(own.saturating_add(dearest));
        // One that is there already would need itself.
        set.insert(place).then(|| Best { node: node.clone(), own, total, set })
    }

    /// The node to compute a class by. There is none where forms along different axes were found equal, such as `a − a` and
    /// `b − b`: the class varies along what they share, and no form of it keeps to that.
    pub fn node(&self, egraph: &Egraph, id: Id) -> Option<&Node> {
        self.of(egraph, id).map(|b| &b.node)
    }
}

/// A term must not vary along more axes than its value does: it would read an index that no loop binds.
fn admissible(egraph: &Egraph, id: Id, node: &Node) -> bool {
    let facts = || node.args.iter().map(|&a| &egraph[a].data);
    let axes = match node.op {
        Op::Axis(_) => return true,
        Op::Size => AxisSet::EMPTY,
        Op::Fold(_) => match egraph[node.args[0]].data.axis {
            Some(axis) => egraph[node.args[1]].data.axes.without(axis),
            None => return false,
        },
        Op::Native(_) => match native_axes(egraph, node) {
            Some(axes) => axes,
            None => return false,
        },
        _ => facts().fold(AxisSet::EMPTY, |set, f| set.union(f.axes)),
    };
    axes.is_subset(egraph[id].data.axes)
}
