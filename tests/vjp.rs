//! Forward now, backward later: every loss in every mode gives the gradients of the one-kernel form, as often as asked.

use lossjit::losses::*;
use lossjit::{Backward, Buffer, Dtype, Error, HybridBlock, Inputs, Loss, View, ViewMut, inputs};
use ndarray::{Array1, Array2, Array3, ArrayD, array};

/// Numbers without a pattern, from a formula.
fn noise(shape: &[usize], seed: usize, low: f64, high: f64) -> ArrayD<f64> {
    let value = |i: usize| ((i * 7919 + seed * 104_729 + 13) % 10_007) as f64 / 10_007.0;
    let count = shape.iter().product();
    ArrayD::from_shape_vec(shape, (0..count).map(|i| low + (high - low) * value(i)).collect()).unwrap()
}

/// Both judges of a block, each in every mode, against `value_and_grad_with_head`.
fn agrees<L: Loss + Clone>(loss: L, given: &Inputs, wrt: &[&str]) {
    for block in [HybridBlock::new(loss.clone()), HybridBlock::new(loss).hybridize()] {
        let value = block.forward::<f64>(given).unwrap();
        let head = noise(value.shape(), 5, -1.0, 2.0);
        let wanted = block.value_and_grad_with_head::<f64>(given, View::from(&head), wrt).unwrap();
        for mode in [Backward::Kept, Backward::Recomputed] {
            let (value, pullback) = block.vjp::<f64>(given, wrt, mode).unwrap();
            close(&value, &wanted.value, "value");
            let first = pullback.backward(given, Some(View::from(&head))).unwrap();
            for ((name, found), (_, wanted)) in first.iter().zip(&wanted.grads) {
                close(found, wanted, &format!("{} {mode:?} {name}", block.loss().name()));
            }
            assert_eq!(first.len(), wrt.len());
            assert_eq!(pullback.backward(given, Some(View::from(&head))).unwrap(), first, "the second time");
            let (again, _) = block.vjp::<f64>(given, wrt, mode).unwrap();
            assert_eq!(again, value);
        }
    }
}

fn close(found: &ArrayD<f64>, wanted: &ArrayD<f64>, what: &str) {
    assert_eq!(found.shape(), wanted.shape(), "{what}");
    let scale = wanted.iter().fold(1.0f64, |scale, x| scale.max(x.abs()));
    let worst = (found - wanted).iter().fold(0.0f64, |worst, x| if x.is_nan() { f64::NAN } else { worst.max(x.abs()) });
    assert!(worst <= 1e-13 * scale, "{what}: {worst:e}");
}

