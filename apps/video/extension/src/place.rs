//! From line segments to the elements of a DMA list.

use spine_sdk::limits::DMA_ELEMENTS;
use spine_sdk::{Element, Region, Strides};

use crate::convert::{self, BLOCK_BYTES};
use crate::packet::Segment;
use crate::protocol::Format;
use crate::stream::Shape;

/// The elements of one packet's list.
#[derive(Debug)]
pub struct Placed {
    list: [Element; DMA_ELEMENTS],
    count: usize,
    /// Bytes of the packet that are in the picture.
    pub bytes: u32,
    /// Whether a segment was outside of the picture.
    pub outside: bool,
}

/// Bytes of a converted pixel.
const PIXEL: usize = 4;

impl Placed {
    const NOTHING: Self = Self {
        list: [Element { source: 0, window: 0, line: 0, x: 0, length: 0, strides: Strides::NONE };
            DMA_ELEMENTS],
        count: 0,
        bytes: 0,
        outside: false,
    };

    /// The elements.
    #[inline]
    pub fn elements(&self) -> &[Element] {
        self.list.get(..self.count).unwrap_or(&[])
    }

    #[inline]
    fn push(&mut self, segment: &Segment, window: u8, source: u32, length: u16) {
        if let Some(place) = self.list.get_mut(self.count) {
            let (line, x) = (segment.line, segment.x);
            *place = Element { source, window, line, x, length, strides: Strides::NONE };
            self.count += 1;
            self.bytes += u32::from(segment.length);
        }
    }
}

/// Pixels of a segment, if all of them are in the picture.
#[inline]
fn pixels_inside(segment: &Segment, shape: &Shape) -> Option<usize> {
    let (bytes, group) = shape.format.group();
    let pixels = usize::from(segment.length / bytes) * usize::from(group);
    let end = usize::from(segment.x) + pixels;
    (segment.line < shape.height && end <= usize::from(shape.width)).then_some(pixels)
}

/// Segments that are moved as they are.
#[inline]
pub fn as_is(segments: &[Segment], shape: &Shape, window: u8) -> Placed {
    let mut placed = Placed::NOTHING;
    for segment in segments {
        if pixels_inside(segment, shape).is_some() {
            placed.push(segment, window, u32::from(segment.at), segment.length);
        } else {
            placed.outside = true;
        }
    }
    placed
}

/// Segments whose pixels are converted to `scratch`, which has the address `address`.
#[inline]
pub fn converted(
    (segments, packet): (&[Segment], &[u8]),
    shape: &Shape,
    window: u8,
    (scratch, address): (Region, u32),
) -> Placed {
    let mut placed = Placed::NOTHING;
    let mut at = 0;
    for segment in segments {
        let start = usize::from(segment.at);
        let Some(bytes) = packet.get(start..start + usize::from(segment.length)) else { break };
        let Some(pixels) = pixels_inside(segment, shape) else {
            placed.outside = true;
            continue;
        };
        // Blocks are written whole, so the next segment starts behind the last of them.
        let next = at + (PIXEL * pixels).next_multiple_of(BLOCK_BYTES);
        let (Ok(offset), Ok(length)) = (u32::try_from(at), u16::try_from(PIXEL * pixels)) else {
            break;
        };
        if next > scratch.length() {
            break;
        }
        match shape.format {
            Format::Bgra => break,
            Format::Rgb => convert::rgb(bytes, scratch, at),
            Format::Uyvy => convert::uyvy(bytes, scratch, at, shape.colour),
            Format::Uyvp => convert::uyvp(bytes, scratch, at, shape.colour),
        }
        placed.push(segment, window, address + offset, length);
        at = next;
    }
    placed
}
