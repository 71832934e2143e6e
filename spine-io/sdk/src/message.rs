//! The message as a handler sees it: its slot (SPINE 3.2).
//!
//! A slot is the 256-byte message followed by as much more of the packet as the handler's `prefix`
//! needs. The runtime wrote it, so nothing here is checked twice; but no method panics either, whatever
//! the bytes are: what does not fit is not there.

use spine_abi::limits::{ARGUMENT_BYTES, HEADER_BYTES};
use spine_abi::{BufferRef, Endpoint, HandlerNumber, Header, Kind};

use crate::buffer::Buffer;

/// What a handler was installed with: the first of its two arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Context(pub u32);

/// What has arrived: the second of a handler's two arguments. Borrows the slot for the time of the call.
#[derive(Debug)]
pub struct Message<'a> {
    slot: &'a mut [u8],
    prefix: usize,
}

impl<'a> Message<'a> {
    /// The message in `slot` for a handler that asked for `prefix` bytes of the packet.
    ///
    /// For generated code and tests.
    #[doc(hidden)]
    #[inline(always)]
    pub fn in_slot(slot: &'a mut [u8], prefix: u16) -> Self {
        Self { slot, prefix: usize::from(prefix) }
    }

    /// The header, field by field as the runtime wrote it.
    pub fn header(&self) -> Header {
        Header {
            handler: self.handler(),
            kind: self.kind(),
            source: self.source(),
            length: self.length16(),
            buffer: self.buffer_ref(),
        }
    }

    /// The number of the handler it is for.
    #[inline]
    pub fn handler(&self) -> HandlerNumber {
        HandlerNumber(self.word(0))
    }

    /// Whether it stands alone or refers to a packet.
    #[inline]
    pub fn kind(&self) -> Kind {
        if self.slot.get(2) == Some(&1) { Kind::Bulk } else { Kind::Small }
    }

    /// Where it came from.
    #[inline]
    pub fn source(&self) -> Endpoint {
        Endpoint::from_bits(self.word(4)).unwrap_or(Endpoint::Runtime)
    }

    /// Bytes of the whole packet (bulk), or of the arguments in use (small).
    #[inline]
    pub fn length(&self) -> usize {
        usize::from(self.length16())
    }

    /// The arguments in use, up to 240 bytes; empty for a packet.
    #[inline]
    pub fn arguments(&self) -> &[u8] {
        let length = match self.kind() {
            Kind::Small => self.length().min(ARGUMENT_BYTES),
            Kind::Bulk => 0,
        };
        self.slot.get(HEADER_BYTES..HEADER_BYTES + length).unwrap_or(&[])
    }

    /// The packet's first bytes: the smaller of the handler's `prefix` and the packet's
    /// [`length`](Self::length). Empty for a small message.
    #[inline]
    pub fn packet(&self) -> &[u8] {
        let end = HEADER_BYTES + self.packet_length();
        self.slot.get(HEADER_BYTES..end).unwrap_or(&[])
    }

    /// The same bytes to change. The first `writeback` of them go back to the packet when it is sent on.
    #[inline]
    pub fn packet_mut(&mut self) -> &mut [u8] {
        let end = HEADER_BYTES + self.packet_length();
        self.slot.get_mut(HEADER_BYTES..end).unwrap_or(&mut [])
    }

    /// The 240 bytes behind the header, whatever is in them.
    #[inline]
    pub(crate) fn arguments_mut(&mut self) -> &mut [u8] {
        self.slot.get_mut(HEADER_BYTES..HEADER_BYTES + ARGUMENT_BYTES).unwrap_or(&mut [])
    }

    /// The buffer with the whole packet; `None` for a small message.
    #[inline]
    pub fn buffer(&self) -> Option<Buffer> {
        let reference = self.buffer_ref();
        reference.is_some().then(|| Buffer::from_reference(reference))
    }

    #[inline]
    fn packet_length(&self) -> usize {
        match self.kind() {
            Kind::Small => 0,
            Kind::Bulk => self.length().min(self.prefix),
        }
    }

    #[inline]
    fn length16(&self) -> u16 {
        self.word(6)
    }

    #[inline]
    fn buffer_ref(&self) -> BufferRef {
        BufferRef::from_bits(spine_abi::bytes::u64_at(self.slot, 8).unwrap_or(0))
    }

    #[inline]
    fn word(&self, offset: usize) -> u16 {
        spine_abi::bytes::u16_at(self.slot, offset).unwrap_or(0)
    }
}

/// The handler number in a slot: what generated code chooses the function by.
#[doc(hidden)]
#[inline(always)]
pub fn handler_number(slot: &[u8]) -> u16 {
    spine_abi::bytes::u16_at(slot, 0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(header: Header) -> [u8; 256] {
        let mut slot = [0xaa; 256];
        slot[..HEADER_BYTES].copy_from_slice(&header.to_bytes());
        slot
    }

    fn bulk(length: u16) -> Header {
        Header {
            handler: HandlerNumber(3),
            kind: Kind::Bulk,
            source: Endpoint::Network,
            length,
            buffer: BufferRef { index: 4, generation: 2 },
        }
    }

    #[test]
    fn header_is_what_the_runtime_wrote() {
        let mut bytes = slot(bulk(1514));
        let message = Message::in_slot(&mut bytes, 64);
        assert_eq!(message.header(), bulk(1514));
        assert_eq!(message.length(), 1514);
        assert_eq!(message.buffer().map(Buffer::reference), Some(bulk(0).buffer));
    }

    #[test]
    fn packet_is_no_longer_than_prefix_length_or_slot() {
        for (length, prefix, seen) in [(1514, 64, 64), (60, 64, 60), (0, 64, 0), (1514, 240, 240)] {
            let mut bytes = slot(bulk(length));
            let mut message = Message::in_slot(&mut bytes, prefix);
            assert_eq!(message.packet().len(), seen, "length {length}, prefix {prefix}");
            assert_eq!(message.packet_mut().len(), seen);
            assert!(message.arguments().is_empty());
        }
        let mut bytes = slot(bulk(1514));
        assert!(Message::in_slot(&mut bytes, 1000).packet().is_empty(), "beyond the slot");
    }

    #[test]
    fn small_message_has_arguments_and_no_packet() {
        let header = Header { kind: Kind::Small, buffer: BufferRef::NONE, ..bulk(5) };
        let mut bytes = slot(header);
        let message = Message::in_slot(&mut bytes, 64);
        assert_eq!(message.arguments(), [0xaa; 5]);
        assert!(message.packet().is_empty());
        assert_eq!(message.buffer(), None);
    }

    #[test]
    fn a_slot_too_short_for_anything_is_an_empty_message() {
        let message = Message::in_slot(&mut [], 64);
        assert_eq!(message.header().handler, HandlerNumber::NONE);
        assert!(message.packet().is_empty() && message.arguments().is_empty());
    }
}
