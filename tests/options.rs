//! Reductions, label smoothing, class weights and z-loss beside their formulas, written out by hand in f64.

use lossjit::losses::*;
use lossjit::nest::{Layout, Nest, Step};
use lossjit::runtime::pipeline;
use lossjit::simplify::graph_cost;
use lossjit::{Dtype, Expr, HybridBlock, Inputs, Loss, Result, Spec, Tracer, Wanted, inputs};
use ndarray::{Array1, Array2, ArrayD, array};

/// The one value, or the values, from the interpreter and from machine code.
fn both<L: Loss + Clone>(loss: &L, given: &Inputs) -> ArrayD<f64> {
    let imperative = HybridBlock::new(loss.clone()).forward::<f64>(given).unwrap();
    let compiled = HybridBlock::new(loss.clone()).hybridize().forward::<f64>(given).unwrap();
    let same = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-13 * (1.0 + a.abs()) || a.is_nan() && b.is_nan();
    assert!(imperative.shape() == compiled.shape() && imperative.iter().zip(&compiled).all(same));
    compiled
}

#[track_caller]
fn assert_close(found: &ArrayD<f64>, wanted: &[f64]) {
    let close = |(a, b): (&f64, &f64)| (a - b).abs() <= 1e-12 * (1.0 + b.abs());
    assert!(found.len() == wanted.len() && found.iter().zip(wanted).all(close), "{found}, not {wanted:?}");
}

fn logits() -> Array2<f64> {
    Array2::from_shape_fn((5, 4), |(n, c)| ((3 * n + 5 * c) % 7) as f64 * 0.6 - 1.5)
}

fn log_softmax(x: &Array2<f64>) -> Array2<f64> {
    let lse = x.map_axis(ndarray::Axis(1), |row| row.mapv(f64::exp).sum().ln());
    x - &lse.insert_axis(ndarray::Axis(1))
}

const LABELS: [i32; 5] = [0, 3, 2, 3, 1];

#[test]
fn reductions_of_samples() {
    let (pred, label) = (logits(), Array2::<f64>::zeros((5, 4)));
    let weight = array![[1.0], [0.5], [0.0], [2.0], [1.5]];
    let squares = &(&pred * &pred) * &weight;
    let given = inputs! { pred: &pred, label: &label, sample_weight: &weight };
    let each = squares.sum_axis(ndarray::Axis(1)) / 8.0;
    assert_close(&both(&L2Loss::new(), &given), each.as_slice().unwrap());
    assert_close(&both(&L2Loss::new().reduction(Reduction::Sum), &given), &[each.sum()]);
    assert_close(&both(&L2Loss::new().reduction(Reduction::Mean), &given), &[each.sum() / 5.0]);
    // Every entry counts as its weight: four to a row.
    let by_weight = squares.sum() / 2.0 / (4.0 * weight.sum());
    assert_close(&both(&L2Loss::new().reduction(Reduction::MeanByWeight), &given), &[by_weight]);
    // The constant factor is no weight of an entry.
    assert_close(&both(&L2Loss::new().weight(3.0).reduction(Reduction::MeanByWeight), &given), &[3.0 * by_weight]);
}

/// Without weights the mean by weight is that of all entries; the sum of KLDiv and Triplet is that of their sums.
#[test]
fn reductions_without_weights() {
    let (pred, label) = (logits(), logits().mapv(f64::exp) / 9.0);
    let given = inputs! { pred: &pred, label: &label };
    for (each, sum, mean, by_weight) in [
        reductions(L1Loss::new(), L1Loss::reduction, &given),
        reductions(KLDivLoss::new(), KLDivLoss::reduction, &given),
    ] {
        assert_close(&sum, &[each.sum()]);
        assert_close(&mean, &[each.sum() / 5.0]);
        let entries = if (by_weight.sum() - each.sum() / 5.0).abs() < 1e-9 { 5.0 } else { 20.0 };
        assert_close(&by_weight, &[each.sum() / entries]);
    }
    let target = label;
    let given = inputs! { pred: &pred, target: &target };
    let (each, sum, mean, by_weight) = reductions(PoissonNLLLoss::new(), PoissonNLLLoss::reduction, &given);
    assert_close(&sum, &[each.sum() * 20.0]);
    assert_close(&mean, &[each.sum()]);
    assert_close(&by_weight, &[each.sum()]);
}

type Four = (ArrayD<f64>, ArrayD<f64>, ArrayD<f64>, ArrayD<f64>);

fn reductions<L: Loss + Clone>(loss: L, set: fn(L, Reduction) -> L, given: &Inputs) -> Four {
    let run = |reduction| both(&set(loss.clone(), reduction), given);
    (run(Reduction::None), run(Reduction::Sum), run(Reduction::Mean), run(Reduction::MeanByWeight))
}

