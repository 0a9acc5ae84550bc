//! Bytes as a graph text: what parses goes through every stage and before every judge.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes)
        && let Err(problem) = support::text::judge(text, bytes.len() as u64)
    {
        panic!("{problem}");
    }
});
