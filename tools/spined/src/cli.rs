//! The command line and the configuration file.
//!
//! What the command line says goes over what the file says; the file is the place for a machine's
//! service, the command line for trying things out.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde::Deserialize;
use spine_abi::limits::ADAPTERS;
use spine_client::daemon::SOCKET;
use spine_nic::open::{Modes, UnknownMode};

use crate::grants::Revoked;
use crate::peers::{Configured, config};

/// Where the policy is unless told otherwise; without a file there, only root may load anything.
const POLICY: &str = "/etc/spine/policy.toml";
/// Where the linker's key is unless told otherwise.
const KEY: &str = "/var/lib/spine/linker.key";

/// Owns interfaces and their adapters, and lets several applications load extensions on them, each as
/// the policy allows. `spinectl` talks with it.
#[derive(Debug, Parser)]
#[command(name = "spined", version)]
pub(crate) struct Options {
    /// An interface to own; several may be given (default: those of the configuration)
    #[arg(long = "iface", value_name = "NAME")]
    interfaces: Vec<String>,
    /// Configuration, TOML: interfaces, socket, policy, key, cores, frames, xdp_mode, revoked, and peers on other
    /// machines (`[[peer]]`: name, interface, address, key)
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to listen [default: /run/spine/spined.sock]
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Who may load what [default: /etc/spine/policy.toml; if there is none: root everything, nobody else
    /// anything]
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// The linker's secret key; made if there is none [default: /var/lib/spine/linker.key]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Cores the adapters run on, e.g. 1,3: interfaces take them in turn (default: one thread for all, on
    /// any core)
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    cores: Vec<usize>,
    /// Packet buffers of each interface (default: enough for its queues)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(256..=1 << 18))]
    frames: Option<u32>,
    /// How packets reach the adapters: auto, native, zero-copy, copy or generic; NAME=MODE for one interface
    #[arg(long, value_name = "[NAME=]MODE", value_delimiter = ',')]
    xdp_mode: Vec<String>,
    /// Says more; twice: everything
    #[arg(short, long, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// The configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    interfaces: Vec<String>,
    socket: Option<PathBuf>,
    policy: Option<PathBuf>,
    key: Option<PathBuf>,
    #[serde(default)]
    cores: Vec<usize>,
    frames: Option<u32>,
    /// As on the command line, all in one: "copy,eth1=generic".
    xdp_mode: Option<String>,
    #[serde(default)]
    revoked: Revoked,
    #[serde(default)]
    peer: Vec<config::Raw>,
}

/// What the daemon is to do.
#[derive(Debug)]
pub(crate) struct Configuration {
    pub(crate) interfaces: Vec<String>,
    pub(crate) socket: PathBuf,
    pub(crate) policy: PathBuf,
    /// Whether the policy's file may be missing.
    pub(crate) policy_is_usual: bool,
    pub(crate) key: PathBuf,
    pub(crate) cores: Vec<Option<usize>>,
    pub(crate) frames: Option<u32>,
    pub(crate) xdp_mode: Modes,
    pub(crate) revoked: Revoked,
    /// Endpoints on other machines.
    pub(crate) peers: Vec<Configured>,
}

/// A command line or configuration that cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Misuse {
    #[error("no interface is given: --iface NAME, or `interfaces` in the configuration")]
    NoInterface,
    #[error("interface {0} is given twice")]
    Twice(String),
    #[error(transparent)]
    Mode(#[from] UnknownMode),
    #[error("xdp_mode names {0}, which is no interface of ours")]
    ModeOfNone(String),
    #[error("{0} interfaces are given, and {ADAPTERS} are possible")]
    TooMany(usize),
    #[error("there is no interface {0:?} in this network namespace (see `ip link`)")]
    Unknown(String),
    #[error("cannot read the configuration {path}: {error}")]
    Unreadable { path: PathBuf, error: std::io::Error },
    #[error("{path}:{line}: {what}")]
    Wrong { path: PathBuf, line: usize, what: String },
}

impl Options {
    /// What is to be done, by both.
    pub(crate) fn configuration(&self) -> Result<Configuration, Misuse> {
        let (text, mut file) = self.config.as_deref().map(read).transpose()?.unwrap_or_default();
        let peers = std::mem::take(&mut file.peer);
        let given = |ours: &Option<PathBuf>, theirs: Option<PathBuf>| ours.clone().or(theirs);
        let policy = given(&self.policy, file.policy);
        let cores = if self.cores.is_empty() { file.cores } else { self.cores.clone() };
        let mut configuration = Configuration {
            interfaces: if self.interfaces.is_empty() {
                file.interfaces
            } else {
                self.interfaces.clone()
            },
            socket: given(&self.socket, file.socket).unwrap_or_else(|| SOCKET.into()),
            policy_is_usual: policy.is_none(),
            policy: policy.unwrap_or_else(|| POLICY.into()),
            key: given(&self.key, file.key).unwrap_or_else(|| KEY.into()),
            cores: if cores.is_empty() {
                vec![None]
            } else {
                cores.into_iter().map(Some).collect()
            },
            frames: self.frames.or(file.frames),
            xdp_mode: self.modes(file.xdp_mode.as_deref())?,
            revoked: file.revoked,
            peers: Vec::new(),
        };
        check(&configuration.interfaces)?;
        let ours = &configuration.interfaces;
        if let Some(name) =
            configuration.xdp_mode.named().find(|name| ours.iter().all(|it| it != name))
        {
            return Err(Misuse::ModeOfNone(name.to_owned()));
        }
        let peers = config::peers(peers, &configuration.interfaces);
        configuration.peers = peers.map_err(|(at, what)| {
            let path = self.config.clone().unwrap_or_default();
            Misuse::Wrong { path, line: line_of(&text, at), what }
        })?;
        Ok(configuration)
    }
}

impl Options {
    /// The modes: the command line's, else the file's.
    fn modes(&self, file: Option<&str>) -> Result<Modes, UnknownMode> {
        match file {
            Some(words) if self.xdp_mode.is_empty() => {
                Modes::parse(&words.split(',').map(str::trim).collect::<Vec<_>>())
            }
            _ => Modes::parse(&self.xdp_mode),
        }
    }
}

/// The file's text, and what it says.
fn read(path: &Path) -> Result<(String, File), Misuse> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Misuse::Unreadable { path: path.to_owned(), error })?;
    let file = toml::from_str(&text).map_err(|error| {
        let line = line_of(&text, error.span().map_or(0, |span| span.start));
        let what = error.message().replace('\n', " ");
        Misuse::Wrong { path: path.to_owned(), line, what }
    })?;
    Ok((text, file))
}

