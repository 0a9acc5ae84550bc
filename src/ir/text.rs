//! The text form: one typed equation a line, and its parser. Printing and parsing give the same graph.
//!
//! ```text
//! graph l1(pred[n c]: float, label[n c]: float)
//! %0[n c]: float = read pred @n @c
//! %1[n c]: float = read label @n @c
//! %2[n c]: float = sub %1 %0
//! %3[n c]: float = abs %2
//! %4[n]: float = sum @c %3
//! out[n] = %4
//! ```
//!
//! Leaves (axes, numbers, buffers) stand where they are used. Axes that no buffer names are listed behind `over`.

use super::graph::{Builder, Graph};
use super::node::{Id, Node};
use super::op::Op;
use super::origin::Origin;
use super::ty::{AxisId, AxisSet, Kind};
use crate::error::{Error, Result};
use std::collections::HashMap;
use std::fmt;

impl Graph {
    /// Axes as they are written behind a name: `[n c]`, or nothing for a scalar.
    pub fn axes_text(&self, axes: impl IntoIterator<Item = AxisId>) -> String {
        let names: Vec<_> = axes.into_iter().map(|a| self.axis_name(a)).collect();
        if names.is_empty() { String::new() } else { format!("[{}]", names.join(" ")) }
    }

    /// Equation numbers: leaves have none.
    pub fn numbers(&self) -> HashMap<Id, usize> {
        self.ids().filter(|&id| !self.op(id).is_leaf()).enumerate().map(|(number, id)| (id, number)).collect()
    }

    /// A node as it is written where it is used.
    pub fn operand_text(&self, id: Id, numbers: &HashMap<Id, usize>) -> String {
        match self.op(id) {
            Op::Axis(a) => format!("@{}", self.axis_name(a)),
            Op::Input(i) => self.input(i).name.clone(),
            op @ (Op::Float(_) | Op::Int(_)) => op.to_string(),
            _ => format!("%{}", numbers[&id]),
        }
    }

    /// The right-hand side of a node's equation.
    pub fn equation_text(&self, id: Id, numbers: &HashMap<Id, usize>) -> String {
        let node = self.node(id);
        let args = node.args.iter().map(|&a| self.operand_text(a, numbers));
        std::iter::once(node.op.to_string()).chain(args).collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let buffer = |i: &super::Input| format!("{}[{}]: {}", i.name, names(self, &i.axes), i.kind.name());
        write!(f, "graph {}({})", self.name, self.inputs.iter().map(buffer).collect::<Vec<_>>().join(", "))?;
        let named: AxisSet = self.inputs.iter().flat_map(|i| i.axes.iter().copied()).collect();
        let order: Vec<AxisId> = axes_in_order(self);
        let plain: Vec<AxisId> = (0..self.axes.len()).map(AxisId::new).collect();
        if order != plain || named.len() != plain.len() {
            write!(f, " over {}", names(self, &plain))?;
        }
        writeln!(f)?;
        let numbers = self.numbers();
        for id in self.ids().filter(|id| numbers.contains_key(id)) {
            let ty = self.ty(id);
            let axes = self.axes_text(ty.axes.iter());
            writeln!(f, "%{}{axes}: {} = {}", numbers[&id], ty.kind.name(), self.equation_text(id, &numbers))?;
        }
        for o in &self.outputs {
            writeln!(f, "{}[{}] = {}", o.name, names(self, &o.axes), self.operand_text(o.value, &numbers))?;
        }
        Ok(())
    }
}

fn names(graph: &Graph, axes: &[AxisId]) -> String {
    axes.iter().map(|&a| graph.axis_name(a)).collect::<Vec<_>>().join(" ")
}

/// The axes as a reader of the first line would number them.
fn axes_in_order(graph: &Graph) -> Vec<AxisId> {
    let mut order = vec![];
    for &axis in graph.inputs.iter().flat_map(|i| &i.axes) {
        if !order.contains(&axis) {
            order.push(axis);
        }
    }
    order
}

/// Longest line and longest text that the parser takes.
const MAX_TEXT: usize = 1 << 20;

/// Reads a graph's text form.
///
/// # Errors
/// The line and what is wrong with it.
pub fn parse(text: &str) -> Result<Graph> {
    let fail = |line: usize, problem: String| Error::Text { line, problem };
    if text.len() > MAX_TEXT {
        return Err(fail(1, format!("longer than {MAX_TEXT} bytes")));
    }
    let mut lines = text
        .lines()
        .enumerate()
        .map(|(i, l)| (i + 1, l.split('#').next().unwrap_or("").trim()))
        .filter(|(_, l)| !l.is_empty());
    let (at, head) = lines.next().ok_or_else(|| fail(1, "empty".into()))?;
    let (mut builder, axes) = parse_head(head).map_err(|problem| fail(at, problem))?;
    let mut values = HashMap::new();
    for (at, line) in lines {
        builder.at(Origin::line(at));
        parse_equation(&mut builder, &axes, &mut values, line).map_err(|problem| fail(at, problem))?;
    }
    if builder.graph().outputs.is_empty() {
        return Err(fail(text.lines().count(), "no output".into()));
    }
    builder.finish()
}

type Axes = HashMap<String, AxisId>;

