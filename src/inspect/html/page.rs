//! The page as a whole: head, sections, style and script.

use super::{cost, loops, stages, summary, why};
use crate::inspect::Report;
use crate::inspect::escape::escape;

/// Nothing is fetched, and nothing runs but what stands in the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; \
                      base-uri 'none'; form-action 'none'";
/// So that no request is made for one.
const ICON: &str = "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Cpath d='M4 3v10h8' \
                    fill='none' stroke='%23b4690e' stroke-width='3'/%3E%3C/svg%3E";

/// The page of a report.
pub fn page(report: &Report) -> String {
    let name = escape(&report.loss);
    let sections = [
        ("summary", "In short", summary::section(report)),
        ("loops", "Loops", loops::section(report)),
        ("why", "Why it is equal", why::section(report)),
        ("stages", "Stages", stages::section(report)),
        ("cost", "Cost", cost::section(report)),
    ];
    let links: String = sections.iter().map(|(id, title, _)| format!("<a href=\"#{id}\">{title}</a>\n")).collect();
    let body: String = sections
        .iter()
        .map(|(id, title, text)| {
            format!("<section id=\"{id}\" aria-labelledby=\"{id}-title\">\n<h2 id=\"{id}-title\">{title}</h2>\n{text}</section>\n")
        })
        .collect();
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\"/>\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\"/>\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n\
         <meta name=\"color-scheme\" content=\"light dark\"/>\n<meta name=\"generator\" content=\"lossjit {version}\"/>\n\
         <link rel=\"icon\" href=\"{ICON}\"/>\n<title>{name} · lossjit inspect</title>\n<style>\n{style}</style>\n</head>\n\
         <body>\n<a class=\"skip\" href=\"#stages\">To the stages</a>\n<header>\n<p class=\"eyebrow\">lossjit inspect</p>\n\
         <h1>{name}</h1>\n{signature}<nav aria-label=\"Sections\">\n{links}</nav>\n</header>\n<main>\n{body}</main>\n\
         <footer>Made by lossjit {version} for <code>{symbol}</code>.</footer>\n{data}<script>\n{script}</script>\n</body>\n</html>\n",
        version = escape(report.version),
        style = concat!(
            include_str!("../svg/colours.css"),
            include_str!("../svg/graph.css"),
            include_str!("page.css"),
            include_str!("stages.css")
        ),
        signature = summary::signature(report),
        symbol = escape(&report.symbol),
        data = stages::data(report),
        script = include_str!("page.js"),
    )
}
