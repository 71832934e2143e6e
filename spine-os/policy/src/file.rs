//! The policy's file: TOML, and everything in it that can be wrong, with its line.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;
use nix::unistd::{Group, User};
use serde::Deserialize;
use spine_abi::declaration::is_name;
use spine_abi::interface::{Domain, Domains};
use spine_abi::limits::ADAPTERS;
use thiserror::Error;
use toml::Spanned;

use super::{Grant, Limits, Policy, Subject};
use spine_client::signature::PublicKey;

/// Bytes of a policy file, at most.
const FILE_BYTES: u64 = 1 << 20;

/// What is wrong with a policy file.
#[derive(Debug, Error)]
pub enum PolicyError {
    /// It could not be read.
    #[error("cannot read the policy {path}: {error}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// Others could have written it.
    #[error(
        "the policy {path} can be written by others than its owner, or belongs to neither root nor the user who runs this: chown root {path}; chmod 644 {path}"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// Something in it.
    #[error("{path}:{line}: {what}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there, and what would be right.
        what: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(default)]
    grant: Vec<Spanned<RawGrant>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawGrant {
    user: Option<Spanned<NameOrNumber>>,
    group: Option<Spanned<NameOrNumber>>,
    signer: Option<Spanned<String>>,
    interfaces: Spanned<Vec<Spanned<String>>>,
    domains: Spanned<Vec<Spanned<String>>>,
    #[serde(default)]
    prefixes: Vec<Spanned<String>>,
    #[serde(default)]
    ports: Vec<Spanned<String>>,
    #[serde(default)]
    peers: Vec<Spanned<String>>,
    #[serde(default)]
    messages: Vec<Spanned<String>>,
    #[serde(default)]
    exports: Vec<Spanned<String>>,
    #[serde(default)]
    links: Vec<Spanned<String>>,
    extensions: Option<Spanned<u64>>,
    memory: Option<Spanned<u64>>,
    region_bytes: Option<Spanned<u64>>,
    messages_per_second: Option<Spanned<u64>>,
    claims: Option<Spanned<u64>>,
    fuel_per_message: Option<Spanned<u64>>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a name in quotes or a number")]
enum NameOrNumber {
    Number(u32),
    Name(String),
}

/// What is wrong, and at which byte.
type Fault = (usize, String);

impl Policy {
    /// Reads a policy file, which only root or this process's user may be able to write.
    ///
    /// # Errors
    /// [`PolicyError`]: one sentence, with the file and the line.
    pub fn read(path: &Path) -> Result<Self, PolicyError> {
        let unreadable = |error| PolicyError::Unreadable { path: path.to_owned(), error };
        let file = File::open(path).map_err(unreadable)?;
        let about = file.metadata().map_err(unreadable)?;
        if !is_guarded(&about) {
            return Err(PolicyError::Exposed { path: path.to_owned() });
        }
        let mut text = String::new();
        file.take(FILE_BYTES).read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(&text).map_err(|(at, what)| PolicyError::Wrong {
            path: path.to_owned(),
            line: line_of(&text, at),
            what,
        })
    }

    /// Reads a policy from text.
    ///
    /// # Errors
    /// What is wrong, and at which byte.
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let raw: RawFile = toml::from_str(text).map_err(|error| {
            let what = error.message().split('\n').collect::<Vec<_>>().join(" ");
            (error.span().map_or(0, |span| span.start), what)
        })?;
        let mut grants: Vec<Grant> = Vec::with_capacity(raw.grant.len());
        for raw in raw.grant {
            let at = raw.span().start;
            let grant = grant(text, at, raw.into_inner())?;
            if let Some(other) = grants.iter().find(|other| other.overlaps(&grant)) {
                let what = format!(
                    "the grant on line {} is for the same user, group and signer, and has an interface in common with this one: make them one",
                    other.line
                );
                return Err((at, what));
            }
            grants.push(grant);
        }
        Ok(Self { grants })
    }
}

impl Grant {
    fn overlaps(&self, other: &Self) -> bool {
        let common = match (&self.interfaces, &other.interfaces) {
            (Some(ours), Some(theirs)) => ours.iter().any(|name| theirs.contains(name)),
            _ => true,
        };
        common && self.subject == other.subject
    }
}

