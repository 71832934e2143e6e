//! From the RIB to operations on the forwarding table.
//!
//! Prefixes point to groups, groups to next hops, and each is shared by all that mean the same: a
//! neighbour that changes its address is one operation, however many routes lead over it; so is a
//! link that goes down. A prefix with a group of its own is redirected by changing the group.
//!
//! Invariant: [`Table::update`] leaves the table as a new one built from the same state would be,
//! but for the numbers of groups and next hops.
//!
//! What the adapters would only hand to the kernel, packet after packet, is not *ready*: a gateway that is not resolved, a
//! member of a group whose turn it is and that does not answer. Nobody should claim such a prefix; it is ready again
//! when that has changed.
//!
//! When the numbers run out, the prefix is painted with [`GROUP_KERNEL`] and counted in
//! [`Table::unrepresented`]; it is tried again when numbers come free. So is a /24 whose longer prefixes
//! had no room (*starved*), whenever something else is painted.

mod groups;

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use prefix_trie::PrefixMap;
use spine_abi::Reason;

use crate::fib::{FIRST_GROUP, FIRST_NEXT_HOP, GROUP_KERNEL, NextHop};
use crate::netlink::Dirty;
use crate::netlink::state::IfIndex;
use crate::operation::{GROUP_NO_ROUTE, Operation};
use crate::rib::{Meaning, Rib, Rules, Target, TargetHop};
use crate::slots::Slots;

/// Prefixes that are withdrawn from the claims together, at most.
const WITHDRAWN: usize = 4096;

/// What a next hop stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum HopKey {
    Via(TargetHop),
    Kernel(Reason),
    Drop(Reason),
}

/// What a group stands for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct GroupKey {
    hops: Vec<(HopKey, u32)>,
    /// As in [`Meaning`].
    sources: u64,
    /// As in [`Meaning`].
    minds_neighbours: bool,
}

/// A prefix as it is painted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What it means.
    meaning: Meaning,
    group: u16,
    /// None of its ways is one that the adapters would leave to the kernel.
    ready: bool,
}

impl Entry {
    /// What happens to packets to it.
    pub fn target(&self) -> &Target {
        &self.meaning.target
    }

    /// Whether the adapters should get the packets: the target says so, the table has it, and the ways out are there.
    pub fn is_ours(&self) -> bool {
        self.target().is_ours() && self.has_room() && self.ready
    }

    /// The same for the packets received on one interface.
    pub fn ours_from(&self, ingress: IfIndex) -> bool {
        self.is_ours() && self.target().ours_from(ingress)
    }

    /// Whether the table has what it means, and does not leave it to the kernel.
    pub fn has_room(&self) -> bool {
        self.group != GROUP_KERNEL || matches!(self.target(), Target::Kernel(_))
    }
}

/// A prefix that means something else now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// Which.
    pub prefix: Ipv4Net,
    /// What it meant; `None`: whatever the prefix around it meant.
    pub before: Option<Entry>,
    /// What it means.
    pub after: Option<Entry>,
}

/// What an update comes to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// To be done in this order, on both halves.
    pub operations: Vec<Operation>,
    /// What the classifier may have to know.
    pub changed: Vec<Changed>,
}

/// The table as written.
#[derive(Debug)]
pub struct Table {
    painted: PrefixMap<Ipv4Net, Entry>,
    groups: Slots<GroupKey>,
    members: HashMap<u16, Vec<u16>>,
    buckets: HashMap<u16, Vec<u16>>,
    hops: Slots<HopKey>,
    written: HashMap<u16, NextHop>,
    /// Whose packets groups let pass, where that is anyone's.
    sources: HashMap<u16, u64>,
    /// The rules by which the table was made.
    rules: Rules,
    /// Prefixes with routes in other tables than main that packets may come to: what they mean depends on the
    /// prefixes around them, or what those inside mean depends on them.
    beside_main: BTreeSet<Ipv4Net>,
    ignored: BTreeSet<IfIndex>,
    /// Groups of which some way would be left to the kernel, packet after packet: their prefixes are not claimed.
    unready: BTreeSet<u16>,
    /// Groups that have become something else since that was last looked at.
    filled: BTreeSet<u16>,
    /// Prefixes without a group for want of numbers.
    without_group: BTreeSet<Ipv4Net>,
    /// Numbers came free since those were last tried.
    freed: bool,
    /// /24s that are the kernel's for want of room for what is inside.
    starved: BTreeSet<Ipv4Net>,
    /// The last update painted those again.
    starved_again: bool,
}

