//! Sums over pairs of rows: the native kernel by blocks, against both interpreters, for losses that have such sums.

mod support;

use lossjit::grad::Wanted;
use lossjit::ir::Kind;
use lossjit::losses::SDMLLoss;
use lossjit::nest::{Layout, Step, expand, schedule};
use lossjit::oracle::graph::{Buffer, evaluate};
use lossjit::oracle::nest;
use lossjit::{Dtype, Expr, HybridBlock, Loss, Result, Spec, Tracer, inputs};
use ndarray::{Array2, ArrayD, IxDyn, s};
use support::{Case, Machine, agree};

/// How many other rows are alike: the logarithm of the sum over all of the exponential of scaled products.
struct Crowding;

impl Loss for Crowding {
    fn name(&self) -> &str {
        "crowding"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let [i, d] = t.axes(["i", "d"])?;
        let x = t.float("x", &[i, d])?;
        let j = t.axis_like("j", i)?;
        let y = t.float("y", &[j, d])?;
        Ok((0.5 * (x * y).sum(d)).exp().sum(j).ln())
    }
}

fn judge(loss: impl Loss, names: [&str; 2], rows: usize, depth: usize, seed: u64) -> std::result::Result<(), String> {
    let fail = |e: lossjit::Error| e.to_string();
    let block = HybridBlock::new(loss);
    let specs = names.map(|name| Spec::new(name, Dtype::F64, &[rows, depth]));
    let trace = block.trace(&specs).map_err(fail)?;
    let joint = block.stages(&specs, &Wanted::value_and_grad(&names)).map_err(fail)?.joint;
    let mut random = fastrand::Rng::with_seed(seed);
    let inputs = joint.inputs.iter().map(|input| {
        assert_eq!(input.kind, Kind::Float);
        Buffer::Float(ArrayD::from_shape_fn(IxDyn(&[rows, depth]), |_| f64::from(random.f32() - 0.5)))
    });
    let case = Case { inputs: inputs.collect(), extents: trace.extents.clone(), graph: joint.clone() };
    let expanded = expand(&joint, &case.extents).map_err(fail)?;
    let plain = schedule(&expanded, &case.extents, &Layout::row_major(&expanded, &case.extents)).map_err(fail)?;
    let pairs = plain.body.iter().find_map(|s| if let Step::Block { body, .. } = s { Some(body) } else { None });
    let pairs = pairs.ok_or("nothing runs by blocks")?.iter().filter(|s| matches!(s, Step::Pairs { .. }));
    assert_eq!(pairs.count(), 3, "{plain}");
    let wanted = evaluate(&joint, &case.extents, &case.inputs).map_err(fail)?;
    let found = nest::evaluate(&plain, &case.inputs).map_err(|e| format!("{e}\n{plain}"))?;
    agree(&wanted, &found, 1e-12).map_err(|e| format!("nest: {e}"))?;
    // A distance of 20 in f32 is known to 1e-6, and its exponential to as much of itself.
    for (real, tolerance) in [(Dtype::F64, 1e-12), (Dtype::F32, 1e-5)] {
        // The first layout is row-major, others are whatever strides allow.
        for layout in 0..3 {
            let machine = Machine::new(&case, real, seed + layout).map_err(fail)?;
            let found = machine.run(&case)?;
            agree(&wanted, &found, tolerance).map_err(|e| format!("{real}: {e}"))?;
        }
    }
    Ok(())
}

#[test]
fn blocks_of_rows_agree_with_both_interpreters() {
    // Whole and partial blocks, rows and lanes.
    for (seed, (rows, depth)) in [(64, 16), (65, 17), (130, 3), (67, 100), (33, 129)].into_iter().enumerate() {
        judge(SDMLLoss::new(), ["x1", "x2"], rows, depth, seed as u64).unwrap();
        judge(Crowding, ["x", "y"], rows, depth, seed as u64).unwrap();
    }
}

/// Rows of a wider array step further through memory than those of the other, so the blocks are of the other's.
#[test]
fn either_side_may_lie_in_a_wider_array() {
    let values = |seed: u64, columns: usize| {
        let mut random = fastrand::Rng::with_seed(seed);
        Array2::from_shape_fn((40, columns), |_| random.f64())
    };
    let (a, b) = (values(1, 18), values(2, 18));
    let (wide_a, wide_b) = (a.slice(s![.., ..16]), b.slice(s![.., ..16]));
    let (own_a, own_b) = (wide_a.to_owned(), wide_b.to_owned());
    let block = HybridBlock::new(SDMLLoss::new()).hybridize();
    let wanted = block.value_and_grad::<f64>(&inputs! { x1: &own_a, x2: &own_b }, &["x1", "x2"]).unwrap();
    for inputs in [inputs! { x1: &own_a, x2: &wide_b }, inputs! { x1: &wide_a, x2: &own_b }] {
        let found = block.value_and_grad::<f64>(&inputs, &["x1", "x2"]).unwrap();
        let close = |a: &ArrayD<f64>, b: &ArrayD<f64>| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(close(&found.value, &wanted.value));
        assert!(found.grads.iter().zip(&wanted.grads).all(|((_, a), (_, b))| close(a, b)));
    }
}
