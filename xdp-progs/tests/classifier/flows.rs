//! Claimed UDP ports: what a stream's receiver gets, and what stays the router's and the kernel's.

use super::*;
use spine_xdp_progs::flow_key;

const STREAM: HandlerNumber = HandlerNumber(40);
const OTHER_STREAM: HandlerNumber = HandlerNumber(41);
const PORT_NUMBER: u16 = 5004;
const GROUP: Ipv4Addr = Ipv4Addr::new(239, 77, 0, 1);
const GROUP_MAC: [u8; 6] = [1, 0, 0x5e, 77, 0, 1];
const ANY: Ipv4Addr = Ipv4Addr::UNSPECIFIED;

impl Classifier {
    /// The classifier of an application that routes nothing: no prefixes, no addresses.
    fn without_routes() -> Option<Self> {
        let classifier = Self::load()?;
        let prefix = claim_key(Ipv4Addr::new(10, 0, 2, 0), 24);
        classifier.map(maps::CLAIMS).delete(&prefix).expect("the prefix was there");
        for address in [MINE, MY_BROADCAST] {
            classifier.map(maps::ADDRESSES).delete(&address.octets()).expect("it was there");
        }
        Some(classifier)
    }

    /// Claims a port, with the entry for fragments.
    fn claim_port(&self, address: Ipv4Addr, port: u16, handler: HandlerNumber) {
        let value = u32::from(handler.0).to_ne_bytes();
        self.update(maps::FLOWS, &flow_key(address, port), &value);
        self.update(maps::FLOWS, &flow_key(address, 0), &1u32.to_ne_bytes());
        self.control(control(true, true, false));
    }
}

/// A video packet: UDP to a port at an address.
fn stream(address: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut frame = with(DESTINATION, &address.octets());
    if address.is_multicast() {
        frame[..6].copy_from_slice(&GROUP_MAC);
    }
    frame[34..36].copy_from_slice(&40_000u16.to_be_bytes());
    frame[36..38].copy_from_slice(&port.to_be_bytes());
    frame[38..40].copy_from_slice(&26u16.to_be_bytes());
    frame
}

/// The same frame with some bytes replaced.
fn changed(mut frame: Vec<u8>, offset: usize, bytes: &[u8]) -> Vec<u8> {
    frame[offset..offset + bytes.len()].copy_from_slice(bytes);
    frame
}

#[test]
fn a_claimed_port_has_its_packets_and_its_handler_whatever_is_routed() {
    for load in [Classifier::load, Classifier::without_routes] {
        let Some(classifier) = load() else { return };
        classifier.claim_port(MINE, PORT_NUMBER, STREAM);
        classifier.claim_port(MINE, 5006, OTHER_STREAM);
        classifier.claim_port(GROUP, PORT_NUMBER, OTHER_STREAM);
        let one = stream(MINE, PORT_NUMBER);
        let group = stream(GROUP, PORT_NUMBER);
        let mut with_options = changed(one.clone(), VERSION, &[0x46]);
        with_options.splice(34..34, [1, 1, 1, 0]);
        with_options[LENGTH..LENGTH + 2].copy_from_slice(&50u16.to_be_bytes());
        for (name, frame, handler) in [
            ("unicast", one.clone(), STREAM),
            ("another port", stream(MINE, 5006), OTHER_STREAM),
            ("a group", group.clone(), OTHER_STREAM),
            ("the last hop's TTL", changed(one.clone(), TTL, &[1]), STREAM),
            ("a group with TTL 1", changed(group, TTL, &[1]), OTHER_STREAM),
            (
                "\"don't fragment\" and the evil bit",
                changed(one.clone(), FRAGMENT, &[0xc0, 0]),
                STREAM,
            ),
            ("options", with_options, STREAM),
            ("a wrong UDP checksum", changed(one, 40, &[0xde, 0xad]), STREAM),
        ] {
            assert_eq!(classifier.run(&frame), claimed_for(handler, &frame), "{name}");
        }
    }
}

#[test]
fn without_routes_everything_but_claimed_ports_is_the_kernels() {
    let Some(classifier) = Classifier::without_routes() else { return };
    classifier.claim_port(MINE, PORT_NUMBER, STREAM);
    classifier.claim_port(GROUP, PORT_NUMBER, STREAM);
    let one = stream(MINE, PORT_NUMBER);
    let group = stream(GROUP, PORT_NUMBER);
    let long = changed(one.clone(), LENGTH, &[0, 47]);
    for (name, owner, frame) in [
        ("another port", Counter::NotOurs, stream(MINE, 5005)),
        ("the port at another address", Counter::NotOurs, stream(SERVER, PORT_NUMBER)),
        ("TCP", Counter::NotOurs, changed(one.clone(), PROTOCOL, &[6])),
        ("another station's MAC", Counter::OtherMac, changed(one.clone(), 5, &[9])),
        ("unicast in a broadcast frame", Counter::OtherMac, changed(one.clone(), 0, &[0xff; 6])),
        ("another group", Counter::OtherMac, stream(Ipv4Addr::new(239, 77, 0, 2), PORT_NUMBER)),
        ("another port of the group", Counter::OtherMac, stream(GROUP, 5006)),
        ("a group in a unicast frame", Counter::SpecialAddress, changed(group.clone(), 0, &MAC)),
        ("IGMP to the group", Counter::OtherMac, changed(group, PROTOCOL, &[2])),
        ("ARP", Counter::NotIpv4, changed(one.clone(), ETHER_TYPE, &[8, 6])),
        ("IPv6", Counter::BadHeader, changed(one.clone(), ETHER_TYPE, &[0x86, 0xdd])),
        ("longer than the frame", Counter::BadHeader, long),
        ("no room for UDP", Counter::NotOurs, changed(one.clone(), LENGTH, &[0, 27])),
        ("port zero", Counter::NotOurs, stream(MINE, 0)),
    ] {
        assert_eq!(classifier.run(&frame), passed(owner, &frame), "{name}");
    }
}

