//! Timers that are due: each becomes a message to its extension, like any other.

use spine_abi::{Endpoint, Message, Nanos};

use super::Adapter;
use crate::dispatcher::Target;
use crate::message::Body;

impl Adapter {
    /// Sends what is due. To be called only if something may be.
    #[inline(never)]
    pub(super) fn fire(&mut self) {
        self.next_timer = Nanos(u64::MAX);
        for place in 0..self.extensions.len() {
            let extension = u16::try_from(place).unwrap_or(u16::MAX);
            while let Some(Some(installed)) = self.extensions.get_mut(place) {
                let timers = installed.instance.timers();
                let Some(timer) = timers.take_due(self.now) else {
                    self.next_timer = self.next_timer.min(timers.next());
                    break;
                };
                // It names a handler of its own: that was checked when it was armed.
                let Some(handler) = installed.instance.position(timer.handler) else { continue };
                let target = Target { extension, handler };
                let token = timer.token.to_le_bytes();
                let message = Message::small(timer.handler, Endpoint::Runtime, &token);
                self.message = self.number(None);
                self.enqueue(target, Endpoint::Runtime, 0, Body::Small(Box::new(message)));
            }
        }
    }
}
