//! What can be wrong with a file of arrays, told in one line.

use crate::cli::array::Dtype;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// A file and what is wrong with it. Displays as one line, whatever the path and the file hold.
#[derive(Debug)]
#[non_exhaustive]
pub struct FileError {
    pub path: PathBuf,
    pub problem: Problem,
}

#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Problem {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("not a regular file")]
    NotAFile,
    #[error("the file is empty")]
    Empty,
    #[error("unknown file extension; supported are .npy, .npz and .safetensors")]
    Extension,
    #[error("a .npy file holds one array without a name, so it cannot be asked for {key:?}")]
    KeyOfNpy { key: String },
    #[error("it holds several arrays, name one as FILE:KEY; it holds: {}", held.join(", "))]
    KeyMissing { held: Vec<String> },
    #[error("no array named {key:?}; it holds: {}", held.join(", "))]
    KeyUnknown { key: String, held: Vec<String> },
    #[error("it holds no arrays")]
    NoArrays,
    #[error("array {key:?}: {problem}")]
    InArray { key: String, problem: Box<Problem> },
    #[error("not a sound {format} file: {why}")]
    Malformed { format: &'static str, why: String },
    #[error("dtype {found} is not supported; supported are {}", Dtype::NAMES.join(", "))]
    Dtype { found: String },
    #[error("shape {shape:?} of {dtype} takes {needed} bytes, but {held} bytes follow the header")]
    Size { shape: Vec<usize>, dtype: Dtype, needed: u64, held: u64 },
    #[error("shape {shape:?} of {dtype} is larger than memory can be")]
    Overflow { shape: Vec<usize>, dtype: Dtype },
    #[error("no memory for shape {shape:?} of {dtype}")]
    Memory { shape: Vec<usize>, dtype: Dtype },
    #[error("two arrays are named {name:?}")]
    Duplicate { name: String },
    #[error("no array may be named {name:?} in a safetensors file")]
    Reserved { name: String },
    #[error("no file can be created in directory {}: {kind}", dir.display())]
    Directory { dir: PathBuf, kind: io::ErrorKind },
}

impl FileError {
    pub(super) fn new(path: &Path, problem: Problem) -> Self {
        Self { path: path.to_owned(), problem }
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Paths, and names and reasons taken from a file, may hold line breaks and terminal escapes.
        let text = format!("{}: {}", self.path.display(), self.problem);
        text.chars().try_for_each(|c| match c {
            c if c.is_control() => write!(f, "{}", c.escape_default()),
            c => write!(f, "{c}"),
        })
    }
}

impl std::error::Error for FileError {}

impl Problem {
    pub(super) fn malformed(format: &'static str, why: impl fmt::Display) -> Self {
        Problem::Malformed { format, why: why.to_string() }
    }

    pub(super) fn in_array(self, key: &str) -> Self {
        Problem::InArray { key: key.into(), problem: Box::new(self) }
    }
}
