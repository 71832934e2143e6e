//! A new adapter, and what can be changed of it later.

use std::sync::mpsc::Receiver;

use spine_abi::event::{Cost, EventPlan, KINDS, Policy, STAGES, Stage};
use spine_abi::limits::BURST;
use spine_abi::{HandlerNumber, Nanos};
use spine_nic::clock::Clock;

use super::meter::Meter;
use super::{Adapter, Step};
use crate::dispatcher::share::{FrameShares, Owners};
use crate::dispatcher::{Event, EventQueue, HandlerTable};
use crate::endpoint::Outlets;
use crate::reference::Generations;
use crate::runtime::request::Control;
use crate::trace::Trace;

fn steps(plan: &EventPlan) -> [Step; KINDS] {
    let idle = Step { stage: Stage::Idle, works: false, chained: false, cost: Cost::Measured };
    let mut steps = [idle; KINDS];
    for (step, kind) in steps.iter_mut().zip(plan.kinds()) {
        *step =
            Step { stage: kind.stage, works: kind.works, chained: kind.chained, cost: kind.cost };
    }
    steps
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
            owners: Owners::default(),
            meter: Meter::default(),
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

    /// Messages that one event carries at most from now on, between 1 and what the plan allows.
    pub fn set_burst(&mut self, most: usize) {
        self.burst_limit = most.clamp(1, self.out.nic.plan().burst.min(BURST));
    }

    /// Picks events by another policy from now on.
    pub fn set_policy(&mut self, policy: &Policy) {
        self.events.set_policy(&self.plan, policy);
    }

    /// Measures what entries take by `clock`, and by the `processor`'s time of the thread that turns the adapter, from now
    /// on: shares are of time then, and not of fuel. In a model's time nothing is measured.
    pub fn measure(&mut self, clock: Box<dyn Clock>, processor: Box<dyn Clock>) {
        if !self.modelled {
            self.meter.set(clock, processor);
        }
    }

    /// Traces every event from now on.
    pub fn set_trace(&mut self, trace: Trace) {
        self.trace = Some(Box::new(trace));
    }
}
