//! Verdicts: what a handler wants done with its message, packed in the 64 bits it returns.
//!
//! | bits | field |
//! |---|---|
//! | 0..8 | kind |
//! | 8..16 | reason (drop, kernel) |
//! | 16..32 | peer index or handler number |
//! | 32..40 | where the transport header starts, in bytes from the frame's start (checksum to complete) |
//! | 40..48 | where in it the checksum stands |
//! | 48..64 | bytes of the frame that go on, if not all: behind the packet there may be padding |
//!
//! DMA and publishing have fields of their own:
//!
//! | bits | field |
//! |---|---|
//! | 8..16 | window |
//! | 16..21 | elements of the list (DMA) |
//! | 24..28 | flags (DMA): source is scratch, elements are strided, publish before, publish after |
//! | 32..64 | tag of the frame (DMA) |
//!
//! The checksum fields ask for what a network card calls transmit checksum offload: complete the
//! one's complement sum from `start` to the end and store it at `start + offset`.
//! Packets of a veth peer with offload on arrive with it left to do.

use crate::dma::Transfer;
use crate::error::ErrorCode;
use crate::handler::HandlerNumber;
use crate::reason::Reason;

/// A transport checksum the adapter completes before the packet leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChecksumRequest {
    /// Bytes from the start of the frame to the transport header; never zero.
    pub start: u8,
    /// Bytes from there to the checksum field.
    pub offset: u8,
}

/// What is done to a packet on its way out, as a network card would.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Finish {
    /// Bytes of the frame that go on; zero: all of them. More than there are is all of them, too.
    pub length: u16,
    /// A checksum to complete, once the frame is cut to its length.
    pub checksum: Option<ChecksumRequest>,
}

impl Finish {
    /// Nothing: the packet goes as it is.
    pub const NONE: Self = Self { length: 0, checksum: None };

    const fn to_bits(self) -> u64 {
        let checksum = match self.checksum {
            Some(request) => ((request.start as u64) << 32) | ((request.offset as u64) << 40),
            None => 0,
        };
        checksum | ((self.length as u64) << 48)
    }
}

/// The outcome a handler asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Finished with the message; its buffer is free again. Not counted as a drop.
    Done,
    /// Throw the packet away and count it under the reason.
    Drop(Reason),
    /// Send the packet out of another adapter's wire (the peer endpoint). Needs the `peer` domain.
    Forward {
        /// The adapter's index.
        peer: u16,
        /// What is done to it on the way.
        finish: Finish,
    },
    /// Send the packet out of this adapter's own wire. Needs the `net` domain.
    Transmit {
        /// What is done to it on the way.
        finish: Finish,
    },
    /// Give the packet to the kernel as received on this interface. Needs the `kernel` domain.
    Kernel {
        /// Why, for the counters.
        reason: Reason,
        /// What is done to it on the way: the kernel, which forwards a checksum unseen, would not
        /// complete it.
        finish: Finish,
    },
    /// Keep the buffer: the reference stays valid until released.
    Keep,
    /// Invoke another handler of the same extension with the same message.
    Next(HandlerNumber),
    /// Move bytes into a frame buffer, by the list in the slot's arguments; then finished, as
    /// [`Done`](Self::Done). Needs the `framebuffer` domain.
    Dma(Transfer),
    /// Show what DMA has put into a window's frame so far; then finished. Needs the `framebuffer` domain.
    Publish {
        /// The window.
        window: u8,
    },
}

/// A verdict as the 64 bits that it crosses the boundary in.
///
/// A handler may return this in place of a [`Verdict`]: packed where it is decided, it stays in a register, while one that
/// several ways lead to goes through memory, field by field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PackedVerdict(u64);

impl PackedVerdict {
    /// The bits.
    #[inline(always)]
    pub const fn to_bits(self) -> u64 {
        self.0
    }

    /// The verdict.
    #[inline]
    pub const fn verdict(self) -> Verdict {
        match Verdict::from_bits(self.0) {
            Ok(verdict) => verdict,
            // It was made of one.
            Err(_) => Verdict::Done,
        }
    }
}

