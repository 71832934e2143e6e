//! The one processing loop of an adapter: all work is an event (SPINE 3.2).
//!
//! [`Adapter::turn`] is the loop: look at the sources, and run one event after the other until none is
//! ready. Which kinds of events there are, which may run together and what they cost, the backend's
//! [plan](spine_abi::event) says; which of the ready ones runs, its policy. On a plan of bursts a packet
//! shares about six events with 63 others: receive, dispatch, handle, send, and on the peer arrive and
//! complete. On the plan of the paper's card it has 22 to itself.
//!
//! Two kinds of time. Where events are *measured*, a turn happens at the time it is given, and ends
//! when nothing is ready. Where they are *modelled*, each takes what the plan says; engines work beside
//! them and are noticed when an event ends; with nothing ready the processor polls; and a turn ends when
//! the adapter's clock has come to the time given. Nothing else differs.
//!
//! An extension that has more to do than its share waits for the next turn. Nothing here blocks,
//! allocates in steady state, or reads a clock.

mod control;
mod install;
mod linked;
mod messages;
mod modelled;
mod replace;
mod timers;

use std::sync::mpsc::Receiver;

use spine_abi::event::{Cost, EventPlan, KINDS, Policy, STAGES, Stage, TraceRecord};
use spine_abi::limits::BURST;
use spine_abi::{Endpoint, HandlerNumber, Message, Reason};

use crate::buffer::Frame;
use crate::buffer::reference::Generations;
use crate::clock::Nanos;
use crate::dispatcher::share::{FrameShares, Share};
use crate::dispatcher::waiting::Waiting;
use crate::dispatcher::{Event, EventQueue, HandlerTable, Target};
use crate::endpoint::fifo::FifoId;
use crate::endpoint::host::Control;
use crate::endpoint::{Fifos, Outlets};
use crate::extension::outcome::Body;
use crate::extension::{Loaded, Pending};
use crate::stats::{Counters, Statistics};
use crate::trace::Trace;
use crate::watchdog::Strikes;

/// An extension as installed.
struct Installed {
    instance: Loaded,
    waiting: Waiting,
    share: Share,
    strikes: Strikes,
    /// Whether a handle event for it is posted.
    posted: bool,
}

impl Installed {
    /// Frames that wait for it or that it keeps.
    #[inline]
    fn frames(&self) -> usize {
        self.waiting.packets() + self.instance.keeps()
    }
}

/// What the loop needs of a kind of event, closely packed.
#[derive(Clone, Copy)]
struct Step {
    stage: Stage,
    works: bool,
    chained: bool,
    cost: Cost,
}

fn steps(plan: &EventPlan) -> [Step; KINDS] {
    let idle = Step { stage: Stage::Idle, works: false, chained: false, cost: Cost::Measured };
    let mut steps = [idle; KINDS];
    for (step, kind) in steps.iter_mut().zip(plan.kinds()) {
        *step =
            Step { stage: kind.stage, works: kind.works, chained: kind.chained, cost: kind.cost };
    }
    steps
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
    /// Messages of applications, on their way to their extensions.
    from_hosts: Vec<(FifoId, Message)>,
    burst: Vec<Pending>,
    /// What an entry passes on to another handler of the same extension.
    passed: Vec<Pending>,
    burst_limit: usize,
    /// Who has how many of our frames.
    frames: FrameShares,
    /// Extensions that have more to do: entered again in the next turn, after the wire and the
    /// neighbours had theirs.
    again: Vec<u16>,
    /// Extensions that trapped when another called them.
    trapped: Vec<u16>,
    /// No timer is due before.
    next_timer: Nanos,
    /// Whether the last turn moved anything, and the longest that one entry takes, in nanoseconds.
    worked: bool,
    longest: u64,
    /// Rounds of shares so far: turns, or events in a model's time.
    rounds: u64,
    now: Nanos,
    plan: EventPlan,
    /// What the loop needs of each kind.
    steps: [Step; KINDS],
    /// Packets that a model's engines have received.
    arrived: usize,
    /// Where messages enter each stage: a kind of the plan.
    entries: [u8; STAGES],
    /// Events on their way to the work of each stage.
    posted: [usize; STAGES],
    /// What the host asked for and was not done yet.
    request: Option<Control>,
    /// The message of the event that runs, and the newest number given to one.
    message: u64,
    newest: u64,
    /// Whether each event carries one message, so that every message needs its own.
    singly: bool,
    /// In a model's time: how far this turn goes (or until nothing is left to do), when the next one has
    /// something to do, what runs when nothing is ready, and the fuel that the last handlers used.
    modelled: bool,
    until: Nanos,
    drains: bool,
    due: Option<u64>,
    idle: Option<Event>,
    used: u64,
    trace: Option<Box<Trace>>,
}

