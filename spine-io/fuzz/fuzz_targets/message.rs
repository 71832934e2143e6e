//! `cargo fuzz run message`: see `spine_fuzz::message`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spine_fuzz::message::run(data));
