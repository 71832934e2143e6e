//! The kernel's stack as an endpoint: packets enter it as received on their own interface.
//!
//! What only an extension can find out to be the kernel's business (an unresolved neighbour, a packet
//! that needs an ICMP error) has already left the driver and has to be put back in, by an [`Entrance`].
//! The kernel takes a packet "as received" when a program that passes everything is run on it with live
//! frames (`BPF_PROG_TEST_RUN`). That takes 16 us a call, so it is done by a helper thread.
//!
//! Every sender has a bounded queue of its own, of buffers made beforehand: handing over is a copy and,
//! if the helper sleeps, one wake-up; it never waits, and when the queue is full the packet is refused
//! and counted. A buffer goes round: spent ring, sender, filled ring, helper, spent ring; so a filled
//! ring always has room for the buffer at hand.
//!
//! The helper stays in the network namespace of the thread that started it. Why not a TAP device whose
//! packets are redirected to the interface's ingress? It is one more interface that people and routing
//! daemons see, and leaves something behind when we are killed.
//!
//! Limit: the kernel wants the packet and its own bookkeeping in one page. Linux 6.18 takes up to
//! [`LONGEST`] bytes and refuses longer ones, which are counted.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle, Thread};

use libbpf_rs::libbpf_sys::BPF_F_TEST_XDP_LIVE_FRAMES;
use libbpf_rs::{Object, ObjectBuilder, ProgramInput};
use rtrb::{Consumer, Producer, RingBuffer};
use spine_abi::limits::FRAME_BYTES;
use spine_xdp_progs::{PASS, PASS_PROGRAM};

use super::KernelPort;

/// Packets of one sender that wait at most: eight milliseconds of the helper's time. It has to outlast the moment in which
/// the helper waits for a processor; with 128, one exception in 700 was lost on two busy cores.
pub const QUEUE: usize = 512;
/// Bytes of the longest packet the kernel takes back, its Ethernet header included (4 KiB pages).
pub const LONGEST: u32 = 3408;

/// `struct xdp_md`, of which we say where the packet ends and where it came in.
const CONTEXT_BYTES: usize = 24;
const CONTEXT_END: usize = 4;
const CONTEXT_INTERFACE: usize = 12;

/// The loopback interface has this index in every network namespace.
const LOOPBACK: u32 = 1;

/// Why the hand-over could not be started.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The program that passes packets could not be loaded.
    #[error(
        "cannot load the program that hands packets to the kernel \
         (needs CAP_BPF and CAP_NET_ADMIN): {0}"
    )]
    Load(#[source] libbpf_rs::Error),
    /// The kernel took the program but not a packet.
    #[error("the kernel takes no packets back (needs Linux 5.18 or newer): {0}")]
    Probe(#[source] libbpf_rs::Error),
    /// There is no thread for it.
    #[error("cannot start the thread that hands packets to the kernel: {0}")]
    Thread(#[source] io::Error),
}

/// The packet was not taken, and has been counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The queue is full.
    #[error("the queue to the kernel is full")]
    Full,
    /// It is longer than a frame.
    #[error("the packet is longer than {FRAME_BYTES} bytes")]
    TooLong,
}

/// What became of packets for the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KernelCounts {
    /// In the kernel's stack.
    pub handed: u64,
    /// Refused by the kernel (no such interface, larger than a page), or longer than a frame.
    pub refused: u64,
    /// Not taken because a queue was full.
    pub overflow: u64,
}

/// A way into the kernel's stack.
pub trait Entrance: Send {
    /// Gives the kernel one packet, its Ethernet header in front, as received on the interface with
    /// this index. Called by the helper thread.
    ///
    /// # Errors
    /// What the kernel said of a packet it did not take.
    fn admit(&mut self, ifindex: u32, packet: &[u8]) -> io::Result<()>;
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    handed: AtomicU64,
    refused: AtomicU64,
    overflow: AtomicU64,
}

/// The helper thread and its queues. Dropping it is [`shutdown`](Self::shutdown).
#[derive(Debug)]
pub struct KernelEndpoint {
    helper: Option<JoinHandle<()>>,
    register: mpsc::Sender<Queue>,
    shared: Arc<Shared>,
}

