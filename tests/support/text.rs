//! Graph texts that anybody may have written, before every judge.

use super::{Case, Machine, agree};
use lossjit::grad::{Wanted, differentiable, grad};
use lossjit::ir::{Graph, Kind, parse};
use lossjit::oracle::graph::{Buffer, evaluate};
use lossjit::simplify::simplify;
use lossjit::{Dtype, Error};
use ndarray::ArrayD;

/// A text through the parser and, where it is a graph, through everything behind it.
///
/// # Errors
/// What is wrong with us; a text that is refused is no error.
pub fn judge(text: &str, seed: u64) -> Result<bool, String> {
    let Ok(graph) = parse(text) else { return Ok(false) };
    let back = parse(&graph.to_string()).map_err(|e| format!("does not read back: {e}\n{graph}"))?;
    if back != graph {
        return Err(format!("reads back as another graph\n{graph}\n{back}"));
    }
    let case = small_inputs(graph, seed);
    machine_agrees(&case, seed)?;
    // Derivatives and simplification of a graph that nobody would declare.
    if let Ok(wrt) = differentiable(&case.graph) {
        match grad(&case.graph, &Wanted::value_and_grad(&wrt)).and_then(|g| simplify(&g)) {
            Ok((graph, _)) => machine_agrees(&Case { graph, ..case.clone() }, seed)?,
            Err(Error::Internal { stage, problem }) => return Err(format!("{stage}: {problem}\n{}", case.graph)),
            Err(_) => {}
        }
    }
    Ok(true)
}

fn small_inputs(graph: Graph, seed: u64) -> Case {
    let mut rng = fastrand::Rng::with_seed(seed);
    let extents: Vec<usize> = graph.axes.iter().map(|_| [0, 1, 2, 3, 3, 4, 5][rng.usize(..7)]).collect();
    let buffer = |input: &lossjit::ir::Input| {
        let shape: Vec<usize> = input.axes.iter().map(|a| extents[a.index()]).collect();
        match input.kind {
            Kind::Float => Buffer::Float(ArrayD::from_shape_simple_fn(shape, || rng.f64() * 2.0 + 0.25)),
            _ => Buffer::Int(ArrayD::from_shape_simple_fn(shape, || rng.i64(-1..5))),
        }
    };
    let inputs = graph.inputs.iter().map(buffer).collect();
    Case { graph, extents, inputs }
}

/// The machine code runs on guarded memory; what the interpreter refuses it reports, and where both give numbers that
/// are no larger than numbers are, these agree.
fn machine_agrees(case: &Case, seed: u64) -> Result<(), String> {
    let machine = match Machine::new(case, Dtype::F64, seed) {
        Ok(machine) => machine,
        Err(Error::Internal { stage, problem }) => return Err(format!("{stage}: {problem}\n{case}")),
        Err(_) => return Ok(()),
    };
    let nest = machine.nest.to_string();
    let (status, found) = machine.run_on(case)?;
    match evaluate(&case.graph, &case.extents, &case.inputs) {
        Err(Error::Label { .. }) if status.is_clean() => Err(format!("a wrong index goes unnoticed\n{case}{nest}")),
        Err(_) => Ok(()),
        Ok(wanted) => {
            let tame = |x: &f64| x.is_finite() && x.abs() < 1e6;
            if wanted.iter().all(|a| a.iter().all(tame)) && found.iter().all(|a| a.iter().all(tame)) {
                agree(&wanted, &found, 1e-6).map_err(|problem| format!("{problem}\n{case}{nest}"))?;
            }
            Ok(())
        }
    }
}
