//! Wires: what moves packets between an interface and its adapter, one kind a file.
//!
//! [`open`] makes the wires of all interfaces at once, since they share their frames, together with the
//! two things that depend on the kind of wire: the [`Gate`], which keeps what is the adapters' away
//! from the kernel and what is the kernel's away from the adapters, and the way back to the kernel for
//! packets that only an extension finds to be the kernel's. Nothing is the adapters' before the gate is
//! told so, and everything ends when it is dropped.
//!
//! Layers (capture, a model of a card) are stacked on a wire by whoever opens it.

mod packet;
mod xdp;

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use clap::ValueEnum;
use spine_abi::HandlerNumber;
use spine_nic::Nic;
use spine_nic::buffer::{Frame, FrameMemory, MemoryError};
use spine_nic::packet::PacketError;
use spine_nic::punt::inject::{self, KernelEndpoint, KernelError};
use spine_nic::xdp::XdpError;
use spine_nic::xdp::attach::AttachError;

pub use self::packet::EntranceError;
pub(crate) use self::packet::table_name;
use crate::claims::{Classifier, ClassifierError};
use crate::netlink::socket::NetlinkError;

/// The kinds of wire (`--nic`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum NicKind {
    /// AF_XDP where it can be had, else AF_PACKET under the model at full speed
    #[default]
    Auto,
    /// AF_XDP: fastest; needs CAP_BPF
    Xdp,
    /// AF_PACKET: slower, on any Ethernet interface; root in a user namespace is enough
    Packet,
    /// The model of the paper's card, over the fastest of the others
    Lanai,
}

/// Which way packets are to reach the adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum XdpChoice {
    /// At the driver where it can, else generic.
    #[default]
    Auto,
    /// At the driver or not at all.
    Native,
    /// Behind the kernel's packet buffers.
    Generic,
}

/// One interface to open.
#[derive(Debug, Clone)]
pub struct Interface {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Its link-layer address.
    pub mac: [u8; 6],
    /// Its MTU.
    pub mtu: u32,
}

/// What to open.
#[derive(Debug)]
pub struct Options<'a> {
    /// The interfaces; an adapter's index is its interface's position.
    pub interfaces: &'a [Interface],
    /// Frames for each adapter; `None`: what its queues need.
    pub frames: Option<u32>,
    /// Which way AF_XDP gets packets.
    pub mode: XdpChoice,
    /// Whether to have the kernel say when each packet came ([`Nic::arrivals`]).
    pub times: bool,
}

/// Packets to a UDP port of this machine, and whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortClaim {
    /// The address they are sent to: one of ours, or a group.
    pub address: Ipv4Addr,
    /// The port.
    pub port: u16,
    /// The handler they are for.
    pub handler: HandlerNumber,
}

/// What keeps the packets of adapters and kernel apart: the classifier, and a switch over all of it.
pub trait Gate: Classifier {
    /// Lets adapters have packets at all (`true`), or gives the kernel every one (`false`, as at first).
    ///
    /// # Errors
    /// [`WireError`].
    fn set_all_enabled(&mut self, enabled: bool) -> Result<(), WireError>;

    /// Gives packets to a UDP port of this machine to a handler, whether the router may forward or not.
    ///
    /// # Errors
    /// [`WireError::NoPorts`], [`WireError::Attach`].
    fn claim_port(&mut self, _claim: PortClaim) -> Result<(), WireError> {
        Err(WireError::NoPorts)
    }

    /// What it counted since it was made, by name; nothing where the kernel does not count.
    ///
    /// # Errors
    /// [`WireError`].
    fn counters(&self) -> Result<Vec<(&'static str, u64)>, WireError>;
}

/// One interface's wire.
pub struct Wire {
    /// Its interface's index.
    pub ifindex: u32,
    /// The backend.
    pub nic: Box<dyn Nic>,
    /// Its share of the frames.
    pub frames: Vec<Frame>,
}

/// The wires of all interfaces, in the order of the adapters.
pub struct Wires {
    /// The frames' memory.
    pub memory: Arc<FrameMemory>,
    /// One for each interface.
    pub wires: Vec<Wire>,
    /// The way back to the kernel.
    pub kernel: KernelEndpoint,
    /// What keeps packets apart; it lets the adapters have nothing yet.
    pub gate: Box<dyn Gate>,
    /// Whether packets come with the checksums that their senders left to a card.
    pub finishes_checksums: bool,
    /// Why it is not the fastest kind, where that was to be found out.
    pub instead: Option<WireError>,
}

/// Why there are no wires.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The classifier.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A socket.
    #[error(transparent)]
    Socket(#[from] XdpError),
    /// The way to the kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// More queues than the classifier can lead to.
    #[error("the interfaces have {0} queues together, and the classifier knows {max} at most: ethtool -L lowers them", max = spine_xdp_progs::SOCKETS)]
    Queues(u32),
    /// Packets too long for a frame, or for the way back to the kernel.
    #[error(
        "{interface} has an MTU of {mtu}, and an adapter takes {most} at most: ip link set dev {interface} mtu {most}"
    )]
    Mtu {
        /// The interface.
        interface: String,
        /// Its MTU.
        mtu: u32,
        /// The largest possible.
        most: u32,
    },
    /// Nobody looks at ports here.
    #[error("this kind of wire (--nic) cannot share an interface with another application")]
    NoPorts,
    /// What there is, or the rules that keep packets from the kernel.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// An AF_PACKET socket.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// Its filter.
    #[error("cannot filter what an AF_PACKET socket receives: {0}")]
    Filter(io::Error),
    /// Its times of arrival.
    #[error("the kernel does not say when packets arrive on an AF_PACKET socket: {0}")]
    Times(io::Error),
    /// The frames.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The way to the kernel on AF_PACKET.
    #[error(transparent)]
    Entrance(#[from] EntranceError),
    /// Somebody else's XDP program.
    #[error(
        "{0} has an XDP program attached, which sees packets before AF_PACKET does: detach it first (ip link set dev {0} xdp off, or end its owner)"
    )]
    Xdp(String),
    /// Neither kind.
    #[error("no AF_XDP: {xdp}; and no AF_PACKET instead: {packet}")]
    Neither {
        /// Why not the one.
        xdp: Box<WireError>,
        /// Why not the other.
        packet: Box<WireError>,
    },
    /// The gate does not move.
    #[error("cannot tell packets of adapters and kernel apart: {0}")]
    Gate(ClassifierError),
}

