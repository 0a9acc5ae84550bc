//! Time and peak memory of forward and backward, burn's losses beside lossjit's: `cargo bench -p lossjit-burn`. The tables are
//! those of the README; `RAYON_NUM_THREADS=1` gives both one thread.

#[path = "../../measure.rs"]
mod measure;

use burn::nn::loss::{BinaryCrossEntropyLossConfig, CrossEntropyLossConfig, HuberLossConfig, MseLoss, Reduction};
use burn::tensor::{Device, Distribution, Int, Tensor, TensorData};
use lossjit_burn::losses::{HuberLoss, L2Loss, SigmoidBinaryCrossEntropyLoss, SoftmaxCrossEntropyLoss};
use lossjit_burn::{LossOp, inputs};
use measure::{SHAPES, measure, table};

/// Forward and backward of a loss at some logits.
fn step(logits: &Tensor<2>, loss: impl Fn(&Tensor<2>) -> Tensor<1>) {
    let grads = loss(logits).mean().backward();
    assert!(logits.grad(&grads).is_some());
}

fn main() {
    table("burn");
    let device = Device::flex().autodiff();
    let random = |rows, columns| Tensor::<2>::random([rows, columns], Distribution::Normal(0.0, 1.0), &device);
    let logits = |rows, columns| random(rows, columns).require_grad();

    let (criterion, op) = (CrossEntropyLossConfig::new().init(&device), LossOp::new(SoftmaxCrossEntropyLoss::new()));
    for (rows, columns) in SHAPES {
        let labels: Vec<i64> = (0..rows).map(|i| (i * 7919 % columns) as i64).collect();
        let y = Tensor::<1, Int>::from_data(TensorData::new(labels, [rows]), &device);
        let x = logits(rows, columns);
        let theirs = || step(&x, |x| criterion.forward(x.clone(), y.clone()));
        let ours = || step(&x, |x| op.forward(&inputs! { pred: x, label: &y }).unwrap());
        measure("CrossEntropyLoss", rows, columns, theirs, ours);
    }

    let criterion = BinaryCrossEntropyLossConfig::new().with_logits(true).init(&device);
    let op = LossOp::new(SigmoidBinaryCrossEntropyLoss::new());
    for (rows, columns) in SHAPES {
        let x = logits(rows, columns);
        let whole = random(rows, columns).greater_scalar(0.0).int();
        let y = whole.clone().float();
        let theirs = || step(&x, |x| criterion.forward(x.clone(), whole.clone()));
        let ours = || step(&x, |x| op.forward(&inputs! { pred: x, label: &y }).unwrap());
        measure("BinaryCrossEntropyLoss", rows, columns, theirs, ours);
    }

    let op = LossOp::new(L2Loss::new().weight(2.0));
    for (rows, columns) in SHAPES {
        let (x, y) = (logits(rows, columns), random(rows, columns));
        let theirs = || step(&x, |x| MseLoss::new().forward(x.clone(), y.clone(), Reduction::Mean));
        let ours = || step(&x, |x| op.forward(&inputs! { pred: x, label: &y }).unwrap());
        measure("MseLoss", rows, columns, theirs, ours);
    }

    let (criterion, op) = (HuberLossConfig::new(1.0).init(), LossOp::new(HuberLoss::new()));
    for (rows, columns) in SHAPES {
        let (x, y) = (logits(rows, columns), random(rows, columns));
        let theirs = || step(&x, |x| criterion.forward(x.clone(), y.clone(), Reduction::Mean));
        let ours = || step(&x, |x| op.forward(&inputs! { pred: x, label: &y }).unwrap());
        measure("HuberLoss", rows, columns, theirs, ours);
    }
}
