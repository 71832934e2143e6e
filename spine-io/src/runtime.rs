//! The one processing loop of an adapter: all work is an event (SPINE 3.2).
//!
//! A turn posts an event for every source that has something, then runs events by priority until
//! none is ready; an extension that has more to do than its share waits for the next turn. A burst goes through about six: receive, dispatch, handle, send, and on the peer
//! arrivals and complete. Nothing here blocks, allocates in steady state, or reads a clock.

use std::sync::mpsc::Receiver;

use spine_abi::limits::{BURST, EXTENSIONS};
use spine_abi::{Endpoint, HandlerNumber, Message, Reason};

use crate::buffer::Frame;
use crate::buffer::reference::Generations;
use crate::clock::Nanos;
use crate::dispatcher::share::Share;
use crate::dispatcher::{EventQueue, HandlerTable, Target, Work};
use crate::dma::{GrantError, Windows};
use crate::endpoint::Outlets;
use crate::endpoint::host::{Control, ExtensionId};
use crate::extension::outcome::Body;
use crate::extension::{LoadError, Loaded, Pending};
use crate::stats::{Counters, Statistics};
use crate::watchdog::Strikes;

/// Messages that wait for one extension at most; more are dropped and counted.
const WAITING: usize = 16 * BURST;

/// An extension as installed.
struct Installed {
    instance: Loaded,
    waiting: Vec<Pending>,
    share: Share,
    strikes: Strikes,
    /// Whether a handle event for it is posted.
    posted: bool,
}

/// One adapter: a network interface, its dispatcher and its extensions.
pub struct Adapter {
    out: Outlets,
    control: Receiver<Control>,
    /// The handler of packets that no classifier stamped.
    unstamped: HandlerNumber,
    events: EventQueue,
    table: HandlerTable,
    extensions: Vec<Option<Installed>>,
    generations: Generations,
    received: Vec<Frame>,
    burst: Vec<Pending>,
    burst_limit: usize,
    /// Messages that wait for one extension at most: no more than a quarter of our frames.
    waiting_limit: usize,
    send_posted: bool,
    /// Extensions that have more to do: entered again in the next turn, after the wire and the
    /// neighbours had theirs.
    again: Vec<u16>,
    now: Nanos,
}

impl Adapter {
    pub(crate) fn new(out: Outlets, control: Receiver<Control>, unstamped: HandlerNumber) -> Self {
        let plan = out.nic.plan();
        let mut adapter = Self {
            events: EventQueue::new(plan),
            burst_limit: plan.burst.clamp(1, BURST),
            waiting_limit: (out.pool.total() / 4).clamp(BURST, WAITING),
            out,
            control,
            unstamped,
            table: HandlerTable::default(),
            extensions: Vec::new(),
            generations: Generations::default(),
            received: Vec::with_capacity(BURST),
            burst: Vec::with_capacity(BURST),
            send_posted: false,
            again: Vec::new(),
            now: Nanos(0),
        };
        adapter.out.reclaim();
        adapter
    }

    /// One turn of the loop at time `now`; says whether any message moved.
    pub fn turn(&mut self, now: Nanos) -> bool {
        self.now = now;
        self.poll_sources();
        let mut worked = false;
        while let Some(work) = self.events.pop() {
            worked |= self.run(work);
        }
        worked
    }

    /// Posts an event for each source that may have something.
    fn poll_sources(&mut self) {
        self.events.post(Work::Control);
        self.events.post(Work::Complete);
        if self.out.has_arrivals() {
            self.events.post(Work::Arrivals);
        }
        if self.out.waiting() {
            self.post_send();
        }
        self.events.post(Work::Receive);
        for extension in std::mem::take(&mut self.again) {
            self.events.post(Work::Handle(extension));
        }
    }

    /// Runs one event; says whether it moved anything.
    fn run(&mut self, work: Work) -> bool {
        if let Some(stage) = work.stage() {
            self.out.counters.events[stage as usize] += 1;
        }
        match work {
            Work::Control => self.control(),
            Work::Complete => {
                self.out.reclaim();
                false
            }
            Work::Arrivals => self.arrivals(),
            Work::Receive => self.receive(),
            Work::Dispatch => {
                self.dispatch();
                true
            }
            Work::Handle(extension) => {
                self.handle(extension);
                true
            }
            Work::Send => {
                self.send_posted = false;
                self.out.send()
            }
        }
    }

    fn post_send(&mut self) {
        if !self.send_posted {
            self.send_posted = true;
            self.events.post(Work::Send);
        }
    }

