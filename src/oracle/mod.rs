//! Slow evaluators that define what each stage's result means. They share no code with the stages they judge.

pub mod ctc;
pub mod graph;
pub mod nest;
