//! FIFOs between an adapter and its applications, with real extensions behind them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::common::{Rig, extension_with, key, wait_until};
use spine_abi::interface::Domain;
use spine_abi::notice::Offence;
use spine_abi::{BufferRef, Endpoint, HandlerNumber, Header, Kind, Message, Nanos, Notice, Reason};
use spine_io::runtime::Adapter;
use spine_io::{AdapterHandle, AdapterSetup, Allowance, Budget, ExtensionId, FifoId, Machine};
use spine_nic::buffer::FrameMemory;
use spine_nic::loopback::Loopback;
use spine_ring::{Closed, Counts, End, Fds, Polled, SendError, Side};

const LONG: Duration = Duration::from_secs(10);
const SLOTS: u32 = 64;

/// An extension that answers each message with the same argument, from handler number to number plus 100.
fn echo(handler: u16) -> Vec<u8> {
    echo_times(handler, 1)
}

/// The same, so many times for each message.
fn echo_times(handler: u16, times: u32) -> Vec<u8> {
    let imports = r#"(import "spine:host" "send" (func $send (param i32) (result i32)))"#;
    let answer = "(drop (call $send (i32.const 512)))".repeat(times as usize);
    let body = format!(
        "(i32.store16 (i32.const 512) (i32.const {}))
        (i32.store16 offset=6 (i32.const 512) (i32.const 8))
        (i64.store offset=16 (i32.const 512) (i64.load offset=16 (local.get $slot)))
        {answer}
        (local.set $verdict (i64.const 0))",
        handler + 100
    );
    let handlers = [HandlerNumber(handler), HandlerNumber(handler + 1)];
    extension_with(handlers, &[Domain::Host], imports, "", &body)
}

fn message(handler: u16, number: u64) -> Message {
    Message::small(HandlerNumber(handler), Endpoint::Host, &number.to_le_bytes())
}

fn number(message: &Message) -> u64 {
    u64::from_le_bytes(*message.arguments().first_chunk().expect("eight bytes"))
}

/// An application of its own, with an extension that echoes: what a daemon does for a client.
struct Application {
    id: FifoId,
    end: End,
    handler: u16,
    extension: ExtensionId,
}

impl Application {
    fn with(adapter: &AdapterHandle, handler: u16, image: &[u8]) -> Self {
        Self::behind(adapter, handler, adapter.open_fifo(SLOTS).expect("a FIFO"), image)
    }

    fn behind(adapter: &AdapterHandle, handler: u16, fifo: (FifoId, Fds), image: &[u8]) -> Self {
        let (id, fds) = fifo;
        let end = End::open(Side::Host, fds).expect("the host's end");
        let mut loaded = adapter.prepare(image, Vec::new(), Budget::default()).expect("it loads");
        loaded.set_application(id);
        let extension = adapter.install(loaded).expect("it is installed");
        Self { id, end, handler, extension }
    }

    fn new(adapter: &AdapterHandle, handler: u16) -> Self {
        Self::with(adapter, handler, &echo(handler))
    }

    fn send(&mut self, number: u64) -> Result<(), SendError> {
        self.end.sender.send(&message(self.handler, number))
    }

    fn receive(&mut self) -> u64 {
        let answer = self.end.receiver.receive(LONG).expect("open").expect("in time");
        assert_eq!(answer.header().handler, HandlerNumber(self.handler + 100));
        number(&answer)
    }
}

/// The counts of the adapter's end.
fn adapters_end(adapter: &AdapterHandle, id: FifoId) -> (Counts, Option<Closed>) {
    let all = adapter.statistics().expect("the adapter answers").fifos;
    let found = all.into_iter().find(|fifo| fifo.id == id).expect("it is there");
    (found.counts, found.closed)
}

fn dropped(adapter: &AdapterHandle, reason: Reason) -> u64 {
    adapter.statistics().expect("the adapter answers").counters.messages_dropped.get(reason)
}

#[test]
fn each_application_hears_from_its_own_extension_and_reaches_no_other() {
    let rig = Rig::new(1);
    let adapter = rig.adapter(0);
    let mut first = Application::new(adapter, 10);
    let mut second = Application::new(adapter, 20);
    for n in 0..500 {
        first.send(n).unwrap();
        second.send(1000 + n).unwrap();
        assert_eq!((first.receive(), second.receive()), (n, 1000 + n));
    }
    // The other's handler, and one that nobody has.
    first.end.sender.send(&message(20, 1)).unwrap();
    first.end.sender.send(&message(999, 1)).unwrap();
    wait_until("both drops", || dropped(adapter, Reason::NoHandler) == 2);
    // The process that runs the adapter reaches every handler; the answer goes to whose extension it is.
    adapter.send(message(20, 7)).unwrap();
    assert_eq!(second.receive(), 7);
    assert_eq!(adapter.receive(Duration::from_millis(20)), None);
    assert_eq!(first.end.receiver.try_receive(), None);
}

