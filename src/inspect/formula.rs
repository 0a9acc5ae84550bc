//! Formulas on one line, as a textbook has them: `log(sum_c(exp(pred[n,c]))) − pred[n,label[n]]`. The words are the ops' own.

use super::report::Formula;
use crate::ir::{Fold, Graph, Id, Node, Op, Point};
use std::collections::{BTreeMap, HashSet};

/// What occurs more than once and is longer than this has a name.
const SHORT: usize = 18;

/// A term written out: an op's word and its operands, or a leaf's text.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Term {
    word: String,
    args: Vec<Term>,
}

/// How tightly an operator binds; what is inside a looser one needs no brackets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Binding {
    Or,
    And,
    Compare,
    Sum,
    Product,
    Power,
    Atom,
}

/// How far a value is written out even where it has a name.
#[derive(Clone, Copy)]
pub(super) enum Open<'p> {
    Not,
    /// Its own operator.
    Root,
    /// As far as a rule's side goes.
    Like(&'p Term),
}

impl<'p> Open<'p> {
    fn is_open(self) -> bool {
        match self {
            Open::Not => false,
            Open::Root => true,
            Open::Like(pattern) => !pattern.args.is_empty(),
        }
    }

    /// How far an operand is.
    fn operand(self, place: usize) -> Self {
        match self {
            Open::Not | Open::Root => Open::Not,
            Open::Like(pattern) => pattern.args.get(place).map_or(Open::Not, Open::Like),
        }
    }
}

impl Term {
    fn leaf(word: impl Into<String>) -> Self {
        Self { word: word.into(), args: vec![] }
    }

    fn text(&self) -> String {
        self.write().0
    }

    fn write(&self) -> (String, Binding) {
        let arg = |place: usize, least: Binding| {
            let (text, binding) = self.args[place].write();
            if binding < least { format!("({text})") } else { text }
        };
        let infix =
            |sign: &str, here: Binding, right: Binding| (format!("{} {sign} {}", arg(0, here), arg(1, right)), here);
        match (self.word.as_str(), self.args.len()) {
            (_, 0) => {
                let negative = self.word.starts_with('-');
                (self.word.replace('-', "−"), if negative { Binding::Sum } else { Binding::Atom })
            }
            ("add", 2) => infix("+", Binding::Sum, Binding::Product),
            ("sub", 2) => infix("−", Binding::Sum, Binding::Product),
            ("mul", 2) if self.args[0] == self.args[1] => (format!("{}²", arg(0, Binding::Atom)), Binding::Power),
            ("mul", 2) => infix("·", Binding::Product, Binding::Power),
            ("div", 2) => infix("/", Binding::Product, Binding::Power),
            ("neg", 1) => (format!("−{}", arg(0, Binding::Product)), Binding::Sum),
            ("lt", 2) => infix("<", Binding::Compare, Binding::Sum),
            ("le", 2) => infix("≤", Binding::Compare, Binding::Sum),
            ("eq", 2) => infix("=", Binding::Compare, Binding::Sum),
            ("and", 2) => infix("and", Binding::And, Binding::And),
            ("or", 2) => infix("or", Binding::Or, Binding::Or),
            ("read", _) => {
                let indices: Vec<String> = self.args[1..].iter().map(Term::text).collect();
                let buffer = self.args[0].text();
                (if indices.is_empty() { buffer } else { format!("{buffer}[{}]", indices.join(",")) }, Binding::Atom)
            }
            (word, 2) if Fold::ALL.iter().any(|fold| fold.name() == word) => {
                (format!("{word}_{}({})", self.args[0].text(), self.args[1].text()), Binding::Atom)
            }
            (word, _) => {
                let args: Vec<String> = self.args.iter().map(Term::text).collect();
                (format!("{word}({})", args.join(", ")), Binding::Atom)
            }
        }
    }
}

