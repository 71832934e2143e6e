//! What is said over the control socket: JSON, one packet a sentence.
//!
//! A client sends [`Call`]s: a number of its choice and a [`Request`]. The daemon answers each with
//! that number, in the order of the calls, and sends [`FromDaemon::Ended`] whenever there is one.
//! The first request is [`Request::Hello`] with the [`VERSION`]; a daemon of another version says
//! so and hangs up.
//!
//! ```text
//! -> {"id":1,"request":{"hello":{"version":4,"program":"spinectl"}}}
//! <- {"answer":{"id":1,"answer":{"hello":{"version":4,"daemon":"spined 0.1.0"}}}}
//! -> {"id":2,"request":{"load":{"interface":"eth1"}}}            with the file descriptor of a .wasm
//! <- {"refused":{"id":2,"why":"the policy grants alice nothing on eth1, ..."}}
//! ```
//!
//! File descriptors travel beside the packet that needs them: for `load` and `replace` the
//! extension as a sealed memory file, then the regions' files in the order of the manifest.
//!
//! Messages of extensions do not come this way. With the first extension that a client loads or
//! attaches to on an adapter, the answer brings [two descriptors](FIFO_DESCRIPTORS): the client's
//! end of a FIFO to that adapter (`spine_ring::Fds`), of its own, for all its extensions there. In
//! it an extension is known by its [place](ExtensionInfo::place), which another one may have after
//! it; the adapter's notices in the FIFO (`spine_abi::Notice`) say where one ends.
//!
//! Invariants: [`parse`] takes any bytes, allocates no more than in proportion to them, and what it
//! gives is within the limits below; unknown fields are refused, so that no word is ever ignored
//! today and meant tomorrow. Nothing here knows what a request is allowed to do.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use spine_abi::limits::REGIONS;
use thiserror::Error;

/// The version of this language.
pub const VERSION: u32 = 4;
/// Bytes of a packet, at most.
pub const PACKET_BYTES: usize = 64 << 10;
/// File descriptors beside one packet, at most: the extension and its regions.
pub const DESCRIPTORS: usize = 1 + REGIONS;
/// File descriptors beside an answer that brings a FIFO: its memory, and its doorbell.
pub const FIFO_DESCRIPTORS: usize = 2;
/// Extensions named in one answer, at most.
pub const PAGE: usize = 32;
/// Bytes of any name in a request.
const NAME_BYTES: usize = 255;
/// Bytes of an author's signature, as the text of its file.
const SIGNATURE_BYTES: usize = 4096;
/// Prefixes that an extension may claim as it is loaded, and ports at any time.
pub const CLAIMS: usize = 64;
/// Changes to what an extension claims, in one request.
pub const CLAIM_CHANGES: usize = 1024;
/// Prefixes of an extension that are named in an answer, at most.
pub const PREFIXES_NAMED: usize = 8;

/// Endpoints on other machines that one daemon has, and that one adapter has.
pub const PEERS: usize = 64;

/// The number of an extension on a daemon: never given twice while it runs.
pub type ExtensionNumber = u64;

/// A request, and the number that its answer carries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// Chosen by the client.
    pub id: u64,
    /// What it wants.
    pub request: Request,
}

/// What a client may ask for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// The first one: which language this is.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// What the client calls itself, for the daemon's log.
        program: String,
    },
    /// All adapters.
    Adapters,
    /// The extensions with a number above `after`, a [`PAGE`] at a time.
    Extensions {
        /// Zero for the first page.
        after: ExtensionNumber,
    },
    /// Load an extension. Beside it: the .wasm, then the regions.
    Load(Load),
    /// Unload one's own extension, or one of the same user.
    Unload {
        /// Which.
        extension: ExtensionNumber,
    },
    /// Put another version in an extension's place, without losing a message. Beside it: the .wasm;
    /// no regions, since those of the version before are handed over.
    Replace {
        /// Which.
        extension: ExtensionNumber,
        /// The author's signature, as the text of its file.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<String>,
    },
    /// Hear the messages of an extension of the same user that another connection loaded, and send
    /// it some.
    Attach {
        /// Which.
        extension: ExtensionNumber,
    },
    /// Change which destinations' packets an extension has.
    Claim(Claim),
    /// What an adapter has counted.
    Statistics {
        /// Which.
        interface: String,
    },
    /// All endpoints on other machines.
    Peers,
}

