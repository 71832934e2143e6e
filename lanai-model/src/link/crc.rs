//! The CRC-8 that ends a packet: x^8 + x^2 + x + 1, starting at zero. (REC)
//!
//! Run over a packet *and* its CRC byte it gives zero, which is what a receiver finds in place of a good CRC byte.

const POLYNOMIAL: u8 = 0x07;

const TABLE: [u8; 256] = table();

const fn table() -> [u8; 256] {
    let mut table = [0; 256];
    let mut index: u8 = 0;
    loop {
        let mut crc = index;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x80 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL };
            bit += 1;
        }
        table[index as usize] = crc;
        if index == u8::MAX {
            return table;
        }
        index += 1;
    }
}

/// Goes on with `crc` over one more byte.
#[must_use]
pub fn crc8(crc: u8, byte: u8) -> u8 {
    TABLE[usize::from(crc ^ byte)]
}

/// The CRC-8 of `bytes`.
#[must_use]
pub fn crc8_of(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |crc, &byte| crc8(crc, byte))
}

#[cfg(test)]
mod tests {
    use super::{crc8, crc8_of};

    #[test]
    fn the_check_value_of_this_polynomial() {
        // "123456789" under poly 0x07, init 0 gives 0xF4 in every CRC catalogue.
        assert_eq!(crc8_of(b"123456789"), 0xF4);
    }

    #[test]
    fn a_packet_and_its_crc_give_zero_and_a_flipped_bit_does_not() {
        let packet = [0x08, 0x03, 0x59, 0xFF, 0x00, 0x12];
        let crc = crc8_of(&packet);
        assert_eq!(crc8(crc, crc), 0);
        for bit in 0..48 {
            let mut bad = packet;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(crc8(crc8_of(&bad), crc), 0);
        }
    }
}