/// A rule's equation, from its patterns: `log(a / b) = log(a) − log(b)`.
pub(super) fn equation(left: &str, right: &str) -> String {
    format!("{} = {}", pattern(left).text(), pattern(right).text())
}

/// Reads a pattern such as `(log (div ?a ?b))`.
pub(super) fn pattern(text: &str) -> Term {
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let mut stack: Vec<Vec<Term>> = vec![vec![]];
    for word in spaced.split_whitespace() {
        match word {
            "(" => stack.push(vec![]),
            ")" => {
                let mut parts = stack.pop().unwrap_or_default().into_iter();
                let head = parts.next().map_or_else(String::new, |head| head.word);
                stack.last_mut().expect("the rules' brackets match").push(Term { word: head, args: parts.collect() });
            }
            _ => {
                let word = word.trim_start_matches('?');
                let word = word.strip_suffix(".0").unwrap_or(word);
                stack.last_mut().expect("the rules' brackets match").push(Term::leaf(word));
            }
        }
    }
    stack.pop().and_then(|mut parts| parts.pop()).unwrap_or_else(|| Term::leaf(text))
}

/// The names of what occurs more than once in any of several formulas.
pub(super) struct Names<'g> {
    terms: &'g Graph,
    names: BTreeMap<Id, String>,
}

impl<'g> Names<'g> {
    pub(super) fn new(terms: &'g Graph, formulas: &[Id]) -> Self {
        let lengths = lengths(terms);
        let mut shared = vec![false; terms.nodes.len()];
        let mut order = vec![];
        for &formula in formulas {
            let mut users = vec![0usize; terms.nodes.len()];
            for id in below(terms, formula) {
                order.push(id);
                let mut args: Vec<Id> = terms.node(id).args.to_vec();
                args.dedup(); // a square
                args.iter().for_each(|&a| users[usize::from(a)] += 1);
            }
            users.iter().zip(&mut shared).for_each(|(&users, shared)| *shared |= users > 1);
        }
        let is_named = |id: &Id| {
            let long = lengths[usize::from(*id)] > SHORT;
            long && shared[usize::from(*id)] && !matches!(terms.op(*id), Op::Read)
        };
        // Letters in the order in which people meet what they stand for.
        let mut met = HashSet::new();
        let named = order.into_iter().filter(|id| is_named(id) && met.insert(*id));
        let taken = |name: &String| terms.axes.contains(name) || terms.inputs.iter().any(|input| input.name == *name);
        Self { terms, names: named.zip((0..).map(name).filter(|name| !taken(name))).collect() }
    }

    pub(super) fn terms(&self) -> &'g Graph {
        self.terms
    }

    /// The name of a value, where it has one.
    pub(super) fn of(&self, value: Id) -> Option<&str> {
        self.names.get(&value).map(String::as_str)
    }

    pub(super) fn formula(&self, value: Id, open: Open) -> Formula {
        let mut used = vec![];
        let text = self.term(value, open, &mut used).text();
        let mut place = 0;
        while place < used.len() {
            self.term(used[place], Open::Root, &mut used);
            place += 1;
        }
        used.sort_unstable();
        used.dedup();
        let names = used.into_iter().map(|id| (self.names[&id].clone(), self.term(id, Open::Root, &mut vec![]).text()));
        Formula { text, names: names.collect() }
    }

    fn term(&self, id: Id, open: Open, used: &mut Vec<Id>) -> Term {
        if !open.is_open()
            && let Some(name) = self.names.get(&id)
        {
            if !used.contains(&id) {
                used.push(id);
            }
            return Term::leaf(name);
        }
        let Node { op, args } = self.terms.node(id);
        match op {
            Op::Axis(axis) => Term::leaf(self.terms.axis_name(*axis)),
            Op::Input(input) => Term::leaf(&self.terms.input(*input).name),
            Op::Float(x) => Term::leaf(number(x.get())),
            Op::Int(i) => Term::leaf(i.to_string()),
            op => {
                let args = args.iter().enumerate().map(|(place, &a)| self.term(a, open.operand(place), used)).collect();
                Term { word: op.to_string(), args }
            }
        }
    }
}