impl Table {
    /// An empty table for at most this many groups and next hops, reserved ones included.
    pub fn new(groups: u16, next_hops: u16) -> Self {
        Self {
            painted: PrefixMap::new(),
            groups: Slots::new(FIRST_GROUP, groups),
            members: HashMap::new(),
            buckets: HashMap::new(),
            hops: Slots::new(FIRST_NEXT_HOP, next_hops),
            written: HashMap::new(),
            sources: HashMap::new(),
            rules: Rules::default(),
            beside_main: BTreeSet::new(),
            ignored: BTreeSet::new(),
            unready: BTreeSet::new(),
            filled: BTreeSet::new(),
            without_group: BTreeSet::new(),
            freed: false,
            starved: BTreeSet::new(),
            starved_again: false,
        }
    }

    /// The prefixes as painted, neighbours included.
    pub fn painted(&self) -> &PrefixMap<Ipv4Net, Entry> {
        &self.painted
    }

    /// The next hops that lead to a neighbour: number, interface and the neighbour's address.
    pub fn neighbours_in_use(&self) -> impl Iterator<Item = (u16, IfIndex, IpAddr)> {
        self.hops.iter().filter_map(|(number, key)| match key {
            HopKey::Via(hop) => Some((number, hop.interface, hop.gateway?)),
            _ => None,
        })
    }

    /// The /24s that are the kernel's although their prefixes mean something else.
    pub fn starved(&self) -> &BTreeSet<Ipv4Net> {
        &self.starved
    }

    /// How many prefixes are left to the kernel for want of numbers or room; a starved /24 is one.
    pub fn unrepresented(&self) -> usize {
        self.without_group.len() + self.starved.len()
    }

    /// Takes in that these had no room when the last update was carried out, and gives back those
    /// that are starved now and were not, or the other way round.
    pub fn settle(&mut self, mut starved: BTreeSet<Ipv4Net>) -> BTreeSet<Ipv4Net> {
        if !std::mem::take(&mut self.starved_again) {
            starved.extend(self.starved.iter().copied());
        }
        let before = std::mem::replace(&mut self.starved, starved);
        self.starved.symmetric_difference(&before).copied().collect()
    }

    /// The operations that make a new table right for the state.
    pub fn build(&mut self, rib: Rib<'_>) -> Update {
        let everything = Dirty {
            prefixes: rib.state.routes.keys().chain(self.painted.keys()).collect(),
            neighbours: rib.state.neighbours.keys().copied().collect(),
            links: rib.state.links.keys().copied().collect(),
            conf: true,
            ..Dirty::default()
        };
        self.update(rib, &everything)
    }

    /// The operations that follow the state after it changed where `dirty` says.
    pub fn update(&mut self, rib: Rib<'_>, dirty: &Dirty) -> Update {
        let mut update = Update::default();
        let before = std::mem::replace(&mut self.ignored, ignored(rib));
        let carrier_matters = before != self.ignored;
        let rules = Rules::of(rib);
        if rules.checking() != self.rules.checking() {
            update.operations.push(Operation::CheckSources(rules.checking()));
        }
        let before = std::mem::replace(&mut self.rules, rules);
        let rules_matter = before != self.rules;
        let prefixes = self.affected(rib, dirty, carrier_matters || rules_matter);
        let mut repaint = BTreeSet::new();
        for prefix in prefixes {
            self.retarget(rib, prefix, &mut update, &mut repaint);
        }
        self.try_again(rib, &mut update, &mut repaint);
        self.refresh_next_hops(rib, dirty, &mut update.operations);
        self.refresh_groups(rib, dirty, carrier_matters, &mut update.operations);
        self.review_readiness(&mut update);
        self.repaint(&repaint, &mut update.operations);
        if !repaint.is_empty() {
            // Last, when whatever can come free has.
            self.repaint(&self.starved, &mut update.operations);
            self.starved_again = true;
        }
        update
    }

