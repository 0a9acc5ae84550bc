//! Views: arrays at the edge of the core, as memory with dtype, shape and strides. There is no tensor type; slices and
//! arrays of others become views without a copy.

use crate::error::{Error, Result};
use crate::ir::Dtype;
use half::{bf16, f16};
use ndarray::{ArrayBase, ArrayD, ArrayViewD, ArrayViewMutD, Axis, Data, DataMut, Dimension, IxDyn, ShapeBuilder};
use smallvec::SmallVec;
use std::marker::PhantomData;

/// Dimensions of one array; up to six need no allocation.
pub(crate) type Dims<T> = SmallVec<[T; 6]>;

/// An element that a buffer can hold. Sealed: the dtype says how memory is read, so no other type may claim one.
pub trait Element: sealed::Element + Copy + Send + Sync + 'static {
    const DTYPE: Dtype;
}

mod sealed {
    pub trait Element {}
}

macro_rules! elements {
    ($($ty:ty => $dtype:ident;)*) => { $(
        impl sealed::Element for $ty {}
        impl Element for $ty { const DTYPE: Dtype = Dtype::$dtype; }
    )* };
}

elements! {
    f32 => F32;
    f64 => F64;
    i32 => I32;
    i64 => I64;
    u8 => U8;
    u32 => U32;
    bf16 => Bf16;
    f16 => F16;
}

/// A float that results are in: `f32`, `f64`, or [`half`]'s `bf16` or `f16`.
pub trait Real: Element + Default + std::fmt::Debug + PartialEq {
    /// What is computed in: `f32` for the floats of 16 bits, otherwise the same.
    type Computed: Real;

    fn from_f64(value: f64) -> Self;
    fn to_f64(self) -> f64;
}

macro_rules! reals {
    ($($ty:ty as $computed:ty = $from:expr;)*) => { $(
        impl Real for $ty {
            type Computed = $computed;

            fn from_f64(value: f64) -> Self {
                $from(value)
            }

            fn to_f64(self) -> f64 {
                f64::from(self)
            }
        }
    )* };
}

reals! {
    f32 as f32 = |x| x as f32;
    f64 as f64 = |x| x;
    // By way of f32, as machine code rounds; `half` itself takes the upper 32 bits of an f64 only.
    bf16 as f32 = |x| bf16::from_f32(x as f32);
    f16 as f32 = |x| f16::from_f32(x as f32);
}

/// An array to read: element `i, j, …` lies at `start + i·strides[0] + j·strides[1] + …`, counted in elements.
#[derive(Clone, Debug)]
pub struct View<'a> {
    pub(crate) start: *const u8,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Dims<usize>,
    pub(crate) strides: Dims<isize>,
    memory: PhantomData<&'a [u8]>,
}

// SAFETY: a view is a shared borrow of plain elements, as `&[T]` is.
unsafe impl Send for View<'_> {}
// SAFETY: as above; nothing is written through it.
unsafe impl Sync for View<'_> {}

/// An array to write; its elements do not overlap.
#[derive(Debug)]
pub struct ViewMut<'a> {
    pub(crate) start: *mut u8,
    pub(crate) dtype: Dtype,
    pub(crate) shape: Dims<usize>,
    pub(crate) strides: Dims<isize>,
    memory: PhantomData<&'a mut [u8]>,
}

// SAFETY: a mutable view is an exclusive borrow of plain elements, as `&mut [T]` is.
unsafe impl Send for ViewMut<'_> {}

/// The strides of a row-major array.
pub(crate) fn row_major(shape: &[usize]) -> Dims<isize> {
    let mut strides: Dims<isize> = SmallVec::from_elem(0, shape.len());
    let mut step = 1isize;
    for (stride, &size) in strides.iter_mut().zip(shape).rev() {
        *stride = step;
        step = step.saturating_mul(size.max(1) as isize);
    }
    strides
}

