//! What the losses share behind their formulas: weights, then the reduction.

use super::axes::{Axes, finite, one_way};
use super::parameters::words;
use crate::error::Result;
use crate::trace::{Axis, Expr, Tracer};

words! {
    /// What becomes of the losses of a batch. Anything but `None` gives one number, of shape `(1,)`.
    pub enum Reduction: "none, sum, mean or mean_by_weight" {
        /// One loss for each element of the batch, as the page of the loss says.
        None = "none",
        /// Their sum.
        Sum = "sum",
        /// Their mean.
        Mean = "mean",
        /// The sum of all weighted entries over the sum of the weights of those that count: sample weights and class
        /// weights, or 1 for each entry without any. Ignored entries do not count. Where nothing counts this is 0 / 0,
        /// NaN, as in PyTorch; the gradient of ignored entries is 0 even then.
        MeanByWeight = "mean_by_weight",
    }
}

/// How entries become the loss of an element of the batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Mean,
    Sum,
}

/// Losses of single entries, with their weights.
pub(super) struct Entries<'t> {
    /// Times all weights.
    loss: Expr<'t>,
    /// What each entry counts as; nothing where that is 1.
    weight: Option<Expr<'t>>,
}

/// loss × sample_weight × weight. The sample weight broadcasts to one of the shapes, the first that it fits, and never
/// enlarges the loss.
pub(super) fn weigh<'t>(
    t: &'t Tracer,
    loss: Expr<'t>,
    shapes: &[Vec<Option<Axis>>],
    weight: Option<f64>,
) -> Result<Entries<'t>> {
    let sample = if t.has("sample_weight") { Some(one_way(t, "sample_weight", shapes)?) } else { None };
    let loss = sample.map_or(loss, |sample| loss * sample);
    let loss = match weight {
        Some(weight) => loss * finite(t.name(), "weight", weight)?,
        None => loss,
    };
    Ok(Entries { loss, weight: sample })
}

impl<'t> Entries<'t> {
    /// The same, where an entry counts as `weight` besides.
    pub(super) fn counting(self, weight: Option<Expr<'t>>) -> Self {
        let weight = match (self.weight, weight) {
            (Some(sample), Some(weight)) => Some(sample * weight),
            (sample, weight) => sample.or(weight),
        };
        Self { weight, ..self }
    }

    /// The loss of entries along every axis of `pred`.
    pub(super) fn reduce(self, t: &'t Tracer, axes: &Axes, of: Of, reduction: Reduction) -> Result<Expr<'t>> {
        self.reduce_to(t, &axes.all, &[axes.batch], of, reduction)
    }

    /// The loss of entries along `all`, of which the result keeps `kept`; none of them where the page's result is one
    /// number, and the sum is then that of all entries.
    pub(super) fn reduce_to(
        self,
        t: &'t Tracer,
        all: &[Axis],
        kept: &[Axis],
        of: Of,
        reduction: Reduction,
    ) -> Result<Expr<'t>> {
        let inner: Vec<Axis> = all.iter().copied().filter(|a| !kept.contains(a)).collect();
        let each = match of {
            Of::Mean => self.loss.mean_over(&inner),
            Of::Sum => self.loss.sum_over(&inner),
        };
        let one = match reduction {
            Reduction::None if !kept.is_empty() => return Ok(t.along(each, kept)),
            Reduction::None => each,
            Reduction::Sum if kept.is_empty() => self.loss.sum_over(all),
            Reduction::Sum => each.sum_over(kept),
            Reduction::Mean => each.mean_over(kept),
            Reduction::MeanByWeight => {
                let weight = self.weight.unwrap_or_else(|| t.number(1.0));
                self.loss.sum_over(all) / weight.sum_over(all)
            }
        };
        Ok(t.along(one, &[t.unit_axis("one")?]))
    }
}
