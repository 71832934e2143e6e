//! The scene of a misdeed: two adapters turned by hand, good neighbours, traffic, and a clock that
//! counts fuel.
//!
//! On adapter 0 live the neighbour and, for a time, the offender; on adapter 1 lives an extension that
//! both can send messages to. In each round packets for both arrive on the same wire, mixed, and the
//! application sends both a message. The clock of a packet is the fuel that adapter 0 has used between
//! its arrival and its departure: work, not time, so that the same run gives the same figures on any
//! machine, loaded or not.

use std::collections::BTreeMap;
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::Duration;

use spine_abi::limits::STRIKES;
use spine_abi::{Endpoint, HandlerNumber, Message, Notice};
use spine_io::buffer::{Frame, FrameMemory};
use spine_io::clock::Nanos;
use spine_io::endpoint::{KernelPort, Queue};
use spine_io::nic::loopback::{Loopback, Wire};
use spine_io::nic::{Nic, NicStatistics};
use spine_io::runtime::Adapter;
use spine_io::stats::Counters;
use spine_io::{AdapterHandle, AdapterSetup, Budget, ExtensionId, LoadError, Machine};

use crate::suite;

/// Frames of each adapter.
const FRAMES: u32 = 1024;
/// Packets a wire holds.
const WIRE: usize = 256;
/// Packets the kernel takes at most, and how many it is done with in a round.
const KERNEL_QUEUE: usize = 64;
const KERNEL_SPEED: usize = 4;
/// Messages the application takes in a round.
const HOST_SPEED: usize = 16;

/// The handlers of packets and of messages: the neighbour's, and the offender's.
pub(crate) const NEIGHBOUR: u8 = 1;
pub(crate) const OFFENDER: u8 = 11;
const NEIGHBOUR_MESSAGE: HandlerNumber = HandlerNumber(2);
/// Packets for the neighbour and for the offender in a round.
pub(crate) const NEIGHBOURS: usize = 8;
pub(crate) const OFFENDERS: usize = 24;
/// The neighbour keeps every packet with this command.
const KEEP: u8 = 1;

/// What the suite gives everybody: the budget an extension has by default.
pub(crate) fn budget() -> Budget {
    let budget = Budget::default();
    assert_eq!(budget.strikes, STRIKES);
    budget
}

/// A wire whose packets say in their first byte which handler they are for.
pub(crate) struct Sorted {
    pub(crate) inner: Loopback,
    pub(crate) memory: Arc<FrameMemory>,
}

impl Nic for Sorted {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn mode(&self) -> &str {
        self.inner.mode()
    }

    fn receive(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let before = into.len();
        let count = self.inner.receive(into, most);
        for frame in &mut into[before..] {
            let number = u16::from(self.memory.packet(frame)[0]);
            frame.set_handler(HandlerNumber(number));
        }
        count
    }

    fn transmit(&mut self, from: &mut VecDeque<Frame>) -> usize {
        self.inner.transmit(from)
    }

    fn unflushed(&self) -> usize {
        self.inner.unflushed()
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.inner.flush()
    }

    fn complete(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        self.inner.complete(into, most)
    }

    fn in_flight(&self) -> usize {
        self.inner.in_flight()
    }

    fn refill(&mut self, from: &mut Vec<Frame>) {
        self.inner.refill(from);
    }

    fn poll_fd(&self) -> Option<RawFd> {
        self.inner.poll_fd()
    }

    fn statistics(&mut self) -> NicStatistics {
        self.inner.statistics()
    }
}

/// A kernel that is slower than the adapter.
#[derive(Default)]
struct SlowKernel {
    waiting: Arc<std::sync::atomic::AtomicUsize>,
}

impl KernelPort for SlowKernel {
    fn hand_over(&mut self, _packet: &[u8]) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        let taken = self.waiting.load(Relaxed) < KERNEL_QUEUE;
        self.waiting.fetch_add(usize::from(taken), Relaxed);
        taken
    }

    fn queue(&self) -> Option<Queue> {
        let waiting = self.waiting.load(std::sync::atomic::Ordering::Relaxed);
        Some(Queue { waiting, capacity: KERNEL_QUEUE })
    }
}

