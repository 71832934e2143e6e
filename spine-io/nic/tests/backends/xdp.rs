//! What only AF_XDP does: stamps, frames passed on by descriptor, queues that are taken.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use spine_abi::HandlerNumber;
use spine_nic::Nic;
use spine_nic::buffer::{Frame, FrameMemory};
use spine_nic::clock::{Clock as _, Monotonic};
use spine_nic::xdp::attach::{AttachMode, Classifier, Ingresses, Port};
use spine_nic::xdp::{Rings, SharedUmem, XdpError, XdpNic, XdpOptions, queues};

use crate::netns::{self, ip, veth};
use crate::pairs::packet_station;
use crate::station::{mac, packet};

const HANDLER: HandlerNumber = HandlerNumber(42);
const RINGS: Rings = Rings { receive: 256, transmit: 64, fill: 256, completion: 256 };

fn options(interface: &str, attached: AttachMode) -> XdpOptions<'_> {
    XdpOptions { interface, queue: 0, attached, zero_copy: true }
}

/// The number in the last byte of an interface's address.
fn number(interface: &str) -> u8 {
    let text = ip(&format!("-br link show dev {interface}"));
    let address = text.split_whitespace().nth(2).expect("an address");
    u8::from_str_radix(&address[address.len() - 2..], 16).unwrap()
}

/// Attaches the classifier to the interfaces, with all IPv4 claimed, and binds a socket on each; the
/// frames of all are in one UMEM, 512 for each.
#[expect(clippy::type_complexity, reason = "three things that are made together")]
pub(crate) fn bind(
    interfaces: &[&str],
    mode: AttachMode,
) -> (Classifier, Arc<FrameMemory>, Vec<(XdpNic, Vec<Frame>)>) {
    bind_to(Classifier::load().unwrap(), interfaces, mode)
}

/// The same with a classifier of one's own.
#[expect(clippy::type_complexity, reason = "as above")]
fn bind_to(
    mut classifier: Classifier,
    interfaces: &[&str],
    mode: AttachMode,
) -> (Classifier, Arc<FrameMemory>, Vec<(XdpNic, Vec<Frame>)>) {
    let homes = u16::try_from(interfaces.len()).unwrap();
    let (memory, dealt, umem) =
        SharedUmem::with_rings(512 * u32::from(homes), 2048, homes, RINGS).unwrap();
    let mut stations = Vec::new();
    for ((interface, frames), first_socket) in interfaces.iter().zip(dealt).zip(0..) {
        let ifindex = classifier.attach(interface, mode).unwrap();
        let nic = XdpNic::bind(&umem, &options(interface, mode)).unwrap();
        classifier.set_socket(first_socket, &nic).unwrap();
        let mac = mac(number(interface));
        let port = Port {
            first_socket,
            queues: 1,
            mac,
            handler: HANDLER,
            enabled: true,
            enabled_ipv6: false,
            unfinished_checksums: false,
            ingress: 0,
            first_kept: 0,
            kept: 0,
            again: false,
            longest: u32::MAX,
            first_kept_ipv6: 0,
            kept_ipv6: 0,
        };
        classifier.set_port(ifindex, port).unwrap();
        stations.push((nic, frames));
    }
    classifier.set_claim(Ipv4Addr::UNSPECIFIED.into(), 0, Ingresses::ALL).unwrap();
    classifier.set_enabled(true).unwrap();
    (classifier, memory, stations)
}

/// Receives one packet, or gives up after a while.
fn receive_one(nic: &mut XdpNic) -> Frame {
    let deadline = Instant::now() + Duration::from_secs(2);
    let mut received = Vec::new();
    while nic.receive(&mut received, 1) == 0 {
        assert!(Instant::now() < deadline, "nothing was received");
        std::thread::sleep(Duration::from_micros(200));
    }
    received.remove(0)
}

