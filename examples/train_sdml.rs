//! How do I learn embeddings? Sentences and their paraphrases, projected to a few dimensions so that each sentence finds its
//! paraphrase there: SDML takes all other pairs of the batch as what is not alike.
//!
//! `cargo run --release --example train_sdml -- --svg curve.svg`. The last line says how many sentences find their paraphrase
//! among all, before and after training.

mod support;

use lossjit::losses::{Reduction, SDMLLoss};
use lossjit::{HybridBlock, inputs};
use ndarray::{Array2, s};
use support::{Layer, Outcome, Watch, best, paraphrases};

const STEPS: usize = 400;
const DIMENSIONS: usize = 8;
const RATE: f32 = 0.05;
/// The pairs to train with; the others are held out.
const TRAIN: usize = 32;

/// How many rows of `x1` have the row of the same place as their nearest among all of `x2`, of those from `first` on.
fn found(x1: &Array2<f32>, x2: &Array2<f32>, first: usize) -> f64 {
    let squares = |x: &Array2<f32>| x.mapv(|v| v * v).sum_axis(ndarray::Axis(1));
    // −|a − b|² but for |a|², which is the same for all of x2.
    let nearness = x1.dot(&x2.t()) * 2.0 - &squares(x2);
    let right = best(&nearness).iter().enumerate().skip(first).filter(|(row, nearest)| row == *nearest).count();
    100.0 * right as f64 / (x1.nrows() - first) as f64
}

fn main() -> Outcome<()> {
    let [x1, x2] = paraphrases()?;
    let mut random = fastrand::Rng::with_seed(3);
    let mut projection = Layer::new(x1.ncols(), DIMENSIONS, &mut random);
    projection.weights *= 4.0;
    let accuracy = |projection: &Layer, first| found(&projection.forward(&x1), &projection.forward(&x2), first);
    let before = [accuracy(&projection, 0), accuracy(&projection, TRAIN)];

    let loss = HybridBlock::new(SDMLLoss::new().smoothing_parameter(0.1).reduction(Reduction::Mean)).hybridize();
    let (train1, train2) = (x1.slice(s![..TRAIN, ..]).to_owned(), x2.slice(s![..TRAIN, ..]).to_owned());
    let mut watch = Watch::new("paraphrases, SDML", STEPS)?;
    for _ in 0..STEPS {
        let (p1, p2) = (projection.forward(&train1), projection.forward(&train2));
        let result = loss.value_and_grad::<f32>(&inputs! { x1: &p1, x2: &p2 }, &["x1", "x2"])?;
        for (x, name) in [(&train1, "x1"), (&train2, "x2")] {
            let grad = result.grad(name).expect("it was asked for").view().into_dimensionality()?.to_owned();
            projection.step(x, &grad, RATE);
        }
        watch.step(result.value[[0]]);
    }
    watch.finish()?;

    let after = [accuracy(&projection, 0), accuracy(&projection, TRAIN)];
    println!(
        "{:.1} % of the sentences find their paraphrase in {DIMENSIONS} dimensions, {:.1} % before training; of those held \
         out {:.1} %, {:.1} % before",
        after[0], before[0], after[1], before[1]
    );
    if after[0] <= before[0] { Err("training should help".into()) } else { Ok(()) }
}
