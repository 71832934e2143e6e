//! Messages between an application and its adapter: how long one takes, and how many a second.
//!
//! `spine-bench fifo` prints medians. Three ways: the FIFO alone between two threads; through an adapter that is awake, with an
//! extension that answers; and through one that sleeps, and so does the application. System calls are
//! counted by the ends themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use clap::Args;
use spine_abi::interface::{Domain, Domains};
use spine_abi::manifest::{FIXED_BYTES, HANDLER_BYTES, HandlerDeclaration, build};
use spine_abi::{Endpoint, HandlerNumber, Message};
use spine_client::fifo::{Counts, End, HostEnd, SendError, Side};
use spine_client::signature::SecretKey;
use spine_io::{AdapterSetup, Budget, FifoId, Machine, TrustedKey};
use spine_nic::buffer::FrameMemory;
use spine_nic::loopback::Loopback;
use spine_os::domain::Policy;
use spine_os::linker::Linker;

/// Latency and rate of messages between host and adapter.
#[derive(Args)]
pub(crate) struct Arguments {
    /// Messages of which one is under way at a time.
    #[arg(long, default_value_t = 20_000)]
    rounds: usize,
    /// Messages of which many are.
    #[arg(long, default_value_t = 500_000)]
    messages: u64,
    /// Messages for which both sides have slept.
    #[arg(long, default_value_t = 500)]
    sleepers: usize,
}

/// Slots each way.
const CAPACITY: u32 = 256;
/// Messages under way at a time where the rate is measured.
const WINDOW: u64 = 128;
/// Long enough for a processor to sleep.
const PAUSE: Duration = Duration::from_millis(1);
/// No answer takes as long.
const LONG: Duration = Duration::from_secs(10);
const ECHO: HandlerNumber = HandlerNumber(1);

/// Answers each message with its first eight bytes of arguments.
const BODY: &str = r#"
    (import "spine:core" "next" (func $next (param i64) (result i64)))
    (import "spine:host" "send" (func $send (param i32) (result i32)))
    (memory (export "memory") 1)
    (global $__stack_pointer (export "__stack_pointer") (mut i32) (i32.const 8192))
    (func (export "run")
        (local $slot i32)
        (loop $again
            (local.set $slot (i32.wrap_i64 (call $next (i64.const 0))))
            (if (i32.eqz (local.get $slot)) (then (return)))
            (i32.store16 (i32.const 512) (i32.const 9))
            (i32.store16 offset=6 (i32.const 512) (i32.const 8))
            (i64.store offset=16 (i32.const 512) (i64.load offset=16 (local.get $slot)))
            (drop (call $send (i32.const 512)))
            (br $again)))"#;

fn echo() -> (Vec<u8>, TrustedKey) {
    let handler = HandlerDeclaration { number: ECHO, prefix: 0, writeback: 0 };
    let domains = Domains::CORE.with(Domain::Host);
    let manifest: [u8; FIXED_BYTES + HANDLER_BYTES] = build("echo", domains, 0, &[handler]);
    let section: String = manifest.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!("(module {BODY} (@custom \"spine.manifest\" \"{section}\"))");
    let wasm = wat::parse_str(text).expect("a module");
    let key = SecretKey::generate().expect("randomness");
    let linker = Linker::new(key, Policy::everything()).expect("a compiler for this machine");
    let image = linker.link(&wasm).expect("it links").into_bytes();
    (image, TrustedKey::from_bytes(&linker.public().to_bytes()).expect("a key"))
}

/// The host's end of a FIFO whose other end answers every message with its number.
struct Bench {
    host: HostEnd,
    other: Box<dyn Other>,
}

/// The other end.
trait Other {
    /// What it has done.
    fn counts(&self) -> Counts;
}

