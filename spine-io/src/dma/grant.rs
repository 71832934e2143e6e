//! Grants: which memory an extension's window fills, as the application says (SPINE 5.1).
//!
//! A grant is checked and mapped in the caller's thread and handed over ready; the adapter puts it in its
//! place between two messages and acknowledges. What was there before comes back with the acknowledgement,
//! to be unmapped by the caller, too. An acknowledgement is a promise: after it the adapter writes to the
//! memory that was there before no more.
//!
//! Moving a window on a screen is revoke, acknowledge, (erase), grant: nothing is written outside of the
//! lease at any time, and lines that come meanwhile are counted and lost.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use nix::sys::eventfd::EventFd;
use nix::sys::stat::fstat;
use spine_abi::frame_buffer::{Geometry, Rectangle};
use spine_abi::limits::WINDOWS;

use super::sys::Mapping;
use super::window::Window;
use crate::region::{CheckedRegion, RegionSource};

/// A frame buffer: a sealed memory file of [`Geometry::bytes`] bytes, and what to ring when a frame is
/// published in it.
#[derive(Debug)]
pub struct FrameBuffer {
    /// The file.
    pub file: OwnedFd,
    /// Its form.
    pub geometry: Geometry,
    /// Becomes readable when a frame was published.
    pub doorbell: Option<Arc<EventFd>>,
}

/// When a grant begins that replaces another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the next frame; at once if none is being filled.
    #[default]
    NextFrame,
    /// At once: what has come of a frame is thrown away. For a stream that may have stopped.
    AtOnce,
}

/// What an extension's window is to fill.
#[derive(Debug)]
pub struct Grant {
    /// The window, as the extension's elements name it: 0 to 15.
    pub window: u8,
    /// The memory.
    pub buffer: FrameBuffer,
    /// The part of it that may be written: all of it, or a lease on a screen.
    pub rectangle: Rectangle,
    /// When it begins.
    pub start: Start,
}

/// Why a window was not granted or revoked.
#[derive(Debug, thiserror::Error)]
pub enum GrantError {
    /// No window has that number.
    #[error("there is no window {window}: an extension has windows 0 to {last}", last = WINDOWS - 1)]
    NoWindow {
        /// The number.
        window: u8,
    },
    /// A lease that is not inside, or only a part of a buffer of several slots.
    #[error("window {window} cannot have {rectangle:?} of a frame buffer of {width}x{height}")]
    Rectangle {
        /// The window.
        window: u8,
        /// What was asked for.
        rectangle: Rectangle,
        /// Pixels of the buffer's lines.
        width: u32,
        /// Its lines.
        height: u32,
    },
    /// Another window has some of these pixels.
    #[error("window {window} would overlap another window in the same frame buffer")]
    Taken {
        /// The window.
        window: u8,
    },
    /// The memory could change under us, or is too small.
    #[error("the frame buffer of window {window} cannot be used: {why}")]
    Memory {
        /// The window.
        window: u8,
        /// What is wrong with it.
        why: String,
    },
    /// The extension may not use frame buffers.
    #[error("extension {extension} was not linked against the domain framebuffer")]
    NotGranted {
        /// The extension.
        extension: u16,
    },
    /// No such extension.
    #[error("there is no extension {extension} on adapter {adapter}")]
    NoExtension {
        /// The extension.
        extension: u16,
        /// The adapter.
        adapter: String,
    },
    /// Another grant for the same window came before this one began, or its extension is gone.
    #[error("the grant was replaced by another, or its extension was unloaded, before it began")]
    Replaced,
    /// It has not begun in time.
    #[error("the adapter has not acknowledged in time; no frame ended meanwhile, perhaps")]
    Late,
    /// The adapter is gone.
    #[error("adapter {0} has stopped")]
    Stopped(String),
}

/// What the adapter answers: the window that was there before, to be unmapped by whoever asked.
pub(crate) type Answer = Result<Option<Box<Window>>, GrantError>;

/// Waits for the adapter's acknowledgement.
#[derive(Debug)]
pub struct Acknowledgement(Receiver<Answer>);

impl Acknowledgement {
    /// One that is still to come, and how it is given.
    pub(crate) fn pending() -> (SyncSender<Answer>, Self) {
        let (reply, answer) = sync_channel(1);
        (reply, Self(answer))
    }

    /// Waits for it; a moment after which nothing is written to what was there before.
    ///
    /// # Errors
    /// [`GrantError::Late`]: not yet, it may be asked again; or why the adapter did not do it.
    pub fn wait(&self, timeout: Duration) -> Result<(), GrantError> {
        match self.0.recv_timeout(timeout) {
            // The window that was there before is unmapped here.
            Ok(answer) => answer.map(drop),
            Err(RecvTimeoutError::Timeout) => Err(GrantError::Late),
            Err(RecvTimeoutError::Disconnected) => Err(GrantError::Replaced),
        }
    }
}

/// A grant that was checked and mapped.
pub(crate) struct Prepared {
    pub(super) index: u8,
    pub(super) window: Box<Window>,
    pub(super) identity: (u64, u64),
    pub(super) rectangle: Rectangle,
    pub(super) start: Start,
}

impl Prepared {
    /// Checks and maps what a grant names.
    ///
    /// # Errors
    /// [`GrantError`]; nothing is mapped then.
    pub(crate) fn new(grant: Grant) -> Result<Self, GrantError> {
        let Grant { window: index, buffer, rectangle, start } = grant;
        let geometry = buffer.geometry;
        if usize::from(index) >= WINDOWS {
            return Err(GrantError::NoWindow { window: index });
        }
        // Several slots are published as a whole; leases are for a screen.
        let whole = rectangle == geometry.whole();
        if !geometry.contains(rectangle) || geometry.slots() > 1 && !whole {
            let (width, height) = (geometry.width(), geometry.height());
            return Err(GrantError::Rectangle { window: index, rectangle, width, height });
        }
        let memory = |why: String| GrantError::Memory { window: index, why };
        let source = RegionSource { file: buffer.file, bytes: geometry.bytes() };
        let checked = CheckedRegion::new(&source).map_err(memory)?;
        let file =
            fstat(&source.file).map_err(|error| memory(io::Error::from(error).to_string()))?;
        let mapping = Mapping::new(&checked).map_err(|error| memory(error.to_string()))?;
        let window = Window::new(mapping, geometry, rectangle, buffer.doorbell);
        let identity = (file.st_dev, file.st_ino);
        Ok(Self { index, window: Box::new(window), identity, rectangle, start })
    }
}
