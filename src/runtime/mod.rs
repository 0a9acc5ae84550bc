//! Runtime: the stages in order, buffers bound to graphs, compiled handles and their cache.

mod bind;
mod block;
mod cache;
mod call;
pub mod pipeline;
mod program;
mod scratch;
mod values;
mod view;
mod vjp;

pub use bind::{Buffer, Signature};
pub use block::{CacheStatistics, Difference, HybridBlock, Miss, ValueAndGrad};
pub use call::Compiled;
pub use values::ValueTrace;
pub use view::{Element, Inputs, Real, View, ViewMut};
pub use vjp::{Backward, Pullback, Vjp};
