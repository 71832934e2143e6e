//! AF_XDP, with the classifier in front of it.
//!
//! The classifier is attached before the sockets are bound (some drivers need that) but claims nothing
//! until it is enabled, so while a program starts the kernel forwards as before.
//!
//! Sockets that share frames all work without copies or none does. So where one cannot, whatever its driver
//! answers, everything is opened again with copies, and that is said.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use nix::sys::resource::{Resource, getrlimit};
use spine_abi::HandlerNumber;
use spine_xdp_progs::{Ingresses, KEPT, Kept, Port as Entry};

use super::{
    Fewer, Interface, Mode, OpenError, Options, Port, PortClaim, Ports, Steering, SteeringError,
    carrier, frames,
};
use crate::Nic;
use crate::buffer::{Frame, FrameMemory};
use crate::layer::multiqueue::MultiQueue;
use crate::punt::inject::KernelEndpoint;
use crate::xdp::attach::{AttachError, AttachMode, Classifier};
use crate::xdp::{SharedUmem, XdpError, XdpMode, XdpNic, XdpOptions, driver, queues, strips_tags};

/// How many classifiers there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Serving {
    /// One for all interfaces.
    All,
    /// One for each.
    Each,
}

/// Opens the ports; nothing is claimed yet.
pub(super) fn open(
    options: &Options<'_>,
    serving: Serving,
) -> Result<Ports<Vec<XdpSteering>>, OpenError> {
    let must = refuse_mixed(options)?;
    let may =
        options.interfaces.iter().all(|interface| mode(options, interface).may_be_without_copies());
    match open_with(options, serving, may) {
        Err(OpenError::Socket(error)) if may && !must && is_for_want_of_zero_copy(&error) => {
            let ports = open_with(options, serving, false)?;
            Ok(Ports { copies: Some(error), ..ports })
        }
        result => result,
    }
}

fn mode(options: &Options<'_>, interface: &Interface) -> Mode {
    options.modes.of(&interface.name)
}

/// Whether some interface must do without copies; then none may be asked to do with them.
fn refuse_mixed(options: &Options<'_>) -> Result<bool, OpenError> {
    let all = options.interfaces;
    let without = all.iter().find(|interface| mode(options, interface) == Mode::ZeroCopy);
    let with = all.iter().find(|interface| !mode(options, interface).may_be_without_copies());
    match (without, with) {
        (Some(without), Some(with)) => {
            Err(OpenError::Modes { without: without.name.clone(), with: with.name.clone() })
        }
        (without, _) => Ok(without.is_some()),
    }
}

/// Whether binding with copies may do where this was the answer. A driver says in its own way that it
/// cannot: EOPNOTSUPP, EINVAL, ENOSPC …
fn is_for_want_of_zero_copy(error: &XdpError) -> bool {
    matches!(error, XdpError::MixedModes { .. } | XdpError::Socket { .. })
}

fn open_with(
    options: &Options<'_>,
    serving: Serving,
    zero_copy: bool,
) -> Result<Ports<Vec<XdpSteering>>, OpenError> {
    // Before the frames: whoever may not load it is told which capability that takes.
    let mut steering = load(options, serving)?;
    let mut sizes = Sizes::of(options)?;
    let (memory, dealt, umem) = sizes.frames(options)?;
    let fewer = sizes.fewer();
    let mut ports = Vec::new();
    for (index, (interface, frames)) in options.interfaces.iter().zip(dealt).enumerate() {
        let serves = if serving == Serving::Each { index } else { 0 };
        let steering = &mut steering[serves];
        let longest = frames::longest_packet(sizes.frame_bytes);
        let handler = options.handler;
        let opening = Opening { interface, umem: &umem, zero_copy, handler, longest };
        let (mut port, sockets) = steering.open(&opening, mode(options, interface), frames)?;
        port.ring = Some(u64::from(sizes.ring()) * u64::from(sockets));
        ports.push(port);
    }
    if let Some(unprivileged) = options.unprivileged {
        unprivileged().map_err(OpenError::Unprivileged)?;
    }
    let punt = options.punts.then(KernelEndpoint::start).transpose()?;
    let gap = Some(carrier::wait(options.interfaces)?);
    Ok(Ports { memory, ports, punt, steering, instead: None, gap, copies: None, fewer })
}

/// The classifiers, attached nowhere yet.
fn load(options: &Options<'_>, serving: Serving) -> Result<Vec<XdpSteering>, AttachError> {
    let count = if serving == Serving::Each { options.interfaces.len() } else { 1 };
    (0..count).map(|_| XdpSteering::load(options)).collect()
}

/// What the frames of all interfaces come to.
struct Sizes {
    most_queues: u32,
    frame_bytes: usize,
    /// Frames of each adapter, and how many there should be.
    each: u32,
    wanted: u32,
}

