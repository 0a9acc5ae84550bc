//! The recipe for frameworks without custom operations: the tape's gradients are those of the loss, through what comes before
//! and under what comes behind.

#[path = "../examples/any_framework/recipe.rs"]
mod recipe;
#[path = "../examples/any_framework/tape.rs"]
mod tape;

use lossjit::losses::SoftmaxCrossEntropyLoss;
use lossjit::{HybridBlock, inputs};
use ndarray::{Array1, Array2, array};
use tape::Tape;

#[test]
fn gradients_reach_what_comes_before() {
    let x = Array2::from_shape_fn((5, 3), |(i, j)| ((i * 7 + j * 3) % 11) as f32 * 0.2 - 1.0);
    let w = Array2::from_shape_fn((3, 4), |(i, j)| ((i * 5 + j * 2) % 7) as f32 * 0.3 - 0.9);
    let label = array![0i32, 3, 1, 2, 2];
    let block = HybridBlock::new(SoftmaxCrossEntropyLoss::new()).hybridize();
    let total = |w: &Array2<f32>, scale: f32| {
        let tape = Tape::default();
        let w = tape.var(w.clone());
        let loss = recipe::on_tape(&tape, &block, tape.var(x.clone()).matmul(w).tanh(), &label).unwrap();
        let scaled = loss.mul(tape.var(Array2::from_elem((1, 1), scale)));
        (loss.value()[[0, 0]], scaled.gradients(&[w]).remove(0))
    };
    let (value, grad) = total(&w, 1.0);
    let scores = x.dot(&w).mapv(f32::tanh);
    let each = block.forward::<f32>(&inputs! { pred: &scores, label: &label }).unwrap();
    assert!((value - each.mean().unwrap()).abs() < 1e-6);
    // By hand: x' · (g ∘ (1 − tanh²)), with g the gradient of the mean.
    let head = Array1::from_elem(5, 0.2f32);
    let given = inputs! { pred: &scores, label: &label };
    let grads = block.backward::<f32>(&given, lossjit::View::from(&head), &["pred"]).unwrap();
    let by_pred: Array2<f32> = grads[0].1.clone().into_dimensionality().unwrap();
    let wanted = x.t().dot(&(by_pred * scores.mapv(|s| 1.0 - s * s)));
    let close = |a: &Array2<f32>, b: &Array2<f32>| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    assert!(close(&grad, &wanted), "{grad} {wanted}");
    // What comes behind multiplies it.
    assert!(close(&total(&w, -3.0).1, &(wanted * -3.0)));
}
