//! Writing a file whole or not at all.

use super::error::{FileError, Problem};
use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Puts a file at `path` with what `fill` writes.
///
/// It is written under another name in the same directory and renamed when its bytes are on the disk, so that `path` is at any
/// time either what it was or complete. Its permissions are those of a new file. Where `path` is a symbolic link, the file
/// it leads to is replaced.
///
/// # Errors
/// If `path` is something other than a regular file or nothing, or the file cannot be written. Nothing is left behind then.
pub fn replace(path: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), FileError> {
    let target = target(path).map_err(|problem| FileError::new(path, problem))?;
    fill_and_rename(&target, fill).map_err(|problem| FileError::new(path, problem))
}

/// Where to write: `path` without symbolic links.
fn target(path: &Path) -> Result<PathBuf, Problem> {
    match fs::canonicalize(path) {
        // Renaming would put a file in the place of a device such as /dev/null.
        Ok(target) if !fs::metadata(&target)?.is_file() => Err(Problem::NotAFile),
        Ok(target) => Ok(target),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(path.to_owned()),
        Err(error) => Err(error.into()),
    }
}

fn fill_and_rename(target: &Path, fill: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), Problem> {
    let mut file = temporary_beside(target)?;
    let mut out = BufWriter::with_capacity(1 << 18, file.as_file_mut());
    fill(&mut out)?;
    out.flush()?;
    drop(out);
    // Some file systems tell only now that they are full.
    file.as_file().sync_all()?;
    file.persist(target).map_err(|error| error.error)?;
    Ok(())
}

fn temporary_beside(target: &Path) -> Result<NamedTempFile, Problem> {
    let dir = match target.parent() {
        Some(dir) if dir != Path::new("") => dir,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".lossjit-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Less the umask; the default is for the owner alone.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    builder.tempfile_in(dir).map_err(|error| Problem::Directory { dir: dir.to_owned(), kind: error.kind() })
}
