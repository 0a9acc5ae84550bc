//! Bytes as the seed of a use of a loss, compiled and held against the interpreter.
#![no_main]

#[path = "../../tests/support/mod.rs"]
mod support;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let seed = bytes.iter().fold(0u64, |seed, &byte| seed << 8 | u64::from(byte));
    let case = support::losses::loss_case(seed, 1200);
    if let Err(problem) = support::reference::judge(&case) {
        panic!("{case}\n{problem}");
    }
});
