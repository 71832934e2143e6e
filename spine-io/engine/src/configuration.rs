//! Every setting, and why.

use wasmtime::{Config, Inlining, WasmBacktraceDetails, WasmFeatures};

use crate::cost::operator_cost;

/// The whole of a 32-bit address space is reserved for each linear memory, so that an address never
/// needs a comparison: what is not mapped faults.
const RESERVATION_BYTES: u64 = 4 << 30;
/// Beyond it, for the constant offset of a load or store; larger ones are compared.
const GUARD_BYTES: u64 = 32 << 20;
/// Bytes of native stack that an extension may use: what is deeper traps.
pub const STACK_BYTES: usize = 256 << 10;

/// The WebAssembly proposals an extension may use: what compilers emit by default for a plain
/// processor (Rust 1.95 for `wasm32-unknown-unknown` among them), and SIMD.
///
/// Reference types are in for the way they write `call_indirect`; the linker refuses the
/// instructions. Everything else is out, because nobody who writes handlers misses it and each one
/// is more for an adapter to trust.
pub fn features() -> WasmFeatures {
    WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::SIMD
        | WasmFeatures::FLOATS
        | WasmFeatures::EXTENDED_CONST
}

/// The configuration. Shared by whoever compiles and whoever runs.
///
/// A linker may add compiler settings to it; an adapter takes it as it is.
pub fn config() -> Config {
    let mut config = Config::new();
    config.wasm_features(WasmFeatures::all(), false).wasm_features(features(), true);

    // The watchdog (SPINE 3.3.2) is fuel, renewed for each message; nothing else interrupts.
    config.consume_fuel(true).operator_cost(operator_cost()).epoch_interruption(false);

    // Regions are mapped over the grown end of a linear memory, which must therefore stay in its
    // place. Without copy-on-write images wasmtime maps nothing there itself, and a page written
    // for the first time in the middle of a burst is not copied first.
    config
        .memory_reservation(RESERVATION_BYTES)
        .memory_reservation_for_growth(0)
        .memory_guard_size(GUARD_BYTES)
        .guard_before_linear_memory(true)
        .memory_may_move(false)
        .memory_init_cow(false);

    // Tables are few and small (the linker sees to that), so they are filled when the extension is
    // loaded, not when it first calls.
    config.table_lazy_init(false);

    // Out of bounds, division by zero and the like are found by the processor, at no cost until
    // they happen. A stop then walks no stack: 0.16 us, where collecting a backtrace takes 0.8.
    config
        .signals_based_traps(true)
        .wasm_backtrace_max_frames(None)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .generate_address_map(false)
        .native_unwind_info(false)
        .debug_info(false)
        .debug_symbols(false);

    // A hostile module must not reach the end of the adapter's own stack.
    config.max_wasm_stack(STACK_BYTES);

    config
        .relaxed_simd_deterministic(true)
        .compiler_inlining(Inlining::No)
        .shared_memory(false)
        .concurrency_support(false);
    config
}