/// The line that a byte of a text is on, from 1.
pub(crate) fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn check(interfaces: &[String]) -> Result<(), Misuse> {
    let mut seen = BTreeSet::new();
    for name in interfaces {
        if !seen.insert(name) {
            return Err(Misuse::Twice(name.clone()));
        }
        if nix::net::if_::if_nametoindex(name.as_str()).is_err() {
            return Err(Misuse::Unknown(name.clone()));
        }
    }
    match interfaces.len() {
        0 => Err(Misuse::NoInterface),
        n if n > ADAPTERS => Err(Misuse::TooMany(n)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Options {
        let words = ["spined"].into_iter().chain(line.split_whitespace());
        Options::try_parse_from(words).expect("fine so far")
    }

    #[test]
    fn the_command_line_goes_over_the_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("spined.toml");
        std::fs::write(&path, "interfaces = [\"lo\"]\nsocket = \"/a\"\ncores = [1]\n").expect("ok");
        let file = parse(&format!("--config {}", path.display())).configuration().expect("ok");
        assert_eq!(file.interfaces, ["lo"]);
        assert_eq!((file.socket.as_path(), file.cores), (Path::new("/a"), vec![Some(1)]));
        assert!(file.policy_is_usual);
        let line = format!("--config {} --socket /b --policy /c", path.display());
        let both = parse(&line).configuration().expect("ok");
        assert_eq!(both.socket, Path::new("/b"));
        assert!(!both.policy_is_usual);
    }

    #[test]
    fn what_cannot_be_followed_is_said_in_a_sentence() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("spined.toml");
        std::fs::write(&path, "interfaces = [\"lo\"]\n\nsockt = 1\n").expect("ok");
        for (line, sentence) in [
            (String::new(), "no interface is given".to_owned()),
            ("--iface lo --iface lo".to_owned(), "interface lo is given twice".to_owned()),
            ("--iface nope".to_owned(), "there is no interface \"nope\"".to_owned()),
            ("--config /nowhere".to_owned(), "cannot read the configuration".to_owned()),
            (
                format!("--config {}", path.display()),
                format!("{}:3: unknown field", path.display()),
            ),
        ] {
            let error = parse(&line).configuration().expect_err("misuse").to_string();
            assert!(error.starts_with(&sentence), "{line}: {error}");
        }
    }
}
