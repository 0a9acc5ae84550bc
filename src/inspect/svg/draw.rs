//! The picture of a graph: a box for each equation and each output, a line from each value to its users. Leaves stand
//! in the equations that use them, as in the text form. The more axes a value varies along, the thicker its line.

use super::layers::{Placement, Request, place};
use crate::inspect::escape::escape;
use crate::inspect::{Listing, Node, Stage};
use crate::ir::{Op, Work};
use std::collections::HashMap;
use std::fmt::Write;

const CHARACTER: f64 = 7.25;
const PADDING: f64 = 12.0;
const HEIGHT: f64 = 42.0;
const BETWEEN: f64 = 30.0;
const MARGIN: f64 = 8.0;
const TIP: f64 = 6.0;

/// Boxes of the largest picture. Nobody can read more, and the layout takes time by their square.
const MAX_DRAWN: usize = 400;

/// A stage's graph as an SVG file of its own, with its colours, for light and dark.
///
/// # Errors
/// It has more than [`MAX_DRAWN`] boxes.
pub fn svg(name: &str, listing: &Listing) -> Result<String, String> {
    let style = concat!("<style>\n", include_str!("colours.css"), include_str!("graph.css"), "</style>\n");
    let title = format!("<title>{}: {}</title>\n", escape(name), listing.stage);
    figure(listing, &format!("{title}{style}"), |_| String::new())
}

/// A stage's graph as an SVG element, for a page that has the colours. `attributes` gives each box more of them, by the
/// line of the listing that it shows.
///
/// # Errors
/// It has more than [`MAX_DRAWN`] boxes.
pub fn figure(listing: &Listing, head: &str, attributes: impl Fn(usize) -> String) -> Result<String, String> {
    let picture = Picture::new(listing)?;
    let placed = place(&Request { widths: &picture.widths(), edges: &picture.edges });
    let width = placed.width + 2.0 * MARGIN;
    let height = (placed.layers as f64 * (HEIGHT + BETWEEN) - BETWEEN).max(0.0) + 2.0 * MARGIN;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         height=\"{height:.0}\" class=\"graph\">\n{head}"
    );
    for edge in 0..picture.edges.len() {
        picture.edge(&mut out, listing.stage, &placed, edge);
    }
    for (at, shown) in picture.boxes.iter().enumerate() {
        let corner = (placed.x[at] + MARGIN - shown.width() / 2.0, top(placed.layer[at]));
        shown.draw(&mut out, corner, &shown.line.map(&attributes).unwrap_or_default());
    }
    out.push_str("</svg>\n");
    Ok(out)
}

fn top(layer: usize) -> f64 {
    layer as f64 * (HEIGHT + BETWEEN) + MARGIN
}

struct Box {
    /// The line of the listing that it shows.
    line: Option<usize>,
    class: &'static str,
    title: String,
    subtitle: String,
    /// How many axes its value varies along.
    rank: usize,
}

impl Box {
    /// An equation. Its number is the left-hand side of the line that defines it.
    fn equation(node: &Node, listing: &Listing) -> Self {
        let defined = node.line.and_then(|line| listing.lines.get(line)).map_or("", |line| line.text.trim());
        let number = defined.split([' ', '[', ':', ',']).find(|word| word.starts_with('%')).unwrap_or_default();
        let axes = if node.axes.is_empty() { String::new() } else { format!("[{}]", node.axes.join(" ")) };
        let kind = if node.kind == "float" { String::new() } else { format!(": {}", node.kind) };
        Box {
            line: node.line,
            class: class(&node.op),
            title: node.text.clone(),
            subtitle: format!("{number}{axes}{kind}"),
            rank: node.axes.len(),
        }
    }

    /// An output, by the line that gives it or stores it.
    fn output(name: &str, of: &Box, node: &Node, listing: &Listing) -> Self {
        let gives = |text: &str| {
            let rest = text.trim().trim_start_matches("store ").strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with('[') || rest.starts_with(" ="))
        };
        let line = listing.lines.iter().rposition(|line| gives(&line.text));
        let shown = line.map_or(name, |line| listing.lines[line].text.trim().trim_start_matches("store "));
        let title = shown.split(" = ").next().unwrap_or(name).to_string();
        let number = of.subtitle.split(['[', ':']).next().unwrap_or_default();
        let subtitle = format!("= {}", if node.leaf { &node.text } else { number });
        Box { line, class: "result", title, subtitle, rank: of.rank }
    }

    fn width(&self) -> f64 {
        let characters = self.title.chars().count().max(self.subtitle.chars().count());
        (characters as f64 * CHARACTER + 2.0 * PADDING).max(64.0)
    }

    fn draw(&self, out: &mut String, (x, y): (f64, f64), attributes: &str) {
        let (width, middle) = (self.width(), x + self.width() / 2.0);
        let (title, subtitle) = (escape(&self.title), escape(&self.subtitle));
        let _ = writeln!(
            out,
            "<g class=\"box {}\"{attributes}><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" \
             height=\"{HEIGHT}\" rx=\"7\"/><text x=\"{middle:.1}\" y=\"{:.1}\">{title}</text><text class=\"of\" \
             x=\"{middle:.1}\" y=\"{:.1}\">{subtitle}</text></g>",
            self.class,
            y + 18.0,
            y + 33.0,
        );
    }
}

