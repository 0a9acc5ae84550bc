//! The loops as a table: which run, how often, what each reads, does and writes.

use super::code;
use super::meaning::{equation, numbered};
use super::quantity::{count, times};
use crate::inspect::escape::escape;
use crate::inspect::{Buffer, Listing, LoopCost, Report, Stage};
use std::fmt::Write;

pub fn section(report: &Report) -> String {
    let loops = &report.cost.loops;
    if loops.is_empty() {
        return "<p>There are none: every axis has one element.</p>\n".into();
    }
    let mut out = String::from(
        "<p class=\"lead\">From top to bottom as they run, inner loops indented. A row tells of the loop's own steps, not of \
         those of the loops in it, and counts them over a whole run. <code>%13</code> is the value of that number in the pane \
         <i>nest</i>; a letter beside it, its name in the formulas.</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table of loops\">\
         <table class=\"loops\">\n<thead><tr><th scope=\"col\">loop</th>\
         <th scope=\"col\">in a whole run</th><th scope=\"col\">operations</th><th scope=\"col\">reads</th><th scope=\"col\">does</th><th scope=\"col\">writes</th></tr></thead>\n<tbody>\n",
    );
    for of in loops {
        row(&mut out, report, of);
    }
    out.push_str("</tbody>\n</table></div>\n");
    out
}

fn row(out: &mut String, report: &Report, of: &LoopCost) {
    let nest = report.listing(Stage::Nest);
    let heading = nest.and_then(|nest| nest.lines.get(of.line)).map_or("for", |line| line.text.trim());
    let text = match of.axis.is_empty() {
        true => "outside all loops",
        false => heading.split(", into ").next().and_then(|text| text.split(" with ").next()).unwrap_or(heading),
    };
    let reads: String = of.reads.iter().map(|access| accessed(&report.inputs, access, "")).collect();
    let writes: String = of
        .writes
        .iter()
        .map(|access| {
            // What is stored is told in the last loop that writes it; before, values are kept there on the way.
            let last = report.cost.loops.iter().rev().find(|l| l.writes.iter().any(|(name, _)| *name == access.0));
            let value = nest.filter(|_| last == Some(of)).and_then(|nest| {
                let node = nest.nodes.iter().find(|node| node.outputs.contains(&access.0))?;
                Some(format!("<div class=\"meaning\">= {}</div>", escape(&equation(nest, node))))
            });
            accessed(&report.outputs, access, &value.unwrap_or_default())
        })
        .collect();
    let _ = writeln!(
        out,
        "<tr style=\"--depth:{}\"><th scope=\"row\"><button type=\"button\" data-go=\"nest-{}\">{}</button></th>\
         <td data-name=\"in all\">{}</td><td data-name=\"takes\">{}</td><td data-name=\"reads\">{reads}</td>\
         <td data-name=\"does\">{}</td><td data-name=\"writes\">{writes}</td></tr>",
        of.depth,
        of.line + 1,
        code::line(Stage::Nest, text),
        often(report, of),
        operations(report, of),
        does(of, nest),
    );
}

/// How often a loop runs, with what is counted.
fn often(report: &Report, of: &LoopCost) -> String {
    if of.axis.is_empty() {
        return "once".into();
    }
    let extent =
        |axis: &str| report.axes.iter().find(|a| a.name == axis).map_or("?".into(), |a| count(a.extent as u64));
    let size = match (of.block.or(of.part), of.kernel) {
        (Some(size), _) => format!("of {} {}", count(size.min(of.extent) as u64), escape(&of.axis)),
        (None, true) => of.axis.split(' ').map(extent).collect::<Vec<_>>().join(" × "),
        (None, false) => format!("{} = {}", escape(&of.axis), count(of.extent as u64)),
    };
    format!("{} {}<div class=\"soft\">{size}</div>", count(of.iterations), of.unit())
}

/// Arithmetic and elementary functions, with their shares of the whole where these are large.
fn operations(report: &Report, of: &LoopCost) -> String {
    let told = |own: u64, all: u64, what: &str| {
        let share = 100 * own / all.max(1);
        let share = if share > 9 { format!(" ({share} %)") } else { String::new() };
        if own == 0 { String::new() } else { format!("<div>{}{what}{share}</div>", count(own)) }
    };
    told(of.flops, report.cost.flops, "") + &told(of.math_calls, report.cost.math_calls, " functions")
}

fn accessed(known: &[Buffer], (name, elements): &(String, u64), value: &str) -> String {
    let size = known.iter().find(|b| &b.name == name).map(|b| b.shape.iter().product::<usize>() as u64);
    format!("<div class=\"access\"><b>{}</b> {}{value}</div>", escape(name), share(*elements, size))
}

/// How much of a buffer so many elements are.
fn share(elements: u64, size: Option<u64>) -> String {
    match size {
        Some(size) if size > 0 && elements == size => "all of it".into(),
        Some(size) if size > 0 && elements > size => format!("all of it, {}", times(elements as f64 / size as f64)),
        Some(size) => format!("{} of {}", count(elements), count(size)),
        None => count(elements),
    }
}

/// Clauses of the summary, one a line; reads and writes have columns of their own. Of a fold, what it takes in.
fn does(of: &LoopCost, nest: Option<&Listing>) -> String {
    if of.axis.is_empty() && of.summary.is_empty() {
        return "<div>computes numbers that no loop changes</div>".into();
    }
    let clauses =
        of.summary.split("; ").filter(|c| !c.is_empty() && !c.starts_with("reads ") && !c.starts_with("writes "));
    clauses
        .map(|clause| {
            let number = clause.split(' ').find(|word| word.starts_with('%')).filter(|_| clause.contains(" over "));
            let fold = number.and_then(|number| Some((number, nest?, numbered(nest?, number)?)));
            let text = code::line(Stage::Nest, clause);
            let told = fold.and_then(|(number, nest, fold)| {
                let taken = escape(&equation(nest, &nest.nodes[*fold.args.get(1)?])).into_owned();
                let name = fold.name.as_ref().map(|name| format!("{number} = <var>{}</var>", escape(name)));
                let text = name.map_or(text.clone(), |name| text.replacen(number, &name, 1));
                Some(format!("{text} <span class=\"meaning\">of {taken}</span>"))
            });
            format!("<div>{}</div>", told.unwrap_or(text))
        })
        .collect()
}
