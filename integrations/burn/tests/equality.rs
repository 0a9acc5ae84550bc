//! lossjit's losses and burn's, on the same tensors: value and gradient. `-- --nocapture` prints the table.

use burn::nn::loss::{
    BinaryCrossEntropyLossConfig, CTCLossConfig, CosineEmbeddingLossConfig, CrossEntropyLossConfig, HuberLossConfig,
    KLDivLossConfig, LpLossConfig, MseLoss, PoissonNllLossConfig, Reduction, SoftMarginLoss,
};
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{DType, Device, Distribution, FloatDType, Int, Tensor};
use lossjit_burn::losses::*;
use lossjit_burn::{Input, LossOp, inputs};

fn device() -> Device {
    Device::flex().autodiff()
}

fn random<const D: usize>(shape: [usize; D], scale: f64) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, scale), (&device(), DType::F64))
}

fn elements<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.cast(FloatDType::F64).into_data().try_into_vec().unwrap()
}

/// The mean loss and the gradient that reaches its argument.
fn evaluate<const D: usize>(at: &Tensor<D>, loss: impl Fn(&Tensor<D>) -> Tensor<1>) -> (f64, Vec<f64>) {
    let leaf = at.clone().detach().require_grad();
    let loss = loss(&leaf).mean();
    let grad = leaf.grad(&loss.backward()).expect("a gradient");
    (elements(loss)[0], elements(grad))
}

fn largest(x: impl Iterator<Item = f64>) -> f64 {
    x.fold(0.0, |a, b| if b.is_nan() { f64::NAN } else { a.max(b.abs()) })
}

/// Compares both in f32 and f64, and prints a row of the table for each.
fn compare<const D: usize>(
    name: &str,
    tolerances: &[(FloatDType, f64)],
    at: &Tensor<D>,
    theirs: impl Fn(&Tensor<D>) -> Tensor<1>,
    ours: impl Fn(&Tensor<D>) -> Tensor<1>,
) {
    for &(dtype, tolerance) in tolerances {
        let at = at.clone().cast(dtype);
        let ((value, grad), (their_value, their_grad)) = (evaluate(&at, &ours), evaluate(&at, &theirs));
        let apart = (value - their_value).abs();
        let grads_apart = largest(grad.iter().zip(&their_grad).map(|(a, b)| a - b));
        println!("| {name} | {dtype:?} | {value:.6} | {apart:.1e} | {grads_apart:.1e} |");
        assert!(apart <= tolerance * value.abs(), "{name}: {value} and {their_value}");
        assert!(grads_apart <= tolerance * largest(grad.iter().copied()), "{name}: {grads_apart}");
    }
}

/// A constant in the dtype of another tensor.
fn like<const D: usize, const E: usize>(constant: &Tensor<D>, other: &Tensor<E>) -> Tensor<D> {
    let dtype = if other.dtype() == DType::F32 { FloatDType::F32 } else { FloatDType::F64 };
    constant.clone().cast(dtype)
}

/// What both round to.
const ROUNDING: &[(FloatDType, f64)] = &[(FloatDType::F32, 4e-6), (FloatDType::F64, 1e-14)];