fn a_packet_comes_with_the_stamp_of_the_classifier_in(mode: AttachMode) {
    veth("left", "right", 0);
    let (_classifier, memory, mut stations) = bind(&["right"], mode);
    let (mut nic, mut frames) = stations.remove(0);
    nic.refill(&mut frames);
    packet_station("left", 2048).send(&[packet(mac(0), mac(1), 60, 1)]);
    let mut frame = receive_one(&mut nic);
    assert_eq!(frame.handler(), HANDLER);
    let stamp = memory.metadata_mut(&mut frame).unwrap();
    assert_eq!(stamp[8..], [0; 8], "read once");
    let mut arrivals = Vec::new();
    nic.arrivals(&mut arrivals);
    assert_eq!(arrivals, [], "the classifier was not told to say when packets come");
}

#[test]
fn a_packet_comes_with_the_stamp_of_the_classifier() {
    for mode in [AttachMode::Native, AttachMode::Generic] {
        netns::run(move || a_packet_comes_with_the_stamp_of_the_classifier_in(mode));
    }
}

fn a_packet_arrived_when_it_came_in(mode: AttachMode) {
    veth("left", "right", 0);
    let classifier = Classifier::load_timed().unwrap();
    let (_classifier, _memory, mut stations) = bind_to(classifier, &["right"], mode);
    let (mut nic, mut frames) = stations.remove(0);
    nic.refill(&mut frames);
    let clock = Monotonic::default();
    let mut sender = packet_station("left", 2048);
    for number in 0..3 {
        let before = clock.now();
        sender.send(&[packet(mac(0), mac(1), 60, number)]);
        let mut ready = [PollFd::new(nic.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut ready, PollTimeout::from(2000_u16)), Ok(1), "nothing within 2 s");
        let after = clock.now();
        std::thread::sleep(Duration::from_millis(20));
        let frame = receive_one(&mut nic);
        assert_eq!(frame.handler(), HANDLER, "with a time as without");
        let mut arrivals = Vec::new();
        nic.arrivals(&mut arrivals);
        let [Some(at)] = arrivals[..] else { panic!("not the time of one packet: {arrivals:?}") };
        assert!(before <= at && at <= after, "{before:?} {at:?} {after:?}");
        nic.refill(&mut vec![frame]);
    }
}

#[test]
fn a_packet_arrived_when_it_came_and_not_when_it_was_received() {
    for mode in [AttachMode::Native, AttachMode::Generic] {
        netns::run(move || a_packet_arrived_when_it_came_in(mode));
    }
}

#[test]
fn a_frame_passes_from_interface_to_interface_by_descriptor_and_knows_its_home() {
    netns::run(|| {
        veth("outer0", "inner0", 0);
        veth("outer1", "inner1", 2);
        let (_classifier, memory, mut stations) = bind(&["inner0", "inner1"], AttachMode::Native);
        let (mut out, mut out_frames) = stations.remove(1);
        let (mut inward, mut in_frames) = stations.remove(0);
        inward.refill(&mut in_frames);
        out.refill(&mut out_frames);
        let mut receiver = packet_station("outer1", 2048);
        let sent = packet(mac(0), mac(1), 700, 3);
        packet_station("outer0", 2048).send(std::slice::from_ref(&sent));

        let frame = receive_one(&mut inward);
        let (index, home) = (frame.index(), frame.home());
        assert_eq!(memory.packet(&frame), sent);
        let mut passing = VecDeque::from([frame]);
        assert_eq!(out.transmit(&mut passing), 1);
        out.flush().unwrap();
        assert_eq!(receiver.collect(1), [sent]);
        let mut completed = Vec::new();
        assert_eq!((out.complete(&mut completed, 64), out.in_flight()), (1, 0));
        assert_eq!((completed[0].index(), completed[0].home()), (index, home));
        assert_eq!(home, 0, "where it was received, not where it was sent");
    });
}

