//! CTC of one sequence: the forward-backward recursion of Graves et al., "Connectionist Temporal Classification", ICML
//! 2006, over the label with a blank before, between and behind its entries.
//!
//! The recursion runs over probabilities, not their logarithms: no exponential in its inner loop. There are two, with
//! equal results: `scaled.rs` computes in plain f64 with shared exponents, and gives up where a number would leave them;
//! `exact.rs` then does the sequence with an exponent for each number, at several times the cost.
//!
//! Of long sequences every √T-th forward row is kept, and those between are computed again on the way back: the scratch
//! of a thousand steps fits the second-level cache. The gradient is written row by row as the softmax, while the row of
//! logits is in the first-level cache; the way back then replaces the few classes that occur in the label.

mod arena;
mod exact;
mod levels;
#[cfg(target_arch = "x86_64")]
mod picks;
mod rows;
mod scaled;
#[cfg(test)]
mod tests;
mod word;

use crate::ir::Dtype;
use arena::Arena;
use exact::Exact;
use rows::{Plane, Softmax};
use scaled::{BATCH, GivenUp, Scaled};
use std::f64::consts::LN_2;
use word::Word;

/// What calls have in common: dtypes, extents, and strides in elements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ctc {
    /// Of logits and gradient: f32 or f64.
    pub real: Dtype,
    pub label: Dtype,
    pub steps: usize,
    pub classes: usize,
    pub labels: usize,
    /// Along steps and classes.
    pub logits: [isize; 2],
    pub label_stride: isize,
    /// Along steps and classes.
    pub gradient: [isize; 2],
}

/// What one call is about.
struct Sequence {
    logits: Plane,
    /// Where it goes and what it is multiplied with.
    gradient: Option<(Plane, f64)>,
    steps: usize,
    classes: usize,
}

/// Something in the data that makes no sense.
struct Fault;

impl Ctc {
    /// Bytes of scratch that a call needs.
    pub fn scratch(&self, gradient: bool) -> usize {
        let mut arena = Arena::counting();
        Common::new(&mut arena, self, gradient);
        let mut rest = arena.rest();
        Scaled::new(&mut rest, self, gradient);
        let scaled = rest.used();
        let mut rest = arena.rest();
        Exact::new(&mut rest, self.steps, self.labels, gradient);
        scaled.max(rest.used())
    }

    /// The loss of a sequence; with `gradient` not null also head · (softmax − posterior), and 0 for steps that do not
    /// count. Where no alignment exists the loss is +∞ and the gradient 0, whatever the head.
    ///
    /// `pred_length` steps count and `label_length` labels; −1 labels are those before the first −1. Returns 0, or 1
    /// where a length or a label is out of range; then the loss is NaN and the gradient 0.
    ///
    /// # Safety
    /// `logits` and `label` are valid for reads at every index below the extents under the strides and dtypes, and
    /// `gradient`, where it is not null, for writes; none overlaps another. `loss` is valid for a write. `scratch` is
    /// valid for as many bytes as [`scratch`](Self::scratch) says, aligned to 64, and nobody else uses it.
    #[allow(clippy::too_many_arguments)]
    pub unsafe fn run(
        &self,
        logits: *const u8,
        label: *const u8,
        pred_length: i64,
        label_length: i64,
        blank: i64,
        head: f64,
        loss: *mut f64,
        gradient: *mut u8,
        scratch: *mut u8,
    ) -> u32 {
        let double = self.real == Dtype::F64;
        let logits = Plane { start: logits.cast_mut(), strides: self.logits, double };
        let gradient = (!gradient.is_null()).then_some(Plane { start: gradient, strides: self.gradient, double });
        // What is handed out is what the same lines count; short sequences would take notice of counting it at each call.
        let size = if cfg!(debug_assertions) { self.scratch(gradient.is_some()) } else { usize::MAX };
        // SAFETY: the caller's promise about the scratch.
        let mut arena = unsafe { Arena::new(scratch, size) };
        let Common { entries, mut word, mut softmax } = Common::new(&mut arena, self, gradient.is_some());
        // SAFETY: the caller's promise about the label.
        let read = unsafe { self.read(label, pred_length, label_length, blank, entries) };
        let (result, status) = match read {
            Ok((steps, labels)) => {
                word.spell(&entries[..labels], blank as usize);
                let gradient = gradient.map(|plane| (plane, head));
                let sequence = Sequence { logits, gradient, steps, classes: self.classes };
                // SAFETY: the caller's promise about logits and gradient; `read` has checked lengths and classes.
                (unsafe { sequence.run(self, &word, &mut softmax, &mut arena) }, (steps, 0))
            }
            Err(Fault) => (f64::NAN, (0, 1)),
        };
        let (counting, status) = status;
        if let Some(plane) = gradient {
            // SAFETY: the caller's promise about the gradient.
            unsafe { plane.fill(counting..self.steps, self.classes, 0.0) };
        }
        // SAFETY: the caller's promise about the loss.
        unsafe { loss.write(result) };
        status
    }

