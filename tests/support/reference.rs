//! A use of a loss, compiled, on memory between forbidden pages and with inputs that cannot be written, beside the
//! interpreter on the formula as it was declared: the trace and its plain derivative, in f64, never simplified.

use super::guard::{Flush, Guarded, running};
use super::losses::{Given, LossCase, row_major};
use super::machine::strides;
use lossjit::grad::{HEAD, differentiable, grad};
use lossjit::ir::{Graph, Kind};
use lossjit::oracle::graph::{Buffer, evaluate};
use lossjit::runtime::pipeline;
use lossjit::trace::Trace;
use lossjit::{Compiled, Dtype, Error, HybridBlock, Inputs, View, ViewMut, Wanted};
use ndarray::ArrayD;

/// What is asked of a case: the value, and the gradients of some of its inputs.
fn wanted(case: &LossCase, trace: &Trace) -> Result<Wanted, String> {
    let mut rng = fastrand::Rng::with_seed(case.seed);
    let mut wrt = differentiable(&trace.graph).map_err(|e| e.to_string())?;
    wrt.retain(|_| rng.u8(..3) > 0);
    rng.shuffle(&mut wrt);
    let value = wrt.is_empty() || rng.u8(..5) > 0;
    Ok(Wanted { value, wrt, head: case.head, ..Wanted::value() })
}

pub fn judge(case: &LossCase) -> Result<(), String> {
    let told = |e: Error| e.to_string();
    let trace = pipeline::trace(&*(case.entry.build)(&case.settings).map_err(told)?, &case.specs()).map_err(told)?;
    let wanted = wanted(case, &trace)?;
    let mut inputs = case.inputs.clone();
    if wanted.head && !(wanted.wrt.is_empty() && wanted.value) {
        inputs.push(head(case, &trace));
    }
    let wanted = Wanted { head: inputs.len() > case.inputs.len(), ..wanted };
    let reference = grad(&trace.graph, &wanted).map_err(told)?;
    let exact = reference_values(&reference, &trace, &inputs, None)?;
    let tolerances = tolerances(case, &reference, &trace, &inputs, &exact)?;

    let mut memory: Vec<Guarded> = inputs.iter().map(|given| place(case, given, true)).collect();
    let block = HybridBlock::new((case.entry.build)(&case.settings).map_err(told)?).hybridize();
    let compiled = block.compile(&views(&inputs, &memory), &wanted);
    let compiled = match compiled {
        // A label that takes another's shape may need a copy for that.
        Err(Error::Layout { .. }) => {
            memory = inputs.iter().map(|given| place(case, given, false)).collect();
            block.compile(&views(&inputs, &memory), &wanted).map_err(told)?
        }
        other => other.map_err(told)?,
    };
    let found = run(case, &compiled, &views(&inputs, &memory))?;
    // A mean over nothing divides by 0, and a sum over nothing may be multiplied by that.
    let nothing = trace.extents.contains(&0);
    for (place, ((found, exact), tolerance)) in found.iter().zip(&exact).zip(&tolerances).enumerate() {
        let name = &compiled.signature().outputs[place].name;
        if found.len() != exact.len() {
            return Err(format!("{name} has {} elements, not {}", found.len(), exact.len()));
        }
        for (at, ((&found, &exact), &tolerance)) in found.iter().zip(exact).zip(tolerance).enumerate() {
            let same = found == exact || found.is_nan() && (exact.is_nan() || nothing);
            let close = (found - exact).abs() <= tolerance;
            if !same && !close {
                return Err(format!("{name}, element {at}: {found:e}, not {exact:e}, within {tolerance:e}"));
            }
        }
    }
    Ok(())
}

fn head(case: &LossCase, trace: &Trace) -> Given {
    let mut rng = fastrand::Rng::with_seed(!case.seed);
    let shape = pipeline::output_shape(trace);
    let values = (0..shape.iter().product::<usize>()).map(|_| f64::from(rng.i32(-64..64)) / 64.0).collect();
    let strides = strides(&mut rng, &shape);
    Given { name: HEAD, dtype: case.real, shape, strides, values }
}

/// An input in guarded memory, in its own strides or row-major, that nobody can write any more.
pub fn place(case: &LossCase, given: &Given, strided: bool) -> Guarded {
    let flush = if case.seed.is_multiple_of(3) { Flush::Start } else { Flush::End };
    let plain = row_major(&given.shape);
    given.place(if strided { &given.strides } else { &plain }, flush)
}

pub fn views<'a>(inputs: &[Given], memory: &'a [Guarded]) -> Vec<(&'static str, View<'a>)> {
    inputs.iter().zip(memory).map(|(given, memory)| (given.name, memory.view())).collect()
}