/// What came of the traffic so far.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Fuel used by adapter 0 from each neighbour's packet's arrival to its departure.
    pub(crate) latencies: Vec<u64>,
    /// Neighbour's packets that are still in the adapters.
    pub(crate) missing: usize,
    /// Packets of the far extension.
    pub(crate) far: usize,
    /// The neighbour's answers to the application, and its messages to the far extension.
    pub(crate) answers: usize,
    pub(crate) passed_on: usize,
    /// The messages of whoever else.
    pub(crate) others: usize,
    /// What the runtime itself said.
    pub(crate) notices: Vec<Notice>,
}

/// The scene.
pub(crate) struct Scene {
    adapters: Vec<Adapter>,
    handles: Vec<AdapterHandle>,
    wires: Vec<Wire>,
    kernel: Arc<std::sync::atomic::AtomicUsize>,
    clock: u64,
    next: u32,
    sent: BTreeMap<u32, u64>,
    /// Packets the neighbour was sent to keep.
    kept: u64,
    pub(crate) rounds: usize,
    pub(crate) seen: Seen,
    neighbour: ExtensionId,
    /// The packet handlers of offenders; those of their messages are one more.
    offenders: Vec<u8>,
}

impl Scene {
    /// Everybody but the offender is there.
    pub(crate) fn new() -> Self {
        let (memory, dealt) = FrameMemory::anonymous(2 * FRAMES, 2048, 2).expect("memory");
        let kernel = SlowKernel::default();
        let waiting = Arc::clone(&kernel.waiting);
        let mut kernel = Some(kernel);
        let (mut setups, mut wires) = (Vec::new(), Vec::new());
        for (index, frames) in dealt.into_iter().enumerate() {
            let name = format!("wire{index}");
            let (inner, wire) = Loopback::wire(&name, Arc::clone(&memory), WIRE).expect("a wire");
            setups.push(AdapterSetup {
                nic: Box::new(Sorted { inner, memory: Arc::clone(&memory) }),
                frames,
                kernel: kernel.take().map(|kernel| Box::new(kernel) as Box<dyn KernelPort>),
                unstamped: HandlerNumber::NONE,
                processor: 0,
            });
            wires.push(wire);
        }
        let (adapters, handles) =
            Machine::by_hand(setups, &memory, suite::key()).expect("adapters");
        let mut scene = Self {
            adapters,
            handles,
            wires,
            kernel: waiting,
            clock: 0,
            next: 0,
            sent: BTreeMap::new(),
            kept: 0,
            rounds: 0,
            seen: Seen::default(),
            neighbour: ExtensionId(0),
            offenders: vec![OFFENDER],
        };
        scene.neighbour = scene.load(0, &suite::good("neighbour")).expect("the neighbour loads");
        scene.load(1, &suite::good("far")).expect("the far one loads");
        scene
    }

    /// Sends to several offenders, by the numbers of their packet handlers.
    pub(crate) fn send_to(&mut self, offenders: Vec<u8>) {
        self.offenders = offenders;
    }

    /// Loads an extension.
    pub(crate) fn load(&mut self, adapter: usize, image: &[u8]) -> Result<ExtensionId, LoadError> {
        let loaded = self.handles[adapter].prepare(image, Vec::new(), budget())?;
        self.adapters[adapter].install(loaded)
    }

    /// Unloads one from adapter 0; false if it is gone already.
    pub(crate) fn unload(&mut self, extension: ExtensionId) -> bool {
        self.adapters[0].unload(extension)
    }

    /// What adapter 0 has counted.
    pub(crate) fn counters(&self) -> &Counters {
        self.adapters[0].counters()
    }

    /// Frames at home on adapter 0.
    pub(crate) fn free_frames(&mut self) -> usize {
        self.adapters[0].statistics().frames.0
    }

    /// Rounds of traffic for all.
    pub(crate) fn run(&mut self, rounds: usize) {
        for _ in 0..rounds {
            self.round(OFFENDERS);
        }
    }

    /// Rounds without new traffic, until everything that can leave has left.
    pub(crate) fn settle(&mut self) {
        for _ in 0..100 {
            self.turn();
            self.collect(usize::MAX);
        }
    }

    fn round(&mut self, offenders: usize) {
        self.rounds += 1;
        for place in 0..NEIGHBOURS + offenders {
            // The offender's packets lie before, between and behind the neighbour's.
            let every = (NEIGHBOURS + offenders).div_ceil(NEIGHBOURS);
            if place % every == every / 2 {
                self.send_to_neighbour(self.next % 16 == 15);
            } else {
                let offender = self.offenders[place % self.offenders.len()];
                self.wires[0].inject(&packet(offender, 0, self.next));
            }
        }
        self.wires[1].inject(&packet(NEIGHBOUR, 0, self.next));
        self.tell(NEIGHBOUR_MESSAGE, b"neighbour");
        for offender in self.offenders.clone() {
            self.tell(HandlerNumber(u16::from(offender) + 1), b"offender");
        }
        self.turn();
        self.collect(HOST_SPEED);
    }

