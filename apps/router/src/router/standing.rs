//! Standing aside: which adapters may forward, and how one stops and goes on.

use std::collections::BTreeSet;

use spine_fib::Store;

use super::{Router, RouterError};
use crate::policy::{self, Obstacle};

impl<R: Store> Router<R> {
    /// Looks at obstacles and forwarding settings, says what changed, and stops the adapters that may
    /// not forward any more. Gives back which may, for [`enable`](Self::enable).
    pub(super) fn review_policy(&mut self, starting: bool) -> Result<Vec<bool>, RouterError> {
        let (requests, state) = self.mirror.parts();
        let found: BTreeSet<Obstacle> = match self.watch {
            Some(_) => policy::check(requests, state, &self.ours).into_iter().collect(),
            None => BTreeSet::new(),
        };
        let before = std::mem::replace(&mut self.obstacles, found);
        for new in self.obstacles.difference(&before) {
            (self.say)(&format!("the kernel forwards all packets: {new}"));
        }
        if !before.is_empty() && self.obstacles.is_empty() {
            (self.say)("the obstacles are gone: forwarding again");
        }
        self.all_obstacles.extend(self.obstacles.iter().cloned());

        let allowed: Vec<bool> =
            self.ours.indices().iter().map(|at| policy::forwards(state, *at)).collect();
        let wanted: Vec<bool> =
            allowed.iter().map(|allowed| *allowed && self.obstacles.is_empty()).collect();
        if self.obstacles.is_empty() && before.is_empty() {
            self.say_what_forwards(&allowed, starting);
        }
        let stays: Vec<bool> = wanted
            .iter()
            .enumerate()
            .map(|(adapter, wanted)| *wanted && self.is_enabled(adapter))
            .collect();
        self.enable(&stays)?;
        Ok(wanted)
    }

    fn say_what_forwards(&mut self, allowed: &[bool], starting: bool) {
        for (adapter, interface) in self.ours.indices().iter().enumerate() {
            // Of one that is gone that has been said.
            let Some(link) = self.mirror.state().links.get(interface) else { continue };
            let name = &link.name;
            match (allowed[adapter], self.is_enabled(adapter)) {
                (false, enabled) if enabled || starting => (self.say)(&format!(
                    "packets received on {name} are left to the kernel: \
                     net.ipv4.conf.{name}.forwarding is 0"
                )),
                (true, false) if !starting => {
                    (self.say)(&format!("packets received on {name} are forwarded again"));
                }
                _ => {}
            }
        }
    }

    /// Enables exactly these adapters.
    pub(super) fn enable(&mut self, wanted: &[bool]) -> Result<(), RouterError> {
        let changes: Vec<(usize, bool)> = wanted
            .iter()
            .enumerate()
            .filter(|(adapter, wanted)| self.is_enabled(*adapter) != **wanted)
            .map(|(adapter, wanted)| (adapter, *wanted))
            .collect();
        if changes.is_empty() {
            return Ok(());
        }
        // Off at the classifier first, which takes effect with the next packet; on there last.
        self.claim(changes.iter().filter(|(_, on)| !on));
        for (adapter, on) in &changes {
            self.fib.set_paused(*adapter, !on);
        }
        self.fib.swap(&mut self.adapters)?;
        self.claim(changes.iter().filter(|(_, on)| *on));
        Ok(())
    }

    fn claim<'a>(&mut self, changes: impl Iterator<Item = &'a (usize, bool)>) {
        for (adapter, on) in changes {
            let Some(interface) = self.ours.indices().get(*adapter) else { continue };
            if let Err(error) = self.classifier.set_enabled(*interface, *on) {
                tracing::warn!(%error, adapter, on, "the classifier was not told");
            }
        }
    }
}
