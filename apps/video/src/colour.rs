//! Colour: what red, green and blue are in luma and colour difference.
//!
//! A stream of YCbCr says nothing until it is known which matrix made it (ITU-R BT.601 or BT.709) and
//! whether its samples use the whole range or the narrow one of television. This is the sender's
//! direction, and that of recordings; the other is the extension's, on the adapter.

use clap::ValueEnum;

/// The matrix between RGB and YCbCr.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Colorimetry {
    /// ITU-R BT.601: standard definition.
    #[value(name = "601")]
    Bt601,
    /// ITU-R BT.709: high definition.
    #[value(name = "709")]
    Bt709,
}

/// Which part of the numbers samples use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Range {
    /// Luma 16 to 235, colour difference 16 to 240 (of 8 bits).
    Narrow,
    /// 0 to 255.
    Full,
}

impl Colorimetry {
    /// The usual one for a picture that does not say: 709 from 720 lines on.
    pub fn usual(height: usize) -> Self {
        if height >= 720 { Self::Bt709 } else { Self::Bt601 }
    }

    /// The weights of red and blue in luma (BT.601-7 2.5.1, BT.709-6 3.2).
    pub const fn weights(self) -> (f64, f64) {
        match self {
            Self::Bt601 => (0.299, 0.114),
            Self::Bt709 => (0.2126, 0.0722),
        }
    }
}

/// One matrix with its range and depth, as whole numbers.
#[derive(Debug, Clone)]
pub struct Encoder {
    /// For Y, Cb, Cr: the factors of red, green and blue in 65536ths, and what is added.
    rows: [([i32; 3], i32); 3],
    most: i32,
}

impl Encoder {
    /// For samples of `depth` (8 or 10) bits.
    pub fn new(colorimetry: Colorimetry, range: Range, depth: u8) -> Self {
        let step = f64::from(1_u32 << (depth - 8));
        let most = f64::from(1_u32 << depth) - 1.0;
        let (luma, difference, black) = match range {
            Range::Narrow => (219.0 * step, 224.0 * step, 16.0 * step),
            Range::Full => (most, most, 0.0),
        };
        let (red, blue) = colorimetry.weights();
        let y = [red, 1.0 - red - blue, blue];
        let cb = [-red, -(1.0 - red - blue), 1.0 - blue].map(|w| w / (2.0 * (1.0 - blue)));
        let cr = [1.0 - red, -(1.0 - red - blue), -blue].map(|w| w / (2.0 * (1.0 - red)));
        let middle = 128.0 * step;
        let row = |weights: [f64; 3], scale: f64, add: f64| {
            (weights.map(|weight| fixed(weight * scale / 255.0)), fixed(add + 0.5))
        };
        Self {
            rows: [row(y, luma, black), row(cb, difference, middle), row(cr, difference, middle)],
            most: (1 << depth) - 1,
        }
    }

    /// Y, Cb, Cr of a pixel `0x00RRGGBB`.
    #[inline]
    pub fn encode(&self, pixel: u32) -> [u16; 3] {
        let [_, r, g, b] = pixel.to_be_bytes().map(i32::from);
        self.rows.map(|([of_r, of_g, of_b], add)| {
            let sum = (of_r * r + of_g * g + of_b * b + add) >> 16;
            u16::try_from(sum.clamp(0, self.most)).unwrap_or_default()
        })
    }
}

/// In 65536ths.
#[expect(clippy::cast_possible_truncation, reason = "at most 1023.5 times 65536")]
fn fixed(value: f64) -> i32 {
    (value * 65536.0).round() as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The standards' own formulas, in floating point.
    fn reference(colorimetry: Colorimetry, range: Range, depth: u8, pixel: u32) -> [f64; 3] {
        let [_, r, g, b] = pixel.to_be_bytes().map(|byte| f64::from(byte) / 255.0);
        let (kr, kb) = colorimetry.weights();
        let y = kr * r + (1.0 - kr - kb) * g + kb * b;
        let (cb, cr) = ((b - y) / (2.0 - 2.0 * kb), (r - y) / (2.0 - 2.0 * kr));
        let step = f64::from(1_u32 << (depth - 8));
        let most = 256.0 * step - 1.0;
        match range {
            Range::Narrow => [
                (219.0 * y + 16.0) * step,
                (224.0 * cb + 128.0) * step,
                (224.0 * cr + 128.0) * step,
            ],
            Range::Full => [most * y, most * cb + 128.0 * step, most * cr + 128.0 * step],
        }
    }

    #[test]
    fn encoding_is_within_rounding_of_the_standards_formulas() {
        let mut random = fastrand::Rng::with_seed(1);
        for colorimetry in [Colorimetry::Bt601, Colorimetry::Bt709] {
            for (range, depth) in [(Range::Narrow, 8), (Range::Narrow, 10), (Range::Full, 8)] {
                let encoder = Encoder::new(colorimetry, range, depth);
                for _ in 0..10_000 {
                    let pixel = random.u32(..) & 0xff_ffff;
                    let expected = reference(colorimetry, range, depth, pixel);
                    for (found, expected) in encoder.encode(pixel).into_iter().zip(expected) {
                        let expected = expected.clamp(0.0, f64::from((1_u32 << depth) - 1));
                        let off = (f64::from(found) - expected).abs();
                        assert!(off <= 0.51, "{pixel:06x}: {found}, should be {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn white_and_black_are_the_ends_of_the_range() {
        let narrow = Encoder::new(Colorimetry::Bt709, Range::Narrow, 8);
        assert_eq!(narrow.encode(0x00ff_ffff), [235, 128, 128]);
        assert_eq!(narrow.encode(0), [16, 128, 128]);
        let ten = Encoder::new(Colorimetry::Bt709, Range::Narrow, 10);
        assert_eq!(ten.encode(0x00ff_ffff), [940, 512, 512]);
    }
}
