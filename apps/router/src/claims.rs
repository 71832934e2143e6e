//! What the classifier must know: which destinations are ours, and from which of our interfaces.
//!
//! A prefix is ours from an interface when the way from there to each of the prefix's ways out is ours ([`Ownership`]), when
//! its target forwards to known neighbours on our interfaces, or drops ([`Entry::is_ours`]), and the table has room for that: what the adapters would
//! only hand over is cheaper left alone, which goes for a starved /24 as a whole. The classifier keeps a trie with the longest match deciding and the kernel as the answer where nothing matches,
//! so only prefixes that differ from the one around them are told to it.
//!
//! The table has the last word: a packet that the classifier claims although its route has just gone
//! is given to the kernel by the extension. So claims may trail the table, and do.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use prefix_trie::PrefixMap;
use spine_abi::Reason;
use spine_nic::open::Ingresses;
use spine_rules::Kept;

use crate::interfaces::Interfaces;
use crate::netlink::state::IfIndex;
use crate::ownership::{Ownership, Reach};
use crate::rib::Target;
use crate::table::{Changed, Entry, Table};

/// The classifier's maps could not be written.
#[derive(Debug, thiserror::Error)]
#[error("classifier: {0}")]
pub struct ClassifierError(pub String);

/// The classifier's maps, as the host half writes them.
pub trait Classifier {
    /// What it can tell apart.
    fn reach(&self) -> Reach;
    /// Packets to this prefix are ours if they come in on one of these interfaces, unless a longer one says otherwise.
    ///
    /// # Errors
    /// [`ClassifierError`], a full map among others.
    fn set_claim(&mut self, prefix: IpNet, from: Ingresses) -> Result<(), ClassifierError>;
    /// These are the kernel's of what an interface of ours receives, in place of those said before; no more of them than
    /// are [in reach](Self::reach).
    ///
    /// # Errors
    /// [`ClassifierError`]; what was said before holds, then.
    fn set_kept(&mut self, interface: IfIndex, sets: &[Kept]) -> Result<(), ClassifierError>;
    /// Nothing is said of this prefix any more.
    ///
    /// # Errors
    /// [`ClassifierError`].
    fn remove_claim(&mut self, prefix: IpNet) -> Result<(), ClassifierError>;
    /// This is an address of this machine, or a broadcast address of its links.
    ///
    /// # Errors
    /// [`ClassifierError`], a full map among others.
    fn set_address(&mut self, address: IpAddr) -> Result<(), ClassifierError>;
    /// It is not any more.
    ///
    /// # Errors
    /// [`ClassifierError`].
    fn remove_address(&mut self, address: IpAddr) -> Result<(), ClassifierError>;
    /// IPv4 packets received on this interface of ours are claimed at all; nothing is, at first.
    ///
    /// # Errors
    /// [`ClassifierError`].
    fn set_enabled(&mut self, interface: IfIndex, enabled: bool) -> Result<(), ClassifierError>;
    /// The same of IPv6, where the classifier [knows it](Self::knows_ipv6).
    ///
    /// # Errors
    /// [`ClassifierError`]: it does not, among others.
    fn set_enabled_ipv6(
        &mut self,
        interface: IfIndex,
        enabled: bool,
    ) -> Result<(), ClassifierError> {
        let _ = interface;
        let refused = || Err(ClassifierError("IPv6 is the kernel's here".to_owned()));
        if enabled { refused() } else { Ok(()) }
    }
    /// Whether IPv6 packets can be claimed at all.
    fn knows_ipv6(&self) -> bool {
        false
    }
    /// An interface of ours has this Ethernet address now: only packets sent to it are claimed.
    ///
    /// # Errors
    /// [`ClassifierError`].
    fn set_mac(&mut self, interface: IfIndex, mac: [u8; 6]) -> Result<(), ClassifierError>;
    /// Something of what this interface of ours receives will be claimed, as at first, or nothing for a while: then nobody need look
    /// at its packets.
    ///
    /// # Errors
    /// [`ClassifierError`]; what it receives is the kernel's.
    fn set_needed(&mut self, interface: IfIndex, needed: bool) -> Result<(), ClassifierError> {
        let _ = (interface, needed);
        Ok(())
    }
    /// Packets that the kernel had since the start because an adapter did not look for them; none where nobody counts.
    fn missed(&self) -> u64 {
        0
    }
    /// What was said of claims and addresses holds when this returns, if not before: a classifier that is
    /// elsewhere is told of many at a time.
    ///
    /// # Errors
    /// [`ClassifierError`]; some of it may not hold.
    fn flush(&mut self) -> Result<(), ClassifierError> {
        Ok(())
    }
}

