//! AF_PACKET: without AF_XDP and BPF, on any Ethernet interface, also without root in a namespace of
//! one's own.
//!
//! The kernel gets every packet, too. What is the adapter's ([`claim`]) is dropped for the kernel by a
//! rule at the interface's ingress that ends with this process ([`hook`]), and nothing else reaches the
//! adapter ([`filter`]); what the extension cannot forward goes back in by an interface made for that
//! ([`entrance`]). So each packet arrives exactly once. Where the two sides change, one after the other,
//! the order is such that a packet in between is lost rather than doubled.

mod claim;
mod entrance;
mod filter;
mod hook;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use netlink_packet_core::Parseable as _;
use netlink_packet_route::link::{LinkAttribute, LinkMessage, LinkXdp};
use netlink_sys::protocols::NETLINK_ROUTE;
use spine_nic::buffer::FrameMemory;
use spine_nic::packet::{PacketFilter, PacketNic};
use spine_nic::punt::inject::KernelEndpoint;

use self::entrance::Entrance;
pub use self::entrance::EntranceError;
use self::hook::Hook;
use super::{Gate, Interface, LENT, ON_THE_WAY, Options, Wire, WireError, Wires, frame_bytes};
use crate::claims::{Classifier, ClassifierError};
use crate::netlink::decode::RTM_GETLINK;
use crate::netlink::socket::NetlinkSocket;
use crate::netlink::state::IfIndex;

/// The name of this process's nftables table, which is no obstacle to it.
pub(crate) fn table_name() -> String {
    hook::table_name()
}

/// Opens the wires; all packets are the kernel's yet.
pub(super) fn open(options: &Options<'_>) -> Result<Wires, WireError> {
    let bytes = frame_bytes(options.interfaces)?;
    refuse_xdp(options.interfaces)?;
    let kernel = KernelEndpoint::through(Entrance::open()?)?;
    let hook = Hook::open(options.interfaces.iter().map(|interface| interface.name.as_str()))?;
    let adapters = u16::try_from(options.interfaces.len()).unwrap_or(u16::MAX);
    let frames = options.frames.unwrap_or(LENT + ON_THE_WAY).saturating_mul(u32::from(adapters));
    let (memory, dealt) = FrameMemory::anonymous(frames, bytes, adapters)?;

    let (mut wires, mut ports) = (Vec::new(), Vec::new());
    for (interface, frames) in options.interfaces.iter().zip(dealt) {
        let (name, memory) = (&interface.name, Arc::clone(&memory));
        let nic = PacketNic::open_filtered(name, memory, &filter::CLOSED)?;
        if options.times {
            nic.time_arrivals().map_err(WireError::Times)?;
        }
        let filter = nic.filter().map_err(WireError::Filter)?;
        ports.push(Port { interface: interface.clone(), filter, is_enabled: false });
        wires.push(Wire { ifindex: interface.index, nic: Box::new(nic), frames });
    }
    let gate = PacketGate { hook, ports, addresses: BTreeSet::new(), is_open: false };
    let gate = Box::new(gate);
    Ok(Wires { memory, wires, kernel, gate, finishes_checksums: true, instead: None })
}

/// An XDP program sees packets before packet sockets do; one of another router takes them all.
fn refuse_xdp(interfaces: &[Interface]) -> Result<(), WireError> {
    /// struct ifinfomsg.
    const HEADER_BYTES: usize = 16;
    let mut socket = NetlinkSocket::open(NETLINK_ROUTE)?;
    let attached = socket.dump("interfaces", RTM_GETLINK, &[0; HEADER_BYTES], |raw| {
        let message = LinkMessage::parse(raw.payload).ok()?;
        has_xdp(&message).then_some(message.header.index)
    })?;
    match interfaces.iter().find(|interface| attached.contains(&interface.index)) {
        Some(interface) => Err(WireError::Xdp(interface.name.clone())),
        None => Ok(()),
    }
}

