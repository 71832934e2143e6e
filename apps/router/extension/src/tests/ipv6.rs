//! The same for IPv6: one row for each case of RFC 8200 and RFC 4291 that a router has to tell apart.

use std::net::Ipv6Addr;

use proptest::prelude::*;
use spine_fib::protocol::{FORWARD, Swap};
use spine_fib::{Writer, used};
use spine_headers::ipv6::{Fields, extension as kinds};
use spine_headers::{checksum as sums, ethernet, ipv6, protocol};
use spine_sdk::testing::{Call, Outcome};
use spine_sdk::{ChecksumRequest, Finish, Reason, Region, Verdict};

use super::{HERE, NEIGHBOUR, OURS, SAID, THERE, loaded, say};
use crate::extension;
use crate::ipv6::{HEADER_BYTES, PREFIX_BYTES, classify};
use crate::lookup::Table;

/// Where fields are in a frame.
const FIRST_WORD: usize = ethernet::BYTES;
const LENGTH: usize = ethernet::BYTES + ipv6::offset::PAYLOAD_LENGTH;
const NEXT: usize = ethernet::BYTES + ipv6::offset::NEXT_HEADER;
const HOPS: usize = ethernet::BYTES + ipv6::offset::HOP_LIMIT;
const SOURCE: usize = ethernet::BYTES + ipv6::offset::SOURCE;
const DESTINATION: usize = ethernet::BYTES + ipv6::offset::DESTINATION;

/// A frame with a header of sound values, before a test makes it worse.
#[derive(Debug, Clone)]
struct Frame(Vec<u8>);

impl Frame {
    /// UDP from 2001:db8::1 to 2001:db8:1::1 with `payload` bytes behind the header.
    fn new(payload: usize) -> Self {
        let fields = Fields {
            source: "2001:db8::1".parse().unwrap(),
            destination: "2001:db8:1::1".parse().unwrap(),
            next_header: protocol::UDP,
            payload: u16::try_from(payload).unwrap(),
            hop_limit: 64,
        };
        let mut bytes = [&[0xee; 12][..], &[0x86, 0xdd], &fields.to_bytes()].concat();
        bytes.resize(HEADER_BYTES + payload, 0);
        Self(bytes)
    }

