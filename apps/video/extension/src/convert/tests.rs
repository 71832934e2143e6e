//! Conversions against exact arithmetic: never further off than rounding.

use super::*;
use spine_sdk::testing;

/// The standards' own equations in floating point, for samples of so many bits.
fn reference(colour: Colour, bits: u32, [y, cb, cr]: [u32; 3]) -> [f64; 3] {
    let (red, blue) = if colour.bt709 { (0.2126, 0.0722) } else { (0.299, 0.114) };
    let one = f64::from(1u32 << (bits - 8));
    let (y, cb, cr) = (f64::from(y) / one, f64::from(cb) / one, f64::from(cr) / one);
    let (luma, cb, cr) = if colour.full_range {
        (y / 255.0, (cb - 128.0) / 255.0, (cr - 128.0) / 255.0)
    } else {
        ((y - 16.0) / 219.0, (cb - 128.0) / 224.0, (cr - 128.0) / 224.0)
    };
    let r = luma + 2.0 * (1.0 - red) * cr;
    let b = luma + 2.0 * (1.0 - blue) * cb;
    let g = (luma - red * r - blue * b) / (1.0 - red - blue);
    [b, g, r].map(|value| (value * 255.0).clamp(0.0, 255.0))
}

const COLOURS: [Colour; 4] = [
    Colour { bt709: false, full_range: false },
    Colour { bt709: false, full_range: true },
    Colour { bt709: true, full_range: false },
    Colour { bt709: true, full_range: true },
];

/// What a conversion leaves in scratch.
fn converted(pixels: usize, work: impl FnOnce(Region, usize)) -> Vec<u8> {
    let scratch = testing::region(64 + 4 * pixels + BLOCK_BYTES);
    work(scratch, 64);
    assert!((0..64).all(|at| scratch.u8_at(at) == 0), "in front of it");
    (64..64 + 4 * pixels).map(|at| scratch.u8_at(at)).collect()
}

/// Checks one pixel of a conversion: within 0.54 of the exact value, half a place of it by rounding.
fn check(found: &[u8], exact: [f64; 3], what: &dyn std::fmt::Debug) {
    for (found, exact) in found.iter().zip(exact) {
        let off = (f64::from(*found) - exact).abs();
        assert!(off <= 0.54, "{what:?}: {found} instead of {exact}");
    }
    assert_eq!(found[3], 255, "{what:?}");
}

/// Samples that reach every corner, and some between.
fn samples(most: u32) -> Vec<[u32; 4]> {
    let steps = |n: u32| (0..=n).map(move |i| i * most / n);
    let mut all = Vec::new();
    for cb in steps(16) {
        for cr in steps(16) {
            for y in steps(9) {
                all.push([cb, y, cr, most - y]);
            }
        }
    }
    all
}

#[test]
fn uyvy_is_exact_but_for_rounding_in_every_colour_space() {
    let groups = samples(255);
    let bytes: Vec<u8> = groups.iter().flatten().map(|v| u8::try_from(*v).unwrap()).collect();
    for colour in COLOURS {
        let found = converted(2 * groups.len(), |scratch, at| uyvy(&bytes, scratch, at, colour));
        for (found, [cb, y0, cr, y1]) in found.chunks_exact(8).zip(&groups) {
            let what = (colour, cb, y0, cr, y1);
            check(&found[..4], reference(colour, 8, [*y0, *cb, *cr]), &what);
            check(&found[4..], reference(colour, 8, [*y1, *cb, *cr]), &what);
        }
    }
}

#[test]
fn uyvp_is_exact_but_for_rounding_in_every_colour_space() {
    let groups = samples(1023);
    let pack = |[cb, y0, cr, y1]: &[u32; 4]| {
        let bits =
            u64::from(*cb) << 30 | u64::from(*y0) << 20 | u64::from(*cr) << 10 | u64::from(*y1);
        let bytes = bits.to_be_bytes();
        [bytes[3], bytes[4], bytes[5], bytes[6], bytes[7]]
    };
    let bytes: Vec<u8> = groups.iter().flat_map(pack).collect();
    for colour in COLOURS {
        let found = converted(2 * groups.len(), |scratch, at| uyvp(&bytes, scratch, at, colour));
        for (found, [cb, y0, cr, y1]) in found.chunks_exact(8).zip(&groups) {
            let what = (colour, cb, y0, cr, y1);
            check(&found[..4], reference(colour, 10, [*y0, *cb, *cr]), &what);
            check(&found[4..], reference(colour, 10, [*y1, *cb, *cr]), &what);
        }
    }
}

#[test]
fn known_colours_come_out_as_themselves() {
    let narrow = Colour { bt709: true, full_range: false };
    // Black, white, and the red, green and blue of BT.709's colour bars (SMPTE RP 219, 8 bits).
    for (ycc, bgr) in [
        ([16, 128, 128], [0, 0, 0]),
        ([235, 128, 128], [255, 255, 255]),
        ([63, 102, 240], [0, 0, 255]),
        ([173, 42, 26], [0, 255, 0]),
        ([32, 240, 118], [255, 0, 0]),
    ] {
        let [y, cb, cr] = ycc;
        let found = converted(2, |scratch, at| uyvy(&[cb, y, cr, y], scratch, at, narrow));
        for (found, expected) in found.chunks_exact(4).flat_map(|p| p.iter().zip(bgr)) {
            assert!(found.abs_diff(expected) <= 1, "{ycc:?}: {found} for {expected}");
        }
    }
}

#[test]
fn rgb_changes_places_for_any_number_of_pixels() {
    for pixels in 1..=50_u8 {
        let bytes: Vec<u8> = (0..3 * pixels).collect();
        let found = converted(pixels.into(), |scratch, at| rgb(&bytes, scratch, at));
        for (pixel, found) in found.chunks_exact(4).enumerate() {
            let first = 3 * u8::try_from(pixel).unwrap();
            assert_eq!(found, [first + 2, first + 1, first, 255]);
        }
    }
}

#[test]
fn any_number_of_pairs_is_converted_as_one_pair_is() {
    let colour = Colour::default();
    let bytes: Vec<u8> = (0..=255).cycle().step_by(7).take(4 * 40).collect();
    for pairs in 1..=40 {
        let bytes = &bytes[..4 * pairs];
        let found = converted(2 * pairs, |scratch, at| uyvy(bytes, scratch, at, colour));
        for (pair, found) in bytes.chunks_exact(4).zip(found.chunks_exact(8)) {
            let alone = converted(2, |scratch, at| uyvy(pair, scratch, at, colour));
            assert_eq!(found, alone);
        }
    }
}
