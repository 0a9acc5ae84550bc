//! Rows of logits: their softmax, written as the gradient while they are in the cache, and single classes of theirs.

#![allow(clippy::needless_range_loop)] // several arrays go by one index

mod narrow;
#[cfg(target_arch = "x86_64")]
pub(super) mod registers;

use super::Ctc;
use super::arena::Arena;
use super::levels::{at_every_level, one_block};
use super::scaled::{BATCH, exponent, pow2};
use crate::vmath::{self, Function};
use narrow::Narrow;
use std::ops::Range;

/// A matrix of f32 or f64 in memory, with strides in elements along steps and classes.
#[derive(Clone, Copy)]
pub(super) struct Plane {
    pub start: *mut u8,
    pub strides: [isize; 2],
    pub double: bool,
}

impl Plane {
    fn offset(&self, step: usize, class: usize) -> isize {
        step as isize * self.strides[0] + class as isize * self.strides[1]
    }

    fn at<T>(&self, step: usize, class: usize) -> *mut T {
        self.start.cast::<T>().wrapping_offset(self.offset(step, class))
    }

    /// # Safety
    /// The element is valid for reads.
    pub(super) unsafe fn read(&self, step: usize, class: usize) -> f64 {
        // SAFETY: the caller's promise.
        unsafe {
            if self.double { self.at::<f64>(step, class).read() } else { f64::from(self.at::<f32>(step, class).read()) }
        }
    }

    /// # Safety
    /// The element is valid for writes.
    pub(super) unsafe fn write(&self, step: usize, class: usize, value: f64) {
        // SAFETY: the caller's promise.
        unsafe {
            if self.double {
                self.at::<f64>(step, class).write(value);
            } else {
                self.at::<f32>(step, class).write(value as f32);
            }
        }
    }

    /// Some classes of a step, less `top`.
    ///
    /// # Safety
    /// Their elements are valid for reads.
    pub(super) unsafe fn gather(&self, step: usize, classes: &[u64], top: f64, to: &mut [f64]) {
        // SAFETY: the caller's promise.
        if self.double {
            self.each(step, classes.iter().zip(to), |at: *mut f64, x| *x = unsafe { at.read() } - top);
        } else {
            self.each(step, classes.iter().zip(to), |at: *mut f32, x| *x = f64::from(unsafe { at.read() }) - top);
        }
    }

    /// Where a row of f32 begins.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn address(&self, step: usize) -> *mut f32 {
        self.at(step, 0)
    }

    /// A row of f32 that lies along memory.
    ///
    /// # Safety
    /// So many elements are there, valid for reads during `'a`, and nobody writes them.
    #[cfg(target_arch = "x86_64")]
    pub(super) unsafe fn row<'a>(&self, step: usize, classes: usize) -> &'a [f32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts(self.at::<f32>(step, 0), classes) }
    }

    /// Some classes of a step, by their addresses and what comes with them.
    #[inline(always)]
    fn each<'a, T, With>(
        &self,
        step: usize,
        classes: impl Iterator<Item = (&'a u64, With)>,
        act: impl Fn(*mut T, With),
    ) {
        let (row, stride) = (self.at::<T>(step, 0), self.strides[1]);
        if stride == 1 {
            classes.for_each(|(&class, with)| act(row.wrapping_add(class as usize), with));
        } else {
            classes.for_each(|(&class, with)| act(row.wrapping_offset(class as isize * stride), with));
        }
    }

    /// Writes some classes of a step.
    ///
    /// # Safety
    /// Their elements are valid for writes.
    pub(super) unsafe fn scatter<'a>(&self, step: usize, values: impl Iterator<Item = (&'a u64, f64)>) {
        // SAFETY: the caller's promise.
        if self.double {
            self.each(step, values, |at: *mut f64, x| unsafe { at.write(x) });
        } else {
            self.each(step, values, |at: *mut f32, x| unsafe { at.write(x as f32) });
        }
    }

    /// # Safety
    /// The rows are valid for writes.
    pub(super) unsafe fn fill(&self, steps: Range<usize>, classes: usize, value: f64) {
        for step in steps {
            for class in 0..classes {
                // SAFETY: the caller's promise.
                unsafe { self.write(step, class, value) };
            }
        }
    }
}

/// The normalisers of every step: the largest logit, and the sum of exponentials from there.
pub(super) struct Softmax<'a> {
    top: &'a mut [f64],
    sum: &'a mut [f64],
    loops: Loops,
    /// One row of logits and one of the gradient, where theirs do not lie along memory.
    logits: &'a mut [f64],
    gradient: &'a mut [f64],
    /// Steps that are done together, and their exponentials.
    pub at_once: usize,
    exps: &'a mut [f64],
}

