//! Native kernels: written by hand, for what loops over index notation cannot say, or what loops of one row at a time
//! cannot do fast.

mod call;
mod ctc;
mod pairs;

pub use call::{PAIR_WORDS, PairWord, WORDS, Word, ctc, pairs};
pub use ctc::Ctc;
pub use pairs::{Matrix, Pairs, Rows, Term};
