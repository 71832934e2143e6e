//! The classifier on IPv6. Whose packets are as such is in the table of owners; here is what is counted, and by what it goes.

use std::net::Ipv6Addr;

use libbpf_rs::MapCore as _;
use proptest::prelude::{ProptestConfig, any, proptest};
use spine_headers::ethernet::{self, ether_type};
use spine_headers::ipv6::{self, extension};
use spine_headers::protocol;
use spine_packets::owners::{LOCAL_IPV6, OURS_IPV6, ROUTED_IPV6};
use spine_xdp_progs::{Counter, Ingresses, KEPT, Kept, Port, claim_key_ipv6, maps};

use super::{Classifier, MAC, PORT, ROUTING_PROTOCOLS, claimed, passed};

const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 2);
const SERVER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 2);

const LENGTH: usize = ethernet::BYTES + ipv6::offset::PAYLOAD_LENGTH;
const NEXT: usize = ethernet::BYTES + ipv6::offset::NEXT_HEADER;
const HOPS: usize = ethernet::BYTES + ipv6::offset::HOP_LIMIT;
const SOURCE: usize = ethernet::BYTES + ipv6::offset::SOURCE;
const DESTINATION: usize = ethernet::BYTES + ipv6::offset::DESTINATION;
const PORTS: usize = ethernet::BYTES + ipv6::BYTES;

impl Classifier {
    /// What it is told of the addresses and prefixes of the table of owners.
    pub(super) fn describe_ipv6(&self) {
        for address in LOCAL_IPV6 {
            self.update(maps::ADDRESSES_IPV6, &address.octets(), &[1]);
        }
        self.claim_ipv6(ROUTED_IPV6.0, ROUTED_IPV6.1, Ingresses(1 << PORT.ingress));
    }

    fn claim_ipv6(&self, prefix: Ipv6Addr, length: u8, from: Ingresses) {
        self.update(maps::CLAIMS_IPV6, &claim_key_ipv6(prefix, length), &from.0.to_ne_bytes());
    }

    fn keep_ipv6(&self, sets: &[Kept<Ipv6Addr>]) {
        for (number, set) in (PORT.first_kept_ipv6..).zip(sets) {
            self.update(maps::KEPT_IPV6, &number.to_ne_bytes(), &set.to_bytes());
        }
    }
}

/// UDP from client to server, hop limit 64, 80 bytes.
fn ordinary() -> Vec<u8> {
    let fields = ipv6::Fields {
        source: CLIENT,
        destination: SERVER,
        next_header: protocol::UDP,
        payload: 26,
        hop_limit: 64,
    };
    let ethernet = ethernet::Fields {
        destination: MAC,
        source: [2, 0, 0, 0, 0, 2],
        ether_type: ether_type::IPV6,
    };
    let mut frame = [&ethernet.to_bytes()[..], &fields.to_bytes()].concat();
    frame.resize(80, 0xab);
    frame
}

fn with(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = ordinary();
    frame[at..at + bytes.len()].copy_from_slice(bytes);
    frame
}

fn at(place: usize, address: &str) -> Vec<u8> {
    with(place, &address.parse::<Ipv6Addr>().unwrap().octets())
}

#[test]
fn what_the_kernel_must_see_is_counted_by_its_reason_and_passed_untouched() {
    let Some(classifier) = Classifier::load() else { return };
    let to = |address| at(DESTINATION, address);
    let from = |address| at(SOURCE, address);
    for (name, owner, frame) in [
        ("another station", Counter::OtherMac, with(5, &[9])),
        ("version 4", Counter::BadHeader, with(14, &[0x45])),
        ("one over the frame", Counter::BadHeader, with(LENGTH, &[0, 27])),
        ("longest", Counter::BadHeader, with(LENGTH, &[0xff, 0xff])),
        ("hop by hop", Counter::Options, with(NEXT, &[extension::HOP_BY_HOP])),
        ("hop limit 1", Counter::TtlExceeded, with(HOPS, &[1])),
        ("hop limit 0", Counter::TtlExceeded, with(HOPS, &[0])),
        ("OSPFv3", Counter::RoutingProtocol, with(NEXT, &[protocol::OSPF])),
        ("to a group", Counter::SpecialAddress, to("ff05::2")),
        ("to a link-local address", Counter::SpecialAddress, to("fe80::1")),
        ("from a link-local address", Counter::SpecialAddress, from("febf::1")),
        ("from nobody yet", Counter::SpecialAddress, from("::")),
        ("to loopback", Counter::SpecialAddress, to("::1")),
        ("to an address of ours", Counter::Local, with(DESTINATION, &OURS_IPV6.octets())),
        ("from an address of ours", Counter::Local, with(SOURCE, &OURS_IPV6.octets())),
        ("no prefix matches", Counter::NotOurs, to("2001:db8:3::1")),
    ] {
        assert_eq!(classifier.run(&frame), passed(owner, &frame), "{name}");
    }
    let frame = ordinary();
    assert_eq!(classifier.run(&frame), claimed(&frame));
}

