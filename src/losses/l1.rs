//! L1Loss.

use super::Loss;
use super::axes::pred_and_label;
use super::parameters::parameters;
use super::reduce::{Of, Reduction, weigh};
use crate::error::Result;
use crate::trace::{Expr, Tracer};

parameters! {
    /// The mean absolute error: `weight · |label − pred|`, averaged over all axes but the batch's.
    ///
    /// | input | shape |
    /// | --- | --- |
    /// | `pred` | any |
    /// | `label` | as many elements; it takes `pred`'s shape |
    /// | `sample_weight` | optional; broadcasts to `pred`'s shape |
    ///
    /// Result: `(pred.shape[batch_axis],)`. Gradient: `∂/∂pred = weight · sign(pred − label) / m`, with m elements
    /// averaged and sign(0) = 0; `∂/∂label` is its negative.
    ///
    /// Source: `mxnet.gluon.loss.L1Loss` (MXNet 1.x).
    ///
    /// ```
    /// use lossjit::{HybridBlock, inputs, losses::L1Loss};
    /// use ndarray::array;
    ///
    /// let (pred, label) = (array![[1.0f64, 2.0], [3.0, 5.0]], array![[1.0, 4.0], [3.0, 4.0]]);
    /// let loss = HybridBlock::new(L1Loss::new()).hybridize();
    /// let result = loss.value_and_grad::<f64>(&inputs! { pred: &pred, label: &label }, &["pred"])?;
    /// assert_eq!(result.value, array![1.0, 0.5].into_dyn());
    /// assert_eq!(result.grad("pred").unwrap(), &array![[0.0, -0.5], [0.0, 0.5]].into_dyn());
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    pub struct L1Loss {
        /// A factor of the loss; `none` is 1.
        weight: Option<f64> = None,
        /// The axis of `pred` that the result keeps; negative counts from the back.
        batch_axis: i64 = 0,
        /// What becomes of the losses of the batch.
        reduction: Reduction = Reduction::None,
    }
}

impl Loss for L1Loss {
    fn name(&self) -> &str {
        "l1"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let (axes, pred, label) = pred_and_label(t, self.batch_axis)?;
        let loss = weigh(t, (label - pred).abs(), &[axes.every()], self.weight)?;
        loss.reduce(t, &axes, Of::Mean, self.reduction)
    }
}
