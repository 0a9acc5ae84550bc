//! What one run takes, as tables.

use super::quantity::{bytes, count, seconds, times};
use super::why::badge;
use crate::inspect::Report;
use crate::inspect::escape::escape;
use std::fmt::Write;

pub fn section(report: &Report) -> String {
    let cost = &report.cost;
    let mut rows = vec![
        ("read", bytes(cost.bytes_read), "each input once"),
        ("written", bytes(cost.bytes_written), "each output once"),
        ("arithmetic", count(cost.flops), "operations"),
        ("elementary functions", count(cost.math_calls), "evaluations of exp, log and their like"),
        ("scratch", bytes(cost.scratch_bytes), "for each thread"),
        ("intensity", format!("{:.2}", cost.intensity), "operations for each byte"),
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
    let mut out =
        String::from("<div class=\"tables\">\n<div class=\"scroll\"><table><caption>One run</caption>\n<tbody>\n");
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

fn buffers(report: &Report) -> String {
    let mut out = String::from(
        "<div class=\"scroll\"><table><caption>Buffers</caption>\n<thead><tr><th scope=\"col\">buffer</th><th scope=\"col\" class=\"number\">size</th>\
         <th scope=\"col\" class=\"number\">accesses</th><th scope=\"col\">passes</th></tr></thead>\n<tbody>\n",
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
        "<div class=\"scroll\"><table><caption>Rewriting</caption>\n<thead><tr><th scope=\"col\">stage</th><th scope=\"col\" class=\"number\">rounds</th>\
         <th scope=\"col\" class=\"number\">nodes</th><th scope=\"col\" class=\"number\">cost</th><th scope=\"col\">end</th></tr></thead>\n<tbody>\n",
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
