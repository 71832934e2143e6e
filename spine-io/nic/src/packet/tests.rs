//! Through a real socket: large packets, as a sender with offloads leaves them, and times of arrival.

use std::net::Ipv4Addr;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, send};
use spine_headers::{checksum, ethernet, ipv4, protocol, tcp};

use super::*;
use crate::punt::inject::tests::{in_namespace, ip, wait_until};

const DATA: usize = 20_000;
const SEGMENT: usize = 1000;
const HEADERS: usize = 54;

/// Two ends of a veth, with so many frames each in the memory.
fn ends() -> (Arc<FrameMemory>, Vec<Vec<Frame>>, PacketNic, PacketNic) {
    ip("link add left type veth peer name right");
    ip("link set left up");
    ip("link set right up");
    // Before that, what is sent is lost.
    wait_until("both ends are up", || ["left", "right"].into_iter().all(is_up));
    let (memory, dealt) = FrameMemory::anonymous(128, 2048, 2).expect("memory");
    // IPv4 alone: the kernel sends of IPv6 what it likes.
    let instruction = |code, jt, jf, k| FilterInstruction { code, jt, jf, k };
    let ipv4 = [
        instruction(0x28, 0, 0, 12),
        instruction(0x15, 0, 1, 0x0800),
        instruction(0x06, 0, 0, u32::MAX),
        instruction(0x06, 0, 0, 0),
    ];
    let open = |name| PacketNic::open_filtered(name, Arc::clone(&memory), &ipv4).expect("a socket");
    let (left, right) = (open("left"), open("right"));
    (memory, dealt, left, right)
}

fn is_up(interface: &str) -> bool {
    let output = Command::new("ip").args(["-brief", "link", "show", interface]).output();
    output.is_ok_and(|said| String::from_utf8_lossy(&said.stdout).contains(" UP "))
}