impl Adapter {
    pub(crate) fn new(out: Outlets, control: Receiver<Control>, unstamped: HandlerNumber) -> Self {
        let plan = *out.nic.plan();
        // A plan has every stage but the idle one.
        let entry = |stage| plan.entry(stage).and_then(|kind| u8::try_from(kind).ok());
        let mut adapter = Self {
            events: EventQueue::new(&plan),
            burst_limit: plan.burst.clamp(1, BURST),
            frames: FrameShares::new(out.pool.total()),
            out,
            control,
            unstamped,
            table: HandlerTable::default(),
            extensions: Vec::new(),
            generations: Generations::default(),
            received: Vec::with_capacity(BURST),
            from_hosts: Vec::with_capacity(BURST),
            burst: Vec::with_capacity(BURST),
            passed: Vec::with_capacity(BURST),
            again: Vec::new(),
            trapped: Vec::new(),
            next_timer: Nanos(u64::MAX),
            worked: false,
            longest: u64::MAX,
            rounds: 0,
            now: Nanos(0),
            entries: Stage::ALL.map(|stage| entry(stage).unwrap_or(0)),
            posted: [0; STAGES],
            request: None,
            message: 0,
            newest: 0,
            singly: plan.burst == 1,
            modelled: plan.is_modelled(),
            until: Nanos(0),
            drains: false,
            due: None,
            idle: None,
            used: 0,
            trace: None,
            steps: steps(&plan),
            arrived: 0,
            plan,
        };
        if adapter.modelled {
            let poll = |kind| Event { kind, extension: 0, message: 0, ready: Nanos(0) };
            adapter.idle = entry(Stage::Idle).map(poll);
        }
        adapter.out.reclaim(usize::MAX);
        adapter
    }

    /// One turn of the loop at time `now` (in a model's time: until then); says whether any message
    /// moved.
    pub fn turn(&mut self, now: Nanos) -> bool {
        if self.modelled {
            self.begin_turn(now);
        } else {
            self.watch_time(now);
            self.now = now;
        }
        self.out.hosts.turn(self.now);
        self.poll_sources();
        let mut worked = false;
        while let Some(event) = self.next() {
            worked |= self.run(event);
        }
        if self.modelled {
            worked |= self.end_turn();
        }
        self.worked = worked;
        self.out.hosts.ring();
        worked
    }

    /// Counts the last turn if it took longer than it can by its extensions' work.
    #[inline]
    fn watch_time(&mut self, now: Nanos) {
        let took = now.since(self.now);
        if self.worked && took > self.longest {
            let extensions = self.extensions.iter().flatten().count() as u64;
            self.out.counters.overruns +=
                u64::from(took > self.longest.saturating_mul(extensions.max(1)));
        }
    }

    /// The event that runs next, by the policy; `None` when the turn is over.
    #[inline]
    fn next(&mut self) -> Option<Event> {
        if self.modelled {
            if self.now >= self.until {
                return None;
            }
            self.notice();
            return self.events.pop(self.now).or_else(|| self.wait());
        }
        self.events.pop(self.now)
    }

