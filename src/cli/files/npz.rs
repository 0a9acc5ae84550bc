//! Reading `.npz`: a zip archive whose entries `KEY.npy` are arrays, stored or deflated. Other entries are passed over.

use super::error::Problem;
use super::{choose, npy};
use crate::cli::array::Array;
use std::io::{BufReader, Read, Seek};
use zip::read::ZipFile;
use zip::{CompressionMethod, ZipArchive};

/// The most bytes one byte of deflate can become: 258 for every two bits.
const MAX_INFLATION: u64 = 1032;

/// Reads the array `key`, or the only one, of an archive of `len` bytes.
pub(super) fn read(source: impl Read + Seek, len: u64, key: Option<&str>) -> Result<Array, Problem> {
    let mut archive = ZipArchive::new(BufReader::new(source)).map_err(malformed)?;
    let held: Vec<String> =
        archive.file_names().filter_map(|name| name.strip_suffix(".npy")).map(String::from).collect();
    // As in NumPy, an entry may be asked for by its name in the archive as well.
    let entry = key.and_then(|key| key.strip_suffix(".npy"));
    let bare = entry.filter(|entry| held.iter().any(|name| name == entry));
    let name = choose(&held, bare.or(key))?;
    let entry = archive.by_name(&format!("{name}.npy")).map_err(|error| malformed(error).in_array(name))?;
    read_entry(entry, len).map_err(|problem| problem.in_array(name))
}

fn read_entry<R: Read>(mut entry: ZipFile<'_, R>, len: u64) -> Result<Array, Problem> {
    check_size(&entry, len)?;
    let size = entry.size();
    let array = npy::read(&mut entry, size)?;
    // The checksum is compared when the end is read.
    match entry.read(&mut [0])? {
        0 => Ok(array),
        _ => Err(malformed("the entry is longer than it declares")),
    }
}

/// Refuses a size that the archive cannot hold, before memory is reserved by it.
fn check_size<R: Read>(entry: &ZipFile<'_, R>, len: u64) -> Result<(), Problem> {
    let packed = entry.compressed_size();
    let most = match entry.compression() {
        CompressionMethod::Stored => packed,
        _ => packed.saturating_mul(MAX_INFLATION),
    };
    if packed > len || entry.size() > most {
        return Err(malformed(format!(
            "the entry declares {} bytes, packed into {packed}, in an archive of {len}",
            entry.size()
        )));
    }
    Ok(())
}

fn malformed(why: impl std::fmt::Display) -> Problem {
    Problem::malformed(".npz", why)
}
