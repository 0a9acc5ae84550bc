//! The one error type. A message names the input, the axis and both numbers, or says what is wrong with the text.

use thiserror::Error;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a declaration and its result.
#[derive(Debug, Clone, PartialEq, Error)]
#[non_exhaustive]
pub enum Error {
    /// Sizes that should agree do not.
    #[error("{input}: axis {axis} has {found} elements, but {other} has {expected}")]
    Extent { input: String, axis: String, found: usize, other: String, expected: usize },
    /// A shape that does not fit, with what would.
    #[error("{input}: shape {found:?} {problem}")]
    Shape { input: String, found: Vec<usize>, problem: String },
    #[error("{input}: shape {found:?} has {} dimensions, not {expected}", found.len())]
    Rank { input: String, found: Vec<usize>, expected: String },
    /// A parameter that counts axes is out of range.
    #[error("{parameter} = {value} is out of range for {input}, which has {rank} dimensions")]
    AxisRange { parameter: String, value: i64, input: String, rank: usize },
    #[error("{input}: dtype {found}, but {expected} is needed")]
    Dtype { input: String, found: &'static str, expected: String },
    #[error("{input}: missing; {loss} needs {needed}")]
    MissingInput { input: String, loss: String, needed: String },
    #[error("{input}: unknown; {loss} takes {known}")]
    UnknownInput { input: String, loss: String, known: String },
    #[error("{input}: given twice")]
    DuplicateInput { input: String },
    #[error("{input}: has no gradient: {why}")]
    NoGradient { input: String, why: String },
    /// A class label outside its range.
    #[error("{input}: value {value} at {position:?} is out of range: {classes} classes, 0 to {}", *classes as i64 - 1)]
    Label { input: String, position: Vec<usize>, value: String, classes: usize },
    #[error("{input}: value {value} at {position:?} is not a whole number")]
    Fraction { input: String, position: Vec<usize>, value: String },
    /// A value that means nothing where it stands.
    #[error("{input}: value {value} at {position:?} {problem}")]
    Value { input: String, position: Vec<usize>, value: String, problem: String },
    #[error("{loss}: {parameter} = {value}: {problem}")]
    Parameter { loss: String, parameter: String, value: String, problem: String },
    /// A buffer whose strides reach outside its memory, or overlap where they must not.
    #[error("{input}: {problem}")]
    Layout { input: String, problem: String },
    /// A declaration that is not well typed.
    #[error("{loss}: {problem}")]
    Declaration { loss: String, problem: String },
    #[error("graph text, line {line}: {problem}")]
    Text { line: usize, problem: String },
    /// A stage's result broke its own rules: a fault of the compiler, not of its user.
    #[error("internal error in {stage}: {problem}")]
    Internal { stage: &'static str, problem: String },
    #[error("this machine is not supported: {0}")]
    Machine(String),
}

impl Error {
    pub(crate) fn internal(stage: &'static str, problem: impl Into<String>) -> Self {
        Error::Internal { stage, problem: problem.into() }
    }
}
