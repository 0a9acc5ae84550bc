//! Listings: each stage's text, line by line, with what each line computes and what it was made from.
//!
//! What a stage was made from is found by the passes' own account of origins: a pass is run again on a graph whose nodes
//! have themselves as origins, and what it then says of each node's origins are nodes of the graph before.

use super::report::{Line, Listing, Node, Stage};
use crate::error::Result;
use crate::ir::{Graph, Id, Origin, Origins};
use crate::jit::Instruction;
use crate::nest::{Nest, Step};
use std::collections::HashMap;

/// The graph with each node as its own origin.
pub(super) fn self_originating(graph: &Graph) -> Graph {
    let places = graph.ids().map(|id| Origin::line(usize::from(id)));
    let origins = graph.ids().map(|id| Origins::of(usize::from(id)));
    Graph { origins: origins.collect(), places: places.collect(), ..graph.clone() }
}

/// What `pass` made each node of its result from, as nodes of `graph`.
pub(super) fn made_from(graph: &Graph, pass: impl FnOnce(&Graph) -> Result<Graph>) -> Result<Vec<Vec<usize>>> {
    let result = pass(&self_originating(graph))?;
    Ok(result.origins.iter().map(|origins| origins.iter().collect()).collect())
}

/// The places of a declaration that occur in a report, by the numbers that they have there.
pub(super) struct Places(pub(super) Vec<Origin>);

impl Places {
    pub(super) fn of(graphs: &[&Graph]) -> Self {
        let used =
            |graph: &Graph| graph.ids().flat_map(|id| graph.origins_of(id).collect::<Vec<_>>()).collect::<Vec<_>>();
        let mut places: Vec<Origin> = graphs.iter().flat_map(|graph| used(graph)).collect();
        places.sort();
        places.dedup();
        Self(places)
    }

    fn numbers(&self, graph: &Graph, id: Id) -> Vec<usize> {
        let mut numbers: Vec<usize> =
            graph.origins_of(id).filter_map(|origin| self.0.binary_search(&origin).ok()).collect();
        numbers.sort_unstable();
        numbers
    }
}

/// The listing of a stage's parent, and what each node was made from there.
type Parent<'a> = (&'a Listing, &'a [Vec<usize>]);

/// The listing of a graph, made from `parent`.
pub(super) fn graph(stage: Stage, graph: &Graph, parent: Option<Parent>, places: &Places) -> Listing {
    let numbers = graph.numbers();
    let nodes: Vec<Node> = graph.ids().map(|id| node(graph, id, &numbers, parent, places)).collect();
    let first_output = numbers.len() + 1;
    let defined: HashMap<usize, usize> =
        nodes.iter().enumerate().filter_map(|(place, node)| Some((node.line?, place))).collect();
    let mut lines: Vec<Line> = vec![];
    for (place, text) in graph.to_string().lines().enumerate() {
        let about = match place.checked_sub(first_output) {
            Some(output) => Some(usize::from(graph.outputs[output].value)),
            None => defined.get(&place).copied(),
        };
        let mut line = Line { text: text.to_string(), nodes: about.into_iter().collect(), ..Line::default() };
        if let Some(node) = about {
            line.origins.clone_from(&nodes[node].origins);
        }
        if let Some((listing, _)) = parent {
            let output = place.checked_sub(first_output).map(|output| graph.outputs[output].name.as_str());
            line.from = match (about, output) {
                (_, Some(name)) => output_line(listing, name).into_iter().collect(),
                (Some(node), None) => lines_of(listing, &nodes[node].from),
                (None, None) => vec![0],
            };
        }
        lines.push(line);
    }
    Listing { stage, parent: stage.parent(), lines, nodes }
}

fn node(graph: &Graph, id: Id, numbers: &HashMap<Id, usize>, parent: Option<Parent>, places: &Places) -> Node {
    let node = graph.node(id);
    let leaf = node.op.is_leaf();
    let outputs = graph.outputs.iter().filter(|o| o.value == id).map(|o| o.name.clone());
    let operand = graph.operand_text(id, numbers);
    Node {
        op: if leaf { operand.clone() } else { node.op.to_string() },
        args: node.args.iter().map(|&a| usize::from(a)).collect(),
        leaf,
        text: if leaf { operand } else { graph.equation_text(id, numbers) },
        kind: graph.ty(id).kind.name(),
        axes: graph.ty(id).axes.iter().map(|a| graph.axis_name(a).to_string()).collect(),
        line: numbers.get(&id).map(|number| number + 1),
        outputs: outputs.collect(),
        name: None,
        from: parent.map_or(vec![], |(_, from)| from[usize::from(id)].clone()),
        origins: places.numbers(graph, id),
    }
}

