//! The event queue: of what is ready, the plan's policy says what runs next.
//!
//! Events stand in one lane for each rank of the policy, each lane in the policy's order, so taking the
//! next one is looking at the heads. What is not ready yet stands beside them: events that wait for an
//! engine, with the time at which it will be done, and events that wait for the plan's gate, through
//! which one message goes at a time.
//!
//! Invariant: every kind of work is posted once until it has run (bursts), or once for each message
//! (plans that carry one message an event), so the queue is bounded by the kinds, extensions and
//! buffers of an adapter.

use std::collections::VecDeque;

use spine_abi::Nanos;
use spine_abi::event::{CLASSES, EventPlan, Gate, KINDS, Order, Policy};

/// Something to be done: the messages it works on stand in the adapter's queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Event {
    /// Its kind: the position in the plan.
    pub kind: u8,
    /// The extension whose handlers run, if it runs any.
    pub extension: u16,
    /// The message it is for, by a number that grows: the smaller, the older.
    pub message: u64,
    /// When it became ready.
    pub ready: Nanos,
}

/// Events of one adapter.
#[derive(Debug)]
pub struct EventQueue {
    lanes: [VecDeque<Event>; CLASSES],
    lane_of_kind: [u8; KINDS],
    gate_of_kind: [Gate; KINDS],
    order: Order,
    patience: u64,
    /// Events that wait for an engine, until it is done.
    waiting: Vec<Event>,
    /// The message that is past the gate, and those before it.
    holder: Option<u64>,
    parked: VecDeque<Event>,
}

impl EventQueue {
    /// An empty queue for a backend's plan, under the plan's own policy.
    pub fn new(plan: &EventPlan) -> Self {
        let mut gate_of_kind = [Gate::Open; KINDS];
        for (gate, kind) in gate_of_kind.iter_mut().zip(plan.kinds()) {
            *gate = kind.gate;
        }
        let mut queue = Self {
            lanes: std::array::from_fn(|_| VecDeque::with_capacity(16)),
            lane_of_kind: [0; KINDS],
            gate_of_kind,
            order: plan.policy.order,
            patience: u64::MAX,
            waiting: Vec::with_capacity(4),
            holder: None,
            parked: VecDeque::with_capacity(16),
        };
        queue.set_policy(plan, &plan.policy);
        queue
    }

    /// Goes by another policy from now on. What is ready stays in the order it is in.
    pub fn set_policy(&mut self, plan: &EventPlan, policy: &Policy) {
        for (lane, kind) in self.lane_of_kind.iter_mut().zip(plan.kinds()) {
            let last = u8::try_from(CLASSES - 1).unwrap_or(0);
            *lane = policy.rank[kind.class as usize].min(last);
        }
        self.order = policy.order;
        self.patience = policy.patience;
    }

    /// Makes an event ready, or has it wait at the gate.
    #[inline]
    pub fn post(&mut self, event: Event) {
        if self.gate_of_kind[usize::from(event.kind)] == Gate::Enter && !self.enter(&event) {
            return self.parked.push_back(event);
        }
        let lane = &mut self.lanes[usize::from(self.lane_of_kind[usize::from(event.kind)])];
        match lane.back() {
            Some(last) if key(self.order, last) > key(self.order, &event) => {
                insert(lane, self.order, event);
            }
            _ => lane.push_back(event),
        }
    }

    /// Makes an event ready at `event.ready`, when its engine will be done.
    pub fn wait(&mut self, event: Event) {
        self.waiting.push(event);
    }

    /// Makes ready what engines have finished by `now`. Their events are ready since then, also when
    /// it is noticed later.
    #[inline]
    pub fn notice(&mut self, now: Nanos) {
        while let Some(at) = self.waiting.iter().position(|event| event.ready <= now) {
            let event = self.waiting.remove(at);
            self.post(event);
        }
    }

    /// An event has ended: if that was its message's last behind the gate, the next one enters.
    pub fn ended(&mut self, event: &Event, now: Nanos) {
        let leaves = self.gate_of_kind[usize::from(event.kind)] == Gate::Leave;
        if leaves && self.holder == Some(event.message) {
            self.holder = None;
            if let Some(next) = self.parked.pop_front() {
                self.post(Event { ready: now, ..next });
            }
        }
    }

    fn enter(&mut self, event: &Event) -> bool {
        let free = self.holder.is_none_or(|holder| holder == event.message);
        if free {
            self.holder = Some(event.message);
        }
        free
    }

    /// Takes the event that runs next.
    #[inline]
    pub fn pop(&mut self, now: Nanos) -> Option<Event> {
        if self.patience != u64::MAX
            && let Some(event) = self.overdue(now)
        {
            return Some(event);
        }
        self.lanes.iter_mut().find_map(VecDeque::pop_front)
    }

    /// The head of a lane that has been ready for longer than the policy's patience.
    fn overdue(&mut self, now: Nanos) -> Option<Event> {
        let patience = self.patience;
        let late = |event: &Event| now.since(event.ready) > patience;
        let lane = self.lanes.iter_mut().find(|lane| lane.front().is_some_and(late))?;
        lane.pop_front()
    }

    /// Whether nothing is ready and nothing waits.
    pub fn is_empty(&self) -> bool {
        self.lanes.iter().all(VecDeque::is_empty)
            && self.waiting.is_empty()
            && self.parked.is_empty()
    }
}

/// By what events of one lane are ordered.
#[inline]
fn key(order: Order, event: &Event) -> u64 {
    match order {
        Order::Readiness => event.ready.0,
        Order::Age => event.message,
    }
}

