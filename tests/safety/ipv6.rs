//! IPv6 through classifier, extension and table, on real wires, with the kernel as the oracle.
//!
//! The router's host half fills no table with IPv6 yet: here the test does, with what the kernel was told too. Then both get
//! the same packets, ordinary ones, one for each case of the standards, and mutations of them, and what leaves the
//! router must be the same. Left out of the comparison is what the router itself says, errors above all: those are looked
//! for by themselves.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ipnet::Ipv6Net;
use spine_client::memory::Region;
use spine_client::signature::SecretKey;
use spine_fib::protocol::FORWARD;
use spine_fib::{Action, Addresses, NextHop, layout};
use spine_headers::ethernet::{self, ether_type};
use spine_headers::ipv6::{self, extension};
use spine_headers::{checksum, icmp, protocol};
use spine_io::TrustedKey;
use spine_nic::open::{self, Backend, Ingresses, Interface, Mode, Modes};
use spine_os::domain::Policy;
use spine_os::linker::Linker;
use spine_router::adapters::Adapter;
use spine_router::claims::Classifier;
use spine_router::dataplane::{DataPath, Options};
use spine_router::fib::Fib;
use spine_router::operation::Operation;
use spine_router::region::TableRegion;
use spine_tests::packet::Port;
use spine_tests::topology::hex;
use spine_tests::{Link, Topology, need_namespaces};

/// Packets between two markers: below every queue on the way.
const WINDOW: usize = 32;
const MUTATIONS: usize = 6_000;
/// What the client's link carries.
const LONGEST: usize = ethernet::BYTES + 1500;
const SERVER_MTU: u16 = 1400;

const CLIENT: &str = "2001:db8:1::2";
const SERVER: &str = "2001:db8:2::2";
const OURS: [&str; 2] = ["2001:db8:1::1", "2001:db8:2::1"];
/// What else the kernel says where errors come from: the address of all of a link's routers.
const ROUTERS: [&str; 2] = ["2001:db8:1::", "2001:db8:2::"];
/// Behind the server, behind nobody, and not to be reached.
const FAR: &str = "2001:db8:100::/40";
const BLACKHOLE: &str = "2001:db8:200::/40";

fn address(text: &str) -> Ipv6Addr {
    text.parse().expect("an address")
}

fn network(text: &str) -> Ipv6Net {
    text.parse().expect("a prefix")
}

/// Hosts that only send and receive, and a router with addresses, neighbours and routes that never change.
fn topology() -> Topology {
    let server = Link::to("server", 2).silent().mtu(SERVER_MTU);
    let net = Topology::star(&[Link::to("client", 1).silent(), server]);
    let router = net.router();
    for (path, value) in [
        ("ipv6/conf/all/accept_dad", "0"),
        ("ipv6/conf/default/accept_dad", "0"),
        ("ipv6/icmp/ratelimit", "0"),
    ] {
        router.sysctl(path, value);
    }
    for (host, number) in [("client", 1), ("server", 2)] {
        router.ip(&format!("link set {host} addrgenmode none"));
        router.sysctl(&format!("ipv6/conf/{host}/disable_ipv6"), "0");
        router.ip(&format!("address add 2001:db8:{number}::1/64 dev {host} nodad"));
        let mac = hex(net.link(host).host_mac());
        router.ip(&format!(
            "neighbour replace 2001:db8:{number}::2 lladdr {mac} dev {host} nud permanent"
        ));
    }
    router.sysctl("ipv6/conf/all/forwarding", "1");
    router.ip(&format!("route add {FAR} via {SERVER}"));
    router.ip(&format!("route add blackhole {BLACKHOLE}"));
    net
}

/// A frame from the client: a header of these values, and behind it a mark by which the packet is told from all others.
#[derive(Clone)]
struct Sent {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    next: u8,
    hops: u8,
    /// What follows the header, without the mark.
    behind: Vec<u8>,
}

