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
//! Messages cross by a FIFO in shared memory that the client has with each adapter; the daemon sees none of
//! them. While both are awake that takes no system call ([`Client::counts`]). What an extension sends
//! while the FIFO is full is dropped, and counted by the adapter; what its application sends waits for room.
//! Messages that come while another one is waited for are kept, in order, up to [`WAITING`] of them.
//!
//! Left out: use by several threads at once (open a connection for each).

mod channels;
mod error;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use spine_abi::limits::ARGUMENT_BYTES;

use self::channels::Channels;
pub use self::error::ClientError;

pub use crate::daemon::protocol::{
    AdapterInfo, AdapterStatistics, ClaimChange, ExtensionInfo, ExtensionNumber, FifoInfo, Load,
};
use crate::daemon::protocol::{
    Answer, CLAIM_CHANGES, Call, Claim, FromDaemon, Request, VERSION, encode, parse_answer,
};
use crate::daemon::socket::{Connection, Received};
use crate::daemon::{file, socket_path};
pub use crate::fifo::Counts;
use crate::memory::Region;

/// Messages that are kept for later, at most; older ones give way, and are counted.
pub const WAITING: usize = 1024;

/// How long a client looks for messages before it sleeps: the time in which an adapter that is awake answers.
const MOMENT: Duration = Duration::from_micros(20);
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
    channels: Channels,
    last: u64,
    waiting: VecDeque<Event>,
    lost: u64,
    sleeps: u64,
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
        let (extension, came) = self.loaded(request, &beside)?;
        self.channels.add(&extension, came)?;
        Ok(extension)
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
        let request = Request::Replace { extension, signature };
        let (extension, _) = self.loaded(request, &[file.as_fd()])?;
        self.channels.update(&extension);
        Ok(extension)
    }

    fn loaded(
        &mut self,
        request: Request,
        beside: &[BorrowedFd<'_>],
    ) -> Result<(ExtensionInfo, Vec<OwnedFd>), ClientError> {
        match self.call_for(request, beside)? {
            (Answer::Loaded(extension), came) => Ok((extension, came)),
            (answer, _) => Err(ClientError::unexpected(&answer)),
        }
    }

    /// Unloads an extension.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: there is none, or it is another user's.
    pub fn unload(&mut self, extension: ExtensionNumber) -> Result<(), ClientError> {
        self.done(Request::Unload { extension })?;
        // What it said last is there by now.
        self.collect();
        self.channels.forget(extension);
        self.handlers.retain(|(number, _), _| *number != extension);
        Ok(())
    }

    /// Changes which destinations' packets an extension has, [`CLAIM_CHANGES`] at a time. Without any change, the
    /// daemon only looks again which addresses this machine and the interface have.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: by the policy, because destinations of the interface are another extension's, or
    /// because there is no room. Those at a time that were refused are as before, and so are those behind them.
    pub fn claim(
        &mut self,
        extension: ExtensionNumber,
        changes: &[ClaimChange],
    ) -> Result<(), ClientError> {
        let mut rest = changes;
        loop {
            let now;
            (now, rest) = rest.split_at(rest.len().min(CLAIM_CHANGES));
            let changes = now.to_vec();
            self.done(Request::Claim(Claim { extension, enabled: None, changes }))?;
            if rest.is_empty() {
                return Ok(());
            }
        }
    }

    /// Has an extension given what it claims by prefix, or leaves that to the kernel for now. It takes effect with
    /// the next packet.
    ///
    /// # Errors
    /// As [`claim`](Self::claim).
    pub fn set_claiming(
        &mut self,
        extension: ExtensionNumber,
        enabled: bool,
    ) -> Result<(), ClientError> {
        let claim = Claim { extension, enabled: Some(enabled), ..Claim::default() };
        self.done(Request::Claim(claim))
    }

    /// Hears the messages of an extension that another connection of the same user loaded.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: there is none, or it is another user's.
    pub fn attach(&mut self, extension: ExtensionNumber) -> Result<(), ClientError> {
        match self.call_for(Request::Attach { extension }, &[])? {
            (Answer::Attached(extension), beside) => self.channels.add(&extension, beside),
            (answer, _) => Err(ClientError::unexpected(&answer)),
        }
    }

    /// Sends a small message of up to 240 bytes to a handler. Waits while the FIFO is full, for two seconds at
    /// most. An extension of another connection is [attached](Self::attach) first.
    ///
    /// # Errors
    /// [`ClientError::Refused`]: there is no such handler or no such extension; [`ClientError::Full`].
    pub fn send(
        &mut self,
        extension: ExtensionNumber,
        handler: u16,
        arguments: &[u8],
    ) -> Result<(), ClientError> {
        if arguments.len() > ARGUMENT_BYTES {
            return Err(ClientError::Arguments(arguments.len()));
        }
        // Its end may have been told.
        self.collect();
        if !self.channels.has(extension, handler) {
            self.attach(extension)?;
            if !self.channels.has(extension, handler) {
                return Err(ClientError::Refused(self.channels.lacks(extension, handler)));
            }
        }
        let Self { channels, waiting, lost, .. } = self;
        channels.send(extension, handler, arguments, |event| keep(waiting, lost, event))
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
        // The FIFO releases the message after the data was written, so the handler sees all of it.
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
            if !self.wait(end)? {
                return Err(ClientError::Timeout(timeout));
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
            if !self.wait(end)? {
                return Ok(None);
            }
        }
    }

    /// What this client's ends of its FIFOs have done: messages, and system calls (`rings`, `heard`; each sleep
    /// is one more, see [`sleeps`](Counts::sleeps)).
    pub fn counts(&self) -> Counts {
        Counts { sleeps: self.sleeps, ..self.channels.counts() }
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

    fn call(&mut self, request: Request, beside: &[BorrowedFd<'_>]) -> Result<Answer, ClientError> {
        self.call_for(request, beside).map(|(answer, _)| answer)
    }

    /// Sends a request and waits for its answer, and what came beside it; what comes before is kept.
    fn call_for(
        &mut self,
        request: Request,
        beside: &[BorrowedFd<'_>],
    ) -> Result<(Answer, Vec<OwnedFd>), ClientError> {
        self.last += 1;
        let call = Call { id: self.last, request };
        self.connection.send(&encode(&call)?, beside)?;
        let end = Instant::now() + PATIENCE;
        loop {
            match self.hear(end.saturating_duration_since(Instant::now()))? {
                Some((FromDaemon::Answer { id, answer }, came)) if id == call.id => {
                    return Ok((answer, came));
                }
                Some((FromDaemon::Refused { id, why }, _)) if id == call.id => {
                    return Err(ClientError::Refused(why));
                }
                Some((said, _)) => self.note(said),
                None => return Err(ClientError::Timeout(PATIENCE)),
            }
        }
    }

    /// What the daemon says next, and what came beside it; `None` when it says nothing in time.
    fn hear(&self, timeout: Duration) -> Result<Option<(FromDaemon, Vec<OwnedFd>)>, ClientError> {
        match self.connection.receive(timeout)? {
            Received::Packet(packet) => {
                Ok(Some((parse_answer(&packet.bytes)?, packet.descriptors)))
            }
            Received::Nothing => Ok(None),
            Received::HungUp => Err(ClientError::HungUp),
            Received::Unfit(why) => Err(ClientError::Daemon(why.to_owned())),
        }
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

    /// Waits until something was kept, or until `end`; whether something was.
    fn wait(&mut self, end: Instant) -> Result<bool, ClientError> {
        let start = Instant::now();
        loop {
            if self.collect() {
                return Ok(true);
            }
            let now = Instant::now();
            if now >= end || now.duration_since(start) >= MOMENT {
                break;
            }
            std::hint::spin_loop();
        }
        loop {
            // Who sends from now on rings; what was sent before is seen.
            self.channels.doze();
            let some = self.collect();
            let closed = self.channels.newly_closed();
            if some || closed.is_some() {
                self.channels.wake(&[]);
                return closed.map_or(Ok(true), Err);
            }
            let before = self.waiting.len();
            let said = self.sleep(end)?;
            if self.collect() || self.waiting.len() > before {
                return Ok(true);
            }
            if !said && Instant::now() >= end {
                return Ok(false);
            }
        }
    }

    /// Sleeps until the daemon or an adapter has something to say, or until `end`, and takes in what the
    /// daemon says; whether it said something.
    fn sleep(&mut self, end: Instant) -> Result<bool, ClientError> {
        self.sleeps += 1;
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(io::Error::other)?;
        let mut fds = vec![PollFd::new(&self.connection, PollFlags::IN)];
        let channels = self.channels.descriptors();
        fds.extend(channels.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)));
        match rustix::event::poll(&mut fds, Some(&left)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(io::Error::from(errno).into()),
        }
        let mut readable = fds.iter().map(|fd| !fd.revents().is_empty());
        let said = readable.next().unwrap_or(false);
        let heard: Vec<bool> = readable.collect();
        self.channels.wake(&heard);
        if !said {
            return Ok(false);
        }
        match self.hear(Duration::ZERO)? {
            Some((said, _)) => {
                self.note(said);
                Ok(true)
            }
            None => Ok(false),
        }
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

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}
