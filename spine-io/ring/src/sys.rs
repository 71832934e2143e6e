//! Shared memory as atomics, and submissions to io_uring: the crate's only unsafe code.
//!
//! What is mapped shared is written by another process while we look. No reference to its bytes may ever
//! exist then (the compiler would assume that they hold still), only to atomics, for which any value is valid
//! at any time.
#![allow(unsafe_code, reason = "places in a shared mapping, and io_uring submissions")]

use std::fs::File;
use std::io;
use std::os::fd::RawFd;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::sync::atomic::{AtomicU32, AtomicU64, fence};

use io_uring::squeue::Entry;
use io_uring::{IoUring, opcode, types};
use memmap2::{MmapOptions, MmapRaw};
use spine_abi::fifo::{self, SLOTS, Side, Word};
use spine_abi::limits::MESSAGE_BYTES;

use crate::protocol::{Memory, Raw};

/// The eight-byte pieces in which a message is copied: as large as an atomic can be.
const PIECE: usize = size_of::<u64>();
type Slot = [AtomicU64; MESSAGE_BYTES / PIECE];

const _: () = assert!(SLOTS.is_multiple_of(align_of::<Slot>()));
const _: () = assert!(MESSAGE_BYTES.is_multiple_of(align_of::<Slot>()));

/// A FIFO's memory file, mapped shared for as long as this lives.
///
/// Invariants: the mapping has exactly `memory_bytes(capacity)` bytes (`new` sees to it), and stays
/// backed: `memory` gives `new` only files that are sealed against shrinking.
#[derive(Debug)]
pub(crate) struct Mapping {
    memory: MmapRaw,
    capacity: u32,
}

impl Mapping {
    /// Maps a file that has as many bytes as rings of this capacity need, and cannot shrink.
    pub(crate) fn new(file: &File, capacity: u32) -> io::Result<Self> {
        let bytes = fifo::memory_bytes(capacity).ok_or(io::ErrorKind::InvalidInput)?;
        let memory = MmapOptions::new().len(bytes).map_raw(file)?;
        Ok(Self { memory, capacity })
    }

    #[inline]
    fn word(&self, word: Word) -> &AtomicU32 {
        // SAFETY: every word lies before the slots (asserted in `spine_abi::fifo`), and so in the mapping
        // (first invariant).
        let place = unsafe { self.memory.as_mut_ptr().add(word.offset()) };
        // SAFETY: in bounds as above, aligned (words are 128 bytes apart, a mapping starts on a page),
        // backed as long as `&self` (second invariant); reached through atomics only, here and by
        // every honest other end, and any value is valid.
        unsafe { AtomicU32::from_ptr(place.cast()) }
    }

    #[inline]
    fn slot(&self, producer: Side, index: u32) -> &Slot {
        // SAFETY: `slot` stays within `memory_bytes` for every index (tested there), and the mapping has
        // as many bytes (first invariant).
        let place =
            unsafe { self.memory.as_mut_ptr().add(fifo::slot(producer, index, self.capacity)) };
        // SAFETY: as for words; alignment is asserted above.
        unsafe { &*place.cast::<Slot>() }
    }
}

impl Memory for Mapping {
    #[inline]
    fn capacity(&self) -> u32 {
        self.capacity
    }

    #[inline]
    fn load(&self, word: Word) -> u32 {
        u32::from_le(self.word(word).load(Acquire))
    }

    #[inline]
    fn store(&self, word: Word, value: u32) {
        self.word(word).store(value.to_le(), Release);
    }

    #[inline]
    fn fence(&self) {
        fence(SeqCst);
    }

    #[inline]
    fn read(&self, producer: Side, index: u32) -> Raw {
        let mut message = [0; MESSAGE_BYTES];
        for (bytes, piece) in message.as_chunks_mut().0.iter_mut().zip(self.slot(producer, index)) {
            *bytes = piece.load(Relaxed).to_ne_bytes();
        }
        message
    }

    #[inline]
    fn write(&self, producer: Side, index: u32, message: &Raw) {
        for (bytes, piece) in message.as_chunks().0.iter().zip(self.slot(producer, index)) {
            piece.store(u64::from_ne_bytes(*bytes), Relaxed);
        }
    }
}

/// Asks for a completion when a descriptor becomes readable, or its other end hangs up.
pub(crate) fn submit_poll(ring: &mut IoUring, fd: RawFd, name: u64) -> io::Result<()> {
    let readable = libc::POLLIN.cast_unsigned().into();
    submit(ring, &opcode::PollAdd::new(types::Fd(fd), readable).build().user_data(name))
}

/// Takes such a request back.
pub(crate) fn submit_forget(ring: &mut IoUring, name: u64, own: u64) -> io::Result<()> {
    submit(ring, &opcode::PollRemove::new(name).build().user_data(own))
}

/// Queues one of the two entries above; it reaches the kernel with the next sleep, or now if the queue is full.
fn submit(ring: &mut IoUring, entry: &Entry) -> io::Result<()> {
    // SAFETY: polls and their removal refer to no memory of ours; a descriptor that is closed is refused by
    // the kernel.
    if unsafe { ring.submission().push(entry) }.is_ok() {
        return Ok(());
    }
    ring.submit()?;
    // SAFETY: as above.
    unsafe { ring.submission().push(entry) }.map_err(io::Error::other)
}
