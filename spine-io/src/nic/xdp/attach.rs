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
use std::error::Error;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd as _, AsRawFd};
use std::time::{Duration, Instant};
use std::{fmt, fs, io, thread};

use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, XskMap};
use aya::programs::links::FdLink;
use aya::programs::{ProgramError, Xdp, XdpMode};
use aya::{Ebpf, EbpfLoader};
use libbpf_rs::XdpFlags;
use nix::errno::Errno;
use spine_abi::HandlerNumber;
use spine_xdp_progs::{CLASSIFIER, CLASSIFIER_PROGRAM, STAMP_TIMES, control, flow_key, maps};

pub use spine_xdp_progs::{Counter, Port};

/// How long an interface may stay taken before that is an error: the kernel is still clearing up for
/// 3 to 31 ms after a process with a program attached was killed.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often it is tried meanwhile.
const RETRY: Duration = Duration::from_millis(10);

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

/// Why the classifier could not be loaded, attached or told something.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The process may not load XDP programs.
    #[error(
        "XDP and AF_XDP need the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_NET_RAW, and {missing}: \
         run as root, or grant them to the program file with setcap"
    )]
    Permission {
        /// What is lacking, as a clause.
        missing: String,
    },
    /// The kernel does not take the program.
    #[error("the kernel refused the XDP classifier, which needs Linux 5.18 or newer: {0}")]
    Load(#[source] Box<dyn Error + Send + Sync>),
    /// No interface has that name.
    #[error("there is no interface {interface:?} in this network namespace")]
    NoInterface {
        /// The name that was asked for.
        interface: String,
    },
    /// Somebody else's program is there.
    #[error(
        "{interface} already has an XDP program attached (program id {program}): \
         detach it first (ip link set dev {interface} xdp off, or end its owner)"
    )]
    Occupied {
        /// The interface.
        interface: String,
        /// The program's id.
        program: u32,
    },
    /// The interface or its driver does not take it in this mode; another mode may do.
    #[error("cannot attach the XDP classifier to {interface} in {mode} mode: {cure} ({error})")]
    Refused {
        /// The interface.
        interface: String,
        /// The mode that was tried.
        mode: AttachMode,
        /// What to do about it.
        cure: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// The kernel has no `bpf_link` for XDP here, and we attach in no other way.
    #[error(
        "{interface} takes no XDP program by a bpf_link, and one attached otherwise would outlive \
         this process: use Linux 5.9 or newer, or another mode than {mode}"
    )]
    NoLink {
        /// The interface.
        interface: String,
        /// The mode that was tried.
        mode: AttachMode,
    },
    /// A claim that no packet can meet.
    #[error(
        "UDP port {port} at {address} cannot be claimed for handler {handler}: neither may be zero"
    )]
    NoFlow {
        /// The destination.
        address: Ipv4Addr,
        /// The port.
        port: u16,
        /// Whose packets they would be.
        handler: HandlerNumber,
    },
    /// An entry of a map was refused; a full map among others.
    #[error("the classifier's map {map:?} cannot be changed or read: {error}")]
    Map {
        /// The map's name.
        map: &'static str,
        /// What the kernel said.
        #[source]
        error: MapError,
    },
}

