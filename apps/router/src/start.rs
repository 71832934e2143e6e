//! From a command line to a running router, and back: the order in which things are made, and undone.
//!
//! First everything that only looks (names, capabilities, with `--strict` what the kernel keeps), then what costs time but touches
//! nothing (linking the extension), then the data path, which claims nothing before the router has
//! written the table. Whatever fails undoes the rest by being dropped.

mod failure;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use spine_client::memory::Region;
use spine_client::signature::{PublicKey, SecretKey};
use spine_client::voice;
use spine_fib::protocol::FORWARD;
use spine_io::TrustedKey;
use spine_io::lanai::Speed;
use spine_nic::open::{self, Backend, FrameCount, Interface, OpenError};
use spine_nic::xdp::attach::AttachError;
use spine_os::domain::Policy;
use spine_os::linker::Linker;
use std::os::fd::{AsFd, BorrowedFd};

pub use self::failure::Failure;
use crate::cli::{NicKind, Options};
use crate::control::{self, Control, Unheard};
use crate::dataplane::{self, DataPath, DataPathError};
use crate::extension;
use crate::fib::Layout;
use crate::guest::{Begin, Guest};
use crate::interfaces::Interfaces;
use crate::netlink::Mirror;
use crate::path::Path;
use crate::policy;
use crate::privileges;
use crate::region::TableRegion;
use crate::report::Report;
use crate::router::{End, Parts, Router, RouterError};
use crate::sensors;
use crate::spined::Owner;

/// How long packets already in the adapters may take to leave at the end.
const DRAIN: Duration = Duration::from_millis(50);
/// How long to wait before interfaces that could not be opened anew are tried again.
const AGAIN: Duration = Duration::from_secs(5);

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
    let linker = Linker::new(SecretKey::generate()?, Policy::everything())?;
    let end = signals.as_fd();
    let until = options.duration.and_then(|duration| Instant::now().checked_add(duration));
    let mut served = serve(options, Guest::none(&linker, || voice::say("ready"), end), true)?;
    while let Some(name) = served.returned {
        say(format_args!(
            "interface {name} is there again: all are opened anew, and counts begin at zero"
        ));
        served = match open_anew(options, &linker, until, end)? {
            Some(served) => served,
            None => return Ok(served.ended),
        };
    }
    Ok(served.ended)
}

/// The same router once more, as often as it takes; `None`: it is to end, and nothing was opened. The kernel forwards meanwhile.
fn open_anew(
    options: &Options,
    linker: &Linker,
    until: Option<Instant>,
    end: BorrowedFd<'_>,
) -> Result<Option<Served>, Failure> {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let options = Options { duration: left, ..options.clone() };
        let ready = || say("the adapters forward again");
        match serve(&options, Guest::none(linker, ready, end), true) {
            Ok(served) => return Ok(Some(served)),
            Err(failure) => say(format_args!(
                "{failure}: the kernel forwards alone, and it is tried again in {} s",
                AGAIN.as_secs()
            )),
        }
        let patience = left.map_or(AGAIN, |left| left.min(AGAIN));
        let mut asked = [PollFd::new(end, PollFlags::POLLIN)];
        poll(&mut asked, PollTimeout::try_from(patience).unwrap_or(PollTimeout::MAX))?;
        if asked[0].any().unwrap_or(true) || left.is_some_and(|left| left <= AGAIN) {
            return Ok(None);
        }
    }
}

/// The same in a thread of one's own, with a guest that shares the adapters and says when it ends.
///
/// # Errors
/// [`Failure`]: it never ran.
pub fn run_with(options: &Options, guest: Guest<'_>) -> Result<Ended, Failure> {
    Ok(serve(options, guest, false)?.ended)
}

/// A router that ran, and whether it did because of an interface that is there again.
struct Served {
    ended: Ended,
    returned: Option<String>,
}

