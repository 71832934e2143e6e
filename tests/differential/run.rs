//! Running a script, with the kernel alone or with spine-router on top, and what came out where.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use spine_headers::{ethernet, ipv4, protocol};
use spine_tests::packet::{self, Port};
use spine_tests::topology::Link;
use spine_tests::{Router, Topology};

use super::script::{Line, Script};

/// What spine-router stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wire {
    Xdp,
    Packet,
}

/// The hosts' names, and those of the router's interfaces.
pub(crate) const NAMES: [&str; 4] = ["lan", "wan", "dmz", "far"];

/// IP packets that arrived, by the host and how often; one map for each time between two settlings.
type Arrived = Vec<BTreeMap<(usize, Vec<u8>), usize>>;

/// What two runs of a script come to.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// In words.
    pub(crate) differences: Vec<String>,
    /// Packets that the adapters forwarded.
    pub(crate) carried: u64,
    /// What spine-router said.
    pub(crate) said: Vec<String>,
}

/// Runs a script twice. What differs is run once more, with more patience: only what still differs counts.
pub(crate) fn differences(script: &Script, wire: Wire) -> Outcome {
    let outcome = compare(script, wire, 1);
    if outcome.differences.is_empty() { outcome } else { compare(script, wire, 4) }
}

fn compare(script: &Script, wire: Wire, patience: u32) -> Outcome {
    let (alone, ..) = run(script, None, patience);
    let (both, carried, said) = run(script, Some(wire), patience);
    let mut differences = Vec::new();
    for (window, (expected, found)) in alone.iter().zip(&both).enumerate() {
        for key in expected.keys().chain(found.keys().filter(|key| !expected.contains_key(*key))) {
            let count = |of: &BTreeMap<_, usize>| of.get(key).copied().unwrap_or(0);
            if count(expected) != count(found) {
                differences.push(format!(
                    "before settling {window}, at {}: {} by the kernel, {} with the adapters: {}",
                    NAMES[key.0],
                    count(expected),
                    count(found),
                    shown(&key.1)
                ));
            }
        }
    }
    Outcome { differences, carried, said }
}

/// A packet in words, and its bytes.
fn shown(packet: &[u8]) -> String {
    let hex: String = packet.iter().take(48).map(|byte| format!("{byte:02x}")).collect();
    match ipv4::Packet::read(packet) {
        Ok(packet) => {
            let header = &packet.header;
            let (from, to) = (header.source(), header.destination());
            format!("{from} > {to} protocol {} ttl {} {hex}", header.protocol(), header.ttl())
        }
        Err(_) => hex,
    }
}

fn run(script: &Script, wire: Option<Wire>, patience: u32) -> (Arrived, u64, Vec<String>) {
    let links: Vec<Link> = (1..)
        .zip(NAMES)
        .take(script.hosts)
        .map(|(net, name)| Link::to(name, net).silent())
        .collect();
    let net = Topology::star(&links);
    let ports: Vec<Port> =
        net.interfaces().into_iter().map(|host| Port::open(net.host(host), "eth")).collect();
    let (mut arrived, mut router) = (vec![BTreeMap::new()], None);
    for line in &script.lines {
        match line {
            Line::Router(command) => {
                let command = net.router().command("sh", &["-c", command]);
                // Whether this kernel takes it is the same both times.
                let _ =
                    spine_tests::process::Running::start(command).finish(Duration::from_secs(20));
            }
            Line::Start => {
                if let Some(wire) = wire {
                    let nic = if wire == Wire::Xdp { "xdp" } else { "packet" };
                    let interfaces = &net.interfaces()[..script.owned];
                    router = Some(Router::start_with(net.router(), interfaces, &["--nic", nic]));
                }
            }
            Line::Send(host, packet) => {
                let link = net.link(NAMES[*host]);
                let fields = ethernet::Fields {
                    destination: link.router_mac(),
                    source: link.host_mac(),
                    ether_type: ethernet::ether_type::IPV4,
                };
                // What a link refuses, it refuses both times.
                ports[*host].try_send(&[&fields.to_bytes()[..], packet].concat());
            }
            Line::Settle => {
                collect(&ports, patience, arrived.last_mut().expect("one window"));
                // What was changed before is known by now, too.
                std::thread::sleep(Duration::from_millis(100) * patience);
                arrived.push(BTreeMap::new());
            }
        }
    }
    let said = router.as_ref().map(|router| router.said().to_vec()).unwrap_or_default();
    let carried = router.map_or(0, |router| router.stop().forwarded());
    (arrived, carried, said)
}

/// Takes what arrives until nothing has for a while.
fn collect(ports: &[Port], patience: u32, into: &mut BTreeMap<(usize, Vec<u8>), usize>) {
    let mut quiet = 0;
    while quiet < 2 * patience {
        quiet += 1;
        for (host, port) in ports.iter().enumerate() {
            // Each waits a moment before it says that there is nothing.
            while let Some(received) = port.receive() {
                quiet = 0;
                if let Some(packet) = packet::ip_packet(&received.frame)
                    && !is_routers_error(packet)
                {
                    *into.entry((host, normal(packet))).or_default() += 1;
                }
            }
        }
    }
}

fn is_from_router(packet: &ipv4::Packet<'_>) -> bool {
    let [a, b, _, d] = packet.header.source().octets();
    Ipv4Addr::new(a, b, 0, d) == Ipv4Addr::new(10, 9, 0, 1)
}

/// A packet as both runs have it: what the router itself sends has an identification by chance.
fn normal(packet: &[u8]) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    if ipv4::Packet::read(packet).is_ok_and(|packet| is_from_router(&packet)) {
        bytes[ipv4::offset::IDENTIFICATION..][..2].fill(0);
        bytes[ipv4::offset::CHECKSUM..][..2].fill(0);
    }
    bytes
}

/// ICMP errors from the router itself: the kernel sends so many a second.
fn is_routers_error(packet: &[u8]) -> bool {
    let Ok(packet) = ipv4::Packet::read(packet) else { return false };
    let is_routers = is_from_router(&packet);
    let is_error = matches!(packet.payload.first(), Some(3 | 4 | 5 | 11 | 12));
    is_routers && packet.header.protocol() == protocol::ICMP && is_error
}
