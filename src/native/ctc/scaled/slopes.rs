//! From posteriors to the gradient at the classes of a label.

#[cfg(target_arch = "x86_64")]
mod registers;

use super::super::Ctc;
use super::super::arena::Arena;
use super::super::rows::Plane;
use super::super::word::Word;
use super::loops::{Block, Emission, Loops, Slope};
use super::{BACK, LANES};
#[cfg(target_arch = "x86_64")]
use registers::Registers;

pub(super) struct Slopes<'a> {
    loops: Loops,
    /// Blocks of a row.
    blocks: usize,
    /// By step and entry: the posterior, times the mantissa of the probability of all paths; in the end the
    /// slope.
    pub weights: &'a mut [Block<f64>],
    /// Where they can write them.
    #[cfg(target_arch = "x86_64")]
    registers: Option<Registers<'a>>,
}

/// Steps of a sequence, with what slopes are made of: `head · (emission / sum − posterior / mantissa)`.
#[derive(Clone, Copy)]
pub(super) struct Steps<'a> {
    pub plane: Plane,
    pub first: usize,
    pub emission: Emission<'a>,
    /// The posteriors of the blank, as those of entries.
    pub blanks: &'a [f64],
    pub sums: &'a [f64],
    pub head: f64,
    pub mantissa: f64,
}

impl Steps<'_> {
    /// Of the k-th of the steps.
    #[inline(always)]
    fn slope(&self, k: usize) -> Slope {
        Slope { head: self.head, weight: 1.0 / self.sums[k], inverse: 1.0 / self.mantissa }
    }
}

impl<'a> Slopes<'a> {
    /// For rows of so many blocks.
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables))]
    pub(super) fn new(arena: &mut Arena<'a>, call: &Ctc, blocks: usize) -> Self {
        let loops = Loops::of_this_machine();
        Self {
            loops,
            blocks,
            weights: arena.take(blocks.saturating_mul(BACK)),
            #[cfg(target_arch = "x86_64")]
            registers: Registers::new(arena, loops, call),
        }
    }

    /// Begins a label.
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_variables))]
    pub(super) fn spell(&mut self, word: &Word) {
        #[cfg(target_arch = "x86_64")]
        if let Some(registers) = &mut self.registers {
            registers.spell(word);
        }
    }

    /// Writes the gradient of some steps at the classes of the label.
    ///
    /// # Safety
    /// The plane is valid at the steps and every class of the word.
    pub(super) unsafe fn write(&mut self, word: &Word, steps: Steps) {
        let weights = &mut self.weights[..self.blocks * steps.sums.len()];
        for posteriors in weights.as_flattened_mut().chunks_exact_mut(self.blocks * LANES) {
            for &[entry, first] in word.repeats() {
                posteriors[first as usize] += posteriors[entry as usize];
            }
        }
        #[cfg(target_arch = "x86_64")]
        if let Some(registers) = &self.registers {
            // SAFETY: the caller's promise; rows are f32 along memory, and the machine has AVX-512.
            return unsafe { registers.write(word.count, weights, steps) };
        }
        for (k, weights) in weights.chunks_exact_mut(self.blocks).enumerate() {
            let slope = steps.slope(k);
            self.loops.slopes(weights, steps.emission.row(k), slope);
            // SAFETY: the caller's promise.
            unsafe {
                write(
                    word,
                    (steps.plane, steps.first + k),
                    weights.as_flattened(),
                    slope.at(steps.emission.blanks[k], steps.blanks[k]),
                )
            };
        }
    }
}

/// Writes the slopes of a step.
///
/// # Safety
/// As for [`Slopes::write`].
unsafe fn write(word: &Word, (plane, step): (Plane, usize), slopes: &[f64], of_blank: f64) {
    let [blank, classes @ ..] = word.classes() else { unreachable!("the blank is a class") };
    // SAFETY: the caller's promise.
    unsafe {
        plane.write(step, *blank as usize, of_blank);
        plane.scatter(step, classes.iter().zip(word.firsts().iter().map(|&first| slopes[first as usize])));
    }
}