#[test]
fn every_loss_in_every_mode() {
    let (pred, dense) = (noise(&[5, 7], 1, -3.0, 3.0), noise(&[5, 7], 2, 0.05, 1.0));
    let sign = dense.mapv(|x| if x < 0.5 { -1.0 } else { 1.0 });
    let label = array![3i64, 0, 6, 2, 2];
    let weight = noise(&[5, 1], 3, 0.1, 2.0);
    let classes = noise(&[7], 4, 0.1, 2.0);
    let all = ["pred", "label", "sample_weight"];
    let given = inputs! { pred: &pred, label: &dense, sample_weight: &weight };
    agrees(L1Loss::new(), &given, &all);
    agrees(L2Loss::new(), &given, &all);
    agrees(HuberLoss::new(), &given, &all);
    agrees(LogisticLoss::new(), &given, &all);
    agrees(KLDivLoss::new().from_logits(false), &given, &all);
    agrees(SoftmaxCELoss::new().sparse_label(false), &given, &all);
    agrees(HingeLoss::new(), &inputs! { pred: &pred, label: &sign }, &["pred"]);
    agrees(SquaredHingeLoss::new(), &inputs! { pred: &pred, label: &sign }, &["pred"]);
    agrees(SoftmaxCELoss::new(), &inputs! { pred: &pred, label: &label }, &["pred"]);
    let weighed = inputs! { pred: &pred, label: &label, sample_weight: &weight, class_weight: &classes };
    let many = ["pred", "class_weight", "sample_weight"];
    agrees(SoftmaxCELoss::new().label_smoothing(0.1).z_loss(0.01), &weighed, &many);
    agrees(SoftmaxCELoss::new().reduction(Reduction::MeanByWeight), &weighed, &many);
    let shared = inputs! { pred: &pred, label: &dense, pos_weight: &classes };
    agrees(SigmoidBCELoss::new(), &shared, &["pred", "label", "pos_weight"]);
    agrees(PoissonNLLLoss::new().compute_full(true), &inputs! { pred: &pred, target: &dense }, &["pred", "target"]);
    let triple = inputs! { pred: &pred, positive: &dense, negative: &sign };
    agrees(TripletLoss::new(), &triple, &["pred", "positive", "negative"]);
    let alike = array![1.0, -1.0, 1.0, -1.0, 1.0];
    let pair = inputs! { input1: &pred, input2: &dense, label: &alike };
    agrees(CosineEmbeddingLoss::new(), &pair, &["input1", "input2"]);
    agrees(SDMLLoss::new(), &inputs! { x1: &pred, x2: &dense }, &["x1", "x2"]);
    let (logits, text) = (noise(&[2, 6, 4], 6, -2.0, 2.0), array![[0i32, 1, -1], [2, 2, 0]]);
    agrees(CTCLoss::new(), &inputs! { pred: &logits, label: &text }, &["pred"]);
}

/// Images: the classes' axis is not the last, and a row's statistics have more axes than the loss.
#[test]
fn other_axes() {
    let pred = noise(&[2, 5, 3, 4], 7, -4.0, 4.0);
    let label = Array3::from_shape_fn((2, 3, 4), |(n, i, j)| ((n + 2 * i + j) % 5) as i32);
    agrees(SoftmaxCELoss::new().axis(1), &inputs! { pred: &pred, label: &label }, &["pred"]);
    agrees(SoftmaxCELoss::new().axis(1).batch_axis(1), &inputs! { pred: &pred, label: &label }, &["pred"]);
}

fn vjp(inputs: &[Buffer], wrt: &[&str], backward: Backward) -> lossjit::Vjp {
    HybridBlock::new(SoftmaxCELoss::new()).hybridize().compile_vjp(inputs, wrt, backward).unwrap()
}

/// What is kept, and what backward reads, is known before anything runs.
#[test]
fn what_is_kept() {
    let given = [Buffer::new("pred", Dtype::F32, &[64, 1000]), Buffer::new("label", Dtype::I32, &[64])];
    let shapes = |vjp: &lossjit::Vjp| vjp.saved().iter().map(|b| b.shape.clone()).collect::<Vec<_>>();
    let kept = vjp(&given, &["pred"], Backward::Kept);
    assert_eq!(shapes(&kept), [[64, 1000]]);
    assert_eq!((kept.backward_reads("pred"), kept.backward_reads("label")), (false, false));
    let recomputed = vjp(&given, &["pred"], Backward::Recomputed);
    assert_eq!(shapes(&recomputed), [[64], [64]], "the maximum and the sum of each row");
    assert!(recomputed.backward_reads("pred") && recomputed.backward_reads("label"));
    assert_eq!(recomputed.grads(), [Buffer::new("grad.pred", Dtype::F32, &[64, 1000])]);
    let never = vjp(&given, &["pred"], Backward::Never);
    assert!(never.saved().is_empty() && never.grads().is_empty());

    // A shared weight's gradient is no product with the head, so nothing of its size is kept.
    let given = ["pred", "label", "pos_weight"].map(|name| Buffer::new(name, Dtype::F64, &[8, 3]));
    let mut given = given.to_vec();
    given[2] = Buffer::new("pos_weight", Dtype::F64, &[3]);
    let block = HybridBlock::new(SigmoidBCELoss::new());
    let kept = block.compile_vjp(&given, &["pred", "pos_weight"], Backward::Kept).unwrap();
    assert_eq!(kept.saved().iter().map(|b| b.name.as_str()).collect::<Vec<_>>(), ["saved.pred"]);
    assert!(kept.backward_reads("label"));
}

