//! How to read the stages: their words, by examples from the page itself. What does not occur is not explained.

use crate::inspect::escape::escape;
use crate::inspect::{Listing, Node, Report, Stage};

/// Words of the nest, with what they mean: the word stands there if the first does.
const WORDS: [(&str, &str, &str); 17] = [
    ("slot ", "slot", "memory for a value that outlives the loop that makes it"),
    (" in tile", "tile1", "scratch for one tile"),
    (" in row", "row0", "scratch along the axes in brackets"),
    (" in sums", "sums4", "the same in f64"),
    (", by block", "by block", "of the open block only"),
    (" by block of ", "by block of 64", "so many indices at a time, which loops over the axis inside run over"),
    (" by part of ", "by part of 64", "the same for threads, each part with sums of its own, added in order"),
    (", parallel", "parallel", "may be shared among threads"),
    (" by tile", "by tile", "512 elements at a time"),
    ("lanes", "lanes", "vector arithmetic, element by element of the tile"),
    ("call ", "call", "an elementary function over the tile"),
    ("pairs ", "pairs", "a sum for every pair of rows, by a kernel written by hand"),
    ("native ", "native", "a kernel written by hand, for one row"),
    (" max= ", "max=", "takes a value into a maximum"),
    (" += ", "+=", "takes a value into a sum"),
    ("keep ", "keep", "into a slot"),
    ("load ", "load", "out of a slot"),
];

pub fn legend(report: &Report) -> String {
    let joint = report.listing(Stage::Joint);
    let nest = report.listing(Stage::Nest);
    let items = [joint.and_then(equation), joint.and_then(read), joint.and_then(fold), nest.and_then(words)];
    let items: String = items.into_iter().flatten().map(|item| format!("<li>{item}</li>\n")).collect();
    let numbers = "<li>Every pane numbers its values by itself: what is <code>%3</code> in one is not <code>%3</code> in the next. A click \
                   shows what became of it.</li>\n";
    format!("<ul class=\"legend\">\n{items}{numbers}</ul>\n")
}

/// A line that has all of it: number, axes, kind, op, and values as arguments.
fn equation(listing: &Listing) -> Option<String> {
    const SIGNS: [(&str, &str); 4] = [("sub", "minus"), ("add", "plus"), ("mul", "times"), ("div", "divided by")];
    let sign = |node: &Node| SIGNS.iter().find(|(op, _)| *op == node.op).map(|(_, sign)| *sign);
    let number = |node: usize| number(listing, &listing.nodes[node]);
    listing.nodes.iter().filter(|node| !node.axes.is_empty()).find_map(|node| {
        let (sign, [a, b]) = (sign(node)?, node.args[..].as_array()?);
        let (left, right) = (number(*a)?, number(*b)?);
        let of = |number: &str| number.trim_start_matches('%').to_string();
        Some(format!(
            "{} value number {}, one {} for each {}, is value {} {sign} value {}.",
            shown(listing, node)?,
            of(self::number(listing, node)?),
            node.kind,
            escape(&node.axes.join(" and ")),
            of(left),
            of(right)
        ))
    })
}

fn read(listing: &Listing) -> Option<String> {
    let read =
        listing.nodes.iter().find(|node| node.op == "read" && node.args[1..].iter().all(|&a| listing.nodes[a].leaf))?;
    let axes = escape(&read.axes.join(" and ")).into_owned();
    Some(format!("<code>{}</code> is one element of a buffer, at the running indices {axes}.", escape(&read.text)))
}

fn fold(listing: &Listing) -> Option<String> {
    let folds = [
        ("sum", "adds"),
        ("lse", "takes the logarithm of the sum of the exponentials of"),
        ("amax", "finds the largest of"),
    ];
    let does = |node: &Node| folds.iter().find(|(op, _)| *op == node.op).map(|(_, does)| *does);
    let (fold, does) = listing.nodes.iter().find_map(|node| Some((node, does(node)?)))?;
    let [axis, value] = fold.args[..].as_array()?;
    let axis = listing.nodes[*axis].op.trim_start_matches('@');
    let value = number(listing, &listing.nodes[*value])?.trim_start_matches('%');
    Some(format!("<code>{}</code> {does} value {value} along {}.", escape(&fold.text), escape(axis)))
}

fn words(nest: &Listing) -> Option<String> {
    // The steps and slots stand behind the equations.
    let from = nest.lines.iter().position(|line| line.text.starts_with("nest "))?;
    let occurs = |part: &str| nest.lines[from..].iter().any(|line| line.text.contains(part));
    let told: Vec<String> = (WORDS.iter())
        .filter(|(part, ..)| occurs(part))
        .map(|(_, word, means)| format!("<code>{word}</code> {means}"))
        .collect();
    Some(format!("In the nest: {}.", told.join("; ")))
}

/// The number of a value, `%3`.
fn number<'l>(listing: &'l Listing, node: &Node) -> Option<&'l str> {
    listing.lines.get(node.line?)?.text.split(['[', ':']).next()
}

fn shown(listing: &Listing, node: &Node) -> Option<String> {
    Some(format!("<code>{}</code>", escape(&listing.lines.get(node.line?)?.text)))
}
