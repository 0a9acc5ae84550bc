//! SDMLLoss.

use super::Loss;
use super::axes::{place, unusable};
use super::parameters::parameters;
use super::reduce::{Of, Reduction, weigh};
use crate::error::Result;
use crate::trace::{Expr, Tracer};

parameters! {
    /// Smoothed deep metric learning: every row of `x1` should be nearer to its own row of `x2` than to the others. With
    /// `D[i,j] = |x1[i] − x2[j]|²`, the divergence of `softmax(−D)` over j from a smoothed identity:
    /// `out[i] = Σ_j target · (log(target + 1e-12) − log softmax(−D)[i,j])`, times `weight`, where `target` is `1 − s` for j = i and
    /// `s/(N−1)` elsewhere, s the smoothing parameter.
    ///
    /// | input | shape |
    /// | --- | --- |
    /// | `x1`, `x2` | `(N, D)` |
    ///
    /// Result: `(N,)`; a batch of one row costs 0. Gradient: with `g[i,j] = softmax(−D)[i,j] − target[i,j]`,
    /// `∂out/∂x1[i] = −2 · weight · Σ_j g[i,j] · (x1[i] − x2[j])` and `∂out/∂x2[j] = 2 · weight · Σ_i g[i,j] · (x1[i] − x2[j])`. The
    /// distances are never kept as a whole, nor are the differences.
    ///
    /// Source: `mxnet.gluon.loss.SDMLLoss` (MXNet 1.x); G. Bonadiman, A. Kumar, A. Mittal, "Large Scale Question Paraphrase
    /// Retrieval with Smoothed Deep Metric Learning", 2019.
    ///
    /// ```
    /// use lossjit::{HybridBlock, inputs, losses::SDMLLoss};
    /// use ndarray::array;
    ///
    /// let (x1, x2) = (array![[0.0f64], [1.0]], array![[0.0], [1.0]]);
    /// let loss = HybridBlock::new(SDMLLoss::new().smoothing_parameter(0.0)).hybridize();
    /// let result = loss.value_and_grad::<f64>(&inputs! { x1: &x1, x2: &x2 }, &["x1", "x2"])?;
    /// // −log softmax(0, −1)[0], twice.
    /// assert!((result.value[[0]] - (-1f64).exp().ln_1p()).abs() < 1e-11);
    /// assert!((result.value[[1]] - (-1f64).exp().ln_1p()).abs() < 1e-11);
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    pub struct SDMLLoss {
        /// How much of the target is spread over the other rows; 0 or more, less than 1.
        smoothing_parameter: f64 = 0.3,
        /// A factor of the loss; `none` is 1.
        weight: Option<f64> = Some(1.0),
        /// An axis of `x1`; rows are the first, whichever it is.
        batch_axis: i64 = 0,
        /// What becomes of the losses of the batch.
        reduction: Reduction = Reduction::None,
    }
}

impl Loss for SDMLLoss {
    fn name(&self) -> &str {
        "sdml"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let s = self.smoothing_parameter;
        if !(0.0..1.0).contains(&s) {
            return Err(unusable(t.name(), "smoothing_parameter", s, "must be 0 or more, and less than 1"));
        }
        let [i, d] = t.axes(["i", "d"])?;
        let x1 = t.float("x1", &[i, d])?;
        place("batch_axis", self.batch_axis, "x1", 2)?;
        let j = t.axis_like("j", i)?;
        let x2 = t.float("x2", &[j, d])?;
        let log_p = (-(x1 - x2).square().sum(d)).log_softmax(j);
        // Of one row alone the target is all.
        let others = (t.size(j) - 1i64).to_float();
        let own = t.size(j).equals(1i64).select(1.0, 1.0 - s);
        let target = t.index(i).equals(t.index(j)).select(own, s / others);
        let loss = (target * ((target + 1e-12).ln() - log_p)).sum(j);
        let loss = weigh(t, loss, &[vec![Some(i)]], self.weight)?;
        loss.reduce_to(t, &[i], &[i], Of::Mean, self.reduction)
    }
}
