//! Training losses as symbolic graphs, compiled to machine code.
//!
//! A loss is declared once, as the formula of a textbook. lossjit makes it numerically stable, differentiates it, fuses
//! loss and gradients into one set of loops, and compiles those for the shapes at hand:
//!
//! ```
//! use lossjit::{HybridBlock, inputs, losses::SoftmaxCrossEntropyLoss};
//! use ndarray::array;
//!
//! let pred = array![[2.0f32, 1.0, -1.0], [0.0, 1e4, 0.0]];
//! let label = array![0i32, 1];
//! let loss = HybridBlock::new(SoftmaxCrossEntropyLoss::new()).hybridize();
//!
//! let result = loss.value_and_grad::<f32>(&inputs! { pred: &pred, label: &label }, &["pred"])?;
//! assert!((result.value[[0]] - 0.349_012).abs() < 1e-6);
//! assert_eq!(result.value[[1]], 0.0);
//! assert_eq!(result.grad("pred").unwrap().shape(), [2, 3]);
//! # Ok::<(), lossjit::Error>(())
//! ```
//!
//! * [`losses`] has the built-in losses, those of `mxnet.gluon.loss`, and the trait [`Loss`], by which a loss of your
//!   own is declared in the same way.
//! * [`HybridBlock`] evaluates a loss: by an interpreter at first, as machine code once it is
//!   [hybridized](HybridBlock::hybridize). [`Compiled`] is a handle for callers who call often.
//! * [`View`] and [`ViewMut`] are arrays at the edge: memory with dtype, shape and strides, from slices or from any
//!   ndarray array or view, and back, never copied. [`inputs!`] names them.
//! * [`HybridBlock::vjp`] gives the loss first and its gradients once the head gradient is known, [`Vjp`] is the handle
//!   for a framework that embeds it, and [`Backward`] says what is kept in between.
//! * [`HybridBlock::value_and_grad_in_place`] writes the gradient over the logits.
//! * [`losses::GraphLoss`] takes a loss from a text, which may be a stranger's.
//! * [`HybridBlock::trace_values`] finds where a NaN comes from, [`HybridBlock::last_miss`] why a call had to compile, and
//!   [`tracing`](https://docs.rs/tracing) spans named after the stages tell when.
//! * Everything that can be wrong with a call is an [`Error`] that names the input, the axis and both numbers.
//!
//! # Into your own memory
//!
//! Arrays of no kind are needed: slices with a shape, and strides where they are not row-major, go in and come out. Once a
//! call has been compiled for its shapes, the like of it allocates nothing:
//!
//! ```
//! use lossjit::{HybridBlock, View, ViewMut, losses::HuberLoss};
//!
//! let (pred, label) = ([0.5f64, 3.0, 9.0, -2.0], [0f64, 1.0]);
//! let inputs = [
//!     ("pred", View::with_strides(&pred, &[2, 1], &[2, 1])?), // every other element
//!     ("label", View::new(&label, &[2, 1])?),
//! ];
//! let (mut out, mut grad) = ([0.0; 2], [0.0; 2]);
//! let block = HybridBlock::new(HuberLoss::new().rho(1.0)).hybridize();
//! let grads = [("pred", ViewMut::new(&mut grad, &[2, 1])?)];
//! block.value_and_grad_into(&inputs, ViewMut::new(&mut out, &[2])?, grads)?;
//! assert_eq!((out, grad), ([0.125, 7.5], [0.5, 1.0]));
//! # Ok::<(), lossjit::Error>(())
//! ```
//!
//! Losses may be chosen at run time, by name: [`losses::find`] and [`losses::LOSSES`]; inputs, gradients and shapes are lists.
//! See [`Vjp`] for all of that in one example.
//!
//! # Gradients
//!
//! Every floating input that enters the arithmetic has a gradient. Without a head gradient it is that of the sum of the
//! loss; with one, of `Σ loss · head`. Where no derivative exists: |x| has slope 0 at 0, max(x, 0) has slope 0 at 0, and
//! of two equal operands of a maximum the left one has the slope.
//!
//! # Numbers
//!
//! Losses are computed in f32 or f64, the dtype of their floating inputs, which is one for all. Sums over an axis run in
//! several lanes within a tile of 512 elements, and over tiles in f64. `exp`, `log`, `log1p`, `expm1` and `tanh` are
//! within one unit in the last place.
//!
//! Floating inputs and results may be stored as `bf16` or `f16` of the crate [`half`]: elements are widened as they are loaded
//! and rounded to the nearest even as they are stored, so the results are those of converting whole arrays to f32, and no such
//! copy is made. Results are in the dtype of the inputs, or in f32 where the caller's buffer is that; of a [`Vjp`] the loss,
//! its head and what is saved are in f32. CTC and SDML are native kernels that read f32 and f64 only, and say so.
//!
//! Results have the same bits for any number of threads, from run to run, and at every vector level of the processor.
//! They may differ between layouts of memory, as sums then run in another order, and between versions.
//!
//! Formulas are rewritten by identities of the real numbers (`lossjit::simplify::RULES` lists them all and says which
//! hold for floats exactly). For finite intermediate results this moves a value by rounding only, towards the better
//! conditioned form. Elsewhere these are the rules:
//!
//! * A form that overflows may become one that does not: the naive softmax of a logit of 1e4 is finite.
//! * `0 · x` is not taken to be 0 and `x − x` is not taken to be 0 where x can be infinite or NaN, unless a declaration
//!   says so by `select`. A branch of a `select` that is not taken shows neither in the value nor in a gradient.
//! * A NaN in an element that counts gives NaN. Where a factor is moved out of a sum of no elements, an infinite or NaN
//!   factor gives NaN where the declared form gives 0.
//! * Products of constants may be formed first, so that values near the largest float may overflow or not otherwise than
//!   as declared.
//!
//! # Inside
//!
//! The stages are public, to be looked at: [`trace`] → [`simplify`](mod@simplify) → [`grad`](mod@grad) → [`nest`] →
//! [`jit`], each a module with its own text form, and [`oracle`] has the interpreters that judge them. They change more
//! often than the rest of the interface.

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod error;
pub mod grad;
#[cfg(feature = "inspect")]
pub mod inspect;
pub mod ir;
pub mod jit;
pub mod losses;
#[doc(hidden)]
pub mod native;
pub mod nest;
pub mod oracle;
pub mod runtime;
pub mod simplify;
mod team;
pub mod trace;
pub mod vmath;

pub use error::{Error, Result};
pub use grad::Wanted;
pub use ir::Dtype;
pub use losses::Loss;
pub use runtime::{
    Backward, Buffer, CacheStatistics, Compiled, Difference, HybridBlock, Inputs, Miss, Pullback, ValueAndGrad,
    ValueTrace, View, ViewMut, Vjp,
};
pub use trace::{Axis, Expr, Spec, Tracer};

/// Inputs by name, from arrays or views: `inputs! { pred: &pred, label: &label }`.
///
/// ```
/// use lossjit::{HybridBlock, inputs, losses::L1Loss};
/// use ndarray::array;
///
/// let (pred, label) = (array![1.0f64, -2.0], array![0.0f64, 0.0]);
/// let given = inputs! { pred: &pred, label: &label };
/// assert_eq!(HybridBlock::new(L1Loss::new()).forward::<f64>(&given)?, array![1.0, 2.0].into_dyn());
/// # Ok::<(), lossjit::Error>(())
/// ```
#[macro_export]
macro_rules! inputs {
    ($($name:ident: $array:expr),* $(,)?) => {
        [$((stringify!($name), $crate::View::from($array))),*]
    };
}