/// What an extension claims from now on: one's own, or one of the same user. With each of these the
/// daemon also looks again which addresses this machine and the interface have: nobody else's word
/// is taken for those.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Which.
    pub extension: ExtensionNumber,
    /// Whether it is given what it claims by prefix, once the changes are made; while it is not,
    /// nobody else can claim it, and the kernel has it. Without it, as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    /// Followed in this order, all of them or, if one is refused, none: [`CLAIM_CHANGES`] at most.
    #[serde(default)]
    pub changes: Vec<ClaimChange>,
}

/// A change to what an extension claims. The longest prefix decides; without any, packets are the
/// kernel's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ClaimChange {
    /// Packets to this prefix are the extension's.
    Take(Ipv4Net),
    /// They are the kernel's, although those around them are the extension's.
    Leave(Ipv4Net),
    /// Nothing is said of this prefix any more; no error if nothing was.
    Forget(Ipv4Net),
    /// This is an address of this machine, beside those that the daemon finds itself: the kernel's,
    /// from and to.
    Own(Ipv4Addr),
    /// It is not, as far as this extension goes; no error if that was never said.
    Disown(Ipv4Addr),
}

/// An extension to load. What its manifest says is not repeated here.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// On which interface's adapter.
    pub interface: String,
    /// Whether it stays when the connection ends.
    #[serde(default)]
    pub keep: bool,
    /// Bytes of each region.
    #[serde(default)]
    pub regions: Vec<u64>,
    /// Destinations whose packets it wants to have.
    #[serde(default)]
    pub prefixes: Vec<Ipv4Net>,
    /// Whether it says later which destinations it wants ([`Request::Claim`]). Until it ends nobody
    /// else can claim any on this interface, and it is given none before it says
    /// [`enabled`](Claim::enabled).
    #[serde(default)]
    pub claimant: bool,
    /// UDP ports whose packets it wants to have, at any unicast address.
    #[serde(default)]
    pub ports: Vec<u16>,
    /// Endpoints on other machines that it may send messages to, by name.
    #[serde(default)]
    pub peers: Vec<String>,
    /// Which of its handlers gets what it claims; without it, the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handler: Option<u16>,
    /// The only domains it may have, whatever the policy grants; without it, what its manifest asks
    /// for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domains: Option<Vec<String>>,
    /// Fuel of one message; without it, the usual.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuel: Option<u64>,
    /// The author's signature, as the text of its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<String>,
}

/// What the daemon says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum FromDaemon {
    /// A request was followed.
    Answer {
        /// The call's number.
        id: u64,
        /// What came of it.
        answer: Answer,
    },
    /// A request was not followed; nothing has changed.
    Refused {
        /// The call's number; 0 if it is the connection that is refused, which ends with this.
        id: u64,
        /// One sentence.
        why: String,
    },
    /// An extension is gone although this client did not unload it.
    Ended {
        /// Which.
        extension: ExtensionNumber,
        /// One sentence.
        why: String,
    },
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Answer {
    /// Welcome.
    Hello {
        /// [`VERSION`].
        version: u32,
        /// The daemon's name and version.
        daemon: String,
    },
    /// All adapters.
    Adapters(Vec<AdapterInfo>),
    /// Some extensions, by number.
    Extensions {
        /// At most a [`PAGE`] of them.
        extensions: Vec<ExtensionInfo>,
        /// Whether there are more behind the last.
        more: bool,
    },
    /// It is loaded, or replaced. Perhaps with a FIFO beside it.
    Loaded(Box<ExtensionInfo>),
    /// Its messages are heard from now on. Perhaps with a FIFO beside it.
    Attached(Box<ExtensionInfo>),
    /// Done; there is nothing to say about it.
    Done,
    /// What an adapter counted.
    Statistics(Box<AdapterStatistics>),
    /// All endpoints on other machines.
    Peers(Vec<PeerInfo>),
}

/// An adapter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterInfo {
    /// Its interface.
    pub interface: String,
    /// Its number: what the verdict "forward to peer" names.
    pub index: u16,
    /// How packets reach it.
    pub mode: String,
    /// Extensions on it.
    pub extensions: u32,
}

