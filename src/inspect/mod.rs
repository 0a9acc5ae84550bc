//! Inspect: what was compiled, and why, as data, text, JSON and DOT.
//!
//! A [`Report`] is plain data; whatever shows it (the text, the JSON, the DOT, the page) is made from it alone and compiles
//! nothing. Its JSON is these structs, field by field, with [`SCHEMA`] in `schema`; everything that refers to something else
//! does so by its place in a list.
//!
//! # How things hang together
//!
//! * A [`Listing`] is one stage: its text as [`Line`]s and, for the stages that are graphs (trace, simplify, grad, joint)
//!   and for the nest, which computes one, the graph as [`Node`]s. `lines[i].text` joined by line breaks is the stage's
//!   text form, which parses back.
//! * Each line says which `nodes` of its own listing it computes or moves, the one that it is about first. Each node says
//!   which `line` defines it.
//! * Each line says which lines of the listing's `parent` stage it was made `from`; so do the nodes of graphs. Parents are
//!   trace ← simplify ← grad ← joint ← nest, and nest ← clif, nest ← asm. The relatives of a line are what is reached by
//!   these links upwards, and by the same links downwards.
//! * Each line and each node says from which `origins` it comes: places in [`Report::origins`], each a place in the source of
//!   the declaration, with the text of its line where that is known.
//! * A [`Derivation`] is the chain of equalities from a declared formula to the compiled one, a [`RewriteStep`] each.
//! * [`Cost::loops`] has one row for each loop of the nest, by its line.

mod report;

pub use report::{
    AxisSize, Buffer, BufferCost, Cost, Derivation, Formula, Line, Listing, LoopCost, Machine, Measured, Node, Origin,
    Report, RewriteStep, RuleCount, SCHEMA, Simplification, Stage, Validity,
};
