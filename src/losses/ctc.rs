//! CTCLoss.

use super::Loss;
use super::axes::unusable;
use super::parameters::{Value, parameters, words};
use super::reduce::{Of, Reduction, weigh};
use crate::error::{Error, Result};
use crate::trace::{Expr, Sequence, Tracer};

parameters! {
    /// Connectionist temporal classification: −log of the probability that a sequence of steps, each with a softmax over
    /// classes of its own, spells the label once repeated classes are merged and blanks are dropped, times `weight`.
    ///
    /// | input | shape |
    /// | --- | --- |
    /// | `pred` | `(N, T, C)`, or `(T, N, C)` with `layout` TNC: unnormalised logits |
    /// | `label` | `(N, L)`, or `(L, N)` with `label_layout` TN: classes but the blank, padded by −1 |
    /// | `pred_lengths` | optional, `(N,)`: steps that count, 0 to T; otherwise all |
    /// | `label_lengths` | optional, `(N,)`: labels that count, 0 to L; otherwise those before the first −1 |
    /// | `sample_weight` | optional, `(N,)` or `(N, 1)` |
    ///
    /// Result: `(N,)`. Gradient: `∂/∂pred[t, c] = weight · (softmax(pred[t])[c] − posterior[t, c])`, where the posterior
    /// is the probability, given the label, that the alignment is at class c in step t; exactly 0 from `pred_lengths` on.
    /// A label that no alignment of the steps can spell (more labels and repeats than steps) costs +∞ with gradient 0.
    ///
    /// The recursion over steps and labels is a native kernel in f64, whatever the inputs' dtype; it stays accurate for
    /// thousands of steps and for logits in the hundreds.
    ///
    /// Errors: a label that is no class or is the blank, a length out of range: each with its position.
    ///
    /// Source: A. Graves, S. Fernández, F. Gomez, J. Schmidhuber, "Connectionist Temporal Classification", ICML 2006;
    /// interface of `mxnet.gluon.loss.CTCLoss` (MXNet 1.x).
    ///
    /// ```
    /// use lossjit::{HybridBlock, inputs, losses::CTCLoss};
    /// use ndarray::{Array3, array};
    ///
    /// // Two steps, two letters and the blank, all equally likely: 3 of 9 paths spell "a": "aa", "a-" and "-a".
    /// let (pred, label) = (Array3::<f64>::zeros((1, 2, 3)), array![[0i32, -1]]);
    /// let loss = HybridBlock::new(CTCLoss::new()).hybridize();
    /// let result = loss.value_and_grad::<f64>(&inputs! { pred: &pred, label: &label }, &["pred"])?;
    /// assert!((result.value[[0]] - 3f64.ln()).abs() < 1e-12);
    /// assert!((result.grad("pred").unwrap()[[0, 0, 0]] - (1.0 / 3.0 - 2.0 / 3.0)).abs() < 1e-12);
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    pub struct CTCLoss {
        /// The order of `pred`'s axes: NTC or TNC.
        layout: Layout = Layout::Ntc,
        /// The order of `label`'s axes: NT or TN.
        label_layout: LabelLayout = LabelLayout::Nt,
        /// A factor of the loss; `none` is 1.
        weight: Option<f64> = None,
        /// The class of the blank: `first`, `last`, or its number.
        blank: Blank = Blank::Last,
        /// Whether labels that cannot be aligned cost 0 in place of +∞.
        zero_infinity: bool = false,
        /// What becomes of the losses of the batch.
        reduction: Reduction = Reduction::None,
    }
}

words! {
    /// The order of the axes of logits: batch N, steps T, classes C.
    pub enum Layout: "NTC or TNC" {
        Ntc = "NTC",
        Tnc = "TNC",
    }
}

words! {
    /// The order of the axes of labels: batch N, labels T.
    pub enum LabelLayout: "NT or TN" {
        Nt = "NT",
        Tn = "TN",
    }
}

/// Which class is the blank.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Blank {
    First,
    Last,
    Class(i64),
}

impl Value for Blank {
    const EXPECTED: &'static str = "first, last or a class number";

    fn read(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "first" => Some(Blank::First),
            "last" => Some(Blank::Last),
            number => number.parse().ok().map(Blank::Class),
        }
    }

    fn write(&self) -> String {
        match self {
            Blank::First => "first".into(),
            Blank::Last => "last".into(),
            Blank::Class(class) => class.to_string(),
        }
    }
}

impl Loss for CTCLoss {
    fn name(&self) -> &str {
        "ctc"
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        let [n, time, c, l] = t.axes(["n", "t", "c", "l"])?;
        let logits = match self.layout {
            Layout::Ntc => t.float("pred", &[n, time, c])?,
            Layout::Tnc => t.float("pred", &[time, n, c])?,
        };
        let label = match self.label_layout {
            LabelLayout::Nt => t.class("label", &[n, l])?,
            LabelLayout::Tn => t.class("label", &[l, n])?,
        };
        let steps = if t.has("pred_lengths") { t.class("pred_lengths", &[n])? } else { t.size(time) };
        let labels = if t.has("label_lengths") { t.class("label_lengths", &[n])? } else { t.integer(-1) };
        if t.extent(c) == 0 {
            let problem = "has no classes, but the blank is one".to_string();
            return Err(Error::Shape { input: "pred".into(), found: t.shape("pred")?.to_vec(), problem });
        }
        let blank = match self.blank {
            Blank::First => t.integer(0),
            Blank::Last => t.size(c) - 1i64,
            Blank::Class(class) => t.integer(self.class_of_blank(class, t.extent(c))?),
        };
        let loss = t.ctc(Sequence { axes: [time, c, l], logits, label, steps, labels, blank });
        let loss = if self.zero_infinity { loss.equals(f64::INFINITY).select(0.0, loss) } else { loss };
        let loss = weigh(t, loss, &[vec![Some(n)], vec![Some(n), None]], self.weight)?;
        loss.reduce_to(t, &[n], &[n], Of::Mean, self.reduction)
    }
}

impl CTCLoss {
    fn class_of_blank(&self, class: i64, classes: usize) -> Result<i64> {
        if usize::try_from(class).is_ok_and(|class| class < classes) {
            return Ok(class);
        }
        let problem = format!("is out of range: {classes} classes, 0 to {}", classes as i64 - 1);
        Err(unusable("ctc", "blank", class, &problem))
    }
}
