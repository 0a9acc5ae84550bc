//! Reads a nest's text form: the graph, then the slots, then the steps. What stands behind a `#` is a comment.
//!
//! What a line says beside the step itself (equations, axes, which loop is parallel) is known from the graph; the parsed
//! nest is printed again, and a line that says anything else is refused.

use super::{Columns, Nest, Place, Slot, SlotId, Source, Step, check};
use crate::error::{Error, Result};
use crate::ir::{AxisId, Graph, Id, Point, parse as parse_graph};

type Parsed<T> = std::result::Result<T, String>;

/// # Errors
/// The line and what is wrong with it; or what [`check`] finds.
pub fn parse(text: &str) -> Result<Nest> {
    let fail = |line: usize, problem: String| Error::Text { line, problem };
    let lines: Vec<&str> = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim_end()).collect();
    let head = lines.iter().position(|line| line.starts_with("nest "));
    let head =
        head.ok_or_else(|| fail(lines.len().max(1), "expected a graph, then `nest NAME over EXTENTS`".into()))?;
    let graph = parse_graph(&(lines[..head].join("\n") + "\n"))?;
    let mut nest = Nest { extents: vec![], slots: vec![], body: vec![], graph };
    nest.extents = extents(&nest.graph, lines[head]).map_err(|problem| fail(head + 1, problem))?;
    let values: Vec<Id> = nest.graph.ids().filter(|&id| !nest.graph.op(id).is_leaf()).collect();
    let mut at = head + 1;
    while let Some(line) = lines.get(at).and_then(|line| line.strip_prefix("slot ")) {
        let slot = slot(&nest, &values, line).map_err(|problem| fail(at + 1, problem))?;
        nest.slots.push(slot);
        at += 1;
    }
    let mut reader = Reader { nest: &nest, values: &values, lines: &lines, at };
    let body = reader.body(0).map_err(|problem| fail(reader.at + 1, problem))?;
    if reader.at < lines.len() {
        return Err(fail(reader.at + 1, "is indented deeper than any loop".into()));
    }
    nest.body = body;
    check(&nest)?;
    let printed = nest.to_string();
    let differs = printed.lines().zip(&lines).position(|(printed, line)| printed != *line);
    match differs {
        Some(place) => {
            let meant = printed.lines().nth(place).unwrap_or_default().trim();
            Err(fail(place + 1, format!("`{}` should be `{meant}`", lines[place].trim())))
        }
        None => Ok(nest),
    }
}

/// `nest NAME over n=64 c=1000`
fn extents(graph: &Graph, line: &str) -> Parsed<Vec<usize>> {
    let (_, listed) = line.split_once(" over").ok_or("expected ` over` and the extents")?;
    let mut extents = vec![];
    for (word, name) in listed.split_whitespace().zip(&graph.axes) {
        let size = word.strip_prefix(name.as_str()).and_then(|rest| rest.strip_prefix('='));
        let size = size.ok_or_else(|| format!("`{word}`: expected `{name}=EXTENT`"))?;
        extents.push(size.parse().map_err(|_| format!("`{size}` is no extent"))?);
    }
    if extents.len() != graph.axes.len() {
        return Err(format!("{} extents for {} axes", extents.len(), graph.axes.len()));
    }
    Ok(extents)
}

/// `%13 in row0[j]`, `%5 in sums1[n], by block`, `%3 in grad.pred[c]`
fn slot(nest: &Nest, values: &[Id], text: &str) -> Parsed<Slot> {
    let (value, place) = text.split_once(" in ").ok_or("expected `%N in PLACE`")?;
    let value = node(values, value)?;
    let (place, block) = match place.strip_suffix(", by block") {
        Some(place) => (place, true),
        None => (place, false),
    };
    let (place, axes) = match place.split_once('[') {
        Some((place, rest)) => (place, rest.strip_suffix(']').ok_or("expected `]`")?),
        None => (place, ""),
    };
    let axes = axes.split_whitespace().map(|name| axis(&nest.graph, name)).collect::<Parsed<_>>()?;
    let number = |word: &str| place.strip_prefix(word).is_some_and(|rest| rest == nest.slots.len().to_string());
    let place = match place {
        _ if number("tile") => Place::Tile,
        _ if number("row") => Place::Row,
        _ if number("sums") => Place::Sums,
        name => Place::Output(output(&nest.graph, name)?),
    };
    Ok(Slot { value, axes, place, block })
}