fn has_xdp(message: &LinkMessage) -> bool {
    message.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::Xdp(of) => of.iter().any(|of| matches!(of, LinkXdp::ProgId(id) if *id != 0)),
        _ => false,
    })
}

/// One interface, and what was said of it.
struct Port {
    interface: Interface,
    filter: PacketFilter,
    is_enabled: bool,
}

/// Tells both sides what is the adapters'.
struct PacketGate {
    hook: Hook,
    ports: Vec<Port>,
    addresses: BTreeSet<Ipv4Addr>,
    is_open: bool,
}

fn refused(error: impl std::fmt::Display) -> ClassifierError {
    ClassifierError(error.to_string())
}

impl PacketGate {
    /// Brings both sides up to date for one interface.
    fn apply(&mut self, port: usize) -> Result<(), ClassifierError> {
        let Some(Port { interface, filter, is_enabled }) = self.ports.get(port) else {
            return Ok(());
        };
        if !(self.is_open && *is_enabled) {
            filter.set(&filter::CLOSED).map_err(refused)?;
            return self.hook.set(&interface.name, None).map_err(refused);
        }
        let tests = claim::tests(interface.mac, interface.mtu);
        self.hook.set(&interface.name, Some(&tests)).map_err(refused)?;
        filter.set(&filter::program(&tests, &self.addresses)).map_err(refused)
    }

    /// Changes what was said of an interface.
    fn change(
        &mut self,
        interface: IfIndex,
        change: impl FnOnce(&mut Port),
    ) -> Result<(), ClassifierError> {
        let found = self.ports.iter().position(|port| port.interface.index == interface);
        let Some(port) = found else {
            return Err(ClassifierError(format!("interface {interface} has no adapter")));
        };
        change(&mut self.ports[port]);
        self.apply(port)
    }

    /// Tells the filters which addresses are ours.
    fn filter_again(&self) -> Result<(), ClassifierError> {
        for Port { interface, filter, is_enabled } in &self.ports {
            if self.is_open && *is_enabled {
                let tests = claim::tests(interface.mac, interface.mtu);
                filter.set(&filter::program(&tests, &self.addresses)).map_err(refused)?;
            }
        }
        Ok(())
    }
}

impl Gate for PacketGate {
    fn set_all_enabled(&mut self, enabled: bool) -> Result<(), WireError> {
        self.is_open = enabled;
        (0..self.ports.len()).try_for_each(|port| self.apply(port)).map_err(WireError::Gate)
    }

    fn counters(&self) -> Result<Vec<(&'static str, u64)>, WireError> {
        Ok(Vec::new())
    }
}

impl Classifier for PacketGate {
    /// Routes are not looked at here: what has no way out of ours, the extension gives to the kernel.
    fn set_claim(&mut self, _prefix: Ipv4Net, _ours: bool) -> Result<(), ClassifierError> {
        Ok(())
    }

    fn remove_claim(&mut self, _prefix: Ipv4Net) -> Result<(), ClassifierError> {
        Ok(())
    }

    fn set_address(&mut self, address: Ipv4Addr) -> Result<(), ClassifierError> {
        if self.addresses.len() >= claim::ADDRESSES {
            // Neither side knows it: the extension does, and gives its packets to the kernel.
            return Err(ClassifierError(format!(
                "there are more than {} addresses",
                claim::ADDRESSES
            )));
        }
        self.addresses.insert(address);
        self.filter_again()?;
        self.hook.set_address(address, true).map_err(refused)
    }

    fn remove_address(&mut self, address: Ipv4Addr) -> Result<(), ClassifierError> {
        if !self.addresses.remove(&address) {
            return Ok(());
        }
        self.hook.set_address(address, false).map_err(refused)?;
        self.filter_again()
    }

    fn set_enabled(&mut self, interface: IfIndex, enabled: bool) -> Result<(), ClassifierError> {
        self.change(interface, |port| port.is_enabled = enabled)
    }

    fn set_mac(&mut self, interface: IfIndex, mac: [u8; 6]) -> Result<(), ClassifierError> {
        self.change(interface, |port| port.interface.mac = mac)
    }
}
