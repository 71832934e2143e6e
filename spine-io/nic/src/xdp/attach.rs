//! The classifier in the kernel: loading it, attaching it to interfaces, filling its maps.
//!
//! One loaded program serves all interfaces. It is attached by a `bpf_link`, which the kernel takes
//! away with the process however that ends: then the kernel has all packets again and nothing is cut
//! off. aya quietly attaches over netlink where a link is refused, and such a program would outlive us,
//! so that is undone and reported. Whatever was attached before us stays: we do not replace programs.
//!
//! Which packets are ours is decided by who fills the maps; nothing is claimed until
//! [`Classifier::set_enabled`]. Sockets, and choosing among modes, belong to the folder's other files.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd as _, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{fmt, thread};

use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::links::FdLink;
use aya::programs::{ProgramError, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use libbpf_rs::XdpFlags;
use nix::errno::Errno;
use spine_xdp_progs::{
    CLASSIFIER, CLASSIFIER_PROGRAM, HOLD as HOLD_NANOS, PATIENCE as PATIENCE_NANOS, PROGRESS_BYTES,
    STAMP_TIMES, maps,
};

pub use super::sys::Progress;
use super::sys::ProgressMap;

mod claims;
mod error;
mod tags;

pub use error::AttachError;
use error::{errno, is_taken, load_error, refused};
pub use spine_xdp_progs::{Counter, Ingresses, Kept, Port};

/// How long an interface may stay taken before that is an error: the kernel is still clearing up for
/// 3 to 31 ms after a process with a program attached was killed.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is tried meanwhile.
const RETRY: Duration = Duration::from_millis(10);
/// How many times as long as packets may wait for an adapter the kernel has them after that.
const HOLD: u32 = 10;

/// Where in the receive path the program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttachMode {
    /// In the driver, before the kernel has made anything of the packet.
    Native,
    /// In the kernel's stack: any driver, at the price of a packet buffer for each packet.
    Generic,
}

impl AttachMode {
    fn for_aya(self) -> XdpMode {
        match self {
            Self::Native => XdpMode::Driver,
            Self::Generic => XdpMode::Skb,
        }
    }

    fn for_libbpf(self) -> XdpFlags {
        match self {
            Self::Native => XdpFlags::DRV_MODE,
            Self::Generic => XdpFlags::SKB_MODE,
        }
    }
}

impl fmt::Display for AttachMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// What holds a program to its interface until it is dropped.
#[expect(dead_code, reason = "they are held")]
enum Attachment {
    /// The one that all interfaces can share.
    Plain(FdLink),
    /// One of the interface's own: the descriptor of its link.
    OfTags(OwnedFd),
}

/// The loaded classifier, its maps, and its attachments, which end when it is dropped.
pub struct Classifier {
    links: Vec<(u32, Attachment)>,
    /// What a program for one interface is made with.
    tags: tags::Loader,
    program: Ebpf,
    control: Array<MapData, u32>,
    ports: HashMap<MapData, u32, [u8; Port::BYTES]>,
    sockets: XskMap<MapData>,
    addresses: HashMap<MapData, [u8; 4], u8>,
    claims: LpmTrie<MapData, [u8; 4], u64>,
    addresses_ipv6: HashMap<MapData, [u8; 16], u8>,
    claims_ipv6: LpmTrie<MapData, [u8; 16], u64>,
    kept: Array<MapData, [u8; <Kept>::BYTES]>,
    kept_ipv6: Array<MapData, [u8; Kept::<Ipv6Addr>::BYTES]>,
    kept_packets: PerCpuArray<MapData, u64>,
    flows: HashMap<MapData, [u8; 8], u32>,
    counters: PerCpuArray<MapData, u64>,
    /// How far the adapter of each socket is.
    progress: Arc<ProgressMap>,
    enabled: bool,
    hosts: bool,
    /// The ports in `flows`.
    claimed_ports: BTreeSet<(Ipv4Addr, u16)>,
}

impl fmt::Debug for Classifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let interfaces: Vec<u32> = self.links.iter().map(|(ifindex, _)| *ifindex).collect();
        f.debug_struct("Classifier").field("interfaces", &interfaces).finish_non_exhaustive()
    }
}

impl Classifier {
    /// Loads the program and its maps; nothing is attached and nothing claimed yet.
    ///
    /// # Errors
    /// [`AttachError::Permission`] or [`AttachError::Load`].
    pub fn load() -> Result<Self, AttachError> {
        Self::load_with(false, Duration::ZERO)
    }

