//! The hand-over against a real kernel, in network namespaces that end with their thread.

use std::fs;
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd as _;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{
    AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;
use spine_headers::{ethernet, icmp, ipv4, protocol};

use super::*;

const STATION: [u8; 6] = [2, 0, 0, 0, 0, 2];
const OUR_ADDRESS: [u8; 4] = [10, 77, 0, 1];
const ITS_ADDRESS: [u8; 4] = [10, 77, 0, 2];

/// Runs a test in a thread with a network namespace of its own, or says why not.
pub(crate) fn in_namespace(test: impl FnOnce() + Send) {
    let run = || match unshare(CloneFlags::CLONE_NEWNET) {
        Ok(()) => test(),
        Err(error) => println!("skipped: a network namespace needs CAP_SYS_ADMIN: {error}"),
    };
    thread::scope(|scope| {
        if let Err(panic) = scope.spawn(run).join() {
            std::panic::resume_unwind(panic);
        }
    });
}

pub(crate) fn ip(arguments: &str) {
    let status = Command::new("ip").args(arguments.split(' ')).status().expect("ip can be run");
    assert!(status.success(), "ip {arguments}: {status}");
}

/// A veth with our address whose other end, `far`, shows what the kernel sends. Answers the index and
/// the MAC of the near end.
fn veth() -> (u32, [u8; 6]) {
    ip("link set lo up");
    ip("link add near address 02:00:00:00:00:01 type veth peer name far");
    ip("addr add 10.77.0.1/24 dev near");
    ip("link set far up");
    ip("link set near up");
    ip("neigh add 10.77.0.2 lladdr 02:00:00:00:00:02 dev near nud permanent");
    let index = nix::net::if_::if_nametoindex("near").expect("it was just made");
    (index, [2, 0, 0, 0, 0, 1])
}

/// An echo request from the station to us, of a chosen length from 42 bytes up.
fn echo_request(to: [u8; 6], sequence: u16, length: usize) -> Vec<u8> {
    let ether_type = ethernet::ether_type::IPV4;
    let ethernet = ethernet::Fields { destination: to, source: STATION, ether_type };
    let body = vec![0x42; length - ethernet::BYTES - ipv4::BYTES - icmp::BYTES];
    let echo = icmp::Fields::echo(icmp::v4::ECHO_REQUEST, 0x5b1e, sequence);
    let echo = echo.to_bytes_for(0, &body);
    let payload = u16::try_from(echo.len() + body.len()).unwrap();
    let (from, to) = (ITS_ADDRESS.into(), OUR_ADDRESS.into());
    let ip = ipv4::Fields::new(from, to, protocol::ICMP, payload);
    [&ethernet.to_bytes()[..], &ip.to_bytes(), &echo, &body].concat()
}

/// The kernel's own count of an ICMP kind, in this thread's namespace.
fn icmp(name: &str) -> u64 {
    let table = fs::read_to_string("/proc/thread-self/net/snmp").expect("the kernel has the table");
    let mut lines = table.lines().filter_map(|line| line.strip_prefix("Icmp: "));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let column = names.split(' ').position(|column| column == name).expect("the count exists");
    values.split(' ').nth(column).unwrap().parse().unwrap()
}

pub(crate) fn wait_until(what: &str, done: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !done() {
        assert!(Instant::now() < deadline, "not within 5 s: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn start() -> Option<KernelEndpoint> {
    match KernelEndpoint::start() {
        Ok(endpoint) => Some(endpoint),
        Err(error) if nix::unistd::geteuid().is_root() => panic!("{error}"),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

#[test]
fn an_echo_request_handed_over_is_answered_on_its_interface() {
    in_namespace(|| {
        let Some(endpoint) = start() else { return };
        let (index, mac) = veth();
        let wire = socket(
            AddressFamily::Packet,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::EthAll,
        )
        .expect("a packet socket can be had");
        setsockopt(&wire, sockopt::ReceiveTimeout, &TimeVal::new(5, 0)).unwrap();
        let far = nix::net::if_::if_nametoindex("far").unwrap();

        let request = echo_request(mac, 7, 98);
        endpoint.sender(index).try_send(&request).expect("an empty queue takes a packet");

        let mut bytes = [0; 2048];
        loop {
            let (length, from) = recvfrom::<LinkAddr>(wire.as_raw_fd(), &mut bytes)
                .expect("the reply comes within 5 s");
            let from = from.expect("packet sockets say where from");
            if from.ifindex() != usize::try_from(far).unwrap() || bytes[12..14] != [8, 0] {
                continue;
            }
            let reply = &bytes[..length];
            assert_eq!(reply[0..6], STATION, "to the station");
            assert_eq!(reply[26..30], OUR_ADDRESS);
            assert_eq!(reply[30..34], ITS_ADDRESS);
            assert_eq!(reply[34], 0, "an echo reply");
            assert_eq!(reply[38..], request[38..], "same identifier, sequence number and data");
            break;
        }
        assert_eq!(endpoint.shutdown(), KernelCounts { handed: 1, refused: 0, overflow: 0 });
    });
}

#[test]
fn every_packet_the_queue_took_reaches_the_kernel() {
    in_namespace(|| {
        let Some(endpoint) = start() else { return };
        let (index, mac) = veth();
        const PACKETS: u16 = 3000;
        let before = icmp("InEchos");
        // Two senders, as of two adapters; a full queue is tried again.
        thread::scope(|scope| {
            for _ in 0..2 {
                let mut sender = endpoint.sender(index);
                scope.spawn(move || {
                    for sequence in 0..PACKETS {
                        while sender.try_send(&echo_request(mac, sequence, 60)).is_err() {
                            thread::yield_now();
                        }
                    }
                });
            }
        });
        let counts = endpoint.shutdown();
        assert_eq!(counts.handed, 2 * u64::from(PACKETS), "{counts:?}");
        assert_eq!(counts.refused, 0);
        wait_until("all counted by the kernel", || {
            icmp("InEchos") - before == 2 * u64::from(PACKETS)
        });
    });
}

#[test]
fn a_ttl_of_one_gets_time_exceeded_from_the_kernel() {
    in_namespace(|| {
        let Some(endpoint) = start() else { return };
        let (index, mac) = veth();
        ip("route add 10.78.0.0/24 via 10.77.0.2");
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("the namespace's own switch");
        let mut packet = echo_request(mac, 1, 98);
        let (from, to) = (ITS_ADDRESS.into(), Ipv4Addr::new(10, 78, 0, 9));
        let payload = u16::try_from(packet.len() - ethernet::BYTES - ipv4::BYTES).unwrap();
        let fields = ipv4::Fields::new(from, to, protocol::ICMP, payload);
        let ip = ipv4::Fields { ttl: 1, ..fields }.to_bytes();
        packet[ethernet::BYTES..][..ipv4::BYTES].copy_from_slice(&ip);
        endpoint.sender(index).try_send(&packet).unwrap();
        wait_until("a time exceeded is sent", || icmp("OutTimeExcds") == 1);
    });
}

#[test]
fn what_the_kernel_does_not_take_is_counted_as_refused() {
    in_namespace(|| {
        let Some(endpoint) = start() else { return };
        let (index, mac) = veth();
        let ok = echo_request(mac, 1, 98);
        for (name, interface, packet) in [
            ("no such interface", 9999, ok.as_slice()),
            ("fewer bytes than an Ethernet header", index, &ok[..13]),
            ("no bytes", index, &[]),
            ("more than the page holds", index, &[0; FRAME_BYTES]),
        ] {
            let before = endpoint.counts();
            endpoint.sender(interface).try_send(packet).expect(name);
            wait_until(name, || endpoint.counts().refused == before.refused + 1);
        }
        let mut sender = endpoint.sender(index);
        assert_eq!(sender.try_send(&[0; FRAME_BYTES + 1]), Err(NotTaken::TooLong));
        sender.try_send(&ok).expect("it goes on afterwards");
        let counts = endpoint.shutdown();
        assert_eq!(counts, KernelCounts { handed: 1, refused: 5, overflow: 0 });
    });
}

#[test]
fn packets_of_any_ordinary_mtu_are_taken() {
    in_namespace(|| {
        let Some(endpoint) = start() else { return };
        let (index, mac) = veth();
        ip("link set far mtu 4000");
        ip("link set near mtu 4000");
        let mut sender = endpoint.sender(index);
        for length in [60, 1514, 2048, 3000] {
            sender.try_send(&echo_request(mac, 1, length)).unwrap();
        }
        wait_until("all are answered", || icmp("OutEchoReps") == 4);
        assert_eq!(endpoint.shutdown(), KernelCounts { handed: 4, refused: 0, overflow: 0 });
    });
}

/// Without a helper, so that nothing leaves the queue.
#[test]
fn a_full_queue_refuses_at_once_and_loses_nothing_it_took() {
    let shared = Arc::new(Shared::default());
    let (mut sender, mut queue) = queue(3, thread::current(), Arc::clone(&shared));
    for number in 0..QUEUE {
        sender.try_send(&[u8::try_from(number % 251).unwrap(); 60]).expect("there is room");
    }
    for _ in 0..5 {
        assert_eq!(sender.try_send(&[0; 60]), Err(NotTaken::Full));
    }
    assert!(!sender.hand_over(&[0; 60]));
    assert_eq!(shared.overflow.load(Ordering::Relaxed), 6);

    for number in 0..QUEUE {
        let buffer = queue.filled.pop().expect("what was taken is there");
        assert_eq!(buffer.bytes[..buffer.length], [u8::try_from(number % 251).unwrap(); 60]);
        assert!(queue.spent.push(buffer).is_ok(), "there is a place for every buffer");
    }
    sender.try_send(&[1; 60]).expect("there is room again");
}

#[test]
fn a_sender_that_outlives_the_endpoint_fills_up_and_is_counted() {
    in_namespace(|| {
        let Some(endpoint) = start() else { return };
        let mut sender = endpoint.sender(1);
        drop(endpoint);
        let taken = (0..2 * QUEUE).filter(|_| sender.try_send(&[0; 60]).is_ok()).count();
        assert_eq!(taken, QUEUE);
    });
}
