//! The classifier, run by the kernel on crafted packets (`BPF_PROG_TEST_RUN`): no interface is touched.
//!
//! The packets seem to come in on the loopback interface, the only one sure to exist. A claim needs an
//! AF_XDP socket in the map: one with a receive ring is enough, it need not be bound.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use libbpf_rs::{MapCore as _, MapFlags, Object, ObjectBuilder, OpenObject, ProgramInput};
use proptest::prelude::{ProptestConfig, any, proptest};
use spine_abi::HandlerNumber;
use spine_abi::metadata::{self, TIMED_BYTES};
use spine_headers::ethernet::{self, ether_type};
use spine_headers::{ipv4, protocol};
use spine_packets::owners::{self, LOCAL, OURS, Owner, ROUTED, Tier};
use spine_xdp_progs::{
    CLASSIFIER, CLASSIFIER_PROGRAM, Counter, HOLD, Ingresses, KEPT, Kept, PATIENCE, PROGRESS_BYTES,
    Port, STAMP_TIMES, claim_key, control, maps,
};

#[path = "classifier/flows.rs"]
mod flows;
#[path = "classifier/ipv6.rs"]
mod ipv6;

const XDP_PASS: u32 = 2;
const XDP_REDIRECT: u32 = 4;
const LOOPBACK: u32 = 1;

const MAC: [u8; 6] = owners::MAC;
const HANDLER: HandlerNumber = HandlerNumber(7);
const FIRST_SOCKET: u32 = 5;
const MINE: Ipv4Addr = OURS;
const MY_BROADCAST: Ipv4Addr = LOCAL[1];
const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 0, 1, 2);
const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 2);

const PORT: Port = Port {
    first_socket: FIRST_SOCKET,
    queues: 1,
    mac: MAC,
    handler: HANDLER,
    enabled: true,
    enabled_ipv6: true,
    unfinished_checksums: false,
    ingress: 5,
    first_kept: 64,
    kept: 0,
    again: false,
    longest: 1792,
    first_kept_ipv6: 96,
    kept_ipv6: 0,
};

/// The classifier in the kernel, with its maps as a running router would fill them.
struct Classifier {
    object: Object,
    _socket: OwnedFd,
}

/// What one packet came to.
#[derive(Debug, PartialEq)]
struct Outcome {
    action: u32,
    owner: Counter,
    bytes: Vec<u8>,
}

impl Classifier {
    /// Loads it; `None`, with the reason printed, where this process may not.
    fn load() -> Option<Self> {
        Self::load_with(|_| {})
    }

    /// The same after a change to the object.
    fn load_with(change: impl FnOnce(&mut OpenObject)) -> Option<Self> {
        let mut opened =
            ObjectBuilder::default().open_memory(CLASSIFIER).expect("the object is valid");
        change(&mut opened);
        let object = match opened.load() {
            Ok(object) => object,
            Err(error) if error.kind() == libbpf_rs::ErrorKind::PermissionDenied => {
                println!(
                    "skipped: loading an XDP program needs CAP_BPF and CAP_NET_ADMIN: {error}"
                );
                return None;
            }
            Err(error) => panic!("the verifier refused the classifier: {error:#}"),
        };
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::XDP,
            rustix::net::SocketType::RAW,
            None,
        )
        .expect("an AF_XDP socket can be made (CAP_NET_RAW)");
        rustix::net::sockopt::set_xdp_rx_ring_size(&socket, 64).expect("it takes a receive ring");

