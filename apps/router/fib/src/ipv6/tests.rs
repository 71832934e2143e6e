//! The trie against a plain list of routes: whatever is painted, the longest prefix wins.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use std::thread_local;

use proptest::prelude::*;
use spine_packets::routes;

use super::*;
use crate::layout::{
    HOST, HOSTS_EACH, IPV6_LEAVES, IPV6_NODES, KERNEL_GROUP, NO_ROUTE_GROUP, ROOT, ROOT_ENTRIES,
};
use crate::memory::Memory;
use crate::reader::base;
use crate::{Half, Load, Writer};

fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

/// The oracle: routes by length and prefix, searched one by one.
#[derive(Default)]
struct Routes(BTreeMap<(u8, u128), u16>);

impl Routes {
    fn longest(&self, address: u128) -> u16 {
        let covers = |(length, prefix): (u8, u128)| address & mask(length) == prefix;
        let found = self.0.iter().rev().find(|(route, _)| covers(**route));
        found.map_or(NO_ROUTE_GROUP, |(_, group)| *group)
    }

    /// A change as the host half does it: paints, and what is longer, again. Gives back the paints.
    fn change(&mut self, route: (u8, u128), group: Option<u16>) -> Vec<(u128, u8, u16)> {
        let (length, prefix) = route;
        match group {
            Some(group) => self.0.insert(route, group),
            None => self.0.remove(&route),
        };
        let shorter = self.0.range(..=route).rev();
        let cover = shorter.into_iter().find(|((l, p), _)| prefix & mask(*l) == *p);
        let group = cover.map_or(NO_ROUTE_GROUP, |(_, group)| *group);
        let inside =
            self.0.range((length + 1, 0)..).filter(|((_, p), _)| p & mask(length) == prefix);
        let inside = inside.map(|((l, p), group)| (*p, *l, *group));
        std::iter::once((prefix, length, group)).chain(inside).collect()
    }
}

thread_local! {
    /// One region for all cases of a thread: a hundred megabytes each would be slow.
    static REGION: Memory = Memory::new();
}

const SITE: u128 = 0x2001_0db8_0000_0000 << 64;

/// Prefixes that meet: of every length, at both ends of the space, and most of them around a few networks of a site.
fn route() -> impl Strategy<Value = (u8, u128)> {
    let network = (0_u128..4, 0_u128..8).prop_map(|(net, host)| SITE | net << 64 | host);
    let near = (56_u8..=128, network.clone()).boxed();
    let hosts = network.prop_map(|address| (128, address)).boxed();
    let end = prop_oneof![Just(0), Just(u128::MAX)];
    let ends = (0_u8..=128, end).boxed();
    let wide = (0_u8..=128, any::<u64>(), any::<u64>()).prop_map(|(length, high, low)| {
        (length, SITE | u128::from(high) >> 24 << 64 | u128::from(low))
    });
    prop_oneof![4 => near, 3 => hosts, 1 => ends, 2 => wide]
        .prop_map(|(length, prefix)| (length, prefix & mask(length)))
}

