//! Two adapters in virtual time: the card under test, and a sink for what it forwards.
//!
//! Everything but the wires is what runs on a real machine: the dispatcher, the linker's image of the
//! router extension (with the paper's LC-trie), the table in a shared region, the peer's rings.

use std::sync::Arc;

use rtrb::Consumer;
use spine_abi::event::{EventPlan, TraceRecord};
use spine_abi::{Endpoint, Message, Nanos};
use spine_client::memory::Region;
use spine_client::signature::SecretKey;
use spine_fib::lc_trie::{REGION_BYTES, Route, Trie};
use spine_fib::protocol::{FORWARD, SWAP, Swap};
use spine_fib::{Action, Addresses, NextHop};
use spine_io::lanai::{Card, Lanai, Starvation, Uniform};
use spine_io::runtime::{Adapter, Statistics};
use spine_io::trace::Trace;
use spine_io::{AdapterHandle, AdapterSetup, Budget, Machine, RegionSource, TrustedKey};
use spine_nic::Nic;
use spine_nic::buffer::FrameMemory;
use spine_nic::loopback::Generator;
use spine_os::domain::Policy;
use spine_os::linker::Linker;
use spine_router::extension::LC_TRIE;
use spine_router::region::TableRegion;

use super::{Failure, neighbour, packets};

/// Routes in the table: as many as the paper's.
pub(super) const ROUTES: u32 = 1_000;
/// Frames of each adapter: more than the receive buffers, since a frame also carries its packet to the
/// sink.
const FRAMES: u32 = 256;
/// How far each turn goes: the sink takes what came, and the host's messages are seen.
const TURN_NS: u64 = 100_000;
/// Records that fit in a turn, of any plan.
const RECORDS: usize = 4_096;

/// What experiments share: the linked extensions and the reference trace.
pub(super) struct Laboratory {
    key: TrustedKey,
    router: Vec<u8>,
    neighbour: Vec<u8>,
    routes: Vec<Route>,
}

impl Laboratory {
    /// Links the extensions, once for all experiments.
    pub(super) fn new() -> Result<Self, Failure> {
        let linker = Linker::new(SecretKey::generate()?, Policy::everything())?;
        Ok(Self {
            key: TrustedKey::from_bytes(&linker.public().to_bytes())?,
            router: linker.link(LC_TRIE)?.into_bytes(),
            neighbour: linker.link(&neighbour::module()?)?.into_bytes(),
            routes: packets::routes(ROUTES),
        })
    }

    /// A card with this input, about to start.
    pub(super) fn station(&self, input: &Input) -> Result<Station, Failure> {
        let (memory, dealt) = FrameMemory::anonymous(FRAMES, 2048, 2)?;
        let packets = packets::to_each(&self.routes, input.bytes);
        let period = input.period_us * 1_000.0;
        let feed = Uniform::new(packets, input.count, period, input.jitter, input.seed);
        let card = Lanai::new("lanai0", Arc::clone(&memory), input.card, feed)
            .with_buffers(input.buffers)
            .stamped(if input.neighbour { neighbour::every_fifth } else { |_| FORWARD });
        let (plan, starved) = (*card.plan(), card.starvation());
        let mut sink = Generator::new("lanai1", Arc::clone(&memory), [[0; 60]]);
        sink.limit(0);
        let nics: [Box<dyn Nic>; 2] = [Box::new(card), Box::new(sink)];
        let setups =
            nics.into_iter().zip(dealt).map(|(nic, frames)| AdapterSetup::new(nic, frames));
        let (adapters, handles) = Machine::by_hand(setups.collect(), &memory, self.key)?;
        let table = self.table()?;
        let mut station =
            Station { adapters, handles, plan, starved, reader: None, now: 0, _table: table };
        station.load_router(&self.router)?;
        if input.neighbour {
            let loaded =
                station.handles[0].prepare(&self.neighbour, Vec::new(), Budget::default())?;
            station.adapters[0].install(loaded)?;
        }
        Ok(station)
    }

    fn table(&self) -> Result<TableRegion, Failure> {
        let region = Region::create("lc-trie", REGION_BYTES)?;
        let table =
            TableRegion::of_size(region, REGION_BYTES).ok_or("the table's region is too small")?;
        Trie::build(&self.routes)?.write(&table, 0);
        let hop = NextHop {
            action: Action::Forward,
            peer: 1,
            mtu: 1_500,
            addresses: Addresses::new([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]),
        };
        for index in packets::groups() {
            Trie::set_group(&table, 0, index, &[index]);
            Trie::set_next_hop(&table, 0, index, &hop);
        }
        Ok(table)
    }

