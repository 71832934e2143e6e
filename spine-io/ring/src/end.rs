//! One end of a FIFO: sends messages to the other, receives its messages, and sleeps between them.
//!
//! The two halves of an end may be used by two threads. What the other end breaks closes both halves: an
//! end that has seen a false count, or heard the doorbell ring again and again for nothing, does not listen any more.

use std::os::fd::{AsFd, BorrowedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use spine_abi::Message;
use spine_abi::fifo::Side;
use thiserror::Error;

use crate::bell::{Bell, HungUp};
use crate::memory::{self, Fds, OpenError};
use crate::protocol::{self, BadCount, Consumer, Memory, Producer};
use crate::sys::Mapping;
use crate::waiter::Waiter;

/// Why an end is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[repr(u8)]
pub enum Closed {
    /// The other end has left, or its process has ended.
    #[error("the other end of the FIFO is gone")]
    Left = 1,
    /// It wrote a count that cannot be.
    #[error("the other end of the FIFO wrote a count that cannot be")]
    Count = 2,
    /// It rang again and again and sent nothing.
    #[error("the other end of the FIFO rings without sending anything")]
    Rings = 3,
}

impl Closed {
    const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Left),
            2 => Some(Self::Count),
            3 => Some(Self::Rings),
            _ => None,
        }
    }
}

/// Why a message was not sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SendError {
    /// The other end has not taken what is there; later may be better.
    #[error("the FIFO is full")]
    Full,
    /// There is nobody to send to.
    #[error(transparent)]
    Closed(#[from] Closed),
}

/// Rings in a row that no message explains, before the other end is taken for broken. An honest end explains
/// every one; a few are allowed to whoever is woken by a ring whose message it has taken already.
const IDLE_RINGS: u32 = 16;
/// How long [`Receiver::receive`] looks before it sleeps: the time in which an adapter that is awake answers.
const PATIENCE: Duration = Duration::from_micros(20);

/// What both halves share.
#[derive(Debug)]
struct Shared {
    memory: Arc<Mapping>,
    side: Side,
    bell: Bell,
    closed: AtomicU8,
}

impl Shared {
    fn closed(&self) -> Option<Closed> {
        Closed::from_number(self.closed.load(Ordering::Relaxed))
    }

    /// Closes both halves; the first reason stays.
    #[cold]
    fn close(&self, why: Closed) -> Closed {
        let swapped =
            self.closed.compare_exchange(0, why as u8, Ordering::Relaxed, Ordering::Relaxed);
        swapped.err().and_then(Closed::from_number).unwrap_or(why)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        protocol::leave(&*self.memory, self.side);
        self.bell.hang_up();
    }
}

/// What one end has done: system calls are `rings`, `heard` and `sleeps`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Messages sent.
    pub sent: u64,
    /// Messages received.
    pub received: u64,
    /// Messages received that were none: dropped.
    pub malformed: u64,
    /// Doorbells rung for the other end.
    pub rings: u64,
    /// Doorbells heard and silenced.
    pub heard: u64,
    /// Times this end slept by itself (an adapter sleeps with its processor).
    pub sleeps: u64,
}

/// Makes a FIFO with so many slots each way: the end on this side, and the descriptors of the other.
///
/// # Errors
/// [`OpenError`]: the capacity is not a power of two within limits, or the system refused.
pub fn create(side: Side, capacity: u32) -> Result<(End, Fds), OpenError> {
    let memory = memory::create(capacity)?;
    let bells =
        Bell::pair().map_err(|error| OpenError::System { what: "make a bell for", error })?;
    let ours = memory.try_clone().map_err(|error| OpenError::System { what: "share", error })?;
    let end = End::open(side, Fds { memory: ours.into(), bell: bells.0.into_fd() })?;
    Ok((end, Fds { memory: memory.into(), bell: bells.1.into_fd() }))
}

/// One end of a FIFO.
#[derive(Debug)]
pub struct End {
    /// What is sent by.
    pub sender: Sender,
    /// What is received by.
    pub receiver: Receiver,
}

