//! The command line, and everything that can be wrong with it before anything is touched.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use nix::sched::{CpuSet, sched_getaffinity};
use nix::unistd::Pid;
use spine_abi::limits::ADAPTERS;
use spine_io::lanai::Speed;
use spine_nic::open::{Backend, Interface, Modes, UnknownMode};

use crate::netlink::KernelState;
use crate::netlink::state::IfIndex;

/// Whether transport checksums that a peer left to its network card are completed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum CompleteChecksums {
    /// On where an interface hands on what its peers leave undone: a veth's do that.
    Auto,
    /// Always.
    On,
    /// Never.
    Off,
}

/// The kinds of wire (`--nic`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum NicKind {
    /// AF_XDP where it can be had, else AF_PACKET under the model at full speed
    #[default]
    Auto,
    /// AF_XDP: fastest; needs CAP_BPF
    Xdp,
    /// AF_PACKET: slower, on any Ethernet interface; root in a user namespace is enough
    Packet,
    /// The model of the paper's card, over the fastest of the others
    Lanai,
}

/// What the model of the card stands on (`--lanai-wire`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum LanaiWire {
    /// AF_XDP where it can be had, else AF_PACKET
    #[default]
    Auto,
    /// AF_XDP
    Xdp,
    /// AF_PACKET
    Packet,
}

/// Whose time the model of the paper's card goes by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LanaiSpeed {
    /// the wall's: as fast as the card was
    Real,
    /// its own: as fast as the host can
    Max,
}

/// Where metrics are read (`--metrics`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MetricsPlace {
    /// An address and a port.
    Address(SocketAddr),
    /// A Unix socket.
    Path(PathBuf),
}

impl FromStr for MetricsPlace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(address) => Ok(Self::Address(address)),
            Err(_) if text.contains('/') => Ok(Self::Path(text.into())),
            Err(_) => Err("ADDRESS:PORT, such as 127.0.0.1:9464, or a path with a slash"),
        }
    }
}

impl fmt::Display for MetricsPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