    /// The prefixes whose target may have changed.
    fn affected(&mut self, rib: Rib<'_>, dirty: &Dirty, everything: bool) -> BTreeSet<Ipv4Net> {
        let mut prefixes = dirty.prefixes.clone();
        if everything {
            prefixes.extend(rib.state.routes.keys());
            prefixes.extend(self.painted.keys());
            prefixes.extend(self.rules.edges());
        }
        if !dirty.nexthops.is_empty() {
            prefixes.extend(rib.users_of(&dirty.nexthops));
        }
        let mut below = Vec::new();
        for prefix in &prefixes {
            let was_beside = self.beside_main.contains(prefix);
            note(&mut self.beside_main, *prefix, rib.is_beside_main(&self.rules, *prefix));
            if everything || prefix.prefix_len() == 32 {
                continue;
            }
            if was_beside || self.beside_main.contains(prefix) {
                below.extend(rib.state.routes.children(prefix).map(|(child, _)| child));
            } else {
                // In order, those inside a prefix follow it.
                let inside = self.beside_main.range(*prefix..);
                below.extend(inside.take_while(|child| prefix.contains(*child)));
            }
            below.extend(self.rules.edges().filter(|edge| prefix.contains(edge)));
        }
        prefixes.extend(below);
        // A neighbour's own prefix depends on the route around it.
        let host = |(address, _): &(IpAddr, IfIndex)| match address {
            IpAddr::V4(address) => Some(Ipv4Net::from(*address)),
            IpAddr::V6(_) => None,
        };
        let mut hosts: BTreeSet<Ipv4Net> = dirty.neighbours.iter().filter_map(host).collect();
        for prefix in &prefixes {
            let end = |address: Ipv4Addr, interface| (IpAddr::from(address), interface);
            let within =
                end(prefix.network(), IfIndex::MIN)..=end(prefix.broadcast(), IfIndex::MAX);
            hosts.extend(rib.state.neighbours.range(within).filter_map(|(key, _)| host(key)));
        }
        prefixes.extend(hosts);
        prefixes
    }

    /// Gives a prefix the group of its target, and notes whether it must be painted.
    fn retarget(
        &mut self,
        rib: Rib<'_>,
        prefix: Ipv4Net,
        update: &mut Update,
        repaint: &mut BTreeSet<Ipv4Net>,
    ) {
        let after = rib.meaning(&self.rules, prefix);
        let old = self.painted.get(&prefix);
        let same = match (old, &after) {
            (Some(old), Some(after)) => old.meaning == *after,
            (None, None) => true,
            _ => false,
        };
        if same {
            return;
        }
        let old_group = old.map(|entry| entry.group);
        let group = match &after {
            Some(meaning) => Some(self.regroup(rib, old_group, meaning, &mut update.operations)),
            None => {
                self.release_group(old_group);
                None
            }
        };
        if group != old_group {
            repaint.insert(prefix);
        }
        let after = group.zip(after).map(|(group, meaning)| {
            let ready = !self.unready.contains(&group);
            Entry { meaning, group, ready }
        });
        note(
            &mut self.without_group,
            prefix,
            after.as_ref().is_some_and(|entry| !entry.has_room()),
        );
        let before = match after.clone() {
            Some(entry) => self.painted.insert(prefix, entry),
            None => self.painted.remove(&prefix),
        };
        update.changed.push(Changed { prefix, before, after });
    }