#[test]
fn what_only_the_kernel_can_checksum_is_passed_where_checksums_come_unfinished() {
    let Some(classifier) = Classifier::load() else { return };
    for (name, next, hidden) in [
        ("UDP", protocol::UDP, false),
        ("TCP", protocol::TCP, false),
        ("a piece", extension::FRAGMENT, false),
        ("signed", extension::AUTHENTICATION, false),
        ("IPv6 in IPv6", protocol::IPV6, true),
        ("SCTP", protocol::SCTP, true),
        ("a routing header", extension::ROUTING, true),
        ("options for the destination", extension::DESTINATION, true),
    ] {
        let frame = with(NEXT, &[next]);
        classifier.update_port(Port { unfinished_checksums: true, ..PORT });
        let expected =
            if hidden { passed(Counter::UnfinishedChecksums, &frame) } else { claimed(&frame) };
        assert_eq!(classifier.run(&frame), expected, "{name}");
        classifier.update_port(PORT);
        assert_eq!(classifier.run(&frame), claimed(&frame), "{name}, from a real card");
    }
}

#[test]
fn every_length_from_a_bare_ethernet_header_up_is_answered() {
    let Some(classifier) = Classifier::load() else { return };
    let frame = ordinary();
    for length in 14..=frame.len() {
        let owner = match length {
            14..54 => Counter::Truncated,
            54..80 => Counter::BadHeader,
            _ => Counter::Claimed,
        };
        assert_eq!(classifier.run(&frame[..length]).owner, owner, "{length} bytes");
    }
}

#[test]
fn each_family_is_switched_off_by_itself() {
    let Some(classifier) = Classifier::load() else { return };
    let (v4, v6) = (super::ordinary(), ordinary());
    for (enabled, enabled_ipv6) in [(true, false), (false, true)] {
        classifier.update_port(Port { enabled, enabled_ipv6, ..PORT });
        let expected = |on, owner, frame: &[u8]| match on {
            true => claimed(frame),
            false => passed(owner, frame),
        };
        assert_eq!(classifier.run(&v4), expected(enabled, Counter::SwitchedOff, &v4));
        assert_eq!(classifier.run(&v6), expected(enabled_ipv6, Counter::NotIpv4, &v6));
    }
    classifier.set_port(1, false);
    assert_eq!(classifier.run(&v6), passed(Counter::SwitchedOff, &v6));
}

#[test]
fn the_longest_prefix_decides_and_from_where() {
    let Some(classifier) = Classifier::load() else { return };
    let mine = Ingresses(1 << PORT.ingress);
    classifier.claim_ipv6(Ipv6Addr::UNSPECIFIED, 0, mine);
    classifier.claim_ipv6("2001:db8::".parse().unwrap(), 32, Ingresses(!mine.0));
    classifier.claim_ipv6("2001:db8:2::7".parse().unwrap(), 128, Ingresses::NONE);
    for (name, address, owner) in [
        ("the default", "2a00::1", Counter::Claimed),
        ("a /32 that is ours from elsewhere", "2001:db8:9::1", Counter::NotOurs),
        ("a claimed /64 in it", "2001:db8:2::6", Counter::Claimed),
        ("a passed /128 in that", "2001:db8:2::7", Counter::NotOurs),
        ("the one behind", "2001:db8:2::8", Counter::Claimed),
    ] {
        assert_eq!(classifier.run(&at(DESTINATION, address)).owner, owner, "{name}");
    }
    let gone = claim_key_ipv6("2001:db8:2::7".parse().unwrap(), 128);
    classifier.map(maps::CLAIMS_IPV6).delete(&gone).expect("the prefix was there");
    let owner = classifier.run(&at(DESTINATION, "2001:db8:2::7")).owner;
    assert_eq!(owner, Counter::Claimed, "its cover again");
}

