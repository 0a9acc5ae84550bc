//! DOT: the graphs of the stages for Graphviz. Leaves stand inside the nodes that use them, as in the text.

use super::report::{Listing, Node, Report, Stage};
use std::fmt::Write;

impl Report {
    /// One stage that is a graph, or the graph of the nest.
    ///
    /// # Errors
    /// The stage is code, which has no graph.
    pub fn dot(&self, stage: Stage) -> Result<String, String> {
        let listing = self.listing(stage).filter(|listing| !listing.nodes.is_empty());
        let listing =
            listing.ok_or_else(|| format!("{stage} has no graph; trace, simplify, grad, joint and nest have"))?;
        let mut dot = self.open();
        write_graph(&mut dot, listing, "");
        Ok(dot + "}\n")
    }

    /// Every stage that has a graph, side by side; dashed lines lead from each node to those that were made from it.
    pub fn dot_of_all(&self) -> String {
        let mut dot = self.open();
        for listing in self.listings.iter().filter(|listing| !listing.nodes.is_empty()) {
            let stage = listing.stage.name();
            writeln!(dot, "  subgraph cluster_{stage} {{\n  label={stage};").expect("strings take all");
            write_graph(&mut dot, listing, stage);
            dot += "  }\n";
            let parent = listing.parent.map_or("", Stage::name);
            for (place, node) in shown(listing) {
                let known =
                    |from: &usize| listing.parent.and_then(|p| self.listing(p)).is_some_and(|p| !p.nodes[*from].leaf);
                for from in node.from.iter().filter(|from| known(from)) {
                    writeln!(dot, "  {parent}{from} -> {stage}{place} [style=dashed, color=gray, constraint=false];")
                        .expect("strings take all");
                }
            }
        }
        dot + "}\n"
    }

    fn open(&self) -> String {
        format!(
            "digraph {} {{\n  rankdir=TB;\n  node [shape=box, style=rounded, fontname=monospace];\n  edge [fontname=monospace];\n",
            quoted(&self.symbol)
        )
    }
}

/// The nodes that are drawn: those with an equation, and leaves that are results.
fn shown(listing: &Listing) -> impl Iterator<Item = (usize, &Node)> {
    listing.nodes.iter().enumerate().filter(|(_, node)| !node.leaf || !node.outputs.is_empty())
}

fn write_graph(dot: &mut String, listing: &Listing, prefix: &str) {
    let prefix = if prefix.is_empty() { "n" } else { prefix };
    for (place, node) in shown(listing) {
        let axes = if node.axes.is_empty() { String::new() } else { format!("[{}]", node.axes.join(" ")) };
        let number = node.line.map_or(String::new(), |line| format!("%{}", line - 1));
        let label = format!("{number}{axes}: {}\n{}", node.kind, node.text);
        writeln!(dot, "  {prefix}{place} [label={}];", quoted(&label)).expect("strings take all");
        let mut args: Vec<usize> = node.args.iter().copied().filter(|&arg| !listing.nodes[arg].leaf).collect();
        args.dedup();
        for arg in args {
            writeln!(dot, "  {prefix}{arg} -> {prefix}{place};").expect("strings take all");
        }
        for output in &node.outputs {
            let name = quoted(&format!("{prefix}.{output}"));
            writeln!(dot, "  {name} [label={}, shape=ellipse];", quoted(output)).expect("strings take all");
            writeln!(dot, "  {prefix}{place} -> {name};").expect("strings take all");
        }
    }
}

/// A string of DOT.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
