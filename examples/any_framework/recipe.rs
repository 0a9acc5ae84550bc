//! The recipe: any loss on any tape, by what every framework has, `sum`, `·` and `detach`.

use super::tape::{Tape, Var};
use lossjit::{HybridBlock, Loss, Result, View, inputs};
use ndarray::{Array1, Array2};

/// The mean of a loss of `pred` and `label` as a number on the tape.
///
/// lossjit gives the value v and the gradient g at once. To the tape, `s = Σ pred · detach(g)` is a sum like any other, whose
/// gradient by `pred` is g; `s − detach(s)` is 0 with that gradient, and `v + s − detach(s)` is the loss, with its
/// gradient. The head gradient that comes from above multiplies all of it, as it should.
pub fn on_tape<'t>(
    tape: &'t Tape,
    loss: &HybridBlock<impl Loss>,
    pred: Var<'t>,
    label: &Array1<i32>,
) -> Result<Var<'t>> {
    let scores = pred.value();
    let mean = Array1::from_elem(scores.nrows(), 1.0 / scores.nrows() as f32);
    let given = inputs! { pred: &scores, label: label };
    let result = loss.value_and_grad_with_head::<f32>(&given, View::from(&mean), &["pred"])?;
    let grad = result.grad("pred").expect("it was asked for").clone();
    let grad: Array2<f32> = grad.into_dimensionality().expect("it has the shape of pred");

    let value = tape.var(Array2::from_elem((1, 1), (result.value * mean).sum()));
    let surrogate = pred.mul(tape.var(grad)).sum();
    Ok(value.add(surrogate.sub(surrogate.detach())))
}
