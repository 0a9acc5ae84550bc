//! Elementary functions over contiguous tiles, for JIT-compiled loops that call once per tile.
//!
//! **What.** `exp`, `log`, `log1p`, `expm1` and `tanh` for `f32` and `f64`, each as eight C functions ([`Entry`]):
//! `y[i] = f(scale · x[i] + shift)` stored, stored and summed, or only summed; `y[i] = f(x[i] − less[i])` added to
//! `sums[i]`, with or without being stored; `y[i] = f(x[i] − max x)` summed, with or without being stored; and `f(x)` alone.
//! The prologue of the first three is one fused multiply-add; its identity is `scale = 1, shift = −0.0` (a shift of `+0.0`
//! turns an argument of `−0` into `+0`).
//!
//! **Assumes.** The default floating-point environment. Pointers are valid for `n` elements and aligned to one element;
//! `x` and `y` are equal or do not overlap.
//!
//! **Promises.**
//! * At most 1 ulp of error: `f32` tested on every input, `f64` on samples. IEEE special values, gradual underflow.
//! * The same bits at every [`Level`], wherever an element stands in the tile (except the sign and payload of a NaN).
//! * Sums run over a fixed number of partial sums in a fixed order, so they too have the same bits at every level, and
//!   whether one call takes a row or one for each tile. (Sums of `log1p` that are not stored too differ from those that are
//!   in their last bits: `products.rs`.)
//! * No element outside the `n` is read or written, and none contributes to a sum.
//!
//! **How.** Each function is written once, as a branch-free scalar (`single.rs`, `double.rs`); logarithms and `exp` have a
//! shorter one besides, with the same bits, for blocks of plain numbers. `tile.rs` applies it to blocks of lanes, and compiles that loop
//! once per instruction set; `rows.rs` finds the largest of a row first, `products.rs` takes one logarithm of many numbers;
//! `registers.rs` has exp for loops that are written in registers of AVX-512;
//! `partial.rs` has the partial sums, in registers where that is AVX-512, which also has an instruction for the last step of
//! exp, and loads and stores of a part of a register; `level.rs` chooses one when first asked.
//! `LOSSJIT_LEVEL=baseline|avx2|avx512|neon` forces the choice; a word it does not know, or a level that the machine
//! lacks, is an error. The baseline of x86-64 has no fused multiply-add instruction: the same bits, slowly.

mod double;
mod level;
mod partial;
mod products;
#[cfg(target_arch = "x86_64")]
pub(crate) mod registers;
mod rows;
mod single;
#[cfg(test)]
mod tests;
mod tile;

pub use level::{Level, forced, level};
pub use tile::{Columns, Entry, Function, One, Real, Tile, entry, entry_at, scalar};
