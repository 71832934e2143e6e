//! The reference trace: 1000 routes as in a table of 1998, and packets to each of them.

use std::sync::Arc;

use spine_fib::layout::FIRST_GROUP;
use spine_fib::lc_trie::Route;

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
    let mut packet = vec![0; bytes.max(60)];
    let total = u16::try_from(packet.len() - 14).unwrap_or(u16::MAX);
    packet[12..14].copy_from_slice(&[8, 0]);
    packet[14..26].copy_from_slice(&[0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, 17, 0, 0]);
    packet[16..18].copy_from_slice(&total.to_be_bytes());
    packet[26..30].copy_from_slice(&[192, 0, 2, 1]);
    packet[30..34].copy_from_slice(&destination.to_be_bytes());
    let words = packet[14..34].chunks_exact(2);
    let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0);
    packet[24..26].copy_from_slice(&checksum.to_be_bytes());
    packet.into()
}
