//! How do I train with lossjit in candle? Two lines: the loss is made once, and called where candle's was.
//!
//! A classifier of handwritten digits, trained twice from the same weights on the same batches, with candle's
//! cross-entropy and with lossjit's. Run with `cargo run --release -p lossjit-candle --example digits_in_candle`; `-- --svg FILE` draws
//! the loss curves.

#[path = "../../digits.rs"]
mod digits;

use candle_core::{Device, Result, Tensor, Var};
use candle_nn::{Linear, Module, Optimizer, SGD};
use digits::{CLASSES, Digits, EPOCHS, HIDDEN, PIXELS, RATE, Run, progress, report, weights};
use lossjit_candle::losses::SoftmaxCrossEntropyLoss;
use lossjit_candle::{LossOp, inputs};

const CPU: &Device = &Device::Cpu;

struct Classifier {
    hidden: Linear,
    output: Linear,
    variables: Vec<Var>,
}

impl Classifier {
    fn new() -> Result<Self> {
        let mut variables = vec![];
        let mut layer = |inputs, outputs| {
            let weight = Var::from_vec(weights(inputs, outputs), (outputs, inputs), CPU)?;
            let bias = Var::from_vec(vec![0f32; outputs], outputs, CPU)?;
            let linear = Linear::new(weight.as_tensor().clone(), Some(bias.as_tensor().clone()));
            variables.extend([weight, bias]);
            Ok::<_, candle_core::Error>(linear)
        };
        let (hidden, output) = (layer(PIXELS, HIDDEN)?, layer(HIDDEN, CLASSES)?);
        Ok(Self { hidden, output, variables })
    }

    fn forward(&self, digits: &Digits) -> Result<Tensor> {
        let pixels = Tensor::from_slice(&digits.pixels, (digits.labels.len(), PIXELS), CPU)?;
        self.output.forward(&self.hidden.forward(&pixels)?.relu()?)
    }
}

/// Trains with a loss: a function of logits and labels.
fn train(
    name: &'static str,
    [train, test]: &[Digits; 2],
    loss: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<Run> {
    let model = Classifier::new()?;
    let mut optimizer = SGD::new(model.variables.clone(), RATE)?;
    let mut losses = vec![];
    let bar = progress(name, train);
    for epoch in 0..EPOCHS {
        for batch in train.batches(epoch) {
            let labels = Tensor::from_slice(&batch.labels, batch.labels.len(), CPU)?;
            let loss = loss(&model.forward(&batch)?, &labels)?;
            optimizer.backward_step(&loss)?;
            losses.push(loss.to_scalar()?);
            bar.inc(1);
        }
    }
    bar.finish();
    let accuracy = test.accuracy(&model.forward(test)?.flatten_all()?.to_vec1()?);
    Ok(Run { name, losses, accuracy })
}

fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
    let data = Digits::load()?;
    let theirs = train("candle", &data, candle_nn::loss::cross_entropy)?;

    let criterion = LossOp::new(SoftmaxCrossEntropyLoss::new());
    let ours = train("lossjit", &data, |logits, labels| {
        criterion.forward(&inputs! { pred: logits, label: labels })?.mean_all()
    })?;
    report(&ours, &theirs)
}
