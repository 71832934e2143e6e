//! AF_XDP, with the classifier in front of it.
//!
//! The classifier is attached before the sockets are bound (some drivers need that) but claims nothing
//! until it is enabled, so while the router starts the kernel forwards as before.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use ipnet::Ipv4Net;
use netlink_sys::protocols::NETLINK_ROUTE;
use spine_fib::protocol::FORWARD;
use spine_nic::Nic;
use spine_nic::buffer::{Frame, FrameMemory};
use spine_nic::layer::multiqueue::MultiQueue;
use spine_nic::punt::inject::KernelEndpoint;
use spine_nic::xdp::attach::{AttachError, AttachMode, Classifier as Attached};
use spine_nic::xdp::{Rings, SharedUmem, XdpError, XdpNic, XdpOptions, queues};
use spine_xdp_progs::Port;

use super::{
    Gate, Interface, LENT, ON_THE_WAY, Options, PortClaim, Wire, WireError, Wires, XdpChoice,
    frame_bytes,
};
use crate::claims::{Classifier, ClassifierError};
use crate::netlink::decode::{self, RTM_GETLINK};
use crate::netlink::socket::{NetlinkError, NetlinkSocket};
use crate::netlink::state::{Change, IfIndex};

/// The attached classifier, and what it was told of each adapter's interface.
struct Ports {
    attached: Attached,
    ports: Vec<(u32, Port)>,
}

/// Entries of a ring, at most.
const LONGEST_RING: u32 = 16384;

/// Opens the wires; nothing is claimed yet.
pub(super) fn open(options: &Options<'_>) -> Result<Wires, WireError> {
    match open_with(options, true) {
        // Sockets that share frames all work without copies or none does.
        Err(WireError::Socket(XdpError::MixedModes { .. })) => open_with(options, false),
        result => result,
    }
}

fn open_with(options: &Options<'_>, zero_copy: bool) -> Result<Wires, WireError> {
    let mut attached = if options.times { Attached::load_timed()? } else { Attached::load()? };
    let kernel = KernelEndpoint::start()?;
    let (memory, dealt, umem) = frames(options)?;

    let veths = veths()?;
    let mut wires = Vec::new();
    let mut ports = Vec::new();
    let mut next_socket = 0;
    for (interface, frames) in options.interfaces.iter().zip(dealt) {
        let (ifindex, mode) = attach(&mut attached, &interface.name, options.mode)?;
        let sockets = sockets(&umem, interface, mode, zero_copy)?;
        let port = Port {
            first_socket: next_socket,
            queues: u32::try_from(sockets.len()).unwrap_or(u32::MAX),
            mac: interface.mac,
            handler: FORWARD,
            enabled: false,
            unfinished_checksums: veths.contains(&ifindex),
        };
        for socket in &sockets {
            attached.set_socket(next_socket, socket)?;
            next_socket += 1;
        }
        attached.set_port(ifindex, port)?;
        ports.push((ifindex, port));
        wires.push(Wire { ifindex, nic: join(sockets, interface)?, frames });
    }
    let gate = Box::new(Ports { attached, ports });
    Ok(Wires { memory, wires, kernel, gate, finishes_checksums: false, instead: None })
}

/// The frames of all adapters, in one memory that every socket shares.
#[expect(clippy::type_complexity, reason = "as SharedUmem makes them")]
fn frames(
    options: &Options<'_>,
) -> Result<(Arc<FrameMemory>, Vec<Vec<Frame>>, SharedUmem), WireError> {
    let mut all_queues = 0;
    let mut most_queues = 1;
    for interface in options.interfaces {
        let count = queues(&interface.name)?;
        all_queues += count;
        most_queues = most_queues.max(count);
    }
    let frame_bytes = frame_bytes(options.interfaces)?;
    if all_queues > spine_xdp_progs::SOCKETS {
        return Err(WireError::Queues(all_queues));
    }
    let each = options.frames.unwrap_or(most_queues * LENT + ON_THE_WAY);
    let adapters = u16::try_from(options.interfaces.len()).unwrap_or(u16::MAX);
    let all = each.saturating_mul(u32::from(adapters));
    Ok(SharedUmem::with_rings(all, frame_bytes, adapters, rings(each / most_queues))?)
}

/// Rings that leave half of a queue's frames for what is on its way: longer ones bridge longer stalls.
fn rings(frames: u32) -> Rings {
    let usual = Rings::default();
    let mut length = usual.receive;
    while length * 4 <= frames && length < LONGEST_RING {
        length *= 2;
    }
    Rings { receive: length, fill: length, ..usual }
}

