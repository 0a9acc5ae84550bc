//! How do I write a loss of my own? Declare its formula; value, gradients and machine code follow.
//!
//! The focal loss of Lin et al., "Focal Loss for Dense Object Detection" (2017), eq. 4: `−(1 − p)^γ · log p`, with
//! `p = softmax(pred)[label]`. Run with `cargo run --release --example custom_loss`.

use lossjit::{Expr, HybridBlock, Loss, Result, Tracer, inputs};
use ndarray::{Array2, array};

struct FocalLoss {
    gamma: i32,
}

impl Loss for FocalLoss {
    fn name(&self) -> &str {
        "focal"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let [n, c] = t.axes(["n", "c"])?;
        let p = t.float("pred", &[n, c])?.softmax(c).at(c, t.class("label", &[n])?);
        Ok(-(1.0 - p).powi(self.gamma) * p.ln())
    }
}

fn main() -> Result<()> {
    let pred = array![[2.0f64, -1.0, 0.5], [0.0, 100.0, -100.0], [0.3, 0.1, 0.2]];
    let label = array![0i32, 2, 1];
    let focal = HybridBlock::new(FocalLoss { gamma: 2 }).hybridize();
    let result = focal.value_and_grad::<f64>(&inputs! { pred: &pred, label: &label }, &["pred"])?;
    let grad = result.grad("pred").expect("it was asked for");
    println!("loss      {:.6}", result.value);
    println!("gradient  {grad:.6}");

    let worst = largest_error(&pred, |p| Ok(focal.forward::<f64>(&inputs! { pred: p, label: &label })?.sum()), grad)?;
    println!("largest difference from central differences: {worst:.1e}");
    assert!(worst < 1e-7, "the gradient is wrong");
    Ok(())
}

/// The gradient beside `(f(x + h) − f(x − h)) / 2h`, one element at a time.
fn largest_error(
    at: &Array2<f64>,
    f: impl Fn(&Array2<f64>) -> Result<f64>,
    grad: &ndarray::ArrayD<f64>,
) -> Result<f64> {
    const STEP: f64 = 1e-6;
    let mut worst = 0f64;
    for (index, _) in at.indexed_iter() {
        let moved = |by: f64| {
            let mut x = at.clone();
            x[index] += by;
            f(&x)
        };
        let slope = (moved(STEP)? - moved(-STEP)?) / (2.0 * STEP);
        worst = worst.max((grad[[index.0, index.1]] - slope).abs());
    }
    Ok(worst)
}
