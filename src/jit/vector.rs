//! Vector loops: `lanes` steps in the widest registers of this machine, where Cranelift's vectors have 128 bits.
//!
//! Most of such steps are a straight line of arithmetic over neighbouring elements. [`Program`] is that line, `registers`
//! says what is held where, and `encode` makes a function of it, which the kernel calls for a tile, for all tiles of a row, or
//! for all rows of a loop ([`row_loop`]). What has no vector operation here stays with Cranelift, as does what is left of a tile whose end
//! only the call knows. Lane by lane a fold has the same order in both, so results have the same bits whichever runs.

#[cfg(all(target_arch = "x86_64", unix))]
mod access;
#[cfg(all(target_arch = "x86_64", unix))]
mod actions;
mod builder;
mod call;
#[cfg(all(target_arch = "x86_64", unix))]
mod codes;
#[cfg(all(target_arch = "x86_64", unix))]
mod encode;
mod program;
#[cfg(all(target_arch = "x86_64", unix))]
mod registers;
mod row_loop;
#[cfg(all(target_arch = "x86_64", unix))]
mod strided;
#[cfg(all(target_arch = "x86_64", unix))]
mod sums;
#[cfg(all(target_arch = "x86_64", unix))]
mod tail;
#[cfg(all(test, feature = "inspect", target_arch = "x86_64", unix))]
mod tests;
mod text;

pub(super) use call::Arguments;
pub(super) use program::{Around, Program, READ_FAR, WRITE_FAR, joins_lanes};

use super::Binding;
use super::flat::long_row;
use super::rows::Row;
use crate::error::Result;
use crate::nest::{Nest, Step};
use std::ops::Range;

/// A loop that has machine code of its own.
pub(super) struct VectorLoop {
    /// The number of the `lanes` step, or of the loop over rows: its place in [`Nest::steps`].
    pub step: usize,
    pub program: Program,
    pub code: Vec<u8>,
}

/// A program, and the steps that are done by it: a `lanes` step, or a loop over rows with all that is in it.
struct Found {
    steps: Range<usize>,
    program: Program,
}

/// What of a nest can be programs, but its [`Row`]s: loops over rows before the lanes in them.
fn programs(nest: &Nest, binding: &Binding, rows: &[Row]) -> Vec<Found> {
    let (mut found, mut tile, mut flat) = (vec![], None, None);
    let steps = nest.steps();
    for (place, &(depth, step)) in steps.iter().enumerate() {
        match step {
            Step::Tile { .. } if rows.iter().any(|row| row.largest == place) => tile = None,
            Step::Loop { axis, body } => {
                flat = long_row(nest, binding, *axis, body).map(|_| nest.length(*axis));
                let inside = steps[place + 1..].iter().take_while(|(inner, _)| *inner > depth).count();
                let program = flat.is_none().then(|| row_loop::of_rows(nest, binding, *axis, body));
                found.extend(program.flatten().map(|program| Found { steps: place..place + 1 + inside, program }));
            }
            Step::Tile { axis, body } => {
                let whole = flat.is_none() && !nest.is_cut(*axis);
                let length = flat.take().unwrap_or(1) * nest.length(*axis);
                tile = Some(Around { axis: *axis, length, alone: body.len() == 1, whole });
            }
            Step::Lanes { body } => {
                let program = tile.and_then(|around| Program::of(nest, binding, around, body));
                found.extend(program.map(|program| Found { steps: place..place + 1, program }));
            }
            _ => {}
        }
    }
    found
}

/// The loops of a nest that vectors wider than Cranelift's can do.
pub(super) fn loops(nest: &Nest, binding: &Binding, rows: &[Row]) -> Result<Vec<VectorLoop>> {
    let (mut loops, mut done) = (vec![], 0);
    for Found { steps, program } in programs(nest, binding, rows) {
        if steps.start >= done
            && let Some(code) = machine_code(&program)?
        {
            done = steps.end;
            loops.push(VectorLoop { step: steps.start, program, code });
        }
    }
    Ok(loops)
}

#[cfg(all(target_arch = "x86_64", unix))]
fn machine_code(program: &Program) -> Result<Option<Vec<u8>>> {
    use crate::vmath::{Level, level};
    match level().map_err(crate::error::Error::Machine)? {
        Level::Avx512 => encode::encode(program, codes::Width::Zmm),
        Level::Avx2Fma => encode::encode(program, codes::Width::Ymm),
        _ => Ok(None),
    }
}

/// Other machines have no vectors wider than Cranelift's, or other conventions of calls.
#[cfg(not(all(target_arch = "x86_64", unix)))]
fn machine_code(_: &Program) -> Result<Option<Vec<u8>>> {
    Ok(None)
}