    /// The same with some bytes changed.
    fn with(&self, at: usize, bytes: &[u8]) -> Self {
        let mut frame = self.clone();
        frame.0[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    }

    fn at(&self, place: usize, address: &str) -> Self {
        self.with(place, &address.parse::<Ipv6Addr>().unwrap().octets())
    }
}

/// [`loaded`], with routes for 2001:db8:1::/48 to 2001:db8:4::/48 to groups 11 to 14, 2001:db8:9::/48 to 20, and one
/// neighbour of the first, 2001:db8:1::2, that is not known.
fn loaded_with_routes() -> Region {
    let region = loaded();
    let mut writer = Writer::new(Table(region), 1);
    let site = |n: u128| 0x2001_0db8 << 96 | n << 80;
    for n in 1..=4 {
        writer.paint_ipv6(site(n), 48, 10 + u16::try_from(n).unwrap()).unwrap();
    }
    writer.paint_ipv6(site(9), 48, 20).unwrap();
    writer.paint_ipv6(site(1) | 2, 128, 14).unwrap();
    region
}

fn send(frame: &Frame) -> Outcome {
    Call::packet(&frame.0).handler(FORWARD.0).prefix(72).dispatch(extension::dispatch)
}

fn to(destination: &str) -> Frame {
    Frame::new(100).at(DESTINATION, destination)
}

const FORWARDED: Verdict = Verdict::Forward { peer: THERE, finish: Finish::NONE };

#[test]
fn a_packet_with_a_route_leaves_with_a_lower_hop_limit_and_the_neighbours_address() {
    let region = loaded_with_routes();
    say(&SAID);
    let frame = Frame::new(100);
    let outcome = send(&frame);
    assert_eq!(outcome.verdict, FORWARDED);
    let mut expected = frame.with(HOPS, &[63]);
    expected.0[..6].copy_from_slice(&NEIGHBOUR);
    expected.0[6..12].copy_from_slice(&OURS);
    assert_eq!(outcome.prefix, expected.0[..72]);
    const { assert!(HOPS < 34, "as far as bytes are written back") };
    let table = Table(region);
    assert!(used(&table).take(1), "the next hop is in use");
    assert!(!used(&table).take(2), "and no other");
}

#[test]
fn each_kind_of_route_has_its_verdict_and_leaves_other_packets_as_they_are() {
    let region = loaded_with_routes();
    say(&SAID);
    for (name, frame, verdict) in [
        ("no route", to("2001:db8:7::1"), Verdict::kernel(Reason::NoRoute)),
        ("way in is way out", to("2001:db8:2::1"), Verdict::kernel(Reason::Hairpin)),
        ("blackhole", to("2001:db8:3::1"), Verdict::Drop(Reason::Blackhole)),
        ("neighbour unknown", to("2001:db8:4::1"), Verdict::kernel(Reason::Unresolved)),
        ("a single address", to("2001:db8:1::2"), Verdict::kernel(Reason::Unresolved)),
        ("over the MTU", Frame::new(1461), Verdict::kernel(Reason::TooBig)),
    ] {
        let outcome = send(&frame);
        assert_eq!(outcome.verdict, verdict, "{name}");
        assert_eq!(outcome.prefix, frame.0[..72], "{name}");
    }
    assert!((0..4096).all(|hop| !used(&Table(region)).take(hop)), "none was sent by");
    assert_eq!(send(&Frame::new(1460)).verdict, FORWARDED, "exactly the MTU");
}

#[test]
fn every_field_of_the_header_is_checked() {
    let good = Frame::new(100);
    let drop = |reason| Err(Verdict::Drop(reason));
    let kernel = |reason| Err(Verdict::kernel(reason));
    let from = |address| good.at(SOURCE, address);
    let to = |address| good.at(DESTINATION, address);
    for (name, frame, expected) in [
        // RFC 8200 3.
        ("version 4", good.with(FIRST_WORD, &[0x45]), drop(Reason::BadHeader)),
        ("version 0", good.with(FIRST_WORD, &[0x05]), drop(Reason::BadHeader)),
        ("version 7", good.with(FIRST_WORD, &[0x70]), drop(Reason::BadHeader)),
        ("longer than the frame", good.with(LENGTH, &[0, 101]), drop(Reason::Truncated)),
        ("longest", good.with(LENGTH, &[0xff, 0xff]), drop(Reason::Truncated)),
        ("hop limit 0", good.with(HOPS, &[0]), kernel(Reason::TtlExceeded)),
        ("hop limit 1", good.with(HOPS, &[1]), kernel(Reason::TtlExceeded)),
        // RFC 8200 4.3, and with it jumbograms (RFC 2675) and router alerts (RFC 2711).
        ("hop by hop", good.with(NEXT, &[kinds::HOP_BY_HOP]), kernel(Reason::Options)),
        ("jumbogram", good.with(LENGTH, &[0, 0, 0]), kernel(Reason::Options)),
        // RFC 4291 2.5.2, 2.5.3, 2.5.5, 2.5.6 and 2.7.
        ("from nobody yet", from("::"), kernel(Reason::Martian)),
        ("from loopback", from("::1"), kernel(Reason::Martian)),
        ("from IPv4", from("::ffff:10.0.0.1"), kernel(Reason::Martian)),
        ("from a link-local address", from("fe80::1"), kernel(Reason::Martian)),
        ("from the last link-local address", from("febf:ffff::1"), kernel(Reason::Martian)),
        ("from a group", from("ff02::1"), kernel(Reason::Martian)),
        ("to nobody", to("::"), kernel(Reason::Martian)),
        ("to loopback", to("::1"), kernel(Reason::Martian)),
        ("to IPv4", to("::ffff:10.0.0.1"), kernel(Reason::Martian)),
        ("to a link-local address", to("fe80::1"), kernel(Reason::Martian)),
        ("to a group of the link", to("ff02::1"), kernel(Reason::Martian)),
        ("to a group of the world", to("ff0e::1234"), kernel(Reason::Martian)),
        ("to a solicited node", to("ff02::1:ff00:1"), kernel(Reason::Martian)),
    ] {
        let classified = classify(&frame.0, frame.0.len());
        assert_eq!(classified.map(|_| ()), expected, "{name}");
    }
}

#[test]
fn what_may_be_unusual_and_is_still_forwarded() {
    let good = Frame::new(100);
    for (name, frame) in [
        ("plain", good.clone()),
        ("class and label", good.with(FIRST_WORD, &[0x6f, 0xff, 0xff, 0xff])),
        ("padding", good.with(LENGTH, &[0, 0])),
        ("hop limit 2", good.with(HOPS, &[2])),
        ("hop limit 255", good.with(HOPS, &[255])),
        // RFC 8200 4: what is for the destination is not the router's to read.
        ("a routing header", good.with(NEXT, &[kinds::ROUTING])),
        ("a fragment", good.with(NEXT, &[kinds::FRAGMENT])),
        ("options for the destination", good.with(NEXT, &[kinds::DESTINATION])),
        ("signed", good.with(NEXT, &[kinds::AUTHENTICATION])),
        ("encrypted", good.with(NEXT, &[protocol::ESP])),
        ("nothing behind it", good.with(NEXT, &[kinds::NONE])),
        ("an unknown protocol", good.with(NEXT, &[253])),
        ("from a site-local address (RFC 3879)", good.at(SOURCE, "fec0::1")),
        ("from a unique local address (RFC 4193)", good.at(SOURCE, "fd00::1")),
        ("from 64:ff9b::/96 (RFC 6052)", good.at(SOURCE, "64:ff9b::10.0.0.1")),
    ] {
        assert!(classify(&frame.0, frame.0.len()).is_ok(), "{name}");
    }
}

#[test]
fn runts_of_every_length_are_dropped() {
    loaded_with_routes();
    say(&SAID);
    let frame = Frame::new(100);
    for length in 0..HEADER_BYTES + 100 {
        let runt = Frame(frame.0[..length].to_vec());
        assert_eq!(send(&runt).verdict, Verdict::Drop(Reason::Truncated), "{length} bytes");
    }
}

#[test]
fn flows_of_a_multipath_route_spread_by_label_or_ports_and_stay() {
    loaded_with_routes();
    say(&SAID);
    let plain = to("2001:db8:9::1");
    let labelled = |label: u8| plain.with(FIRST_WORD + 3, &[label]);
    let unlabelled = |port: u8| plain.with(HEADER_BYTES + 1, &[port]);
    for frames in [&labelled as &dyn Fn(u8) -> Frame, &unlabelled] {
        let mut seen = [0; 2];
        for flow in 1..=200 {
            let first = send(&frames(flow)).verdict;
            assert_eq!(send(&frames(flow)).verdict, first, "flow {flow} stays");
            let Verdict::Forward { peer, .. } = first else { panic!("{first:?}") };
            seen[usize::from(peer - THERE)] += 1;
        }
        assert!(seen.iter().all(|count| *count > 60), "{seen:?}");
    }
    for flow in 1..=200 {
        let fragment = |place| unlabelled(flow).with(NEXT, &[kinds::FRAGMENT]).with(56, &[place]);
        assert_eq!(send(&fragment(0)).verdict, send(&fragment(9)).verdict, "fragments go one way");
        let whole = send(&labelled(flow)).verdict;
        let fragment = labelled(flow).with(NEXT, &[kinds::FRAGMENT]);
        assert_eq!(send(&fragment).verdict, whole, "with a label that of the whole");
    }
}

/// The sum that CHECKSUM_PARTIAL leaves in a frame's transport checksum.
fn pseudo(frame: &Frame) -> u16 {
    let length = frame.0.len() - HEADER_BYTES;
    let rest = [0, 0, 0, frame.0[NEXT]];
    let length = u32::try_from(length).unwrap().to_be_bytes();
    sums::fold(sums::sum(&[&frame.0[SOURCE..HEADER_BYTES], &length, &rest].concat()))
}

fn unfinished(next: u8, field: usize, payload: usize) -> Frame {
    let mut frame = Frame::new(payload).with(NEXT, &[next]);
    for (byte, value) in frame.0[HEADER_BYTES..].iter_mut().zip((0..=250).cycle().step_by(7)) {
        *byte = value;
    }
    let sum = pseudo(&frame);
    frame.with(HEADER_BYTES + field, &sum.to_be_bytes())
}

#[test]
fn an_unfinished_checksum_is_completed_if_that_is_switched_on() {
    loaded_with_routes();
    say(&SAID);
    let tcp = unfinished(protocol::TCP, 16, 60);
    let udp = unfinished(protocol::UDP, 6, 60);
    let cut = |length, offset| {
        let checksum = Some(ChecksumRequest { start: 54, offset });
        Verdict::Forward { peer: THERE, finish: Finish { length, checksum } }
    };
    let whole = |offset| cut(0, offset);
    let padded = Frame([unfinished(17, 6, 8).0, vec![0xff; 18]].concat());
    for (name, frame, verdict) in [
        ("TCP", tcp.clone(), whole(16)),
        ("UDP", udp.clone(), whole(6)),
        ("UDP of 8 bytes", unfinished(17, 6, 8), whole(6)),
        ("UDP with padding behind it", padded, cut(62, 6)),
        ("TCP of 20 bytes", unfinished(6, 16, 20), whole(16)),
        ("finished TCP", tcp.with(HEADER_BYTES + 16, &[1, 2]), FORWARDED),
        ("a fragment", tcp.with(NEXT, &[kinds::FRAGMENT]), FORWARDED),
        ("ICMP", tcp.with(NEXT, &[protocol::ICMPV6]), FORWARDED),
        ("TCP too short for its header", unfinished(6, 16, 19), FORWARDED),
    ] {
        assert_eq!(send(&frame).verdict, verdict, "{name}");
    }
    say(&Swap { complete_checksums: false, ..SAID });
    assert_eq!(send(&tcp).verdict, FORWARDED, "switched off");
    assert_eq!(PREFIX_BYTES, 72, "as the handler's manifest says");
}

#[test]
fn padding_is_not_forwarded() {
    loaded_with_routes();
    say(&SAID);
    let padded = Frame([Frame::new(4).0, vec![0xff; 2]].concat());
    let finish = Finish { length: 58, checksum: None };
    assert_eq!(send(&padded).verdict, Verdict::Forward { peer: THERE, finish });
}

#[test]
fn a_hop_on_this_adapter_is_the_kernels() {
    loaded_with_routes();
    say(&Swap { adapter: THERE, ..SAID });
    assert_eq!(send(&Frame::new(100)).verdict, Verdict::kernel(Reason::Hairpin));
    assert_ne!(THERE, HERE);
}

proptest! {
    #[test]
    fn any_header_is_answered_and_changes_only_as_a_hop_does(
        header: [u8; 40], sound: bool, payload in 0_usize..60,
    ) {
        loaded_with_routes();
        say(&SAID);
        let mut frame = Frame::new(payload).with(FIRST_WORD, &header);
        if sound {
            frame = frame.with(FIRST_WORD, &[0x60]).with(LENGTH, &[0, u8::try_from(payload).unwrap()]);
            frame = frame.at(DESTINATION, "2001:db8:1::7");
        }
        let outcome = send(&frame);
        let seen = &frame.0[..frame.0.len().min(72)];
        if let Verdict::Forward { .. } = outcome.verdict {
            prop_assert!(frame.0[HOPS] > 1);
            prop_assert_eq!(outcome.prefix[HOPS], frame.0[HOPS] - 1);
            prop_assert_eq!(&outcome.prefix[12..HOPS], &seen[12..HOPS]);
            prop_assert_eq!(&outcome.prefix[HOPS + 1..], &seen[HOPS + 1..]);
        } else {
            prop_assert_eq!(&outcome.prefix[..], seen);
        }
    }
}
