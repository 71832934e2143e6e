//! The kernel's rules as they were last read, and when they are to be read again.
//!
//! Reading thousands of rules takes a moment, so it is done when one has changed that can concern packets between our
//! interfaces, and not for every set that somebody updates ([`spine_rules::Watch`]).

use std::os::fd::BorrowedFd;
use std::time::Instant;

use spine_rules::{Family, Kept, Link, Packets, Purpose, Rules, RulesError};

use super::{Found, Policy, entrance};
use crate::interfaces::Interfaces;
use crate::netlink::state::IfIndex;
use crate::netlink::{self, KernelState};

/// Rules, and the subscriptions to what changes them.
pub struct Watch {
    watch: spine_rules::Watch,
    rules: Result<Rules, RulesError>,
    /// Our interfaces as rules ask for them, by their position. One that is gone receives nothing.
    links: Vec<(usize, Link)>,
}

impl Watch {
    /// Subscribes, and reads the rules.
    pub fn open(now: Instant) -> Self {
        // In this order: no change is missed in between.
        let watch = spine_rules::Watch::open(Purpose::Forwarding, now);
        Self { watch, rules: Rules::read(), links: Vec::new() }
    }

    /// The descriptors to wait on.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.watch.fds()
    }

    /// When to ask although nothing was announced.
    pub fn deadline(&self) -> Instant {
        self.watch.deadline()
    }

    /// Reads what was announced, and the rules again if it concerns us; whether it did.
    pub fn due(&mut self, now: Instant) -> bool {
        let links: Vec<Link> = self.links.iter().map(|(_, link)| link.clone()).collect();
        let due = match &self.rules {
            Ok(rules) => self.watch.due(now, rules, &links),
            // What could not be read then may be readable now.
            Err(_) => self.watch.due(now, &Rules::default(), &links) || now >= self.deadline(),
        };
        if due {
            self.rules = Rules::read();
        }
        due
    }

    /// What the rules keep on each way between two interfaces of ours, and what they would have counted.
    pub(super) fn add_to(&mut self, policy: &mut Policy, state: &KernelState, ours: &Interfaces) {
        let present = |(at, index): (usize, &IfIndex)| {
            Some((at, link(state, *index, state.links.get(index)?)))
        };
        self.links = ours.indices().iter().enumerate().filter_map(present).collect();
        let rules = match &self.rules {
            Ok(rules) => rules,
            Err(error) => {
                let kept = Kept { packets: Packets::all(Family::V4), why: error.to_string() };
                return policy.found.push(Found { ingress: None, egress: None, kept });
            }
        };
        for (ingress, into) in &self.links {
            for (egress, out) in self.links.iter().filter(|(egress, _)| egress != ingress) {
                let kept = rules.forwarded(Family::V4, into, out);
                policy.notes.extend(rules.notes(Family::V4, into, out));
                let way = |kept| Found { ingress: Some(*ingress), egress: Some(*egress), kept };
                policy.found.extend(kept.into_iter().map(way));
            }
        }
    }
}

/// Interfaces that something may leave by, at most: of more it is not asked one by one.
const WAYS_OUT: usize = 64;

impl Watch {
    /// What rules keep of packets that come in by AF_PACKET's own interface, whichever way they go.
    pub(super) fn kept_of_entrance(&self, state: &KernelState) -> Option<Kept> {
        let rules = self.rules.as_ref().ok()?;
        let into = Link::ethernet(0, "spine-entrance");
        if state.links.len() > WAYS_OUT && !self.links.is_empty() {
            return Some(entrance::keep("a rule on one of many interfaces may be one"));
        }
        let mut out = state.links.iter().map(|(index, known)| link(state, *index, known));
        let kept =
            out.find_map(|out| rules.forwarded(Family::V4, &into, &out).into_iter().next())?;
        Some(entrance::keep(&kept.why))
    }
}

/// An interface as rules ask for it.
fn link(state: &KernelState, index: IfIndex, link: &netlink::state::Link) -> Link {
    let master = link.master.and_then(|master| state.links.get(&master));
    Link {
        group: link.group,
        kind: link.kind.clone().unwrap_or_default(),
        master: master.map(|master| master.name.clone()),
        ..Link::ethernet(index, &link.name)
    }
}
