//! Timers: being called again later. They need the `timer` domain.

use spine_abi::{Endpoint, ErrorCode, HandlerNumber, Kind};

use crate::buffer::count;
use crate::message::Message;
use crate::sys;

/// A timer that was armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timer(u32);

impl Timer {
    /// Has a message with this token sent to a handler of this extension when so many microseconds have
    /// passed: 100 at least, and later if the extension has to wait its turn. From `init`, they count from when
    /// the extension is installed. The handler reads the token by [`Message::timer`].
    ///
    /// # Errors
    /// [`ErrorCode::Full`]: 16 timers are armed; [`ErrorCode::BadHandler`]: it has no such handler.
    pub fn arm(microseconds: u32, handler: HandlerNumber, token: u64) -> Result<Self, ErrorCode> {
        let number = count(sys::arm(microseconds, handler.0, token))?;
        u32::try_from(number).map(Self).map_err(|_| ErrorCode::OutOfRange)
    }

    /// Ends it before it is due.
    ///
    /// # Errors
    /// [`ErrorCode::NoTimer`]: it was due already.
    pub fn cancel(self) -> Result<(), ErrorCode> {
        count(sys::cancel(self.0)).map(|_| ())
    }
}

impl Message<'_> {
    /// The token, if this is the message of a timer. Nobody else can send one: the runtime writes every
    /// message's source.
    pub fn timer(&self) -> Option<u64> {
        let from_runtime = self.source() == Endpoint::Runtime && self.kind() == Kind::Small;
        let token = self.arguments().first_chunk().filter(|_| from_runtime)?;
        Some(u64::from_le_bytes(*token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;
    use crate::testing::{Call, fresh};

    const TICK: HandlerNumber = HandlerNumber(4);

    #[test]
    fn what_was_armed_and_not_cancelled_is_seen_by_the_test() {
        fresh();
        let outcome = Call::small(&[]).run(|_, message| {
            assert_eq!(message.timer(), None, "an application's");
            let first = Timer::arm(250, TICK, 7).unwrap();
            Timer::arm(500, TICK, 8).unwrap();
            assert_eq!(first.cancel(), Ok(()));
            assert_eq!(first.cancel(), Err(ErrorCode::NoTimer));
            Verdict::Done
        });
        assert_eq!(outcome.timers, [(500, TICK, 8)]);
        let tick = Call::small(&8u64.to_le_bytes()).source(Endpoint::Runtime);
        tick.run(|_, message| {
            assert_eq!(message.timer(), Some(8));
            Verdict::Done
        });
    }
}
