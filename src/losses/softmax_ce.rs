//! SoftmaxCrossEntropyLoss.

use super::Loss;
use super::axes::{Axes, smoothing, unusable};
use super::parameters::parameters;
use super::reduce::{Of, Reduction, weigh};
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
    /// | `class_weight` | optional, `(C,)` |
    ///
    /// Result: `(pred.shape[batch_axis],)`; `(1,)` where `batch_axis` is `axis`. Gradient, sparse:
    /// `∂/∂pred = weight/m · (softmax(pred) − onehot(label))`, with m entries averaged; dense:
    /// `weight/m · (softmax(pred) · Σ label − label)`.
    ///
    /// `label_smoothing` and `class_weight` are those of PyTorch's `cross_entropy`: with smoothing s and class weights w an
    /// entry of class y costs `−(1−s)·w[y]·log p[y] − s/C · Σ w[c]·log p[c]`, and a dense label z becomes `(1−s)·z + s/C`,
    /// each class weighed. `z_loss` adds `z_loss · lse(pred)²` to every entry, without class weights. An ignored entry has
    /// none of these. `reduction` by weight divides by the weights of the entries' own classes, times sample weights.
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
        /// The part of the label that is spread over all classes alike; 0 or more, less than 1.
        label_smoothing: f64 = 0.0,
        /// The factor of the square of log-sum-exp that is added to each entry's loss; it keeps logits small.
        z_loss: f64 = 0.0,
        /// What becomes of the losses of the batch.
        reduction: Reduction = Reduction::None,
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
        let class_weight = if t.has("class_weight") { Some(t.float("class_weight", &[c])?) } else { None };
        let smoothing = smoothing(t.name(), self.label_smoothing)?;
        let mut shapes = vec![axes.every_but(c)];
        let entries = if self.sparse_label {
            let label = t.aligned("label", &axes.every_but(c), Kind::Int)?;
            if t.shape("label")?.len() < axes.all.len() {
                shapes.push(axes.without(&[c]).into_iter().map(Some).collect());
            }
            let ignored = self.ignore_label.map(|k| label.equals(k));
            let class = self.class(t, c, label, ignored);
            let weight = class_weight.map(|weight| weight.at(c, class));
            let mut loss = times(-log_p.at(c, class), weight);
            if smoothing > 0.0 {
                let spread = -times(log_p, class_weight).mean_over(&[c]);
                loss = loss * (1.0 - smoothing) + spread * smoothing;
            }
            let loss = self.add_z_loss(t, loss, pred, c)?;
            let counts = match (ignored, weight) {
                (Some(ignored), weight) => Some(ignored.select(0.0, weight.unwrap_or_else(|| t.number(1.0)))),
                (None, weight) => weight,
            };
            let loss = ignored.map_or(loss, |ignored| ignored.select(0.0, loss));
            weigh(t, loss, &shapes, self.weight)?.counting(counts)
        } else {
            let mut z = t.reshaped("label", &axes.all, Kind::Float)?;
            if smoothing > 0.0 {
                z = z * (1.0 - smoothing) + smoothing / t.size(c).to_float();
            }
            // 0 · −inf is 0 here: a class that is impossible and not asked for costs nothing.
            let nothing = z.equals(0.0).and(log_p.equals(f64::NEG_INFINITY));
            let loss = -nothing.select(0.0, times(log_p, class_weight) * z).sum(c);
            weigh(t, self.add_z_loss(t, loss, pred, c)?, &shapes, self.weight)?
        };
        let kept = if axes.batch == c { vec![] } else { vec![axes.batch] };
        entries.reduce_to(t, &axes.without(&[c]), &kept, Of::Mean, self.reduction)
    }
}

/// A product with something that may not be there.
fn times<'t>(x: Expr<'t>, factor: Option<Expr<'t>>) -> Expr<'t> {
    factor.map_or(x, |factor| x * factor)
}

impl SoftmaxCrossEntropyLoss {
    /// The class numbers to read by.
    fn class<'t>(&self, t: &'t Tracer, c: Axis, label: Expr<'t>, ignored: Option<Expr<'t>>) -> Expr<'t> {
        let mut class = label;
        if self.clip_labels {
            class = t.integer(0).max(class.min(t.size(c) - 1i64));
        }
        ignored.map_or(class, |ignored| ignored.select(0i64, class))
    }

    /// loss + z_loss · lse(pred)²
    fn add_z_loss<'t>(&self, t: &'t Tracer, loss: Expr<'t>, pred: Expr<'t>, c: Axis) -> Result<Expr<'t>> {
        match self.z_loss {
            0.0 => Ok(loss),
            z if self.from_logits => Err(unusable(t.name(), "z_loss", z, "needs logits, not log-probabilities")),
            z if z > 0.0 && z.is_finite() => Ok(loss + pred.exp().sum(c).ln().square() * z),
            z => Err(unusable(t.name(), "z_loss", z, "must be 0 or more, and finite")),
        }
    }
}