    /// The same, stamping each packet with the time at which it came, for
    /// [`Nic::arrivals`](crate::Nic::arrivals): a look at the clock for each.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_timed() -> Result<Self, AttachError> {
        Self::load_with(true, Duration::ZERO)
    }

    /// The same with or without times. Packets claimed by their destination that have waited for longer than `patience` in a ring
    /// that nobody looks into are the kernel's, until somebody does; never, where that is zero.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_with(times: bool, patience: Duration) -> Result<Self, AttachError> {
        tags::quieten();
        let mut loader = EbpfLoader::new();
        let times = u8::from(times);
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let (patience, hold) = (nanos(patience), nanos(patience.saturating_mul(HOLD)));
        loader.override_global(STAMP_TIMES, &times, true);
        loader.override_global(PATIENCE_NANOS, &patience, true);
        loader.override_global(HOLD_NANOS, &hold, true);
        let mut program = loader.load(CLASSIFIER).map_err(load_error)?;
        check(&mut program).map_err(load_error)?;
        let mut take = |name| {
            program
                .take_map(name)
                .ok_or(AttachError::Map { map: name, error: MapError::ElementNotFound })
        };
        let progress = take(maps::PROGRESS)?;
        let constants = [u64::from(times), patience, hold];
        let mut tags = tags::Loader::new(constants);
        tags.share(maps::PROGRESS, &progress);
        let mut take = |name| {
            let map = take(name)?;
            tags.share(name, &map);
            Ok::<_, AttachError>(map)
        };
        Ok(Self {
            progress: Arc::new(map_progress(&progress)?),
            control: typed(maps::CONTROL, take(maps::CONTROL)?)?,
            ports: typed(maps::PORTS, take(maps::PORTS)?)?,
            sockets: typed(maps::SOCKETS, take(maps::SOCKETS)?)?,
            addresses: typed(maps::ADDRESSES, take(maps::ADDRESSES)?)?,
            claims: typed(maps::CLAIMS, take(maps::CLAIMS)?)?,
            addresses_ipv6: typed(maps::ADDRESSES_IPV6, take(maps::ADDRESSES_IPV6)?)?,
            claims_ipv6: typed(maps::CLAIMS_IPV6, take(maps::CLAIMS_IPV6)?)?,
            kept: typed(maps::KEPT, take(maps::KEPT)?)?,
            kept_ipv6: typed(maps::KEPT_IPV6, take(maps::KEPT_IPV6)?)?,
            kept_packets: typed(maps::KEPT_PACKETS, take(maps::KEPT_PACKETS)?)?,
            flows: typed(maps::FLOWS, take(maps::FLOWS)?)?,
            counters: typed(maps::COUNTERS, take(maps::COUNTERS)?)?,
            links: Vec::new(),
            enabled: false,
            hosts: false,
            claimed_ports: BTreeSet::new(),
            program,
            tags,
        })
    }

    /// Where the adapter of the socket at this index says that it has looked into its ring.
    pub fn progress(&self, socket: u32) -> Progress {
        Progress::of(&self.progress, socket)
    }

    /// Attaches the program to an interface of this network namespace and answers its index.
    ///
    /// An interface that is taken is tried again for a second, since the kernel needs a moment to clear
    /// up after a process that was killed.
    ///
    /// # Errors
    /// Any but [`AttachError::Load`] and [`AttachError::Map`]. After [`AttachError::Refused`] another
    /// mode is worth trying; nothing is attached after any of them.
    pub fn attach(&mut self, interface: &str, mode: AttachMode) -> Result<u32, AttachError> {
        let name = interface.to_owned();
        let ifindex = nix::net::if_::if_nametoindex(interface)
            .map_err(|_| AttachError::NoInterface { interface: name.clone() })?;
        self.attach_to(ifindex, interface, mode)?;
        Ok(ifindex)
    }

    /// The same by the interface's index; its name is for people. Where the program is attached already nothing happens.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub fn attach_to(
        &mut self,
        ifindex: u32,
        interface: &str,
        mode: AttachMode,
    ) -> Result<(), AttachError> {
        if self.links.iter().any(|(attached, _)| *attached == ifindex) {
            return Ok(());
        }
        let name = interface.to_owned();
        let deadline = Instant::now() + PATIENCE;
        loop {
            let occupant = self.occupant(ifindex);
            let result = match occupant {
                None => self.attach_once(ifindex, interface, mode),
                Some(program) => Err(AttachError::Occupied { interface: name.clone(), program }),
            };
            match result {
                Err(error) if is_taken(&error) && Instant::now() < deadline => thread::sleep(RETRY),
                Err(error) => return Err(error),
                Ok(attachment) => {
                    self.links.push((ifindex, attachment));
                    return Ok(());
                }
            }
        }
    }

    /// Takes the program off an interface, and keeps its port for when it is [attached](Self::attach_to) again. Without effect where something is
    /// claimed for others than a router: a port, or what hosts say to each other.
    pub fn take_off(&mut self, ifindex: u32) {
        if !self.hosts && self.claimed_ports.is_empty() {
            self.links.retain(|(attached, _)| *attached != ifindex);
        }
    }

    /// Detaches from an interface and forgets its port. Detaching where nothing is attached is no error:
    /// the kernel does it by itself when an interface goes.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn detach(&mut self, ifindex: u32) -> Result<(), AttachError> {
        self.links.retain(|(attached, _)| *attached != ifindex);
        claims::gone(maps::PORTS, self.ports.remove(&ifindex))
    }

    /// The id of the program attached to an interface, in whatever mode and whoever's it is.
    pub fn occupant(&self, ifindex: u32) -> Option<u32> {
        let ifindex = i32::try_from(ifindex).ok()?;
        let program: &Xdp = self.program.program(CLASSIFIER_PROGRAM)?.try_into().ok()?;
        let query = libbpf_rs::Xdp::new(program.fd().ok()?.as_fd());
        let found = query.query(ifindex, XdpFlags::NONE).ok()?;
        // With programs in several modes the first field is zero.
        [found.prog_id, found.drv_prog_id, found.skb_prog_id, found.hw_prog_id]
            .into_iter()
            .find(|id| *id != 0)
    }

    /// Whether packets that have a VLAN tag beside them are told from others on an attached interface.
    pub fn sees_tags(&self, ifindex: u32) -> bool {
        let attached = self.links.iter().find(|(attached, _)| *attached == ifindex);
        matches!(attached, Some((_, Attachment::OfTags(_))))
    }

    /// One try, in one mode, by a link or not at all: in native mode the program that is told of VLAN tags beside packets, where the driver
    /// tells.
    fn attach_once(
        &mut self,
        ifindex: u32,
        interface: &str,
        mode: AttachMode,
    ) -> Result<Attachment, AttachError> {
        if mode == AttachMode::Native {
            match self.tags.attach(ifindex) {
                Ok(link) => return Ok(Attachment::OfTags(link)),
                // Whatever it is, the other program says it better, if it has to say it, too.
                Err(error) => {
                    tracing::debug!(interface, %error, "VLAN tags beside packets are not seen")
                }
            }
        }
        let refused = |error: ProgramError| refused(interface, mode, &error);
        let program = classifier(&mut self.program).map_err(refused)?;
        let id = program.attach_to_if_index(ifindex, mode.for_aya()).map_err(refused)?;
        let link = program.take_link(id).map_err(refused)?;
        FdLink::try_from(link).map(Attachment::Plain).map_err(|_| {
            // aya's handle on a netlink attachment is gone with the conversion, the attachment is not.
            if let (Ok(ifindex), Ok(fd)) = (i32::try_from(ifindex), program.fd()) {
                let undone = libbpf_rs::Xdp::new(fd.as_fd()).detach(ifindex, mode.for_libbpf());
                if let Err(error) = undone {
                    tracing::error!("cannot detach the XDP program from {interface}: {error}");
                }
            }
            AttachError::NoLink { interface: interface.to_owned(), mode }
        })
    }
}