/// PyTorch's `cross_entropy`, by its documentation: smoothing and class weights, entries that are ignored, the mean by
/// the weights of the entries' own classes.
#[test]
fn smoothing_and_class_weights_and_ignored_entries() {
    let (pred, label) = (logits(), Array1::from(LABELS.to_vec()));
    let weight = array![0.5, 1.0, 2.0, 0.25];
    let log_p = log_softmax(&pred);
    for smoothing in [0.0, 0.3] {
        for ignored in [None, Some(3)] {
            for weighed in [false, true] {
                let w = if weighed { weight.clone() } else { Array1::ones(4) };
                let counts = |n: usize| if Some(LABELS[n] as i64) == ignored { 0.0 } else { w[LABELS[n] as usize] };
                let entry = |n: usize| {
                    let spread: f64 = (0..4).map(|c| -w[c] * log_p[[n, c]]).sum::<f64>() * smoothing / 4.0;
                    let own = -(1.0 - smoothing) * w[LABELS[n] as usize] * log_p[[n, LABELS[n] as usize]];
                    if Some(LABELS[n] as i64) == ignored { 0.0 } else { own + spread }
                };
                let each: Vec<f64> = (0..5).map(entry).collect();
                let loss = SoftmaxCELoss::new().label_smoothing(smoothing).ignore_label(ignored);
                let by_weight = loss.clone().reduction(Reduction::MeanByWeight);
                let mean = [each.iter().sum::<f64>() / (0..5).map(counts).sum::<f64>()];
                if weighed {
                    let given = inputs! { pred: &pred, label: &label, class_weight: &weight };
                    assert_close(&both(&loss, &given), &each);
                    assert_close(&both(&by_weight, &given), &mean);
                } else {
                    let given = inputs! { pred: &pred, label: &label };
                    assert_close(&both(&loss, &given), &each);
                    assert_close(&both(&by_weight, &given), &mean);
                }
            }
        }
    }
}

#[test]
fn smoothed_dense_labels() {
    let (pred, label) = (logits(), logits().mapv(|x| (x + 2.0) / 9.0));
    let weight = array![0.5, 1.0, 2.0, 0.25];
    let smooth = label.mapv(|z| 0.8 * z + 0.2 / 4.0);
    let wanted = -(&log_softmax(&pred) * &smooth * &weight).sum_axis(ndarray::Axis(1));
    let loss = SoftmaxCELoss::new().sparse_label(false).label_smoothing(0.2);
    let given = inputs! { pred: &pred, label: &label, class_weight: &weight };
    assert_close(&both(&loss, &given), wanted.as_slice().unwrap());

    let given = inputs! { pred: &pred, label: &label };
    let z = label.mapv(|z| 0.9 * z + 0.05);
    let binary = &z * &pred.mapv(|x| (-x).exp().ln_1p()) + (1.0 - &z) * &pred.mapv(|x| x.exp().ln_1p());
    let wanted = binary.mean_axis(ndarray::Axis(1)).unwrap();
    assert_close(&both(&SigmoidBCELoss::new().label_smoothing(0.1), &given), wanted.as_slice().unwrap());
}

#[test]
fn z_loss() {
    let (pred, label) = (logits(), Array1::from(LABELS.to_vec()));
    let lse = pred.map_axis(ndarray::Axis(1), |row| row.mapv(f64::exp).sum().ln());
    let log_p = log_softmax(&pred);
    let wanted: Vec<f64> = (0..5).map(|n| -log_p[[n, LABELS[n] as usize]] + 0.01 * lse[n] * lse[n]).collect();
    let loss = SoftmaxCELoss::new().z_loss(0.01);
    assert_close(&both(&loss, &inputs! { pred: &pred, label: &label }), &wanted);
    // An ignored entry has no part of it, whatever its logits.
    let mut pred = pred;
    pred.row_mut(2).fill(f64::NAN);
    let found = both(&loss.ignore_label(2), &inputs! { pred: &pred, label: &label });
    assert_close(&found, &[wanted[0], wanted[1], 0.0, wanted[3], wanted[4]]);
}

/// Where nothing counts the mean is 0 / 0; gradients of ignored entries are 0 even then.
#[test]
fn an_empty_denominator() {
    let (pred, label) = (logits(), Array1::from_elem(5, 9i64));
    let loss = SoftmaxCELoss::new().ignore_label(9).reduction(Reduction::MeanByWeight);
    let given = inputs! { pred: &pred, label: &label };
    let found = HybridBlock::new(loss).hybridize().value_and_grad::<f64>(&given, &["pred"]).unwrap();
    assert!(found.value[[0]].is_nan());
    assert!(found.grad("pred").unwrap().iter().all(|&g| g == 0.0));
}

