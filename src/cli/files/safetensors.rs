//! Reading and writing `.safetensors`: the header's length in eight bytes, a JSON header, then the data.
//!
//! The `safetensors` crate parses, checks and makes the header. The framing around it is done here, since the crate wants the
//! whole file in memory, where one array of it is asked for.
//! Format: <https://huggingface.co/docs/safetensors#format>.

use super::choose;
use super::data::{CHUNK, Endian, Layout};
use super::error::Problem;
use crate::cli::array::{Array, Dtype, Element};
use ndarray::ArrayD;
use safetensors::tensor::{Metadata, TensorInfo};
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::io::{self, Read, Seek, SeekFrom, Write};

/// The limit of the reference implementation.
const MAX_HEADER: u64 = 100_000_000;

/// The bytes that hold the header's length; the header is padded to a multiple of it.
const PREFIX: usize = 8;

/// Reads the array `key`, or the only one, of a file of `len` bytes.
pub(super) fn read(source: &mut (impl Read + Seek), len: u64, key: Option<&str>) -> Result<Array, Problem> {
    let (metadata, data_start) = read_header(source, len)?;
    let mut held = metadata.offset_keys();
    // Empty arrays share an offset, and the crate then orders them by hash.
    held.sort();
    let name = choose(&held, key)?;
    let info = metadata.info(name).expect("one of the header's names");
    read_array(source, data_start, info).map_err(|problem| problem.in_array(name))
}

fn read_header(source: &mut impl Read, len: u64) -> Result<(Metadata, u64), Problem> {
    let Some(after_prefix) = len.checked_sub(PREFIX as u64) else {
        return Err(malformed("it ends inside its header"));
    };
    let mut prefix = [0; PREFIX];
    source.read_exact(&mut prefix)?;
    let header_len = u64::from_le_bytes(prefix);
    if header_len > after_prefix.min(MAX_HEADER) {
        return Err(malformed(format!(
            "it declares a header of {header_len} bytes, but {after_prefix} follow and at most {MAX_HEADER} are accepted"
        )));
    }
    let mut header = vec![0; header_len as usize];
    source.read_exact(&mut header)?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(malformed)?;
    let (covered, data) = (metadata.data_len() as u64, after_prefix - header_len);
    if covered != data {
        return Err(malformed(format!("its arrays cover {covered} bytes, but {data} follow the header")));
    }
    Ok((metadata, PREFIX as u64 + header_len))
}

fn read_array(source: &mut (impl Read + Seek), data_start: u64, info: &TensorInfo) -> Result<Array, Problem> {
    let layout =
        Layout { dtype: dtype(info.dtype)?, endian: Endian::Little, shape: info.shape.clone(), fortran: false };
    let (start, end) = info.data_offsets;
    layout.check((end - start) as u64)?;
    source.seek(SeekFrom::Start(data_start + start as u64))?;
    layout.read(source)
}

/// Makes the header of a file of `arrays`.
pub(super) fn header(arrays: &[(String, Array)]) -> Result<Vec<u8>, Problem> {
    check_names(arrays)?;
    let mut offset = 0;
    let infos = in_file_order(arrays)
        .into_iter()
        .map(|(name, array)| {
            let start = offset;
            offset += array.shape().iter().product::<usize>() * array.dtype().size();
            let info = TensorInfo {
                dtype: file_dtype(array.dtype()),
                shape: array.shape().to_vec(),
                data_offsets: (start, offset),
            };
            (name.clone(), info)
        })
        .collect();
    let metadata = Metadata::new(None, infos).map_err(malformed)?;
    let mut header = serde_json::to_vec(&metadata).map_err(malformed)?;
    header.resize(header.len().next_multiple_of(PREFIX), b' ');
    Ok(header)
}

/// Writes what [`header`] has laid out.
pub(super) fn write(out: &mut dyn Write, header: &[u8], arrays: &[(String, Array)]) -> io::Result<()> {
    out.write_all(&(header.len() as u64).to_le_bytes())?;
    out.write_all(header)?;
    in_file_order(arrays).into_iter().try_for_each(|(_, array)| write_array(out, array))
}

/// The elements alone, row by row.
pub(super) fn write_array(out: &mut dyn Write, array: &Array) -> io::Result<()> {
    match array {
        Array::F32(array) => write_elements(out, array),
        Array::F64(array) => write_elements(out, array),
        Array::I32(array) => write_elements(out, array),
        Array::I64(array) => write_elements(out, array),
        Array::U8(array) => write_elements(out, array),
        Array::U32(array) => write_elements(out, array),
        Array::Bf16(array) => write_elements(out, array),
        Array::F16(array) => write_elements(out, array),
    }
}

fn write_elements<T: Element>(out: &mut dyn Write, array: &ArrayD<T>) -> io::Result<()> {
    let mut chunk = Vec::with_capacity(CHUNK);
    for element in array {
        chunk.extend_from_slice(element.encode_le().as_ref());
        if chunk.len() == CHUNK {
            out.write_all(&chunk)?;
            chunk.clear();
        }
    }
    out.write_all(&chunk)
}

/// The widest elements first, so that all are aligned.
fn in_file_order(arrays: &[(String, Array)]) -> Vec<&(String, Array)> {
    let mut ordered: Vec<_> = arrays.iter().collect();
    ordered.sort_by_key(|(_, array)| Reverse(array.dtype().size()));
    ordered
}

/// The crate panics on a name that comes twice.
fn check_names(arrays: &[(String, Array)]) -> Result<(), Problem> {
    let mut seen = BTreeSet::new();
    for (name, _) in arrays {
        if name == "__metadata__" {
            return Err(Problem::Reserved { name: name.clone() });
        }
        if !seen.insert(name) {
            return Err(Problem::Duplicate { name: name.clone() });
        }
    }
    Ok(())
}

fn dtype(dtype: safetensors::Dtype) -> Result<Dtype, Problem> {
    use safetensors::Dtype as File;
    match dtype {
        File::F32 => Ok(Dtype::F32),
        File::F64 => Ok(Dtype::F64),
        File::I32 => Ok(Dtype::I32),
        File::I64 => Ok(Dtype::I64),
        File::U8 => Ok(Dtype::U8),
        File::U32 => Ok(Dtype::U32),
        File::BF16 => Ok(Dtype::Bf16),
        File::F16 => Ok(Dtype::F16),
        other => Err(Problem::Dtype { found: format!("{other:?}").to_lowercase() }),
    }
}

fn file_dtype(dtype: Dtype) -> safetensors::Dtype {
    use safetensors::Dtype as File;
    match dtype {
        Dtype::F32 => File::F32,
        Dtype::F64 => File::F64,
        Dtype::I32 => File::I32,
        Dtype::I64 => File::I64,
        Dtype::U8 => File::U8,
        Dtype::U32 => File::U32,
        Dtype::Bf16 => File::BF16,
        Dtype::F16 => File::F16,
    }
}

fn malformed(why: impl std::fmt::Display) -> Problem {
    Problem::malformed(".safetensors", why)
}
