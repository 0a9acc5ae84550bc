//! lossjit
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod error;
pub mod grad;
pub mod ir;
pub mod jit;
pub mod losses;
pub mod nest;
pub mod oracle;
pub mod runtime;
pub mod simplify;
pub mod trace;
pub mod vmath;

pub use error::{Error, Result};
pub use grad::Wanted;
pub use ir::Dtype;
pub use losses::Loss;
pub use runtime::{Compiled, HybridBlock, Inputs, ValueAndGrad, View, ViewMut};
pub use trace::{Axis, Expr, Spec, Tracer};

/// Inputs by name, from arrays or views: `inputs! { pred: &pred, label: &label }`.
#[macro_export]
macro_rules! inputs {
    ($($name:ident: $array:expr),* $(,)?) => {
        [$((stringify!($name), $crate::View::from($array))),*]
    };
}