#[test]
fn a_packet_that_stands_elsewhere_in_its_frame_is_moved_before_it_is_sent() {
    netns::run(|| {
        veth("left", "right", 0);
        let (_classifier, memory, mut stations) = bind(&["left"], AttachMode::Native);
        let (mut nic, mut frames) = stations.remove(0);
        let mut receiver = packet_station("right", 2048);
        let mut sent = Vec::new();
        let mut sending = VecDeque::new();
        for (offset, tag) in [(0, 1), (252, 2), (256, 3), (260, 4), (300, 5)] {
            let packet = packet(mac(0), mac(1), 1514, tag);
            let mut frame = frames.pop().unwrap();
            memory.set_packet(&mut frame, offset, 1514);
            memory.packet_mut(&mut frame).copy_from_slice(&packet);
            sending.push_back(frame);
            sent.push(packet);
        }
        assert_eq!(nic.transmit(&mut sending), 5);
        nic.flush().unwrap();
        assert_eq!(receiver.collect(5), sent);
    });
}

#[test]
fn packets_without_an_empty_frame_are_counted_as_lost_once() {
    netns::run(|| {
        veth("left", "right", 0);
        let (_classifier, _memory, mut stations) = bind(&["right"], AttachMode::Native);
        let (mut nic, mut frames) = stations.remove(0);
        let mut few = frames.split_off(frames.len() - 4);
        nic.refill(&mut few);
        let packets: Vec<_> = (0..10).map(|tag| packet(mac(0), mac(1), 60, tag)).collect();
        packet_station("left", 2048).send(&packets);
        let mut received = Vec::new();
        let deadline = Instant::now() + Duration::from_secs(2);
        while nic.statistics().receive_lost < 6 && Instant::now() < deadline {
            nic.receive(&mut received, 64);
        }
        nic.receive(&mut received, 64);
        assert_eq!((received.len(), nic.statistics().receive_lost), (4, 6));
    });
}

#[test]
fn bad_use_is_one_sentence() {
    netns::run(|| {
        veth("left", "right", 0);
        let (_memory, _dealt, umem) = SharedUmem::with_rings(64, 2048, 1, RINGS).unwrap();
        let refusal = |options: &XdpOptions<'_>| {
            XdpNic::bind(&umem, options).expect_err("it is bad use").to_string()
        };
        let native = AttachMode::Native;
        assert_eq!(
            refusal(&options("nowhere", native)),
            "there is no interface \"nowhere\" in this network namespace"
        );
        assert_eq!(
            refusal(&XdpOptions { queue: 5, ..options("left", native) }),
            "left has no queue 5, only 1: see ethtool -l left"
        );
        let _first = XdpNic::bind(&umem, &options("left", native)).unwrap();
        let (_memory, _dealt, other) = SharedUmem::with_rings(64, 2048, 1, RINGS).unwrap();
        let started = Instant::now();
        let taken = XdpNic::bind(&other, &options("left", native)).unwrap_err();
        assert!(matches!(taken, XdpError::Taken { .. }), "{taken}");
        assert!(started.elapsed() >= Duration::from_secs(1), "an owner may be on its way out");
        let uneven = Rings { fill: 100, ..RINGS };
        let error = SharedUmem::with_rings(64, 2048, 1, uneven).unwrap_err().to_string();
        assert_eq!(error, "an AF_XDP ring of 100 descriptors is not possible: take a power of two");
    });
}

#[test]
fn a_queue_is_ours_as_soon_as_its_owner_is_gone() {
    netns::run(|| {
        veth("left", "right", 0);
        let native = AttachMode::Native;
        let (memory, dealt, umem) = SharedUmem::with_rings(64, 2048, 1, RINGS).unwrap();
        let owner = XdpNic::bind(&umem, &options("left", native)).unwrap();
        let leaving = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(50));
            drop((owner, umem, dealt, memory));
        });
        let (_memory, _dealt, other) = SharedUmem::with_rings(64, 2048, 1, RINGS).unwrap();
        let nic = XdpNic::bind(&other, &options("left", native));
        leaving.join().unwrap();
        assert!(nic.is_ok(), "{nic:?}");
    });
}

#[test]
fn the_driver_is_asked_how_many_queues_there_are() {
    netns::run(|| {
        ip("link add many numrxqueues 3 numtxqueues 2 type veth peer name other");
        assert_eq!(queues("many").ok(), Some(3));
        assert_eq!(queues("lo").ok(), Some(1));
        assert!(queues("nowhere").is_err());
    });
}
