//! What a router with one next hop does to a packet: addresses, TTL, checksum.

/// The two link-layer addresses that a forwarded packet gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hop {
    /// Of the next hop.
    pub(crate) destination: [u8; 6],
    /// Of the interface it leaves by.
    pub(crate) source: [u8; 6],
}

impl Hop {
    /// Makes `frame` ready to leave; false for what is not IPv4 or has come to the end of its life.
    pub(crate) fn apply(&self, frame: &mut [u8]) -> bool {
        let Some((header, _)) = frame.split_first_chunk_mut::<34>() else {
            return false;
        };
        if header[12..15] != [0x08, 0x00, 0x45] || header[22] <= 1 {
            return false;
        }
        header[..6].copy_from_slice(&self.destination);
        header[6..12].copy_from_slice(&self.source);
        // RFC 1624, equation 3: the word that holds the TTL shrinks by 0x0100.
        let old = u16::from_be_bytes([header[22], header[23]]);
        header[22] -= 1;
        let new = u16::from_be_bytes([header[22], header[23]]);
        let checksum = u16::from_be_bytes([header[24], header[25]]);
        let sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
        let folded = (sum & 0xffff) + (sum >> 16);
        let [_, _, high, low] = (folded + (folded >> 16)).to_be_bytes();
        header[24] = !high;
        header[25] = !low;
        true
    }
}
