//! The interfaces: each with its own classifier and its adapter, all in one machine.
//!
//! A classifier of its own for each interface (the router has one for all) keeps their claims apart:
//! what somebody may claim on one interface says nothing about the next.
//!
//! Nothing is claimed at first, so while the daemon starts, and while nobody has loaded anything, the
//! kernel has every packet. The programs are attached by links that end with this process, however it
//! ends: then the kernel has them again.

use std::collections::BTreeSet;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use spine_abi::HandlerNumber;
use spine_io::{AdapterSetup, Machine, MachineError, TrustedKey};
use spine_nic::open::{
    self, FrameCount, Interface, OpenError, Options, Ports, Steering as _, SteeringError,
    XdpSteering,
};
use spine_nic::punt::KernelPort;
use spine_nic::punt::inject::KernelEndpoint;
use spine_remote::RemoteSetup;

use crate::cli::Configuration;
use crate::confine;
use crate::peers::{self, Peer, PeerError};

/// The handler of claimed packets whose driver does not pass on which one it is, before any were claimed.
const UNSTAMPED: HandlerNumber = HandlerNumber(1);

/// An interface, and what steers its packets.
pub(crate) struct Wire {
    pub(crate) name: String,
    /// How packets reach its adapter.
    pub(crate) mode: String,
    pub(crate) steering: XdpSteering,
    pub(crate) ifindex: u32,
    /// Addresses of this machine that the daemon found, and the classifier knows.
    pub(crate) addresses: BTreeSet<Ipv4Addr>,
    /// UDP ports of messages between machines: nobody else's.
    pub(crate) peer_ports: Vec<u16>,
    /// Prefixes in the classifier that nobody claims any more, while nobody else does.
    pub(crate) leaving: Vec<Ipv4Net>,
}

/// All of them. The order of the fields is the order in which they end: first nothing is claimed any more.
pub(crate) struct Wires {
    pub(crate) wires: Vec<Wire>,
    pub(crate) machine: Arc<Machine>,
    /// Endpoints on other machines.
    pub(crate) peers: Vec<Peer>,
    _punt: Option<KernelEndpoint>,
}

/// Why an interface cannot be owned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("cannot begin to claim packets: {0}")]
    Steering(#[from] SteeringError),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Peer(#[from] PeerError),
}

impl Wires {
    /// Attaches to the interfaces, gives up what only that needs, and starts the adapters.
    ///
    /// # Errors
    /// [`WireError`]; everything is as before.
    pub(crate) fn open(configuration: &Configuration, key: TrustedKey) -> Result<Self, WireError> {
        let interfaces = Interface::find(&configuration.interfaces)?;
        let unprivileged = || confine::drop_capabilities().map_err(io::Error::other);
        let frames = configuration.frames.map_or_else(FrameCount::default, FrameCount::exactly);
        let opened = open::open_xdp_apart(&Options {
            frames,
            unprivileged: Some(&unprivileged),
            ..Options::new(&interfaces, &configuration.xdp_mode, UNSTAMPED)
        })?;
        for note in opened.notes() {
            tracing::warn!("{note}");
        }
        let Ports { memory, ports, punt, steering, .. } = opened;
        let (mut wires, mut setups) = (Vec::new(), Vec::new());
        for (index, (port, steering)) in ports.into_iter().zip(steering).enumerate() {
            let mut wire = Wire::new(&port.interface, port.nic.mode(), steering);
            let remotes = remotes(configuration, index, &port.interface)?;
            wire.peer_ports = peers::claim(wire.steering.classifier(), &remotes)?;
            setups.push(AdapterSetup {
                nic: port.nic,
                frames: port.frames,
                kernel: punt.as_ref().map(|punt| kernel(punt, wire.ifindex)),
                unstamped: UNSTAMPED,
                remotes,
                processor: index % configuration.cores.len().max(1),
            });
            wires.push(wire);
        }
        let mut machine = Machine::start(setups, &memory, &configuration.cores, key)?;
        // Who asks them has a thread for it, and undoes what nobody waited for.
        machine.set_patience(Duration::MAX);
        for wire in &mut wires {
            wire.steering.set_all_enabled(true)?;
        }
        let peers = configuration.peers.iter().map(|configured| configured.peer.clone()).collect();
        Ok(Self { wires, machine: Arc::new(machine), peers, _punt: punt })
    }

    /// The position of an interface.
    pub(crate) fn position(&self, interface: &str) -> Option<usize> {
        self.wires.iter().position(|wire| wire.name == interface)
    }

    /// Says whose claimed packets are on an interface whose driver does not pass on what the classifier stamps.
    pub(crate) fn unstamped(&self, wire: usize, handler: HandlerNumber) {
        if let Some(adapter) = self.machine.adapters().get(wire) {
            adapter.set_unstamped(handler);
        }
    }

    /// Gives every packet back to the kernel.
    pub(crate) fn disable(&mut self) {
        for wire in &mut self.wires {
            if let Err(error) = wire.steering.set_all_enabled(false) {
                tracing::warn!(interface = wire.name, %error, "cannot stop claiming");
            }
        }
    }
}

impl Wire {
    fn new(interface: &Interface, mode: &str, steering: XdpSteering) -> Self {
        Self {
            name: interface.name.clone(),
            mode: mode.to_owned(),
            steering,
            ifindex: interface.index,
            addresses: BTreeSet::new(),
            peer_ports: Vec::new(),
            leaving: Vec::new(),
        }
    }
}

/// The way from an adapter back to the kernel.
fn kernel(punt: &KernelEndpoint, interface: u32) -> Box<dyn KernelPort> {
    Box::new(punt.sender(interface))
}

/// The endpoints on other machines that are reached by an interface.
fn remotes(
    configuration: &Configuration,
    index: usize,
    interface: &Interface,
) -> Result<Vec<RemoteSetup>, PeerError> {
    let here = configuration.peers.iter().filter(|configured| configured.peer.wire == index);
    here.map(|configured| configured.setup(&interface.name, interface.mac)).collect()
}

/// An interface's link-layer address.
pub(crate) fn mac(interface: &str) -> Option<[u8; 6]> {
    let mut all = nix::ifaddrs::getifaddrs().ok()?;
    all.find_map(|found| {
        let link = *found.address.as_ref()?.as_link_addr()?;
        (found.interface_name == interface).then(|| link.addr())?
    })
}

/// The IPv4 addresses of this machine, on all interfaces, and their broadcast addresses.
pub(crate) fn own_addresses() -> impl Iterator<Item = Ipv4Addr> {
    let all = nix::ifaddrs::getifaddrs().into_iter().flatten();
    let both = all.flat_map(|found| [found.address, found.broadcast]).flatten();
    both.filter_map(|address| Some(address.as_sockaddr_in()?.ip()))
}