/// An extension.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtensionInfo {
    /// Its number on this daemon.
    pub number: ExtensionNumber,
    /// Its name, as its manifest has it.
    pub name: String,
    /// Its adapter's interface.
    pub interface: String,
    /// Its number on that adapter: its messages come from it. Given to another one afterwards.
    pub place: u16,
    /// Whose it is.
    pub user: u32,
    /// Whether it outlives the connection that loaded it.
    pub keep: bool,
    /// The numbers of its handlers.
    pub handlers: Vec<u16>,
    /// The numbers they have on its adapter, in the same order: what messages in a FIFO name.
    #[serde(default)]
    pub numbers: Vec<u16>,
    /// The domains it has.
    pub domains: Vec<String>,
    /// Destinations whose packets it has claimed: the first [`PREFIXES_NAMED`].
    pub prefixes: Vec<Ipv4Net>,
    /// How many prefixes it has said something of.
    pub claimed: u32,
    /// Whether it is not given what it claims by prefix at present.
    pub paused: bool,
    /// UDP ports whose packets it has claimed.
    pub ports: Vec<u16>,
    /// Endpoints on other machines that it may send messages to.
    pub peers: Vec<String>,
    /// Bytes of each of its regions.
    pub regions: Vec<u64>,
    /// Versions so far, with replacements: 1 at first.
    pub version: u32,
    /// Why the policy, as it is now, would not have it loaded, if it has been kept although its grant was
    /// taken away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uncovered: Option<String>,
    /// Messages from its applications.
    pub sent: u64,
    /// Messages to its applications.
    pub received: u64,
    /// Messages to its applications that found no room, or that nobody heard.
    pub lost: u64,
    /// What it has cost its adapter.
    pub bill: Bill,
}

/// What an extension has cost its adapter since it was loaded.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bill {
    /// Entries into it.
    pub entries: u64,
    /// Messages it was given in them.
    pub messages: u64,
    /// Fuel it used.
    pub fuel: u64,
    /// Time it took, in nanoseconds.
    pub nanos: u64,
    /// Picoseconds that a unit of its fuel takes, by which its fuel is measured out.
    pub picos_per_unit: u64,
    /// Handlers stopped for using up their fuel.
    pub out_of_fuel: u64,
    /// Handlers stopped for what their fuel takes, before it was used up.
    pub too_dear: u64,
    /// Handlers that trapped.
    pub trapped: u64,
    /// Entries that it left with messages waiting, or in which its memory was taken away.
    pub broken_off: u64,
    /// Handlers stopped because an extension that they called trapped.
    pub callee_trapped: u64,
    /// Strikes of late.
    pub strikes: u32,
    /// Frames that wait for it or that it keeps.
    pub frames: u64,
    /// Bytes of its memory, regions included.
    pub memory: u64,
    /// The last time that it was stopped: the handler's number, and by what.
    pub last_stop: Option<(u16, String)>,
}

impl Bill {
    /// How often one of its handlers was stopped, by whatever.
    pub fn stops(&self) -> u64 {
        let own = self.out_of_fuel + self.too_dear + self.trapped + self.broken_off;
        own + self.callee_trapped
    }
}

/// What an adapter counted since the daemon started.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdapterStatistics {
    /// Its interface.
    pub interface: String,
    /// How packets reach it.
    pub mode: String,
    /// Everything that is one number, by name.
    pub counters: BTreeMap<String, u64>,
    /// Packets dropped, by reason.
    pub dropped: BTreeMap<String, u64>,
    /// Small messages dropped, by reason.
    pub messages_dropped: BTreeMap<String, u64>,
    /// Packets given to the kernel, by reason.
    pub to_kernel: BTreeMap<String, u64>,
    /// Packets at the classifier, by what became of them.
    pub classifier: BTreeMap<String, u64>,
    /// Its FIFOs to clients.
    pub fifos: Vec<FifoInfo>,
}

/// An endpoint on another machine, and the messages to and from it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PeerInfo {
    /// Its name, as the daemon's configuration has it.
    pub name: String,
    /// The interface it is reached by.
    pub interface: String,
    /// Its number to extensions on that interface's adapter: what they send to, and hear from.
    pub number: u16,
    /// Its link-layer address, or its address and UDP port.
    pub address: String,
    /// Messages taken for it.
    pub sent: u64,
    /// Messages from it, handed over.
    pub received: u64,
    /// Messages to it that it has not acknowledged yet.
    pub waiting: u64,
    /// Frames from its address that were not sealed with the shared key, not new, or made no sense.
    pub refused: u64,
    /// Messages sent a second time or more.
    pub resent: u64,
    /// Messages that came a second time or more; handed over once.
    pub duplicates: u64,
    /// Messages that it had not acknowledged when it was started anew: it may or may not have had
    /// them.
    pub lost: u64,
    /// Sessions begun: more than one, and one of both sides was started anew.
    pub sessions: u64,
    /// Handshakes of another version of the language between machines.
    #[serde(default)]
    pub other_version: u64,
}