fn axis(graph: &Graph, name: &str) -> Parsed<AxisId> {
    let place = graph.axes.iter().position(|axis| axis == name);
    place.map(AxisId::new).ok_or_else(|| format!("axis {name} is unknown"))
}

fn output(graph: &Graph, name: &str) -> Parsed<usize> {
    graph.outputs.iter().position(|o| o.name == name).ok_or_else(|| format!("`{name}` is no output"))
}

/// `%3`, among the values that have equations.
fn node(values: &[Id], text: &str) -> Parsed<Id> {
    let number: Option<usize> = text.strip_prefix('%').and_then(|digits| digits.parse().ok());
    let found = number.and_then(|number| values.get(number).copied());
    found.ok_or_else(|| format!("`{text}` is no value of the graph"))
}

struct Reader<'t> {
    nest: &'t Nest,
    values: &'t [Id],
    lines: &'t [&'t str],
    at: usize,
}

impl Reader<'_> {
    /// The steps that are indented so deep, up to the first that is not.
    fn body(&mut self, depth: usize) -> Parsed<Vec<Step>> {
        let mut steps = vec![];
        while let Some(line) = self.lines.get(self.at) {
            let text = line.trim_start();
            if line.len() - text.len() != 2 * depth || text.is_empty() {
                break;
            }
            let step = self.step(text, depth)?;
            steps.push(step);
        }
        Ok(steps)
    }

    fn inside(&mut self, depth: usize) -> Parsed<Vec<Step>> {
        self.at += 1;
        self.body(depth + 1)
    }

    fn step(&mut self, text: &str, depth: usize) -> Parsed<Step> {
        let graph = &self.nest.graph;
        if text == "lanes" {
            return Ok(Step::Lanes { body: self.inside(depth)? });
        }
        if let Some(head) = text.strip_prefix("for ") {
            let head = head.strip_suffix(", parallel").unwrap_or(head);
            let sized = |size: &str| size.parse().map_err(|_| format!("`{size}` is no size"));
            if let Some((head, size)) = head.split_once(" by block of ") {
                return Ok(Step::Block { axis: axis(graph, head)?, size: sized(size)?, body: self.inside(depth)? });
            }
            if let Some((head, size)) = head.split_once(" by part of ") {
                return Ok(Step::Part { axis: axis(graph, head)?, size: sized(size)?, body: self.inside(depth)? });
            }
            let tiled = head.strip_suffix(" by tile");
            let axis = axis(graph, tiled.unwrap_or(head))?;
            let body = self.inside(depth)?;
            return Ok(if tiled.is_some() { Step::Tile { axis, body } } else { Step::Loop { axis, body } });
        }
        let step = self.straight(text)?;
        self.at += 1;
        Ok(step)
    }

    fn straight(&self, text: &str) -> Parsed<Step> {
        let graph = &self.nest.graph;
        if let Some(rest) = text.strip_prefix("call ") {
            return self.call(rest);
        }
        if let Some(rest) = text.strip_prefix("pairs ") {
            return self.pairs(rest);
        }
        if let Some(rest) = text.strip_prefix("native ") {
            return self.native(rest);
        }
        if let Some(rest) = text.strip_prefix("store ") {
            let (name, _) = rest.split_once('[').ok_or("expected `store NAME[AXES] = VALUE`")?;
            return Ok(Step::Store { output: output(graph, name)? });
        }
        if let Some(rest) = text.strip_prefix("keep ") {
            let (value, place) = rest.split_once(" in ").ok_or("expected `keep %N in PLACE`")?;
            let value = node(self.values, value)?;
            return Ok(Step::Keep { value, slot: self.slot(value, place)? });
        }
        let (left, right) = text.split_once("= ").ok_or("expected `=`")?;
        let (left, operator) = left.split_once(' ').ok_or("expected ` `")?;
        let value = node(self.values, left)?;
        let (right, slot) = match right.split_once(", in ") {
            Some((right, place)) => (right, Some(self.slot(value, place)?)),
            None => (right, None),
        };
        match (operator, right.strip_prefix("load ")) {
            ("+" | "max", _) => Ok(Step::Fold { fold: value, slot }),
            ("", Some(place)) => Ok(Step::Load { value, slot: self.slot(value, place)? }),
            ("", None) if matches!(right, "0" | "-inf") => Ok(Step::Start { fold: value, slot }),
            ("", None) => Ok(Step::Let(value)),
            _ => Err(format!("`{operator}=` is no step")),
        }
    }

    /// The slot of a value that is written as `row0[j]`, or by the output that it lies in.
    fn slot(&self, value: Id, text: &str) -> Parsed<SlotId> {
        let is = |slot: &SlotId| self.nest.slots[*slot].value == value && self.nest.slot_text(*slot) == text;
        (0..self.nest.slots.len()).find(is).ok_or_else(|| format!("`{text}` is no slot of that value"))
    }

    /// `%3 = exp %2 with %2 = sub %0 %1, %0 = read pred @n @c, into grad.pred, %4 += %3`, or with columns
    /// `%3 = exp %2 with %2 = sub %0 %1, %0 = load row0[c n], %1 = load row1[n], into row2[c n], %4 += %3, in sums3[n]`
    fn call(&self, text: &str) -> Parsed<Step> {
        let (left, rest) = text.split_once(" with ").ok_or("expected ` with`")?;
        let defined = |part: &str| node(self.values, part.split_once(" =").ok_or("expected ` =`")?.0);
        let value = defined(left)?;
        let (mut from, mut less, mut into, mut sum, mut sums) = (None, None, None, None, None);
        for part in rest.split(", ") {
            if let Some(place) = part.strip_prefix("into ") {
                into = Some(self.slot(value, place)?);
            } else if let Some((fold, _)) = part.split_once(" += ") {
                sum = Some(node(self.values, fold)?);
            } else if let (Some(place), Some(fold)) = (part.strip_prefix("in "), sum) {
                sums = Some(self.slot(fold, place)?);
            } else {
                let source = defined(part)?;
                let place = part.split_once(" = load ").map(|(_, place)| place);
                match place {
                    Some(place) if from.is_some() && self.is_less(value, source) => {
                        less = Some((source, self.slot(source, place)?));
                    }
                    Some(place) => from = Some(Source::Slot { value: source, slot: self.slot(source, place)? }),
                    None if from.is_none() || self.nest.graph.as_read(source).is_some() => {
                        from = Some(Source::Read(source));
                    }
                    None => {}
                }
            }
        }
        let columns = match (less, sum, sums) {
            (Some((less, less_slot)), Some(fold), Some(sums)) => Some(Columns { less, less_slot, fold, sums }),
            (None, _, None) => None,
            // It is all that the call takes from memory.
            (Some((value, slot)), _, None) => {
                from = Some(Source::Slot { value, slot });
                None
            }
            _ => return Err("expected columns with what is taken off, a sum and its place".into()),
        };
        let from = from.ok_or("expected what the call reads")?;
        let sum = sum.filter(|_| columns.is_none());
        Ok(Step::Call { value, from, into, sum, columns })
    }

    /// Whether a value is what the argument of a call takes off another.
    fn is_less(&self, call: Id, value: Id) -> bool {
        let argument = self.nest.graph.node(call).args.first();
        let parts = argument.and_then(|&a| self.nest.graph.as_point(a));
        matches!(parts, Some((Point::Sub, &[_, less])) if less == value)
    }

    /// `%31 = sum @j %30 with %29 = load row3[i j], into grad.x1`
    fn pairs(&self, text: &str) -> Parsed<Step> {
        let (sum, place) = text.rsplit_once(", into ").ok_or("expected `, into PLACE`")?;
        let value = |part: &str| node(self.values, part.split_once(' ').ok_or("expected ` `")?.0);
        let (sum, weight) = match sum.split_once(" with ") {
            Some((sum, weight)) => (sum, Some(weight)),
            None => (sum, None),
        };
        let fold = value(sum)?;
        let weight = match weight {
            Some(text) => {
                let (_, place) = text.split_once(" = load ").ok_or("expected ` = load PLACE`")?;
                Some(self.slot(value(text)?, place)?)
            }
            None => None,
        };
        Ok(Step::Pairs { fold, weight, into: self.slot(fold, place)? })
    }

    /// `%4 = ctc …; %9 = ctc_grad …, into grad.pred`
    fn native(&self, text: &str) -> Parsed<Step> {
        let (mut loss, mut grad) = (None, None);
        for part in text.split("; ") {
            match part.split_once(", into ") {
                Some((_, name)) => grad = Some(output(&self.nest.graph, name)?),
                None => loss = Some(node(self.values, part.split_once(" =").ok_or("expected ` =`")?.0)?),
            }
        }
        Ok(Step::Native { loss, grad })
    }
}
