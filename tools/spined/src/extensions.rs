//! The extensions on the adapters: whose they are, and what they hold.

use std::collections::{BTreeMap, HashMap};
use std::os::fd::OwnedFd;

use spine_abi::interface::{Domain, Domains};
use spine_abi::{HandlerNumber, Notice};
use spine_client::daemon::protocol::{Bill, ExtensionInfo, ExtensionNumber};
use spine_client::signature::PublicKey;
use spine_io::ExtensionId;
use spine_io::stats::Mail;
use spine_policy::{Limits, Policy};

use crate::claims::Claims;
use crate::clients::{ClientId, Who};
use crate::domains::Linkage;
use crate::numbers::Numbers;

/// An extension that runs.
#[derive(Debug)]
pub(crate) struct Extension {
    pub(crate) name: String,
    /// The position of its interface.
    pub(crate) wire: usize,
    pub(crate) interface: String,
    /// Where it is on its adapter.
    pub(crate) place: ExtensionId,
    /// Who loaded it, as he was then.
    pub(crate) who: Who,
    /// Whose end is its end; `None` if it is kept.
    pub(crate) owner: Option<ClientId>,
    /// Who is told of its end.
    pub(crate) listeners: Vec<ClientId>,
    /// Its handlers as its author numbers them, and the numbers they have on its adapter.
    pub(crate) handlers: Vec<u16>,
    pub(crate) numbers: Vec<u16>,
    /// Which of its user's clients loaded it: its handlers' numbers are that one's.
    pub(crate) client: ClientId,
    pub(crate) domains: Domains,
    pub(crate) linkage: Linkage,
    pub(crate) claims: Claims,
    /// The endpoints on other machines it may send to.
    pub(crate) peers: Vec<String>,
    /// The handler that gets what it claims.
    pub(crate) receiver: HandlerNumber,
    /// The regions' files, to be handed over to its next version, and their bytes.
    pub(crate) regions: Vec<(OwnedFd, u64)>,
    /// Bytes of linear memory.
    pub(crate) memory: u64,
    pub(crate) fuel: u64,
    pub(crate) messages_per_second: u32,
    pub(crate) version: u32,
    /// Whose valid signature it carries.
    pub(crate) signer: Option<PublicKey>,
    /// Why the policy, as it is now, would not have it loaded.
    pub(crate) uncovered: Option<String>,
}

/// All of them, by number and by place.
#[derive(Debug, Default)]
pub(crate) struct Extensions {
    last: ExtensionNumber,
    all: BTreeMap<ExtensionNumber, Extension>,
    places: HashMap<(usize, u16), ExtensionNumber>,
    /// The numbers that handlers have on their adapters.
    pub(crate) numbers: Numbers,
    /// Notices on their way about those that were at a place before, which are known to be gone.
    stale: HashMap<(usize, u16), u32>,
    /// Those that their adapters were asked to unload and have not answered for, and whether a notice has come of
    /// one meanwhile.
    leaving: HashMap<(usize, u16), bool>,
    /// Those that adapters were asked to install and have not answered for, by adapter.
    arriving: HashMap<usize, u32>,
    /// Notices of the end of some of these.
    early: HashMap<(usize, u16), Notice>,
}

/// What a user has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) extensions: u32,
    pub(crate) memory: u64,
    pub(crate) region_bytes: u64,
    /// Prefixes in classifiers.
    pub(crate) claims: u64,
}

impl Usage {
    /// What is over a limit when this is added, as a sentence.
    pub(crate) fn over(self, more: Self, limits: &Limits) -> Option<String> {
        let extensions = u64::from(self.extensions) + u64::from(more.extensions);
        let memory = self.memory + more.memory;
        let regions = self.region_bytes + more.region_bytes;
        let claims = self.claims + more.claims;
        let over = |what: &str, found: u64, most: u64| {
            (found > most).then(|| {
                format!("that makes {found} {what}, and the policy allows this user {most}")
            })
        };
        over("extensions", extensions, limits.extensions.into())
            .or_else(|| over("bytes of extensions' memory", memory, limits.memory))
            .or_else(|| over("bytes of regions", regions, limits.region_bytes))
            .or_else(|| over("prefixes", claims, limits.claims))
    }
}

impl Extension {
    /// Bytes of its regions.
    pub(crate) fn region_bytes(&self) -> u64 {
        self.regions.iter().map(|(_, bytes)| bytes).sum()
    }

    /// What the classifier stamps on packets that are for its receiver.
    pub(crate) fn stamp(&self) -> HandlerNumber {
        let at = self.handlers.iter().position(|own| *own == self.receiver.0);
        let number = at.and_then(|at| self.numbers.get(at)).copied();
        number.map_or(self.receiver, HandlerNumber)
    }

