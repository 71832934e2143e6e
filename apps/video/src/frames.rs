//! A window's frame buffer as the application sees it: the newest frame, and what is known of it.
//!
//! The application makes the memory, grants it to the adapter, and from then on takes frames out of its
//! mailbox. What it has taken stays as it is until it takes the next one.

use std::fmt;

use spine_abi::frame_buffer::{self, Geometry, counter, slot};
use spine_client::memory::{Region, RegionError};

use crate::format::Size;
use crate::present::Picture;
use crate::sys::Slots;

/// Why there is no frame buffer.
#[derive(Debug, thiserror::Error)]
pub enum FrameBufferError {
    /// The picture is too large for one.
    #[error("pictures of {0} are too large for a frame buffer")]
    Size(Size),
    /// Its memory.
    #[error(transparent)]
    Region(#[from] RegionError),
    /// Its mapping.
    #[error("cannot map a frame buffer: {0}")]
    Map(#[from] std::io::Error),
}

/// What the adapter says of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameInfo {
    /// Counted from 1 by the adapter.
    pub number: u64,
    /// Its RTP timestamp.
    pub tag: u32,
    /// Lines of which something is missing (and was taken from the frame before).
    pub lines_missing: u32,
    /// From its first packet to its last, nanoseconds.
    pub duration: u64,
}

/// What the adapter counted for a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WindowCounters {
    /// Frames published with every byte.
    pub complete: u64,
    /// Published frames that we had not taken when the next came.
    pub overwritten: u64,
    /// Frames that ended with something missing.
    pub incomplete: u64,
    /// Incomplete frames that were thrown away.
    pub dropped: u64,
    /// Incomplete frames that were repaired and published.
    pub repaired: u64,
    /// Bytes of pixels.
    pub bytes: u64,
    /// DMA elements that were cut, or asked for what was not granted.
    pub clipped: u64,
    /// DMA elements for a lease that was revoked.
    pub revoked: u64,
}

/// What the adapter counted for window `index` of a buffer.
pub fn window_counters(region: &Region, index: usize) -> WindowCounters {
    let at = frame_buffer::counters(index);
    let read = |offset| region.load_u64(at + offset).unwrap_or_default();
    WindowCounters {
        complete: read(counter::COMPLETE),
        overwritten: read(counter::OVERWRITTEN),
        incomplete: read(counter::INCOMPLETE),
        dropped: read(counter::DROPPED),
        repaired: read(counter::REPAIRED),
        bytes: read(counter::BYTES),
        clipped: read(counter::CLIPPED),
        revoked: read(counter::REVOKED),
    }
}

/// A window's frame buffer.
pub struct FrameBuffer {
    region: Region,
    slots: Slots,
    size: Size,
    index: usize,
}

impl fmt::Debug for FrameBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameBuffer").field("size", &self.size).finish_non_exhaustive()
    }
}

impl FrameBuffer {
    /// Makes one for pictures of a size, for the extension's window `index`; with a fourth slot where
    /// incomplete frames are to be repaired.
    ///
    /// # Errors
    /// [`FrameBufferError`].
    pub fn create(size: Size, index: usize, repair: bool) -> Result<Self, FrameBufferError> {
        let side = |pixels| u32::try_from(pixels).unwrap_or(u32::MAX);
        let geometry = Geometry::window(1, side(size.width()), side(size.height()), repair)
            .map_err(|_| FrameBufferError::Size(size))?;
        let region = Region::create("video-frames", geometry.bytes())?;
        let slots = Slots::new(&region, geometry)?;
        Ok(Self { region, slots, size, index })
    }

    /// Its form.
    pub fn geometry(&self) -> &Geometry {
        self.slots.geometry()
    }

    /// Takes the newest frame if there is a new one. The frame before is the adapter's again, so nobody may
    /// still be looking at it.
    pub fn take(&mut self) -> bool {
        self.slots.take()
    }

    /// The pixels of the frame taken last (black before the first): `0x..RRGGBB`.
    pub fn pixels(&self) -> &[u32] {
        self.slots.pixels()
    }

