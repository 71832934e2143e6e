//! Namespaces joined by pairs of virtual interfaces, or of wired ones that the machine has.
//!
//! A topology is a star: one namespace called `router`, and around it hosts, each with one link. Interface
//! names are the same in every run (`eth` in a host, the host's name in the router), because each is alone
//! in its namespace; only the namespaces carry a random name. Whoever is killed leaves its namespaces
//! behind: their names hold the run (`SPINE_RUN`, by which `ci/run.sh` cleans up) and the process.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::namespace::Namespace;
use crate::ports::{self, Pair};
use crate::process::{Finished, Running};

/// The MTU of a link that asks for none.
const MTU: u16 = 1500;
/// What a host calls its interface.
const HOST_END: &str = "eth";

/// A host and its link to the router.
#[derive(Debug, Clone)]
pub struct Link {
    /// The host's name, and the name of the router's interface to it.
    pub host: &'static str,
    /// Third number of the link's network: `10.9.NET.0/24`, the router is .1 and the host is .2.
    pub net: u8,
    /// MTU of both ends.
    pub mtu: u16,
    /// Offloads of the host's end. With them, TCP leaves the host in large pieces without checksums, as
    /// it leaves a container; a router over AF_XDP sees what a wire would carry only without them.
    pub offloads: bool,
    /// Whether the host has an address and answers. One without only sends and receives raw packets.
    pub answers: bool,
}

impl Link {
    /// A host that answers, with an MTU of 1500 (or what [`ports::default_mtu`] says) and no offloads.
    pub const fn to(host: &'static str, net: u8) -> Self {
        Self { host, net, mtu: MTU, offloads: false, answers: true }
    }

    /// The same with another MTU.
    pub const fn mtu(self, mtu: u16) -> Self {
        Self { mtu, ..self }
    }

    /// The same with the host's offloads as the driver sets them.
    pub const fn with_offloads(self) -> Self {
        Self { offloads: true, ..self }
    }

    /// The same with a host that has no address.
    pub const fn silent(self) -> Self {
        Self { answers: false, ..self }
    }

    /// The router's address on this link.
    pub fn router_address(&self) -> String {
        format!("10.9.{}.1", self.net)
    }

    /// The host's address.
    pub fn host_address(&self) -> String {
        format!("10.9.{}.2", self.net)
    }

    /// Link-layer address of the router's end.
    pub const fn router_mac(&self) -> [u8; 6] {
        [0x02, 0, 0, 9, self.net, 1]
    }

    /// Link-layer address of the host's end.
    pub const fn host_mac(&self) -> [u8; 6] {
        [0x02, 0, 0, 9, self.net, 2]
    }
}

/// Namespaces that live as long as this value.
#[derive(Debug)]
pub struct Topology {
    router: Namespace,
    hosts: Vec<(Link, Namespace)>,
    /// The wired interfaces that the links use, in the order of the hosts; empty where they are virtual.
    wires: Vec<Pair>,
}

impl Topology {
    /// A router between a `client` and a `server`, both without offloads.
    pub fn pair() -> Self {
        Self::star(&[Link::to("client", 1), Link::to("server", 2)])
    }

    /// A router with a host on each link. Forwarding is on, the reverse-path filter off, IPv6 off (its
    /// chatter would be counted), and neighbours are known from the start and permanent.
    pub fn star(links: &[Link]) -> Self {
        remove_orphans();
        let prefix = name_prefix();
        let mut topology = Self {
            router: add_namespace(&prefix, "router"),
            hosts: Vec::with_capacity(links.len()),
            wires: Vec::new(),
        };
        for link in links {
            // In the list first: what fails below is removed, too.
            topology.hosts.push((link.clone(), add_namespace(&prefix, link.host)));
        }
        topology.router.sysctl("ipv4/ip_forward", "1");
        match ports::wired() {
            None => {
                topology.hosts.iter().for_each(|(link, host)| join(&topology.router, host, link))
            }
            Some(pairs) => topology.take(pairs),
        }
        for (link, host) in &topology.hosts {
            configure(&topology.router, host, link);
        }
        topology
    }

