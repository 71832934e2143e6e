//! Conversions one number at a time: for the host, and the same as `simd` to the bit.

use spine_sdk::Region;

use super::{BLOCK_BYTES, Matrix, PIXELS, POINT};

/// R, G, B.
pub(super) fn rgb(input: &[u8; 3 * PIXELS], scratch: Region, at: usize) {
    let mut out = [0xff; BLOCK_BYTES];
    for (to, from) in out.chunks_exact_mut(4).zip(input.chunks_exact(3)) {
        (to[0], to[1], to[2]) = (from[2], from[1], from[0]);
    }
    put(&out, scratch, at);
}

/// Cb, Y0, Cr, Y1 of 8 bits.
pub(super) fn uyvy(input: &[u8; 2 * PIXELS], matrix: &Matrix, scratch: Region, at: usize) {
    let groups = input.chunks_exact(4).map(|group| [0, 1, 2, 3].map(|i| i32::from(group[i])));
    put(&convert::<0>(groups, matrix), scratch, at);
}

/// Cb, Y0, Cr, Y1 of 10 bits.
pub(super) fn uyvp(input: &[u8; 5 * PIXELS / 2], matrix: &Matrix, scratch: Region, at: usize) {
    let groups = input.chunks_exact(5).map(|group| {
        let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(|i| i32::from(group[i]));
        [a << 2 | b >> 6, (b & 63) << 4 | c >> 4, (c & 15) << 6 | d >> 2, (d & 3) << 8 | e]
    });
    put(&convert::<2>(groups, matrix), scratch, at);
}

/// The pixels of samples (Cb, Y0, Cr, Y1) that have `MORE` bits than eight.
fn convert<const MORE: u32>(
    groups: impl Iterator<Item = [i32; 4]>,
    matrix: &Matrix,
) -> [u8; BLOCK_BYTES] {
    let mut out = [0xff; BLOCK_BYTES];
    for (to, [cb, y0, cr, y1]) in out.chunks_exact_mut(8).zip(groups) {
        let (cb, cr) = (cb - (128 << MORE), cr - (128 << MORE));
        let blue = i32::from(matrix.cb_to_b) * cb;
        let green = i32::from(matrix.cb_to_g) * cb + i32::from(matrix.cr_to_g) * cr;
        let red = i32::from(matrix.cr_to_r) * cr;
        for (pixel, y) in to.chunks_exact_mut(4).zip([y0, y1]) {
            // With half of the last place, so that cutting rounds.
            let luma = (y - (i32::from(matrix.black) << MORE)) * i32::from(matrix.y);
            let luma = luma + (1 << (POINT + MORE - 1));
            for (byte, chroma) in pixel.iter_mut().zip([blue, green, red]) {
                let value = ((luma + chroma) >> (POINT + MORE)).clamp(0, 255);
                *byte = u8::try_from(value).unwrap_or(u8::MAX);
            }
        }
    }
    out
}

fn put(block: &[u8; BLOCK_BYTES], scratch: Region, at: usize) {
    for (i, word) in block.as_chunks::<8>().0.iter().enumerate() {
        scratch.set_u64(at + 8 * i, u64::from_le_bytes(*word));
    }
}
