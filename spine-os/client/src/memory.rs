//! Regions: memory that an application shares with its extensions (SPINE 3.4).
//!
//! A region is a memory file, mapped here and over the end of the extension's linear memory: both
//! see each other's stores, and nothing is copied. Its size is fixed for good (sealed), because
//! whoever shrinks a file under a mapping kills the process that looks (SIGBUS).
//!
//! Invariants: every access is within bounds and atomic, since the other side may look at the same
//! time. Values are little-endian, as in WebAssembly. What the other side wrote is an allegation.
//! A single access is never torn; what must appear as a whole and is larger than eight bytes is
//! published by its users: write all of it (relaxed), then one `store_release`.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use spine_abi::limits::{PAGE_BYTES, REGION_BYTES};
use thiserror::Error;

use crate::sys::Mapping;

/// Why a region could not be made or taken.
#[derive(Debug, Error)]
pub enum RegionError {
    /// No region has this size.
    #[error("a region of {0} bytes: it may have 1 to {REGION_BYTES}")]
    Size(usize),
    /// The name holds a zero byte or is longer than the system allows.
    #[error("the name of a region has at most 249 bytes, none of them zero")]
    Name,
    /// The system refused.
    #[error("cannot {what} a region: {error}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        error: io::Error,
    },
    /// Somebody else's file has another size than agreed.
    #[error("the region's file has {found} bytes, where {expected} were agreed")]
    Truncated {
        /// Its size.
        found: u64,
        /// The size agreed.
        expected: usize,
    },
    /// Somebody else's file could change its size under us.
    #[error("the region's file is not sealed against shrinking and growing")]
    Unsealed,
    /// Somebody else's file cannot be written.
    #[error("the region's file is read-only")]
    ReadOnly,
}

/// An access that leaves the region or is not aligned to its own size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{bytes} bytes at {offset} leave the region, or are not aligned")]
pub struct OutOfRange {
    /// The byte offset.
    pub offset: usize,
    /// How many bytes were wanted.
    pub bytes: usize,
}

/// A piece of memory shared with extensions.
pub struct Region {
    file: File,
    mapping: Mapping,
}

/// Fixes a file's size, and its seals.
const SEALS: SealFlag =
    SealFlag::F_SEAL_SHRINK.union(SealFlag::F_SEAL_GROW).union(SealFlag::F_SEAL_SEAL);

impl Region {
    /// Makes a region of at least `bytes` zeros: whole WebAssembly pages of 64 KiB.
    ///
    /// The name is seen in `/proc/<pid>/maps`. The memory is taken from the system page by page, as
    /// it is written.
    ///
    /// # Errors
    /// [`RegionError::Size`], [`RegionError::Name`], [`RegionError::System`].
    pub fn create(name: &str, bytes: usize) -> Result<Self, RegionError> {
        if bytes == 0 || bytes > REGION_BYTES {
            return Err(RegionError::Size(bytes));
        }
        let bytes = bytes.next_multiple_of(PAGE_BYTES);
        let name = CString::new(format!("spine:{name}")).map_err(|_| RegionError::Name)?;
        if name.as_bytes().len() > 249 {
            return Err(RegionError::Name);
        }
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let fd = memfd_create(name.as_c_str(), flags).map_err(|errno| system("create", errno))?;
        let file = File::from(fd);
        file.set_len(bytes as u64).map_err(|error| RegionError::System { what: "size", error })?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(SEALS)).map_err(|errno| system("seal", errno))?;
        Self::map(file, bytes)
    }

    /// Takes a file that somebody else made, and says is a region of `bytes`.
    ///
    /// # Errors
    /// [`RegionError`]: not of that size, not sealed, not writable, no memory file at all. It was
    /// not mapped then.
    pub fn open_checked(fd: OwnedFd, bytes: usize) -> Result<Self, RegionError> {
        if bytes == 0 || bytes > REGION_BYTES || !bytes.is_multiple_of(PAGE_BYTES) {
            return Err(RegionError::Size(bytes));
        }
        // Seals first: before them, whatever else is asked could change again.
        let seals = fcntl(&fd, FcntlArg::F_GET_SEALS).map_err(|_| RegionError::Unsealed)?;
        let seals = SealFlag::from_bits_retain(seals);
        if !seals.contains(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW) {
            return Err(RegionError::Unsealed);
        }
        let mode = fcntl(&fd, FcntlArg::F_GETFL).map_err(|errno| system("inspect", errno))?;
        let writable = OFlag::from_bits_retain(mode) & OFlag::O_ACCMODE == OFlag::O_RDWR;
        if !writable || seals.intersects(SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_FUTURE_WRITE) {
            return Err(RegionError::ReadOnly);
        }
        let file = File::from(fd);
        let about =
            file.metadata().map_err(|error| RegionError::System { what: "inspect", error })?;
        if about.len() != bytes as u64 {
            return Err(RegionError::Truncated { found: about.len(), expected: bytes });
        }
        Self::map(file, bytes)
    }

    fn map(file: File, bytes: usize) -> Result<Self, RegionError> {
        let mapping = Mapping::new(&file, bytes)
            .map_err(|error| RegionError::System { what: "map", error })?;
        Ok(Self { file, mapping })
    }

    /// Bytes of the region: a multiple of 64 KiB.
    #[expect(clippy::len_without_is_empty, reason = "a region is never empty")]
    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    /// The file, to be mapped by an adapter.
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Writes `value` to `count` 16-bit places from the byte `offset` on.
    ///
    /// Four places at a time where they are aligned: a table of 16 million entries is painted in
    /// the time its memory takes.
    ///
    /// # Errors
    /// [`OutOfRange`]; nothing was written.
    pub fn fill_u16(&self, offset: usize, count: usize, value: u16) -> Result<(), OutOfRange> {
        let end = self.check_run(offset, count, 2)?;
        let wide = u64::from(value) * 0x0001_0001_0001_0001;
        let head = offset.next_multiple_of(8).min(end);
        let tail = head.max(end & !7);
        for at in (offset..head).step_by(2).chain((tail..end).step_by(2)) {
            self.store_u16(at, value)?;
        }
        for at in (head..tail).step_by(8) {
            self.store_u64(at, wide)?;
        }
        Ok(())
    }

    /// Copies `bytes` into the region, byte by byte: for what the other side does not look at yet.
    ///
    /// # Errors
    /// [`OutOfRange`]; nothing was written.
    pub fn write(&self, offset: usize, bytes: &[u8]) -> Result<(), OutOfRange> {
        self.check_run(offset, bytes.len(), 1)?;
        for (at, byte) in (offset..).zip(bytes) {
            self.store_u8(at, *byte)?;
        }
        Ok(())
    }

    /// Copies out of the region, byte by byte.
    ///
    /// # Errors
    /// [`OutOfRange`]; nothing was read.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> Result<(), OutOfRange> {
        self.check_run(offset, into.len(), 1)?;
        for (at, byte) in (offset..).zip(into) {
            *byte = self.load_u8(at)?;
        }
        Ok(())
    }

    /// The end of `count` values of `size` bytes from `offset` on.
    fn check_run(&self, offset: usize, count: usize, size: usize) -> Result<usize, OutOfRange> {
        let wrong = OutOfRange { offset, bytes: count.saturating_mul(size) };
        let end = count.checked_mul(size).and_then(|bytes| offset.checked_add(bytes));
        end.filter(|end| *end <= self.len() && offset.is_multiple_of(size)).ok_or(wrong)
    }
}

