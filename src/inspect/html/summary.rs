//! The top of the page: what goes in and out, the formula as declared and as compiled, and what a run does, in sentences.

use super::order::loops;
use super::quantity::{bytes, count, seconds, times};
use super::why;
use crate::inspect::escape::escape;
use crate::inspect::{Buffer, BufferCost, Formula, Report, Stage, Validity};
use std::fmt::Write;

/// Inputs and outputs with their shapes.
pub fn signature(report: &Report) -> String {
    let list = |buffers: &[Buffer]| buffers.iter().map(buffer).collect::<Vec<_>>().join(" ");
    format!(
        "<p class=\"signature\">{} <span class=\"arrow\" aria-label=\"gives\">→</span> {}</p>\n",
        list(&report.inputs),
        list(&report.outputs)
    )
}

fn buffer(buffer: &Buffer) -> String {
    let axes: Vec<_> = buffer.axes.iter().map(|axis| escape(axis)).collect();
    let shape: Vec<_> = buffer.shape.iter().map(usize::to_string).collect();
    format!(
        "<span class=\"buffer\" title=\"axes: {}\"><b>{}</b> {}[{}]</span>",
        if axes.is_empty() { "none".into() } else { axes.join(", ") },
        escape(&buffer.name),
        escape(&buffer.dtype),
        shape.join(", ")
    )
}

pub fn section(report: &Report) -> String {
    let mut out = String::new();
    if let Some(loss) = report.derivations.first() {
        let mut row = |title: &str, output: &str, formula: &Formula| {
            let _ = writeln!(out, "<div><dt>{title}</dt><dd>{}</dd></div>", why::equation(output, formula));
        };
        row("declared", &loss.output, &loss.declared);
        row("compiled", &loss.output, &loss.compiled);
        report.derivations[1..].iter().for_each(|gradient| row("gradient", &gradient.output, &gradient.compiled));
        out = format!("<dl class=\"formulas\">\n{out}</dl>\n");
    }
    let facts = [
        ("Loops", loops(report)),
        ("Memory", memory(report)),
        ("Functions", functions(report)),
        ("Numbers", numbers(report)),
        ("Equality", equality(report)),
        ("Time", time(report)),
    ];
    out.push_str("<dl class=\"facts\">\n");
    for (title, text) in facts.iter().filter(|(_, text)| !text.is_empty()) {
        let _ = writeln!(out, "<div><dt>{title}</dt><dd>{text}</dd></div>");
    }
    out.push_str("</dl>\n");
    out
}

/// What must be moved, and how often it is asked for.
fn memory(report: &Report) -> String {
    let told = |written: bool| {
        let each = |b: &BufferCost| format!("<b>{}</b> ({})", escape(&b.name), bytes(b.bytes));
        report.cost.buffers.iter().filter(|b| b.written == written).map(each).collect::<Vec<_>>().join(", ")
    };
    let often: Vec<String> = (report.cost.buffers.iter())
        .filter(|b| b.passes > 1.0)
        .map(|b| {
            format!(
                "those of <b>{}</b> are {} {}",
                escape(&b.name),
                if b.written { "written" } else { "loaded" },
                times(b.passes)
            )
        })
        .collect();
    let often = match often.is_empty() {
        true => String::new(),
        false => format!(" Of elements, {}: what is asked for again may come from a cache.", often.join(", ")),
    };
    let scratch = match report.cost.scratch_bytes {
        0 => "No scratch.".into(),
        size => format!("{} of scratch for each thread, and no temporary besides.", bytes(size)),
    };
    format!("Must read {} and write {}.{often} {scratch}", told(false), told(true))
}

/// In what precision, and what is checked.
fn numbers(report: &Report) -> String {
    let Some(nest) = report.listing(Stage::Nest) else { return String::new() };
    let real = report.outputs.first().map_or("f32", |output| output.dtype.as_str());
    let sums = nest.nodes.iter().any(|node| node.op == "sum");
    let pairs = if report.cost.loops.iter().any(|l| l.kernel) { " (those over pairs in f32)" } else { "" };
    let mut text = match (real, sums) {
        ("f64", _) => "All is f64.".to_string(),
        (real, true) => {
            format!(
                "Results are {real}; sums{pairs}, and what is computed from them once for a row, are f64 on the way."
            )
        }
        (real, false) => format!("Results are {real}."),
    };
    // Buffers whose elements are indices into another one.
    let reads = || nest.nodes.iter().filter(|node| node.op == "read");
    let indices = reads().flat_map(|read| &read.args[1..]).filter_map(|&index| {
        let index = &nest.nodes[index];
        (index.op == "read").then(|| nest.nodes[index.args[0]].op.as_str())
    });
    let labels = nest.nodes.iter().filter(|node| node.op.starts_with("ctc")).filter_map(|node| {
        let label = &nest.nodes[*node.args.get(4)?];
        (label.op == "read").then(|| nest.nodes[label.args[0]].op.as_str())
    });
    let names: std::collections::BTreeSet<&str> = indices.chain(labels).collect();
    for name in names {
        text += &format!(
            " An element of <b>{}</b> out of range is reported as an error that names its place.",
            escape(name)
        );
    }
    text
}

fn functions(report: &Report) -> String {
    let calls: Vec<String> = report
        .cost
        .math
        .iter()
        .map(|(name, calls)| format!("<b>{}</b> {} times", escape(name), count(*calls)))
        .collect();
    match calls.is_empty() {
        true => format!("None; {} operations of arithmetic.", count(report.cost.flops)),
        false => format!("{}; {} operations of arithmetic.", calls.join(", "), count(report.cost.flops)),
    }
}

fn equality(report: &Report) -> String {
    let Some(first) = report.derivations.first() else { return String::new() };
    let told: Vec<String> = ([Validity::Exact, Validity::Real].iter())
        .map(|validity| (first.steps.iter().filter(|step| step.validity == *validity).count(), validity))
        .filter(|(count, _)| *count > 0)
        .map(|(count, validity)| format!("{count} {validity} ({})", validity.meaning()))
        .collect();
    let (count, of_them) = (first.steps.len(), told.join("; "));
    match count {
        0 => "The formula is compiled as declared.".into(),
        _ => format!(
            "The compiled formula follows from the declared one in {count} step{}: {of_them}. <a href=\"#why\">See each</a>",
            if count == 1 { "" } else { "s" }
        ),
    }
}

fn time(report: &Report) -> String {
    let least = report.machine.as_ref().map(|m| format!("At least {} on this machine", seconds(m.least_s)));
    let measured = report.measured.as_ref().map(|m| format!("measured: {}", seconds(m.median_s)));
    let told: Vec<String> = least.into_iter().chain(measured).collect();
    if told.is_empty() { String::new() } else { format!("{}.", told.join("; ")) }
}