        let classifier = Self { object, _socket: socket };
        classifier.switch(true);
        classifier.set_port(1, true);
        classifier.update(
            maps::SOCKETS,
            &FIRST_SOCKET.to_ne_bytes(),
            &classifier._socket.as_raw_fd().to_ne_bytes(),
        );
        for address in LOCAL {
            classifier.update(maps::ADDRESSES, &address.octets(), &[1]);
        }
        classifier.claim(ROUTED.0, ROUTED.1, true);
        classifier.describe_ipv6();
        Some(classifier)
    }

    fn map(&self, name: &str) -> libbpf_rs::Map<'_> {
        self.object.maps().find(|map| map.name() == name).expect("the object has the map")
    }

    fn update(&self, map: &str, key: &[u8], value: &[u8]) {
        self.map(map).update(key, value, MapFlags::ANY).expect("the map takes the entry");
    }

    fn switch(&self, on: bool) {
        self.control(control(on, false, false));
    }

    fn control(&self, value: u32) {
        self.update(maps::CONTROL, &0u32.to_ne_bytes(), &value.to_ne_bytes());
    }

    fn set_port(&self, queues: u32, enabled: bool) {
        self.update_port(Port { queues, enabled, enabled_ipv6: enabled, ..PORT });
    }

    fn update_port(&self, port: Port) {
        self.update(maps::PORTS, &LOOPBACK.to_ne_bytes(), &port.to_bytes());
    }

    fn claim(&self, prefix: Ipv4Addr, length: u8, ours: bool) {
        self.claim_from(prefix, length, Ingresses(u64::from(ours) << PORT.ingress));
    }

    fn claim_from(&self, prefix: Ipv4Addr, length: u8, from: Ingresses) {
        self.update(maps::CLAIMS, &claim_key(prefix, length), &from.0.to_ne_bytes());
    }

    fn keep(&self, sets: &[Kept]) {
        for (number, set) in (PORT.first_kept..).zip(sets) {
            self.update(maps::KEPT, &number.to_ne_bytes(), &set.to_bytes());
        }
    }

    fn kept_packets(&self, counter: u32) -> u64 {
        let counters = self.map(maps::KEPT_PACKETS);
        let values = counters.lookup_percpu(&counter.to_ne_bytes(), MapFlags::ANY);
        let values = values.expect("the map can be read").expect("the counter exists");
        values.iter().map(|value| u64::from_ne_bytes(value[..8].try_into().unwrap())).sum()
    }

    fn counts(&self) -> Vec<u64> {
        let counters = self.map(maps::COUNTERS);
        let count = |counter: &Counter| {
            let values = counters.lookup_percpu(&(*counter as u32).to_ne_bytes(), MapFlags::ANY);
            let values = values.expect("the map can be read").expect("every counter exists");
            values.iter().map(|value| u64::from_ne_bytes(value[..8].try_into().unwrap())).sum()
        };
        Counter::ALL.iter().map(count).collect()
    }

    /// What an adapter does that looks into the ring of its socket.
    fn look(&self) {
        let progress = self.map(maps::PROGRESS);
        let key = FIRST_SOCKET.to_ne_bytes();
        let mut value = progress.lookup(&key, MapFlags::ANY).expect("readable").expect("an entry");
        assert_eq!(value.len(), PROGRESS_BYTES);
        value[0] = value[0].wrapping_add(1);
        self.update(maps::PROGRESS, &key, &value);
    }

    /// Runs the program once. Exactly one counter must move, by one.
    fn run(&self, frame: &[u8]) -> Outcome {
        let before = self.counts();
        let mut context = [0; 24];
        context[4..8].copy_from_slice(&u32::try_from(frame.len()).unwrap().to_ne_bytes());
        context[12..16].copy_from_slice(&LOOPBACK.to_ne_bytes());
        let mut bytes = vec![0; frame.len() + TIMED_BYTES];
        let program = self.object.progs_mut().find(|program| program.name() == CLASSIFIER_PROGRAM);
        let output = program
            .expect("the object has the program")
            .test_run(ProgramInput {
                context_in: Some(&mut context),
                data_in: Some(frame),
                data_out: Some(&mut bytes),
                repeat: 1,
                ..Default::default()
            })
            .unwrap_or_else(|error| panic!("cannot run {} bytes: {error}", frame.len()));
        let (action, length) = (output.return_value, output.data.expect("data comes out").len());
        bytes.truncate(length);

        let moved: Vec<_> = self.counts().iter().zip(before).map(|(now, old)| now - old).collect();
        assert_eq!(moved.iter().sum::<u64>(), 1, "one packet is counted once: {moved:?}");
        let owner = Counter::ALL[moved.iter().position(|count| *count == 1).unwrap()];
        Outcome { action, owner, bytes }
    }
}

