//! HingeLoss.

use super::Loss;
use super::axes::{finite, pred_and_label};
use super::parameters::parameters;
use super::reduce::{Of, Reduction, weigh};
use crate::error::Result;
use crate::trace::{Expr, Tracer};

parameters! {
    /// The hinge loss of support vector machines: `max(0, margin − pred · label)`, times `weight`, averaged over all axes but the
    /// batch's.
    ///
    /// | input | shape |
    /// | --- | --- |
    /// | `pred` | any |
    /// | `label` | as many elements; it takes `pred`'s shape |
    /// | `sample_weight` | optional; broadcasts to `pred`'s shape |
    ///
    /// Labels are −1 and 1, or any real numbers. Result: `(pred.shape[batch_axis],)`. Gradient: `∂/∂pred = −weight · label / m`
    /// where the loss is positive, with m elements averaged, else 0; `∂/∂label` is the same with `pred` for `label`. At the kink
    /// the slope is 0.
    ///
    /// Source: `mxnet.gluon.loss.HingeLoss` (MXNet 1.x); C. Cortes, V. Vapnik, "Support-Vector Networks", 1995.
    ///
    /// ```
    /// use lossjit::{HybridBlock, inputs, losses::HingeLoss};
    /// use ndarray::array;
    ///
    /// let (pred, label) = (array![[0.5f64, 3.0], [-2.0, 0.0]], array![[1.0, 1.0], [1.0, -1.0]]);
    /// let loss = HybridBlock::new(HingeLoss::new()).hybridize();
    /// let result = loss.value_and_grad::<f64>(&inputs! { pred: &pred, label: &label }, &["pred"])?;
    /// assert_eq!(result.value, array![0.25, 2.0].into_dyn());
    /// assert_eq!(result.grad("pred").unwrap(), &array![[-0.5, 0.0], [-0.5, 0.5]].into_dyn());
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    pub struct HingeLoss {
        /// How far beyond 0 the product of prediction and label must be to cost nothing.
        margin: f64 = 1.0,
        /// A factor of the loss; `none` is 1.
        weight: Option<f64> = None,
        /// The axis of `pred` that the result keeps; negative counts from the back.
        batch_axis: i64 = 0,
        /// What becomes of the losses of the batch.
        reduction: Reduction = Reduction::None,
    }
}

impl Loss for HingeLoss {
    fn name(&self) -> &str {
        "hinge"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let (axes, pred, label) = pred_and_label(t, self.batch_axis)?;
        let loss = (finite(t.name(), "margin", self.margin)? - pred * label).relu();
        let loss = weigh(t, loss, &[axes.every()], self.weight)?;
        loss.reduce(t, &axes, Of::Mean, self.reduction)
    }
}
