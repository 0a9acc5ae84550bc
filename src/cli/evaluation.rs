//! One evaluation of a loss: what is asked of the library, and what comes back with its timings.

use super::array::Array;
use crate::error::Result;
use crate::grad::{HEAD, Wanted, grad_name};
use crate::ir::Dtype;
use crate::losses::Loss;
use crate::runtime::{HybridBlock, Inputs, Real, View, ViewMut};
use crate::trace::Spec;
use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn};
use std::time::{Duration, Instant};

/// What to evaluate, and how.
pub(super) struct Request<'a> {
    pub(super) inputs: &'a Inputs<'a>,
    pub(super) head: Option<View<'a>>,
    /// Inputs by name, or `all`.
    pub(super) grads: &'a [String],
    pub(super) threads: usize,
    pub(super) imperative: bool,
}

pub(super) struct Evaluation {
    /// `out`, then `grad.NAME` in the order asked for.
    pub(super) results: Vec<(String, Array)>,
    /// From the trace to machine code, with nothing prepared; `None` when interpreted.
    pub(super) compile: Option<Duration>,
    /// Compiled: the second run. Interpreted: the only one, with tracing.
    pub(super) run: Duration,
}

type Block = HybridBlock<Box<dyn Loss>>;

/// # Errors
/// The inputs do not suit the loss or each other, a gradient does not exist, or a class number is out of range.
pub(super) fn evaluate(loss: Box<dyn Loss>, request: &Request) -> Result<Evaluation> {
    let block = HybridBlock::new(loss).threads(request.threads);
    let specs: Vec<Spec> = request.inputs.iter().map(|(name, v)| Spec::new(name, v.dtype(), v.shape())).collect();
    // Also finds inputs that do not fit before anything is compiled, among them one named as the head gradient is.
    let dtype = block.trace(&specs)?.dtype();
    let wrt = wanted_gradients(request.grads, || block.differentiable(&specs))?;
    match (dtype, request.imperative) {
        (Dtype::F64, false) => compiled::<f64>(&block.hybridize(), request, &wrt),
        (Dtype::F64, true) => interpreted::<f64>(&block, request, &wrt),
        (Dtype::Bf16, false) => compiled::<bf16>(&block.hybridize(), request, &wrt),
        (Dtype::Bf16, true) => interpreted::<bf16>(&block, request, &wrt),
        (Dtype::F16, false) => compiled::<f16>(&block.hybridize(), request, &wrt),
        (Dtype::F16, true) => interpreted::<f16>(&block, request, &wrt),
        (_, false) => compiled::<f32>(&block.hybridize(), request, &wrt),
        (_, true) => interpreted::<f32>(&block, request, &wrt),
    }
}

/// The inputs to differentiate by, each once: `all` stands for every one that has a gradient.
pub(super) fn wanted_gradients(
    asked: &[String],
    differentiable: impl Fn() -> Result<Vec<String>>,
) -> Result<Vec<String>> {
    let mut wrt = vec![];
    for name in asked {
        let names = if name == "all" { differentiable()? } else { vec![name.clone()] };
        for name in names {
            if !wrt.contains(&name) {
                wrt.push(name);
            }
        }
    }
    Ok(wrt)
}

fn compiled<T>(block: &Block, request: &Request, wrt: &[String]) -> Result<Evaluation>
where
    T: Real,
    Array: From<ArrayD<T>>,
{
    let wanted = Wanted { head: request.head.is_some(), ..Wanted::value_and_grad(wrt) };
    let mut inputs = request.inputs.to_vec();
    inputs.extend(request.head.clone().map(|head| (HEAD, head)));
    let start = Instant::now();
    let program = block.compile(&inputs, &wanted)?;
    let compile = start.elapsed();

    let buffers = &program.signature().outputs;
    let mut arrays: Vec<ArrayD<T>> = buffers.iter().map(|b| ArrayD::from_elem(IxDyn(&b.shape), T::default())).collect();
    let mut outputs: Vec<ViewMut> = arrays.iter_mut().map(ViewMut::from).collect();
    // The first run pays for pages, caches and threads that the second finds ready.
    program.run_on(request.threads, &inputs, &mut outputs)?;
    let start = Instant::now();
    program.run_on(request.threads, &inputs, &mut outputs)?;
    let run = start.elapsed();

    let names = buffers.iter().map(|b| b.name.clone());
    let results = names.zip(arrays.into_iter().map(Array::from)).collect();
    Ok(Evaluation { results, compile: Some(compile), run })
}

fn interpreted<T>(block: &Block, request: &Request, wrt: &[String]) -> Result<Evaluation>
where
    T: Real,
    Array: From<ArrayD<T>>,
{
    let wrt: Vec<&str> = wrt.iter().map(String::as_str).collect();
    let start = Instant::now();
    let result = match &request.head {
        Some(head) => block.value_and_grad_with_head::<T>(request.inputs, head.clone(), &wrt)?,
        None => block.value_and_grad::<T>(request.inputs, &wrt)?,
    };
    let run = start.elapsed();
    let mut results = vec![("out".to_string(), Array::from(result.value))];
    results.extend(result.grads.into_iter().map(|(name, grad)| (grad_name(&name), Array::from(grad))));
    Ok(Evaluation { results, compile: None, run })
}
