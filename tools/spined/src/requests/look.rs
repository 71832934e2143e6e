//! What clients may see: adapters, extensions, what was counted.
//!
//! The lists of extensions and of peers say what each has sent and received, which only its adapter knows. Every
//! adapter concerned is asked; one that does not answer at once ([`GLANCE`]) is not waited for, and what is on it is
//! shown with what it said last.

use std::collections::{BTreeSet, HashMap};
use std::time::{Duration, Instant};

use spine_client::daemon::protocol::{AdapterInfo, Answer, Bill, ExtensionNumber, PAGE};
use spine_io::runtime::Statistics;
use spine_io::stats::Mail;
use spine_io::{ExtensionId, LoadError};
use spine_nic::open::Steering as _;
use spine_remote::PeeringStatistics;

use crate::asks::Caller;
use crate::server::Server;
use crate::statistics;

/// How long a list waits for adapters.
const GLANCE: Duration = Duration::from_millis(100);

/// What a list is of.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Extensions { after: ExtensionNumber },
    Peers,
}

/// What adapters said last.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// What extensions and their applications have sent each other.
    mail: HashMap<(usize, ExtensionId), Mail>,
    /// What extensions have cost their adapters.
    bills: HashMap<(usize, ExtensionId), Bill>,
    /// What endpoints on other machines and we have sent each other, in their order on each adapter.
    peers: HashMap<usize, Vec<PeeringStatistics>>,
}

/// A list that waits for adapters.
#[derive(Debug)]
pub(crate) struct Listing {
    number: u64,
    caller: Caller,
    wanted: Wanted,
    /// The adapters that have not answered.
    missing: BTreeSet<usize>,
    until: Instant,
}

impl Server {
    pub(super) fn adapters(&self) -> Answer {
        let describe = |(position, wire): (usize, &crate::wires::Wire)| AdapterInfo {
            interface: wire.name.clone(),
            index: u16::try_from(position).unwrap_or(u16::MAX),
            mode: wire.mode.clone(),
            extensions: u32::try_from(self.extensions.on(position)).unwrap_or(u32::MAX),
        };
        Answer::Adapters(self.wires.wires.iter().enumerate().map(describe).collect())
    }

    pub(super) fn statistics(&mut self, caller: Caller, interface: &str) -> Result<(), String> {
        let wire = self.position(interface)?;
        self.ask_for(
            caller,
            wire,
            |adapter| adapter.statistics(),
            move |server, caller, counted| {
                let answer = server.translate(wire, counted);
                server.answer_caller(caller, answer.map(|answer| (answer, Vec::new())));
            },
        )
    }

    fn translate(
        &mut self,
        position: usize,
        counted: Result<Statistics, LoadError>,
    ) -> Result<Answer, String> {
        let counted = counted.map_err(|error| error.to_string())?;
        let classified = match self.wires.wires.get(position) {
            Some(wire) => wire.steering.counters().map_err(|error| error.to_string())?,
            None => Vec::new(),
        };
        let user_of = |fifo| self.clients.user_of(position, fifo);
        Ok(Answer::Statistics(Box::new(statistics::translate(&counted, &classified, user_of))))
    }

    /// Begins a list of extensions.
    pub(super) fn list_extensions(&mut self, caller: Caller, after: ExtensionNumber) {
        let page = self.extensions.after(after).take(PAGE);
        let wires = page.map(|(_, extension)| extension.wire).collect();
        self.list(caller, Wanted::Extensions { after }, wires);
    }

    /// Begins a list of endpoints on other machines.
    pub(super) fn list_peers(&mut self, caller: Caller) {
        let wires = self.wires.peers.iter().map(|peer| peer.wire).collect();
        self.list(caller, Wanted::Peers, wires);
    }

    fn list(&mut self, caller: Caller, wanted: Wanted, wires: BTreeSet<usize>) {
        self.listed += 1;
        let number = self.listed;
        let mut missing = BTreeSet::new();
        for wire in wires {
            let hear = move |server: &mut Self, _, counted| server.hear(number, wire, counted);
            let asked = !self.asks.is_crowded(wire, caller.user)
                && self.asks.ask(wire, None, |adapter| adapter.statistics(), hear).is_ok();
            if asked {
                missing.insert(wire);
            }
        }
        if let Some(client) = self.clients.all.get_mut(&caller.client) {
            client.busy = true;
        }
        let until = Instant::now() + GLANCE;
        self.listings.push(Listing { number, caller, wanted, missing, until });
        self.finish_listings(Instant::now());
    }

    fn hear(&mut self, listing: u64, wire: usize, counted: Result<Statistics, LoadError>) {
        if let Ok(counted) = counted {
            let Heard { mail, bills, peers } = &mut self.heard;
            mail.retain(|(of, _), _| *of != wire);
            mail.extend(counted.mail.into_iter().map(|(place, mail)| ((wire, place), mail)));
            bills.retain(|(of, _), _| *of != wire);
            let known = counted.extensions.into_iter();
            bills.extend(known.map(|it| ((wire, it.id), statistics::bill(it))));
            peers.insert(wire, counted.remotes);
        }
        let waits = self.listings.iter_mut().find(|waits| waits.number == listing);
        if let Some(waits) = waits {
            waits.missing.remove(&wire);
        }
        self.finish_listings(Instant::now());
    }

    /// Answers the lists that every adapter has answered, and those that have waited long enough.
    pub(crate) fn finish_listings(&mut self, now: Instant) {
        let ready = |listing: &mut Listing| listing.missing.is_empty() || listing.until <= now;
        let ready: Vec<Listing> = self.listings.extract_if(.., ready).collect();
        for Listing { caller, wanted, .. } in ready {
            let Some(client) = self.clients.all.get_mut(&caller.client) else { continue };
            client.busy = false;
            let answer = match wanted {
                Wanted::Extensions { after } => self.page(after),
                Wanted::Peers => self.peers(),
            };
            self.answer(caller.client, caller.call, Ok(answer));
        }
    }

    /// When the next list has waited long enough.
    pub(crate) fn listing_due(&self) -> Option<Instant> {
        self.listings.iter().map(|listing| listing.until).min()
    }

    fn page(&self, after: ExtensionNumber) -> Answer {
        let mut all = self.extensions.after(after);
        let extensions = all.by_ref().take(PAGE).map(|(number, extension)| {
            let place = (extension.wire, extension.place);
            let mail = self.heard.mail.get(&place).copied().unwrap_or_default();
            let bill = self.heard.bills.get(&place).cloned().unwrap_or_default();
            extension.describe(number, mail, bill)
        });
        let extensions = extensions.collect();
        Answer::Extensions { extensions, more: all.next().is_some() }
    }

    fn peers(&self) -> Answer {
        let peers = self.wires.peers.iter().filter_map(|peer| {
            let wire = self.wires.wires.get(peer.wire)?;
            let counted = self.heard.peers.get(&peer.wire).and_then(|all| all.get(peer.place));
            let adapters = self.wires.wires.len();
            Some(peer.describe(&wire.name, adapters, counted.copied().unwrap_or_default()))
        });
        Answer::Peers(peers.collect())
    }
}
