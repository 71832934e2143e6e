//! The interfaces: each with its own classifier and its adapter, all in one machine.
//!
//! A classifier of its own for each interface (the router has one for all) keeps their claims apart:
//! what somebody may claim on one interface says nothing about the next.
//!
//! Nothing is claimed at first, so while the daemon starts, and while nobody has loaded anything, the
//! kernel has every packet. The programs are attached by links that end with this process, however it
//! ends: then the kernel has them again.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use spine_abi::HandlerNumber;
use spine_io::{AdapterSetup, Machine, MachineError, TrustedKey};
use spine_nic::Nic;
use spine_nic::buffer::Frame;
use spine_nic::layer::multiqueue::MultiQueue;
use spine_nic::punt::inject::{self, KernelEndpoint, KernelError};
use spine_nic::xdp::attach::{AttachError, AttachMode, Classifier};
use spine_nic::xdp::{SharedUmem, XdpError, XdpNic, XdpOptions, queues};
use spine_remote::RemoteSetup;
use spine_xdp_progs::Port;

use crate::cli::{Configuration, XdpMode};
use crate::confine;
use crate::peers::{self, Peer, PeerError};

/// Bytes an Ethernet frame has beyond its MTU: header and one VLAN tag.
const LINK_BYTES: u32 = 14 + 4;
/// Bytes the kernel keeps free in front of a received packet (XDP_PACKET_HEADROOM).
const HEADROOM: u32 = 256;
/// Frames of each adapter beside those lent to its queues, and those of each queue.
const ON_THE_WAY: u32 = 4096;
const LENT: u32 = 2048;

/// The handler of claimed packets whose driver does not pass on which one it is.
const UNSTAMPED: HandlerNumber = HandlerNumber(1);

/// An interface, its classifier, and what that was told.
pub(crate) struct Wire {
    pub(crate) name: String,
    /// How packets reach its adapter.
    pub(crate) mode: String,
    pub(crate) classifier: Classifier,
    pub(crate) ifindex: u32,
    pub(crate) port: Port,
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
    _kernel: KernelEndpoint,
}

