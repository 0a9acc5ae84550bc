//! A loss with its parameters, as the command line sets it up: a built-in one, or a graph from a file.

use super::failure::Failure;
use crate::losses::{Entry, GraphLoss, LOSSES, Loss, find};
use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The longest text of a graph that is read.
const MAX_FILE: u64 = 1 << 20;

/// What stands in the place of LOSS.
#[derive(Clone, Debug)]
pub(super) enum Chosen {
    BuiltIn(&'static Entry),
    /// A graph's text.
    File(PathBuf),
}

impl Chosen {
    /// A file is what looks like one: a path with a separator, or with the ending `.graph`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.ends_with(".graph") || text.contains(std::path::is_separator) {
            return Ok(Chosen::File(text.into()));
        }
        let known = || LOSSES.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
        find(text).map(Chosen::BuiltIn).ok_or_else(|| format!("unknown; there are {}, and files x.graph", known()))
    }

    /// # Errors
    /// A parameter is unknown, or a text is no value of it; the file cannot be read, or is no graph of a loss.
    pub(super) fn build(&self, settings: &[(String, String)]) -> Result<Box<dyn Loss>, Failure> {
        match self {
            Chosen::BuiltIn(entry) => (entry.build)(settings).map_err(Failure::usage),
            Chosen::File(path) => match settings.first() {
                Some((name, _)) => Err(Failure::usage(format!("{name}: a graph from a file has no parameters"))),
                None => Ok(Box::new(read(path)?)),
            },
        }
    }

    /// The class name, or the file's path.
    pub(super) fn name(&self) -> String {
        match self {
            Chosen::BuiltIn(entry) => entry.name.to_string(),
            Chosen::File(path) => path.display().to_string(),
        }
    }
}

fn read(path: &Path) -> Result<GraphLoss, Failure> {
    let fail = |problem: String| Failure::work(format!("{}: {problem}", path.display()));
    let mut bytes = vec![];
    let file = File::open(path).map_err(|e| fail(e.to_string()))?;
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|e| fail(e.to_string()))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(fail(format!("is longer than {MAX_FILE} bytes")));
    }
    let text = String::from_utf8(bytes).map_err(|e| fail(format!("is no text: {}", e.utf8_error())))?;
    GraphLoss::parse(&text).map_err(|e| fail(e.to_string()))
}

/// How a loss is set up, to be shown.
pub(super) struct Setup<'a> {
    pub(super) loss: &'a Chosen,
    /// The parameters that differ from their defaults.
    pub(super) settings: Vec<(String, String)>,
}

impl<'a> Setup<'a> {
    pub(super) fn new(loss: &'a Chosen, settings: &[(String, String)]) -> Self {
        let settings = match loss {
            Chosen::BuiltIn(entry) => changed(entry, settings),
            Chosen::File(_) => vec![],
        };
        Self { loss, settings }
    }

    /// Every parameter with its value.
    pub(super) fn parameters(&self) -> serde_json::Map<String, Value> {
        let value = |name: &str| self.settings.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let parameters = match self.loss {
            Chosen::BuiltIn(entry) => (entry.parameters)(),
            Chosen::File(_) => vec![],
        };
        parameters.into_iter().map(|p| (p.name.to_string(), json_value(&value(p.name).unwrap_or(p.default)))).collect()
    }
}

/// The last value of each parameter set, in the order of the loss's parameters, where it is not the default.
fn changed(entry: &Entry, settings: &[(String, String)]) -> Vec<(String, String)> {
    let parameters = (entry.parameters)().into_iter();
    let last = |name: &str| settings.iter().rev().find(|(n, _)| n == name).map(|(_, value)| value.clone());
    parameters
        .filter_map(|p| Some((p.name, p.default, last(p.name)?)))
        .filter(|(_, default, value)| json_value(default) != json_value(value))
        .map(|(name, _, value)| (name.to_string(), plain(&value)))
        .collect()
}

/// A parameter's text as a JSON value; Python's spelling is as good as JSON's.
pub(super) fn json_value(text: &str) -> Value {
    match plain(text).as_str() {
        "none" => Value::Null,
        "true" => true.into(),
        "false" => false.into(),
        plain => match (plain.parse::<i64>(), plain.parse::<f64>()) {
            (Ok(whole), _) => whole.into(),
            (_, Ok(number)) if number.is_finite() => number.into(),
            _ => plain.into(),
        },
    }
}

/// The text with the words that are read in any case in small letters.
fn plain(text: &str) -> String {
    let word = ["true", "false", "none"].into_iter().find(|word| text.eq_ignore_ascii_case(word));
    word.unwrap_or(text).to_string()
}
