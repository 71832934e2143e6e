//! Regions: memory files that the application shares with its extension (SPINE 3.4).

use std::os::fd::OwnedFd;

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
