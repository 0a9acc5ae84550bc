//! The data part of a file: elements one after the other, laid out as a header has said.
//!
//! A header may lie. [`Layout::check`] compares it with the bytes there are, and must be asked before [`Layout::read`]
//! reserves memory.

use super::error::Problem;
use crate::cli::array::{Array, Dtype, Element};
use crate::cli::pages::room;
use half::{bf16, f16};
use ndarray::{ArrayD, IxDyn, ShapeBuilder};
use std::io::Read;

/// How many bytes are converted at a time; a multiple of every element's size.
pub(super) const CHUNK: usize = 1 << 18;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Endian {
    Little,
    Big,
}

#[derive(Debug)]
pub(super) struct Layout {
    pub(super) dtype: Dtype,
    pub(super) endian: Endian,
    pub(super) shape: Vec<usize>,
    /// Whether the first axis is the fastest.
    pub(super) fortran: bool,
}

impl Layout {
    /// Checks that the elements take exactly the `held` bytes.
    pub(super) fn check(&self, held: u64) -> Result<(), Problem> {
        let needed = self.bytes()?;
        if needed == held {
            return Ok(());
        }
        Err(Problem::Size { shape: self.shape.clone(), dtype: self.dtype, needed, held })
    }

    /// Reads the elements into row-major order.
    pub(super) fn read(self, source: &mut impl Read) -> Result<Array, Problem> {
        match self.dtype {
            Dtype::F32 => self.read_as::<f32>(source),
            Dtype::F64 => self.read_as::<f64>(source),
            Dtype::I32 => self.read_as::<i32>(source),
            Dtype::I64 => self.read_as::<i64>(source),
            Dtype::U8 => self.read_as::<u8>(source),
            Dtype::U32 => self.read_as::<u32>(source),
            Dtype::Bf16 => self.read_as::<bf16>(source),
            Dtype::F16 => self.read_as::<f16>(source),
        }
    }

    fn bytes(&self) -> Result<u64, Problem> {
        // Zeros left out: `ndarray` refuses a shape whose other axes overflow, even when there is no element.
        let nonzero = self
            .shape
            .iter()
            .filter(|n| **n != 0)
            .try_fold(self.dtype.size(), |bytes, n| bytes.checked_mul(*n))
            .filter(|bytes| isize::try_from(*bytes).is_ok());
        match nonzero {
            Some(_) if self.shape.contains(&0) => Ok(0),
            Some(bytes) => Ok(bytes as u64),
            None => Err(Problem::Overflow { shape: self.shape.clone(), dtype: self.dtype }),
        }
    }

    fn read_as<T: Element>(self, source: &mut impl Read) -> Result<Array, Problem>
    where
        Array: From<ArrayD<T>>,
    {
        let elements = self.elements::<T>(source)?;
        let shape = IxDyn(&self.shape).set_f(self.fortran);
        let array = ArrayD::from_shape_vec(shape, elements)
            .map_err(|_| Problem::Overflow { shape: self.shape, dtype: self.dtype })?;
        Ok(if array.is_standard_layout() { array.into() } else { array.as_standard_layout().into_owned().into() })
    }

    /// The elements in the file's order.
    fn elements<T: Element>(&self, source: &mut impl Read) -> Result<Vec<T>, Problem> {
        let size = size_of::<T>();
        let mut left = self.bytes()? as usize;
        // Fallible: a sparse file may be larger than memory.
        let mut elements =
            room(left / size).map_err(|_| Problem::Memory { shape: self.shape.clone(), dtype: self.dtype })?;
        let mut chunk = vec![0; left.min(CHUNK)];
        while left > 0 {
            let part = left.min(CHUNK);
            source.read_exact(&mut chunk[..part])?;
            let parts = chunk[..part].chunks_exact(size);
            match self.endian {
                Endian::Little => elements.extend(parts.map(T::decode_le)),
                Endian::Big => elements.extend(parts.map(T::decode_be)),
            }
            left -= part;
        }
        Ok(elements)
    }
}
