//! Which packets are the adapter's, said once and told twice.
//!
//! On AF_PACKET both the adapter and the kernel get every packet. So the socket has a filter that lets
//! the adapter see only what is its own ([`filter`](super::filter)), and the kernel has a rule that drops
//! exactly that ([`hook`](super::hook)). Both are made from the tests here, all of which a packet must
//! pass; so they agree on every packet.
//!
//! The tests look at the packet alone, not at routes: where the way out is not one of our interfaces,
//! the extension finds out, and the kernel gets the packet back. Beyond what the classifier of AF_XDP
//! leaves to the kernel, that are large packets of anything but TCP, since only TCP is cut here.

use std::net::Ipv4Addr;

/// Which header a field is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// Ethernet.
    Link,
    /// IPv4.
    Network,
}

/// A field of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field {
    /// The header it is in.
    pub(super) header: Header,
    /// Bytes from the header's start.
    pub(super) offset: u8,
    /// Its bytes: 1, 2, 4 or 6.
    pub(super) bytes: u8,
}

/// What must hold of a packet that is the adapter's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    /// The field has this value.
    Is(Field, u64),
    /// It is greater.
    Above(Field, u32),
    /// It is less than the first or greater than the second.
    Outside(Field, u32, u32),
    /// It is no address of this machine.
    NotLocal(Field),
    /// If the first field has not this value, the second is not greater than that.
    IsOrAtMost(Field, u32, Field, u32),
}

const fn link(offset: u8, bytes: u8) -> Field {
    Field { header: Header::Link, offset, bytes }
}

const fn network(offset: u8, bytes: u8) -> Field {
    Field { header: Header::Network, offset, bytes }
}

const DESTINATION_MAC: Field = link(0, 6);
const ETHERTYPE: Field = link(12, 2);
const VERSION_AND_LENGTH: Field = network(0, 1);
const TOTAL_LENGTH: Field = network(2, 2);
const TTL: Field = network(8, 1);
const PROTOCOL: Field = network(9, 1);
const SOURCE: Field = network(12, 4);
const DESTINATION: Field = network(16, 4);

const IPV4: u64 = 0x0800;
/// Version 4, and a header without options.
const PLAIN: u64 = 0x45;
const TCP: u32 = 6;
/// IGMP, RSVP, EIGRP, OSPF, PIM, VRRP: for a routing daemon.
const ROUTING_PROTOCOLS: [u32; 6] = [2, 46, 88, 89, 103, 112];
/// IPv4 in IPv4, IPv6 in IPv4, GRE, SCTP: with checksums inside that only the kernel can complete.
const CHECKSUMS_INSIDE: [u32; 4] = [4, 41, 47, 132];
/// Never forwarded, neither to nor from: 0/8, 127/8, 224/4, the limited broadcast (RFC 1812 5.3.7).
const SPECIAL: [(u32, u32); 4] = [
    (0, 0x00ff_ffff),
    (0x7f00_0000, 0x7fff_ffff),
    (0xe000_0000, 0xefff_ffff),
    (u32::MAX, u32::MAX),
];
const LINK_LOCAL: (u32, u32) = (0xa9fe_0000, 0xa9fe_ffff);

/// The tests for an interface with this link-layer address and MTU.
pub(super) fn tests(mac: [u8; 6], mtu: u32) -> Vec<Test> {
    let [a, b, c, d, e, f] = mac;
    let mut tests = vec![
        Test::Is(DESTINATION_MAC, u64::from_be_bytes([0, 0, a, b, c, d, e, f])),
        Test::Is(ETHERTYPE, IPV4),
        Test::Is(VERSION_AND_LENGTH, PLAIN),
        // Zero says that the packet is longer than can be said.
        Test::Above(TOTAL_LENGTH, 19),
        Test::Above(TTL, 1),
    ];
    let left = ROUTING_PROTOCOLS.into_iter().chain(CHECKSUMS_INSIDE);
    tests.extend(left.map(|protocol| Test::Outside(PROTOCOL, protocol, protocol)));
    tests.push(Test::IsOrAtMost(PROTOCOL, TCP, TOTAL_LENGTH, mtu));
    tests.extend(SPECIAL.map(|(low, high)| Test::Outside(SOURCE, low, high)));
    tests.extend(SPECIAL.map(|(low, high)| Test::Outside(DESTINATION, low, high)));
    tests.push(Test::Outside(DESTINATION, LINK_LOCAL.0, LINK_LOCAL.1));
    tests.push(Test::NotLocal(DESTINATION));
    tests.push(Test::NotLocal(SOURCE));
    tests
}

/// The most addresses of this machine that the tests can know.
pub(super) const ADDRESSES: usize = 900;

/// An address as a field's value.
pub(super) fn value(address: Ipv4Addr) -> u32 {
    u32::from(address)
}
