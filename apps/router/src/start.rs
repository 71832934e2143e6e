//! From a command line to a running router, and back: the order in which things are made, and undone.
//!
//! First everything that only looks (names, capabilities, obstacles), then what costs time but touches
//! nothing (linking the extension), then the data path, which claims nothing before the router has
//! written the table. Whatever fails undoes the rest by being dropped.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use spine_abi::Reason;
use spine_io::TrustedKey;
use spine_io::nic::lanai::Speed;
use spine_io::nic::xdp::attach::AttachError;
use spine_os::client::{AdapterInfo, Client};
use spine_os::domain::Policy;
use spine_os::linker::Linker;
use spine_os::memory::Region;
use spine_os::signature::{PublicKey, SecretKey};
use std::os::fd::AsFd;

use crate::cli::{Misuse, Options, XdpMode};
use crate::dataplane::{self, DataPath, DataPathError};
use crate::extension;
use crate::fib::Layout;
use crate::interfaces::Interfaces;
use crate::netlink::Mirror;
use crate::netlink::socket::NetlinkError;
use crate::netlink::state::IfIndex;
use crate::policy::{self, Obstacle};
use crate::privileges;
use crate::region::TableRegion;
use crate::report::Report;
use crate::router::{Parts, Router, RouterError};
use crate::wire::{self, NicKind, WireError, XdpChoice};

/// How long packets already in the adapters may take to leave at the end.
const DRAIN: Duration = Duration::from_millis(50);

