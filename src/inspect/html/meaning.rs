//! What a value is, in a few words: its equation written infix, as deep as it stays short.

use crate::inspect::{Listing, Node};
use crate::ir::Op;

/// More than this is no few words.
const LONGEST: usize = 46;

/// The value of this number, `%13`, in a listing.
pub fn numbered<'l>(listing: &'l Listing, number: &str) -> Option<&'l Node> {
    let defines = |node: &&Node| {
        let line = node.line.and_then(|line| listing.lines.get(line));
        let rest = line.and_then(|line| line.text.strip_prefix(number));
        rest.is_some_and(|rest| rest.starts_with(['[', ':']))
    };
    listing.nodes.iter().find(defines)
}

/// A node's equation; values that would make it long stand there by their numbers, and so do folds.
pub fn equation(listing: &Listing, node: &Node) -> String {
    if is_fold(node) {
        return number(listing, node);
    }
    let of = |depth: usize| Infix { listing }.written(node, depth).0;
    (1..4).rev().map(of).find(|text| text.chars().count() <= LONGEST).unwrap_or_else(|| node.text.clone())
}

fn is_fold(node: &Node) -> bool {
    matches!(Op::from_name(&node.op), Some(Op::Fold(_)))
}

/// A node's number, `%13`, as the line that defines it has it.
fn number(listing: &Listing, node: &Node) -> String {
    let line = node.line.and_then(|line| listing.lines.get(line)).map_or("", |line| &line.text);
    line.split(['[', ':']).next().unwrap_or(line).to_string()
}

/// How tightly a form binds.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Binding {
    Comparison,
    Sum,
    Product,
    Atom,
}

struct Infix<'l> {
    listing: &'l Listing,
}

impl Infix<'_> {
    fn used(&self, node: usize, depth: usize) -> (String, Binding) {
        let node = &self.listing.nodes[node];
        if node.leaf || node.op == "read" || (depth > 0 && !is_fold(node)) {
            return self.written(node, depth);
        }
        (number(self.listing, node), Binding::Atom)
    }

    fn within(&self, node: usize, depth: usize, least: Binding) -> String {
        let (text, binding) = self.used(node, depth);
        if binding < least { format!("({text})") } else { text }
    }

    fn written(&self, node: &Node, depth: usize) -> (String, Binding) {
        use Binding::{Atom, Comparison, Product, Sum};
        let inside = depth.saturating_sub(1);
        let infix = |sign: &str, left: Binding, right: Binding, whole: Binding| {
            let (left, right) = (self.within(node.args[0], inside, left), self.within(node.args[1], inside, right));
            (format!("{left} {sign} {right}"), whole)
        };
        match (node.op.as_str(), &node.args[..]) {
            ("add", [_, _]) => infix("+", Sum, Sum, Sum),
            ("sub", [_, _]) => infix("−", Sum, Product, Sum),
            ("mul", [a, b]) if a == b => (format!("{}²", self.within(*a, inside, Atom)), Atom),
            ("mul", [_, _]) => infix("·", Product, Product, Product),
            ("div", [_, _]) => infix("/", Product, Atom, Product),
            ("eq", [_, _]) => infix("=", Sum, Sum, Comparison),
            ("lt", [_, _]) => infix("<", Sum, Sum, Comparison),
            ("le", [_, _]) => infix("≤", Sum, Sum, Comparison),
            ("neg", [a]) => (format!("−{}", self.within(*a, inside, Product)), Product),
            ("float", [a]) => self.used(*a, depth),
            ("read", [buffer, indices @ ..]) => {
                let indices: Vec<String> = indices.iter().map(|&i| self.used(i, inside).0).collect();
                (format!("{}[{}]", self.used(*buffer, 0).0, indices.join(",")), Atom)
            }
            (op, []) => (op.trim_start_matches('@').to_string(), Atom),
            (op, args) => {
                let args: Vec<String> = args.iter().map(|&a| self.used(a, inside).0).collect();
                (format!("{op}({})", args.join(", ")), Atom)
            }
        }
    }
}