/// What a passed packet must come to: the bytes it came with, and counted for `owner`.
fn passed(owner: Counter, frame: &[u8]) -> Outcome {
    Outcome { action: XDP_PASS, owner, bytes: frame.to_vec() }
}

/// What a claimed one must come to: the stamp in front of the bytes it came with.
fn claimed(frame: &[u8]) -> Outcome {
    claimed_for(HANDLER, frame)
}

fn claimed_for(handler: HandlerNumber, frame: &[u8]) -> Outcome {
    let mut bytes = metadata::MAGIC.to_le_bytes().to_vec();
    bytes.extend(handler.0.to_le_bytes());
    bytes.extend([0, 0]);
    assert_eq!(metadata::handler(bytes[..8].try_into().unwrap()), Some(handler));
    bytes.extend(frame);
    Outcome { action: XDP_REDIRECT, owner: Counter::Claimed, bytes }
}

/// A packet the adapters should have: UDP from client to server, TTL 64, 60 bytes.
fn ordinary() -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(MAC);
    frame.extend([2, 0, 0, 0, 0, 2]);
    frame.extend(ether_type::IPV4.to_be_bytes());
    frame.extend(ipv4::Fields::new(CLIENT, SERVER, protocol::UDP, 26).to_bytes());
    frame.resize(60, 0xab);
    frame
}

/// [`ordinary`], with some bytes replaced.
fn with(offset: usize, bytes: &[u8]) -> Vec<u8> {
    let mut frame = ordinary();
    frame[offset..offset + bytes.len()].copy_from_slice(bytes);
    frame
}

const ETHER_TYPE: usize = ethernet::offset::ETHER_TYPE;
const VERSION: usize = ethernet::BYTES + ipv4::offset::VERSION;
const LENGTH: usize = ethernet::BYTES + ipv4::offset::TOTAL_LENGTH;
const FRAGMENT: usize = ethernet::BYTES + ipv4::offset::FRAGMENT;
const TTL: usize = ethernet::BYTES + ipv4::offset::TTL;
const PROTOCOL: usize = ethernet::BYTES + ipv4::offset::PROTOCOL;
const SOURCE: usize = ethernet::BYTES + ipv4::offset::SOURCE;
const DESTINATION: usize = ethernet::BYTES + ipv4::offset::DESTINATION;

fn to(address: [u8; 4]) -> Vec<u8> {
    with(DESTINATION, &address)
}

fn from(address: [u8; 4]) -> Vec<u8> {
    with(SOURCE, &address)
}

/// Sets the program's constants, by the name of the section they are in: they stand there as in the source.
fn set_constants(object: &mut OpenObject, times: bool, patience: Duration, hold: Duration) {
    let mut constants = object
        .maps_mut()
        .find(|map| map.name().to_string_lossy().ends_with(".rodata"))
        .expect("the object has constants");
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).expect("centuries").to_ne_bytes();
    let set = [u64::from(times).to_ne_bytes(), nanos(patience), nanos(hold)].concat();
    let all = format!("{STAMP_TIMES}, {PATIENCE}, {HOLD} and nothing else");
    assert_eq!(constants.initial_value(), Some(&[0; 24][..]), "{all}");
    constants.set_initial_value(&set).expect("a value as long as the first");
}

/// Has the program say when packets come.
fn stamp_times(object: &mut OpenObject) {
    set_constants(object, true, Duration::ZERO, Duration::ZERO);
}

#[test]
fn a_claimed_packet_says_when_it_came_where_that_is_asked_for() {
    let Some(classifier) = Classifier::load_with(stamp_times) else { return };
    let now = || {
        let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("a clock");
        u64::try_from(Duration::from(time).as_nanos()).expect("centuries")
    };
    let before = now();
    let outcome = classifier.run(&ordinary());
    let after = now();
    assert_eq!((outcome.action, outcome.owner), (XDP_REDIRECT, Counter::Claimed));
    let (metadata, frame) = outcome.bytes.split_first_chunk().expect("metadata and a packet");
    let at = metadata::arrival(metadata).expect("a time");
    assert!(before <= at && at <= after, "{before} {at} {after}");
    let stamp = metadata.last_chunk().expect("the stamp behind the time");
    assert_eq!(metadata::handler(stamp), Some(HANDLER));
    assert_eq!(frame, ordinary());
    let passed_on = with(TTL, &[1]);
    assert_eq!(classifier.run(&passed_on), passed(Counter::TtlExceeded, &passed_on));
}

