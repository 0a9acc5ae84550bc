//! lossjit's losses as operations of [burn]: declared as formulas, compiled for the shapes at hand, and part of
//! burn's graph, so that `backward` reaches every tensor that wants a gradient.
//!
//! ```
//! use burn::tensor::{Device, Int, Tensor};
//! use lossjit_burn::{LossOp, inputs, losses::SoftmaxCrossEntropyLoss};
//!
//! let device = Device::flex().autodiff();
//! let logits = Tensor::<2>::zeros([2, 3], &device).require_grad();
//! let labels = Tensor::<1, Int>::from_data([2, 0], &device);
//!
//! let criterion = LossOp::new(SoftmaxCrossEntropyLoss::new());
//! let loss = criterion.forward(&inputs! { pred: &logits, label: &labels })?.mean();
//!
//! let grads = loss.backward();
//! let grad = logits.grad(&grads).unwrap().into_data().try_into_vec::<f32>().unwrap();
//! assert!((loss.into_scalar::<f32>() - 3f32.ln()).abs() < 1e-6);
//! assert!((grad[0] - 1.0 / 6.0).abs() < 1e-7 && (grad[2] + 1.0 / 3.0).abs() < 1e-7);
//! # Ok::<(), lossjit::Error>(())
//! ```
//!
//! [`losses`] has the fourteen losses of `mxnet.gluon.loss` with their parameters, and a [`LossOp`] takes any
//! [`Loss`](lossjit::Loss), so a loss of your own, declared as its formula, becomes an operation in the same way. The library
//! itself is [`lossjit`] here:
//!
//! ```
//! use burn::tensor::{Device, Int, Tensor};
//! use lossjit_burn::{LossOp, inputs};
//! use lossjit_burn::lossjit::{Expr, Loss, Result, Tracer};
//!
//! /// Lin et al., "Focal Loss for Dense Object Detection" (2017), eq. 4, with γ = 2.
//! struct FocalLoss;
//!
//! impl Loss for FocalLoss {
//!     fn name(&self) -> &str {
//!         "focal"
//!     }
//!
//!     fn declare<'t>(&self, t: &'t Tracer) -> Result<Expr<'t>> {
//!         let [n, c] = t.axes(["n", "c"])?;
//!         let p = t.float("pred", &[n, c])?.softmax(c).at(c, t.class("label", &[n])?);
//!         Ok(-(1.0 - p).square() * p.ln())
//!     }
//! }
//!
//! let device = Device::flex().autodiff();
//! let logits = Tensor::<2>::from_data([[0.0f32, 0.0], [200.0, -200.0]], &device).require_grad();
//! let labels = Tensor::<1, Int>::from_data([1, 1], &device);
//! let loss = LossOp::new(FocalLoss).forward(&inputs! { pred: &logits, label: &labels })?;
//! assert!(logits.grad(&loss.backward()).is_some());
//! assert_eq!(loss.into_data().try_into_vec::<f32>().unwrap(), [0.25 * 2f32.ln(), 400.0]);
//! # Ok::<(), lossjit::Error>(())
//! ```
//!
//! # What goes in, what comes out
//!
//! * **Inputs** go by their names in the loss's documentation, in any order. Tensors of any strides and offset, flipped ones
//!   too, are read where they lie; only where a loss reads an input in another shape (a label of `(12,)` beside a
//!   `pred` of `(3, 4)`) and no strides would do, it is made contiguous first.
//! * **Results** are tensors of shape `(N,)`, one loss for each element of the batch, or `(1,)` with a `reduction`.
//!   Value and gradients are written by the kernel into the memory of their tensors.
//! * **dtypes**: f32 and f64, and whole numbers of any width up to 64 bits for class labels and lengths (narrow and unsigned
//!   ones that lossjit does not read are widened first). bf16 and f16 inputs are computed in f32 where they lie, without a copy of
//!   the whole; the loss is f32 then, and gradients return in the input's dtype. Where the floats of one call differ in dtype, or
//!   a native kernel reads f32, as those of [`CTCLoss`](losses::CTCLoss) and [`SDMLLoss`](losses::SDMLLoss) do, they are
//!   converted as a whole by burn's own operation.
//! * **Device**: burn's flex backend, with and without autodiff. A tensor elsewhere is an error that says so.
//!
//! # Gradients
//!
//! Every floating input that requires a gradient, or depends on one that does, gets its own. An input that requires one
//! where the loss has no slope (class labels as floats, the signs of
//! [`CosineEmbeddingLoss`](losses::CosineEmbeddingLoss)) is an error, not silence: `detach()`, or
//! `set_require_grad(false)` for a leaf, says that you mean it.
//!
//! As everywhere in burn, `backward` uses the graph up, so that a second one needs a second `forward`. Gradients of
//! gradients do not exist.
//!
//! # How it is made
//!
//! [`LossBackend`] is a backend extension of burn: its operation takes a [`Call`], a compiled loss with any number of named
//! tensors, and gives an [`Outcome`], a tensor or an error. [`Flex`](burn::backend::Flex) runs the kernel;
//! [`Autodiff`](burn::backend::Autodiff) does, and records the step that computes the gradients.

mod autodiff;
mod extension;
mod flex;
mod op;

pub use extension::{Call, LossBackend, Operand, Outcome};
pub use lossjit::{self, Backward, losses};
pub use op::{Input, LossOp};

/// Inputs by name, from tensors: `inputs! { pred: &logits, label: &labels }`.
#[macro_export]
macro_rules! inputs {
    ($($name:ident: $tensor:expr),* $(,)?) => {
        [$((stringify!($name), $crate::Input::from($tensor))),*]
    };
}
