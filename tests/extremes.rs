//! Extreme inputs in f32: what is a number in exact arithmetic is that number, or infinite where f32 ends; infinite
//! logits mean what their limits mean.

use lossjit::losses::*;
use lossjit::{HybridBlock, Loss, View, inputs};
use ndarray::{Array1, Array2, ArrayD, array};

const INF: f32 = f32::INFINITY;

/// Value and gradient by machine code in f32.
fn run<L: Loss>(loss: L, given: &[(&str, View)], wrt: &str) -> (Vec<f32>, Vec<f32>) {
    let found = HybridBlock::new(loss).hybridize().value_and_grad::<f32>(given, &[wrt]).unwrap();
    let flat = |array: &ArrayD<f32>| array.iter().copied().collect();
    (flat(&found.value), flat(found.grad(wrt).unwrap()))
}

#[track_caller]
fn assert_close(found: &[f32], wanted: &[f64]) {
    let close = |(&a, &b): (&f32, &f64)| {
        let b = b as f32;
        a == b || a.is_nan() && b.is_nan() || (a - b).abs() <= 4.0 * f32::EPSILON * b.abs()
    };
    assert!(found.len() == wanted.len() && found.iter().zip(wanted).all(close), "{found:?}, not {wanted:?}");
}

const EXTREMES: [f32; 10] = [0.0, 1e-45, -1e-38, 1e-6, -18.0, 18.0, 104.0, -1e4, 3e38, -3e38];

/// Each element a sample of its own, against `f` in f64: few, which are computed in f64, and many, which are not.
fn elements<L: Loss + Clone>(loss: L, labels: &[f32], f: fn(f64, f64) -> [f64; 2]) {
    for (&label, times) in labels.iter().flat_map(|label| [(label, 1), (label, 103)]) {
        let (pred, label) = (Array1::from(EXTREMES.repeat(times)), Array1::from_elem(EXTREMES.len() * times, label));
        let (value, grad) = run(loss.clone(), &inputs! { pred: &pred, label: &label }, "pred");
        let wanted: Vec<[f64; 2]> = pred.iter().zip(&label).map(|(&x, &z)| f(x.into(), z.into())).collect();
        assert_close(&value, &wanted.iter().map(|w| w[0]).collect::<Vec<_>>());
        assert_close(&grad, &wanted.iter().map(|w| w[1]).collect::<Vec<_>>());
    }
}

fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Small losses keep their digits, large ones their size: never 0 or below for a logit that is not certain.
#[test]
fn binary_cross_entropies() {
    elements(SigmoidBCELoss::new(), &[1.0], |x, _| [softplus(-x), -sigmoid(-x)]);
    elements(SigmoidBCELoss::new(), &[0.0], |x, _| [softplus(x), sigmoid(x)]);
    elements(LogisticLoss::new(), &[1.0], |x, _| [softplus(-x), -sigmoid(-x)]);
    elements(LogisticLoss::new(), &[-1.0], |x, _| [softplus(x), sigmoid(x)]);
    elements(LogisticLoss::new().label_format(LabelFormat::Binary), &[0.0], |x, _| [softplus(x), sigmoid(x)]);
}

/// The loss of a class that is all but certain, wherever classes lie and however many rows there are.
#[test]
fn all_but_certain() {
    let wanted = (2.0 * (-18f64).exp()).ln_1p();
    for samples in [4, 400] {
        let label = Array1::<i32>::zeros(samples);
        let rows = Array2::from_shape_fn((samples, 3), |(_, c)| if c == 0 { 18f32 } else { 0.0 });
        let (by_rows, _) = run(SoftmaxCELoss::new(), &inputs! { pred: &rows, label: &label }, "pred");
        assert_close(&by_rows, &vec![wanted; samples]);
        let columns = rows.t().insert_axis(ndarray::Axis(0));
        let label = label.insert_axis(ndarray::Axis(0));
        let (by_columns, _) = run(SoftmaxCELoss::new().axis(1), &inputs! { pred: &columns, label: &label }, "pred");
        assert_close(&by_columns, &[wanted]);
    }
}

