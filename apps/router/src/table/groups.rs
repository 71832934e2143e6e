//! Groups and next hops: shared by all that mean the same, written when they change.

use spine_abi::Reason;

use super::{GroupKey, HopKey, Table};
use crate::buckets;
use crate::fib::{Action, Addresses, GROUP_KERNEL, NextHop};
use crate::netlink::Dirty;
use crate::netlink::state::Neighbour;
use crate::operation::Operation;
use crate::rib::{Meaning, Rib, Target, TargetHop};

impl Table {
    /// The group for a target, for a prefix that had another one; [`GROUP_KERNEL`] when there are no
    /// numbers left.
    pub(super) fn regroup(
        &mut self,
        rib: Rib<'_>,
        old: Option<u16>,
        meaning: &Meaning,
        operations: &mut Vec<Operation>,
    ) -> u16 {
        let key = group_key(meaning);
        if let Some(old) = old
            && self.groups.rename(old, &key).is_some()
        {
            let members = self.members.remove(&old).unwrap_or_default();
            let filled = self.fill_group(rib, old, &key, operations);
            self.release_hops(&members);
            // Its new key may be what another prefix waits for, or its old hops.
            self.freed = true;
            if filled {
                return old;
            }
            self.groups.release(old);
            return GROUP_KERNEL;
        }
        let acquired = self.groups.acquire(&key);
        self.release_group(old);
        match acquired {
            Some((group, false)) => group,
            Some((group, true)) if self.fill_group(rib, group, &key, operations) => group,
            Some((group, true)) => {
                self.groups.release(group);
                GROUP_KERNEL
            }
            None => GROUP_KERNEL,
        }
    }

    /// Finds the next hops of a group and writes it; false when there are no numbers left.
    fn fill_group(
        &mut self,
        rib: Rib<'_>,
        group: u16,
        key: &GroupKey,
        operations: &mut Vec<Operation>,
    ) -> bool {
        let mut members = Vec::with_capacity(key.hops.len());
        for (hop, _) in &key.hops {
            let Some((number, new)) = self.hops.acquire(hop) else {
                self.release_hops(&members);
                return false;
            };
            members.push(number);
            if new {
                self.write_next_hop(number, next_hop(rib, hop), operations);
            }
        }
        self.members.insert(group, members);
        self.filled.insert(group);
        self.write_group(rib, group, key, operations);
        let before = match key.sources {
            0 => self.sources.remove(&group),
            sources => self.sources.insert(group, sources),
        };
        if before.unwrap_or(0) != key.sources {
            operations.push(Operation::SetSources(group, key.sources));
        }
        true
    }

    /// Whether all ways of a group are ones that the adapters go.
    pub(super) fn is_ready(&self, group: u16) -> bool {
        let left = |hop: &u16| {
            matches!(self.written.get(hop).map(|hop| hop.action), Some(Action::Kernel(_)))
        };
        self.buckets.get(&group).is_none_or(|buckets| !buckets.iter().any(left))
    }

    pub(super) fn release_group(&mut self, group: Option<u16>) {
        let Some(group) = group else { return };
        if self.groups.release(group).is_some() {
            self.freed = true;
            let members = self.members.remove(&group).unwrap_or_default();
            self.release_hops(&members);
        }
    }

    fn release_hops(&mut self, members: &[u16]) {
        for number in members {
            self.hops.release(*number);
        }
    }

    fn write_next_hop(&mut self, number: u16, hop: NextHop, operations: &mut Vec<Operation>) {
        if self.written.insert(number, hop) != Some(hop) {
            operations.push(Operation::SetNextHop(number, hop));
        }
    }

    fn write_group(
        &mut self,
        rib: Rib<'_>,
        group: u16,
        key: &GroupKey,
        operations: &mut Vec<Operation>,
    ) {
        let Some(members) = self.members.get(&group) else { return };
        let hops = &key.hops;
        let counts = |at: &usize| {
            let hop = &hops[*at].0;
            is_alive(rib, hop) && !(key.minds_neighbours && is_silent(rib, hop))
        };
        let alive: Vec<usize> = (0..hops.len()).filter(counts).collect();
        // Without any that lives, all stand: each of them says by itself that it is unresolved.
        let chosen = if alive.is_empty() { (0..hops.len()).collect() } else { alive };
        let weighted: Vec<(&HopKey, u32)> =
            chosen.iter().map(|at| (&hops[*at].0, hops[*at].1)).collect();
        let buckets: Vec<u16> =
            buckets::spread(&weighted).into_iter().map(|at| members[chosen[at]]).collect();
        if self.buckets.get(&group) != Some(&buckets) {
            self.buckets.insert(group, buckets.clone());
            operations.push(Operation::SetGroup(group, buckets));
        }
    }

