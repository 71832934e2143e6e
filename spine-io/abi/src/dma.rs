//! DMA lists: where the pieces of a packet go in a frame buffer (SPINE 3.4, 7.2).
//!
//! A handler that wants bytes moved writes a list into its slot's argument bytes and returns
//! [`Verdict::Dma`](crate::Verdict::Dma) with a [`Transfer`]: how many elements there are, of which
//! form, and what they copy from. The runtime moves the bytes when it takes the verdict, before the
//! handler's next message; nothing else is called. What an element asks for is an allegation: the
//! runtime cuts it to the rectangle the application granted, and to the packet.
//!
//! | bytes | field of a plain element ([`PLAIN_BYTES`]) |
//! |---|---|
//! | 0..4 | source: bytes from the packet's start, or an address in the extension's own memory |
//! | 4..6 | line in the window |
//! | 6..8 | x in the window, in pixels |
//! | 8..10 | length in bytes |
//! | 10 | window |
//! | 11 | zero |
//!
//! A strided element ([`STRIDED_BYTES`]) copies several pieces of `length` bytes; behind the same
//! twelve bytes it has
//!
//! | bytes | field |
//! |---|---|
//! | 12..14 | pieces |
//! | 14..16 | bytes from the start of one piece to the next in the source |
//! | 16..18 | the same in the window: bytes along the line, or lines |
//! | 18 | byte of the first pixel where the first piece goes |
//! | 19 | direction: 0 along the line, 1 down the window |
//!
//! Left out: moving bytes out of a frame buffer. It is a target only.

use crate::bytes::{u16_at, u32_at};
use crate::error::ErrorCode;
use crate::limits::{ARGUMENT_BYTES, DMA_ELEMENTS};

/// Bytes of a plain element.
pub const PLAIN_BYTES: usize = 12;
/// Bytes of a strided element.
pub const STRIDED_BYTES: usize = 20;
/// Strided elements that fit in a message's arguments.
pub const STRIDED_ELEMENTS: usize = ARGUMENT_BYTES / STRIDED_BYTES;

/// What a list's source offsets count from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The packet's first byte.
    Packet,
    /// Address zero of the extension's own memory: its scratch.
    Scratch,
}

/// Which form all elements of a list have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// [`PLAIN_BYTES`] each, up to 16.
    Plain,
    /// [`STRIDED_BYTES`] each, up to 12.
    Strided,
}

impl Form {
    /// Bytes of one element.
    #[inline]
    pub const fn bytes(self) -> usize {
        match self {
            Self::Plain => PLAIN_BYTES,
            Self::Strided => STRIDED_BYTES,
        }
    }

    /// Elements a list may have.
    #[inline]
    pub const fn most(self) -> usize {
        match self {
            Self::Plain => DMA_ELEMENTS,
            Self::Strided => STRIDED_ELEMENTS,
        }
    }
}

/// When the frame of the transfer's window is published, if at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Publish {
    /// Not now: more of it is to come.
    #[default]
    No,
    /// Before the copies, which belong to the next frame: a newer frame has begun.
    Before,
    /// After the copies, which complete it: the last packet of a frame.
    After,
    /// Both: a new frame begins and is all in this packet.
    Both,
}

impl Publish {
    /// Whether the frame that is open now ends first.
    #[inline]
    pub const fn before(self) -> bool {
        matches!(self, Self::Before | Self::Both)
    }

    /// Whether the frame ends with these copies.
    #[inline]
    pub const fn after(self) -> bool {
        matches!(self, Self::After | Self::Both)
    }
}

/// What a [`Verdict::Dma`](crate::Verdict::Dma) says of the list in the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// The window whose frame this is: what `tag` and `publish` are about.
    pub window: u8,
    /// How many elements the list has; none is possible.
    pub elements: u8,
    /// What they copy from.
    pub source: Source,
    /// Their form.
    pub form: Form,
    /// Whether a frame is published.
    pub publish: Publish,
    /// A number for the frame, of the extension's choice (RTP timestamp): the slot's header shows it.
    pub tag: u32,
}