/// Whether nobody but root and this process's user can have written the file.
fn is_guarded(about: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let user = nix::unistd::geteuid().as_raw();
    about.mode() & 0o022 == 0 && (about.uid() == 0 || about.uid() == user)
}

fn line_of(text: &str, at: usize) -> usize {
    let before = text.as_bytes().get(..at).unwrap_or_default();
    before.iter().filter(|byte| **byte == b'\n').count() + 1
}

fn grant(text: &str, at: usize, raw: RawGrant) -> Result<Grant, Fault> {
    let subject = Subject {
        user: raw.user.map(user).transpose()?,
        group: raw.group.map(group).transpose()?,
        signer: raw.signer.map(signer).transpose()?,
    };
    if subject == (Subject { user: None, group: None, signer: None }) {
        return Err((at, "a grant is for somebody: give user, group or signer".to_owned()));
    }
    let prefixes = each(raw.prefixes, |text| {
        let prefix = text.parse::<Ipv4Net>().ok().filter(|net| net.trunc() == *net);
        prefix.ok_or_else(|| format!("{text:?} is no prefix such as \"10.1.0.0/16\""))
    })?;
    let most = Limits::MOST;
    let usual = Limits::USUAL;
    let narrow = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Ok(Grant {
        line: line_of(text, at),
        subject,
        interfaces: interfaces(raw.interfaces)?,
        domains: domains(raw.domains)?,
        prefixes,
        ports: each(raw.ports, |text| {
            ports(text).ok_or_else(|| format!("{text:?} is no port or range such as \"5000-5999\""))
        })?,
        peers: peers(raw.peers)?,
        messages: messages(raw.messages)?,
        exports: each(raw.exports, |text| match exportable(text) {
            true => Ok(text.to_owned()),
            false => Err(format!(
                "{text:?} is no name for an extension's domain: a-z, then a-z, 0-9 and _, and none of the runtime's"
            )),
        })?,
        links: each(raw.links, link)?,
        limits: Limits {
            extensions: narrow(limit(
                raw.extensions,
                "extensions",
                usual.extensions.into(),
                most.extensions.into(),
            )?),
            memory: limit(raw.memory, "memory", usual.memory, most.memory)?,
            region_bytes: limit(
                raw.region_bytes,
                "region_bytes",
                usual.region_bytes,
                most.region_bytes,
            )?,
            messages_per_second: narrow(limit(
                raw.messages_per_second,
                "messages_per_second",
                usual.messages_per_second.into(),
                most.messages_per_second.into(),
            )?),
            claims: limit(raw.claims, "claims", usual.claims, most.claims)?,
            fuel_per_message: limit(
                raw.fuel_per_message,
                "fuel_per_message",
                usual.fuel_per_message,
                most.fuel_per_message,
            )?,
        },
    })
}

fn user(raw: Spanned<NameOrNumber>) -> Result<u32, Fault> {
    let at = raw.span().start;
    match raw.into_inner() {
        NameOrNumber::Number(number) => Ok(number),
        NameOrNumber::Name(name) => match User::from_name(&name) {
            Ok(Some(user)) => Ok(user.uid.as_raw()),
            _ => Err((at, format!("there is no user {name:?} on this machine"))),
        },
    }
}

/// Whether an extension's domain may be called this.
fn exportable(name: &str) -> bool {
    is_name(name) && Domain::from_name(name).is_none()
}

/// `"alice:flow"`: the domain `flow` of an extension that alice loaded.
fn link(text: &str) -> Result<(u32, String), String> {
    let (owner, domain) = text
        .split_once(':')
        .filter(|(_, domain)| exportable(domain))
        .ok_or_else(|| format!("{text:?} is no user and domain such as \"alice:flow\""))?;
    Ok((some_user(owner)?, domain.to_owned()))
}

/// A user's number, by that or by name.
fn some_user(text: &str) -> Result<u32, String> {
    let known = || User::from_name(text).ok().flatten().map(|user| user.uid.as_raw());
    let number = text.parse().ok().or_else(known);
    number.ok_or_else(|| format!("there is no user {text:?} on this machine"))
}

