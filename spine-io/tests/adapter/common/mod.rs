//! Small extensions in text form, and adapters on wires in memory to run them on.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use spine_abi::interface::{Domain, Domains};
use spine_abi::manifest::{FIXED_BYTES, HANDLER_BYTES, HandlerDeclaration, build};
use spine_abi::{HandlerNumber, Reason};
use spine_client::signature::SecretKey;
use spine_io::runtime::Statistics;
use spine_io::{AdapterHandle, AdapterSetup, Budget, ExtensionId, Machine, TrustedKey};
use spine_nic::Nic;
use spine_nic::buffer::{Frame, FrameMemory};
use spine_nic::loopback::{Loopback, Wire};
use spine_nic::punt::KernelPort;
use spine_os::domain::Policy;
use spine_os::linker::Linker;

/// The handler of packets.
pub(crate) const PACKET: HandlerNumber = HandlerNumber(1);
/// The handler of messages.
pub(crate) const MESSAGE: HandlerNumber = HandlerNumber(2);

/// One linker for all tests of a file: making the compiler takes longer than using it.
pub(crate) fn linker() -> &'static Linker {
    static LINKER: OnceLock<Linker> = OnceLock::new();
    LINKER.get_or_init(|| {
        let key = SecretKey::generate().expect("randomness");
        Linker::new(key, Policy::everything()).expect("a compiler for this machine")
    })
}

/// The key adapters trust.
pub(crate) fn key() -> TrustedKey {
    TrustedKey::from_bytes(&linker().public().to_bytes()).expect("a key")
}

/// An extension with handlers 1 and 2, prefix 64 and writeback 64, in these domains.
///
/// `body` runs for each message, with `$slot` and `$context` set, and sets `$verdict`; `items` are
/// further functions and imports.
pub(crate) fn extension(domains: &[Domain], imports: &str, items: &str, body: &str) -> Vec<u8> {
    extension_with([PACKET, MESSAGE], domains, imports, items, body)
}

/// The same with two other handlers, for a second one on the same adapter.
pub(crate) fn extension_with(
    handlers: [HandlerNumber; 2],
    domains: &[Domain],
    imports: &str,
    items: &str,
    body: &str,
) -> Vec<u8> {
    let wasm = module(handlers, domains, &[], imports, items, body);
    linker().link(&wasm).unwrap_or_else(|error| panic!("{error}")).into_bytes()
}

/// The module of such an extension, not linked yet; `exports` is the declaration of its domain.
pub(crate) fn module(
    handlers: [HandlerNumber; 2],
    domains: &[Domain],
    exports: &[u8],
    imports: &str,
    items: &str,
    body: &str,
) -> Vec<u8> {
    let handler = |number| HandlerDeclaration { number, prefix: 64, writeback: 64 };
    module_of(&handlers.map(handler), domains, exports, imports, items, body)
}

