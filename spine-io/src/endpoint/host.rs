//! The host endpoint: how the application in the same process reaches its adapters.
//!
//! A handle loads and unloads extensions, sends them messages and receives theirs. Loading is done
//! in the caller's thread up to the point where the finished instance is handed over, so the packets
//! of the adapter never wait for it. Queues are bounded where the adapter fills them; what does not
//! fit is dropped and counted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use spine_abi::Message;
use spine_abi::limits::HOST_FIFO;
use wasmtime::Engine;

use super::Queue;
use crate::buffer::FrameMemory;
use crate::clock::{Clock, Monotonic};
use crate::dma::{Acknowledgement, Answer, Grant, GrantError, Prepared};
use crate::extension::instance::Ingredients;
use crate::extension::{Budget, Instance, LoadError, Loaded, RegionSource, TrustedKey};
use crate::processor::doorbell::Doorbell;
use crate::stats::Statistics;

/// An extension on one adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ExtensionId(pub u16);

/// What the application asks an adapter for.
pub(crate) enum Control {
    /// Install an instance that was loaded for this adapter.
    Install(Loaded, SyncSender<Result<ExtensionId, LoadError>>),
    /// Unload an extension; answers whether it was there.
    Unload(ExtensionId, SyncSender<bool>),
    /// A message for one of its handlers.
    Deliver(Box<Message>),
    /// A copy of its counters.
    Statistics(SyncSender<Statistics>),
    /// A window for an extension.
    Grant(ExtensionId, Box<Prepared>, SyncSender<Answer>),
    /// A window to be taken from an extension.
    Revoke(ExtensionId, u8, SyncSender<Answer>),
    /// Time a probe's handlers by this clock: nanoseconds each.
    Probe(Loaded, Box<dyn Clock>, SyncSender<Vec<u64>>),
    /// The longest that one extension's entry takes: what is beyond is counted.
    Expect(Duration),
}

/// The adapter's side.
pub(crate) struct HostPort {
    /// What the application asks for.
    pub(crate) control: Receiver<Control>,
    /// Messages to the application.
    pub(crate) messages: ToHost,
}

/// The adapter's end of the queue to the application, which knows how full it is.
pub(crate) struct ToHost {
    channel: SyncSender<Message>,
    sent: usize,
    taken: Arc<AtomicUsize>,
}

impl ToHost {
    /// Puts a message into the queue, if there is room.
    pub(crate) fn send(&mut self, message: Message) -> Result<(), ()> {
        self.channel.try_send(message).map_err(|_| ())?;
        self.sent = self.sent.wrapping_add(1);
        Ok(())
    }

    /// How full it is. Messages the application is taking at this moment may still be counted.
    pub(crate) fn queue(&self) -> Queue {
        let waiting = self.sent.wrapping_sub(self.taken.load(Ordering::Relaxed));
        Queue { waiting: waiting.min(HOST_FIFO), capacity: HOST_FIFO }
    }
}

/// The application's side: one adapter.
pub struct AdapterHandle {
    name: String,
    index: u16,
    control: SyncSender<Control>,
    messages: Mutex<Receiver<Message>>,
    taken: Arc<AtomicUsize>,
    doorbell: Arc<Doorbell>,
    frames: Arc<FrameMemory>,
    engine: Engine,
    key: TrustedKey,
}

/// How long an adapter may take to answer: it answers within one turn of its loop.
const ANSWER: Duration = Duration::from_secs(5);

/// Both sides of one adapter's host endpoint.
pub(crate) fn endpoint(
    name: &str,
    index: u16,
    doorbell: Arc<Doorbell>,
    frames: Arc<FrameMemory>,
    engine: Engine,
    key: TrustedKey,
) -> (AdapterHandle, HostPort) {
    let (control, requests) = sync_channel(HOST_FIFO);
    let (messages, inbox) = sync_channel(HOST_FIFO);
    let taken = Arc::new(AtomicUsize::new(0));
    let messages = ToHost { channel: messages, sent: 0, taken: Arc::clone(&taken) };
    let name = name.to_owned();
    let messages_in = Mutex::new(inbox);
    let handle = AdapterHandle {
        name,
        index,
        control,
        messages: messages_in,
        taken,
        doorbell,
        frames,
        engine,
        key,
    };
    (handle, HostPort { control: requests, messages })
}

impl AdapterHandle {
    /// The interface's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its index among the process's adapters: what "forward to peer" names.
    pub fn index(&self) -> u16 {
        self.index
    }

    fn stopped(&self) -> LoadError {
        LoadError::Stopped(self.name.clone())
    }

    fn ask(&self, control: Control) -> bool {
        let sent = self.control.send(control).is_ok();
        self.doorbell.ring();
        sent
    }

    /// Checks an image, makes an instance with these regions and runs its `init`, all in the
    /// caller's thread. It is not installed yet.
    ///
    /// # Errors
    /// [`LoadError`]; nothing stays behind.
    pub fn prepare(
        &self,
        image: &[u8],
        regions: Vec<RegionSource>,
        budget: Budget,
    ) -> Result<Loaded, LoadError> {
        Instance::load(Ingredients {
            engine: &self.engine,
            key: &self.key,
            image,
            regions,
            frames: Arc::clone(&self.frames),
            adapter: self.index,
            budget,
        })
    }