    /// Makes wired interfaces the ends of the links, and waits until they have a carrier.
    fn take(&mut self, pairs: Vec<Pair>) {
        let (there, wanted) = (pairs.len(), self.hosts.len());
        assert!(there >= wanted, "{wanted} links, and {there} wired pairs");
        for ((link, host), pair) in self.hosts.iter().zip(pairs) {
            ports::take(&pair.near, &self.router, link.host);
            ports::take(&pair.far, host, HOST_END);
            // To be given back even if what follows fails.
            self.wires.push(pair);
            let mtu = ports::default_mtu().filter(|_| link.mtu == MTU).unwrap_or(link.mtu);
            let (near, far) = (hex(link.router_mac()), hex(link.host_mac()));
            self.router.ip(&format!("link set {} address {near} mtu {mtu} up", link.host));
            host.ip(&format!("link set {HOST_END} address {far} mtu {mtu} up"));
        }
        for (link, host) in &self.hosts {
            ports::wait_for_carrier(&self.router, link.host);
            ports::wait_for_carrier(host, HOST_END);
        }
    }

    /// The namespace in the middle.
    pub fn router(&self) -> &Namespace {
        &self.router
    }

    /// The namespace of a host.
    pub fn host(&self, name: &str) -> &Namespace {
        &self.find(name).1
    }

    /// The link of a host.
    pub fn link(&self, name: &str) -> &Link {
        &self.find(name).0
    }

    /// The names of the router's interfaces, in order.
    pub fn interfaces(&self) -> Vec<&'static str> {
        self.hosts.iter().map(|(link, _)| link.host).collect()
    }

    fn find(&self, name: &str) -> &(Link, Namespace) {
        self.hosts
            .iter()
            .find(|(link, _)| link.host == name)
            .unwrap_or_else(|| panic!("the topology has no host {name}"))
    }
}

impl Drop for Topology {
    fn drop(&mut self) {
        for ((link, host), pair) in self.hosts.iter().zip(&self.wires) {
            ports::give_back(&pair.near, &self.router, link.host);
            ports::give_back(&pair.far, host, HOST_END);
        }
        for (_, host) in &self.hosts {
            remove_namespace(host.name());
        }
        remove_namespace(self.router.name());
    }
}

fn name_prefix() -> String {
    let run = std::env::var("SPINE_RUN").unwrap_or_else(|_| String::from("x"));
    // The folder's random name is the randomness: nothing is left in it.
    let random = tempfile::Builder::new()
        .prefix("")
        .rand_bytes(4)
        .tempdir()
        .ok()
        .and_then(|folder| folder.path().file_name()?.to_str().map(str::to_lowercase))
        .expect("the folder for temporary files is writable");
    format!("spine-{run}-{}-{random}", std::process::id())
}

fn add_namespace(prefix: &str, host: &str) -> Namespace {
    let name = format!("{prefix}-{host}");
    ip(&["netns", "add", &name]).expect_success(&name);
    let namespace = Namespace::named(name);
    namespace.sysctl("ipv6/conf/all/disable_ipv6", "1");
    namespace.sysctl("ipv6/conf/default/disable_ipv6", "1");
    namespace.sysctl("ipv4/conf/all/rp_filter", "0");
    namespace.sysctl("ipv4/conf/default/rp_filter", "0");
    namespace.ip("link set lo up");
    namespace
}

/// Makes a virtual pair.
fn join(router: &Namespace, host: &Namespace, link: &Link) {
    let Link { host: port, mtu, .. } = link;
    let (near, far) = (hex(link.router_mac()), hex(link.host_mac()));
    router.ip(&format!(
        "link add {port} address {near} mtu {mtu} numtxqueues 1 numrxqueues 1 type veth \
         peer name {HOST_END} address {far} mtu {mtu} numtxqueues 1 numrxqueues 1 netns {}",
        host.name()
    ));
}