impl<'a> Softmax<'a> {
    pub(super) fn new(arena: &mut Arena<'a>, call: &Ctc, gradient: bool) -> Self {
        let steps = call.steps;
        let is_strided = call.logits[1] != 1 || gradient && call.gradient[1] != 1;
        let strided = if is_strided { call.classes } else { 0 };
        let narrow = if is_strided { 0 } else { narrow::size(call.classes) };
        Self {
            top: arena.take(steps),
            sum: arena.take(steps),
            loops: Loops::of_this_machine(),
            logits: arena.take(strided),
            gradient: arena.take(strided),
            at_once: if narrow > 0 { BATCH } else { 1 },
            exps: arena.take(narrow * BATCH),
        }
    }

    /// The sums of some rows, at most [`at_once`](Self::at_once); with `gradient` also head · softmax, written there.
    ///
    /// # Safety
    /// Both planes are valid at the steps and below `classes`.
    pub(super) unsafe fn rows(
        &mut self,
        logits: Plane,
        gradient: Option<(Plane, f64)>,
        steps: Range<usize>,
        classes: usize,
    ) {
        // SAFETY: the caller's promise.
        unsafe {
            if logits.double {
                self.rows_of::<f64>(logits, gradient, steps, classes);
            } else {
                self.rows_of::<f32>(logits, gradient, steps, classes);
            }
        }
    }

    /// The product of the sums of all steps, by mantissa and exponent. None where a row has no softmax: one with NaN or +∞,
    /// or with −∞ only.
    pub(super) fn product(&self, steps: usize) -> Option<(f64, i64)> {
        let (mut lanes, mut power) = ([1.0; FEW], 0);
        for some in self.sum[..steps].chunks(FEW * MANY) {
            for sums in some.chunks(FEW) {
                lanes.iter_mut().zip(sums).for_each(|(lane, sum)| *lane *= sum);
            }
            for lane in &mut lanes {
                if !lane.is_finite() {
                    return None;
                }
                let exponent = exponent(*lane);
                *lane *= pow2(-exponent);
                power += i64::from(exponent);
            }
        }
        Some((lanes.iter().product(), power))
    }

    /// The largest logits of some steps.
    pub(super) fn tops(&self, steps: Range<usize>) -> &[f64] {
        &self.top[steps]
    }

    /// The sums of e^(logit − the largest) of some steps.
    pub(super) fn sums(&self, steps: Range<usize>) -> &[f64] {
        &self.sum[steps]
    }

    /// The logarithm of the probability of a class of a step, by class.
    ///
    /// # Safety
    /// The plane is valid at the step and the classes that are asked for.
    pub(super) unsafe fn log_p(&self, logits: Plane, step: usize) -> impl Fn(usize) -> f64 {
        let log = vmath::entry::<f64>(Function::Log).expect(LEVEL).one;
        // SAFETY: the level is that of the process.
        let (top, log_sum) = (self.top[step], unsafe { log(self.sum[step]) });
        // SAFETY: the caller's promise.
        move |class| (unsafe { logits.read(step, class) } - top) - log_sum
    }

    /// # Safety
    /// As for [`rows`](Self::rows); `T` is what the planes hold.
    unsafe fn rows_of<T: Narrow>(
        &mut self,
        logits: Plane,
        gradient: Option<(Plane, f64)>,
        steps: Range<usize>,
        classes: usize,
    ) {
        if self.at_once == 1 {
            for step in steps {
                // SAFETY: the caller's promise.
                self.sum[step] = unsafe { self.row_of::<T>(logits, gradient, step, classes) };
            }
            return;
        }
        let (tops, sums) = (&mut self.top[steps.clone()], &mut self.sum[steps.clone()]);
        let size = narrow::size(classes) * steps.len();
        // SAFETY: the buffer has room for as many f64, which hold anything, and nobody else uses it.
        let exps = unsafe { std::slice::from_raw_parts_mut(self.exps[..size].as_mut_ptr().cast::<T>(), size) };
        // SAFETY: the caller's promise; classes lie along memory.
        unsafe { narrow::rows(logits, gradient, steps, classes, (tops, sums, exps)) };
    }

    /// # Safety
    /// As for [`rows_of`](Self::rows_of).
    unsafe fn row_of<T: Row>(
        &mut self,
        logits: Plane,
        gradient: Option<(Plane, f64)>,
        step: usize,
        classes: usize,
    ) -> f64 {
        let loops = self.loops;
        let along = |plane: &Plane| plane.strides[1] == 1;
        let x = if along(&logits) {
            logits.at::<T>(step, 0).cast_const()
        } else {
            let buffer = self.logits.as_mut_ptr().cast::<T>();
            for class in 0..classes {
                // SAFETY: the buffer has room for as many f64; the element is valid by the caller's promise.
                unsafe { buffer.add(class).write(logits.at::<T>(step, class).read()) };
            }
            buffer.cast_const()
        };
        // SAFETY: `x` is a row, in the plane or in the buffer.
        let top = T::top(&loops, unsafe { std::slice::from_raw_parts(x, classes) });
        self.top[step] = top.wide();
        let Some((plane, head)) = gradient else {
            // SAFETY: as above; nothing is written.
            return unsafe { T::exp_sum(x, std::ptr::null_mut(), classes, top) };
        };
        let y = if along(&plane) { plane.at::<T>(step, 0) } else { self.gradient.as_mut_ptr().cast::<T>() };
        // SAFETY: `y` is a row as `x` is, and of another buffer.
        let (sum, y) = unsafe { (T::exp_sum(x, y, classes, top), std::slice::from_raw_parts_mut(y, classes)) };
        T::scale(&loops, y, head / sum);
        if !along(&plane) {
            for (class, &value) in y.iter().enumerate() {
                // SAFETY: the caller's promise.
                unsafe { plane.at::<T>(step, class).write(value) };
            }
        }
        sum
    }
}

