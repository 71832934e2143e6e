//! AF_PACKET: without AF_XDP and BPF, on any Ethernet interface, also without root in a namespace of
//! one's own.
//!
//! The kernel gets every packet, too. What is the adapter's ([`claim`]) is dropped for the kernel by a
//! rule at the interface's ingress that ends with this process ([`hook`]), and nothing else reaches the
//! adapter ([`filter`]); what the extension cannot forward goes back in by an interface made for that
//! ([`entrance`]). So each packet arrives exactly once. Where the two sides change, one after the other,
//! the order is such that a packet in between is lost rather than doubled.
//!
//! Where UDP ports alone are claimed ([`ports`]) the kernel keeps its copy: nobody forwards it.

mod claim;
mod entrance;
mod filter;
mod hook;
mod ports;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use ipnet::IpNet;
use spine_xdp_progs::{Ingresses, Kept};

use self::entrance::Entrance;
pub use self::entrance::EntranceError;
use self::hook::Hook;
pub use self::hook::table_name;
use self::ports::PortSteering;
use super::{
    Claims, Interface, OpenError, Options, Port, PortClaim, Ports, Steering, SteeringError, frames,
};
use crate::buffer::{Frame, FrameMemory};
use crate::packet::{FilterInstruction, PacketFilter, PacketNic};
use crate::punt::inject::KernelEndpoint;

/// Opens the ports; all packets are the kernel's yet.
pub(super) fn open(options: &Options<'_>) -> Result<Ports, OpenError> {
    frames::refuse_longer(options.interfaces)?;
    let bytes = frames::bytes(options.interfaces, |_| false);
    refuse_xdp(options.interfaces)?;
    if let Some(unprivileged) = options.unprivileged {
        unprivileged().map_err(OpenError::Unprivileged)?;
    }
    let punt = options.punts.then(punt).transpose()?;
    let adapters = u16::try_from(options.interfaces.len()).unwrap_or(u16::MAX);
    // One socket receives whatever queue a packet came by.
    let all = options.frames.of(1).saturating_mul(u32::from(adapters));
    let (memory, dealt) = FrameMemory::anonymous(all, bytes, adapters)?;
    let (mut ports, mut filters) = (Vec::new(), Vec::new());
    for (interface, frames) in options.interfaces.iter().zip(dealt) {
        let (port, filter) = port(options, interface, frames, &memory)?;
        ports.push(port);
        filters.push((interface.clone(), filter));
    }
    let steering: Box<dyn Steering> = match options.claims {
        Claims::Destinations => Box::new(PacketSteering::new(filters)?),
        Claims::Ports => {
            Box::new(PortSteering::new(filters.into_iter().map(|(_, filter)| filter).collect()))
        }
    };
    Ok(Ports { memory, ports, punt, steering, instead: None, gap: None, copies: None, fewer: None })
}

fn punt() -> Result<KernelEndpoint, OpenError> {
    Ok(KernelEndpoint::through(Entrance::open()?)?)
}

/// One interface's socket, which is shown nothing yet, and the filter that says what it is shown.
fn port(
    options: &Options<'_>,
    interface: &Interface,
    frames: Vec<Frame>,
    memory: &Arc<FrameMemory>,
) -> Result<(Port, PacketFilter), OpenError> {
    let nic = PacketNic::open_filtered(&interface.name, Arc::clone(memory), &filter::CLOSED)?;
    if options.times {
        nic.time_arrivals().map_err(OpenError::Times)?;
    }
    let filter = nic.filter().map_err(OpenError::Filter)?;
    let port = Port {
        interface: interface.clone(),
        nic: Box::new(nic),
        frames,
        ring: None,
        // The kernel tells which they are, and the backend completes them.
        unfinished_checksums: false,
        hidden_tags: false,
        longest: None,
        slower: None,
    };
    Ok((port, filter))
}

/// An XDP program sees packets before packet sockets do; one of another router takes them all.
fn refuse_xdp(interfaces: &[Interface]) -> Result<(), OpenError> {
    match interfaces.iter().find(|interface| interface.xdp_program.is_some()) {
        Some(interface) => Err(OpenError::Xdp(interface.name.clone())),
        None => Ok(()),
    }
}

/// Tells a socket's filter.
fn show(filter: &PacketFilter, program: &[FilterInstruction]) -> Result<(), SteeringError> {
    Ok(filter.set(program)?)
}

/// One interface, and what was said of it.
struct Gate {
    interface: Interface,
    filter: PacketFilter,
    is_enabled: bool,
}