/// One adapter's way to the kernel, for one interface.
pub struct KernelSender {
    spent: Consumer<Buffer>,
    filled: Producer<Buffer>,
    helper: Thread,
    shared: Arc<Shared>,
}

/// The helper's end of a sender.
struct Queue {
    ifindex: u32,
    filled: Consumer<Buffer>,
    spent: Producer<Buffer>,
}

struct Buffer {
    length: usize,
    bytes: Box<[u8; FRAME_BYTES]>,
}

impl KernelEndpoint {
    /// Loads the program, tries it on a packet nobody listens to, and starts the helper.
    ///
    /// # Errors
    /// [`KernelError`]; nothing is left behind.
    pub fn start() -> Result<Self, KernelError> {
        let mut program = LiveFrames::load().map_err(KernelError::Load)?;
        let mut probe = [0; 60];
        // The EtherType that IEEE 802 set aside for experiments.
        probe[12..14].copy_from_slice(&[0x88, 0xb5]);
        program.inject(LOOPBACK, &probe).map_err(KernelError::Probe)?;
        Self::through(program)
    }

    /// Starts the helper with another way into the kernel.
    ///
    /// # Errors
    /// [`KernelError::Thread`].
    pub fn through(entrance: impl Entrance + 'static) -> Result<Self, KernelError> {
        let (register, registered) = mpsc::channel();
        let shared = Arc::new(Shared::default());
        let helper = Helper {
            entrance: Box::new(entrance),
            registered,
            queues: Vec::new(),
            shared: Arc::clone(&shared),
        };
        let helper = thread::Builder::new()
            .name("spine-kernel".to_owned())
            .spawn(|| helper.run())
            .map_err(KernelError::Thread)?;
        Ok(Self { helper: Some(helper), register, shared })
    }

    /// A sender for packets received on the interface with this index, with a queue of its own
    /// ([`QUEUE`] buffers of a frame each, two megabytes).
    pub fn sender(&self, ifindex: u32) -> KernelSender {
        // Between start and drop there is a helper; a sender made later finds its queue full.
        let helper = self.helper.as_ref().map_or_else(thread::current, |h| h.thread().clone());
        let (sender, queue) = queue(ifindex, helper, Arc::clone(&self.shared));
        // Refused only if the helper is gone: then the queue fills, which is counted.
        let _ = self.register.send(queue);
        sender
    }

    /// What became of all senders' packets so far.
    pub fn counts(&self) -> KernelCounts {
        KernelCounts {
            handed: self.shared.handed.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
            overflow: self.shared.overflow.load(Ordering::Relaxed),
        }
    }

    /// Hands over what is queued now, at most [`QUEUE`] packets a sender (2 ms each), and ends the helper.
    pub fn shutdown(mut self) -> KernelCounts {
        self.stop();
        self.counts()
    }

    fn stop(&mut self) {
        let Some(helper) = self.helper.take() else { return };
        self.shared.stop.store(true, Ordering::Release);
        helper.thread().unpark();
        if helper.join().is_err() {
            tracing::error!("the thread that hands packets to the kernel panicked");
        }
    }
}

impl Drop for KernelEndpoint {
    fn drop(&mut self) {
        self.stop();
    }
}

impl KernelSender {
    /// Takes a copy of a packet that begins with its Ethernet header. Never blocks.
    ///
    /// # Errors
    /// [`NotTaken`]: the packet is lost unless the caller keeps it.
    pub fn try_send(&mut self, packet: &[u8]) -> Result<(), NotTaken> {
        if packet.len() > FRAME_BYTES {
            self.shared.refused.fetch_add(1, Ordering::Relaxed);
            return Err(NotTaken::TooLong);
        }
        let sent = self.spent.pop().ok().and_then(|mut buffer| {
            buffer.bytes[..packet.len()].copy_from_slice(packet);
            buffer.length = packet.len();
            self.filled.push(buffer).ok()
        });
        if sent.is_none() {
            self.shared.overflow.fetch_add(1, Ordering::Relaxed);
            return Err(NotTaken::Full);
        }
        // Costs a system call only if the helper sleeps.
        self.helper.unpark();
        Ok(())
    }
}