#[test]
fn fragments_to_a_claimed_address_are_counted_and_passed() {
    let Some(classifier) = Classifier::load() else { return };
    classifier.claim_port(MINE, PORT_NUMBER, STREAM);
    classifier.claim_port(GROUP, PORT_NUMBER, STREAM);
    for (name, bits) in [("first", [0x20, 0]), ("middle", [0x20, 185]), ("last", [0, 185])] {
        for address in [MINE, GROUP] {
            let frame = changed(stream(address, PORT_NUMBER), FRAGMENT, &bits);
            assert_eq!(classifier.run(&frame), passed(Counter::Fragments, &frame), "{name}");
        }
        let routed = changed(stream(SERVER, PORT_NUMBER), FRAGMENT, &bits);
        assert_eq!(classifier.run(&routed), claimed(&routed), "{name}, of the router's");
    }
    let tcp = changed(changed(stream(MINE, PORT_NUMBER), FRAGMENT, &[0x20, 0]), PROTOCOL, &[6]);
    assert_eq!(classifier.run(&tcp), passed(Counter::Local, &tcp), "TCP's fragments");
}

#[test]
fn a_port_at_any_address_means_unicast_to_us_and_the_very_address_goes_first() {
    let Some(classifier) = Classifier::without_routes() else { return };
    classifier.claim_port(ANY, PORT_NUMBER, STREAM);
    classifier.claim_port(MINE, PORT_NUMBER, OTHER_STREAM);
    let any = stream(SERVER, PORT_NUMBER);
    assert_eq!(classifier.run(&any), claimed_for(STREAM, &any));
    let mine = stream(MINE, PORT_NUMBER);
    assert_eq!(classifier.run(&mine), claimed_for(OTHER_STREAM, &mine));
    let group = stream(GROUP, PORT_NUMBER);
    assert_eq!(classifier.run(&group), passed(Counter::OtherMac, &group), "a group is named");
    let elsewhere = changed(any, 5, &[9]);
    assert_eq!(classifier.run(&elsewhere), passed(Counter::OtherMac, &elsewhere));
}

#[test]
fn a_claim_taken_back_or_switched_off_leaves_the_packet_where_it_was() {
    let Some(classifier) = Classifier::load() else { return };
    let frame = stream(MINE, PORT_NUMBER);
    let local = passed(Counter::Local, &frame);
    assert_eq!(classifier.run(&frame), local, "before");
    classifier.claim_port(MINE, PORT_NUMBER, STREAM);
    assert_eq!(classifier.run(&frame), claimed_for(STREAM, &frame));
    classifier.control(control(true, false, false));
    assert_eq!(classifier.run(&frame), local, "ports are not looked up");
    classifier.control(control(false, true, false));
    assert_eq!(classifier.run(&frame), passed(Counter::SwitchedOff, &frame));
    classifier.control(control(true, true, false));
    classifier.map(maps::FLOWS).delete(&flow_key(MINE, PORT_NUMBER)).expect("it was there");
    assert_eq!(classifier.run(&frame), local, "taken back");
    // The router's packets are its own all the while.
    assert_eq!(classifier.run(&ordinary()), claimed(&ordinary()));
}

#[test]
fn a_port_stays_claimed_where_nothing_is_forwarded() {
    let Some(classifier) = Classifier::load() else { return };
    classifier.claim_port(MINE, PORT_NUMBER, STREAM);
    classifier.set_port(1, false);
    let frame = stream(MINE, PORT_NUMBER);
    assert_eq!(classifier.run(&frame), claimed_for(STREAM, &frame));
    assert_eq!(classifier.run(&ordinary()), passed(Counter::SwitchedOff, &ordinary()));
}

#[test]
fn every_length_of_a_stream_packet_is_answered() {
    let Some(classifier) = Classifier::without_routes() else { return };
    classifier.claim_port(MINE, PORT_NUMBER, STREAM);
    let frame = stream(MINE, PORT_NUMBER);
    for length in 14..=frame.len() {
        let owner = match length {
            14..34 => Counter::Truncated,
            34..60 => Counter::BadHeader,
            _ => Counter::Claimed,
        };
        assert_eq!(classifier.run(&frame[..length]).owner, owner, "{length} bytes");
    }
}

#[test]
fn messages_between_hosts_are_claimed_only_when_asked_for_and_only_ours() {
    let Some(classifier) = Classifier::without_routes() else { return };
    let message = with(ETHER_TYPE, &[0x88, 0xb5]);
    classifier.control(control(true, false, false));
    assert_eq!(classifier.run(&message), passed(Counter::NotIpv4, &message));
    classifier.control(control(true, true, true));
    assert_eq!(classifier.run(&message), claimed(&message));
    let broadcast = changed(message.clone(), 0, &[0xff; 6]);
    assert_eq!(classifier.run(&broadcast), passed(Counter::OtherMac, &broadcast));
    let routed = ordinary();
    assert_eq!(classifier.run(&routed), passed(Counter::NotOurs, &routed));
}
