//! Opening interfaces: names and wishes in, ports out.
//!
//! Every program that takes packets opens its interfaces here, so that all give the same answer for the
//! same interface: which backend and mode, how many frames of what size, what to do where the driver
//! cannot, and the sentence where nothing can be done. [`open`] makes the ports of all interfaces at once,
//! since they share their frames, together with what depends on the backend: the [`Steering`], which keeps
//! what is the adapters' away from the kernel and what is the kernel's away from the adapters, and the punt
//! path, by which packets that only an extension finds to be the kernel's go back.
//!
//! Nothing is the adapters' before the steering is told so, and everything ends when it is dropped.
//!
//! `xdp` and `packet` are the backends, `frames` the rule for sizes, `carrier` what a driver that resets takes, `interface` what the kernel says of an
//! interface, `mode` what may be asked for. Another kind of interface or driver is a change in this folder.
//!
//! Left out: layers (capture, a model of a card), which whoever opens a port stacks on it.

mod carrier;
mod frames;
mod interface;
mod mode;
mod packet;
mod steering;
mod xdp;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use spine_abi::HandlerNumber;

pub use self::carrier::Gap;
pub use self::frames::{FrameCount, longest_mtu};
pub use self::interface::Interface;
pub use self::mode::{Backend, Mode, Modes, UnknownMode};
pub use self::packet::{EntranceError, table_name};
pub use self::steering::{PortClaim, Steering, SteeringError};
pub use self::xdp::XdpSteering;
use crate::Nic;
use crate::buffer::{Frame, FrameMemory, MemoryError};
use crate::netlink::socket::NetlinkError;
use crate::packet::PacketError;
use crate::punt::inject::{KernelEndpoint, KernelError};
use crate::xdp::XdpError;
use crate::xdp::attach::AttachError;
pub use spine_xdp_progs::{Ingresses, KEPT, KEPT_COUNTERS, Kept};

/// What of the packets will be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claims {
    /// What is routed between interfaces: by destination, whatever port it is for; on AF_XDP ports as well.
    Destinations,
    /// UDP ports alone. On AF_PACKET the kernel goes on getting these packets, too.
    Ports,
}

/// [`Options::patience`] where nothing else is said.
pub const PATIENCE: Duration = Duration::from_millis(20);

/// Done when everything is attached, and before the first thread is started: giving up privileges.
pub type Unprivileged<'a> = &'a dyn Fn() -> io::Result<()>;

/// What to open, and how.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// The interfaces; an adapter's index is its interface's position.
    pub interfaces: &'a [Interface],
    /// Frames for each adapter.
    pub frames: FrameCount,
    /// Which way AF_XDP gets packets.
    pub modes: &'a Modes,
    /// What will be claimed.
    pub claims: Claims,
    /// The handler of packets that are claimed by their destination.
    pub handler: HandlerNumber,
    /// Whether to have the kernel say when each packet came ([`Nic::arrivals`]).
    pub times: bool,
    /// How long packets claimed by their destination may wait for an adapter that does not look, before the kernel has them
    /// until it does; zero: for ever. On AF_PACKET always for ever.
    pub patience: Duration,
    /// Whether packets will have to go back to the kernel.
    pub punts: bool,
    /// What is to be done before the first thread is started.
    pub unprivileged: Option<Unprivileged<'a>>,
}

impl<'a> Options<'a> {
    /// For packets of this handler between these interfaces: what differs is said beside it.
    pub fn new(interfaces: &'a [Interface], modes: &'a Modes, handler: HandlerNumber) -> Self {
        Self {
            interfaces,
            frames: FrameCount::default(),
            modes,
            claims: Claims::Destinations,
            handler,
            times: false,
            patience: PATIENCE,
            punts: true,
            unprivileged: None,
        }
    }
}

/// An opened interface.
pub struct Port {
    /// Its interface, as it was when it was opened.
    pub interface: Interface,
    /// The backend.
    pub nic: Box<dyn Nic>,
    /// Its share of the frames.
    pub frames: Vec<Frame>,
    /// Packets that its receive rings hold together; `None` where that is not counted in packets.
    pub ring: Option<u64>,
    /// Whether packets come with checksums that their sender left to a card, and nobody says so.
    pub unfinished_checksums: bool,
    /// Whether packets may have a VLAN tag beside them that nobody sees: they are taken for untagged ones.
    pub hidden_tags: bool,
    /// The longest packets that are taken, in bytes with their Ethernet header, where there may be longer ones: those are left to the
    /// kernel.
    pub longest: Option<u32>,
    /// Why it is not opened in the fastest mode there is, where that was left open: for people.
    pub slower: Option<AttachError>,
}

/// Opened interfaces, in the order of the adapters. `S` is what steers their packets.
pub struct Ports<S = Box<dyn Steering>> {
    /// The frames' memory.
    pub memory: Arc<FrameMemory>,
    /// One for each interface.
    pub ports: Vec<Port>,
    /// The way back to the kernel, where one is wanted.
    pub punt: Option<KernelEndpoint>,
    /// What keeps packets apart; it lets the adapters have nothing yet.
    pub steering: S,
    /// Why there is no AF_XDP, where that was to be found out.
    pub instead: Option<OpenError>,
    /// How long an interface had no carrier while it was opened.
    pub gap: Option<Gap>,
    /// Why packets are copied although all ports were to be had without copies: for people.
    pub copies: Option<XdpError>,
    /// How many frames each adapter has, where they are fewer than they should be.
    pub fewer: Option<Fewer>,
}

