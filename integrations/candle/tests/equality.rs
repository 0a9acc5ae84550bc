//! lossjit's losses and candle's, on the same tensors: value and gradient. `-- --nocapture` prints the table.

use candle_core::{DType, Device, Result, Tensor, Var};
use candle_nn::loss;
use lossjit_candle::losses::{HuberLoss, L2Loss, SigmoidBinaryCrossEntropyLoss, SoftmaxCrossEntropyLoss};
use lossjit_candle::{LossOp, inputs};

const CPU: &Device = &Device::Cpu;

/// The loss and the gradient that reaches its first argument.
fn evaluate(
    pred: &Tensor,
    label: &Tensor,
    loss: impl Fn(&Tensor, &Tensor) -> Result<Tensor>,
) -> Result<(f64, Vec<f64>)> {
    let pred = Var::from_tensor(pred)?;
    let loss = loss(&pred, label)?;
    let grad = loss.backward()?.get(&pred).expect("a gradient").flatten_all()?;
    Ok((loss.to_dtype(DType::F64)?.to_scalar()?, grad.to_dtype(DType::F64)?.to_vec1()?))
}

/// The mean of a loss of lossjit.
fn mean(op: &LossOp) -> impl Fn(&Tensor, &Tensor) -> Result<Tensor> {
    move |pred, label| op.forward(&inputs! { pred: pred, label: label })?.mean_all()
}

fn largest(x: impl Iterator<Item = f64>) -> f64 {
    x.fold(0.0, |a, b| if b.is_nan() { f64::NAN } else { a.max(b.abs()) })
}

#[test]
fn the_same_where_both_are_right() -> Result<()> {
    let x = Tensor::randn(0f64, 3.0, (64, 10), CPU)?;
    let z = Tensor::randn(0f64, 3.0, (64, 10), CPU)?;
    let bits = z.ge(0.0)?.to_dtype(DType::F64)?;
    let classes = z.argmax(1)?;
    let log_p = candle_nn::ops::log_softmax(&x, 1)?;
    let near = (&x / 3.0)?;
    type Theirs = fn(&Tensor, &Tensor) -> Result<Tensor>;
    type Case<'a> = (&'a str, [f64; 2], &'a Tensor, &'a Tensor, Theirs, LossOp);
    let softmax = SoftmaxCrossEntropyLoss::new;
    // What both round to in f32 and f64; candle's logarithm of 1 − sigmoid loses digits long before it is infinite.
    let (rounding, loses) = ([2e-6, 1e-14], [2e-5, 1e-13]);
    let cases: [Case; 5] = [
        ("cross_entropy", rounding, &x, &classes, loss::cross_entropy, LossOp::new(softmax())),
        ("nll", rounding, &log_p, &classes, loss::nll, LossOp::new(softmax().from_logits(true))),
        (
            "binary_cross_entropy_with_logit",
            loses,
            &near,
            &bits,
            loss::binary_cross_entropy_with_logit,
            LossOp::new(SigmoidBinaryCrossEntropyLoss::new()),
        ),
        ("mse", rounding, &x, &z, loss::mse, LossOp::new(L2Loss::new().weight(2.0))),
        ("huber", rounding, &x, &z, |x, z| loss::huber(x, z, 0.7), LossOp::new(HuberLoss::new().rho(0.7).weight(0.7))),
    ];
    println!("| loss | dtype | value | largest difference of values | of gradients |\n| --- | --- | --- | --- | --- |");
    for (name, tolerances, pred, label, theirs, op) in &cases {
        for (dtype, tolerance) in [DType::F32, DType::F64].into_iter().zip(*tolerances) {
            let pred = pred.to_dtype(dtype)?;
            let label = if label.dtype().is_float() { label.to_dtype(dtype)? } else { (*label).clone() };
            let (value, grad) = evaluate(&pred, &label, mean(op))?;
            let (their_value, their_grad) = evaluate(&pred, &label, theirs)?;
            let apart = (value - their_value).abs();
            let grads_apart = largest(grad.iter().zip(&their_grad).map(|(a, b)| a - b));
            println!("| {name} | {} | {value:.6} | {apart:.1e} | {grads_apart:.1e} |", dtype.as_str());
            assert!(apart <= tolerance * value.abs(), "{name}: {value} and {their_value}");
            assert!(grads_apart <= tolerance * largest(grad.iter().copied()), "{name}: {grads_apart}");
        }
    }
    Ok(())
}

/// At these logits candle's formula, a logarithm of a sigmoid, has no finite value; the loss has.
#[test]
fn where_candle_has_no_value() -> Result<()> {
    let op = LossOp::new(SigmoidBinaryCrossEntropyLoss::new());
    println!(
        "| logit | label | candle: loss | gradient | lossjit: loss | gradient |\n| --- | --- | --- | --- | --- | --- |"
    );
    for (logit, label, loss, slope) in [(-120f32, 1f32, 120.0, -1.0), (120.0, 0.0, 120.0, 1.0), (30.0, 1.0, 0.0, 0.0)] {
        let (pred, target) = (Tensor::new(&[[logit]], CPU)?, Tensor::new(&[[label]], CPU)?);
        let (value, grad) = evaluate(&pred, &target, mean(&op))?;
        let (their_value, their_grad) = evaluate(&pred, &target, loss::binary_cross_entropy_with_logit)?;
        println!("| {logit} | {label} | {their_value} | {} | {value:?} | {:?} |", their_grad[0], grad[0]);
        assert!((value - loss).abs() < 1e-12 && (grad[0] - slope).abs() < 1e-12, "{value} {}", grad[0]);
        assert!(!their_value.is_finite() || !their_grad[0].is_finite(), "candle has one: {their_value}");
    }
    Ok(())
}