    /// What is known of the frame taken last.
    pub fn info(&self) -> FrameInfo {
        let at = self.geometry().slot_header(self.slots.front());
        let u32_at = |offset| self.region.load_u32(at + offset).unwrap_or_default();
        let u64_at = |offset| self.region.load_u64(at + offset).unwrap_or_default();
        FrameInfo {
            number: u64_at(slot::FRAME_NUMBER),
            tag: u32_at(slot::TAG),
            lines_missing: u32_at(slot::LINES_MISSING),
            duration: u64_at(slot::LAST_TIME).saturating_sub(u64_at(slot::FIRST_TIME)),
        }
    }

    /// What the adapter counted.
    pub fn counters(&self) -> WindowCounters {
        window_counters(&self.region, self.index)
    }
}

impl Picture for FrameBuffer {
    fn size(&self) -> Size {
        self.size
    }

    fn region(&self) -> &Region {
        &self.region
    }

    fn offset(&self) -> usize {
        self.geometry().pixels(self.slots.front())
    }

    fn copy(&self, into: &mut Vec<u32>) {
        into.clear();
        into.extend_from_slice(self.pixels());
    }
}

/// The adapter's side by hand, where there is no adapter.
#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use spine_abi::mailbox::{EMPTY, Word, Writer};

    /// Fills slots and publishes them, as the runtime does.
    pub(crate) struct Filler {
        writer: Writer,
        frames: u64,
    }

    /// The mailbox through the region's own accesses; only for tests in one thread.
    struct Mailbox<'a>(&'a Region);

    impl Word for Mailbox<'_> {
        fn peek(&self) -> u32 {
            self.0.load_u32(frame_buffer::MAILBOX).unwrap()
        }

        fn swap(&self, value: u32) -> u32 {
            let old = self.peek();
            self.0.store_u32(frame_buffer::MAILBOX, value).unwrap();
            old
        }
    }

    impl Filler {
        pub(crate) fn new(buffer: &FrameBuffer) -> Self {
            buffer.region().store_u32(frame_buffer::MAILBOX, EMPTY).unwrap();
            Self { writer: Writer::new(buffer.geometry().slots()), frames: 0 }
        }

        pub(crate) fn publish(
            &mut self,
            buffer: &FrameBuffer,
            pixel: impl Fn(usize, usize) -> u32,
        ) {
            let (geometry, slot) = (*buffer.geometry(), self.writer.back());
            for y in 0..geometry.height() as usize {
                for x in 0..geometry.width() as usize {
                    let at = geometry.pixels(slot) + y * geometry.stride() as usize + 4 * x;
                    buffer.region().store_u32(at, pixel(x, y)).unwrap();
                }
            }
            self.frames += 1;
            let at = geometry.slot_header(slot) + slot::FRAME_NUMBER;
            buffer.region().store_u64(at, self.frames).unwrap();
            self.writer.publish(&Mailbox(buffer.region()));
        }
    }

    use spine_abi::frame_buffer::slot;
}

#[cfg(test)]
mod tests {
    use super::testing::Filler;
    use super::*;

    #[test]
    fn the_newest_frame_is_taken_and_stays_while_others_come() {
        let mut buffer = FrameBuffer::create("6x4".parse().unwrap(), 0, false).unwrap();
        let mut filler = Filler::new(&buffer);
        assert!(!buffer.take());
        assert_eq!(buffer.pixels(), [0; 24]);
        for number in 1..=9_u32 {
            filler.publish(&buffer, |x, _| number * 256 + u32::try_from(x).unwrap());
            if number % 3 == 0 {
                assert!(buffer.take());
                assert_eq!(buffer.info().number, u64::from(number));
            }
            let expected = number / 3 * 3 * 256;
            if number >= 3 {
                assert_eq!(buffer.pixels()[..3], [expected, expected + 1, expected + 2]);
            }
        }
        assert!(!buffer.take());
    }

    #[test]
    fn a_picture_that_no_buffer_can_hold_is_named() {
        let size = Size::new(32767, 320).unwrap();
        assert!(FrameBuffer::create(size, 0, false).is_ok());
        let error = FrameBuffer::create(size, 0, true).unwrap_err().to_string();
        assert_eq!(error, "pictures of 32767x320 are too large for a frame buffer");
    }
}