const SCRATCH: u64 = 1 << 24;
const STRIDED: u64 = 1 << 25;
const BEFORE: u64 = 1 << 26;
const AFTER: u64 = 1 << 27;

impl Transfer {
    /// The bits that a transfer may have set, besides the verdict's kind.
    pub(crate) const BITS: u64 =
        0xff00 | 0x1f << 16 | SCRATCH | STRIDED | BEFORE | AFTER | 0xffff_ffff << 32;

    pub(crate) const fn to_bits(self) -> u64 {
        let mut bits =
            (self.window as u64) << 8 | (self.elements as u64) << 16 | (self.tag as u64) << 32;
        if matches!(self.source, Source::Scratch) {
            bits |= SCRATCH;
        }
        if matches!(self.form, Form::Strided) {
            bits |= STRIDED;
        }
        if self.publish.before() {
            bits |= BEFORE;
        }
        if self.publish.after() {
            bits |= AFTER;
        }
        bits
    }

    /// The inverse; `None` for more elements than a list can have. Other bits were checked.
    pub(crate) const fn from_bits(bits: u64) -> Option<Self> {
        let [_, window, elements, _, tag @ ..] = bits.to_le_bytes();
        let form = if bits & STRIDED == 0 { Form::Plain } else { Form::Strided };
        if elements as usize > form.most() {
            return None;
        }
        Some(Self {
            window,
            elements,
            source: if bits & SCRATCH == 0 { Source::Packet } else { Source::Scratch },
            form,
            publish: match (bits & BEFORE != 0, bits & AFTER != 0) {
                (false, false) => Publish::No,
                (true, false) => Publish::Before,
                (false, true) => Publish::After,
                (true, true) => Publish::Both,
            },
            tag: u32::from_le_bytes(tag),
        })
    }
}

/// Which way the pieces of a strided element go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// Along the line; the stride is in bytes.
    Along,
    /// Down the window; the stride is in lines.
    Down,
}

/// The strides of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strides {
    /// How many pieces.
    pub pieces: u16,
    /// Bytes from one piece to the next in the source.
    pub source: u16,
    /// Bytes or lines from one piece to the next in the window.
    pub target: u16,
    /// Bytes from the start of the pixel at `x` to the first piece.
    pub lane: u8,
    /// Which way.
    pub direction: Direction,
}

impl Strides {
    /// One piece: what a plain element is.
    pub const NONE: Self =
        Self { pieces: 1, source: 0, target: 0, lane: 0, direction: Direction::Along };
}

/// One element of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element {
    /// Where it copies from: bytes from the packet's start, or an address in the extension's memory.
    pub source: u32,
    /// The window it copies to.
    pub window: u8,
    /// The line in it.
    pub line: u16,
    /// The pixel on the line.
    pub x: u16,
    /// Bytes of a piece.
    pub length: u16,
    /// How its pieces follow each other; [`Strides::NONE`] in a plain element.
    pub strides: Strides,
}

impl Element {
    /// Writes the element; what the form has no place for is not written.
    ///
    /// # Errors
    /// [`ErrorCode::OutOfRange`]: `bytes` is shorter than the form's elements.
    #[inline]
    pub fn write(&self, form: Form, bytes: &mut [u8]) -> Result<(), ErrorCode> {
        let head: &mut [u8; PLAIN_BYTES] = bytes.first_chunk_mut().ok_or(ErrorCode::OutOfRange)?;
        head[0..4].copy_from_slice(&self.source.to_le_bytes());
        head[4..6].copy_from_slice(&self.line.to_le_bytes());
        head[6..8].copy_from_slice(&self.x.to_le_bytes());
        head[8..10].copy_from_slice(&self.length.to_le_bytes());
        head[10] = self.window;
        head[11] = 0;
        if matches!(form, Form::Strided) {
            let tail = bytes.get_mut(PLAIN_BYTES..STRIDED_BYTES).ok_or(ErrorCode::OutOfRange)?;
            tail[0..2].copy_from_slice(&self.strides.pieces.to_le_bytes());
            tail[2..4].copy_from_slice(&self.strides.source.to_le_bytes());
            tail[4..6].copy_from_slice(&self.strides.target.to_le_bytes());
            tail[6] = self.strides.lane;
            tail[7] = match self.strides.direction {
                Direction::Along => 0,
                Direction::Down => 1,
            };
        }
        Ok(())
    }

