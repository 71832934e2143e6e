//! The test pattern: colour bars, a moving bar, and the frame's number, for people and for programs.
//!
//! It is drawn once; each frame only changes the number and the moving bar, so that drawing costs nothing
//! beside sending.

use crate::format::{Format, Size};
use crate::pixels::WireWriter;
use crate::stamp;
use crate::text;

/// Bars of 75 % as in ITU-R BT.471, and white and black.
const BARS: [u32; 8] =
    [0xbfbfbf, 0xbfbf00, 0x00bfbf, 0x00bf00, 0xbf00bf, 0xbf0000, 0x0000bf, 0x000000];
const WHITE: u32 = 0x00ff_ffff;
/// Pixels of the moving bar, and by how many it moves in a frame; even, so that groups stay whole.
const MOVING: usize = 8;
/// Digits of the number.
const DIGITS: usize = 8;

/// The pattern, as bytes on the wire.
#[derive(Debug)]
pub struct Pattern {
    size: Size,
    writer: WireWriter,
    /// What the moving bar passes over.
    background: Vec<u8>,
    picture: Vec<u8>,
    /// Where the moving bar is.
    bar: usize,
}

impl Pattern {
    /// The pattern in this size, which suits the writer's format.
    pub fn new(size: Size, writer: WireWriter) -> Self {
        let mut background = Vec::with_capacity(writer.format().picture_bytes(size));
        let lines: [Vec<u32>; 2] = [bars(size.width()), greys(size.width())];
        for y in 0..size.height() {
            // The lower eighth is grey from black to white: there a wrong range is seen.
            writer.write(&lines[usize::from(y * 8 >= size.height() * 7)], &mut background);
        }
        let picture = background.clone();
        Self { size, writer, background, picture, bar: 0 }
    }

    /// Draws frame `number`.
    pub fn draw(&mut self, number: u64) -> &[u8] {
        let steps = (self.size.width() / MOVING).max(1) as u64;
        self.restore(self.bar);
        self.bar = usize::try_from(number % steps).unwrap_or_default() * MOVING;
        let bar = [WHITE; MOVING];
        for y in 0..self.size.height() {
            self.put(self.bar, y, &bar);
        }
        self.draw_number(number);
        // Last: nothing may cover it. The low 16 bits are what is stamped.
        let stamped = stamp::pixels(u16::try_from(number & 0xffff).unwrap_or_default());
        for y in 0..self.size.height() {
            self.put(0, y, &stamped);
        }
        &self.picture
    }

    /// The number in large digits on black, in the middle, where there is room.
    fn draw_number(&mut self, number: u64) {
        let written = format!("{number:0DIGITS$}");
        let scale = (self.size.width() / (written.len() * text::CHARACTER * 3)).max(1);
        let (width, height) = (text::width(&written, scale), text::CHARACTER * scale);
        let left = self.size.width().saturating_sub(width) / 2 / 2 * 2;
        let top = self.size.height().saturating_sub(height) / 2;
        let mut lines = vec![vec![0_u32; width]; height];
        text::draw(&written, scale, |x, y, ink| {
            if ink && let Some(pixel) = lines.get_mut(y).and_then(|line| line.get_mut(x)) {
                *pixel = WHITE;
            }
        });
        for (y, line) in lines.iter().enumerate() {
            self.put(left, top + y, line);
        }
    }

    /// Writes a run of pixels; where it does not fit whole, nothing.
    fn put(&mut self, x: usize, y: usize, pixels: &[u32]) {
        let mut bytes = Vec::with_capacity(pixels.len() * 4);
        self.writer.write(pixels, &mut bytes);
        let run = self.run(x, y, bytes.len());
        if x + pixels.len() <= self.size.width()
            && let Some(place) = self.picture.get_mut(run)
        {
            place.copy_from_slice(&bytes);
        }
    }

    /// Takes the moving bar away.
    fn restore(&mut self, x: usize) {
        let bytes = self.format().line_bytes(MOVING);
        for y in 0..self.size.height() {
            let run = self.run(x, y, bytes);
            if let Some((to, from)) =
                self.picture.get_mut(run.clone()).zip(self.background.get(run))
            {
                to.copy_from_slice(from);
            }
        }
    }

    fn run(&self, x: usize, y: usize, bytes: usize) -> std::ops::Range<usize> {
        let start = self.format().line_bytes(self.size.width()) * y + self.format().line_bytes(x);
        start..start + bytes
    }

    fn format(&self) -> Format {
        self.writer.format()
    }
}

fn bars(width: usize) -> Vec<u32> {
    (0..width).map(|x| BARS[x * BARS.len() / width]).collect()
}

fn greys(width: usize) -> Vec<u32> {
    let level = |x: usize| u32::try_from(x * 255 / width.max(2).saturating_sub(1)).unwrap_or(255);
    (0..width).map(|x| level(x).min(255) * 0x0001_0101).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::colour::{Colorimetry, Range};

    /// BGRA as pixels.
    fn pixels(picture: &[u8]) -> Vec<u32> {
        let pixel = |bytes: &[u8]| u32::from_be_bytes([0, bytes[2], bytes[1], bytes[0]]);
        picture.chunks_exact(4).map(pixel).collect()
    }

    #[test]
    fn every_frame_carries_its_number_in_every_line_and_only_what_moves_changes() {
        let size: Size = "320x48".parse().unwrap();
        let writer = WireWriter::new(Format::Bgra, Colorimetry::Bt709, Range::Narrow);
        let mut pattern = Pattern::new(size, writer.clone());
        for number in [0, 1, 65_535, 65_536, 65_537] {
            let picture = pixels(pattern.draw(number));
            let verdict = stamp::judge(picture.chunks_exact(size.width()));
            assert_eq!(verdict, stamp::Verdict::Whole(u16::try_from(number & 0xffff).unwrap()));
        }
        let again = Pattern::new(size, writer).draw(65_537).to_vec();
        assert_eq!(pattern.draw(65_537), again, "nothing of earlier frames is left");
    }

    #[test]
    fn any_size_can_be_drawn() {
        for size in ["2x1", "64x1", "66x8", "8x300"] {
            for format in Format::ALL {
                let size: Size = size.parse().unwrap();
                let writer = WireWriter::new(format, Colorimetry::Bt601, Range::Full);
                let mut pattern = Pattern::new(size, writer);
                (0..20).for_each(|number| {
                    assert_eq!(pattern.draw(number).len(), format.picture_bytes(size));
                });
            }
        }
    }
}
