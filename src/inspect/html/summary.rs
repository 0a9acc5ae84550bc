//! The top of the page: what goes in and out, the formula as declared and as compiled, and what a run does, in sentences.

use super::order::loops;
use super::quantity::{bytes, count, seconds, times};
use super::why;
use crate::inspect::escape::escape;
use crate::inspect::{Buffer, BufferCost, Formula, Report, Validity};
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

/// What is read and written, and how often.
fn memory(report: &Report) -> String {
    let told = |written: bool| {
        let of = |b: &&BufferCost| b.written == written;
        let each = |b: &BufferCost| format!("<b>{}</b> ({}) {}", escape(&b.name), bytes(b.bytes), times(b.passes));
        report.cost.buffers.iter().filter(of).map(each).collect::<Vec<_>>().join(", ")
    };
    let scratch = match report.cost.scratch_bytes {
        0 => "No scratch.".into(),
        size => format!("{} of scratch for each thread, and no temporary besides.", bytes(size)),
    };
    format!("Reads {}; writes {}. {scratch}", told(false), told(true))
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