struct Picture {
    boxes: Vec<Box>,
    edges: Vec<(usize, usize)>,
}

impl Picture {
    fn new(listing: &Listing) -> Result<Self, String> {
        let shown = |node: &Node| usize::from(!node.leaf) + node.outputs.len();
        let boxes: usize = listing.nodes.iter().map(shown).sum();
        if boxes > MAX_DRAWN {
            return Err(format!("{} has {boxes} values; pictures have up to {MAX_DRAWN}", listing.stage));
        }
        let mut at: HashMap<usize, usize> = HashMap::new();
        let mut picture = Picture { boxes: vec![], edges: vec![] };
        for (place, node) in listing.nodes.iter().enumerate().filter(|(_, node)| !node.leaf) {
            let here = picture.boxes.len();
            picture.boxes.push(Box::equation(node, listing));
            at.insert(place, here);
            for from in node.args.iter().filter_map(|arg| at.get(arg)) {
                if !picture.edges.contains(&(*from, here)) {
                    picture.edges.push((*from, here));
                }
            }
        }
        for (place, node) in listing.nodes.iter().enumerate() {
            for name in &node.outputs {
                let value = Box::equation(node, listing);
                picture.edges.extend(at.get(&place).map(|&from| (from, picture.boxes.len())));
                picture.boxes.push(Box::output(name, &value, node, listing));
            }
        }
        Ok(picture)
    }

    fn widths(&self) -> Vec<f64> {
        self.boxes.iter().map(Box::width).collect()
    }

    /// Where an edge ends on the top of its box: in the order of where the edges come from.
    fn port(&self, placed: &Placement, edge: usize) -> f64 {
        let came = |edge: usize| placed.bends[edge].last().copied().unwrap_or(placed.x[self.edges[edge].0]);
        let to = self.edges[edge].1;
        let into: Vec<usize> = (0..self.edges.len()).filter(|&e| self.edges[e].1 == to).collect();
        let before = into.iter().filter(|&&e| (came(e), e) < (came(edge), edge)).count();
        let step = 16f64.min((self.boxes[to].width() - 2.0 * PADDING) / into.len() as f64);
        placed.x[to] + (before as f64 - (into.len() - 1) as f64 / 2.0) * step
    }

    fn edge(&self, out: &mut String, stage: Stage, placed: &Placement, edge: usize) {
        let (from, to) = self.edges[edge];
        let thick = 1.0 + 0.6 * self.boxes[from].rank.min(4) as f64;
        let port = self.port(placed, edge) + MARGIN;
        let first = placed.layer[from];
        let (mut x, mut y) = (placed.x[from] + MARGIN, top(first) + HEIGHT);
        let mut path = format!("M{x:.1} {y:.1}");
        for (step, bend) in placed.bends[edge].iter().enumerate() {
            let below = top(first + step + 1);
            curve(&mut path, (x, y), (bend + MARGIN, below));
            (x, y) = (bend + MARGIN, below + HEIGHT);
            let _ = write!(path, "V{y:.1}");
        }
        let end = top(placed.layer[to]);
        curve(&mut path, (x, y), (port, end - TIP));
        let line = |at: usize| self.boxes[at].line.map_or(String::new(), |line| format!("{stage}-{}", line + 1));
        let _ = writeln!(
            out,
            "<g class=\"edge\" data-from=\"{}\" data-to=\"{}\"><path d=\"{path}\" stroke-width=\"{thick:.1}\"/><path \
             class=\"tip\" d=\"M{port:.1} {end:.1}l-3.5 -{TIP}h7z\"/></g>",
            line(from),
            line(to),
        );
    }
}

fn curve(path: &mut String, (x, y): (f64, f64), (to, below): (f64, f64)) {
    let middle = (y + below) / 2.0;
    let _ = write!(path, "C{x:.1} {middle:.1} {to:.1} {middle:.1} {to:.1} {below:.1}");
}

/// What an op is to the reader of a picture.
pub fn class(word: &str) -> &'static str {
    match Op::from_name(word) {
        Some(Op::Read) => "read",
        Some(Op::Fold(_)) => "fold",
        Some(Op::Native(_)) => "math",
        Some(Op::Point(point)) if matches!(point.work(), Work::Math | Work::Composite) => "math",
        _ => "plain",
    }
}
