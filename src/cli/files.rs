//! Arrays in files: `.npy`, `.npz` and `.safetensors` are read, `.safetensors` is written.
//!
//! Files are not trusted. Whatever their bytes say, [`read`] returns an array or an error: it does not panic, and it reserves
//! no memory that the file's size does not account for. Writing is all or nothing: see `replace.rs`.

mod data;
mod error;
mod npy;
mod npz;
mod replace;
mod safetensors;
#[cfg(test)]
mod tests;

pub use error::{FileError, Problem};
pub use replace::replace;

use super::array::Array;
use std::fs::{self, File};
use std::path::Path;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Format {
    Npy,
    Npz,
    Safetensors,
}

/// Reads the array that `spec` names: `FILE`, or `FILE:KEY` for a file of several arrays.
///
/// # Errors
/// If there is no such file or array, or the file is damaged, or of a format or dtype that is not supported.
pub fn read(spec: &str) -> Result<Array, FileError> {
    let (path, key) = split(spec);
    let path = Path::new(path);
    read_from(path, key).map_err(|problem| FileError::new(path, problem))
}

/// Writes `arrays` under their names to a `.safetensors` file, little-endian and row-major.
///
/// # Errors
/// If a name comes twice or is reserved, or the file cannot be written. What was at `path` is then still there.
pub fn write_safetensors(path: &Path, arrays: &[(String, Array)]) -> Result<(), FileError> {
    let header = safetensors::header(arrays).map_err(|problem| FileError::new(path, problem))?;
    replace(path, |out| safetensors::write(out, &header, arrays))
}

/// Writes an array's elements alone, little-endian and row by row, or nothing at all.
///
/// # Errors
/// The file cannot be written.
pub fn write_raw(path: &Path, array: &Array) -> Result<(), FileError> {
    replace(path, |out| safetensors::write_array(out, array))
}

fn read_from(path: &Path, key: Option<&str>) -> Result<Array, Problem> {
    let format = format(path.as_os_str().as_encoded_bytes()).ok_or(Problem::Extension)?;
    let (mut file, len) = open(path)?;
    match (format, key) {
        (Format::Npy, Some(key)) => Err(Problem::KeyOfNpy { key: key.into() }),
        (Format::Npy, None) => npy::read(&mut file, len),
        (Format::Npz, key) => npz::read(file, len, key),
        (Format::Safetensors, key) => safetensors::read(&mut file, len, key),
    }
}

/// Opens a regular file that is not empty, and tells its size.
fn open(path: &Path) -> Result<(File, u64), Problem> {
    // Asked before opening, since opening a named pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(Problem::NotAFile);
    }
    let file = File::open(path)?;
    match file.metadata()?.len() {
        0 => Err(Problem::Empty),
        len => Ok((file, len)),
    }
}

/// Splits `FILE:KEY` at the last colon that follows a supported extension, since paths and keys may hold colons too.
fn split(spec: &str) -> (&str, Option<&str>) {
    if format(spec.as_bytes()).is_some() && Path::new(spec).is_file() {
        return (spec, None);
    }
    spec.rmatch_indices(':')
        .map(|(at, _)| (&spec[..at], Some(&spec[at + 1..])))
        .find(|(path, _)| format(path.as_bytes()).is_some())
        .unwrap_or((spec, None))
}

fn format(path: &[u8]) -> Option<Format> {
    let ends = |extension: &str| {
        path.len().checked_sub(extension.len()).is_some_and(|at| path[at..].eq_ignore_ascii_case(extension.as_bytes()))
    };
    [(".npy", Format::Npy), (".npz", Format::Npz), (".safetensors", Format::Safetensors)]
        .into_iter()
        .find_map(|(extension, format)| ends(extension).then_some(format))
}

/// Finds `key` among the names of the arrays a file holds; without a key, the only one.
fn choose<'a>(held: &'a [String], key: Option<&str>) -> Result<&'a String, Problem> {
    match (key, held) {
        (_, []) => Err(Problem::NoArrays),
        (None, [only]) => Ok(only),
        (None, _) => Err(Problem::KeyMissing { held: held.into() }),
        (Some(key), _) => held
            .iter()
            .find(|name| *name == key)
            .ok_or_else(|| Problem::KeyUnknown { key: key.into(), held: held.into() }),
    }
}
