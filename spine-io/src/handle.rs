//! The host endpoint: how the application in the same process reaches its adapters.
//!
//! A handle loads and unloads extensions, sends them messages and receives theirs. Loading is done
//! in the caller's thread up to the point where the finished instance is handed over, so the packets
//! of the adapter never wait for it. Requests go by a channel, messages by a [FIFO](crate::endpoint::fifo), the
//! same that applications in other processes have: a daemon makes one for each of its clients.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use spine_abi::limits::HOST_FIFO;
use spine_abi::{HandlerNumber, Message};
use spine_nic::buffer::FrameMemory;
use spine_nic::clock::Monotonic;
use spine_ring::{Counts, End, Fds, OpenError, SendError, Side};
use wasmtime::Engine;

use crate::dma::{Acknowledgement, Grant, GrantError, Prepared};
use crate::doorbell::Doorbell;
use crate::endpoint::allowance::Allowance;
use crate::endpoint::fifo::{FifoError, Fifos};
use crate::extension::instance::Ingredients;
use crate::extension::{Budget, Instance, LoadError, Loaded, TrustedKey};
use crate::id::{ExtensionId, FifoId};
use crate::region::RegionSource;
use crate::runtime::Statistics;
use crate::runtime::request::{Control, HostPort};

/// The application's side: one adapter.
pub struct AdapterHandle {
    name: String,
    index: u16,
    control: SyncSender<Control>,
    sender: Mutex<spine_ring::Sender>,
    receiver: Mutex<spine_ring::Receiver>,
    doorbell: Arc<Doorbell>,
    frames: Arc<FrameMemory>,
    engine: Engine,
    key: TrustedKey,
    patience: Duration,
}

/// How long an adapter may take to answer, unless told otherwise: it answers within one turn of its loop.
const ANSWER: Duration = Duration::from_secs(5);

/// Messages the FIFO of the process itself holds each way.
#[expect(clippy::cast_possible_truncation, reason = "a constant far below 2^32")]
const SLOTS: u32 = HOST_FIFO as u32;
/// How long a sender waits between two looks at a full FIFO.
const MOMENT: Duration = Duration::from_micros(20);