fn parse_head(line: &str) -> Result<(Builder, Axes), String> {
    let rest = line.strip_prefix("graph ").ok_or("expected `graph NAME(…)`")?;
    let (name, rest) = rest.split_once('(').ok_or("expected `(`")?;
    let (buffers, over) = rest.split_once(')').ok_or("expected `)`")?;
    let mut builder = Builder::new(word(name)?);
    let mut axes = Axes::new();
    if let Some(listed) = over.trim().strip_prefix("over ") {
        for name in listed.split_whitespace() {
            if axes.contains_key(name) {
                return Err(format!("axis {name} is listed twice"));
            }
            axis(&mut builder, &mut axes, name)?;
        }
    } else if !over.trim().is_empty() {
        return Err(format!("`{}`: expected `over AXES` or nothing", over.trim()));
    }
    for buffer in buffers.split(',').map(str::trim).filter(|b| !b.is_empty()) {
        let (left, kind) = buffer.split_once(':').ok_or_else(|| format!("`{buffer}`: expected `NAME[AXES]: KIND`"))?;
        let (name, listed) = name_and_axes(left)?;
        let kind = parse_kind(kind.trim())?;
        let listed: Result<Vec<_>, _> = listed.iter().map(|a| axis(&mut builder, &mut axes, a)).collect();
        builder.input(name, &listed?, kind).map_err(|e| e.to_string())?;
    }
    Ok((builder, axes))
}

fn axis(builder: &mut Builder, axes: &mut Axes, name: &str) -> Result<AxisId, String> {
    if let Some(&known) = axes.get(name) {
        return Ok(known);
    }
    let id = builder.axis(word(name)?).map_err(|e| e.to_string())?;
    axes.insert(name.to_string(), id);
    Ok(id)
}

fn word(text: &str) -> Result<&str, String> {
    let text = text.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    if text.is_empty() || text.len() > 64 || !text.chars().all(fits) || text.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(format!("`{text}` is no name"));
    }
    Ok(text)
}

/// `NAME[AXES]`, the brackets left out for a scalar.
fn name_and_axes(text: &str) -> Result<(&str, Vec<&str>), String> {
    let text = text.trim();
    match text.split_once('[') {
        None => Ok((word(text)?, vec![])),
        Some((name, rest)) => {
            let listed = rest.strip_suffix(']').ok_or_else(|| format!("`{text}`: expected `]`"))?;
            Ok((word(name)?, listed.split_whitespace().collect()))
        }
    }
}

fn parse_kind(text: &str) -> Result<Kind, String> {
    [Kind::Float, Kind::Int, Kind::Bool]
        .into_iter()
        .find(|k| k.name() == text)
        .ok_or_else(|| format!("`{text}` is no kind; float, int and bool are"))
}

fn parse_equation(
    builder: &mut Builder,
    axes: &Axes,
    values: &mut HashMap<String, Id>,
    line: &str,
) -> Result<(), String> {
    let (left, right) = line.split_once('=').ok_or("expected `=`")?;
    let (left, right) = (left.trim(), right.trim());
    let Some(numbered) = left.strip_prefix('%') else {
        let (name, listed) = name_and_axes(left)?;
        let known = |a: &&str| axes.get(*a).copied().ok_or_else(|| format!("axis {a} is unknown"));
        let listed: Result<Vec<_>, _> = listed.iter().map(known).collect();
        let value = operand(builder, axes, values, right)?;
        builder.output(name, &listed?, value);
        return Ok(());
    };
    let (place, kind) = numbered.split_once(':').ok_or("expected `: KIND`")?;
    let (number, listed) = match place.split_once('[') {
        Some((number, rest)) => (number, rest.trim().strip_suffix(']').ok_or("expected `]`")?),
        None => (place, ""),
    };
    let mut words = right.split_whitespace();
    let name = words.next().ok_or("expected an op")?;
    let op = Op::from_name(name).ok_or_else(|| format!("`{name}` is no op"))?;
    let args: Result<Vec<_>, _> = words.map(|w| operand(builder, axes, values, w)).collect();
    let id = builder.intern(Node::new(op, &args?)).map_err(|e| e.to_string())?;
    let ty = builder.graph().ty(id);
    let stated: Option<AxisSet> = listed.split_whitespace().map(|a| axes.get(a).copied()).collect();
    if stated != Some(ty.axes) || parse_kind(kind.trim())? != ty.kind {
        let found = format!("{}: {}", builder.graph().axes_text(ty.axes.iter()), ty.kind.name());
        return Err(format!("%{number} is stated as [{listed}]:{kind}, but is {found}"));
    }
    if values.insert(number.trim().to_string(), id).is_some() {
        return Err(format!("%{number} is given twice"));
    }
    Ok(())
}

fn operand(builder: &mut Builder, axes: &Axes, values: &HashMap<String, Id>, text: &str) -> Result<Id, String> {
    if let Some(number) = text.strip_prefix('%') {
        return values.get(number).copied().ok_or_else(|| format!("%{number} is not known yet"));
    }
    let op = if let Some(name) = text.strip_prefix('@') {
        Op::Axis(*axes.get(name).ok_or_else(|| format!("axis {name} is unknown"))?)
    } else if let Some(number) = Op::from_number(text) {
        number
    } else {
        let input = builder.graph().find_input(text).ok_or_else(|| format!("`{text}` is no buffer and no number"))?;
        Op::Input(input)
    };
    builder.intern(Node::leaf(op)).map_err(|e| e.to_string())
}