/// Tells both sides, filter and rules, what is the adapters'.
struct PacketSteering {
    hook: Hook,
    gates: Vec<Gate>,
    addresses: BTreeSet<Ipv4Addr>,
    is_open: bool,
}

impl PacketSteering {
    fn new(filters: Vec<(Interface, PacketFilter)>) -> Result<Self, OpenError> {
        let hook = Hook::open(filters.iter().map(|(interface, _)| interface.name.as_str()))?;
        let gate = |(interface, filter)| Gate { interface, filter, is_enabled: false };
        let gates = filters.into_iter().map(gate).collect();
        Ok(Self { hook, gates, addresses: BTreeSet::new(), is_open: false })
    }

    /// Brings both sides up to date for one interface.
    fn apply(&mut self, gate: usize) -> Result<(), SteeringError> {
        let Some(Gate { interface, filter, is_enabled }) = self.gates.get(gate) else {
            return Ok(());
        };
        if !(self.is_open && *is_enabled) {
            show(filter, &filter::CLOSED)?;
            return Ok(self.hook.set(&interface.name, None)?);
        }
        let tests = claim::tests(interface.mac, interface.mtu);
        self.hook.set(&interface.name, Some(&tests))?;
        show(filter, &filter::program(&tests, &self.addresses))
    }

    /// Changes what was said of an interface.
    fn change(
        &mut self,
        interface: u32,
        change: impl FnOnce(&mut Gate),
    ) -> Result<(), SteeringError> {
        let found = self.gates.iter().position(|gate| gate.interface.index == interface);
        let gate = found.ok_or(SteeringError::NoPort(interface))?;
        change(&mut self.gates[gate]);
        self.apply(gate)
    }

    /// Tells the filters which addresses are ours.
    fn filter_again(&self) -> Result<(), SteeringError> {
        for Gate { interface, filter, is_enabled } in &self.gates {
            if self.is_open && *is_enabled {
                let tests = claim::tests(interface.mac, interface.mtu);
                show(filter, &filter::program(&tests, &self.addresses))?;
            }
        }
        Ok(())
    }
}

impl Steering for PacketSteering {
    fn set_all_enabled(&mut self, enabled: bool) -> Result<(), SteeringError> {
        self.is_open = enabled;
        (0..self.gates.len()).try_for_each(|gate| self.apply(gate))
    }

    fn set_enabled(&mut self, interface: u32, enabled: bool) -> Result<(), SteeringError> {
        self.change(interface, |gate| gate.is_enabled = enabled)
    }

    fn set_mac(&mut self, interface: u32, mac: [u8; 6]) -> Result<(), SteeringError> {
        self.change(interface, |gate| gate.interface.mac = mac)
    }

    /// Routes are not looked at here: what has no way out of ours, the extension gives to the kernel.
    fn set_claim(&mut self, _prefix: IpNet, _from: Ingresses) -> Result<(), SteeringError> {
        Ok(())
    }

    fn set_kept(&mut self, _interface: u32, sets: &[Kept]) -> Result<(), SteeringError> {
        if sets.is_empty() {
            return Ok(());
        }
        Err(SteeringError::Unsupported("a part of what an interface receives"))
    }

    fn kept_packets(&self, _counter: u32) -> Result<u64, SteeringError> {
        Ok(0)
    }

    fn knows_destinations(&self) -> bool {
        false
    }

    fn most_kept(&self) -> usize {
        0
    }

    fn remove_claim(&mut self, _prefix: IpNet) -> Result<(), SteeringError> {
        Ok(())
    }

    /// Of IPv6 nothing is taken from the kernel here, so there is nothing to leave to it.
    fn set_address(&mut self, address: IpAddr) -> Result<(), SteeringError> {
        let IpAddr::V4(address) = address else { return Ok(()) };
        if self.addresses.len() >= claim::ADDRESSES {
            // Neither side knows it: the extension does, and gives its packets to the kernel.
            return Err(SteeringError::Addresses(claim::ADDRESSES));
        }
        self.addresses.insert(address);
        self.filter_again()?;
        Ok(self.hook.set_address(address, true)?)
    }

    fn remove_address(&mut self, address: IpAddr) -> Result<(), SteeringError> {
        let IpAddr::V4(address) = address else { return Ok(()) };
        if !self.addresses.remove(&address) {
            return Ok(());
        }
        self.hook.set_address(address, false)?;
        self.filter_again()
    }

    fn claim_port(&mut self, _claim: PortClaim) -> Result<(), SteeringError> {
        Err(SteeringError::Unsupported("UDP ports beside destinations"))
    }

    fn counters(&self) -> Result<Vec<(&'static str, u64)>, SteeringError> {
        Ok(Vec::new())
    }
}
