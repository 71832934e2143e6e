//! The memory file of a FIFO: made sealed, and checked before it is mapped.
//!
//! A file that could shrink under a mapping kills whoever looks (SIGBUS); so its size is fixed for good when it is
//! made, and one that somebody else made is mapped only when its seals say so.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use spine_abi::fifo::{self, CAPACITY, DESCRIPTION_BYTES, Side, Word, memory_bytes};
use thiserror::Error;

use crate::bell::Bell;
use crate::protocol::Memory;
use crate::sys::Mapping;

/// One end of a FIFO that nobody uses yet: two descriptors, which may cross a Unix socket.
#[derive(Debug)]
pub struct Fds {
    /// The memory file.
    pub memory: OwnedFd,
    /// This end's side of the doorbell.
    pub bell: OwnedFd,
}

impl Fds {
    /// The memory, then the doorbell: the order in which they cross a socket.
    pub fn into_fds(self) -> [OwnedFd; 2] {
        [self.memory, self.bell]
    }

    /// From descriptors in that order. Nothing is checked before an end is opened from them.
    pub fn from_fds([memory, bell]: [OwnedFd; 2]) -> Self {
        Self { memory, bell }
    }
}

/// Why a FIFO was not made or opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// No ring has so many slots.
    #[error("a FIFO for {0} messages: it may have 1, 2, 4 and so on up to {CAPACITY}")]
    Capacity(u32),
    /// Somebody else's file could change its size under us.
    #[error("the FIFO's file is not a memory file sealed against shrinking and growing")]
    Unsealed,
    /// Somebody else's file cannot be written.
    #[error("the FIFO's file is read-only")]
    ReadOnly,
    /// Somebody else's file holds no FIFO of this version, or not as many bytes as it says.
    #[error("the file of {0} bytes holds no FIFO of version {version}", version = fifo::VERSION)]
    Layout(u64),
    /// This end was opened before, and what it knew then is lost.
    #[error("this end of the FIFO has been used before; make a new FIFO")]
    Used,
    /// The second descriptor is no doorbell.
    #[error("the FIFO's doorbell is not a Unix stream socket")]
    Bell,
    /// The system refused.
    #[error("cannot {what} a FIFO: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

const SEALS: SealFlag =
    SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

fn system(what: &'static str) -> impl FnOnce(nix::Error) -> OpenError {
    move |errno| OpenError::System { what, error: errno.into() }
}

/// Makes the memory of a FIFO with so many slots each way, all empty.
pub(crate) fn create(capacity: u32) -> Result<File, OpenError> {
    let bytes = memory_bytes(capacity).ok_or(OpenError::Capacity(capacity))?;
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(memfd_create(c"spine-fifo", flags).map_err(system("create"))?);
    let written = file.set_len(bytes as u64);
    written
        .and_then(|()| file.write_all_at(&fifo::describe(capacity), 0))
        .map_err(|error| OpenError::System { what: "write", error })?;
    fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS)).map_err(system("seal"))?;
    Ok(file)
}

/// Maps a file that somebody else made, or we did, for the end on this side.
///
/// # Errors
/// [`OpenError`]; it was not mapped then, or is no longer.
pub(crate) fn open(memory: OwnedFd, side: Side) -> Result<Mapping, OpenError> {
    // Seals first: before them, whatever else is asked could change again.
    let seals = fcntl(&memory, FcntlArg::F_GET_SEALS).map_err(|_| OpenError::Unsealed)?;
    let seals = SealFlag::from_bits_retain(seals);
    if !seals.contains(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW) {
        return Err(OpenError::Unsealed);
    }
    let mode = fcntl(&memory, FcntlArg::F_GETFL).map_err(system("inspect"))?;
    let writable = OFlag::from_bits_retain(mode) & OFlag::O_ACCMODE == OFlag::O_RDWR;
    if !writable || seals.intersects(SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_FUTURE_WRITE) {
        return Err(OpenError::ReadOnly);
    }
    let file = File::from(memory);
    let about = file.metadata().map_err(|error| OpenError::System { what: "inspect", error })?;
    // Read once: the mapping has a capacity of its own from here on.
    let mut description = [0; DESCRIPTION_BYTES];
    let wrong = || OpenError::Layout(about.len());
    file.read_exact_at(&mut description, 0).map_err(|_| wrong())?;
    let bytes = usize::try_from(about.len()).map_err(|_| wrong())?;
    let capacity = fifo::parse(&description, bytes).ok_or_else(wrong)?;
    let mapping =
        Mapping::new(&file, capacity).map_err(|error| OpenError::System { what: "map", error })?;
    let own = [Word::Produced(side), Word::Consumed(side), Word::State(side)];
    if own.iter().any(|word| mapping.load(*word) != 0) {
        return Err(OpenError::Used);
    }
    Ok(mapping)
}

