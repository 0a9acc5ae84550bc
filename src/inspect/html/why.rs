//! Why the compiled formula equals the declared one: the steps from one to the other, for each output.

use crate::inspect::escape::escape;
use crate::inspect::laws::LSE;
use crate::inspect::{Derivation, Formula, Report, RewriteStep, Validity};
use std::fmt::Write;

pub fn section(report: &Report) -> String {
    let words = |validity: Validity| format!("{}: {}", badge(validity), validity.meaning());
    let mut out = format!(
        "<p class=\"lead\">Each step reads one equation, in the place that is marked; where nothing is marked, the whole formula \
         changes. {}. {}.</p>\n",
        words(Validity::Exact),
        words(Validity::Real)
    );
    if let Some(reason) = &report.unexplained {
        let _ = writeln!(out, "<p>{}</p>", escape(reason));
    }
    for (place, derivation) in report.derivations.iter().enumerate() {
        out.push_str(&chain(derivation, place == 0));
    }
    out
}

fn chain(derivation: &Derivation, open: bool) -> String {
    let steps = match derivation.steps.len() {
        0 => "as declared".to_string(),
        1 => "1 step".to_string(),
        n => format!("{n} steps"),
    };
    let mut out = format!(
        "<details class=\"chain\"{}>\n<summary><b>{}</b> <span class=\"soft\">{steps}</span></summary>\n<ol class=\"steps\">\n\
         <li class=\"end\"><p class=\"rule\">declared</p>{}</li>\n",
        if open { " open=\"\"" } else { "" },
        escape(&derivation.output),
        equation(&derivation.output, &derivation.declared),
    );
    let mut before = &derivation.declared;
    let is_first = |before: &Formula, step: &RewriteStep| !before.mentions("lse_") && step.after.mentions("lse_");
    for step in &derivation.steps {
        let note = if is_first(before, step) { lse() } else { String::new() };
        out.push_str(&rewriting(derivation, step, before, &note));
        before = &step.after;
    }
    let _ = writeln!(
        out,
        "<li class=\"end\"><p class=\"rule\">compiled</p>{}</li>\n</ol>\n</details>",
        equation(&derivation.output, &derivation.compiled)
    );
    out
}

/// What log-sum-exp means.
fn lse() -> String {
    let [lse, means] = LSE.map(formula);
    format!("<p class=\"names\">{lse} = {means}, the log-sum-exp</p>\n")
}

fn rewriting(derivation: &Derivation, step: &RewriteStep, before: &Formula, note: &str) -> String {
    let equation = step.equation.as_ref().map(|e| format!(" <code>{}</code>", formula(e))).unwrap_or_default();
    let backward = if step.backward { " <span class=\"soft\">read from right to left</span>" } else { "" };
    let guards = match step.guards.is_empty() {
        true => String::new(),
        false => format!(" <span class=\"soft\">where {}</span>", escape(&step.guards.join(", "))),
    };
    format!(
        "<li value=\"{number}\" class=\"step\"><p class=\"rule\"><span class=\"n\">{number}</span> <b>{rule}</b> \
         {badge}{equation}{guards}{backward} <span class=\"soft stage\">{}</span></p>\n\
         <p class=\"part\"><del>{}</del> <span class=\"arrow\" aria-label=\"becomes\">→</span> <ins>{}</ins></p>\n{}{note}</li>\n",
        step.stage,
        formula(&step.part_before.text),
        formula(&step.part_after.text),
        whole(&derivation.output, &step.after, Some((&step.part_after, before))),
        number = step.number,
        rule = escape(&step.rule),
        badge = badge(step.validity),
    )
}

/// How far a step holds, as a badge.
pub fn badge(validity: Validity) -> String {
    let class = match validity {
        Validity::Exact => "exact",
        Validity::Real => "real",
        Validity::Derivative => "derivative",
    };
    format!("<span class=\"badge {class}\">{validity}</span>")
}

/// `out = formula`. Of a step: the part that came about is marked, and of the names only those that are new are told.
fn whole(output: &str, of: &Formula, step: Option<(&Formula, &Formula)>) -> String {
    let part = step.map(|(part, _)| part.text.as_str()).filter(|part| *part != of.text);
    let known = |name: &(String, String)| step.is_some_and(|(_, before)| before.names.contains(name));
    let names: String = (of.names.iter().filter(|name| !known(name)))
        .map(|(name, text)| {
            format!("<span class=\"name\"><var>{}</var> = {}</span> ", escape(name), marked(text, part))
        })
        .collect();
    let names = match names.is_empty() {
        true => String::new(),
        false => format!("<p class=\"names\"><span class=\"soft\">where</span> {names}</p>\n"),
    };
    let text = marked(&of.text, part);
    format!("<p class=\"formula\"><span class=\"left\">{} =</span> {text}</p>\n{names}", escape(output))
}

/// An equation with its names, as the summary shows it.
pub fn equation(output: &str, of: &Formula) -> String {
    whole(output, of, None)
}

/// The formula with a part of it marked, where it stands there as it is.
fn marked(text: &str, part: Option<&str>) -> String {
    // A name or a number alone stands in too many places to be meant.
    match part.filter(|part| part.len() > 2).and_then(|part| text.split_once(part).map(|around| (part, around))) {
        Some((part, (before, behind))) => {
            format!("{}<mark>{}</mark>{}", formula(before), formula(part), formula(behind))
        }
        None => formula(text),
    }
}

/// Folds as they are written by hand.
const FOLDS: [(&str, &str); 3] = [("sum_", "Σ"), ("amax_", "max"), ("lse_", "lse")];

/// A formula as HTML: `sum_c(…)` becomes a Σ over c.
fn formula(text: &str) -> String {
    let mut html = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let of_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.');
        let end = if of_word(first) { rest.find(|c| !of_word(c)) } else { Some(first.len_utf8()) };
        let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
        let fold = FOLDS.iter().find_map(|(prefix, sign)| Some((sign, word.strip_prefix(prefix)?)));
        match fold.filter(|_| behind.starts_with('(')) {
            Some((sign, axis)) => html.push_str(&format!("{sign}<sub>{}</sub>", escape(axis))),
            None => html.push_str(&escape(word)),
        }
        rest = behind;
    }
    html
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_are_written_as_by_hand() {
        assert_eq!(
            formula("sum_c(exp(x[n,c])) < lse_a_b(sum_x)"),
            "Σ<sub>c</sub>(exp(x[n,c])) &lt; lse<sub>a_b</sub>(sum_x)"
        );
    }

    #[test]
    fn the_part_is_marked_where_it_stands() {
        assert_eq!(marked("−log(a / b)", Some("a / b")), "−log(<mark>a / b</mark>)");
        assert_eq!(marked("a + b", Some("a")), "a + b");
        assert_eq!(marked("<b>", Some("<b>")), "<mark>&lt;b&gt;</mark>");
    }
}
