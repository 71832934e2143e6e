//! What the classifier must know: which destinations are ours.
//!
//! A prefix is ours when its target forwards to a gateway or a known neighbour on one of our
//! interfaces, or drops ([`Target::is_ours`]), and the table has room for that: what the adapters would
//! only hand over is cheaper left alone, which goes for a starved /24 as a whole. The classifier keeps a trie with the longest match deciding and the kernel as the answer where nothing matches,
//! so only prefixes that differ from the one around them are told to it.
//!
//! The table has the last word: a packet that the classifier claims although its route has just gone
//! is given to the kernel by the extension. So claims may trail the table, and do.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use prefix_trie::PrefixMap;
use spine_abi::Reason;

use crate::netlink::state::IfIndex;
use crate::rib::Target;
use crate::table::{Changed, Entry, Table};

/// The classifier's maps could not be written.
#[derive(Debug, thiserror::Error)]
#[error("classifier: {0}")]
pub struct ClassifierError(pub String);

/// The classifier's maps, as the host half writes them.
pub trait Classifier {
    /// Packets to this prefix are ours, or not, unless a longer one says otherwise.
    ///
    /// # Errors
    /// [`ClassifierError`], a full map among others.
    fn set_claim(&mut self, prefix: Ipv4Net, ours: bool) -> Result<(), ClassifierError>;
    /// Nothing is said of this prefix any more.
    ///
    /// # Errors
    /// [`ClassifierError`].
    fn remove_claim(&mut self, prefix: Ipv4Net) -> Result<(), ClassifierError>;
    /// This is an address of this machine, or a broadcast address of its links.
    ///
    /// # Errors
    /// [`ClassifierError`], a full map among others.
    fn set_address(&mut self, address: Ipv4Addr) -> Result<(), ClassifierError>;
    /// It is not any more.
    ///
    /// # Errors
    /// [`ClassifierError`].
    fn remove_address(&mut self, address: Ipv4Addr) -> Result<(), ClassifierError>;
    /// Packets received on this interface of ours are claimed at all; nothing is, at first.
    ///
    /// # Errors
    /// [`ClassifierError`].
    fn set_enabled(&mut self, interface: IfIndex, enabled: bool) -> Result<(), ClassifierError>;
    /// An interface of ours has this Ethernet address now: only packets sent to it are claimed.
    ///
    /// # Errors
    /// [`ClassifierError`].
    fn set_mac(&mut self, interface: IfIndex, mac: [u8; 6]) -> Result<(), ClassifierError>;
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
    Set(Ipv4Net, bool),
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
            Self::Set(prefix, ours) => classifier.set_claim(prefix, ours),
            Self::Remove(prefix) => classifier.remove_claim(prefix),
            Self::SetAddress(address) => classifier.set_address(address),
            Self::RemoveAddress(address) => classifier.remove_address(address),
        }
    }
}

/// What the classifier has been told.
#[derive(Debug, Default)]
pub struct Claims {
    told: PrefixMap<Ipv4Net, bool>,
}

impl Claims {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
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
        table: &Table,
        changed: &[Changed],
        starving: &BTreeSet<Ipv4Net>,
    ) -> Vec<ClaimChange> {
        let painted = table.painted();
        let mut news = Vec::new();
        for Changed { prefix, before, after } in changed {
            if prefix.prefix_len() == 32 {
                news.extend(address_change(*prefix, before.as_ref(), after.as_ref()));
            }
            self.review(table, *prefix, &mut news);
            // What lies directly inside compares itself with this prefix, unless it looks the same.
            let looks_the_same = before.as_ref().map(Entry::is_ours)
                == after.as_ref().map(Entry::is_ours)
                && before.is_some();
            if !looks_the_same {
                for child in directly_inside(painted, *prefix) {
                    self.review(table, child, &mut news);
                }
                // In order, those inside a prefix follow it.
                let inside = table.starved().range(*prefix..);
                for starved in inside.take_while(|starved| prefix.contains(*starved)) {
                    self.review(table, *starved, &mut news);
                }
            }
        }
        for prefix in starving {
            self.review(table, *prefix, &mut news);
            for (child, _) in painted.children(prefix) {
                self.review(table, child, &mut news);
            }
        }
        news
    }

    /// Brings what the classifier knows of one prefix up to date.
    fn review(&mut self, table: &Table, prefix: Ipv4Net, news: &mut Vec<ClaimChange>) {
        let painted = table.painted().get(&prefix).map(Entry::is_ours);
        let wanted = if is_starved(table, prefix) { Some(false) } else { painted };
        let wanted = wanted.filter(|ours| *ours != around(table, prefix));
        if self.told.get(&prefix) == wanted.as_ref() {
            return;
        }
        match wanted {
            Some(ours) => {
                self.told.insert(prefix, ours);
                news.push(ClaimChange::Set(prefix, ours));
            }
            None => {
                self.told.remove(&prefix);
                news.push(ClaimChange::Remove(prefix));
            }
        }
    }
}

/// Whether the prefix around this one is ours; without one, everything is the kernel's.
fn around(table: &Table, prefix: Ipv4Net) -> bool {
    let Some(parent) = prefix.supernet() else { return false };
    let painted = table.painted().get_lpm(&parent);
    !is_starved(table, parent) && painted.is_some_and(|(_, entry)| entry.is_ours())
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
        entry.is_some_and(|entry| entry.target == Target::Kernel(Reason::Local))
    };
    match (local(before), local(after)) {
        (false, true) => Some(ClaimChange::SetAddress(prefix.addr())),
        (true, false) => Some(ClaimChange::RemoveAddress(prefix.addr())),
        _ => None,
    }
}