/// The outputs, from guarded memory in which nothing else was written.
pub fn run(case: &LossCase, compiled: &Compiled, inputs: &Inputs) -> Result<Vec<Vec<f64>>, String> {
    let flush = if case.seed.is_multiple_of(5) { Flush::Start } else { Flush::End };
    let signature = &compiled.signature().outputs;
    let mut outputs: Vec<Guarded> =
        signature.iter().map(|b| Guarded::new(b.dtype, &b.shape, &b.strides, flush)).collect();
    running(format!("{case}\n{}", compiled.kernel().nest));
    let result = {
        let mut views: Vec<ViewMut> = outputs.iter_mut().map(Guarded::view_mut).collect();
        compiled.run_on(1, inputs, &mut views)
    };
    if let Some(place) = outputs.iter().position(|o| !o.is_untouched_elsewhere()) {
        return Err(format!("{} was written outside its elements", signature[place].name));
    }
    result.map_err(|e| e.to_string())?;
    Ok(outputs.iter().map(Guarded::values).collect())
}

/// The reference's outputs in f64; with each float moved by about `2^-20` of itself where a source of chance is given.
fn reference_values(
    graph: &Graph,
    trace: &Trace,
    inputs: &[Given],
    mut moved: Option<&mut fastrand::Rng>,
) -> Result<Vec<Vec<f64>>, String> {
    let mut buffers = vec![];
    for input in &graph.inputs {
        let given = inputs.iter().find(|g| g.name == input.name).ok_or(format!("{} is not given", input.name))?;
        let shape: Vec<usize> = input.axes.iter().map(|a| trace.extents[a.index()]).collect();
        let mut values = given.values.clone();
        if let (Some(rng), Kind::Float) = (&mut moved, input.kind) {
            values.iter_mut().for_each(|x| *x *= 1.0 + STEP * if rng.bool() { 1.0 } else { -1.0 });
        }
        let fits = |e: ndarray::ShapeError| e.to_string();
        buffers.push(match input.kind {
            Kind::Float => Buffer::Float(ArrayD::from_shape_vec(shape, values).map_err(fits)?),
            _ => {
                let whole = values.iter().map(|&x| x as i64).collect();
                Buffer::Int(ArrayD::from_shape_vec(shape, whole).map_err(fits)?)
            }
        });
    }
    let outputs = evaluate(graph, &trace.extents, &buffers).map_err(|e| e.to_string())?;
    Ok(outputs.into_iter().map(|o| o.into_iter().collect()).collect())
}

const STEP: f64 = 1.0 / (1 << 20) as f64;

/// How far each element may be off. In f32: what moving every input by a few units in the last place does to it, and a
/// few units of the largest. In f64 the reference is no more exact than the compiled form.
fn tolerances(
    case: &LossCase,
    reference: &Graph,
    trace: &Trace,
    inputs: &[Given],
    exact: &[Vec<f64>],
) -> Result<Vec<Vec<f64>>, String> {
    let largest = |values: &[f64]| values.iter().filter(|x| x.is_finite()).fold(0.0f64, |m, x| m.max(x.abs()));
    // Where everything cancels, what is left are the roundings of numbers of the inputs' size; for a weight that a mean
    // is divided by, over that weight.
    let weights = inputs.iter().filter(|given| given.name == "sample_weight").flat_map(|given| &given.values);
    let least = weights.map(|w| w.abs()).filter(|&w| w > 0.0).fold(1.0, f64::min);
    let size = inputs.iter().map(|given| largest(&given.values)).fold(1.0, f64::max) / least;
    let scale = |values: &[f64]| Some(largest(values)).filter(|&m| m > 1e-12).unwrap_or(size);
    if case.real == Dtype::F64 {
        return Ok(exact.iter().map(|e| vec![1e-11 * scale(e); e.len()]).collect());
    }
    let unit = f64::from(f32::EPSILON) / 2.0;
    let mut tolerances: Vec<Vec<f64>> = exact.iter().map(|e| vec![FLOOR * unit * scale(e); e.len()]).collect();
    let mut rng = fastrand::Rng::with_seed(case.seed);
    for _ in 0..3 {
        let moved = reference_values(reference, trace, inputs, Some(&mut rng))?;
        for ((tolerances, moved), exact) in tolerances.iter_mut().zip(&moved).zip(exact) {
            for ((tolerance, moved), exact) in tolerances.iter_mut().zip(moved).zip(exact) {
                let change = (moved - exact).abs();
                *tolerance += if change.is_finite() { SLACK * change * unit / STEP } else { 0.0 };
            }
        }
    }
    Ok(tolerances)
}

const FLOOR: f64 = 6.0;
const SLACK: f64 = 6.0;
