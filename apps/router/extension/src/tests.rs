//! The router's handlers, verdict by verdict. Of IPv6, see [`ipv6`].

mod ipv6;

use std::net::Ipv4Addr;

use proptest::prelude::*;
use spine_fib::protocol::{FORWARD, SWAP, SWAPPED, Swap};
use spine_fib::{Action, Addresses, NextHop, Writer, layout, used};
use spine_headers::{checksum as sums, ethernet, ipv4, protocol};
use spine_packets::frames;
use spine_packets::owners::{self, LOCAL, LOCAL_IPV6, MTU, Owner, ROUTED, ROUTED_IPV6, Tier};
use spine_sdk::manifest::Manifest;
use spine_sdk::testing::{self, Call, Outcome};
use spine_sdk::{
    ChecksumRequest, Context, Domain, Endpoint, Finish, Message, PackedVerdict, Reason, Region,
    Verdict,
};

use crate::classify::{HEADER_BYTES, classify};
use crate::forward::{partial_checksum, rewrite};
use crate::lookup::Table;
use crate::{extension, route};

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const NEIGHBOUR: [u8; 6] = [2, 0, 0, 0, 0, 2];
const HERE: u16 = 5;
const THERE: u16 = 6;

/// A frame with a header of sound values, before a test makes it worse.
#[derive(Clone)]
struct Frame(Vec<u8>);

impl Frame {
    /// UDP from 10.0.0.1 to 10.1.0.1 with `payload` bytes of IP payload.
    fn new(payload: usize) -> Self {
        let payload_bytes = u16::try_from(payload).unwrap();
        let (from, to) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 1, 0, 1));
        let fields = ipv4::Fields::new(from, to, protocol::UDP, payload_bytes);
        let ip = ipv4::Fields { keep_whole: false, ..fields };
        let mut bytes = [&[0xee; 12][..], &[8, 0], &ip.to_bytes()].concat();
        bytes.resize(HEADER_BYTES + payload, 0);
        Self(bytes)
    }

    /// The same with some bytes changed and the header checksum made right.
    fn with(&self, at: usize, bytes: &[u8]) -> Self {
        self.bad(at, bytes).sealed()
    }

    /// The same with some bytes changed and nothing else.
    fn bad(&self, at: usize, bytes: &[u8]) -> Self {
        let mut frame = self.clone();
        frame.0[at..at + bytes.len()].copy_from_slice(bytes);
        frame
    }

    fn sealed(mut self) -> Self {
        frames::seal(&mut self.0);
        self
    }

    fn headers(&self) -> &[u8; HEADER_BYTES] {
        self.0.first_chunk().unwrap()
    }
}

/// The Internet checksum of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    sums::finish(sums::sum(bytes))
}

/// A loaded extension with a table of the most important kinds of routes in half 1.
fn loaded() -> Region {
    testing::fresh();
    let region = testing::region(layout::REGION_BYTES);
    testing::share(region);
    spine_sdk::testing::initialise(extension::initialise);
    let forward = |peer| NextHop {
        action: Action::Forward,
        peer,
        mtu: 1500,
        addresses: Addresses::new(NEIGHBOUR, OURS),
    };
    let mut writer = Writer::new(Table(region), 1);
    writer.set_next_hop(1, &forward(THERE));
    writer.set_next_hop(2, &forward(HERE));
    writer.set_next_hop(3, &NextHop::without_way(Action::Drop(Reason::Blackhole)));
    writer.set_next_hop(4, &NextHop::without_way(Action::Kernel(Reason::Unresolved)));
    writer.set_next_hop(5, &forward(THERE + 1));
    for hop in 1..=4 {
        writer.set_group(10 + hop, &[hop]);
        writer.paint(0x0a00_0000 | u32::from(hop) << 16, 16, 10 + hop).unwrap();
    }
    writer.set_group(20, &[1, 5]);
    writer.paint(0x0a09_0000, 16, 20).unwrap();
    writer.paint(0xf000_0000, 4, 11).unwrap();
    region
}