    /// What clients are told of it; its adapter says what it has sent and received, and what it costs.
    pub(crate) fn describe(
        &self,
        number: ExtensionNumber,
        mail: Mail,
        bill: Bill,
    ) -> ExtensionInfo {
        ExtensionInfo {
            number,
            name: self.name.clone(),
            interface: self.interface.clone(),
            place: self.place.0,
            user: self.who.user,
            keep: self.owner.is_none(),
            handlers: self.handlers.clone(),
            numbers: self.numbers.clone(),
            domains: self
                .domains
                .iter()
                .map(Domain::name)
                .map(str::to_owned)
                .chain(self.linkage.links.clone())
                .collect(),
            prefixes: self.claims.shown(),
            claimed: u32::try_from(self.claims.prefixes.len()).unwrap_or(u32::MAX),
            paused: self.claims.paused,
            ports: self.claims.ports.clone(),
            peers: self.peers.clone(),
            regions: self.regions.iter().map(|(_, bytes)| *bytes).collect(),
            version: self.version,
            uncovered: self.uncovered.clone(),
            sent: mail.from_host,
            received: mail.to_host,
            lost: mail.lost,
            bill,
        }
    }
}

impl Extensions {
    /// One more, with a number that none had before.
    pub(crate) fn insert(&mut self, extension: Extension) -> ExtensionNumber {
        self.last += 1;
        self.places.insert((extension.wire, extension.place.0), self.last);
        self.all.insert(self.last, extension);
        self.last
    }

    /// One less.
    pub(crate) fn remove(&mut self, number: ExtensionNumber) -> Option<Extension> {
        let extension = self.all.remove(&number)?;
        self.places.remove(&(extension.wire, extension.place.0));
        self.numbers.take_back(extension.wire, &extension.numbers);
        Some(extension)
    }

    /// By number.
    pub(crate) fn get(&self, number: ExtensionNumber) -> Option<&Extension> {
        self.all.get(&number)
    }

    /// By number.
    pub(crate) fn get_mut(&mut self, number: ExtensionNumber) -> Option<&mut Extension> {
        self.all.get_mut(&number)
    }

    /// Who is at a place.
    pub(crate) fn at(&self, wire: usize, place: u16) -> Option<ExtensionNumber> {
        self.places.get(&(wire, place)).copied()
    }

    /// Says that a notice about a place is on its way, and news to nobody.
    pub(crate) fn expect_notice(&mut self, wire: usize, place: u16) {
        *self.stale.entry((wire, place)).or_default() += 1;
    }

    /// Whom a notice of an end is about; `None` if that one is known to be gone, or is not known yet.
    pub(crate) fn noticed(
        &mut self,
        wire: usize,
        place: u16,
        notice: Notice,
    ) -> Option<ExtensionNumber> {
        let at = (wire, place);
        if let Some(expected) = self.stale.get_mut(&at).filter(|expected| **expected > 0) {
            *expected -= 1;
            return None;
        }
        let found = self.places.get(&at).copied();
        if found.is_none() {
            if let Some(heard) = self.leaving.get_mut(&at) {
                *heard = true;
            } else if self.arriving.contains_key(&wire) {
                self.early.insert(at, notice);
            }
        }
        found
    }

    /// An adapter was asked to unload what is at a place.
    pub(crate) fn leaves(&mut self, wire: usize, place: u16) {
        self.leaving.insert((wire, place), false);
    }

    /// It has answered: whether that was still there. If not, it had ended by itself before, and its notice, unless
    /// it has come, must not be taken for the next one's at this place.
    pub(crate) fn left(&mut self, wire: usize, place: u16, was_there: bool) {
        let heard = self.leaving.remove(&(wire, place)).unwrap_or(false);
        if !was_there && !heard {
            self.expect_notice(wire, place);
        }
    }

    /// An adapter was asked to install one more.
    pub(crate) fn expect_arrival(&mut self, wire: usize) {
        *self.arriving.entry(wire).or_default() += 1;
    }

    /// It has answered; the notice of the end of what it installed, if that came first.
    pub(crate) fn arrived(&mut self, wire: usize, place: Option<u16>) -> Option<Notice> {
        let ended = place.and_then(|place| self.early.remove(&(wire, place)));
        if let Some(left) = self.arriving.get_mut(&wire) {
            *left -= 1;
            if *left == 0 {
                self.arriving.remove(&wire);
                self.early.retain(|(of, _), _| *of != wire);
            }
        }
        ended
    }

    /// All with a number above `after`.
    pub(crate) fn after(
        &self,
        after: ExtensionNumber,
    ) -> impl Iterator<Item = (ExtensionNumber, &Extension)> {
        let first = after.saturating_add(1);
        self.all.range(first..).map(|(number, extension)| (*number, extension))
    }