impl Sizes {
    fn of(options: &Options<'_>) -> Result<Self, OpenError> {
        let (mut all, mut most_queues) = (0_u32, 1);
        for interface in options.interfaces {
            let count = queues(&interface.name)?;
            all = all.saturating_add(count);
            most_queues = most_queues.max(count);
        }
        let may = |interface: &Interface| mode(options, interface).may_be_without_copies();
        let frame_bytes = frames::bytes(options.interfaces, may);
        if all > spine_xdp_progs::SOCKETS {
            return Err(OpenError::Queues(all));
        }
        let wanted = options.frames.of(most_queues);
        Ok(Self { most_queues, frame_bytes, each: wanted, wanted })
    }

    /// Entries of each receive ring.
    fn ring(&self) -> u32 {
        frames::rings(self.each / self.most_queues).receive
    }

    /// How many frames there are in place of those there should be.
    fn fewer(&self) -> Option<Fewer> {
        (self.each < self.wanted).then_some(Fewer { frames: self.each, wanted: self.wanted })
    }

    /// The frames of all adapters, in one memory that every socket shares: as many as this process may lock in memory.
    #[expect(clippy::type_complexity, reason = "as SharedUmem makes them")]
    fn frames(
        &mut self,
        options: &Options<'_>,
    ) -> Result<(Arc<FrameMemory>, Vec<Vec<Frame>>, SharedUmem), OpenError> {
        let adapters = u16::try_from(options.interfaces.len()).unwrap_or(u16::MAX);
        loop {
            let all = self.each.saturating_mul(u32::from(adapters));
            let rings = frames::rings(self.each / self.most_queues);
            match SharedUmem::with_rings(all, self.frame_bytes, adapters, rings) {
                Err(error @ XdpError::Umem { .. }) if is_beyond_the_limit(&error) => {
                    let lockable =
                        lockable_memory() / self.frame_bytes as u64 / u64::from(adapters);
                    let lockable = u32::try_from(lockable).unwrap_or(u32::MAX);
                    // Other processes of this user may have a part of it.
                    let fewer = (self.each / 2).min(lockable);
                    if fewer < FEWEST {
                        return Err(error.into());
                    }
                    self.each = fewer;
                }
                result => return Ok(result?),
            }
        }
    }
}

/// The fewest frames of an adapter that it is tried with where not all can be had.
const FEWEST: u32 = 512;

/// Whether that is what the kernel says when a process may not lock so much memory (RLIMIT_MEMLOCK, for all of a user's processes).
fn is_beyond_the_limit(error: &XdpError) -> bool {
    let XdpError::Umem { source, .. } = error else { return false };
    source.raw_os_error() == Some(nix::errno::Errno::ENOBUFS as i32)
}

/// Bytes that frames may take of the memory that this process may lock: the rings in which it sleeps take some, too.
fn lockable_memory() -> u64 {
    let limit = getrlimit(Resource::RLIMIT_MEMLOCK);
    limit.map_or(u64::MAX, |(now, _)| now / 4 * 3)
}

/// One interface that is being opened.
struct Opening<'a> {
    interface: &'a Interface,
    umem: &'a SharedUmem,
    zero_copy: bool,
    handler: HandlerNumber,
    /// Bytes of a packet that a frame holds.
    longest: u32,
}

/// The attached classifier, and what it was told of each of its interfaces.
pub struct XdpSteering {
    classifier: Classifier,
    entries: Vec<(u32, Entry)>,
    /// Of each of them, how the program is attached.
    places: Vec<Place>,
    next_socket: u32,
}

/// How the program is attached to an interface.
struct Place {
    name: String,
    mode: AttachMode,
    /// Whether it costs nothing to take it off and attach it again, and something to leave it there: a program on a veth keeps its peer
    /// from sending large segments. A card's driver may reset the card.
    may_come_off: bool,
}

impl XdpSteering {
    fn load(options: &Options<'_>) -> Result<Self, AttachError> {
        let classifier = Classifier::load_with(options.times, options.patience)?;
        Ok(Self { classifier, entries: Vec::new(), places: Vec::new(), next_socket: 0 })
    }

