//! The losses: one file each, the textbook formula and nothing else. What makes them stable and fast is the compiler's
//! work.

mod axes;
mod cosine_embedding;
mod ctc;
mod graph;
mod hinge;
mod huber;
mod kl_div;
mod l1;
mod l2;
mod logistic;
mod parameters;
mod poisson_nll;
mod reduce;
mod registry;
mod sdml;
mod sigmoid_bce;
mod softmax_ce;
mod squared_hinge;
mod triplet;

pub use cosine_embedding::CosineEmbeddingLoss;
pub use ctc::{Blank, CTCLoss, LabelLayout, Layout};
pub use graph::GraphLoss;
pub use hinge::HingeLoss;
pub use huber::HuberLoss;
pub use kl_div::KLDivLoss;
pub use l1::L1Loss;
pub use l2::L2Loss;
pub use logistic::{LabelFormat, LogisticLoss};
pub use parameters::{Configure, Parameter};
pub use poisson_nll::PoissonNLLLoss;
pub use reduce::Reduction;
pub use registry::{Entry, LOSSES, find};
pub use sdml::SDMLLoss;
pub use sigmoid_bce::SigmoidBinaryCrossEntropyLoss;
pub use softmax_ce::SoftmaxCrossEntropyLoss;
pub use squared_hinge::SquaredHingeLoss;
pub use triplet::TripletLoss;

/// The name under which `mxnet.gluon.loss` also has [`SoftmaxCrossEntropyLoss`].
pub type SoftmaxCELoss = SoftmaxCrossEntropyLoss;
/// The name under which `mxnet.gluon.loss` also has [`SigmoidBinaryCrossEntropyLoss`].
pub type SigmoidBCELoss = SigmoidBinaryCrossEntropyLoss;

use crate::error::Result;
use crate::trace::{Expr, Tracer};

/// A loss: a name and a declaration. The built-in losses and a user's own are the same to everything else.
///
/// ```
/// use lossjit::{Expr, HybridBlock, Loss, Result, Tracer, inputs};
/// use ndarray::array;
///
/// struct Quadratic;
///
/// impl Loss for Quadratic {
///     fn name(&self) -> &str {
///         "quadratic"
///     }
///
///     fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
///         let [n, c] = t.axes(["n", "c"])?;
///         let x = t.float("x", &[n, c])?;
///         Ok(x.square().sum(c))
///     }
/// }
///
/// let x = array![[1.0f32, 2.0], [3.0, 4.0]];
/// let value = HybridBlock::new(Quadratic).hybridize().forward::<f32>(&inputs! { x: &x })?;
/// assert_eq!(value, array![5.0, 25.0].into_dyn());
/// # Ok::<(), lossjit::Error>(())
/// ```
pub trait Loss: Send + Sync {
    /// The name in texts and messages: one word.
    fn name(&self) -> &str;

    /// Declares the loss: takes inputs from the tracer and returns the formula.
    ///
    /// It is run once for every new set of shapes, so it may ask for shapes and for optional inputs; it may not keep
    /// state.
    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>>;
}

impl Loss for Box<dyn Loss> {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
        (**self).declare(t)
    }
}