/// The interfaces whose peer leaves checksums undone that no card will do, so that what the extension
/// cannot complete goes to the kernel.
fn veths() -> Result<BTreeSet<IfIndex>, NetlinkError> {
    /// struct ifinfomsg.
    const HEADER_BYTES: usize = 16;
    let mut socket = NetlinkSocket::open(NETLINK_ROUTE)?;
    let veths = socket.dump("interfaces", RTM_GETLINK, &[0; HEADER_BYTES], |raw| {
        match decode::change(raw, true) {
            Some(Change::Link(index, Some(link))) => {
                (link.kind.as_deref() == Some("veth")).then_some(index)
            }
            _ => None,
        }
    })?;
    Ok(veths.into_iter().collect())
}

fn attach(
    classifier: &mut Attached,
    interface: &str,
    choice: XdpChoice,
) -> Result<(u32, AttachMode), WireError> {
    if choice != XdpChoice::Generic {
        match classifier.attach(interface, AttachMode::Native) {
            Ok(ifindex) => return Ok((ifindex, AttachMode::Native)),
            Err(AttachError::Refused { .. }) if choice == XdpChoice::Auto => {
                tracing::info!(interface, "the driver has no XDP; generic mode is used");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok((classifier.attach(interface, AttachMode::Generic)?, AttachMode::Generic))
}

fn sockets(
    umem: &SharedUmem,
    interface: &Interface,
    attached: AttachMode,
    zero_copy: bool,
) -> Result<Vec<XdpNic>, WireError> {
    let options = |queue| XdpOptions { interface: &interface.name, queue, attached, zero_copy };
    let bind = |queue| Ok(XdpNic::bind(umem, &options(queue))?);
    (0..queues(&interface.name)?).map(bind).collect()
}

/// An interface's sockets as one wire.
fn join(mut sockets: Vec<XdpNic>, interface: &Interface) -> Result<Box<dyn Nic>, WireError> {
    let others = sockets.split_off(1.min(sockets.len()));
    let first = sockets.pop().ok_or_else(|| XdpError::NoQueue {
        interface: interface.name.clone(),
        queue: 0,
        queues: 0,
    })?;
    Ok(if others.is_empty() { Box::new(first) } else { Box::new(MultiQueue::new(first, others)) })
}

fn refused(error: AttachError) -> ClassifierError {
    ClassifierError(error.to_string())
}

impl Gate for Ports {
    fn claim_port(&mut self, claim: PortClaim) -> Result<(), WireError> {
        Ok(self.attached.claim_port(claim.address, claim.port, claim.handler)?)
    }

    fn set_all_enabled(&mut self, enabled: bool) -> Result<(), WireError> {
        Ok(self.attached.set_enabled(enabled)?)
    }

    fn counters(&self) -> Result<Vec<(&'static str, u64)>, WireError> {
        let counters = self.attached.counters()?;
        Ok(counters.into_iter().map(|(counter, count)| (counter.name(), count)).collect())
    }
}

impl Classifier for Ports {
    fn set_claim(&mut self, prefix: Ipv4Net, ours: bool) -> Result<(), ClassifierError> {
        self.attached.set_claim(prefix.network(), prefix.prefix_len(), ours).map_err(refused)
    }

    fn remove_claim(&mut self, prefix: Ipv4Net) -> Result<(), ClassifierError> {
        self.attached.remove_claim(prefix.network(), prefix.prefix_len()).map_err(refused)
    }

    fn set_address(&mut self, address: Ipv4Addr) -> Result<(), ClassifierError> {
        self.attached.set_address(address).map_err(refused)
    }

    fn remove_address(&mut self, address: Ipv4Addr) -> Result<(), ClassifierError> {
        self.attached.remove_address(address).map_err(refused)
    }

    fn set_enabled(&mut self, interface: IfIndex, enabled: bool) -> Result<(), ClassifierError> {
        self.change(interface, |port| port.enabled = enabled)
    }

    fn set_mac(&mut self, interface: IfIndex, mac: [u8; 6]) -> Result<(), ClassifierError> {
        self.change(interface, |port| port.mac = mac)
    }
}

impl Ports {
    /// Changes what the classifier was told of an interface.
    fn change(
        &mut self,
        interface: IfIndex,
        change: impl FnOnce(&mut Port),
    ) -> Result<(), ClassifierError> {
        let Some((_, port)) = self.ports.iter_mut().find(|(ifindex, _)| *ifindex == interface)
        else {
            return Err(ClassifierError(format!("interface {interface} has no adapter")));
        };
        change(port);
        self.attached.set_port(interface, *port).map_err(refused)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_are_longer_where_there_are_frames_for_it() {
        for (frames, length) in
            [(256, 2048), (6144, 2048), (8192, 4096), (32768, 16384), (1 << 18, 16384)]
        {
            assert_eq!(rings(frames).receive, length, "{frames} frames");
        }
    }
}