/// A number as it is written by hand: whole ones without a point.
fn number(value: f64) -> String {
    if value.fract() == 0.0 && value.abs() < 1e15 { format!("{value:.0}") } else { format!("{value:?}") }
}

/// A, B, …, Z, A2, …
fn name(place: usize) -> String {
    let letter = char::from(b'A' + (place % 26) as u8);
    if place < 26 { letter.to_string() } else { format!("{letter}{}", place / 26 + 1) }
}

/// What a value is computed from, itself included.
pub(super) fn below(graph: &Graph, value: Id) -> Vec<Id> {
    let mut reached = vec![false; graph.nodes.len()];
    reached[usize::from(value)] = true;
    for id in (0..=usize::from(value)).rev().map(Id::from) {
        if reached[usize::from(id)] {
            graph.node(id).args.iter().for_each(|&a| reached[usize::from(a)] = true);
        }
    }
    graph.ids().filter(|&id| reached[usize::from(id)]).collect()
}

/// About how long each value's text would be, written out.
fn lengths(graph: &Graph) -> Vec<usize> {
    let mut lengths: Vec<usize> = vec![];
    for id in graph.ids() {
        let own = match graph.op(id) {
            Op::Axis(_) | Op::Int(_) => 1,
            Op::Float(x) => number(x.get()).len(),
            Op::Input(input) => graph.input(input).name.len(),
            Op::Point(Point::Add | Point::Sub | Point::Mul | Point::Div | Point::Neg) => 3,
            op => op.to_string().len() + 2,
        };
        let args = graph.node(id).args.iter().map(|&a| lengths[usize::from(a)]);
        lengths.push(args.fold(own, usize::saturating_add));
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_read_as_equations() {
        let equations = [
            ("(log (div ?a ?b))", "(sub (log ?a) (log ?b))", "log(a / b) = log(a) − log(b)"),
            ("(sub (neg ?a) ?b)", "(neg (add ?a ?b))", "−a − b = −(a + b)"),
            ("(sub ?a (neg ?b))", "(add ?a ?b)", "a − (−b) = a + b"),
            ("(sum ?i (mul ?k ?x))", "(mul ?k (sum ?i ?x))", "sum_i(k · x) = k · sum_i(x)"),
            ("(div ?a (neg ?b))", "(neg (div ?a ?b))", "a / (−b) = −a / b"),
            ("(mul (neg ?a) (mul ?b ?c))", "(mul ?a (div 1.0 ?b))", "(−a) · (b · c) = a · (1 / b)"),
            ("(mul -1.0 ?x)", "(neg ?x)", "(−1) · x = −x"),
            ("(mul (abs ?x) (abs ?x))", "(mul ?x ?x)", "abs(x)² = x²"),
            ("(sub ?a (sub ?b ?c))", "(mul (add ?a ?b) ?c)", "a − (b − c) = (a + b) · c"),
        ];
        for (left, right, text) in equations {
            assert_eq!(equation(left, right), text);
        }
    }

    #[test]
    fn what_is_shared_has_a_name() {
        let text = "graph g(x[n]: float)\n%0[n]: float = read x @n\n%1[n]: float = exp %0\n%2[n]: float = log1p %1\n\
                    %3[n]: float = tanh %2\n%4[n]: float = add %2 %3\nout[n] = %4\n";
        let graph = crate::ir::parse(text).unwrap();
        let value = graph.outputs[0].value;
        let formula = Names::new(&graph, &[value]).formula(value, Open::Not);
        assert_eq!(formula.text, "A + tanh(A)");
        assert_eq!(formula.names, [("A".to_string(), "log1p(exp(x[n]))".to_string())]);
    }
}