    /// Gives groups to prefixes that had to do without, if numbers came free.
    fn try_again(&mut self, rib: Rib<'_>, update: &mut Update, repaint: &mut BTreeSet<Ipv4Net>) {
        if !std::mem::take(&mut self.freed) {
            return;
        }
        for prefix in self.without_group.clone() {
            let Some(before) = self.painted.get(&prefix).cloned() else { continue };
            let group = self.regroup(rib, None, &before.meaning, &mut update.operations);
            if group == GROUP_KERNEL {
                continue;
            }
            self.without_group.remove(&prefix);
            repaint.insert(prefix);
            let ready = !self.unready.contains(&group);
            let after = Entry { group, ready, ..before.clone() };
            self.painted.insert(prefix, after.clone());
            update.changed.push(Changed { prefix, before: Some(before), after: Some(after) });
        }
        // What was taken and given back on the way is nothing new.
        self.freed = false;
    }

    /// Finds out which groups have become ready or are not any more, and marks their prefixes. Where a group of more
    /// than [`WITHDRAWN`] prefixes is not ready they go on being claimed: their packets' detour over an adapter costs less
    /// than so many claims.
    fn review_readiness(&mut self, update: &mut Update) {
        let mut hops = BTreeSet::new();
        let mut groups = std::mem::take(&mut self.filled);
        for operation in &update.operations {
            match operation {
                Operation::SetNextHop(number, _) => drop(hops.insert(*number)),
                Operation::SetGroup(group, _) => drop(groups.insert(*group)),
                _ => {}
            }
        }
        if hops.is_empty() && groups.is_empty() {
            return;
        }
        let uses = |members: &[u16]| members.iter().any(|member| hops.contains(member));
        groups.extend(self.members.iter().filter(|(_, all)| uses(all)).map(|(group, _)| *group));
        let mut turned = BTreeSet::new();
        for group in groups {
            let many = self.groups.users(group) > WITHDRAWN;
            let unready = !self.is_ready(group) && (!many || self.unready.contains(&group));
            let was_unready = match unready {
                true => !self.unready.insert(group),
                false => self.unready.remove(&group),
            };
            if was_unready != unready {
                turned.insert(group);
            }
        }
        if turned.is_empty() {
            return;
        }
        for (prefix, entry) in self.painted.iter_mut() {
            let ready = !self.unready.contains(&entry.group);
            if entry.ready == ready || !turned.contains(&entry.group) {
                continue;
            }
            let before = entry.clone();
            entry.ready = ready;
            let after = Some(entry.clone());
            update.changed.push(Changed { prefix, before: Some(before), after });
        }
    }

    /// Paints the prefixes, and again what lies inside them.
    fn repaint(&self, prefixes: &BTreeSet<Ipv4Net>, operations: &mut Vec<Operation>) {
        let mut painted_up_to: Option<Ipv4Net> = None;
        // In order, a prefix comes before those inside it.
        for prefix in prefixes {
            if painted_up_to.is_some_and(|top| top.contains(prefix)) {
                continue;
            }
            painted_up_to = Some(*prefix);
            let around = self.painted.get_lpm(prefix).map(|(_, entry)| entry.group);
            operations.push(Operation::Paint(*prefix, around.unwrap_or(GROUP_NO_ROUTE)));
            let inside = self.painted.children(prefix).filter(|(child, _)| child != prefix);
            operations.extend(inside.map(|(child, entry)| Operation::Paint(child, entry.group)));
        }
    }
}

fn note(set: &mut BTreeSet<Ipv4Net>, prefix: Ipv4Net, belongs: bool) {
    if belongs {
        set.insert(prefix);
    } else {
        set.remove(&prefix);
    }
}

fn ignored(rib: Rib<'_>) -> BTreeSet<IfIndex> {
    rib.state.links.keys().copied().filter(|interface| rib.ignored(*interface)).collect()
}

#[cfg(test)]
mod tests;