/// All packets, as a kept set.
const EVERYTHING: Kept<Ipv6Addr> = Kept {
    protocols: [u64::MAX; 4],
    source: (Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits(u128::MAX)),
    destination: (Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits(u128::MAX)),
    source_ports: (0, u16::MAX),
    destination_ports: (0, u16::MAX),
    whole: true,
    pieces: true,
    counter: 3,
};

#[test]
fn what_a_rule_could_treat_otherwise_is_the_kernels() {
    let Some(classifier) = Classifier::load() else { return };
    classifier.update_port(Port { kept_ipv6: 1, ..PORT });
    let udp = with(PORTS, &[0x12, 0x34, 0x56, 0x78]);
    let (from, to) = (0x1234, 0x5678);
    let next = |address: Ipv6Addr, by: i128| {
        Ipv6Addr::from_bits(address.to_bits().wrapping_add_signed(by))
    };
    let before = |kind: u8| {
        let mut frame = udp.clone();
        frame[NEXT] = kind;
        frame
    };
    let (piece, hidden) = (before(extension::FRAGMENT), before(extension::DESTINATION));
    let icmp = {
        let mut icmp = before(protocol::ICMPV6);
        icmp[PORTS..PORTS + 2].copy_from_slice(&[3, 1]);
        icmp
    };
    let only = |protocol: u8| {
        let mut words = [0; 4];
        words[usize::from(protocol / 64)] = 1 << (protocol % 64);
        words
    };
    let all = EVERYTHING;
    let (low, high) = (-(1_i128 << 64), 1_i128 << 64);
    for (name, set, frame, kept) in [
        ("all", all, &udp, true),
        ("its protocol", Kept { protocols: only(17), ..all }, &udp, true),
        ("another protocol", Kept { protocols: only(6), ..all }, &udp, false),
        ("its source", Kept { source: (CLIENT, CLIENT), ..all }, &udp, true),
        ("a source above", Kept { source: (next(CLIENT, 1), all.source.1), ..all }, &udp, false),
        ("a source below", Kept { source: (all.source.0, next(CLIENT, -1)), ..all }, &udp, false),
        (
            "a network above",
            Kept { source: (next(CLIENT, high), all.source.1), ..all },
            &udp,
            false,
        ),
        ("a network below", Kept { source: (all.source.0, next(CLIENT, low)), ..all }, &udp, false),
        (
            "from a network below to one above",
            Kept { source: (next(CLIENT, low), next(CLIENT, high)), ..all },
            &udp,
            true,
        ),
        ("its destination", Kept { destination: (SERVER, SERVER), ..all }, &udp, true),
        ("up to it", Kept { destination: (next(SERVER, low), SERVER), ..all }, &udp, true),
        ("below", Kept { destination: (all.source.0, next(SERVER, -1)), ..all }, &udp, false),
        ("its port", Kept { destination_ports: (to, to), ..all }, &udp, true),
        ("a port below", Kept { destination_ports: (0, to - 1), ..all }, &udp, false),
        ("its source's port", Kept { source_ports: (from, from), ..all }, &udp, true),
        ("a source's port above", Kept { source_ports: (from + 1, u16::MAX), ..all }, &udp, false),
        ("pieces, of a whole one", Kept { whole: false, ..all }, &udp, false),
        ("pieces, of a piece", Kept { whole: false, ..all }, &piece, true),
        ("whole ones, of a piece", Kept { pieces: false, ..all }, &piece, false),
        ("a piece has any port", Kept { destination_ports: (0, to - 1), ..all }, &piece, true),
        ("a piece has any protocol", Kept { protocols: only(6), ..all }, &piece, true),
        ("behind options may be anything", Kept { protocols: only(6), ..all }, &hidden, true),
        ("a piece among it", Kept { whole: false, ..all }, &hidden, true),
        ("but not from anywhere", Kept { source: (SERVER, SERVER), ..all }, &hidden, false),
        ("a type of ICMPv6", Kept { source_ports: (3, 3), ..all }, &icmp, true),
        ("another type", Kept { source_ports: (128, 129), ..all }, &icmp, false),
        ("a code", Kept { destination_ports: (0, 0), ..all }, &icmp, false),
    ] {
        classifier.keep_ipv6(&[set]);
        let expected = if kept { passed(Counter::KeptByRules, frame) } else { claimed(frame) };
        assert_eq!(classifier.run(frame), expected, "{name}");
    }
    // IPv4's sets are others.
    let v4 = super::ordinary();
    classifier.keep_ipv6(&[all]);
    assert_eq!(classifier.run(&v4), claimed(&v4));
}