const SAID: Swap = Swap {
    half: 1,
    sequence: 9,
    adapter: HERE,
    complete_checksums: true,
    check_sources: false,
    paused: false,
};

fn say(swap: &Swap) -> Outcome {
    Call::small(&swap.to_bytes()).handler(SWAP.0).dispatch(extension::dispatch)
}

fn send(frame: &Frame) -> Outcome {
    Call::packet(&frame.0).handler(FORWARD.0).prefix(72).dispatch(extension::dispatch)
}

fn to(destination: [u8; 4]) -> Frame {
    Frame::new(100).with(30, &destination)
}

const FORWARDED: Verdict = Verdict::Forward { peer: THERE, finish: Finish::NONE };

#[test]
fn a_packet_with_a_route_leaves_with_a_lower_ttl_and_the_neighbours_address() {
    let region = loaded();
    say(&SAID);
    let frame = Frame::new(100);
    let outcome = send(&frame);
    assert_eq!(outcome.verdict, FORWARDED);
    let mut expected = frame.with(22, &[63]);
    expected.0[..6].copy_from_slice(&NEIGHBOUR);
    expected.0[6..12].copy_from_slice(&OURS);
    assert_eq!(outcome.prefix, expected.0[..72]);
    let table = Table(region);
    assert!(used(&table).take(1), "the next hop is in use");
    assert!(!used(&table).take(2), "and no other");
}

#[test]
fn a_packet_whose_way_back_leads_elsewhere_is_the_kernels_where_that_is_asked() {
    let region = loaded();
    let mut writer = Writer::new(Table(region), 1);
    // From the network of group 11 on this adapter alone, from that of group 13 on the adapter 32 further.
    writer.set_sources(11, 1 << HERE);
    writer.set_sources(13, 1 << (HERE + 32));
    let from = |source: [u8; 4]| to([10, 1, 0, 1]).with(26, &source);
    let elsewhere = Verdict::kernel(Reason::ReversePath);
    let sources = [[10, 1, 0, 7], [10, 3, 0, 7], [11, 0, 0, 7]];
    for (checks, adapter, expected) in [
        (false, HERE, [FORWARDED, FORWARDED, FORWARDED]),
        (true, HERE, [FORWARDED, elsewhere, elsewhere]),
        (true, HERE + 32, [elsewhere, FORWARDED, elsewhere]),
    ] {
        say(&Swap { check_sources: checks, adapter, ..SAID });
        let verdicts = sources.map(|source| send(&from(source)).verdict);
        assert_eq!(verdicts, expected, "adapter {adapter}, asked: {checks}");
    }
    let frame = from([11, 0, 0, 7]);
    say(&Swap { check_sources: true, ..SAID });
    assert_eq!(send(&frame).prefix, frame.0[..72], "as it was received");
}

#[test]
fn each_kind_of_route_has_its_verdict_and_leaves_other_packets_as_they_are() {
    let region = loaded();
    say(&SAID);
    for (name, frame, verdict) in [
        ("no route", to([11, 0, 0, 1]), Verdict::kernel(Reason::NoRoute)),
        ("way in is way out", to([10, 2, 0, 1]), Verdict::kernel(Reason::Hairpin)),
        ("blackhole", to([10, 3, 0, 1]), Verdict::Drop(Reason::Blackhole)),
        ("neighbour unknown", to([10, 4, 0, 1]), Verdict::kernel(Reason::Unresolved)),
        ("over the MTU", Frame::new(1481), Verdict::kernel(Reason::TooBig)),
        ("ARP", Frame::new(100).with(12, &[8, 6]), Verdict::kernel(Reason::Unhandled)),
        ("VLAN tag", Frame::new(100).with(12, &[0x81, 0]), Verdict::kernel(Reason::Unhandled)),
    ] {
        let outcome = send(&frame);
        assert_eq!(outcome.verdict, verdict, "{name}");
        assert_eq!(outcome.prefix, frame.0[..72], "{name}");
    }
    assert!((0..4096).all(|hop| !used(&Table(region)).take(hop)), "none was sent by");
    assert_eq!(send(&Frame::new(1480)).verdict, FORWARDED, "exactly the MTU");
    assert_eq!(send(&to([240, 0, 0, 1])).verdict, FORWARDED, "240/4 is ordinary space");
}

