//! The perf map: names of machine code in memory, where `perf` looks for them.

use crate::error::{Error, Result};
use std::fs::OpenOptions;
use std::io::Write;
use std::sync::Mutex;

/// The variable that asks for a map, if it is set to anything but nothing.
const VARIABLE: &str = "LOSSJIT_PERF_MAP";

/// Adds a kernel to `/tmp/perf-PID.map`, where the variable asks for it.
///
/// # Errors
/// The file cannot be written.
pub(super) fn note(symbol: &str, address: *const u8, size: usize) -> Result<()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    if std::env::var_os(VARIABLE).is_none_or(|value| value.is_empty()) {
        return Ok(());
    }
    let _lock = ONE_AT_A_TIME.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let path = format!("/tmp/perf-{}.map", std::process::id());
    let line = format!("{:x} {size:x} {symbol}\n", address.addr());
    let written =
        OpenOptions::new().create(true).append(true).open(&path).and_then(|mut f| f.write_all(line.as_bytes()));
    written.map_err(|error| Error::Machine(format!("{path}, which {VARIABLE} asks for, cannot be written: {error}")))
}
