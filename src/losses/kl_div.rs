//! KLDivLoss.

use super::Loss;
use super::axes::Axes;
use super::parameters::parameters;
use super::reduce::{Of, Reduction, weigh};
use crate::error::Result;
use crate::trace::{Expr, Tracer};

parameters! {
    /// Kullback–Leibler divergence of a prediction from a distribution: `Σ label · (log(label + 1e-12) − log p)`, summed over all
    /// axes but the batch's, times `weight`.
    ///
    /// | input | shape |
    /// | --- | --- |
    /// | `pred` | any: log-probabilities, or logits with `from_logits(false)` |
    /// | `label` | `pred`'s shape: probabilities |
    /// | `sample_weight` | optional; broadcasts to `pred`'s shape |
    ///
    /// `log p` is `pred`, or its log-softmax over `axis`. A label of 0 contributes 0, whatever the prediction. Result:
    /// `(pred.shape[batch_axis],)`. Gradient: `∂/∂pred = −weight · label`, or with the softmax inside
    /// `weight · (softmax(pred) · Σ label − label)`.
    ///
    /// Source: `mxnet.gluon.loss.KLDivLoss` (MXNet 1.x).
    ///
    /// ```
    /// use lossjit::{HybridBlock, inputs, losses::KLDivLoss};
    /// use ndarray::array;
    ///
    /// let (pred, label) = (array![[0.5f64.ln(), 0.5f64.ln()]], array![[1.0, 0.0]]);
    /// let loss = HybridBlock::new(KLDivLoss::new()).hybridize();
    /// let result = loss.value_and_grad::<f64>(&inputs! { pred: &pred, label: &label }, &["pred"])?;
    /// assert!((result.value[[0]] - 2f64.ln()).abs() < 1e-11);
    /// assert_eq!(result.grad("pred").unwrap(), &array![[-1.0, 0.0]].into_dyn());
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    pub struct KLDivLoss {
        /// Whether `pred` is log-probabilities already.
        from_logits: bool = true,
        /// The axis of the classes; negative counts from the back.
        axis: i64 = -1,
        /// A factor of the loss; `none` is 1.
        weight: Option<f64> = None,
        /// The axis of `pred` that the result keeps; negative counts from the back.
        batch_axis: i64 = 0,
        /// What becomes of the losses of the batch.
        reduction: Reduction = Reduction::None,
    }
}

impl Loss for KLDivLoss {
    fn name(&self) -> &str {
        "kl_div"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let (axes, c) = Axes::with_class(t, "pred", self.batch_axis, Some(self.axis))?;
        let pred = t.float("pred", &axes.all)?;
        let label = t.float("label", &axes.all)?;
        let log_p = if self.from_logits { pred } else { pred.log_softmax(c) };
        // 0 · ∞ is 0 here: a class that is impossible and not asked for costs nothing.
        let nothing = label.equals(0.0).and(log_p.equals(f64::NEG_INFINITY));
        let loss = nothing.select(0.0, label * ((label + 1e-12).ln() - log_p));
        let loss = weigh(t, loss, &[axes.every()], self.weight)?;
        loss.reduce(t, &axes, Of::Sum, self.reduction)
    }
}
