//! Endpoints on other machines: who they are, and how an adapter reaches them (SPINE 8).
//!
//! They are in the configuration, with the key that each shares with us, and stay the same until the daemon is
//! started again. To extensions they are peers whose numbers follow those of the adapters; to people they have
//! names. Who may send them messages, the policy says; who may send us some, their key does.
//!
//! Left out: a next hop, or a link-layer address of ours, that changes while the daemon runs, and IPv6.

pub(crate) mod config;
mod route;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};

use spine_abi::HandlerNumber;
use spine_client::daemon::protocol::PeerInfo;
use spine_nic::xdp::attach::{AttachError, Classifier};
use spine_remote::{PairKey, PeeringStatistics, RemoteAddress, RemoteSetup};

/// What packets of strangers to the port of messages between machines are stamped with: the number of no handler.
const NOBODY: HandlerNumber = HandlerNumber(u16::MAX);

/// An endpoint on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) name: String,
    /// The position of the interface it is reached by.
    pub(crate) wire: usize,
    /// Its number among the peers of that interface.
    pub(crate) place: usize,
    pub(crate) address: Address,
}

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Address {
    /// On the link.
    Link([u8; 6]),
    /// Beyond it, by UDP: their address and port, our port, and the next hop if the configuration has it.
    Udp { to: SocketAddrV4, port: u16, next_hop: Option<[u8; 6]> },
}

/// A peer and the key shared with it: what an adapter is given.
#[derive(Debug, Clone)]
pub(crate) struct Configured {
    pub(crate) peer: Peer,
    pub(crate) key: PairKey,
}

/// Why a peer cannot be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("{interface} has no address that packets to the peer {peer} could come from")]
    NoAddress { peer: String, interface: String },
    #[error(
        "no route to the peer {peer} ({to}) leaves by {interface}: see `ip route get {to}`, or name the next hop (next_hop = \"its link-layer address\")"
    )]
    NoRoute { peer: String, interface: String, to: Ipv4Addr },
    #[error(
        "the next hop to the peer {peer} is {hop}, and it does not say its link-layer address on {interface}: is it there (`ip neigh`)? next_hop = \"...\" names it"
    )]
    NoNextHop { peer: String, interface: String, hop: Ipv4Addr },
    #[error("cannot look for the way to the peer {peer}: {error}")]
    System { peer: String, error: std::io::Error },
    #[error(transparent)]
    Classifier(#[from] AttachError),
}

impl Configured {
    /// What the adapter on an interface with this link-layer address is to know of it.
    ///
    /// # Errors
    /// [`PeerError`]: one beyond the link cannot be reached now.
    pub(crate) fn setup(&self, interface: &str, ours: [u8; 6]) -> Result<RemoteSetup, PeerError> {
        let address = match self.peer.address {
            Address::Link(theirs) => RemoteAddress::Link { ours, theirs },
            Address::Udp { to, port, next_hop } => {
                let way = route::to(&self.peer.name, interface, *to.ip(), next_hop)?;
                let from = SocketAddrV4::new(way.from, port);
                RemoteAddress::Udp { ours, next_hop: way.next_hop, from, to }
            }
        };
        Ok(RemoteSetup { address, key: self.key.clone() })
    }
}

/// Has the classifier give an adapter what its peers send; answers the UDP ports that are theirs.
///
/// # Errors
/// [`PeerError::Classifier`].
pub(crate) fn claim(
    classifier: &mut Classifier,
    setups: &[RemoteSetup],
) -> Result<Vec<u16>, PeerError> {
    let mut ports = Vec::new();
    for setup in setups {
        match setup.address {
            RemoteAddress::Link { .. } => classifier.set_hosts(true)?,
            RemoteAddress::Udp { from, .. } => {
                classifier.claim_port(*from.ip(), from.port(), NOBODY)?;
                ports.push(from.port());
            }
        }
    }
    Ok(ports)
}

/// Which of an interface's peers these names are, a bit each.
///
/// # Errors
/// A sentence: one is not known there.
pub(crate) fn places(peers: &[Peer], wire: usize, names: &[String]) -> Result<u64, String> {
    let here = || peers.iter().filter(|peer| peer.wire == wire);
    names.iter().try_fold(0, |places, name| match here().find(|peer| peer.name == *name) {
        Some(peer) => Ok(places | 1 << peer.place),
        None => {
            let known: Vec<&str> = here().map(|peer| peer.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            Err(format!("spined knows no peer {name:?} on that interface; it knows {known}"))
        }
    })
}

impl Peer {
    /// What clients are told of it; `adapters` is how many of ours come before the peers.
    pub(crate) fn describe(
        &self,
        interface: &str,
        adapters: usize,
        counted: PeeringStatistics,
    ) -> PeerInfo {
        PeerInfo {
            name: self.name.clone(),
            interface: interface.to_owned(),
            number: u16::try_from(adapters + self.place).unwrap_or(u16::MAX),
            address: self.address.to_string(),
            sent: counted.sent,
            received: counted.received,
            waiting: counted.waiting,
            refused: counted.refused,
            resent: counted.resent,
            duplicates: counted.duplicates,
            lost: counted.lost,
            sessions: counted.sessions,
            other_version: counted.other_version,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link([a, b, c, d, e, g]) => {
                write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
            }
            Self::Udp { to, .. } => to.fmt(f),
        }
    }
}
