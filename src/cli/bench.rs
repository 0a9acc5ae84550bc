//! `lossjit bench`: times a loss on random inputs, in this process.

use super::args::BenchArgs;
use super::array::Array;
use super::draw::draw_arrays;
use super::failure::Failure;
use super::number::time;
use super::setup::Chosen;
use super::subject::{Subject, Times, median};
use crate::grad::{Wanted, differentiable};
use crate::inspect::table::{Align, table};
use crate::runtime::pipeline;
use fastrand::Rng;
use serde_json::json;
use std::time::Duration;

const DURATION: Duration = Duration::from_secs(1);

pub(super) fn run(args: &BenchArgs, chosen: &Chosen) -> Result<String, Failure> {
    let loss = || chosen.build(&args.settings);
    let trace = pipeline::trace(&*loss()?, &args.inputs)?;
    let all = args.grads.iter().any(|g| g == "all");
    let wrt = if all || args.grads.is_empty() { differentiable(&trace.graph)? } else { args.grads.clone() };
    let threads = super::eval::threads(args.threads);
    let arrays = draw_arrays(&trace, &mut Rng::with_seed(0))?;
    let mut rows = vec![];
    for (what, wanted) in [("forward", Wanted::value()), ("value_and_grad", Wanted::value_and_grad(&wrt))] {
        rows.push((what, measure(loss()?, arrays.clone(), &wanted, threads)?));
    }
    if args.json {
        let row = |(what, row): &(&str, Row)| {
            json!({
                "call": what,
                "compile_s": row.times.compile.as_secs_f64(),
                "first_call_s": row.times.first_call.as_secs_f64(),
                "median_s": row.median,
                "min_s": row.min,
            })
        };
        let calls: Vec<_> = rows.iter().map(row).collect();
        return Ok(format!("{}\n", json!({ "loss": chosen.name(), "threads": threads, "wrt": wrt, "calls": calls })));
    }
    let cells = rows.iter().map(|(what, row)| {
        let steady = |seconds: f64| time(Duration::from_secs_f64(seconds));
        vec![what.to_string(), time(row.times.compile), time(row.times.first_call), steady(row.median), steady(row.min)]
    });
    let heads = ["call", "compile", "first call", "median", "fastest"];
    let aligns = [Align::Left, Align::Right, Align::Right, Align::Right, Align::Right];
    let threads = if threads == 1 { "1 thread".to_string() } else { format!("up to {threads} threads") };
    Ok(format!("{}  {threads}, gradients by {}\n\n{}", chosen.name(), wrt.join(", "), table(&heads, &aligns, cells)))
}

struct Row {
    times: Times,
    median: f64,
    min: f64,
}

fn measure(
    loss: Box<dyn crate::losses::Loss>,
    inputs: Vec<(String, Array)>,
    wanted: &Wanted,
    threads: usize,
) -> Result<Row, Failure> {
    let (mut subject, times) = Subject::new(loss, inputs, wanted, threads)?;
    let samples = subject.samples(DURATION)?;
    Ok(Row { times, median: median(&samples), min: samples.iter().copied().fold(f64::INFINITY, f64::min) })
}
