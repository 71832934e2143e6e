//! The communication library: how an application loads its extension on a daemon's adapter, and
//! talks with it (SPINE 3.1).
//!
//! A [`Client`] is a connection to `spined`. Under it are the language of the control socket
//! ([`daemon`]), the application's end of its [`fifo`] to each adapter, and the [`memory`] that it
//! shares with its extensions. Beside it is what is said about code and machines: an author's
//! [`signature`], the [`extension`] in a file that it is for, the [`pair_key`] of two machines. An
//! application that has its adapter in its own process uses these as well, and the [`voice`] with which
//! none of them ends because nobody listens.
//!
//! Why a crate of its own? The linker compiles, so `spine-os` holds wasmtime and Cranelift. An
//! application hands its .wasm to the daemon, which has it linked: it needs none of that, and is
//! built in seconds (`ci/run.sh deps` checks that it stays so).
//!
//! ```no_run
//! use std::time::Duration;
//! use spine_client::{Client, Load};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut client = Client::open("my program")?;
//! let load = Load { interface: "eth1".to_owned(), ..Load::default() };
//! let hello = client.load(&load, &std::fs::read("hello.wasm")?, &[])?.number;
//! let answer = client.ask(hello, 2, b"how many?", 1, Duration::from_secs(1))?;
//! println!("{answer:?}");
//! # Ok(())
//! # }
//! ```
//!
//! An application is known by its user; when its connection ends, so do its extensions, unless they
//! were loaded to be kept.
//!
//! **Small messages** carry up to 240 bytes. **Bulk** goes through a region that application and
//! extension share: [`Client::send_bulk`] writes the data there and sends a small message that says
//! where, so nothing is copied on the adapter, and the handler runs only when all of the data has
//! arrived.
//!
//! Messages cross by a FIFO in shared memory that the client has with each adapter; the daemon sees
//! none of them. While both are awake that takes no system call ([`Client::counts`]). A client that
//! waits sleeps in one io_uring wait over its connection and all its FIFOs, or in poll(2) where it
//! is denied io_uring ([`Client::wait_by`]). What an extension sends while the FIFO is full is
//! dropped, and counted by the adapter; what its application sends waits for room. Messages that
//! come while another one is waited for are kept, in order, up to [`WAITING`] of them.
//!
//! Left out: use by several threads at once (open a connection for each).

mod channels;
pub mod daemon;
mod error;
pub mod extension;
pub mod fifo;
pub mod hex;
mod key_file;
pub mod memory;
mod messages;
pub mod pair_key;
pub mod relay;
mod requests;
mod secret;
pub mod signature;
mod sys;
pub mod voice;
mod wait;

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use spine_ring::Waiter;

use self::channels::Channels;
pub use self::error::ClientError;
pub use self::wait::WaitBy;

pub use crate::daemon::protocol::{
    AdapterInfo, AdapterStatistics, Bill, ClaimChange, ExtensionInfo, ExtensionNumber, FifoInfo,
    Load, PeerInfo,
};
use crate::daemon::protocol::{Answer, FromDaemon, Request, VERSION};
use crate::daemon::socket::Connection;
use crate::daemon::socket_path;
pub use crate::fifo::Counts;

/// Messages that are kept for later, at most; older ones give way, and are counted.
pub const WAITING: usize = 1024;

/// What comes from the daemon by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A message from an extension.
    Message {
        /// Which.
        extension: ExtensionNumber,
        /// The number it was sent to.
        handler: u16,
        /// Its arguments.
        arguments: Vec<u8>,
    },
    /// An extension is gone although nobody here unloaded it.
    Ended {
        /// Which.
        extension: ExtensionNumber,
        /// One sentence.
        why: String,
    },
}

/// What runs on a message.
type Handler = Box<dyn FnMut(&[u8])>;

/// A connection to a daemon.
pub struct Client {
    waiter: Waiter,
    connection: Connection,
    channels: Channels,
    last: u64,
    waiting: VecDeque<Event>,
    lost: u64,
    sleeps: u64,
    handlers: HashMap<(ExtensionNumber, u16), Handler>,
}

impl Client {
    /// Connects to this machine's daemon, where [`socket_path`] says it is. `program` is what the
    /// daemon's log calls the application.
    ///
    /// # Errors
    /// [`ClientError::Connect`]; [`ClientError::Refused`] by a daemon of another version.
    pub fn open(program: &str) -> Result<Self, ClientError> {
        Self::open_at(&socket_path(), program)
    }

    /// Connects to the daemon that listens at a path.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn open_at(path: &Path, program: &str) -> Result<Self, ClientError> {
        let connection = Connection::connect(path)
            .map_err(|error| ClientError::Connect { path: path.to_owned(), error })?;
        let mut client = Self {
            waiter: Waiter::default(),
            connection,
            channels: Channels::default(),
            last: 0,
            waiting: VecDeque::new(),
            lost: 0,
            sleeps: 0,
            handlers: HashMap::new(),
        };
        let hello = Request::Hello { version: VERSION, program: program.to_owned() };
        match client.call(hello, &[])? {
            Answer::Hello { version: VERSION, .. } => Ok(client),
            answer => Err(ClientError::unexpected(&answer)),
        }
    }

    /// What this client's ends of its FIFOs have done: messages, and system calls (`rings`,
    /// `heard`; each sleep is one more, see [`sleeps`](Counts::sleeps)).
    pub fn counts(&self) -> Counts {
        Counts { sleeps: self.sleeps, ..self.channels.counts() }
    }

    /// Messages that had to give way to newer ones because nobody took them.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Takes in what the daemon said by itself.
    fn note(&mut self, said: FromDaemon) {
        // An answer is to a call that timed out.
        let FromDaemon::Ended { extension, why } = said else { return };
        // What it sent before is in the FIFO, and perhaps that it has ended, too.
        self.collect();
        if self.channels.forget(extension) {
            keep(&mut self.waiting, &mut self.lost, Event::Ended { extension, why });
        }
    }

    /// Takes what is in the FIFOs; whether there was something. No system call.
    fn collect(&mut self) -> bool {
        let Self { channels, waiting, lost, .. } = self;
        let mut some = false;
        channels.collect(|event| {
            some = true;
            keep(waiting, lost, event);
        });
        some
    }
}

/// Keeps an event for later; the oldest gives way when there are too many.
fn keep(waiting: &mut VecDeque<Event>, lost: &mut u64, event: Event) {
    if waiting.len() >= WAITING {
        waiting.pop_front();
        *lost += 1;
    }
    waiting.push_back(event);
}

impl Drop for Client {
    /// Ends the connection at once: a ring that waits for it holds it open until the kernel has
    /// taken it apart.
    fn drop(&mut self) {
        self.connection.hang_up();
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}