impl From<Verdict> for PackedVerdict {
    #[inline(always)]
    fn from(verdict: Verdict) -> Self {
        Self(verdict.to_bits())
    }
}

const DONE: u64 = 0;
const DROP: u64 = 1;
const FORWARD: u64 = 2;
const TRANSMIT: u64 = 3;
const KERNEL: u64 = 4;
const KEEP: u64 = 5;
const NEXT: u64 = 6;
const DMA: u64 = 7;
const PUBLISH: u64 = 8;

const KIND: u64 = 0xff;
const REASON: u64 = 0xff << 8;
const TARGET: u64 = 0xffff << 16;
const FINISH: u64 = 0xffff_ffff << 32;
const WINDOW: u64 = 0xff << 8;

impl Verdict {
    /// To the kernel, unchanged.
    #[inline]
    pub const fn kernel(reason: Reason) -> Self {
        Self::Kernel { reason, finish: Finish::NONE }
    }

    /// The packed form.
    #[inline]
    pub const fn to_bits(self) -> u64 {
        match self {
            Self::Done => DONE,
            Self::Drop(reason) => DROP | ((reason as u64) << 8),
            Self::Forward { peer, finish } => FORWARD | ((peer as u64) << 16) | finish.to_bits(),
            Self::Transmit { finish } => TRANSMIT | finish.to_bits(),
            Self::Kernel { reason, finish } => KERNEL | ((reason as u64) << 8) | finish.to_bits(),
            Self::Keep => KEEP,
            Self::Next(handler) => NEXT | ((handler.0 as u64) << 16),
            Self::Dma(transfer) => DMA | transfer.to_bits(),
            Self::Publish { window } => PUBLISH | ((window as u64) << 8),
        }
    }

    /// Whether these bits, if they are a verdict at all, ask something of a frame buffer.
    #[inline]
    pub const fn is_frame_buffer(bits: u64) -> bool {
        matches!(bits & KIND, DMA | PUBLISH)
    }

    /// The peer, if these bits are [`Forward`](Self::Forward) with nothing to finish: nearly all that a
    /// router says, and known without reading them field by field.
    #[inline]
    pub const fn plain_forward(bits: u64) -> Option<u16> {
        let [_, _, low, high, ..] = bits.to_le_bytes();
        if bits & !TARGET == FORWARD { Some(u16::from_le_bytes([low, high])) } else { None }
    }

