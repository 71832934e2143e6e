//! The table of packets and their owners.
//!
//! One machine, as a running router would describe it: [`OURS`] and [`LOCAL`] are its addresses,
//! [`ROUTED`] is the one prefix with a way out by an adapter, of [`MTU`] bytes; [`OURS_IPV6`], [`LOCAL_IPV6`] and [`ROUTED_IPV6`] are the same of
//! IPv6. It is a machine with
//! virtual wires, on which senders leave checksums unfinished.
//!
//! Where a tier answers otherwise than the row, the row says so and why. That is no licence to differ: each
//! of these differences has been looked at, and costs nobody a packet.

use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddrV4};

use spine_headers::ethernet::{self, ether_type};
use spine_headers::{ipv4, protocol};

use crate::frames;

mod ipv6;

pub use ipv6::{LOCAL_IPV6, OURS_IPV6, ROUTED_IPV6};

/// The link-layer address of the interface that packets come in by.
pub const MAC: ethernet::Address = [2, 0, 0, 0, 0, 1];
/// The address of this machine.
pub const OURS: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 1);
/// The addresses that packets for this machine have: its own, and its link's broadcast address.
pub const LOCAL: [Ipv4Addr; 2] = [OURS, Ipv4Addr::new(10, 0, 1, 255)];
/// The prefix with a way out by an adapter, and its length.
pub const ROUTED: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 0, 2, 0), 24);
/// The largest IP packet that any interface sends.
pub const MTU: u16 = 1500;

const NEIGHBOUR_MAC: ethernet::Address = [2, 0, 0, 0, 0, 2];
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

/// Whose a packet is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner {
    /// The adapter's, which forwards it, or drops it and counts why.
    Adapter,
    /// The kernel's.
    Kernel,
}

/// Who decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// The XDP program: claims it, or passes it on.
    Classifier,
    /// The filter of an AF_PACKET socket: shows it to the adapter, or does not.
    Filter,
    /// The rule of nftables beside that: drops it for the kernel, or does not.
    Rule,
    /// The router's extension, asked about any packet: hands it to the kernel, or does not.
    Extension,
}

impl Tier {
    /// All there are.
    pub const ALL: [Self; 4] = [Self::Classifier, Self::Filter, Self::Rule, Self::Extension];
}

/// A packet and its owner.
#[derive(Debug, Clone)]
pub struct Row {
    /// What is special about it.
    pub name: &'static str,
    /// Its bytes, from the Ethernet header on.
    pub frame: Vec<u8>,
    /// Whose it is.
    pub owner: Owner,
    /// Who answers otherwise, and why that is right.
    pub unlike: Vec<(Tier, &'static str)>,
}

impl Row {
    /// What this tier answers.
    pub fn owner_by(&self, tier: Tier) -> Owner {
        let is_unlike = self.unlike.iter().any(|(other, _)| *other == tier);
        match (self.owner, is_unlike) {
            (Owner::Adapter, false) | (Owner::Kernel, true) => Owner::Adapter,
            (Owner::Kernel, false) | (Owner::Adapter, true) => Owner::Kernel,
        }
    }