#[test]
fn the_same_where_both_are_right() {
    println!("| loss | dtype | value | largest difference of values | of gradients |\n| --- | --- | --- | --- | --- |");
    let x = random([64, 10], 3.0);
    let z = random([64, 10], 3.0);
    let classes: Tensor<1, Int> = z.clone().argmax(1).squeeze_dim(1);
    let bits: Tensor<2, Int> = z.clone().greater_scalar(0.0).int();
    let signs = bits.clone() * 2 - 1;
    let float = |tensor: &Tensor<2, Int>, like: &Tensor<2>| self::like(&tensor.clone().float(), like);
    let run = |op: &LossOp, inputs: &[(&str, Input)]| op.forward(inputs).unwrap();

    let (theirs, ours) = (CrossEntropyLossConfig::new().init(&device()), LossOp::new(SoftmaxCrossEntropyLoss::new()));
    compare(
        "cross_entropy",
        ROUNDING,
        &x,
        |x| theirs.forward(x.clone(), classes.clone()),
        |x| run(&ours, &inputs! { pred: x, label: &classes }),
    );

    // burn's makes f32 of its whole labels, and no other logits go with them.
    let only_single = &ROUNDING[..1];
    let theirs = BinaryCrossEntropyLossConfig::new().with_logits(true).init(&device());
    let ours = LossOp::new(SigmoidBinaryCrossEntropyLoss::new());
    compare(
        "binary_cross_entropy",
        only_single,
        &x,
        |x| theirs.forward(x.clone(), bits.clone()),
        |x| run(&ours, &inputs! { pred: x, label: &float(&bits, x) }),
    );

    let ours = LossOp::new(L2Loss::new().weight(2.0));
    let theirs = |x: &Tensor<2>| MseLoss::new().forward(x.clone(), like(&z, x), Reduction::Mean);
    compare("mse", ROUNDING, &x, theirs, |x| run(&ours, &inputs! { pred: x, label: &like(&z, x) }));

    let ours = LossOp::new(L1Loss::new());
    let theirs = |x: &Tensor<2>| LpLossConfig::l1().forward(x.clone(), like(&z, x), Reduction::Mean);
    compare("lp, p = 1", ROUNDING, &x, theirs, |x| run(&ours, &inputs! { pred: x, label: &like(&z, x) }));

    let ours = LossOp::new(HuberLoss::new().rho(0.5).weight(0.5));
    let theirs = |x: &Tensor<2>| HuberLossConfig::new(0.5).init().forward(x.clone(), like(&z, x), Reduction::Mean);
    compare("huber", ROUNDING, &x, theirs, |x| run(&ours, &inputs! { pred: x, label: &like(&z, x) }));

    let ours = LossOp::new(LogisticLoss::new());
    let theirs = |x: &Tensor<2>| SoftMarginLoss::new().forward(x.clone(), float(&signs, x), Reduction::Mean);
    compare("soft_margin", ROUNDING, &x, theirs, |x| run(&ours, &inputs! { pred: x, label: &float(&signs, x) }));

    let ours = LossOp::new(PoissonNLLLoss::new());
    let counts = z.clone().abs();
    let theirs =
        |x: &Tensor<2>| PoissonNllLossConfig::new().init().forward(x.clone(), like(&counts, x), Reduction::Mean);
    compare("poisson_nll", ROUNDING, &x, theirs, |x| run(&ours, &inputs! { pred: x, target: &like(&counts, x) }));

    // The page's formula has log(z + 1e-12), burn's log z.
    let ours = LossOp::new(KLDivLoss::new());
    let (log_p, p) = (log_softmax(x.clone(), 1), softmax(z.clone(), 1));
    let theirs = |x: &Tensor<2>| KLDivLossConfig::new().init().forward(x.clone(), like(&p, x), Reduction::BatchMean);
    compare("kl_div", &[ROUNDING[0], (FloatDType::F64, 1e-10)], &log_p, theirs, |x| {
        run(&ours, &inputs! { pred: x, label: &like(&p, x) })
    });

    let ours = LossOp::new(CosineEmbeddingLoss::new().margin(0.1));
    let sign: Tensor<1, Int> = signs.clone().slice([0..64, 0..1]).squeeze_dim(1);
    let theirs = CosineEmbeddingLossConfig::new().with_margin(0.1).init();
    // In f64 burn's margin is the f32 nearest to 0.1.
    compare(
        "cosine_embedding",
        &[ROUNDING[0], (FloatDType::F64, 1e-8)],
        &x,
        |x| theirs.forward(x.clone(), like(&z, x), sign.clone()),
        |x| run(&ours, &inputs! { input1: x, input2: &like(&z, x), label: &sign }),
    );

    let logits = random([12, 3, 5], 2.0);
    let labels = Tensor::<2, Int>::from_data([[1, 2, 2], [4, 1, 3], [3, 3, 0]], &device());
    let steps = Tensor::<1, Int>::from_data([12, 10, 7], &device());
    let lengths = Tensor::<1, Int>::from_data([3, 3, 2], &device());
    let ours = LossOp::new(CTCLoss::new().layout(Layout::Tnc).blank(Blank::First));
    let theirs = |x: &Tensor<3>| {
        CTCLossConfig::new().init().forward(log_softmax(x.clone(), 2), labels.clone(), steps.clone(), lengths.clone())
    };
    compare("ctc", &[(FloatDType::F32, 1e-5), (FloatDType::F64, 1e-13)], &logits, theirs, |x| {
        run(&ours, &inputs! { pred: x, label: &labels, pred_lengths: &steps, label_lengths: &lengths })
    });
}