    /// The steps and labels that count, and the labels themselves.
    ///
    /// # Safety
    /// As for [`run`](Self::run).
    unsafe fn read(
        &self,
        label: *const u8,
        pred_length: i64,
        label_length: i64,
        blank: i64,
        entries: &mut [u64],
    ) -> Result<(usize, usize), Fault> {
        let within = |length: i64, most: usize| usize::try_from(length).ok().filter(|&n| n <= most).ok_or(Fault);
        let steps = within(pred_length, self.steps)?;
        let most = if label_length == -1 { self.labels } else { within(label_length, self.labels)? };
        within(blank, self.classes.checked_sub(1).ok_or(Fault)?)?;
        for (place, entry) in entries[..most].iter_mut().enumerate() {
            // SAFETY: the caller's promise; place < labels.
            let value = unsafe { self.label_at(label, place) }?;
            if value == -1 && label_length == -1 {
                return Ok((steps, place));
            }
            if value == blank || value < 0 || value >= self.classes as i64 {
                return Err(Fault);
            }
            *entry = value as u64;
        }
        Ok((steps, most))
    }

    /// # Safety
    /// As for [`run`](Self::run); `place` is below `labels`.
    unsafe fn label_at(&self, label: *const u8, place: usize) -> Result<i64, Fault> {
        let offset = place as isize * self.label_stride;
        let whole = |x: f64| if x.fract() == 0.0 && x.abs() < 1e18 { Ok(x as i64) } else { Err(Fault) };
        // SAFETY: the caller's promise.
        unsafe {
            match self.label {
                Dtype::I32 => Ok(i64::from(label.cast::<i32>().offset(offset).read())),
                Dtype::I64 => Ok(label.cast::<i64>().offset(offset).read()),
                Dtype::U8 => Ok(i64::from(label.offset(offset).read())),
                Dtype::U32 => Ok(i64::from(label.cast::<u32>().offset(offset).read())),
                Dtype::F32 => whole(f64::from(label.cast::<f32>().offset(offset).read())),
                Dtype::F64 => whole(label.cast::<f64>().offset(offset).read()),
                Dtype::Bf16 | Dtype::F16 => Err(Fault),
            }
        }
    }
}

/// Working memory that both recursions use.
struct Common<'a> {
    entries: &'a mut [u64],
    word: Word<'a>,
    softmax: Softmax<'a>,
}

impl<'a> Common<'a> {
    fn new(arena: &mut Arena<'a>, call: &Ctc, gradient: bool) -> Self {
        Self {
            entries: arena.take(call.labels),
            word: Word::new(arena, call.labels),
            softmax: Softmax::new(arena, call, gradient),
        }
    }
}

