//! JSON: the report field by field, or a part of it. `docs/inspect.md` describes it.

use super::report::{Report, Stage};
use serde_json::Value;

/// What every JSON form has, whatever else it has.
const HEAD: [&str; 8] = ["schema", "version", "loss", "symbol", "axes", "inputs", "outputs", "origins"];

impl Report {
    /// The whole report as one JSON object.
    pub fn json(&self) -> String {
        pretty(&self.value())
    }

    /// What the report is about, and these fields of it.
    pub fn json_of(&self, fields: &[&str]) -> String {
        let mut value = self.value();
        if let Value::Object(object) = &mut value {
            object.retain(|name, _| HEAD.contains(&name.as_str()) || fields.contains(&name.as_str()));
        }
        pretty(&value)
    }

    /// What the report is about, and the listing of one stage.
    pub fn json_of_stage(&self, stage: Stage) -> String {
        let listings = self.listings.iter().filter(|listing| listing.stage == stage).cloned().collect();
        Self { listings, ..self.clone() }.json_of(&["listings"])
    }

    fn value(&self) -> Value {
        serde_json::to_value(self).expect("plain data has no keys but strings")
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
