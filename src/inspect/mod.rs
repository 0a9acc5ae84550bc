//! Inspect: what was compiled, and why, as data, text, JSON and DOT.
//!
//! ```
//! use lossjit::inspect::{Report, Stage};
//! use lossjit::losses::SoftmaxCELoss;
//! use lossjit::{Dtype, Spec, Wanted};
//!
//! let given = [Spec::new("pred", Dtype::F32, &[512, 32000]), Spec::new("label", Dtype::I32, &[512])];
//! let report = Report::new(&SoftmaxCELoss::new(), &given, &Wanted::value_and_grad(&["pred"]))?;
//! assert_eq!(report.symbol, "softmax_cross_entropy.value_and_grad.f32[512,32000]");
//! let simple = report.listing(Stage::Simplify).unwrap();
//! assert!(simple.lines.iter().any(|line| line.text.ends_with("= lse @c %0")));
//! # Ok::<(), lossjit::Error>(())
//! ```
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

mod cost;
mod derivation;
mod dot;
mod escape;
mod formula;
mod html;
mod json;
mod laws;
mod listing;
mod machine;
mod make;
mod report;
mod sources;
mod svg;
pub(crate) mod table;
mod text;

pub use derivation::{COLLAPSED, DERIVATIVE, Proof, ProofStep, SIZED, WRITTEN_OUT, prove};
pub use report::{
    AxisSize, Buffer, BufferCost, Cost, Derivation, Formula, Line, Listing, LoopCost, Machine, Measured, Node, Origin,
    Report, RewriteStep, RuleCount, SCHEMA, Simplification, Stage, Validity,
};
