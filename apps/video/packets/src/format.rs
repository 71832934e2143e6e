//! Pixel formats on the wire (RFC 4175 section 4.3), and the size of a picture.
//!
//! These four are what desktop senders (BGRA, RGB, UYVY) and broadcast senders (UYVP: 4:2:2 with ten bits)
//! send. A picture of each consists of whole *pixel groups*: the fewest pixels that fill whole bytes.
//!
//! Left out: 4:2:0 and 4:4:4, 12 and 16 bits, interlaced pictures.

use std::fmt;
use std::str::FromStr;

/// How pixels are put into bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Blue, green, red, alpha: one byte each. What X servers show, unchanged.
    Bgra,
    /// Red, green, blue: one byte each.
    Rgb,
    /// YCbCr 4:2:2, one byte each: Cb, Y, Cr, Y.
    Uyvy,
    /// YCbCr 4:2:2, ten bits each, the most significant first: Cb, Y, Cr, Y.
    Uyvp,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bgra, Self::Rgb, Self::Uyvy, Self::Uyvp];

    /// The name GStreamer has for it, too.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bgra => "BGRA",
            Self::Rgb => "RGB",
            Self::Uyvy => "UYVY",
            Self::Uyvp => "UYVP",
        }
    }

    /// Bytes of a pixel group.
    pub const fn group_bytes(self) -> usize {
        match self {
            Self::Bgra | Self::Uyvy => 4,
            Self::Rgb => 3,
            Self::Uyvp => 5,
        }
    }

    /// Pixels of a pixel group.
    pub const fn group_pixels(self) -> usize {
        match self {
            Self::Bgra | Self::Rgb => 1,
            Self::Uyvy | Self::Uyvp => 2,
        }
    }

    /// Bytes of a line of so many pixels, which are whole groups ([`Size::check`]).
    pub const fn line_bytes(self, width: usize) -> usize {
        width / self.group_pixels() * self.group_bytes()
    }

    /// Bytes of a picture.
    pub fn picture_bytes(self, size: Size) -> usize {
        self.line_bytes(size.width()) * size.height()
    }

    /// `sampling` of a session description (RFC 4175 section 6.1).
    pub const fn sampling(self) -> &'static str {
        match self {
            Self::Bgra => "BGRA",
            Self::Rgb => "RGB",
            Self::Uyvy | Self::Uyvp => "YCbCr-4:2:2",
        }
    }

    /// `depth` of a session description: bits of a sample.
    pub const fn depth(self) -> u8 {
        match self {
            Self::Uyvp => 10,
            _ => 8,
        }
    }

    /// Whether it holds luma and colour difference, not red, green and blue.
    pub const fn is_ycbcr(self) -> bool {
        matches!(self, Self::Uyvy | Self::Uyvp)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|format| format.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| format!("{text:?} is no format: take BGRA, RGB, UYVY or UYVP"))
    }
}

/// Width and height of a picture in pixels: at least one, at most [`Size::LONGEST`], and
/// [`Size::PIXELS`] in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    width: u16,
    height: u16,
}

impl Size {
    /// Line numbers and offsets have 15 bits (RFC 4175 section 4.2).
    pub const LONGEST: u16 = 32767;
    /// Three pictures of four bytes a pixel fit into half a region, which is what frame buffers may have:
    /// more than 4K.
    pub const PIXELS: usize = 10 << 20;

    /// A size, if it is one.
    pub fn new(width: u16, height: u16) -> Option<Self> {
        let size = Self { width, height };
        let sides = 1..=Self::LONGEST;
        let pixels = usize::from(width) * usize::from(height);
        (sides.contains(&width) && sides.contains(&height) && pixels <= Self::PIXELS)
            .then_some(size)
    }

    /// Pixels of a line.
    pub fn width(self) -> usize {
        usize::from(self.width)
    }

    /// Lines.
    pub fn height(self) -> usize {
        usize::from(self.height)
    }

    /// Pixels of the picture.
    pub fn pixels(self) -> usize {
        self.width() * self.height()
    }

    /// Whether a format can have it.
    ///
    /// # Errors
    /// One sentence: a line is not whole pixel groups.
    pub fn check(self, format: Format) -> Result<(), String> {
        if self.width().is_multiple_of(format.group_pixels()) {
            return Ok(());
        }
        Err(format!("{format} has two pixels in a group, so the width {} must be even", self.width))
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides = text.split_once(['x', 'X']);
        let sides = sides.and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
        sides.and_then(|(width, height)| Self::new(width, height)).ok_or_else(|| {
            format!(
                "{text:?} is no size: write WIDTHxHEIGHT, for example 1280x720, at most {} pixels a \
                 side and {} in all",
                Self::LONGEST,
                Self::PIXELS
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_the_bytes_the_standard_says() {
        for (format, bytes) in
            [(Format::Bgra, 5120), (Format::Rgb, 3840), (Format::Uyvy, 2560), (Format::Uyvp, 3200)]
        {
            assert_eq!(format.line_bytes(1280), bytes, "{format}");
            assert_eq!(format.name().to_lowercase().parse(), Ok(format));
        }
        assert!("I420".parse::<Format>().is_err());
    }

    #[test]
    fn sizes_are_checked() {
        let size: Size = "1280x720".parse().unwrap();
        assert_eq!((size.width(), size.height(), size.to_string()), (1280, 720, "1280x720".into()));
        for wrong in ["", "1280", "0x720", "1280x0", "40000x2", "32767x32767", "-1x5", "1x1x1"] {
            assert!(wrong.parse::<Size>().is_err(), "{wrong}");
        }
        let odd: Size = "3x1".parse().unwrap();
        assert!(odd.check(Format::Uyvy).is_err());
        assert!(odd.check(Format::Rgb).is_ok());
    }
}
