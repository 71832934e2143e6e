//! Pixels of the wire to pixels of the screen: B, G, R and 255, of 8 bits each.
//!
//! Sixteen pixels at a time; the last block of a segment is filled up with zeros. `simd` does it on the
//! adapter, where the functions ask for `simd128` themselves, so that everything else stays as it is compiled
//! for every extension; `portable` is the same arithmetic for the host, to the bit, and is what the tests
//! hold against the standards. Results differ from exact arithmetic by rounding only: coefficients have 13
//! bits behind the point, as many as products of 16 bits can have.

#[cfg(not(target_arch = "wasm32"))]
#[path = "convert/portable.rs"]
mod block;
#[cfg(target_arch = "wasm32")]
#[path = "convert/simd.rs"]
mod block;

use spine_sdk::Region;

use crate::protocol::Colour;

/// Pixels of one block.
const PIXELS: usize = 16;
/// Bytes that a block has on the screen, and so the smallest distance of segments in scratch.
pub const BLOCK_BYTES: usize = 4 * PIXELS;

/// R', G', B' of 8 bits (3 bytes a pixel).
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
pub fn rgb(pixels: &[u8], scratch: Region, at: usize) {
    blocks(pixels, at, |input, at| block::rgb(input, scratch, at));
}

/// Cb, Y'0, Cr, Y'1 of 8 bits (4 bytes for two pixels).
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
pub fn uyvy(pixels: &[u8], scratch: Region, at: usize, colour: Colour) {
    let matrix = Matrix::of(colour);
    blocks(pixels, at, |input, at| block::uyvy(input, &matrix, scratch, at));
}

/// Cb, Y'0, Cr, Y'1 of 10 bits each, the highest first (5 bytes for two pixels).
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
pub fn uyvp(pixels: &[u8], scratch: Region, at: usize, colour: Colour) {
    let matrix = Matrix::of(colour);
    blocks(pixels, at, |input, at| block::uyvp(input, &matrix, scratch, at));
}

/// Hands all blocks of a segment to `convert`, with their places in scratch from `at` on.
#[inline]
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
fn blocks<const IN: usize>(pixels: &[u8], at: usize, convert: impl Fn(&[u8; IN], usize)) {
    let (whole, rest) = pixels.as_chunks::<IN>();
    let mut at = at;
    for block in whole {
        convert(block, at);
        at += BLOCK_BYTES;
    }
    if !rest.is_empty() {
        let mut last = [0; IN];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        convert(&last, at);
    }
}

/// Bits of the coefficients behind the point.
const POINT: u32 = 13;

/// Y'CbCr to R'G'B' (ITU-R BT.601-7 and BT.709-6, equations of section 3): coefficients for 8-bit samples.
#[derive(Debug, Clone, Copy)]
struct Matrix {
    black: i16,
    y: i16,
    cr_to_r: i16,
    cb_to_g: i16,
    cr_to_g: i16,
    cb_to_b: i16,
}

impl Matrix {
    /// From the weights of red and blue in luma.
    const fn new(red: f64, blue: f64, full_range: bool) -> Self {
        let (black, y, c) =
            if full_range { (0, 1.0, 1.0) } else { (16, 255.0 / 219.0, 255.0 / 224.0) };
        let green = 1.0 - red - blue;
        Self {
            black,
            y: fixed(y),
            cr_to_r: fixed(2.0 * (1.0 - red) * c),
            cb_to_g: fixed(-2.0 * (1.0 - blue) * blue / green * c),
            cr_to_g: fixed(-2.0 * (1.0 - red) * red / green * c),
            cb_to_b: fixed(2.0 * (1.0 - blue) * c),
        }
    }

    #[inline]
    fn of(colour: Colour) -> Self {
        const BT601: [Matrix; 2] =
            [Matrix::new(0.299, 0.114, false), Matrix::new(0.299, 0.114, true)];
        const BT709: [Matrix; 2] =
            [Matrix::new(0.2126, 0.0722, false), Matrix::new(0.2126, 0.0722, true)];
        let by_range = if colour.bt709 { &BT709 } else { &BT601 };
        by_range[usize::from(colour.full_range)]
    }
}

/// A coefficient with [`POINT`] bits behind the point, rounded.
#[expect(clippy::cast_possible_truncation, reason = "coefficients are below three")]
const fn fixed(value: f64) -> i16 {
    let scaled = value * (1 << POINT) as f64;
    (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i16
}

#[cfg(test)]
mod tests;
