//! Time and peak memory of forward and backward, candle's losses beside lossjit's: `cargo bench -p lossjit-candle`. The tables
//! are those of the README; `RAYON_NUM_THREADS=1` gives lossjit one thread, as candle's elementwise operations have in any case,
//! 2 gives it two.

#[path = "../../measure.rs"]
mod measure;

use candle_core::{Device, Result, Tensor, Var};
use candle_nn::loss;
use lossjit_candle::losses::{HuberLoss, L2Loss, SigmoidBinaryCrossEntropyLoss, SoftmaxCrossEntropyLoss};
use lossjit_candle::{LossOp, inputs};
use measure::{SHAPES, measure, table};

type Loss<'a> = &'a dyn Fn(&Tensor, &Tensor) -> Result<Tensor>;

/// Both losses on the same tensors, forward and backward.
fn compare(name: &str, labels: impl Fn(usize, usize) -> Result<Tensor>, theirs: Loss, ours: Loss) -> Result<()> {
    for (rows, columns) in SHAPES {
        let pred = Var::randn(0f32, 1.0, (rows, columns), &Device::Cpu)?;
        let label = labels(rows, columns)?;
        let step = |loss: Loss| {
            let grads = loss(&pred, &label).and_then(|loss| loss.backward()).expect("both losses take these tensors");
            assert!(grads.get(&pred).is_some());
        };
        measure(name, &format!("{rows} × {columns}"), || step(theirs), || step(ours));
    }
    Ok(())
}

fn main() -> Result<()> {
    table("candle");
    let cpu = &Device::Cpu;
    let floats = |rows, columns| Tensor::randn(0f32, 1.0, (rows, columns), cpu);
    let zeros_and_ones = |rows, columns| Tensor::rand(0f32, 1.0, (rows, columns), cpu)?.round();
    let classes = |rows: usize, columns: usize| {
        let labels: Vec<u32> = (0..rows).map(|i| (i * 7919 % columns) as u32).collect();
        Tensor::from_vec(labels, rows, cpu)
    };

    let op = LossOp::new(SoftmaxCrossEntropyLoss::new());
    let ours = |x: &Tensor, y: &Tensor| op.forward(&inputs! { pred: x, label: y })?.mean_all();
    compare("cross_entropy", classes, &loss::cross_entropy, &ours)?;

    let op = LossOp::new(SoftmaxCrossEntropyLoss::new().from_logits(true));
    let ours = |x: &Tensor, y: &Tensor| op.forward(&inputs! { pred: x, label: y })?.mean_all();
    compare("nll", classes, &loss::nll, &ours)?;

    let op = LossOp::new(SigmoidBinaryCrossEntropyLoss::new());
    let ours = |x: &Tensor, y: &Tensor| op.forward(&inputs! { pred: x, label: y })?.mean_all();
    compare("binary_cross_entropy_with_logit", zeros_and_ones, &loss::binary_cross_entropy_with_logit, &ours)?;

    let op = LossOp::new(L2Loss::new().weight(2.0));
    let ours = |x: &Tensor, y: &Tensor| op.forward(&inputs! { pred: x, label: y })?.mean_all();
    compare("mse", floats, &loss::mse, &ours)?;

    let op = LossOp::new(HuberLoss::new());
    let ours = |x: &Tensor, y: &Tensor| op.forward(&inputs! { pred: x, label: y })?.mean_all();
    compare("huber", floats, &|x, y| loss::huber(x, y, 1.0), &ours)
}