impl Sequence {
    /// The loss, and the gradient of steps that count.
    ///
    /// # Safety
    /// Logits and gradient are valid below `steps` and `classes`; every label and the blank is a class. The arena has
    /// what [`Ctc::scratch`] counts.
    unsafe fn run(&self, call: &Ctc, word: &Word, softmax: &mut Softmax, arena: &mut Arena) -> f64 {
        if self.steps == 0 {
            return if word.count == 0 { 0.0 } else { f64::INFINITY };
        }
        let gradient = self.gradient.is_some();
        let mut scaled = Scaled::new(&mut arena.rest(), call, gradient);
        // SAFETY: the caller's promise.
        if let Ok(loss) = unsafe { self.scaled(word, softmax, &mut scaled) } {
            return loss;
        }
        let mut exact = Exact::new(&mut arena.rest(), call.steps, call.labels, gradient);
        // SAFETY: the caller's promise; the softmax has all rows.
        unsafe { self.exact(word, softmax, &mut exact) }
    }

    /// By the recursion in plain f64, and the rows of the softmax on the way, all of them in any case.
    ///
    /// # Safety
    /// As for [`run`](Self::run).
    unsafe fn scaled(&self, word: &Word, softmax: &mut Softmax, scaled: &mut Scaled) -> Result<f64, GivenUp> {
        scaled.spell(word);
        let mut going = Ok(());
        for first in (0..self.steps).step_by(BATCH) {
            let batch = first..self.steps.min(first + BATCH);
            for first in batch.clone().step_by(softmax.at_once) {
                let some = first..batch.end.min(first + softmax.at_once);
                // SAFETY: the caller's promise.
                unsafe { softmax.rows(self.logits, self.gradient, some.clone(), self.classes) };
                // SAFETY: as above.
                unsafe { scaled.emissions.take(self.logits, word, some.clone(), softmax.tops(some)) };
            }
            if going.is_ok() {
                scaled.emissions.make(batch.clone());
                going = scaled.forward(word, batch);
            }
        }
        let Some((sums, power)) = softmax.product(self.steps) else {
            // SAFETY: as above.
            return Ok(unsafe { self.without(f64::NAN) });
        };
        going?;
        let (mantissa, exponent) = scaled.total(word, self.steps);
        let loss = (sums / mantissa).ln() + (power - i64::from(exponent)) as f64 * LN_2;
        if mantissa == 0.0 || loss == f64::INFINITY {
            // SAFETY: as above.
            return Ok(unsafe { self.without(f64::INFINITY) });
        }
        if let Some(gradient) = self.gradient {
            // SAFETY: as above.
            unsafe { scaled.backward(softmax, word, gradient, (mantissa, exponent), self.steps) }?;
        }
        Ok(loss.max(0.0) + 0.0)
    }

    /// By the recursion with an exponent for each number.
    ///
    /// # Safety
    /// As for [`run`](Self::run); the softmax has all rows.
    unsafe fn exact(&self, word: &Word, softmax: &Softmax, exact: &mut Exact) -> f64 {
        // SAFETY: the caller's promise.
        let (mantissa, exponent) = unsafe { exact.forward(self, softmax, word) };
        if mantissa == 0.0 {
            // SAFETY: as above.
            return unsafe { self.without(f64::INFINITY) };
        }
        if let Some(gradient) = self.gradient {
            // SAFETY: as above.
            unsafe { exact.backward(self, softmax, word, gradient, (mantissa, exponent)) };
        }
        (-(mantissa.ln() + exponent as f64 * LN_2)).max(0.0) + 0.0
    }

    /// A loss without a gradient: NaN where it is NaN itself, else 0.
    ///
    /// # Safety
    /// As for [`run`](Self::run).
    unsafe fn without(&self, loss: f64) -> f64 {
        if let Some((plane, _)) = self.gradient {
            // SAFETY: the caller's promise.
            unsafe { plane.fill(0..self.steps, self.classes, if loss.is_nan() { f64::NAN } else { 0.0 }) };
        }
        loss
    }
}
