//! Derivations: the whole chain from a declared formula to what the loops compute, for the loss and each gradient.

use super::formula::{Names, Open, equation, pattern};
use super::laws::laws;
use super::report::{Derivation, RewriteStep, Stage, Validity};
use crate::error::{Error, Result};
use crate::ir::{AxisId, Builder, Graph, Id};
use crate::nest::{Nest, sized};
use crate::runtime::pipeline::Stages;
use crate::simplify::{self, Guard, RULES, Rule, explain, import};

/// The name of the step from a loss to a gradient.
pub const DERIVATIVE: &str = "derivative";
/// The name of the step that writes sizes as numbers, and divisors that are powers of two as factors; a sum along an axis
/// of one element is its term.
pub const SIZED: &str = "sizes as numbers, powers of two as factors";
/// The name of the step that makes one axis of several that follow each other in memory.
pub const COLLAPSED: &str = "axes that follow each other as one";
/// The name of the step that writes composites out: log-sum-exp by its maximum, sigmoid and softplus by `exp(−|x|)`.
pub const WRITTEN_OUT: &str = "composites written out";

/// The steps of a derivation as graphs: what a [`Derivation`] shows, to be checked.
#[derive(Clone, Debug)]
pub struct Proof {
    pub output: String,
    /// All formulas, as nodes of one graph.
    pub terms: Graph,
    pub declared: Id,
    pub steps: Vec<ProofStep>,
    axes: Vec<AxisId>,
    loss: Vec<AxisId>,
}

/// One step of a proof.
#[derive(Clone, PartialEq, Debug)]
pub struct ProofStep {
    pub stage: Stage,
    pub rule: String,
    pub backward: bool,
    pub validity: Validity,
    /// The part that changes, and what it becomes.
    pub before: Id,
    pub after: Id,
    /// The whole formula afterwards.
    pub whole: Id,
}

impl Proof {
    /// The formula before the first step and after each, as graphs with one output. Those behind [`COLLAPSED`] are along the axes
    /// that the nest has, of its extents.
    ///
    /// # Errors
    /// A formula is no graph: it varies along an axis that the output does not have.
    pub fn formulas(&self) -> Result<Vec<Graph>> {
        let mut axes =
            if self.steps.iter().any(|s| s.validity == Validity::Derivative) { &self.loss } else { &self.axes };
        let mut graphs = vec![self.formula(self.declared, axes)?];
        for step in &self.steps {
            if step.validity == Validity::Derivative {
                axes = &self.axes;
            }
            graphs.push(self.formula(step.whole, axes)?);
        }
        Ok(graphs)
    }

    fn formula(&self, value: Id, axes: &[AxisId]) -> Result<Graph> {
        let mut builder = Builder::from(&Graph { outputs: vec![], ..self.terms.clone() });
        builder.output(&self.output, axes, value);
        builder.finish()
    }

    /// Every formula, from the declared one on.
    fn wholes(&self) -> impl Iterator<Item = Id> {
        std::iter::once(self.declared).chain(self.steps.iter().map(|step| step.whole))
    }

    fn show(&self, names: &Names) -> Derivation {
        let steps = self.steps.iter().zip(1..).map(|(step, number)| {
            let rule = RULES.iter().find(|rule| rule.name == step.rule);
            let sides = rule.map(|rule| [pattern(rule.left), pattern(rule.right)]);
            let side = |right: bool| sides.as_ref().map_or(Open::Root, |sides| Open::Like(&sides[usize::from(right)]));
            RewriteStep {
                number,
                stage: step.stage,
                rule: step.rule.clone(),
                equation: match step.rule.as_str() {
                    WRITTEN_OUT => {
                        Some(laws(names.terms(), step.before, step.after).join("; ")).filter(|laws| !laws.is_empty())
                    }
                    _ => rule.map(|rule| equation(rule.left, rule.right)),
                },
                guards: rule.map_or(vec![], guards),
                backward: step.backward,
                validity: step.validity,
                part_before: names.formula(step.before, side(step.backward)),
                part_after: names.formula(step.after, side(!step.backward)),
                after: names.formula(step.whole, Open::Root),
            }
        });
        let compiled = self.wholes().last().unwrap_or(self.declared);
        Derivation {
            output: self.output.clone(),
            declared: names.formula(self.declared, Open::Root),
            steps: steps.collect(),
            compiled: names.formula(compiled, Open::Root),
        }
    }
}

/// Proofs as people read them. A name means the same in all of them; the second list has those of the nodes of the graph
/// that the proofs end with.
pub(super) fn show(proofs: &[Proof], compiled: &Graph) -> Result<(Vec<Derivation>, Vec<Option<String>>)> {
    let formulas: Vec<Id> = proofs.iter().flat_map(Proof::wholes).collect();
    let Some(proof) = proofs.first() else { return Ok((vec![], vec![])) };
    let names = Names::new(&proof.terms, &formulas);
    // What is in the terms already is found there, and what is not has no name.
    let mut terms = Builder::from(&Graph { outputs: vec![], ..proof.terms.clone() });
    let mut named = vec![];
    for id in compiled.ids() {
        let term = import(&mut terms, &compiled.nodes, id)?;
        named.push(names.of(term).map(str::to_string));
    }
    Ok((proofs.iter().map(|proof| proof.show(&names)).collect(), named))
}

