//! Explain: how `simplify` got from one formula to another, as a chain of steps, each an application of one rule.
//!
//! egg explains a term by a tree of proofs, in which proofs of subterms are shared. Here the tree is made flat without
//! writing shared terms out: a term is a node of a graph, and where the same rewriting happens in several arguments of a
//! node it is one step that changes all of them.

use super::facts::{Egraph, Facts};
use super::saturate::saturate;
use crate::error::{Error, Result};
use crate::ir::{Builder, Graph, Id, Node, Op};
use egg::{RecExpr, TreeTerm};
use std::collections::HashMap;
use std::rc::Rc;

/// The reason for a step that only changes places of operands: the builder puts those of commutative ops in one order.
pub const ORDER: &str = "order of operands";

/// The most steps of one chain.
const MAX_STEPS: usize = 2_000;

/// One application of a rule to a part of a formula, in one or more places.
#[derive(Clone, PartialEq, Debug)]
pub struct Step {
    /// The name of a rule, [`ORDER`], or [`ARITHMETIC`](super::ARITHMETIC).
    pub rule: String,
    /// Whether the rule is read from right to left.
    pub backward: bool,
    /// The part that changes, and what it becomes.
    pub before: Id,
    pub after: Id,
    /// The whole formula afterwards.
    pub whole: Id,
}

/// For each output of `from`, the steps that lead to the output of the same name of `to`, which `simplify` made of it.
/// Formulas are nodes that are added to `terms`, which has the tables of both.
///
/// # Errors
/// The graphs are not equal by the rules, or a chain is too long.
pub fn explain(from: &Graph, to: &Graph, terms: &mut Builder) -> Result<Vec<Vec<Step>>> {
    let facts = Facts { inputs: from.inputs.iter().map(|i| i.kind).collect() };
    let (class, runner) = saturate(from, Egraph::new(facts).with_explanations_enabled());
    let mut egraph = runner.egraph;
    let reached = as_reached(&mut egraph, to);
    egraph.rebuild();
    let mut chains = vec![];
    for output in &from.outputs {
        let target = to.outputs.iter().find(|o| o.name == output.name);
        let target = target.ok_or_else(|| fault(&format!("{} is gone", output.name)))?;
        if egraph.find(class[usize::from(output.value)]) != egraph.find(reached.classes[usize::from(target.value)]) {
            return Err(fault(&format!("no rules lead from {} as it was to what it became", output.name)));
        }
        let (left, right) = (expression(&from.nodes, output.value), expression(&reached.nodes, target.value));
        let proof = egraph.explain_equivalence(&left, &right);
        let mut flat = Flat { terms, known: HashMap::new() };
        let chain = flat.chain(&proof.explanation_trees)?;
        let mut steps = without_circles(&chain);
        steps.extend(in_order(&reached, to, target.value, terms)?);
        chains.push(steps);
    }
    Ok(chains)
}

/// The steps that put operands in the order of the graph, one for each node whose operands change places.
fn in_order(reached: &Reached, graph: &Graph, value: Id, terms: &mut Builder) -> Result<Vec<Step>> {
    let mut nodes = reached.nodes.clone();
    let mut steps = vec![];
    for id in needed(&graph.nodes, value) {
        if nodes[usize::from(id)] != *graph.node(id) {
            let before = import(terms, &nodes, id)?;
            nodes[usize::from(id)] = graph.node(id).clone();
            let (after, whole) = (import(terms, &nodes, id)?, import(terms, &nodes, value)?);
            steps.push(Step { rule: ORDER.into(), backward: false, before, after, whole });
        }
    }
    Ok(steps)
}

/// The steps of a chain, less those that only lead back to where the formula was before.
fn without_circles(chain: &Chain) -> Vec<Step> {
    let mut steps: Vec<Step> = vec![];
    for (step, &whole) in chain.moves.iter().zip(&chain.states[1..]) {
        let known = steps.iter().position(|step| step.whole == whole).map(|place| place + 1);
        match if whole == chain.states[0] { Some(0) } else { known } {
            Some(place) => steps.truncate(place),
            None => steps.push(Step { whole, ..step.clone() }),
        }
    }
    steps
}

