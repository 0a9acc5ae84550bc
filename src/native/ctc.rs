//! CTC of one sequence: the forward-backward recursion of Graves et al., "Connectionist Temporal Classification", ICML
//! 2006, over the label with a blank before, between and behind its entries.
//!
//! The recursion runs over probabilities, not their logarithms: no exponential in its inner loop. Each number has an
//! exponent of its own (`loops.rs`), so none underflows, however long the sequence or unlikely the label.
//!
//! Of the forward variables every √T-th row is kept, and those between are computed again on the way back: the scratch
//! of a thousand steps fits the second-level cache. The gradient is written row by row as the softmax, while the row of
//! logits is in the first-level cache; the way back then replaces the few classes that occur in the label.

mod arena;
mod lattice;
mod loops;
mod rows;

use crate::ir::Dtype;
use arena::Arena;
use lattice::{Lattice, State};
use loops::Loops;
use rows::{Plane, Softmax};

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
struct Sequence<'a> {
    logits: Plane,
    /// Where it goes and what it is multiplied with.
    gradient: Option<(Plane, f64)>,
    steps: usize,
    classes: usize,
    word: &'a [u64],
    blank: usize,
}

/// Something in the data that makes no sense.
struct Fault;

impl Ctc {
    /// Bytes of scratch that a call needs.
    pub fn scratch(&self, gradient: bool) -> usize {
        let mut arena = Arena::counting();
        arena.take::<u64>(self.labels);
        Scratch::new(&mut arena, self, gradient);
        arena.used()
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
        // SAFETY: the caller's promise about the scratch.
        let mut arena = unsafe { Arena::new(scratch, self.scratch(gradient.is_some())) };
        let word = arena.take::<u64>(self.labels);
        // SAFETY: the caller's promise about the label.
        let read = unsafe { self.read(label, pred_length, label_length, blank, word) };
        let (result, status) = match read {
            Ok((steps, labels)) => {
                let mut scratch = Scratch::new(&mut arena, self, gradient.is_some());
                let sequence = Sequence {
                    logits,
                    gradient: gradient.map(|plane| (plane, head)),
                    steps,
                    classes: self.classes,
                    word: &word[..labels],
                    blank: blank as usize,
                };
                // SAFETY: the caller's promise about logits and gradient; `read` has checked lengths and classes.
                (unsafe { sequence.run(&mut scratch) }, (steps, 0))
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
        word: &mut [u64],
    ) -> Result<(usize, usize), Fault> {
        let within = |length: i64, most: usize| usize::try_from(length).ok().filter(|&n| n <= most).ok_or(Fault);
        let steps = within(pred_length, self.steps)?;
        let most = if label_length == -1 { self.labels } else { within(label_length, self.labels)? };
        within(blank, self.classes.checked_sub(1).ok_or(Fault)?)?;
        for (place, entry) in word[..most].iter_mut().enumerate() {
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
            }
        }
    }
}

/// Working memory of one call.
struct Scratch<'a> {
    softmax: Softmax<'a>,
    lattice: Lattice<'a>,
    /// Forward rows: all of one segment, or the last two.
    rows: State<'a>,
    /// The first forward row of each segment.
    starts: State<'a>,
    /// Two rows of the way back, and one between them.
    back: State<'a>,
    segment: usize,
}

/// Forward rows that are kept whole, up to so many numbers; of more, every √T-th.
const KEPT: usize = 1 << 14;

impl<'a> Scratch<'a> {
    fn new(arena: &mut Arena<'a>, call: &Ctc, gradient: bool) -> Self {
        let (steps, labels) = (call.steps, call.labels);
        let is_strided = call.logits[1] != 1 || gradient && call.gradient[1] != 1;
        let strided = if is_strided { call.classes } else { 0 };
        let states = 2 * (labels + 1);
        let segment = match steps.max(1) {
            _ if !gradient => 2,
            steps if steps.saturating_mul(states) <= KEPT => steps,
            steps => (1 + steps.isqrt()).min(steps),
        };
        let segments = if gradient { steps.div_ceil(segment).max(1) } else { 0 };
        Self {
            softmax: Softmax::new(arena, steps, strided),
            lattice: Lattice::new(arena, labels),
            rows: State::new(arena, labels, segment),
            starts: State::new(arena, labels, segments),
            back: State::new(arena, labels, if gradient { 3 } else { 0 }),
            segment,
        }
    }
}