#[test]
fn the_classifier_answers_as_the_table_of_owners_says() {
    let Some(classifier) = Classifier::load() else { return };
    classifier.update_port(Port { unfinished_checksums: true, longest: u32::MAX, ..PORT });
    owners::check(Tier::Classifier, |frame| match classifier.run(frame).owner {
        Counter::Claimed => Owner::Adapter,
        _ => Owner::Kernel,
    });
}

#[test]
fn what_is_to_be_forwarded_is_claimed_and_stamped() {
    let Some(classifier) = Classifier::load() else { return };
    let long = |length: u16| {
        let mut frame = with(LENGTH, &length.to_be_bytes());
        frame.resize(14 + usize::from(length), 0);
        frame
    };
    for (name, frame) in [
        ("ordinary", ordinary()),
        ("TCP", with(PROTOCOL, &[6])),
        ("ICMP", with(PROTOCOL, &[1])),
        ("an unknown protocol", with(PROTOCOL, &[253])),
        ("the smallest TTL that survives a hop", with(TTL, &[2])),
        ("a first fragment", with(FRAGMENT, &[0x20, 0])),
        ("a last fragment", with(FRAGMENT, &[0, 99])),
        ("a header and nothing else", long(20)),
        ("Ethernet padding behind the packet", with(LENGTH, &[0, 21])),
        ("1500 bytes", long(1500)),
        ("a wrong header checksum", with(24, &[0xde, 0xad])),
        ("a link-local source", from([169, 254, 1, 1])),
        ("the first address of ours", to([10, 0, 2, 0])),
        ("a reserved source", from([240, 0, 0, 1])),
    ] {
        assert_eq!(classifier.run(&frame), claimed(&frame), "{name}");
    }
}

#[test]
fn what_the_kernel_must_see_is_passed_untouched() {
    let Some(classifier) = Classifier::load() else { return };
    for (name, owner, frame) in [
        ("broadcast", Counter::OtherMac, with(0, &[0xff; 6])),
        ("IPv4 multicast", Counter::OtherMac, with(0, &[1, 0, 0x5e, 0, 0, 1])),
        ("another station's MAC: first byte", Counter::OtherMac, with(0, &[4])),
        ("another station's MAC: last byte", Counter::OtherMac, with(5, &[9])),
        ("ARP", Counter::NotIpv4, with(ETHER_TYPE, &[0x08, 0x06])),
        ("IPv4 that says it is IPv6", Counter::BadHeader, with(ETHER_TYPE, &[0x86, 0xdd])),
        ("a VLAN tag", Counter::NotIpv4, with(ETHER_TYPE, &[0x81, 0x00])),
        ("802.3 with a length", Counter::NotIpv4, with(ETHER_TYPE, &[0x00, 0x2e])),
        ("an unknown EtherType", Counter::NotIpv4, with(ETHER_TYPE, &[0x88, 0xb5])),
        ("version 6", Counter::BadHeader, with(VERSION, &[0x65])),
        ("version 0", Counter::BadHeader, with(VERSION, &[0x05])),
        ("header of 16 bytes", Counter::BadHeader, with(VERSION, &[0x44])),
        ("header of no bytes", Counter::BadHeader, with(VERSION, &[0x40])),
        ("total length one over the frame", Counter::BadHeader, with(LENGTH, &[0, 47])),
        ("total length 65535", Counter::BadHeader, with(LENGTH, &[0xff, 0xff])),
        ("total length below the header", Counter::BadHeader, with(LENGTH, &[0, 19])),
        ("total length zero", Counter::BadHeader, with(LENGTH, &[0, 0])),
        ("options", Counter::Options, with(VERSION, &[0x46])),
        ("options longer than the frame", Counter::BadHeader, with(VERSION, &[0x4f])),
        ("TTL 0", Counter::TtlExceeded, with(TTL, &[0])),
        ("TTL 1", Counter::TtlExceeded, with(TTL, &[1])),
        ("IGMP", Counter::RoutingProtocol, with(PROTOCOL, &[2])),
        ("RSVP", Counter::RoutingProtocol, with(PROTOCOL, &[46])),
        ("EIGRP", Counter::RoutingProtocol, with(PROTOCOL, &[88])),
        ("OSPF", Counter::RoutingProtocol, with(PROTOCOL, &[89])),
        ("PIM", Counter::RoutingProtocol, with(PROTOCOL, &[103])),
        ("VRRP", Counter::RoutingProtocol, with(PROTOCOL, &[112])),
        ("to 0/8", Counter::SpecialAddress, to([0, 1, 2, 3])),
        ("to loopback", Counter::SpecialAddress, to([127, 0, 0, 1])),
        ("to multicast", Counter::SpecialAddress, to([224, 0, 0, 5])),
        ("to the last multicast", Counter::SpecialAddress, to([239, 255, 255, 255])),
        ("to limited broadcast", Counter::SpecialAddress, to([255; 4])),
        ("to link-local", Counter::SpecialAddress, to([169, 254, 0, 1])),
        ("from 0.0.0.0", Counter::SpecialAddress, from([0; 4])),
        ("from loopback", Counter::SpecialAddress, from([127, 1, 2, 3])),
        ("from multicast", Counter::SpecialAddress, from([230, 1, 1, 1])),
        ("from limited broadcast", Counter::SpecialAddress, from([255; 4])),
        ("to an address of ours", Counter::Local, to(MINE.octets())),
        ("to a broadcast address of ours", Counter::Local, to(MY_BROADCAST.octets())),
        ("from an address of ours", Counter::Local, from(MINE.octets())),
        ("no prefix matches", Counter::NotOurs, to([10, 0, 3, 1])),
        ("to a reserved address", Counter::NotOurs, to([240, 0, 0, 1])),
    ] {
        assert_eq!(classifier.run(&frame), passed(owner, &frame), "{name}");
    }
}

