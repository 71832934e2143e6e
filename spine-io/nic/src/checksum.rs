//! The network endpoint: what a network card would do to a packet on its way out.

use spine_abi::verdict::ChecksumRequest;

/// Completes a transport checksum as a card with transmit checksum offload does: the field holds the
/// folded pseudo-header sum, and the one's complement of the whole replaces it.
///
/// Returns false, and changes nothing, if the request leaves the packet.
pub fn complete_checksum(packet: &mut [u8], request: ChecksumRequest) -> bool {
    let start = usize::from(request.start);
    let field = start + usize::from(request.offset);
    let Some(data) = packet.get(start..) else { return false };
    if field + 2 > packet.len() {
        return false;
    }
    // RFC 768: a computed zero is sent as all ones, for zero means "no checksum". For TCP the two
    // are the same number in one's complement.
    let checksum = match !fold(sum(data)) {
        0 => 0xffff,
        sum => sum,
    };
    packet[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
    true
}

/// The one's complement sum of big-endian 16-bit words (RFC 1071), unfolded; an odd last byte counts
/// as if a zero followed.
pub(crate) fn sum(data: &[u8]) -> u64 {
    // Four bytes at a time into 64 bits cannot overflow for any packet, and folds to the same sum
    // (RFC 1071 2(B)).
    let mut chunks = data.chunks_exact(4);
    let whole: u64 = chunks.by_ref().fold(0, |sum, chunk| {
        let word = chunk.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes));
        sum + u64::from(word)
    });
    let mut last = [0; 4];
    last[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    whole + u64::from(u32::from_be_bytes(last))
}

pub(crate) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pseudo-header sum in the field, as a veth peer with offload on leaves it.
    fn partial(payload: &[u8]) -> (Vec<u8>, u64) {
        let length = 8 + u64::try_from(payload.len()).unwrap();
        let pseudo = 0x0a00 + 0x0001 + 0x0a00 + 0x0102 + 17 + length;
        let mut packet = vec![0xee; 34];
        packet.extend([0x12, 0x34, 0x00, 0x35]);
        packet.extend(u16::try_from(length).unwrap().to_be_bytes());
        packet.extend(fold(pseudo).to_be_bytes());
        packet.extend(payload);
        (packet, pseudo)
    }

    #[test]
    fn a_completed_checksum_verifies() {
        for payload in [&b""[..], b"a", b"ab", b"abc", b"a longer payload of odd length"] {
            let (mut packet, pseudo) = partial(payload);
            assert!(complete_checksum(&mut packet, ChecksumRequest { start: 34, offset: 6 }));
            assert_eq!(fold(sum(&packet[34..]) + pseudo), 0xffff, "{payload:?}");
        }
    }

    #[test]
    fn a_request_that_leaves_the_packet_changes_nothing() {
        let (mut packet, _) = partial(b"payload");
        let before = packet.clone();
        for request in [
            ChecksumRequest { start: 34, offset: 14 },
            ChecksumRequest { start: 34, offset: 200 },
            ChecksumRequest { start: 60, offset: 0 },
        ] {
            assert!(!complete_checksum(&mut packet, request));
            assert_eq!(packet, before);
        }
    }
}
