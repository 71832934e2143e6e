//! The linker's process itself.

use std::io::{Read as _, Write as _};
use std::process::ExitCode;

use spine_abi::interface::Domains;
use spine_abi::limits::MODULE_BYTES;
use spine_os::domain::Policy;
use spine_os::linker::Assembler;

use super::{EXPORTS_BYTES, Room, exit, sandbox};

/// Reads a module, writes its image, and ends.
pub(crate) fn run(domains: Domains, room: &Room) -> ExitCode {
    let gives_way = room.enter().map_err(|error| format!("the linker cannot give way: {error}"));
    if let Err(sentence) = gives_way.and_then(|()| sandbox::enter()) {
        return end(exit::UNSAFE, sentence.as_bytes());
    }
    let mut input = Vec::new();
    let most = (MODULE_BYTES + EXPORTS_BYTES) as u64 + 1;
    let read = std::io::stdin().lock().take(most).read_to_end(&mut input);
    if let Err(error) = read {
        return end(exit::REFUSED, format!("the module cannot be read: {error}").as_bytes());
    }
    let Some((exports, wasm)) = super::parts(&input) else {
        return end(exit::REFUSED, b"what spined says of other extensions cannot be read");
    };
    let assembled = Assembler::new()
        .and_then(|assembler| assembler.assemble(wasm, &Policy::grant(domains), &exports));
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
