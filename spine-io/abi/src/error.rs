//! Numbered errors that cross the boundary between extension and runtime.

use core::fmt;

/// What a call into the runtime answers when it does not do what was asked.
///
/// On the wire it is negative: zero and above are results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum ErrorCode {
    /// The bytes are not a message.
    BadMessage = -1,
    /// The bits are not a verdict.
    BadVerdict = -2,
    /// The reference names no buffer that the caller holds.
    NoBuffer = -3,
    /// The reference named one once; it has been given back since.
    StaleBuffer = -4,
    /// An offset or length leaves the buffer, the memory or the region.
    OutOfRange = -5,
    /// The extension was not linked against the domain this needs.
    NotGranted = -6,
    /// A queue or pool is full; later may be better.
    Full = -7,
    /// No such handler, or its number is taken.
    BadHandler = -8,
    /// No such endpoint.
    NoEndpoint = -9,
    /// Only possible from `init`.
    NotNow = -10,
    /// The bytes are not an image or a manifest of this version.
    BadImage = -11,
    /// No such timer: it was due already, or cancelled, or never armed.
    NoTimer = -12,
}

impl ErrorCode {
    /// The number that crosses the boundary.
    #[inline]
    pub const fn to_number(self) -> i32 {
        self as i32
    }

    /// The error behind a negative result; `None` for a number that means nothing.
    pub const fn from_number(number: i32) -> Option<Self> {
        Some(match number {
            -1 => Self::BadMessage,
            -2 => Self::BadVerdict,
            -3 => Self::NoBuffer,
            -4 => Self::StaleBuffer,
            -5 => Self::OutOfRange,
            -6 => Self::NotGranted,
            -7 => Self::Full,
            -8 => Self::BadHandler,
            -9 => Self::NoEndpoint,
            -10 => Self::NotNow,
            -11 => Self::BadImage,
            -12 => Self::NoTimer,
            _ => return None,
        })
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BadMessage => "the bytes are not a message",
            Self::BadVerdict => "the bits are not a verdict",
            Self::NoBuffer => "the reference names no buffer of yours",
            Self::StaleBuffer => "the reference is stale",
            Self::OutOfRange => "an offset or length is out of range",
            Self::NotGranted => "the domain was not granted",
            Self::Full => "a queue is full",
            Self::BadHandler => "no such handler, or its number is taken",
            Self::NoEndpoint => "no such endpoint",
            Self::NotNow => "only possible from init",
            Self::BadImage => "not an image or manifest of this version",
            Self::NoTimer => "no such timer any more",
        })
    }
}

impl core::error::Error for ErrorCode {}