impl Sent {
    fn new() -> Self {
        let behind = [&[0x30, 0x39, 0, 53, 0, 40, 0xbe, 0xef][..], &[7; 20]].concat();
        let (source, destination) = (address(CLIENT), address(SERVER));
        Self { source, destination, next: protocol::UDP, hops: 64, behind }
    }

    fn to(text: &str) -> Self {
        Self { destination: address(text), ..Self::new() }
    }

    fn from(text: &str) -> Self {
        Self { source: address(text), ..Self::new() }
    }

    fn with_hops(hops: u8) -> Self {
        Self { hops, ..Self::new() }
    }

    /// An extension header in front of UDP.
    fn behind(next: u8, header: [u8; 8]) -> Self {
        let behind = [&header[..], &Self::new().behind].concat();
        Self { next, behind, ..Self::new() }
    }

    /// So long an IP packet, the mark among it.
    fn of_length(length: u16) -> Self {
        let behind = vec![9; usize::from(length) - ipv6::BYTES - 4];
        Self { behind, ..Self::new() }
    }

    fn frame(&self, net: &Topology, number: u32) -> Vec<u8> {
        let link = net.link("client");
        let ethernet = ethernet::Fields {
            destination: link.router_mac(),
            source: link.host_mac(),
            ether_type: ether_type::IPV6,
        };
        let payload = self.behind.len() + 4;
        let fields = ipv6::Fields {
            source: self.source,
            destination: self.destination,
            next_header: self.next,
            payload: u16::try_from(payload).expect("a short packet"),
            hop_limit: self.hops,
        };
        let mark = number.to_be_bytes();
        [&ethernet.to_bytes()[..], &fields.to_bytes(), &self.behind, &mark].concat()
    }
}

/// One packet for each case, by name.
fn cases() -> Vec<(&'static str, Sent)> {
    let mut cases = vec![
        ("ordinary", Sent::new()),
        ("behind the server", Sent::to("2001:db8:123::1")),
        ("TCP", Sent { next: protocol::TCP, ..Sent::new() }),
        ("ICMPv6", Sent { next: protocol::ICMPV6, ..Sent::new() }),
        ("no next header", Sent { next: extension::NONE, ..Sent::new() }),
        ("an unknown protocol", Sent { next: 253, ..Sent::new() }),
        ("OSPF", Sent { next: protocol::OSPF, ..Sent::new() }),
        ("back to the client's link", Sent::to("2001:db8:1::2")),
        ("to the router", Sent::to(OURS[1])),
        ("to nobody known", Sent::to("2001:db8:2::77")),
        ("without a route", Sent::to("2001:db8:7::1")),
        ("into the blackhole", Sent::to("2001:db8:201::1")),
        ("hop by hop", Sent::behind(extension::HOP_BY_HOP, [17, 0, 1, 4, 0, 0, 0, 0])),
        ("routing", Sent::behind(extension::ROUTING, [17, 0, 4, 0, 0, 0, 0, 0])),
        ("a first fragment", Sent::behind(extension::FRAGMENT, [17, 0, 0, 1, 1, 2, 3, 4])),
        ("a later fragment", Sent::behind(extension::FRAGMENT, [17, 0, 1, 8, 1, 2, 3, 4])),
        ("options", Sent::behind(extension::DESTINATION, [17, 0, 1, 4, 0, 0, 0, 0])),
        ("signed", Sent::behind(extension::AUTHENTICATION, [17, 0, 0, 0, 0, 0, 0, 1])),
        ("encrypted", Sent { next: protocol::ESP, ..Sent::new() }),
    ];
    for (name, hops) in [("hop limit 0", 0), ("hop limit 1", 1), ("2", 2), ("255", 255)] {
        cases.push((name, Sent::with_hops(hops)));
    }
    for length in [SERVER_MTU - 1, SERVER_MTU, SERVER_MTU + 1, 1500] {
        cases.push(("about the MTU", Sent::of_length(length)));
    }
    for special in
        ["::", "::1", "::ffff:10.9.2.2", "fe80::2", "ff02::1", "ff0e::1", "fec0::1", "fd00::1"]
    {
        cases.push(("from a special address", Sent::from(special)));
        cases.push(("to a special address", Sent::to(special)));
    }
    cases.push(("from the router", Sent::from(OURS[0])));
    cases
}