    /// Reads a verdict an extension gave.
    ///
    /// # Errors
    /// [`ErrorCode::BadVerdict`]: unknown kind or reason, more elements than a list can have, or bits
    /// set where none belong, so that no bit is ever ignored today and meant tomorrow.
    #[inline]
    pub const fn from_bits(bits: u64) -> Result<Self, ErrorCode> {
        const BAD: Result<Verdict, ErrorCode> = Err(ErrorCode::BadVerdict);
        let [kind, reason, low, high, start, offset, length @ ..] = bits.to_le_bytes();
        let used = match kind as u64 {
            DONE | KEEP => KIND,
            DROP => KIND | REASON,
            FORWARD => KIND | TARGET | FINISH,
            TRANSMIT => KIND | FINISH,
            KERNEL => KIND | REASON | FINISH,
            NEXT => KIND | TARGET,
            DMA => KIND | Transfer::BITS,
            PUBLISH => KIND | WINDOW,
            _ => return BAD,
        };
        if bits & !used != 0 {
            return BAD;
        }
        if kind as u64 == DMA {
            return match Transfer::from_bits(bits) {
                Some(transfer) => Ok(Self::Dma(transfer)),
                None => BAD,
            };
        }
        if kind as u64 == PUBLISH {
            let [_, window, ..] = bits.to_le_bytes();
            return Ok(Self::Publish { window });
        }
        if start == 0 && offset != 0 {
            return BAD;
        }
        let target = u16::from_le_bytes([low, high]);
        let length = u16::from_le_bytes(length);
        let checksum = if start == 0 { None } else { Some(ChecksumRequest { start, offset }) };
        let finish = Finish { length, checksum };
        Ok(match kind as u64 {
            DONE => Self::Done,
            FORWARD => Self::Forward { peer: target, finish },
            TRANSMIT => Self::Transmit { finish },
            KEEP => Self::Keep,
            NEXT => Self::Next(HandlerNumber(target)),
            kind => match Reason::from_number(reason) {
                Some(reason) if kind == DROP => Self::Drop(reason),
                Some(reason) => Self::Kernel { reason, finish },
                None => return BAD,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dma::{Form, Publish, Source};

    #[test]
    fn verdicts_survive_packing() {
        let checksum = Some(ChecksumRequest { start: 34, offset: 16 });
        let finish = Finish { length: 60, checksum };
        for verdict in [
            Verdict::Done,
            Verdict::Drop(Reason::BadChecksum),
            Verdict::Forward { peer: 4095, finish: Finish::NONE },
            Verdict::Forward { peer: 1, finish },
            Verdict::Transmit { finish },
            Verdict::kernel(Reason::Unresolved),
            Verdict::Kernel { reason: Reason::TooBig, finish },
            Verdict::Keep,
            Verdict::Next(HandlerNumber(12)),
            Verdict::Publish { window: 15 },
        ] {
            assert_eq!(Verdict::from_bits(verdict.to_bits()), Ok(verdict));
        }
    }

    #[test]
    fn what_is_known_at_a_glance_is_what_reading_says() {
        let checksum = Some(ChecksumRequest { start: 34, offset: 16 });
        for bits in [
            Verdict::Forward { peer: 4095, finish: Finish::NONE }.to_bits(),
            Verdict::Forward { peer: 0, finish: Finish { length: 60, checksum: None } }.to_bits(),
            Verdict::Forward { peer: 1, finish: Finish { length: 0, checksum } }.to_bits(),
            Verdict::Transmit { finish: Finish::NONE }.to_bits(),
            Verdict::Next(HandlerNumber(12)).to_bits(),
            FORWARD | (1 << 8),
            FORWARD | (1 << 40),
        ] {
            let read = match Verdict::from_bits(bits) {
                Ok(Verdict::Forward { peer, finish: Finish::NONE }) => Some(peer),
                _ => None,
            };
            assert_eq!(Verdict::plain_forward(bits), read, "{bits:#x}");
        }
    }

    #[test]
    fn transfers_survive_packing() {
        let transfer = Transfer {
            window: 3,
            elements: 12,
            source: Source::Packet,
            form: Form::Plain,
            publish: Publish::No,
            tag: 0x8000_0001,
        };
        for publish in [Publish::No, Publish::Before, Publish::After, Publish::Both] {
            for source in [Source::Packet, Source::Scratch] {
                for form in [Form::Plain, Form::Strided] {
                    let verdict = Verdict::Dma(Transfer { source, form, publish, ..transfer });
                    assert_eq!(Verdict::from_bits(verdict.to_bits()), Ok(verdict));
                }
            }
        }
        let most = Transfer { elements: 16, ..transfer };
        assert!(Verdict::from_bits(Verdict::Dma(most).to_bits()).is_ok());
        for too_many in [
            Transfer { elements: 17, ..most },
            Transfer { elements: 13, form: Form::Strided, ..most },
        ] {
            let bits = Verdict::Dma(too_many).to_bits();
            assert_eq!(Verdict::from_bits(bits), Err(ErrorCode::BadVerdict));
        }
    }

    #[test]
    fn stray_bits_and_unknown_kinds_are_refused() {
        for bits in [
            9,
            0xff,
            1 | (63 << 8),
            DONE | (1 << 48),
            KEEP | (1 << 16),
            FORWARD | (1 << 40),
            DMA | (1 << 21),
            DMA | (1 << 28),
            PUBLISH | (1 << 16),
        ] {
            assert_eq!(Verdict::from_bits(bits), Err(ErrorCode::BadVerdict), "{bits:#x}");
        }
    }
}