impl Sequence<'_> {
    /// # Safety
    /// Logits and gradient are valid below `steps` and `classes`; every label and the blank is a class.
    unsafe fn run(&self, scratch: &mut Scratch) -> f64 {
        scratch.lattice.spell(self.word, self.blank);
        // SAFETY: the caller's promise.
        let finite = unsafe { scratch.softmax.rows(self.logits, self.gradient, self.steps, self.classes) };
        // SAFETY: as above.
        let (mantissa, exponent) = unsafe { self.forward(scratch) };
        let impossible = mantissa == 0.0;
        let loss = match () {
            () if !finite || mantissa.is_nan() => f64::NAN,
            () if impossible => f64::INFINITY,
            () => (-(mantissa.ln() + exponent as f64 * std::f64::consts::LN_2)).max(0.0) + 0.0,
        };
        if let Some((plane, head)) = self.gradient {
            if loss.is_finite() {
                // SAFETY: as above.
                unsafe { self.backward(scratch, plane, head, (mantissa, exponent)) };
            } else {
                let everywhere = if loss.is_nan() { f64::NAN } else { 0.0 };
                // SAFETY: as above.
                unsafe { plane.fill(0..self.steps, self.classes, everywhere) };
            }
        }
        loss
    }

    /// The forward variables; the probability of the label.
    ///
    /// # Safety
    /// As for [`run`](Self::run).
    unsafe fn forward(&self, scratch: &mut Scratch) -> (f64, i64) {
        let Scratch { softmax, lattice, rows, starts, segment, .. } = scratch;
        let loops = Loops::of_this_machine();
        if self.steps == 0 {
            return if self.word.is_empty() { (1.0, 0) } else { (0.0, 0) };
        }
        for t in 0..self.steps {
            // SAFETY: the caller's promise; t < steps.
            unsafe { softmax.emissions(self.logits, t, lattice) };
            let place = t % *segment;
            if t == 0 {
                rows.begin(lattice);
            } else {
                let from = if place == 0 { *segment - 1 } else { place - 1 };
                rows.forward(&loops, lattice, from, place, t);
            }
            if place == 0 && starts.rows() > 0 {
                starts.copy_row(t / *segment, rows, place);
            }
        }
        rows.total(lattice, (self.steps - 1) % *segment)
    }

    /// The backward variables, and with them the gradient at the classes of the label.
    ///
    /// # Safety
    /// As for [`run`](Self::run).
    unsafe fn backward(&self, scratch: &mut Scratch, plane: Plane, head: f64, total: (f64, i64)) {
        let Scratch { softmax, lattice, rows, starts, back, segment } = scratch;
        let loops = Loops::of_this_machine();
        let (mut now, mut next) = (0, 1);
        for t in (0..self.steps).rev() {
            let place = t % *segment;
            let first = t - place;
            // The lattice has the emissions of the step before.
            if t + 1 == self.steps {
                back.end(lattice, now);
            } else {
                back.backward(&loops, lattice, next, now, t);
            }
            // Of the last segment the rows are still there.
            if t + 1 < self.steps && place + 1 == *segment {
                rows.copy_row(0, starts, first / *segment);
                for t in first + 1..first + *segment {
                    // SAFETY: the caller's promise; t < steps.
                    unsafe { softmax.emissions(self.logits, t, lattice) };
                    rows.forward(&loops, lattice, t - first - 1, t - first, t);
                }
            }
            // SAFETY: as above.
            unsafe { softmax.emissions(self.logits, t, lattice) };
            lattice.weigh(&loops, rows, place, back, now, total);
            for (class, slope) in lattice.slopes() {
                // SAFETY: as above; the class is one.
                unsafe { plane.write(t, class, head * slope) };
            }
            (now, next) = (next, now);
        }
    }
}