/// Checks that a slice of `len` elements holds every element of a shape whose first lies at `offset`; row-major strides
/// where none are given.
fn fit(shape: &[usize], strides: Option<&[isize]>, offset: usize, len: usize) -> Result<Dims<isize>> {
    let layout = |problem: String| Error::Layout { input: "view".into(), problem };
    let strides: Dims<isize> = match strides {
        None => row_major(shape),
        Some(given) if given.len() == shape.len() => given.into(),
        Some(given) => {
            return Err(layout(format!("{} strides for {} dimensions", given.len(), shape.len())));
        }
    };
    let count = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
    let count = count.ok_or_else(|| layout(format!("shape {shape:?} has more elements than memory has room for")))?;
    let overflows = || layout(format!("shape {shape:?} with strides {strides:?} overflows"));
    let mut first = isize::try_from(offset).map_err(|_| overflows())?;
    let mut last = first;
    for (&size, &stride) in shape.iter().zip(&strides) {
        let reach = isize::try_from(size.saturating_sub(1)).ok().and_then(|steps| steps.checked_mul(stride));
        let end = if stride < 0 { &mut first } else { &mut last };
        *end = reach.and_then(|reach| end.checked_add(reach)).ok_or_else(overflows)?;
    }
    if count > 0 && first < 0 {
        return Err(layout(format!(
            "shape {shape:?} with strides {strides:?} reaches {} elements before the slice",
            -first
        )));
    }
    if count > 0 && last as usize >= len {
        return Err(layout(format!(
            "shape {shape:?} with strides {strides:?} needs {} elements, but the slice has {len}",
            last + 1
        )));
    }
    Ok(strides)
}

impl<'a> View<'a> {
    /// A row-major array in a slice.
    ///
    /// # Errors
    /// The slice is too short for the shape.
    pub fn new<T: Element>(slice: &'a [T], shape: &[usize]) -> Result<Self> {
        Self::build(slice, 0, shape, None)
    }

    /// An array in a slice, with strides in elements.
    ///
    /// # Errors
    /// An element would lie outside the slice.
    pub fn with_strides<T: Element>(slice: &'a [T], shape: &[usize], strides: &[isize]) -> Result<Self> {
        Self::build(slice, 0, shape, Some(strides))
    }

    /// An array in a slice whose first element lies at `offset`; strides may be negative.
    ///
    /// ```
    /// use lossjit::View;
    ///
    /// let backwards = View::with_offset(&[1.0f32, 2.0, 3.0], 2, &[3], &[-1])?;
    /// assert_eq!(backwards.to_f64(), [3.0, 2.0, 1.0]);
    /// # Ok::<(), lossjit::Error>(())
    /// ```
    ///
    /// # Errors
    /// An element would lie outside the slice.
    pub fn with_offset<T: Element>(slice: &'a [T], offset: usize, shape: &[usize], strides: &[isize]) -> Result<Self> {
        Self::build(slice, offset, shape, Some(strides))
    }

    fn build<T: Element>(slice: &'a [T], offset: usize, shape: &[usize], strides: Option<&[isize]>) -> Result<Self> {
        let strides = fit(shape, strides, offset, slice.len())?;
        // Where there is no element, the offset may be anywhere.
        let start = slice.as_ptr().wrapping_add(offset).cast();
        Ok(Self { start, dtype: T::DTYPE, shape: shape.into(), strides, memory: PhantomData })
    }

    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn strides(&self) -> &[isize] {
        &self.strides
    }

    /// The elements in row-major order, each widened by `read`.
    fn collect<T: Element, U>(&self, read: impl Fn(T) -> U) -> Vec<U> {
        debug_assert_eq!(T::DTYPE, self.dtype);
        let count = self.shape.iter().product();
        let mut index: Dims<usize> = SmallVec::from_elem(0, self.shape.len());
        let mut values = Vec::with_capacity(count);
        for _ in 0..count {
            let offset: isize = index.iter().zip(&self.strides).map(|(&i, &s)| i as isize * s).sum();
            // SAFETY: the view's maker has shown that every index within the shape lies in the borrowed memory.
            values.push(read(unsafe { *self.start.cast::<T>().offset(offset) }));
            for (i, &size) in index.iter_mut().zip(&self.shape).rev() {
                *i += 1;
                if *i < size {
                    break;
                }
                *i = 0;
            }
        }
        values
    }