fn fault(problem: &str) -> Error {
    Error::internal("explain", problem)
}

/// A graph as the e-graph has it: the builder may have swapped operands of what was extracted.
struct Reached {
    nodes: Vec<Node>,
    classes: Vec<Id>,
}

fn as_reached(egraph: &mut Egraph, graph: &Graph) -> Reached {
    let mut reached = Reached { nodes: vec![], classes: vec![] };
    for id in graph.ids() {
        let node = graph.node(id);
        let mut swapped = node.clone();
        swapped.args.reverse();
        let commutes = matches!(node.op, Op::Point(point) if point.commutes());
        let in_classes = |node: &Node| {
            let mut node = node.clone();
            node.args.iter_mut().for_each(|a| *a = reached.classes[usize::from(*a)]);
            node
        };
        let known = |egraph: &Egraph, node: &Node| egraph.lookup(in_classes(node)).is_some();
        let as_found = if !known(egraph, node) && commutes && known(egraph, &swapped) { swapped } else { node.clone() };
        let class = egraph.add(in_classes(&as_found));
        reached.classes.push(class);
        reached.nodes.push(as_found);
    }
    reached
}

/// What a value is computed from, itself last.
fn needed(nodes: &[Node], value: Id) -> Vec<Id> {
    let mut is_needed = vec![false; nodes.len()];
    is_needed[usize::from(value)] = true;
    for (id, node) in nodes.iter().enumerate().rev().filter(|(id, _)| *id <= usize::from(value)) {
        if is_needed[id] {
            node.args.iter().for_each(|&a| is_needed[usize::from(a)] = true);
        }
    }
    (0..nodes.len()).filter(|&id| is_needed[id]).map(Id::from).collect()
}

/// The value as a term of egg.
fn expression(nodes: &[Node], value: Id) -> RecExpr<Node> {
    let mut place: HashMap<Id, Id> = HashMap::new();
    let mut terms = RecExpr::default();
    for id in needed(nodes, value) {
        let mut node = nodes[usize::from(id)].clone();
        node.args.iter_mut().for_each(|a| *a = place[a]);
        place.insert(id, terms.add(node));
    }
    terms
}

/// The value as a node of another graph with the same tables.
pub fn import(terms: &mut Builder, nodes: &[Node], value: Id) -> Result<Id> {
    let mut place: HashMap<Id, Id> = HashMap::new();
    for id in needed(nodes, value) {
        let mut node = nodes[usize::from(id)].clone();
        node.args.iter_mut().for_each(|a| *a = place[a]);
        place.insert(id, terms.intern(node)?);
    }
    Ok(place[&value])
}

/// The flat form of a proof.
struct Chain {
    /// `whole` is not known here.
    moves: Vec<Step>,
    /// The term before the first move and after each.
    states: Vec<Id>,
}

struct Flat<'b> {
    terms: &'b mut Builder,
    /// By the addresses of a proof's terms: equal proofs are shared.
    known: HashMap<Vec<*const TreeTerm<Node>>, Rc<Chain>>,
}

