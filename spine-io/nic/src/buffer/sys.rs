//! The memory of all frames, and the handles that prove who may touch which.
#![allow(unsafe_code, reason = "turns frame handles into byte slices of a shared mapping")]

use std::any::Any;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use memmap2::MmapMut;
use nix::sys::mman::{MmapAdvise, madvise};
use spine_abi::HandlerNumber;
use spine_abi::metadata::TIMED_BYTES;

/// Bytes kept free in front of a received packet where we choose: what XDP itself keeps.
pub const HEADROOM: u16 = 256;

/// Why there is no frame memory.
#[derive(Debug, thiserror::Error)]
pub enum MemoryError {
    /// A size that no backend can use.
    #[error(
        "{frames} frames of {bytes} bytes are not possible: frames are 2048 or 4096 bytes, and at least one"
    )]
    Size {
        /// How many were asked for.
        frames: u32,
        /// Bytes of each.
        bytes: usize,
    },
    /// The kernel refused the mapping.
    #[error(
        "no memory for {frames} frames of {bytes} bytes: {source}; ask for fewer with --frames"
    )]
    Map {
        /// How many were asked for.
        frames: u32,
        /// Bytes of each.
        bytes: usize,
        /// What the kernel said.
        source: std::io::Error,
    },
}

/// The only handle to one frame: not `Clone`, made once for each frame of a [`FrameMemory`].
///
/// `offset` and `length` are where the packet stands in the frame.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    index: u32,
    memory: u16,
    home: u16,
    offset: u16,
    length: u16,
    handler: HandlerNumber,
}

impl Frame {
    /// Its position in the memory.
    #[inline]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// The adapter whose pool it belongs to.
    #[inline]
    pub fn home(&self) -> u16 {
        self.home
    }

    /// Bytes from the frame's start to the packet.
    #[inline]
    pub fn offset(&self) -> u16 {
        self.offset
    }

    /// Bytes of the packet.
    #[inline]
    pub fn len(&self) -> u16 {
        self.length
    }

    /// Whether there is no packet in it.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The handler the classifier named for the packet; zero when it did not.
    #[inline]
    pub fn handler(&self) -> HandlerNumber {
        self.handler
    }

    /// Names the handler for the packet.
    #[inline]
    pub fn set_handler(&mut self, handler: HandlerNumber) {
        self.handler = handler;
    }
}

/// Equal frames in one mapping, for all adapters of a process.
///
/// Invariant: for every index there is at most one [`Frame`] with this memory's number, or none while
/// a backend has lent the frame to the kernel. The constructors hand out all frames once, and only
/// [`FrameMemory::adopt`] (unsafe) makes one again.
#[derive(Debug)]
pub struct FrameMemory {
    base: NonNull<u8>,
    frame_bytes: usize,
    frames: u32,
    number: u16,
    _owner: Box<dyn Any + Send + Sync>,
}

// SAFETY: the mapping lives as long as `_owner`, which is Send; which bytes a thread touches is
// decided by the frames it holds, and those are exclusive (the type's invariant).
unsafe impl Send for FrameMemory {}
// SAFETY: as for Send: shared access reaches bytes only through an exclusive frame.
unsafe impl Sync for FrameMemory {}

impl FrameMemory {
    /// Frames in ordinary memory, for backends that need no registration; with all its frames, dealt
    /// out evenly to `homes` adapters.
    ///
    /// # Errors
    /// [`MemoryError`] for sizes no backend can use, and when the kernel has no memory.
    pub fn anonymous(
        frames: u32,
        frame_bytes: usize,
        homes: u16,
    ) -> Result<(Arc<Self>, Vec<Vec<Frame>>), MemoryError> {
        let length = usize::try_from(frames).unwrap_or(usize::MAX).saturating_mul(frame_bytes);
        let map = |source| MemoryError::Map { frames, bytes: frame_bytes, source };
        Self::check(frames, frame_bytes)?;
        let mut mapping = MmapMut::map_anon(length).map_err(map)?;
        let base = NonNull::from(&mut mapping[..]).cast::<u8>();
        // SAFETY: the mapping is `length` bytes, nobody else knows it, and it moves into `owner`,
        // whose heap pages do not move.
        Ok(unsafe { Self::from_raw(base, frames, frame_bytes, homes, Box::new(mapping)) })
    }