    /// Reads an element that an extension wrote.
    ///
    /// # Errors
    /// [`ErrorCode::OutOfRange`]: too short; [`ErrorCode::BadVerdict`]: bits set where none belong.
    #[inline]
    pub fn parse(form: Form, bytes: &[u8]) -> Result<Self, ErrorCode> {
        const SHORT: ErrorCode = ErrorCode::OutOfRange;
        let head: &[u8; PLAIN_BYTES] = bytes.first_chunk().ok_or(SHORT)?;
        if head[11] != 0 {
            return Err(ErrorCode::BadVerdict);
        }
        let strides = match form {
            Form::Plain => Strides::NONE,
            Form::Strided => Strides {
                pieces: u16_at(bytes, 12).ok_or(SHORT)?,
                source: u16_at(bytes, 14).ok_or(SHORT)?,
                target: u16_at(bytes, 16).ok_or(SHORT)?,
                lane: *bytes.get(18).ok_or(SHORT)?,
                direction: match bytes.get(19) {
                    Some(0) => Direction::Along,
                    Some(1) => Direction::Down,
                    Some(_) => return Err(ErrorCode::BadVerdict),
                    None => return Err(SHORT),
                },
            },
        };
        Ok(Self {
            source: u32_at(head, 0).ok_or(SHORT)?,
            line: u16_at(head, 4).ok_or(SHORT)?,
            x: u16_at(head, 6).ok_or(SHORT)?,
            length: u16_at(head, 8).ok_or(SHORT)?,
            window: head[10],
            strides,
        })
    }

    /// Bytes it asks to move.
    #[inline]
    pub const fn bytes(&self) -> u64 {
        self.length as u64 * self.strides.pieces as u64
    }
}

const _: () = assert!(DMA_ELEMENTS * PLAIN_BYTES <= ARGUMENT_BYTES);
const _: () = assert!(DMA_ELEMENTS < 32, "a transfer has five bits for the number of elements");

#[cfg(test)]
mod tests {
    use super::*;

    const STRIDES: Strides =
        Strides { pieces: 400, source: 3, target: 4, lane: 2, direction: Direction::Along };
    const ELEMENT: Element = Element {
        source: 0x0102_0304,
        window: 15,
        line: 1079,
        x: 1919,
        length: 1380,
        strides: STRIDES,
    };

    #[test]
    fn elements_survive_both_forms() {
        let mut bytes = [0xff; STRIDED_BYTES];
        ELEMENT.write(Form::Strided, &mut bytes).unwrap();
        assert_eq!(Element::parse(Form::Strided, &bytes), Ok(ELEMENT));
        let plain = Element { strides: Strides::NONE, ..ELEMENT };
        assert_eq!(Element::parse(Form::Plain, &bytes), Ok(plain));
        let down =
            Element { strides: Strides { direction: Direction::Down, ..STRIDES }, ..ELEMENT };
        down.write(Form::Strided, &mut bytes).unwrap();
        assert_eq!(Element::parse(Form::Strided, &bytes), Ok(down));
    }

    #[test]
    fn short_or_stray_bytes_are_refused() {
        let mut bytes = [0; STRIDED_BYTES];
        for form in [Form::Plain, Form::Strided] {
            let short = &mut bytes[..form.bytes() - 1];
            assert_eq!(ELEMENT.write(form, short), Err(ErrorCode::OutOfRange));
            assert_eq!(Element::parse(form, short), Err(ErrorCode::OutOfRange));
        }
        ELEMENT.write(Form::Strided, &mut bytes).unwrap();
        bytes[19] = 2;
        assert_eq!(Element::parse(Form::Strided, &bytes), Err(ErrorCode::BadVerdict));
        bytes[11] = 1;
        assert_eq!(Element::parse(Form::Plain, &bytes), Err(ErrorCode::BadVerdict));
    }
}
