//! CosineEmbeddingLoss.

use super::Loss;
use super::axes::{finite, place};
use super::parameters::parameters;
use super::reduce::{Of, Reduction, weigh};
use crate::error::{Error, Result};
use crate::ir::Kind;
use crate::trace::{Axis, Expr, Tracer};

parameters! {
    /// The cosine embedding loss of pairs of vectors: `1 − cos` of a pair that belongs together (label 1), `max(0, cos − margin)`
    /// of one that does not (label −1), times `weight`.
    ///
    /// | input | shape |
    /// | --- | --- |
    /// | `input1`, `input2` | one shape; the vectors lie along the last axis, all others together are rows |
    /// | `label` | as many elements as rows: 1, −1, or anything else for a loss of 0 |
    /// | `sample_weight` | optional; `(rows,)`, `(rows, 1)`, or 1 |
    ///
    /// `cos = a·b / max(|a||b|, 1e-12)`, so it is 0 for a zero vector. Result: `(rows,)`. Gradient: `∂cos/∂a = b/(|a||b|) − cos·a/|a|²`,
    /// times `−weight` for label 1 and `weight` for label −1 where cos exceeds the margin; for a zero vector `b/1e-12`.
    ///
    /// Source: `mxnet.gluon.loss.CosineEmbeddingLoss` (MXNet 1.x).
    ///
    /// ```
    /// use lossjit::{HybridBlock, inputs, losses::CosineEmbeddingLoss};
    /// use ndarray::array;
    ///
    /// let (input1, input2) = (array![[3.0f64, 0.0], [3.0, 0.0]], array![[0.0, 2.0], [2.0, 0.0]]);
    /// let label = array![1.0, -1.0];
    /// let loss = HybridBlock::new(CosineEmbeddingLoss::new()).hybridize();
    /// let given = inputs! { input1: &input1, input2: &input2, label: &label };
    /// let result = loss.value_and_grad::<f64>(&given, &["input1"])?;
    /// assert_eq!(result.value, array![1.0, 1.0].into_dyn());
    /// assert_eq!(result.grad("input1").unwrap()[[0, 1]], -1.0 / 3.0);
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    pub struct CosineEmbeddingLoss {
        /// A factor of the loss; `none` is 1.
        weight: Option<f64> = None,
        /// An axis of `input1`; all but the last are rows, whichever it is.
        batch_axis: i64 = 0,
        /// The cosine up to which a pair that does not belong together costs nothing.
        margin: f64 = 0.0,
        /// What becomes of the losses of the batch.
        reduction: Reduction = Reduction::None,
    }
}

impl Loss for CosineEmbeddingLoss {
    fn name(&self) -> &str {
        "cosine_embedding"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let [rows, d] = self.axes(t)?;
        let a = t.reshaped("input1", &[rows, d], Kind::Float)?;
        let b = t.reshaped("input2", &[rows, d], Kind::Float)?;
        let [together, apart] = labels(t, rows)?;
        let norm = |x: Expr<'t>| x.square().sum(d).sqrt();
        let cos = (a * b).sum(d) / (norm(a) * norm(b)).max(1e-12);
        let beyond = (cos - finite(t.name(), "margin", self.margin)?).relu();
        let loss = together.select(1.0 - cos, apart.select(beyond, 0.0));
        let loss = weigh(t, loss, &[vec![Some(rows)], vec![Some(rows), None]], self.weight)?;
        loss.reduce_to(t, &[rows], &[rows], Of::Mean, self.reduction)
    }
}

impl CosineEmbeddingLoss {
    /// Rows, and the axis of the vectors.
    fn axes(&self, t: &Tracer) -> Result<[Axis; 2]> {
        let (shape, other) = (t.shape("input1")?, t.shape("input2")?);
        let Some((&length, rows)) = shape.split_last() else {
            return Err(Error::Rank { input: "input1".into(), found: vec![], expected: "1 or more".into() });
        };
        place("batch_axis", self.batch_axis, "input1", shape.len())?;
        if shape != other {
            let problem = format!("does not fit: {shape:?} is needed, as in input1");
            return Err(Error::Shape { input: "input2".into(), found: other.to_vec(), problem });
        }
        let count = rows.iter().try_fold(1usize, |n, &size| n.checked_mul(size)).ok_or_else(|| Error::Shape {
            input: "input1".into(),
            found: shape.to_vec(),
            problem: "has too many elements".into(),
        })?;
        Ok([t.axis_of("n", count, "input1")?, t.axis_of("d", length, "input1")?])
    }
}

/// Whether a row's label is 1, and whether it is −1.
fn labels<'t>(t: &'t Tracer, rows: Axis) -> Result<[Expr<'t>; 2]> {
    Ok(if t.dtype("label")?.is_float() {
        let label = t.reshaped("label", &[rows], Kind::Float)?;
        [label.equals(1.0), label.equals(-1.0)]
    } else {
        let label = t.reshaped("label", &[rows], Kind::Int)?;
        [label.equals(1i64), label.equals(-1i64)]
    })
}
