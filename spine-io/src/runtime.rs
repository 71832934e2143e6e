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
//! An extension that has more to do than its share waits for the next turn. Nothing here blocks or allocates in
//! steady state; a clock is looked at before and after an entry, if there is one (`meter`).

mod control;
mod entry;
mod install;
mod linked;
mod messages;
mod meter;
mod modelled;
mod replace;
pub(crate) mod request;
mod setup;
mod statistics;
mod status;
mod timers;

pub use statistics::Statistics;

use std::sync::mpsc::Receiver;

use spine_abi::event::{Cost, EventPlan, KINDS, STAGES, Stage, TraceRecord};
use spine_abi::{HandlerNumber, Message};

use crate::dispatcher::price::{Price, Took};
use crate::dispatcher::share::{FrameShares, Owners, Share};
use crate::dispatcher::waiting::Waiting;
use crate::dispatcher::{Event, EventQueue, HandlerTable};
use crate::endpoint::Outlets;
use crate::extension::Loaded;
use crate::id::FifoId;
use crate::message::{Ending, Pending};
use crate::reference::Generations;
use crate::runtime::meter::Meter;
use crate::runtime::request::Control;
use crate::stats::Bill;
use crate::trace::Trace;
use crate::watchdog::Strikes;
use spine_abi::Nanos;
use spine_nic::buffer::Frame;

/// An extension as installed.
struct Installed {
    instance: Loaded,
    waiting: Waiting,
    share: Share,
    price: Price,
    strikes: Strikes,
    bill: Bill,
    /// Its owner's place among those who have extensions here.
    owner: usize,
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

impl Installed {
    /// Learns from an entry that used so much fuel and ended so. What is charged for it, and how it counts: stopped
    /// for its price, it is to blame only if the processor's time went with it.
    #[inline]
    fn learn(
        &mut self,
        used: u64,
        ending: Ending,
        took: Option<Took>,
        entry: u64,
    ) -> (u64, Ending) {
        let Some(took) = took else { return (used, ending) };
        let message = self.instance.budget().message;
        self.price.learn(used, took, message);
        let blamed =
            took.processor.is_some_and(|nanos| 2 * nanos >= self.price.message_nanos(message));
        let spared = ending == Ending::TooDear && !blamed;
        (took.charged(entry), if spared { Ending::Spared } else { ending })
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
    owners: Owners,
    meter: Meter,
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
    /// One turn of the loop at time `now` (in a model's time: until then); says whether any message
    /// moved.
    pub fn turn(&mut self, now: Nanos) -> bool {
        if self.modelled {
            self.begin_turn(now);
        } else {
            self.watch_time(now);
            self.now = now;
            self.meter.begin_turn(now);
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
        if worked {
            self.meter.end_turn();
        }
        worked
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

    /// Does the runtime's own work of a stage; says whether that moved anything.
    #[inline(always)]
    fn work(&mut self, stage: Stage, extension: u16) -> bool {
        self.posted[stage as usize] = self.posted[stage as usize].saturating_sub(1);
        if stage != Stage::Handle {
            self.meter.stir();
        }
        match stage {
            Stage::Control => self.control_in_time(),
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
}
