//! The communication library: how an application loads its extension on a daemon's adapter, and talks
//! with it (SPINE 3.1).
//!
//! ```no_run
//! use std::time::Duration;
//! use spine_os::client::{Client, Load};
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
//! An application is known by its user; when its connection ends, so do its extensions, unless they were
//! loaded to be kept.
//!
//! **Small messages** carry up to 240 bytes. **Bulk** goes through a region that application and extension
//! share: [`Client::send_bulk`] writes the data there and sends a small message that says where, so nothing
//! is copied on the adapter, and the handler runs only when all of the data has arrived.
//!
//! Messages that come while another answer is waited for are kept, in order, up to [`WAITING`] of them.
//!
//! Left out: use by several threads at once (open a connection for each).

mod error;

use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

pub use error::ClientError;

pub use crate::daemon::protocol::{
    AdapterInfo, AdapterStatistics, ExtensionInfo, ExtensionNumber, Load,
};
use crate::daemon::protocol::{Answer, Call, FromDaemon, Request, VERSION, encode, parse_answer};
use crate::daemon::socket::{Connection, Received};
use crate::daemon::{file, socket_path};
use crate::memory::Region;

/// Messages that are kept for later, at most; older ones give way, and are counted.
pub const WAITING: usize = 1024;

/// How long the daemon may take for an answer. Linking a large extension takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);

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
    connection: Connection,
    last: u64,
    waiting: VecDeque<Event>,
    lost: u64,
    handlers: HashMap<(ExtensionNumber, u16), Handler>,
}

