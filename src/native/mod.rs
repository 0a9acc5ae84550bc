//! Native kernels: written by hand, for what loops over index notation cannot say. Machine code calls them for one row.

mod call;
mod ctc;

pub use call::{WORDS, Word, ctc};
pub use ctc::Ctc;