#[test]
fn what_only_the_kernel_can_checksum_is_passed_where_checksums_come_unfinished() {
    let Some(classifier) = Classifier::load() else { return };
    // Protocol, and whether it has a checksum that the extension does not know.
    let cases = [
        ("IPv4 in IPv4", 4, true),
        ("IPv6 in IPv4", 41, true),
        ("GRE", 47, true),
        ("SCTP", 132, true),
        ("UDP", 17, false),
        ("TCP", 6, false),
        ("ESP", 50, false),
    ];
    for (name, protocol, hidden) in cases {
        let frame = with(PROTOCOL, &[protocol]);
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
    // The kernel hands no program fewer bytes than an Ethernet header.
    for length in 14..=frame.len() {
        let owner = match length {
            14..34 => Counter::Truncated,
            34..60 => Counter::BadHeader,
            _ => Counter::Claimed,
        };
        let outcome = classifier.run(&frame[..length]);
        assert_eq!(outcome.owner, owner, "{length} bytes");
        if owner != Counter::Claimed {
            assert_eq!(outcome, passed(owner, &frame[..length]), "{length} bytes");
        }
    }
}

#[test]
fn the_longest_prefix_decides() {
    let Some(classifier) = Classifier::load() else { return };
    classifier.claim(Ipv4Addr::new(0, 0, 0, 0), 0, true);
    classifier.claim(Ipv4Addr::new(10, 0, 0, 0), 8, false);
    classifier.claim(Ipv4Addr::new(10, 0, 2, 7), 32, false);
    for (name, address, owner) in [
        ("the default", [192, 0, 2, 1], Counter::Claimed),
        ("a passed /8", [10, 9, 9, 9], Counter::NotOurs),
        ("a claimed /24 in it", [10, 0, 2, 6], Counter::Claimed),
        ("a passed /32 in that", [10, 0, 2, 7], Counter::NotOurs),
        ("the one behind", [10, 0, 2, 8], Counter::Claimed),
    ] {
        assert_eq!(classifier.run(&to(address)).owner, owner, "{name}");
    }
    let gone = claim_key(Ipv4Addr::new(10, 0, 2, 7), 32);
    classifier.map(maps::CLAIMS).delete(&gone).expect("the prefix was there");
    assert_eq!(classifier.run(&to([10, 0, 2, 7])).owner, Counter::Claimed, "its cover again");
}

/// The verifier is stricter with who may not look into the kernel: the same programs must pass it.
#[test]
fn three_capabilities_are_enough_to_load_it() {
    let Some(_) = Classifier::load() else { return };
    let three = "--bounding-set=-all,+bpf,+net_admin,+net_raw";
    let test = "what_is_to_be_forwarded_is_claimed_and_stamped";
    let me = std::env::current_exe().expect("this program has a path");
    let output =
        Command::new("setpriv").arg(three).arg(me).args([test, "--exact", "--nocapture"]).output();
    let Ok(output) = output else {
        println!("skipped: needs setpriv (util-linux)");
        return;
    };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    assert!(!said.contains("skipped:"), "{said}");
}

#[test]
fn a_prefix_is_ours_from_some_interfaces_and_not_from_others() {
    let Some(classifier) = Classifier::load() else { return };
    let frame = ordinary();
    for (from, ours) in [
        (Ingresses::ALL, true),
        (Ingresses(1 << PORT.ingress), true),
        (Ingresses(!(1 << PORT.ingress)), false),
        (Ingresses::NONE, false),
    ] {
        classifier.claim_from(ROUTED.0, ROUTED.1, from);
        let expected = if ours { claimed(&frame) } else { passed(Counter::NotOurs, &frame) };
        assert_eq!(classifier.run(&frame), expected, "{from:?}");
    }
}

/// All packets, as a kept set.
const EVERYTHING: Kept = Kept {
    protocols: [u64::MAX; 4],
    source: (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST),
    destination: (Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST),
    source_ports: (0, u16::MAX),
    destination_ports: (0, u16::MAX),
    whole: true,
    pieces: true,
    counter: 3,
};

#[test]
fn what_a_rule_could_treat_otherwise_is_the_kernels() {
    let Some(classifier) = Classifier::load() else { return };
    classifier.update_port(Port { kept: 1, ..PORT });
    let udp = ordinary();
    let (source, destination) = (CLIENT, SERVER);
    let next = |address: Ipv4Addr, by: i64| {
        Ipv4Addr::from(u32::try_from(i64::from(u32::from(address)) + by).expect("an address"))
    };
    let port = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
    let (from, to) = (port(34), port(36));
    let piece = with(FRAGMENT, &0x2000_u16.to_be_bytes());
    let icmp = {
        let mut icmp = with(PROTOCOL, &[1]);
        icmp[34..36].copy_from_slice(&[11, 1]);
        icmp
    };
    let only = |protocol: u8| {
        let mut words = [0; 4];
        words[usize::from(protocol / 64)] = 1 << (protocol % 64);
        words
    };
    let all = EVERYTHING;
    let away = (next(source, 1), next(source, 9));
    for (name, set, frame, kept) in [
        ("all", all, &udp, true),
        ("its protocol", Kept { protocols: only(17), ..all }, &udp, true),
        ("another protocol", Kept { protocols: only(6), ..all }, &udp, false),
        ("its source", Kept { source: (source, source), ..all }, &udp, true),
        ("sources beside it", Kept { source: away, ..all }, &udp, false),
        ("up to its source", Kept { source: (next(source, -5), source), ..all }, &udp, true),
        ("its destination", Kept { destination: (destination, destination), ..all }, &udp, true),
        (
            "below",
            Kept { destination: (Ipv4Addr::UNSPECIFIED, next(destination, -1)), ..all },
            &udp,
            false,
        ),
        ("its port", Kept { destination_ports: (to, to), ..all }, &udp, true),
        ("a port below", Kept { destination_ports: (0, to - 1), ..all }, &udp, false),
        ("its source's port", Kept { source_ports: (from, from), ..all }, &udp, true),
        ("a source's port above", Kept { source_ports: (from + 1, u16::MAX), ..all }, &udp, false),
        ("pieces, of a whole one", Kept { whole: false, ..all }, &udp, false),
        ("pieces, of a piece", Kept { whole: false, ..all }, &piece, true),
        ("whole ones, of a piece", Kept { pieces: false, ..all }, &piece, false),
        ("a piece has any port", Kept { destination_ports: (0, to - 1), ..all }, &piece, true),
        ("a type of ICMP", Kept { source_ports: (11, 11), ..all }, &icmp, true),
        ("another type", Kept { source_ports: (8, 8), ..all }, &icmp, false),
        ("a code", Kept { destination_ports: (0, 0), ..all }, &icmp, false),
    ] {
        classifier.keep(&[set]);
        let expected = if kept { passed(Counter::KeptByRules, frame) } else { claimed(frame) };
        assert_eq!(classifier.run(frame), expected, "{name}");
    }
}

#[test]
fn the_first_set_that_a_packet_is_in_counts_it_and_the_last_one_is_looked_at() {
    let Some(classifier) = Classifier::load() else { return };
    let frame = ordinary();
    const LAST: usize = KEPT as usize - 1;
    let never = Kept { source: (Ipv4Addr::BROADCAST, Ipv4Addr::BROADCAST), ..EVERYTHING };
    let mut sets = vec![never; LAST + 1];
    classifier.keep(&sets);
    // Where nothing is said of the interface, nothing is kept.
    assert_eq!(classifier.run(&frame), claimed(&frame));
    classifier.update_port(Port { kept: KEPT, ..PORT });
    assert_eq!(classifier.run(&frame), claimed(&frame));
    sets[LAST] = Kept { counter: 255, ..EVERYTHING };
    classifier.keep(&sets);
    assert_eq!(classifier.run(&frame), passed(Counter::KeptByRules, &frame));
    sets[LAST - 1] = Kept { counter: 254, ..EVERYTHING };
    classifier.keep(&sets);
    assert_eq!(classifier.run(&frame), passed(Counter::KeptByRules, &frame));
    assert_eq!([254, 255].map(|counter| classifier.kept_packets(counter)), [1, 1]);
}

#[test]
fn without_a_socket_or_switched_off_the_kernel_has_all() {
    let Some(classifier) = Classifier::load() else { return };
    let frame = ordinary();
    assert_eq!(classifier.run(&frame), claimed(&frame));

    classifier.switch(false);
    assert_eq!(classifier.run(&frame), passed(Counter::SwitchedOff, &frame), "switched off");
    classifier.switch(true);

    classifier.set_port(1, false);
    assert_eq!(classifier.run(&frame), passed(Counter::SwitchedOff, &frame), "this interface off");

    classifier.set_port(0, true);
    assert_eq!(classifier.run(&frame), passed(Counter::NoSocket, &frame), "queue without socket");
    classifier.set_port(1, true);

    let socket = FIRST_SOCKET.to_ne_bytes();
    classifier.map(maps::SOCKETS).delete(&socket).expect("the socket was there");
    assert_eq!(classifier.run(&frame), passed(Counter::NoSocket, &frame), "socket gone");
    classifier.update(maps::SOCKETS, &socket, &classifier._socket.as_raw_fd().to_ne_bytes());
    assert_eq!(classifier.run(&frame), claimed(&frame), "socket back");

    classifier.map(maps::PORTS).delete(&LOOPBACK.to_ne_bytes()).expect("the port was there");
    assert_eq!(classifier.run(&frame), passed(Counter::NoSocket, &frame), "not our interface");
}

/// RFC 1812's checks once more in Rust, for packets nobody thought of.
fn expected_owner(frame: &[u8]) -> Counter {
    let (ethernet, rest) = ethernet::Header::split(frame).unwrap();
    if ethernet.destination() != MAC {
        return Counter::OtherMac;
    }
    if ethernet.ether_type() == ether_type::IPV6 {
        return ipv6::expected_owner(rest);
    }
    if ethernet.ether_type() != ether_type::IPV4 {
        return Counter::NotIpv4;
    }
    let Ok((ip, _)) = ipv4::Header::split(rest) else { return Counter::Truncated };
    let (source, destination) = (ip.source(), ip.destination());
    let special = |address: Ipv4Addr| {
        address.is_loopback()
            || address.is_multicast()
            || address.is_broadcast()
            || address.octets()[0] == 0
    };
    if ipv4::Packet::read(rest).is_err() {
        Counter::BadHeader
    } else if ip.header_length() > ipv4::BYTES {
        Counter::Options
    } else if ip.ttl() <= 1 {
        Counter::TtlExceeded
    } else if ROUTING_PROTOCOLS.contains(&ip.protocol()) {
        Counter::RoutingProtocol
    } else if special(source) || special(destination) || destination.is_link_local() {
        Counter::SpecialAddress
    } else if LOCAL.iter().any(|mine| [source, destination].contains(mine)) {
        Counter::Local
    } else if destination.octets()[..3] != [10, 0, 2] {
        Counter::NotOurs
    } else {
        Counter::Claimed
    }
}

const ROUTING_PROTOCOLS: [u8; 6] = {
    use protocol::{EIGRP, IGMP, OSPF, PIM, RSVP, VRRP};
    [IGMP, RSVP, EIGRP, OSPF, PIM, VRRP]
};

#[test]
fn mutated_packets_go_where_the_rules_say() {
    let Some(classifier) = Classifier::load() else { return };
    let mutation = (0usize..40, any::<u8>());
    let config = ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() };
    proptest!(config, |(
        mutations in proptest::collection::vec(mutation, 0..4),
        length in 14usize..=60,
        cut in any::<bool>(),
    )| {
        let mut frame = ordinary();
        for (offset, byte) in mutations {
            frame[offset] = byte;
        }
        if cut {
            frame.truncate(length);
        }
        let owner = expected_owner(&frame);
        let expected = match owner {
            Counter::Claimed => claimed(&frame),
            owner => passed(owner, &frame),
        };
        assert_eq!(classifier.run(&frame), expected);
    });
}

