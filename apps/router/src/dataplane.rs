//! The data path: adapters on AF_XDP, the classifier in front of them, the kernel behind them.
//!
//! Opened closed: the classifier is attached before the sockets are bound (some drivers need that) but
//! claims nothing until it is enabled, so while the router starts the kernel forwards as before. What
//! fails undoes everything before it, because everything here ends when it is dropped.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ipnet::Ipv4Net;
use netlink_sys::protocols::NETLINK_ROUTE;
use spine_abi::{Message, Notice, Reason};
use spine_fib::protocol::FORWARD;
use spine_io::buffer::{Frame, FrameMemory};
use spine_io::endpoint::kernel::{self, KernelCounts, KernelEndpoint};
use spine_io::nic::Nic;
use spine_io::nic::capture::{Capture, CaptureOptions, wall_clock};
use spine_io::nic::multiqueue::MultiQueue;
use spine_io::nic::xdp::attach::{AttachError, AttachMode, Classifier as Attached};
use spine_io::nic::xdp::{SharedUmem, XdpError, XdpNic, XdpOptions, queues};
use spine_io::{AdapterSetup, Budget, Machine, RegionSource, TrustedKey};
use spine_os::memory::{Region, RegionError};
use spine_os::probe::BudgetTimes;
use spine_xdp_progs::{Counter, Port};

use crate::adapters::{Adapter, AdapterError, AdapterStatistics};
use crate::claims::{Classifier, ClassifierError};
use crate::netlink::decode::{self, RTM_GETLINK};
use crate::netlink::socket::{NetlinkError, NetlinkSocket};
use crate::netlink::state::{Change, IfIndex};

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
    /// Its name.
    pub name: String,
    /// Its link-layer address.
    pub mac: [u8; 6],
    /// Its MTU.
    pub mtu: u32,
}

/// How to open the data path.
#[derive(Debug)]
pub struct Options<'a> {
    /// The interfaces; an adapter's index is its interface's position.
    pub interfaces: &'a [Interface],
    /// One processor for each; adapters are dealt out to them in turn.
    pub cores: &'a [Option<usize>],
    /// Frames for each adapter; `None`: what its queues need.
    pub frames: Option<u32>,
    /// Which way packets come.
    pub mode: XdpChoice,
    /// Where to capture packets: the name of the interface is put in front of the extension.
    pub capture: Option<&'a Path>,
    /// The linker whose images the adapters run.
    pub key: TrustedKey,
}

