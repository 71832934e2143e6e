//! The application's end of its FIFO to an adapter (SPINE 3.1).
//!
//! The protocol and the memory are [`spine_ring`]'s, which the adapter uses as well; this is the
//! host's end as one thing, with the way across a socket: [`create`] makes a FIFO here, and the
//! adapter's descriptors go to whoever owns it; [`HostEnd::from_fds`] takes the host's descriptors
//! of a FIFO made there.
//!
//! ```
//! use std::time::Duration;
//! use spine_abi::{Endpoint, HandlerNumber, Message};
//! use spine_client::fifo::{self, End, Side};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let (mut host, fds) = fifo::create(64)?;
//! let mut adapter = End::open(Side::Adapter, fds)?; // elsewhere, as a rule
//!
//! host.send(&Message::small(HandlerNumber(7), Endpoint::Host, b"swap"))?;
//! let received = adapter.receiver.try_receive().expect("a message");
//! adapter.sender.send(&received)?;
//! let answer = host.receive(Duration::from_secs(1))?.expect("an answer in time");
//! assert_eq!(answer.arguments(), b"swap");
//! # Ok(())
//! # }
//! ```

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use spine_abi::Message;
pub use spine_ring::{Closed, Counts, End, Fds, OpenError, Receiver, SendError, Sender, Side};

/// The application's end.
#[derive(Debug)]
pub struct HostEnd(End);

/// Makes a FIFO with room for so many messages each way, a power of two: the host's end, and the
/// adapter's descriptors.
///
/// # Errors
/// [`OpenError`].
pub fn create(capacity: u32) -> Result<(HostEnd, Fds), OpenError> {
    let (end, fds) = spine_ring::create(Side::Host, capacity)?;
    Ok((HostEnd(end), fds))
}

impl HostEnd {
    /// The host's end of a FIFO that was made where the adapter is.
    ///
    /// # Errors
    /// [`OpenError`]: the descriptors are not such an end's, or it has been used before.
    pub fn from_fds(fds: Fds) -> Result<Self, OpenError> {
        End::open(Side::Host, fds).map(Self)
    }

    /// Sends a message to the handler it names. The adapter says itself who sent it.
    ///
    /// # Errors
    /// [`SendError`]: no room now, or nobody there.
    pub fn send(&mut self, message: &Message) -> Result<(), SendError> {
        self.0.sender.send(message)
    }

    /// The next message, if there is one; never waits.
    pub fn try_receive(&mut self) -> Option<Message> {
        self.0.receiver.try_receive()
    }

    /// The next message, waiting for it up to `timeout`; `None` when none came.
    ///
    /// # Errors
    /// [`Closed`]: none came, and none will.
    pub fn receive(&mut self, timeout: Duration) -> Result<Option<Message>, Closed> {
        self.0.receiver.receive(timeout)
    }

    /// Says that this end is about to wait for its [descriptor](Self::fd) among others. It must
    /// look for messages once more after this, and [`wake`](Self::wake) when it has waited.
    pub fn doze(&mut self) {
        self.0.receiver.doze();
    }

    /// Says that this end is awake; `heard` says that its descriptor was readable.
    pub fn wake(&mut self, heard: bool) {
        self.0.receiver.wake(heard);
    }

    /// What becomes readable when a message came for an end that [dozes](Self::doze), or the
    /// adapter left: for poll, epoll or io_uring.
    pub fn fd(&self) -> RawFd {
        self.0.receiver.fd()
    }

    /// Whether it is still open.
    ///
    /// # Errors
    /// [`Closed`]: why it is not.
    pub fn state(&self) -> Result<(), Closed> {
        self.0.receiver.state()
    }

    /// What this end has done, system calls included.
    pub fn counts(&self) -> Counts {
        self.0.counts()
    }

    /// The two halves, for two threads.
    pub fn split(self) -> (Sender, Receiver) {
        (self.0.sender, self.0.receiver)
    }
}

impl AsFd for HostEnd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.receiver.as_fd()
    }
}

impl AsRawFd for HostEnd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd()
    }
}
