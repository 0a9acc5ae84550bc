//! `lossjit eval`: reads arrays, evaluates, and writes or shows the results.

use super::args::EvalArgs;
use super::array::Array;
use super::evaluation::{Request, evaluate};
use super::failure::Failure;
use super::files;
use super::setup::Setup;
use super::summary::Summary;
use super::values;
use crate::error::Error;
use crate::runtime::View;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;

/// Returns what is to be printed. The output file is written last, when nothing else can fail.
pub(super) fn run(args: &EvalArgs) -> Result<String, Failure> {
    let loss = args.loss.build(&args.settings)?;
    let inputs = read_inputs(&args.inputs)?;
    let head = args.head.as_deref().map(files::read).transpose()?;
    let threads = if args.imperative { 1 } else { threads(args.threads) };

    let views: Vec<(&str, View)> = inputs.iter().map(|(name, array)| (name.as_str(), array.view())).collect();
    let head = head.as_ref().map(Array::view);
    if args.trace_values {
        return values::run(args, loss, &views);
    }
    let request = Request { inputs: &views, head, grads: &args.grads, threads, imperative: args.imperative };
    let evaluation = evaluate(loss, &request)?;

    let output = args.output.as_deref();
    if let Some(path) = output {
        files::write_safetensors(path, &evaluation.results)?;
    }
    let setup = Setup::new(&args.loss, &args.settings);
    let summary = Summary { setup: &setup, inputs: &inputs, evaluation: &evaluation, threads, output };
    Ok(match (args.json, output) {
        (true, _) => summary.json(),
        (false, Some(path)) => summary.written(path),
        (false, None) => summary.text(),
    })
}

fn read_inputs(inputs: &[(String, String)]) -> Result<Vec<(String, Array)>, Failure> {
    let mut arrays: Vec<(String, Array)> = vec![];
    for (name, file) in inputs {
        if arrays.iter().any(|(known, _)| known == name) {
            return Err(Error::DuplicateInput { input: name.clone() }.into());
        }
        arrays.push((name.clone(), files::read(file)?));
    }
    Ok(arrays)
}

/// The threads that a call uses at most.
pub(super) fn threads(asked: Option<NonZeroUsize>) -> usize {
    let cores = available_parallelism().unwrap_or(NonZeroUsize::MIN);
    asked.unwrap_or(cores).min(cores).get()
}
