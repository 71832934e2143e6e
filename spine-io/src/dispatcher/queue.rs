//! The event queue: of what is ready, the lowest priority class runs first, in order of arrival.
//!
//! The plan says which class an event has. What moves messages out runs before what moves them on,
//! and that before what brings more in, so that an adapter under load finishes what it has begun.

use std::collections::VecDeque;

use spine_abi::event::{CLASSES, Class, EventPlan, Stage};

/// What an event does. The messages it works on stand in the adapter's queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// Carry out what the application asked for.
    Control,
    /// Take back frames that were sent, and lend empty ones to the wire.
    Complete,
    /// Send what peers have forwarded, and take what they return.
    Arrivals,
    /// Take a burst from the wire.
    Receive,
    /// Find the handlers of the burst received.
    Dispatch,
    /// Run handlers of one extension.
    Handle(u16),
    /// Move verdicts' packets and messages to their endpoints.
    Send,
}

impl Work {
    /// Its stage, which decides its class by the backend's plan; control belongs to no plan.
    pub fn stage(self) -> Option<Stage> {
        Some(match self {
            Self::Control => return None,
            Self::Complete => Stage::Complete,
            Self::Arrivals | Self::Send => Stage::Send,
            Self::Receive => Stage::Receive,
            Self::Dispatch => Stage::Dispatch,
            Self::Handle(_) => Stage::Handle,
        })
    }
}

/// Ready events by class.
#[derive(Debug)]
pub struct EventQueue {
    classes: [VecDeque<Work>; CLASSES],
    class_of_stage: [usize; 6],
}

impl EventQueue {
    /// An empty queue for a backend's plan. A stage that the plan does not have runs in class "on".
    pub fn new(plan: &EventPlan) -> Self {
        let mut class_of_stage = [Class::On as usize; 6];
        for kind in plan.kinds.iter().rev() {
            class_of_stage[kind.stage as usize] = kind.class as usize;
        }
        let classes = std::array::from_fn(|_| VecDeque::with_capacity(16));
        Self { classes, class_of_stage }
    }

    /// Makes an event ready. Each kind of work is posted once until it has run, so the queue is
    /// bounded by the number of kinds and of extensions.
    #[inline]
    pub fn post(&mut self, work: Work) {
        let class = match work.stage() {
            Some(stage) => self.class_of_stage[stage as usize],
            None => Class::Control as usize,
        };
        self.classes[class].push_back(work);
    }

    /// Takes the most urgent event.
    #[inline]
    pub fn pop(&mut self) -> Option<Work> {
        self.classes.iter_mut().find_map(VecDeque::pop_front)
    }

    /// Events that wait.
    pub fn len(&self) -> usize {
        self.classes.iter().map(VecDeque::len).sum()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.classes.iter().all(VecDeque::is_empty)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nic::PACKET_PLAN;

    #[test]
    fn what_goes_out_runs_before_what_comes_in() {
        let mut queue = EventQueue::new(&PACKET_PLAN);
        for work in [
            Work::Receive,
            Work::Handle(2),
            Work::Dispatch,
            Work::Send,
            Work::Complete,
            Work::Control,
        ] {
            queue.post(work);
        }
        let order: Vec<_> = std::iter::from_fn(|| queue.pop()).collect();
        let expected = [
            Work::Control,
            Work::Send,
            Work::Complete,
            Work::Handle(2),
            Work::Dispatch,
            Work::Receive,
        ];
        assert_eq!(order, expected);
        assert!(queue.is_empty());
    }
}
