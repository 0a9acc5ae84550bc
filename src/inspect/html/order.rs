//! The order of the loops in a sentence: what runs in what, how often, and what threads share.

use super::quantity::count;
use crate::inspect::escape::escape;
use crate::inspect::{LoopCost, Report};

/// Which loops run.
pub fn loops(report: &Report) -> String {
    let all: Vec<&LoopCost> = report.cost.loops.iter().filter(|l| !l.axis.is_empty()).collect();
    let told = told(&all, None);
    let more = "<a href=\"#loops\">What each does</a>";
    match &told[..] {
        [] => "None: a few instructions.".into(),
        [one] => format!("{}. {more}", capital(one)),
        many => format!("{}, one after the other. First {}. {more}", many.len(), many.join(". Then ")),
    }
}

/// Loops with those in them; equal neighbours that have none in them are counted. `around` is the axis, and how many of its
/// indices are taken together, where these loops are in blocks or parts.
fn told(loops: &[&LoopCost], around: Option<(&str, usize)>) -> Vec<String> {
    let mut phrases = vec![];
    let mut rest = loops;
    while let [first, behind @ ..] = rest {
        let inside = behind.iter().take_while(|l| l.depth > first.depth).count();
        let (inner, mut after) = behind.split_at(inside);
        let mut equal = 1;
        if inner.is_empty() {
            let is_equal = |next: &LoopCost| (&next.axis, next.kernel) == (&first.axis, first.kernel) && !first.kernel;
            let lonely = |rest: &[&LoopCost]| rest.get(1).is_none_or(|next| next.depth <= first.depth);
            while after.first().is_some_and(|next| is_equal(next)) && lonely(after) {
                (after, equal) = (&after[1..], equal + 1);
            }
        }
        phrases.push(phrase(first, inner, equal, (around, after.is_empty())));
        rest = after;
    }
    phrases
}

/// In words, one loop or so many equal ones. Brackets hold what is inside apart from what follows.
fn phrase(
    first: &LoopCost,
    inner: &[&LoopCost],
    equal: usize,
    (around, is_last): (Option<(&str, usize)>, bool),
) -> String {
    let shared = if first.parallel { ", shared among threads" } else { "" };
    let axis = format!("<i>{}</i>", escape(&first.axis));
    let extent = first.extent;
    // Of an axis that a loop around cuts, so many indices.
    let taken = around.filter(|(cut, _)| *cut == first.axis).map(|(_, size)| size.min(extent));
    let cut = first.block.or(first.part).map(|size| (first.axis.as_str(), size)).or(around);
    let mut within = told(inner, cut);
    let natives = first.summary.split("; ").filter_map(|clause| clause.strip_prefix("runs "));
    within.extend(natives.map(|name| format!("the native kernel {}", escape(name))));
    let last = |size: usize| if extent.is_multiple_of(size) { "" } else { "at most " };
    let pieces = |size: usize, name: &str| {
        let pieces = extent.div_ceil(size);
        let plural = if pieces == 1 { "" } else { "s" };
        format!("{axis} in {} {name}{plural} of {}{}", count(pieces as u64), last(size), count(size.min(extent) as u64))
    };
    let kernel = first.axis.replace(' ', ", ");
    let head = match (first.block, first.part, taken) {
        _ if first.kernel => return format!("all pairs (<i>{}</i>) by a native kernel", escape(&kernel)),
        (Some(size), ..) => format!("{}{}", pieces(size, "block"), bracketed(shared)),
        (_, Some(size), _) => format!("{}, with sums of their own{}", pieces(size, "part"), bracketed(shared)),
        (.., Some(size)) if equal == 1 => format!("{} rows {axis}", count(size as u64)),
        _ if equal == 1 => format!("a loop over {axis} ({}{shared})", count(taken.unwrap_or(extent) as u64)),
        _ => format!("{equal} loops over {axis} ({}{shared})", count(taken.unwrap_or(extent) as u64)),
    };
    let each = if taken.is_some() && equal == 1 { "each with" } else { "in each turn" };
    let inside = within.join(", then ");
    match (first.block.or(first.part), is_last) {
        _ if within.is_empty() => head,
        (Some(size), _) if size >= extent => format!("{head}; in it: {inside}"),
        (Some(_), _) => format!("{head}; in each: {inside}"),
        (None, true) => format!("{head}, {each} {inside}"),
        (None, false) => format!("{head} ({each} {inside})"),
    }
}

fn bracketed(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!(" ({})", text.trim_start_matches(", ")) }
}

fn capital(text: &str) -> String {
    match text.strip_prefix("a loop") {
        Some(rest) => format!("One loop{rest}"),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(depth: usize, axis: &str, extent: usize) -> LoopCost {
        LoopCost { depth, axis: axis.into(), extent, ..LoopCost::default() }
    }

    fn text(loops: &[LoopCost]) -> String {
        told(&loops.iter().collect::<Vec<_>>(), None).join(". ").replace("<i>", "").replace("</i>", "")
    }

    #[test]
    fn blocks_are_no_square() {
        let block = LoopCost { block: Some(64), parallel: true, ..row(0, "i", 256) };
        let pairs = LoopCost { kernel: true, ..row(1, "i j d", 1 << 23) };
        let tiles = [row(2, "j", 256), row(2, "j", 256), row(2, "j", 256)];
        let all = [vec![block, pairs, row(1, "i", 256)], tiles.to_vec()].concat();
        assert_eq!(
            text(&all),
            "i in 4 blocks of 64 (shared among threads); in each: all pairs (i, j, d) by a native kernel, then 64 rows i, each \
             with 3 loops over j (256)"
        );
    }

    #[test]
    fn parts_and_what_is_inside() {
        let part = LoopCost { part: Some(64), parallel: true, ..row(0, "n", 1000) };
        assert_eq!(
            text(&[part, row(1, "n", 1000), row(2, "i", 9)]),
            "n in 16 parts of at most 64, with sums of their own (shared among threads); in each: 64 rows n, each with a loop \
             over i (9)"
        );
    }

    #[test]
    fn what_has_loops_in_it_is_not_counted_with_its_neighbours() {
        let all = [row(0, "n", 5), row(1, "c", 3), row(2, "n", 7), row(1, "c", 3), row(1, "c", 3)];
        let wanted = "a loop over n (5), in each turn a loop over c (3) (in each turn a loop over n (7)), then 2 loops over c (3)";
        assert_eq!(text(&all), wanted);
    }
}