/// Turns the kernel's router into a SPINE router: packets are forwarded by a safe extension, routes and
/// neighbours are the kernel's, and so is everything out of the ordinary.
#[derive(Debug, Clone, Parser)]
#[command(name = "spine-router", version)]
pub struct Options {
    /// An interface to forward on; give two or more
    #[arg(long = "iface", value_name = "NAME", required = true)]
    pub interfaces: Vec<String>,
    /// Cores the adapters run on, e.g. 1,3: interfaces take them in turn (default: one thread for all,
    /// on any core)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub cores: Vec<usize>,
    /// Ends by itself after so many seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub duration: Option<Duration>,
    /// Prints the report as one JSON object on standard output
    #[arg(long)]
    pub json: bool,
    /// Forwards past firewall rules, filters and policies of the kernel, and says each
    #[arg(long)]
    pub bypass_kernel_policy: bool,
    /// Does not start where a rule or setting would leave some packets to the kernel
    #[arg(long, conflicts_with = "bypass_kernel_policy")]
    pub strict: bool,
    /// Completes transport checksums that local senders left to their network card
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    pub complete_checksums: CompleteChecksums,
    /// Another extension than the built-in one (WebAssembly, signed by its author)
    #[arg(long, value_name = "FILE", requires = "trust")]
    pub extension: Option<PathBuf>,
    /// Public keys of the authors whose extensions may run
    #[arg(long, value_name = "KEYFILE")]
    pub trust: Option<PathBuf>,
    /// What moves packets between an interface and its adapter
    #[arg(long, value_enum, value_name = "KIND", default_value = "auto")]
    pub nic: NicKind,
    /// How fast the model runs (default: real)
    #[arg(long, value_enum, value_name = "SPEED")]
    pub lanai_speed: Option<LanaiSpeed>,
    /// What the model stands on (default: the fastest there is)
    #[arg(long, value_enum, value_name = "KIND")]
    pub lanai_wire: Option<LanaiWire>,
    /// How packets reach the adapters by AF_XDP: auto, native, zero-copy, copy or generic; NAME=MODE for one
    /// interface. Some cards are faster with copies
    #[arg(long, value_name = "[NAME=]MODE", value_delimiter = ',', value_parser = mode)]
    pub xdp_mode: Vec<String>,
    /// How long packets may wait for an adapter that does not run (stopped, frozen, short of processor time) before the kernel forwards
    /// in its place, in milliseconds; 0: for ever. By AF_XDP
    #[arg(long, value_name = "MS", default_value = "20", value_parser = milliseconds)]
    pub stuck_after: Duration,
    /// Packet buffers of each interface (default: enough for its queues)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(256..=1 << 18))]
    pub frames: Option<u32>,
    /// Records the packets in pcap files, one for each interface: FILE `x.pcap` becomes `x.NAME.pcap`
    #[arg(long, value_name = "FILE")]
    pub capture: Option<PathBuf>,
    /// Where `spine-router show` and `explain` are answered (default: /run/spine-router/NAME.sock, of the network namespace)
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,
    /// Answers scrapers with OpenMetrics by HTTP: ADDRESS:PORT, or the path of a Unix socket
    #[arg(long, value_name = "WHERE")]
    pub metrics: Option<MetricsPlace>,
    /// Says more; twice: everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// A command line that cannot be followed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// One interface is no router.
    #[error("only one interface is given: a router needs at least two (--iface A --iface B)")]
    OnlyOne,
    /// More than there can be adapters.
    #[error("{0} interfaces are given, and {ADAPTERS} are possible")]
    TooMany(usize),
    /// Options of a model that is not used.
    #[error(
        "--lanai-speed and --lanai-wire are about the model of the paper's card: say --nic lanai, too"
    )]
    NoModel,
    /// A mode of an interface that is not given.
    #[error("--xdp-mode names {0}, which no --iface does")]
    ModeOfNone(String),
    /// The same one again.
    #[error("interface {0} is given twice")]
    Twice(String),
    /// None of that name.
    #[error("there is no interface {0:?} in this network namespace (see `ip link`)")]
    NoInterface(String),
    /// Nothing that carries Ethernet frames.
    #[error("interface {0} is not an Ethernet interface")]
    NotEthernet(String),
    /// A core the machine does not have, or that this process may not use.
    #[error("core {core} cannot be used: this process may use {allowed}")]
    NoCore {
        /// The core.
        core: usize,
        /// Those that can.
        allowed: String,
    },
    /// A file that cannot be read.
    #[error("{what} {path} cannot be read: {why}")]
    Unreadable {
        /// What it is.
        what: &'static str,
        /// Where it was looked for.
        path: String,
        /// What the system says.
        why: String,
    },
}

/// The longest run with an end: 31 years.
const LONGEST: Duration = Duration::from_secs(1_000_000_000);

fn seconds(text: &str) -> Result<Duration, String> {
    let duration = text
        .parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|duration| !duration.is_zero())
        .ok_or_else(|| "a number of seconds, such as 10 or 0.5".to_owned())?;
    if duration > LONGEST {
        let longest = LONGEST.as_secs();
        return Err(format!(
            "at most {longest} seconds; without it, the router runs until stopped"
        ));
    }
    Ok(duration)
}

fn milliseconds(text: &str) -> Result<Duration, String> {
    let milliseconds = text.parse::<u32>();
    let milliseconds = milliseconds.map_err(|_| "a whole number of milliseconds".to_owned())?;
    Ok(Duration::from_millis(milliseconds.into()))
}

/// A mode, as it was said, if it is one.
fn mode(word: &str) -> Result<String, UnknownMode> {
    Modes::parse(&[word]).map(|_| word.to_owned())
}

impl Options {
    /// The same with interfaces that were called by an alternative name called by their names.
    #[must_use]
    pub fn by_name(&self) -> Self {
        let name = |given: &String| match Interface::find(&[given]) {
            Ok(found) => found.into_iter().next().map_or_else(|| given.clone(), |one| one.name),
            // What is wrong with it is said where it is looked for.
            Err(_) => given.clone(),
        };
        let named = |given: &String| match given.split_once('=') {
            Some((interface, mode)) => format!("{}={mode}", name(&interface.to_owned())),
            None => given.clone(),
        };
        Self {
            interfaces: self.interfaces.iter().map(name).collect(),
            xdp_mode: self.xdp_mode.iter().map(named).collect(),
            ..self.clone()
        }
    }