    /// Bytes of the table of 1000 routes.
    pub(super) fn table_bytes(&self) -> Result<usize, Failure> {
        Ok(Trie::build(&self.routes)?.bytes())
    }
}

/// What a card is given to do.
#[derive(Debug, Clone)]
pub(super) struct Input {
    pub(super) card: Card,
    /// Packets.
    pub(super) count: u64,
    /// Microseconds between them, as a mean.
    pub(super) period_us: f64,
    /// How far each gap may be from the mean, as a part of it.
    pub(super) jitter: f64,
    /// Bytes of each packet.
    pub(super) bytes: usize,
    /// Receive buffers.
    pub(super) buffers: usize,
    /// Whether every fifth packet goes to a second extension.
    pub(super) neighbour: bool,
    /// Messages from the host, as many as there is room for, all the time.
    pub(super) flood: bool,
    /// The run ends early when so large a part of all packets is lost.
    pub(super) most_lost: f64,
    /// What the gaps are drawn from.
    pub(super) seed: u64,
}

impl Input {
    /// Figure 5's: 576-byte packets, jitter 0.1, four buffers.
    pub(super) fn new(card: Card, count: u64, period_us: f64) -> Self {
        Self {
            card,
            count,
            period_us,
            jitter: 0.1,
            bytes: 576,
            buffers: spine_io::lanai::costs::RECEIVE_BUFFERS,
            neighbour: false,
            flood: false,
            most_lost: 1.0,
            seed: 1,
        }
    }
}

/// A card that runs.
pub(super) struct Station {
    adapters: Vec<Adapter>,
    handles: Vec<AdapterHandle>,
    plan: EventPlan,
    starved: Starvation,
    reader: Option<Consumer<TraceRecord>>,
    now: u64,
    _table: TableRegion,
}

impl Station {
    fn load_router(&mut self, image: &[u8]) -> Result<(), Failure> {
        let file = self._table.region().file().try_clone()?.into();
        let region = RegionSource { file, bytes: self._table.region().len() };
        let loaded = self.handles[0].prepare(image, vec![region], Budget::default())?;
        self.adapters[0].install(loaded)?;
        let swap = Swap {
            half: 0,
            sequence: 1,
            adapter: 0,
            complete_checksums: false,
            check_sources: false,
            paused: false,
        };
        self.handles[0].send(Message::small(SWAP, Endpoint::Host, &swap.to_bytes()))?;
        Ok(())
    }

    /// The card's event plan.
    pub(super) fn plan(&self) -> &EventPlan {
        &self.plan
    }

    /// Traces these kinds, or all.
    pub(super) fn trace(&mut self, names: Option<&[&str]>) {
        let wanted = |name| names.is_none_or(|names| names.contains(&name));
        let kinds = self.plan.kinds().iter().enumerate();
        let mask =
            kinds.filter(|(_, kind)| wanted(kind.name)).fold(0, |mask, (at, _)| mask | 1 << at);
        let (trace, reader) = Trace::new(RECORDS, mask, None);
        self.adapters[0].set_trace(trace);
        self.reader = Some(reader);
    }

    /// Runs both adapters a little further, and hands out what was traced meanwhile.
    pub(super) fn turn(&mut self, mut record: impl FnMut(TraceRecord)) {
        self.now += TURN_NS;
        for adapter in &mut self.adapters {
            adapter.turn(Nanos(self.now));
        }
        let Some(reader) = &mut self.reader else { return };
        while let Ok(one) = reader.pop() {
            record(one);
        }
    }

    /// Fills the FIFO from the host with messages for the second extension.
    pub(super) fn flood(&mut self, messages: usize) -> Result<(), Failure> {
        for _ in 0..messages {
            self.handles[0].send(neighbour::message())?;
        }
        Ok(())
    }

    /// What the card has counted.
    pub(super) fn statistics(&mut self) -> Statistics {
        self.adapters[0].statistics()
    }

    /// The longest that a packet in a buffer waited while none was taken note of, in nanoseconds.
    pub(super) fn starved_ns(&self) -> u64 {
        self.starved.load(std::sync::atomic::Ordering::Relaxed)
    }
}
