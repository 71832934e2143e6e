//! Frame buffers: the memory that DMA fills and a window shows (SPINE 5.1).
//!
//! One memory file: a header page, then the slots, each a header page and its pixels from a page
//! boundary on, so that a display server can be given a slot as it is. Written by the adapter, read by
//! the application; no extension has it in its memory.
//!
//! A *window's* buffer has three slots (four where incomplete frames are repaired) and a mailbox: the
//! adapter fills one slot, the application reads another, and the newest finished frame lies in the
//! mailbox between them. Each side swaps its own slot for the one in the mailbox, so neither waits and
//! no slot is ever written and read at the same time. A *screen's* buffer has one slot, in which several
//! windows are leased disjoint rectangles.
//!
//! | bytes | field of the header page |
//! |---|---|
//! | 0..8 | [`MAGIC`] |
//! | 8..12 | generation of the geometry |
//! | 12..16 | slots |
//! | 16..20 | width in pixels |
//! | 20..24 | height in lines |
//! | 24..28 | stride: bytes from line to line |
//! | 28..32 | bytes per pixel |
//! | 64..68 | mailbox word: index of a slot, and [`FRESH`] |
//! | 1024.. | 128 bytes for each window: [`counter`] |
//!
//! | bytes | field of a slot's header |
//! |---|---|
//! | 0..4 | generation of the geometry it was filled under |
//! | 4..8 | flags: [`COMPLETE`], [`REPAIRED`] |
//! | 8..16 | frame number, from 1 |
//! | 16..20 | tag (RTP timestamp) |
//! | 20..24 | width |
//! | 24..28 | height |
//! | 28..32 | stride |
//! | 32..36 | lines of which something is missing |
//! | 36..40 | zero |
//! | 40..48 | bytes missing |
//! | 48..56 | time of the first packet, nanoseconds of the adapter's clock |
//! | 56..64 | time of the last packet |
//!
//! A slot's header is written before its slot is published. Everything is little-endian and aligned to
//! its size.

use crate::bytes::u32_at;
use crate::error::ErrorCode;
use crate::limits::{PAGE_BYTES, REGION_BYTES, WINDOWS};

/// The first eight bytes.
pub const MAGIC: u64 = u64::from_le_bytes(*b"SPINEFB1");
/// Bytes of the header page and of each slot's header: what memory and display servers map by.
pub const HEADER_BYTES: usize = 4096;
/// Where the mailbox word is; in a cache line of its own.
pub const MAILBOX: usize = 64;
/// In the mailbox word: the frame was not taken yet.
pub const FRESH: u32 = 1 << 8;
/// Slots of a window's buffer: one each for the adapter, the mailbox and the application.
pub const SLOTS: usize = 3;
/// Slots of a window's buffer where incomplete frames are repaired beside the next one.
pub const SLOTS_WITH_REPAIR: usize = 4;
/// Slots of a screen's buffer.
pub const SCREEN_SLOTS: usize = 1;
/// The slot that is the application's at the start.
pub const FIRST_FRONT: u32 = 0;
/// The slot that is in the mailbox at the start, not fresh.
pub const FIRST_MAILBOX: u32 = 1;
/// The slot that is the adapter's at the start.
pub const FIRST_BACK: u32 = 2;
/// The slot that is under repair at the start (nothing is).
pub const FIRST_SPARE: u32 = 3;

/// Offsets in the header page.
pub mod header {
    /// [`MAGIC`](super::MAGIC), 64 bits.
    pub const MAGIC: usize = 0;
    /// Generation, as all that follow 32 bits.
    pub const GENERATION: usize = 8;
    /// Number of slots.
    pub const SLOTS: usize = 12;
    /// Pixels of a line.
    pub const WIDTH: usize = 16;
    /// Lines.
    pub const HEIGHT: usize = 20;
    /// Bytes from line to line.
    pub const STRIDE: usize = 24;
    /// Bytes per pixel.
    pub const BYTES_PER_PIXEL: usize = 28;
}

