//! `cargo fuzz run control`: see `spine_fuzz::control`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spine_fuzz::control::run(data));