impl Flat<'_> {
    fn chain(&mut self, proof: &[Rc<TreeTerm<Node>>]) -> Result<Rc<Chain>> {
        let key: Vec<_> = proof.iter().map(Rc::as_ptr).collect();
        if let Some(known) = self.known.get(&key) {
            return Ok(known.clone());
        }
        let mut chain = Chain { moves: vec![], states: vec![] };
        let has_rule = |term: &TreeTerm<Node>| term.forward_rule.is_some() || term.backward_rule.is_some();
        let mut left = proof;
        while let Some((term, rest)) = left.split_first() {
            // What follows without a rule only changes arguments further.
            let (run, rest) = left.split_at(1 + rest.iter().take_while(|term| !has_rule(term)).count());
            left = rest;
            let inner = self.arguments(run)?;
            let mut args: Vec<Id> = inner.iter().map(|chain| chain.states[0]).collect();
            let first = self.terms.intern(Node::new(term.node.op, &args))?;
            let rule = (term.forward_rule.map(|rule| (rule, false))).or(term.backward_rule.map(|rule| (rule, true)));
            match (chain.states.last(), rule) {
                (None, _) => chain.states.push(first),
                (Some(&before), Some((rule, backward))) => {
                    let rule = rule.to_string();
                    chain.moves.push(Step { rule, backward, before, after: first, whole: first });
                    chain.states.push(first);
                }
                (Some(_), None) => return Err(fault("a proof has a gap")),
            }
            let mut done = vec![0; inner.len()];
            for (step, places) in together(&inner) {
                for place in places {
                    done[place] += 1;
                    args[place] = inner[place].states[done[place]];
                }
                chain.moves.push(step);
                chain.states.push(self.terms.intern(Node::new(term.node.op, &args))?);
            }
            if chain.moves.len() > MAX_STEPS {
                return Err(fault(&format!("more than {MAX_STEPS} steps")));
            }
        }
        let chain = Rc::new(chain);
        self.known.insert(key, chain.clone());
        Ok(chain)
    }

    /// The chain of each argument, through terms that differ in their arguments only.
    fn arguments(&mut self, run: &[Rc<TreeTerm<Node>>]) -> Result<Vec<Rc<Chain>>> {
        let mut arguments = vec![];
        for place in 0..run[0].child_proofs.len() {
            let mut parts = vec![];
            for term in run {
                let proof = term.child_proofs.get(place).ok_or_else(|| fault("an argument is gone"))?;
                parts.push(self.chain(proof)?);
            }
            arguments.push(joined(&parts)?);
        }
        Ok(arguments)
    }
}

/// One chain after the other.
fn joined(parts: &[Rc<Chain>]) -> Result<Rc<Chain>> {
    let [first, rest @ ..] = parts else { return Err(fault("nothing to join")) };
    if rest.iter().all(|part| part.moves.is_empty()) {
        return Ok(first.clone());
    }
    let mut chain = Chain { moves: first.moves.clone(), states: first.states.clone() };
    for part in rest {
        if chain.states.last() != part.states.first() {
            return Err(fault("the proof of an argument has a gap"));
        }
        chain.moves.extend_from_slice(&part.moves);
        chain.states.extend_from_slice(&part.states[1..]);
    }
    Ok(Rc::new(chain))
}

/// The moves of several chains in one order, each with the chains that make it.
fn together(chains: &[Rc<Chain>]) -> Vec<(Step, Vec<usize>)> {
    let mut merged: Vec<(Step, Vec<usize>)> = vec![];
    for (place, chain) in chains.iter().enumerate().filter(|(_, chain)| !chain.moves.is_empty()) {
        let shared = common(&merged, &chain.moves);
        let (mut left, mut right) = (0, 0);
        let mut next = vec![];
        for (l, r) in shared.into_iter().chain([(merged.len(), chain.moves.len())]) {
            next.extend_from_slice(&merged[left..l]);
            next.extend(chain.moves[right..r].iter().map(|step| (step.clone(), vec![place])));
            if let Some((step, places)) = merged.get(l) {
                next.push((step.clone(), places.iter().copied().chain([place]).collect()));
            }
            (left, right) = (l + 1, r + 1);
        }
        merged = next;
    }
    merged
}

/// A longest common subsequence: the places at which both have the same move.
fn common(left: &[(Step, Vec<usize>)], right: &[Step]) -> Vec<(usize, usize)> {
    let same = |l: usize, r: usize| {
        let (a, b) = (&left[l].0, &right[r]);
        (a.before, a.after, a.backward, &a.rule) == (b.before, b.after, b.backward, &b.rule)
    };
    let mut longest = vec![vec![0usize; right.len() + 1]; left.len() + 1];
    for l in (0..left.len()).rev() {
        for r in (0..right.len()).rev() {
            let skipped = longest[l + 1][r].max(longest[l][r + 1]);
            longest[l][r] = if same(l, r) { longest[l + 1][r + 1] + 1 } else { skipped };
        }
    }
    let (mut l, mut r) = (0, 0);
    let mut found = vec![];
    while l < left.len() && r < right.len() {
        if same(l, r) {
            found.push((l, r));
            (l, r) = (l + 1, r + 1);
        } else if longest[l + 1][r] >= longest[l][r + 1] {
            l += 1;
        } else {
            r += 1;
        }
    }
    found
}
