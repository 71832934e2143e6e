//! The network endpoint: what a network card would do to a packet on its way out.

use spine_abi::verdict::ChecksumRequest;
use spine_headers::checksum::{finish_nonzero, sum};

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
    // TCP may send UDP's form of zero: the two are the same number in one's complement.
    let checksum = finish_nonzero(sum(data));
    packet[field..field + 2].copy_from_slice(&checksum.to_be_bytes());
    true
}

#[cfg(test)]
mod tests {
    use spine_headers::checksum::{fold, holds};

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
            assert!(holds(sum(&packet[34..]) + pseudo), "{payload:?}");
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
