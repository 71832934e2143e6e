//! Text on pictures: a bitmap font of 8 by 8 pixels, for the overlay and the test pattern.

use font8x8::legacy::BASIC_LEGACY;

/// Pixels of a character, each way.
pub const CHARACTER: usize = 8;

/// Draws one line of text, each dot `scale` pixels wide and high, where `put` is given x, y and whether
/// the dot is ink. Characters outside ASCII are drawn as question marks.
pub fn draw(text: &str, scale: usize, mut put: impl FnMut(usize, usize, bool)) {
    for (column, character) in text.chars().enumerate() {
        let code = u32::from(character);
        let glyph = usize::try_from(code).ok().and_then(|code| BASIC_LEGACY.get(code));
        let glyph =
            glyph.or_else(|| BASIC_LEGACY.get(usize::from(b'?'))).copied().unwrap_or_default();
        for (row, bits) in glyph.into_iter().enumerate() {
            for dot in 0..CHARACTER {
                let ink = bits & (1 << dot) != 0;
                let (left, top) = ((column * CHARACTER + dot) * scale, row * scale);
                for y in top..top + scale {
                    (left..left + scale).for_each(|x| put(x, y, ink));
                }
            }
        }
    }
}

/// Pixels that a line of text is wide.
pub fn width(text: &str, scale: usize) -> usize {
    text.chars().count() * CHARACTER * scale
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_look_like_letters() {
        let mut lines = vec![vec![' '; width("L", 1)]; CHARACTER];
        draw("L", 1, |x, y, ink| lines[y][x] = if ink { '#' } else { '.' });
        let picture: Vec<String> = lines.into_iter().map(String::from_iter).collect();
        assert_eq!(
            picture,
            [
                "####....", ".##.....", ".##.....", ".##.....", ".##...#.", ".##..##.", "#######.",
                "........"
            ]
        );
        draw("\u{1F600}", 2, |x, y, _| assert!(x < 16 && y < 16));
    }
}
