//! lossjit's losses as operations of [candle](candle_core): declared as formulas, compiled for the shapes at hand, and
//! part of candle's graph, so that `backward` reaches the [`Var`](candle_core::Var)s behind every input.
//!
//! ```
//! use candle_core::{DType, Device, Tensor, Var};
//! use lossjit_candle::{LossOp, inputs, losses::SoftmaxCrossEntropyLoss};
//!
//! let logits = Var::zeros((2, 3), DType::F32, &Device::Cpu)?;
//! let labels = Tensor::new(&[2u32, 0], &Device::Cpu)?;
//!
//! let criterion = LossOp::new(SoftmaxCrossEntropyLoss::new());
//! let loss = criterion.forward(&inputs! { pred: &logits, label: &labels })?.mean_all()?;
//!
//! let grads = loss.backward()?;
//! let grad = grads.get(&logits).unwrap().to_vec2::<f32>()?;
//! assert!((loss.to_scalar::<f32>()? - 3f32.ln()).abs() < 1e-6);
//! assert!((grad[0][0] - 1.0 / 6.0).abs() < 1e-7 && (grad[0][2] + 1.0 / 3.0).abs() < 1e-7);
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! [`losses`] has the fourteen losses of `mxnet.gluon.loss` with their parameters, and a [`LossOp`] takes any
//! [`Loss`](lossjit::Loss), so a loss of your own, declared as its formula, becomes an operation in the same way. The library
//! itself is [`lossjit`] here:
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use lossjit_candle::{LossOp, inputs};
//! use lossjit_candle::lossjit::{Expr, Loss, Result, Tracer};
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
//! let logits = Var::new(&[[0f64, 0.0], [200.0, -200.0]], &Device::Cpu)?;
//! let labels = Tensor::new(&[1u32, 1], &Device::Cpu)?;
//! let loss = LossOp::new(FocalLoss).forward(&inputs! { pred: &logits, label: &labels })?;
//! assert_eq!(loss.to_vec1::<f64>()?, [0.25 * 2f64.ln(), 400.0]);
//! assert!(loss.backward()?.get(&logits).is_some());
//! # Ok::<(), candle_core::Error>(())
//! ```
//!
//! # What goes in, what comes out
//!
//! * **Inputs** go by their names in the loss's documentation, in any order. Tensors of any strides and offset are read
//!   where they lie; only where a loss reads an input in another shape (a label of `(12,)` beside a `pred` of `(3, 4)`)
//!   and no strides would do, it is made contiguous first.
//! * **Results** are tensors of shape `(N,)`, one loss for each element of the batch, or `(1,)` with a
//!   `reduction`. Value and gradients are written by the kernel into the memory of their tensors.
//! * **dtypes**: f32 and f64, and whole numbers of u8, u32, i16, i32 and i64 for class labels and lengths. bf16 and f16 inputs
//!   are computed in f32 where they lie, without a copy of the whole; the loss is f32 then, and gradients return in the input's
//!   dtype. Where the floats of one call differ in dtype, and for CTCLoss and SDMLLoss, whose kernels read f32, they are
//!   converted as a whole by candle's own operation.
//! * **Device**: the CPU. A tensor elsewhere is an error that says so.
//!
//! # Gradients
//!
//! Every floating input that depends on a `Var` gets its gradient. What is no float has none. A float that
//! depends on a `Var` where the loss has no slope (class labels as floats, the signs of
//! [`CosineEmbeddingLoss`](losses::CosineEmbeddingLoss)) is an error, not silence: `detach()` says that you mean it.
//!
//! `backward` may be called as often as you like. Gradients of gradients are not supported; asking for one
//! (candle's `CANDLE_GRAD_DO_NOT_DETACH`) is an error.

mod attach;
mod op;
mod tensor;

pub use lossjit::{self, Backward, losses};
pub use op::{Inputs, LossOp};

/// Inputs by name, from tensors or variables: `inputs! { pred: &logits, label: &labels }`.
#[macro_export]
macro_rules! inputs {
    ($($name:ident: $tensor:expr),* $(,)?) => {
        [$((stringify!($name), $crate::input($tensor))),*]
    };
}

/// A tensor for [`inputs!`]; a reference to a `Var` becomes one to its tensor.
#[doc(hidden)]
pub fn input(tensor: &candle_core::Tensor) -> &candle_core::Tensor {
    tensor
}