/// A thread that has the adapter's end, and no adapter.
struct Thread {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Other for Thread {
    fn counts(&self) -> Counts {
        Counts::default()
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// An adapter on a processor of its own, with the extension.
struct Adapter {
    machine: Machine,
    id: FifoId,
}

impl Other for Adapter {
    fn counts(&self) -> Counts {
        let statistics = self.machine.adapters()[0].statistics().expect("the adapter answers");
        statistics.fifos.iter().find(|fifo| fifo.id == self.id).expect("it is there").counts
    }
}

impl Bench {
    /// The FIFO alone.
    fn bare() -> Self {
        let (adapter, fds) = spine_ring_end();
        let stop = Arc::new(AtomicBool::new(false));
        let watched = Arc::clone(&stop);
        let mut end: End = adapter;
        let thread = std::thread::spawn(move || {
            while !watched.load(Ordering::Relaxed) {
                match end.receiver.try_receive() {
                    Some(message) => while end.sender.send(&message) == Err(SendError::Full) {},
                    None => std::hint::spin_loop(),
                }
            }
        });
        let other = Box::new(Thread { stop, thread: Some(thread) });
        Self { host: fds, other }
    }

    /// Through an adapter.
    fn adapter() -> Self {
        let (image, key) = echo();
        let (memory, mut dealt) = FrameMemory::anonymous(256, 2048, 1).expect("memory");
        let (nic, _wire) = Loopback::wire("loop", Arc::clone(&memory), 64).expect("a wire");
        let setup = AdapterSetup::new(Box::new(nic), dealt.remove(0));
        let machine = Machine::start(vec![setup], &memory, &[None], key).expect("a machine");
        let handle = &machine.adapters()[0];
        let (id, fds) = handle.open_fifo(CAPACITY).expect("a FIFO");
        let mut loaded = handle.prepare(&image, Vec::new(), Budget::default()).expect("it loads");
        loaded.set_application(id);
        handle.install(loaded).expect("it is installed");
        let host = HostEnd::from_fds(fds).expect("the host's end");
        Self { host, other: Box::new(Adapter { machine, id }) }
    }

    /// There and back.
    fn round(&mut self, number: u64) -> Duration {
        let start = Instant::now();
        self.host.send(&message(number)).expect("room");
        let answer = self.host.receive(LONG).expect("open").expect("in time");
        let took = start.elapsed();
        assert_eq!(answer.arguments(), number.to_le_bytes());
        took
    }

    /// Median, and the 99th of 100, of so many rounds with a pause before each.
    fn rounds(&mut self, count: usize, pause: Duration) -> [Duration; 2] {
        let mut times: Vec<_> = (0..count as u64)
            .map(|number| {
                if !pause.is_zero() {
                    std::thread::sleep(pause);
                }
                self.round(number)
            })
            .collect();
        times.sort_unstable();
        [times[count / 2], times[count * 99 / 100]]
    }

    /// Messages a second, there and back.
    fn rate(&mut self, count: u64) -> f64 {
        let start = Instant::now();
        let (mut sent, mut received) = (0, 0);
        while received < count {
            while sent < count && sent - received < WINDOW && self.host.send(&message(sent)).is_ok()
            {
                sent += 1;
            }
            while let Some(answer) = self.host.try_receive() {
                assert_eq!(answer.arguments(), received.to_le_bytes(), "in order, none lost");
                received += 1;
            }
        }
        count as f64 / start.elapsed().as_secs_f64()
    }

    /// System calls of both ends since the counts given, for each message there and back.
    fn calls(&self, before: [Counts; 2], messages: f64) -> f64 {
        let calls = |counts: Counts| counts.rings + counts.heard + counts.sleeps;
        let now = self.counts();
        let made: u64 =
            now.into_iter().map(calls).sum::<u64>() - before.map(calls).iter().sum::<u64>();
        made as f64 / messages
    }

    fn counts(&self) -> [Counts; 2] {
        [self.host.counts(), self.other.counts()]
    }
}

fn spine_ring_end() -> (End, HostEnd) {
    let (host, fds) = spine_client::fifo::create(CAPACITY).expect("a FIFO");
    (End::open(Side::Adapter, fds).expect("the adapter's end"), host)
}

fn message(number: u64) -> Message {
    Message::small(ECHO, Endpoint::Host, &number.to_le_bytes())
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

fn report(name: &str, bench: &mut Bench, arguments: &Arguments, pause: Duration) {
    let count = if pause.is_zero() { arguments.rounds } else { arguments.sleepers };
    let count = count.max(1);
    let before = bench.counts();
    let [median, late] = bench.rounds(count, pause);
    let calls = bench.calls(before, count as f64);
    println!(
        "{name:<28} one way {:7.2} us (half of the round trip's median; 99 of 100 within {:.2}), {calls:.2} system calls a round trip",
        micros(median) / 2.0,
        micros(late) / 2.0,
    );
}

/// Measures and prints.
pub(crate) fn main(arguments: &Arguments) {
    let mut bare = Bench::bare();
    report("FIFO alone, awake", &mut bare, arguments, Duration::ZERO);
    let before = bare.counts();
    let rate = bare.rate(arguments.messages);
    let calls = bare.calls(before, arguments.messages as f64);
    println!(
        "{:<28} {:.2} M messages a second there and back, {calls:.4} system calls each",
        "",
        rate / 1e6
    );
    drop(bare);

    let mut adapter = Bench::adapter();
    report("adapter, extension answers", &mut adapter, arguments, Duration::ZERO);
    let before = adapter.counts();
    let rate = adapter.rate(arguments.messages);
    let calls = adapter.calls(before, arguments.messages as f64);
    println!(
        "{:<28} {:.2} M messages a second there and back, {calls:.4} system calls each",
        "",
        rate / 1e6
    );
    report("the same, both asleep", &mut adapter, arguments, PAUSE);
}