/// Users whose extensions may be sent messages, `None` for all of them.
fn messages(raw: Vec<Spanned<String>>) -> Result<Option<Vec<u32>>, Fault> {
    match raw.as_slice() {
        [all] if all.as_ref() == "*" => Ok(None),
        several => match several.iter().find(|name| name.as_ref() == "*") {
            Some(all) => {
                Err((all.span().start, "\"*\" means all users and stands alone".to_owned()))
            }
            None => each(raw, some_user).map(Some),
        },
    }
}

fn group(raw: Spanned<NameOrNumber>) -> Result<u32, Fault> {
    let at = raw.span().start;
    match raw.into_inner() {
        NameOrNumber::Number(number) => Ok(number),
        NameOrNumber::Name(name) => match Group::from_name(&name) {
            Ok(Some(group)) => Ok(group.gid.as_raw()),
            _ => Err((at, format!("there is no group {name:?} on this machine"))),
        },
    }
}

fn signer(raw: Spanned<String>) -> Result<PublicKey, Fault> {
    let at = raw.span().start;
    PublicKey::from_hex(raw.as_ref()).ok_or_else(|| {
        (at, "a signer is the 64 hexadecimal digits of an Ed25519 public key".to_owned())
    })
}

/// The interfaces, `None` for all of them.
fn interfaces(raw: Spanned<Vec<Spanned<String>>>) -> Result<Option<Vec<String>>, Fault> {
    let at = raw.span().start;
    let names = each(raw.into_inner(), |name| Ok(name.to_owned()))?;
    match names.as_slice() {
        [] => Err((at, "a grant names at least one interface, or \"*\"".to_owned())),
        [all] if all == "*" => Ok(None),
        several if several.iter().any(|name| name == "*") => {
            Err((at, "\"*\" means all interfaces and stands alone".to_owned()))
        }
        several if several.len() > ADAPTERS => {
            Err((at, format!("at most {ADAPTERS} interfaces in one grant")))
        }
        _ => Ok(Some(names)),
    }
}

/// Machines that may be sent messages to, `None` for all of them.
fn peers(raw: Vec<Spanned<String>>) -> Result<Option<Vec<String>>, Fault> {
    let at = raw.first().map_or(0, |first| first.span().start);
    let names = each(raw, |name| Ok(name.to_owned()))?;
    match names.as_slice() {
        [all] if all == "*" => Ok(None),
        several if several.iter().any(|name| name == "*") => {
            Err((at, "\"*\" means all peers and stands alone".to_owned()))
        }
        _ => Ok(Some(names)),
    }
}

fn domains(raw: Spanned<Vec<Spanned<String>>>) -> Result<Domains, Fault> {
    let known = || Domain::ALL.iter().map(|domain| domain.name()).collect::<Vec<_>>().join(", ");
    let named = each(raw.into_inner(), |name| {
        Domain::from_name(name)
            .ok_or_else(|| format!("there is no domain {name:?}; there are {}", known()))
    })?;
    Ok(named.into_iter().fold(Domains::CORE, Domains::with))
}

/// `"5000"` or `"5000-5999"`.
fn ports(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (0 < first && first <= last).then_some((first, last))
}

/// Each entry of a list, none of them twice.
fn each<T: PartialEq>(
    raw: Vec<Spanned<String>>,
    read: impl Fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, Fault> {
    let mut all = Vec::with_capacity(raw.len());
    for entry in raw {
        let value = read(entry.as_ref()).map_err(|what| (entry.span().start, what))?;
        if all.contains(&value) {
            return Err((entry.span().start, format!("{:?} is given twice", entry.as_ref())));
        }
        all.push(value);
    }
    Ok(all)
}

fn limit(raw: Option<Spanned<u64>>, name: &str, usual: u64, most: u64) -> Result<u64, Fault> {
    let Some(raw) = raw else { return Ok(usual) };
    let at = raw.span().start;
    let value = raw.into_inner();
    if value > most {
        return Err((at, format!("{name} = {value} is more than the {most} that are possible")));
    }
    Ok(value)
}