/// Fewer frames than there should be, since this process may not lock more memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fewer {
    /// Frames of each adapter.
    pub frames: u32,
    /// As there should be.
    pub wanted: u32,
}

impl Fewer {
    fn note(self) -> String {
        format!(
            "each interface has {} packet buffers and not {}, since no more memory may be locked: raise the limit (ulimit -l, a \
             unit's LimitMEMLOCK=) or grant CAP_IPC_LOCK",
            self.frames, self.wanted
        )
    }
}

impl<S> Ports<S> {
    /// How ports were opened otherwise than they could have been, a sentence each.
    pub fn notes(&self) -> Vec<String> {
        let copies = self.copies.iter().map(|why| format!("packets are copied: {why}"));
        let generic = self.ports.iter().filter_map(|port| {
            let why = port.slower.as_ref()?;
            Some(format!(
                "{} is opened in generic mode, which is slower: {why}",
                port.interface.name
            ))
        });
        let long = self.ports.iter().filter_map(|port| {
            let Interface { name, mtu, .. } = &port.interface;
            let longest = port.longest?;
            Some(format!(
                "{name} has an MTU of {mtu}: frames of more than {longest} bytes are left to the kernel"
            ))
        });
        let tagged = self.ports.iter().filter(|port| port.hidden_tags).map(|port| {
            let name = &port.interface.name;
            format!(
                "frames of VLANs are taken for untagged ones on {name}, where their tags are not seen: ethtool -K {name} rxvlan off \
                 (for a card), or --nic packet"
            )
        });
        copies
            .chain(generic)
            .chain(tagged)
            .chain(long)
            .chain(self.fewer.map(Fewer::note))
            .chain(self.gap.as_ref().and_then(Gap::note))
            .collect()
    }

    /// The same, steered otherwise.
    fn steered<T>(self, by: impl FnOnce(S) -> T) -> Ports<T> {
        let Self { memory, ports, punt, steering, instead, gap, copies, fewer } = self;
        Ports { memory, ports, punt, steering: by(steering), instead, gap, copies, fewer }
    }
}

/// Why there are no ports.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// None of that name.
    #[error("there is no interface {0:?} in this network namespace (see `ip link`)")]
    NoInterface(String),
    /// Nothing that carries Ethernet frames.
    #[error("interface {0} is not an Ethernet interface")]
    NotEthernet(String),
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
    /// Modes that cannot be had together.
    #[error(
        "{without} is to work without copies and {with} is not, and interfaces that share frames all do or none does: ask for the same --xdp-mode"
    )]
    Modes {
        /// The interface that is to be without copies.
        without: String,
        /// The one that is not.
        with: String,
    },
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
    /// Privileges that were to be given up.
    #[error("cannot give up privileges: {0}")]
    Unprivileged(io::Error),
    /// Neither backend.
    #[error("no AF_XDP: {xdp}; and no AF_PACKET instead: {packet}")]
    Neither {
        /// Why not the one.
        xdp: Box<OpenError>,
        /// Why not the other.
        packet: Box<OpenError>,
    },
}

impl OpenError {
    /// Whether there is no AF_XDP here for us, so that another backend is worth trying; what somebody else
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

/// Opens these interfaces, with one steering for all.
///
/// # Errors
/// [`OpenError`], and everything is as before.
pub fn open(backend: Backend, options: &Options<'_>) -> Result<Ports, OpenError> {
    match backend {
        Backend::Xdp => Ok(open_xdp(options)?.steered(boxed)),
        Backend::Packet => packet::open(options),
        Backend::Auto => match open_xdp(options) {
            Ok(ports) => Ok(ports.steered(boxed)),
            Err(why) if why.is_for_want_of_xdp() => fall_back(options, why),
            Err(error) => Err(error),
        },
    }
}

fn boxed(steering: XdpSteering) -> Box<dyn Steering> {
    Box::new(steering)
}

/// The same on AF_XDP or not at all, steered by the classifier itself.
///
/// # Errors
/// As [`open`].
pub fn open_xdp(options: &Options<'_>) -> Result<Ports<XdpSteering>, OpenError> {
    let together = xdp::open(options, xdp::Serving::All)?;
    Ok(together.steered(|mut one| one.swap_remove(0)))
}

/// The same with a steering of its own for each interface: what is claimed on one says nothing of the next.
///
/// # Errors
/// As [`open`].
pub fn open_xdp_apart(options: &Options<'_>) -> Result<Ports<Vec<XdpSteering>>, OpenError> {
    xdp::open(options, xdp::Serving::Each)
}

/// What there is in place of AF_XDP.
fn fall_back(options: &Options<'_>, why: OpenError) -> Result<Ports, OpenError> {
    match packet::open(options) {
        Ok(ports) => Ok(Ports { instead: Some(why), ..ports }),
        Err(error) => Err(OpenError::Neither { xdp: Box::new(why), packet: Box::new(error) }),
    }
}
