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

use spine_headers::ethernet::{self, ether_type};
use spine_headers::{in_u8, in_u16, ipv4, protocol};

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

const fn field(header: Header, offset: usize, bytes: u8) -> Field {
    Field { header, offset: in_u8(offset), bytes }
}

const DESTINATION_MAC: Field = field(Header::Link, ethernet::offset::DESTINATION, 6);
const ETHERTYPE: Field = field(Header::Link, ethernet::offset::ETHER_TYPE, 2);
const VERSION_AND_LENGTH: Field = field(Header::Network, ipv4::offset::VERSION, 1);
const TOTAL_LENGTH: Field = field(Header::Network, ipv4::offset::TOTAL_LENGTH, 2);
const TTL: Field = field(Header::Network, ipv4::offset::TTL, 1);
const PROTOCOL: Field = field(Header::Network, ipv4::offset::PROTOCOL, 1);
const SOURCE: Field = field(Header::Network, ipv4::offset::SOURCE, 4);
const DESTINATION: Field = field(Header::Network, ipv4::offset::DESTINATION, 4);

/// For a routing daemon.
const ROUTING_PROTOCOLS: [u8; 6] = [
    protocol::IGMP,
    protocol::RSVP,
    protocol::EIGRP,
    protocol::OSPF,
    protocol::PIM,
    protocol::VRRP,
];
/// With checksums inside that only the kernel can complete.
const CHECKSUMS_INSIDE: [u8; 4] = [protocol::IPV4, protocol::IPV6, protocol::GRE, protocol::SCTP];
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
        Test::Is(ETHERTYPE, ether_type::IPV4.into()),
        Test::Is(VERSION_AND_LENGTH, ipv4::PLAIN.into()),
        // Zero says that the packet is longer than can be said.
        Test::Above(TOTAL_LENGTH, u32::from(in_u16(ipv4::BYTES)) - 1),
        Test::Above(TTL, 1),
    ];
    let left = ROUTING_PROTOCOLS.into_iter().chain(CHECKSUMS_INSIDE);
    let left = left.map(u32::from);
    tests.extend(left.map(|protocol| Test::Outside(PROTOCOL, protocol, protocol)));
    tests.push(Test::IsOrAtMost(PROTOCOL, protocol::TCP.into(), TOTAL_LENGTH, mtu));
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
