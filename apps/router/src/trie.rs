//! A half of the paper's table: the same operations as on DIR-24-8, of which a trie is built.
//!
//! The trie of a half with other routes is built anew. When the routes need more room than there is, the half
//! has none of them, so that all packets are the kernel's, until they fit again.

use std::collections::BTreeSet;

use ipnet::Ipv4Net;
use prefix_trie::PrefixMap;
use spine_fib::Store;
use spine_fib::lc_trie::{self, Route, Trie};

use crate::operation::{GROUP_NO_ROUTE, Operation};

/// Groups of a half, the reserved ones included.
#[expect(clippy::cast_possible_truncation, reason = "256 of them")]
pub(crate) const GROUPS: u16 = lc_trie::GROUPS as u16;
/// Next hops of a half, the reserved one included.
#[expect(clippy::cast_possible_truncation, reason = "256 of them")]
pub(crate) const NEXT_HOPS: u16 = lc_trie::NEXT_HOPS as u16;

/// Writes one half.
#[derive(Debug)]
pub(crate) struct TrieHalf<R: Store> {
    region: R,
    which: u32,
    /// What was painted, but for what looks like the prefix around it.
    routes: PrefixMap<Ipv4Net, u16>,
}

impl<R: Store> TrieHalf<R> {
    /// A writer for the half with this number, all zeroes.
    pub(crate) fn new(region: R, which: u32) -> Self {
        Self { region, which, routes: PrefixMap::new() }
    }

    /// Carries the operations out; gives back 0.0.0.0/0 if the routes have no room.
    pub(crate) fn write(&mut self, operations: &[Operation]) -> BTreeSet<Ipv4Net> {
        let mut painted = false;
        for operation in operations {
            match operation {
                Operation::SetNextHop(number, hop) => {
                    Trie::set_next_hop(&self.region, self.which, *number, hop);
                }
                Operation::SetGroup(group, buckets) => {
                    Trie::set_group(&self.region, self.which, *group, buckets);
                }
                Operation::SetSources(group, adapters) => {
                    Trie::set_sources(&self.region, self.which, *group, *adapters);
                }
                Operation::CheckSources(_) | Operation::PaintIpv6(..) => {}
                Operation::Paint(prefix, group) => {
                    self.paint(*prefix, *group);
                    painted = true;
                }
            }
        }
        if painted { self.build() } else { BTreeSet::new() }
    }

    fn paint(&mut self, prefix: Ipv4Net, group: u16) {
        self.routes.remove_children(&prefix);
        let around = self.routes.get_lpm(&prefix).map_or(GROUP_NO_ROUTE, |(_, group)| *group);
        if around != group {
            self.routes.insert(prefix, group);
        }
    }

