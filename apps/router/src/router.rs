//! The control loop: follows the kernel, and keeps table, classifier and adapters in step with it.
//!
//! One thread, one poll over the mirror's notifications, those of the firewall, and signals. What an
//! event leads to is done at once and in this order: whoever must not forward any more is stopped, then
//! comes the table (all adapters have acknowledged it when the step is over), then the claims, and last
//! whoever may forward again.
//!
//! An adapter is *enabled* when packets that its interface receives may be forwarded: the kernel
//! forwards what that interface receives, and nothing keeps all of it (or the user
//! said to bypass what does). Standing aside is done twice over: the classifier claims nothing of that
//! interface, and the extension gives what it already has to the kernel. If anything fails that
//! cannot be mended here, the loop ends, everything is detached, and the kernel forwards alone.

mod asked;
mod presence;
mod standing;

use std::collections::BTreeSet;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use spine_abi::limits::HOST_FIFO;
use spine_fib::Store;
use spine_nic::netlink::socket::NetlinkError;

use crate::adapters::{Adapter, AdapterError, AdapterStatistics};
use crate::claims::{Claims, Classifier, Whose};
use crate::control::Control;
use crate::fib::{Fib, FibError, Layout};
use crate::freshness;
use crate::interfaces::Interfaces;
use crate::netlink::{Dirty, KernelState, Mirror};
use crate::ownership::{Ownership, Reach};
use crate::policy::Watch;
use crate::rib::Rib;
use crate::table::{Table, Update};
use presence::Presence;