#[test]
fn an_extension_may_have_several_applications_which_all_hear_it() {
    let rig = Rig::new(1);
    let adapter = rig.adapter(0);
    let mut first = Application::new(adapter, 10);
    let (id, fds) = adapter.open_fifo(SLOTS).expect("a FIFO");
    let mut second = End::open(Side::Host, fds).expect("the host's end");
    second.sender.send(&message(10, 1)).unwrap();
    wait_until("the drop", || dropped(adapter, Reason::NoHandler) == 1);
    adapter.share(first.extension, id).expect("shared");
    adapter.share(first.extension, id).expect("twice is once");
    second.sender.send(&message(10, 2)).unwrap();
    assert_eq!(first.receive(), 2);
    let heard = second.receiver.receive(LONG).expect("open").expect("in time");
    assert_eq!(number(&heard), 2);
    let mail = |adapter: &AdapterHandle| adapter.statistics().expect("an answer").mail[0].1;
    assert_eq!((mail(adapter).from_host, mail(adapter).to_host), (1, 2));

    // One that goes is forgotten, and costs the other nothing.
    assert!(adapter.close_fifo(id).unwrap());
    first.send(3).unwrap();
    assert_eq!(first.receive(), 3);
    assert_eq!((mail(adapter).to_host, mail(adapter).lost), (3, 0));
    let full: Vec<_> = (0..spine_io::endpoint::fifo::APPLICATIONS)
        .map(|_| adapter.open_fifo(1).expect("a FIFO"))
        .map(|(id, fds)| (adapter.share(first.extension, id).is_ok(), fds))
        .collect();
    assert_eq!(full.iter().filter(|(shared, _)| *shared).count(), full.len() - 1);
}

#[test]
fn who_sends_more_than_his_allowance_is_slowed_down_and_loses_nothing() {
    const RATE: u32 = 400;
    let rig = Rig::new(1);
    let adapter = rig.adapter(0);
    let allowance = Allowance { owner: 7, each_second: RATE };
    let fifo = adapter.open_fifo_within(SLOTS, allowance).expect("a FIFO");
    let mut greedy = Application::behind(adapter, 10, fifo, &echo(10));
    let mut other = Application::new(adapter, 20);
    let (start, mut sent, mut received) = (Instant::now(), 0, 0);
    let all = u64::from(RATE + RATE / 2);
    while received < all {
        if sent < all && greedy.send(sent).is_ok() {
            sent += 1;
        }
        while let Some(answer) = greedy.end.receiver.try_receive() {
            assert_eq!(number(&answer), received);
            received += 1;
        }
        other.send(sent).unwrap();
        assert_eq!(other.receive(), sent);
        assert!(start.elapsed() < LONG, "{received} of {all}");
    }
    // A second's worth at once, and half a second's after it.
    let took = start.elapsed();
    assert!(took > Duration::from_millis(450), "{took:?}");
    assert_eq!(adapter.statistics().unwrap().counters.messages_dropped.total(), 0);
    assert_eq!(adapters_end(adapter, greedy.id).1, None, "it is not taken for broken");
}

#[test]
fn the_end_of_an_extension_is_told_to_its_applications_and_to_who_runs_the_adapter() {
    let rig = Rig::new(1);
    let adapter = rig.adapter(0);
    let (id, fds) = adapter.open_fifo(SLOTS).expect("a FIFO");
    let mut end = End::open(Side::Host, fds).expect("the host's end");
    let starved = Budget { message: 1, ..Budget::default() };
    let mut loaded = adapter.prepare(&echo(10), Vec::new(), starved).expect("it loads");
    loaded.set_application(id);
    let extension = adapter.install(loaded).expect("it is installed").0;
    for n in 0..u64::from(Budget::default().strikes) {
        while end.sender.send(&message(10, n)) == Err(SendError::Full) {
            std::thread::yield_now();
        }
    }
    let told = Notice::Unloaded {
        extension,
        offence: Offence::OutOfFuel,
        strikes: Budget::default().strikes,
    };
    let heard = end.receiver.receive(LONG).expect("open").expect("in time");
    assert_eq!(Notice::from_message(&heard), Some(told));
    let heard = adapter.receive(LONG).expect("in time");
    assert_eq!(Notice::from_message(&heard), Some(told));

    // One that is unloaded because somebody asked is told to the others only.
    let mut asked = Application::new(adapter, 10);
    assert!(adapter.unload(asked.extension).unwrap());
    let heard = asked.end.receiver.receive(LONG).expect("open").expect("in time");
    let told = Notice::Removed { extension: asked.extension.0 };
    assert_eq!(Notice::from_message(&heard), Some(told));
    assert_eq!(adapter.receive(Duration::from_millis(20)), None);
}

