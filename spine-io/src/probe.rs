//! Times what one budget takes here, by an extension whose handlers spend theirs in the worst ways.
//!
//! The extension comes from the host half, which has a linker; it runs on the adapter's own processor,
//! before there are packets, and is gone afterwards. It is never installed: no message finds it.

use spine_abi::{Endpoint, Message};
use spine_nic::clock::Clock;

use crate::extension::instance::{Fuel, Instance};
use crate::message::{Body, Outcome, Pending, Settle};
use crate::reference::Kept;

/// Entries for each handler, of which the median counts: what the machine takes away in between is not
/// the handler's.
const ENTRIES: usize = 7;

/// The probe's messages have no consequences.
struct Forget;

impl Settle for Forget {
    fn forward(&mut self, _: Pending, _: u16) {}
    fn settle(&mut self, _: &mut Kept, _: Pending, _: Outcome) {}
}

/// Gives each handler of the extension one message after the other and says, in the order of its
/// handlers, how many nanoseconds it took until it had returned or was stopped: the medians.
pub(crate) fn time(instance: &mut Instance, clock: &dyn Clock) -> Vec<u64> {
    let handlers: Vec<_> = instance.handlers().collect();
    let fuel = Fuel { message: instance.budget().message, entry: u64::MAX };
    let (mut burst, mut passed) = (Vec::with_capacity(1), Vec::new());
    let mut medians = Vec::with_capacity(handlers.len());
    for (handler, number) in (0..).zip(handlers) {
        let mut times = [0; ENTRIES];
        for time in &mut times {
            let message = Box::new(Message::small(number, Endpoint::Runtime, &[]));
            let (source, body) = (Endpoint::Runtime, Body::Small(message));
            burst.push(Pending { handler, hops: 0, touched: false, source, sender: 0, body });
            let start = clock.now();
            instance.enter(&mut burst, &mut passed, fuel, &mut Forget);
            *time = clock.now().since(start);
            burst.clear();
            passed.clear();
        }
        times.sort_unstable();
        medians.push(times[ENTRIES / 2]);
    }
    medians
}
