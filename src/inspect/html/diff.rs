//! What a stage changed: which of its lines are new, and which lines of the stage before are gone.
//!
//! Numbers differ between stages, so lines are not compared as text. A node has a twin in the stage before if both have
//! the same op, and arguments that are the same leaves, twins, or made from one another: what only takes something that
//! was changed has not changed itself.

use crate::inspect::{Line, Listing, Node};
use std::collections::HashMap;

/// The difference of a stage from its parent.
pub struct Difference {
    /// By line: whether it has no twin.
    pub new: Vec<bool>,
    /// Lines of the parent that are gone, each with the line of this stage that it stood behind.
    pub gone: Vec<(Option<usize>, usize)>,
}

/// The difference, or `None` where there is no graph to compare: Cranelift's code shares no line with the loops.
pub fn difference(parent: &Listing, listing: &Listing) -> Option<Difference> {
    if parent.nodes.is_empty() || listing.nodes.is_empty() {
        return None;
    }
    let twins = twins(&parent.nodes, &listing.nodes);
    let is_new = |(place, line): (usize, &Line)| {
        let Some(&node) = line.nodes.first() else { return false };
        let defines = listing.nodes[node].line == Some(place);
        // An output is new where there was none of its name, whatever its value.
        let known = |left: &str| parent.lines.iter().any(|line| left_side(&line.text) == left);
        twins[node].is_none() && (defines || !known(left_side(&line.text)))
    };
    let new = listing.lines.iter().enumerate().map(is_new).collect();
    let mut child_of: HashMap<usize, usize> = HashMap::new();
    for (child, twin) in twins.iter().enumerate() {
        if let (Some(twin), Some(line)) = (twin, listing.nodes[child].line) {
            child_of.entry(*twin).or_insert(line);
        }
    }
    let mut gone = vec![];
    let mut behind = None;
    for (place, node) in parent.nodes.iter().enumerate() {
        match (node.line, child_of.get(&place)) {
            (Some(_), Some(&line)) => behind = Some(line),
            (Some(line), None) => gone.push((behind, line)),
            _ => {}
        }
    }
    Some(Difference { new, gone })
}

fn left_side(text: &str) -> &str {
    text.split(" = ").next().unwrap_or(text)
}

/// For each node of a stage its twin in the parent.
fn twins(parents: &[Node], nodes: &[Node]) -> Vec<Option<usize>> {
    let mut by_op: HashMap<(&str, usize), Vec<usize>> = HashMap::new();
    for (place, parent) in parents.iter().enumerate() {
        by_op.entry((&parent.op, parent.args.len())).or_default().push(place);
    }
    let mut twins: Vec<Option<usize>> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let same =
            |arg: usize, of: usize| twins[arg] == Some(of) || (!nodes[arg].leaf && nodes[arg].from.contains(&of));
        let fits = |parent: &Node| {
            let straight = node.args.iter().zip(&parent.args).all(|(&a, &p)| same(a, p));
            // Arguments of commutative ops stand in the order of their numbers, and those differ.
            straight || commutes(&node.op) && node.args.iter().zip(parent.args.iter().rev()).all(|(&a, &p)| same(a, p))
        };
        let candidates = by_op.get(&(&node.op, node.args.len()));
        let twin = candidates.into_iter().flatten().copied().find(|&p| fits(&parents[p]));
        twins.push(twin);
    }
    twins
}

fn commutes(word: &str) -> bool {
    use crate::ir::Op;
    matches!(Op::from_name(word), Some(Op::Point(point)) if point.commutes())
}