/// Why there is no data path.
#[derive(Debug, thiserror::Error)]
pub enum DataPathError {
    /// The classifier.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// A socket.
    #[error(transparent)]
    Socket(#[from] XdpError),
    /// The way to the kernel.
    #[error(transparent)]
    Kernel(#[from] spine_io::endpoint::kernel::KernelError),
    /// A processor.
    #[error(transparent)]
    Machine(#[from] spine_io::MachineError),
    /// A capture file.
    #[error(transparent)]
    Capture(#[from] spine_io::nic::capture::CaptureError),
    /// An extension.
    #[error(transparent)]
    Load(#[from] spine_io::LoadError),
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
    /// Which interfaces are veths.
    #[error(transparent)]
    Links(#[from] NetlinkError),
    /// The probe's memory.
    #[error("cannot make the memory that a budget's time is measured on: {0}")]
    Probe(RegionError),
    /// A region's file.
    #[error("cannot share the table with an adapter: {0}")]
    Region(std::io::Error),
}

/// What an open data path consists of. The fields' order is the order in which they end: first
/// nothing is claimed any more, then the adapters stop, then the kernel gets what still waits.
pub struct DataPath {
    classifier: Rc<RefCell<Ports>>,
    machine: Rc<RefCell<Machine>>,
    kernel: KernelEndpoint,
    count: usize,
}

/// The attached classifier, and what it was told of each adapter's interface.
struct Ports {
    attached: Attached,
    ports: Vec<(u32, Port)>,
}

/// Bytes an Ethernet frame has beyond its MTU: header and one VLAN tag.
const LINK_BYTES: u32 = 14 + 4;
/// Bytes the kernel keeps free in front of a received packet (XDP_PACKET_HEADROOM).
const HEADROOM: u32 = 256;
/// Frames of each adapter that are on their way through the router, beside those lent to its queues.
const ON_THE_WAY: u32 = 4096;
/// Frames lent to each queue.
const LENT: u32 = 2048;

impl DataPath {
    /// Opens it; nothing is claimed yet.
    ///
    /// # Errors
    /// [`DataPathError`], and everything is as before.
    pub fn open(options: &Options<'_>) -> Result<Self, DataPathError> {
        match Self::open_with(options, true) {
            // Sockets that share frames all work without copies or none does.
            Err(DataPathError::Socket(XdpError::MixedModes { .. })) => {
                Self::open_with(options, false)
            }
            result => result,
        }
    }

    fn open_with(options: &Options<'_>, zero_copy: bool) -> Result<Self, DataPathError> {
        let mut attached = Attached::load()?;
        let kernel = KernelEndpoint::start()?;
        let (memory, dealt, umem) = frames(options)?;

        let veths = veths()?;
        let mut setups = Vec::new();
        let mut ports = Vec::new();
        let mut next_socket = 0;
        for ((index, interface), frames) in options.interfaces.iter().enumerate().zip(dealt) {
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
            setups.push(AdapterSetup {
                remotes: Vec::new(),
                nic: stack(sockets, interface, &memory, options.capture)?,
                frames,
                kernel: Some(Box::new(kernel.sender(ifindex))),
                unstamped: FORWARD,
                processor: index % options.cores.len().max(1),
            });
        }
        let machine = Machine::start(setups, &memory, options.cores, options.key)?;
        attached.set_enabled(true)?;
        Ok(Self {
            count: ports.len(),
            classifier: Rc::new(RefCell::new(Ports { attached, ports })),
            machine: Rc::new(RefCell::new(machine)),
            kernel,
        })
    }

    /// Loads the extension on every adapter, with the table as its region.
    ///
    /// # Errors
    /// [`DataPathError`]; adapters that have it already keep it.
    pub fn load(&self, image: &[u8], table: &Region) -> Result<(), DataPathError> {
        for adapter in self.machine.borrow().adapters() {
            let file = table.file().try_clone().map_err(DataPathError::Region)?;
            let region = RegionSource { file: file.into(), bytes: table.len() };
            adapter.load(image, vec![region], Budget::default())?;
        }
        Ok(())
    }

    /// Times what one budget takes on the first adapter's processor, ordinarily and at worst, and has
    /// all adapters count the turns that take longer than that; `None` where time is not measured.
    ///
    /// # Errors
    /// [`DataPathError`]; nothing is counted then.
    pub fn time_budgets(&self, probe: &[u8]) -> Result<Option<BudgetTimes>, DataPathError> {
        let machine = self.machine.borrow();
        let Some(first) = machine.adapters().first() else { return Ok(None) };
        let region = spine_os::probe::region().map_err(DataPathError::Probe)?;
        let file = region.file().try_clone().map_err(DataPathError::Region)?;
        let region = RegionSource { file: file.into(), bytes: region.len() };
        let budget = Budget::default();
        let nanos = first.probe(probe, vec![region], budget)?;
        let Some(times) = BudgetTimes::from_nanos(&nanos) else { return Ok(None) };
        // An entry may spend its budget and one message's on top.
        let messages = u32::try_from(budget.entry / budget.message.max(1) + 1).unwrap_or(u32::MAX);
        for adapter in machine.adapters() {
            adapter.expect(times.worst.saturating_mul(messages))?;
        }
        Ok(Some(times))
    }

    /// The adapters, for the host half.
    pub fn adapters(&self) -> Vec<Box<dyn Adapter>> {
        let port = |index| Handle::new(Rc::clone(&self.machine), index);
        (0..self.count).map(|index| Box::new(port(index)) as Box<dyn Adapter>).collect()
    }

    /// The classifier, for the host half.
    pub fn classifier(&self) -> Box<dyn Classifier> {
        Box::new(ClassifierHandle(Rc::clone(&self.classifier)))
    }

    /// What the classifier counted since it was attached: packets claimed, and passed by reason.
    ///
    /// # Errors
    /// [`DataPathError::Attach`].
    pub fn classified(&self) -> Result<Vec<(Counter, u64)>, DataPathError> {
        Ok(self.classifier.borrow().attached.counters()?)
    }

    /// System calls for sleeping and waking, beside those of the adapters' wires.
    pub fn syscalls(&self) -> u64 {
        self.machine.borrow().syscalls()
    }

    /// Whether all processors still run.
    pub fn is_running(&self) -> bool {
        self.machine.borrow().is_running()
    }

    /// Stops claiming: from here on the kernel has every packet. What is in the adapters still leaves.
    ///
    /// # Errors
    /// [`DataPathError::Attach`].
    pub fn disable(&self) -> Result<(), DataPathError> {
        Ok(self.classifier.borrow_mut().attached.set_enabled(false)?)
    }

    /// What became of packets handed to the kernel so far.
    pub fn handed_over(&self) -> KernelCounts {
        self.kernel.counts()
    }
}

/// The frames of all adapters, in one memory that every socket shares.
#[expect(clippy::type_complexity, reason = "as SharedUmem makes them")]
fn frames(
    options: &Options<'_>,
) -> Result<(Arc<FrameMemory>, Vec<Vec<Frame>>, SharedUmem), DataPathError> {
    let mut all_queues = 0;
    let mut most_queues = 1;
    let mut frame_bytes = 2048;
    for interface in options.interfaces {
        let count = queues(&interface.name)?;
        all_queues += count;
        most_queues = most_queues.max(count);
        frame_bytes = frame_bytes.max(frame_bytes_for(interface)?);
    }
    if all_queues > spine_xdp_progs::SOCKETS {
        return Err(DataPathError::Queues(all_queues));
    }
    let each = options.frames.unwrap_or(most_queues * LENT + ON_THE_WAY);
    let adapters = u16::try_from(options.interfaces.len()).unwrap_or(u16::MAX);
    Ok(SharedUmem::new(each.saturating_mul(u32::from(adapters)), frame_bytes, adapters)?)
}

/// Bytes of the frames that an interface needs.
fn frame_bytes_for(interface: &Interface) -> Result<usize, DataPathError> {
    let room = |bytes: u32| bytes - HEADROOM - LINK_BYTES;
    // A packet too long for the way out gets its ICMP error from the kernel, which must take it back.
    let most = room(4096).min(kernel::LONGEST - LINK_BYTES);
    if interface.mtu > most {
        let (interface, mtu) = (interface.name.clone(), interface.mtu);
        return Err(DataPathError::Mtu { interface, mtu, most });
    }
    Ok(if interface.mtu > room(2048) { 4096 } else { 2048 })
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
) -> Result<(u32, AttachMode), DataPathError> {
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
) -> Result<Vec<XdpNic>, DataPathError> {
    let options = |queue| XdpOptions { interface: &interface.name, queue, attached, zero_copy };
    let bind = |queue| Ok(XdpNic::bind(umem, &options(queue))?);
    (0..queues(&interface.name)?).map(bind).collect()
}

/// The layers over an interface's sockets.
fn stack(
    mut sockets: Vec<XdpNic>,
    interface: &Interface,
    memory: &Arc<FrameMemory>,
    capture: Option<&Path>,
) -> Result<Box<dyn Nic>, DataPathError> {
    let others = sockets.split_off(1.min(sockets.len()));
    let first = sockets.pop().ok_or_else(|| XdpError::NoQueue {
        interface: interface.name.clone(),
        queue: 0,
        queues: 0,
    })?;
    let nic: Box<dyn Nic> =
        if others.is_empty() { Box::new(first) } else { Box::new(MultiQueue::new(first, others)) };
    let Some(path) = capture else { return Ok(nic) };
    let path = capture_path(path, &interface.name);
    let options = CaptureOptions::default();
    Ok(Box::new(Capture::new(nic, Arc::clone(memory), &path, options, wall_clock)?))
}

/// `dir/trace.pcap` for interface `a` is `dir/trace.a.pcap`.
fn capture_path(path: &Path, interface: &str) -> PathBuf {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    let extension = if extension.is_empty() { "pcap".into() } else { extension };
    path.with_extension(format!("{interface}.{extension}"))
}

/// One adapter, as the host half sees it.
struct Handle {
    machine: Rc<RefCell<Machine>>,
    index: usize,
    name: String,
}

impl Handle {
    fn new(machine: Rc<RefCell<Machine>>, index: usize) -> Self {
        let name = machine.borrow().adapters()[index].name().to_owned();
        Self { machine, index, name }
    }

    fn error(&self, what: impl ToString) -> AdapterError {
        AdapterError { name: self.name.clone(), what: what.to_string() }
    }
}

impl Adapter for Handle {
    fn name(&self) -> &str {
        &self.name
    }

    fn send(&mut self, message: Message) -> Result<(), AdapterError> {
        let sent = self.machine.borrow().adapters()[self.index].send(message);
        sent.map_err(|error| self.error(error))
    }

    fn receive(&mut self, timeout: Duration) -> Result<Option<Message>, AdapterError> {
        let machine = self.machine.borrow();
        match machine.adapters()[self.index].receive(timeout) {
            None if !machine.is_running() => Err(self.error("its processor has ended")),
            None => Ok(None),
            Some(message) => match Notice::from_message(&message) {
                Some(Notice::Unloaded { offence, strikes, .. }) => Err(self.error(format!(
                    "its extension was unloaded: its handlers {}, {strikes} times within a minute",
                    offence.text()
                ))),
                Some(Notice::Removed { .. }) => Err(self.error("its extension was unloaded")),
                None => Ok(Some(message)),
            },
        }
    }

    fn statistics(&self) -> Result<AdapterStatistics, AdapterError> {
        let machine = self.machine.borrow();
        let asked = machine.adapters()[self.index].statistics();
        let all = asked.map_err(|error| self.error(error))?;
        let mut dropped: std::collections::BTreeMap<Reason, u64> =
            all.counters.dropped.iter().collect();
        for (reason, count) in [
            (Reason::Oversized, all.nic.oversized),
            (Reason::ReceiveLost, all.nic.receive_lost),
            (Reason::TransmitFull, all.nic.transmit_failed),
        ] {
            if count > 0 {
                *dropped.entry(reason).or_default() += count;
            }
        }
        Ok(AdapterStatistics {
            mode: all.mode,
            received: all.nic.received,
            transmitted: all.nic.transmitted,
            forwarded: all.counters.forwarded,
            to_kernel: all.counters.to_kernel.iter().collect(),
            dropped,
            syscalls: all.nic.syscalls,
        })
    }
}

struct ClassifierHandle(Rc<RefCell<Ports>>);

fn refused(error: AttachError) -> ClassifierError {
    ClassifierError(error.to_string())
}

impl Classifier for ClassifierHandle {
    fn set_claim(&mut self, prefix: Ipv4Net, ours: bool) -> Result<(), ClassifierError> {
        let classifier = &mut self.0.borrow_mut().attached;
        classifier.set_claim(prefix.network(), prefix.prefix_len(), ours).map_err(refused)
    }

    fn remove_claim(&mut self, prefix: Ipv4Net) -> Result<(), ClassifierError> {
        let classifier = &mut self.0.borrow_mut().attached;
        classifier.remove_claim(prefix.network(), prefix.prefix_len()).map_err(refused)
    }

    fn set_address(&mut self, address: Ipv4Addr) -> Result<(), ClassifierError> {
        self.0.borrow_mut().attached.set_address(address).map_err(refused)
    }

    fn remove_address(&mut self, address: Ipv4Addr) -> Result<(), ClassifierError> {
        self.0.borrow_mut().attached.remove_address(address).map_err(refused)
    }

    fn set_enabled(&mut self, interface: IfIndex, enabled: bool) -> Result<(), ClassifierError> {
        self.0.borrow_mut().change(interface, |port| port.enabled = enabled)
    }

    fn set_mac(&mut self, interface: IfIndex, mac: [u8; 6]) -> Result<(), ClassifierError> {
        self.0.borrow_mut().change(interface, |port| port.mac = mac)
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
    fn an_interface_longer_than_the_way_to_the_kernel_is_refused_with_the_longest_mtu() {
        let frames = |mtu| {
            let interface = Interface { name: "a".to_owned(), mac: [2, 0, 0, 0, 0, 1], mtu };
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
