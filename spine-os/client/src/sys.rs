//! Shared memory as atomics: the crate's only unsafe code.
//!
//! What is mapped shared is written by others while we look: another process, or an extension on
//! its adapter. No reference to its bytes may ever exist then (the compiler would assume that they
//! hold still), only atomics of the machine's own sizes, each created for one access.
#![allow(unsafe_code, reason = "turns checked offsets in a shared mapping into atomics")]

use std::fs::File;
use std::io;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

use memmap2::{MmapOptions, MmapRaw};

/// A file mapped shared, readable and writable, for as long as this lives.
///
/// Invariant, upheld by `memory`: the file is sealed against shrinking, so that every byte of the
/// mapping stays backed.
pub(crate) struct Mapping(MmapRaw);

impl Mapping {
    /// Maps the first `bytes` of `file`, which must have as many.
    pub(crate) fn new(file: &File, bytes: usize) -> io::Result<Self> {
        MmapOptions::new().len(bytes).map_raw(file).map(Self)
    }

    /// Bytes mapped.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

macro_rules! atomics {
    ($($method:ident: $atomic:ident of $value:ident;)*) => { impl Mapping { $(
        /// The value at a byte offset; `None` where it leaves the mapping or is not aligned.
        #[inline]
        pub(crate) fn $method(&self, offset: usize) -> Option<&$atomic> {
            let end = offset.checked_add(size_of::<$value>())?;
            if end > self.0.len() || !offset.is_multiple_of(align_of::<$atomic>()) {
                return None;
            }
            // SAFETY: the range was just checked, so the result points into the mapping.
            let place = unsafe { self.0.as_mut_ptr().add(offset) };
            // SAFETY: in bounds and aligned (checked; a mapping starts on a page); valid for
            // `&self`, which keeps the mapping, whose file cannot shrink (invariant); this process
            // reaches the memory through atomics only (this file hands out nothing else), and for
            // the others any value is valid.
            Some(unsafe { $atomic::from_ptr(place.cast::<$value>()) })
        }
    )* } };
}

atomics! {
    u8_at: AtomicU8 of u8;
    u16_at: AtomicU16 of u16;
    u32_at: AtomicU32 of u32;
    u64_at: AtomicU64 of u64;
}
