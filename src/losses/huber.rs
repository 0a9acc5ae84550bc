//! HuberLoss.

use super::Loss;
use super::axes::{pred_and_label, unusable};
use super::parameters::parameters;
use super::reduce::{Of, Reduction, weigh};
use crate::error::Result;
use crate::trace::{Expr, Tracer};

parameters! {
    /// Smoothed L1: with `a = |label − pred|`, `a − rho/2` where `a > rho` and `a²/(2·rho)` elsewhere, times `weight`,
    /// averaged over all axes but the batch's.
    ///
    /// | input | shape |
    /// | --- | --- |
    /// | `pred` | any |
    /// | `label` | as many elements; it takes `pred`'s shape |
    /// | `sample_weight` | optional; broadcasts to `pred`'s shape |
    ///
    /// Result: `(pred.shape[batch_axis],)`. Gradient: `∂/∂pred = weight/m · sign(pred − label)` where `a > rho`, else
    /// `weight/m · (pred − label)/rho`, with m elements averaged; `∂/∂label` is its negative.
    ///
    /// Errors: `rho` must be positive and finite.
    ///
    /// Source: P. J. Huber, "Robust Estimation of a Location Parameter", Ann. Math. Statist. 35 (1964);
    /// `mxnet.gluon.loss.HuberLoss` (MXNet 1.x).
    ///
    /// ```
    /// use lossjit::{HybridBlock, inputs, losses::HuberLoss};
    /// use ndarray::array;
    ///
    /// let (pred, label) = (array![[0.0f64, 0.0]], array![[0.5, 3.0]]);
    /// let loss = HybridBlock::new(HuberLoss::new()).hybridize();
    /// let result = loss.value_and_grad::<f64>(&inputs! { pred: &pred, label: &label }, &["pred"])?;
    /// assert_eq!(result.value, array![(0.125 + 2.5) / 2.0].into_dyn());
    /// assert_eq!(result.grad("pred").unwrap(), &array![[-0.25, -0.5]].into_dyn());
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    pub struct HuberLoss {
        /// Where the quadratic part ends.
        rho: f64 = 1.0,
        /// A factor of the loss; `none` is 1.
        weight: Option<f64> = None,
        /// The axis of `pred` that the result keeps; negative counts from the back.
        batch_axis: i64 = 0,
        /// What becomes of the losses of the batch.
        reduction: Reduction = Reduction::None,
    }
}

impl Loss for HuberLoss {
    fn name(&self) -> &str {
        "huber"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let rho = self.rho;
        if !(rho > 0.0 && rho.is_finite()) {
            return Err(unusable(t.name(), "rho", rho, "must be positive and finite"));
        }
        let (axes, pred, label) = pred_and_label(t, self.batch_axis)?;
        let a = (label - pred).abs();
        let loss = a.gt(rho).select(a - rho / 2.0, a.square() / (2.0 * rho));
        let loss = weigh(t, loss, &[axes.every()], self.weight)?;
        loss.reduce(t, &axes, Of::Mean, self.reduction)
    }
}
