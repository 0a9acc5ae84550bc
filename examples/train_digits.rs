//! How do I train with it, without any framework? Handwritten digits, two layers in plain ndarray, softmax cross-entropy.
//!
//! `cargo run --release --example train_digits -- --svg curve.svg`. The last line says how many of the pictures that were
//! held out are read right.

mod support;

use lossjit::losses::{Reduction, SoftmaxCrossEntropyLoss};
use lossjit::{HybridBlock, inputs};
use support::{Digits, Layer, Outcome, Watch, best};

const EPOCHS: usize = 30;
const BATCH: usize = 32;
const RATE: f32 = 0.05;

fn main() -> Outcome<()> {
    let [train, test] = Digits::load()?;
    let mut random = fastrand::Rng::with_seed(1);
    let (mut first, mut second) = (Layer::new(64, 64, &mut random), Layer::new(64, 10, &mut random));
    let loss = HybridBlock::new(SoftmaxCrossEntropyLoss::new().reduction(Reduction::Mean)).hybridize();

    let mut order: Vec<usize> = (0..train.labels.len()).collect();
    let mut watch = Watch::new("digits, softmax cross-entropy", EPOCHS * order.len().div_ceil(BATCH))?;
    for _ in 0..EPOCHS {
        random.shuffle(&mut order);
        for which in order.chunks(BATCH) {
            let batch = train.pick(which);
            let hidden = first.forward(&batch.pixels).mapv(f32::tanh);
            let pred = second.forward(&hidden);
            let result = loss.value_and_grad::<f32>(&inputs! { pred: &pred, label: &batch.labels }, &["pred"])?;
            let grad = result.grad("pred").expect("it was asked for").view().into_dimensionality()?.to_owned();
            let by_hidden = second.step(&hidden, &grad, RATE);
            first.step(&batch.pixels, &(by_hidden * hidden.mapv(|h| 1.0 - h * h)), RATE);
            watch.step(result.value[[0]]);
        }
    }
    watch.finish()?;

    let scores = second.forward(&first.forward(&test.pixels).mapv(f32::tanh));
    let right = best(&scores).iter().zip(&test.labels).filter(|(found, label)| **found == **label as usize).count();
    let accuracy = 100.0 * right as f64 / test.labels.len() as f64;
    let (compiled, calls) = (loss.cache_statistics().misses, loss.cache_statistics().hits);
    println!("test accuracy {accuracy:.2} % of {} digits; {calls} calls of {compiled} programs", test.labels.len());
    if accuracy < 95.0 { Err("it should be 95 % at least".into()) } else { Ok(()) }
}
