//! The target: a rectangle of a frame buffer that the application granted, and nothing around it.
//!
//! Here, and nowhere else, a line and an x become an offset in the file. Whatever is asked for, the
//! answer lies in the rectangle's part of one line of one slot, or it is no answer.

use std::ops::Range;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;

use spine_abi::frame_buffer::{self, Geometry, Rectangle};

use super::sys::Mapping;

/// A mapped frame buffer and the rectangle of it that is ours.
#[derive(Debug)]
pub(super) struct Target {
    memory: Mapping,
    geometry: Geometry,
    /// Inside the geometry: checked when it was granted.
    rectangle: Rectangle,
    line_bytes: usize,
    pixel: usize,
}

impl Target {
    /// The caller has checked that the memory is as large as the geometry says and the rectangle inside.
    pub(super) fn new(memory: Mapping, geometry: Geometry, rectangle: Rectangle) -> Self {
        let pixel = geometry.bytes_per_pixel() as usize;
        let line_bytes = rectangle.width as usize * pixel;
        Self { memory, geometry, rectangle, line_bytes, pixel }
    }

    /// Bytes of one line of the rectangle.
    #[inline]
    pub(super) fn line_bytes(&self) -> usize {
        self.line_bytes
    }

    /// Lines of the rectangle.
    #[inline]
    pub(super) fn lines(&self) -> usize {
        self.rectangle.height as usize
    }

    /// Bytes from the start of a line of the rectangle to its pixel `x`.
    #[inline]
    pub(super) fn at_pixel(&self, x: u16) -> usize {
        usize::from(x) * self.pixel
    }

    /// How much of `length` bytes from byte `start` of a line on is in the rectangle; none for a line that
    /// is not.
    #[inline]
    pub(super) fn room(&self, line: usize, start: usize, length: usize) -> usize {
        if line >= self.lines() {
            return 0;
        }
        self.line_bytes.saturating_sub(start).min(length)
    }

    /// Copies `bytes` to a line of the rectangle, from its byte `start` on, cut to what is inside; says how
    /// many were.
    #[inline]
    pub(super) fn write(&self, slot: usize, line: usize, start: usize, bytes: &[u8]) -> usize {
        let length = self.room(line, start, bytes.len());
        if length == 0 {
            return 0;
        }
        let at = self.line_start(slot, line) + start;
        if self.memory.copy_in(at, &bytes[..length]) { length } else { 0 }
    }

    /// Copies a part of a line (a range of bytes inside the rectangle) from one slot to another.
    pub(super) fn copy_line(&self, from: usize, to: usize, line: usize, part: Range<usize>) {
        let length = self.room(line, part.start, part.len());
        let (from, to) = (self.line_start(from, line), self.line_start(to, line));
        self.memory.copy_within(from + part.start, to + part.start, length);
    }

    /// Offset of a line of the rectangle in the file.
    #[inline]
    fn line_start(&self, slot: usize, line: usize) -> usize {
        let line = self.rectangle.y as usize + line;
        self.geometry.pixels(slot)
            + line * self.geometry.stride() as usize
            + self.at_pixel_of_buffer()
    }

    #[inline]
    fn at_pixel_of_buffer(&self) -> usize {
        self.rectangle.x as usize * self.pixel
    }

    pub(super) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// The mailbox word.
    pub(super) fn mailbox(&self) -> Option<&AtomicU32> {
        self.memory.word(frame_buffer::MAILBOX)
    }

    /// Stores a 32-bit word of a header.
    pub(super) fn store32(&self, offset: usize, value: u32) {
        if let Some(word) = self.memory.word(offset) {
            word.store(value.to_le(), Relaxed);
        }
    }

    /// Stores a 64-bit word of a header.
    #[inline]
    pub(super) fn store64(&self, offset: usize, value: u64) {
        if let Some(word) = self.memory.long(offset) {
            word.store(value.to_le(), Relaxed);
        }
    }
}