    /// Posts an event for each source that may have something.
    fn poll_sources(&mut self) {
        if self.now >= self.next_timer {
            self.fire();
        }
        if self.request.is_none() {
            self.request = self.control.try_recv().ok();
        }
        self.need_control();
        if self.singly {
            self.need(Stage::Arrive, self.out.arrived(), None);
        } else if self.out.has_arrivals() {
            self.need(Stage::Arrive, 1, None);
        }
        if self.modelled {
            return;
        }
        self.need(Stage::Complete, 1, None);
        if self.out.waiting(self.now) {
            self.need(Stage::Send, 1, None);
        }
        self.need(Stage::Receive, 1, None);
        self.serve_again();
    }

    /// In a model's time, after each event: posts what follows from engines that have finished.
    fn notice(&mut self) {
        self.events.notice(self.now);
        if self.now >= self.next_timer {
            self.fire();
        }
        self.need(Stage::Receive, self.arrived, None);
        self.need(Stage::Complete, self.out.ended, None);
        self.serve_again();
    }

    /// Begins a round of shares: posts an event for each extension that had more to do than its own.
    #[inline]
    fn serve_again(&mut self) {
        self.rounds += 1;
        if self.again.is_empty() {
            return;
        }
        for extension in std::mem::take(&mut self.again) {
            let message = self.number(None);
            self.post(Stage::Handle, extension, message);
        }
    }

    /// Sees to it that an event is on its way to a stage's work for so many messages: one for all of
    /// them, or one for each where events carry one. `message` is whose it is; without one it is new.
    #[inline]
    fn need(&mut self, stage: Stage, messages: usize, message: Option<u64>) {
        let events = if self.singly { messages } else { messages.min(1) };
        if self.posted[stage as usize] < events {
            self.post_missing(stage, events, message);
        }
    }

    fn post_missing(&mut self, stage: Stage, events: usize, message: Option<u64>) {
        while self.posted[stage as usize] < events {
            self.posted[stage as usize] += 1;
            let message = self.number(message);
            self.post(stage, 0, message);
        }
    }

    fn number(&mut self, message: Option<u64>) -> u64 {
        message.unwrap_or_else(|| {
            self.newest += 1;
            self.newest
        })
    }

    // Not part of `enqueue`, which is run for every message and posts once a burst.
    #[inline(never)]
    fn post_handle(&mut self, extension: u16) {
        self.post(Stage::Handle, extension, self.message);
    }

    #[inline]
    fn post(&mut self, stage: Stage, extension: u16, message: u64) {
        let kind = self.entries[stage as usize];
        self.events.post(Event { kind, extension, message, ready: self.now });
    }

    /// Runs one event; says whether it moved anything.
    #[inline]
    fn run(&mut self, event: Event) -> bool {
        let Step { stage, works, .. } = self.steps[usize::from(event.kind) % KINDS];
        self.out.counters.events[stage as usize] += 1;
        self.message = event.message;
        let timed = self.modelled || self.trace.is_some();
        let (start, bytes) = if timed { self.before(stage) } else { (Nanos(0), 0) };
        let moved = works && self.work(stage, event.extension);
        if timed {
            self.after(&event, start, bytes);
        }
        moved
    }

    /// The time at which an event begins, and the length of the packet being sent.
    fn before(&self, stage: Stage) -> (Nanos, usize) {
        let start = self.trace.as_ref().map_or(self.now, |trace| trace.now(self.now));
        (start, if self.modelled && stage == Stage::Send { self.out.next_bytes() } else { 0 })
    }

    /// Lets an event's time pass where it is modelled, and records it where it is traced.
    fn after(&mut self, event: &Event, start: Nanos, bytes: usize) {
        if self.modelled {
            self.pass(event, bytes);
        }
        if let Some(trace) = &mut self.trace {
            let nanos = u32::try_from(trace.now(self.now).since(start)).unwrap_or(u32::MAX);
            let (start, message) = (start.0, event.message);
            trace.record(TraceRecord { start, nanos, kind: event.kind, message });
        }
    }

