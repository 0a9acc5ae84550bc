//! TripletLoss.

use super::Loss;
use super::axes::{Axes, finite, like_pred};
use super::parameters::parameters;
use super::reduce::{Of, Reduction, weigh};
use crate::error::Result;
use crate::trace::{Expr, Tracer};

parameters! {
    /// The triplet loss of an anchor, a positive and a negative example: `max(Σ ((positive − pred)² − (negative − pred)²) + margin, 0)`,
    /// summed over all axes but the batch's, times `weight`.
    ///
    /// | input | shape |
    /// | --- | --- |
    /// | `pred` | any: the anchors |
    /// | `positive`, `negative` | as many elements; they take `pred`'s shape |
    /// | `sample_weight` | optional; broadcasts to the result's shape |
    ///
    /// Result: `(pred.shape[batch_axis],)`. Where it is positive the gradient is `∂/∂pred = 2 · weight · (negative − positive)`,
    /// `∂/∂positive = 2 · weight · (positive − pred)`, `∂/∂negative = 2 · weight · (pred − negative)`; elsewhere 0.
    ///
    /// Source: `mxnet.gluon.loss.TripletLoss` (MXNet 1.x); F. Schroff, D. Kalenichenko, J. Philbin, "FaceNet", 2015, eq. 3.
    ///
    /// ```
    /// use lossjit::{HybridBlock, inputs, losses::TripletLoss};
    /// use ndarray::array;
    ///
    /// let pred = array![[0.0f64, 0.0], [0.0, 0.0]];
    /// let (positive, negative) = (array![[1.0, 0.0], [1.0, 0.0]], array![[0.0, 1.0], [3.0, 0.0]]);
    /// let loss = HybridBlock::new(TripletLoss::new()).hybridize();
    /// let given = inputs! { pred: &pred, positive: &positive, negative: &negative };
    /// let result = loss.value_and_grad::<f64>(&given, &["pred"])?;
    /// assert_eq!(result.value, array![1.0, 0.0].into_dyn());
    /// assert_eq!(result.grad("pred").unwrap(), &array![[-2.0, 2.0], [0.0, 0.0]].into_dyn());
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    pub struct TripletLoss {
        /// How much farther the negative must be than the positive to cost nothing.
        margin: f64 = 1.0,
        /// A factor of the loss; `none` is 1.
        weight: Option<f64> = None,
        /// The axis of `pred` that the result keeps; negative counts from the back.
        batch_axis: i64 = 0,
        /// What becomes of the losses of the batch.
        reduction: Reduction = Reduction::None,
    }
}

impl Loss for TripletLoss {
    fn name(&self) -> &str {
        "triplet"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let axes = Axes::of(t, "pred", self.batch_axis)?;
        let pred = t.float("pred", &axes.all)?;
        let (positive, negative) = (like_pred(t, "positive", &axes)?, like_pred(t, "negative", &axes)?);
        let apart = (positive - pred).square() - (negative - pred).square();
        let margin = finite(t.name(), "margin", self.margin)?;
        let loss = (apart.sum_over(&axes.without(&[axes.batch])) + margin).relu();
        let loss = weigh(t, loss, &[vec![Some(axes.batch)]], self.weight)?;
        loss.reduce_to(t, &[axes.batch], &[axes.batch], Of::Mean, self.reduction)
    }
}
