//! Chains of rules: the left sides of several inside each other, so that many rules apply to one graph at once and to
//! what the others make of it. What `simplify` gives is what was declared.

use crate::instance::chain;
use crate::support::Case;
use lossjit::ir::{Graph, Id, Kind, Output, Point};
use lossjit::oracle::graph::{Buffer, evaluate};
use lossjit::simplify::{RULES, simplify};
use ndarray::ArrayD;

/// Relative movement of every input, to tell how well a value is conditioned.
const STEP: f64 = 1e-10;

/// Beyond this a value no longer counts as moderate: the policy of floats speaks of finite intermediate results.
const LARGE: f64 = 1e8;

fn moved(case: &Case, seed: u64) -> Vec<Buffer> {
    let mut rng = fastrand::Rng::with_seed(seed);
    let one = |buffer: &Buffer| match buffer {
        Buffer::Float(x) => Buffer::Float(x.mapv(|x| x * (1.0 + if rng.bool() { STEP } else { -STEP }))),
        other => other.clone(),
    };
    case.inputs.iter().map(one).collect()
}

/// Closer to 0 than this a number may have another sign, or none, once its rounding changes: 1 + 1e-17 is 1.
const SMALL: f64 = 1e-10;

/// Whether every intermediate result is a moderate number, and every sign is plain.
fn is_tame(case: &Case) -> bool {
    let graph = &case.graph;
    let floats: Vec<Id> = graph.ids().filter(|&id| graph.ty(id).kind == Kind::Float).collect();
    let has_sign = |value: Id| {
        let of_value = |id: Id| matches!(graph.as_point(id), Some((Point::Sign, &[arg])) if arg == value);
        graph.ids().any(of_value)
    };
    let along = |value| Output { name: "value".into(), axes: graph.ty(value).axes.iter().collect(), value };
    let all = Graph { outputs: floats.iter().map(|&id| along(id)).collect(), ..graph.clone() };
    let values = evaluate(&all, &case.extents, &case.inputs).expect("no computed reads");
    let plain = |(value, x): (&Id, &ArrayD<f64>)| {
        let least = if has_sign(*value) { SMALL } else { 0.0 };
        x.iter().all(|x| x.abs() < LARGE && x.abs() >= least)
    };
    floats.iter().zip(&values).all(plain)
}

/// How many elements were compared, and how many rules fired.
fn judge(case: &Case, seed: u64) -> Result<(usize, usize), String> {
    let told = |e: lossjit::Error| e.to_string();
    let (simple, report) = simplify(&case.graph).map_err(told)?;
    if !is_tame(case) {
        return Ok((0, 0));
    }
    let value = |graph: &Graph, inputs: &[Buffer]| -> Result<ArrayD<f64>, String> {
        Ok(evaluate(graph, &case.extents, inputs).map_err(told)?.swap_remove(0))
    };
    let (before, after) = (value(&case.graph, &case.inputs)?, value(&simple, &case.inputs)?);
    let scale = before.iter().fold(1.0f64, |scale, x| scale.max(x.abs()));
    let mut allowed = before.mapv(|_| 1e-10 * scale);
    for round in 0..3 {
        let changed = value(&case.graph, &moved(case, seed * 3 + round))?;
        ndarray::Zip::from(&mut allowed).and(&changed).and(&before).for_each(|allowed, &changed, &before| {
            let change = (changed - before).abs();
            *allowed += if change.is_finite() { 100.0 * change } else { 0.0 };
        });
    }
    for ((place, &before), (&after, &allowed)) in before.indexed_iter().zip(after.iter().zip(&allowed)) {
        // A factor that is moved out of a sum of nothing may be 1 / 0.
        let nothing = after.is_nan() && case.extents.contains(&0);
        let close = (before - after).abs() <= allowed;
        if !close && !nothing {
            return Err(format!(
                "{place:?} is {after:e}, not {before:e}, within {allowed:e}\n{case}simplified:\n{simple}{report}"
            ));
        }
    }
    Ok((before.len(), report.fired.values().sum()))
}

fn judge_chains(seeds: std::ops::Range<u64>) {
    let (mut compared, mut fired, mut count) = (0, 0, 0);
    for seed in seeds {
        let mut rng = fastrand::Rng::with_seed(!seed);
        let plain: Vec<_> = RULES.iter().filter(|rule| !rule.left.contains("ctc")).collect();
        let rules: Vec<_> = (0..rng.usize(2..7)).map(|_| plain[rng.usize(..plain.len())]).collect();
        let case = chain(&rules, seed);
        match judge(&case, seed) {
            Ok((elements, rules)) => (compared, fired) = (compared + elements, fired + rules),
            Err(problem) => {
                let names: Vec<_> = rules.iter().map(|r| r.name).collect();
                panic!("seed {seed}: {}: {problem}", names.join(", inside "));
            }
        }
        count += 1;
    }
    println!("{count} chains, {fired} rules fired, {compared} elements compared");
    assert!(compared > 5 * count && fired > 3 * count, "{compared}, {fired} of {count}");
}

#[test]
fn chains_of_rules_keep_values() {
    judge_chains(0..1200);
}

/// A longer run: `cargo test --release --test rules -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn many_chains_of_rules() {
    judge_chains(1200..60_000);
}
