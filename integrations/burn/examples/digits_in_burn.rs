//! How do I train with lossjit in burn? Two lines: the loss is made once, and called where burn's was.
//!
//! A classifier of handwritten digits, trained twice from the same weights on the same batches, with burn's
//! cross-entropy and with lossjit's. Run with `cargo run --release -p lossjit-burn --example digits_in_burn`; `-- --svg FILE` draws the
//! loss curves.

#[path = "../../digits.rs"]
mod digits;

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{GradientsParams, SgdConfig};
use burn::tensor::activation::relu;
use burn::tensor::{Device, Int, Tensor, TensorData};
use digits::{CLASSES, Digits, EPOCHS, HIDDEN, PIXELS, RATE, Run, progress, report, weights};
use lossjit_burn::losses::SoftmaxCrossEntropyLoss;
use lossjit_burn::{LossOp, inputs};
use std::error::Error;

#[derive(Module, Debug)]
struct Classifier {
    hidden: Linear,
    output: Linear,
}

impl Classifier {
    fn new(device: &Device) -> Self {
        let layer = |inputs, outputs| {
            let weight = TensorData::new(weights(inputs, outputs), [inputs, outputs]);
            let bias = TensorData::new(vec![0f32; outputs], [outputs]);
            Linear { weight: Param::from_data(weight, device), bias: Some(Param::from_data(bias, device)) }
        };
        Self { hidden: layer(PIXELS, HIDDEN), output: layer(HIDDEN, CLASSES) }
    }

    fn forward(&self, digits: &Digits, device: &Device) -> Tensor<2> {
        let pixels = TensorData::new(digits.pixels.clone(), [digits.labels.len(), PIXELS]);
        self.output.forward(relu(self.hidden.forward(Tensor::from_data(pixels, device))))
    }
}

/// Trains with a loss: a function of logits and labels.
fn train(
    name: &'static str,
    [train, test]: &[Digits; 2],
    loss: impl Fn(Tensor<2>, Tensor<1, Int>) -> lossjit::Result<Tensor<1>>,
) -> Result<Run, Box<dyn Error>> {
    let device = Device::flex().autodiff();
    let mut model = Classifier::new(&device);
    let mut optimizer = SgdConfig::new().init();
    let mut losses = vec![];
    let bar = progress(name, train);
    for epoch in 0..EPOCHS {
        for batch in train.batches(epoch) {
            let labels = Tensor::from_data(TensorData::new(batch.labels.clone(), [batch.labels.len()]), &device);
            let loss = loss(model.forward(&batch, &device), labels)?;
            let grads = GradientsParams::from_grads(loss.backward(), &model);
            model = optimizer.step(RATE, model, grads);
            losses.push(loss.into_scalar());
            bar.inc(1);
        }
    }
    bar.finish();
    let scores = model.forward(test, &device).into_data().try_into_vec::<f32>().expect("scores are f32");
    Ok(Run { name, losses, accuracy: test.accuracy(&scores) })
}

fn main() -> Result<(), Box<dyn Error>> {
    let data = Digits::load()?;
    let criterion = CrossEntropyLossConfig::new().init(&Device::flex());
    let theirs = train("burn", &data, |logits, labels| Ok(criterion.forward(logits, labels)))?;

    let criterion = LossOp::new(SoftmaxCrossEntropyLoss::new());
    let ours = train("lossjit", &data, |logits, labels| {
        Ok(criterion.forward(&inputs! { pred: &logits, label: &labels })?.mean())
    })?;
    report(&ours, &theirs)
}
