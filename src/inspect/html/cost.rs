//! What one run takes, as tables.

use super::quantity::{bytes, count, seconds, times};
use super::why::badge;
use crate::inspect::escape::escape;
use crate::inspect::{LoopCost, Report};
use std::fmt::Write;

pub fn section(report: &Report) -> String {
    let cost = &report.cost;
    let mut rows = vec![
        ("must be read", bytes(cost.bytes_read), "each input once"),
        ("must be written", bytes(cost.bytes_written), "each output once"),
        ("arithmetic", count(cost.flops), "operations"),
        ("elementary functions", count(cost.math_calls), "evaluations of exp, log and their like"),
        ("scratch", bytes(cost.scratch_bytes), "for each thread"),
        (
            "intensity",
            format!("{:.2}", cost.intensity),
            "operations for each byte that must be read or written, an elementary function counted as one",
        ),
    ];
    if let Some(machine) = &report.machine {
        rows.push(("memory needs", seconds(machine.memory_s), "at least, on this machine"));
        rows.push(("arithmetic needs", seconds(machine.flops_s), "at least"));
        rows.push(("functions need", seconds(machine.math_s), "at least"));
    }
    if let Some(measured) = &report.measured {
        rows.push(("measured", seconds(measured.median_s), "the median of the runs"));
        rows.push(("fastest", seconds(measured.fastest_s), "of the runs"));
    }
    let mut out = format!("<p class=\"lead\">{}</p>\n", limit(report));
    out.push_str("<div class=\"tables\">\n<div class=\"scroll\"><table><caption>One run</caption>\n<tbody>\n");
    for (name, value, note) in rows {
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{name}</th><td class=\"number\">{value}</td><td class=\"note\">{note}</td></tr>"
        );
    }
    out.push_str("</tbody></table></div>\n");
    out.push_str(&buffers(report));
    out.push_str(&rules(report));
    out.push_str(&simplifications(report));
    out.push_str("</div>\n");
    out
}

/// How many operations of arithmetic an elementary function is taken for, and the bytes that move in the time of as many.
/// Both are rules of thumb, for where no speeds were measured.
const FUNCTION: u64 = 20;
const OPERATIONS_A_BYTE: u64 = 2;

/// What takes most of the time, in a sentence.
fn limit(report: &Report) -> String {
    let cost = &report.cost;
    let moved = cost.bytes_read.saturating_add(cost.bytes_written);
    let functions = cost.math_calls.saturating_mul(FUNCTION);
    let weights = match &report.machine {
        Some(machine) => [machine.memory_s, machine.flops_s, machine.math_s],
        None => [moved.saturating_mul(OPERATIONS_A_BYTE), cost.flops, functions].map(|weight| weight as f64),
    };
    let by = match report.machine {
        Some(_) => "by the speeds of this machine".to_string(),
        None => format!(
            "by count: a function taken for {FUNCTION} operations, and a byte to or from memory for {OPERATIONS_A_BYTE}; with buffers in \
             a cache memory weighs less"
        ),
    };
    let most = weights.iter().copied().fold(0.0, f64::max);
    let what = match weights.iter().position(|&weight| weight >= most) {
        _ if most <= 0.0 => return "Nothing to speak of.".into(),
        Some(0) => format!("memory, {} to be moved", bytes(moved)),
        Some(1) => {
            let heaviest = cost.loops.iter().max_by_key(|l| l.flops).filter(|l| !l.axis.is_empty());
            let place = |l: &LoopCost| match l.kernel {
                true => "pairs".to_string(),
                false => format!("arithmetic in the loop over {}", escape(&l.axis)),
            };
            let kernels = || cost.loops.iter().filter(|l| l.kernel).map(|l| l.flops).sum();
            let own = heaviest.map_or(cost.flops, |l| if l.kernel { kernels() } else { l.flops });
            format!(
                "{}, {} of {} operations",
                heaviest.map_or("arithmetic".into(), place),
                count(own),
                count(cost.flops)
            )
        }
        _ => {
            let most = cost.math.iter().map(|(_, calls)| *calls).max().unwrap_or(0);
            let many = cost.math.iter().filter(|(_, calls)| 10 * calls >= most);
            let all: Vec<String> = many.map(|(name, calls)| format!("{} {}", count(*calls), escape(name))).collect();
            all.join(", ")
        }
    };
    format!("Mostly: <b>{what}</b> <span class=\"note\">({by})</span>.")
}

fn buffers(report: &Report) -> String {
    let mut out = String::from(
        "<div class=\"scroll\"><table><caption>Buffers</caption>\n<thead><tr><th scope=\"col\">buffer</th><th scope=\"col\" class=\"number\">size</th>\
         <th scope=\"col\" class=\"number\">loads or stores issued</th><th scope=\"col\">each element</th></tr></thead>\n<tbody>\n",
    );
    for b in &report.cost.buffers {
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td class=\"number\">{}</td><td>{} {}</td></tr>",
            escape(&b.name),
            bytes(b.bytes),
            count(b.accesses),
            if b.written { "written" } else { "read" },
            times(b.passes)
        );
    }
    out.push_str("</tbody></table></div>\n");
    out
}

/// What the rewriter did.
fn simplifications(report: &Report) -> String {
    let mut out = String::from(
        "<div class=\"scroll\"><table><caption>Rewriting <span class=\"note\">weight: the formula\u{2019}s work by the rewriter\u{2019}s own measure, an addition along no axis 1, a function 20, \
         16 times as much for each axis; not a time</span></caption>\n<thead><tr><th scope=\"col\">stage</th><th scope=\"col\" class=\"number\">rounds</th>\
         <th scope=\"col\" class=\"number\">nodes</th><th scope=\"col\" class=\"number\">weight</th><th scope=\"col\">end</th></tr></thead>\n<tbody>\n",
    );
    for s in &report.simplifications {
        let end = if s.saturated { "no rule had more to say" } else { "ended by a limit" };
        let end = if s.kept { "kept as it was" } else { end };
        let _ = writeln!(
            out,
            "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td class=\"number\">{}</td>\
             <td class=\"number\">{} → {}</td><td>{end}</td></tr>",
            s.stage, s.iterations, s.nodes, s.cost_before, s.cost_after
        );
    }
    out.push_str("</tbody></table></div>\n");
    out
}

/// How often each rule found something new, and how far it holds.
fn rules(report: &Report) -> String {
    let mut out = String::from(
        "<div class=\"scroll\"><table><caption>Rules that found something</caption>\n<thead><tr><th scope=\"col\">rule</th>\
         <th scope=\"col\">stage</th><th scope=\"col\" class=\"number\">times</th><th scope=\"col\">holds</th></tr></thead>\n<tbody>\n",
    );
    for simplification in &report.simplifications {
        for fired in &simplification.fired {
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"number\">{}</td><td>{}</td></tr>",
                escape(&fired.rule),
                simplification.stage,
                fired.count,
                badge(fired.validity)
            );
        }
    }
    out.push_str("</tbody></table></div>\n");
    out
}
