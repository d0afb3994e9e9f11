//! The body of the same name, fed by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| doorward_core::fuzz::record(bytes));
