//! Constructor parameters: declared once, they give the struct, its defaults, the builder methods and the `KEY=VALUE`
//! form.

use crate::error::{Error, Result};

/// A parameter as `list` shows it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameter {
    pub name: &'static str,
    /// As it is written on the command line.
    pub default: String,
}

/// A loss that can be set up by its parameters' names.
pub trait Configure: Default {
    fn parameters() -> Vec<Parameter>;

    /// # Errors
    /// The parameter is unknown, or the text is no value of it.
    fn set(&mut self, name: &str, value: &str) -> Result<()>;
}

/// A parameter's type.
pub(super) trait Value: Sized {
    const EXPECTED: &'static str;
    fn read(text: &str) -> Option<Self>;
    fn write(&self) -> String;
}

impl Value for bool {
    const EXPECTED: &'static str = "true or false";

    fn read(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for i64 {
    const EXPECTED: &'static str = "a whole number";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl Value for f64 {
    const EXPECTED: &'static str = "a finite number";

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().filter(|x: &f64| x.is_finite())
    }

    fn write(&self) -> String {
        self.to_string()
    }
}

impl<T: Value> Value for Option<T> {
    const EXPECTED: &'static str = "none or a number";

    fn read(text: &str) -> Option<Self> {
        if text.eq_ignore_ascii_case("none") { Some(None) } else { T::read(text).map(Some) }
    }

    fn write(&self) -> String {
        self.as_ref().map_or("none".into(), T::write)
    }
}

pub(super) fn read<T: Value>(loss: &str, parameter: &str, value: &str) -> Result<T> {
    T::read(value).ok_or_else(|| Error::Parameter {
        loss: loss.to_string(),
        parameter: parameter.to_string(),
        value: value.to_string(),
        problem: format!("expected {}", T::EXPECTED),
    })
}

pub(super) fn unknown(loss: &str, parameter: &str, value: &str, known: &[Parameter]) -> Error {
    let known: Vec<_> = known.iter().map(|p| p.name).collect();
    Error::Parameter {
        loss: loss.to_string(),
        parameter: parameter.to_string(),
        value: value.to_string(),
        problem: format!("unknown; there are {}", known.join(", ")),
    }
}

/// The struct of a loss: every field is a parameter with its default, and has a builder method of its name. Parameters
/// that may be `none` take a plain value in the builder.
macro_rules! parameters {
    ($(#[$doc:meta])* pub struct $loss:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty = $default:expr,)* }) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug)]
        #[non_exhaustive]
        pub struct $loss { $($(#[$field_doc])* pub $field: $type,)* }

        impl Default for $loss {
            fn default() -> Self {
                Self { $($field: $default,)* }
            }
        }

        impl $loss {
            /// The loss with its defaults.
            pub fn new() -> Self {
                Self::default()
            }

            $($(#[$field_doc])*
            pub fn $field(mut self, value: impl Into<$type>) -> Self {
                self.$field = value.into();
                self
            })*
        }

        impl $crate::losses::Configure for $loss {
            fn parameters() -> Vec<$crate::losses::Parameter> {
                use $crate::losses::parameters::Value;
                let loss = Self::default();
                vec![$($crate::losses::Parameter { name: stringify!($field), default: loss.$field.write() },)*]
            }

            fn set(&mut self, name: &str, value: &str) -> $crate::error::Result<()> {
                use $crate::losses::parameters::{read, unknown};
                match name {
                    $(stringify!($field) => self.$field = read(stringify!($loss), name, value)?,)*
                    _ => return Err(unknown(stringify!($loss), name, value, &Self::parameters())),
                }
                Ok(())
            }
        }
    };
}
pub(super) use parameters;

/// Parameters that are one of a few words.
macro_rules! words {
    ($(#[$doc:meta])* pub enum $name:ident: $expected:literal { $($(#[$word_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum $name { $($(#[$word_doc])* $variant,)* }

        impl $crate::losses::parameters::Value for $name {
            const EXPECTED: &'static str = $expected;

            fn read(text: &str) -> Option<Self> {
                [$(($word, Self::$variant)),*].into_iter().find(|(word, _)| text.eq_ignore_ascii_case(word)).map(|(_, v)| v)
            }

            fn write(&self) -> String {
                match self { $(Self::$variant => $word.into()),* }
            }
        }
    };
}
pub(super) use words;