/// Puts an event before those of its lane that come after it.
#[cold]
fn insert(lane: &mut VecDeque<Event>, order: Order, event: Event) {
    let at = key(order, &event);
    let after = lane.iter().rev().take_while(|other| key(order, other) > at).count();
    lane.insert(lane.len() - after, event);
}

#[cfg(test)]
mod tests {
    use spine_abi::event::{Class, Cost, EventKind, Stage};
    use spine_nic::{PACKET_PLAN, schedule};

    use super::*;

    fn event(kind: usize, message: u64, ready: u64) -> Event {
        Event { kind: u8::try_from(kind).unwrap(), extension: 0, message, ready: Nanos(ready) }
    }

    fn entry(stage: Stage) -> usize {
        PACKET_PLAN.entry(stage).unwrap()
    }

    #[test]
    fn what_goes_out_runs_before_what_comes_in() {
        let mut queue = EventQueue::new(&PACKET_PLAN);
        let posted = [
            Stage::Receive,
            Stage::Handle,
            Stage::Dispatch,
            Stage::Send,
            Stage::Complete,
            Stage::Control,
        ];
        posted.iter().for_each(|stage| queue.post(event(entry(*stage), 0, 5)));
        let order: Vec<_> = std::iter::from_fn(|| queue.pop(Nanos(5)))
            .map(|event| usize::from(event.kind))
            .collect();
        let expected = [
            Stage::Control,
            Stage::Send,
            Stage::Complete,
            Stage::Handle,
            Stage::Dispatch,
            Stage::Receive,
        ];
        assert_eq!(order, expected.map(entry));
        assert!(queue.is_empty());
    }

    /// One "in" kind, then two "out" kinds of which the first enters the gate and the second leaves it.
    fn card(policy: Policy) -> EventPlan {
        let kind = |stage, class, gate| EventKind {
            name: "kind",
            stage,
            class,
            cost: Cost::Fixed(1000),
            works: true,
            chained: false,
            gate,
        };
        let kinds = [
            kind(Stage::Receive, Class::In, Gate::Open),
            kind(Stage::Send, Class::Out, Gate::Enter),
            kind(Stage::Complete, Class::Out, Gate::Leave),
            kind(Stage::Dispatch, Class::On, Gate::Open),
            kind(Stage::Handle, Class::On, Gate::Open),
            kind(Stage::Arrive, Class::Out, Gate::Open),
            kind(Stage::Control, Class::Control, Gate::Open),
        ];
        EventPlan::new("card", &kinds, 1, policy, 0)
    }

    /// The messages in the order they run in, of (kind, message, ready).
    fn order(policy: Policy, now: u64, posted: &[(usize, u64, u64)]) -> Vec<u64> {
        let mut queue = EventQueue::new(&card(policy));
        posted.iter().for_each(|(kind, message, at)| queue.post(event(*kind, *message, *at)));
        std::iter::from_fn(|| queue.pop(Nanos(now))).map(|event| event.message).collect()
    }

    #[test]
    fn each_policy_has_its_own_order() {
        // Two receptions, the return of an older message's buffer, and a message from the host.
        let posted = [(0, 7, 10), (2, 3, 20), (0, 5, 30), (6, 9, 5)];
        let cases = [
            (schedule::PAPER, [7, 5, 3, 9]),
            (schedule::READINESS, [9, 7, 3, 5]),
            (schedule::PCI_FIRST, [3, 7, 5, 9]),
            (schedule::AGE, [3, 5, 7, 9]),
            (schedule::OLDEST_FIRST, [3, 5, 7, 9]),
        ];
        for (policy, expected) in cases {
            assert_eq!(order(policy, 40, &posted), expected, "{}", policy.name);
        }
    }

    #[test]
    fn an_event_that_waited_beyond_the_patience_runs_first() {
        let patience = schedule::OLDEST_FIRST.patience;
        let posted = [(0, 1, patience), (6, 9, 0)];
        assert_eq!(order(schedule::OLDEST_FIRST, patience, &posted), [1, 9]);
        assert_eq!(order(schedule::OLDEST_FIRST, patience + 1, &posted), [9, 1]);
    }

    #[test]
    fn one_message_at_a_time_goes_through_the_gate() {
        let mut queue = EventQueue::new(&card(schedule::READINESS));
        queue.post(event(1, 1, 0));
        queue.post(event(1, 2, 0));
        assert_eq!(queue.pop(Nanos(0)).map(|event| event.message), Some(1));
        assert_eq!(queue.pop(Nanos(0)), None, "message 2 waits");
        queue.ended(&event(2, 7, 0), Nanos(3));
        assert_eq!(queue.pop(Nanos(3)), None, "message 7 was not behind the gate");
        queue.ended(&event(2, 1, 0), Nanos(4));
        let next = queue.pop(Nanos(4)).unwrap();
        assert_eq!((next.message, next.ready), (2, Nanos(4)));
        assert!(queue.is_empty());
    }

    #[test]
    fn an_engine_that_is_done_is_noticed_late_but_was_ready_in_time() {
        let mut queue = EventQueue::new(&card(schedule::READINESS));
        queue.wait(event(2, 1, 50));
        queue.notice(Nanos(49));
        assert_eq!(queue.pop(Nanos(49)), None);
        queue.post(event(0, 2, 60));
        queue.notice(Nanos(70));
        assert_eq!(queue.pop(Nanos(70)).map(|event| event.message), Some(1));
        assert_eq!(queue.pop(Nanos(70)).map(|event| event.message), Some(2));
    }
}
