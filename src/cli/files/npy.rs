//! Reading `.npy`, as a file or as an entry of a `.npz`.
//!
//! `ndarray-npy` parses the header; the elements are decoded here, for the dtype is known only at run time.
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>.

use super::data::{Endian, Layout};
use super::error::Problem;
use crate::cli::array::{Array, Dtype};
use ndarray_npy::npy::header::{Header, ParseHeaderError, ReadHeaderError};
use std::io::{self, Read};

/// NumPy's own limit, `max_header_size` of `numpy.load`.
const MAX_HEADER: usize = 10_000;

/// A structured dtype nests four deep, any other two.
const MAX_NESTING: usize = 4;

/// Reads the array that fills the `len` bytes of `source`.
pub(super) fn read(source: &mut impl Read, len: u64) -> Result<Array, Problem> {
    let header = header_bytes(source)?;
    let layout = layout(&header)?;
    layout.check(len.saturating_sub(header.len() as u64))?;
    layout.read(source)
}

/// Reads magic, version, header length and header, and checks what `ndarray-npy` would not: it reserves up to 4 GiB for a
/// header before it reads it, and its grammar takes time exponential in the depth of nested brackets.
fn header_bytes(source: &mut impl Read) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    extend(&mut bytes, source, 8)?;
    if !bytes.starts_with(b"\x93NUMPY") {
        return Err(malformed("it does not start with the bytes \\x93NUMPY"));
    }
    let width = match bytes[6] {
        1 => 2,
        2 | 3 => 4,
        major => return Err(malformed(format!("format version {major} is not known"))),
    };
    extend(&mut bytes, source, width)?;
    let len = bytes[8..].iter().rev().fold(0, |len, byte| len << 8 | usize::from(*byte));
    if len > MAX_HEADER {
        return Err(malformed(format!("its header has {len} bytes, at most {MAX_HEADER} are accepted")));
    }
    let start = bytes.len();
    extend(&mut bytes, source, len)?;
    if nesting(&bytes[start..]) > MAX_NESTING {
        return Err(malformed("its header nests too deep"));
    }
    Ok(bytes)
}

fn extend(bytes: &mut Vec<u8>, source: &mut impl Read, more: usize) -> Result<(), Problem> {
    let start = bytes.len();
    bytes.resize(start + more, 0);
    source.read_exact(&mut bytes[start..]).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => malformed("it ends inside its header"),
        _ => error.into(),
    })
}

/// How deep brackets nest. Brackets in strings count too, which refuses only names that no supported dtype has.
fn nesting(text: &[u8]) -> usize {
    let (_, deepest) = text.iter().fold((0_usize, 0), |(depth, deepest), byte| match byte {
        b'(' | b'[' | b'{' => (depth + 1, deepest.max(depth + 1)),
        b')' | b']' | b'}' => (depth.saturating_sub(1), deepest),
        _ => (depth, deepest),
    });
    deepest
}

fn layout(mut bytes: &[u8]) -> Result<Layout, Problem> {
    let header = Header::from_reader(&mut bytes).map_err(|error| match error {
        ReadHeaderError::Io(error) => error.into(),
        ReadHeaderError::Parse(error) => malformed(header_fault(&error)),
    })?;
    let Some(descr) = header.type_descriptor.as_string() else {
        return Err(Problem::Dtype { found: "structured".into() });
    };
    let (dtype, endian) = dtype(descr)?;
    Ok(Layout { dtype, endian, shape: header.shape, fortran: header.layout.is_fortran() })
}

/// In our words, since those of the parser take several lines.
fn header_fault(error: &ParseHeaderError) -> String {
    match error {
        ParseHeaderError::Version { major, minor } => {
            format!("format version {major}.{minor} is not known")
        }
        ParseHeaderError::MissingNewline => "its header does not end with a newline".into(),
        ParseHeaderError::NonAscii | ParseHeaderError::Utf8Parse(_) => "its header is not text".into(),
        ParseHeaderError::IllegalValue { key, .. } => format!("its header has a bad {key}"),
        ParseHeaderError::MissingKey(_) | ParseHeaderError::UnknownKey(_) => {
            "its header has not the keys descr, fortran_order and shape".into()
        }
        _ => "its header is not a Python dictionary".into(),
    }
}

/// Reads a dtype descriptor: a byte order, a kind and a size in bytes.
fn dtype(descr: &str) -> Result<(Dtype, Endian), Problem> {
    let code = descr.trim_start_matches(['<', '>', '|', '=']);
    let dtype = match code {
        "f4" => Dtype::F32,
        "f8" => Dtype::F64,
        "i4" => Dtype::I32,
        "i8" => Dtype::I64,
        "u1" => Dtype::U8,
        "u4" => Dtype::U32,
        "f2" => Dtype::F16,
        _ => {
            return Err(Problem::Dtype { found: unsupported(descr, code) });
        }
    };
    let big = match descr.len() - code.len() {
        1 if descr.starts_with('>') => true,
        1 if descr.starts_with('<') => false,
        0 | 1 => cfg!(target_endian = "big"),
        _ => {
            return Err(Problem::Dtype { found: format!("{descr:?}") });
        }
    };
    Ok((dtype, if big { Endian::Big } else { Endian::Little }))
}

fn unsupported(descr: &str, code: &str) -> String {
    let name = match (code, code.chars().next()) {
        ("f16", _) => "long double",
        ("i1", _) => "i8",
        ("i2", _) => "i16",
        ("u2", _) => "u16",
        ("u8", _) => "u64",
        ("b1", _) => "bool",
        ("c8", _) => "complex64",
        ("c16", _) => "complex128",
        // Registered dtypes, such as bfloat16, are written as plain bytes.
        ("V2", _) => "two raw bytes, perhaps bf16",
        (_, Some('V')) => "raw bytes",
        (_, Some('U' | 'S' | 'a')) => "string",
        (_, Some('O')) => "object",
        (_, Some('M' | 'm')) => "time",
        _ => return format!("{descr:?}"),
    };
    format!("{name} ({descr:?})")
}

fn malformed(why: impl std::fmt::Display) -> Problem {
    Problem::malformed(".npy", why)
}
