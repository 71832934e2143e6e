//! Messages between two machines, each with an adapter, an extension and a bad wire between them.

#[path = "../../nic/tests/backends/netns.rs"]
mod netns;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::{MESSAGE, extension, key};
use spine_abi::interface::Domain;
use spine_abi::{Endpoint, HandlerNumber, Message};
use spine_io::{AdapterSetup, Budget, Machine};
use spine_nic::Nic;
use spine_nic::buffer::{Frame, FrameMemory};
use spine_nic::layer::fault::{Fault, Faults};
use spine_nic::loopback::Loopback;
use spine_nic::packet::PacketNic;
use spine_nic::xdp::attach::{AttachMode, Classifier, Port};
use spine_nic::xdp::{Rings, SharedUmem, XdpNic, XdpOptions};
use spine_remote::{PairKey, RemoteAddress, RemoteSetup};

/// One packet in so many.
const BAD: Faults = Faults { lose: 10, repeat: 10, reorder: 10, corrupt: 20 };
const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 0, 1], [2, 0, 0, 0, 0, 2]];
/// What the application says goes to peer 1, the other machine (peer 0 is this adapter itself); what comes
/// from there goes to the application.
const RELAY: &str = r#"
    (local.set $verdict (i64.const 0))
    (if (i32.eq (i32.load16_u offset=4 (local.get $slot)) (i32.const 0x2000))
        (then (drop (call $send_peer (i32.const 1) (local.get $slot))))
        (else (drop (call $send_host (local.get $slot)))))"#;

/// One end of a wire: the backend, its frames' memory, the frames.
type End = (Box<dyn Nic>, Arc<FrameMemory>, Vec<Frame>);

/// A wire in memory.
fn loopback() -> [End; 2] {
    let memory = || FrameMemory::anonymous(512, 2048, 1).expect("memory");
    let ((one, mut ones), (other, mut others)) = (memory(), memory());
    let ends = Loopback::pair(("left", Arc::clone(&one)), ("right", Arc::clone(&other)), 256);
    let (left, right) = ends.expect("a wire");
    let frames = |dealt: &mut Vec<Vec<Frame>>| dealt.pop().expect("one home");
    [(Box::new(left), one, frames(&mut ones)), (Box::new(right), other, frames(&mut others))]
}

/// A veth pair, by AF_PACKET.
fn packets() -> [End; 2] {
    netns::veth("left", "right", 1);
    ["left", "right"].map(|interface| {
        let (memory, mut dealt) = FrameMemory::anonymous(512, 2048, 1).expect("memory");
        let nic = PacketNic::open(interface, Arc::clone(&memory)).expect("a socket");
        (Box::new(nic) as Box<dyn Nic>, memory, dealt.pop().expect("one home"))
    })
}

/// A veth pair, by AF_XDP: the classifiers, which claim messages between hosts, and the ends.
fn xdp() -> ([Classifier; 2], [End; 2]) {
    const RINGS: Rings = Rings { receive: 256, transmit: 64, fill: 256, completion: 256 };
    netns::veth("left", "right", 1);
    let mut side = 0;
    let made = ["left", "right"].map(|interface| {
        let (memory, mut dealt, umem) =
            SharedUmem::with_rings(512, 2048, 1, RINGS).expect("memory");
        let mut classifier = Classifier::load().expect("the classifier loads");
        let ifindex = classifier.attach(interface, AttachMode::Native).expect("it attaches");
        let options =
            XdpOptions { interface, queue: 0, attached: AttachMode::Native, zero_copy: true };
        let nic = XdpNic::bind(&umem, &options).expect("a socket");
        classifier.set_socket(0, &nic).expect("a map");
        let port = Port {
            first_socket: 0,
            queues: 1,
            mac: MACS[side],
            handler: HandlerNumber(9),
            enabled: true,
            unfinished_checksums: false,
            ingress: 0,
            first_kept: 0,
            kept: 0,
            again: false,
            longest: u32::MAX,
            enabled_ipv6: false,
            first_kept_ipv6: 0,
            kept_ipv6: 0,
        };
        classifier.set_port(ifindex, port).expect("a map");
        classifier.set_hosts(true).expect("a map");
        classifier
            .claim_port(*address(side).ip(), address(side).port(), port.handler)
            .expect("a map");
        classifier.set_enabled(true).expect("a map");
        side += 1;
        (classifier, (Box::new(nic) as Box<dyn Nic>, memory, dealt.pop().expect("one home")))
    });
    let [(one, left), (other, right)] = made;
    ([one, other], [left, right])
}

fn address(side: usize) -> SocketAddrV4 {
    SocketAddrV4::new([Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)][side], 4040)
}

fn on_the_link(side: usize) -> RemoteAddress {
    RemoteAddress::Link { ours: MACS[side], theirs: MACS[1 - side] }
}