#[test]
fn every_field_of_the_header_is_checked() {
    let good = Frame::new(100);
    let drop = |reason| Err(Verdict::Drop(reason));
    let kernel = |reason| Err(Verdict::kernel(reason));
    for (name, frame, expected) in [
        ("version 6", good.with(14, &[0x65]), drop(Reason::BadHeader)),
        ("version 0", good.with(14, &[0x05]), drop(Reason::BadHeader)),
        ("header of 16 bytes", good.with(14, &[0x44]), drop(Reason::BadHeader)),
        ("header of 0 bytes", good.with(14, &[0x40]), drop(Reason::BadHeader)),
        ("options", good.with(14, &[0x46]), kernel(Reason::Options)),
        ("most options", good.with(14, &[0x4f]), kernel(Reason::Options)),
        ("wrong checksum", good.bad(24, &[0x12, 0x34]), drop(Reason::BadChecksum)),
        ("one bit flipped", good.bad(15, &[1]), drop(Reason::BadChecksum)),
        ("shorter than its header", good.with(16, &[0, 19]), drop(Reason::BadHeader)),
        ("longer than the frame", good.with(16, &[0, 121]), drop(Reason::Truncated)),
        ("longest", good.with(16, &[0xff, 0xff]), drop(Reason::Truncated)),
        ("TTL 0", good.with(22, &[0]), kernel(Reason::TtlExceeded)),
        ("TTL 1", good.with(22, &[1]), kernel(Reason::TtlExceeded)),
        ("from 0/8", good.with(26, &[0, 1, 2, 3]), drop(Reason::Martian)),
        ("from loopback", good.with(26, &[127, 0, 0, 1]), drop(Reason::Martian)),
        ("from multicast", good.with(26, &[224, 0, 0, 1]), drop(Reason::Martian)),
        ("from the last multicast", good.with(26, &[239, 9, 9, 9]), drop(Reason::Martian)),
        ("from broadcast", good.with(26, &[255; 4]), drop(Reason::Martian)),
        ("to 0/8", good.with(30, &[0, 0, 0, 1]), drop(Reason::Martian)),
        ("to loopback", good.with(30, &[127, 9, 9, 9]), drop(Reason::Martian)),
        ("to multicast", good.with(30, &[224, 0, 0, 5]), kernel(Reason::Unhandled)),
        ("to broadcast", good.with(30, &[255; 4]), kernel(Reason::Local)),
        ("DHCP", good.with(26, &[0, 0, 0, 0, 255, 255, 255, 255]), kernel(Reason::Local)),
        ("all zero", good.with(26, &[0; 8]), kernel(Reason::Local)),
    ] {
        assert_eq!(classify(frame.headers(), frame.0.len()), expected, "{name}");
    }
}

#[test]
fn the_extension_answers_as_the_table_of_owners_says() {
    let region = testing::region(layout::REGION_BYTES);
    let mut writer = Writer::new(Table(region), 1);
    let addresses = Addresses::new(NEIGHBOUR, OURS);
    let forward = NextHop { action: Action::Forward, peer: THERE, mtu: MTU, addresses };
    writer.set_next_hop(1, &forward);
    writer.set_next_hop(2, &NextHop::without_way(Action::Kernel(Reason::Local)));
    writer.set_group(11, &[1]);
    writer.set_group(12, &[2]);
    writer.paint(ROUTED.0.to_bits(), ROUTED.1, 11).unwrap();
    for address in LOCAL {
        writer.paint(address.to_bits(), 32, 12).unwrap();
    }
    writer.paint_ipv6(ROUTED_IPV6.0.to_bits(), ROUTED_IPV6.1, 11).unwrap();
    for address in LOCAL_IPV6 {
        writer.paint_ipv6(address.to_bits(), 128, 12).unwrap();
    }
    let settings = crate::settings::Settings {
        half: 1,
        adapter: HERE,
        complete_checksums: true,
        check_sources: false,
    };
    owners::check(Tier::Extension, |frame| {
        let mut bytes = frame.to_vec();
        match route(&Table(region), settings, &mut bytes, frame.len()).verdict() {
            Verdict::Kernel { .. } => Owner::Kernel,
            Verdict::Forward { .. } | Verdict::Drop(_) => Owner::Adapter,
            other => panic!("{other:?}"),
        }
    });
}

