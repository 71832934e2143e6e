//! Turns in a model's time: from where to where they go, and what is done beside the card's events.

use spine_abi::Nanos;
use spine_abi::event::{Cost, KINDS};
use spine_nic::Span;

use super::{Adapter, Step};
use crate::dispatcher::Event;

/// Nanoseconds for which it is not worth sleeping: what a timer is late by, about.
const SPIN: u64 = 100_000;

impl Adapter {
    /// Begins a turn at `wall`. Frames are the host's, and so is the work of moving them: the card's own
    /// buffers are its backend's.
    pub(super) fn begin_turn(&mut self, wall: Nanos) {
        self.out.keep_house();
        let idle = self.is_idle();
        let Some(engines) = self.out.nic.engines() else {
            self.until = wall;
            return;
        };
        let Span { from, until, drains } = engines.begin(wall, self.now, idle);
        self.now = from;
        self.until = until;
        self.drains = drains;
        self.arrived = engines.received(from);
    }

    /// Ends a turn; says whether there is something to do so soon that it is not worth sleeping.
    pub(super) fn end_turn(&mut self) -> bool {
        let (now, idle) = (self.now, self.is_idle());
        self.due = self.out.nic.engines().and_then(|engines| engines.end(now, idle));
        self.due.is_some_and(|nanos| nanos < SPIN)
    }

    /// What runs when no event is ready: a poll, or nothing where the turn is over then.
    pub(super) fn wait(&self) -> Option<Event> {
        if self.drains && self.is_idle() { None } else { self.idle }
    }

    /// Whether nothing happens before something comes from elsewhere.
    fn is_idle(&self) -> bool {
        self.arrived == 0 && self.again.is_empty() && self.events.is_empty()
    }

    /// In a model's time: lets an event's time pass, has the backend do its part (`bytes` is the length of
    /// the packet being sent), and posts what follows for the same message.
    pub(super) fn pass(&mut self, event: &Event, bytes: usize) {
        let Step { cost, chained, .. } = self.steps[usize::from(event.kind) % KINDS];
        self.now.0 += match cost {
            Cost::Measured => 0,
            Cost::Fixed(nanos) => u64::from(nanos),
            Cost::Fuel => std::mem::take(&mut self.used) * self.plan.picoseconds_per_fuel / 1000,
        };
        let now = self.now;
        let mut done = None;
        if let Some(engines) = self.out.nic.engines() {
            let step = engines.step(usize::from(event.kind), bytes, now);
            (done, self.arrived) = (step.done, step.received);
        }
        if chained {
            let next = Event { kind: event.kind + 1, ready: done.unwrap_or(now), ..*event };
            if done.is_some() { self.events.wait(next) } else { self.events.post(next) }
        }
        self.events.ended(event, now);
    }
}
