//! Two adapters without a wire, the router extension on the first, and a table of 1000 routes of either family.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use spine_abi::{Endpoint, Message, Verdict};
use spine_client::memory::Region;
use spine_client::signature::SecretKey;
use spine_fib::protocol::{FORWARD, SWAP, Swap};
use spine_fib::{Action, Addresses, NextHop, Writer};
use spine_headers::{ethernet, ipv4, ipv6, protocol};
use spine_io::runtime::Adapter;
use spine_io::{AdapterSetup, Budget, Machine, RegionSource, TrustedKey};
use spine_nic::buffer::FrameMemory;
use spine_nic::clock::{Clock, Manual, Monotonic, ThreadTime};
use spine_nic::loopback::Generator;
use spine_os::domain::Policy;
use spine_os::linker::Linker;
use spine_packets::routes;
use spine_router::region::TableRegion;
use spine_router_extension::settings::Settings;

/// Routes in the table, each with packets to it.
pub(crate) const ROUTES: u32 = 1000;

/// The n-th destination: routes are /24s spread over the address space.
fn destination(n: u32) -> u32 {
    (10 << 24) + (n.wrapping_mul(2_654_435_761) >> 8 & 0xff_ff00) + 1
}

/// Which packets there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Family {
    /// To /24s.
    Ipv4,
    /// To prefixes with the lengths that the Internet has.
    Ipv6,
}

/// A table with the routes in both halves, all by one next hop: adapter 1.
pub(crate) fn table() -> TableRegion {
    let region = Region::create("bench", spine_fib::layout::REGION_BYTES).expect("memory");
    let table = TableRegion::new(region).expect("large enough");
    for half in 0..2 {
        let mut writer = Writer::new(&table, half);
        let hop = NextHop {
            action: Action::Forward,
            peer: 1,
            mtu: 1500,
            addresses: Addresses::new([2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]),
        };
        writer.set_next_hop(1, &hop);
        writer.set_group(spine_fib::layout::FIRST_GROUP, &[1]);
        for n in 0..ROUTES {
            let prefix = destination(n) & !0xff;
            writer.paint(prefix, 24, spine_fib::layout::FIRST_GROUP).expect("room");
        }
        for (prefix, length) in routes::ipv6(ROUTES as usize) {
            writer.paint_ipv6(prefix, length, spine_fib::layout::FIRST_GROUP).expect("room");
        }
    }
    table
}

/// One UDP packet to each route, as short as a frame may be.
pub(crate) fn packets(family: Family) -> Vec<Box<[u8]>> {
    match family {
        Family::Ipv4 => (0..ROUTES).map(|n| ipv4_packet(destination(n))).collect(),
        Family::Ipv6 => {
            let routes = routes::ipv6(ROUTES as usize);
            routes.into_iter().map(|(prefix, _)| ipv6_packet(prefix | 1)).collect()
        }
    }
}

fn frame(ether_type: u16, ip: &[u8], bytes: usize) -> Box<[u8]> {
    let ethernet = ethernet::Fields { destination: [0; 6], source: [0; 6], ether_type };
    let mut packet = [&ethernet.to_bytes()[..], ip].concat();
    packet.resize(bytes, 0);
    packet.into()
}

fn ipv4_packet(destination: u32) -> Box<[u8]> {
    let (from, to) = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::from_bits(destination));
    let fields = ipv4::Fields::new(from, to, protocol::UDP, 26);
    let ip = ipv4::Fields { identification: 1, ..fields };
    frame(ethernet::ether_type::IPV4, &ip.to_bytes(), ethernet::LEAST_BYTES)
}

fn ipv6_packet(destination: u128) -> Box<[u8]> {
    let ip = ipv6::Fields {
        source: Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
        destination: Ipv6Addr::from_bits(destination),
        next_header: protocol::UDP,
        payload: 8,
        hop_limit: 64,
    };
    frame(ethernet::ether_type::IPV6, &ip.to_bytes(), ethernet::BYTES + ipv6::BYTES + 8)
}

/// The router on adapters that are turned by hand.
pub(crate) struct Rig {
    adapters: Vec<Adapter>,
    clock: Box<dyn Clock>,
    _table: TableRegion,
}

impl Rig {
    /// Packets arrive in bursts of `burst`, and the clock is the real one.
    pub(crate) fn new(family: Family, burst: usize) -> Self {
        Self::by(family, burst, || Box::new(Monotonic::default()))
    }

    /// The same by a clock that stands still: under an instruction counter everything takes fifty times as long, and
    /// the router would have its share of the adapter's time and no more.
    pub(crate) fn standing_still(family: Family, burst: usize) -> Self {
        Self::by(family, burst, || Box::new(Manual::default()))
    }