#[test]
fn a_packet_longer_than_a_frame_is_the_kernel_s() {
    let Some(classifier) = Classifier::load() else { return };
    let of = |bytes: u16| {
        let mut frame = with(LENGTH, &(bytes - 14).to_be_bytes());
        frame.resize(usize::from(bytes), 0);
        frame
    };
    assert_eq!(classifier.run(&of(1792)), claimed(&of(1792)));
    assert_eq!(classifier.run(&of(1793)), passed(Counter::TooLong, &of(1793)));
    assert_eq!(classifier.run(&of(3000)), passed(Counter::TooLong, &of(3000)));
    classifier.update_port(Port { longest: 3408, ..PORT });
    assert_eq!(classifier.run(&of(3000)), claimed(&of(3000)));
}

#[test]
fn what_waits_too_long_for_an_adapter_has_the_kernel_take_over_until_it_is_back() {
    // So long that the machine cannot take it for nothing between two lines, and the clock, which goes by ticks, sees it.
    const WAIT: Duration = Duration::from_millis(300);
    let hold = 2 * WAIT;
    let patient = |object: &mut OpenObject| set_constants(object, false, WAIT, hold);
    let Some(classifier) = Classifier::load_with(patient) else { return };
    let frame = ordinary();
    // An adapter that looks is given packets however seldom they come.
    for _ in 0..2 {
        assert_eq!(classifier.run(&frame), claimed(&frame), "the first after a look");
        classifier.look();
        std::thread::sleep(WAIT + Duration::from_millis(20));
    }
    assert_eq!(classifier.run(&frame), claimed(&frame), "the first after a look");
    std::thread::sleep(WAIT + Duration::from_millis(20));
    assert_eq!(classifier.run(&frame), passed(Counter::AdapterStuck, &frame));
    // It is back, and has no packets at once.
    classifier.look();
    assert_eq!(classifier.run(&frame), passed(Counter::AdapterStuck, &frame));
    std::thread::sleep(hold + Duration::from_millis(20));
    assert_eq!(classifier.run(&frame), claimed(&frame), "held for long enough");
}

#[test]
fn without_patience_to_lose_packets_wait_for_ever() {
    let Some(classifier) = Classifier::load() else { return };
    let frame = ordinary();
    assert_eq!(classifier.run(&frame), claimed(&frame));
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(classifier.run(&frame), claimed(&frame));
}
