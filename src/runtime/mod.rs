//! Runtime: the stages in order, buffers bound to graphs, compiled handles and their cache.

mod bind;
mod block;
mod cache;
mod call;
pub mod pipeline;
mod scratch;
mod view;

pub use bind::{Buffer, Signature};
pub use block::{CacheStatistics, HybridBlock, ValueAndGrad};
pub use call::Compiled;
pub use view::{Element, Inputs, Real, View, ViewMut};