/// The cases, and mutations of the first of them, each with a number of its own.
fn corpus(net: &Topology) -> Vec<Vec<u8>> {
    let cases = cases();
    let mut random = fastrand::Rng::with_seed(6);
    let mut frames = Vec::new();
    for (_, sent) in &cases {
        frames.push(sent.frame(net, u32::try_from(frames.len()).expect("few")));
    }
    for _ in 0..MUTATIONS {
        let (_, sent) = &cases[random.usize(..cases.len())];
        let mut frame = sent.frame(net, u32::try_from(frames.len()).expect("few"));
        for _ in 0..random.usize(1..4) {
            // The IPv6 header, and a little of what follows; the MAC addresses are another table's.
            let at = random.usize(ethernet::BYTES..ethernet::BYTES + 52);
            frame[at] = if random.bool() { random.u8(..) } else { frame[at] ^ 1 << random.u8(..8) };
        }
        if random.u8(..) < 16 {
            frame.truncate(random.usize(ethernet::BYTES..frame.len()));
        } else if random.u8(..) < 32 {
            frame.extend(std::iter::repeat_n(0xee, random.usize(1..20)));
            frame.truncate(LONGEST);
        }
        frames.push(frame);
    }
    frames
}

/// What came out: how often each IP packet did, by the host it came to; and what the router said itself.
#[derive(Default)]
struct Outcome {
    forwarded: BTreeMap<(&'static str, Vec<u8>), usize>,
    errors: BTreeMap<u8, usize>,
}

/// Sends it all, and records what comes out.
fn through(net: &Topology, frames: &[Vec<u8>]) -> Outcome {
    let done = AtomicBool::new(false);
    let open = |host: &str| Port::open_for(net.host(host), "eth", ether_type::IPV6);
    let (sender, markers) = (open("client"), open("server"));
    let received = std::thread::scope(|scope| {
        let collect = |host| {
            let (port, done) = (open(host), &done);
            (host, scope.spawn(move || port.collect_until(done)))
        };
        let collectors = ["client", "server"].map(collect);
        for (number, window) in frames.chunks(WINDOW).enumerate() {
            for frame in window {
                sender.send(frame);
            }
            let mark = u32::MAX - u32::try_from(number).expect("few windows");
            sender.send(&Sent::new().frame(net, mark));
            let deadline = Instant::now() + Duration::from_secs(10);
            let is_mark = |frame: &[u8]| frame.ends_with(&mark.to_be_bytes());
            while !markers.receive().is_some_and(|got| is_mark(&got.frame)) {
                assert!(Instant::now() < deadline, "the marker after window {number} is lost");
            }
        }
        done.store(true, Ordering::Release);
        collectors.map(|(host, collector)| (host, collector.join().expect("no panic")))
    });
    let mut outcome = Outcome::default();
    for (host, frames) in received {
        for received in frames {
            let (_, ip) = received.frame.split_at(ethernet::BYTES);
            // No more than the header: behind it mutations make no sense of anything.
            let Ok((header, rest)) = ipv6::Header::split(ip) else { panic!("it sent {ip:02x?}") };
            let source = header.source();
            let length = ipv6::BYTES + usize::from(header.payload_length());
            let own = OURS.iter().chain(&ROUTERS).any(|own| address(own) == source);
            if own || source.is_unspecified() {
                if header.next_header() == protocol::ICMPV6 {
                    *outcome.errors.entry(rest[0]).or_default() += 1;
                }
                continue;
            }
            *outcome.forwarded.entry((host, ip[..length].to_vec())).or_default() += 1;
        }
    }
    outcome
}

/// Which differ, with an example each; empty if none do.
fn differences(expected: &Outcome, found: &Outcome) -> Vec<String> {
    let all = expected.forwarded.keys().chain(found.forwarded.keys());
    let differ = all.filter_map(|key @ (host, packet)| {
        let count = |outcome: &Outcome| outcome.forwarded.get(key).copied().unwrap_or_default();
        let (want, have) = (count(expected), count(found));
        (want != have).then(|| format!("at {host}: expected {want}, found {have}: {packet:02x?}"))
    });
    differ.take(5).collect()
}

/// The data path between the router's interfaces, with the table that the kernel has.
struct Router {
    fib: Fib<TableRegion>,
    adapters: Vec<Box<dyn Adapter>>,
    classifier: Box<dyn Classifier>,
    interfaces: Vec<Interface>,
    data_path: DataPath,
}

impl Router {
    /// Opens it in the network namespace of this thread.
    fn open(net: &Topology, complete_checksums: bool) -> Self {
        let linker = Linker::new(SecretKey::generate().expect("randomness"), Policy::everything())
            .expect("a compiler for this machine");
        let key = TrustedKey::from_bytes(&linker.public().to_bytes()).expect("a key");
        let image = linker.link(spine_router::extension::MODULE).expect("the router links");
        let interfaces = Interface::find(&net.interfaces()).expect("the topology's");
        let modes = Modes::from(Mode::Auto);
        let data_path = DataPath::open(&Options {
            backend: Backend::Xdp,
            model: None,
            instead: None,
            ports: open::Options::new(&interfaces, &modes, FORWARD),
            cores: &[None],
            capture: None,
            key,
        });
        let data_path = data_path.unwrap_or_else(|error| panic!("{error}"));
        let region = Region::create("table", layout::REGION_BYTES).expect("memory");
        data_path.load(image.as_bytes(), &region).unwrap_or_else(|error| panic!("{error}"));
        let table = TableRegion::new(region).expect("large enough");
        let mut router = Self {
            fib: Fib::new(table, &[0, 1], complete_checksums),
            adapters: data_path.adapters(),
            classifier: data_path.classifier(),
            interfaces,
            data_path,
        };
        router.fill(net);
        router
    }

