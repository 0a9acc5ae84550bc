//! The stages side by side: the declaration's source, the graph drawn, and a pane for each stage, with what the script
//! needs to light relatives up.

use super::code;
use super::diff::{Difference, difference};
use super::legend::legend;
use crate::inspect::escape::escape;
use crate::inspect::svg::figure;
use crate::inspect::{Listing, Origin, Report, Stage};
use std::fmt::Write;

pub fn section(report: &Report) -> String {
    let mut panes = vec![("source", source(report)), ("graph", graphs(report))];
    panes.extend(report.listings.iter().map(|listing| (listing.stage.name(), pane(report, listing))));
    let chips: String = panes
        .iter()
        .map(|(name, _)| {
            format!(
                "<button type=\"button\" class=\"chip\" data-pane=\"{name}\" aria-pressed=\"true\" aria-controls=\"pane-{name}\">\
                 {name}<span class=\"lit-count\" aria-hidden=\"true\"></span></button>\n"
            )
        })
        .collect();
    let panes: String = panes.into_iter().map(|(_, text)| text).collect();
    format!(
        "{}<div class=\"workspace\">\n<div class=\"bar\" role=\"toolbar\" aria-label=\"Panes\">\n{chips}\
         <button type=\"button\" class=\"toggle\" id=\"diff\" aria-pressed=\"false\" title=\"What each stage changed (d)\">± difference</button>\n\
         </div>\n<div class=\"panes\">\n{panes}</div>\n\
         <p class=\"status\" id=\"status\" role=\"status\" aria-live=\"polite\">{HINT}</p>\n</div>\n",
        legend(report)
    )
}

const HINT: &str = "Click a line or a box: what it was made from and what became of it lights up in every pane. Keys: tab, arrows, enter; \
                    escape clears, d shows differences.";

/// What a pane's stage is, in a few words.
fn about(stage: Stage) -> &'static str {
    match stage {
        Stage::Trace => "as declared",
        Stage::Simplify => "rewritten, stable",
        Stage::Grad => "with the gradients",
        Stage::Joint => "rewritten together",
        Stage::Nest => "the loops",
        Stage::Clif => "Cranelift’s code",
        Stage::Asm => "machine code",
    }
}

fn opening(name: &str, about: &str, control: &str) -> String {
    format!(
        "<article class=\"pane\" id=\"pane-{name}\" data-pane=\"{name}\" aria-labelledby=\"title-{name}\">\n\
         <header><h3 id=\"title-{name}\">{name}</h3><p>{about}</p>{control}</header>\n"
    )
}

fn list(name: &str) -> String {
    format!("<ol class=\"lines\" role=\"listbox\" tabindex=\"0\" aria-labelledby=\"title-{name}\">\n")
}

/// The lines of the declaration, and for each origin which of them it is on: several may be on one.
fn source_lines(report: &Report) -> (Vec<&Origin>, Vec<usize>) {
    let mut lines: Vec<&Origin> = vec![];
    let mut on = vec![];
    for origin in &report.origins {
        if lines.last().is_none_or(|last| (&last.file, last.line) != (&origin.file, origin.line)) {
            lines.push(origin);
        }
        on.push(lines.len() - 1);
    }
    (lines, on)
}

fn source(report: &Report) -> String {
    let mut out = opening("source", "the declaration", "") + &list("source");
    let mut file = None;
    for (place, origin) in source_lines(report).0.into_iter().enumerate() {
        if file != Some(&origin.file) && !origin.file.is_empty() {
            let _ = writeln!(out, "<li class=\"heading\" role=\"presentation\">{}</li>", escape(&origin.file));
        }
        file = Some(&origin.file);
        let _ = writeln!(
            out,
            "<li role=\"option\" id=\"source-{}\"><span class=\"ty\">{:>4}</span> {}</li>",
            place + 1,
            origin.line,
            escape(origin.text.as_deref().unwrap_or(""))
        );
    }
    out + "</ol>\n</article>\n"
}

fn graphs(report: &Report) -> String {
    let drawn: Vec<&Listing> = report.listings.iter().filter(|l| !l.nodes.is_empty()).collect();
    // The joint graph is the whole of what is computed, before it is cut into loops.
    let first = drawn.iter().position(|l| l.stage == Stage::Joint).unwrap_or(0);
    let options: String = drawn
        .iter()
        .enumerate()
        .map(|(at, l)| format!("<option{}>{}</option>", if at == first { " selected=\"\"" } else { "" }, l.stage))
        .collect();
    let control = format!(
        "<select id=\"drawn\" aria-label=\"Stage drawn\">{options}</select>\
         <span class=\"zoom\"><button type=\"button\" data-zoom=\"0.8\" aria-label=\"Smaller\">−</button>\
         <button type=\"button\" data-zoom=\"0\" aria-label=\"Fit\">fit</button>\
         <button type=\"button\" data-zoom=\"1.25\" aria-label=\"Larger\">+</button></span>"
    );
    let mut out = opening("graph", "values flow down", &control);
    for (at, listing) in drawn.iter().enumerate() {
        let stage = listing.stage;
        let attributes =
            |line: usize| format!(" role=\"option\" id=\"graph-{stage}-{0}\" data-line=\"{stage}-{0}\"", line + 1);
        let _ = write!(
            out,
            "<div class=\"drawing\" data-stage=\"{stage}\" role=\"listbox\" tabindex=\"0\" aria-label=\"Graph of {stage}\"{}>\n{}</div>\n",
            if at == first { "" } else { " hidden=\"\"" },
            figure(listing, "", attributes).unwrap_or_else(|problem| format!("<p class=\"soft\">{problem}</p>\n"))
        );
    }
    out + "</article>\n"
}