    fn receive(&mut self) -> bool {
        if self.out.nic.receive(&mut self.received, self.burst_limit) == 0 {
            return false;
        }
        self.events.post(Work::Dispatch);
        true
    }

    /// Finds the extension of each packet received, and posts a handle event for it.
    fn dispatch(&mut self) {
        let mut received = std::mem::take(&mut self.received);
        for frame in received.drain(..) {
            let stamped = frame.handler();
            let number = if stamped.is_some() { stamped } else { self.unstamped };
            let Some(target) = self.table.find(number) else {
                self.out.drop(frame, Reason::NoHandler);
                continue;
            };
            let reference = self.generations.refer(&frame);
            let body = Body::Bulk(frame, reference);
            self.enqueue(target, Endpoint::Network, body);
        }
        self.received = received;
    }

    /// Puts a message in its extension's queue.
    #[inline]
    fn enqueue(&mut self, target: Target, source: Endpoint, body: Body) {
        let Some(Some(installed)) = self.extensions.get_mut(usize::from(target.extension)) else {
            return self.refuse(body, Reason::NoHandler);
        };
        if installed.waiting.len() >= self.waiting_limit {
            return self.refuse(body, Reason::QueueFull);
        }
        installed.waiting.push(Pending { handler: target.handler, hops: 0, source, body });
        if !installed.posted {
            installed.posted = true;
            self.events.post(Work::Handle(target.extension));
        }
    }

    fn refuse(&mut self, body: Body, reason: Reason) {
        match body {
            Body::Bulk(frame, _) => self.out.drop(frame, reason),
            Body::Small(_) => self.out.counters.messages_dropped.add(reason, 1),
        }
    }

    /// Enters an extension with as much of its queue as a burst and its share allow.
    fn handle(&mut self, extension: u16) {
        let Some(Some(installed)) = self.extensions.get_mut(usize::from(extension)) else { return };
        installed.posted = false;
        if let Some(windows) = installed.instance.windows() {
            windows.turn(self.now);
        }
        let budget = installed.instance.budget();
        let allowed = installed.share.begin(budget.entry);
        let mut struck_out = false;
        if allowed > 0 && !installed.waiting.is_empty() {
            if installed.waiting.len() <= self.burst_limit {
                std::mem::swap(&mut self.burst, &mut installed.waiting);
            } else {
                self.burst.extend(installed.waiting.drain(..self.burst_limit));
            }
            let out = &mut self.out;
            let (used, ending) = installed.instance.enter(
                &mut self.burst,
                &mut installed.waiting,
                allowed,
                |kept, pending, outcome| out.settle(kept, pending, outcome),
            );
            if !self.burst.is_empty() {
                // What the share did not reach is older than what waits.
                self.burst.append(&mut installed.waiting);
                std::mem::swap(&mut self.burst, &mut installed.waiting);
            }
            installed.share.end(used);
            self.out.counters.entries += 1;
            self.out.counters.fuel += used;
            self.out.counters.strikes += u64::from(ending.is_strike());
            struck_out = installed.strikes.note(ending, budget.strikes, self.now);
            if installed.instance.has_sent() {
                self.out.collect(&mut installed.instance);
            }
        }
        if struck_out {
            tracing::warn!(
                extension = installed.instance.name(),
                strikes = installed.strikes.count(),
                "unloaded an extension that was stopped too often"
            );
            self.out.counters.unloaded += 1;
            self.unload(extension);
        } else if !installed.waiting.is_empty() || installed.instance.is_repairing() {
            installed.posted = true;
            self.again.push(extension);
        }
        self.post_send();
    }

    fn arrivals(&mut self) -> bool {
        let mut messages = Vec::new();
        let moved = self.out.arrivals(|from, message| messages.push((from, message)));
        for (from, message) in messages {
            self.deliver(message, Endpoint::Peer(from));
        }
        moved
    }

    /// Gives a small message to the handler it names.
    fn deliver(&mut self, message: Message, source: Endpoint) {
        match self.table.find(message.header().handler) {
            Some(target) => {
                let mut message = Box::new(message);
                message.set_source(source);
                self.enqueue(target, source, Body::Small(message));
            }
            None => self.out.counters.messages_dropped.add(Reason::NoHandler, 1),
        }
    }