    fn but(mut self, tiers: &[Tier], why: &'static str) -> Self {
        self.unlike.extend(tiers.iter().map(|tier| (*tier, why)));
        self
    }
}

/// Asks a tier about every packet.
///
/// # Panics
/// It says otherwise than a row: all of these are named.
pub fn check(tier: Tier, mut ask: impl FnMut(&[u8]) -> Owner) {
    let wrong: Vec<String> = rows()
        .iter()
        .filter_map(|row| {
            let (said, expected) = (ask(&row.frame), row.owner_by(tier));
            (said != expected).then(|| format!("{}: {said:?}, not {expected:?}", row.name))
        })
        .collect();
    assert!(wrong.is_empty(), "{tier:?} disagrees with the table: {wrong:#?}");
}

/// The extension's reason for dropping what others leave to the kernel.
const DROPPED: &str = "the kernel would drop it, too: handing it over costs more than it is worth";
/// Why filter and rule claim what is longer than its frame.
const NO_LENGTHS: &str =
    "neither compares a field with the frame's length: the extension drops it, as the kernel would";
/// Why filter and rule claim what has no route.
const NO_ROUTES: &str = "routes are not looked at: the extension hands it back to the kernel";
/// Why the extension forwards what was sent to another station.
const BELIEVES: &str = "the link-layer address was looked at before: it is believed";
/// Why the extension forwards a routing protocol's packet.
const NO_DAEMON: &str =
    "it would be forwarded by the kernel, too: only a daemon beside it wants to see it";
/// Why the extension forwards what has checksums inside.
const NO_OFFLOADS: &str = "that they may be unfinished is known of the wire, not of the packet";
/// Why the extension forwards what claims to come from this machine.
const NO_SOURCES: &str = "it looks up destinations; sources of this machine are the classifier's and the filter's to know";

const PACKET_SOCKET: &[Tier] = &[Tier::Filter, Tier::Rule];
const EXTENSION: &[Tier] = &[Tier::Extension];

/// The table.
pub fn rows() -> Vec<Row> {
    [common(), link_layer(), lengths(), fields(), protocols(), addresses(), ipv6::rows()].concat()
}

fn adapters(name: &'static str, frame: Vec<u8>) -> Row {
    Row { name, frame, owner: Owner::Adapter, unlike: Vec::new() }
}

fn kernels(name: &'static str, frame: Vec<u8>) -> Row {
    Row { name, frame, owner: Owner::Kernel, unlike: Vec::new() }
}

/// UDP from client to server in a frame of 60 bytes, all of them the packet's.
fn ordinary() -> Vec<u8> {
    let (from, to) = (SocketAddrV4::new(CLIENT, 9), SocketAddrV4::new(SERVER, 9));
    frames::udp([MAC, NEIGHBOUR_MAC], [from, to], &[0xab; 18])
}

/// [`ordinary`], with some bytes replaced.
fn with_link(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = ordinary();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

/// [`ordinary`], with some bytes of the IPv4 header replaced, and a checksum that is right.
fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = with_link(ethernet::BYTES + at, bytes);
    frames::seal(&mut frame);
    frame
}

/// A packet of this protocol that is so long, in a frame that is as long.
fn long(protocol: u8, length: u16) -> Vec<u8> {
    let mut frame = with(ipv4::offset::PROTOCOL, &[protocol]);
    let [high, low] = length.to_be_bytes();
    frame[ethernet::BYTES + ipv4::offset::TOTAL_LENGTH..][..2].copy_from_slice(&[high, low]);
    frames::seal(&mut frame);
    frame.resize(ethernet::BYTES + usize::from(length), 0);
    frame
}

/// [`ordinary`] with another total length.
fn saying(length: u16) -> Vec<u8> {
    with(ipv4::offset::TOTAL_LENGTH, &length.to_be_bytes())
}

fn of_type(ether_type: u16) -> Vec<u8> {
    with_link(ethernet::offset::ETHER_TYPE, &ether_type.to_be_bytes())
}

fn of_protocol(protocol: u8) -> Vec<u8> {
    with(ipv4::offset::PROTOCOL, &[protocol])
}

fn from(address: [u8; 4]) -> Vec<u8> {
    with(ipv4::offset::SOURCE, &address)
}

fn to(address: [u8; 4]) -> Vec<u8> {
    with(ipv4::offset::DESTINATION, &address)
}

fn common() -> Vec<Row> {
    vec![
        adapters("ordinary", ordinary()),
        adapters("a wrong header checksum", with_link(24, &[0xde, 0xad])),
        adapters("the first address of the prefix", to([10, 0, 2, 0])),
        adapters("the last one", to([10, 0, 2, 255])),
        kernels("no route", to([10, 0, 3, 1])).but(PACKET_SOCKET, NO_ROUTES),
    ]
}

fn link_layer() -> Vec<Row> {
    vec![
        kernels("broadcast", with_link(0, &ethernet::BROADCAST)).but(EXTENSION, BELIEVES),
        kernels("a group's address", with_link(0, &[1, 0, 0x5e, 0, 0, 1])).but(EXTENSION, BELIEVES),
        kernels("another station's address: first byte", with_link(0, &[4]))
            .but(EXTENSION, BELIEVES),
        kernels("another station's address: last byte", with_link(5, &[9]))
            .but(EXTENSION, BELIEVES),
        kernels("ARP", of_type(ether_type::ARP)),
        kernels("IPv4 that says it is IPv6", of_type(ether_type::IPV6)).but(EXTENSION, DROPPED),
        kernels("a VLAN tag", of_type(ether_type::VLAN)),
        kernels("802.3 with a length", of_type(46)),
        kernels("an unknown EtherType", of_type(ether_type::EXPERIMENTAL_1)),
    ]
}

fn lengths() -> Vec<Row> {
    let both = &[Tier::Filter, Tier::Rule, Tier::Extension];
    vec![
        kernels("an Ethernet header alone", ordinary()[..14].to_vec()).but(EXTENSION, DROPPED),
        kernels("a part of the IPv4 header", ordinary()[..33].to_vec()).but(EXTENSION, DROPPED),
        kernels("cut behind the IPv4 header", ordinary()[..50].to_vec()).but(both, NO_LENGTHS),
        adapters("a header and nothing else", long(protocol::UDP, 20)),
        adapters("padding behind the packet", saying(21)),
        adapters("as long as the MTU", long(protocol::UDP, MTU)),
        kernels("longer than the MTU", long(protocol::UDP, MTU + 1))
            .but(&[Tier::Classifier], "no MTU is looked at: the extension hands it to the kernel"),
        adapters("TCP longer than the MTU", long(protocol::TCP, 2 * MTU))
            .but(EXTENSION, "it sees only what the adapter cuts it into, each of which fits"),
        kernels("total length one over the frame", saying(47)).but(both, NO_LENGTHS),
        kernels("total length 65535", saying(65535)).but(EXTENSION, DROPPED),
        kernels("total length below the header", saying(19)).but(EXTENSION, DROPPED),
        kernels("a total length that cannot be said", saying(0)).but(EXTENSION, DROPPED),
    ]
}

fn fields() -> Vec<Row> {
    let version = |byte| with(ipv4::offset::VERSION, &[byte]);
    let fragment = |bytes: [u8; 2]| with(ipv4::offset::FRAGMENT, &bytes);
    let ttl = |byte| with(ipv4::offset::TTL, &[byte]);
    vec![
        kernels("version 6", version(0x65)).but(EXTENSION, DROPPED),
        kernels("version 0", version(0x05)).but(EXTENSION, DROPPED),
        kernels("a header of 16 bytes", version(0x44)).but(EXTENSION, DROPPED),
        kernels("a header of no bytes", version(0x40)).but(EXTENSION, DROPPED),
        kernels("options", version(0x46)),
        kernels("options longer than the frame", version(0x4f)),
        adapters("DSCP and ECN", with(ipv4::offset::TRAFFIC_CLASS, &[0xff])),
        adapters("it may be cut", fragment([0, 0])),
        adapters("the reserved bit", fragment([0x80, 0])),
        adapters("a first fragment", fragment([0x20, 0])),
        adapters("a last fragment", fragment([0, 99])),
        adapters("the smallest TTL that survives a hop", ttl(2)),
        kernels("TTL 1", ttl(1)),
        kernels("TTL 0", ttl(0)),
    ]
}

fn protocols() -> Vec<Row> {
    let routing = |name, protocol| kernels(name, of_protocol(protocol)).but(EXTENSION, NO_DAEMON);
    let inside = |name, protocol| kernels(name, of_protocol(protocol)).but(EXTENSION, NO_OFFLOADS);
    vec![
        adapters("TCP", of_protocol(protocol::TCP)),
        adapters("ICMP", of_protocol(protocol::ICMP)),
        adapters("ESP", of_protocol(protocol::ESP)),
        adapters("an unknown protocol", of_protocol(253)),
        routing("IGMP", protocol::IGMP),
        routing("RSVP", protocol::RSVP),
        routing("EIGRP", protocol::EIGRP),
        routing("OSPF", protocol::OSPF),
        routing("PIM", protocol::PIM),
        routing("VRRP", protocol::VRRP),
        inside("IPv4 in IPv4", protocol::IPV4),
        inside("IPv6 in IPv4", protocol::IPV6),
        inside("GRE", protocol::GRE),
        inside("SCTP", protocol::SCTP),
    ]
}

fn addresses() -> Vec<Row> {
    vec![
        kernels("to 0/8", to([0, 1, 2, 3])).but(EXTENSION, DROPPED),
        kernels("to loopback", to([127, 0, 0, 1])).but(EXTENSION, DROPPED),
        kernels("to a group", to([224, 0, 0, 5])),
        kernels("to the last group", to([239, 255, 255, 255])),
        kernels("to everybody", to([255; 4])),
        kernels("to a link-local address", to([169, 254, 0, 1])),
        kernels("to 240/4, without a route", to([240, 0, 0, 1])).but(PACKET_SOCKET, NO_ROUTES),
        kernels("from 0/8", from([0, 1, 2, 3])).but(EXTENSION, DROPPED),
        kernels("from nobody yet", from([0; 4])).but(EXTENSION, DROPPED),
        kernels("from loopback", from([127, 1, 2, 3])).but(EXTENSION, DROPPED),
        kernels("from a group", from([230, 1, 1, 1])).but(EXTENSION, DROPPED),
        kernels("from everybody", from([255; 4])).but(EXTENSION, DROPPED),
        adapters("from 128/8", from([128, 0, 0, 1])),
        adapters("from a link-local address", from([169, 254, 1, 1])),
        adapters("from 240/4, which Linux forwards", from([240, 0, 0, 1])),
        kernels("to an address of ours", to(LOCAL[0].octets())),
        kernels("to a broadcast address of ours", to(LOCAL[1].octets())),
        kernels("from an address of ours", from(OURS.octets())).but(EXTENSION, NO_SOURCES),
    ]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn rows_have_names_of_their_own_and_differ_from_each_other() {
        let rows = rows();
        let names: BTreeSet<_> = rows.iter().map(|row| row.name).collect();
        let frames: BTreeSet<_> = rows.iter().map(|row| &row.frame).collect();
        assert_eq!([names.len(), frames.len()], [rows.len(); 2]);
        assert!(frames.iter().all(|frame| frame.len() >= ethernet::BYTES), "the kernel's least");
    }

    #[test]
    fn no_tier_has_one_answer_to_everything_and_none_differs_twice_in_a_row() {
        for tier in Tier::ALL {
            let answers = |owner| rows().iter().filter(|row| row.owner_by(tier) == owner).count();
            assert!(answers(Owner::Adapter) > 10 && answers(Owner::Kernel) > 10, "{tier:?}");
            for row in rows() {
                let said = row.unlike.iter().filter(|(other, _)| *other == tier).count();
                assert!(said <= 1, "{}: {tier:?}", row.name);
            }
        }
    }

    #[test]
    fn filter_and_rule_are_never_of_two_minds() {
        // A packet that both take is doubled, and one that neither takes is lost.
        for row in rows() {
            assert_eq!(row.owner_by(Tier::Filter), row.owner_by(Tier::Rule), "{}", row.name);
        }
    }

    #[test]
    #[should_panic(expected = "Extension disagrees with the table")]
    fn a_tier_that_answers_otherwise_is_red() {
        check(Tier::Extension, |_| Owner::Kernel);
    }
}