macro_rules! access {
    ($($value:ident, $at:ident, $load:ident, $store:ident, $acquire:ident, $release:ident;)*) => {
        impl Region { $(
            #[doc = concat!("The ", stringify!($value), " at a byte offset, relaxed.")]
            ///
            /// # Errors
            /// [`OutOfRange`].
            #[inline]
            pub fn $load(&self, offset: usize) -> Result<$value, OutOfRange> {
                match self.mapping.$at(offset) {
                    Some(place) => Ok($value::from_le(place.load(Relaxed))),
                    None => Err(OutOfRange { offset, bytes: size_of::<$value>() }),
                }
            }

            #[doc = concat!("Stores a ", stringify!($value), " at a byte offset, relaxed.")]
            ///
            /// # Errors
            /// [`OutOfRange`].
            #[inline]
            pub fn $store(&self, offset: usize, value: $value) -> Result<(), OutOfRange> {
                match self.mapping.$at(offset) {
                    Some(place) => Ok(place.store(value.to_le(), Relaxed)),
                    None => Err(OutOfRange { offset, bytes: size_of::<$value>() }),
                }
            }

            #[doc = concat!("The ", stringify!($value), " at a byte offset: what was stored before")]
            /// the other side released it is seen from now on.
            ///
            /// # Errors
            /// [`OutOfRange`].
            #[inline]
            pub fn $acquire(&self, offset: usize) -> Result<$value, OutOfRange> {
                match self.mapping.$at(offset) {
                    Some(place) => Ok($value::from_le(place.load(Acquire))),
                    None => Err(OutOfRange { offset, bytes: size_of::<$value>() }),
                }
            }

            #[doc = concat!("Stores a ", stringify!($value), " at a byte offset: whoever acquires")]
            /// it sees everything stored before.
            ///
            /// # Errors
            /// [`OutOfRange`].
            #[inline]
            pub fn $release(&self, offset: usize, value: $value) -> Result<(), OutOfRange> {
                match self.mapping.$at(offset) {
                    Some(place) => Ok(place.store(value.to_le(), Release)),
                    None => Err(OutOfRange { offset, bytes: size_of::<$value>() }),
                }
            }
        )* }
    };
}

access! {
    u8, u8_at, load_u8, store_u8, load_u8_acquire, store_u8_release;
    u16, u16_at, load_u16, store_u16, load_u16_acquire, store_u16_release;
    u32, u32_at, load_u32, store_u32, load_u32_acquire, store_u32_release;
    u64, u64_at, load_u64, store_u64, load_u64_acquire, store_u64_release;
}

impl AsFd for Region {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl std::fmt::Debug for Region {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Region").field("bytes", &self.len()).finish_non_exhaustive()
    }
}

