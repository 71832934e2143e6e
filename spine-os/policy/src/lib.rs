//! The policy: who may load what, where, and how much of it (SPINE 3.3.3).
//!
//! A [`Policy`] is a list of grants, read from a TOML file. A grant says of somebody (a local user,
//! a member of a group, the author who signed the extension, or several of these at once) on which
//! interfaces he may have which domains, which packets his extensions may claim, and his
//! [`Limits`].
//!
//! ```toml
//! [[grant]]
//! user = "alice"              # a name or a number
//! interfaces = ["eth1"]       # or ["*"]; with the domain peer also where packets may be forwarded to
//! domains = ["host", "net"]   # core is always granted
//! prefixes = ["10.1.0.0/16"]  # destinations whose packets may be claimed; without it, none
//! ports = ["5000-5999"]       # UDP ports that may be claimed; without it, none
//! peers = ["vienna"]          # machines that may be sent messages to, or ["*"]; without it, none
//! messages = ["bob"]          # other users whose extensions may be sent messages, or ["*"]; without it, none
//! extensions = 4
//! fuel_per_message = 8000
//!
//! [[grant]]
//! signer = "8a88e3dd7409f195fd52db2d3cba5d72ca6709bf1d94121bf3748801b40f6f5c"
//! group = "media"
//! interfaces = ["*"]
//! domains = ["host", "kernel"]
//! ```
//!
//! Invariants: root may do everything, whatever the file says (who can replace the daemon need not
//! be kept from using it); everybody else has what one single grant allows, never parts of several;
//! without a file nobody but root has anything. What a file says that is not understood is an error
//! with its line, never a grant less or more than its author meant.
//!
//! Why a crate of its own? The daemon asks it and `spinectl policy check` reads it; the linker,
//! with its compiler, needs none of it, and neither do applications.
//!
//! Left out: grants that expire, and negative ones.

mod file;
mod limits;

use ipnet::Ipv4Net;
use spine_abi::interface::{Domain, Domains};
use thiserror::Error;

pub use file::PolicyError;
pub use limits::Limits;

use spine_client::signature::PublicKey;

/// Who may load what: the grants of a policy file.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    grants: Vec<Grant>,
}

/// One `[[grant]]`.
#[derive(Debug, Clone)]
struct Grant {
    /// The line it begins on.
    line: usize,
    subject: Subject,
    /// `None`: all of them.
    interfaces: Option<Vec<String>>,
    domains: Domains,
    prefixes: Vec<Ipv4Net>,
    ports: Vec<(u16, u16)>,
    /// Endpoints on other machines that may be sent messages to; `None`: all of them.
    peers: Option<Vec<String>>,
    /// Other users whose extensions may be sent messages; `None`: all of them.
    messages: Option<Vec<u32>>,
    /// Domains that may be exported to other extensions.
    exports: Vec<String>,
    /// Domains of other users' extensions that may be linked against: the user, and the name.
    links: Vec<(u32, String)>,
    limits: Limits,
}

/// Whom a grant is for: everything that is said must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Subject {
    user: Option<u32>,
    group: Option<u32>,
    signer: Option<PublicKey>,
}

/// What a wish was granted: the limits, and where else its extension reaches.
#[derive(Debug, Clone, Copy)]
pub struct Granted<'a> {
    /// How much its user may have.
    pub limits: Limits,
    /// `None`: root's, which reaches everything.
    grant: Option<&'a Grant>,
}

impl Granted<'_> {
    /// Whether it may have packets forwarded to this interface, and send messages there.
    pub fn reaches(&self, interface: &str) -> bool {
        self.grant.is_none_or(|grant| grant.has(interface))
    }

    /// The other users whose extensions it may send messages; `None`: all of them.
    pub fn messages(&self) -> Option<&[u32]> {
        self.grant.and_then(|grant| grant.messages.as_deref())
    }
}