    fn tell(&mut self, handler: HandlerNumber, text: &[u8]) {
        let message = Message::small(handler, Endpoint::Host, text);
        self.handles[0].send(message).expect("a queue");
    }

    fn send_to_neighbour(&mut self, keep: bool) {
        let number = self.next;
        self.next += 1;
        let command = if keep { KEEP } else { 0 };
        assert!(self.wires[0].inject(&packet(NEIGHBOUR, command, number)), "room on the wire");
        if keep {
            self.kept += 1;
        } else {
            self.sent.insert(number, self.counters().fuel);
        }
    }

    fn turn(&mut self) {
        self.clock += 1_000_000;
        let (strikes, offenders) = (self.counters().strikes, self.offenders.len() as u64);
        for adapter in &mut self.adapters {
            adapter.turn(Nanos(self.clock));
        }
        assert!(
            self.counters().strikes <= strikes + offenders,
            "more than one stop each in a turn"
        );
        let done = KERNEL_SPEED.min(self.kernel.load(std::sync::atomic::Ordering::Relaxed));
        self.kernel.fetch_sub(done, std::sync::atomic::Ordering::Relaxed);
    }

    /// Takes what came out of the wires, and so many messages from each adapter.
    fn collect(&mut self, messages: usize) {
        let now = self.counters().fuel;
        while let Some(packet) = self.wires[1].take() {
            if packet[0] != NEIGHBOUR {
                continue;
            }
            let number = u32::from_le_bytes(*packet[2..].first_chunk().expect("a whole packet"));
            let sent = self.sent.remove(&number).expect("sent once, and received once");
            assert_eq!(packet, self::packet(NEIGHBOUR, 0, number), "as it was sent");
            self.seen.latencies.push(now - sent);
        }
        self.seen.missing = self.sent.len();
        while let Some(packet) = self.wires[0].take() {
            self.seen.far += usize::from(packet[0] == NEIGHBOUR);
        }
        for adapter in 0..2 {
            for _ in 0..messages {
                let Some(message) = self.handles[adapter].receive(Duration::ZERO) else { break };
                self.note(adapter, &message);
            }
        }
    }

    fn note(&mut self, adapter: usize, message: &Message) {
        if let Some(notice) = Notice::from_message(message) {
            self.seen.notices.push(notice);
        } else if message.arguments() != b"neighbour" {
            self.seen.others += 1;
        } else if adapter == 0 {
            assert_eq!(message.header().source, Endpoint::Extension(self.neighbour.0));
            self.seen.answers += 1;
        } else {
            self.seen.passed_on += 1;
        }
    }

    /// Fails if the neighbours lost anything so far; to be called after [`settle`](Self::settle).
    pub(crate) fn assert_nothing_lost(&self, name: &str) {
        assert_eq!(self.seen.missing, 0, "{name}: packets of the neighbour");
        assert_eq!(self.seen.far, self.rounds, "{name}: packets of the far extension");
        assert_eq!(self.seen.answers, self.rounds, "{name}: the neighbour's answers");
        assert_eq!(self.seen.passed_on, self.rounds, "{name}: the neighbour's messages");
        let (received, left) = (self.seen.latencies.len() as u64, self.kept);
        assert_eq!(received + left, (self.rounds * NEIGHBOURS) as u64, "{name}");
    }
}

/// A packet for a handler; the neighbour's handler sees the command.
pub(crate) fn packet(handler: u8, command: u8, number: u32) -> Vec<u8> {
    let mut packet = vec![0x55; 200];
    packet[0] = handler;
    packet[1] = command;
    packet[2..6].copy_from_slice(&number.to_le_bytes());
    packet
}

/// The p-th percentile of some figures.
pub(crate) fn percentile(figures: &[u64], p: usize) -> u64 {
    let mut sorted = figures.to_vec();
    sorted.sort_unstable();
    sorted.get(sorted.len() * p / 100).or_else(|| sorted.last()).copied().unwrap_or(0)
}
