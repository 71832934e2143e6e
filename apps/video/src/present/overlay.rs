//! Text over a picture: the statistics on request, and why nothing comes.

use crate::format::Size;
use crate::text::{self, CHARACTER};

/// Pixels around the text.
const MARGIN: usize = 4;
const INK: u32 = 0x00ff_ffff;

/// Draws lines of text in the upper left corner, on darkened picture; what does not fit is cut.
pub fn draw(pixels: &mut [u32], size: Size, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    // Twice as large where there is room for it.
    let longest = lines.iter().map(|line| text::width(line, 1)).max().unwrap_or(0);
    let scale = if longest * 2 + 2 * MARGIN <= size.width() { 2 } else { 1 };
    let step = (CHARACTER + 2) * scale;
    darken(pixels, size, longest * scale + 2 * MARGIN, lines.len() * step + 2 * MARGIN);
    for (number, line) in lines.iter().enumerate() {
        let top = MARGIN + number * step;
        text::draw(line, scale, |x, y, ink| {
            let (x, y) = (MARGIN + x, top + y);
            if ink
                && x < size.width()
                && let Some(pixel) = pixels.get_mut(y * size.width() + x)
            {
                *pixel = INK;
            }
        });
    }
}

/// A quarter of the brightness, so that text can be read on any picture.
fn darken(pixels: &mut [u32], size: Size, width: usize, height: usize) {
    for line in pixels.chunks_exact_mut(size.width()).take(height) {
        for pixel in line.iter_mut().take(width) {
            *pixel = (*pixel >> 2) & 0x003f_3f3f;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_readable_on_white_and_nothing_around_it_changes() {
        let size: Size = "100x40".parse().unwrap();
        let mut pixels = vec![0x00ff_ffff; size.pixels()];
        draw(&mut pixels, size, &["L".to_owned(), "I".to_owned()]);
        let at = |x: usize, y: usize| pixels[y * 100 + x];
        assert_eq!(at(4, 4), INK, "the upper left dot of the L");
        assert_eq!(at(4 + 14, 4), 0x003f_3f3f, "beside it it is dark");
        assert_eq!(at(30, 4), 0x00ff_ffff);
        pixels.fill(0x00ff_ffff);
        draw(&mut pixels, size, &[]);
        assert!(pixels.iter().all(|pixel| *pixel == 0x00ff_ffff), "no text darkens nothing");
    }

    #[test]
    fn a_picture_smaller_than_the_text_cuts_it() {
        let size: Size = "8x8".parse().unwrap();
        let mut pixels = vec![0; size.pixels()];
        draw(&mut pixels, size, &vec!["MMMMMMMM".to_owned(); 9]);
        assert!(pixels.contains(&INK));
    }
}