fn system(what: &'static str, errno: nix::Error) -> RegionError {
    RegionError::System { what, error: errno.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_region_is_whole_pages_of_zeros_with_a_fixed_size() {
        let region = Region::create("test", 100_000).unwrap();
        assert_eq!(region.len(), 131_072);
        assert_eq!(region.load_u64(131_064), Ok(0));
        assert!(region.file().set_len(0).is_err());
        assert!(region.file().set_len(1 << 20).is_err());
        for wrong in [0, REGION_BYTES + 1] {
            assert!(matches!(Region::create("test", wrong), Err(RegionError::Size(_))));
        }
        let name = "x".repeat(300);
        assert!(matches!(Region::create(&name, 1), Err(RegionError::Name)));
        assert!(matches!(Region::create("a\0b", 1), Err(RegionError::Name)));
    }

    #[test]
    fn two_mappings_of_one_file_see_each_other() {
        let ours = Region::create("test", PAGE_BYTES).unwrap();
        let fd = ours.as_fd().try_clone_to_owned().unwrap();
        let theirs = Region::open_checked(fd, PAGE_BYTES).unwrap();
        ours.store_u32_release(8, 0x1122_3344).unwrap();
        assert_eq!(theirs.load_u32_acquire(8), Ok(0x1122_3344));
        assert_eq!(theirs.load_u8(8), Ok(0x44), "little-endian");
        theirs.write(3, b"swap").unwrap();
        let mut seen = [0; 4];
        ours.read(3, &mut seen).unwrap();
        assert_eq!(&seen, b"swap");
    }

    #[test]
    fn nothing_outside_or_misaligned_is_touched() {
        let region = Region::create("test", PAGE_BYTES).unwrap();
        for offset in [PAGE_BYTES, PAGE_BYTES - 1, usize::MAX, 1] {
            assert!(region.load_u16(offset).is_err(), "{offset}");
            assert!(region.store_u64(offset, 1).is_err(), "{offset}");
        }
        assert!(region.fill_u16(PAGE_BYTES - 2, 2, 7).is_err());
        assert!(region.fill_u16(1, 1, 7).is_err());
        assert!(region.fill_u16(2, usize::MAX, 7).is_err());
        assert!(region.write(PAGE_BYTES - 3, b"swap").is_err());
        assert_eq!(region.load_u16(PAGE_BYTES - 2), Ok(0), "nothing was written");
        assert!(region.fill_u16(PAGE_BYTES, 0, 7).is_ok());
    }

    #[test]
    fn fill_writes_exactly_what_was_asked() {
        let region = Region::create("test", PAGE_BYTES).unwrap();
        for (start, count) in [(0, 1), (1, 2), (3, 9), (2, 2), (4, 64), (5, 0), (7, 1)] {
            region.fill_u16(0, 128, 0).unwrap();
            region.fill_u16(start * 2, count, 0xabcd).unwrap();
            for place in 0..128 {
                let inside = (start..start + count).contains(&place);
                let expected = if inside { 0xabcd } else { 0 };
                assert_eq!(region.load_u16(place * 2), Ok(expected), "{start}+{count} at {place}");
            }
        }
    }

    #[test]
    fn what_was_released_is_seen_by_who_acquires() {
        let region = Region::create("test", PAGE_BYTES).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=20_000 {
                    region.fill_u16(64, 32, round).unwrap();
                    region.store_u16_release(0, round).unwrap();
                }
                stop.store(true, Ordering::Release);
            });
            while !stop.load(Ordering::Acquire) {
                let round = region.load_u16_acquire(0).unwrap();
                assert!(region.load_u16(64).unwrap() >= round);
            }
        });
    }

    fn memfd(bytes: u64, seals: SealFlag) -> File {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let file = File::from(memfd_create("spine-test", flags).unwrap());
        file.set_len(bytes).unwrap();
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).unwrap();
        file
    }

    #[test]
    fn files_of_others_are_checked_before_they_are_mapped() {
        let size = PAGE_BYTES as u64;
        let open = |file: File| Region::open_checked(file.into(), PAGE_BYTES).map(|_| ());
        assert!(open(memfd(size, SEALS)).is_ok());
        let shrinks = memfd(size, SealFlag::F_SEAL_GROW);
        assert!(matches!(open(shrinks), Err(RegionError::Unsealed)));
        let grows = memfd(size, SealFlag::F_SEAL_SHRINK);
        assert!(matches!(open(grows), Err(RegionError::Unsealed)));
        let short = memfd(size - 1, SEALS);
        assert!(matches!(open(short), Err(RegionError::Truncated { .. })));
        let sealed = memfd(size, SEALS | SealFlag::F_SEAL_FUTURE_WRITE);
        assert!(matches!(open(sealed), Err(RegionError::ReadOnly)));
        let file = memfd(size, SEALS);
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&file));
        let read_only = File::open(path).unwrap();
        assert!(matches!(open(read_only), Err(RegionError::ReadOnly)));
        let ordinary = tempfile::tempfile().unwrap();
        ordinary.set_len(size).unwrap();
        assert!(matches!(open(ordinary), Err(RegionError::Unsealed)));
    }
}