    /// The elements as f64, in row-major order.
    pub fn to_f64(&self) -> Vec<f64> {
        match self.dtype {
            Dtype::F32 => self.collect(|x: f32| f64::from(x)),
            Dtype::F64 => self.collect(|x: f64| x),
            Dtype::I32 => self.collect(|x: i32| f64::from(x)),
            Dtype::I64 => self.collect(|x: i64| x as f64),
            Dtype::U8 => self.collect(|x: u8| f64::from(x)),
            Dtype::U32 => self.collect(|x: u32| f64::from(x)),
            Dtype::Bf16 => self.collect(bf16::to_f64),
            Dtype::F16 => self.collect(f16::to_f64),
        }
    }

    /// The elements as integers, in row-major order; `Err` has the place of the first float that is not whole.
    pub(crate) fn to_i64(&self) -> Result<Vec<i64>, (usize, f64)> {
        let whole = |values: Vec<f64>| {
            let as_int = |(place, x): (usize, f64)| if x.fract() == 0.0 { Ok(x as i64) } else { Err((place, x)) };
            values.into_iter().enumerate().map(as_int).collect()
        };
        Ok(match self.dtype {
            Dtype::F32 | Dtype::F64 | Dtype::Bf16 | Dtype::F16 => return whole(self.to_f64()),
            Dtype::I32 => self.collect(|x: i32| i64::from(x)),
            Dtype::I64 => self.collect(|x: i64| x),
            Dtype::U8 => self.collect(|x: u8| i64::from(x)),
            Dtype::U32 => self.collect(|x: u32| i64::from(x)),
        })
    }
}

impl<'a> ViewMut<'a> {
    /// A row-major array in a slice.
    ///
    /// # Errors
    /// The slice is too short for the shape.
    pub fn new<T: Element>(slice: &'a mut [T], shape: &[usize]) -> Result<Self> {
        Self::build(slice, shape, None)
    }

    /// An array in a slice, with strides in elements.
    ///
    /// # Errors
    /// An element would lie outside the slice, or two elements would share memory.
    pub fn with_strides<T: Element>(slice: &'a mut [T], shape: &[usize], strides: &[isize]) -> Result<Self> {
        Self::build(slice, shape, Some(strides))
    }

    fn build<T: Element>(slice: &'a mut [T], shape: &[usize], strides: Option<&[isize]>) -> Result<Self> {
        let strides = fit(shape, strides, 0, slice.len())?;
        let view = Self {
            start: slice.as_mut_ptr().cast(),
            dtype: T::DTYPE,
            shape: shape.into(),
            strides,
            memory: PhantomData,
        };
        view.check_distinct()?;
        Ok(view)
    }

    /// The same array, borrowed for a shorter time.
    pub fn reborrow(&mut self) -> ViewMut<'_> {
        let (shape, strides) = (self.shape.clone(), self.strides.clone());
        ViewMut { start: self.start, dtype: self.dtype, shape, strides, memory: PhantomData }
    }

    /// The same array, to read.
    pub fn as_view(&self) -> View<'_> {
        let (shape, strides) = (self.shape.clone(), self.strides.clone());
        View { start: self.start, dtype: self.dtype, shape, strides, memory: PhantomData }
    }

    /// Each stride steps over all that the smaller ones reach, so that no two elements share memory.
    fn check_distinct(&self) -> Result<()> {
        if self.shape.contains(&0) {
            return Ok(());
        }
        let mut dims: Dims<(usize, usize)> = self
            .shape
            .iter()
            .zip(&self.strides)
            .filter(|(n, _)| **n > 1)
            .map(|(&n, &s)| (s.unsigned_abs(), n))
            .collect();
        dims.sort_unstable();
        let mut reach = 0usize;
        for (stride, size) in dims {
            if stride <= reach {
                let problem = format!(
                    "strides {:?} put two elements of shape {:?} in one place",
                    &self.strides[..],
                    &self.shape[..]
                );
                return Err(Error::Layout { input: "view".into(), problem });
            }
            reach += (size - 1) * stride;
        }
        Ok(())
    }

    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    pub fn strides(&self) -> &[isize] {
        &self.strides
    }
}

impl<'a, T: Element, S: Data<Elem = T>, D: Dimension> From<&'a ArrayBase<S, D>> for View<'a> {
    /// Any ndarray array or view; nothing is copied.
    fn from(array: &'a ArrayBase<S, D>) -> Self {
        Self {
            start: array.as_ptr().cast(),
            dtype: T::DTYPE,
            shape: array.shape().into(),
            strides: array.strides().into(),
            memory: PhantomData,
        }
    }
}