impl Client {
    /// Connects to this machine's daemon, where [`socket_path`] says it is. `program` is what the daemon's log calls the application.
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
            connection,
            last: 0,
            waiting: VecDeque::new(),
            lost: 0,
            handlers: HashMap::new(),
        };
        let hello = Request::Hello { version: VERSION, program: program.to_owned() };
        match client.call(hello, &[])? {
            Answer::Hello { version: VERSION, .. } => Ok(client),
            answer => Err(ClientError::unexpected(&answer)),
        }
    }

    /// The daemon's adapters.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn adapters(&mut self) -> Result<Vec<AdapterInfo>, ClientError> {
        match self.call(Request::Adapters, &[])? {
            Answer::Adapters(adapters) => Ok(adapters),
            answer => Err(ClientError::unexpected(&answer)),
        }
    }

    /// All extensions, everybody's.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn extensions(&mut self) -> Result<Vec<ExtensionInfo>, ClientError> {
        let mut all: Vec<ExtensionInfo> = Vec::new();
        loop {
            let after = all.last().map_or(0, |last| last.number);
            match self.call(Request::Extensions { after }, &[])? {
                Answer::Extensions { extensions, more } => {
                    let done = !more || extensions.is_empty();
                    all.extend(extensions);
                    if done {
                        return Ok(all);
                    }
                }
                answer => return Err(ClientError::unexpected(&answer)),
            }
        }
    }

    /// What an adapter has counted.
    ///
    /// # Errors
    /// [`ClientError`].
    pub fn statistics(&mut self, interface: &str) -> Result<AdapterStatistics, ClientError> {
        match self.call(Request::Statistics { interface: interface.to_owned() }, &[])? {
            Answer::Statistics(statistics) => Ok(*statistics),
            answer => Err(ClientError::unexpected(&answer)),
        }
    }

    /// Loads an extension, sharing these regions with it. What `load` says of regions is overwritten.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the daemon's sentence: by the policy, the linker or the adapter.
    pub fn load(
        &mut self,
        load: &Load,
        wasm: &[u8],
        regions: &[&Region],
    ) -> Result<ExtensionInfo, ClientError> {
        let file = file::seal(wasm)?;
        let sizes = regions.iter().map(|region| region.len() as u64).collect();
        let request = Request::Load(Load { regions: sizes, ..load.clone() });
        let mut beside = vec![file.as_fd()];
        beside.extend(regions.iter().map(|region| region.as_fd()));
        self.loaded(request, &beside)
    }

    /// Puts another version in an extension's place, without losing a message: its handler numbers, what
    /// waits for them, the buffers it keeps and its regions go over to the new one. `signature` is the
    /// text of the author's signature, if there is one.
    ///
    /// # Errors
    /// As [`load`](Self::load); the old version goes on running then.
    pub fn replace(
        &mut self,
        extension: ExtensionNumber,
        wasm: &[u8],
        signature: Option<String>,
    ) -> Result<ExtensionInfo, ClientError> {
        let file = file::seal(wasm)?;
        self.loaded(Request::Replace { extension, signature }, &[file.as_fd()])
    }

    fn loaded(
        &mut self,
        request: Request,
        beside: &[BorrowedFd<'_>],
    ) -> Result<ExtensionInfo, ClientError> {
        match self.call(request, beside)? {
            Answer::Loaded(extension) => Ok(extension),
            answer => Err(ClientError::unexpected(&answer)),
        }
    }

    /// Unloads an extension.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: there is none, or it is another user's.
    pub fn unload(&mut self, extension: ExtensionNumber) -> Result<(), ClientError> {
        self.handlers.retain(|(number, _), _| *number != extension);
        self.done(Request::Unload { extension })
    }

    /// Hears the messages of an extension that another connection of the same user loaded.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: there is none, or it is another user's.
    pub fn attach(&mut self, extension: ExtensionNumber) -> Result<(), ClientError> {
        self.done(Request::Attach { extension })
    }

    /// Sends a small message of up to 240 bytes to a handler.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: there is no such handler, or too many messages were sent.
    pub fn send(
        &mut self,
        extension: ExtensionNumber,
        handler: u16,
        arguments: &[u8],
    ) -> Result<(), ClientError> {
        self.done(Request::Send { extension, handler, arguments: arguments.to_vec() })
    }

    /// Writes data into a region shared with the extension, at `offset`, and sends its handler a small
    /// message that says where: two 32-bit numbers, offset and length. When the data may be written over,
    /// is between the application and its extension.
    ///
    /// # Errors
    /// [`ClientError::Bulk`]: it leaves the region; otherwise as [`send`](Self::send).
    pub fn send_bulk(
        &mut self,
        extension: ExtensionNumber,
        handler: u16,
        region: &Region,
        offset: u32,
        data: &[u8],
    ) -> Result<(), ClientError> {
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        let place = usize::try_from(offset).unwrap_or(usize::MAX);
        region.write(place, data)?;
        // The message crosses the kernel after the data was written, so the handler sees all of it.
        let mut arguments = [0; 8];
        arguments[..4].copy_from_slice(&offset.to_le_bytes());
        arguments[4..].copy_from_slice(&length.to_le_bytes());
        self.send(extension, handler, &arguments)
    }

    /// Installs what runs on messages that an extension sends to `handler`. [`receive`](Self::receive)
    /// calls it, and then passes over such messages.
    pub fn on(
        &mut self,
        extension: ExtensionNumber,
        handler: u16,
        run: impl FnMut(&[u8]) + 'static,
    ) {
        self.handlers.insert((extension, handler), Box::new(run));
    }

    /// Sends a message and waits for the next one that the extension sends to `answer`.
    ///
    /// # Errors
    /// [`ClientError::Timeout`]; [`ClientError::Ended`]; otherwise as [`send`](Self::send).
    pub fn ask(
        &mut self,
        extension: ExtensionNumber,
        handler: u16,
        arguments: &[u8],
        answer: u16,
        timeout: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        self.send(extension, handler, arguments)?;
        self.wait_for(extension, answer, timeout)
    }

    /// Waits for the next message that an extension sends to `handler`; others are kept for later.
    ///
    /// # Errors
    /// [`ClientError::Timeout`], [`ClientError::Ended`], [`ClientError::HungUp`].
    pub fn wait_for(
        &mut self,
        extension: ExtensionNumber,
        handler: u16,
        timeout: Duration,
    ) -> Result<Vec<u8>, ClientError> {
        let end = Instant::now() + timeout;
        let is_it = |event: &Event| match event {
            Event::Message { extension: from, handler: to, .. } => {
                (*from, *to) == (extension, handler)
            }
            Event::Ended { extension: which, .. } => *which == extension,
        };
        loop {
            if let Some(at) = self.waiting.iter().position(is_it) {
                match self.waiting.remove(at) {
                    Some(Event::Message { arguments, .. }) => return Ok(arguments),
                    Some(Event::Ended { why, .. }) => return Err(ClientError::Ended(why)),
                    None => {}
                }
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.hear(left)? {
                Some(said) => self.keep(said),
                None => return Err(ClientError::Timeout(timeout)),
            }
        }
    }

    /// The next event that no installed handler took, waiting for it at most this long; `None` when there
    /// was none.
    ///
    /// # Errors
    /// [`ClientError::HungUp`] and what else a broken connection says.
    pub fn receive(&mut self, timeout: Duration) -> Result<Option<Event>, ClientError> {
        let end = Instant::now() + timeout;
        loop {
            while let Some(event) = self.waiting.pop_front() {
                if let Some(event) = self.dispatch(event) {
                    return Ok(Some(event));
                }
            }
            match self.hear(end.saturating_duration_since(Instant::now()))? {
                Some(said) => self.keep(said),
                None => return Ok(None),
            }
        }
    }

    /// Messages that had to give way to newer ones because nobody took them.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Gives a message to its handler; an event that has none comes back.
    fn dispatch(&mut self, event: Event) -> Option<Event> {
        let Event::Message { extension, handler, arguments } = &event else { return Some(event) };
        match self.handlers.get_mut(&(*extension, *handler)) {
            Some(run) => {
                run(arguments);
                None
            }
            None => Some(event),
        }
    }

    fn done(&mut self, request: Request) -> Result<(), ClientError> {
        match self.call(request, &[])? {
            Answer::Done => Ok(()),
            answer => Err(ClientError::unexpected(&answer)),
        }
    }

    /// Sends a request and waits for its answer; what comes before is kept.
    fn call(&mut self, request: Request, beside: &[BorrowedFd<'_>]) -> Result<Answer, ClientError> {
        self.last += 1;
        let call = Call { id: self.last, request };
        self.connection.send(&encode(&call)?, beside)?;
        let end = Instant::now() + PATIENCE;
        loop {
            match self.hear(end.saturating_duration_since(Instant::now()))? {
                Some(FromDaemon::Answer { id, answer }) if id == call.id => return Ok(answer),
                Some(FromDaemon::Refused { id, why }) if id == call.id => {
                    return Err(ClientError::Refused(why));
                }
                Some(said) => self.keep(said),
                None => return Err(ClientError::Timeout(PATIENCE)),
            }
        }
    }

    /// What the daemon says next; `None` when it says nothing in time.
    fn hear(&self, timeout: Duration) -> Result<Option<FromDaemon>, ClientError> {
        match self.connection.receive(timeout)? {
            Received::Packet(packet) => Ok(Some(parse_answer(&packet.bytes)?)),
            Received::Nothing => Ok(None),
            Received::HungUp => Err(ClientError::HungUp),
            Received::Unfit(why) => Err(ClientError::Daemon(why.to_owned())),
        }
    }

    fn keep(&mut self, said: FromDaemon) {
        let event = match said {
            FromDaemon::Message { extension, handler, arguments } => {
                Event::Message { extension, handler, arguments }
            }
            FromDaemon::Ended { extension, why } => Event::Ended { extension, why },
            // To a call that timed out.
            FromDaemon::Answer { .. } | FromDaemon::Refused { .. } => return,
        };
        if self.waiting.len() >= WAITING {
            self.waiting.pop_front();
            self.lost += 1;
        }
        self.waiting.push_back(event);
    }
}

impl AsFd for Client {
    /// Becomes readable when something came that [`receive`](Self::receive) would take.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}
