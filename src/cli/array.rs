//! Arrays as files hold them: a dtype known at run time, a shape and the elements.
//!
//! An [`Array`] is an [`ArrayD`] of one of eight element types. One read from a file is in standard (row-major) layout; one made
//! from an `ArrayD` keeps that array's layout.

use crate::runtime::View;
use ndarray::ArrayD;
use std::fmt;

/// An element type with its encoding in files.
pub trait Element: Copy {
    /// # Panics
    /// If `bytes` is not exactly one element long.
    fn decode_le(bytes: &[u8]) -> Self;

    /// # Panics
    /// If `bytes` is not exactly one element long.
    fn decode_be(bytes: &[u8]) -> Self;

    fn encode_le(self) -> impl AsRef<[u8]>;
}

macro_rules! dtypes {
    ($($variant:ident($element:ty) $name:literal;)*) => {
        /// An array of any supported element type.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub enum Array {
            $($variant(ArrayD<$element>),)*
        }

        /// The element type of an [`Array`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Dtype {
            $($variant,)*
        }

        impl Array {
            /// The length of every axis; empty for a scalar.
            pub fn shape(&self) -> &[usize] {
                match self {
                    $(Array::$variant(array) => array.shape(),)*
                }
            }

            pub fn dtype(&self) -> Dtype {
                match self {
                    $(Array::$variant(_) => Dtype::$variant,)*
                }
            }

            /// The array as the library takes it; nothing is copied.
            pub fn view(&self) -> View<'_> {
                match self {
                    $(Array::$variant(array) => array.into(),)*
                }
            }
        }

        impl Dtype {
            /// `f32`, `i64`, …
            pub fn name(self) -> &'static str {
                match self {
                    $(Dtype::$variant => $name,)*
                }
            }

            /// The bytes one element takes.
            pub fn size(self) -> usize {
                match self {
                    $(Dtype::$variant => size_of::<$element>(),)*
                }
            }

            /// Every supported dtype, for messages.
            pub const NAMES: &[&str] = &[$($name),*];
        }

        $(
            impl From<ArrayD<$element>> for Array {
                fn from(array: ArrayD<$element>) -> Self {
                    Array::$variant(array)
                }
            }

            impl Element for $element {
                fn decode_le(bytes: &[u8]) -> Self {
                    Self::from_le_bytes(bytes.try_into().expect("one element's bytes"))
                }

                fn decode_be(bytes: &[u8]) -> Self {
                    Self::from_be_bytes(bytes.try_into().expect("one element's bytes"))
                }

                fn encode_le(self) -> impl AsRef<[u8]> {
                    self.to_le_bytes()
                }
            }
        )*
    };
}

dtypes! {
    F32(f32) "f32";
    F64(f64) "f64";
    I32(i32) "i32";
    I64(i64) "i64";
    U8(u8) "u8";
    U32(u32) "u32";
    Bf16(half::bf16) "bf16";
    F16(half::f16) "f16";
}

impl Array {
    /// `f32`, `i64`, …
    pub fn dtype_name(&self) -> &'static str {
        self.dtype().name()
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::arr0;

    #[test]
    fn knows_its_shape_and_dtype() {
        let scalar = Array::from(arr0(1_u8).into_dyn());
        assert_eq!((scalar.shape(), scalar.dtype_name()), (&[][..], "u8"));
        let matrix = Array::from(ArrayD::<f64>::zeros(vec![2, 3]));
        assert_eq!((matrix.shape(), matrix.dtype_name()), (&[2, 3][..], "f64"));
        assert_eq!(matrix.dtype().size(), 8);
    }

    #[test]
    fn elements_survive_their_encoding() {
        assert_eq!(f32::decode_le((-1.5_f32).encode_le().as_ref()), -1.5);
        assert_eq!(i32::decode_be(&[0, 0, 1, 2]), 258);
    }
}
