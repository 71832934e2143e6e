//! The rows of IPv6, one for each case of RFC 8200, RFC 4291 and RFC 4443 that concerns whose a packet is.
//!
//! Without XDP all of IPv6 is the kernel's.

use std::net::Ipv6Addr;

use spine_headers::ethernet::{self, ether_type};
use spine_headers::ipv6::{self, extension};
use spine_headers::protocol;

use super::{
    BELIEVES, DROPPED, EXTENSION, MAC, MTU, NEIGHBOUR_MAC, NO_DAEMON, NO_OFFLOADS, NO_SOURCES,
    PACKET_SOCKET, Row, Tier, kernels,
};

/// The address of this machine.
pub const OURS_IPV6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// The addresses that packets for this machine have: its own, and its link's routers'.
pub const LOCAL_IPV6: [Ipv6Addr; 2] = [OURS_IPV6, Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0)];
/// The prefix with a way out by an adapter, and its length.
pub const ROUTED_IPV6: (Ipv6Addr, u8) = (Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0), 64);

const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
const SERVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);

const NO_IPV6: &str = "without XDP all of IPv6 is the kernel's";

fn adapters(name: &'static str, frame: Vec<u8>) -> Row {
    super::adapters(name, frame).but(PACKET_SOCKET, NO_IPV6)
}

/// UDP from client to server in a frame of 80 bytes, all of them the packet's.
fn ordinary() -> Vec<u8> {
    let ethernet =
        ethernet::Fields { destination: MAC, source: NEIGHBOUR_MAC, ether_type: ether_type::IPV6 };
    let fields = ipv6::Fields {
        source: CLIENT,
        destination: SERVER,
        next_header: protocol::UDP,
        payload: 26,
        hop_limit: 64,
    };
    let mut frame = [&ethernet.to_bytes()[..], &fields.to_bytes()].concat();
    frame.resize(80, 0xab);
    frame
}

/// [`ordinary`], with some bytes replaced, counted from the IPv6 header on.
fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = ordinary();
    frame[ethernet::BYTES + at..][..bytes.len()].copy_from_slice(bytes);
    frame
}

