//! Strangers: owners who share one adapter, nearly all of them hostile, and one who must not notice.
//!
//! The good one lives on adapter 0, whose owner has nothing else; the others bring what the misbehaviour suite
//! holds and what a generator makes, drawn by a seed, are struck out, load again, and go. What is checked are counts: her packets that
//! are lost (none), and entries into others' extensions that any of them waits for.
//!
//! Time is virtual where it must repeat: a clock that stands still but for what the kernel's port says it takes. An
//! extension whose packets go there is as dear as the test says. On the real clock the same is shown with memory
//! that is really cold.

mod made;
mod time;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use spine_abi::{Endpoint, HandlerNumber, Message};
use spine_io::runtime::Adapter;
use spine_io::stats::Counters;
use spine_io::{AdapterHandle, Budget, ExtensionId, Machine, User};
use spine_nic::clock::{Clock, Manual};
use spine_nic::loopback::Wire;
use spine_nic::punt::KernelPort;

use crate::scene::packet;
use crate::suite::{self, Case, Fate};
use crate::wires::setups;

/// The handler of the good one's packets, and who owns it.
const GOOD: u8 = 1;
const GOOD_OWNER: User = User(1000);
/// Hostile owners: with her they are a hundred.
const HOSTILE: usize = 99;
/// Rounds of traffic, and packets in each: the good one's, and everybody else's.
const ROUNDS: usize = 120;
const GOODS: usize = 3;
const OTHERS: usize = 40;
/// How often one who was struck out comes again.
const RELOADS: usize = 2;

/// A kernel that takes its time, which passes while it does.
struct DearKernel {
    clock: Manual,
    nanos: u64,
}

impl KernelPort for DearKernel {
    fn hand_over(&mut self, _packet: &[u8]) -> bool {
        self.clock.advance(self.nanos);
        true
    }
}

/// Two adapters that are turned by hand; the kernel of the first takes so long for a packet.
struct Street {
    adapters: Vec<Adapter>,
    handles: Vec<AdapterHandle>,
    wires: Vec<Wire>,
    clock: Manual,
    next: u32,
    /// Entries into anybody when each of the good one's packets came.
    sent: BTreeMap<u32, u64>,
    came: u64,
    lost: u64,
    /// The most entries that one of them waited.
    waited: u64,
}

impl Street {
    fn new(kernel_nanos: u64, measured: bool) -> Self {
        let clock = Manual::default();
        let kernel = DearKernel { clock: clock.clone(), nanos: kernel_nanos };
        let (setups, memory, wires) = setups(Some(Box::new(kernel)));
        let (mut adapters, handles) =
            Machine::by_hand(setups, &memory, suite::key()).expect("adapters");
        if measured {
            for adapter in &mut adapters {
                adapter.measure(Box::new(clock.clone()), Box::new(clock.clone()));
            }
        }
        let sent = BTreeMap::new();
        Self { adapters, handles, wires, clock, next: 0, sent, came: 0, lost: 0, waited: 0 }
    }

    fn load(&mut self, image: &[u8], owner: User, budget: Budget) -> Option<ExtensionId> {
        let mut loaded = self.handles[0].prepare(image, Vec::new(), budget).ok()?;
        loaded.set_user(owner);
        self.adapters[0].install(loaded).ok()
    }

    fn counters(&self) -> &Counters {
        self.adapters[0].counters()
    }

    /// A packet for the good one; one that the wire has no room for is lost, as on a card.
    fn send_good(&mut self) {
        let number = self.next;
        self.next += 1;
        if self.wires[0].inject(&packet(GOOD, 0, number)) {
            self.sent.insert(number, self.counters().entries);
        } else {
            self.lost += 1;
        }
    }

    fn send_to(&mut self, handler: u8) -> bool {
        self.wires[0].inject(&packet(handler, 0, self.next))
    }

    fn tell(&mut self, handler: u8) {
        let number = HandlerNumber(u16::from(handler) + 1);
        let message = Message::small(number, Endpoint::Host, b"stranger");
        self.handles[0].send(message).expect("a queue");
    }

    fn turn(&mut self) {
        self.clock.advance(1_000);
        for adapter in &mut self.adapters {
            adapter.turn(self.clock.now());
        }
        let entries = self.counters().entries;
        while let Some(packet) = self.wires[1].take() {
            if packet[0] == GOOD {
                let number = u32::from_le_bytes(*packet[2..].first_chunk().expect("whole"));
                let before = self.sent.remove(&number).expect("sent once, and received once");
                self.waited = self.waited.max(entries - before);
                self.came += 1;
            }
        }
        while self.wires[0].take().is_some() {}
        for handle in &self.handles {
            while handle.receive(Duration::ZERO).is_some() {}
        }
    }

    /// Turns without traffic, until everything that can leave has left.
    fn settle(&mut self) {
        (0..2_000).for_each(|_| self.turn());
        self.lost += self.sent.len() as u64;
    }
}