#[test]
fn what_may_be_unusual_and_is_still_forwarded() {
    let good = Frame::new(100);
    for (name, frame, fragment) in [
        ("plain", good.clone(), false),
        ("DSCP and ECN", good.with(15, &[0xff]), false),
        ("padding", good.with(16, &[0, 20]), false),
        ("do not fragment", good.with(20, &[0x40, 0]), false),
        ("the reserved bit", good.with(20, &[0x80, 0]), false),
        ("first fragment", good.with(20, &[0x20, 0]), true),
        ("last fragment", good.with(20, &[0, 1]), true),
        ("TTL 2", good.with(22, &[2]), false),
        ("TTL 255", good.with(22, &[255]), false),
        ("unknown protocol", good.with(23, &[253]), false),
        ("from 240/4", good.with(26, &[240, 0, 0, 1]), false),
        ("from almost broadcast", good.with(26, &[255, 255, 255, 254]), false),
        ("link-local", good.with(26, &[169, 254, 0, 1]), false),
    ] {
        let packet = classify(frame.headers(), frame.0.len());
        assert_eq!(packet.map(|packet| packet.fragment), Ok(fragment), "{name}");
    }
}

#[test]
fn runts_of_every_length_are_dropped() {
    loaded();
    say(&SAID);
    let frame = Frame::new(100);
    for length in 0..134 {
        let runt = Frame(frame.0[..length].to_vec());
        assert_eq!(send(&runt).verdict, Verdict::Drop(Reason::Truncated), "{length} bytes");
    }
    let small = Call::small(b"not a packet").handler(FORWARD.0).dispatch(extension::dispatch);
    assert_eq!(small.verdict, Verdict::Drop(Reason::Truncated));
}

#[test]
fn without_a_swap_or_paused_everything_is_the_kernels() {
    loaded();
    let paused = Verdict::kernel(Reason::Paused);
    assert_eq!(send(&Frame::new(100)).verdict, paused, "no swap yet");
    say(&SAID);
    assert_eq!(send(&Frame::new(100)).verdict, FORWARDED);
    say(&Swap { paused: true, ..SAID });
    assert_eq!(send(&Frame::new(100)).verdict, paused, "switched off");
    say(&Swap { half: 0, ..SAID });
    assert_eq!(send(&Frame::new(100)).verdict, Verdict::kernel(Reason::NoRoute), "the empty half");
    testing::fresh();
    spine_sdk::testing::initialise(extension::initialise);
    say(&SAID);
    assert_eq!(send(&Frame::new(100)).verdict, paused, "no region");
}

#[test]
fn a_swap_is_acknowledged_to_the_host_in_its_own_words() {
    loaded();
    let outcome = say(&SAID);
    assert_eq!(outcome.verdict, Verdict::Done);
    assert_eq!(outcome.to_host.len(), 1);
    assert_eq!(outcome.to_host[0].header().handler, SWAPPED);
    assert_eq!(Swap::parse(outcome.to_host[0].arguments()), Some(SAID));
}

#[test]
fn a_swap_from_anywhere_else_or_out_of_shape_changes_nothing() {
    loaded();
    say(&SAID);
    let other = Swap { half: 0, ..SAID }.to_bytes();
    let call = Call::small(&other).handler(SWAP.0);
    let from_peer = call.clone().source(Endpoint::Peer(1)).dispatch(extension::dispatch);
    let from_wire = Call::packet(&other).handler(SWAP.0).dispatch(extension::dispatch);
    let short = Call::small(&other[..15]).handler(SWAP.0).dispatch(extension::dispatch);
    for (name, outcome) in [("peer", from_peer), ("wire", from_wire), ("short", short)] {
        assert!(matches!(outcome.verdict, Verdict::Drop(_)), "{name}");
        assert!(outcome.to_host.is_empty(), "{name}");
    }
    assert_eq!(send(&Frame::new(100)).verdict, FORWARDED);
}

