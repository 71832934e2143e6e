//! What the watchdog costs: the router's own module with and without fuel, under the same loop.
//!
//! The adapter's engine always counts fuel. So this makes two engines of its own that differ in
//! nothing else, and gives the module the least a runtime can: slots filled before each entry.

use spine_abi::limits::{BURST, FUEL_PER_MESSAGE, HEADER_BYTES, MESSAGE_BYTES, PAGE_BYTES};
use spine_abi::{BufferRef, Endpoint, Header, Kind, Message};
use spine_fib::protocol::{FORWARD, SWAP, Swap};
use wasmtime::{Caller, Engine, Linker, Memory, Module, Result, Store, TypedFunc};

use super::rig::Family;

struct Burst {
    given: usize,
    count: usize,
    slots: usize,
    region: (usize, usize),
    fuel: bool,
}

/// The router's module in an engine of its own, with the table copied into its memory.
pub(crate) struct Bare {
    store: Store<Burst>,
    run: TypedFunc<(), ()>,
    memory: Memory,
    packets: Vec<Box<[u8]>>,
    next: usize,
}

impl Bare {
    /// With or without fuel.
    pub(crate) fn new(family: Family, fuel: bool) -> Self {
        let mut config = spine_engine::config();
        config.consume_fuel(fuel);
        let engine = Engine::new(&config).expect("an engine");
        let module = Module::new(&engine, spine_router::extension::MODULE).expect("a module");
        let burst = Burst { given: 0, count: 0, slots: 0, region: (0, 0), fuel };
        let mut store = Store::new(&engine, burst);
        if fuel {
            store.set_fuel(u64::MAX).expect("fuel is counted");
        }
        let mut linker = Linker::new(&engine);
        linker.func_wrap("spine:core", "next", next).expect("once");
        linker.func_wrap("spine:core", "region", region).expect("once");
        linker
            .define_unknown_imports_as_default_values(&mut store, &module)
            .expect("all imports are functions");
        let instance = linker.instantiate(&mut store, &module).expect("an instance");
        let memory = instance.get_memory(&mut store, "memory").expect("a memory");
        let run = instance.get_typed_func(&mut store, "run").expect("run");
        let table = super::rig::table();
        let slots = memory.data_size(&store);
        let place = slots + (BURST * MESSAGE_BYTES).next_multiple_of(PAGE_BYTES);
        let bytes = table.region().len();
        let pages = (place + bytes - slots) / PAGE_BYTES;
        memory.grow(&mut store, pages as u64).expect("room for slots and table");
        let into = &mut memory.data_mut(&mut store)[place..];
        table.region().read(0, into).expect("the whole region");
        store.data_mut().slots = slots;
        store.data_mut().region = (place, bytes);
        let init: TypedFunc<(), ()> = instance.get_typed_func(&mut store, "init").expect("init");
        init.call(&mut store, ()).expect("init works");
        let mut bare = Self { store, run, memory, packets: super::rig::packets(family), next: 0 };
        bare.swap();
        bare
    }

    /// Tells the module which half to read: from here on it forwards.
    fn swap(&mut self) {
        let swap = Swap {
            half: 0,
            sequence: 1,
            adapter: 0,
            complete_checksums: true,
            check_sources: false,
            paused: false,
        };
        let message = Message::small(SWAP, Endpoint::Host, &swap.to_bytes());
        let slots = self.store.data().slots;
        self.memory.data_mut(&mut self.store)[slots..slots + MESSAGE_BYTES]
            .copy_from_slice(message.as_bytes());
        self.run(1);
    }

    /// Fills `count` slots and runs the module over them.
    pub(crate) fn entry(&mut self, count: usize) {
        let header = |bytes: usize| Header {
            handler: FORWARD,
            kind: Kind::Bulk,
            source: Endpoint::Network,
            length: u16::try_from(bytes).expect("a short packet"),
            buffer: BufferRef { index: 1, generation: 1 },
        };
        let slots = self.store.data().slots;
        let memory = &mut self.memory.data_mut(&mut self.store)[slots..];
        let slots = memory.chunks_exact_mut(MESSAGE_BYTES).take(count);
        for slot in slots {
            let packet = &self.packets[self.next];
            slot[..HEADER_BYTES].copy_from_slice(&header(packet.len()).to_bytes());
            slot[HEADER_BYTES..HEADER_BYTES + packet.len()].copy_from_slice(packet);
            self.next = if self.next + 1 == self.packets.len() { 0 } else { self.next + 1 };
        }
        self.run(count);
    }

    fn run(&mut self, count: usize) {
        let burst = self.store.data_mut();
        burst.given = 0;
        burst.count = count;
        if burst.fuel {
            self.store.set_fuel(FUEL_PER_MESSAGE).expect("fuel is counted");
        }
        self.run.call(&mut self.store, ()).expect("the router does not trap");
    }
}

fn region(caller: Caller<'_, Burst>, _index: i32) -> i64 {
    let (place, bytes) = caller.data().region;
    i64::try_from((bytes << 32) | place).unwrap_or(0)
}

fn next(mut caller: Caller<'_, Burst>, _verdict: i64) -> Result<i64> {
    if caller.data().fuel {
        caller.get_fuel()?;
        caller.set_fuel(FUEL_PER_MESSAGE)?;
    }
    let burst = caller.data_mut();
    if burst.given == burst.count {
        return Ok(0);
    }
    burst.given += 1;
    Ok(i64::try_from(burst.slots + (burst.given - 1) * MESSAGE_BYTES).unwrap_or(0))
}
