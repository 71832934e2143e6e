//! The table against a plain list of routes: whatever is painted, the longest prefix wins.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use std::thread_local;

use proptest::prelude::*;

use super::*;
use crate::layout::{NO_HOP, NO_ROUTE_GROUP, TBL8S};
use crate::memory::Memory;
use crate::{Action, Addresses, Half, Load};
use spine_abi::Reason;

/// The oracle: routes by length and prefix, searched one by one.
#[derive(Default)]
struct Routes(BTreeMap<(u8, u32), u16>);

impl Routes {
    fn longest(&self, address: u32) -> u16 {
        let covers = |(length, prefix): (u8, u32)| address & mask(length) == prefix;
        let found = self.0.iter().rev().find(|(route, _)| covers(**route));
        found.map_or(NO_ROUTE_GROUP, |(_, group)| *group)
    }

    /// Applies a change as the host half does it: paint, and then what is longer, again.
    fn change<R: Store>(&mut self, writer: &mut Writer<R>, route: (u8, u32), group: Option<u16>) {
        let (length, prefix) = route;
        match group {
            Some(group) => self.0.insert(route, group),
            None => self.0.remove(&route),
        };
        let group = group.unwrap_or_else(|| {
            let shorter = self.0.range(..(length, 0)).rev();
            let cover = shorter.into_iter().find(|((l, p), _)| prefix & mask(*l) == *p);
            cover.map_or(NO_ROUTE_GROUP, |(_, group)| *group)
        });
        writer.paint(prefix, length, group).unwrap();
        for ((l, p), group) in self.0.range((length + 1, 0)..) {
            if p & mask(length) == prefix {
                writer.paint(*p, *l, *group).unwrap();
            }
        }
    }
}

thread_local! {
    /// One region for all cases of a thread: 70 MB each would be slow.
    static REGION: Memory = Memory::new();
}

/// Prefixes that meet: in 10.0.0.0/8, most of them around a few /24s.
fn route() -> impl Strategy<Value = (u8, u32)> {
    let near = (20u8..=32, 0u32..4, any::<u8>())
        .prop_map(|(length, net, host)| (length, 0x0a01_0000 | (net << 8) | u32::from(host)));
    let wide = (8u8..=32, any::<u32>()).prop_map(|(l, low)| (l, 0x0a00_0000 | (low & 0xff_ffff)));
    prop_oneof![4 => near, 1 => wide].prop_map(|(length, prefix)| (length, prefix & mask(length)))
}

