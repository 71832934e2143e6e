//! The linker's process: what reads and compiles a stranger's module has nothing to lose.
//!
//! `spined` runs itself as `spined link DOMAINS CORES`, as the user nobody, with an empty environment: what other
//! extensions export and the module come on standard input, the image leaves on standard output. Before the
//! child reads a byte it gives way to everybody else ([`room`]) and gives up the rest: it can gain no privileges,
//! open no file, start no process or thread, has memory and processor time for the most that the linker's limits
//! let through, and makes no system calls but those of reading, computing and writing ([`sandbox`]). Whatever
//! becomes of it is one sentence to the client. What came of it once is not asked for again ([`cache`]).
//!
//! **Who signs, and why that is sound.** The linker's key stays in `spined`; the child never has it.
//! `spined` signs what the child hands over after it has checked all that can be checked without a
//! compiler: it is an image for this machine, of exactly the module that came in, with that module's
//! manifest and no domain, of the runtime or of another extension, that was not granted (`UnsignedImage::claimed`). What nobody can check is that
//! the machine code is a faithful translation: that rests on the validator and on Cranelift, as it did in
//! the paper on its trusted compiler. A module that takes the child over can therefore forge code for its
//! own extension, and nothing else: no key, no file, no other user's extension goes through that process,
//! which ends with the one module it was started for.

mod cache;
pub(crate) mod child;
mod parent;
mod room;
mod sandbox;
mod sys;

use std::ffi::OsString;

use spine_abi::interface::Domains;
use spine_os::domain::Exports;

pub(crate) use cache::Cache;
pub(crate) use parent::{LinkerError, link};
pub(crate) use room::Room;

/// How the child is told what it is.
const COMMAND: &str = "link";

/// How the child ended.
mod exit {
    /// The image is on standard output.
    pub(super) const LINKED: u8 = 0;
    /// A sentence is: the module was refused.
    pub(super) const REFUSED: u8 = 10;
    /// A sentence is: the child could not give up what it must.
    pub(super) const UNSAFE: u8 = 11;
}

/// Bytes that the linker reads before the module, at most: what other extensions export.
const EXPORTS_BYTES: usize = 1 << 20;

/// What the linker reads: the length of what others export, that, and the module.
fn input(exports: &Exports, wasm: &[u8]) -> Vec<u8> {
    let exports = exports.to_bytes();
    let length = u32::try_from(exports.len()).unwrap_or(u32::MAX);
    [&length.to_le_bytes()[..], &exports, wasm].concat()
}

/// The parts of that.
fn parts(input: &[u8]) -> Option<(Exports, &[u8])> {
    let (length, rest) = input.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    let (exports, wasm) = rest.split_at_checked(length)?;
    Some((Exports::from_bytes(exports)?, wasm))
}

/// The user and group called nobody, who own nothing.
const NOBODY: u32 = 65534;

/// The domains, and where it may run, if this process was started as the linker.
pub(crate) fn asked(mut arguments: impl Iterator<Item = OsString>) -> Option<(Domains, Room)> {
    if arguments.nth(1)?.to_str()? != COMMAND {
        return None;
    }
    let domains = arguments.next()?.to_str()?.parse().ok().map(Domains)?;
    Some((domains, Room::parse(arguments.next()?.to_str()?)?))
}
