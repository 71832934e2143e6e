//! From pixels as a screen has them (`0x00RRGGBB`) to bytes as the wire has them.

use crate::colour::{Colorimetry, Encoder, Range};
use crate::format::Format;

/// Writes pixels in one format and colour.
#[derive(Debug, Clone)]
pub struct WireWriter {
    format: Format,
    encoder: Encoder,
}

impl WireWriter {
    /// The colour matters only where the format is YCbCr.
    pub fn new(format: Format, colorimetry: Colorimetry, range: Range) -> Self {
        Self { format, encoder: Encoder::new(colorimetry, range, format.depth()) }
    }

    /// The format written.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Appends a run of pixels that are whole groups. Of two pixels that share a colour difference, it is
    /// the mean.
    pub fn write(&self, pixels: &[u32], into: &mut Vec<u8>) {
        match self.format {
            Format::Bgra => into.extend(pixels.iter().flat_map(|pixel| {
                let [_, r, g, b] = pixel.to_be_bytes();
                [b, g, r, 0xff]
            })),
            Format::Rgb => into.extend(pixels.iter().flat_map(|pixel| {
                let [_, r, g, b] = pixel.to_be_bytes();
                [r, g, b]
            })),
            Format::Uyvy => {
                for pair in pixels.chunks_exact(2) {
                    // Samples of 8 bits, by the encoder's depth.
                    into.extend(self.group(pair).map(|sample| sample.to_be_bytes()[1]));
                }
            }
            Format::Uyvp => {
                for pair in pixels.chunks_exact(2) {
                    let bits = self
                        .group(pair)
                        .into_iter()
                        .fold(0, |bits, sample| bits << 10 | u64::from(sample));
                    into.extend(&bits.to_be_bytes()[3..]);
                }
            }
        }
    }

    /// Cb, Y, Cr, Y of two pixels.
    fn group(&self, pair: &[u32]) -> [u16; 4] {
        let [y_1, cb_1, cr_1] = self.encoder.encode(pair.first().copied().unwrap_or_default());
        let [y_2, cb_2, cr_2] = self.encoder.encode(pair.get(1).copied().unwrap_or_default());
        [u16::midpoint(cb_1, cb_2), y_1, u16::midpoint(cr_1, cr_2), y_2]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(format: Format, pixels: &[u32]) -> Vec<u8> {
        let mut bytes = Vec::new();
        WireWriter::new(format, Colorimetry::Bt709, Range::Narrow).write(pixels, &mut bytes);
        bytes
    }

    #[test]
    fn bytes_are_in_the_order_of_rfc_4175() {
        assert_eq!(wire(Format::Bgra, &[0x0011_2233]), [0x33, 0x22, 0x11, 0xff]);
        assert_eq!(wire(Format::Rgb, &[0x0011_2233]), [0x11, 0x22, 0x33]);
        assert_eq!(wire(Format::Uyvy, &[0x00ff_ffff, 0]), [128, 235, 128, 16]);
        // 512 = 0b1000000000, 940 = 0b1110101100, 64 = 0b0001000000, packed without gaps.
        let packed = [0b1000_0000, 0b0011_1010, 0b1100_1000, 0b0000_0000, 0b0100_0000];
        assert_eq!(wire(Format::Uyvp, &[0x00ff_ffff, 0]), packed);
    }
}
