//! Memory that ends, or begins, where the address space does: pages that nobody may touch lie on both sides of it. A
//! load or a store that is one byte off stops the process, and the handler here says what was running.

use half::{bf16, f16};
use lossjit::{Dtype, View, ViewMut};
use ndarray::IxDyn;
use region::{Allocation, Protection};
use std::cell::RefCell;
use std::sync::Once;

/// Which side of a buffer touches the forbidden page.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Flush {
    Start,
    End,
}

/// What the bytes hold that belong to no element.
const UNTOUCHED: u8 = 0xA5;

/// An array between forbidden pages.
pub struct Guarded {
    pages: Allocation,
    /// Where the array begins in the pages.
    start: usize,
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub strides: Vec<isize>,
    /// Elements from the first to the last.
    span: usize,
}

impl Guarded {
    pub fn new(dtype: Dtype, shape: &[usize], strides: &[isize], flush: Flush) -> Self {
        let reach: isize = shape.iter().zip(strides).map(|(&n, &s)| (n as isize - 1).max(0) * s).sum();
        let span = if shape.contains(&0) { 0 } else { reach as usize + 1 };
        let (page, bytes) = (region::page::size(), span * dtype.size());
        let inner = bytes.next_multiple_of(page).max(page);
        let mut pages = region::alloc(inner + 2 * page, Protection::READ_WRITE).expect("memory");
        let base = pages.as_mut_ptr::<u8>();
        // SAFETY: the pages are this allocation's, and nothing refers to them yet.
        unsafe {
            base.write_bytes(UNTOUCHED, inner + 2 * page);
            region::protect(base, page, Protection::NONE).expect("a page of ours");
            region::protect(base.add(page + inner), page, Protection::NONE).expect("a page of ours");
        }
        let start = if flush == Flush::Start { page } else { page + inner - bytes };
        Self { pages, start, dtype, shape: shape.to_vec(), strides: strides.to_vec(), span }
    }

    fn inner(&self) -> (*mut u8, usize) {
        let page = region::page::size();
        (self.pages.as_ptr::<u8>().cast_mut().wrapping_add(page), self.pages.len() - 2 * page)
    }

    /// The first element.
    pub fn start(&mut self) -> *mut u8 {
        self.at_start()
    }

    fn at_start(&self) -> *mut u8 {
        self.pages.as_ptr::<u8>().cast_mut().wrapping_add(self.start)
    }

    /// The offset of every element in bytes, in row-major order.
    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        ndarray::indices(IxDyn(&self.shape)).into_iter().map(move |index| {
            let steps = ndarray::Dimension::slice(&index).iter().zip(&self.strides).map(|(&i, &s)| i as isize * s);
            steps.sum::<isize>() as usize * self.dtype.size()
        })
    }

    pub fn fill(&mut self, values: &[f64]) {
        let start = self.at_start();
        for (place, &value) in self.places().zip(values) {
            // SAFETY: every element lies in the pages, aligned to its size, since the start is.
            unsafe {
                let at = start.add(place);
                match self.dtype {
                    Dtype::F32 => at.cast::<f32>().write(value as f32),
                    Dtype::F64 => at.cast::<f64>().write(value),
                    Dtype::I32 => at.cast::<i32>().write(value as i32),
                    Dtype::I64 => at.cast::<i64>().write(value as i64),
                    Dtype::U8 => at.write(value as u8),
                    Dtype::U32 => at.cast::<u32>().write(value as u32),
                    Dtype::Bf16 => at.cast::<bf16>().write(bf16::from_f64(value)),
                    Dtype::F16 => at.cast::<f16>().write(f16::from_f64(value)),
                    other => panic!("{other}"),
                }
            }
        }
    }

    pub fn read_only(&mut self) {
        let (inner, bytes) = self.inner();
        // SAFETY: the pages are this allocation's; who writes to them now is stopped, which is the point.
        unsafe { region::protect(inner, bytes, Protection::READ) }.expect("pages of ours");
    }

    pub fn values(&self) -> Vec<f64> {
        let start = self.at_start();
        let read = |place| {
            // SAFETY: as in `fill`.
            unsafe {
                match self.dtype {
                    Dtype::F32 => f64::from(start.add(place).cast::<f32>().read()),
                    Dtype::Bf16 => f64::from(start.add(place).cast::<bf16>().read()),
                    Dtype::F16 => f64::from(start.add(place).cast::<f16>().read()),
                    _ => start.add(place).cast::<f64>().read(),
                }
            }
        };
        self.places().map(read).collect()
    }

    /// Whether the bytes between and beside the elements are as they were.
    pub fn is_untouched_elsewhere(&self) -> bool {
        let (inner, len) = self.inner();
        // SAFETY: the pages are readable and written by nobody now.
        let bytes = unsafe { std::slice::from_raw_parts(inner, len) };
        let first = self.start - region::page::size();
        let mut ours = vec![false; len];
        self.places().for_each(|p| ours[first + p..first + p + self.dtype.size()].fill(true));
        bytes.iter().zip(ours).all(|(&byte, ours)| ours || byte == UNTOUCHED)
    }

    pub fn view(&self) -> View<'_> {
        macro_rules! view {
            ($ty:ty) => {{
                // SAFETY: `span` elements lie behind the start; all bits are elements of these types.
                let slice = unsafe { std::slice::from_raw_parts(self.at_start().cast::<$ty>(), self.span) };
                View::with_strides(slice, &self.shape, &self.strides)
            }};
        }
        let view = match self.dtype {
            Dtype::F32 => view!(f32),
            Dtype::F64 => view!(f64),
            Dtype::I32 => view!(i32),
            Dtype::I64 => view!(i64),
            Dtype::U8 => view!(u8),
            Dtype::U32 => view!(u32),
            Dtype::Bf16 => view!(bf16),
            Dtype::F16 => view!(f16),
            other => panic!("{other}"),
        };
        view.expect("it fits")
    }

    pub fn view_mut(&mut self) -> ViewMut<'_> {
        macro_rules! view {
            ($ty:ty) => {{
                // SAFETY: as in `view`, and borrowed by nobody else.
                let slice = unsafe { std::slice::from_raw_parts_mut(self.at_start().cast::<$ty>(), self.span) };
                ViewMut::with_strides(slice, &self.shape, &self.strides)
            }};
        }
        let view = match self.dtype {
            Dtype::F32 => view!(f32),
            Dtype::Bf16 => view!(bf16),
            Dtype::F16 => view!(f16),
            _ => view!(f64),
        };
        view.expect("it fits")
    }
}

thread_local! {
    static RUNNING: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Notes what this thread runs from now on, for the message of a crash.
pub fn running(what: impl std::fmt::Display) {
    static HANDLER: Once = Once::new();
    HANDLER.call_once(|| {
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL] {
            // SAFETY: the handler writes to a file descriptor and leaves; it runs on the stack of a thread whose stack
            // is sound, as nothing here recurses.
            unsafe { libc::signal(signal, crashed as *const () as libc::sighandler_t) };
        }
    });
    RUNNING.with_borrow_mut(|text| *text = what.to_string());
}

extern "C" fn crashed(signal: libc::c_int) {
    let say = |text: &str| {
        // SAFETY: a write of bytes that are there.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    };
    say(if signal == libc::SIGILL { "\nillegal instruction in:\n" } else { "\nmemory violated by:\n" });
    RUNNING.with(|text| {
        if let Ok(text) = text.try_borrow() {
            say(&text)
        }
    });
    say("\n");
    // SAFETY: ends the process at once.
    unsafe { libc::_exit(101) };
}