/// A hostile owner: what he loads, and whether it is there.
struct Hostile {
    owner: User,
    handler: u8,
    image: Arc<[u8]>,
    name: String,
    loaded: Option<ExtensionId>,
    loads: usize,
}

/// Everything of the suite that can be loaded, with these handlers.
fn offenders(rng: &mut Rng, handlers: [u16; 2], cases: &[Case]) -> (String, Arc<[u8]>) {
    if rng.bool() {
        let name = "made";
        let image = Case::made(name, made::module(rng), handlers).link();
        let image = image.unwrap_or_else(|error| panic!("the generator's module: {error}"));
        return (name.to_owned(), image.into());
    }
    let case = rng.choice(cases).expect("there are some").clone().with_handlers(handlers);
    let image = case.link().unwrap_or_else(|error| panic!("{}: {error}", case.name));
    (case.name, image.into())
}

/// Those that are linked and loaded, and do not take the compiler a second.
fn loadable() -> Vec<Case> {
    let loads = |case: &Case| {
        !matches!(case.fate, Fate::Unlinkable(_) | Fate::Unloadable(_))
            && case.name != "straight_line"
    };
    suite::cases().into_iter().filter(loads).collect()
}

/// What became of one seed.
struct Outcome {
    came: u64,
    lost: u64,
    waited: u64,
    loads: usize,
    struck: u64,
}

/// Lives through one seed.
fn live(seed: u64, cases: &[Case]) -> Outcome {
    let mut rng = Rng::with_seed(seed);
    let mut street = Street::new(20_000 + rng.u64(..700_000), true);
    street.load(&suite::good("neighbour"), GOOD_OWNER, Budget::default()).expect("the good one");
    let budget = Budget { strikes: 10, ..Budget::default() };
    let mut hostile: Vec<Hostile> = (0..HOSTILE)
        .map(|place| {
            let handler = u8::try_from(3 + 2 * place).expect("a byte");
            let numbers = [u16::from(handler), u16::from(handler) + 1];
            let (name, image) = offenders(&mut rng, numbers, cases);
            let owner = User(u32::try_from(place).expect("few"));
            Hostile { owner, handler, image, name, loaded: None, loads: 0 }
        })
        .collect();
    for round in 0..ROUNDS {
        // They come one after the other, and half of them go before the end.
        for one in hostile.iter_mut().take(1 + round * HOSTILE / (ROUNDS / 2)) {
            let there = street.adapters[0].statistics().extensions;
            let is_there = one
                .loaded
                .is_some_and(|id| there.iter().any(|it| it.id == id && it.user == one.owner));
            if !is_there && one.loads <= RELOADS {
                one.loaded = street.load(&one.image, one.owner, budget);
                one.loads += 1;
            }
        }
        if round > ROUNDS / 2 {
            let one = rng.choice(&mut hostile).expect("there are some");
            if let Some(id) = one.loaded.take() {
                street.adapters[0].unload(id);
            }
            one.loads = RELOADS + 1;
        }
        for place in 0..OTHERS + GOODS {
            if place % (OTHERS / GOODS) == 7 && place < OTHERS {
                street.send_good();
            } else {
                let handler = rng.choice(&hostile).expect("there are some").handler;
                street.send_to(handler);
            }
        }
        let handler = rng.choice(&hostile).expect("there are some").handler;
        street.tell(handler);
        street.turn();
    }
    street.settle();
    if street.lost > 0 {
        let names: Vec<&str> = hostile.iter().map(|one| one.name.as_str()).collect();
        println!("seed {seed}: {names:?}");
    }
    Outcome {
        came: street.came,
        lost: street.lost,
        waited: street.waited,
        loads: hostile.iter().map(|one| one.loads).sum(),
        struck: street.counters().unloaded,
    }
}

/// The stated number: who was there before is entered once, and once more if he is before her in what was received
/// with her; then she is.
const WAITS: u64 = 2 * HOSTILE as u64 + 1;

/// `SPINE_STRANGERS` says how many seeds, 10 by default.
#[test]
fn a_stranger_among_hostile_ones_loses_nothing_and_waits_for_a_stated_number_of_entries() {
    let seeds = std::env::var("SPINE_STRANGERS").ok().and_then(|text| text.parse().ok());
    let seeds: u64 = seeds.unwrap_or(10);
    let cases = loadable();
    let (mut worst, mut came, mut loads, mut struck) = (0, 0, 0, 0);
    for seed in 0..seeds {
        let outcome = live(seed, &cases);
        assert_eq!(outcome.lost, 0, "seed {seed}: {} came", outcome.came);
        assert!(outcome.waited <= WAITS, "seed {seed}: {} entries", outcome.waited);
        assert!(outcome.struck > 0, "seed {seed}: nobody misbehaved");
        worst = worst.max(outcome.waited);
        came += outcome.came;
        loads += outcome.loads;
        struck += outcome.struck;
    }
    println!(
        "{seeds} seeds, {HOSTILE} hostile owners each: {loads} loads, {struck} struck out, {came} packets of hers, \
         none lost; the longest wait was {worst} entries of {WAITS}"
    );
}
