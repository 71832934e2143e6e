//! From a command line to a daemon that serves, and back: the order in which things are made, and undone.
//!
//! First everything that only looks (files, policy, key, capabilities), then the socket, so that a second
//! daemon ends before it touches anything, then the interfaces. Whatever fails undoes the rest by being
//! dropped.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use spine_client::voice;
use spine_io::TrustedKey;
use spine_policy::Policy;

use crate::asks::Asks;
use crate::cli::{Configuration, Misuse, Options};
use crate::clients::Clients;
use crate::confine;
use crate::descriptors::Descriptors;
use crate::extensions::Extensions;
use crate::job::Tools;
use crate::jobs::Jobs;
use crate::link::{Cache, Room};
use crate::log::Log;
use crate::mail::{self, Bell};
use crate::notify::Notify;
use crate::place::Place;
use crate::requests::Heard;
use crate::server::Server;
use crate::wires::Wires;
use crate::{budget, key, place, server, wires};

/// How long packets already in the adapters may take to leave at the end.
const DRAIN: Duration = Duration::from_millis(50);

/// Why there is no daemon, or none any more: one sentence each.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Misuse(#[from] Misuse),
    #[error(transparent)]
    Policy(#[from] spine_policy::PolicyError),
    #[error(transparent)]
    Key(#[from] spine_client::signature::KeyError),
    #[error(transparent)]
    Engine(#[from] spine_os::linker::LinkError),
    #[error(transparent)]
    Image(#[from] spine_io::extension::ImageError),
    #[error("the capabilities {0} are missing: run as root")]
    Capabilities(String),
    #[error(transparent)]
    Place(#[from] place::PlaceError),
    #[error(transparent)]
    Wires(#[from] wires::WireError),
    #[error(transparent)]
    Server(#[from] server::ServerError),
    #[error("cannot wait for signals: {0}")]
    Signals(#[from] nix::Error),
    #[error("cannot give up system calls: {0}")]
    SystemCalls(#[from] seccompiler::Error),
    #[error("the system refuses what every daemon needs: {0}")]
    System(#[from] std::io::Error),
}

impl Failure {
    /// Whether the command line or a file is to blame.
    pub(crate) fn is_misuse(&self) -> bool {
        matches!(self, Self::Misuse(_) | Self::Policy(_))
    }
}

/// Runs the daemon until a signal comes. To be called before there are other threads.
///
/// # Errors
/// [`Failure`].
pub(crate) fn run(options: &Options, log: Log) -> Result<(), Failure> {
    let configuration = options.configuration()?;
    let (policy, policy_file) = policy(&configuration)?;
    let missing = confine::missing();
    if !missing.is_empty() {
        return Err(Failure::Capabilities(missing.join(", ")));
    }
    let secret = key::open(&configuration.key)?;
    let trusted = TrustedKey::from_bytes(&secret.public().to_bytes())?;
    let compatibility = spine_os::linker::compatibility()?;
    let notify = Notify::from_environment();
    let signals = signals()?;
    let place = Place::take(&configuration.socket)?;
    raise_descriptor_limit();

    let wires = Wires::open(&configuration, trusted)?;
    let bell = Bell::new()?;
    let mail = mail::collect(&wires.machine, &bell)?;
    let asks = Asks::start(&wires.machine, &bell)?;
    let machine = Arc::clone(&wires.machine);
    let tools = Tools {
        key: secret,
        compatibility,
        machine,
        bell: bell.clone(),
        interfaces: configuration.interfaces.clone(),
        room: Room::beside(&configuration.cores),
        images: Cache::default(),
    };
    match budget::time(&tools) {
        Ok(Some(times)) => voice::say(format_args!("spined: {times}")),
        Ok(None) => {}
        Err(why) => voice::say(format_args!("spined: cannot time what one budget takes: {why}")),
    }
    let mut server = Server {
        place,
        signals,
        bell,
        mail,
        wires,
        clients: Clients::default(),
        extensions: Extensions::default(),
        jobs: Jobs::new(tools),
        asks,
        listings: Vec::new(),
        listed: 0,
        heard: Heard::default(),
        policy: Arc::new(policy),
        policy_file,
        notify,
        descriptors: Descriptors::left(),
        log,
        revoked: configuration.revoked,
    };
    confine::refuse_system_calls()?;
    server.notify.say("READY=1");
    voice::say("ready");
    let served = server.run();
    server.notify.say("STOPPING=1");
    server.wires.disable();
    std::thread::sleep(DRAIN);
    Ok(served?)
}

/// The policy, and its file if there is one.
fn policy(configuration: &Configuration) -> Result<(Policy, Option<std::path::PathBuf>), Failure> {
    let path: &Path = &configuration.policy;
    if configuration.policy_is_usual && !path.exists() {
        return Ok((Policy::default(), None));
    }
    Ok((Policy::read(path)?, Some(path.to_owned())))
}

/// SIGINT, SIGTERM and SIGHUP as something to wait for, here and in all threads made from now on.
fn signals() -> Result<SignalFd, nix::Error> {
    let mut set = SigSet::empty();
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        set.add(signal);
    }
    set.thread_block()?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
}

/// As many descriptors as the system lets us have: clients' and extensions' add up.
fn raise_descriptor_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}