    /// In a model's time: lets an event's time pass, has the backend do its part (`bytes` is the length of
    /// the packet being sent), and posts what follows for the same message.
    fn pass(&mut self, event: &Event, bytes: usize) {
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

    /// Does the runtime's own work of a stage; says whether that moved anything.
    #[inline(always)]
    fn work(&mut self, stage: Stage, extension: u16) -> bool {
        self.posted[stage as usize] = self.posted[stage as usize].saturating_sub(1);
        match stage {
            Stage::Control => self.control(),
            Stage::Complete => {
                let most = if self.singly { 1 } else { usize::MAX };
                if self.modelled {
                    self.out.homecoming();
                }
                self.out.reclaim(most);
                false
            }
            Stage::Arrive => self.arrivals(),
            Stage::Receive => self.receive(),
            Stage::Dispatch => {
                self.dispatch();
                true
            }
            Stage::Handle => {
                self.handle(extension);
                true
            }
            Stage::Send => {
                let most = if self.singly { 1 } else { usize::MAX };
                self.out.send(most, self.now)
            }
            Stage::Idle => false,
        }
    }

    fn receive(&mut self) -> bool {
        if self.out.nic.receive(&mut self.received, self.burst_limit) == 0 {
            return false;
        }
        self.need(Stage::Dispatch, self.received.len(), Some(self.message));
        true
    }

    /// Finds the extension of each packet received, and posts a handle event for it.
    #[inline(never)]
    fn dispatch(&mut self) {
        let mut received = std::mem::take(&mut self.received);
        let count = received.len().min(self.burst_limit);
        for frame in received.drain(..count) {
            let Some(frame) = self.out.take_remote(frame, self.now) else { continue };
            let stamped = frame.handler();
            let number = if stamped.is_some() { stamped } else { self.unstamped };
            let Some(target) = self.table.find(number) else {
                self.out.drop(frame, Reason::NoHandler);
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
    fn enqueue(&mut self, target: Target, source: Endpoint, sender: u16, body: Body) {
        let Some(Some(installed)) = self.extensions.get_mut(usize::from(target.extension)) else {
            return self.refuse(body, Reason::NoHandler);
        };
        let message = Pending { handler: target.handler, hops: 0, source, sender, body };
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

    fn refuse(&mut self, body: Body, reason: Reason) {
        match body {
            Body::Bulk(frame, _) => self.out.drop(frame, reason),
            Body::Small(_) => self.out.counters.messages_dropped.add(reason, 1),
        }
    }

    /// Enters an extension with as much of its queue as a burst and its share of this round allow.
    #[inline(never)]
    fn handle(&mut self, extension: u16) {
        let place = self.extensions.get_mut(usize::from(extension));
        let Some(mut installed) = place.and_then(Option::as_mut) else { return };
        installed.posted = false;
        if let Some(windows) = installed.instance.windows() {
            windows.turn(self.now);
        }
        let idle = installed.waiting.is_empty();
        if idle && !installed.instance.is_repairing() {
            return;
        }
        let budget = installed.instance.budget();
        let allowed = if idle { 0 } else { installed.share.begin(budget.entry, self.rounds) };
        let mut struck_out = None;
        if allowed > 0 {
            let frames = installed.frames();
            installed.instance.kept().set_limit(self.frames.may_keep(frames));
            installed.waiting.take(&mut self.burst, self.burst_limit);
            let Some(lent_to) = linked::lend(&mut self.extensions, extension, self.now) else {
                return;
            };
            installed = lent_to;
            let (used, ending) = installed.instance.enter(
                &mut self.burst,
                &mut self.passed,
                allowed,
                &mut self.out.settling(extension),
            );
            if installed.instance.is_linked() {
                self.take_back(extension);
                let place = self.extensions.get_mut(usize::from(extension));
                let Some(again) = place.and_then(Option::as_mut) else { return };
                installed = again;
            }
            installed.waiting.put_back(&mut self.burst, &mut self.passed);
            self.frames.change(frames, installed.frames());
            installed.share.end(used, ending);
            self.used = used;
            self.out.counters.entries += 1;
            self.out.counters.fuel += used;
            self.out.counters.strikes += u64::from(ending.is_strike());
            struck_out = ending
                .offence()
                .filter(|_| installed.strikes.note(ending, budget.strikes, self.now));
            if installed.instance.has_sent() {
                self.out.collect(extension, &mut installed.instance);
                self.next_timer = self.next_timer.min(installed.instance.timers().next());
            }
        }
        if let Some(offence) = struck_out {
            let strikes = installed.strikes.count();
            self.retire(extension, offence, strikes);
        } else if !installed.waiting.is_empty() && (allowed == 0 || !self.singly)
            || installed.instance.is_repairing()
        {
            installed.posted = true;
            self.again.push(extension);
        }
        if !self.trapped.is_empty() {
            self.blame();
        }
        let sends = if self.singly { self.out.queued() } else { 1 };
        self.need(Stage::Send, sends, Some(self.message));
    }

    /// A copy of everything the adapter knows of itself.
    pub fn statistics(&mut self) -> Statistics {
        Statistics {
            name: self.out.nic.name().to_owned(),
            mode: self.out.nic.mode().to_owned(),
            counters: self.out.counters.clone(),
            nic: self.out.nic.statistics(),
            processor_syscalls: 0,
            remotes: self.out.remotes.statistics().collect(),
            fifos: self.out.hosts.statistics(),
            mail: self.mail(),
            frames: (self.out.pool.free(), self.out.pool.total()),
        }
    }

    /// Messages that one event carries at most from now on, between 1 and what the plan allows.
    pub fn set_burst(&mut self, most: usize) {
        self.burst_limit = most.clamp(1, self.out.nic.plan().burst.min(BURST));
    }

    /// Picks events by another policy from now on.
    pub fn set_policy(&mut self, policy: &Policy) {
        self.events.set_policy(&self.plan, policy);
    }

    /// Traces every event from now on.
    pub fn set_trace(&mut self, trace: Trace) {
        self.trace = Some(Box::new(trace));
    }

    /// The adapter's time: of its last turn, or its model's own.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// The counters as they stand.
    pub fn counters(&self) -> &Counters {
        &self.out.counters
    }

    /// The backend.
    pub(crate) fn nic(&mut self) -> &mut dyn crate::nic::Nic {
        &mut *self.out.nic
    }

    /// Its ends of the FIFOs to applications.
    pub(crate) fn fifos(&mut self) -> &mut Fifos {
        &mut self.out.hosts
    }

    /// Whether the processor should look again soon although nothing wakes it: packets that the wire
    /// would not take yet, or frames that are out while few are at home.
    pub(crate) fn is_owed(&self) -> bool {
        let nic = &self.out.nic;
        nic.unflushed() > 0 || nic.in_flight() > 0 && self.out.pool.free() < BURST
    }

    /// Whether there is anything to do without waiting: asked before the processor sleeps.
    pub(crate) fn has_work(&mut self) -> bool {
        !self.again.is_empty()
            || self.out.has_arrivals()
            || self.out.waiting(self.now)
            || self.out.hosts.is_ready()
            || self.now >= self.next_timer
    }

    /// Nanoseconds until there is something to do although nothing arrives; `None`: nothing before
    /// something does.
    pub(crate) fn due_in(&self) -> Option<u64> {
        let remotes = self.out.remotes.deadline(self.now).map(|at| at.since(self.now));
        let timer = (self.next_timer != Nanos(u64::MAX)).then(|| self.next_timer.since(self.now));
        let hosts = self.out.hosts.due_in(self.now);
        [remotes, hosts, timer, self.due].into_iter().flatten().min()
    }
}