impl KernelPort for KernelSender {
    fn hand_over(&mut self, packet: &[u8]) -> bool {
        self.try_send(packet).is_ok()
    }

    fn queue(&self) -> Option<super::Queue> {
        // Every buffer is in the queue, with the helper, or spent.
        let waiting = QUEUE.saturating_sub(self.spent.slots());
        Some(super::Queue { waiting, capacity: QUEUE })
    }
}

/// Both ends of a new queue; all of its buffers are with the sender.
fn queue(ifindex: u32, helper: Thread, shared: Arc<Shared>) -> (KernelSender, Queue) {
    let (filled, to_hand) = RingBuffer::new(QUEUE);
    let (mut to_spend, spent) = RingBuffer::new(QUEUE);
    while to_spend.push(Buffer { length: 0, bytes: Box::new([0; FRAME_BYTES]) }).is_ok() {}
    (
        KernelSender { spent, filled, helper, shared },
        Queue { ifindex, filled: to_hand, spent: to_spend },
    )
}

/// The helper thread's own.
struct Helper {
    entrance: Box<dyn Entrance>,
    registered: mpsc::Receiver<Queue>,
    queues: Vec<Queue>,
    shared: Arc<Shared>,
}

impl Helper {
    /// One pass over all queues after the other; sleeps after a pass that found nothing.
    fn run(mut self) {
        loop {
            // Read before the pass, which then finds all that was sent before the stop.
            let stop = self.shared.stop.load(Ordering::Acquire);
            self.queues.extend(self.registered.try_iter());
            let mut found = 0;
            for queue in &mut self.queues {
                found += serve(queue, self.entrance.as_mut(), &self.shared);
            }
            // Abandoned first: a sender that was dropped since has nothing more to send.
            self.queues.retain(|queue| !queue.filled.is_abandoned() || !queue.filled.is_empty());
            if stop {
                return;
            }
            if found == 0 {
                thread::park();
            }
        }
    }
}

/// Hands over what a queue holds now, so that a busy sender keeps no other waiting longer than that.
fn serve(queue: &mut Queue, entrance: &mut dyn Entrance, shared: &Shared) -> usize {
    let waiting = queue.filled.slots();
    for _ in 0..waiting {
        let Ok(buffer) = queue.filled.pop() else { break };
        let packet = buffer.bytes.get(..buffer.length).unwrap_or_default();
        match entrance.admit(queue.ifindex, packet) {
            Ok(()) => shared.handed.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                tracing::debug!("the kernel refused {} bytes: {error}", buffer.length);
                shared.refused.fetch_add(1, Ordering::Relaxed)
            }
        };
        // There are as many buffers as places.
        let _ = queue.spent.push(buffer);
    }
    waiting
}

/// A program that passes everything, run on packets.
struct LiveFrames(Object);

impl LiveFrames {
    fn load() -> Result<Self, libbpf_rs::Error> {
        let object = ObjectBuilder::default().open_memory(PASS)?.load()?;
        Ok(Self(object))
    }

    fn inject(&mut self, ifindex: u32, packet: &[u8]) -> Result<(), libbpf_rs::Error> {
        let length = u32::try_from(packet.len()).unwrap_or(u32::MAX);
        let mut context = [0; CONTEXT_BYTES];
        context[CONTEXT_END..][..4].copy_from_slice(&length.to_ne_bytes());
        context[CONTEXT_INTERFACE..][..4].copy_from_slice(&ifindex.to_ne_bytes());
        let mut programs = self.0.progs_mut();
        let program = programs
            .find(|program| program.name() == PASS_PROGRAM)
            .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        let input = ProgramInput {
            context_in: Some(&mut context),
            data_in: Some(packet),
            flags: BPF_F_TEST_XDP_LIVE_FRAMES,
            repeat: 1,
            ..ProgramInput::default()
        };
        program.test_run(input).map(|_| ())
    }
}

impl Entrance for LiveFrames {
    fn admit(&mut self, ifindex: u32, packet: &[u8]) -> io::Result<()> {
        self.inject(ifindex, packet).map_err(io::Error::other)
    }
}

#[cfg(test)]
pub(crate) mod tests;