/// A TCP packet with its checksum left undone, behind the header that says so, and, if it is longer than
/// a segment, that it stands for several.
fn unfinished(data: usize) -> Vec<u8> {
    let large = u8::from(data > SEGMENT);
    let segment = if large > 0 { u16::try_from(SEGMENT).expect("small") } else { 0 };
    let mut bytes = vec![sys::NEEDS_CHECKSUM, large * sys::SEGMENTS_TCP4];
    for number in [u16::try_from(HEADERS).expect("small"), segment, 34, 16] {
        bytes.extend(number.to_ne_bytes());
    }
    let length = u16::try_from(40 + data).expect("an IPv4 packet");
    bytes.extend([2; 12]);
    bytes.extend([8, 0, 0x45, 0]);
    bytes.extend(length.to_be_bytes());
    bytes.extend([0, 7, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    bytes.extend([0x12, 0x34, 0, 80, 0, 0, 0, 0, 0, 0, 0, 1, 0x50, 0x18, 1, 0]);
    let (from, to) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
    let pseudo = checksum::pseudo_ipv4(from, to, protocol::TCP, length - 20);
    bytes.extend(checksum::fold(pseudo).to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend((0..data).map(|n| u8::try_from(n % 251).expect("small")));
    bytes
}

fn send_from(nic: &PacketNic, bytes: &[u8]) {
    let sent = send(nic.as_fd().as_raw_fd(), bytes, MsgFlags::empty());
    assert_eq!(sent, Ok(bytes.len()));
}

/// Waits until something that the NIC names is readable.
fn wait(nic: &PacketNic) {
    let mut fds = [
        PollFd::new(nic.socket.as_fd(), PollFlags::POLLIN),
        PollFd::new(nic.rest.as_fd(), PollFlags::POLLIN),
    ];
    let ready = poll(&mut fds, PollTimeout::from(2000_u16)).expect("it can be waited for");
    assert!(ready > 0, "nothing within 2 s");
}

/// Whether the TCP checksum is right.
fn verifies(packet: &[u8]) -> bool {
    let ip = ipv4::Packet::read(&packet[ethernet::BYTES..]).expect("a sound packet");
    let tcp = tcp::Segment::read(ip.payload).expect("a sound segment");
    tcp.has_right_checksum(ip.pseudo_sum())
}

#[test]
fn a_large_packet_arrives_in_pieces_also_when_frames_are_scarce() {
    in_namespace(|| {
        let (memory, mut dealt, left, mut right) = ends();
        let bytes = unfinished(DATA);
        send_from(&left, &bytes);
        let mut data: Vec<u8> = Vec::new();
        let mut frames = Vec::new();
        while data.len() < DATA {
            assert_eq!(right.receive(&mut frames, BURST), 0, "without a frame");
            // Readable also while the rest waits for frames, of which there are three at a time.
            wait(&right);
            let left = dealt[1].len() - 3;
            let mut few = dealt[1].split_off(left);
            right.refill(&mut few);
            let count = right.receive(&mut frames, BURST);
            assert!((1..=3).contains(&count), "{count}");
            for frame in frames.drain(..) {
                let packet = memory.packet(&frame);
                assert!(verifies(packet), "the piece at {}", data.len());
                data.extend(&packet[HEADERS..]);
                dealt[1].push(frame);
            }
        }
        assert_eq!(data, bytes[bytes.len() - DATA..]);
        assert_eq!(right.receive(&mut frames, BURST), 0, "and nothing more");
        assert_eq!(right.statistics().received, (DATA / SEGMENT) as u64);
        let mut fds = Vec::new();
        right.poll_fds(&mut fds);
        assert_eq!(fds.len(), 2);
        let mut rest = [PollFd::new(right.rest.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut rest, PollTimeout::ZERO), Ok(0), "nothing waits");
    });
}

#[test]
fn a_checksum_that_was_left_undone_is_completed() {
    in_namespace(|| {
        let (memory, mut dealt, left, mut right) = ends();
        right.refill(&mut dealt[1]);
        send_from(&left, &unfinished(100));
        wait(&right);
        let mut frames = Vec::new();
        assert_eq!(right.receive(&mut frames, BURST), 1);
        let packet = memory.packet(&frames[0]);
        assert_eq!(packet.len(), HEADERS + 100);
        assert!(verifies(packet));
    });
}

#[test]
fn a_packet_arrived_when_it_came_and_not_when_it_was_received() {
    in_namespace(|| {
        let (_memory, mut dealt, left, mut right) = ends();
        right.refill(&mut dealt[1]);
        right.time_arrivals().expect("the kernel has stamps");
        let clock = Monotonic::default();
        let late = Duration::from_millis(20);
        // The kernel begins to stamp a little after it was asked to, and until then says when it was read.
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            assert!(Instant::now() < deadline, "no packet was stamped when it came");
            let before = clock.now();
            send_from(&left, &unfinished(100));
            wait(&right);
            let after = clock.now();
            std::thread::sleep(late);
            let mut frames = Vec::new();
            assert_eq!(right.receive(&mut frames, BURST), 1);
            let mut arrivals = Vec::new();
            right.arrivals(&mut arrivals);
            dealt[1].append(&mut frames);
            right.refill(&mut dealt[1]);
            let [Some(at)] = arrivals[..] else {
                panic!("not the time of one packet: {arrivals:?}")
            };
            // The stamp's clock is slewed against ours by half a part in a thousand at most.
            assert!(at.0 + 100_000 > before.0, "{at:?}, sent after {before:?}");
            if at.0 < after.0 + 100_000 {
                break;
            }
        }
    });
}

#[test]
fn the_pieces_of_a_large_packet_arrived_together_and_untold_times_are_not_made_up() {
    in_namespace(|| {
        let (_memory, mut dealt, left, mut right) = ends();
        right.refill(&mut dealt[1]);
        for timed in [false, true] {
            if timed {
                right.time_arrivals().expect("the kernel has stamps");
            }
            send_from(&left, &unfinished(3 * SEGMENT));
            wait(&right);
            let mut frames = Vec::new();
            assert_eq!(right.receive(&mut frames, BURST), 3);
            let mut arrivals = Vec::new();
            right.arrivals(&mut arrivals);
            assert_eq!(arrivals.len(), if timed { 3 } else { 0 });
            assert!(arrivals.iter().all(|at| at.is_some() && *at == arrivals[0]), "{arrivals:?}");
            dealt[1].append(&mut frames);
            right.refill(&mut dealt[1]);
        }
    });
}

#[test]
fn a_clock_that_was_set_makes_no_packet_from_the_future_nor_one_that_waited_for_ever() {
    assert_eq!(age(7, 10), 3);
    assert_eq!(age(10, 7), 0);
    assert_eq!(age(0, u64::MAX), OLDEST);
}
