//! Regions: memory files that the application shares with its extension (SPINE 3.4).

use std::os::fd::OwnedFd;

use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl};
use nix::sys::stat::fstat;
use spine_abi::limits::{PAGE_BYTES, REGION_BYTES};

/// A region the application shares: a sealed memory file.
///
/// It is an allegation: size and seals are checked before the file is mapped.
#[derive(Debug)]
pub struct RegionSource {
    /// The file.
    pub file: OwnedFd,
    /// Its length in bytes, a multiple of 64 KiB.
    pub bytes: usize,
}

/// A region whose file cannot shrink under us.
#[derive(Debug)]
pub(crate) struct CheckedRegion<'a>(&'a RegionSource);

impl<'a> CheckedRegion<'a> {
    /// Checks seals, access and size of the file: in this order, because what is asked before the seals
    /// could change again.
    ///
    /// # Errors
    /// A sentence saying what is wrong.
    pub(crate) fn new(region: &'a RegionSource) -> Result<Self, String> {
        if region.bytes == 0
            || region.bytes > REGION_BYTES
            || !region.bytes.is_multiple_of(PAGE_BYTES)
        {
            return Err(format!(
                "{} bytes is not a multiple of {PAGE_BYTES} up to {REGION_BYTES}",
                region.bytes
            ));
        }
        let seals = fcntl(&region.file, FcntlArg::F_GET_SEALS)
            .map_err(|_| "it is not a memory file that can be sealed".to_owned())?;
        let seals = SealFlag::from_bits_truncate(seals);
        if !seals.contains(SealFlag::F_SEAL_SHRINK) {
            return Err("its file is not sealed against shrinking".into());
        }
        let mode = fcntl(&region.file, FcntlArg::F_GETFL).map_err(|error| error.to_string())?;
        let writable = OFlag::from_bits_retain(mode) & OFlag::O_ACCMODE == OFlag::O_RDWR;
        if !writable || seals.intersects(SealFlag::F_SEAL_WRITE | SealFlag::F_SEAL_FUTURE_WRITE) {
            return Err("its file is read-only".into());
        }
        let about = fstat(&region.file).map_err(|error| error.to_string())?;
        if usize::try_from(about.st_blksize).is_ok_and(|page| page > PAGE_BYTES) {
            return Err("its file has huge pages, which do not fit into linear memory".into());
        }
        if usize::try_from(about.st_size).is_ok_and(|size| size >= region.bytes) {
            Ok(Self(region))
        } else {
            Err(format!("its file has {} bytes instead of {}", about.st_size, region.bytes))
        }
    }

    /// What was checked.
    pub(crate) fn source(&self) -> &RegionSource {
        self.0
    }
}