#[test]
fn flows_of_a_multipath_route_spread_and_stay() {
    loaded();
    say(&SAID);
    let mut seen = [0; 2];
    for port in 0..200u8 {
        let frame = to([10, 9, 0, 1]).with(35, &[port]);
        let first = send(&frame).verdict;
        assert_eq!(send(&frame).verdict, first, "port {port} stays");
        let Verdict::Forward { peer, .. } = first else { panic!("{first:?}") };
        seen[usize::from(peer - THERE)] += 1;
        let fragment = frame.with(20, &[0x20, 0]);
        let other = to([10, 9, 0, 1]).with(20, &[0, 9]);
        assert_eq!(send(&fragment).verdict, send(&other).verdict, "fragments go one way");
    }
    assert!(seen.iter().all(|count| *count > 60), "{seen:?}");
}

/// A TCP or UDP frame whose checksum field holds what CHECKSUM_PARTIAL leaves.
fn unfinished(protocol: u8, field: usize, payload: usize) -> Frame {
    let mut frame = Frame::new(payload).with(23, &[protocol]);
    for (byte, value) in frame.0[34..].iter_mut().zip((0..=250).cycle().step_by(7)) {
        *byte = value;
    }
    let sum = !checksum(&pseudo(&frame));
    frame.bad(34 + field, &sum.to_be_bytes())
}

fn pseudo(frame: &Frame) -> Vec<u8> {
    let (ip, _) = ipv4::Header::split(&frame.0[ethernet::BYTES..]).unwrap();
    let length = ip.total_length() - 20;
    let mut bytes = frame.0[26..34].to_vec();
    bytes.extend([0, frame.0[23]]);
    bytes.extend(length.to_be_bytes());
    bytes
}

#[test]
fn an_unfinished_checksum_is_completed_if_that_is_switched_on() {
    loaded();
    say(&SAID);
    let tcp = unfinished(6, 16, 60);
    let udp = unfinished(17, 6, 60);
    let cut = |length, offset| {
        let checksum = Some(ChecksumRequest { start: 34, offset });
        Verdict::Forward { peer: THERE, finish: Finish { length, checksum } }
    };
    let whole = |offset| cut(0, offset);
    let padded = Frame([unfinished(17, 6, 8).0, vec![0xff; 18]].concat());
    for (name, frame, verdict) in [
        ("TCP", tcp.clone(), whole(16)),
        ("UDP", udp.clone(), whole(6)),
        ("UDP of 8 bytes", unfinished(17, 6, 8), whole(6)),
        ("UDP with padding behind it", padded, cut(42, 6)),
        ("TCP of 20 bytes", unfinished(6, 16, 20), whole(16)),
        ("finished TCP", tcp.bad(50, &[1, 2]), FORWARDED),
        ("UDP without one", udp.bad(40, &[0, 0]), FORWARDED),
        ("a fragment", tcp.with(20, &[0x20, 0]), FORWARDED),
        ("ICMP", tcp.with(23, &[1]), FORWARDED),
        ("TCP too short for its header", unfinished(6, 16, 19), FORWARDED),
    ] {
        assert_eq!(send(&frame).verdict, verdict, "{name}");
    }
    say(&Swap { complete_checksums: false, ..SAID });
    assert_eq!(send(&tcp).verdict, FORWARDED, "switched off");
}

#[test]
fn padding_is_not_forwarded() {
    loaded();
    say(&SAID);
    let padded = Frame([Frame::new(10).0, vec![0xff; 16]].concat());
    let finish = Finish { length: 44, checksum: None };
    assert_eq!(send(&padded).verdict, Verdict::Forward { peer: THERE, finish });
}