impl End {
    /// Opens the end on this side, from descriptors that [`create`] made, here or in another process.
    ///
    /// # Errors
    /// [`OpenError`]: they are not what they should be. Nothing of them is used then.
    pub fn open(side: Side, fds: Fds) -> Result<Self, OpenError> {
        let bell = memory::open_bell(fds.bell)?;
        let memory = Arc::new(memory::open(fds.memory, side)?);
        let (to, from) = (Arc::clone(&memory), Arc::clone(&memory));
        let shared = Arc::new(Shared { memory, side, bell, closed: AtomicU8::new(0) });
        Ok(Self {
            sender: Sender {
                producer: Producer::new(to, side, 0),
                shared: Arc::clone(&shared),
                counts: Counts::default(),
            },
            receiver: Receiver {
                consumer: Consumer::new(from, side, 0),
                shared,
                idle_rings: 0,
                waiter: Waiter::default(),
                counts: Counts::default(),
            },
        })
    }

    /// What this end has done so far.
    pub fn counts(&self) -> Counts {
        let (sent, received) = (self.sender.counts, self.receiver.counts);
        Counts { sent: sent.sent, rings: sent.rings, ..received }
    }
}

/// The half that sends.
#[derive(Debug)]
pub struct Sender {
    shared: Arc<Shared>,
    producer: Producer<Arc<Mapping>>,
    counts: Counts,
}

impl Sender {
    /// Sends a message, and wakes the other end if it sleeps.
    ///
    /// # Errors
    /// [`SendError`]; the message was not sent.
    #[inline]
    pub fn send(&mut self, message: &Message) -> Result<(), SendError> {
        self.put(message)?;
        Ok(self.ring()?)
    }

    /// Sends a message without waking anybody: for whoever sends several and then [rings](Self::ring).
    ///
    /// # Errors
    /// [`SendError`]; the message was not sent.
    #[inline]
    pub fn put(&mut self, message: &Message) -> Result<(), SendError> {
        self.state()?;
        match self.producer.push(message.as_bytes()) {
            Ok(true) => {
                self.counts.sent += 1;
                Ok(())
            }
            Ok(false) if protocol::has_left(&*self.shared.memory, self.shared.side) => {
                Err(self.shared.close(Closed::Left).into())
            }
            Ok(false) => Err(SendError::Full),
            Err(BadCount) => Err(self.shared.close(Closed::Count).into()),
        }
    }

    /// Wakes the other end if it sleeps: a system call then, and none otherwise.
    ///
    /// # Errors
    /// [`Closed`]: the other end is gone.
    #[inline]
    pub fn ring(&mut self) -> Result<(), Closed> {
        if !self.producer.must_ring() {
            return Ok(());
        }
        self.counts.rings += 1;
        self.shared.bell.ring().map_err(|HungUp| self.shared.close(Closed::Left))
    }

    /// Messages the other end has not taken yet.
    ///
    /// # Errors
    /// [`Closed`].
    pub fn waiting(&mut self) -> Result<u32, Closed> {
        self.state()?;
        self.producer.waiting().map_err(|BadCount| self.shared.close(Closed::Count))
    }

    /// Messages the ring holds at most.
    pub fn capacity(&self) -> u32 {
        self.shared.memory.capacity()
    }

    /// Whether this end is still open.
    ///
    /// # Errors
    /// [`Closed`]: why it is not.
    #[inline]
    pub fn state(&self) -> Result<(), Closed> {
        self.shared.closed().map_or(Ok(()), Err)
    }

    /// What this half has done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

/// What one look at the ring found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "passed on at once; a box would be an allocation a message"
)]
pub enum Polled {
    /// A message.
    Message(Message),
    /// Bytes that are no message: dropped and counted.
    Malformed,
    /// Nothing, or this end is closed.
    Empty,
}

/// The half that receives.
pub struct Receiver {
    shared: Arc<Shared>,
    consumer: Consumer<Arc<Mapping>>,
    idle_rings: u32,
    waiter: Waiter,
    counts: Counts,
}

impl std::fmt::Debug for Receiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { consumer, counts, .. } = self;
        f.debug_struct("Receiver")
            .field("consumer", consumer)
            .field("counts", counts)
            .finish_non_exhaustive()
    }
}

