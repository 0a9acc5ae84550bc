//! Emissions of narrow rows of f32 in registers of AVX-512, bit by bit those that `emissions.rs` makes otherwise.

use super::super::super::Ctc;
use super::super::super::arena::Arena;
use super::super::super::picks::{self, Picks};
use super::super::super::rows::{Plane, registers::load};
use super::super::loops::{Block, Loops};
use crate::ir::Dtype;
use crate::vmath::Level;
use crate::vmath::registers::double;
use std::arch::x86_64::*;

/// Registers that are computed together.
const TOGETHER: usize = 8;

/// What of a row is at each entry.
pub(super) struct Registers<'a> {
    picks: Picks<'a>,
    /// Of a row.
    classes: usize,
}

impl<'a> Registers<'a> {
    /// For so many lanes of entries, where the rows of a call are narrow and the machine has AVX-512.
    pub(super) fn new(arena: &mut Arena<'a>, loops: Loops, call: &Ctc, lanes: usize) -> Option<Self> {
        let is_narrow = call.real == Dtype::F32 && call.logits[1] == 1 && call.classes <= picks::MOST;
        (is_narrow && loops.level == Level::Avx512)
            .then(|| Self { picks: Picks::new(arena, lanes), classes: call.classes })
    }

    /// Takes the classes by lane.
    pub(super) fn spell(&mut self, classes: &[u64]) {
        self.picks.clear();
        for (lane, &class) in classes.iter().enumerate() {
            self.picks.set(lane, class as usize);
        }
    }

    /// Takes the logits of some steps at the entries and at the blank, less the largest; the least of each step.
    ///
    /// # Safety
    /// The machine has AVX-512. The logits are valid at the steps and every class of the call.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub(super) unsafe fn take(&self, rows: Rows, entries: &mut [Block<f64>], blanks: &mut [f64], least: &mut [f64]) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.classes.div_ceil(picks::LANES) {
                1 => self.take_of::<1>(rows, entries, blanks, least),
                2 => self.take_of::<2>(rows, entries, blanks, least),
                3 => self.take_of::<3>(rows, entries, blanks, least),
                4 => self.take_of::<4>(rows, entries, blanks, least),
                5 => self.take_of::<5>(rows, entries, blanks, least),
                6 => self.take_of::<6>(rows, entries, blanks, least),
                7 => self.take_of::<7>(rows, entries, blanks, least),
                picks::REGISTERS => self.take_of::<{ picks::REGISTERS }>(rows, entries, blanks, least),
                _ => unreachable!("narrow rows have as many classes at most"),
            }
        }
    }

    /// Of rows in so many registers.
    ///
    /// # Safety
    /// As for [`take`](Self::take).
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    unsafe fn take_of<const N: usize>(
        &self,
        rows: Rows,
        entries: &mut [Block<f64>],
        blanks: &mut [f64],
        least: &mut [f64],
    ) {
        let width = entries.len() / rows.tops.len();
        let steps = entries.chunks_exact_mut(width).zip(rows.tops).zip(blanks).zip(least);
        for (k, (((to, &top), blank), least)) in steps.enumerate() {
            // SAFETY: the caller's promise.
            let row = unsafe { rows.logits.row(rows.first + k, self.classes) };
            *blank = f64::from(row[rows.blank]) - top;
            let least_entry = self.take_row::<N>(row, top, to);
            *least = if *blank < least_entry { *blank } else { least_entry };
        }
    }

    /// The logits of a row at the entries, less `top`; the least of them.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    #[inline]
    fn take_row<const N: usize>(&self, row: &[f32], top: f64, to: &mut [Block<f64>]) -> f64 {
        let row = load::<N>(row, self.classes);
        let top = _mm512_set1_pd(top);
        let mut least = _mm512_setzero_pd();
        for (register, to) in to.chunks_mut(2).enumerate() {
            let (x, _) = self.picks.pick(register, &row);
            let halves = [_mm512_castps512_ps256(x), _mm512_extractf32x8_ps::<1>(x)];
            for (to, half) in to.iter_mut().zip(halves) {
                let x = _mm512_sub_pd(_mm512_cvtps_pd(half), top);
                // The second where the first is no number.
                least = _mm512_min_pd(x, least);
                // SAFETY: a block is as long as a register.
                unsafe { _mm512_storeu_pd(to.as_mut_ptr(), x) };
            }
        }
        _mm512_reduce_min_pd(least)
    }
}

/// Some rows of logits, from a first step on, with the largest of each.
#[derive(Clone, Copy)]
pub(super) struct Rows<'a> {
    pub logits: Plane,
    pub blank: usize,
    pub first: usize,
    pub tops: &'a [f64],
}

/// e^x in place.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub(super) fn exp(x: &mut [Block<f64>]) {
    let (most, rest) = x.as_chunks_mut::<TOGETHER>();
    most.iter_mut().for_each(|x| exp_of(x));
    rest.as_chunks_mut::<1>().0.iter_mut().for_each(|x| exp_of(x));
}

#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
#[inline]
fn exp_of<const N: usize>(blocks: &mut [Block<f64>; N]) {
    let mut x = [_mm512_setzero_pd(); N];
    for (x, block) in x.iter_mut().zip(&*blocks) {
        // SAFETY: a block is as long as a register, here and below.
        *x = unsafe { _mm512_loadu_pd(block.as_ptr()) };
    }
    for (block, x) in blocks.iter_mut().zip(double(x)) {
        unsafe { _mm512_storeu_pd(block.as_mut_ptr(), x) };
    }
}