fn calls_of_exp(body: &[Step], nest: &Nest) -> usize {
    let count = |step: &Step| match step {
        Step::Loop { body, .. }
        | Step::Tile { body, .. }
        | Step::Block { body, .. }
        | Step::Part { body, .. }
        | Step::Lanes { body } => calls_of_exp(body, nest),
        Step::Call { value, .. } => {
            usize::from(nest.graph.as_point(*value).is_some_and(|(p, _)| p == lossjit::ir::Point::Exp))
        }
        _ => 0,
    };
    body.iter().map(count).sum()
}

fn nest_of(loss: &dyn Loss, inputs: &[Spec], wrt: &str) -> Nest {
    let trace = pipeline::trace(loss, inputs).unwrap();
    let stages = pipeline::graphs(&trace.graph, &Wanted::value_and_grad(&[wrt])).unwrap();
    let layout = Layout::row_major(&stages.joint, &trace.extents);
    pipeline::nest(&stages.joint, &trace.extents, &layout).unwrap()
}

fn nest_text(loss: &dyn Loss, inputs: &[Spec], wrt: &str) -> String {
    nest_of(loss, inputs, wrt).to_string()
}

/// The formulas alone, under the names of the losses.
struct Bare(&'static str);

impl Loss for Bare {
    fn name(&self) -> &str {
        self.0
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        if self.0 == "softmax_cross_entropy" {
            let [n, c] = t.axes(["n", "c"])?;
            return Ok(-t.float("pred", &[n, c])?.softmax(c).at(c, t.class("label", &[n])?).ln());
        }
        let [n, i] = t.axes(["n", "i"])?;
        let (x, z) = (t.float("pred", &[n, i])?, t.float("label", &[n, i])?);
        let p = x.sigmoid();
        let (log_p, log_not_p) = (p.ln(), (1.0 - p).ln());
        Ok(-(z * log_p + (1.0 - z) * log_not_p).mean_over(&[i]))
    }
}

/// Switched off, options cost nothing: the nest is that of the bare formula.
#[test]
fn options_switched_off_leave_no_trace() {
    let (pred, classes) = (Spec::new("pred", Dtype::F32, &[64, 1000]), Spec::new("label", Dtype::I32, &[64]));
    let given = [pred.clone(), classes];
    let off = SoftmaxCELoss::new()
        .label_smoothing(0.0)
        .z_loss(0.0)
        .ignore_label(None)
        .clip_labels(false)
        .weight(None)
        .reduction(Reduction::None);
    assert_eq!(nest_text(&off, &given, "pred"), nest_text(&Bare("softmax_cross_entropy"), &given, "pred"));

    let given = [pred, Spec::new("label", Dtype::F32, &[64, 1000])];
    let off = SigmoidBCELoss::new().label_smoothing(0.0).weight(None).reduction(Reduction::None);
    // The order in which operands were declared shows in the text; steps and work are the same.
    let [off, bare] = [&off as &dyn Loss, &Bare("sigmoid_binary_cross_entropy")].map(|l| nest_of(l, &given, "pred"));
    let size = |nest: &Nest| (nest.steps().len(), graph_cost(&nest.graph), nest.work());
    assert_eq!(size(&off), size(&bare), "{off}\n{bare}");

    let given = [Spec::new("pred", Dtype::F32, &[4, 50, 9]), Spec::new("label", Dtype::I32, &[4, 6])];
    let off = CTCLoss::new().zero_infinity(false).blank(Blank::Last).reduction(Reduction::None);
    assert_eq!(nest_text(&off, &given, "pred"), nest_text(&CTCLoss::new(), &given, "pred"));
}

/// With everything switched on it is still one kernel that computes each exponential once, on all threads: each takes the
/// sum of the class weights for itself.
#[test]
fn options_stay_fused() {
    let specs = [
        Spec::new("pred", Dtype::F32, &[64, 1000]),
        Spec::new("label", Dtype::I32, &[64]),
        Spec::new("class_weight", Dtype::F32, &[1000]),
    ];
    let loss = SoftmaxCELoss::new().label_smoothing(0.1).z_loss(1e-4).ignore_label(0);
    for given in [&specs[..2], &specs[..]] {
        let nest = nest_of(&loss, given, "pred");
        assert_eq!(calls_of_exp(&nest.body, &nest), 1, "{nest}");
        assert!(nest.parallel_axis().is_some(), "{nest}");
    }
}