fn edges((length, prefix): (u8, u32)) -> [u32; 4] {
    let last = prefix | !mask(length);
    [prefix.wrapping_sub(1), prefix, last, last.wrapping_add(1)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_longest_prefix_wins_after_any_changes(
        changes in prop::collection::vec((route(), prop::option::weighted(0.7, 2u16..50)), 1..60),
        others in prop::collection::vec(any::<u32>(), 20),
    ) {
        REGION.with(|region| {
            let mut writer = Writer::new(region, 1);
            let mut routes = Routes::default();
            for (route, group) in &changes {
                routes.change(&mut writer, *route, *group);
            }
            let half = Half::new(region, 1);
            let near = others.iter().map(|low| 0x0a01_0000 | (low & 0x3ff));
            let at_edges = changes.iter().flat_map(|(route, _)| edges(*route));
            for address in at_edges.chain(near).chain(others.iter().copied()) {
                prop_assert_eq!(half.lookup(address), routes.longest(address), "{:#010x}", address);
            }
            let all: Vec<_> = routes.0.keys().copied().collect();
            for route in all {
                routes.change(&mut writer, route, None);
            }
            prop_assert_eq!(writer.free_tbl8s(), TBL8S, "nothing leaks");
            for address in changes.iter().flat_map(|(route, _)| edges(*route)) {
                prop_assert_eq!(half.lookup(address), NO_ROUTE_GROUP);
            }
            Ok(())
        })?;
    }
}

#[test]
fn default_route_and_hosts_at_both_ends_of_the_address_space() {
    let region = Memory::new();
    let mut writer = Writer::new(&region, 0);
    let half = Half::new(&region, 0);
    writer.paint(0, 0, 2).unwrap();
    writer.paint(0, 32, 3).unwrap();
    writer.paint(u32::MAX, 32, 4).unwrap();
    writer.paint(0x8000_0000, 1, 5).unwrap();
    writer.paint(u32::MAX, 32, 4).unwrap();
    let found = [0, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, u32::MAX].map(|a| half.lookup(a));
    assert_eq!(found, [3, 2, 2, 5, 5, 4]);
    assert_eq!(Half::new(&region, 1).lookup(0), NO_ROUTE_GROUP, "the other half is another table");
    writer.paint(0, 0, NO_ROUTE_GROUP).unwrap();
    assert_eq!(writer.free_tbl8s(), TBL8S);
    writer.paint(0x0102_0304, 32, 9).unwrap();
    writer.clear();
    assert_eq!((half.lookup(0x0102_0304), writer.free_tbl8s()), (NO_ROUTE_GROUP, TBL8S));
}

#[test]
fn without_room_the_kernel_gets_the_packets_and_room_comes_back() {
    let region = Memory::new();
    let mut writer = Writer::new(&region, 0);
    let half = Half::new(&region, 0);
    writer.paint(0x0a00_0000, 8, 2).unwrap();
    let host = |i: usize| 0x0a00_0001 + u32::try_from(i << 8).unwrap();
    for i in 0..TBL8S {
        writer.paint(host(i), 32, 3).unwrap();
    }
    let refused = writer.paint(host(TBL8S), 32, 3).unwrap_err();
    assert_eq!(refused, Exhausted { prefix: 0x0a80_0000 });
    assert!(alloc::format!("{refused}").contains("10.128.0.0/24 is left to the kernel"));
    assert_eq!(half.lookup(host(TBL8S)), KERNEL_GROUP);
    assert_eq!(half.lookup(host(TBL8S) + 1), KERNEL_GROUP, "not its old cover: it may be wrong");
    let (_, hop) = half.next_hop(KERNEL_GROUP, || 7);
    assert_eq!(hop.action, Action::Kernel(Reason::NoRoute));
    writer.paint(host(0), 32, 2).unwrap();
    assert_eq!(writer.free_tbl8s(), 1, "its last long route is gone");
    writer.paint(host(TBL8S), 24, 2).unwrap();
    writer.paint(host(TBL8S), 32, 3).unwrap();
    assert_eq!((half.lookup(host(TBL8S)), half.lookup(host(TBL8S) + 1)), (3, 2));
}

#[test]
fn flows_go_to_the_buckets_and_single_ways_ask_for_no_hash() {
    let region = Memory::new();
    let mut writer = Writer::new(&region, 1);
    for peer in 1..=4u16 {
        let hop = NextHop {
            action: Action::Forward,
            peer,
            mtu: 1500,
            addresses: Addresses::new([4; 6], [2; 6]),
        };
        writer.set_next_hop(peer, &hop);
    }
    writer.set_group(2, &[3]);
    writer.set_group(3, &[1, 2, 4, 4]);
    let half = Half::new(&region, 1);
    let (index, hop) = half.next_hop(2, || panic!("not asked for"));
    assert_eq!((index, hop.peer), (3, 3));
    let chosen = [0, 1, 2, 3, 4, 0xffff_fffd].map(|hash| half.next_hop(3, || hash).1.peer);
    assert_eq!(chosen, [1, 2, 4, 4, 1, 2]);
    writer.set_group(3, &[2; 64]);
    assert!((0..64).all(|hash| half.next_hop(3, || hash).0 == 2));
}

#[test]
fn the_callers_own_mistakes_are_found() {
    let panics = |work: fn(&mut Writer<&Memory>)| {
        REGION.with(|region| {
            let mut writer = Writer::new(region, 0);
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&mut writer))).is_err()
        })
    };
    assert!(panics(|w| w.set_group(KERNEL_GROUP, &[1])));
    assert!(panics(|w| w.set_group(2, &[])));
    assert!(panics(|w| w.set_group(2, &[1, 2, 3])));
    assert!(panics(|w| w.set_group(2, &[4096])));
    assert!(panics(|w| w.set_next_hop(NO_HOP, &NextHop::NO_ROUTE)));
    assert!(panics(|w| w.paint(0, 33, 2).unwrap()));
    assert!(panics(|w| w.paint(0, 8, 4096).unwrap()));
    REGION.with(|region| assert_eq!(region.u16_at(0), 0, "and nothing was written"));
}