/// Who asks: as the kernel tells it of the other end of a socket.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The user's number.
    pub user: u32,
    /// What to call him in a sentence.
    pub name: &'a str,
    /// The numbers of all his groups.
    pub groups: &'a [u32],
    /// Whose valid signature the extension carries.
    pub signer: Option<PublicKey>,
}

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The extension's name.
    pub extension: &'a str,
    /// The interface to load it on.
    pub interface: &'a str,
    /// The domains its manifest wants.
    pub domains: Domains,
    /// Destinations it wants to claim.
    pub prefixes: &'a [Ipv4Net],
    /// Whether it wants to be the one extension of the interface that claims destinations.
    pub claimant: bool,
    /// UDP ports it wants to claim.
    pub ports: &'a [u16],
    /// Endpoints on other machines it wants to send messages to, by name.
    pub peers: &'a [String],
    /// The domain it exports to other extensions.
    pub exports: Option<&'a str>,
    /// The domains of other extensions it calls: the user each belongs to, and its name. A user's
    /// own are his to link against.
    pub links: &'a [(u32, &'a str)],
}

/// Why a wish was not granted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refusal {
    /// No grant is about this user, this signature, this interface.
    #[error(
        "the policy grants {user} nothing on {interface}, and the extension {extension} asks for the domains {domains}"
    )]
    Nobody {
        /// Who asked.
        user: String,
        /// Where.
        interface: String,
        /// What he wants to load.
        extension: String,
        /// The domains it asks for.
        domains: String,
    },
    /// The grant that comes closest lacks a domain.
    #[error(
        "the policy does not grant {user} the domain {domain} on {interface}, which the extension {extension} asks for; granted: {granted} (line {line})"
    )]
    Domain {
        /// Who asked.
        user: String,
        /// Where.
        interface: String,
        /// What he wants to load.
        extension: String,
        /// The first domain that is missing.
        domain: &'static str,
        /// Those that are granted.
        granted: String,
        /// The grant's line in the file.
        line: usize,
    },
    /// It exports a domain that it may not.
    #[error(
        "the policy does not let {user} export a domain {domain} on {interface} (line {line} is the grant that comes closest)"
    )]
    Export {
        /// Who asked.
        user: String,
        /// Where.
        interface: String,
        /// The domain.
        domain: String,
        /// The grant's line in the file.
        line: usize,
    },
    /// It calls another user's extension, and may not.
    #[error(
        "the policy does not let {user} link against the domain {domain} of user {owner} on {interface} (line {line} is the grant that comes closest)"
    )]
    Link {
        /// Who asked.
        user: String,
        /// Where.
        interface: String,
        /// The domain.
        domain: String,
        /// The number of the user it belongs to.
        owner: u32,
        /// The grant's line in the file.
        line: usize,
    },
    /// It would send messages to another machine, and may not.
    #[error(
        "the policy does not let {user} send messages to the peer {peer} on {interface} (line {line} is the grant that comes closest)"
    )]
    Peer {
        /// Who asked.
        user: String,
        /// Where.
        interface: String,
        /// The machine.
        peer: String,
        /// The grant's line in the file.
        line: usize,
    },
    /// No destination is his to claim, and so he cannot be the one who does.
    #[error(
        "the policy lets {user} claim no destinations on {interface} (line {line} is the grant that comes closest)"
    )]
    Claimant {
        /// Who asked.
        user: String,
        /// Where.
        interface: String,
        /// The grant's line in the file.
        line: usize,
    },
    /// The packets are not his to claim.
    #[error(
        "the policy does not let {user} claim packets to {what} on {interface} (line {line} is the grant that comes closest)"
    )]
    Claim {
        /// Who asked.
        user: String,
        /// Where.
        interface: String,
        /// The prefix or port.
        what: String,
        /// The grant's line in the file.
        line: usize,
    },
}

impl Policy {
    /// Whether anything at all could be granted to this user, whatever he brings: asked before any
    /// work is done for him.
    pub fn knows(&self, user: u32, groups: &[u32]) -> bool {
        user == 0
            || self.grants.iter().any(|grant| {
                grant.subject.user.is_none_or(|named| named == user)
                    && grant.subject.group.is_none_or(|named| groups.contains(&named))
            })
    }

    /// Whether a grant names this user, or one of his groups. Who is known by nothing but the
    /// signature of what he might bring is not.
    pub fn names(&self, user: u32, groups: &[u32]) -> bool {
        self.grants.iter().any(|grant| {
            let Subject { user: named, group, .. } = grant.subject;
            (named.is_some() || group.is_some())
                && named.is_none_or(|named| named == user)
                && group.is_none_or(|named| groups.contains(&named))
        })
    }