/// Why the loop ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RouterError {
    /// The kernel cannot be followed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The adapters cannot be told.
    #[error(transparent)]
    Fib(#[from] FibError),
    /// An adapter is gone.
    #[error(transparent)]
    Adapter(#[from] AdapterError),
    /// Waiting failed.
    #[error("cannot wait for events: {0}")]
    Wait(#[from] nix::Error),
}

/// Why a run ended as it should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Its time was up, or somebody wanted it to.
    Asked,
    /// An interface of that name is there again, and what is attached is not attached to it: everything is to be opened anew.
    Returned(String),
}

/// What a router is made of.
pub struct Parts<R: Store> {
    /// The kernel's state, as of now.
    pub mirror: Mirror,
    /// The interfaces, in the order of the adapters.
    pub ours: Interfaces,
    /// The table that the adapters' extensions read.
    pub layout: Layout,
    /// The region with the table, all zeroes, as the adapters' extensions have it.
    pub region: R,
    /// The adapters, with the extension loaded.
    pub adapters: Vec<Box<dyn Adapter>>,
    /// The classifier, attached, claiming nothing.
    pub classifier: Box<dyn Classifier>,
    /// Whether checksums left to a network card are completed.
    pub complete_checksums: bool,
    /// Whether packets are forwarded although something in the kernel could treat them otherwise.
    pub bypass_kernel_policy: bool,
    /// Whether all interfaces can be opened anew when one is there again that was deleted.
    pub reopens: bool,
    /// Where sentences for people go.
    pub say: Box<dyn FnMut(&str)>,
}

/// A router at work.
pub struct Router<R: Store> {
    mirror: Mirror,
    ours: Interfaces,
    fib: Fib<R>,
    table: Table,
    claims: Claims,
    adapters: Vec<Box<dyn Adapter>>,
    classifier: Box<dyn Classifier>,
    watch: Watch,
    /// Whose packets are, as the classifier was told.
    ownership: Ownership,
    /// Whether the kernel forwards what each interface receives.
    forwarding: Vec<bool>,
    bypass_kernel_policy: bool,
    /// What has been said to be bypassed.
    bypassed: BTreeSet<String>,
    /// What has been said of what carrying costs.
    noted: BTreeSet<String>,
    /// All that kept packets from us since the start.
    reasons: BTreeSet<String>,
    macs: Vec<Option<[u8; 6]>>,
    /// The names of our interfaces, as last heard.
    names: Vec<String>,
    /// Which of our interfaces are there, and whether anybody need look at what they receive.
    presence: Presence,
    /// The table has had no room for some prefix since that was last said.
    lacks_room: bool,
    most_unrepresented: usize,
    next_round: Instant,
    /// Packets the kernel had because an adapter did not look for them: those that have been said, and as of the last round.
    missed: (u64, u64),
    say: Box<dyn FnMut(&str)>,
}

impl<R: Store> Router<R> {
    /// Writes the table, tells the classifier, and enables the adapters that may be.
    ///
    /// # Errors
    /// [`RouterError`]; nothing is claimed then.
    pub fn start(parts: Parts<R>, now: Instant) -> Result<Self, RouterError> {
        let adapters = parts.adapters.len();
        let mut router = Self {
            mirror: parts.mirror,
            fib: Fib::of(
                parts.layout,
                parts.region,
                parts.ours.numbers(),
                parts.complete_checksums,
            ),
            ours: parts.ours,
            table: Table::new(parts.layout.groups(), parts.layout.next_hops()),
            claims: Claims::new(),
            adapters: parts.adapters,
            classifier: parts.classifier,
            watch: Watch::open(now),
            ownership: Ownership::of(adapters, Reach { destinations: true, sets: 0 }, &[]),
            forwarding: vec![false; adapters],
            bypass_kernel_policy: parts.bypass_kernel_policy,
            bypassed: BTreeSet::new(),
            noted: BTreeSet::new(),
            reasons: BTreeSet::new(),
            macs: vec![None; adapters],
            names: vec!["?".to_owned(); adapters],
            presence: Presence::of(adapters, parts.reopens),
            lacks_room: false,
            most_unrepresented: 0,
            next_round: now + freshness::INTERVAL,
            missed: (0, 0),
            say: parts.say,
        };
        // The state may be old, and writing a large table takes its time, too.
        router.mirror.collect(Instant::now())?;
        let rib = Rib { state: router.mirror.state(), ours: &router.ours };
        let update = router.table.build(rib);
        router.carry_out(&update)?;
        router.follow_links();
        let dirty = router.mirror.collect(Instant::now())?;
        router.follow(&dirty)?;
        let review = router.review_policy(true)?;
        router.put_in_force(review)?;
        Ok(router)
    }

    /// What the kernel knows, as far as it told us.
    pub fn state(&self) -> &KernelState {
        self.mirror.state()
    }

    /// The table as written.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Whether the packets an adapter receives are forwarded.
    pub fn is_enabled(&self, adapter: usize) -> bool {
        !self.fib.is_paused(adapter)
    }

    /// The most prefixes at a time that the table had no room for.
    pub fn most_unrepresented(&self) -> usize {
        self.most_unrepresented
    }

    /// What the adapters counted, by interface; an adapter that has ended says so instead.
    pub fn statistics(&self) -> Vec<(String, Result<AdapterStatistics, AdapterError>)> {
        let adapters = self.adapters.iter();
        adapters.map(|adapter| (adapter.name().to_owned(), adapter.statistics())).collect()
    }

    /// Follows the kernel until `until`, or until `interrupted` is readable, or until an interface is there again that was
    /// deleted, and answers whoever asks in between.
    ///
    /// # Errors
    /// [`RouterError`]; the caller should drop what is attached.
    pub fn run(
        &mut self,
        until: Option<Instant>,
        interrupted: BorrowedFd<'_>,
        control: &mut Control<'_>,
    ) -> Result<End, RouterError> {
        loop {
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                return Ok(End::Asked);
            }
            if self.wait(now, until, interrupted, control)? {
                return Ok(End::Asked);
            }
            self.step(Instant::now())?;
            self.attend(control);
            if let Some(name) = self.returned(Instant::now()) {
                return Ok(End::Returned(name));
            }
        }
    }

    /// Gives all packets to the kernel again.
    ///
    /// # Errors
    /// [`RouterError::Fib`].
    pub fn stop(&mut self) -> Result<(), RouterError> {
        let nobody = vec![false; self.adapters.len()];
        self.enable(&nobody)
    }

    /// Sleeps until something happens; whether we were interrupted.
    fn wait(
        &self,
        now: Instant,
        until: Option<Instant>,
        interrupted: BorrowedFd<'_>,
        control: &Control<'_>,
    ) -> Result<bool, RouterError> {
        let deadlines = [
            Some(self.next_round),
            until,
            self.mirror.deadline(),
            Some(self.watch.deadline()),
            control.deadline(now),
            self.presence.deadline(),
        ];
        let next = deadlines.into_iter().flatten().min().unwrap_or(now);
        // Rounded up, or the last millisecond would be spent spinning.
        let sleep = next.saturating_duration_since(now) + Duration::from_millis(1);
        let mut fds = vec![
            PollFd::new(interrupted, PollFlags::POLLIN),
            PollFd::new(self.mirror.as_fd(), PollFlags::POLLIN),
        ];
        fds.extend(self.watch.fds().map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        fds.extend(control.fds());
        match poll(&mut fds, PollTimeout::try_from(sleep).unwrap_or(PollTimeout::MAX)) {
            Ok(_) => Ok(fds[0].any().unwrap_or(true)),
            Err(nix::Error::EINTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Takes in what happened, and does what follows from it.
    ///
    /// # Errors
    /// [`RouterError`].
    pub fn step(&mut self, now: Instant) -> Result<(), RouterError> {
        // Policy waits for nothing: not for a dump, and not for routes to be worked out.
        let mut review = None;
        if self.watch.due(now) {
            review = Some(self.review_policy(false)?);
        }
        let dirty = self.mirror.collect(now)?;
        if dirty.policy || dirty.conf || self.concerns_ours(&dirty) {
            review = Some(self.review_policy(false)?);
        }
        if !dirty.is_empty() {
            self.follow(&dirty)?;
        }
        if let Some(review) = review {
            self.put_in_force(review)?;
        }
        if now >= self.next_round {
            self.next_round = now + freshness::INTERVAL;
            self.refresh_neighbours();
            self.say_what_was_missed();
            self.look_where_needed();
            self.hear_notices()?;
            // An adapter that has ended says so when it is asked anything.
            for (_, counted) in self.statistics() {
                counted?;
            }
        }
        Ok(())
    }

    /// Reads what adapters have to say: that the extension is gone would be an error, and without it
    /// packets must be the kernel's again. Acknowledgements are awaited where they are asked for.
    fn hear_notices(&mut self) -> Result<(), RouterError> {
        for adapter in &mut self.adapters {
            for _ in 0..HOST_FIFO {
                if adapter.receive(Duration::ZERO)?.is_none() {
                    break;
                }
            }
        }
        Ok(())
    }

    fn concerns_ours(&self, dirty: &Dirty) -> bool {
        dirty.links.iter().any(|interface| self.ours.contains(*interface))
    }

    fn follow(&mut self, dirty: &Dirty) -> Result<(), RouterError> {
        let rib = Rib { state: self.mirror.state(), ours: &self.ours };
        let update = self.table.update(rib, dirty);
        self.carry_out(&update)?;
        if self.concerns_ours(dirty) {
            self.follow_links();
        }
        Ok(())
    }

    fn carry_out(&mut self, update: &Update) -> Result<(), RouterError> {
        let starved = self.fib.apply(&update.operations, &mut self.adapters)?;
        let starving = self.table.settle(starved);
        self.say_what_has_no_room();
        let whose = Whose { table: &self.table, ours: &self.ours, ownership: &self.ownership };
        let news = self.claims.update(whose, &update.changed, &starving);
        self.tell(news);
        tracing::debug!(
            operations = update.operations.len(),
            prefixes = update.changed.len(),
            claims = self.claims.len(),
            "followed the kernel"
        );
        Ok(())
    }

    fn say_what_has_no_room(&mut self) {
        let count = self.table.unrepresented();
        if count > 0 && !std::mem::replace(&mut self.lacks_room, count > 0) {
            (self.say)(&format!(
                "the table is full: prefixes without room in it, {count} at first, are left to the kernel"
            ));
        }
        self.lacks_room = count > 0;
        self.most_unrepresented = self.most_unrepresented.max(count);
    }

    /// Tells the classifier our interfaces' Ethernet addresses, where they changed, and people which
    /// interfaces are gone.
    fn follow_links(&mut self) {
        for (adapter, interface) in self.ours.indices().iter().enumerate() {
            let Some(link) = self.mirror.state().links.get(interface) else {
                if self.presence.note_deleted(*interface) {
                    let name = &self.names[adapter];
                    let then = match self.presence.reopens() {
                        true => "when one of that name is there again it is opened",
                        false => "restart spine-router to forward on it again",
                    };
                    (self.say)(&format!("interface {name} was deleted: {then}"));
                }
                continue;
            };
            self.names[adapter].clone_from(&link.name);
            let known = self.macs.get(adapter).copied().flatten();
            let Some(mac) = link.mac.filter(|mac| known != Some(*mac)) else { continue };
            match self.classifier.set_mac(*interface, mac) {
                Ok(()) => self.macs[adapter] = Some(mac),
                Err(error) => tracing::warn!(%error, "packets to the new address are the kernel's"),
            }
        }
    }

    /// Says once, when it is over, that the adapters did not look for their packets, and the kernel had them.
    fn say_what_was_missed(&mut self) {
        let missed = self.classifier.missed();
        let is_over = missed == std::mem::replace(&mut self.missed.1, missed);
        if is_over && missed > self.missed.0 {
            let packets = missed - self.missed.0;
            self.missed.0 = missed;
            (self.say)(&format!(
                "the adapters did not run for a while (stopped, or short of processor time): the kernel forwarded {packets} packets in \
                 their place"
            ));
        }
    }

    fn refresh_neighbours(&mut self) {
        let stale =
            freshness::to_report(self.mirror.state(), self.table.neighbours_in_use(), |next_hop| {
                self.fib.take_used(next_hop)
            });
        for (interface, address) in stale {
            let reported = freshness::report(self.mirror.requests(), interface, address);
            if let Err(error) = reported {
                tracing::warn!(%error, %address, "the neighbour may go stale");
            }
        }
    }
}

#[cfg(test)]
mod tests;