/// Offsets in a slot's header.
pub mod slot {
    /// Generation, 32 bits.
    pub const GENERATION: usize = 0;
    /// Flags, 32 bits.
    pub const FLAGS: usize = 4;
    /// Frame number, 64 bits.
    pub const FRAME_NUMBER: usize = 8;
    /// The extension's tag, 32 bits.
    pub const TAG: usize = 16;
    /// Pixels of a line, 32 bits.
    pub const WIDTH: usize = 20;
    /// Lines, 32 bits.
    pub const HEIGHT: usize = 24;
    /// Bytes from line to line, 32 bits.
    pub const STRIDE: usize = 28;
    /// Lines of which something is missing, 32 bits.
    pub const LINES_MISSING: usize = 32;
    /// Bytes missing, 64 bits.
    pub const BYTES_MISSING: usize = 40;
    /// When the first bytes came, 64 bits.
    pub const FIRST_TIME: usize = 48;
    /// When the last bytes came, 64 bits.
    pub const LAST_TIME: usize = 56;
}

/// Flag: every byte of the frame came.
pub const COMPLETE: u32 = 1;
/// Flag: what was missing was taken from the frame before.
pub const REPAIRED: u32 = 2;

/// What the adapter counts for each window, 64 bits each, by their position behind [`counters`].
pub mod counter {
    /// Frames published with every byte. These and the repaired ones are, in the end, taken or overwritten.
    pub const COMPLETE: usize = 0;
    /// Published frames that the application had not taken when the next came.
    pub const OVERWRITTEN: usize = 8;
    /// Frames that ended with something missing, whatever became of them.
    pub const INCOMPLETE: usize = 16;
    /// Frames thrown away for what was missing, or for want of a slot to repair them in.
    pub const DROPPED: usize = 24;
    /// Incomplete frames shown all the same: after a repair, or on a screen, where they are seen anyway.
    pub const REPAIRED: usize = 32;
    /// Bytes moved into the window.
    pub const BYTES: usize = 40;
    /// Elements cut down to the window's rectangle or to the packet, or of no use at all.
    pub const CLIPPED: usize = 48;
    /// Elements for a window without a lease.
    pub const REVOKED: usize = 56;
    /// Bytes of each window's counters.
    pub const BYTES_OF_ALL: usize = 128;
}

/// Where the counters of a window start.
pub const fn counters(window: usize) -> usize {
    1024 + window * counter::BYTES_OF_ALL
}

/// The form of a frame buffer, as it is granted. Checked by [`Geometry::new`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    generation: u32,
    slots: u32,
    width: u32,
    height: u32,
    stride: u32,
    bytes_per_pixel: u32,
}

impl Geometry {
    /// A buffer of `slots` slots for frames of `width` pixels by `height` lines, `stride` bytes from line
    /// to line.
    ///
    /// # Errors
    /// [`ErrorCode::OutOfRange`]: no pixels, over 32768 each way, a pixel of none or over 16 bytes, a
    /// stride below the width or not a multiple of 4, other than 1, 3 or 4 slots, or more memory than
    /// one region may have.
    pub const fn new(
        generation: u32,
        slots: usize,
        (width, height): (u32, u32),
        stride: u32,
        bytes_per_pixel: u32,
    ) -> Result<Self, ErrorCode> {
        const MOST: u32 = 1 << 15;
        let slots = match slots {
            SCREEN_SLOTS => 1,
            SLOTS => 3,
            SLOTS_WITH_REPAIR => 4,
            _ => return Err(ErrorCode::OutOfRange),
        };
        if width == 0 || height == 0 || width > MOST || height > MOST {
            return Err(ErrorCode::OutOfRange);
        }
        if bytes_per_pixel == 0 || bytes_per_pixel > 16 {
            return Err(ErrorCode::OutOfRange);
        }
        if stride < width * bytes_per_pixel || stride > MOST * 16 || !stride.is_multiple_of(4) {
            return Err(ErrorCode::OutOfRange);
        }
        // In 64 bits: the crate is compiled for 32-bit processors, too.
        if slots as u64 * stride as u64 * height as u64 > REGION_BYTES as u64 / 2 {
            return Err(ErrorCode::OutOfRange);
        }
        let geometry = Self { generation, slots, width, height, stride, bytes_per_pixel };
        if geometry.bytes() > REGION_BYTES {
            return Err(ErrorCode::OutOfRange);
        }
        Ok(geometry)
    }

