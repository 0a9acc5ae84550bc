//! `lossjit check`: the judges and finite differences on random inputs.

use super::args::CheckArgs;
use super::array::Array;
use super::draw::{array, draw};
use super::failure::Failure;
use crate::error::Result;
use crate::grad::{Wanted, differentiable, grad_name};
use crate::inspect::table::{Align, table};
use crate::ir::Dtype;
use crate::losses::Loss;
use crate::nest::Layout;
use crate::oracle::graph::{Buffer, evaluate};
use crate::oracle::nest;
use crate::runtime::pipeline::{self, Stages};
use crate::runtime::{HybridBlock, Real, View};
use crate::trace::Trace;
use fastrand::Rng;
use half::{bf16, f16};
use ndarray::ArrayD;

/// Elements of each gradient that are held against differences.
const DIFFERENCES: usize = 16;

/// How far a judge may be from the graph interpreter, relative to the largest magnitude.
const NEST: f64 = 1e-11;
const MACHINE_F64: f64 = 1e-10;
const MACHINE_F32: f64 = 1e-5;
const MACHINE_BF16: f64 = 4e-3;
const MACHINE_F16: f64 = 1e-3;
const SLOPE: f64 = 1e-5;

pub(super) fn run(args: &CheckArgs) -> std::result::Result<String, Failure> {
    let loss = args.loss.build(&args.settings)?;
    let trace = pipeline::trace(&*loss, &args.inputs)?;
    let wrt = differentiable(&trace.graph)?;
    let stages = pipeline::graphs(&trace.graph, &Wanted::value_and_grad(&wrt))?;
    let mut rng = Rng::with_seed(args.seed);
    let buffers = draw(&trace, &stages.joint, &mut rng)?;
    let verdicts = judge(loss, &trace, &stages, &buffers, &wrt, &mut rng)?;

    let cell = |found: Option<f64>| found.map_or("-".to_string(), |x| format!("{x:.1e}"));
    let rows = verdicts.iter().map(|v| {
        vec![
            v.output.clone(),
            v.shape.clone(),
            cell(v.declared),
            cell(Some(v.nest)),
            cell(Some(v.machine)),
            cell(v.slope),
        ]
    });
    let heads = ["result", "shape", "declared", "nest", "machine code", "differences"];
    let aligns = [Align::Left, Align::Left, Align::Right, Align::Right, Align::Right, Align::Right];
    let text = format!(
        "{}  {}, seed {}\n\n{}\nLargest distance from the interpreted graph, relative to the largest magnitude.\n",
        args.loss.name(),
        trace.dtype(),
        args.seed,
        table(&heads, &aligns, rows)
    );
    match verdicts.iter().find_map(|v| v.fault(trace.dtype())) {
        Some(fault) => Err(Failure::work(fault)),
        None => Ok(text + "All agree.\n"),
    }
}

/// What was found of one output: relative distances from the graph interpreter.
struct Verdict {
    output: String,
    shape: String,
    /// Of the declared formula, before it is simplified.
    declared: Option<f64>,
    nest: f64,
    machine: f64,
    slope: Option<f64>,
}

impl Verdict {
    fn fault(&self, real: Dtype) -> Option<String> {
        let machine = match real {
            Dtype::F32 => MACHINE_F32,
            Dtype::Bf16 => MACHINE_BF16,
            Dtype::F16 => MACHINE_F16,
            _ => MACHINE_F64,
        };
        let found = [
            ("the declared formula", self.declared.unwrap_or(0.0), MACHINE_F64),
            ("the nest", self.nest, NEST),
            ("the machine code", self.machine, machine),
            ("finite differences", self.slope.unwrap_or(0.0), SLOPE),
        ];
        let over = found.into_iter().find(|(_, found, most)| found.is_nan() || found > most);
        over.map(|(who, found, most)| format!("{}: {who} differs by {found:.1e}, more than {most:.0e}", self.output))
    }
}

