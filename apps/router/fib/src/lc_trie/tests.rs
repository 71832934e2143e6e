use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;
use crate::memory::Memory;
use crate::{Action, Addresses, NextHop};

/// The slow answer: the longest of the routes that cover an address, of equals the last.
fn expected(routes: &[Route], address: u32) -> u16 {
    let covers = |route: &&Route| bits(route.address ^ address, 0, route.length.into()) == 0;
    routes.iter().filter(covers).max_by_key(|route| route.length).map_or(0, |route| route.group)
}

/// Addresses where something changes: the first and last of each route and their neighbours.
fn edges(routes: &[Route]) -> Vec<u32> {
    let mut edges = vec![0, u32::MAX];
    for route in routes {
        let host = u32::MAX.checked_shr(route.length.into()).unwrap_or(0);
        let (first, last) = (route.address & !host, route.address | host);
        edges.extend([first.wrapping_sub(1), first, last, last.wrapping_add(1)]);
    }
    edges
}

fn check(routes: &[Route], others: &[u32]) {
    let region = Memory::new();
    let trie = Trie::build(routes).unwrap();
    trie.write(&region, 1);
    let half = Half::new(&region, 1);
    for address in edges(routes).iter().chain(others) {
        assert_eq!(
            half.lookup(*address),
            expected(routes, *address),
            "{address:#x} of {routes:x?}"
        );
    }
    assert_eq!(Half::new(&region, 0).lookup(5), 0, "the other half is empty");
}

fn route(address: u32, length: u8, group: u16) -> Route {
    Route { address, length, group }
}

/// As many routes, of the lengths that a routing table of 1998 has most of.
fn table(count: u32) -> Vec<Route> {
    let lengths = [24, 24, 24, 24, 16, 16, 22, 19, 20, 8];
    (0..count)
        .map(|n| {
            let mixed = n.wrapping_mul(2_654_435_761).rotate_left(7) ^ n.wrapping_mul(0x9e37);
            route(mixed, lengths[n as usize % lengths.len()], u16::try_from(n % 63 + 1).unwrap())
        })
        .collect()
}

#[test]
fn a_thousand_routes_take_less_than_20_kilobytes() {
    let routes = table(1000);
    let trie = Trie::build(&routes).unwrap();
    assert!(trie.bytes() < 20_000, "{} bytes", trie.bytes());
    check(&routes, &[]);
}

#[test]
fn nested_routes_a_default_and_host_routes_are_told_apart() {
    let nested = [
        route(0, 0, 1),
        route(0x0a00_0000, 8, 2),
        route(0x0a01_0000, 16, 3),
        route(0x0a01_0200, 24, 4),
        route(0x0a01_0203, 32, 5),
        route(0x0a01_0204, 32, 6),
        route(0x8000_0000, 1, 7),
        route(0xffff_ffff, 32, 8),
    ];
    check(&nested, &[0x0a01_02ff, 0x0a02_0000, 0x0b00_0000]);
    for count in 0..nested.len() {
        check(&nested[..count], &[0x0a01_0203]);
    }
}

#[test]
fn of_two_routes_to_one_network_the_last_counts() {
    check(&[route(0x0a00_0000, 8, 2), route(0x0a00_0001, 8, 3)], &[0x0a11_1111]);
}

#[test]
fn an_empty_region_and_an_empty_trie_have_no_route() {
    let region = Memory::new();
    assert_eq!(Half::new(&region, 0).lookup(0x0a00_0001), 0);
    check(&[], &[1, 0x7fff_ffff]);
}

fn hop(peer: u16) -> NextHop {
    let addresses = Addresses::new([2; 6], [1; 6]);
    NextHop { action: Action::Forward, peer, mtu: 1500, addresses }
}

#[test]
fn a_group_with_one_next_hop_asks_for_no_hash() {
    let region = Memory::new();
    Trie::set_next_hop(&region, 1, 255, &hop(1));
    Trie::set_group(&region, 1, 254, &[255]);
    let no_hash = || panic!("nobody has to choose");
    assert_eq!(Half::new(&region, 1).next_hop(254, no_hash), (255, hop(1)));
    assert_eq!(Half::new(&region, 0).next_hop(254, no_hash).1, NextHop::NO_ROUTE);
    assert_eq!(Half::new(&region, 1).next_hop(NO_ROUTE_GROUP, no_hash).1, NextHop::NO_ROUTE);
}

#[test]
fn a_flow_goes_to_its_bucket_of_a_group_as_in_the_other_table() {
    let (region, other) = (Memory::new(), Memory::new());
    let mut writer = crate::Writer::new(&other, 0);
    let buckets: Vec<u16> = (0..64).map(|bucket| bucket * 7 % 3 + 1).collect();
    for index in 1..=3 {
        Trie::set_next_hop(&region, 0, index, &hop(index));
        writer.set_next_hop(index, &hop(index));
    }
    let (trie, dir24) = (Half::new(&region, 0), crate::Half::new(&other, 0));
    for count in [1, 2, 4, 64] {
        Trie::set_group(&region, 0, 9, &buckets[..count]);
        writer.set_group(9, &buckets[..count]);
        for flow in 0..1000 {
            let hash = crate::flow_hash(1, flow, 17, 0);
            let expected = buckets[hash as usize % count];
            assert_eq!(trie.next_hop(9, || hash), (expected, hop(expected)));
            assert_eq!(dir24.next_hop(9, || hash), (expected, hop(expected)));
        }
    }
}

#[test]
fn more_than_fits_is_refused_with_its_size() {
    let routes = table(8000);
    let error = Trie::build(&routes).unwrap_err();
    assert!(error.bytes > HALF_BYTES - NODES);
}

/// A region with different garbage at every offset, seen by nobody else.
struct Garbage(u32);

impl Load for Garbage {
    fn u8_at(&self, offset: usize) -> u8 {
        (self.u32_at(offset) & 0xff) as u8
    }
    fn u16_at(&self, offset: usize) -> u16 {
        (self.u32_at(offset) & 0xffff) as u16
    }
    fn u32_at(&self, offset: usize) -> u32 {
        let offset = u32::try_from(offset).unwrap();
        crate::flow_hash(self.0, offset, 1, 2)
    }
}

proptest! {
    #[test]
    fn any_routes_are_found_as_by_comparing_with_each(
        routes in proptest::collection::vec((any::<u32>(), 0u8..=32, 1u16..64), 0..60),
        near in proptest::collection::vec((0u32..0x400, 20u8..=32, 1u16..64), 0..60),
        addresses in proptest::collection::vec(any::<u32>(), 20),
    ) {
        let far = routes.into_iter();
        let near = near.into_iter().map(|(address, length, group)| (address | 0x0a00_0000, length, group));
        let all: Vec<Route> = far.chain(near).map(|(a, l, g)| route(a, l, g)).collect();
        check(&all, &addresses);
    }

    #[test]
    fn garbage_never_panics_the_reader(seed: u32, address: u32, which in 0u32..2) {
        let region = Garbage(seed);
        let half = Half::new(&region, which);
        let (index, _) = half.next_hop(half.lookup(address), || 0);
        prop_assert!(usize::from(index) < NEXT_HOPS);
    }
}
