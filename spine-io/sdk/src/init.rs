//! What an extension may do while it is being initialised, and at no other time (SPINE Figure 2).

use spine_abi::{ErrorCode, HandlerNumber};

use crate::buffer::count;
use crate::region::Region;
use crate::sys;

/// The non-ephemeral interfaces. Only the `#[init]` function is given one, and it cannot be copied or
/// kept, so no handler can call them.
#[derive(Debug)]
pub struct Init {
    _private: (),
}

impl Init {
    /// For generated code.
    #[doc(hidden)]
    pub fn generated() -> Self {
        Self { _private: () }
    }

    /// Sets the context that a handler of the manifest is invoked with (the paper's `AddHandler`).
    ///
    /// The runtime installs every declared handler with context 0 before `init` runs; this is only
    /// needed for another context.
    ///
    /// # Errors
    /// [`ErrorCode::BadHandler`]: the manifest declares no such handler.
    pub fn add_handler(&mut self, number: HandlerNumber, context: u32) -> Result<(), ErrorCode> {
        count(sys::add_handler(number.0, context)).map(|_| ())
    }

    /// The region with this index; `None` where the application shares none.
    pub fn region(&mut self, index: u32) -> Option<Region> {
        sys::region(index).map(Region)
    }
}