fn edges((length, prefix): (u8, u128)) -> [u128; 4] {
    let last = prefix | !mask(length);
    [prefix.wrapping_sub(1), prefix, last, last.wrapping_add(1)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_longest_prefix_wins_after_any_changes_and_nothing_leaks(
        changes in prop::collection::vec((route(), prop::option::weighted(0.7, 2_u16..9)), 1..60),
        others in prop::collection::vec(any::<u128>(), 10),
    ) {
        REGION.with(|region| {
            let mut writer = Writer::new(region, 1);
            let mut routes = Routes::default();
            let half = Half::new(region, 1);
            let apply = |writer: &mut Writer<_>, paints: Vec<(u128, u8, u16)>| {
                for (prefix, length, group) in paints {
                    writer.paint_ipv6(prefix, length, group).expect("there is room");
                }
            };
            let check = |routes: &Routes| {
                let near = others.iter().map(|low| SITE | low & 3 << 64 | low & 7);
                let edges = changes.iter().flat_map(|(route, _)| edges(*route));
                for address in edges.chain(near).chain(others.iter().copied()) {
                    let found = half.lookup_ipv6(&address.to_be_bytes());
                    prop_assert_eq!(found, routes.longest(address), "{:#x}", address);
                }
                Ok(())
            };
            for (route, group) in &changes {
                apply(&mut writer, routes.change(*route, *group));
            }
            check(&routes)?;
            let all: Vec<_> = routes.0.keys().copied().collect();
            for route in all {
                apply(&mut writer, routes.change(route, None));
            }
            check(&routes)?;
            prop_assert_eq!(writer.ipv6_taken(), (0, 0));
            let base = base(1);
            prop_assert!((0..ROOT_ENTRIES).all(|at| region.u32_at(base + ROOT + at * 4) == 0));
            Ok(())
        })?;
    }
}

#[test]
fn a_full_table_has_room_and_is_found_again() {
    let region = Memory::new();
    let mut writer = Writer::new(&region, 0);
    let table = routes::ipv6(230_000);
    let group = |at: usize| u16::try_from(2 + at % 500).expect("small");
    for (at, (prefix, length)) in table.iter().enumerate() {
        writer.paint_ipv6(*prefix, *length, group(at)).expect("there is room");
    }
    let half = Half::new(&region, 0);
    // In its order, a prefix comes before those inside it: the last of those that cover an address is the longest.
    for at in (0..table.len()).step_by(101) {
        let address = table[at].0;
        let covers = |&(prefix, length): &(u128, u8)| address & mask(length) == prefix;
        let longest = table.iter().rposition(covers).expect("it covers itself");
        assert_eq!(half.lookup_ipv6(&address.to_be_bytes()), group(longest), "{address:#x}");
    }
    let (nodes, leaves) = writer.ipv6_taken();
    std::eprintln!("{nodes} nodes, {leaves} groups of nodes");
    let spare = |taken: u32, all: usize| (taken as usize) < all - all / 5;
    assert!(spare(nodes, IPV6_NODES) && spare(leaves, IPV6_LEAVES), "{nodes} {leaves}");
    writer.paint_ipv6(0, 0, NO_ROUTE_GROUP).expect("less room is needed");
    assert_eq!(writer.ipv6_taken(), (0, 0));
}

#[test]
fn ten_thousand_neighbours_of_a_link_are_found_and_their_going_leaves_nothing() {
    let region = Memory::new();
    let mut writer = Writer::new(&region, 0);
    let half = Half::new(&region, 0);
    writer.paint_ipv6(SITE, 64, 2).expect("there is room");
    let taken = writer.ipv6_taken();
    let host = |n: u128| SITE | n.wrapping_mul(0x9e37_79b9_7f4a_7c15) & u128::from(u64::MAX);
    for n in 1..=10_000 {
        writer.paint_ipv6(host(n), 128, 3).expect("there is room");
    }
    let found = |n| half.lookup_ipv6(&host(n).to_be_bytes());
    assert!((1..=10_000).all(|n| found(n) == 3));
    assert_eq!((found(10_001), half.lookup_ipv6(&(SITE + (1 << 64)).to_be_bytes())), (2, 0));
    let crowded = writer.ipv6_taken().0 - taken.0;
    assert!((1..20_000).contains(&crowded), "a few are in the trie: {crowded} nodes");
    for n in 1..=10_000 {
        writer.paint_ipv6(host(n), 128, 2).expect("less room is needed");
    }
    assert!((1..=10_000).all(|n| found(n) == 2));
    assert_eq!(writer.ipv6_taken(), taken);
    let hosts = base(0) + HOST;
    let end = hosts + crate::layout::HOST_BUCKETS * HOSTS_EACH * crate::layout::HOST_BYTES;
    assert!((hosts..end).step_by(4).all(|at| region.u32_at(at) == 0));
}

#[test]
fn without_room_the_kernel_gets_the_packets_and_room_comes_back() {
    let region = Memory::new();
    let mut trie = Trie::with_room(128, 512);
    let mut paint = |prefix, length, group| trie.paint(&region, 0, prefix, length, group);
    let found = |address: u128| lookup(&region, 0, &address.to_be_bytes());
    paint(0, 0, 2).expect("there is room");
    let site = |n: u128| SITE + (n << 91);
    let refused = (0..100).find_map(|n| paint(site(n), 48, 3).err().map(|refused| (n, refused)));
    let (n, refused) = refused.expect("a hundred sites need more than 128 nodes");
    assert!(n > 20, "{n} had room");
    let (prefix, length) = (refused.prefix, refused.length);
    assert_eq!((prefix, site(n) & mask(length)), (site(n) & mask(length), prefix));
    assert_eq!(
        [found(site(n)), found(prefix)],
        [KERNEL_GROUP; 2],
        "not its old cover: it may be wrong"
    );
    assert!(alloc::format!("{refused}").ends_with("is left to the kernel"));
    assert_eq!(found(1 << 127), 2, "elsewhere nothing has changed");
    // All of it again, shorter ones first, once there is less of it.
    paint(prefix, length, 2).expect("less room is needed");
    paint(site(n), 48, 3).expect("there is room now");
    assert_eq!([found(site(n)), found(prefix - 1)], [3, found(prefix - 1)]);
    paint(0, 0, 2).expect("less room is needed");
    assert_eq!(trie.taken(), (0, 0));
}

#[test]
fn an_old_table_is_cleared() {
    let region = Memory::new();
    let mut writer = Writer::new(&region, 0);
    writer.paint_ipv6(SITE, 64, 2).expect("there is room");
    writer.paint_ipv6(SITE | 1, 128, 3).expect("there is room");
    let half = Half::new(&region, 0);
    assert_eq!(half.lookup_ipv6(&(SITE | 1).to_be_bytes()), 3);
    writer.clear();
    assert_eq!(half.lookup_ipv6(&(SITE | 1).to_be_bytes()), NO_ROUTE_GROUP);
    assert_eq!(writer.ipv6_taken(), (0, 0));
}