/// A client's FIFO to an adapter, as the adapter sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FifoInfo {
    /// Whose it is.
    pub user: u32,
    /// Messages to the client.
    pub to_client: u64,
    /// Messages from the client.
    pub from_client: u64,
    /// What came from the client and was no message: dropped.
    pub malformed: u64,
    /// Doorbells rung for the client, which slept: system calls.
    pub rings: u64,
    /// Doorbells heard from the client: system calls.
    pub heard: u64,
    /// Why the adapter has closed it, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed: Option<String>,
}

/// Why a packet is not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// Too large.
    #[error("a packet of {0} bytes: at most {PACKET_BYTES} are possible")]
    TooLarge(usize),
    /// No JSON, or none of this language.
    #[error("the packet is not understood: {0}")]
    Malformed(String),
    /// A field is over its limit.
    #[error("{what} of {found}: at most {most} are possible")]
    OverLimit {
        /// Which, with its unit.
        what: &'static str,
        /// How many.
        found: usize,
        /// How many are possible.
        most: usize,
    },
}

/// Reads a call, whatever the bytes are.
///
/// # Errors
/// [`ProtocolError`].
pub fn parse(bytes: &[u8]) -> Result<Call, ProtocolError> {
    let call: Call = read(bytes)?;
    check(&call.request)?;
    Ok(call)
}

/// Reads what a daemon said, whatever the bytes are.
///
/// # Errors
/// [`ProtocolError`].
pub fn parse_answer(bytes: &[u8]) -> Result<FromDaemon, ProtocolError> {
    read(bytes)
}

/// The packet of a call or an answer.
///
/// # Errors
/// [`ProtocolError::TooLarge`].
pub fn encode(said: &impl Serialize) -> Result<Vec<u8>, ProtocolError> {
    let bytes =
        serde_json::to_vec(said).map_err(|error| ProtocolError::Malformed(error.to_string()))?;
    within(bytes.len())?;
    Ok(bytes)
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, ProtocolError> {
    within(bytes.len())?;
    serde_json::from_slice(bytes).map_err(|error| ProtocolError::Malformed(error.to_string()))
}

fn within(bytes: usize) -> Result<(), ProtocolError> {
    if bytes > PACKET_BYTES { Err(ProtocolError::TooLarge(bytes)) } else { Ok(()) }
}

fn check(request: &Request) -> Result<(), ProtocolError> {
    let at_most = |what, found, most| {
        if found > most { Err(ProtocolError::OverLimit { what, found, most }) } else { Ok(()) }
    };
    let signed = |signature: &Option<String>| {
        let bytes = signature.as_ref().map_or(0, String::len);
        at_most("bytes of a signature", bytes, SIGNATURE_BYTES)
    };
    let name = |name: &str| at_most("bytes of a name", name.len(), NAME_BYTES);
    match request {
        Request::Hello { program, .. } => name(program),
        Request::Statistics { interface } => name(interface),
        Request::Replace { signature, .. } => signed(signature),
        Request::Claim(claim) => at_most("changes", claim.changes.len(), CLAIM_CHANGES),
        Request::Load(load) => {
            name(&load.interface)?;
            at_most("regions", load.regions.len(), REGIONS)?;
            at_most("prefixes", load.prefixes.len(), CLAIMS)?;
            at_most("ports", load.ports.len(), CLAIMS)?;
            at_most("peers", load.peers.len(), PEERS)?;
            load.peers.iter().try_for_each(|peer| name(peer))?;
            at_most("domains", load.domains.as_ref().map_or(0, Vec::len), 32)?;
            load.domains.iter().flatten().try_for_each(|domain| name(domain))?;
            signed(&load.signature)
        }
        Request::Adapters
        | Request::Peers
        | Request::Extensions { .. }
        | Request::Unload { .. }
        | Request::Attach { .. } => Ok(()),
    }
}

#[cfg(test)]
#[path = "protocol/tests.rs"]
mod tests;
