//! What each command does.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::CommandFactory as _;
use spine_client::memory::{Region, RegionError};
use spine_client::pair_key;
use spine_client::relay::TAKEN;
use spine_client::signature::{KeyError, signature_path};
use spine_client::{
    AdapterStatistics, ClaimChange, Client, ClientError, Event, ExtensionNumber, Load,
};
use spine_policy::{Policy, PolicyError};

use crate::cli::{ClaimOptions, Command, LoadOptions, Options, PolicyCommand, Target};
use crate::{print, top};

/// How long an adapter may take to take a message for another machine.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// Why a command was not followed: one sentence.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
    #[error("cannot read {path}: {error}")]
    File { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Region(#[from] RegionError),
    #[error("cannot print: {0}")]
    Print(#[from] io::Error),
    #[error("cannot print as JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("the adapter has not taken the message to {0}")]
    NotTaken(String),
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    #[error("extension {number} has ended: {why}")]
    Ended { number: ExtensionNumber, why: String },
}

impl Failure {
    /// Whether a file or the command line is to blame.
    pub(crate) fn is_misuse(&self) -> bool {
        matches!(self, Self::Policy(_) | Self::File { .. } | Self::Key(_))
    }
}

/// Follows the command line.
///
/// # Errors
/// [`Failure`].
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let open = || Client::open_at(&options.socket, "spinectl");
    match &options.command {
        Command::Adapters { json } => {
            let adapters = open()?.adapters()?;
            print::out(*json, &adapters, || print::adapters(&adapters))
        }
        Command::Extensions { json } => {
            let extensions = open()?.extensions()?;
            print::out(*json, &extensions, || print::extensions(&extensions))
        }
        Command::Load(load) => self::load(&mut open()?, load),
        Command::Unload { extension } => Ok(open()?.unload(*extension)?),
        Command::Replace { extension, file } => {
            let (wasm, signature) = module(file)?;
            let now = open()?.replace(*extension, &wasm, signature)?;
            print::line(&format!("{} is {} version {}", now.number, now.name, now.version))
        }
        Command::Claim(claim) => self::claim(&mut open()?, claim),
        Command::Stats { interface, json } => {
            let all = statistics(&mut open()?, interface.as_deref())?;
            print::out(*json, &all, || print::statistics(&all))
        }
        Command::Top { interval, once } => top::run(&mut open()?, *interval, *once),
        Command::Peers { json } => {
            let peers = open()?.peers()?;
            print::out(*json, &peers, || print::peers(&peers))
        }
        Command::Key { file } => Ok(pair_key::create_file(file)?),
        Command::Send { target, handler, arguments, text, wait, count, answer } => {
            let arguments = text.as_ref().map_or(arguments.0.as_slice(), |text| text.as_bytes());
            let mut client = open()?;
            let extension = match target {
                Target::Extension(extension) => {
                    if wait.is_some() {
                        client.attach(*extension)?;
                    }
                    client.send(*extension, *handler, arguments)?;
                    *extension
                }
                Target::Peer(peer) => {
                    send_to_peer(&mut client, peer, (*handler, *answer), arguments)?
                }
            };
            match wait {
                Some(patience) => answers(&mut client, extension, *patience, *count),
                None => Ok(()),
            }
        }
        Command::Policy(PolicyCommand::Check { file }) => {
            let policy = Policy::read(file)?;
            print::line(&format!("{}: {} grants, nothing wrong", file.display(), policy.grants()))
        }
        Command::Completions { shell } => {
            clap_complete::generate(*shell, &mut Options::command(), "spinectl", &mut io::stdout());
            Ok(())
        }
    }
}

/// Sends a message to another machine; answers what its answers come from.
fn send_to_peer(
    client: &mut Client,
    peer: &str,
    (handler, answer): (u16, u16),
    arguments: &[u8],
) -> Result<ExtensionNumber, Failure> {
    let relay = client.reach(peer, handler, answer)?;
    client.send(relay, answer, arguments)?;
    // Until then the relay must stay.
    match client.wait_for(relay, TAKEN, TAKEN_WITHIN)?.as_slice() {
        [0, 0, 0, 0] => Ok(relay),
        _ => Err(Failure::NotTaken(peer.to_owned())),
    }
}

fn statistics(
    client: &mut Client,
    interface: Option<&str>,
) -> Result<Vec<AdapterStatistics>, Failure> {
    let names: Vec<String> = match interface {
        Some(name) => vec![name.to_owned()],
        None => client.adapters()?.into_iter().map(|adapter| adapter.interface).collect(),
    };
    names.iter().map(|name| Ok(client.statistics(name)?)).collect()
}

fn claim(client: &mut Client, options: &ClaimOptions) -> Result<(), Failure> {
    let forget = options.forget.iter().copied().map(ClaimChange::Forget);
    let take = options.take.iter().copied().map(ClaimChange::Take);
    let leave = options.leave.iter().copied().map(ClaimChange::Leave);
    let changes: Vec<ClaimChange> = forget.chain(take).chain(leave).collect();
    client.claim(options.extension, &changes)?;
    if options.pause || options.resume {
        client.set_claiming(options.extension, options.resume)?;
    }
    Ok(())
}

fn load(client: &mut Client, options: &LoadOptions) -> Result<(), Failure> {
    let (wasm, signature) = module(&options.file)?;
    let regions = options.regions.iter().enumerate().map(|(index, kib)| {
        let bytes = usize::try_from(*kib << 10).unwrap_or(usize::MAX);
        Region::create(&format!("spinectl-{index}"), bytes)
    });
    let regions = regions.collect::<Result<Vec<_>, _>>()?;
    let load = Load {
        interface: options.interface.clone(),
        keep: options.keep,
        prefixes: options.prefixes.clone(),
        ports: options.ports.clone(),
        peers: options.peers.clone(),
        handler: options.handler,
        domains: (!options.domains.is_empty()).then(|| options.domains.clone()),
        fuel: options.fuel,
        signature,
        ..Load::default()
    };
    let loaded = client.load(&load, &wasm, &regions.iter().collect::<Vec<_>>())?;
    print::line(&loaded.number.to_string())?;
    if options.keep {
        return Ok(());
    }
    loop {
        print_event(client.receive(Duration::from_secs(60))?, loaded.number)?;
    }
}

/// Prints so many messages of an extension, or fails when no more come in time.
fn answers(
    client: &mut Client,
    extension: ExtensionNumber,
    patience: Duration,
    count: usize,
) -> Result<(), Failure> {
    let end = Instant::now() + patience;
    let mut printed = 0;
    while printed < count {
        let left = end.saturating_duration_since(Instant::now());
        match client.receive(left)? {
            None => return Err(Failure::NoAnswer(patience)),
            event => printed += usize::from(print_event(event, extension)?),
        }
    }
    Ok(())
}

/// Prints a message of an extension; says whether it was one.
fn print_event(event: Option<Event>, ours: ExtensionNumber) -> Result<bool, Failure> {
    match event {
        Some(Event::Message { extension, handler, arguments }) if extension == ours => {
            print::line(&format!("{handler} {}", spine_client::hex::encode(&arguments)))?;
            io::stdout().flush()?;
            Ok(true)
        }
        Some(Event::Ended { extension, why }) if extension == ours => {
            Err(Failure::Ended { number: extension, why })
        }
        _ => Ok(false),
    }
}

/// An extension's file, and its author's signature if there is one beside it.
fn module(path: &Path) -> Result<(Vec<u8>, Option<String>), Failure> {
    let failed = |path: &Path, error| Failure::File { path: path.to_owned(), error };
    let wasm = std::fs::read(path).map_err(|error| failed(path, error))?;
    let beside = signature_path(path);
    match std::fs::read_to_string(&beside) {
        Ok(signature) => Ok((wasm, Some(signature))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((wasm, None)),
        Err(error) => Err(failed(&beside, error)),
    }
}