    /// Attaches to an interface and binds its queues; answers how many there are.
    fn open(
        &mut self,
        opening: &Opening<'_>,
        mode: Mode,
        frames: Vec<Frame>,
    ) -> Result<(Port, u32), OpenError> {
        let Opening { interface, umem, zero_copy, handler, longest } = *opening;
        let (ifindex, attached, slower) = attach(&mut self.classifier, &interface.name, mode)?;
        let options = |queue| XdpOptions { interface: &interface.name, queue, attached, zero_copy };
        let bind = |queue| XdpNic::bind(umem, &options(queue));
        let mut sockets = (0..queues(&interface.name)?).map(bind).collect::<Result<Vec<_>, _>>()?;
        refuse_copies(interface, mode, &sockets)?;
        let queues = u32::try_from(sockets.len()).unwrap_or(u32::MAX);
        let unfinished = leaves_checksums_undone(interface, attached);
        let entry = Entry {
            first_socket: self.next_socket,
            queues,
            mac: interface.mac,
            handler,
            enabled: false,
            enabled_ipv6: false,
            unfinished_checksums: unfinished,
            ingress: u32::try_from(self.entries.len()).unwrap_or(u32::MAX),
            first_kept: 0,
            kept: 0,
            again: attached == AttachMode::Generic,
            longest,
            first_kept_ipv6: 0,
            kept_ipv6: 0,
        };
        for socket in &mut sockets {
            self.classifier.set_socket(self.next_socket, socket)?;
            socket.set_progress(self.classifier.progress(self.next_socket));
            self.next_socket += 1;
        }
        self.classifier.set_port(ifindex, entry)?;
        self.entries.push((ifindex, entry));
        let (name, may_come_off) = (interface.name.clone(), interface.is_virtual());
        self.places.push(Place { name, mode: attached, may_come_off });
        let port = Port {
            interface: Interface { index: ifindex, ..interface.clone() },
            nic: join(sockets, interface)?,
            frames,
            ring: None,
            unfinished_checksums: unfinished,
            hidden_tags: strips_tags(&interface.name) && !self.classifier.sees_tags(ifindex),
            longest: Some(longest).filter(|longest| interface.longest_packet() > *longest),
            slower,
        };
        Ok((port, queues))
    }

    /// The classifier, for what is claimed on AF_XDP alone.
    pub fn classifier(&mut self) -> &mut Classifier {
        &mut self.classifier
    }

    /// The handler of packets that are claimed by their destination on an interface.
    ///
    /// # Errors
    /// [`SteeringError`].
    pub fn set_handler(
        &mut self,
        interface: u32,
        handler: HandlerNumber,
    ) -> Result<(), SteeringError> {
        self.change(interface, |entry| entry.handler = handler)
    }

    /// What the classifier was told of an interface.
    pub fn entry(&self, interface: u32) -> Option<&Entry> {
        self.entries.iter().find(|(ifindex, _)| *ifindex == interface).map(|(_, entry)| entry)
    }

    /// Changes what the classifier was told of an interface; if it does not hear of it, nothing is changed.
    fn change(
        &mut self,
        interface: u32,
        change: impl FnOnce(&mut Entry),
    ) -> Result<(), SteeringError> {
        let found = self.entries.iter_mut().find(|(ifindex, _)| *ifindex == interface);
        let (_, entry) = found.ok_or(SteeringError::NoPort(interface))?;
        let mut changed = *entry;
        change(&mut changed);
        self.classifier.set_port(interface, changed)?;
        *entry = changed;
        Ok(())
    }
}

/// Attaches at the driver, or where that is left open and the driver cannot, behind the kernel's packet
/// buffers; then it says why.
fn attach(
    classifier: &mut Classifier,
    interface: &str,
    mode: Mode,
) -> Result<(u32, AttachMode, Option<AttachError>), AttachError> {
    let mut slower = None;
    if mode != Mode::Generic {
        match classifier.attach(interface, AttachMode::Native) {
            Ok(ifindex) => return Ok((ifindex, AttachMode::Native, None)),
            Err(error @ (AttachError::Refused { .. } | AttachError::NoLink { .. }))
                if mode == Mode::Auto =>
            {
                slower = Some(error);
            }
            Err(error) => return Err(error),
        }
    }
    Ok((classifier.attach(interface, AttachMode::Generic)?, AttachMode::Generic, slower))
}

/// An interface that was to be without copies and is not.
fn refuse_copies(interface: &Interface, mode: Mode, sockets: &[XdpNic]) -> Result<(), XdpError> {
    let copies = sockets.iter().any(|socket| socket.xdp_mode() != XdpMode::ZeroCopy);
    if mode == Mode::ZeroCopy && copies {
        return Err(XdpError::NoZeroCopy { interface: interface.name.clone() });
    }
    Ok(())
}

/// Whether packets come with checksums that their sender left to a card, and that XDP is not told of.
///
/// Software interfaces hand on what local senders left undone; a virtual machine's card does so in generic
/// mode (in native mode its driver has switched the sender's offloads off).
fn leaves_checksums_undone(interface: &Interface, attached: AttachMode) -> bool {
    interface.is_virtual()
        || attached == AttachMode::Generic
            && driver(&interface.name).is_ok_and(|driver| driver == "virtio_net")
}