    fn by(family: Family, burst: usize, clock: impl Fn() -> Box<dyn Clock>) -> Self {
        let linker = Linker::new(SecretKey::generate().expect("randomness"), Policy::everything())
            .expect("a compiler for this machine");
        let key = TrustedKey::from_bytes(&linker.public().to_bytes()).expect("a key");
        let image = linker.link(spine_router::extension::MODULE).expect("the router links");
        let table = table();

        let (memory, dealt) = FrameMemory::anonymous(1024, 2048, 2).expect("memory");
        let setups = dealt.into_iter().enumerate().map(|(index, frames)| {
            let mut nic = Generator::new("generator", Arc::clone(&memory), packets(family));
            if index == 1 {
                nic.limit(0);
            }
            AdapterSetup::new(Box::new(nic.stamped(FORWARD)), frames)
        });
        let (mut adapters, handles) =
            Machine::by_hand(setups.collect(), &memory, key).expect("adapters");
        for adapter in &mut adapters {
            // As a processor's: what the looks at the clock take is part of a packet's way.
            adapter.measure(clock(), Box::new(ThreadTime));
        }
        let file = table.region().file().try_clone().expect("a descriptor").into();
        let region = RegionSource { file, bytes: table.region().len() };
        let loaded = handles[0]
            .prepare(image.as_bytes(), vec![region], Budget::default())
            .unwrap_or_else(|error| panic!("{error}"));
        adapters[0].install(loaded).unwrap_or_else(|error| panic!("{error}"));
        adapters[0].set_burst(1);

        let mut rig = Self { adapters, clock: clock(), _table: table };
        let swap = Swap {
            half: 0,
            sequence: 1,
            adapter: 0,
            complete_checksums: true,
            check_sources: false,
            paused: false,
        };
        handles[0].send(Message::small(SWAP, Endpoint::Host, &swap.to_bytes())).expect("a queue");
        // Until the router is known to be cheap, and its bursts are whole: one at a time, so that none are left waiting.
        rig.turns(1000);
        rig.adapters[0].set_burst(burst);
        let expected = u64::try_from(100 * burst).unwrap_or(0);
        // Where the machine took the processor away, some waited and cross with those of the next turns.
        let crossed = (0..50).map(|_| {
            let before = rig.forwarded();
            rig.turns(100);
            rig.forwarded() - before
        });
        let crossed: Vec<u64> = crossed.take_while(|crossed| *crossed != expected).collect();
        assert!(crossed.len() < 50, "every packet crosses: {expected} of {crossed:?}");
        rig
    }

    /// Each turn takes one burst from the generator through the extension and out of the peer.
    pub(crate) fn turns(&mut self, count: u64) {
        for _ in 0..count {
            let now = self.clock.now();
            for adapter in &mut self.adapters {
                adapter.turn(now);
            }
        }
    }

    /// Packets that crossed.
    pub(crate) fn forwarded(&self) -> u64 {
        self.adapters[1].counters().forwarded
    }

    /// Fuel the extension used for each message.
    pub(crate) fn fuel_per_message(&self) -> u64 {
        let counters = self.adapters[0].counters();
        counters.fuel / counters.handled.max(1)
    }
}

/// The extension's function as native code, with the copies to and from the packet that a slot has.
pub(crate) struct Native {
    table: TableRegion,
    packets: Vec<Box<[u8]>>,
    next: usize,
}

impl Native {
    /// The same table, the same packets.
    pub(crate) fn new(family: Family) -> Self {
        Self { table: table(), packets: packets(family), next: 0 }
    }

    /// Routes so many packets; says how many were forwarded.
    pub(crate) fn route(&mut self, count: usize) -> usize {
        let settings =
            Settings { half: 0, adapter: 0, complete_checksums: true, check_sources: false };
        let mut forwarded = 0;
        for _ in 0..count {
            let mut packet = [0; 64];
            let bytes = self.packets[self.next].len();
            packet[..bytes].copy_from_slice(&self.packets[self.next]);
            self.next = if self.next + 1 == self.packets.len() { 0 } else { self.next + 1 };
            let packet = std::hint::black_box(&mut packet);
            let mut slot = [0; 64];
            slot[..bytes].copy_from_slice(&packet[..bytes]);
            let slot = &mut slot[..bytes];
            let verdict = spine_router_extension::route(&self.table, settings, slot, bytes);
            if matches!(verdict.verdict(), Verdict::Forward { .. }) {
                packet[..34].copy_from_slice(&slot[..34]);
                forwarded += 1;
            }
            std::hint::black_box(packet);
        }
        forwarded
    }
}