    /// The authors it names: the keys to try on a signature.
    pub fn signers(&self) -> Vec<PublicKey> {
        let mut keys = Vec::new();
        for key in self.grants.iter().filter_map(|grant| grant.subject.signer) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        keys
    }

    /// How many grants there are.
    pub fn grants(&self) -> usize {
        self.grants.len()
    }

    /// Whether one grant allows all of the wish; answers what else it says.
    ///
    /// # Errors
    /// [`Refusal`]: what the grant that comes closest lacks.
    pub fn decide(&self, asker: &Asker<'_>, wish: &Wish<'_>) -> Result<Granted<'_>, Refusal> {
        if asker.user == 0 {
            return Ok(Granted { limits: Limits::MOST, grant: None });
        }
        let mut nearest: Option<(u8, Refusal)> = None;
        for grant in self.grants.iter().filter(|grant| grant.is_about(asker, wish.interface)) {
            match grant.lacks(asker, wish) {
                None => return Ok(Granted { limits: grant.limits, grant: Some(grant) }),
                Some((distance, refusal)) => {
                    if nearest.as_ref().is_none_or(|(least, _)| distance < *least) {
                        nearest = Some((distance, refusal));
                    }
                }
            }
        }
        Err(nearest.map_or_else(
            || Refusal::Nobody {
                user: asker.name.to_owned(),
                interface: wish.interface.to_owned(),
                extension: wish.extension.to_owned(),
                domains: wish.domains.with(Domain::Core).to_string(),
            },
            |(_, refusal)| refusal,
        ))
    }
}

impl Grant {
    fn is_about(&self, asker: &Asker<'_>, interface: &str) -> bool {
        let Subject { user, group, signer } = self.subject;
        user.is_none_or(|named| named == asker.user)
            && group.is_none_or(|named| asker.groups.contains(&named))
            && signer.is_none_or(|key| asker.signer == Some(key))
            && self.has(interface)
    }

    fn has(&self, interface: &str) -> bool {
        self.interfaces.as_ref().is_none_or(|names| names.iter().any(|name| name == interface))
    }

    /// What is missing, and how far that is from enough: a domain is farther than a claim.
    fn lacks(&self, asker: &Asker<'_>, wish: &Wish<'_>) -> Option<(u8, Refusal)> {
        let (user, interface) = (asker.name.to_owned(), wish.interface.to_owned());
        let granted = self.domains.with(Domain::Core);
        if let Some(domain) = wish.domains.iter().find(|domain| !granted.contains(*domain)) {
            let refusal = Refusal::Domain {
                user,
                interface,
                extension: wish.extension.to_owned(),
                domain: domain.name(),
                granted: granted.to_string(),
                line: self.line,
            };
            return Some((2, refusal));
        }
        let line = self.line;
        if let Some(domain) =
            wish.exports.filter(|name| !self.exports.iter().any(|own| own == name))
        {
            let domain = domain.to_owned();
            return Some((2, Refusal::Export { user, interface, domain, line }));
        }
        let foreign = wish.links.iter().filter(|(owner, _)| *owner != asker.user);
        let listed = |(owner, domain): &&(u32, &str)| {
            !self.links.iter().any(|(of, name)| of == owner && name == domain)
        };
        if let Some((owner, domain)) = foreign.into_iter().find(listed) {
            let (owner, domain) = (*owner, (*domain).to_owned());
            return Some((2, Refusal::Link { user, interface, domain, owner, line }));
        }
        let named = |peer: &&String| self.peers.as_ref().is_some_and(|ours| !ours.contains(*peer));
        if let Some(peer) = wish.peers.iter().find(named) {
            return Some((2, Refusal::Peer { user, interface, peer: peer.clone(), line }));
        }
        if wish.claimant && self.prefixes.is_empty() {
            return Some((1, Refusal::Claimant { user, interface, line }));
        }
        let inside = |wanted: &&Ipv4Net| !self.prefixes.iter().any(|ours| ours.contains(*wanted));
        let among =
            |wanted: &&u16| !self.ports.iter().any(|(first, last)| (first..=last).contains(wanted));
        let prefix = wish.prefixes.iter().find(inside).map(ToString::to_string);
        let port = wish.ports.iter().find(among).map(|port| format!("UDP port {port}"));
        let what = prefix.or(port)?;
        Some((1, Refusal::Claim { user, interface, what, line: self.line }))
    }
}

#[cfg(test)]
mod tests;