fn serve(options: &Options, guest: Guest<'_>, alone: bool) -> Result<Served, Failure> {
    let options = &options.by_name();
    let mirror = Mirror::open()?;
    let indices = options.check(mirror.state())?;
    let backend = options.backend().0;
    if !privileges::missing(backend == Backend::Xdp).is_empty() {
        // With those that the best backend takes, or the next sentence would name another.
        let missing = privileges::missing(backend != Backend::Packet);
        return Err(Failure::Capabilities(missing.join(", ")));
    }
    let mut ours = Interfaces::new(indices);
    if options.strict {
        refuse_what_is_kept(&mirror, &ours)?;
    }

    let sockets = control::open(options)?;
    let expected = layout(options.backend().1);
    let interfaces = Interface::find(&options.interfaces).map_err(DataPathError::from)?;
    let module = module(options, expected)?;
    let Linked { mut image, probe, key } = link(&module, guest.linker)?;
    let (data_path, layout, table) = match open(options, &interfaces, key, alone)? {
        Opened::Own(data_path) => {
            let layout = layout(data_path.model());
            if layout != expected {
                image = guest.linker.link(built_in(layout))?.into_bytes();
            }
            let table = table(layout)?;
            data_path.load(&image, table.region())?;
            begin(&data_path, &interfaces, &probe, guest.begin)?;
            (Path::Own(data_path), layout, table)
        }
        Opened::Owned(interface, owner) => {
            may_attach(options, alone, interface)?;
            ours = ours.on_adapters(owner.numbers(&options.interfaces)?);
            say("spined owns the interfaces: its adapters are used");
            let table = table(expected)?;
            let spined = owner.load(&options.interfaces, &module, table.region())?;
            (Path::Spined(spined), expected, table)
        }
    };

    let complete_checksums =
        options.completes_checksums(data_path.unfinished_checksums(&interfaces));
    let classifier = data_path.classifier(ours.indices());
    let reopens = alone && matches!(data_path, Path::Own(_));
    let parts = Parts {
        mirror,
        ours,
        layout,
        region: table,
        adapters: data_path.adapters(),
        classifier,
        complete_checksums,
        bypass_kernel_policy: options.bypass_kernel_policy,
        reopens,
        say: Box::new(|sentence| say(sentence)),
    };
    let start = Instant::now();
    let mut router = Router::start(parts, start)?;
    let mut control = Control::new(sockets, &data_path, start);
    router.open_to(&control);
    (guest.ready)();
    let until = options.duration.and_then(|duration| start.checked_add(duration));
    let ran = router.run(until, guest.end, &mut control);
    let duration = start.elapsed();
    let returned = match &ran {
        Ok(End::Returned(name)) => Some(name.clone()),
        _ => None,
    };
    let ended = ran.and_then(|_| router.stop()).map_err(Failure::from);
    // Whatever came before.
    let disabled = data_path.disable().map_err(Failure::from);
    let ended = ended.and(disabled);
    std::thread::sleep(DRAIN);
    let (report, unheard) = report(&router, &data_path, duration);
    let failure = ended.err().or(unheard);
    let returned = returned.filter(|_| failure.is_none());
    Ok(Served { ended: Ended { report, failure }, returned })
}

/// Says a sentence for people.
fn say(sentence: impl Display) {
    voice::say(format_args!("spine-router: {sentence}"));
}

/// SIGINT and SIGTERM as something to wait for, here and in all threads made from now on.
fn signals() -> Result<SignalFd, nix::Error> {
    let mut set = SigSet::empty();
    set.add(Signal::SIGINT);
    set.add(Signal::SIGTERM);
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// `--strict`: no router where some packets between these interfaces would be left to the kernel.
fn refuse_what_is_kept(mirror: &Mirror, ours: &Interfaces) -> Result<(), Failure> {
    let mut watch = policy::Watch::open(Instant::now());
    let kept = policy::Policy::of(&mut watch, mirror.state(), ours, false);
    let sentences: BTreeSet<String> = kept.found.into_iter().map(|found| found.kept.why).collect();
    if sentences.is_empty() {
        return Ok(());
    }
    Err(Failure::Kept(Vec::from_iter(sentences).join("; ")))
}

/// What comes of linking.
struct Linked {
    image: Vec<u8>,
    probe: Vec<u8>,
    key: TrustedKey,
}

/// The table under a model, or without one: what the card has room for, or what the host has.
fn layout(model: Option<Speed>) -> Layout {
    if model.is_some() { Layout::LcTrie } else { Layout::Dir24 }
}

/// An empty table of this layout.
fn table(layout: Layout) -> Result<TableRegion, Failure> {
    let region = Region::create("spine-router-table", layout.region_bytes())?;
    TableRegion::of_size(region, layout.region_bytes()).ok_or(Failure::TableRegion)
}

/// The built-in extension that reads a table.
fn built_in(layout: Layout) -> &'static [u8] {
    match layout {
        Layout::Dir24 => extension::MODULE,
        Layout::LcTrie => extension::LC_TRIE,
    }
}

