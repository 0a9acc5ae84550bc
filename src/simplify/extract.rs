//! Chooses one node per value so that the whole graph, what is shared counted once, costs least.
//!
//! Greedy over sets: each class keeps the cheapest known set of classes that computes it, and improves on it until
//! nothing changes. (An exact choice is NP-hard; the sets see sharing below a class, which a tree cost does not.)

use super::cost::cost;
use super::facts::{Egraph, native_axes};
use crate::error::{Error, Result};
use crate::ir::{AxisSet, Id, Node, Op};
use std::collections::BTreeMap;

/// The cheapest node of each class that is needed.
pub struct Extraction {
    best: BTreeMap<Id, Best>,
}

struct Best {
    node: Node,
    total: u64,
    /// Every class that is computed, this one included, with what its node costs.
    set: BTreeMap<Id, u64>,
}

impl Extraction {
    pub fn new(egraph: &Egraph) -> Self {
        let mut best: BTreeMap<Id, Best> = BTreeMap::new();
        let mut classes: Vec<Id> = egraph.classes().map(|c| c.id).collect();
        classes.sort();
        let mut changed = true;
        while changed {
            changed = false;
            for &id in &classes {
                for node in egraph[id].nodes.iter().filter(|n| admissible(egraph, id, n)) {
                    let Some(candidate) = candidate(egraph, &best, id, node) else { continue };
                    let known = best.get(&id);
                    if known.is_none_or(|b| (candidate.total, &candidate.node) < (b.total, &b.node)) {
                        best.insert(id, candidate);
                        changed = true;
                    }
                }
            }
        }
        Self { best }
    }

    pub fn node(&self, egraph: &Egraph, id: Id) -> Result<&Node> {
        let found = self.best.get(&egraph.find(id)).map(|b| &b.node);
        found.ok_or_else(|| Error::internal("simplify", "a value has no finite form"))
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

fn candidate(egraph: &Egraph, best: &BTreeMap<Id, Best>, id: Id, node: &Node) -> Option<Best> {
    let mut set = BTreeMap::new();
    for &arg in &node.args {
        set.extend(&best.get(&egraph.find(arg))?.set);
    }
    if set.insert(id, cost(egraph, node)).is_some() {
        return None; // it would need itself
    }
    let total = set.values().fold(0u64, |sum, &c| sum.saturating_add(c));
    Some(Best { node: node.clone(), total, set })
}
