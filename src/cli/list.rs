//! `lossjit list`: every loss, for people and as JSON.

use super::args::ListArgs;
use super::setup::json_value;
use crate::losses::{Entry, LOSSES};
use serde_json::{Value, json};

/// Columns that lists keep to.
const WIDTH: usize = 80;

pub(super) fn run(args: &ListArgs) -> String {
    if args.json { format!("{}\n", LOSSES.iter().map(object).collect::<Value>()) } else { text() }
}

fn object(entry: &Entry) -> Value {
    let parameters = (entry.parameters)();
    let parameters: Vec<_> =
        parameters.iter().map(|p| json!({ "name": p.name, "default": json_value(&p.default) })).collect();
    let inputs: Vec<_> = inputs(entry).map(|(name, optional)| json!({ "name": name, "optional": optional })).collect();
    json!({ "name": entry.name, "aliases": entry.aliases, "inputs": inputs, "parameters": parameters })
}

/// The inputs' names, and whether they may be left out.
fn inputs(entry: &Entry) -> impl Iterator<Item = (&'static str, bool)> {
    entry.inputs.iter().map(|input| match input.strip_suffix('?') {
        Some(name) => (name, true),
        None => (*input, false),
    })
}

fn text() -> String {
    let mut text = String::new();
    for entry in LOSSES {
        text += &block(entry);
        text += "\n";
    }
    text + "Inputs in brackets may be left out. A name may also be in snake_case: l2_loss.\n"
}

fn block(entry: &Entry) -> String {
    let mut title = entry.name.to_string();
    for alias in entry.aliases {
        title += &format!(", {alias}");
    }
    let inputs = inputs(entry).map(|(name, optional)| if optional { format!("[{name}]") } else { name.to_string() });
    let parameters = (entry.parameters)().into_iter().map(|p| format!("{}={}", p.name, p.default));
    format!("{title}\n{}{}", words("  inputs      ", inputs), words("  parameters  ", parameters))
}

/// Words behind a title, on as many lines as they need.
fn words(title: &str, words: impl Iterator<Item = String>) -> String {
    let mut text = title.to_string();
    let mut column = title.len();
    for word in words {
        if column + word.len() > WIDTH {
            text = format!("{}\n{:indent$}", text.trim_end(), "", indent = title.len());
            column = title.len();
        }
        text += &word;
        text += "  ";
        column += word.len() + 2;
    }
    text.trim_end().to_string() + "\n"
}
