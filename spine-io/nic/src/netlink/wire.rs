//! The framing of netlink: messages in a datagram, attributes in a message.
//!
//! What arrives is an allegation: a length that leaves the bytes ends the iteration, nothing panics.

/// Bytes of a message header (struct nlmsghdr).
pub const HEADER_BYTES: usize = 16;

/// A message as received, its payload not yet looked at.
#[derive(Debug, Clone, Copy)]
pub struct Raw<'a> {
    /// The message type.
    pub kind: u16,
    /// NLM_F_* flags.
    pub flags: u16,
    /// The request it answers; 0 for a notification.
    pub sequence: u32,
    /// What follows the header.
    pub payload: &'a [u8],
}

/// Two bytes in the machine's order.
pub fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// Four bytes in the machine's order.
pub fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// Four bytes in network order, as netfilter writes its numbers.
pub fn be32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(offset..)?.first_chunk()?))
}

/// The messages of a datagram.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Raw<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let raw = Raw {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            payload: bytes.get(HEADER_BYTES..length)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(raw)
    })
}

/// The attributes of a message or of another attribute: type without its flag bits, and value.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    const TYPE_MASK: u16 = 0x3fff;
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The text of an attribute, up to its terminating zero.
pub fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

/// A message to send.
///
/// # Panics
/// If the payload exceeds 4 GiB, which no caller has.
pub fn message(kind: u16, flags: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER_BYTES + payload.len()).expect("a short message");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

/// An attribute to send: padded, so that another may follow.
///
/// # Panics
/// If the value exceeds 64 KiB, which no caller has.
pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).expect("a short value");
    let mut bytes = Vec::with_capacity(usize::from(length).next_multiple_of(4));
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// An attribute that holds attributes.
///
/// # Panics
/// As [`attribute`].
pub fn nested(kind: u16, attributes: &[u8]) -> Vec<u8> {
    const NLA_F_NESTED: u16 = 0x8000;
    attribute(kind | NLA_F_NESTED, attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_out_as_they_were_put_in() {
        let mut datagram = message(24, 5, 7, &[1, 2, 3, 4]);
        datagram.extend(message(25, 0, 8, &[]));
        let found: Vec<_> = messages(&datagram)
            .map(|raw| (raw.kind, raw.flags, raw.sequence, raw.payload))
            .collect();
        assert_eq!(found, [(24, 5, 7, &[1, 2, 3, 4][..]), (25, 0, 8, &[][..])]);
    }

    #[test]
    fn attributes_come_out_as_they_were_put_in() {
        let inner = [attribute(1, &[7]), attribute(2, &[1, 2, 3, 4])].concat();
        let bytes = [attribute(3, b"name\0"), nested(4, &inner)].concat();
        let found: Vec<_> = attributes(&bytes).collect();
        assert_eq!(found, [(3, &b"name\0"[..]), (4, &inner[..])]);
        let found: Vec<_> = attributes(&inner).collect();
        assert_eq!(found, [(1, &[7][..]), (2, &[1, 2, 3, 4])]);
    }

    #[test]
    fn lengths_that_lie_end_the_iteration() {
        for (name, bytes) in [
            ("shorter than a header", vec![4, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            ("longer than the datagram", vec![99, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            ("cut", vec![16, 0, 0]),
        ] {
            assert_eq!(messages(&bytes).count(), 0, "{name}");
        }
        assert_eq!(attributes(&[2, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[9, 0, 1, 0, 5]).count(), 0);
        let two = [5, 0, 1, 0x80, 42, 0, 0, 0, 4, 0, 2, 0];
        assert_eq!(attributes(&two).collect::<Vec<_>>(), [(1, &[42][..]), (2, &[][..])]);
    }
}