/// An interface's sockets as one backend.
fn join(mut sockets: Vec<XdpNic>, interface: &Interface) -> Result<Box<dyn Nic>, XdpError> {
    let others = sockets.split_off(1.min(sockets.len()));
    let first = sockets.pop().ok_or_else(|| XdpError::NoQueue {
        interface: interface.name.clone(),
        queue: 0,
        queues: 0,
    })?;
    Ok(if others.is_empty() { Box::new(first) } else { Box::new(MultiQueue::new(first, others)) })
}

/// Where a list of kept sets is written that takes the place of one that starts at `first`: an interface has room for
/// two; and how long it is.
fn other_room(ingress: u32, first: u32, sets: usize) -> Result<(u32, u32), SteeringError> {
    let room = [0, KEPT].map(|half| ingress * 2 * KEPT + half);
    let kept = u32::try_from(sets).ok().filter(|kept| *kept <= KEPT);
    let kept = kept.ok_or(SteeringError::Kept(sets))?;
    Ok((if first == room[0] { room[1] } else { room[0] }, kept))
}

impl Steering for XdpSteering {
    fn set_all_enabled(&mut self, enabled: bool) -> Result<(), SteeringError> {
        Ok(self.classifier.set_enabled(enabled)?)
    }

    fn set_enabled(&mut self, interface: u32, enabled: bool) -> Result<(), SteeringError> {
        self.change(interface, |entry| entry.enabled = enabled)
    }

    fn set_needed(&mut self, interface: u32, needed: bool) -> Result<(), SteeringError> {
        let at = self.entries.iter().position(|(ifindex, _)| *ifindex == interface);
        let place = &self.places[at.ok_or(SteeringError::NoPort(interface))?];
        if needed {
            self.classifier.attach_to(interface, &place.name, place.mode)?;
        } else if place.may_come_off {
            self.classifier.take_off(interface);
        }
        Ok(())
    }

    fn set_enabled_ipv6(&mut self, interface: u32, enabled: bool) -> Result<(), SteeringError> {
        self.change(interface, |entry| entry.enabled_ipv6 = enabled)
    }

    fn knows_ipv6(&self) -> bool {
        true
    }

    fn set_mac(&mut self, interface: u32, mac: [u8; 6]) -> Result<(), SteeringError> {
        self.change(interface, |entry| entry.mac = mac)
    }

    fn set_claim(&mut self, prefix: IpNet, from: Ingresses) -> Result<(), SteeringError> {
        Ok(self.classifier.set_claim(prefix.network(), prefix.prefix_len(), from)?)
    }

    /// Written where nobody reads, and then put in force.
    fn set_kept(&mut self, interface: u32, sets: &[Kept]) -> Result<(), SteeringError> {
        let entry = self.entry(interface).ok_or(SteeringError::NoPort(interface))?;
        let (first, kept) = other_room(entry.ingress, entry.first_kept, sets.len())?;
        self.classifier.set_kept(first, sets)?;
        self.change(interface, |entry| (entry.first_kept, entry.kept) = (first, kept))
    }

    fn set_kept_ipv6(
        &mut self,
        interface: u32,
        sets: &[Kept<Ipv6Addr>],
    ) -> Result<(), SteeringError> {
        let entry = self.entry(interface).ok_or(SteeringError::NoPort(interface))?;
        let (first, kept) = other_room(entry.ingress, entry.first_kept_ipv6, sets.len())?;
        self.classifier.set_kept_ipv6(first, sets)?;
        self.change(interface, |entry| (entry.first_kept_ipv6, entry.kept_ipv6) = (first, kept))
    }

    fn kept_packets(&self, counter: u32) -> Result<u64, SteeringError> {
        Ok(self.classifier.kept_packets(counter)?)
    }

    fn knows_destinations(&self) -> bool {
        true
    }

    fn most_kept(&self) -> usize {
        KEPT as usize
    }

    fn remove_claim(&mut self, prefix: IpNet) -> Result<(), SteeringError> {
        Ok(self.classifier.remove_claim(prefix.network(), prefix.prefix_len())?)
    }

    fn set_address(&mut self, address: IpAddr) -> Result<(), SteeringError> {
        Ok(self.classifier.set_address(address)?)
    }

    fn remove_address(&mut self, address: IpAddr) -> Result<(), SteeringError> {
        Ok(self.classifier.remove_address(address)?)
    }

    fn claim_port(&mut self, claim: PortClaim) -> Result<(), SteeringError> {
        for (index, (interface, _)) in self.entries.iter().enumerate() {
            let Place { name, mode, .. } = &self.places[index];
            self.classifier.attach_to(*interface, name, *mode)?;
        }
        Ok(self.classifier.claim_port(claim.address, claim.port, claim.handler)?)
    }

    fn counters(&self) -> Result<Vec<(&'static str, u64)>, SteeringError> {
        let counters = self.classifier.counters()?;
        Ok(counters.into_iter().map(|(counter, count)| (counter.name(), count)).collect())
    }
}
