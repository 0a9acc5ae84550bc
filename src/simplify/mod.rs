//! Simplify: equality saturation with directed rules, then the cheapest stable form.

mod cost;
mod extract;
mod facts;
mod rules;
mod saturate;

pub use cost::graph_cost;
pub use rules::{Guard, RULES, Rule, Validity};
pub use saturate::{Report, simplify};
