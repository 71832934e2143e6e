//! The message: 256 bytes, of which 240 are arguments (SPINE 3.2).
//!
//! | bytes | field |
//! |---|---|
//! | 0..2 | handler number |
//! | 2 | kind (0 small, 1 bulk) |
//! | 3 | flags, zero |
//! | 4..6 | source endpoint |
//! | 6..8 | length: of the buffer's data (bulk), of the arguments in use (small) |
//! | 8..16 | buffer reference (bulk), zero (small) |
//! | 16..256 | arguments; of a packet, its first bytes |

use crate::buffer::BufferRef;
use crate::bytes::{u16_at, u64_at};
use crate::endpoint::Endpoint;
use crate::error::ErrorCode;
use crate::handler::HandlerNumber;
use crate::limits::{ARGUMENT_BYTES, HEADER_BYTES, MESSAGE_BYTES};

/// Whether a message stands alone or refers to a data buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// All there is is in the 240 argument bytes.
    Small,
    /// Refers to a buffer; its handler runs only when all of the data has arrived.
    Bulk,
}

/// The first 16 bytes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which handler runs.
    pub handler: HandlerNumber,
    /// Small or bulk.
    pub kind: Kind,
    /// Where the message came from.
    pub source: Endpoint,
    /// Bytes of data: in the buffer (bulk) or in the arguments (small).
    pub length: u16,
    /// The data buffer of a bulk message.
    pub buffer: BufferRef,
}

impl Header {
    /// The wire form.
    #[inline]
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[0..2].copy_from_slice(&self.handler.0.to_le_bytes());
        bytes[2] = match self.kind {
            Kind::Small => 0,
            Kind::Bulk => 1,
        };
        bytes[4..6].copy_from_slice(&self.source.to_bits().to_le_bytes());
        bytes[6..8].copy_from_slice(&self.length.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.buffer.to_bits().to_le_bytes());
        bytes
    }

    /// Reads a header somebody else wrote.
    ///
    /// # Errors
    /// [`ErrorCode::BadMessage`]: too short, an unknown kind or source, flags set, a small message
    /// longer than its arguments or with a buffer, a bulk one without.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, ErrorCode> {
        const BAD: ErrorCode = ErrorCode::BadMessage;
        let header = Self {
            handler: HandlerNumber(u16_at(bytes, 0).ok_or(BAD)?),
            kind: match (bytes.get(2), bytes.get(3)) {
                (Some(0), Some(0)) => Kind::Small,
                (Some(1), Some(0)) => Kind::Bulk,
                _ => return Err(BAD),
            },
            source: Endpoint::from_bits(u16_at(bytes, 4).ok_or(BAD)?).ok_or(BAD)?,
            length: u16_at(bytes, 6).ok_or(BAD)?,
            buffer: BufferRef::from_bits(u64_at(bytes, 8).ok_or(BAD)?),
        };
        let sound = match header.kind {
            Kind::Small => usize::from(header.length) <= ARGUMENT_BYTES && !header.buffer.is_some(),
            Kind::Bulk => header.buffer.is_some(),
        };
        if sound { Ok(header) } else { Err(BAD) }
    }
}

/// A whole message by value: what travels between host and adapter.
#[derive(Clone, PartialEq, Eq)]
pub struct Message([u8; MESSAGE_BYTES]);

impl Message {
    /// A small message for `handler`, with `arguments` (cut at 240 bytes: callers check).
    pub fn small(handler: HandlerNumber, source: Endpoint, arguments: &[u8]) -> Self {
        let mut message = Self([0; MESSAGE_BYTES]);
        let used = arguments.len().min(ARGUMENT_BYTES);
        let header = Header {
            handler,
            kind: Kind::Small,
            source,
            length: u16::try_from(used).unwrap_or(0),
            buffer: BufferRef::NONE,
        };
        message.0[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        message.0[HEADER_BYTES..HEADER_BYTES + used].copy_from_slice(&arguments[..used]);
        message
    }

    /// Takes 256 bytes that somebody else wrote.
    ///
    /// # Errors
    /// [`ErrorCode::BadMessage`] as [`Header::parse`] finds it, or fewer than 256 bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ErrorCode> {
        let whole: [u8; MESSAGE_BYTES] = *bytes.first_chunk().ok_or(ErrorCode::BadMessage)?;
        Header::parse(&whole)?;
        Ok(Self(whole))
    }

    /// The header, which is sound by construction.
    pub fn header(&self) -> Header {
        Header::parse(&self.0).expect("checked when the message was made")
    }

    /// Overwrites who sent it: the receiver's word, not the sender's.
    pub fn set_source(&mut self, source: Endpoint) {
        self.0[4..6].copy_from_slice(&source.to_bits().to_le_bytes());
    }

    /// The argument bytes in use.
    pub fn arguments(&self) -> &[u8] {
        let length = usize::from(self.header().length).min(ARGUMENT_BYTES);
        &self.0[HEADER_BYTES..HEADER_BYTES + length]
    }

    /// All 256 bytes.
    pub const fn as_bytes(&self) -> &[u8; MESSAGE_BYTES] {
        &self.0
    }
}

impl core::fmt::Debug for Message {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Message").field(&self.header()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: Kind, length: u16, buffer: BufferRef) -> Header {
        Header { handler: HandlerNumber(7), kind, source: Endpoint::Network, length, buffer }
    }

    #[test]
    fn header_survives_its_wire_form() {
        let bulk = header(Kind::Bulk, 1514, BufferRef { index: 9, generation: 3 });
        assert_eq!(Header::parse(&bulk.to_bytes()), Ok(bulk));
        let small = header(Kind::Small, 240, BufferRef::NONE);
        assert_eq!(Header::parse(&small.to_bytes()), Ok(small));
    }

    #[test]
    fn contradictions_are_refused() {
        let with_buffer = header(Kind::Small, 1, BufferRef { index: 1, generation: 1 });
        let too_long = header(Kind::Small, 241, BufferRef::NONE);
        let without_buffer = header(Kind::Bulk, 60, BufferRef::NONE);
        for wrong in [with_buffer, too_long, without_buffer] {
            assert_eq!(Header::parse(&wrong.to_bytes()), Err(ErrorCode::BadMessage));
        }
        let mut flagged = header(Kind::Small, 1, BufferRef::NONE).to_bytes();
        flagged[3] = 1;
        assert_eq!(Header::parse(&flagged), Err(ErrorCode::BadMessage));
        assert_eq!(Header::parse(&[0; 15]), Err(ErrorCode::BadMessage));
    }

    #[test]
    fn arguments_are_what_was_put_in() {
        let message = Message::small(HandlerNumber(2), Endpoint::Host, b"swap");
        assert_eq!(message.arguments(), b"swap");
        assert_eq!(Message::parse(message.as_bytes()).as_ref(), Ok(&message));
    }
}
