//! Conversions with the adapter's SIMD: eight pixels at a time, products of 16 bits summed in 32.

use core::arch::wasm32::{
    i16x8, i16x8_mul, i16x8_narrow_i32x4, i16x8_shuffle, i16x8_splat, i16x8_sub, i32x4_add,
    i32x4_dot_i16x8, i32x4_extmul_high_i16x8, i32x4_extmul_low_i16x8, i32x4_shr, i32x4_shuffle,
    i32x4_splat, u8x16_narrow_i16x8, u8x16_shuffle, u8x16_splat, u16x8_shr, u64x2,
    u64x2_extract_lane, v128, v128_and,
};

use spine_sdk::Region;

use super::{Matrix, PIXELS, POINT};

/// R, G, B: four pixels change places at a time.
#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn rgb(input: &[u8; 3 * PIXELS], scratch: Region, at: usize) {
    let opaque = u8x16_splat(0xff);
    let swap = |pixels: v128| {
        u8x16_shuffle::<2, 1, 0, 16, 5, 4, 3, 16, 8, 7, 6, 16, 11, 10, 9, 16>(pixels, opaque)
    };
    put(swap(load::<0>(input)), scratch, at);
    put(swap(load::<12>(input)), scratch, at + 16);
    put(swap(load::<24>(input)), scratch, at + 32);
    // The last twelve bytes, loaded with the four before them.
    let last = load::<32>(input);
    let last =
        u8x16_shuffle::<6, 5, 4, 16, 9, 8, 7, 16, 12, 11, 10, 16, 15, 14, 13, 16>(last, opaque);
    put(last, scratch, at + 48);
}

/// Cb, Y0, Cr, Y1 of 8 bits: luma is the upper half of each 16 bits, chroma the lower.
#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn uyvy(input: &[u8; 2 * PIXELS], matrix: &Matrix, scratch: Region, at: usize) {
    let low = i16x8_splat(0xff);
    let eight = |bytes: v128, at: usize| {
        convert::<0>(u16x8_shr(bytes, 8), v128_and(bytes, low), matrix, scratch, at);
    };
    eight(load::<0>(input), at);
    eight(load::<16>(input), at + 32);
}

/// Cb, Y0, Cr, Y1 of 10 bits: each is put in 16 bits with some of its neighbours, which are shifted out.
#[inline]
#[target_feature(enable = "simd128")]
pub(super) fn uyvp(input: &[u8; 5 * PIXELS / 2], matrix: &Matrix, scratch: Region, at: usize) {
    // Shifts to the left by 0, 2, 4 and 6.
    let left = i16x8(1, 4, 16, 64, 1, 4, 16, 64);
    let samples = |pairs: v128| u16x8_shr(i16x8_mul(pairs, left), 6);
    let eight = |one: v128, other: v128, at: usize| {
        let one = u8x16_shuffle::<1, 0, 2, 1, 3, 2, 4, 3, 6, 5, 7, 6, 8, 7, 9, 8>(one, one);
        let other =
            u8x16_shuffle::<7, 6, 8, 7, 9, 8, 10, 9, 12, 11, 13, 12, 14, 13, 15, 14>(other, other);
        let (one, other) = (samples(one), samples(other));
        let luma = i16x8_shuffle::<1, 3, 5, 7, 9, 11, 13, 15>(one, other);
        let chroma = i16x8_shuffle::<0, 2, 4, 6, 8, 10, 12, 14>(one, other);
        convert::<2>(luma, chroma, matrix, scratch, at);
    };
    eight(load::<0>(input), load::<4>(input), at);
    eight(load::<20>(input), load::<24>(input), at + 32);
}

/// Eight pixels of eight lumas and four pairs of chroma (Cb, Cr) that have `MORE` bits than eight.
#[inline]
#[target_feature(enable = "simd128")]
fn convert<const MORE: u32>(luma: v128, chroma: v128, matrix: &Matrix, scratch: Region, at: usize) {
    let (cb_to_g, cr_to_g) = (matrix.cb_to_g, matrix.cr_to_g);
    let to_blue = pairs(matrix.cb_to_b, 0);
    let to_green = pairs(cb_to_g, cr_to_g);
    let to_red = pairs(0, matrix.cr_to_r);
    let chroma = i16x8_sub(chroma, i16x8_splat(128 << MORE));
    let luma = i16x8_sub(luma, i16x8_splat(matrix.black << MORE));

    // With half of the last place, so that cutting rounds.
    let half = i32x4_splat(1 << (POINT + MORE - 1));
    let slope = i16x8_splat(matrix.y);
    let first = i32x4_add(i32x4_extmul_low_i16x8(luma, slope), half);
    let second = i32x4_add(i32x4_extmul_high_i16x8(luma, slope), half);
    let colour = |coefficients: v128| {
        let chroma = i32x4_dot_i16x8(chroma, coefficients);
        let first = i32x4_add(first, i32x4_shuffle::<0, 0, 1, 1>(chroma, chroma));
        let second = i32x4_add(second, i32x4_shuffle::<2, 2, 3, 3>(chroma, chroma));
        i16x8_narrow_i32x4(i32x4_shr(first, POINT + MORE), i32x4_shr(second, POINT + MORE))
    };
    // Cut to 0..255 by narrowing, then interleaved twice.
    let blue_green = u8x16_narrow_i16x8(colour(to_blue), colour(to_green));
    let red_opaque = u8x16_narrow_i16x8(colour(to_red), i16x8_splat(255));
    let blue_green = interleave(blue_green);
    let red_opaque = interleave(red_opaque);
    put(i16x8_shuffle::<0, 8, 1, 9, 2, 10, 3, 11>(blue_green, red_opaque), scratch, at);
    put(i16x8_shuffle::<4, 12, 5, 13, 6, 14, 7, 15>(blue_green, red_opaque), scratch, at + 16);
}

/// The same pair of coefficients four times.
#[inline]
#[target_feature(enable = "simd128")]
fn pairs(cb: i16, cr: i16) -> v128 {
    i16x8(cb, cr, cb, cr, cb, cr, cb, cr)
}

/// The lower eight bytes with the upper eight between them.
#[inline]
#[target_feature(enable = "simd128")]
fn interleave(bytes: v128) -> v128 {
    u8x16_shuffle::<0, 8, 1, 9, 2, 10, 3, 11, 4, 12, 5, 13, 6, 14, 7, 15>(bytes, bytes)
}

/// Sixteen bytes from `AT` on, all of which the input has.
#[inline]
#[target_feature(enable = "simd128")]
fn load<const AT: usize>(input: &[u8]) -> v128 {
    let word = |at: usize| input.get(at..).and_then(|rest| rest.first_chunk()).copied();
    let word = |at: usize| u64::from_le_bytes(word(at).unwrap_or([0; 8]));
    u64x2(word(AT), word(AT + 8))
}

#[inline]
#[target_feature(enable = "simd128")]
fn put(pixels: v128, scratch: Region, at: usize) {
    scratch.set_u64(at, u64x2_extract_lane::<0>(pixels));
    scratch.set_u64(at + 8, u64x2_extract_lane::<1>(pixels));
}