    fn build(&self) -> BTreeSet<Ipv4Net> {
        let route = |(prefix, group): (Ipv4Net, &u16)| Route {
            address: prefix.network().into(),
            length: prefix.prefix_len(),
            group: *group,
        };
        let routes: Vec<Route> = self.routes.iter().map(route).collect();
        match Trie::build(&routes) {
            Ok(trie) => {
                trie.write(&self.region, self.which);
                BTreeSet::new()
            }
            Err(too_large) => {
                tracing::debug!(%too_large);
                if let Ok(nothing) = Trie::build(&[]) {
                    nothing.write(&self.region, self.which);
                }
                BTreeSet::from([Ipv4Net::default()])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;
    use spine_fib::{Action, Addresses, NextHop};

    use super::*;
    use crate::testing::{HeapRegion, PREFIXES, addresses, prefix};

    fn region() -> HeapRegion {
        HeapRegion::of(lc_trie::REGION_BYTES)
    }

    fn hop(peer: u16) -> NextHop {
        let addresses = Addresses::new([2; 6], [4; 6]);
        NextHop { action: Action::Forward, peer, mtu: 1500, addresses }
    }

    fn found(region: &HeapRegion, address: Ipv4Addr) -> NextHop {
        let half = lc_trie::Half::new(region, 1);
        half.next_hop(half.lookup(address.into()), || 0).1
    }

    /// The operations that give a prefix a group, or take it away, and paint again what is inside.
    fn change(map: &mut PrefixMap<Ipv4Net, u16>, at: Ipv4Net, to: Option<u16>) -> Vec<Operation> {
        match to {
            Some(group) => drop(map.insert(at, group)),
            None => drop(map.remove(&at)),
        }
        let around = map.get_lpm(&at).map_or(GROUP_NO_ROUTE, |(_, group)| *group);
        let inside = map.children(&at).filter(|(child, _)| *child != at);
        let inside = inside.map(|(child, group)| Operation::Paint(child, *group));
        std::iter::once(Operation::Paint(at, around)).chain(inside).collect()
    }

    proptest! {
        #[test]
        fn after_any_changes_the_longest_prefix_answers(
            changes in prop::collection::vec((0..PREFIXES.len(), prop::option::of(2_u16..6)), 1..30),
        ) {
            let region = region();
            let mut half = TrieHalf::new(&region, 1);
            for number in 2..6 {
                // The group is known before its next hop.
                half.write(&[
                    Operation::SetGroup(number, vec![number]),
                    Operation::SetNextHop(number, hop(number)),
                ]);
            }
            let mut map = PrefixMap::new();
            for (at, to) in changes {
                let operations = change(&mut map, prefix(PREFIXES[at]), to);
                prop_assert!(half.write(&operations).is_empty());
                for address in addresses() {
                    let longest = map.get_lpm(&Ipv4Net::from(address));
                    let expected = longest.map_or(NextHop::NO_ROUTE, |(_, group)| hop(*group));
                    prop_assert_eq!(found(&region, address), expected, "{}", address);
                }
            }
        }
    }

    #[test]
    fn routes_without_room_leave_everything_to_the_kernel_until_they_fit() {
        let region = region();
        let mut half = TrieHalf::new(&region, 1);
        let group = [Operation::SetNextHop(1, hop(1)), Operation::SetGroup(2, vec![1])];
        assert!(half.write(&group).is_empty());
        let net = |n: u32| Ipv4Net::new((n << 12).into(), 24).expect("a prefix");
        let many: Vec<Operation> = (0..8_000).map(|n| Operation::Paint(net(n), 2)).collect();
        let starved = half.write(&many);
        assert_eq!(starved, BTreeSet::from([Ipv4Net::default()]));
        assert_eq!(found(&region, net(7).addr()), NextHop::NO_ROUTE);
        let fewer: Vec<Operation> = (1_000..8_000).map(|n| Operation::Paint(net(n), 0)).collect();
        assert!(half.write(&fewer).is_empty());
        assert_eq!(found(&region, net(7).addr()), hop(1));
        assert_eq!(found(&region, net(2_000).addr()), NextHop::NO_ROUTE);
    }

    #[test]
    fn the_flows_of_a_multipath_route_take_the_ways_that_its_group_has_at_the_time() {
        let region = region();
        let mut half = TrieHalf::new(&region, 1);
        let all = "0.0.0.0/0".parse().expect("a prefix");
        let hops = (1..=3).map(|number| Operation::SetNextHop(number, hop(number)));
        half.write(&hops.collect::<Vec<_>>());
        half.write(&[Operation::SetGroup(2, vec![1, 2, 1, 3]), Operation::Paint(all, 2)]);
        let ways = || {
            let half = lc_trie::Half::new(&region, 1);
            [0, 1, 2, 3].map(|flow| half.next_hop(half.lookup(0x0a00_0001), || flow).1.peer)
        };
        assert_eq!(ways(), [1, 2, 1, 3]);
        // A group that loses all ways but one needs no trie built anew.
        half.write(&[Operation::SetGroup(2, vec![3])]);
        assert_eq!(ways(), [3; 4]);
    }
}
