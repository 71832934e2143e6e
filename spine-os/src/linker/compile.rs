//! WebAssembly to machine code, with Cranelift.
//!
//! The one place where a compiler lives. Its settings here change how fast code is and never what
//! it means, except that NaNs come out the same on every machine, so that a run can be repeated.

use std::panic::{AssertUnwindSafe, catch_unwind};

use wasmtime::{Engine, OptLevel};

use crate::linker::error::LinkError;

/// The compiler.
pub(crate) struct Compiler {
    engine: Engine,
    compatibility: u64,
}

impl Compiler {
    /// A compiler for this machine.
    ///
    /// # Errors
    /// [`LinkError::Engine`] where there is none.
    pub(crate) fn new() -> Result<Self, LinkError> {
        let mut config = spine_engine::config();
        config.cranelift_opt_level(OptLevel::Speed).cranelift_nan_canonicalization(true);
        let engine =
            Engine::new(&config).map_err(|error| LinkError::Engine(format!("{error:#}")))?;
        let compatibility = spine_engine::compatibility(&engine);
        Ok(Self { engine, compatibility })
    }

    /// What the code is compatible with.
    pub(crate) const fn compatibility(&self) -> u64 {
        self.compatibility
    }

    /// The module as wasmtime serialises it.
    ///
    /// # Errors
    /// [`LinkError::Compiler`]. A panic in the compiler is one, too: it reads what a stranger wrote.
    pub(crate) fn compile(&self, wasm: &[u8]) -> Result<Vec<u8>, LinkError> {
        match catch_unwind(AssertUnwindSafe(|| self.engine.precompile_module(wasm))) {
            Ok(Ok(code)) => Ok(code),
            Ok(Err(error)) => Err(LinkError::Compiler(format!("{error:#}"))),
            Err(_) => Err(LinkError::Compiler("the compiler panicked".to_owned())),
        }
    }
}