/// The same with handlers declared in full.
pub(crate) fn module_of(
    handlers: &[HandlerDeclaration; 2],
    domains: &[Domain],
    exports: &[u8],
    imports: &str,
    items: &str,
    body: &str,
) -> Vec<u8> {
    let domains = domains.iter().fold(Domains::CORE, |set, domain| set.with(*domain));
    const LENGTH: usize = FIXED_BYTES + 2 * HANDLER_BYTES;
    let mut manifest = build::<LENGTH>("test", domains, 0, handlers).to_vec();
    manifest[14..16].copy_from_slice(&u16::try_from(exports.len()).expect("short").to_le_bytes());
    manifest.extend_from_slice(exports);
    let section: String = manifest.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!(
        r#"(module
            (import "spine:core" "next" (func $next (param i64) (result i64)))
            {imports}
            (memory (export "memory") 1)
            (global $__stack_pointer (export "__stack_pointer") (mut i32) (i32.const 8192))
            {items}
            (func (export "run")
                (local $slot i32) (local $given i64) (local $verdict i64)
                (loop $again
                    (local.set $given (call $next (local.get $verdict)))
                    (local.set $slot (i32.wrap_i64 (local.get $given)))
                    (if (i32.eqz (local.get $slot)) (then (return)))
                    {body}
                    (br $again)))
            (@custom "spine.manifest" "{section}"))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

/// An adapter without a kernel and other machines, on the first processor.
pub(crate) fn setup(nic: Box<dyn Nic>, frames: Vec<Frame>) -> AdapterSetup {
    AdapterSetup::new(nic, frames)
}

/// Collects what is handed to the kernel.
pub(crate) struct Kernel(SyncSender<Vec<u8>>);

impl KernelPort for Kernel {
    fn hand_over(&mut self, packet: &[u8]) -> bool {
        self.0.try_send(packet.to_vec()).is_ok()
    }
}

/// Two adapters, the far ends of their wires, and what their kernels were given.
pub(crate) struct Rig {
    pub(crate) machine: Machine,
    pub(crate) wires: Vec<Wire>,
    pub(crate) kernels: Vec<Receiver<Vec<u8>>>,
    sent: u64,
}

/// Frames of each adapter.
pub(crate) const FRAMES: u64 = 512;
/// Packets a wire holds.
const WIRE: usize = 1024;
/// Packets a kernel takes.
pub(crate) const KERNEL_QUEUE: usize = 64;

impl Rig {
    /// Two adapters with [`FRAMES`] frames each, on one processor or on two.
    pub(crate) fn new(processors: usize) -> Self {
        let (memory, dealt) = FrameMemory::anonymous(1024, 2048, 2).expect("memory");
        let (mut setups, mut wires, mut kernels) = (Vec::new(), Vec::new(), Vec::new());
        for (index, frames) in dealt.into_iter().enumerate() {
            let name = format!("loop{index}");
            let (nic, wire) = Loopback::wire(&name, Arc::clone(&memory), WIRE).expect("a wire");
            let (kernel, given) = sync_channel(KERNEL_QUEUE);
            setups.push(AdapterSetup {
                kernel: Some(Box::new(Kernel(kernel))),
                processor: index % processors,
                ..AdapterSetup::new(Box::new(nic.stamped(PACKET)), frames)
            });
            wires.push(wire);
            kernels.push(given);
        }
        let cores = vec![None; processors];
        let machine = Machine::start(setups, &memory, &cores, key()).expect("a machine");
        Self { machine, wires, kernels, sent: 0 }
    }

    /// An adapter.
    pub(crate) fn adapter(&self, index: usize) -> &AdapterHandle {
        &self.machine.adapters()[index]
    }

    /// Its counters.
    pub(crate) fn statistics(&self, index: usize) -> Statistics {
        self.adapter(index).statistics().expect("the adapter answers")
    }

    /// Loads an extension on the first adapter.
    pub(crate) fn load(&self, image: &[u8]) -> ExtensionId {
        self.load_with(image, Budget::default())
    }

    /// Loads an extension that may use this much.
    pub(crate) fn load_with(&self, image: &[u8], budget: Budget) -> ExtensionId {
        self.adapter(0).load(image, Vec::new(), budget).unwrap_or_else(|error| panic!("{error}"))
    }

    /// Puts a packet on the first wire, waiting for room. After every 64 it waits until the adapter
    /// has received them all, so that a slow extension's queue, which is bounded, does not overflow.
    pub(crate) fn send(&mut self, packet: &[u8]) {
        self.sent += 1;
        if self.sent.is_multiple_of(64) {
            wait_until("the adapter to keep up", || {
                let all = self.statistics(0);
                let done = all.counters.handled + all.counters.to_kernel.get(Reason::NoHandler);
                done + 32 >= self.sent
            });
        }
        let wire = &mut self.wires[0];
        wait_until("room on the wire", || wire.inject(packet));
    }

    /// Takes what came out of a wire.
    pub(crate) fn take(&mut self, index: usize, count: usize) -> Vec<Vec<u8>> {
        let mut taken = Vec::new();
        let wire = &mut self.wires[index];
        wait_until("packets", || {
            taken.extend(wire.take());
            taken.len() == count
        });
        taken
    }

    /// Waits until the first adapter has given so many packets to the kernel under a reason.
    pub(crate) fn wait_for_kernel(&self, reason: Reason, count: u64) {
        wait_until(&format!("{count} for the kernel ({})", reason.name()), || {
            self.statistics(0).counters.to_kernel.get(reason) >= count
        });
        assert_eq!(self.statistics(0).counters.to_kernel.get(reason), count);
    }

    /// Waits until the first adapter has accounted for so many drops under a reason.
    pub(crate) fn wait_for_drops(&self, reason: Reason, count: u64) {
        wait_until(&format!("{count} drops ({})", reason.name()), || {
            self.statistics(0).counters.dropped.get(reason) >= count
        });
        assert_eq!(self.statistics(0).counters.dropped.get(reason), count);
    }
}

/// Waits for a condition, for ten seconds at most.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::yield_now();
    }
}

/// A packet of this length whose 15th byte says what the test's handler does with it.
pub(crate) fn packet(length: usize, command: u8) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..length).map(|i| u8::try_from(i % 251).unwrap_or(0)).collect();
    bytes[14] = command;
    bytes
}

/// Text that loads a packet's command byte.
pub(crate) const COMMAND: &str = "(i32.load8_u offset=30 (local.get $slot))";
/// The verdict "forward to adapter 1".
pub(crate) const FORWARD: &str = "(i64.const 0x10002)";
