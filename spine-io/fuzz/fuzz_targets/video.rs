//! `cargo fuzz run --features video video`: see `spine_fuzz::video`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spine_fuzz::video::run(data));
