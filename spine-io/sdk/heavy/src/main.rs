//! The module as the runtime loads it; all of the extension is in the library.
#![cfg_attr(target_arch = "wasm32", no_std, no_main)]
spine_sdk::export!(spine_heavy);