/// Why an interface cannot be owned.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error(transparent)]
    Attach(#[from] AttachError),
    #[error(transparent)]
    Socket(#[from] XdpError),
    #[error(transparent)]
    Kernel(#[from] KernelError),
    #[error(transparent)]
    Machine(#[from] MachineError),
    #[error(transparent)]
    Peer(#[from] PeerError),
    #[error("cannot give up capabilities: {0}")]
    Capabilities(#[from] caps::errors::CapsError),
    #[error("interface {0} is not an Ethernet interface")]
    NotEthernet(String),
    #[error(
        "the interfaces have {0} queues together, and a classifier knows {max} at most: ethtool -L lowers them",
        max = spine_xdp_progs::SOCKETS
    )]
    Queues(u32),
    #[error(
        "{interface} has an MTU of {mtu}, and an adapter takes {most} at most: ip link set dev {interface} mtu {most}"
    )]
    Mtu { interface: String, mtu: u32, most: u32 },
}

/// An interface before it is one of the machine's.
struct Opened {
    wire: Wire,
    sockets: Vec<XdpNic>,
    frames: Vec<Frame>,
}

impl Wires {
    /// Attaches to the interfaces, gives up what only that needs, and starts the adapters.
    ///
    /// # Errors
    /// [`WireError`]; everything is as before.
    pub(crate) fn open(configuration: &Configuration, key: TrustedKey) -> Result<Self, WireError> {
        let (opened, memory) = match attach_all(configuration, true) {
            // Sockets that share frames all work without copies or none does.
            Err(WireError::Socket(XdpError::MixedModes { .. })) => {
                attach_all(configuration, false)?
            }
            result => result?,
        };
        confine::drop_capabilities()?;
        let kernel = KernelEndpoint::start()?;
        let (mut wires, mut setups) = (Vec::new(), Vec::new());
        for (index, Opened { mut wire, sockets, frames }) in opened.into_iter().enumerate() {
            let nic = stack(sockets, &wire.name)?;
            nic.mode().clone_into(&mut wire.mode);
            let remotes = remotes(configuration, index, &wire)?;
            wire.peer_ports = peers::claim(&mut wire.classifier, &remotes)?;
            setups.push(AdapterSetup {
                nic,
                frames,
                kernel: Some(Box::new(kernel.sender(wire.ifindex))),
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
            wire.classifier.set_enabled(true)?;
        }
        let peers = configuration.peers.iter().map(|configured| configured.peer.clone()).collect();
        Ok(Self { wires, machine: Arc::new(machine), peers, _kernel: kernel })
    }

    /// The position of an interface.
    pub(crate) fn position(&self, interface: &str) -> Option<usize> {
        self.wires.iter().position(|wire| wire.name == interface)
    }

    /// Gives every packet back to the kernel.
    pub(crate) fn disable(&mut self) {
        for wire in &mut self.wires {
            if let Err(error) = wire.classifier.set_enabled(false) {
                tracing::warn!(interface = wire.name, %error, "cannot stop claiming");
            }
        }
    }
}

/// The endpoints on other machines that are reached by an interface.
fn remotes(
    configuration: &Configuration,
    index: usize,
    wire: &Wire,
) -> Result<Vec<RemoteSetup>, PeerError> {
    let here = configuration.peers.iter().filter(|configured| configured.peer.wire == index);
    here.map(|configured| configured.setup(&wire.name, wire.port.mac)).collect()
}

fn attach_all(
    configuration: &Configuration,
    zero_copy: bool,
) -> Result<(Vec<Opened>, Arc<spine_nic::buffer::FrameMemory>), WireError> {
    let (memory, dealt, umem) = frames(configuration)?;
    let mut opened = Vec::new();
    for (name, frames) in configuration.interfaces.iter().zip(dealt) {
        let mut classifier = Classifier::load()?;
        let (ifindex, attached) = attach(&mut classifier, name, configuration.xdp_mode)?;
        let bind = |queue| {
            let options = XdpOptions { interface: name, queue, attached, zero_copy };
            XdpNic::bind(&umem, &options)
        };
        let sockets = (0..queues(name)?).map(bind).collect::<Result<Vec<_>, _>>()?;
        for (place, socket) in (0..).zip(&sockets) {
            classifier.set_socket(place, socket)?;
        }
        let port = Port {
            first_socket: 0,
            queues: u32::try_from(sockets.len()).unwrap_or(u32::MAX),
            mac: mac(name).ok_or_else(|| WireError::NotEthernet(name.clone()))?,
            handler: UNSTAMPED,
            enabled: false,
            unfinished_checksums: is_virtual(name),
        };
        classifier.set_port(ifindex, port)?;
        let wire = Wire {
            name: name.clone(),
            mode: String::new(),
            classifier,
            ifindex,
            port,
            addresses: BTreeSet::new(),
            peer_ports: Vec::new(),
            leaving: Vec::new(),
        };
        opened.push(Opened { wire, sockets, frames });
    }
    Ok((opened, memory))
}

/// The frames of all adapters, in one memory that every socket shares.
#[expect(clippy::type_complexity, reason = "as SharedUmem makes them")]
fn frames(
    configuration: &Configuration,
) -> Result<(Arc<spine_nic::buffer::FrameMemory>, Vec<Vec<Frame>>, SharedUmem), WireError> {
    let (mut all, mut most, mut bytes) = (0, 1, 2048);
    for name in &configuration.interfaces {
        let count = queues(name)?;
        all += count;
        most = most.max(count);
        bytes = bytes.max(frame_bytes(name, mtu(name))?);
    }
    if all > spine_xdp_progs::SOCKETS {
        return Err(WireError::Queues(all));
    }
    let each = configuration.frames.unwrap_or(most * LENT + ON_THE_WAY);
    let adapters = u16::try_from(configuration.interfaces.len()).unwrap_or(u16::MAX);
    Ok(SharedUmem::new(each.saturating_mul(adapters.into()), bytes, adapters)?)
}

/// Bytes of the frames that an interface needs.
fn frame_bytes(interface: &str, mtu: u32) -> Result<usize, WireError> {
    let room = |bytes: u32| bytes - HEADROOM - LINK_BYTES;
    let most = room(4096).min(inject::LONGEST - LINK_BYTES);
    if mtu > most {
        return Err(WireError::Mtu { interface: interface.to_owned(), mtu, most });
    }
    Ok(if mtu > room(2048) { 4096 } else { 2048 })
}

fn attach(
    classifier: &mut Classifier,
    interface: &str,
    mode: XdpMode,
) -> Result<(u32, AttachMode), WireError> {
    if mode != XdpMode::Generic {
        match classifier.attach(interface, AttachMode::Native) {
            Ok(ifindex) => return Ok((ifindex, AttachMode::Native)),
            Err(AttachError::Refused { .. }) if mode == XdpMode::Auto => {
                tracing::info!(interface, "the driver has no XDP; generic mode is used");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((classifier.attach(interface, AttachMode::Generic)?, AttachMode::Generic))
}

/// An interface's queues as one.
fn stack(mut sockets: Vec<XdpNic>, interface: &str) -> Result<Box<dyn Nic>, XdpError> {
    let others = sockets.split_off(1.min(sockets.len()));
    match sockets.pop() {
        Some(first) if others.is_empty() => Ok(Box::new(first)),
        Some(first) => Ok(Box::new(MultiQueue::new(first, others))),
        None => Err(XdpError::NoQueue { interface: interface.to_owned(), queue: 0, queues: 0 }),
    }
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

/// What `/sys` says of an interface; the mount must be of this network namespace.
fn sys(interface: &str, what: &str) -> std::path::PathBuf {
    Path::new("/sys/class/net").join(interface).join(what)
}

/// The MTU, 1500 where nothing is known.
fn mtu(interface: &str) -> u32 {
    let text = std::fs::read_to_string(sys(interface, "mtu")).unwrap_or_default();
    text.trim().parse().unwrap_or(1500)
}

/// Whether no device is behind it: then its peer may leave checksums undone that no card will do.
fn is_virtual(interface: &str) -> bool {
    !sys(interface, "device").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_large_as_the_mtu_needs_and_no_larger_than_the_kernel_takes_back() {
        let bytes = |mtu| frame_bytes("a", mtu).map_err(|error| error.to_string());
        assert_eq!(bytes(1500), Ok(2048));
        assert_eq!(bytes(1775), Ok(4096));
        let sentence = "a has an MTU of 3391, and an adapter takes 3390 at most: \
                        ip link set dev a mtu 3390";
        assert_eq!(bytes(3391), Err(sentence.to_owned()));
    }
}
