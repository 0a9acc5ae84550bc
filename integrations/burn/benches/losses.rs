//! Time and peak memory of forward and backward, burn's losses beside lossjit's: `cargo bench -p lossjit-burn`. The tables are
//! those of the README; `RAYON_NUM_THREADS=1` gives both one thread, 2 two.

#[path = "../../measure.rs"]
mod measure;

use burn::nn::loss::{
    BinaryCrossEntropyLossConfig, CTCLossConfig, CosineEmbeddingLossConfig, CrossEntropyLossConfig, HuberLossConfig,
    KLDivLossConfig, LpLossConfig, MseLoss, PoissonNllLossConfig, Reduction, SoftMarginLoss,
};
use burn::tensor::activation::{log_softmax, softmax};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use lossjit_burn::losses::*;
use lossjit_burn::{LossOp, inputs};
use measure::{SHAPES, measure, table};

fn device() -> Device {
    Device::flex().autodiff()
}

fn random<const D: usize>(shape: [usize; D]) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), &device())
}

/// Whole numbers below `bound`.
fn classes<const D: usize>(shape: [usize; D], bound: usize) -> Tensor<D, Int> {
    let values = (0..shape.iter().product()).map(|i| (i * 7919 % bound) as i64).collect();
    Tensor::from_data(TensorData::new::<i64, _>(values, shape), &device())
}

/// Forward and backward of a loss at some logits.
fn step<const D: usize>(logits: &Tensor<D>, loss: impl Fn(&Tensor<D>) -> Tensor<1>) {
    let grads = loss(logits).mean().backward();
    assert!(logits.grad(&grads).is_some());
}

/// Both losses at the same logits, with what else they take.
fn compare<L>(
    name: &str,
    labels: impl Fn([usize; 2]) -> L,
    theirs: impl Fn(&Tensor<2>, &L) -> Tensor<1>,
    ours: impl Fn(&Tensor<2>, &L) -> lossjit_burn::lossjit::Result<Tensor<1>>,
) {
    for (rows, columns) in SHAPES {
        let (x, y) = (random([rows, columns]).require_grad(), labels([rows, columns]));
        let theirs = || step(&x, |x| theirs(x, &y));
        let ours = || step(&x, |x| ours(x, &y).expect("the loss takes these tensors"));
        measure(name, &format!("{rows} × {columns}"), theirs, ours);
    }
}

fn main() {
    table("burn");
    let (theirs, op) = (CrossEntropyLossConfig::new().init(&device()), LossOp::new(SoftmaxCrossEntropyLoss::new()));
    compare(
        "CrossEntropyLoss",
        |[rows, columns]| classes([rows], columns),
        |x, y| theirs.forward(x.clone(), y.clone()),
        |x, y| op.forward(&inputs! { pred: x, label: y }),
    );

    let theirs = BinaryCrossEntropyLossConfig::new().with_logits(true).init(&device());
    let op = LossOp::new(SigmoidBinaryCrossEntropyLoss::new());
    compare(
        "BinaryCrossEntropyLoss",
        |shape| (classes(shape, 2), classes(shape, 2).float()),
        |x, (whole, _)| theirs.forward(x.clone(), whole.clone()),
        |x, (_, floats)| op.forward(&inputs! { pred: x, label: floats }),
    );

    let op = LossOp::new(L2Loss::new().weight(2.0));
    let theirs = |x: &Tensor<2>, y: &Tensor<2>| MseLoss::new().forward(x.clone(), y.clone(), Reduction::Mean);
    compare("MseLoss", random, theirs, |x, y| op.forward(&inputs! { pred: x, label: y }));

    let op = LossOp::new(L1Loss::new());
    let theirs = |x: &Tensor<2>, y: &Tensor<2>| LpLossConfig::l1().forward(x.clone(), y.clone(), Reduction::Mean);
    compare("LpLoss, p = 1", random, theirs, |x, y| op.forward(&inputs! { pred: x, label: y }));

    let (theirs, op) = (HuberLossConfig::new(1.0).init(), LossOp::new(HuberLoss::new()));
    let theirs = |x: &Tensor<2>, y: &Tensor<2>| theirs.forward(x.clone(), y.clone(), Reduction::Mean);
    compare("HuberLoss", random, theirs, |x, y| op.forward(&inputs! { pred: x, label: y }));

    let op = LossOp::new(LogisticLoss::new());
    let signs = |shape| (classes::<2>(shape, 2) * 2 - 1).float();
    let theirs = |x: &Tensor<2>, y: &Tensor<2>| SoftMarginLoss::new().forward(x.clone(), y.clone(), Reduction::Mean);
    compare("SoftMarginLoss", signs, theirs, |x, y| op.forward(&inputs! { pred: x, label: y }));

    let (theirs, op) = (PoissonNllLossConfig::new().init(), LossOp::new(PoissonNLLLoss::new()));
    let counts = |shape| classes::<2>(shape, 5).float();
    let theirs = |x: &Tensor<2>, y: &Tensor<2>| theirs.forward(x.clone(), y.clone(), Reduction::Mean);
    compare("PoissonNllLoss", counts, theirs, |x, y| op.forward(&inputs! { pred: x, target: y }));

    let (theirs, op) = (KLDivLossConfig::new().init(), LossOp::new(KLDivLoss::new()));
    let theirs = |x: &Tensor<2>, y: &Tensor<2>| theirs.forward(x.clone(), y.clone(), Reduction::BatchMean);
    let probabilities = |shape| softmax(random::<2>(shape), 1);
    compare("KLDivLoss", probabilities, theirs, |x, y| op.forward(&inputs! { pred: x, label: y }));

    let (theirs, op) = (CosineEmbeddingLossConfig::new().init(), LossOp::new(CosineEmbeddingLoss::new()));
    compare(
        "CosineEmbeddingLoss",
        |[rows, columns]| (random([rows, columns]), classes([rows], 2) * 2 - 1),
        |x, (other, signs)| theirs.forward(x.clone(), other.clone(), signs.clone()),
        |x, (other, signs)| op.forward(&inputs! { input1: x, input2: other, label: signs }),
    );

    let theirs = CTCLossConfig::new().init();
    let op = LossOp::new(CTCLoss::new().layout(Layout::Tnc).blank(Blank::First));
    for (steps, batch, symbols, letters) in [(20, 4, 11, 5), (100, 16, 32, 20), (200, 32, 128, 40)] {
        let x = random([steps, batch, symbols]).require_grad();
        let y = classes([batch, letters], symbols - 1) + 1;
        let all = |length: usize| Tensor::<1, Int>::full([batch], length as i64, &device());
        let (steps_of, letters_of) = (all(steps), all(letters));
        let theirs =
            |x: &Tensor<3>| theirs.forward(log_softmax(x.clone(), 2), y.clone(), steps_of.clone(), letters_of.clone());
        let given = |x: &Tensor<3>| inputs! { pred: x, label: &y, pred_lengths: &steps_of, label_lengths: &letters_of };
        let ours = |x: &Tensor<3>| op.forward(&given(x)).expect("the loss takes these tensors");
        let shape = format!("{steps} × {batch} × {symbols}, {letters} labels");
        measure("CTCLoss", &shape, || step(&x, theirs), || step(&x, ours));
    }
}