    /// [Prepares](Self::prepare) an extension and has the adapter install it.
    ///
    /// # Errors
    /// [`LoadError`]: nothing is installed then, and nothing stays behind.
    pub fn load(
        &self,
        image: &[u8],
        regions: Vec<RegionSource>,
        budget: Budget,
    ) -> Result<ExtensionId, LoadError> {
        let loaded = self.prepare(image, regions, budget)?;
        let (reply, answer) = sync_channel(1);
        if !self.ask(Control::Install(loaded, reply)) {
            return Err(self.stopped());
        }
        answer.recv_timeout(ANSWER).map_err(|_| self.stopped())?
    }

    /// Unloads an extension and takes back all it held; false if it is not there.
    ///
    /// # Errors
    /// [`LoadError::Stopped`].
    pub fn unload(&self, extension: ExtensionId) -> Result<bool, LoadError> {
        let (reply, answer) = sync_channel(1);
        if !self.ask(Control::Unload(extension, reply)) {
            return Err(self.stopped());
        }
        answer.recv_timeout(ANSWER).map_err(|_| self.stopped())
    }

    /// Has the adapter time, on its own processor, how long each handler of a probe takes for one message
    /// with this budget: nanoseconds in the order of its handlers (`spine_os::probe` makes such a probe).
    /// Packets wait meanwhile. An adapter in a model's time measures nothing and answers an empty list.
    ///
    /// # Errors
    /// [`LoadError`].
    pub fn probe(
        &self,
        image: &[u8],
        regions: Vec<RegionSource>,
        budget: Budget,
    ) -> Result<Vec<u64>, LoadError> {
        let loaded = self.prepare(image, regions, budget)?;
        let (reply, answer) = sync_channel(1);
        if !self.ask(Control::Probe(loaded, Box::new(Monotonic::default()), reply)) {
            return Err(self.stopped());
        }
        answer.recv_timeout(ANSWER).map_err(|_| self.stopped())
    }

    /// Says how long one entry into an extension takes at the longest: turns that take longer than that
    /// for all extensions together are counted as overruns. They are no strike, since it was not their
    /// work that took the time.
    ///
    /// # Errors
    /// [`LoadError::Stopped`].
    pub fn expect(&self, entry: Duration) -> Result<(), LoadError> {
        if self.ask(Control::Expect(entry)) { Ok(()) } else { Err(self.stopped()) }
    }

    /// Sends a message to the handler it names.
    ///
    /// # Errors
    /// [`LoadError::Stopped`].
    pub fn send(&self, message: Message) -> Result<(), LoadError> {
        if self.ask(Control::Deliver(Box::new(message))) { Ok(()) } else { Err(self.stopped()) }
    }

    /// The next message from one of its extensions, or a notice of the adapter itself
    /// ([`spine_abi::Notice`]); `None` when none comes in time.
    pub fn receive(&self, timeout: Duration) -> Option<Message> {
        let inbox = self.messages.lock().unwrap_or_else(PoisonError::into_inner);
        let message = inbox.recv_timeout(timeout).ok()?;
        self.taken.fetch_add(1, Ordering::Relaxed);
        Some(message)
    }

    /// Gives an extension a frame buffer, or a rectangle of one, to fill as one of its windows. Checked and
    /// mapped here, in the caller's thread; the [`Acknowledgement`] says when it has begun, and that
    /// nothing is written any more to what the window had before.
    ///
    /// # Errors
    /// [`GrantError`] for what can be seen here; the rest by the acknowledgement.
    pub fn grant(
        &self,
        extension: ExtensionId,
        grant: Grant,
    ) -> Result<Acknowledgement, GrantError> {
        let prepared = Box::new(Prepared::new(grant)?);
        let (reply, acknowledgement) = Acknowledgement::pending();
        self.ask_for_window(Control::Grant(extension, prepared, reply), acknowledgement)
    }

    /// Takes a window from an extension. Once that is acknowledged nothing is written there; what still
    /// comes for it is counted and lost.
    ///
    /// # Errors
    /// [`GrantError::Stopped`]; the rest by the acknowledgement.
    pub fn revoke(
        &self,
        extension: ExtensionId,
        window: u8,
    ) -> Result<Acknowledgement, GrantError> {
        let (reply, acknowledgement) = Acknowledgement::pending();
        self.ask_for_window(Control::Revoke(extension, window, reply), acknowledgement)
    }

    fn ask_for_window(
        &self,
        control: Control,
        acknowledgement: Acknowledgement,
    ) -> Result<Acknowledgement, GrantError> {
        match self.ask(control) {
            true => Ok(acknowledgement),
            false => Err(GrantError::Stopped(self.name.clone())),
        }
    }

    /// A copy of its counters.
    ///
    /// # Errors
    /// [`LoadError::Stopped`].
    pub fn statistics(&self) -> Result<Statistics, LoadError> {
        let (reply, answer) = sync_channel(1);
        if !self.ask(Control::Statistics(reply)) {
            return Err(self.stopped());
        }
        answer.recv_timeout(ANSWER).map_err(|_| self.stopped())
    }
}