/// Both sides of one adapter's host endpoint.
///
/// # Errors
/// The FIFO could not be made.
pub(crate) fn endpoint(
    name: &str,
    index: u16,
    doorbell: Arc<Doorbell>,
    frames: Arc<FrameMemory>,
    engine: Engine,
    key: TrustedKey,
) -> Result<(AdapterHandle, HostPort), OpenError> {
    let (control, requests) = sync_channel(HOST_FIFO);
    let (adapter, fds) = spine_ring::create(Side::Adapter, SLOTS)?;
    let host = End::open(Side::Host, fds)?;
    let handle = AdapterHandle {
        name: name.to_owned(),
        index,
        control,
        sender: Mutex::new(host.sender),
        receiver: Mutex::new(host.receiver),
        doorbell,
        frames,
        engine,
        key,
        patience: ANSWER,
    };
    Ok((handle, HostPort { control: requests, fifos: Fifos::new(adapter) }))
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

    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
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
        self.install(self.prepare(image, regions, budget)?)
    }

    /// Has the adapter install a prepared extension, for the application it was
    /// [given to](Instance::set_application).
    ///
    /// # Errors
    /// [`LoadError`]: it is not installed then.
    pub fn install(&self, loaded: Loaded) -> Result<ExtensionId, LoadError> {
        let (reply, answer) = sync_channel(1);
        if !self.ask(Control::Install(loaded, reply)) {
            return Err(self.stopped());
        }
        answer.recv_timeout(self.patience).map_err(|_| self.stopped())?
    }

    /// Makes a FIFO to another application, with room for so many messages each way (a power of two):
    /// its descriptors go to that application, which opens the host's end of them.
    ///
    /// # Errors
    /// [`FifoError`].
    pub fn open_fifo(&self, capacity: u32) -> Result<(FifoId, Fds), FifoError> {
        let (adapter, fds) = spine_ring::create(Side::Adapter, capacity)?;
        Ok((self.attach(adapter)?, fds))
    }

    /// The same for an application that may send only so much: what is beyond waits in the FIFO.
    ///
    /// # Errors
    /// [`FifoError`].
    pub fn open_fifo_within(
        &self,
        capacity: u32,
        allowance: Allowance,
    ) -> Result<(FifoId, Fds), FifoError> {
        let (adapter, fds) = spine_ring::create(Side::Adapter, capacity)?;
        Ok((self.attach_within(adapter, Some(allowance))?, fds))
    }

    /// Takes the adapter's end of a FIFO that an application made. Its descriptors were checked when the
    /// end was opened.
    ///
    /// # Errors
    /// [`FifoError`].
    pub fn attach(&self, adapter: End) -> Result<FifoId, FifoError> {
        self.attach_within(adapter, None)
    }

    fn attach_within(
        &self,
        adapter: End,
        allowance: Option<Allowance>,
    ) -> Result<FifoId, FifoError> {
        let stopped = || FifoError::Stopped(self.name.clone());
        let (reply, answer) = sync_channel(1);
        if !self.ask(Control::Attach(Box::new(adapter), allowance, reply)) {
            return Err(stopped());
        }
        let id = answer.recv_timeout(self.patience).map_err(|_| stopped())?;
        id.ok_or_else(|| FifoError::Full(self.name.clone()))
    }

    /// Lets one more application hear an extension, and send to it.
    ///
    /// # Errors
    /// [`LoadError::NoExtension`], [`LoadError::Applications`], [`LoadError::Stopped`].
    pub fn share(&self, extension: ExtensionId, application: FifoId) -> Result<(), LoadError> {
        let (reply, answer) = sync_channel(1);
        if !self.ask(Control::Share(extension, application, reply)) {
            return Err(self.stopped());
        }
        answer.recv_timeout(self.patience).map_err(|_| self.stopped())?
    }

    /// Says which handler claimed packets are for whose driver does not pass on which one it is. Nothing is waited for.
    pub fn set_unstamped(&self, handler: HandlerNumber) {
        self.ask(Control::Unstamped(handler));
    }

    /// Closes an application's FIFO; false if it is not there. Its extensions stay, and what they send to it is
    /// dropped.
    ///
    /// # Errors
    /// [`FifoError::Stopped`].
    pub fn close_fifo(&self, fifo: FifoId) -> Result<bool, FifoError> {
        let stopped = || FifoError::Stopped(self.name.clone());
        let (reply, answer) = sync_channel(1);
        if !self.ask(Control::Detach(fifo, reply)) {
            return Err(stopped());
        }
        answer.recv_timeout(self.patience).map_err(|_| stopped())
    }

    /// Has the adapter put a [prepared](Self::prepare) instance in an extension's place, between two
    /// events: handler numbers, waiting messages and kept buffers go over to it, and none is lost that it
    /// has a handler for. The old instance is taken apart here, in the caller's thread.
    ///
    /// # Errors
    /// [`LoadError::NoExtension`], [`LoadError::HandlerTaken`], [`LoadError::Needed`] (others are linked against
    /// what the new one does not export), [`LoadError::Domain`], [`LoadError::DomainTaken`],
    /// [`LoadError::Circle`], [`LoadError::Stopped`]: the old one stays.
    pub fn replace(&self, extension: ExtensionId, loaded: Loaded) -> Result<(), LoadError> {
        let (reply, answer) = sync_channel(1);
        if !self.ask(Control::Replace(extension, loaded, reply)) {
            return Err(self.stopped());
        }
        answer.recv_timeout(self.patience).map_err(|_| self.stopped())?.map(drop)
    }

    /// Unloads an extension and takes back all it held; false if it is not there.
    ///
    /// # Errors
    /// [`LoadError::Needed`]: others are linked against it, and it stays; [`LoadError::Stopped`].
    pub fn unload(&self, extension: ExtensionId) -> Result<bool, LoadError> {
        self.unload_or_refuse(extension, false)
    }

    /// Unloads an extension, whoever is linked against it: they are unloaded, too, and their applications
    /// told. For one whose owner has ended.
    ///
    /// # Errors
    /// [`LoadError::Stopped`].
    pub fn unload_with_importers(&self, extension: ExtensionId) -> Result<bool, LoadError> {
        self.unload_or_refuse(extension, true)
    }

    fn unload_or_refuse(&self, extension: ExtensionId, anyway: bool) -> Result<bool, LoadError> {
        let (reply, answer) = sync_channel(1);
        if !self.ask(Control::Unload(extension, anyway, reply)) {
            return Err(self.stopped());
        }
        answer.recv_timeout(self.patience).map_err(|_| self.stopped())?
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
        answer.recv_timeout(self.patience).map_err(|_| self.stopped())
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

    /// Sends a message to the handler it names, as the process the adapter runs in. Waits while the FIFO is
    /// full.
    ///
    /// # Errors
    /// [`LoadError::Stopped`]: the adapter is gone, or takes nothing.
    #[expect(clippy::needless_pass_by_value, reason = "it is gone for who sends it")]
    pub fn send(&self, message: Message) -> Result<(), LoadError> {
        let end = Instant::now() + ANSWER;
        loop {
            let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
            match sender.send(&message) {
                Ok(()) => return Ok(()),
                Err(SendError::Full) if Instant::now() < end => {}
                Err(_) => return Err(self.stopped()),
            }
            drop(sender);
            std::thread::sleep(MOMENT);
        }
    }

    /// The next message from one of its extensions, or a notice of the adapter itself
    /// ([`spine_abi::Notice`]); `None` when none comes in time.
    pub fn receive(&self, timeout: Duration) -> Option<Message> {
        let mut receiver = self.receiver.lock().unwrap_or_else(PoisonError::into_inner);
        receiver.receive(timeout).ok().flatten()
    }

    /// What this process's end of the FIFO has done, system calls included.
    pub fn fifo_counts(&self) -> Counts {
        let sent = self.sender.lock().unwrap_or_else(PoisonError::into_inner).counts();
        let received = self.receiver.lock().unwrap_or_else(PoisonError::into_inner).counts();
        Counts { sent: sent.sent, rings: sent.rings, ..received }
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
        answer.recv_timeout(self.patience).map_err(|_| self.stopped())
    }
}