/// Has the kernel check the program. A signal in between makes it give up and say so (EAGAIN), and then it is asked again.
fn check(program: &mut Ebpf) -> Result<(), ProgramError> {
    const TRIES: u32 = 20;
    let mut tries = 0;
    loop {
        tries += 1;
        match classifier(program).and_then(Xdp::load) {
            Err(error) if tries < TRIES && errno(&error) == Some(Errno::EAGAIN) => {}
            result => return result,
        }
    }
}

fn classifier(program: &mut Ebpf) -> Result<&mut Xdp, ProgramError> {
    program
        .program_mut(CLASSIFIER_PROGRAM)
        .ok_or(ProgramError::UnexpectedProgramType)
        .and_then(TryInto::try_into)
}

fn map_progress(map: &Map) -> Result<ProgressMap, AttachError> {
    let failed = |error| AttachError::Map { map: maps::PROGRESS, error };
    let Map::Array(data) = map else { return Err(failed(MapError::ElementNotFound)) };
    let bytes = spine_xdp_progs::SOCKETS as usize * PROGRESS_BYTES;
    ProgressMap::new(data.fd().as_fd(), bytes).map_err(|error| failed(MapError::IoError(error)))
}

fn typed<M: TryFrom<Map, Error = MapError>>(
    name: &'static str,
    map: Map,
) -> Result<M, AttachError> {
    M::try_from(map).map_err(|error| AttachError::Map { map: name, error })
}

#[cfg(test)]
mod tests;
