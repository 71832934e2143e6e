//! Extensions as memory files: how a .wasm travels over the control socket.
//!
//! The sender seals the file before he sends it. The receiver asks for the seals, which only memory
//! files have: so what he reads cannot change, has an end, and never makes him wait, as a pipe or a
//! file on somebody's own file system could.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use spine_abi::limits::MODULE_BYTES;
use thiserror::Error;

const SEALS: SealFlag =
    SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_WRITE);

/// Why a descriptor was not taken for an extension.
#[derive(Debug, Error)]
pub enum FileError {
    /// It can change, or is no memory file.
    #[error("the extension came in a file that is not a memory file sealed against changes")]
    Unsealed,
    /// It is too large to be one.
    #[error("the extension has {0} bytes, and {MODULE_BYTES} is the limit")]
    TooLarge(u64),
    /// The system refused.
    #[error("the extension's file cannot be read: {0}")]
    Unreadable(#[from] io::Error),
}

/// Puts bytes in a sealed memory file.
///
/// # Errors
/// What the system says.
pub fn seal(bytes: &[u8]) -> io::Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let mut file = File::from(memfd_create(c"spine:extension", flags)?);
    file.write_all(bytes)?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS | SealFlag::F_SEAL_SEAL))?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file.into())
}

/// The bytes of a sealed memory file that somebody else sent.
///
/// # Errors
/// [`FileError`].
pub fn unseal(file: OwnedFd) -> Result<Vec<u8>, FileError> {
    let seals = fcntl(&file, FcntlArg::F_GET_SEALS).map_err(|_| FileError::Unsealed)?;
    if !SealFlag::from_bits_retain(seals).contains(SEALS) {
        return Err(FileError::Unsealed);
    }
    let mut file = File::from(file);
    let length = file.metadata()?.len();
    if length > MODULE_BYTES as u64 {
        return Err(FileError::TooLarge(length));
    }
    file.seek(SeekFrom::Start(0))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sealed_memory_files_of_a_possible_size_are_read() {
        assert_eq!(unseal(seal(b"\0asm").unwrap()).unwrap(), b"\0asm");
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let unsealed = memfd_create(c"test", flags).unwrap();
        assert!(matches!(unseal(unsealed), Err(FileError::Unsealed)));
        let ordinary = tempfile::tempfile().unwrap();
        assert!(matches!(unseal(ordinary.into()), Err(FileError::Unsealed)));
        let (reader, _writer) = io::pipe().unwrap();
        assert!(matches!(unseal(reader.into()), Err(FileError::Unsealed)));
        let large = File::from(memfd_create(c"test", flags).unwrap());
        large.set_len(MODULE_BYTES as u64 + 1).unwrap();
        fcntl(&large, FcntlArg::F_ADD_SEALS(SEALS)).unwrap();
        assert!(matches!(unseal(large.into()), Err(FileError::TooLarge(_))));
    }
}