/// One thing to tell the classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimChange {
    /// [`Classifier::set_claim`].
    Set(Ipv4Net, Ingresses),
    /// [`Classifier::remove_claim`].
    Remove(Ipv4Net),
    /// [`Classifier::set_address`].
    SetAddress(Ipv4Addr),
    /// [`Classifier::remove_address`].
    RemoveAddress(Ipv4Addr),
}

impl ClaimChange {
    /// Tells it.
    ///
    /// # Errors
    /// As the classifier says.
    pub fn tell(self, classifier: &mut dyn Classifier) -> Result<(), ClassifierError> {
        match self {
            Self::Set(prefix, from) => classifier.set_claim(prefix.into(), from),
            Self::Remove(prefix) => classifier.remove_claim(prefix.into()),
            Self::SetAddress(address) => classifier.set_address(address.into()),
            Self::RemoveAddress(address) => classifier.remove_address(address.into()),
        }
    }
}

/// What the classifier has been told.
#[derive(Debug, Default)]
pub struct Claims {
    told: PrefixMap<Ipv4Net, Ingresses>,
}

/// Whose packets are, by where they come in and where they go.
#[derive(Clone, Copy)]
pub struct Whose<'a> {
    /// The table.
    pub table: &'a Table,
    /// Our interfaces.
    pub ours: &'a Interfaces,
    /// The ways between them.
    pub ownership: &'a Ownership,
}

impl Whose<'_> {
    /// Whether a prefix is the kernel's for want of room around it.
    pub(crate) fn is_starved(&self, prefix: Ipv4Net) -> bool {
        is_starved(self.table, prefix)
    }

    /// The interfaces from which packets to a prefix are ours that is painted so.
    fn from(&self, entry: &Entry) -> Ingresses {
        let indices = self.ours.indices();
        let position = |interface| indices.iter().position(|ours| *ours == interface);
        let by_target = |at: &usize| indices.get(*at).is_some_and(|from| entry.ours_from(*from));
        let from: u64 = (0..indices.len().min(64)).filter(by_target).map(|at| 1 << at).sum();
        let hops = match entry.target() {
            Target::Forward(hops) => hops.as_slice(),
            _ => &[],
        };
        // A way out that is not one of ours would not be here; its packets would be the kernel's.
        let out = hops.iter().map(|(hop, _)| position(hop.interface).unwrap_or(usize::MAX));
        Ingresses(from & self.ownership.from(out).0)
    }

    /// The same of the prefix around one; without one, everything is the kernel's.
    fn around(&self, prefix: Ipv4Net) -> Ingresses {
        let Some(parent) = prefix.supernet() else { return Ingresses::NONE };
        if is_starved(self.table, parent) {
            return Ingresses::NONE;
        }
        let painted = self.table.painted().get_lpm(&parent);
        painted.map_or(Ingresses::NONE, |(_, entry)| self.from(entry))
    }
}

impl Claims {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The longest prefix with this address that the classifier knows, and from where packets to it are ours.
    pub fn longest(&self, address: Ipv4Addr) -> Option<(Ipv4Net, Ingresses)> {
        self.told.get_lpm(&Ipv4Net::from(address)).map(|(prefix, from)| (prefix, *from))
    }

    /// How many prefixes the classifier knows.
    pub fn len(&self) -> usize {
        self.told.len()
    }

