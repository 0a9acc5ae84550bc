//! A loss with its parameters, as the command line sets it up.

use super::failure::Failure;
use crate::losses::{Entry, Loss};
use serde_json::Value;

/// # Errors
/// A parameter is unknown, or a text is no value of it.
pub(super) fn build(entry: &Entry, settings: &[(String, String)]) -> Result<Box<dyn Loss>, Failure> {
    (entry.build)(settings).map_err(Failure::usage)
}

/// How a loss is set up, to be shown.
pub(super) struct Setup {
    pub(super) entry: &'static Entry,
    /// The parameters that differ from their defaults.
    pub(super) settings: Vec<(String, String)>,
}

impl Setup {
    pub(super) fn new(entry: &'static Entry, settings: &[(String, String)]) -> Self {
        Self { entry, settings: changed(entry, settings) }
    }

    /// Every parameter with its value.
    pub(super) fn parameters(&self) -> serde_json::Map<String, Value> {
        let value = |name: &str| self.settings.iter().find(|(n, _)| n == name).map(|(_, value)| value.clone());
        let parameters = (self.entry.parameters)().into_iter();
        parameters.map(|p| (p.name.to_string(), json_value(&value(p.name).unwrap_or(p.default)))).collect()
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