/// e^x in place.
pub(super) fn exp_in_place(x: &mut [f64]) {
    let exp = vmath::entry::<f64>(Function::Exp).expect(LEVEL);
    // SAFETY: one slice, read and written in place.
    unsafe { (exp.map)(x.as_ptr(), x.as_mut_ptr(), x.len(), 1.0, -0.0, 0) };
}

const LEVEL: &str = "a kernel is compiled for a level that is there";

/// f32 or f64.
trait Row: Copy {
    fn wide(self) -> f64;
    fn top(loops: &Loops, x: &[Self]) -> Self;
    fn scale(loops: &Loops, x: &mut [Self], factor: f64);
    /// `y = exp(x − top)` where y is not null; the sum.
    ///
    /// # Safety
    /// `x` and `y` are valid for `count` elements; `y` may be null.
    unsafe fn exp_sum(x: *const Self, y: *mut Self, count: usize, top: Self) -> f64;
}

macro_rules! row {
    ($real:ident, $top:ident, $scale:ident) => {
        impl Row for $real {
            fn wide(self) -> f64 {
                f64::from(self)
            }

            fn top(loops: &Loops, x: &[Self]) -> Self {
                loops.$top(x)
            }

            fn scale(loops: &Loops, x: &mut [Self], factor: f64) {
                loops.$scale(x, factor as $real)
            }

            unsafe fn exp_sum(x: *const Self, y: *mut Self, count: usize, top: Self) -> f64 {
                let exp = vmath::entry::<$real>(Function::Exp).expect(LEVEL);
                let form = if y.is_null() { exp.sum } else { exp.map_sum };
                // SAFETY: the caller's promise.
                unsafe { form(x, y, count, 1.0, -top, 0) }
            }
        }
    };
}
row!(f32, top_f32, scale_f32);
row!(f64, top_f64, scale_f64);

const LANES: usize = 32;
/// Lanes of smaller blocks.
const SMALL: usize = LANES / 2;
/// Lanes of what is left after whole blocks.
const FEW: usize = 8;
/// So many sums of exponentials multiplied are a number: each is below 2^60.
const MANY: usize = 16;

/// Every lane to the larger of two; NaN counts as nothing.
#[inline(always)]
fn raise<T: Copy + PartialOrd>(lanes: &mut [T], others: &[T]) {
    for (lane, &other) in lanes.iter_mut().zip(others) {
        *lane = if other > *lane { other } else { *lane };
    }
}

macro_rules! row_loops {
    ($top:ident, $scale:ident, $real:ident) => {
        /// The largest; NaN counts as nothing.
        #[inline(always)]
        fn $top(x: &[$real]) -> $real {
            let mut lanes = [$real::NEG_INFINITY; LANES];
            let (blocks, rest) = x.as_chunks::<LANES>();
            blocks.iter().for_each(|block| raise(&mut lanes, block));
            let mut few = [$real::NEG_INFINITY; FEW];
            lanes.as_chunks::<FEW>().0.iter().for_each(|lanes| raise(&mut few, lanes));
            rest.as_chunks::<FEW>().0.iter().for_each(|block| raise(&mut few, block));
            match x.last_chunk::<FEW>() {
                // It overlaps the block before it, which does not matter to a maximum.
                Some(last) => raise(&mut few, last),
                None => x.iter().for_each(|&x| raise(&mut few[..1], &[x])),
            }
            // Else the compiler makes vectors of so few lanes as the last comparisons have.
            let mut few = std::hint::black_box(few);
            let mut width = FEW / 2;
            while width > 0 {
                let (low, high) = few.split_at_mut(width);
                raise(low, &high[..width]);
                width /= 2;
            }
            few[0]
        }

        #[inline(always)]
        fn $scale(x: &mut [$real], factor: $real) {
            let (blocks, rest) = x.as_chunks_mut::<SMALL>();
            for block in blocks {
                one_block();
                for lane in 0..SMALL {
                    block[lane] *= factor;
                }
            }
            rest.iter_mut().for_each(|x| *x *= factor);
        }
    };
}
row_loops!(top_f32, scale_f32, f32);
row_loops!(top_f64, scale_f64, f64);

at_every_level! {
    Loops uses {}
    top_f32(x: &[f32]) -> f32;
    top_f64(x: &[f64]) -> f64;
    scale_f32(x: &mut [f32], factor: f32);
    scale_f64(x: &mut [f64], factor: f64);
}
