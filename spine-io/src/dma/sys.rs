//! The memory of a frame buffer: bytes that others look at, mapped.
#![allow(unsafe_code, reason = "copies into shared mappings, and their words as atomics")]

use std::io;
use std::sync::atomic::{AtomicU32, AtomicU64};

use memmap2::{MmapOptions, MmapRaw};

use crate::region::CheckedRegion;

/// A frame buffer's file, mapped for as long as this lives.
///
/// Invariants: the file cannot shrink ([`CheckedRegion`]), so every byte stays backed; nothing here
/// hands out a reference to the bytes but as atomics, so that others may look at them meanwhile through
/// mappings of their own: they see old bytes or new ones.
#[derive(Debug)]
pub(super) struct Mapping(MmapRaw);

impl Mapping {
    /// Maps a checked file, with all of its memory taken from the system now and not packet by packet.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn new(region: &CheckedRegion<'_>) -> io::Result<Self> {
        let source = region.source();
        MmapOptions::new().len(source.bytes).populate().map_raw(&source.file).map(Self)
    }

    #[inline]
    fn has(&self, offset: usize, length: usize) -> bool {
        offset.checked_add(length).is_some_and(|end| end <= self.0.len())
    }

    /// Copies bytes in; false, and nothing is written, where they would leave the mapping.
    #[inline]
    pub(super) fn copy_in(&self, offset: usize, bytes: &[u8]) -> bool {
        if !self.has(offset, bytes.len()) {
            return false;
        }
        // SAFETY: offset <= length of the mapping, checked just now.
        let to = unsafe { self.0.as_mut_ptr().add(offset) };
        // SAFETY: the range was checked; `bytes` is a packet's frame or an extension's memory, which are
        // no part of this file's mapping; there are no references to the target (invariant).
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
        true
    }

    /// Copies bytes from one place in the mapping to another that does not overlap; false, and nothing is
    /// written, where it does or leaves the mapping.
    pub(super) fn copy_within(&self, from: usize, to: usize, length: usize) -> bool {
        let apart = from.abs_diff(to) >= length;
        if !apart || !self.has(from, length) || !self.has(to, length) {
            return false;
        }
        let base = self.0.as_mut_ptr();
        // SAFETY: both ranges were checked to be inside and apart; no references to them (invariant).
        unsafe { std::ptr::copy_nonoverlapping(base.add(from), base.add(to), length) };
        true
    }

    /// The 32-bit word at an offset; `None` outside or not aligned.
    #[inline]
    pub(super) fn word(&self, offset: usize) -> Option<&AtomicU32> {
        if !self.has(offset, 4) || !offset.is_multiple_of(4) {
            return None;
        }
        // SAFETY: inside (checked) and so inside one allocation.
        let place = unsafe { self.0.as_mut_ptr().add(offset) }.cast::<u32>();
        // SAFETY: inside and aligned (a mapping starts on a page), backed for `&self`; words read here
        // lie in headers, which this process reaches as atomics only, and any value is valid.
        Some(unsafe { AtomicU32::from_ptr(place) })
    }

    /// The 64-bit word at an offset; `None` outside or not aligned.
    #[inline]
    pub(super) fn long(&self, offset: usize) -> Option<&AtomicU64> {
        if !self.has(offset, 8) || !offset.is_multiple_of(8) {
            return None;
        }
        // SAFETY: inside (checked) and so inside one allocation.
        let place = unsafe { self.0.as_mut_ptr().add(offset) }.cast::<u64>();
        // SAFETY: as in `word`.
        Some(unsafe { AtomicU64::from_ptr(place) })
    }
}
