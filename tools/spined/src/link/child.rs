//! The linker's process itself.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use spine_abi::interface::Domains;
use spine_abi::limits::MODULE_BYTES;
use spine_os::domain::{Exports, Policy};
use spine_os::linker::Assembler;

use super::{exit, sandbox};

/// Reads a module, writes its image, and ends.
pub(crate) fn run(domains: Domains) -> ExitCode {
    if let Err(sentence) = sandbox::enter() {
        return end(exit::UNSAFE, sentence.as_bytes());
    }
    let mut wasm = Vec::new();
    let read = std::io::stdin().lock().take(MODULE_BYTES as u64 + 1).read_to_end(&mut wasm);
    if let Err(error) = read {
        return end(exit::REFUSED, format!("the module cannot be read: {error}").as_bytes());
    }
    let assembled = Assembler::new()
        .and_then(|assembler| assembler.assemble(&wasm, &Policy::grant(domains), &Exports::none()));
    match assembled {
        Ok(image) => end(exit::LINKED, &image.into_bytes()),
        Err(error) => end(exit::REFUSED, error.to_string().as_bytes()),
    }
}

fn end(code: u8, bytes: &[u8]) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::from(code),
        Err(_) => ExitCode::FAILURE,
    }
}