    fn control(&mut self) -> bool {
        let mut worked = false;
        for _ in 0..BURST {
            let Ok(request) = self.control.try_recv() else { break };
            worked = true;
            // Whoever asked may have gone; then nobody wants the answer.
            match request {
                Control::Install(loaded, reply) => {
                    let _ = reply.send(self.install(loaded));
                }
                Control::Unload(extension, reply) => {
                    let _ = reply.send(self.unload(extension.0));
                }
                Control::Deliver(message) => {
                    self.out.counters.from_host += 1;
                    self.deliver(*message, Endpoint::Host);
                }
                Control::Statistics(reply) => {
                    let _ = reply.send(self.statistics());
                }
                Control::Grant(extension, prepared, reply) => match self.windows(extension) {
                    Ok(windows) => windows.grant(*prepared, reply),
                    Err(error) => drop(reply.send(Err(error))),
                },
                Control::Revoke(extension, window, reply) => match self.windows(extension) {
                    Ok(windows) => windows.revoke(window, &reply),
                    Err(error) => drop(reply.send(Err(error))),
                },
            }
        }
        worked
    }

    /// The windows of an extension, if it may have any.
    fn windows(&mut self, extension: ExtensionId) -> Result<&mut Windows, GrantError> {
        let extension = extension.0;
        let place = self.extensions.get_mut(usize::from(extension)).and_then(Option::as_mut);
        let installed = place.ok_or_else(|| GrantError::NoExtension {
            extension,
            adapter: self.out.nic.name().to_owned(),
        })?;
        installed.instance.windows().ok_or(GrantError::NotGranted { extension })
    }

    /// Installs an extension that was prepared for this adapter.
    ///
    /// # Errors
    /// [`LoadError::Full`] or [`LoadError::HandlerTaken`]; the adapter is as before.
    pub fn install(&mut self, mut instance: Loaded) -> Result<ExtensionId, LoadError> {
        let name = || self.out.nic.name().to_owned();
        let free = self.extensions.iter().position(Option::is_none);
        let place = free.unwrap_or(self.extensions.len());
        let Some(number) = u16::try_from(place).ok().filter(|_| place < EXTENSIONS) else {
            return Err(LoadError::Full(name()));
        };
        let handlers: Vec<_> = instance.handlers().collect();
        self.table.install(number, handlers.iter().copied()).map_err(|taken| {
            LoadError::HandlerTaken {
                number: taken,
                name: instance.name().to_owned(),
                adapter: name(),
            }
        })?;
        instance.installed_as(number);
        let installed = Some(Installed {
            instance,
            waiting: Vec::with_capacity(WAITING),
            share: Share::default(),
            strikes: Strikes::default(),
            posted: false,
        });
        match free {
            Some(place) => self.extensions[place] = installed,
            None => self.extensions.push(installed),
        }
        Ok(ExtensionId(number))
    }

    /// Removes an extension and takes back all it held: waiting messages, kept buffers.
    fn unload(&mut self, extension: u16) -> bool {
        let place = self.extensions.get_mut(usize::from(extension));
        let Some(mut installed) = place.and_then(Option::take) else { return false };
        self.table.remove(extension);
        for pending in installed.waiting.drain(..) {
            self.refuse(pending.body, Reason::Unloaded);
        }
        self.out.collect(&mut installed.instance);
        for frame in installed.instance.kept().drain() {
            self.out.consume(frame);
        }
        true
    }

    fn statistics(&mut self) -> Statistics {
        Statistics {
            name: self.out.nic.name().to_owned(),
            mode: self.out.nic.mode().to_owned(),
            counters: self.out.counters.clone(),
            nic: self.out.nic.statistics(),
            processor_syscalls: 0,
            frames: (self.out.pool.free(), self.out.pool.total()),
        }
    }

    /// Messages that one event carries at most from now on, between 1 and what the plan allows.
    pub fn set_burst(&mut self, most: usize) {
        self.burst_limit = most.clamp(1, self.out.nic.plan().burst.min(BURST));
    }

    /// The counters as they stand.
    pub fn counters(&self) -> &Counters {
        &self.out.counters
    }

    /// The backend.
    pub(crate) fn nic(&mut self) -> &mut dyn crate::nic::Nic {
        &mut *self.out.nic
    }

    /// Whether the processor should look again soon although nothing wakes it: packets that the wire
    /// would not take yet, or frames that are out while few are at home.
    pub(crate) fn is_owed(&self) -> bool {
        let nic = &self.out.nic;
        nic.unflushed() > 0 || nic.in_flight() > 0 && self.out.pool.free() < BURST
    }

    /// Whether there is anything to do without waiting: asked before the processor sleeps.
    pub(crate) fn has_work(&self) -> bool {
        !self.again.is_empty() || self.out.has_arrivals() || self.out.waiting()
    }
}
