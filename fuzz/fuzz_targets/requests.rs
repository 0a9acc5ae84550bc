//! Bytes as what `lossjit bench --serve` is sent: there is an answer to every line.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let mut answers = vec![];
    lossjit::cli::serve(&mut &bytes[..], &mut answers).unwrap();
});