    /// A window's buffer, packed: three slots (four with repair) of 4-byte pixels, no bytes between lines.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub const fn window(
        generation: u32,
        width: u32,
        height: u32,
        repair: bool,
    ) -> Result<Self, ErrorCode> {
        let slots = if repair { SLOTS_WITH_REPAIR } else { SLOTS };
        Self::new(generation, slots, (width, height), width.saturating_mul(4), 4)
    }

    /// A screen's buffer, packed: one slot of 4-byte pixels.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub const fn screen(generation: u32, width: u32, height: u32) -> Result<Self, ErrorCode> {
        Self::new(generation, SCREEN_SLOTS, (width, height), width.saturating_mul(4), 4)
    }

    /// Reads the geometry from a buffer's header page.
    ///
    /// # Errors
    /// [`ErrorCode::BadImage`]: not a frame buffer; otherwise as [`new`](Self::new).
    pub fn parse(page: &[u8]) -> Result<Self, ErrorCode> {
        const BAD: ErrorCode = ErrorCode::BadImage;
        if crate::bytes::u64_at(page, header::MAGIC) != Some(MAGIC) {
            return Err(BAD);
        }
        let field = |at| u32_at(page, at).ok_or(BAD);
        let slots = field(header::SLOTS)? as usize;
        let size = (field(header::WIDTH)?, field(header::HEIGHT)?);
        let (stride, pixel) = (field(header::STRIDE)?, field(header::BYTES_PER_PIXEL)?);
        Self::new(field(header::GENERATION)?, slots, size, stride, pixel)
    }

    /// The header's fields: offset and 32-bit value each, all but the magic.
    pub const fn fields(&self) -> [(usize, u32); 6] {
        [
            (header::GENERATION, self.generation),
            (header::SLOTS, self.slots),
            (header::WIDTH, self.width),
            (header::HEIGHT, self.height),
            (header::STRIDE, self.stride),
            (header::BYTES_PER_PIXEL, self.bytes_per_pixel),
        ]
    }

    /// The generation, by which the application tells frames of this buffer from earlier ones.
    pub const fn generation(&self) -> u32 {
        self.generation
    }

    /// Slots.
    pub const fn slots(&self) -> usize {
        self.slots as usize
    }

    /// Pixels of a line.
    pub const fn width(&self) -> u32 {
        self.width
    }

    /// Lines.
    pub const fn height(&self) -> u32 {
        self.height
    }

    /// Bytes from line to line.
    pub const fn stride(&self) -> u32 {
        self.stride
    }

    /// Bytes per pixel.
    pub const fn bytes_per_pixel(&self) -> u32 {
        self.bytes_per_pixel
    }

    /// All of the frame buffer, as a rectangle.
    pub const fn whole(&self) -> Rectangle {
        Rectangle { x: 0, y: 0, width: self.width, height: self.height }
    }

    /// Whether a rectangle has pixels and lies inside.
    pub const fn contains(&self, rectangle: Rectangle) -> bool {
        rectangle.width != 0
            && rectangle.height != 0
            && rectangle.x as u64 + rectangle.width as u64 <= self.width as u64
            && rectangle.y as u64 + rectangle.height as u64 <= self.height as u64
    }

    /// Bytes of a slot's pixels.
    pub const fn pixel_bytes(&self) -> usize {
        self.stride as usize * self.height as usize
    }

    const fn slot_bytes(&self) -> usize {
        HEADER_BYTES + self.pixel_bytes().next_multiple_of(HEADER_BYTES)
    }

    /// Where the header of a slot is.
    pub const fn slot_header(&self, slot: usize) -> usize {
        HEADER_BYTES + slot * self.slot_bytes()
    }

    /// Where the pixels of a slot start: on a page boundary.
    pub const fn pixels(&self, slot: usize) -> usize {
        self.slot_header(slot) + HEADER_BYTES
    }

    /// Bytes of the whole memory file: whole pages of 64 KiB, as every region.
    pub const fn bytes(&self) -> usize {
        self.slot_header(self.slots()).next_multiple_of(PAGE_BYTES)
    }
}

/// A part of a frame buffer, in pixels and lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rectangle {
    /// First pixel of each line.
    pub x: u32,
    /// First line.
    pub y: u32,
    /// Pixels of each line.
    pub width: u32,
    /// Lines.
    pub height: u32,
}

impl Rectangle {
    /// Whether two have a pixel in common.
    pub const fn meets(self, other: Self) -> bool {
        const fn apart(one: u32, length: u32, other: u32) -> bool {
            one as u64 + length as u64 <= other as u64
        }
        !(apart(self.x, self.width, other.x)
            || apart(other.x, other.width, self.x)
            || apart(self.y, self.height, other.y)
            || apart(other.y, other.height, self.y))
    }
}

/// The slot in a mailbox word; under four, whatever the word is.
#[inline]
pub const fn mailbox_slot(word: u32) -> usize {
    (word & 3) as usize
}

