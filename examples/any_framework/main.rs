//! How do I use it in a framework that has no custom operations? By a sum that has the loss's gradient: `recipe.rs`. The
//! framework here is a tape of a hundred lines.
//!
//! Run with `cargo run --release --example any_framework`.

mod recipe;
mod tape;

use lossjit::{HybridBlock, Result, losses::SoftmaxCrossEntropyLoss};
use ndarray::{Array2, array};
use tape::Tape;

fn main() -> Result<()> {
    // Exclusive or: no straight line parts it, a hidden layer does.
    let points = array![[0f32, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 1.0]];
    let label = array![0i32, 1, 1, 0];
    let loss = HybridBlock::new(SoftmaxCrossEntropyLoss::new()).hybridize();
    let mut first = Array2::from_shape_fn((3, 8), |(i, j)| ((i * 8 + j * 5) % 7) as f32 * 0.3 - 0.9);
    let mut second = Array2::from_shape_fn((8, 2), |(i, j)| ((i * 3 + j * 4) % 5) as f32 * 0.3 - 0.6);
    let mut last = f32::INFINITY;
    for step in 0..=400 {
        let tape = Tape::default();
        let (w1, w2) = (tape.var(first.clone()), tape.var(second.clone()));
        let pred = tape.var(points.clone()).matmul(w1).tanh().matmul(w2);
        let mean = recipe::on_tape(&tape, &loss, pred, &label)?;
        last = mean.value()[[0, 0]];
        if step % 100 == 0 {
            println!("step {step:3}  loss {last:.4}");
        }
        let grads = mean.gradients(&[w1, w2]);
        first.scaled_add(-0.5, &grads[0]);
        second.scaled_add(-0.5, &grads[1]);
    }
    assert!(last < 0.05, "the four points should be parted");
    Ok(())
}