/// The extension, with the table of this layout: the built-in one, or the one of a file whose author is trusted.
fn module(options: &Options, layout: Layout) -> Result<Cow<'static, [u8]>, Failure> {
    let Some(path) = &options.extension else {
        return Ok(built_in(layout).into());
    };
    let trusted = match &options.trust {
        Some(keys) => PublicKey::from_file(keys)?,
        None => Vec::new(),
    };
    Ok(spine_client::extension::load_file(path, &trusted)?.into())
}

/// Links the extension, and the probe of what a budget takes.
fn link(module: &[u8], linker: &Linker) -> Result<Linked, Failure> {
    let key = TrustedKey::from_bytes(&linker.public().to_bytes())?;
    let image = linker.link(module)?;
    let probe = linker.link(&spine_os::probe::module())?.into_bytes();
    Ok(Linked { image: image.into_bytes(), probe, key })
}

/// The interfaces, taken, or found to be the daemon's.
enum Opened {
    Own(Box<DataPath>),
    Owned(String, Box<Owner>),
}

/// What is done once on adapters of one's own before the router begins.
fn begin(
    data_path: &DataPath,
    interfaces: &[Interface],
    probe: &[u8],
    guest: Begin<'_>,
) -> Result<(), Failure> {
    if let Some(why) = data_path.instead() {
        let model = match data_path.model() {
            None => "",
            Some(_) => ", under the model of the paper's card",
        };
        say(format_args!("AF_PACKET is used, since there is no AF_XDP here{model}: {why}"));
    }
    let blind = data_path.is_past_the_kernel().then(|| sensors::sentence(interfaces)).flatten();
    for note in data_path.notes().iter().chain(&blind) {
        say(note);
    }
    match data_path.time_budgets(probe) {
        Ok(Some(times)) => say(times),
        Ok(None) => {}
        Err(error) => say(format_args!("cannot time what one budget takes: {error}")),
    }
    for claim in guest(data_path.machine())? {
        data_path.claim_port(claim)?;
    }
    Ok(())
}

/// Whether the daemon's adapters are as good as one's own for what is asked.
fn may_attach(options: &Options, alone: bool, interface: String) -> Result<(), Failure> {
    let what = if !alone {
        "what shares the router's adapters"
    } else if options.capture.is_some() {
        "--capture"
    } else if matches!(options.nic, NicKind::Packet | NicKind::Lanai) {
        "--nic"
    } else {
        return Ok(());
    };
    Err(Failure::Owned { interface, what })
}

/// This machine's daemon, if it is the one who has taken an interface.
fn owner(error: &DataPathError) -> Option<(String, Owner)> {
    let DataPathError::Open(OpenError::Attach(AttachError::Occupied { interface, .. })) = error
    else {
        return None;
    };
    Some((interface.clone(), Owner::of(interface)?))
}

fn open(
    options: &Options,
    interfaces: &[Interface],
    key: TrustedKey,
    alone: bool,
) -> Result<Opened, Failure> {
    let (backend, model) = options.backend();
    let modes = options.modes();
    let frames = options.frames.map_or_else(FrameCount::default, FrameCount::exactly);
    let data_path = DataPath::open(&dataplane::Options {
        backend,
        model,
        // Another extension reads the table it was made for, and who shares the adapters needs more than a
        // card has.
        instead: (alone && options.extension.is_none()).then_some(Speed::Max),
        ports: open::Options {
            frames,
            patience: options.stuck_after,
            // A card in real time works off what came while the machine did something else.
            times: model == Some(Speed::Real),
            ..open::Options::new(interfaces, &modes, FORWARD)
        },
        cores: &options.processors(),
        capture: options.capture.as_deref(),
        key,
    });
    match data_path {
        Ok(data_path) => Ok(Opened::Own(Box::new(data_path))),
        Err(error) => match owner(&error) {
            Some((interface, owner)) => Ok(Opened::Owned(interface, Box::new(owner))),
            None => Err(error.into()),
        },
    }
}

/// The report of those who still answer, and why others do not.
fn report(
    router: &Router<TableRegion>,
    data_path: &Path,
    duration: Duration,
) -> (Report, Option<Failure>) {
    let (statistics, reasons) = (router.statistics(), router.reasons());
    let unrepresented = router.most_unrepresented();
    let (report, unheard) =
        control::report(statistics, data_path, reasons, unrepresented, duration);
    let failure = unheard.map(|unheard| match unheard {
        Unheard::Adapter(error) => RouterError::from(error).into(),
        Unheard::Path(error) => error.into(),
    });
    (report, failure)
}
