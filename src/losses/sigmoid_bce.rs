//! SigmoidBinaryCrossEntropyLoss.

use super::Loss;
use super::axes::{one_way, pred_and_label, smoothing};
use super::parameters::parameters;
use super::reduce::{Of, Reduction, weigh};
use crate::error::Result;
use crate::trace::{Expr, Tracer};

parameters! {
    /// Binary cross-entropy of a logit: with `p = σ(pred)` and `z = label`, `−(z·pos_weight·log p + (1−z)·log(1−p))`,
    /// times `weight`, averaged over all axes but the batch's.
    ///
    /// | input | shape |
    /// | --- | --- |
    /// | `pred` | any: logits, or probabilities with `from_sigmoid` |
    /// | `label` | as many elements, any real numbers; it takes `pred`'s shape |
    /// | `sample_weight` | optional; broadcasts to `pred`'s shape |
    /// | `pos_weight` | optional; broadcasts to `pred`'s shape |
    ///
    /// Result: `(pred.shape[batch_axis],)`. Gradient: `∂/∂pred = weight/m · ((1−z)·σ(pred) − z·pos_weight·σ(−pred))`,
    /// with m elements averaged. The compiled form is `z·pos_weight·softplus(−pred) + (1−z)·softplus(pred)`, finite for
    /// every finite logit and exact where the loss is small.
    ///
    /// Source: `mxnet.gluon.loss.SigmoidBinaryCrossEntropyLoss` (MXNet 1.x). With `from_sigmoid` the logarithms are of
    /// `pred + 1e-12` and `1 − pred + 1e-12`, as there.
    ///
    /// ```
    /// use lossjit::{HybridBlock, inputs, losses::SigmoidBinaryCrossEntropyLoss};
    /// use ndarray::array;
    ///
    /// let (pred, label) = (array![[0.0f64], [1e4], [-1e4]], array![[1.0], [1.0], [1.0]]);
    /// let loss = HybridBlock::new(SigmoidBinaryCrossEntropyLoss::new()).hybridize();
    /// let result = loss.value_and_grad::<f64>(&inputs! { pred: &pred, label: &label }, &["pred"])?;
    /// assert_eq!(result.value, array![2f64.ln(), 0.0, 1e4].into_dyn());
    /// assert_eq!(result.grad("pred").unwrap(), &array![[-0.5], [0.0], [-1.0]].into_dyn());
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    pub struct SigmoidBinaryCrossEntropyLoss {
        /// Whether `pred` is a probability already.
        from_sigmoid: bool = false,
        /// A factor of the loss; `none` is 1.
        weight: Option<f64> = None,
        /// The axis of `pred` that the result keeps; negative counts from the back.
        batch_axis: i64 = 0,
        /// The part of the label that is moved to ½: it becomes `(1−s)·label + s/2`; 0 or more, less than 1.
        label_smoothing: f64 = 0.0,
        /// What becomes of the losses of the batch.
        reduction: Reduction = Reduction::None,
    }
}

impl Loss for SigmoidBinaryCrossEntropyLoss {
    fn name(&self) -> &str {
        "sigmoid_binary_cross_entropy"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let (axes, pred, label) = pred_and_label(t, self.batch_axis)?;
        let z = match smoothing(t.name(), self.label_smoothing)? {
            0.0 => label,
            s => label * (1.0 - s) + s / 2.0,
        };
        let (log_p, log_not_p) = if self.from_sigmoid {
            ((pred + 1e-12).ln(), (1.0 - pred + 1e-12).ln())
        } else {
            (pred.sigmoid().ln(), (1.0 - pred.sigmoid()).ln())
        };
        let positive = if t.has("pos_weight") { z * one_way(t, "pos_weight", &[axes.every()])? } else { z };
        let loss = -(positive * log_p + (1.0 - z) * log_not_p);
        let loss = weigh(t, loss, &[axes.every()], self.weight)?;
        loss.reduce(t, &axes, Of::Mean, self.reduction)
    }
}