    pub(super) fn refresh_next_hops(
        &mut self,
        rib: Rib<'_>,
        dirty: &Dirty,
        into: &mut Vec<Operation>,
    ) {
        let mut stale: Vec<(u16, NextHop)> = Vec::new();
        for (number, key) in self.hops.iter() {
            if touched(dirty, key) {
                stale.push((number, next_hop(rib, key)));
            }
        }
        stale.sort_unstable_by_key(|(number, _)| *number);
        for (number, hop) in stale {
            self.write_next_hop(number, hop, into);
        }
    }

    /// Chooses again between the ways of groups: of all if links changed, or of those whose neighbours did.
    pub(super) fn refresh_groups(
        &mut self,
        rib: Rib<'_>,
        dirty: &Dirty,
        carrier_matters: bool,
        operations: &mut Vec<Operation>,
    ) {
        let all = carrier_matters || !dirty.links.is_empty();
        if !all && dirty.neighbours.is_empty() {
            return;
        }
        let concerned = |key: &GroupKey| {
            all || key.minds_neighbours && key.hops.iter().any(|(hop, _)| touched(dirty, hop))
        };
        let several = self.groups.iter().filter(|(_, key)| key.hops.len() > 1 && concerned(key));
        let mut several: Vec<(u16, GroupKey)> =
            several.map(|(group, key)| (group, key.clone())).collect();
        several.sort_unstable_by_key(|(group, _)| *group);
        for (group, key) in several {
            self.write_group(rib, group, &key, operations);
        }
    }
}

fn group_key(meaning: &Meaning) -> GroupKey {
    let hops = match &meaning.target {
        Target::Forward(hops) => {
            hops.iter().map(|(hop, weight)| (HopKey::Via(hop.clone()), *weight)).collect()
        }
        Target::Kernel(reason) => vec![(HopKey::Kernel(*reason), 1)],
        Target::Drop(reason) => vec![(HopKey::Drop(*reason), 1)],
    };
    let Meaning { sources, minds_neighbours, .. } = *meaning;
    GroupKey { hops, sources, minds_neighbours }
}

/// Whether a link or neighbour that a way leads over changed.
fn touched(dirty: &Dirty, key: &HopKey) -> bool {
    let HopKey::Via(hop) = key else { return false };
    dirty.links.contains(&hop.interface)
        || hop.gateway.is_some_and(|at| dirty.neighbours.contains(&(at, hop.interface)))
}

/// Whether the kernel knows that the neighbour does not answer. Of one that it has not asked it thinks well.
fn is_silent(rib: Rib<'_>, key: &HopKey) -> bool {
    let HopKey::Via(TargetHop { interface, gateway: Some(gateway), .. }) = key else {
        return false;
    };
    rib.state.neighbours.get(&(*gateway, *interface)).is_some_and(Neighbour::is_dead)
}

/// Whether the kernel would still choose this hop of a multipath route.
fn is_alive(rib: Rib<'_>, key: &HopKey) -> bool {
    match key {
        HopKey::Via(hop) => {
            rib.state.links.get(&hop.interface).is_some_and(|link| link.up)
                && !rib.ignored(hop.interface)
        }
        HopKey::Kernel(_) | HopKey::Drop(_) => true,
    }
}

fn next_hop(rib: Rib<'_>, key: &HopKey) -> NextHop {
    match key {
        HopKey::Via(hop) => {
            forward(rib, hop).unwrap_or_else(|reason| NextHop::without_way(Action::Kernel(reason)))
        }
        HopKey::Kernel(reason) => NextHop::without_way(Action::Kernel(*reason)),
        HopKey::Drop(reason) => NextHop::without_way(Action::Drop(*reason)),
    }
}

fn forward(rib: Rib<'_>, hop: &TargetHop) -> Result<NextHop, Reason> {
    let peer = rib.ours.adapter(hop.interface).ok_or(Reason::NotOurs)?;
    let link = rib.state.links.get(&hop.interface).ok_or(Reason::Unresolved)?;
    let source = link.mac.ok_or(Reason::NotOurs)?;
    if !link.up || !link.carrier {
        return Err(Reason::Unresolved);
    }
    let gateway = hop.gateway.ok_or(Reason::Unresolved)?;
    let neighbour = rib.state.neighbours.get(&(gateway, hop.interface));
    let destination = neighbour.and_then(Neighbour::usable).ok_or(Reason::Unresolved)?;
    let limit = hop.mtu.filter(|mtu| *mtu != 0).unwrap_or(u32::MAX).min(link.mtu);
    let mtu = u16::try_from(limit).unwrap_or(u16::MAX);
    let addresses = Addresses::new(destination, source);
    Ok(NextHop { action: Action::Forward, peer, mtu, addresses })
}
