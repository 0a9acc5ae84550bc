//! What the judges of graphs share: random cases, smaller ones, and when two results agree.
#![allow(dead_code, unused_imports)] // each test binary uses a part

pub mod guard;
pub mod losses;
pub mod machine;
pub mod mutate;
mod random;
pub mod reference;
mod shrink;
pub mod text;

pub use machine::Machine;
pub use random::case;
pub use shrink::{shrink, smallest};

use lossjit::ir::Graph;
use lossjit::oracle::graph::Buffer;
use ndarray::{ArrayD, Dimension};
use std::fmt;

/// A graph with extents and inputs to evaluate it on.
#[derive(Clone, PartialEq)]
pub struct Case {
    pub graph: Graph,
    pub extents: Vec<usize>,
    pub inputs: Vec<Buffer>,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let extents: Vec<_> = self.graph.axes.iter().zip(&self.extents).map(|(a, n)| format!("{a} {n}")).collect();
        writeln!(f, "{}extents: {}", self.graph, extents.join(", "))?;
        for (input, buffer) in self.graph.inputs.iter().zip(&self.inputs) {
            match buffer {
                Buffer::Float(x) => writeln!(f, "{} = {x:e}", input.name)?,
                Buffer::Int(x) => writeln!(f, "{} = {x}", input.name)?,
            }
        }
        Ok(())
    }
}

/// Results of a nest in the shapes of others: collapsed axes have all their elements along one of them.
pub fn shaped_like(wanted: &[ArrayD<f64>], found: Vec<ArrayD<f64>>) -> Result<Vec<ArrayD<f64>>, String> {
    let shaped = |(wanted, found): (&ArrayD<f64>, ArrayD<f64>)| {
        found.into_shape_with_order(wanted.raw_dim()).map_err(|e| e.to_string())
    };
    wanted.iter().zip(found).map(shaped).collect()
}

/// Whether two results agree within `tolerance` times the largest magnitude of the first, which counts as 1 at least;
/// NaN agrees with NaN, and an infinity with itself.
///
/// # Errors
/// The first pair that does not, and where.
pub fn agree(wanted: &[ArrayD<f64>], found: &[ArrayD<f64>], tolerance: f64) -> Result<(), String> {
    if wanted.len() != found.len() {
        return Err(format!("{} outputs, not {}", found.len(), wanted.len()));
    }
    for (output, (wanted, found)) in wanted.iter().zip(found).enumerate() {
        if wanted.shape() != found.shape() {
            return Err(format!("output {output} has shape {:?}, not {:?}", found.shape(), wanted.shape()));
        }
        let scale = wanted.iter().filter(|x| x.is_finite()).fold(1.0f64, |scale, x| scale.max(x.abs()));
        for ((place, &wanted), &found) in wanted.indexed_iter().zip(found) {
            let same = wanted == found || wanted.is_nan() && found.is_nan();
            let close = (wanted - found).abs() <= tolerance * scale;
            if !same && !close {
                let place = place.slice();
                return Err(format!("output {output} at {place:?} is {found:?}, not {wanted:?}"));
            }
        }
    }
    Ok(())
}
