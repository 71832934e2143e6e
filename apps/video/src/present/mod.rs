//! Presenting: from the frame buffer to the screen.

pub mod overlay;
pub mod shared;
pub mod window;

use spine_client::memory::Region;

use crate::format::Size;

/// What a window shows: pixels in a memory file that the display server can be given.
pub trait Picture {
    /// Its size.
    fn size(&self) -> Size;

    /// The memory file.
    fn region(&self) -> &Region;

    /// Where the pixels to be shown now are in it.
    fn offset(&self) -> usize;

    /// Copies those pixels: `0x..RRGGBB`, line after line; what was there before goes.
    fn copy(&self, into: &mut Vec<u32>);
}
