//! Whose packets are: reading what keeps them, saying it, and putting it in force.
//!
//! Where something that was ours is the kernel's from now on, the adapter it comes in on stands aside as a whole for a
//! moment: it claims nothing and gives what it still has to the kernel, and takes up again what is its own under the new sets.

use std::collections::BTreeSet;

use spine_fib::Store;

use super::{Router, RouterError};
use crate::claims::{ClaimChange, Whose};
use crate::ownership::{Ownership, few};
use crate::policy::{self, Found, Policy};

/// What a review came to.
pub(super) struct Review {
    ownership: Ownership,
    /// The adapters that may forward, under it.
    wanted: Vec<bool>,
}

impl<R: Store> Router<R> {
    /// Looks at what keeps packets and at forwarding settings, says what changed, and stops the adapters of which something
    /// is the kernel's now. Gives back what is to be put [in force](Self::put_in_force).
    pub(super) fn review_policy(&mut self, starting: bool) -> Result<Review, RouterError> {
        let state = self.mirror.state();
        let elsewhere = !self.classifier.reach().destinations;
        let Policy { found, notes } = Policy::of(&mut self.watch, state, &self.ours, elsewhere);
        let forwards: Vec<bool> =
            self.ours.indices().iter().map(|at| policy::forwards(state, *at)).collect();
        let found = if self.bypass_kernel_policy { self.bypass(found) } else { found };
        let count = self.adapters.len();
        let ownership = Ownership::of(count, self.classifier.reach(), &found);
        self.say_what_changed(&ownership, starting);
        self.say_what_forwards(&forwards, starting);
        let is_new = |note: &String| ownership.is_any() && self.noted.insert(note.clone());
        let new: Vec<String> = notes.into_iter().filter(is_new).collect();
        // At the start they are told with the rest of what a newcomer should know.
        if !starting && !new.is_empty() {
            (self.say)(&few(new, "; "));
        }
        self.reasons.extend(ownership.reasons());
        let wanted: Vec<bool> =
            (0..count).map(|at| forwards[at] && ownership.has_ways(at)).collect();
        let stays: Vec<bool> = (0..count)
            .map(|at| wanted[at] && self.is_enabled(at) && !ownership.lost(&self.ownership, at))
            .collect();
        self.enable(&stays)?;
        Ok(Review { ownership, wanted })
    }

    /// Tells the classifier whose packets are, where that changed, and has those forward that may.
    pub(super) fn put_in_force(&mut self, review: Review) -> Result<(), RouterError> {
        let Review { ownership, mut wanted } = review;
        let before = std::mem::replace(&mut self.ownership, ownership);
        for (adapter, interface) in self.ours.indices().iter().enumerate() {
            let parts = self.ownership.parts(adapter);
            if parts == before.parts(adapter) {
                continue;
            }
            if let Err(error) = self.classifier.set_kept(*interface, parts) {
                // Of one that is gone nothing is received either.
                tracing::warn!(%error, adapter, "all that comes in there is left to the kernel");
                wanted[adapter] = false;
            }
        }
        if self.ownership != before {
            let news = self.claims.review_all(Whose {
                table: &self.table,
                ours: &self.ours,
                ownership: &self.ownership,
            });
            self.tell(news);
        }
        self.enable(&wanted)
    }

    /// Tells the classifier what changed of its claims. The table decides; a claim that could not be changed
    /// costs a packet a detour, no more.
    pub(super) fn tell(&mut self, news: Vec<ClaimChange>) {
        for news in news {
            if let Err(error) = news.tell(self.classifier.as_mut()) {
                tracing::warn!(%error, ?news, "left to the kernel");
            }
        }
        if let Err(error) = self.classifier.flush() {
            tracing::warn!(%error, "left to the kernel, or taken from it by way of the adapters");
        }
    }

    /// Says each thing that is bypassed once, and keeps nothing for it.
    fn bypass(&mut self, found: Vec<Found>) -> Vec<Found> {
        for Found { kept, .. } in found {
            if self.bypassed.insert(kept.why.clone()) {
                (self.say)(&format!("bypassed, as --bypass-kernel-policy says: {}", kept.why));
            }
        }
        Vec::new()
    }

    fn say_what_changed(&mut self, ownership: &Ownership, starting: bool) {
        let before = (!starting).then_some(&self.ownership);
        for sentence in ownership.sentences(before, &self.names) {
            (self.say)(&sentence);
        }
    }

    fn say_what_forwards(&mut self, allowed: &[bool], starting: bool) {
        for (adapter, interface) in self.ours.indices().iter().enumerate() {
            // Of one that is gone that has been said.
            let Some(link) = self.mirror.state().links.get(interface) else { continue };
            let name = &link.name;
            match (allowed[adapter], self.forwarding[adapter]) {
                (false, before) if before || starting => (self.say)(&format!(
                    "packets received on {name} are left to the kernel: \
                     net.ipv4.conf.{name}.forwarding is 0"
                )),
                (true, false) if !starting => {
                    (self.say)(&format!("packets received on {name} are forwarded again"));
                }
                _ => {}
            }
        }
        self.forwarding = allowed.to_vec();
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
            if *on && let Err(error) = self.classifier.set_needed(*interface, true) {
                tracing::warn!(%error, adapter, "what is received there is left to the kernel");
            }
            if let Err(error) = self.classifier.set_enabled(*interface, *on) {
                tracing::warn!(%error, adapter, on, "the classifier was not told");
            }
        }
    }

    /// What kept packets from the adapters since the start.
    pub fn reasons(&self) -> &BTreeSet<String> {
        &self.reasons
    }
}
