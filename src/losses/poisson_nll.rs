//! PoissonNLLLoss.

use super::Loss;
use super::axes::{Axes, finite, like_pred};
use super::parameters::parameters;
use super::reduce::{Of, Reduction, weigh};
use crate::error::Result;
use crate::trace::{Expr, Tracer};
use std::f64::consts::PI;

parameters! {
    /// The negative log-likelihood of counts under a Poisson distribution: `exp(pred) − target · pred`, or with
    /// `from_logits(false)` `pred − target · log(pred + epsilon)`, times `weight`, averaged over everything.
    ///
    /// | input | shape |
    /// | --- | --- |
    /// | `pred` | any: the logarithms of the expected counts, or with `from_logits(false)` the expected counts |
    /// | `target` | as many elements; it takes `pred`'s shape: the counts |
    /// | `sample_weight` | optional; broadcasts to `pred`'s shape |
    ///
    /// `compute_full` adds Stirling's approximation of log(target!) where target > 1:
    /// `target·log target − target + ½·log(2π·target)`. Result: `(1,)`. Gradient: `∂/∂pred = weight · (exp(pred) − target) / m`, or
    /// `weight · (1 − target/(pred + epsilon)) / m`, with m elements averaged; `∂/∂target = −weight · pred / m`, or
    /// `−weight · log(pred + epsilon) / m`, to which `compute_full` adds `weight · (log target + ½/target) / m` where target > 1.
    ///
    /// Source: `mxnet.gluon.loss.PoissonNLLLoss` (MXNet 1.x).
    ///
    /// ```
    /// use lossjit::{HybridBlock, inputs, losses::PoissonNLLLoss};
    /// use ndarray::array;
    ///
    /// let (pred, target) = (array![[0.0f64, 0.0]], array![[1.0, 4.0]]);
    /// let loss = HybridBlock::new(PoissonNLLLoss::new()).hybridize();
    /// let result = loss.value_and_grad::<f64>(&inputs! { pred: &pred, target: &target }, &["pred"])?;
    /// assert_eq!(result.value, array![1.0].into_dyn());
    /// assert_eq!(result.grad("pred").unwrap(), &array![[0.0, -1.5]].into_dyn());
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    pub struct PoissonNLLLoss {
        /// A factor of the loss; `none` is 1.
        weight: Option<f64> = None,
        /// Whether `pred` is the logarithm of the expected count.
        from_logits: bool = true,
        /// An axis of `pred`; the result is one number, whichever it is.
        batch_axis: i64 = 0,
        /// Whether the logarithm of the target's factorial is added, by Stirling's approximation.
        compute_full: bool = false,
        /// What is added to `pred` before its logarithm is taken.
        epsilon: f64 = 1e-8,
        /// What becomes of the losses of the batch.
        reduction: Reduction = Reduction::None,
    }
}

impl Loss for PoissonNLLLoss {
    fn name(&self) -> &str {
        "poisson_nll"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let axes = Axes::of(t, "pred", self.batch_axis)?;
        let pred = t.float("pred", &axes.all)?;
        let target = like_pred(t, "target", &axes)?;
        let epsilon = finite(t.name(), "epsilon", self.epsilon)?;
        let mut loss =
            if self.from_logits { pred.exp() - target * pred } else { pred - target * (pred + epsilon).ln() };
        if self.compute_full {
            let stirling = target * target.ln() - target + 0.5 * (2.0 * PI * target).ln();
            loss = loss + target.gt(1.0).select(stirling, 0.0);
        }
        let loss = weigh(t, loss, &[axes.every()], self.weight)?;
        loss.reduce_to(t, &axes.all, &[], Of::Mean, self.reduction)
    }
}