#[test]
fn the_manifest_asks_for_what_the_router_needs() {
    let manifest = Manifest::parse(&extension::MANIFEST).unwrap();
    assert_eq!((manifest.name(), manifest.regions()), ("router", 1));
    let domains: Vec<_> = manifest.domains().iter().collect();
    let expected = [Domain::Core, Domain::Net, Domain::Peer, Domain::Host, Domain::Kernel];
    assert_eq!(domains, expected);
    let handlers: Vec<_> = manifest.handlers().map(|h| (h.number, h.prefix, h.writeback)).collect();
    assert_eq!(handlers, [(FORWARD, 72, 34), (SWAP, 0, 0)]);
    assert_eq!(extension::STRIDE, 256);
}

proptest! {
    #[test]
    fn the_checksum_after_a_hop_is_the_recomputed_one(header: [u8; 17]) {
        let mut frame = Frame::new(0);
        frame.0[15..24].copy_from_slice(&header[..9]);
        frame.0[26..34].copy_from_slice(&header[9..]);
        for ttl in 1..=255 {
            let frame = frame.with(22, &[ttl]);
            let mut headers = *frame.headers();
            rewrite(&mut headers, &NextHop::NO_ROUTE);
            prop_assert_eq!(&headers[14..], &frame.with(22, &[ttl - 1]).0[14..], "TTL {}", ttl);
        }
    }

    #[test]
    fn completing_a_finished_checksum_by_mistake_changes_nothing(
        mut payload in prop::collection::vec(any::<u8>(), 20..60), source: [u8; 4],
    ) {
        // In one's complement arithmetic the finished checksum is -(pseudo + payload). It equals the
        // pseudo-header's sum if the payload sums to minus twice that: one word of it sees to it.
        payload[16..20].fill(0);
        let mut frame = Frame::new(payload.len()).with(23, &[6]).with(26, &source);
        frame.0[34..].copy_from_slice(&payload);
        let minus_pseudo = checksum(&pseudo(&frame)).to_be_bytes();
        let minus_payload = checksum(&payload).to_be_bytes();
        let word = !checksum(&[minus_pseudo, minus_pseudo, minus_payload].concat());
        frame.0[52..54].copy_from_slice(&word.to_be_bytes());
        let finished = checksum(&[pseudo(&frame), frame.0[34..].to_vec()].concat());
        prop_assert_eq!(finished, !checksum(&pseudo(&frame)), "looks unfinished");
        frame.0[50..52].copy_from_slice(&finished.to_be_bytes());
        let Ok(packet) = classify(frame.headers(), frame.0.len()) else {
            return Ok(()); // a martian source
        };
        prop_assert!(partial_checksum(&packet, &frame.0).is_some());
        // What the adapter does: the sum from the transport header on, the field included.
        prop_assert_eq!(checksum(&frame.0[34..]), finished);
    }

    #[test]
    fn no_bytes_whatever_panic_the_handlers(
        bytes in prop::collection::vec(any::<u8>(), 0..200), number in 0u16..4, small: bool,
    ) {
        testing::fresh();
        testing::share(testing::region(1 << 12));
        spine_sdk::testing::initialise(extension::initialise);
        say(&SAID);
        let call = if small { Call::small(&bytes) } else { Call::packet(&bytes) };
        let outcome = call.handler(number).dispatch(extension::dispatch);
        prop_assert_eq!(Verdict::from_bits(outcome.verdict.to_bits()), Ok(outcome.verdict));
    }
}

#[test]
fn a_region_smaller_than_the_table_has_no_routes() {
    let region = Table(testing::region(4096));
    let settings = crate::settings::Settings {
        half: 1,
        adapter: 0,
        complete_checksums: false,
        check_sources: false,
    };
    let mut frame = Frame::new(20).0;
    let length = frame.len();
    let verdict = route(&region, settings, &mut frame, length).verdict();
    assert_eq!(verdict, Verdict::kernel(Reason::NoRoute));
    let _: fn(Context, &mut Message<'_>) -> PackedVerdict = crate::forward;
}
