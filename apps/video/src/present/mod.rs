//! Presenting: from the frame buffer to the screen.

pub mod overlay;
pub mod shared;
pub mod window;
