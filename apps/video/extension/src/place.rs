//! From the segments of a packet to those that are moved: what is in the picture, converted where it must be.

use spine_sdk::Region;

use crate::convert::{self, BLOCK_BYTES};
use crate::packet::{Kept, Segment, Segments};
use crate::protocol::Format;
use crate::stream::Shape;

/// What was found of a packet's segments, which are now those that are moved.
#[derive(Debug, Clone, Copy, Default)]
pub struct Placed {
    /// Bytes of the packet that are in the picture.
    pub bytes: u32,
    /// Whether a segment was outside of the picture.
    pub outside: bool,
}

/// Bytes of a converted pixel.
const PIXEL: usize = 4;

/// Pixels of a segment, if all of them are in the picture.
#[inline(always)]
fn pixels_inside(segment: &Segment, shape: &Shape) -> Option<usize> {
    let (bytes, group) = shape.format.group();
    let pixels = usize::from(segment.length / bytes) * usize::from(group);
    let end = usize::from(segment.x) + pixels;
    (segment.line < shape.height && end <= usize::from(shape.width)).then_some(pixels)
}

/// Segments that are moved as they are: those outside of the picture go.
#[inline(always)]
pub fn as_is(segments: &mut Segments, shape: &Shape) -> Placed {
    let mut placed = Placed::default();
    segments.change(|segment| {
        if pixels_inside(segment, shape).is_none() {
            placed.outside = true;
            return Kept::No;
        }
        placed.bytes += u32::from(segment.length);
        Kept::As(*segment)
    });
    placed
}

/// Segments whose pixels are converted to `scratch`, where they then are.
#[inline(always)]
pub fn converted(segments: &mut Segments, packet: &[u8], shape: &Shape, scratch: Region) -> Placed {
    let mut placed = Placed::default();
    let mut at = 0;
    segments.change(|segment| {
        let start = usize::from(segment.at);
        let Some(bytes) = packet.get(start..start + usize::from(segment.length)) else {
            return Kept::End;
        };
        let Some(pixels) = pixels_inside(segment, shape) else {
            placed.outside = true;
            return Kept::No;
        };
        // Blocks are written whole, so the next segment starts behind the last of them.
        let next = at + (PIXEL * pixels).next_multiple_of(BLOCK_BYTES);
        let (Ok(offset), Ok(length)) = (u16::try_from(at), u16::try_from(PIXEL * pixels)) else {
            return Kept::End;
        };
        if next > scratch.length() {
            return Kept::End;
        }
        match shape.format {
            Format::Bgra => return Kept::End,
            Format::Rgb => convert::rgb(bytes, scratch, at),
            Format::Uyvy => convert::uyvy(bytes, scratch, at, shape.colour),
            Format::Uyvp => convert::uyvp(bytes, scratch, at, shape.colour),
        }
        placed.bytes += u32::from(segment.length);
        at = next;
        Kept::As(Segment { at: offset, length, ..*segment })
    });
    placed
}
