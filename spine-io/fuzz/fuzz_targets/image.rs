//! `cargo fuzz run image`: see `spine_fuzz::image`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spine_fuzz::image::run(data));