/// The doorbell of an end that is being opened.
pub(crate) fn open_bell(bell: OwnedFd) -> Result<Bell, OpenError> {
    Bell::open_checked(bell).ok_or(OpenError::Bell)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn memfd(bytes: u64, seals: SealFlag, description: &[u8]) -> File {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create(c"spine-test", flags).unwrap());
        file.set_len(bytes).unwrap();
        file.write_all_at(description, 0).unwrap();
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
        file
    }

    fn open_it(file: File) -> Result<u32, OpenError> {
        open(file.into(), Side::Host).map(|mapping| mapping.capacity())
    }

    #[test]
    fn a_new_file_is_sealed_for_good_and_opens() {
        let file = create(8).unwrap();
        assert!(file.set_len(0).is_err() && file.set_len(1 << 20).is_err());
        assert!(fcntl(&file, FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_FUTURE_WRITE)).is_err());
        assert_eq!(open_it(file).unwrap(), 8);
        for capacity in [0, 3, CAPACITY + 1, 2 * CAPACITY] {
            assert!(matches!(create(capacity), Err(OpenError::Capacity(_))), "{capacity}");
        }
    }

    #[test]
    fn files_of_others_are_checked_before_they_are_mapped() {
        let size = memory_bytes(8).unwrap() as u64;
        let good = fifo::describe(8);
        assert!(open_it(memfd(size, SEALS, &good)).is_ok());
        let shrinks = memfd(size, SealFlag::F_SEAL_GROW, &good);
        assert!(matches!(open_it(shrinks), Err(OpenError::Unsealed)));
        let grows = memfd(size, SealFlag::F_SEAL_SHRINK, &good);
        assert!(matches!(open_it(grows), Err(OpenError::Unsealed)));
        let frozen = memfd(size, SEALS | SealFlag::F_SEAL_FUTURE_WRITE, &good);
        assert!(matches!(open_it(frozen), Err(OpenError::ReadOnly)));
        let file = memfd(size, SEALS, &good);
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        assert!(matches!(open_it(File::open(path).unwrap()), Err(OpenError::ReadOnly)));
        for (bytes, description) in [
            (size - 1, fifo::describe(8)),
            (size, fifo::describe(16)),
            (size, fifo::describe(CAPACITY)),
            (size, [0; DESCRIPTION_BYTES]),
            (0, [0; DESCRIPTION_BYTES]),
        ] {
            let written = &description[..description.len().min(usize::try_from(bytes).unwrap())];
            let file = memfd(bytes, SEALS, written);
            assert!(matches!(open_it(file), Err(OpenError::Layout(n)) if n == bytes), "{bytes}");
        }
        let ordinary = tempfile::tempfile().unwrap();
        ordinary.set_len(size).unwrap();
        ordinary.write_all_at(&good, 0).unwrap();
        assert!(matches!(open_it(ordinary), Err(OpenError::Unsealed)));
    }

    #[test]
    fn an_end_is_opened_once() {
        let file = create(8).unwrap();
        let word = Word::Produced(Side::Host).offset() as u64;
        file.write_all_at(&1_u32.to_le_bytes(), word).unwrap();
        let again = file.try_clone().unwrap();
        assert!(matches!(open_it(file), Err(OpenError::Used)));
        assert!(open(again.into(), Side::Adapter).is_ok(), "the other end is another matter");
    }
}