fn judge(
    loss: Box<dyn Loss>,
    trace: &Trace,
    stages: &Stages,
    buffers: &[Buffer],
    wrt: &[String],
    rng: &mut Rng,
) -> Result<Vec<Verdict>> {
    let (joint, extents) = (&stages.joint, &trace.extents);
    let wanted = evaluate(joint, extents, buffers)?;
    // The declared graph reads the same buffers in another order.
    let by_name = |name: &str| joint.find_input(name).map(|i| buffers[i.index()].clone());
    let declared_inputs: Vec<Buffer> = stages.trace.inputs.iter().filter_map(|i| by_name(&i.name)).collect();
    let declared = evaluate(&stages.trace, extents, &declared_inputs)?;
    let scheduled = pipeline::nest(joint, extents, &Layout::row_major(joint, extents))?;
    let nest = nest::evaluate(&scheduled, buffers)?;
    let machine = match trace.dtype() {
        Dtype::F64 => machine::<f64>(loss, trace, stages, buffers, wrt)?,
        Dtype::Bf16 => machine::<bf16>(loss, trace, stages, buffers, wrt)?,
        Dtype::F16 => machine::<f16>(loss, trace, stages, buffers, wrt)?,
        _ => machine::<f32>(loss, trace, stages, buffers, wrt)?,
    };
    let mut verdicts = vec![];
    for (place, output) in joint.outputs.iter().enumerate() {
        let input = wrt.iter().find(|name| grad_name(name) == output.name);
        let slope = match input {
            Some(name) => differences(stages, extents, &declared_inputs, name, &wanted[place], rng)?,
            None => None,
        };
        let shape: Vec<_> = wanted[place].shape().iter().map(usize::to_string).collect();
        verdicts.push(Verdict {
            output: output.name.clone(),
            shape: format!("{}[{}]", trace.dtype(), shape.join(",")),
            declared: (place == 0).then(|| distance(&wanted[0], &declared[0])),
            nest: distance(&wanted[place], &nest[place]),
            machine: distance(&wanted[place], &machine[place]),
            slope,
        });
    }
    Ok(verdicts)
}

/// The outputs of the machine code.
fn machine<T: Real>(
    loss: Box<dyn Loss>,
    trace: &Trace,
    stages: &Stages,
    buffers: &[Buffer],
    wrt: &[String],
) -> Result<Vec<ArrayD<f64>>> {
    let ports = pipeline::ports(trace, &stages.joint);
    let arrays = buffers.iter().zip(&ports).map(|(b, p)| array(b, p)).collect::<Result<Vec<Array>>>()?;
    let views: Vec<(&str, View)> = ports.iter().zip(&arrays).map(|(p, a)| (p.name.as_str(), a.view())).collect();
    let names: Vec<&str> = wrt.iter().map(String::as_str).collect();
    let found = HybridBlock::new(loss).hybridize().value_and_grad::<T>(&views, &names)?;
    let wide = |array: ArrayD<T>| array.mapv(|x| x.to_f64());
    Ok(std::iter::once(found.value).chain(found.grads.into_iter().map(|(_, grad)| grad)).map(wide).collect())
}

/// The largest distance of elements in their order, relative to the largest magnitude; an infinity or NaN is no distance from itself.
fn distance(wanted: &ArrayD<f64>, found: &ArrayD<f64>) -> f64 {
    let scale = wanted.iter().filter(|x| x.is_finite()).fold(f64::MIN_POSITIVE, |scale, x| scale.max(x.abs()));
    let apart = |(&a, &b): (&f64, &f64)| if a == b || a.is_nan() && b.is_nan() { 0.0 } else { (a - b).abs() / scale };
    wanted.iter().zip(found).map(apart).fold(0.0, |most: f64, x| if x.is_nan() { x } else { most.max(x) })
}

/// The largest distance of a gradient from the differences of the declared loss at some of its elements; those at a
/// kink, where the differences to both sides disagree, say nothing.
fn differences(
    stages: &Stages,
    extents: &[usize],
    inputs: &[Buffer],
    name: &str,
    slopes: &ArrayD<f64>,
    rng: &mut Rng,
) -> Result<Option<f64>> {
    const STEP: f64 = 1e-6;
    let Some(place) = stages.trace.find_input(name).map(|i| i.index()) else { return Ok(None) };
    let total = |by: f64, element: usize| -> Result<f64> {
        let mut inputs = inputs.to_vec();
        if let Buffer::Float(x) = &mut inputs[place] {
            x.iter_mut().skip(element).take(1).for_each(|x| *x += by);
        }
        Ok(evaluate(&stages.trace, extents, &inputs)?[0].iter().filter(|x| x.is_finite()).sum())
    };
    let scale = slopes.iter().fold(1.0f64, |scale, x| scale.max(x.abs()));
    let mut worst = None;
    for _ in 0..DIFFERENCES.min(slopes.len()) {
        let element = rng.usize(..slopes.len());
        let slope = slopes.iter().nth(element).copied().unwrap_or(0.0);
        let middle = total(0.0, element)?;
        let (right, left) = ((total(STEP, element)? - middle) / STEP, (middle - total(-STEP, element)?) / STEP);
        if (right - left).abs() <= 1e-3 * scale {
            let apart = ((right + left) / 2.0 - slope).abs() / scale;
            worst = Some(worst.map_or(apart, |worst: f64| worst.max(apart)));
        }
    }
    Ok(worst)
}
