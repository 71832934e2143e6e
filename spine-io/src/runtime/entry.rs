//! From a packet to its handler: received, dispatched to an extension's queue, and the extension entered.

use spine_abi::event::Stage;
use spine_abi::notice::Offence;
use spine_abi::{Endpoint, Reason};

use super::{Adapter, linked};
use crate::dispatcher::Target;
use crate::endpoint::NOBODY;
use crate::message::{Body, Pending};

impl Adapter {
    pub(super) fn receive(&mut self) -> bool {
        if self.out.nic.receive(&mut self.received, self.burst_limit) == 0 {
            return false;
        }
        self.need(Stage::Dispatch, self.received.len(), Some(self.message));
        true
    }

    /// Finds the extension of each packet received, and posts a handle event for it.
    #[inline(never)]
    pub(super) fn dispatch(&mut self) {
        let mut received = std::mem::take(&mut self.received);
        let count = received.len().min(self.burst_limit);
        for frame in received.drain(..count) {
            let Some(frame) = self.out.take_remote(frame, self.now) else { continue };
            let stamped = frame.handler();
            let number = if stamped.is_some() { stamped } else { self.unstamped };
            let Some(target) = self.table.find(number) else {
                self.out.give_back(NOBODY, frame, Reason::NoHandler);
                continue;
            };
            let reference = self.generations.refer(&frame);
            let body = Body::Bulk(frame, reference);
            self.enqueue(target, Endpoint::Network, 0, body);
        }
        self.received = received;
        self.deliver_from_remotes();
    }

    /// Puts a message in its extension's queue. Part of `dispatch`: a call for every message would cost a
    /// third of it.
    #[inline(always)]
    pub(super) fn enqueue(&mut self, target: Target, source: Endpoint, sender: u16, body: Body) {
        let Some(Some(installed)) = self.extensions.get_mut(usize::from(target.extension)) else {
            return self.refuse(body, Reason::NoHandler);
        };
        let message =
            Pending { handler: target.handler, hops: 0, touched: false, source, sender, body };
        let frames = installed.frames();
        if !installed.waiting.admits(&message, frames, &self.frames) {
            return self.refuse(message.body, Reason::QueueFull);
        }
        self.frames.took(usize::from(matches!(message.body, Body::Bulk(..))));
        installed.waiting.push(message);
        if !installed.posted {
            installed.posted = !self.singly;
            self.post_handle(target.extension);
        }
    }

    pub(super) fn refuse(&mut self, body: Body, reason: Reason) {
        match body {
            Body::Bulk(frame, _) => self.out.drop(frame, reason),
            Body::Small(_) => self.out.counters.messages_dropped.add(reason, 1),
        }
    }

    /// The handle event: enters an extension as far as its share of this round allows, and sees to it that
    /// what is left is done later.
    #[inline(never)]
    pub(super) fn handle(&mut self, extension: u16) {
        let place = self.extensions.get_mut(usize::from(extension));
        let Some(installed) = place.and_then(Option::as_mut) else { return };
        installed.posted = false;
        if let Some(windows) = installed.instance.windows() {
            windows.turn(self.now);
        }
        let idle = installed.waiting.is_empty();
        if idle && !installed.instance.is_repairing() {
            return;
        }
        let allowed = if idle { 0 } else { self.share_of(extension) };
        let struck_out = if allowed > 0 { self.enter(extension, allowed) } else { None };
        if let Some((offence, strikes)) = struck_out {
            self.retire(extension, offence, strikes);
        } else {
            self.serve_later(extension, allowed == 0);
        }
        if !self.trapped.is_empty() {
            self.blame();
        }
        let sends = if self.singly { self.out.queued() } else { 1 };
        self.need(Stage::Send, sends, Some(self.message));
    }

    /// What an extension may spend in this round: nanoseconds with a clock, else fuel.
    #[inline(always)]
    fn share_of(&mut self, extension: u16) -> u64 {
        let place = self.extensions.get_mut(usize::from(extension));
        let Some(installed) = place.and_then(Option::as_mut) else { return 0 };
        let fuel = installed.instance.budget().entry;
        let round = if self.meter.is_on() { self.meter.entry_nanos() } else { fuel };
        self.owners.begin(installed.owner, &mut installed.share, round, self.rounds)
    }

    /// Enters an extension with as much of its queue as a burst and its share allow. If that was one
    /// strike too many: what it did, and how many it has.
    #[inline(always)]
    fn enter(&mut self, extension: u16, allowed: u64) -> Option<(Offence, u32)> {
        let installed = self.extensions.get_mut(usize::from(extension))?.as_mut()?;
        let (fuel, most) = self.meter.fuel(&installed.price, installed.instance.budget(), allowed);
        let frames = installed.frames();
        installed.instance.kept().set_limit(self.frames.may_keep(frames));
        installed.waiting.take(&mut self.burst, self.burst_limit.min(most));
        let given = self.burst.len();
        let begun = self.meter.begin_entry(installed.price.is_suspected());
        let mut installed = linked::lend(&mut self.extensions, extension, self.now)?;
        let (used, ending) = installed.instance.enter(
            &mut self.burst,
            &mut self.passed,
            fuel,
            &mut self.out.settling(extension),
        );
        if installed.instance.is_linked() {
            self.take_back(extension);
            installed = self.extensions.get_mut(usize::from(extension))?.as_mut()?;
        }
        let messages = given - self.burst.len();
        installed.waiting.put_back(&mut self.burst, &mut self.passed);
        self.frames.change(frames, installed.frames());
        if installed.instance.has_sent() {
            self.out.collect(extension, &mut installed.instance);
            self.next_timer = self.next_timer.min(installed.instance.timers().next());
        }
        let took = self.meter.end_entry(begun);
        let (spent, ending) = installed.learn(used, ending, took, self.meter.entry_nanos());
        self.owners.end(installed.owner, &mut installed.share, spent, ending);
        installed.bill.add(used, messages, took.map_or(0, |took| took.clock), ending);
        self.used = used;
        self.out.counters.entries += 1;
        self.out.counters.fuel += used;
        self.out.counters.strikes += u64::from(ending.is_strike());
        let offence = ending.offence()?;
        let allowed = installed.instance.budget().strikes;
        let out = installed.strikes.note(ending, allowed, self.now);
        out.then(|| (offence, installed.strikes.count()))
    }

    /// Has an extension entered again in the next round if messages wait for it (where each has its own
    /// event, only if this one had no share left), or while its memory is being put right.
    #[inline(always)]
    fn serve_later(&mut self, extension: u16, unserved: bool) {
        let place = self.extensions.get_mut(usize::from(extension));
        let Some(installed) = place.and_then(Option::as_mut) else { return };
        let waits = !installed.waiting.is_empty() && (unserved || !self.singly);
        if waits || installed.instance.is_repairing() {
            installed.posted = true;
            self.again.push(extension);
        }
    }
}
