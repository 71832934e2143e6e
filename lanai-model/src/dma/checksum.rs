//! CKS: what the checksum register makes of the bytes that the host DMA moves.
//!
//! That CKS accumulates over the host DMA is known from the firmware that reads it; how it adds is not. This is the
//! Internet checksum's sum (RFC 1071), which the chip's manual names in its table of contents. (DER, unconfirmed)

/// `sum` after `bytes`: 16-bit big-endian words in one's complement; a last odd byte is the high half of a word.
#[must_use]
pub fn add_ones_complement(sum: u32, bytes: &[u8]) -> u32 {
    let mut sum = u64::from(sum);
    for pair in bytes.chunks(2) {
        let high = pair.first().copied().unwrap_or(0);
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u64::from(u16::from_be_bytes([high, low]));
    }
    while sum > 0xFFFF {
        sum = (sum >> 16) + (sum & 0xFFFF);
    }
    u32::try_from(sum).unwrap_or(0xFFFF)
}

#[cfg(test)]
mod tests {
    use super::add_ones_complement;

    #[test]
    fn the_sum_of_rfc_1071s_example() {
        assert_eq!(
            add_ones_complement(0, &[0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7]),
            0xDDF2
        );
    }

    #[test]
    fn pieces_add_up_and_carry() {
        let whole = [0xFF, 0xFF, 0x12, 0x34, 0x80, 0x01];
        let first = add_ones_complement(0, &whole[..2]);
        assert_eq!(add_ones_complement(first, &whole[2..]), add_ones_complement(0, &whole));
        assert_eq!(add_ones_complement(0xFFFF, &[0, 1]), 1);
        assert_eq!(add_ones_complement(u32::MAX, &[]), 0xFFFF);
    }
}