impl Receiver {
    /// Looks once; never waits, and makes no system call.
    #[inline]
    pub fn poll(&mut self) -> Polled {
        // What was sent before the other end left is still received.
        if matches!(self.shared.closed(), Some(Closed::Count | Closed::Rings)) {
            return Polled::Empty;
        }
        let Ok(taken) = self.consumer.pop() else {
            self.shared.close(Closed::Count);
            return Polled::Empty;
        };
        let Some(bytes) = taken else { return Polled::Empty };
        self.idle_rings = 0;
        if let Ok(message) = Message::parse(&bytes) {
            self.counts.received += 1;
            Polled::Message(message)
        } else {
            self.counts.malformed += 1;
            Polled::Malformed
        }
    }

    /// The next message, if there is one. Looks at as many malformed ones as a ring holds, at most.
    pub fn try_receive(&mut self) -> Option<Message> {
        for _ in 0..=self.shared.memory.capacity() {
            match self.poll() {
                Polled::Message(message) => return Some(message),
                Polled::Malformed => {}
                Polled::Empty => return None,
            }
        }
        None
    }

    /// The next message, waiting for it up to `timeout`; `None` when none came.
    ///
    /// Looks for a moment, and then sleeps until the doorbell rings: one system call to sleep, and one to
    /// silence the bell.
    ///
    /// # Errors
    /// [`Closed`]: there is none, and there will be none.
    pub fn receive(&mut self, timeout: Duration) -> Result<Option<Message>, Closed> {
        let start = Instant::now();
        loop {
            if let Some(message) = self.look(start, timeout.min(PATIENCE)) {
                return Ok(Some(message));
            }
            self.doze();
            let message = self.try_receive();
            if message.is_some() || self.state().is_err() {
                self.wake(false);
                return message.map_or_else(|| self.state().map(|()| None), |some| Ok(Some(some)));
            }
            let Some(left) = timeout.checked_sub(start.elapsed()).filter(|left| !left.is_zero())
            else {
                self.wake(false);
                return Ok(None);
            };
            let heard = self.sleep(left);
            self.wake(heard);
        }
    }

    /// Looks for so long.
    fn look(&mut self, start: Instant, patience: Duration) -> Option<Message> {
        loop {
            if let Some(message) = self.try_receive() {
                return Some(message);
            }
            if start.elapsed() >= patience || self.state().is_err() {
                return None;
            }
            std::hint::spin_loop();
        }
    }

    /// Sleeps on this end alone; says whether the doorbell may have rung.
    fn sleep(&mut self, most: Duration) -> bool {
        self.counts.sleeps += 1;
        let heard = self.waiter.wait(&[(0, self.shared.bell.as_fd())], most);
        heard.map_or(true, |heard| heard.contains(&true))
    }

    /// Says that this end is about to sleep; look once more after this, and only then sleep.
    #[inline]
    pub fn doze(&mut self) {
        self.consumer.doze();
        if protocol::has_left(&*self.shared.memory, self.shared.side) {
            self.shared.close(Closed::Left);
        }
    }

    /// Says that it is awake. `heard`: the [descriptor](Self::fd) is readable, so the bell is silenced.
    ///
    /// An end that was rung for nothing too often is closed.
    #[inline]
    pub fn wake(&mut self, heard: bool) {
        self.consumer.wake();
        if heard {
            self.hear();
        }
    }

    fn hear(&mut self) {
        self.counts.heard += 1;
        match self.shared.bell.silence() {
            Ok(false) => {}
            Ok(true) => {
                self.idle_rings += 1;
                if self.idle_rings > IDLE_RINGS {
                    self.shared.close(Closed::Rings);
                }
            }
            Err(HungUp) => {
                self.shared.close(Closed::Left);
            }
        }
    }

    /// Whether a message can be taken now.
    #[inline]
    pub fn is_ready(&mut self) -> bool {
        self.state().is_ok() && self.consumer.ready().map_or(true, |count| count > 0)
    }

    /// Whether this end is still open.
    ///
    /// # Errors
    /// [`Closed`]: why it is not.
    #[inline]
    pub fn state(&self) -> Result<(), Closed> {
        self.shared.closed().map_or(Ok(()), Err)
    }

    /// What becomes readable when the other end rings or leaves: for poll, epoll, io_uring. It rings only
    /// after [`doze`](Self::doze).
    pub fn fd(&self) -> RawFd {
        self.shared.bell.fd()
    }

    /// What this half has done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

impl AsFd for Receiver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.bell.as_fd()
    }
}
