//! Rows of logits: their softmax, written as the gradient while they are in the cache, and the probabilities of single
//! classes.

use super::arena::Arena;
use super::lattice::Lattice;
use super::loops::Loops;
use crate::vmath::{self, Function};
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

/// The normalisers of every step: the largest logit, and the logarithm of the sum of exponentials from there.
pub(super) struct Softmax<'a> {
    top: &'a mut [f64],
    log_sum: &'a mut [f64],
    /// One row of logits and one of the gradient, where theirs do not lie along memory.
    logits: &'a mut [f64],
    gradient: &'a mut [f64],
}

impl<'a> Softmax<'a> {
    /// `strided`: the classes, where a row does not lie along memory.
    pub(super) fn new(arena: &mut Arena<'a>, steps: usize, strided: usize) -> Self {
        Self {
            top: arena.take(steps),
            log_sum: arena.take(steps),
            logits: arena.take(strided),
            gradient: arena.take(strided),
        }
    }

    /// Normalisers of all rows, and head · softmax as their gradient. Whether every row has a softmax: none with NaN or
    /// +∞, or with −∞ only.
    ///
    /// # Safety
    /// Both planes are valid below `steps` and `classes`.
    pub(super) unsafe fn rows(
        &mut self,
        logits: Plane,
        gradient: Option<(Plane, f64)>,
        steps: usize,
        classes: usize,
    ) -> bool {
        let mut all = true;
        for step in 0..steps {
            // SAFETY: the caller's promise.
            let sum = unsafe {
                if logits.double {
                    self.row::<f64>(logits, gradient, step, classes)
                } else {
                    self.row::<f32>(logits, gradient, step, classes)
                }
            };
            all &= sum.is_finite();
            self.log_sum[step] = sum.ln();
        }
        all
    }

    /// # Safety
    /// As for [`rows`](Self::rows); `T` is what the planes hold.
    unsafe fn row<T: Row>(
        &mut self,
        logits: Plane,
        gradient: Option<(Plane, f64)>,
        step: usize,
        classes: usize,
    ) -> f64 {
        let loops = Loops::of_this_machine();
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

    /// Gives the lattice the probabilities of a step.
    ///
    /// # Safety
    /// The plane is valid at the step, whose normalisers are known.
    pub(super) unsafe fn emissions(&self, logits: Plane, step: usize, lattice: &mut Lattice) {
        let (top, log_sum) = (self.top[step], self.log_sum[step]);
        // SAFETY: the caller's promise.
        let log_p = |class: usize| (unsafe { logits.read(step, class) } - top) - log_sum;
        lattice.emit(exp_map, log_p);
    }
}

/// e^x in place.
fn exp_map(x: &mut [f64]) {
    let exp = vmath::entry::<f64>(Function::Exp).expect("a kernel is compiled for a level that is there");
    // SAFETY: one slice, read and written in place.
    unsafe { (exp.map)(x.as_ptr(), x.as_mut_ptr(), x.len(), 1.0, -0.0) };
}

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
                let exp = vmath::entry::<$real>(Function::Exp).expect("a kernel is compiled for a level that is there");
                let form = if y.is_null() { exp.sum } else { exp.map_sum };
                // SAFETY: the caller's promise.
                unsafe { form(x, y, count, 1.0, -top) }
            }
        }
    };
}
row!(f32, top_f32, scale_f32);
row!(f64, top_f64, scale_f64);
