//! Random graphs before every judge. A failure names its seed and shows the smallest failing version of the case.

mod support;

use lossjit::grad::{self, Wanted, grad_name};
use lossjit::ir::{Graph, Kind, Output, parse};
use lossjit::oracle::graph::{Buffer, evaluate};
use lossjit::oracle::nest;
use lossjit::simplify::simplify;
use lossjit::{Dtype, Error};
use ndarray::{ArrayD, IxDyn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use support::{Case, Machine, agree, case, shaped_like, smallest};

/// How much was checked, or what is wrong.
type Verdict = Result<usize, String>;

struct Judge {
    name: &'static str,
    check: fn(&Case) -> Verdict,
    seeds: u64,
    /// The least that must have been checked over all seeds.
    least: usize,
}

const JUDGES: &[Judge] = &[
    Judge { name: "text reads back", check: text_reads_back, seeds: 1500, least: 1500 },
    Judge { name: "simplify keeps values", check: simplify_keeps_values, seeds: 1500, least: 1500 },
    Judge { name: "gradients are slopes", check: gradients_are_slopes, seeds: 1000, least: 2500 },
    Judge { name: "nest and machine code in f64", check: machine_f64, seeds: 1000, least: 1000 },
    Judge { name: "nest and machine code in f32", check: machine_f32, seeds: 1000, least: 1000 },
    Judge { name: "nest and machine code of gradients", check: machine_of_gradients, seeds: 500, least: 300 },
    Judge { name: "nests in parts", check: machine_in_parts, seeds: 1000, least: 300 },
    Judge { name: "nests in parts of gradients", check: machine_of_gradients_in_parts, seeds: 500, least: 300 },
];

#[test]
fn random_graphs() {
    for judge in JUDGES {
        run(judge, 0..judge.seeds);
    }
}

/// A longer run: `cargo test --release --test random_graphs -- --ignored`.
#[test]
#[ignore = "takes minutes"]
fn many_random_graphs() {
    for judge in JUDGES {
        run(judge, 1000..20_000);
    }
}

/// A quotient of two sums of a row, which the row's elements take: it is computed in lanes along a block of rows.
#[test]
fn a_quotient_of_sums() {
    let text = "graph quotient(z[j i]: float)
%0[j i]: float = read z @j @i
%1[j]: float = sum @i %0
%2[j]: float = log %1
%3[j i]: float = max %0 %2
%4[i]: float = sum @j %3
out[i] = %4
";
    let graph = parse(text).unwrap();
    for extents in [[2, 20], [3, 20], [5, 33], [40, 300]] {
        let element = |place: IxDyn| 0.5 + (place[0] * 7 % 11) as f64 + (place[1] * 5 % 13) as f64 / 8.0;
        let inputs = vec![Buffer::Float(ArrayD::from_shape_fn(IxDyn(&[extents[1], extents[0]]), element))];
        let extents = graph.axes.iter().map(|axis| extents[usize::from(axis == "j")]).collect();
        assert!(machine_of_gradients(&Case { graph: graph.clone(), extents, inputs }).unwrap() > 0);
    }
}

fn run(judge: &Judge, seeds: std::ops::Range<u64>) {
    let mut checked = 0;
    for seed in seeds {
        let case = case(seed);
        match verdict(judge, &case) {
            Ok(count) => checked += count,
            Err(problem) => {
                let small = smallest(&case, |c| evaluates(c) && verdict(judge, c).is_err());
                let now = verdict(judge, &small).err().unwrap_or_default();
                panic!("{}: seed {seed}: {problem}\nsmallest:\n{small}{now}", judge.name);
            }
        }
    }
    assert!(checked >= judge.least, "{}: only {checked} checked", judge.name);
}

/// A panic is a verdict too.
fn verdict(judge: &Judge, case: &Case) -> Verdict {
    let panicked = |cause: Box<dyn std::any::Any + Send>| {
        let text = cause.downcast_ref::<String>().cloned();
        text.or_else(|| cause.downcast_ref::<&str>().map(|s| s.to_string())).unwrap_or_default()
    };
    catch_unwind(AssertUnwindSafe(|| (judge.check)(case))).unwrap_or_else(|cause| Err(panicked(cause)))
}

fn evaluates(case: &Case) -> bool {
    evaluate(&case.graph, &case.extents, &case.inputs).is_ok()
}

fn text_reads_back(case: &Case) -> Verdict {
    let text = case.graph.to_string();
    let back = parse(&text).map_err(|e| format!("{e}\n{text}"))?;
    if back == case.graph { Ok(1) } else { Err(format!("reads back as\n{back}")) }
}

fn machine_f64(case: &Case) -> Verdict {
    machine(case, Dtype::F64, 1e-11)
}

fn machine_f32(case: &Case) -> Verdict {
    machine(case, Dtype::F32, 2e-5)
}

/// The graph interpreter, the nest interpreter and the machine code, for three layouts of memory.
fn machine(case: &Case, real: Dtype, tolerance: f64) -> Verdict {
    let wanted = evaluate(&case.graph, &case.extents, &case.inputs).map_err(|e| e.to_string())?;
    for layout in 0..3 {
        let machine = Machine::new(case, real, layout).map_err(|e| e.to_string())?;
        judge(case, &wanted, machine, real == Dtype::F64, tolerance)?;
    }
    Ok(1)
}

/// The same of nests in parts, with their gradients. Those without a loop that can be so do not count.
fn machine_in_parts(case: &Case) -> Verdict {
    let wanted = evaluate(&case.graph, &case.extents, &case.inputs).map_err(|e| e.to_string())?;
    let mut checked = 0;
    for (layout, real, tolerance) in [(0, Dtype::F64, 1e-11), (1, Dtype::F64, 1e-11), (2, Dtype::F32, single(case))] {
        let whole = Machine::new(case, real, layout).map_err(|e| e.to_string())?;
        if let Some(machine) = whole.in_parts() {
            judge(case, &wanted, machine, true, tolerance)?;
            checked += 1;
        }
    }
    Ok(checked)
}

/// The nest interpreter where it is asked for, and the machine code.
fn judge(
    case: &Case,
    wanted: &[ArrayD<f64>],
    machine: Machine,
    interpreted: bool,
    tolerance: f64,
) -> Result<(), String> {
    let text = machine.nest.to_string();
    if interpreted {
        let nest = nest::evaluate(&machine.nest, &case.inputs).map_err(|e| format!("{e}\n{text}"))?;
        let nest = shaped_like(wanted, nest)?;
        agree(wanted, &nest, tolerance).map_err(|problem| format!("nest: {problem}\n{text}"))?;
    }
    let found = machine.run(case)?;
    agree(wanted, &found, tolerance).map_err(|problem| format!("{problem}\n{text}"))
}

/// How far gradients in f32 may be off: they hold to the rounding of the largest number on the way (those of tanh, `1 − tanh²`,
/// to that of 1), and all terms of a sum may be rounded alike.
fn single(case: &Case) -> f64 {
    let terms = case.extents.iter().copied().max().unwrap_or(1) as f64;
    (2e-5 + 2.0 * f64::from(f32::EPSILON) * terms) * largest(case)
}

/// The largest number on the way, 1 at least.
fn largest(case: &Case) -> f64 {
    let graph = &case.graph;
    let floats = graph.ids().filter(|&id| graph.ty(id).kind == Kind::Float);
    let along = |value| Output { name: "value".into(), axes: graph.ty(value).axes.iter().collect(), value };
    let all = Graph { outputs: floats.map(along).collect(), ..graph.clone() };
    let values = evaluate(&all, &case.extents, &case.inputs).unwrap_or_default();
    values.iter().flatten().filter(|x| x.is_finite()).fold(1.0, |largest, x| x.abs().max(largest))
}

/// The same for the simplified graph with its gradients.
fn machine_of_gradients(case: &Case) -> Verdict {
    of_gradients(case, |case| machine_f64(case).and_then(|_| machine(case, Dtype::F32, single(case))))
}

fn machine_of_gradients_in_parts(case: &Case) -> Verdict {
    of_gradients(case, machine_in_parts)
}

fn of_gradients(case: &Case, check: fn(&Case) -> Verdict) -> Verdict {
    let joint = grad::differentiable(&case.graph).and_then(|wrt| {
        let joint = grad::grad(&case.graph, &Wanted::value_and_grad(&wrt))?;
        simplify(&joint)
    });
    match joint {
        Ok((graph, _)) => check(&Case { graph, ..case.clone() }),
        // A buffer read along other axes than its own: refused in so many words.
        Err(Error::Declaration { .. }) => Ok(0),
        Err(error) => Err(error.to_string()),
    }
}

fn simplify_keeps_values(case: &Case) -> Verdict {
    let before = evaluate(&case.graph, &case.extents, &case.inputs).map_err(|e| e.to_string())?;
    let (simple, report) = simplify(&case.graph).map_err(|e| e.to_string())?;
    let after = evaluate(&simple, &case.extents, &case.inputs).map_err(|e| e.to_string())?;
    agree(&before, &after, 1e-9).map_err(|problem| format!("{problem}\n{simple}{report}"))?;
    Ok(1)
}

/// Gradients beside differences of the summed first output, at a few elements of each input. Where a step to the left
/// and one to the right disagree, the slope has a jump nearby, and the element proves nothing.
fn gradients_are_slopes(case: &Case) -> Verdict {
    let internal = |e: lossjit::Error| e.to_string();
    let mut rng = fastrand::Rng::with_seed(case.graph.nodes.len() as u64);
    let mut checked = 0;
    let names = grad::differentiable(&case.graph).map_err(internal)?;
    let total = |inputs: &[Buffer]| -> Result<(f64, f64), String> {
        let out = evaluate(&case.graph, &case.extents, inputs).map_err(internal)?.swap_remove(0);
        Ok((out.sum(), out.iter().map(|x| x.abs()).sum()))
    };
    for name in names {
        let joint = match grad::grad(&case.graph, &Wanted { value: false, ..Wanted::value_and_grad(&[&name]) }) {
            Ok(joint) => joint,
            // Some reads along other axes than the buffer's have no gradient without another name for an axis.
            Err(lossjit::Error::Declaration { .. }) => continue,
            Err(e) => return Err(e.to_string()),
        };
        let slopes = evaluate(&joint, &case.extents, &case.inputs).map_err(internal)?.swap_remove(0);
        let place = case.graph.find_input(&name).expect("just named").index();
        assert_eq!(case.graph.inputs[place].kind, Kind::Float);
        let (middle, size) = total(&case.inputs)?;
        for _ in 0..4.min(slopes.len()) {
            let element = rng.usize(..slopes.len());
            let slope = slopes.as_slice().expect("standard layout")[element];
            let step = 1e-6;
            let moved = |by: f64| {
                let mut inputs = case.inputs.clone();
                let Buffer::Float(x) = &mut inputs[place] else { unreachable!("asserted above") };
                x.as_slice_mut().expect("standard layout")[element] += by;
                total(&inputs).map(|(total, _)| total)
            };
            let (right, left) = ((moved(step)? - middle) / step, (middle - moved(-step)?) / step);
            let scale = 1.0 + slope.abs();
            let apart = (right - left).abs();
            if apart > 1e-2 * scale {
                continue;
            }
            let error = ((right + left) / 2.0 - slope).abs();
            if error.is_nan() || error > 1e-5 * scale + apart + 1e-8 * size {
                // A branch that holds at this very number only has no slope that differences could see.
                let beside = |by: f64| {
                    let mut inputs = case.inputs.clone();
                    let Buffer::Float(x) = &mut inputs[place] else { unreachable!("asserted above") };
                    x.as_slice_mut().expect("standard layout")[element] += by;
                    let slopes = evaluate(&joint, &case.extents, &inputs).map_err(internal)?.swap_remove(0);
                    Ok::<f64, String>(slopes.as_slice().expect("standard layout")[element])
                };
                let jumps = |beside: f64| (beside - slope).abs() > 1e-2 * scale;
                if jumps(beside(step)?) && jumps(beside(-step)?) {
                    continue;
                }
                let found = format!("{slope}, but differences are {left} and {right}");
                return Err(format!("{} at element {element} is {found}\n{joint}", grad_name(&name)));
            }
            checked += usize::from(apart < 1e-3 * scale);
        }
    }
    Ok(checked)
}
