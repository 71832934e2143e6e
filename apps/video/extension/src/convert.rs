//! Pixels of the wire to pixels of the screen: B, G, R and 255, of 8 bits each.
//!
//! A block of pixels at a time, in loops of fixed length that the compiler turns into SIMD; the last block
//! of a segment is filled up with zeros. On wasm32 the functions ask for `simd128` themselves, so that
//! everything else stays as it is compiled for every extension. Results differ from exact arithmetic by
//! rounding only: coefficients have 14 bits behind the point.

use spine_sdk::Region;

use crate::protocol::Colour;

/// Pixels of one block.
const PIXELS: usize = 16;
/// Bytes that a block has on the screen, and so the smallest distance of segments in scratch.
pub const BLOCK_BYTES: usize = 4 * PIXELS;

/// R', G', B' of 8 bits (3 bytes a pixel).
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
pub fn rgb(pixels: &[u8], scratch: Region, at: usize) {
    blocks(pixels, scratch, at, |input: &[u8; 3 * PIXELS]| {
        let mut out = [0xff; BLOCK_BYTES];
        for (to, from) in out.chunks_exact_mut(4).zip(input.chunks_exact(3)) {
            to[0] = from[2];
            to[1] = from[1];
            to[2] = from[0];
        }
        out
    });
}

/// Cb, Y'0, Cr, Y'1 of 8 bits (4 bytes for two pixels).
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
pub fn uyvy(pixels: &[u8], scratch: Region, at: usize, colour: Colour) {
    let matrix = Matrix::of(colour);
    blocks(pixels, scratch, at, |input: &[u8; 2 * PIXELS]| {
        let mut sample = Samples::default();
        for pair in 0..PIXELS / 2 {
            sample.cb[pair] = i32::from(input[4 * pair]);
            sample.y[2 * pair] = i32::from(input[4 * pair + 1]);
            sample.cr[pair] = i32::from(input[4 * pair + 2]);
            sample.y[2 * pair + 1] = i32::from(input[4 * pair + 3]);
        }
        matrix.apply::<0>(&sample)
    });
}

/// Cb, Y'0, Cr, Y'1 of 10 bits each, the highest first (5 bytes for two pixels).
#[cfg_attr(target_arch = "wasm32", target_feature(enable = "simd128"))]
pub fn uyvp(pixels: &[u8], scratch: Region, at: usize, colour: Colour) {
    let matrix = Matrix::of(colour);
    blocks(pixels, scratch, at, |input: &[u8; 5 * PIXELS / 2]| {
        let mut sample = Samples::default();
        for (pair, group) in input.chunks_exact(5).enumerate() {
            let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|i| i32::from(group[i]));
            sample.cb[pair] = a << 2 | b >> 6;
            sample.y[2 * pair] = (b & 0x3f) << 4 | c >> 4;
            sample.cr[pair] = (c & 0x0f) << 6 | d >> 2;
            sample.y[2 * pair + 1] = (d & 0x03) << 8 | e;
        }
        matrix.apply::<2>(&sample)
    });
}

/// Converts all blocks of a segment and writes them to scratch from `at` on.
#[inline(always)]
fn blocks<const IN: usize>(
    pixels: &[u8],
    scratch: Region,
    at: usize,
    convert: impl Fn(&[u8; IN]) -> [u8; BLOCK_BYTES],
) {
    let (whole, rest) = pixels.as_chunks::<IN>();
    let mut at = at;
    for block in whole {
        put(&convert(block), scratch, at);
        at += BLOCK_BYTES;
    }
    if !rest.is_empty() {
        let mut last = [0; IN];
        for (to, from) in last.iter_mut().zip(rest) {
            *to = *from;
        }
        put(&convert(&last), scratch, at);
    }
}

#[inline(always)]
fn put(block: &[u8; BLOCK_BYTES], scratch: Region, at: usize) {
    for (i, word) in block.as_chunks::<8>().0.iter().enumerate() {
        scratch.set_u64(at + 8 * i, u64::from_le_bytes(*word));
    }
}

/// One block's samples, as numbers of 8 or 10 bits.
#[derive(Default)]
struct Samples {
    y: [i32; PIXELS],
    cb: [i32; PIXELS / 2],
    cr: [i32; PIXELS / 2],
}

/// Bits of the coefficients behind the point.
const POINT: u32 = 14;

/// Y'CbCr to R'G'B' (ITU-R BT.601-7 and BT.709-6, equations of section 3): coefficients for 8-bit samples.
#[derive(Debug, Clone, Copy)]
struct Matrix {
    black: i32,
    y: i32,
    cr_to_r: i32,
    cb_to_g: i32,
    cr_to_g: i32,
    cb_to_b: i32,
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

    /// The pixels of samples that have `MORE` bits than eight.
    #[inline(always)]
    fn apply<const MORE: u32>(&self, sample: &Samples) -> [u8; BLOCK_BYTES] {
        let mut red = [0; PIXELS / 2];
        let mut green = [0; PIXELS / 2];
        let mut blue = [0; PIXELS / 2];
        for pair in 0..PIXELS / 2 {
            let cb = sample.cb[pair] - (128 << MORE);
            let cr = sample.cr[pair] - (128 << MORE);
            red[pair] = self.cr_to_r * cr;
            green[pair] = self.cb_to_g * cb + self.cr_to_g * cr;
            blue[pair] = self.cb_to_b * cb;
        }
        let mut out = [0xff; BLOCK_BYTES];
        for pixel in 0..PIXELS {
            // With half of the last place, so that cutting rounds.
            let luma =
                (sample.y[pixel] - (self.black << MORE)) * self.y + (1 << (POINT + MORE - 1));
            let value = |chroma: &[i32; PIXELS / 2]| to_byte::<MORE>(luma + chroma[pixel / 2]);
            out[4 * pixel] = value(&blue);
            out[4 * pixel + 1] = value(&green);
            out[4 * pixel + 2] = value(&red);
        }
        out
    }
}

#[inline(always)]
fn to_byte<const MORE: u32>(value: i32) -> u8 {
    (value >> (POINT + MORE)).clamp(0, 255) as u8
}

/// A coefficient with [`POINT`] bits behind the point, rounded.
#[expect(clippy::cast_possible_truncation, reason = "coefficients are below three")]
const fn fixed(value: f64) -> i32 {
    let scaled = value * (1 << POINT) as f64;
    (if scaled < 0.0 { scaled - 0.5 } else { scaled + 0.5 }) as i32
}

#[cfg(test)]
mod tests;
