//! SoftmaxCrossEntropyLoss.

use super::Loss;
use super::parameters::parameters;
use super::tail::{Axes, weigh};
use crate::error::Result;
use crate::ir::Kind;
use crate::trace::{Axis, Expr, Tracer};

parameters! {
    /// Cross-entropy of the softmax: `−log softmax(pred)[label]`, or `−Σ label · log softmax(pred)` with dense labels,
    /// times `weight`, averaged over all axes but the batch's and the classes'.
    ///
    /// | input | shape |
    /// | --- | --- |
    /// | `pred` | any: logits, or log-probabilities with `from_logits` |
    /// | `label` | sparse: class numbers, `pred`'s shape without `axis` or with 1 there; dense: as many elements as `pred` |
    /// | `sample_weight` | optional; broadcasts to `pred`'s shape with 1 at `axis`, or to `label`'s shape |
    ///
    /// Result: `(pred.shape[batch_axis],)`; `(1,)` where `batch_axis` is `axis`. Gradient, sparse:
    /// `∂/∂pred = weight/m · (softmax(pred) − onehot(label))`, with m entries averaged; dense:
    /// `weight/m · (softmax(pred) · Σ label − label)`.
    ///
    /// Errors: a class number outside `0..C`, naming its position, unless `clip_labels` or `ignore_label` allow it.
    ///
    /// Source: `mxnet.gluon.loss.SoftmaxCrossEntropyLoss` (MXNet 1.x).
    ///
    /// ```
    /// use lossjit::{HybridBlock, inputs, losses::SoftmaxCrossEntropyLoss};
    /// use ndarray::array;
    ///
    /// let pred = array![[1e4f32, -1e4], [0.0, 0.0]];
    /// let label = array![1i32, 0];
    /// let loss = HybridBlock::new(SoftmaxCrossEntropyLoss::new()).hybridize();
    /// let result = loss.value_and_grad::<f32>(&inputs! { pred: &pred, label: &label }, &["pred"])?;
    /// assert_eq!(result.value, array![2e4, 2f32.ln()].into_dyn());
    /// assert_eq!(result.grad("pred").unwrap(), &array![[1.0, -1.0], [-0.5, 0.5]].into_dyn());
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    pub struct SoftmaxCrossEntropyLoss {
        /// The axis of the classes; negative counts from the back.
        axis: i64 = -1,
        /// Whether labels are class numbers; otherwise they are a weight for every class.
        sparse_label: bool = true,
        /// Whether `pred` holds log-probabilities already.
        from_logits: bool = false,
        /// A factor of the loss; `none` is 1.
        weight: Option<f64> = None,
        /// The axis of `pred` that the result keeps; negative counts from the back.
        batch_axis: i64 = 0,
        /// Whether class numbers outside `0..C` are moved to the nearest class, as MXNet does.
        clip_labels: bool = false,
        /// A class number whose entries contribute nothing: loss 0, gradient 0, whatever their logits.
        ignore_label: Option<i64> = None,
    }
}

impl Loss for SoftmaxCrossEntropyLoss {
    fn name(&self) -> &str {
        "softmax_cross_entropy"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let (axes, c) = Axes::with_class(t, "pred", self.batch_axis, Some(self.axis))?;
        let pred = t.float("pred", &axes.all)?;
        let log_p = if self.from_logits { pred } else { pred.log_softmax(c) };
        let mut shapes = vec![axes.every_but(c)];
        let loss = if self.sparse_label {
            let label = t.aligned("label", &axes.every_but(c), Kind::Int)?;
            if t.shape("label")?.len() < axes.all.len() {
                shapes.push(axes.without(&[c]).into_iter().map(Some).collect());
            }
            self.sparse(t, log_p, c, label)
        } else {
            let z = t.reshaped("label", &axes.all, Kind::Float)?;
            // 0 · −inf is 0 here: a class that is impossible and not asked for costs nothing.
            let nothing = z.equals(0.0).and(log_p.equals(f64::NEG_INFINITY));
            -nothing.select(0.0, log_p * z).sum(c)
        };
        let loss = weigh(t, loss, &shapes, self.weight)?;
        let mean = loss.mean_over(&axes.without(&[axes.batch, c]));
        let kept = if axes.batch == c { t.unit_axis("one")? } else { axes.batch };
        Ok(t.along(mean, &[kept]))
    }
}

impl SoftmaxCrossEntropyLoss {
    fn sparse<'t>(&self, t: &'t Tracer, log_p: Expr<'t>, c: Axis, label: Expr<'t>) -> Expr<'t> {
        let ignored = self.ignore_label.map(|k| label.equals(k));
        let mut class = label;
        if self.clip_labels {
            class = t.integer(0).max(class.min(t.size(c) - 1i64));
        }
        if let Some(ignored) = ignored {
            class = ignored.select(0i64, class);
        }
        let loss = -log_p.at(c, class);
        ignored.map_or(loss, |ignored| ignored.select(0.0, loss))
    }
}