/// Why there is no router, or none any more: one sentence each.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line cannot be followed.
    #[error(transparent)]
    Misuse(#[from] Misuse),
    /// The process may not do it.
    #[error("the capabilities {0} are missing: run as root, or grant them with setcap")]
    Capabilities(String),
    /// The kernel's forwarding path has what adapters cannot honour.
    #[error(
        "refusing to forward past the kernel's policy: {0} (--bypass-kernel-policy overrides this)"
    )]
    Obstacles(String),
    /// The kernel does not tell.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// The extension in a file.
    #[error(transparent)]
    Extension(#[from] spine_os::extension::ExtensionError),
    /// A key.
    #[error(transparent)]
    Key(#[from] spine_os::signature::KeyError),
    /// The extension is refused.
    #[error("the extension is refused: {0}")]
    Link(#[from] spine_os::linker::LinkError),
    /// The linker's key.
    #[error(transparent)]
    Image(#[from] spine_io::extension::ImageError),
    /// The table's memory.
    #[error(transparent)]
    Region(#[from] spine_os::memory::RegionError),
    /// The table's memory is too small; ours never is.
    #[error("the table's region is smaller than the table")]
    TableRegion,
    /// The daemon is there first.
    #[error(
        "spined owns the interface {0}, and an interface has one owner: end spined, or give it other interfaces"
    )]
    Owned(String),
    /// The data path.
    #[error(transparent)]
    DataPath(#[from] DataPathError),
    /// The control loop.
    #[error(transparent)]
    Router(#[from] RouterError),
    /// Signals.
    #[error("cannot wait for signals: {0}")]
    Signals(#[from] nix::Error),
}

/// A router that ran.
#[derive(Debug)]
pub struct Ended {
    /// What the run came to, as far as it can still be told.
    pub report: Report,
    /// Why it ended, if not because its time was up or a signal came.
    pub failure: Option<Failure>,
}

/// Runs a router until its time is up or a signal comes. To be called before there are other threads.
/// Nothing is attached any more when it returns.
///
/// # Errors
/// [`Failure`]: it never ran.
pub fn run(options: &Options) -> Result<Ended, Failure> {
    let signals = signals()?;
    let mut mirror = Mirror::open()?;
    let indices = options.check(mirror.state())?;
    let missing = privileges::missing(options.wire().0 == NicKind::Xdp);
    if !missing.is_empty() {
        return Err(Failure::Capabilities(missing.join(", ")));
    }
    let ours = Interfaces::new(indices);
    if !options.bypass_kernel_policy {
        refuse_obstacles(&mut mirror, &ours)?;
    }

    let expected = layout(options.wire().1);
    let Linked { linker, mut image, probe, key } = link(options, expected)?;
    let data_path = open(options, &mirror, &ours, key)?;
    let layout = layout(data_path.model());
    if layout != expected {
        image = linker.link(module(layout))?.into_bytes();
    }
    if let Some(why) = data_path.instead() {
        let model = match data_path.model() {
            None => "",
            Some(_) => ", under the model of the paper's card",
        };
        eprintln!("spine-router: AF_PACKET is used, since there is no AF_XDP here{model}: {why}");
    }
    let region = Region::create("spine-router-table", layout.region_bytes())?;
    let table = TableRegion::of_size(region, layout.region_bytes()).ok_or(Failure::TableRegion)?;
    data_path.load(&image, table.region())?;
    match data_path.time_budgets(&probe) {
        Ok(Some(times)) => eprintln!("spine-router: {times}"),
        Ok(None) => {}
        Err(error) => eprintln!("spine-router: cannot time what one budget takes: {error}"),
    }

    let complete_checksums =
        options.completes_checksums(mirror.state(), data_path.finishes_checksums());
    let parts = Parts {
        mirror,
        ours,
        layout,
        region: table,
        adapters: data_path.adapters(),
        classifier: data_path.classifier(),
        complete_checksums,
        bypass_kernel_policy: options.bypass_kernel_policy,
        say: Box::new(|sentence| eprintln!("spine-router: {sentence}")),
    };
    let start = Instant::now();
    let mut router = Router::start(parts, start)?;
    eprintln!("ready");
    let until = options.duration.and_then(|duration| start.checked_add(duration));
    let ran = router.run(until, signals.as_fd());
    let duration = start.elapsed();
    let ended = ran.and_then(|()| router.stop()).map_err(Failure::from);
    // Whatever came before.
    let disabled = data_path.disable().map_err(Failure::from);
    let ended = ended.and(disabled);
    std::thread::sleep(DRAIN);
    let (report, unheard) = report(&router, &data_path, duration);
    Ok(Ended { report, failure: ended.err().or(unheard) })
}

/// SIGINT and SIGTERM as something to wait for, here and in all threads made from now on.
fn signals() -> Result<SignalFd, nix::Error> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

fn refuse_obstacles(mirror: &mut Mirror, ours: &Interfaces) -> Result<(), Failure> {
    let (requests, state) = mirror.parts();
    let found = policy::check(requests, state, ours);
    if found.is_empty() {
        return Ok(());
    }
    let sentences: Vec<String> = found.into_iter().map(|Obstacle(sentence)| sentence).collect();
    Err(Failure::Obstacles(sentences.join("; ")))
}

/// What comes of linking.
struct Linked {
    linker: Linker,
    image: Vec<u8>,
    probe: Vec<u8>,
    key: TrustedKey,
}

/// Links the extension, and the probe of what a budget takes, with a key made for this process alone.
fn link(options: &Options, layout: Layout) -> Result<Linked, Failure> {
    let linker = Linker::new(SecretKey::generate()?, Policy::everything())?;
    let key = TrustedKey::from_bytes(&linker.public().to_bytes())?;
    let image = match &options.extension {
        None => linker.link(module(layout))?,
        Some(path) => {
            let trusted = match &options.trust {
                Some(keys) => PublicKey::from_file(keys)?,
                None => Vec::new(),
            };
            linker.link(&spine_os::extension::load_file(path, &trusted)?)?
        }
    };
    let probe = linker.link(&spine_os::probe::module())?.into_bytes();
    Ok(Linked { image: image.into_bytes(), linker, probe, key })
}

/// The table under a model, or without one: what the card has room for, or what the host has.
fn layout(model: Option<Speed>) -> Layout {
    if model.is_some() { Layout::LcTrie } else { Layout::Dir24 }
}

/// The built-in extension that reads a table.
fn module(layout: Layout) -> &'static [u8] {
    match layout {
        Layout::Dir24 => extension::MODULE,
        Layout::LcTrie => extension::LC_TRIE,
    }
}

fn open(
    options: &Options,
    mirror: &Mirror,
    ours: &Interfaces,
    key: TrustedKey,
) -> Result<DataPath, Failure> {
    let interface = |index: &IfIndex| {
        let link = mirror.state().links.get(index)?;
        let (name, mtu) = (link.name.clone(), link.mtu);
        Some(wire::Interface { index: *index, name, mac: link.mac?, mtu })
    };
    let interfaces: Vec<wire::Interface> = ours.indices().iter().filter_map(interface).collect();
    let (nic, model) = options.wire();
    let data_path = DataPath::open(&dataplane::Options {
        nic,
        model,
        // Another extension reads the table it was made for.
        instead: options.extension.is_none().then_some(Speed::Max),
        wires: wire::Options {
            interfaces: &interfaces,
            frames: options.frames,
            mode: match options.xdp_mode {
                XdpMode::Auto => XdpChoice::Auto,
                XdpMode::Native => XdpChoice::Native,
                XdpMode::Generic => XdpChoice::Generic,
            },
        },
        cores: &options.processors(),
        capture: options.capture.as_deref(),
        key,
    });
    data_path.map_err(owner)
}

/// Says so where an interface is taken by this machine's `spined`, which can be asked.
fn owner(error: DataPathError) -> Failure {
    let DataPathError::Wire(WireError::Attach(AttachError::Occupied { interface, .. })) = &error
    else {
        return error.into();
    };
    let adapters = Client::open("spine-router").and_then(|mut spined| spined.adapters());
    let owns = |adapter: &AdapterInfo| adapter.interface == *interface;
    if adapters.is_ok_and(|adapters| adapters.iter().any(owns)) {
        return Failure::Owned(interface.clone());
    }
    error.into()
}

/// The report of those who still answer, and why others do not.
fn report(
    router: &Router<TableRegion>,
    data_path: &DataPath,
    duration: Duration,
) -> (Report, Option<Failure>) {
    let mut unheard = None;
    let mut adapters = Vec::new();
    for (name, counted) in router.statistics() {
        match counted {
            Ok(counted) => adapters.push((name, counted)),
            Err(error) => unheard = Some(RouterError::from(error).into()),
        }
    }
    let mut report = Report::new(&adapters, data_path.syscalls(), duration, router.obstacles());
    report.unrepresented = router.most_unrepresented();
    match data_path.classified() {
        Ok(classified) => {
            report.classifier = classified
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|(name, count)| (name.to_owned(), count))
                .collect::<BTreeMap<String, u64>>();
        }
        Err(error) => unheard = Some(error.into()),
    }
    let refused = data_path.handed_over().refused;
    if refused > 0 {
        *report.dropped.entry(Reason::KernelRefused.name().to_owned()).or_default() += refused;
    }
    (report, unheard)
}
