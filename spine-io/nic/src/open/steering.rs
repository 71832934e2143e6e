//! Steering: which packets of an opened interface are an adapter's, and which the kernel's.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use spine_abi::HandlerNumber;
use spine_xdp_progs::{Ingresses, Kept};

use crate::netlink::socket::NetlinkError;
use crate::xdp::attach::AttachError;

/// Packets to a UDP port, and whose they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortClaim {
    /// The address they are sent to: one of this machine's, a group, or 0.0.0.0 for any unicast address.
    pub address: Ipv4Addr,
    /// The port.
    pub port: u16,
    /// The handler they are for.
    pub handler: HandlerNumber,
}

/// Why packets are not steered as they should be.
#[derive(Debug, thiserror::Error)]
pub enum SteeringError {
    /// The classifier's maps could not be written or read.
    #[error(transparent)]
    Classifier(#[from] AttachError),
    /// The rules that keep packets from the kernel.
    #[error(transparent)]
    Rules(#[from] NetlinkError),
    /// The filter that shows packets to a socket.
    #[error("cannot filter what an AF_PACKET socket receives: {0}")]
    Filter(#[from] std::io::Error),
    /// More addresses than a filter holds.
    #[error("there are more than {0} addresses")]
    Addresses(usize),
    /// More sets of packets that the kernel keeps than the classifier holds for an interface.
    #[error("the kernel keeps {0} sets of packets, and the classifier knows {most} at most", most = spine_xdp_progs::KEPT)]
    Kept(usize),
    /// It was not opened.
    #[error("interface {0} has no adapter")]
    NoPort(u32),
    /// What this backend cannot do.
    #[error("{0} cannot be claimed on AF_PACKET: --nic xdp can")]
    Unsupported(&'static str),
}

/// What keeps the packets of adapters and kernel apart on the interfaces that were opened with it.
///
/// Nothing is an adapter's before [`set_all_enabled`](Self::set_all_enabled), and all is the kernel's again
/// when this is dropped.
pub trait Steering {
    /// Lets adapters have packets at all (`true`), or gives the kernel every one (`false`, as at first).
    ///
    /// # Errors
    /// [`SteeringError`].
    fn set_all_enabled(&mut self, enabled: bool) -> Result<(), SteeringError>;

    /// IPv4 packets received on this interface are claimed by their destination at all; none is, at first.
    ///
    /// # Errors
    /// [`SteeringError`].
    fn set_enabled(&mut self, interface: u32, enabled: bool) -> Result<(), SteeringError>;

    /// Nothing of what this interface receives will be the adapters' for a while (`false`), or something will be (`true`, as at
    /// first): where a program attached for nothing costs others something it is taken off meanwhile.
    ///
    /// # Errors
    /// [`SteeringError`]: what it receives stays the kernel's.
    fn set_needed(&mut self, interface: u32, needed: bool) -> Result<(), SteeringError> {
        let _ = (interface, needed);
        Ok(())
    }

    /// The same for IPv6.
    ///
    /// # Errors
    /// [`SteeringError`], [`Unsupported`](SteeringError::Unsupported) among others, unless it is switched off.
    fn set_enabled_ipv6(&mut self, interface: u32, enabled: bool) -> Result<(), SteeringError> {
        let _ = interface;
        if enabled { Err(SteeringError::Unsupported("IPv6")) } else { Ok(()) }
    }

    /// Whether IPv6 packets can be an adapter's. Where they cannot, what is said of IPv6 prefixes and addresses is of no
    /// consequence.
    fn knows_ipv6(&self) -> bool {
        false
    }

    /// The interface has this link-layer address now: only packets sent to it are claimed.
    ///
    /// # Errors
    /// [`SteeringError`].
    fn set_mac(&mut self, interface: u32, mac: [u8; 6]) -> Result<(), SteeringError>;

    /// Packets to a prefix are the adapters' if they come in on one of these interfaces (their numbers are the order in
    /// which they were opened), unless a longer prefix says otherwise.
    ///
    /// # Errors
    /// [`SteeringError`], a full map among others.
    fn set_claim(&mut self, prefix: IpNet, from: Ingresses) -> Result<(), SteeringError>;

    /// Whether prefixes are looked at; otherwise all destinations are the adapters', and an extension gives back what
    /// has no way out.
    fn knows_destinations(&self) -> bool;

    /// How many sets of packets it can leave to the kernel of what one interface receives.
    fn most_kept(&self) -> usize;

    /// Of what is received on this interface these are the kernel's, wherever they go; in place of what was said before.
    ///
    /// # Errors
    /// [`SteeringError`], [`Unsupported`](SteeringError::Unsupported) among others, unless `sets` is empty.
    fn set_kept(&mut self, interface: u32, sets: &[Kept]) -> Result<(), SteeringError>;

    /// The same of IPv6.
    ///
    /// # Errors
    /// As [`set_kept`](Self::set_kept).
    fn set_kept_ipv6(
        &mut self,
        interface: u32,
        sets: &[Kept<Ipv6Addr>],
    ) -> Result<(), SteeringError> {
        let _ = interface;
        if sets.is_empty() { Ok(()) } else { Err(SteeringError::Unsupported("IPv6")) }
    }

    /// Packets that the kernel kept so, by [`Kept::counter`]; none where nobody counts.
    ///
    /// # Errors
    /// [`SteeringError`].
    fn kept_packets(&self, counter: u32) -> Result<u64, SteeringError>;

    /// Nothing is said of this prefix any more.
    ///
    /// # Errors
    /// [`SteeringError`].
    fn remove_claim(&mut self, prefix: IpNet) -> Result<(), SteeringError>;

    /// This is an address of this machine, or a broadcast address of its links: the kernel's.
    ///
    /// # Errors
    /// [`SteeringError`], a full map among others.
    fn set_address(&mut self, address: IpAddr) -> Result<(), SteeringError>;

    /// It is not any more.
    ///
    /// # Errors
    /// [`SteeringError`].
    fn remove_address(&mut self, address: IpAddr) -> Result<(), SteeringError>;

    /// Gives packets to a UDP port to a handler, whatever is claimed by destination.
    ///
    /// # Errors
    /// [`SteeringError`]; nothing is claimed then.
    fn claim_port(&mut self, claim: PortClaim) -> Result<(), SteeringError>;

    /// Packets by what became of them, by the name of the counter, since this was opened; nothing where the
    /// kernel does not count.
    ///
    /// # Errors
    /// [`SteeringError`].
    fn counters(&self) -> Result<Vec<(&'static str, u64)>, SteeringError>;
}
