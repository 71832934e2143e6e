//! Interfaces that go and come back, and those of which nothing is ours.
//!
//! An interface that was deleted takes its sockets and its program with it, and one that is made under its name is another one.
//! What is attached is made for a set of interfaces that are there from the start: the frames are registered once for all, and
//! the adapters run in one machine. So when it is there again the run [ends](super::End), and everything is opened anew; the
//! kernel forwards meanwhile, as it did since the interface went.
//!
//! Where nothing that an interface receives is ours, its program looks at every packet in vain, and on a veth keeps the peer from
//! sending large segments. So it is taken off once that has lasted from one round to the next, and attached when it is needed.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use spine_fib::Store;

use super::Router;
use crate::netlink::state::IfIndex;

/// How long an interface is up again before it is opened: whoever made it may still be setting it up.
const SETTLED: Duration = Duration::from_millis(500);

/// What is known of our interfaces beside what the kernel says.
pub(super) struct Presence {
    /// Those that were deleted.
    deleted: BTreeSet<IfIndex>,
    /// Since when one of them is there and up again.
    returned: Option<Instant>,
    /// Whether something of what each receives was ours at the last round.
    needed: Vec<bool>,
    reopens: bool,
}

impl Presence {
    pub(super) fn of(interfaces: usize, reopens: bool) -> Self {
        let needed = vec![true; interfaces];
        Self { deleted: BTreeSet::new(), returned: None, needed, reopens }
    }

    /// Whether interfaces can be opened anew.
    pub(super) fn reopens(&self) -> bool {
        self.reopens
    }

    /// Whether that is news.
    pub(super) fn note_deleted(&mut self, interface: IfIndex) -> bool {
        self.deleted.insert(interface)
    }

    /// When there is something to be done next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.returned.map(|since| since + SETTLED)
    }
}

impl<R: Store> Router<R> {
    /// The name of an interface of ours that was deleted, and has been there and up again for a moment.
    pub(super) fn returned(&mut self, now: Instant) -> Option<String> {
        if !self.presence.reopens {
            return None;
        }
        let links = self.mirror.state();
        let is_back = |(adapter, interface): (usize, &IfIndex)| {
            let name = self.names.get(adapter)?;
            let (_, link) = links.link_named(name)?;
            (self.presence.deleted.contains(interface) && link.up && link.mac.is_some())
                .then(|| name.clone())
        };
        let back = self.ours.indices().iter().enumerate().find_map(is_back);
        let Some(name) = back else {
            self.presence.returned = None;
            return None;
        };
        let since = *self.presence.returned.get_or_insert(now);
        (now.saturating_duration_since(since) >= SETTLED).then_some(name)
    }

    /// Says on which interfaces packets need be looked at: where something is ours, or was a round ago.
    pub(super) fn look_where_needed(&mut self) {
        for (adapter, interface) in self.ours.indices().iter().enumerate() {
            let needed = self.is_enabled(adapter) && !self.claims.is_empty();
            let before = std::mem::replace(&mut self.presence.needed[adapter], needed);
            if !self.mirror.state().links.contains_key(interface) {
                continue;
            }
            if let Err(error) = self.classifier.set_needed(*interface, needed || before) {
                tracing::warn!(%error, adapter, "what is received there is left to the kernel");
            }
        }
    }
}