#[test]
fn a_notice_that_found_no_room_comes_soon_after_there_is_some_though_the_adapter_sleeps() {
    let rig = Rig::new(1);
    let adapter = rig.adapter(0);
    // One extension never fills a FIFO that others could want; this one has room for one message.
    let mut deaf =
        Application::behind(adapter, 10, adapter.open_fifo(1).expect("a FIFO"), &echo(10));
    deaf.send(1).unwrap();
    wait_until("a full FIFO", || adapters_end(adapter, deaf.id).0.sent == 1);
    assert!(adapter.unload(deaf.extension).unwrap());
    std::thread::sleep(Duration::from_millis(40));
    assert_eq!(deaf.receive(), 1);
    let start = Instant::now();
    let heard = deaf.end.receiver.receive(LONG).expect("open").expect("in time");
    let took = start.elapsed();
    assert!(Notice::from_message(&heard).is_some());
    // A quarter of what it has waited; the adapter by itself would sleep half a second.
    assert!(took < Duration::from_millis(200), "{took:?}");
}

#[test]
fn an_application_that_does_not_read_loses_its_own_messages_only() {
    let rig = Rig::new(1);
    let adapter = rig.adapter(0);
    let mut deaf = Application::with(adapter, 10, &echo_times(10, 8));
    let mut other = Application::new(adapter, 20);
    for n in 0..1000 {
        while deaf.send(n) == Err(SendError::Full) {
            std::thread::yield_now();
        }
        other.send(n).unwrap();
        assert_eq!(other.receive(), n);
    }
    let lost = dropped(adapter, Reason::HostFull) + dropped(adapter, Reason::OverShare);
    assert!(lost >= 8 * 1000 - u64::from(SLOTS), "{lost}");
    assert_eq!(adapters_end(adapter, other.id).0.sent, 1000);
    // It may begin to read whenever it likes.
    assert_eq!(deaf.receive(), 0);
}

#[test]
fn an_adapter_that_sleeps_is_woken_by_any_of_its_applications() {
    let rig = Rig::new(1);
    let adapter = rig.adapter(0);
    let mut applications = [10, 20, 30].map(|handler| Application::new(adapter, handler));
    for n in 0..20 {
        for application in &mut applications {
            // Long enough for the processor to sleep.
            std::thread::sleep(Duration::from_millis(2));
            let start = Instant::now();
            application.send(n).unwrap();
            assert_eq!(application.receive(), n);
            assert!(start.elapsed() < LONG);
        }
    }
    for application in &applications {
        let (counts, closed) = adapters_end(adapter, application.id);
        let host = application.end.counts();
        assert_eq!((counts.received, counts.sent, closed), (20, 20, None));
        assert!(host.rings > 0, "it slept: {host:?}");
        assert!(counts.heard <= host.rings && host.heard <= counts.rings, "{counts:?} {host:?}");
    }
}

/// An adapter that the test turns by hand, on a wire that nothing comes from.
fn by_hand() -> (Adapter, AdapterHandle) {
    let (memory, mut dealt) = FrameMemory::anonymous(256, 2048, 1).expect("memory");
    let (nic, _wire) = Loopback::wire("loop", Arc::clone(&memory), 64).expect("a wire");
    let setup = AdapterSetup::new(Box::new(nic), dealt.remove(0));
    let (mut adapters, mut handles) =
        Machine::by_hand(vec![setup], &memory, key()).expect("an adapter");
    (adapters.remove(0), handles.remove(0))
}

#[test]
fn while_both_are_awake_messages_cross_without_a_system_call() {
    const ROUNDS: u64 = 2_000;
    let (mut adapter, handle) = by_hand();
    let image = echo(10);
    let loaded = handle.prepare(&image, Vec::new(), Budget::default()).expect("it loads");
    adapter.install(loaded).expect("it is installed");
    let mut received = 0;
    for n in 0..ROUNDS {
        handle.send(message(10, n)).unwrap();
        adapter.turn(Nanos(n * 1000));
        // The answer is there: to receive it, the host need not sleep.
        let answer = handle.receive(LONG).expect("an answer");
        assert_eq!(number(&answer), n);
        received += 1;
    }
    let statistics = adapter.statistics();
    let own = statistics.fifos.first().expect("the process's own").counts;
    assert_eq!((own.received, own.sent), (received, received));
    assert_eq!((own.rings, own.heard, own.sleeps), (0, 0, 0), "system calls of the adapter");
    let host = handle.fifo_counts();
    assert_eq!((host.rings, host.heard, host.sleeps), (0, 0, 0), "system calls of the host");
}