    /// How many are on an interface.
    pub(crate) fn on(&self, wire: usize) -> usize {
        self.all.values().filter(|extension| extension.wire == wire).count()
    }

    /// Whose end is a client's.
    pub(crate) fn owned_by(&self, client: ClientId) -> Vec<ExtensionNumber> {
        let owned = self.all.iter().filter(|(_, extension)| extension.owner == Some(client));
        owned.map(|(number, _)| *number).collect()
    }

    /// Refuses a client two handlers of one number on an adapter, where messages could not tell them apart.
    ///
    /// # Errors
    /// A sentence: which.
    pub(crate) fn are_new(
        &self,
        wire: usize,
        client: ClientId,
        name: &str,
        own: &[u16],
    ) -> Result<(), String> {
        let same = self.all.iter().filter(|(_, it)| it.wire == wire && it.client == client);
        for (number, it) in same {
            if let Some(taken) = own.iter().find(|own| it.handlers.contains(own)) {
                return Err(format!(
                    "handler {taken} of extension {name} is taken on adapter {}: extension {number} ({}) of the same application has it",
                    it.interface, it.name
                ));
            }
        }
        Ok(())
    }

    /// Forgets a listener.
    pub(crate) fn forget(&mut self, client: ClientId) {
        for extension in self.all.values_mut() {
            extension.listeners.retain(|listener| *listener != client);
        }
    }

    /// Files that the extensions of each user hold.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (u32, usize)> {
        self.all.values().map(|extension| (extension.who.user, extension.regions.len()))
    }

    /// Takes in that the policy is another one.
    pub(crate) fn stand(&mut self, policy: &Policy) {
        for extension in self.all.values_mut() {
            extension.who.stand(policy);
        }
    }

    /// What a user has in all.
    pub(crate) fn usage(&self, user: u32) -> Usage {
        let mut usage = Usage::default();
        for extension in self.all.values().filter(|extension| extension.who.user == user) {
            usage.extensions += 1;
            usage.memory += extension.memory;
            usage.region_bytes += extension.region_bytes();
            usage.claims += extension.claims.prefixes.len() as u64;
        }
        usage
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_over_a_limit_is_named_with_the_limit() {
        let limits = Limits { extensions: 2, memory: 100, region_bytes: 10, ..Limits::USUAL };
        let has = Usage { extensions: 1, memory: 60, region_bytes: 0, claims: 4000 };
        let wants = |extensions, memory, region_bytes| {
            has.over(Usage { extensions, memory, region_bytes, claims: 96 }, &limits)
        };
        assert_eq!(wants(1, 40, 10), None);
        assert!(wants(2, 0, 0).is_some_and(|text| text.contains("3 extensions")));
        assert!(wants(1, 41, 0).is_some_and(|text| text.contains("101 bytes of extensions'")));
        assert!(wants(1, 0, 11).is_some_and(|text| text.contains("allows this user 10")));
        let claims = has.over(Usage { claims: 97, ..Usage::default() }, &limits);
        assert!(claims.is_some_and(|text| text.contains("4097 prefixes, and the policy allows")));
    }

    fn notice(extension: u16) -> Notice {
        Notice::Unloaded { extension, offence: spine_abi::notice::Offence::Trapped, strikes: 9 }
    }

    #[test]
    fn a_notice_that_comes_before_the_answer_is_for_the_one_it_is_about() {
        let mut all = Extensions::default();
        // Installed and ended again before the server has heard of either.
        all.expect_arrival(0);
        assert_eq!(all.noticed(0, 3, notice(3)), None);
        assert_eq!(all.noticed(0, 4, notice(4)), None);
        assert_eq!(all.arrived(0, Some(3)), Some(notice(3)));
        all.expect_arrival(0);
        assert_eq!(all.arrived(0, Some(4)), None, "nobody's any more");
        // On another adapter nothing was expected, so nothing is kept.
        assert_eq!(all.noticed(1, 3, notice(3)), None);
        all.expect_arrival(1);
        assert_eq!(all.arrived(1, Some(3)), None);
    }

    #[test]
    fn the_notice_of_one_that_ended_before_it_was_unloaded_is_never_its_successors() {
        for notice_first in [true, false] {
            let mut all = Extensions::default();
            all.leaves(0, 3);
            if notice_first {
                assert_eq!(all.noticed(0, 3, notice(3)), None);
            }
            all.left(0, 3, false);
            all.expect_arrival(0);
            if !notice_first {
                assert_eq!(all.noticed(0, 3, notice(3)), None);
            }
            assert_eq!(all.arrived(0, Some(3)), None, "notice first: {notice_first}");
        }
    }
}