    /// Whether frames of this size and number can be.
    ///
    /// # Errors
    /// [`MemoryError::Size`].
    pub fn check(frames: u32, frame_bytes: usize) -> Result<(), MemoryError> {
        if frames == 0 || !(frame_bytes == 2048 || frame_bytes == 4096) {
            return Err(MemoryError::Size { frames, bytes: frame_bytes });
        }
        Ok(())
    }

    /// Frames in memory somebody else mapped (a UMEM).
    ///
    /// # Safety
    /// 1. `base` points to `frames * frame_bytes` readable and writable bytes that stay mapped, at
    ///    that place, until `owner` is dropped.
    /// 2. Nobody but the returned frames' holders, and the kernel for frames lent to it, touches
    ///    those bytes.
    pub unsafe fn from_raw(
        base: NonNull<u8>,
        frames: u32,
        frame_bytes: usize,
        homes: u16,
        owner: Box<dyn Any + Send + Sync>,
    ) -> (Arc<Self>, Vec<Vec<Frame>>) {
        static NUMBER: AtomicU16 = AtomicU16::new(0);
        // A child would get copies of pages that the kernel writes packets into, and we page faults for each
        // page afterwards. Where it cannot be had, all else holds.
        // SAFETY: the bytes are mapped (1), and only children miss them.
        let _ = unsafe {
            madvise(base.cast(), frames as usize * frame_bytes, MmapAdvise::MADV_DONTFORK)
        };
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let memory = Arc::new(Self { base, frame_bytes, frames, number, _owner: owner });
        let each = frames / u32::from(homes.max(1));
        let dealt = (0..homes)
            .map(|home| {
                let first = u32::from(home) * each;
                (first..first + each).map(|index| memory.frame(index, home)).collect()
            })
            .collect();
        (memory, dealt)
    }

    fn frame(&self, index: u32, home: u16) -> Frame {
        Frame {
            index,
            memory: self.number,
            home,
            offset: HEADROOM,
            length: 0,
            handler: HandlerNumber::NONE,
        }
    }

    /// The frame at `index` again, after a backend got it back from the kernel.
    ///
    /// # Safety
    /// The caller gave up (forgot) the frame of this index when it lent it to the kernel, and the
    /// kernel has returned it: no other `Frame` with this index exists.
    #[inline]
    pub unsafe fn adopt(&self, index: u32, home: u16) -> Frame {
        assert!(index < self.frames, "the kernel returned a frame that is not ours");
        self.frame(index, home)
    }

    /// Says where the packet stands in its frame.
    ///
    /// # Panics
    /// If it would leave the frame: a backend checks what the kernel or a peer told it before.
    #[inline]
    pub fn set_packet(&self, frame: &mut Frame, offset: u16, length: u16) {
        assert!(self.owns(frame), "a frame of another memory");
        assert!(usize::from(offset) + usize::from(length) <= self.frame_bytes);
        frame.offset = offset;
        frame.length = length;
    }

    /// Whether the frame is one of this memory's.
    #[inline]
    pub fn owns(&self, frame: &Frame) -> bool {
        frame.memory == self.number
    }

