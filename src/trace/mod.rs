//! Tracing: a declaration, written with [`Expr`] handles over named axes, becomes a graph.

mod dtypes;
mod expr;
mod import;
mod tracer;

pub use expr::{Expr, Operand};
pub use tracer::{Axis, Port, Sequence, Spec, Trace, Tracer};