/// The loaded classifier, its maps, and its attachments, which end when it is dropped.
pub struct Classifier {
    links: Vec<(u32, FdLink)>,
    program: Ebpf,
    control: Array<MapData, u32>,
    ports: HashMap<MapData, u32, [u8; Port::BYTES]>,
    sockets: XskMap<MapData>,
    addresses: HashMap<MapData, [u8; 4], u8>,
    claims: LpmTrie<MapData, [u8; 4], u8>,
    flows: HashMap<MapData, [u8; 8], u32>,
    counters: PerCpuArray<MapData, u64>,
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
        Self::load_with(false)
    }

    /// The same, stamping each packet with the time at which it came, for
    /// [`Nic::arrivals`](crate::nic::Nic::arrivals): a look at the clock for each.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_timed() -> Result<Self, AttachError> {
        Self::load_with(true)
    }

    fn load_with(times: bool) -> Result<Self, AttachError> {
        let mut loader = EbpfLoader::new();
        let times = u8::from(times);
        loader.override_global(STAMP_TIMES, &times, true);
        let mut program = loader.load(CLASSIFIER).map_err(load_error)?;
        classifier(&mut program).and_then(Xdp::load).map_err(load_error)?;
        let mut take = |name| {
            program
                .take_map(name)
                .ok_or_else(|| AttachError::Map { map: name, error: MapError::ElementNotFound })
        };
        Ok(Self {
            control: typed(maps::CONTROL, take(maps::CONTROL)?)?,
            ports: typed(maps::PORTS, take(maps::PORTS)?)?,
            sockets: typed(maps::SOCKETS, take(maps::SOCKETS)?)?,
            addresses: typed(maps::ADDRESSES, take(maps::ADDRESSES)?)?,
            claims: typed(maps::CLAIMS, take(maps::CLAIMS)?)?,
            flows: typed(maps::FLOWS, take(maps::FLOWS)?)?,
            counters: typed(maps::COUNTERS, take(maps::COUNTERS)?)?,
            links: Vec::new(),
            enabled: false,
            hosts: false,
            claimed_ports: BTreeSet::new(),
            program,
        })
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
                Ok(link) => {
                    self.links.push((ifindex, link));
                    return Ok(ifindex);
                }
            }
        }
    }

    /// Detaches from an interface and forgets its port. Detaching where nothing is attached is no error:
    /// the kernel does it by itself when an interface goes.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn detach(&mut self, ifindex: u32) -> Result<(), AttachError> {
        self.links.retain(|(attached, _)| *attached != ifindex);
        gone(maps::PORTS, self.ports.remove(&ifindex))
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

    /// Says which sockets, address and handler an attached interface has; replaces what was said before.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn set_port(&mut self, ifindex: u32, port: Port) -> Result<(), AttachError> {
        done(maps::PORTS, self.ports.insert(ifindex, port.to_bytes(), 0))
    }

    /// Switches claiming by destination on one interface, where [`set_enabled`](Self::set_enabled) is for all of
    /// it: such a packet is claimed if both say so. Claimed ports, and messages between hosts, ask only the other.
    ///
    /// # Errors
    /// [`AttachError::Map`]; [`MapError::KeyNotFound`] in it if the interface has no port.
    pub fn set_port_enabled(&mut self, ifindex: u32, enabled: bool) -> Result<(), AttachError> {
        let bytes = self.ports.get(&ifindex, 0);
        let bytes = bytes.map_err(|error| AttachError::Map { map: maps::PORTS, error })?;
        let port = Port { enabled, ..Port::from_bytes(&bytes) };
        self.set_port(ifindex, port)
    }

    /// Puts an AF_XDP socket with a receive ring at an index; it leaves by itself when it is closed.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn set_socket(&mut self, index: u32, socket: &impl AsRawFd) -> Result<(), AttachError> {
        done(maps::SOCKETS, self.sockets.set(index, socket.as_raw_fd(), 0))
    }

    /// Names an address of this machine, or a broadcast address of one of its networks: packets to or
    /// from it are the kernel's.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn set_address(&mut self, address: Ipv4Addr) -> Result<(), AttachError> {
        done(maps::ADDRESSES, self.addresses.insert(address.octets(), 1, 0))
    }

    /// Takes [`set_address`](Self::set_address) back; no error if it was never said.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn remove_address(&mut self, address: Ipv4Addr) -> Result<(), AttachError> {
        gone(maps::ADDRESSES, self.addresses.remove(&address.octets()))
    }

    /// Says whether packets to a prefix are ours or the kernel's; the longest prefix decides, and
    /// without any they are the kernel's. `length` is 0 to 32.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn set_claim(
        &mut self,
        prefix: Ipv4Addr,
        length: u8,
        ours: bool,
    ) -> Result<(), AttachError> {
        let key = Key::new(u32::from(length), prefix.octets());
        done(maps::CLAIMS, self.claims.insert(&key, u8::from(ours), 0))
    }

    /// Takes [`set_claim`](Self::set_claim) back; no error if it was never said.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn remove_claim(&mut self, prefix: Ipv4Addr, length: u8) -> Result<(), AttachError> {
        let key = Key::new(u32::from(length), prefix.octets());
        gone(maps::CLAIMS, self.claims.remove(&key))
    }

    /// Starts claiming packets (`true`), or gives the kernel all of them (`false`, as at first).
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn set_enabled(&mut self, enabled: bool) -> Result<(), AttachError> {
        self.enabled = enabled;
        self.set_control()
    }

    /// Claims the packets to a UDP port for a handler, whatever is routed where; replaces what was said of
    /// that port before. 0.0.0.0 is any unicast address: see [`flow_key`]. Fragments to the
    /// address are counted from then on ([`Counter::Fragments`]) and stay the kernel's.
    ///
    /// # Errors
    /// [`AttachError::NoFlow`] for port or handler zero; [`AttachError::Map`], and nothing is claimed.
    pub fn claim_port(
        &mut self,
        address: Ipv4Addr,
        port: u16,
        handler: HandlerNumber,
    ) -> Result<(), AttachError> {
        if port == 0 || !handler.is_some() {
            return Err(AttachError::NoFlow { address, port, handler });
        }
        done(maps::FLOWS, self.flows.insert(flow_key(address, 0), 1, 0))?;
        let key = flow_key(address, port);
        if let Err(error) = done(maps::FLOWS, self.flows.insert(key, u32::from(handler.0), 0)) {
            self.forget_fragments(address)?;
            return Err(error);
        }
        self.claimed_ports.insert((address, port));
        self.set_control()
    }

    /// Takes [`claim_port`](Self::claim_port) back: the packets are the router's or the kernel's again. No
    /// error if it was never said.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn release_port(&mut self, address: Ipv4Addr, port: u16) -> Result<(), AttachError> {
        if self.claimed_ports.remove(&(address, port)) {
            gone(maps::FLOWS, self.flows.remove(&flow_key(address, port)))?;
            self.forget_fragments(address)?;
        }
        self.set_control()
    }

    /// Fragments to an address are of no interest once no port is claimed there.
    fn forget_fragments(&mut self, address: Ipv4Addr) -> Result<(), AttachError> {
        if self.claimed_ports.range((address, 0)..=(address, u16::MAX)).next().is_some() {
            return Ok(());
        }
        gone(maps::FLOWS, self.flows.remove(&flow_key(address, 0)))
    }

    /// Claims messages between hosts on a link (EtherType [`ETHERTYPE`](crate::endpoint::remote::ETHERTYPE)),
    /// or leaves them to the kernel, as at first. Those by UDP are claimed by their
    /// [port](Self::claim_port).
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn set_hosts(&mut self, claimed: bool) -> Result<(), AttachError> {
        self.hosts = claimed;
        self.set_control()
    }

    fn set_control(&mut self) -> Result<(), AttachError> {
        let value = control(self.enabled, !self.claimed_ports.is_empty(), self.hosts);
        done(maps::CONTROL, self.control.set(0, value, 0))
    }

    /// Packets by what became of them since [`load`](Self::load), on all interfaces and CPUs.
    ///
    /// # Errors
    /// [`AttachError::Map`].
    pub fn counters(&self) -> Result<Vec<(Counter, u64)>, AttachError> {
        let total = |counter: &Counter| {
            let values = self.counters.get(&(*counter as u32), 0);
            let values = values.map_err(|error| AttachError::Map { map: maps::COUNTERS, error })?;
            Ok((*counter, values.iter().sum()))
        };
        Counter::ALL.iter().map(total).collect()
    }

    /// One try, in one mode, by a link or not at all.
    fn attach_once(
        &mut self,
        ifindex: u32,
        interface: &str,
        mode: AttachMode,
    ) -> Result<FdLink, AttachError> {
        let refused = |error: ProgramError| refused(interface, mode, &error);
        let program = classifier(&mut self.program).map_err(refused)?;
        let id = program.attach_to_if_index(ifindex, mode.for_aya()).map_err(refused)?;
        let link = program.take_link(id).map_err(refused)?;
        FdLink::try_from(link).map_err(|_| {
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

fn classifier(program: &mut Ebpf) -> Result<&mut Xdp, ProgramError> {
    program
        .program_mut(CLASSIFIER_PROGRAM)
        .ok_or(ProgramError::UnexpectedProgramType)
        .and_then(TryInto::try_into)
}

fn typed<M: TryFrom<Map, Error = MapError>>(
    name: &'static str,
    map: Map,
) -> Result<M, AttachError> {
    M::try_from(map).map_err(|error| AttachError::Map { map: name, error })
}

fn done(map: &'static str, result: Result<(), MapError>) -> Result<(), AttachError> {
    result.map_err(|error| AttachError::Map { map, error })
}

/// Like [`done`], for entries that need not have been there.
fn gone(map: &'static str, result: Result<(), MapError>) -> Result<(), AttachError> {
    match result {
        Err(error) if errno(&error) == Some(Errno::ENOENT) => Ok(()),
        result => done(map, result),
    }
}

/// What the kernel said at the bottom of an error of aya's.
fn errno(error: &(dyn Error + 'static)) -> Option<Errno> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(number) = error.downcast_ref().and_then(io::Error::raw_os_error) {
            return Some(Errno::from_raw(number));
        }
        next = error.source();
    }
    None
}

fn load_error(error: impl Error + Send + Sync + 'static) -> AttachError {
    match errno(&error) {
        Some(Errno::EPERM | Errno::EACCES) if !is_verifier_error(&error) => {
            AttachError::Permission { missing: missing_capabilities() }
        }
        _ => AttachError::Load(error.into()),
    }
}

/// The verifier answers EACCES for what it finds in a program: that is our fault, not the user's.
fn is_verifier_error(error: &(dyn Error + 'static)) -> bool {
    matches!(
        error.downcast_ref(),
        Some(ProgramError::LoadError { io_error, .. })
            if io_error.raw_os_error() == Some(Errno::EACCES as i32)
    )
}

/// What this process lacks of what we need, as a clause: "this process lacks CAP_BPF".
fn missing_capabilities() -> String {
    const NEEDED: [(&str, u32); 3] = [("CAP_BPF", 39), ("CAP_NET_ADMIN", 12), ("CAP_NET_RAW", 13)];
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let held = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    let missing: Vec<_> =
        NEEDED.iter().filter(|(_, bit)| held & (1 << bit) == 0).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        "this process has them only inside a user namespace or a restricted container".to_owned()
    } else {
        format!("this process lacks {}", missing.join(", "))
    }
}

/// Whether waiting may help.
fn is_taken(error: &AttachError) -> bool {
    match error {
        AttachError::Occupied { .. } => true,
        AttachError::Refused { error, .. } => {
            matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EBUSY | Errno::EEXIST))
        }
        _ => false,
    }
}

fn refused(interface: &str, mode: AttachMode, error: &ProgramError) -> AttachError {
    let number = errno(error);
    let cure = match number {
        Some(Errno::EPERM) => {
            return AttachError::Permission { missing: missing_capabilities() };
        }
        Some(Errno::ERANGE) => {
            "its MTU, or its peer's, is too large for XDP: lower both (to 3506 or less on a veth), \
             or use generic mode"
        }
        Some(Errno::ENOSPC) => {
            "it has fewer receive queues than its peer sends on: give it as many"
        }
        Some(Errno::EOPNOTSUPP) => "its driver has no XDP in this mode",
        Some(Errno::EBUSY | Errno::EEXIST) => "another XDP program is attached to it",
        Some(Errno::ENODEV) => "it has just disappeared",
        _ => {
            "its driver refused; lowering its MTU or its number of queues, or generic mode, may help"
        }
    };
    let error = match number {
        Some(number) => number.into(),
        None => io::Error::other(error.to_string()),
    };
    AttachError::Refused { interface: interface.to_owned(), mode, cure, error }
}

#[cfg(test)]
mod tests;