    /// Bytes of each frame.
    #[inline]
    pub fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }

    /// How many frames there are.
    #[inline]
    pub fn frames(&self) -> u32 {
        self.frames
    }

    /// The largest packet a frame can hold behind the headroom.
    #[inline]
    pub fn packet_bytes(&self) -> usize {
        self.frame_bytes - usize::from(HEADROOM)
    }

    #[inline]
    fn start(&self, frame: &Frame) -> *mut u8 {
        assert!(frame.memory == self.number, "a frame of another memory");
        // SAFETY: index < frames (constructor and `adopt`), so the sum stays in the mapping.
        unsafe { self.base.as_ptr().add(frame.index as usize * self.frame_bytes) }
    }

    /// The packet's bytes.
    #[inline]
    pub fn packet<'a>(&'a self, frame: &'a Frame) -> &'a [u8] {
        let start = self.start(frame);
        // SAFETY: offset + length <= frame_bytes (`set_packet`); the frame is borrowed, so nobody
        // writes these bytes meanwhile (the type's invariant).
        unsafe {
            std::slice::from_raw_parts(
                start.add(usize::from(frame.offset)),
                usize::from(frame.length),
            )
        }
    }

    /// The packet's bytes, to be changed.
    #[inline]
    pub fn packet_mut<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8] {
        let start = self.start(frame);
        // SAFETY: as in `packet`; the frame is borrowed exclusively, so nobody reads them either.
        unsafe {
            std::slice::from_raw_parts_mut(
                start.add(usize::from(frame.offset)),
                usize::from(frame.length),
            )
        }
    }

    /// All bytes from the packet's place to the frame's end: room to receive into.
    #[inline]
    pub fn room_mut<'a>(&'a self, frame: &'a mut Frame) -> &'a mut [u8] {
        let start = self.start(frame);
        // SAFETY: offset <= frame_bytes (`set_packet`), exclusive as in `packet_mut`.
        unsafe {
            std::slice::from_raw_parts_mut(
                start.add(usize::from(frame.offset)),
                self.frame_bytes - usize::from(frame.offset),
            )
        }
    }

    /// The bytes in front of the packet where a classifier leaves its stamp, with room for a time.
    #[inline]
    pub fn metadata_mut<'a>(&'a self, frame: &'a mut Frame) -> Option<&'a mut [u8; TIMED_BYTES]> {
        let offset = usize::from(frame.offset).checked_sub(TIMED_BYTES)?;
        let start = self.start(frame);
        // SAFETY: the bytes end where the packet starts, inside the frame; exclusive as above.
        Some(unsafe { &mut *start.add(offset).cast::<[u8; TIMED_BYTES]>() })
    }

    /// The address of the mapping, for a backend that registers it with the kernel.
    #[inline]
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Asks the processor to fetch the packet's first bytes soon.
    #[inline]
    pub fn prefetch(&self, frame: &Frame) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let start = self.start(frame).cast::<i8>();
            // SAFETY: prefetching has no effect on memory, whatever the address.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(start.add(usize::from(frame.offset)).cast_const())
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = frame;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_dealt_out_once_and_do_not_overlap() {
        let (memory, mut dealt) = FrameMemory::anonymous(8, 2048, 2).unwrap();
        assert_eq!(dealt.iter().map(Vec::len).collect::<Vec<_>>(), [4, 4]);
        for (home, frames) in dealt.iter_mut().enumerate() {
            for frame in frames {
                assert_eq!(usize::from(frame.home()), home);
                let tag = u8::try_from(frame.index()).unwrap();
                memory.set_packet(frame, HEADROOM, 100);
                memory.packet_mut(frame).fill(tag);
            }
        }
        for frame in dealt.iter().flatten() {
            let tag = u8::try_from(frame.index()).unwrap();
            assert!(memory.packet(frame).iter().all(|byte| *byte == tag));
        }
    }

    #[test]
    fn sizes_no_backend_can_use_are_refused() {
        assert!(FrameMemory::anonymous(0, 2048, 1).is_err());
        assert!(FrameMemory::anonymous(8, 1024, 1).is_err());
    }

    #[test]
    #[should_panic(expected = "another memory")]
    fn a_frame_of_another_memory_opens_nothing() {
        let (_one, frames) = FrameMemory::anonymous(1, 2048, 1).unwrap();
        let (two, _) = FrameMemory::anonymous(1, 2048, 1).unwrap();
        let _ = two.packet(&frames[0][0]);
    }

    #[test]
    #[should_panic(expected = "frame_bytes")]
    fn a_packet_cannot_leave_its_frame() {
        let (memory, mut frames) = FrameMemory::anonymous(1, 2048, 1).unwrap();
        memory.set_packet(&mut frames[0][0], HEADROOM, 1800);
    }
}
