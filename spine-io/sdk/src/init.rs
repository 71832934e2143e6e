//! What an extension may do while it is being initialised, and at no other time (SPINE Figure 2).

use spine_abi::{ErrorCode, HandlerNumber};

use crate::buffer::count;
use crate::region::Region;
use crate::sys;

/// The non-ephemeral interfaces. Only the `#[init]` function is given one, and it cannot be copied or
/// kept, so no handler can call them.
///
/// The paper marks procedures `EPHEMERAL`: they may be terminated at any instruction, may call nothing that
/// is not ephemeral itself, and only they can be handlers. Rust has no such mark, so it is turned round:
/// what is not ephemeral needs an `Init`, and a handler cannot have one. These are Figure 2's procedures,
/// each compiled, or refused by the compiler, when the documentation's tests run.
///
/// `GoodHandler` is a handler, and `Init` installs it:
///
/// ```
/// use spine_sdk::{Context, HandlerNumber, Init, Message, Verdict, handler, init};
///
/// #[handler(6)]
/// fn good_handler(_context: Context, _message: &mut Message<'_>) -> Verdict {
///     Verdict::Done // process the message and return
/// }
///
/// #[init]
/// fn init(setup: &mut Init) {
///     let _ = setup.add_handler(HandlerNumber(6), 0);
/// }
///
/// spine_sdk::extension! { name: "good", domains: [], handlers: [good_handler], init: init }
/// # fn main() {}
/// ```
///
/// `InfiniteHandler` is one as well, for the compiler does not know how long it runs. The watchdog stops
/// it (`tests/extensions/infinite_loop`):
///
/// ```
/// # use spine_sdk::{Context, Message, Verdict, handler};
/// #[handler(7)]
/// fn infinite_handler(_context: Context, _message: &mut Message<'_>) -> Verdict {
///     loop { /* an infinite loop */ }
/// }
/// # spine_sdk::extension! { name: "infinite", domains: [], handlers: [infinite_handler] }
/// # fn main() {}
/// ```
///
/// `NonEphemeral` calls what is not ephemeral, so it needs an `Init`. It compiles, and `init` may call it:
///
/// ```
/// # use spine_sdk::{Context, HandlerNumber, Init, Message, Verdict, handler, init};
/// fn non_ephemeral(setup: &mut Init) {
///     let _ = setup.add_handler(HandlerNumber(5), 0);
/// }
/// # #[handler(5)]
/// # fn handler(_context: Context, _message: &mut Message<'_>) -> Verdict { Verdict::Done }
/// # #[init]
/// # fn init(setup: &mut Init) { non_ephemeral(setup); }
/// # spine_sdk::extension! { name: "procedure", domains: [], handlers: [handler], init: init }
/// # fn main() {}
/// ```
///
/// It is no handler itself: its type is another one.
///
/// ```compile_fail,E0308
/// # use spine_sdk::{Context, HandlerNumber, Init, Message, Verdict, handler};
/// #[handler(5)]
/// fn non_ephemeral(setup: &mut Init, _message: &mut Message<'_>) -> Verdict {
///     let _ = setup.add_handler(HandlerNumber(5), 0);
///     Verdict::Done
/// }
/// # fn main() {}
/// ```
///
/// `IllegalHandler` calls it, and does not compile: it has no `Init` to give it,
///
/// ```compile_fail,E0061
/// # use spine_sdk::{Context, HandlerNumber, Init, Message, Verdict, handler};
/// # fn non_ephemeral(setup: &mut Init) {
/// #     let _ = setup.add_handler(HandlerNumber(5), 0);
/// # }
/// #[handler(5)]
/// fn illegal_handler(_context: Context, _message: &mut Message<'_>) -> Verdict {
///     non_ephemeral();
///     Verdict::Done
/// }
/// # fn main() {}
/// ```
///
/// cannot make one,
///
/// ```compile_fail,E0451
/// # use spine_sdk::{Context, Init, Message, Verdict, handler};
/// #[handler(5)]
/// fn illegal_handler(_context: Context, _message: &mut Message<'_>) -> Verdict {
///     let mut setup = Init { _private: () };
///     let _ = setup.region(0);
///     Verdict::Done
/// }
/// # fn main() {}
/// ```
///
/// has none made for it by what the runtime's entry uses,
///
/// ```compile_fail,E0133
/// # #![forbid(unsafe_code)]
/// # use spine_sdk::{Context, Init, Message, Verdict, handler};
/// #[handler(5)]
/// fn illegal_handler(_context: Context, _message: &mut Message<'_>) -> Verdict {
///     let _ = Init::from_runtime().region(0);
///     Verdict::Done
/// }
/// # fn main() {}
/// ```
///
/// cannot call `init` again, which would be given one,
///
/// ```compile_fail,E0061
/// # use spine_sdk::{Context, Init, Message, Verdict, handler, init};
/// #[handler(5)]
/// fn illegal_handler(_context: Context, _message: &mut Message<'_>) -> Verdict {
///     extension::initialise();
///     Verdict::Done
/// }
///
/// #[init]
/// fn init(setup: &mut Init) {}
///
/// spine_sdk::extension! { name: "again", domains: [], handlers: [illegal_handler], init: init }
/// # fn main() {}
/// ```
///
/// and cannot have been left one: `init` has it lent for the time of the call only.
///
/// ```compile_fail,E0521
/// # use spine_sdk::Init;
/// use std::sync::Mutex;
/// static LEFT: Mutex<Option<&'static mut Init>> = Mutex::new(None);
///
/// fn init(setup: &mut Init) {
///     *LEFT.lock().unwrap() = Some(setup);
/// }
/// # fn main() {}
/// ```
///
/// Nothing of this is for keeping out an author who means harm, who need not use this crate: the linker
/// checks the same on the finished module (`tests/linker/figure_2_*.wat`).
#[derive(Debug)]
pub struct Init {
    _private: (),
}

impl Init {
    pub(crate) const fn new() -> Self {
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