impl<'a, T: Element, S: DataMut<Elem = T>, D: Dimension> From<&'a mut ArrayBase<S, D>> for ViewMut<'a> {
    /// Any ndarray array or mutable view; nothing is copied.
    fn from(array: &'a mut ArrayBase<S, D>) -> Self {
        // First: an array whose memory is shared is copied here, and its strides may change with that.
        let start = array.as_mut_ptr().cast();
        let (shape, strides) = (array.shape().into(), array.strides().into());
        Self { start, dtype: T::DTYPE, shape, strides, memory: PhantomData }
    }
}

/// The lowest address and the strides upwards of an array that may run backwards along some axes, and which those are.
fn upwards<T>(start: *const u8, shape: &[usize], strides: &[isize]) -> (*const T, Vec<usize>, Vec<usize>) {
    let mut low = start.cast::<T>();
    let mut backwards = vec![];
    for (axis, (&size, &stride)) in shape.iter().zip(strides).enumerate() {
        if stride < 0 && !shape.contains(&0) {
            low = low.wrapping_offset((size as isize - 1) * stride);
            backwards.push(axis);
        }
    }
    (low, strides.iter().map(|s| s.unsigned_abs()).collect(), backwards)
}

impl<'a> View<'a> {
    /// The same memory as an ndarray view; nothing is copied.
    ///
    /// # Errors
    /// The elements are of another dtype.
    pub fn to_array<T: Element>(&self) -> Result<ArrayViewD<'a, T>> {
        check_element::<T>(self.dtype)?;
        let (low, strides, backwards) = upwards::<T>(self.start, &self.shape, &self.strides);
        // SAFETY: the view's maker has shown that every index within the shape lies in the borrowed memory; `low` is the
        // lowest of these elements, from which all strides lead upwards.
        let mut array = unsafe { ArrayViewD::from_shape_ptr(IxDyn(&self.shape).strides(IxDyn(&strides)), low) };
        backwards.into_iter().for_each(|axis| array.invert_axis(Axis(axis)));
        Ok(array)
    }
}

impl<'a> ViewMut<'a> {
    /// The same memory as a mutable ndarray view; nothing is copied.
    ///
    /// # Errors
    /// The elements are of another dtype.
    pub fn into_array<T: Element>(self) -> Result<ArrayViewMutD<'a, T>> {
        check_element::<T>(self.dtype)?;
        let (low, strides, backwards) = upwards::<T>(self.start, &self.shape, &self.strides);
        // SAFETY: as for `View::to_array`; the borrow is exclusive, and its elements do not overlap.
        let mut array =
            unsafe { ArrayViewMutD::from_shape_ptr(IxDyn(&self.shape).strides(IxDyn(&strides)), low.cast_mut()) };
        backwards.into_iter().for_each(|axis| array.invert_axis(Axis(axis)));
        Ok(array)
    }
}

fn check_element<T: Element>(dtype: Dtype) -> Result<()> {
    if T::DTYPE == dtype {
        return Ok(());
    }
    Err(Error::Dtype { input: "view".into(), found: dtype.name(), expected: T::DTYPE.to_string() })
}

/// Inputs by name: what [`inputs!`](crate::inputs) makes.
pub type Inputs<'a> = [(&'a str, View<'a>)];

/// A request for more bytes than this is tried before it is made, since the allocator ends the process otherwise.
const LARGE: usize = 1 << 28;

/// A new array of zeros in row-major order: of an output's buffer, by its name.
///
/// # Errors
/// There is no memory for it.
pub(crate) fn zeros<T: Real>(name: &str, shape: &[usize]) -> Result<ArrayD<T>> {
    let count = shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size));
    let fits = |&count: &usize| {
        let bytes = count.saturating_mul(size_of::<T>());
        bytes <= LARGE || Vec::<T>::new().try_reserve_exact(count).is_ok()
    };
    let zeros = |count| ArrayD::from_shape_vec(IxDyn(shape), vec![T::default(); count]).ok();
    count.filter(fits).and_then(zeros).ok_or_else(|| no_memory(name, shape))
}

pub(crate) fn no_memory(name: &str, shape: &[usize]) -> Error {
    let problem = "needs more memory than there is".to_string();
    Error::Shape { input: name.to_string(), found: shape.to_vec(), problem }
}