/// The line that says what an output is.
fn output_line(listing: &Listing, name: &str) -> Option<usize> {
    let is_output = |line: &Line| line.text.strip_prefix(name).is_some_and(|rest| rest.starts_with('['));
    listing.lines.iter().position(is_output)
}

/// The lines that define nodes.
fn lines_of(listing: &Listing, nodes: &[usize]) -> Vec<usize> {
    let mut lines: Vec<usize> = nodes.iter().filter_map(|&node| listing.nodes[node].line).collect();
    lines.sort_unstable();
    lines.dedup();
    lines
}

/// The listing of a nest: its graph, then its steps.
pub(super) fn nest(nest: &Nest, parent: Parent, places: &Places) -> Listing {
    let Listing { lines: mut all, nodes, .. } = graph(Stage::Nest, &nest.graph, Some(parent), places);
    let steps = nest.steps();
    let text = nest.to_string();
    let texts: Vec<&str> = text.lines().collect();
    let heading = texts.len() - steps.len() - nest.slots.len();
    all.extend(texts[all.len()..heading].iter().map(|text| Line { text: text.to_string(), ..Line::default() }));
    let slots = nest.slots.iter().map(|slot| vec![slot.value]);
    let about = slots.chain(steps.into_iter().map(|(_, step)| values(nest, step)));
    for (text, about) in texts[heading..].iter().zip(about) {
        let about: Vec<usize> = about.into_iter().map(usize::from).collect();
        let main = about.first().map(|&node| &nodes[node]);
        all.push(Line {
            text: text.to_string(),
            from: main.map_or(vec![], |node| lines_of(parent.0, &node.from)),
            origins: main.map_or(vec![], |node| node.origins.clone()),
            nodes: about,
        });
    }
    Listing { stage: Stage::Nest, parent: Stage::Nest.parent(), lines: all, nodes }
}

/// The line of a nest's text at which its steps begin.
pub(super) fn first_step(nest: &Nest) -> usize {
    nest.to_string().lines().count() - nest.steps().len()
}

/// The values that a step is about.
fn values(nest: &Nest, step: &Step) -> Vec<Id> {
    let graph = &nest.graph;
    match step {
        Step::Loop { .. } | Step::Tile { .. } | Step::Block { .. } | Step::Part { .. } | Step::Lanes { .. } => vec![],
        Step::Let(value) | Step::Keep { value, .. } | Step::Load { value, .. } => vec![*value],
        Step::Start { fold, .. } => vec![*fold],
        // The kernel computes the terms too: all that the fold takes, down to the reads.
        Step::Pairs { fold, .. } => {
            let mut values = vec![*fold, graph.node(*fold).args[1]];
            for depth in 1..3 {
                let args = graph.node(values[depth.min(values.len() - 1)]).args.iter().copied();
                let args: Vec<Id> = args.filter(|&a| !graph.op(a).is_leaf() && !values.contains(&a)).collect();
                values.extend(args);
            }
            values
        }
        Step::Fold { fold, .. } => vec![*fold, graph.node(*fold).args[1]],
        Step::Call { value, from, sum, columns, .. } => {
            let mut values = vec![*value, graph.node(*value).args[0], from.value()];
            values.dedup();
            values.extend(sum);
            values.extend(columns.iter().flat_map(|c| [c.less, c.fold]));
            values
        }
        Step::Store { output } => vec![graph.outputs[*output].value],
        Step::Native { loss, grad } => {
            loss.iter().copied().chain(grad.map(|output| graph.outputs[output].value)).collect()
        }
    }
}

/// The listing of code that was made from a nest, whose steps begin at line `first` of its listing.
pub(super) fn code(stage: Stage, code: &[Instruction], nest: &Listing, first: usize) -> Listing {
    let line = |instruction: &Instruction| {
        let from = instruction.step.map(|step| first + step);
        Line {
            text: match &instruction.callee {
                Some(callee) => format!("{}  ; {callee}", instruction.text),
                None => instruction.text.clone(),
            },
            nodes: vec![],
            from: from.into_iter().collect(),
            origins: from.map_or(vec![], |line| nest.lines[line].origins.clone()),
        }
    };
    Listing { stage, parent: stage.parent(), lines: code.iter().map(line).collect(), nodes: vec![] }
}
