//! L2Loss.

use super::Loss;
use super::axes::pred_and_label;
use super::parameters::parameters;
use super::reduce::{Of, Reduction, weigh};
use crate::error::Result;
use crate::trace::{Expr, Tracer};

parameters! {
    /// Half the mean squared error: `weight/2 · (label − pred)²`, averaged over all axes but the batch's.
    ///
    /// | input | shape |
    /// | --- | --- |
    /// | `pred` | any |
    /// | `label` | as many elements; it takes `pred`'s shape |
    /// | `sample_weight` | optional; broadcasts to `pred`'s shape |
    ///
    /// Result: `(pred.shape[batch_axis],)`. Gradient: `∂/∂pred = weight · (pred − label) / m`, with m elements averaged;
    /// `∂/∂label` is its negative.
    ///
    /// Source: `mxnet.gluon.loss.L2Loss` (MXNet 1.x).
    ///
    /// ```
    /// use lossjit::{HybridBlock, inputs, losses::L2Loss};
    /// use ndarray::array;
    ///
    /// let (pred, label) = (array![[1.0f64, 2.0], [3.0, 5.0]], array![[1.0, 4.0], [3.0, 4.0]]);
    /// let loss = HybridBlock::new(L2Loss::new()).hybridize();
    /// let result = loss.value_and_grad::<f64>(&inputs! { pred: &pred, label: &label }, &["pred"])?;
    /// assert_eq!(result.value, array![1.0, 0.25].into_dyn());
    /// assert_eq!(result.grad("pred").unwrap(), &array![[0.0, -1.0], [0.0, 0.5]].into_dyn());
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    pub struct L2Loss {
        /// A factor of the loss; `none` is 1. The loss is halved besides.
        weight: Option<f64> = Some(1.0),
        /// The axis of `pred` that the result keeps; negative counts from the back.
        batch_axis: i64 = 0,
        /// What becomes of the losses of the batch.
        reduction: Reduction = Reduction::None,
    }
}

impl Loss for L2Loss {
    fn name(&self) -> &str {
        "l2"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let (axes, pred, label) = pred_and_label(t, self.batch_axis)?;
        let loss = (label - pred).square();
        let loss = weigh(t, loss, &[axes.every()], Some(self.weight.unwrap_or(1.0) / 2.0))?;
        loss.reduce(t, &axes, Of::Mean, self.reduction)
    }
}
