//! `lossjit eval --trace-values`: the range of every value, and what went bad first.

use super::args::EvalArgs;
use super::evaluation::wanted_gradients;
use super::failure::Failure;
use super::number::{json, short};
use crate::inspect::table::{Align, table};
use crate::losses::Loss;
use crate::oracle::graph::Seen;
use crate::runtime::{HybridBlock, Inputs, ValueTrace};
use crate::trace::Spec;
use serde_json::{Value, json};

pub(super) fn run(args: &EvalArgs, loss: Box<dyn Loss>, inputs: &Inputs) -> Result<String, Failure> {
    let block = HybridBlock::new(loss);
    let specs: Vec<Spec> = inputs.iter().map(|(name, v)| Spec::new(name, v.dtype(), v.shape())).collect();
    let wrt = wanted_gradients(&args.grads, || block.differentiable(&specs))?;
    let wrt: Vec<&str> = wrt.iter().map(String::as_str).collect();
    let trace = block.trace_values(inputs, &wrt)?;
    let page = Page { loss: args.loss.name(), trace: &trace };
    Ok(if args.json { page.json() } else { page.text() })
}

struct Page<'a> {
    loss: String,
    trace: &'a ValueTrace,
}

impl Page<'_> {
    fn text(&self) -> String {
        let bound = |x: Option<f64>| x.map_or("-".to_string(), short);
        let count = |n: usize| if n == 0 { "-".to_string() } else { n.to_string() };
        let first = self.trace.first_bad();
        let rows = self.trace.nodes.iter().map(|seen| {
            let mark = if Some(seen) == first { "<- bad first" } else { "" };
            vec![
                self.equation(seen),
                seen.count.to_string(),
                bound(seen.range.map(|(low, _)| low)),
                bound(seen.range.map(|(_, high)| high)),
                count(seen.nan),
                count(seen.infinite),
                mark.to_string(),
            ]
        });
        let heads = ["value", "elements", "min", "max", "nan", "inf", ""];
        let right = Align::Right;
        let aligns = [Align::Left, right, right, right, right, right, Align::Left];
        format!(
            "{}  interpreted, in the range of {}\n\n{}\n{}\n",
            self.loss,
            self.trace.dtype,
            table(&heads, &aligns, rows),
            self.verdict()
        )
    }

    /// What is bad, and where it comes from.
    fn verdict(&self) -> String {
        let Some(output) = self.trace.bad_output() else {
            let hidden = self.trace.nodes.iter().any(Seen::is_bad);
            let behind = if hidden { " Bad values above are behind selects that do not take them." } else { "" };
            return format!("Every result is finite.{behind}");
        };
        let output = &self.trace.graph.outputs[output].name;
        match self.trace.first_bad() {
            Some(seen) => format!("{output} went bad here first: {}\n{}", self.equation(seen), place(self.trace, seen)),
            None => format!("{output} is a number that is not finite."),
        }
    }

    fn equation(&self, seen: &Seen) -> String {
        let graph = &self.trace.graph;
        let numbers = graph.numbers();
        let axes = graph.axes_text(graph.ty(seen.id).axes.iter());
        format!("%{}{axes} = {}", numbers[&seen.id], graph.equation_text(seen.id, &numbers))
    }

    fn json(&self) -> String {
        let first = self.trace.first_bad();
        let nodes: Vec<Value> = self.trace.nodes.iter().map(|seen| self.node(seen)).collect();
        let object = json!({
            "loss": self.loss,
            "dtype": self.trace.dtype.name(),
            "values": nodes,
            "bad_output": self.trace.bad_output().map(|o| self.trace.graph.outputs[o].name.clone()),
            "bad_first": first.map(|seen| self.node(seen)),
        });
        format!("{object}\n")
    }

    fn node(&self, seen: &Seen) -> Value {
        let bound = |x: Option<f64>| x.map_or(Value::Null, json);
        let at = seen.first_bad.as_ref().map(|at| at.iter().map(|(_, index)| *index).collect::<Vec<_>>());
        json!({
            "value": self.equation(seen),
            "elements": seen.count,
            "min": bound(seen.range.map(|(low, _)| low)),
            "max": bound(seen.range.map(|(_, high)| high)),
            "nan": seen.nan,
            "inf": seen.infinite,
            "first_bad": at,
            "origins": self.trace.graph.origins_of(seen.id).map(|origin| origin.to_string()).collect::<Vec<_>>(),
        })
    }
}

/// Where the first bad element is, and whose it is where that is an input's.
fn place(trace: &ValueTrace, seen: &Seen) -> String {
    let what = if seen.nan > 0 { "NaN" } else { "infinite" };
    let index = |(axis, at): &(crate::ir::AxisId, usize)| format!("{} = {at}", trace.graph.axis_name(*axis));
    let at: Vec<String> = seen.first_bad.iter().flatten().map(index).collect();
    let at = if at.is_empty() { String::new() } else { format!(" at {}", at.join(", ")) };
    let count = seen.nan + seen.infinite;
    let others = if count > 1 { format!(", and {} more", count - 1) } else { String::new() };
    let places: Vec<String> = trace.graph.origins_of(seen.id).map(|origin| origin.to_string()).collect();
    let from = if places.is_empty() { String::new() } else { format!("\n  declared at {}", places.join(", ")) };
    let input = trace.graph.as_read(seen.id).map(|(input, _)| trace.graph.input(input).name.as_str());
    let input = input.map_or(String::new(), |name| format!("; it is so in the input {name}"));
    format!("  {what}{at}{others}{input}{from}")
}
