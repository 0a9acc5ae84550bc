//! Simplify: equality saturation with directed rules, then the cheapest stable form.

mod cost;
mod explain;
mod extract;
mod facts;
mod rules;
mod saturate;

pub use cost::graph_cost;
pub use explain::{ORDER, Step, explain, import};
pub use facts::ARITHMETIC;
pub use rules::{Guard, RULES, Rule, Validity};
pub use saturate::{Report, simplify};
