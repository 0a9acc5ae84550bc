//! One run of `simplify`: a graph in, an equal and better graph out, with a report of what was done.

use super::cost::graph_cost;
use super::extract::Extraction;
use super::facts::{Egraph, Facts};
use super::rules::rewrites;
use crate::error::Result;
use crate::ir::{Builder, Graph, Id, Node};
use egg::{Rewrite, RewriteScheduler, Runner, RunnerLimits, SearchMatches, StopReason};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

/// Limits are counts, never times, so that equal graphs always give equal results.
const MAX_ITERATIONS: usize = 40;
const MAX_ENODES: usize = 50_000;
/// Matches of all rules in one iteration. Of branches inside branches there may be any number, kept until they are applied.
const MAX_MATCHES: usize = 1 << 18;
/// Of more classes none is chosen: what each needs is a set of classes, and all of them together a square.
const MAX_CLASSES: usize = 1 << 15;

/// What a run did.
#[derive(Clone, PartialEq, Debug)]
pub struct Report {
    pub iterations: usize,
    pub nodes: usize,
    pub classes: usize,
    /// Whether no rule had anything left to say; otherwise a limit ended the run.
    pub saturated: bool,
    /// Whether the graph stays as it was, because some value has no form that keeps to its axes, or as there are too many
    /// forms to choose from.
    pub kept: bool,
    /// How often each rule found something new.
    pub fired: BTreeMap<String, usize>,
    pub cost_before: u64,
    pub cost_after: u64,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let end = if self.saturated { "saturated" } else { "ended by a limit" };
        let end = if self.kept { "kept as it was" } else { end };
        writeln!(f, "{end} after {} iterations: {} nodes, {} classes", self.iterations, self.nodes, self.classes)?;
        writeln!(f, "cost {} before, {} after", self.cost_before, self.cost_after)?;
        self.fired.iter().try_for_each(|(rule, count)| writeln!(f, "{count:4} × {rule}"))
    }
}

/// The graph in its cheapest stable form, all outputs together.
pub fn simplify(graph: &Graph) -> Result<(Graph, Report)> {
    let egraph = Egraph::new(Facts { inputs: graph.inputs.iter().map(|i| i.kind).collect() });
    let (class, runner) = saturate(graph, egraph);
    let found = rebuild(graph, &runner.egraph, |id| class[usize::from(id)])?;
    let kept = found.is_none();
    let simple = found.unwrap_or_else(|| graph.clone());
    let mut fired = BTreeMap::new();
    for (rule, count) in runner.iterations.iter().flat_map(|i| &i.applied) {
        *fired.entry(rule.to_string()).or_insert(0) += count;
    }
    let report = Report {
        iterations: runner.iterations.len(),
        nodes: runner.egraph.total_number_of_nodes(),
        classes: runner.egraph.number_of_classes(),
        kept,
        saturated: matches!(runner.stop_reason, Some(StopReason::Saturated)),
        fired,
        cost_before: graph_cost(graph),
        cost_after: graph_cost(&simple),
    };
    Ok((simple, report))
}

/// Runs all rules on a graph put into an empty e-graph, until none has anything left to say. The first result has the
/// class of each node.
pub(super) fn saturate(graph: &Graph, mut egraph: Egraph) -> (Vec<Id>, Runner<Node, Facts>) {
    let mut class: Vec<Id> = vec![];
    for id in graph.ids() {
        let mut node = graph.node(id).clone();
        node.args.iter_mut().for_each(|a| *a = class[usize::from(*a)]);
        let added = egraph.add(node);
        egraph[added].data.origins.unite(&graph.origins[usize::from(id)]);
        class.push(added);
    }
    let runner = Runner::<_, _, ()>::new(Facts::default())
        .with_egraph(egraph)
        .with_scheduler(Bounded)
        .with_iter_limit(MAX_ITERATIONS)
        .with_node_limit(MAX_ENODES)
        .with_time_limit(Duration::MAX);
    // egg reads a clock that calibrates itself for half a millisecond at its first use. Nothing here asks for the time,
    // so one that stands still will do.
    let (clock, _) = quanta::Clock::mock();
    let runner = quanta::with_clock(&clock, || runner.run(rewrites()));
    (class, runner)
}

/// Every rule in every iteration, until an iteration has too many matches.
struct Bounded;

impl RewriteScheduler<Node, Facts> for Bounded {
    fn search_rewrites<'a>(
        &mut self,
        iteration: usize,
        egraph: &Egraph,
        rewrites: &[&'a Rewrite<Node, Facts>],
        limits: &RunnerLimits,
    ) -> std::result::Result<Vec<Vec<SearchMatches<'a, Node>>>, StopReason> {
        let mut left = MAX_MATCHES;
        let search = |rewrite: &&'a Rewrite<Node, Facts>| {
            limits.check_limits(iteration, egraph)?;
            let found = rewrite.search_with_limit(egraph, left + 1);
            let count = found.iter().map(|matches| matches.substs.len()).sum();
            left = left.checked_sub(count).ok_or_else(|| StopReason::Other("too many matches".into()))?;
            Ok(found)
        };
        rewrites.iter().map(search).collect()
    }
}

/// The graph of the cheapest forms; `None` where some value has none.
fn rebuild(graph: &Graph, egraph: &Egraph, class_of: impl Fn(Id) -> Id) -> Result<Option<Graph>> {
    if egraph.number_of_classes() > MAX_CLASSES {
        return Ok(None);
    }
    let extraction = Extraction::new(egraph);
    let mut builder = Builder::like(graph);
    let mut built: HashMap<Id, Id> = HashMap::new();
    for output in &graph.outputs {
        let root = egraph.find(class_of(output.value));
        let mut stack = vec![root];
        while let Some(&class) = stack.last() {
            if built.contains_key(&class) {
                stack.pop();
                continue;
            }
            let Some(node) = extraction.node(egraph, class) else { return Ok(None) };
            let args: Vec<Id> = node.args.iter().map(|&a| egraph.find(a)).collect();
            let missing: Vec<Id> = args.iter().copied().filter(|a| !built.contains_key(a)).collect();
            if missing.is_empty() {
                let args: Vec<Id> = args.iter().map(|a| built[a]).collect();
                builder.made_from(&egraph[class].data.origins);
                built.insert(class, builder.add(node.op, &args)?);
                stack.pop();
            } else {
                stack.extend(missing.into_iter().rev());
            }
        }
        builder.output(&output.name, &output.axes, built[&root]);
    }
    builder.finish().map(Some)
}