#[test]
fn a_fifo_that_was_closed_stays_closed_and_its_extension_talks_to_nobody() {
    let rig = Rig::new(1);
    let adapter = rig.adapter(0);
    let mut gone = Application::new(adapter, 10);
    assert!(adapter.close_fifo(gone.id).unwrap());
    assert!(!adapter.close_fifo(gone.id).unwrap());
    assert!(!adapter.close_fifo(FifoId::OWN).unwrap(), "the process's own stays");
    assert_eq!(gone.end.receiver.receive(LONG), Err(Closed::Left));
    // Its place is another's now, its messages are not.
    let mut next = Application::new(adapter, 20);
    adapter.send(message(10, 5)).unwrap();
    wait_until("the drop", || dropped(adapter, Reason::HostClosed) == 1);
    next.send(6).unwrap();
    assert_eq!(next.receive(), 6);
    assert_eq!(next.end.receiver.try_receive(), None);
}

#[test]
fn an_application_that_ends_or_lies_is_closed_and_the_others_go_on() {
    let rig = Rig::new(1);
    let adapter = rig.adapter(0);
    let ended = Application::new(adapter, 10);
    let mut other = Application::new(adapter, 20);
    let (liar, fds) = adapter.open_fifo(SLOTS).unwrap();
    let (noisy, bell) = adapter.open_fifo(SLOTS).unwrap();
    let id = ended.id;
    drop(ended);
    // Counts that cannot be, written as another process would.
    let file = std::fs::File::from(fds.memory);
    let word = spine_abi::fifo::Word::Produced(Side::Host).offset() as u64;
    std::os::unix::fs::FileExt::write_all_at(&file, &u32::MAX.to_le_bytes(), word).unwrap();
    let bell = spine_ring::bell::Bell::open_checked(bell.bell).unwrap();
    wait_until("all three to be closed", || {
        let _ = bell.ring();
        other.send(1).unwrap();
        assert_eq!(other.receive(), 1);
        std::thread::sleep(Duration::from_millis(1));
        [id, liar, noisy].iter().all(|id| adapters_end(adapter, *id).1.is_some())
    });
    let why = [id, liar, noisy].map(|id| adapters_end(adapter, id).1);
    assert_eq!(why, [Some(Closed::Left), Some(Closed::Count), Some(Closed::Rings)]);
}

#[test]
fn what_is_no_small_message_is_dropped_and_counted() {
    let rig = Rig::new(1);
    let adapter = rig.adapter(0);
    let mut application = Application::new(adapter, 10);
    let header = Header {
        handler: HandlerNumber(10),
        kind: Kind::Bulk,
        source: Endpoint::Network,
        length: 60,
        buffer: BufferRef { index: 1, generation: 1 },
    };
    let mut bytes = [0; 256];
    bytes[..16].copy_from_slice(&header.to_bytes());
    let forged = Message::parse(&bytes).expect("sound in itself");
    application.end.sender.send(&forged).unwrap();
    wait_until("the drop", || dropped(adapter, Reason::BadMessage) == 1);
    // What it says of its source is not believed: the extension answers its own application all the same.
    let mut lie = message(10, 3);
    lie.set_source(Endpoint::Runtime);
    application.end.sender.send(&lie).unwrap();
    assert_eq!(application.receive(), 3);
    assert_eq!(application.end.receiver.poll(), Polled::Empty);
}

#[test]
fn an_adapter_has_a_bounded_number_of_fifos_and_places_come_back() {
    let rig = Rig::new(1);
    let adapter = rig.adapter(0);
    let mut open: Vec<_> =
        std::iter::repeat_with(|| adapter.open_fifo(1)).map_while(Result::ok).collect();
    assert_eq!(open.len(), spine_io::endpoint::fifo::FIFOS - 1, "one is the process's own");
    for _ in 0..3 {
        let (id, fds) = open.pop().expect("one");
        assert!(adapter.close_fifo(id).unwrap());
        drop(fds);
        let (again, fds) = adapter.open_fifo(1).expect("room again");
        assert_ne!(again, id, "never the same name for another");
        open.push((again, fds));
    }
}