impl WireError {
    /// Whether there is no AF_XDP here for us, so that another kind is worth trying; what somebody else
    /// has taken, or what is wrong with an interface, stays wrong.
    fn is_for_want_of_xdp(&self) -> bool {
        match self {
            Self::Attach(error) => matches!(
                error,
                AttachError::Permission { .. }
                    | AttachError::Load(_)
                    | AttachError::Refused { .. }
                    | AttachError::NoLink { .. }
            ),
            Self::Socket(error) => matches!(
                error,
                XdpError::Permission | XdpError::Umem { .. } | XdpError::Socket { .. }
            ),
            Self::Kernel(error) => matches!(error, KernelError::Load(_) | KernelError::Probe(_)),
            _ => false,
        }
    }
}

/// Opens the wires of these interfaces.
///
/// # Errors
/// [`WireError`], and everything is as before.
pub fn open(kind: NicKind, options: &Options<'_>) -> Result<Wires, WireError> {
    match kind {
        NicKind::Xdp => xdp::open(options),
        NicKind::Packet => packet::open(options),
        NicKind::Auto | NicKind::Lanai => match xdp::open(options) {
            Err(why) if why.is_for_want_of_xdp() => fall_back(options, why),
            result => result,
        },
    }
}

/// What there is in place of AF_XDP.
fn fall_back(options: &Options<'_>, why: WireError) -> Result<Wires, WireError> {
    match packet::open(options) {
        Ok(wires) => Ok(Wires { instead: Some(why), ..wires }),
        Err(error) => Err(WireError::Neither { xdp: Box::new(why), packet: Box::new(error) }),
    }
}

/// Bytes an Ethernet frame has beyond its MTU: header and one VLAN tag.
const LINK_BYTES: u32 = 14 + 4;
/// Bytes kept free in front of a received packet (XDP_PACKET_HEADROOM).
const HEADROOM: u32 = 256;
/// Frames of each adapter that are on their way through the router, beside those lent to its queues.
const ON_THE_WAY: u32 = 4096;
/// Frames lent to each queue.
const LENT: u32 = 2048;

/// Bytes of the frames that these interfaces need.
fn frame_bytes(interfaces: &[Interface]) -> Result<usize, WireError> {
    interfaces.iter().try_fold(2048, |most, interface| Ok(most.max(frame_bytes_for(interface)?)))
}

/// Bytes of the frames that an interface needs.
fn frame_bytes_for(interface: &Interface) -> Result<usize, WireError> {
    let room = |bytes: u32| bytes - HEADROOM - LINK_BYTES;
    // A packet too long for the way out gets its ICMP error from the kernel, which must take it back.
    let most = room(4096).min(inject::LONGEST - LINK_BYTES);
    if interface.mtu > most {
        let (interface, mtu) = (interface.name.clone(), interface.mtu);
        return Err(WireError::Mtu { interface, mtu, most });
    }
    Ok(if interface.mtu > room(2048) { 4096 } else { 2048 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_longer_than_the_way_to_the_kernel_is_refused_with_the_longest_mtu() {
        let frames = |mtu| {
            let interface =
                Interface { index: 1, name: "a".to_owned(), mac: [2, 0, 0, 0, 0, 1], mtu };
            frame_bytes_for(&interface).map_err(|error| error.to_string())
        };
        assert_eq!(frames(1500), Ok(2048));
        assert_eq!(frames(1774), Ok(2048));
        assert_eq!(frames(1775), Ok(4096));
        assert_eq!(frames(3390), Ok(4096));
        let sentence = "a has an MTU of 3391, and an adapter takes 3390 at most: \
                        ip link set dev a mtu 3390";
        assert_eq!(frames(3391), Err(sentence.to_owned()));
    }
}