/// What must hold for a rule to apply.
fn guards(rule: &Rule) -> Vec<String> {
    let plain = |name: &str| name.trim_start_matches('?').to_string();
    let words = |guard: &Guard| match guard {
        Guard::FreeOf(value, axis) => format!("{} does not vary along {}", plain(value), plain(axis)),
        Guard::Positive(value) => format!("{} > 0", plain(value)),
        Guard::Constant(value) => format!("{} is a constant", plain(value)),
        Guard::Variable(value) => format!("{} is no constant", plain(value)),
        Guard::Float(value) => format!("{} is a float", plain(value)),
        Guard::Scalar(value) => format!("{} varies along no axis", plain(value)),
    };
    rule.guards.iter().map(words).collect()
}

/// The proofs of every output of the compiled graph, down to the graph of its nest.
///
/// # Errors
/// A run of the rules was ended by a limit; else none but faults of the compiler.
pub fn prove(stages: &Stages, extents: &[usize], nest: &Nest) -> Result<Vec<Proof>> {
    if stages.reports.iter().any(|report| !report.saturated) {
        let problem = "the rules were ended by a limit, before they had said all: what they did cannot be proven again";
        return Err(Error::Declaration { loss: stages.joint.name.clone(), problem: problem.into() });
    }
    let (declared, loss) = only(&stages.trace)?;
    let mut terms = Builder::like(&stages.joint);
    let start = import(&mut terms, &stages.trace.nodes, declared)?;
    let first = explain(&stages.trace, &stages.simplify, &mut terms)?;
    let first: Vec<ProofStep> = first.into_iter().flatten().map(|step| of(Stage::Simplify, step)).collect();
    let simple = first.last().map_or(start, |step| step.whole);
    let mut proofs = vec![];
    let numbers = sized(&stages.joint, extents)?;
    let collapsed = sized(&numbers, &nest.extents)?;
    for (output, chain) in stages.grad.outputs.iter().zip(explain(&stages.grad, &stages.joint, &mut terms)?) {
        let mut steps = first.clone();
        let derived = import(&mut terms, &stages.grad.nodes, output.value)?;
        if output.name != stages.trace.outputs[0].name {
            steps.push(ProofStep {
                stage: Stage::Grad,
                rule: DERIVATIVE.into(),
                backward: false,
                validity: Validity::Derivative,
                before: simple,
                after: derived,
                whole: derived,
            });
        }
        steps.extend(chain.into_iter().map(|step| of(Stage::Joint, step)));
        let last = [
            (SIZED, Validity::Exact, &numbers),
            (COLLAPSED, Validity::Real, &collapsed),
            (WRITTEN_OUT, Validity::Real, &nest.graph),
        ];
        for (rule, validity, graph) in last {
            if rule == COLLAPSED && nest.extents == extents {
                continue;
            }
            let before = steps.last().map_or(start, |step| step.whole);
            let place = graph.outputs.iter().find(|o| o.name == output.name);
            let place = place.ok_or_else(|| Error::internal("explain", "an output is gone"))?;
            let after = import(&mut terms, &graph.nodes, place.value)?;
            if before != after {
                let (rule, stage) = (rule.to_string(), Stage::Nest);
                steps.push(ProofStep { stage, rule, backward: false, validity, before, after, whole: after });
            }
        }
        let (output, axes) = (output.name.clone(), output.axes.clone());
        let terms = terms.graph().clone();
        proofs.push(Proof { output, terms, declared: start, steps, axes, loss: loss.clone() });
    }
    // Later proofs have added to the terms, and nothing has moved.
    let all = terms.graph();
    proofs.iter_mut().for_each(|proof| proof.terms.clone_from(all));
    Ok(proofs)
}

fn only(graph: &Graph) -> Result<(Id, Vec<AxisId>)> {
    let output = graph.outputs.first().ok_or_else(|| Error::internal("explain", "no output"))?;
    Ok((output.value, output.axes.clone()))
}

fn of(stage: Stage, step: simplify::Step) -> ProofStep {
    let simplify::Step { rule, backward, before, after, whole } = step;
    ProofStep { stage, validity: validity(&rule), rule, backward, before, after, whole }
}

/// How far the rule of this name holds. Swapped operands change nothing; arithmetic on constants is done in f64.
pub(super) fn validity(rule: &str) -> Validity {
    match RULES.iter().find(|known| known.name == rule).map(|known| known.validity) {
        Some(simplify::Validity::Exact) => Validity::Exact,
        None if rule == simplify::ORDER => Validity::Exact,
        _ => Validity::Real,
    }
}