fn to_station(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = ordinary();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// A packet that is so long with its header, in a frame that is as long.
fn long(length: u16) -> Vec<u8> {
    let payload = length - 40;
    let mut frame = saying(payload);
    frame.resize(ethernet::BYTES + usize::from(length), 0);
    frame
}

fn saying(payload: u16) -> Vec<u8> {
    with(ipv6::offset::PAYLOAD_LENGTH, &payload.to_be_bytes())
}

fn before(next: u8) -> Vec<u8> {
    with(ipv6::offset::NEXT_HEADER, &[next])
}

fn from(address: &str) -> Vec<u8> {
    with(ipv6::offset::SOURCE, &read(address))
}

fn to(address: &str) -> Vec<u8> {
    with(ipv6::offset::DESTINATION, &read(address))
}

fn read(address: &str) -> [u8; 16] {
    address.parse::<Ipv6Addr>().expect("an address").octets()
}

pub(super) fn rows() -> Vec<Row> {
    [common(), lengths(), fields(), headers(), addresses()].concat()
}

fn common() -> Vec<Row> {
    vec![
        adapters("IPv6", ordinary()),
        adapters("IPv6, the first address of the prefix", to("2001:db8:2::")),
        adapters("IPv6, the last one", to("2001:db8:2::ffff:ffff:ffff:ffff")),
        kernels("IPv6, no route", to("2001:db8:3::1")),
        kernels("IPv6, the prefix before", to("2001:db8:1:ffff:ffff:ffff:ffff:ffff")),
        kernels("IPv6 to everybody on the link", to_station(0, &ethernet::BROADCAST))
            .but(EXTENSION, BELIEVES),
        kernels("IPv6 to a group of stations", to_station(0, &[0x33, 0x33, 0, 0, 0, 1]))
            .but(EXTENSION, BELIEVES),
        kernels("IPv6 to another station", to_station(5, &[9])).but(EXTENSION, BELIEVES),
    ]
}

fn lengths() -> Vec<Row> {
    vec![
        kernels("a part of the IPv6 header", ordinary()[..53].to_vec()).but(EXTENSION, DROPPED),
        kernels("IPv6, cut behind the header", ordinary()[..70].to_vec()).but(EXTENSION, DROPPED),
        adapters("an IPv6 header and nothing else", long(40)),
        adapters("IPv6 with padding behind it", saying(1)),
        adapters("IPv6 as long as the MTU", long(MTU)),
        // RFC 4443 3.2.
        kernels("IPv6 longer than the MTU", long(MTU + 1))
            .but(&[Tier::Classifier], "no MTU is looked at: the extension hands it to the kernel"),
        kernels("IPv6, one over the frame", saying(27)).but(EXTENSION, DROPPED),
        kernels("IPv6, as long as can be said", saying(65535)).but(EXTENSION, DROPPED),
    ]
}

fn fields() -> Vec<Row> {
    let version = |byte| with(ipv6::offset::VERSION, &[byte]);
    let hops = |byte| with(ipv6::offset::HOP_LIMIT, &[byte]);
    vec![
        kernels("IPv6 that says it is IPv4", version(0x45)).but(EXTENSION, DROPPED),
        kernels("IPv6 of version 0", version(0x00)).but(EXTENSION, DROPPED),
        kernels("IPv6 of version 7", version(0x70)).but(EXTENSION, DROPPED),
        adapters("IPv6 with class and label", with(0, &[0x6f, 0xff, 0xff, 0xff])),
        adapters("the smallest hop limit that survives a hop", hops(2)),
        adapters("the largest hop limit", hops(255)),
        // RFC 4443 3.3.
        kernels("hop limit 1", hops(1)),
        kernels("hop limit 0", hops(0)),
    ]
}

fn headers() -> Vec<Row> {
    let routing = |name, next| kernels(name, before(next)).but(EXTENSION, NO_DAEMON);
    let hidden = |name, next| kernels(name, before(next)).but(EXTENSION, NO_OFFLOADS);
    vec![
        // RFC 8200 4.3, RFC 2711, RFC 2675: for every router on the way.
        kernels("a hop-by-hop header", before(extension::HOP_BY_HOP)),
        kernels("a jumbogram", with(ipv6::offset::PAYLOAD_LENGTH, &[0, 0, extension::HOP_BY_HOP])),
        // RFC 8200 4: for the destination alone. Its checksum cannot be left undone.
        adapters("a piece of an IPv6 packet", before(extension::FRAGMENT)),
        adapters("IPv6, signed", before(extension::AUTHENTICATION)),
        adapters("IPv6, encrypted", before(protocol::ESP)),
        adapters("nothing behind the IPv6 header", before(extension::NONE)),
        adapters("IPv6, TCP", before(protocol::TCP)),
        adapters("ICMPv6", before(protocol::ICMPV6)),
        adapters("IPv6, an unknown protocol", before(253)),
        hidden("a routing header", extension::ROUTING),
        hidden("options for the destination", extension::DESTINATION),
        hidden("IPv6, mobility", extension::MOBILITY),
        hidden("IPv6, host identity", extension::HOST_IDENTITY),
        hidden("IPv6, shim6", extension::SHIM6),
        hidden("IPv4 in IPv6", protocol::IPV4),
        hidden("IPv6 in IPv6", protocol::IPV6),
        hidden("GRE in IPv6", protocol::GRE),
        hidden("SCTP over IPv6", protocol::SCTP),
        routing("OSPFv3", protocol::OSPF),
        routing("PIM over IPv6", protocol::PIM),
        routing("VRRP over IPv6", protocol::VRRP),
        routing("EIGRP over IPv6", protocol::EIGRP),
        routing("RSVP over IPv6", protocol::RSVP),
    ]
}

fn addresses() -> Vec<Row> {
    vec![
        // RFC 4291 2.5.2, 2.5.3, 2.5.5, 2.5.6 and 2.7; RFC 4443 3.1 of what is beyond its scope.
        kernels("to the unspecified address", to("::")),
        kernels("to IPv6 loopback", to("::1")),
        kernels("to an IPv4 address in IPv6", to("::ffff:10.0.2.2")),
        kernels("to an IPv6 link-local address", to("fe80::2")),
        kernels("to the last IPv6 link-local address", to("febf::2")),
        kernels("to all nodes", to("ff02::1")),
        kernels("to all routers of a site", to("ff05::2")),
        kernels("to a group of the world", to("ff0e::1")),
        kernels("from the unspecified address", from("::")),
        kernels("from IPv6 loopback", from("::1")),
        kernels("from an IPv4 address in IPv6", from("::ffff:10.0.1.2")),
        kernels("from an IPv6 link-local address", from("fe80::2")),
        kernels("from an IPv6 group", from("ff02::1")),
        adapters("from a unique local address", from("fd00::1")),
        adapters("from a site-local address, which Linux forwards", from("fec0::1")),
        adapters("from a translated IPv4 address", from("64:ff9b::10.0.1.2")),
        kernels("to an IPv6 address of ours", with(24, &LOCAL_IPV6[0].octets())),
        kernels("to the routers of our link", with(24, &LOCAL_IPV6[1].octets())),
        kernels("from an IPv6 address of ours", with(8, &OURS_IPV6.octets()))
            .but(EXTENSION, NO_SOURCES),
    ]
}