    fn fill(&mut self, net: &Topology) {
        let hop = |peer, host, mtu| NextHop {
            action: Action::Forward,
            peer,
            mtu,
            addresses: Addresses::new(net.link(host).host_mac(), net.link(host).router_mac()),
        };
        let nowhere = NextHop::without_way(Action::Drop(spine_abi::Reason::Blackhole));
        let local = NextHop::without_way(Action::Kernel(spine_abi::Reason::Local));
        let mut operations = Vec::new();
        for (number, hop) in [
            (1, hop(0, "client", 1500)),
            (2, hop(1, "server", SERVER_MTU)),
            (3, nowhere),
            (4, local),
        ] {
            operations.push(Operation::SetNextHop(number, hop));
            operations.push(Operation::SetGroup(10 + number, vec![number]));
        }
        let mut paint =
            |prefix: Ipv6Net, group| operations.push(Operation::PaintIpv6(prefix, group));
        paint(network(FAR), 12);
        paint(network(BLACKHOLE), 13);
        paint(address(CLIENT).into(), 11);
        paint(address(SERVER).into(), 12);
        OURS.iter().for_each(|own| paint(address(own).into(), 14));
        for adapter in 0..2 {
            self.fib.set_paused(adapter, false);
        }
        self.fib.apply(&operations, &mut self.adapters).expect("the adapters take it over");
        assert!(self.fib.starved_ipv6().is_empty());
        assert!(self.classifier.knows_ipv6());
        for prefix in [network(FAR), network(BLACKHOLE), address(SERVER).into()] {
            self.classifier.set_claim(prefix.into(), Ingresses::ALL).expect("room");
        }
        let back = Ingresses(1 << 1);
        self.classifier.set_claim(Ipv6Net::from(address(CLIENT)).into(), back).expect("room");
        for own in OURS {
            self.classifier.set_address(address(own).into()).expect("room");
        }
        for interface in &self.interfaces {
            self.classifier.set_enabled_ipv6(interface.index, true).expect("it was opened");
        }
    }