fn by_udp(side: usize) -> RemoteAddress {
    let (from, to) = (address(side), address(1 - side));
    RemoteAddress::Udp { ours: MACS[side], next_hop: MACS[1 - side], from, to }
}

/// Two machines, each with one adapter, on one wire.
fn machines(
    ends: [End; 2],
    addressed: fn(usize) -> RemoteAddress,
    faults: Faults,
    keys: [u8; 2],
) -> [Machine; 2] {
    let image = extension(
        &[Domain::Peer, Domain::Host],
        r#"(import "spine:peer" "send" (func $send_peer (param i32 i32) (result i32)))
           (import "spine:host" "send" (func $send_host (param i32) (result i32)))"#,
        "",
        RELAY,
    );
    let mut side = 0;
    ends.map(|(nic, memory, frames)| {
        let remote = RemoteSetup { address: addressed(side), key: PairKey([keys[side]; 32]) };
        side += 1;
        let setup = AdapterSetup {
            remotes: vec![remote],
            ..AdapterSetup::new(
                Box::new(Fault::new(nic, Arc::clone(&memory), faults, side as u64)),
                frames,
            )
        };
        let machine = Machine::start(vec![setup], &memory, &[None], key()).expect("a machine");
        let adapter = &machine.adapters()[0];
        let loaded = adapter.load(&image, Vec::new(), Budget::default());
        loaded.unwrap_or_else(|error| panic!("{error}"));
        machine
    })
}

fn numbered(number: u32) -> Message {
    Message::small(MESSAGE, Endpoint::Host, &number.to_le_bytes())
}

/// Sends `count` messages from one machine's application to the other's, a window of them at a time.
fn exchange(from: &Machine, to: &Machine, count: u32) {
    const WINDOW: u32 = 100;
    let mut sent = 0;
    for expected in 0..count {
        while sent < count && sent - expected < WINDOW {
            from.adapters()[0].send(numbered(sent)).expect("room");
            sent += 1;
        }
        let message = to.adapters()[0].receive(Duration::from_secs(10));
        let message = message.unwrap_or_else(|| panic!("message {expected} did not arrive"));
        assert_eq!(message.arguments(), expected.to_le_bytes(), "in order, each once");
    }
    let late = to.adapters()[0].receive(Duration::from_millis(50));
    assert!(late.is_none(), "nothing comes twice: {late:?}");
}

#[test]
fn applications_on_two_machines_talk_through_their_extensions() {
    let [left, right] = machines(loopback(), on_the_link, Faults::default(), [1, 1]);
    exchange(&left, &right, 500);
    exchange(&right, &left, 500);
    let statistics = left.adapters()[0].statistics().expect("an answer");
    let peering = statistics.remotes[0];
    assert_eq!((peering.received, peering.sent, peering.lost), (500, 500, 0), "{peering:?}");
}

#[test]
fn a_wire_that_loses_repeats_reorders_and_corrupts_loses_no_message() {
    let [left, right] = machines(loopback(), on_the_link, BAD, [1, 1]);
    exchange(&left, &right, 1000);
    exchange(&right, &left, 300);
    let peering = right.adapters()[0].statistics().expect("an answer").remotes[0];
    assert!(peering.refused > 0, "the wire was bad: {peering:?}");
    // Every frame that carried something is at home again, or lent to the wire.
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        let statistics = left.adapters()[0].statistics().expect("an answer");
        assert_eq!(statistics.frames.1, 512);
        if statistics.frames.0 + 256 + 64 >= 512 {
            break;
        }
        assert!(Instant::now() < end, "frames are missing: {:?}", statistics.frames);
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn machines_without_the_same_key_exchange_nothing() {
    let [left, right] = machines(loopback(), on_the_link, Faults::default(), [1, 2]);
    for number in 0..10 {
        left.adapters()[0].send(numbered(number)).expect("room");
    }
    assert!(right.adapters()[0].receive(Duration::from_millis(400)).is_none());
    let peering = right.adapters()[0].statistics().expect("an answer").remotes[0];
    assert_eq!((peering.received, peering.sessions), (0, 0));
    assert!(peering.refused > 0, "{peering:?}");
}

#[test]
fn over_a_bad_veth_by_af_packet_nothing_is_lost_or_repeated() {
    netns::run(|| {
        let [left, right] = machines(packets(), on_the_link, BAD, [1, 1]);
        exchange(&left, &right, 300);
        exchange(&right, &left, 300);
    });
}

#[test]
fn over_a_bad_veth_by_af_xdp_nothing_is_lost_or_repeated_on_the_link_or_by_udp() {
    netns::run(|| {
        let (_classifiers, ends) = xdp();
        let [left, right] = machines(ends, on_the_link, BAD, [1, 1]);
        exchange(&left, &right, 300);
    });
    netns::run(|| {
        let (_classifiers, ends) = xdp();
        let [left, right] = machines(ends, by_udp, BAD, [1, 1]);
        exchange(&left, &right, 300);
    });
}