/// Whether the frame in the mailbox was not taken yet.
#[inline]
pub const fn mailbox_fresh(word: u32) -> bool {
    word & FRESH != 0
}

const _: () = assert!(counters(WINDOWS) <= HEADER_BYTES);
const _: () = assert!(slot::LAST_TIME + 8 <= counter::BYTES_OF_ALL);
const _: () = assert!(SLOTS_WITH_REPAIR <= 4, "a mailbox word has two bits for its slot");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_follow_each_other_on_page_boundaries_and_fill_the_file() {
        for (width, height, repair) in [(1, 1, false), (640, 480, false), (1280, 720, true)] {
            let geometry = Geometry::window(7, width, height, repair).unwrap();
            assert_eq!(geometry.slot_header(0), HEADER_BYTES);
            for slot in 0..geometry.slots() {
                assert!(geometry.pixels(slot).is_multiple_of(4096));
                assert_eq!(geometry.pixels(slot), geometry.slot_header(slot) + HEADER_BYTES);
                let end = geometry.pixels(slot) + geometry.pixel_bytes();
                assert!(end <= geometry.slot_header(slot + 1));
            }
            assert!(geometry.slot_header(geometry.slots()) <= geometry.bytes());
            assert!(geometry.bytes().is_multiple_of(PAGE_BYTES));
        }
    }

    #[test]
    fn what_is_written_in_the_header_page_is_read_back() {
        let geometry = Geometry::new(9, 3, (640, 480), 4096, 4).unwrap();
        let mut page = [0; HEADER_BYTES];
        assert_eq!(Geometry::parse(&page), Err(ErrorCode::BadImage));
        page[..8].copy_from_slice(&MAGIC.to_le_bytes());
        for (at, value) in geometry.fields() {
            page[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        assert_eq!(Geometry::parse(&page), Ok(geometry));
        page[header::SLOTS] = 2;
        assert_eq!(Geometry::parse(&page), Err(ErrorCode::OutOfRange));
    }

    #[test]
    fn forms_that_cannot_be_are_refused() {
        for (slots, size, stride, pixel) in [
            (2, (16, 16), 64, 4),
            (5, (16, 16), 64, 4),
            (3, (0, 16), 64, 4),
            (3, (16, 0), 64, 4),
            (3, (16, 16), 63, 4),
            (3, (16, 16), 62, 4),
            (3, (16, 16), 66, 4),
            (3, (16, 16), 64, 0),
            (3, (16, 16), 1024, 17),
            (3, (32769, 1), 4 * 32769, 4),
            (3, (16, 16), u32::MAX - 3, 4),
            (3, (32768, 32768), 4 * 32768, 4),
        ] {
            let refused = Geometry::new(1, slots, size, stride, pixel);
            assert_eq!(refused, Err(ErrorCode::OutOfRange), "{slots} {size:?} {stride} {pixel}");
        }
        assert!(Geometry::window(1, u32::MAX, 1, false).is_err());
    }

    #[test]
    fn rectangles_are_inside_or_not_and_meet_or_not() {
        let geometry = Geometry::screen(1, 100, 50).unwrap();
        let rectangle = |x, y, width, height| Rectangle { x, y, width, height };
        assert!(geometry.contains(geometry.whole()));
        assert!(geometry.contains(rectangle(99, 49, 1, 1)));
        for outside in [
            rectangle(0, 0, 101, 1),
            rectangle(100, 0, 1, 1),
            rectangle(0, 49, 1, 2),
            rectangle(u32::MAX, 0, 2, 1),
            rectangle(0, 0, 0, 1),
        ] {
            assert!(!geometry.contains(outside), "{outside:?}");
        }
        let one = rectangle(10, 10, 10, 10);
        for (other, meets) in [
            (rectangle(19, 19, 1, 1), true),
            (rectangle(20, 10, 10, 10), false),
            (rectangle(0, 10, 10, 10), false),
            (rectangle(10, 20, 10, 1), false),
            (rectangle(10, 0, 10, 11), true),
            (rectangle(u32::MAX, 10, u32::MAX, 10), false),
        ] {
            assert_eq!(one.meets(other), meets, "{other:?}");
            assert_eq!(other.meets(one), meets, "{other:?}");
        }
    }

    #[test]
    fn any_mailbox_word_names_a_slot() {
        assert_eq!((mailbox_slot(u32::MAX), mailbox_fresh(u32::MAX)), (3, true));
        assert_eq!((mailbox_slot(FRESH | 2), mailbox_fresh(2)), (2, false));
    }
}
