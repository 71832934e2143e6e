//! One element of a list: which bytes of the source go where in the window (SPINE 3.4, 7.2).
//!
//! A plain element is one piece. The pieces of a strided one follow each other at fixed distances in the
//! source and along a line or down the window: the paper's strided DMA, in software. Each piece is cut to
//! the source and to the rectangle by itself, and a piece that is outside is left out.

use spine_abi::dma::{Direction, Element};

use super::target::Target;

/// Copies an element's pieces to a slot of the target; `note` is told each line and how many bytes of it
/// came. Says how many bytes were moved.
#[inline]
pub(super) fn element(
    element: &Element,
    source: &[u8],
    target: &Target,
    slot: usize,
    mut note: impl FnMut(usize, usize),
) -> u64 {
    let strides = &element.strides;
    let mut from = element.source as usize;
    let mut line = usize::from(element.line);
    let mut start = target.at_pixel(element.x) + usize::from(strides.lane);
    let mut moved = 0;
    for _ in 0..strides.pieces {
        let piece = source.get(from..).unwrap_or(&[]);
        let piece = &piece[..usize::from(element.length).min(piece.len())];
        let length = target.write(slot, line, start, piece);
        note(line, length);
        moved += length as u64;
        from += usize::from(strides.source);
        match strides.direction {
            Direction::Along => start += usize::from(strides.target),
            Direction::Down => line += usize::from(strides.target),
        }
    }
    moved
}
