//! The reference trace: 1000 routes as in a table of 1998, and packets to each of them.

use std::net::Ipv4Addr;
use std::sync::Arc;

use spine_fib::layout::FIRST_GROUP;
use spine_fib::lc_trie::Route;
use spine_headers::{ethernet, ipv4, protocol};

/// Groups of the routes, each with one next hop of the same number.
const GROUPS: u16 = 16;

/// Their numbers.
pub(super) fn groups() -> std::ops::Range<u16> {
    FIRST_GROUP..FIRST_GROUP + GROUPS
}

/// Lengths of prefixes, about as often as in a routing table of the time.
const LENGTHS: [u8; 10] = [24, 24, 24, 24, 16, 16, 22, 19, 20, 23];

/// So many routes, spread over the ordinary address space, always the same.
pub(super) fn routes(count: u32) -> Vec<Route> {
    let route = |n: u32| {
        let spread = n.wrapping_mul(2_654_435_761);
        let network = 1 + (spread >> 24) % 222;
        let network = if network == 127 { 126 } else { network };
        let length = LENGTHS[n as usize % LENGTHS.len()];
        let host = u32::MAX >> length;
        let group = u16::try_from(n % u32::from(GROUPS)).unwrap_or(0) + FIRST_GROUP;
        Route { address: (network << 24 | spread & 0xff_ffff) & !host, length, group }
    };
    (0..count).map(route).collect()
}

/// One UDP packet of `bytes` to each route.
pub(super) fn to_each(routes: &[Route], bytes: usize) -> Arc<[Box<[u8]>]> {
    routes.iter().map(|route| packet(route.address | 1, bytes)).collect()
}

fn packet(destination: u32, bytes: usize) -> Box<[u8]> {
    let bytes = bytes.max(ethernet::LEAST_BYTES);
    let ether_type = ethernet::ether_type::IPV4;
    let ethernet = ethernet::Fields { destination: [0; 6], source: [0; 6], ether_type };
    let (from, to) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::from_bits(destination));
    let payload = u16::try_from(bytes - ethernet::BYTES - ipv4::BYTES).unwrap_or(u16::MAX);
    let fields = ipv4::Fields::new(from, to, protocol::UDP, payload);
    let ip = ipv4::Fields { identification: 1, ..fields };
    let mut packet = [&ethernet.to_bytes()[..], &ip.to_bytes()].concat();
    packet.resize(bytes, 0);
    packet.into()
}
