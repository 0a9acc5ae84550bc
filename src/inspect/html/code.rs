//! Lines of the text forms in colour: the colours are those of the boxes of the graph.

use crate::inspect::Stage;
use crate::inspect::escape::escape;
use crate::inspect::svg::class;

/// Words of the nest's text form and of graphs' headings.
const KEYWORDS: &[&str] = &[
    "for", "by", "tile", "parallel", "lanes", "call", "with", "into", "keep", "in", "load", "store", "native", "nest",
    "graph", "over",
];

/// A line of a stage as HTML.
pub fn line(stage: Stage, text: &str) -> String {
    match stage {
        Stage::Clif | Stage::Asm => machine(text),
        _ => equation(text),
    }
}

/// Words are what stands between spaces and punctuation; only words that say something get an element.
fn equation(text: &str) -> String {
    let mut html = String::with_capacity(2 * text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let of_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '%' | '@');
        let end = if of_word(first) { rest.find(|c| !of_word(c)) } else { Some(first.len_utf8()) };
        let (word, behind) = rest.split_at(end.unwrap_or(rest.len()));
        // The axes behind a name and the kind behind a colon are its type.
        let typed = (first == '[').then(|| rest.find(']')).flatten().map(|close| close + 1);
        let typed = typed
            .or_else(|| rest.starts_with(": ").then(|| 2 + rest[2..].find([' ', ',', ')']).unwrap_or(rest.len() - 2)));
        if let Some(end) = typed {
            let (ty, behind) = rest.split_at(end);
            html.push_str(&format!("<span class=\"ty\">{}</span>", escape(ty)));
            rest = behind;
            continue;
        }
        let class = if KEYWORDS.contains(&word) { "key" } else { class(word) };
        match class {
            "plain" => html.push_str(&escape(word)),
            class => html.push_str(&format!("<span class=\"{class}\">{}</span>", escape(word))),
        }
        rest = behind;
    }
    html
}

/// Headings of blocks and comments.
fn machine(text: &str) -> String {
    let (code, comment) = match text.find(';') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let heading = !code.starts_with(' ') && code.trim_end().ends_with(':');
    let code = if heading { format!("<span class=\"key\">{}</span>", escape(code)) } else { escape(code).into_owned() };
    if comment.is_empty() { code } else { format!("{code}<span class=\"ty\">{}</span>", escape(comment)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(html: &str) -> String {
        let mut inside = false;
        let mut kept = String::new();
        for c in html.chars() {
            match c {
                '<' => inside = true,
                '>' => inside = false,
                c if !inside => kept.push(c),
                _ => {}
            }
        }
        kept
    }

    #[test]
    fn only_colour_is_added() {
        for text in [
            "%8[n c]: float = select %7 -1.0 0.0",
            "  call %3 = exp %2 with %2 = load tile3, into grad.pred",
            "graph a(b[c]: int, d: float) over e f",
            "",
            "[: ",
            ": x",
        ] {
            assert_eq!(plain(&line(Stage::Nest, text)), text);
        }
        for text in ["block3(v1: i64):", "    v2 = iadd v1, v1  ; v1 = 0", "; x"] {
            assert_eq!(plain(&line(Stage::Clif, text)), text);
        }
    }

    #[test]
    fn markup_in_a_line_is_text() {
        for stage in Stage::ALL {
            assert!(!line(stage, "graph <img src=x>(a[<b>]: <i>)").contains("<i"));
        }
    }
}
