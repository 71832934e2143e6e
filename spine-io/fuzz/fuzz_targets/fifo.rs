//! `cargo fuzz run fifo`: see `spine_fuzz::fifo`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| spine_fuzz::fifo::run(data));
