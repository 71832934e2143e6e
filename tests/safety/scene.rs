//! The scene of a misdeed: two adapters turned by hand, good neighbours, traffic, and a clock that
//! counts fuel.
//!
//! On adapter 0 live the neighbour and, for a time, the offender; on adapter 1 lives an extension that
//! both can send messages to. In each round packets for both arrive on the same wire, mixed, and the
//! application sends both a message. The clock of a packet is the fuel that adapter 0 has used between
//! its arrival and its departure: work, not time, so that the same run gives the same figures on any
//! machine, loaded or not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use spine_abi::limits::STRIKES;
use spine_abi::{Endpoint, HandlerNumber, Message, Nanos, Notice};
use spine_client::memory::Region;
use spine_io::runtime::Adapter;
use spine_io::stats::Counters;
use spine_io::{AdapterHandle, Budget, ExtensionId, LoadError, Machine, RegionSource};
use spine_nic::loopback::Wire;

use crate::suite;
use crate::wires::{SlowKernel, setups};

/// Packets the kernel is done with in a round.
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
    kernel: Arc<AtomicUsize>,
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
        let kernel = SlowKernel::default();
        let waiting = Arc::clone(&kernel.waiting);
        let (setups, memory, wires) = setups(Some(Box::new(kernel)));
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
        self.load_with(adapter, image, budget())
    }

    /// Loads an extension that may use this much.
    pub(crate) fn load_with(
        &mut self,
        adapter: usize,
        image: &[u8],
        budget: Budget,
    ) -> Result<ExtensionId, LoadError> {
        let loaded = self.handles[adapter].prepare(image, Vec::new(), budget)?;
        self.adapters[adapter].install(loaded)
    }

    /// Loads one with handlers 21 and 22 that wants a region, of 64 KiB.
    #[allow(dead_code, reason = "each test file uses its own part")]
    pub(crate) fn load_with_region(&mut self, adapter: usize, image: &[u8]) -> ExtensionId {
        let region = Region::create("churn", 1).expect("a region");
        let file = region.file().try_clone().expect("a descriptor").into();
        let regions = vec![RegionSource { file, bytes: region.len() }];
        let loaded = self.handles[adapter].prepare(image, regions, budget()).expect("it loads");
        self.adapters[adapter].install(loaded).expect("its numbers are free")
    }

    /// Unloads one from adapter 0; false if it is gone already.
    pub(crate) fn unload(&mut self, extension: ExtensionId) -> bool {
        self.adapters[0].unload(extension)
    }

    /// One adapter, to be turned by itself.
    pub(crate) fn adapter(&mut self, index: usize) -> &mut Adapter {
        &mut self.adapters[index]
    }

    /// The application's end of one adapter.
    pub(crate) fn handle(&self, index: usize) -> &AdapterHandle {
        &self.handles[index]
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

    /// Sends a message of the application.
    pub(crate) fn tell(&mut self, handler: HandlerNumber, text: &[u8]) {
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
        let done = KERNEL_SPEED.min(self.kernel.load(Relaxed));
        self.kernel.fetch_sub(done, Relaxed);
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

/// A machine that runs by itself on so many processors, and the far ends of its wires.
pub(crate) fn machine(processors: usize) -> (Machine, Vec<Wire>) {
    let (setups, memory, wires) = setups(None);
    let cores = vec![None; processors];
    let machine = Machine::start(setups, &memory, &cores, suite::key()).expect("a machine");
    (machine, wires)
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