    /// Packets that each adapter sent for the other one.
    fn forwarded(&self) -> u64 {
        let counted = self.adapters.iter().map(|adapter| adapter.statistics().expect("it runs"));
        counted.map(|counted| counted.forwarded).sum()
    }

    fn dropped(&self, reason: spine_abi::Reason) -> u64 {
        let counted = self.adapters.iter().map(|adapter| adapter.statistics().expect("it runs"));
        counted.filter_map(|counted| counted.dropped.get(&reason).copied()).sum()
    }
}

#[test]
fn what_the_kernel_forwards_of_ipv6_is_forwarded_and_nothing_else() {
    let _alone = need_namespaces!();
    let net = topology();
    let frames = corpus(&net);
    let oracle = through(&net, &frames);
    assert_eq!(
        differences(&oracle, &through(&net, &frames)),
        [""; 0],
        "the kernel disagrees with itself: the corpus is no use as it is"
    );
    net.router().inside(|| {
        let router = Router::open(&net, false);
        let found = through(&net, &frames);
        assert_eq!(differences(&oracle, &found), [""; 0]);
        for kind in [icmp::v6::TIME_EXCEEDED, icmp::v6::TOO_BIG, icmp::v6::UNREACHABLE] {
            let said = |outcome: &Outcome| outcome.errors.get(&kind).copied().unwrap_or_default();
            let both = (&oracle.errors, &found.errors);
            assert!(said(&oracle) > 0 && said(&found) > 0, "error {kind} is not among {both:?}");
        }
        let (forwarded, dropped) =
            (router.forwarded(), router.dropped(spine_abi::Reason::Blackhole));
        println!(
            "{} packets, {forwarded} forwarded by the adapters, {dropped} by the blackhole",
            frames.len()
        );
        println!("{:?}", router.data_path.classified());
        assert!(dropped > 0);
        // Markers among them: all of them are the adapters'.
        let markers = frames.len().div_ceil(WINDOW) as u64;
        assert!(forwarded > markers + 1000, "{forwarded} of {} packets", frames.len());
    });
}

#[test]
fn checksums_that_were_left_to_a_card_leave_complete() {
    let _alone = need_namespaces!();
    let net = topology();
    net.router().inside(|| {
        let router = Router::open(&net, true);
        let unfinished = |next: u8, field: usize, length: usize| {
            let behind: Vec<u8> = (0..=250).cycle().step_by(7).take(length).collect();
            let sent = Sent { next, behind, ..Sent::new() };
            let mut frame = sent.frame(&net, 5);
            let length = u32::try_from(length + 4).expect("short");
            let sum = checksum::pseudo_ipv6(sent.source, sent.destination, next, length);
            let at = ethernet::BYTES + ipv6::BYTES + field;
            frame[at..at + 2].copy_from_slice(&checksum::fold(sum).to_be_bytes());
            frame
        };
        let frames = [unfinished(protocol::TCP, 16, 60), unfinished(protocol::UDP, 6, 33)];
        let found = through(&net, &frames);
        let whole = found.forwarded.keys().filter(|(_, ip)| ip.ends_with(&5_u32.to_be_bytes()));
        let mut seen = 0;
        for (_, ip) in whole {
            let packet = ipv6::Packet::read(ip).expect("sound");
            assert!(checksum::holds(packet.pseudo_sum() + checksum::sum(packet.payload)));
            seen += 1;
        }
        assert_eq!((seen, router.forwarded() >= 2), (2, true));
    });
}
