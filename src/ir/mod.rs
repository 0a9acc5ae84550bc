//! The graph: index notation over named axes, one node type, one table of ops, one text form.

mod build;
mod check;
pub mod fold_constants;
mod graph;
mod node;
mod op;
mod origin;
mod text;
mod ty;

pub use check::check;
pub use graph::{Builder, Graph, Input, MAX_INPUTS, MAX_NODES, Output};
pub use node::{Id, Node};
pub use op::{Bits, Fold, Native, Op, Point, Signature, Work};
pub use origin::{Origin, Origins};
pub use text::parse;
pub use ty::{AxisId, AxisSet, Dtype, InputId, Kind, MAX_AXES, Type};