#[test]
fn the_first_set_that_a_packet_is_in_counts_it_and_the_last_one_is_looked_at() {
    let Some(classifier) = Classifier::load() else { return };
    let frame = ordinary();
    const LAST: usize = KEPT as usize - 1;
    let nowhere = Ipv6Addr::from_bits(u128::MAX);
    let mut sets = vec![Kept { source: (nowhere, nowhere), ..EVERYTHING }; LAST + 1];
    classifier.update_port(Port { kept_ipv6: KEPT, ..PORT });
    classifier.keep_ipv6(&sets);
    assert_eq!(classifier.run(&frame), claimed(&frame));
    sets[LAST] = Kept { counter: 255, ..EVERYTHING };
    classifier.keep_ipv6(&sets);
    assert_eq!(classifier.run(&frame), passed(Counter::KeptByRules, &frame));
    sets[LAST - 1] = Kept { counter: 254, ..EVERYTHING };
    classifier.keep_ipv6(&sets);
    assert_eq!(classifier.run(&frame), passed(Counter::KeptByRules, &frame));
    assert_eq!([254, 255].map(|counter| classifier.kept_packets(counter)), [1, 1]);
}

/// The rules once more in Rust, for what follows an Ethernet header to us.
pub(super) fn expected_owner(bytes: &[u8]) -> Counter {
    let Ok((ip, rest)) = ipv6::Header::split(bytes) else { return Counter::Truncated };
    let (source, destination) = (ip.source(), ip.destination());
    let special = |address: Ipv6Addr| {
        address.is_multicast()
            || address.is_unicast_link_local()
            || address.segments()[..4] == [0; 4]
    };
    if ip.version() != 6 || usize::from(ip.payload_length()) > rest.len() {
        Counter::BadHeader
    } else if ip.next_header() == extension::HOP_BY_HOP {
        Counter::Options
    } else if ip.hop_limit() <= 1 {
        Counter::TtlExceeded
    } else if ROUTING_PROTOCOLS.contains(&ip.next_header()) {
        Counter::RoutingProtocol
    } else if special(source) || special(destination) {
        Counter::SpecialAddress
    } else if LOCAL_IPV6.iter().any(|mine| [source, destination].contains(mine)) {
        Counter::Local
    } else if destination.segments()[..4] != ROUTED_IPV6.0.segments()[..4] {
        Counter::NotOurs
    } else {
        Counter::Claimed
    }
}

#[test]
fn mutated_packets_go_where_the_rules_say() {
    let Some(classifier) = Classifier::load() else { return };
    let mutation = (12_usize..60, any::<u8>());
    let config = ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() };
    proptest!(config, |(
        mutations in proptest::collection::vec(mutation, 0..4),
        length in 14usize..=80,
        cut in any::<bool>(),
    )| {
        let mut frame = ordinary();
        for (offset, byte) in mutations {
            frame[offset] = byte;
        }
        if cut {
            frame.truncate(length);
        }
        let owner = super::expected_owner(&frame);
        let expected = match owner {
            Counter::Claimed => claimed(&frame),
            owner => passed(owner, &frame),
        };
        assert_eq!(classifier.run(&frame), expected);
    });
}