/// Gives both ends what is not the wire's: offloads, addresses, routes, neighbours.
fn configure(router: &Namespace, host: &Namespace, link: &Link) {
    let Link { host: port, net, .. } = link;
    let (near, far) = (hex(link.router_mac()), hex(link.host_mac()));
    // Merging on receive would make one packet of many, and the router's end turns it off anyway.
    host.run(&format!("ethtool -K {HOST_END} gro off"));
    if !link.offloads {
        host.run(&format!("ethtool -K {HOST_END} tx off tso off gso off"));
    }
    host.ip(&format!("link set {HOST_END} up"));
    router.ip(&format!("link set {port} up"));
    router.ip(&format!("address add 10.9.{net}.1/24 dev {port}"));
    router.ip(&format!("neighbour replace 10.9.{net}.2 lladdr {far} dev {port} nud permanent"));
    if link.answers {
        host.ip(&format!("address add 10.9.{net}.2/24 dev {HOST_END}"));
        host.ip(&format!(
            "neighbour replace 10.9.{net}.1 lladdr {near} dev {HOST_END} nud permanent"
        ));
        host.ip(&format!("route add default via 10.9.{net}.1"));
    }
}

/// A link-layer address as text.
pub fn hex(address: [u8; 6]) -> String {
    address.map(|byte| format!("{byte:02x}")).join(":")
}

pub(crate) fn ip(arguments: &[&str]) -> Finished {
    let mut command = Command::new("ip");
    command.args(arguments);
    Running::start(command).finish(Duration::from_secs(10))
}

/// Removes all namespaces that this process made, for an end that runs no drops.
pub fn remove_all() {
    remove_those_of(|process| process == std::process::id());
}

/// Removes what a test that was killed left behind: the process in the name is gone.
fn remove_orphans() {
    remove_those_of(|process| !Path::new("/proc").join(process.to_string()).exists());
}

fn remove_those_of(process: impl Fn(u32) -> bool) {
    let folder = std::fs::read_dir("/run/netns");
    for entry in folder.into_iter().flatten().flatten() {
        if let Some(name) = entry.file_name().to_str()
            && owner(name).is_some_and(&process)
        {
            remove_namespace(name);
        }
    }
}

/// The process in the name of a namespace of ours: `spine-RUN-PROCESS-RANDOM-HOST`.
fn owner(name: &str) -> Option<u32> {
    let mut parts = name.strip_prefix("spine-")?.split('-');
    let process = parts.nth(1)?.parse().ok()?;
    (parts.count() == 2).then_some(process)
}

/// Kills what still runs in a namespace of ours, and removes it. Nothing here may panic: it runs in drops.
pub fn remove_namespace(name: &str) {
    let pids = Command::new("ip").args(["netns", "pids", name]).output();
    for pid in pids.iter().flat_map(|output| output.stdout.split(|byte| *byte == b'\n')) {
        if let Some(pid) = std::str::from_utf8(pid).ok().and_then(|text| text.trim().parse().ok()) {
            let _ = nix::sys::signal::kill(
                nix::unistd::Pid::from_raw(pid),
                nix::sys::signal::Signal::SIGKILL,
            );
        }
    }
    let _ = Command::new("ip").args(["netns", "del", name]).output();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_read_from_names_of_ours_only() {
        for (name, expected) in [
            ("spine-x-123-abcd-router", Some(123)),
            ("spine-4f2a-9-abcd-client", Some(9)),
            ("spine-4f2a-client", None),
            ("spine-x-y-z-client", None),
            ("other-x-123-abcd-router", None),
            ("spine-x-123-abcd-router-more", None),
        ] {
            assert_eq!(owner(name), expected, "{name}");
        }
    }
}
