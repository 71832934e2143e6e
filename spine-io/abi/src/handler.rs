//! Handler numbers: what a message carries to say which code runs on its arrival (SPINE 3.2).

use core::fmt;

/// The index of a handler, unique within its adapter.
///
/// Zero is nobody's: a message with it was stamped by no classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct HandlerNumber(pub u16);

impl HandlerNumber {
    /// The number of no handler.
    pub const NONE: Self = Self(0);

    /// Whether this names a handler at all.
    #[inline]
    pub const fn is_some(self) -> bool {
        self.0 != 0
    }
}

impl fmt::Display for HandlerNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}