fn pane(report: &Report, listing: &Listing) -> String {
    let name = listing.stage.name();
    let parent = listing.parent.and_then(|parent| report.listing(parent));
    let changed = parent.and_then(|parent| Some((parent, difference(parent, listing)?)));
    let same = first_same(report, listing);
    let mut out = opening(name, about(listing.stage), &tally(changed.as_ref()));
    if let Some(first) = same {
        let _ = writeln!(out, "<details class=\"same\"><summary>the same as {first}</summary>");
    }
    out += &list(name);
    let gone = |out: &mut String, behind: Option<usize>| {
        let Some((parent, difference)) = &changed else { return };
        for (_, line) in difference.gone.iter().filter(|(place, _)| *place == behind) {
            let text = code::line(parent.stage, &parent.lines[*line].text);
            let _ = writeln!(out, "<li class=\"gone\" role=\"presentation\">{text}</li>");
        }
    };
    gone(&mut out, None);
    for (place, line) in listing.lines.iter().enumerate() {
        let new = changed.as_ref().is_some_and(|(_, difference)| difference.new[place]);
        let _ = writeln!(
            out,
            "<li role=\"option\" id=\"{name}-{}\"{}>{}</li>",
            place + 1,
            match (new, line.text.starts_with("nest ")) {
                (true, _) => " class=\"new\"",
                (_, true) => " class=\"start\"",
                _ => "",
            },
            code::line(listing.stage, &line.text)
        );
        gone(&mut out, Some(place));
    }
    out + "</ol>\n" + if same.is_some() { "</details>\n" } else { "" } + "</article>\n"
}

/// The first stage of which a stage is a copy, line by line.
fn first_same(report: &Report, listing: &Listing) -> Option<Stage> {
    let is_same = |other: &&Listing| other.lines.iter().map(|l| &l.text).eq(listing.lines.iter().map(|l| &l.text));
    let before = report.listings.iter().take_while(|other| other.stage != listing.stage);
    before.filter(|_| !listing.nodes.is_empty()).find(is_same).map(|other| other.stage)
}

/// How many equations are new and gone.
fn tally(changed: Option<&(&Listing, Difference)>) -> String {
    let Some((parent, difference)) = changed else { return String::new() };
    let new = difference.new.iter().filter(|new| **new).count();
    format!(
        "<span class=\"tally\" title=\"against {0}\"><span class=\"sr\">against {0}: </span><ins>+{new}</ins> <del>−{1}</del></span>",
        parent.stage,
        difference.gone.len()
    )
}

/// For each pane its parent pane, and for each of its lines the lines of the parent and the nodes it is about, as the
/// script reads it.
pub fn data(report: &Report) -> String {
    let (source, on) = source_lines(report);
    let nothing = numbers(&vec![[0; 0]; source.len()]);
    let mut stages = vec![format!("{{\"name\":\"source\",\"parent\":null,\"from\":{nothing},\"about\":[]}}")];
    for listing in &report.listings {
        let from: Vec<Vec<usize>> = match listing.parent {
            Some(_) => listing.lines.iter().map(|line| line.from.clone()).collect(),
            None => {
                (listing.lines.iter()).map(|line| line.origins.iter().map(|&origin| on[origin]).collect()).collect()
            }
        };
        let parent = listing.parent.map_or("source", Stage::name);
        let about: Vec<&Vec<usize>> = match listing.nodes.is_empty() {
            true => vec![],
            false => listing.lines.iter().map(|line| &line.nodes).collect(),
        };
        stages.push(format!(
            "{{\"name\":\"{}\",\"parent\":\"{parent}\",\"from\":{},\"about\":{}}}",
            listing.stage,
            numbers(&from),
            numbers(&about)
        ));
    }
    format!("<script type=\"application/json\" id=\"relations\">[{}]</script>\n", stages.join(",\n"))
}

/// Lists of numbers look in JSON as they do in Rust.
fn numbers(lists: &impl std::fmt::Debug) -> String {
    format!("{lists:?}").replace(' ', "")
}