/// Logits far apart: the saved statistics keep what log-sum-exp alone would lose in f32.
#[test]
fn statistics_keep_digits() {
    let pred = Array2::from_shape_fn((4, 300), |(i, j)| 1e4f32 + ((i * 31 + j * 17) % 23) as f32 * 0.37);
    let label = array![0i32, 7, 299, 3];
    let given = inputs! { pred: &pred, label: &label };
    let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize();
    let wanted = block.value_and_grad::<f32>(&given, &["pred"]).unwrap();
    let (_, pullback) = block.vjp::<f32>(&given, &["pred"], Backward::Recomputed).unwrap();
    let found = pullback.backward(&given, None).unwrap();
    for (found, wanted) in found[0].1.iter().zip(wanted.grad("pred").unwrap()) {
        assert!((found - wanted).abs() <= 4.0 * f32::EPSILON * wanted.abs(), "{found} {wanted}");
    }
}

#[test]
fn never_is_an_error() {
    let (pred, label) = (Array2::<f32>::zeros((2, 3)), Array1::<i32>::zeros(2));
    let given = inputs! { pred: &pred, label: &label };
    let block = HybridBlock::new(SoftmaxCELoss::new()).hybridize();
    let (value, pullback) = block.vjp::<f32>(&given, &["pred"], Backward::Never).unwrap();
    assert_eq!(value.shape(), [2]);
    let error = pullback.backward(&given, None).unwrap_err();
    assert!(matches!(error, Error::NoGradient { .. }), "{error}");
}

#[test]
fn wrong_buffers_are_refused() {
    let given = [Buffer::new("pred", Dtype::F32, &[2, 3]), Buffer::new("label", Dtype::I32, &[2])];
    let vjp = vjp(&given, &["pred"], Backward::Recomputed);
    let (pred, label) = ([0f32; 6], [0i32; 2]);
    let given = [("pred", View::new(&pred, &[2, 3]).unwrap()), ("label", View::new(&label, &[2]).unwrap())];
    let (row, head, mut out, mut grad) = ([1f32; 2], [1f32; 3], [0f32; 2], [0f32; 6]);
    let mut grad = [ViewMut::new(&mut grad, &[2, 3]).unwrap()];
    let error = vjp.forward(&given, ViewMut::new(&mut out, &[2]).unwrap(), &mut []).unwrap_err();
    assert_eq!(error.to_string(), "outputs: 1 are given, but 3 are needed");
    let row = View::new(&row, &[2]).unwrap();
    let head = View::new(&head, &[3]).unwrap();
    let error = vjp.backward(&given, &[row.clone(), row.clone()], head, &mut grad).unwrap_err();
    assert_eq!(error.to_string(), "head: shape [3] does not fit: [2] is needed");
    let error = vjp.backward(&given[..1], &[row.clone(), row.clone()], row.clone(), &mut grad).unwrap_err();
    assert_eq!(error.to_string(), "label: missing; softmax_cross_entropy needs pred, label, head, row.0, row.1");
    let error = vjp.backward(&given, std::slice::from_ref(&row), row.clone(), &mut grad).unwrap_err();
    assert_eq!(error.to_string(), "saved: 1 are given, but 2 are needed");
}

#[test]
fn the_result_dtype_must_be_the_inputs() {
    let (pred, label) = (Array2::<f32>::zeros((2, 3)), Array1::<i32>::zeros(2));
    let block = HybridBlock::new(SoftmaxCELoss::new());
    let error = block.vjp::<f64>(&inputs! { pred: &pred, label: &label }, &["pred"], Backward::Kept).err().unwrap();
    assert!(error.to_string().contains("f32"), "{error}");
}
