//! Bytes as a file of arrays; the first one says of which format.
#![no_main]

use std::io::Write;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Some((format, bytes)) = bytes.split_first() else { return };
    let extension = [".npy", ".npz", ".safetensors"][usize::from(*format) % 3];
    let mut file = tempfile::Builder::new().suffix(extension).tempfile().unwrap();
    file.write_all(bytes).unwrap();
    let _ = lossjit::cli::files::read(file.path().to_str().unwrap());
});
