//! A message that somebody else wrote, and the other words that cross with it.

use spine_abi::{
    BufferRef, Endpoint, ErrorCode, HandlerNumber, Header, Kind, Message, Notice, Reason, Verdict,
};

/// Reads every small layout there is, and checks that what is taken survives being written again.
pub fn run(data: &[u8]) {
    if let Ok(header) = Header::parse(data) {
        assert_eq!(Header::parse(&header.to_bytes()), Ok(header));
    }
    if let Ok(mut message) = Message::parse(data) {
        let header = message.header();
        assert_eq!(message.as_bytes()[..], data[..256]);
        if header.kind == Kind::Small {
            assert_eq!(message.arguments().len(), usize::from(header.length));
        }
        message.set_source(Endpoint::Host);
        assert_eq!(
            Message::parse(message.as_bytes()).map(|read| read.header().source),
            Ok(Endpoint::Host)
        );
        let _ = Notice::from_message(&message);
        message.set_source(Endpoint::Runtime);
        if let Some(notice) = Notice::from_message(&message) {
            assert_eq!(Notice::from_message(&notice.to_message()), Some(notice));
        }
    }
    if let Some(bits) = spine_abi::bytes::u64_at(data, 0) {
        if let Ok(verdict) = Verdict::from_bits(bits) {
            assert_eq!(Verdict::from_bits(verdict.to_bits()), Ok(verdict));
        }
        assert_eq!(BufferRef::from_bits(bits).to_bits(), bits);
        let _ = spine_abi::metadata::handler(&bits.to_le_bytes());
    }
    if let Some(bits) = spine_abi::bytes::u16_at(data, 0) {
        if let Some(endpoint) = Endpoint::from_bits(bits) {
            assert_eq!(Endpoint::from_bits(endpoint.to_bits()), Some(endpoint));
        }
        let _ = ErrorCode::from_number(bits.into());
        let _ = Reason::from_number(bits.to_le_bytes()[0]);
    }
}

/// One of each kind.
pub fn seeds() -> Vec<Vec<u8>> {
    let small = Message::small(HandlerNumber(7), Endpoint::Host, b"swap");
    let mut bulk = small.as_bytes().to_vec();
    let header = Header {
        handler: HandlerNumber(1),
        kind: Kind::Bulk,
        source: Endpoint::Network,
        length: 1514,
        buffer: BufferRef { index: 9, generation: 3 },
    };
    bulk[..16].copy_from_slice(&header.to_bytes());
    let offence = spine_abi::notice::Offence::Trapped;
    let notice = Notice::Unloaded { extension: 3, offence, strikes: 100 }.to_message();
    vec![
        small.as_bytes().to_vec(),
        bulk,
        notice.as_bytes().to_vec(),
        Verdict::Drop(Reason::Martian).to_bits().to_le_bytes().to_vec(),
    ]
}
