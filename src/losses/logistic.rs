//! LogisticLoss.

use super::Loss;
use super::axes::pred_and_label;
use super::parameters::{parameters, words};
use super::reduce::{Of, Reduction, weigh};
use crate::error::Result;
use crate::trace::{Expr, Tracer};

parameters! {
    /// The logistic loss: with `z = (label + 1)/2` for signed labels and `z = label` for binary ones,
    /// `−(z·log σ(pred) + (1−z)·log(1−σ(pred)))`, times `weight`, averaged over all axes but the batch's.
    ///
    /// | input | shape |
    /// | --- | --- |
    /// | `pred` | any |
    /// | `label` | as many elements; it takes `pred`'s shape |
    /// | `sample_weight` | optional; broadcasts to `pred`'s shape |
    ///
    /// Labels are −1 and 1 (`label_format` signed), 0 and 1 (binary), or any real numbers. Result:
    /// `(pred.shape[batch_axis],)`. Gradient: `∂/∂pred = weight · (σ(pred) − z) / m`, with m elements averaged;
    /// `∂/∂label = −weight · pred / m`, half of that for signed labels. The compiled form is
    /// `z·softplus(−pred) + (1−z)·softplus(pred)`: finite for every finite logit, and exact where the loss is small.
    ///
    /// Source: `mxnet.gluon.loss.LogisticLoss` (MXNet 1.x).
    ///
    /// ```
    /// use lossjit::{HybridBlock, inputs, losses::LogisticLoss};
    /// use ndarray::array;
    ///
    /// let (pred, label) = (array![[0.0f64], [1e4], [-1e4]], array![[1.0], [1.0], [1.0]]);
    /// let loss = HybridBlock::new(LogisticLoss::new()).hybridize();
    /// let result = loss.value_and_grad::<f64>(&inputs! { pred: &pred, label: &label }, &["pred"])?;
    /// assert_eq!(result.value, array![2f64.ln(), 0.0, 1e4].into_dyn());
    /// assert_eq!(result.grad("pred").unwrap(), &array![[-0.5], [0.0], [-1.0]].into_dyn());
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    pub struct LogisticLoss {
        /// A factor of the loss; `none` is 1.
        weight: Option<f64> = None,
        /// The axis of `pred` that the result keeps; negative counts from the back.
        batch_axis: i64 = 0,
        /// What the labels are: `signed` or `binary`.
        label_format: LabelFormat = LabelFormat::Signed,
        /// What becomes of the losses of the batch.
        reduction: Reduction = Reduction::None,
    }
}

words! {
    /// What the labels of [`LogisticLoss`] are.
    pub enum LabelFormat: "signed or binary" {
        /// −1 and 1.
        Signed = "signed",
        /// 0 and 1.
        Binary = "binary",
    }
}

impl Loss for LogisticLoss {
    fn name(&self) -> &str {
        "logistic"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let (axes, pred, label) = pred_and_label(t, self.batch_axis)?;
        let z = match self.label_format {
            LabelFormat::Signed => (label + 1.0) / 2.0,
            LabelFormat::Binary => label,
        };
        let p = pred.sigmoid();
        let loss = -(z * p.ln() + (1.0 - z) * (1.0 - p).ln());
        let loss = weigh(t, loss, &[axes.every()], self.weight)?;
        loss.reduce(t, &axes, Of::Mean, self.reduction)
    }
}
