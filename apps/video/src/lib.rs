//! The host half of the video client (SPINE 5.1): it opens the window, says where it is, and sleeps.
pub mod colour;
pub mod format;
pub mod frames;
pub mod listen;
pub mod pixels;
pub mod present;
pub mod processor_time;
pub mod record;
pub mod sdp;
pub mod send;
pub mod stamp;
pub mod stream;
mod sys;
pub mod text;