    /// Whether it knows none: everything is the kernel's.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// What to tell the classifier after these prefixes of the table changed, and these /24s were
    /// starved or are not any more.
    pub fn update(
        &mut self,
        whose: Whose<'_>,
        changed: &[Changed],
        starving: &BTreeSet<Ipv4Net>,
    ) -> Vec<ClaimChange> {
        let table = whose.table;
        let painted = table.painted();
        let mut news = Vec::new();
        for Changed { prefix, before, after } in changed {
            if prefix.prefix_len() == 32 {
                news.extend(address_change(*prefix, before.as_ref(), after.as_ref()));
            }
            self.review(whose, *prefix, &mut news);
            // What lies directly inside compares itself with this prefix, unless it looks the same.
            let from = |entry: &Option<Entry>| entry.as_ref().map(|entry| whose.from(entry));
            let looks_the_same = from(before) == from(after) && before.is_some();
            if !looks_the_same {
                for child in directly_inside(painted, *prefix) {
                    self.review(whose, child, &mut news);
                }
                // In order, those inside a prefix follow it.
                let inside = table.starved().range(*prefix..);
                for starved in inside.take_while(|starved| prefix.contains(*starved)) {
                    self.review(whose, *starved, &mut news);
                }
            }
        }
        for prefix in starving {
            self.review(whose, *prefix, &mut news);
            for (child, _) in painted.children(prefix) {
                self.review(whose, child, &mut news);
            }
        }
        news
    }

    /// What to tell the classifier after the ways changed: every prefix is looked at again.
    pub fn review_all(&mut self, whose: Whose<'_>) -> Vec<ClaimChange> {
        let mut news = Vec::new();
        for (prefix, _) in whose.table.painted() {
            self.review(whose, prefix, &mut news);
        }
        for prefix in whose.table.starved() {
            self.review(whose, *prefix, &mut news);
        }
        news
    }

    /// Brings what the classifier knows of one prefix up to date.
    fn review(&mut self, whose: Whose<'_>, prefix: Ipv4Net, news: &mut Vec<ClaimChange>) {
        let painted = whose.table.painted().get(&prefix).map(|entry| whose.from(entry));
        let starved = is_starved(whose.table, prefix);
        let wanted = if starved { Some(Ingresses::NONE) } else { painted };
        let wanted = wanted.filter(|from| *from != whose.around(prefix));
        if self.told.get(&prefix) == wanted.as_ref() {
            return;
        }
        match wanted {
            Some(from) => {
                self.told.insert(prefix, from);
                news.push(ClaimChange::Set(prefix, from));
            }
            None => {
                self.told.remove(&prefix);
                news.push(ClaimChange::Remove(prefix));
            }
        }
    }
}

/// Whether the prefix is, or lies in, a starved /24; or all are starved, as where an LC-trie is too small.
fn is_starved(table: &Table, prefix: Ipv4Net) -> bool {
    if table.starved().contains(&Ipv4Net::default()) {
        return true;
    }
    let within = Ipv4Net::new(prefix.addr(), 24).map(|net| net.trunc());
    prefix.prefix_len() >= 24 && within.is_ok_and(|net| table.starved().contains(&net))
}

fn directly_inside(painted: &PrefixMap<Ipv4Net, Entry>, prefix: Ipv4Net) -> Vec<Ipv4Net> {
    let mut last: Option<Ipv4Net> = None;
    let inside = painted.children(&prefix).map(|(child, _)| child).filter(|child| *child != prefix);
    // In order, a prefix comes before those inside it.
    inside
        .filter(|child| {
            let direct = last.is_none_or(|last| !last.contains(child));
            if direct {
                last = Some(*child);
            }
            direct
        })
        .collect()
}

fn address_change(
    prefix: Ipv4Net,
    before: Option<&Entry>,
    after: Option<&Entry>,
) -> Option<ClaimChange> {
    let local = |entry: Option<&Entry>| {
        entry.is_some_and(|entry| *entry.target() == Target::Kernel(Reason::Local))
    };
    match (local(before), local(after)) {
        (false, true) => Some(ClaimChange::SetAddress(prefix.addr())),
        (true, false) => Some(ClaimChange::RemoveAddress(prefix.addr())),
        _ => None,
    }
}