    /// Checks what the parser cannot, and finds the interfaces' numbers, in their order.
    ///
    /// # Errors
    /// [`Misuse`], one sentence for whoever typed it.
    pub fn check(&self, state: &KernelState) -> Result<Vec<IfIndex>, Misuse> {
        let mut seen = BTreeSet::new();
        for name in &self.interfaces {
            if !seen.insert(name) {
                return Err(Misuse::Twice(name.clone()));
            }
        }
        let indices = self.interfaces.iter().map(|name| {
            let (index, link) =
                state.link_named(name).ok_or_else(|| Misuse::NoInterface(name.clone()))?;
            link.mac.ok_or_else(|| Misuse::NotEthernet(name.clone()))?;
            Ok(index)
        });
        let indices = indices.collect::<Result<Vec<IfIndex>, Misuse>>()?;
        match indices.len() {
            0 | 1 => return Err(Misuse::OnlyOne),
            n if n > ADAPTERS => return Err(Misuse::TooMany(n)),
            _ => {}
        }
        let models = self.lanai_speed.is_some() || self.lanai_wire.is_some();
        if models && self.nic != NicKind::Lanai {
            return Err(Misuse::NoModel);
        }
        if let Some(name) = self.modes().named().find(|name| !seen.contains(&(*name).to_owned())) {
            return Err(Misuse::ModeOfNone(name.to_owned()));
        }
        self.check_cores()?;
        readable("extension", self.extension.as_deref())?;
        readable("key file", self.trust.as_deref())?;
        Ok(indices)
    }

    fn check_cores(&self) -> Result<(), Misuse> {
        let Ok(set) = sched_getaffinity(Pid::from_raw(0)) else { return Ok(()) };
        let may = |core: &usize| set.is_set(*core).unwrap_or(false);
        match self.cores.iter().find(|core| !may(core)) {
            None => Ok(()),
            Some(core) => {
                let all: Vec<String> =
                    (0..CpuSet::count()).filter(may).map(|core| core.to_string()).collect();
                Err(Misuse::NoCore { core: *core, allowed: all.join(",") })
            }
        }
    }

    /// The backend, and how fast the model on it runs, if there is one.
    pub fn backend(&self) -> (Backend, Option<Speed>) {
        match self.nic {
            NicKind::Auto => (Backend::Auto, None),
            NicKind::Xdp => (Backend::Xdp, None),
            NicKind::Packet => (Backend::Packet, None),
            NicKind::Lanai => {
                let backend = match self.lanai_wire.unwrap_or_default() {
                    LanaiWire::Auto => Backend::Auto,
                    LanaiWire::Xdp => Backend::Xdp,
                    LanaiWire::Packet => Backend::Packet,
                };
                let speed = match self.lanai_speed {
                    None | Some(LanaiSpeed::Real) => Speed::Real,
                    Some(LanaiSpeed::Max) => Speed::Max,
                };
                (backend, Some(speed))
            }
        }
    }

    /// How packets of each interface reach its adapter.
    pub fn modes(&self) -> Modes {
        // Each was looked at when it was parsed.
        Modes::parse(&self.xdp_mode).unwrap_or_default()
    }

    /// The processors: one for each core given, or one that is not pinned.
    pub fn processors(&self) -> Vec<Option<usize>> {
        if self.cores.is_empty() {
            return vec![None];
        }
        self.cores.iter().copied().map(Some).collect()
    }

    /// Whether the extension completes checksums, where packets of some interface come with what their senders
    /// left undone.
    pub fn completes_checksums(&self, unfinished: bool) -> bool {
        match self.complete_checksums {
            CompleteChecksums::On => true,
            CompleteChecksums::Off => false,
            CompleteChecksums::Auto => unfinished,
        }
    }
}

fn readable(what: &'static str, path: Option<&Path>) -> Result<(), Misuse> {
    let Some(path) = path else { return Ok(()) };
    // Looked at before it is opened: opening a FIFO would wait for a writer.
    let why = match std::fs::metadata(path) {
        Ok(found) if found.is_file() => match File::open(path) {
            Ok(_) => return Ok(()),
            Err(error) => error.to_string(),
        },
        Ok(_) => "it is not a file".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(Misuse::Unreadable { what, path: path.display().to_string(), why })
}

#[cfg(test)]
mod tests;