#[test]
fn regressions() {
    elements(L1Loss::new(), &[0.0, 1.0], |x, z| [(z - x).abs(), if x == z { 0.0 } else { (x - z).signum() }]);
    elements(L2Loss::new(), &[0.0], |x, z| [0.5 * (x - z) * (x - z), x - z]);
    elements(
        HuberLoss::new(),
        &[0.0],
        |x, _| {
            if x.abs() > 1.0 { [x.abs() - 0.5, x.signum()] } else { [0.5 * x * x, x] }
        },
    );
}

#[test]
fn hinges() {
    elements(HingeLoss::new(), &[1.0, -1.0], |x, z| [(1.0 - x * z).max(0.0), if x * z < 1.0 { -z } else { 0.0 }]);
    elements(SquaredHingeLoss::new(), &[1.0, -1.0], |x, z| {
        let a = (1.0 - x * z).max(0.0);
        [a * a, -2.0 * z * a]
    });
}

/// A certain logit of ±∞ costs nothing, its opposite +∞; slopes are those of the limits.
#[test]
fn infinite_binary_logits() {
    let (pred, label) = (array![INF, -INF, INF, -INF], array![1f32, 0.0, 0.0, 1.0]);
    let (value, grad) = run(SigmoidBCELoss::new(), &inputs! { pred: &pred, label: &label }, "pred");
    // 0 · ∞ of the part that a label of 0 or 1 takes away is NaN, as the formula has it.
    assert!(value.iter().all(|x| x.is_nan() || *x == INF), "{value:?}");
    assert!(grad.iter().all(|g| g.abs() <= 1.0 && !g.is_nan()), "{grad:?}");
}

