//! Buffers: the rest of a packet, reached by reference (SPINE 3.4).
//!
//! A reference is a number. The runtime checks it at every use, so holding, storing or inventing one
//! gives an extension nothing that it was not given.

use spine_abi::{BufferRef, ErrorCode};

use crate::sys;

/// A reference to a data buffer. Needs the `buffer` domain to be used.
///
/// Valid while the handler runs it was given to, and beyond that if the handler's verdict is
/// [`Verdict::Keep`](crate::Verdict::Keep), until [`release`](Self::release).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffer(BufferRef);

impl Buffer {
    /// The buffer behind a reference, such as one kept in a static.
    pub const fn from_reference(reference: BufferRef) -> Self {
        Self(reference)
    }

    /// The reference, to keep.
    pub const fn reference(self) -> BufferRef {
        self.0
    }

    /// Copies bytes from `offset` on into `into`; answers how many there were, at most `into.len()`.
    ///
    /// # Errors
    /// [`ErrorCode::NoBuffer`], [`ErrorCode::StaleBuffer`]: not (or no longer) held;
    /// [`ErrorCode::OutOfRange`]: `offset` is beyond the data.
    pub fn read(self, offset: u32, into: &mut [u8]) -> Result<usize, ErrorCode> {
        count(sys::read(self.0, offset, into))
    }

    /// Copies `from` into the data from `offset` on; answers how many bytes were written.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn write(self, offset: u32, from: &[u8]) -> Result<usize, ErrorCode> {
        count(sys::write(self.0, offset, from))
    }

    /// Gives back a buffer that was kept.
    ///
    /// # Errors
    /// [`ErrorCode::NoBuffer`], [`ErrorCode::StaleBuffer`]: not (or no longer) held.
    pub fn release(self) -> Result<(), ErrorCode> {
        count(sys::release(self.0)).map(|_| ())
    }
}

/// A result of the runtime: zero and above count something, below is an error.
pub(crate) fn count(number: i32) -> Result<usize, ErrorCode> {
    usize::try_from(number)
        .map_err(|_| ErrorCode::from_number(number).unwrap_or(ErrorCode::OutOfRange))
}