/// Classes of −∞ are impossible: they take no part, and their gradient is 0. One class alone is certain.
#[test]
fn impossible_classes() {
    let pred = array![[1.0, -INF, 2.0], [-INF, -INF, 5.0], [-INF, -INF, -3e38]];
    let label = array![0i32, 2, 2];
    let given = inputs! { pred: &pred, label: &label };
    let (value, grad) = run(SoftmaxCELoss::new(), &given, "pred");
    assert_close(&value, &[softplus(1.0), 0.0, 0.0]);
    let p = sigmoid(-1.0);
    assert_close(&grad, &[p - 1.0, 0.0, 1.0 - p, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);

    let label = array![[0.5f32, 0.0, 0.5], [0.0, 0.0, 1.0], [0.0, 0.0, 1.0]];
    let given = inputs! { pred: &pred, label: &label };
    let dense = SoftmaxCELoss::new().sparse_label(false);
    let (value, grad) = run(dense, &given, "pred");
    assert_close(&value, &[0.5 * softplus(1.0) + 0.5 * softplus(-1.0), 0.0, 0.0]);
    assert!(grad.iter().all(|g| g.is_finite()), "{grad:?}");
    let (value, grad) = run(KLDivLoss::new().from_logits(false), &given, "pred");
    assert!(value.iter().chain(&grad).all(|x| x.is_finite()), "{value:?} {grad:?}");
}

/// To ask for an impossible class costs +∞; a row of nothing but −∞, or with +∞ or NaN, has no softmax.
#[test]
fn rows_without_a_softmax() {
    let pred = array![[0.0, -INF], [-INF, -INF], [INF, 0.0], [f32::NAN, 0.0]];
    let label = array![1i32, 0, 0, 1];
    let (value, _) = run(SoftmaxCELoss::new(), &inputs! { pred: &pred, label: &label }, "pred");
    assert_eq!(value[0], INF);
    assert!(value[1..].iter().all(|x| x.is_nan()), "{value:?}");
}

/// Entries that are ignored may hold anything.
#[test]
fn ignored_entries_may_hold_anything() {
    let pred = array![[f32::NAN, INF], [-INF, -INF], [0.0, 0.0]];
    let label = array![7i32, 7, 1];
    let loss = SoftmaxCELoss::new().ignore_label(7);
    let (value, grad) = run(loss, &inputs! { pred: &pred, label: &label }, "pred");
    assert_close(&value, &[0.0, 0.0, 2f64.ln()]);
    assert_close(&grad, &[0.0, 0.0, 0.0, 0.0, 0.5, -0.5]);
}

/// That holds with every option and reduction: the same bits as with zeros there.
#[test]
fn ignored_entries_may_hold_anything_with_every_option() {
    let anything = array![[f32::NAN, INF, 1.0], [0.5, -1.0, 2.0], [-INF, -INF, f32::NAN], [3.0, 0.0, -2.0]];
    let mut zeros = anything.clone();
    for row in [0, 2] {
        zeros.row_mut(row).fill(0.0);
    }
    let (label, weight) = (array![7i32, 1, 7, 0], array![0.5f32, 2.0, 1.5]);
    let reductions = [Reduction::None, Reduction::Sum, Reduction::Mean, Reduction::MeanByWeight];
    for (smoothing, z_loss) in [(0.0, 0.0), (0.1, 0.0), (0.0, 0.01), (0.1, 0.01)] {
        for (reduction, weighed) in reductions.into_iter().flat_map(|r| [(r, false), (r, true)]) {
            let loss = SoftmaxCELoss::new().ignore_label(7).label_smoothing(smoothing).z_loss(z_loss);
            let outcome = |pred: &Array2<f32>| {
                let mut given = inputs! { pred: pred, label: &label }.to_vec();
                given.extend(weighed.then_some(("class_weight", (&weight).into())));
                run(loss.clone().reduction(reduction), &given, "pred")
            };
            let (value, grad) = outcome(&anything);
            assert!(value.iter().chain(&grad).all(|x| x.is_finite()), "{loss:?} {reduction:?} {value:?} {grad:?}");
            assert_eq!((value, grad), outcome(&zeros), "{loss:?} {reduction:?}");
        }
    }
}

/// Wide rows of large logits: the sum of exponentials neither overflows nor loses the small ones.
#[test]
fn wide_and_large_rows() {
    let pred = Array2::from_elem((2, 100_000), 3e38f32);
    let (value, grad) = run(SoftmaxCELoss::new(), &inputs! { pred: &pred, label: &array![0i32, 99_999] }, "pred");
    assert_close(&value, &[1e5f64.ln(); 2]);
    assert!((grad[1] - 1e-5).abs() < 1e-11 && (grad[0] + 0.99999).abs() < 1e-6);
}

/// Vectors of zeros have a cosine of 0 and finite gradients; those of large numbers overflow in their squares.
#[test]
fn cosines() {
    let (input1, input2, label) = (array![[0f32, 0.0], [1e-20, 0.0]], array![[1f32, 2.0], [1.0, 0.0]], array![1i32, 1]);
    let given = inputs! { input1: &input1, input2: &input2, label: &label };
    let (value, grad) = run(CosineEmbeddingLoss::new(), &given, "input1");
    assert_eq!(value[0], 1.0);
    assert!(grad[..2].iter().all(|g| g.is_finite()), "{grad:?}");
}

/// Poisson's exp overflows where f32 does; counts of 0 and 1 have no Stirling term.
#[test]
fn poisson() {
    let (pred, target) = (array![100f32, -100.0, 0.0], array![0f32, 0.0, 1.0]);
    let loss = PoissonNLLLoss::new().compute_full(true).reduction(Reduction::Sum);
    let (value, grad) = run(loss, &inputs! { pred: &pred, target: &target }, "pred");
    assert_eq!(value, [INF]);
    assert_close(&grad, &[f64::INFINITY, (-100f64).exp(), 0.0]);
}
