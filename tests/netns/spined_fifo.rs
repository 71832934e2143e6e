//! The FIFOs between applications and the adapters of `spined`: no system call while both sides are awake, and
//! nobody hurt by who breaks the rules or dies in the middle.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
use spine_abi::fifo::{ASLEEP, GONE, Side, Word, slot};
use spine_abi::limits::{HOST_FIFO, MESSAGE_BYTES};
use spine_client::daemon::file;
use spine_client::daemon::protocol::{
    Answer, Call, FromDaemon, Request, VERSION, encode, parse_answer,
};
use spine_client::daemon::socket::{Connection, Packet, Received};
use spine_client::{Client, ClientError, Counts, Event, FifoInfo, Load, WaitBy};
use spine_tests::daemon::{ANSWER, ASK, Daemon, echo, echo_at, wait_until};
use spine_tests::{Running, Topology, need_namespaces};

const PATIENCE: Duration = Duration::from_secs(10);
/// Names the socket for the child that plays an application.
const ROLE: &str = "SPINE_STORM_SOCKET";

fn load() -> Load {
    Load { interface: "client".to_owned(), ..Load::default() }
}

/// Sends so many messages, a window of them at a time, and takes every answer.
fn storm(client: &mut Client, extension: u64, messages: u32) -> Result<(), ClientError> {
    const WINDOW: u32 = 32;
    let mut answered = 0;
    for sent in 0..messages {
        client.send(extension, ASK.0, &[])?;
        while answered + WINDOW <= sent {
            client.wait_for(extension, ANSWER, PATIENCE)?;
            answered += 1;
        }
    }
    for _ in answered..messages {
        client.wait_for(extension, ANSWER, PATIENCE)?;
    }
    Ok(())
}

/// System calls of both ends so far: the client's, and those of the adapter for this client's FIFO.
fn calls(client: &mut Client) -> [u64; 2] {
    let Counts { rings, heard, sleeps, .. } = client.counts();
    let fifos = client.statistics("client").expect("statistics").fifos;
    let [fifo] = &fifos[..] else { panic!("one client, one FIFO: {fifos:?}") };
    [rings + heard + sleeps, fifo.rings + fifo.heard]
}

#[test]
fn a_storm_of_messages_makes_no_system_call_while_both_sides_are_awake() {
    const MESSAGES: u32 = 500;
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let mut client = daemon.client();
    let number = client.load(&load(), &echo(1, 0), &[]).expect("loaded").number;
    storm(&mut client, number, MESSAGES).expect("the first one");
    // The adapter sleeps before each storm, so the first message rings, and is heard. On two cores that others
    // use, too, either side is sometimes put aside, and the other one then sleeps: one storm in which that
    // did not happen shows it.
    let end = Instant::now() + PATIENCE;
    let mut storms = 0_u64;
    loop {
        let before = calls(&mut client);
        storm(&mut client, number, MESSAGES).expect("answered");
        storms += 1;
        let after = calls(&mut client);
        if (0..2).all(|side| after[side] - before[side] <= 1) {
            break;
        }
        assert!(Instant::now() < end, "{storms} storms: {before:?} calls, then {after:?}");
    }
    println!("one doorbell for {} messages, in storm {storms}", 2 * MESSAGES);
    let info = client.extensions().expect("a list").remove(0);
    let all = u64::from(MESSAGES) * (storms + 1);
    assert_eq!((info.sent, info.received, info.lost), (all, all, 0));
    // None of it went over the control socket, and neither does what else a client may hear.
    assert_eq!(client.counts().sent, all);
}

/// Refuses io_uring to this thread and those it starts, as the filter of a container does.
fn deny_io_uring() {
    let rules = [(nix::libc::SYS_io_uring_setup, Vec::new())].into_iter().collect();
    let deny = SeccompAction::Errno(nix::libc::EPERM.cast_unsigned());
    let architecture = std::env::consts::ARCH.try_into().expect("a known architecture");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, deny, architecture);
    let program: BpfProgram = filter.expect("rules").try_into().expect("a program");
    seccompiler::apply_filter(&program).expect("a filter");
}

#[test]
fn a_client_sleeps_in_io_uring_or_where_it_is_denied_that_in_poll_and_is_woken_alike() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    for (denied, wait_by) in [(false, WaitBy::IoUring), (true, WaitBy::Poll)] {
        let (socket, pid) = (daemon.socket(), daemon.pid());
        let application = std::thread::spawn(move || {
            if denied {
                deny_io_uring();
            }
            let mut client = Client::open_at(&socket, "sleeper").expect("the daemon listens");
            let number = client.load(&load(), &echo(1, 0), &[]).expect("loaded").number;
            let start = Instant::now();
            let nothing = client.receive(Duration::from_millis(30)).expect("it may wait");
            assert!(nothing.is_none() && start.elapsed() >= Duration::from_millis(30));
            for _ in 0..20 {
                // Both sides are asleep by then.
                std::thread::sleep(Duration::from_millis(2));
                storm(&mut client, number, 1).expect("answered");
            }
            // An adapter with a core to itself answers while the client still looks. One that is stopped does not,
            // so the client sleeps, and its doorbell wakes it: mostly at once, on a busy machine a little later.
            let end = Instant::now() + PATIENCE;
            while client.counts().heard == 0 && Instant::now() < end {
                kill(pid, Signal::SIGSTOP).expect("stopped");
                let waker = std::thread::spawn(move || {
                    std::thread::sleep(Duration::from_millis(50));
                    kill(pid, Signal::SIGCONT).expect("goes on");
                });
                storm(&mut client, number, 1).expect("answered");
                waker.join().expect("the waker");
            }
            // What the daemon says wakes it, too.
            let unloader = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                Client::open_at(&socket, "other").expect("ok").unload(number).expect("unloaded");
            });
            match client.receive(PATIENCE) {
                Ok(Some(Event::Ended { extension, .. })) => assert_eq!(extension, number),
                other => panic!("{other:?}"),
            }
            unloader.join().expect("the other one");
            (client.wait_by(), client.counts())
        });
        let (found, counts) = application.join().expect("an application");
        assert_eq!(found, wait_by);
        assert!(counts.sleeps > 0 && counts.heard > 0, "{wait_by:?}: {counts:?}");
    }
}

/// A client by hand: a connection, and its end of a FIFO as it came.
struct Scribbler {
    _connection: Connection,
    memory: File,
    bell: UnixStream,
}

impl Scribbler {
    fn new(daemon: &Daemon, handler: u16) -> Self {
        let connection = Connection::connect(&daemon.socket()).expect("the daemon listens");
        let hello = Request::Hello { version: VERSION, program: "scribbler".to_owned() };
        ask(&connection, hello, &[]);
        let wasm = file::seal(&echo_at(handler, 1, 0)).expect("sealed");
        let packet = ask(&connection, Request::Load(load()), &[&wasm]);
        let answer = parse_answer(&packet.bytes).expect("an answer");
        let loaded = |answer: &FromDaemon| {
            matches!(answer, FromDaemon::Answer { answer: Answer::Loaded(_), .. })
        };
        assert!(loaded(&answer), "{answer:?}");
        let [memory, bell]: [OwnedFd; 2] = packet.descriptors.try_into().expect("a FIFO");
        Self { _connection: connection, memory: memory.into(), bell: bell.into() }
    }

    fn write(&self, word: Word, value: u32) {
        let at = u64::try_from(word.offset()).expect("small");
        self.memory.write_all_at(&value.to_le_bytes(), at).expect("written");
    }

    /// Wakes the adapter, as one may who sees that it sleeps, or not.
    fn ring(&mut self) {
        self.bell.set_nonblocking(true).expect("set");
        let _ = self.bell.write(&[1]);
    }
}

fn ask(connection: &Connection, request: Request, beside: &[&OwnedFd]) -> Packet {
    let beside: Vec<_> = beside.iter().map(|fd| fd.as_fd()).collect();
    let call = encode(&Call { id: 1, request }).expect("a packet");
    connection.send(&call, &beside).expect("sent");
    match connection.receive(PATIENCE).expect("a socket") {
        Received::Packet(packet) => packet,
        other => panic!("{other:?}"),
    }
}

/// Bytes that are the same in each run.
fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32).to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn who_scribbles_over_his_fifo_is_closed_or_loses_his_messages_and_hurts_nobody() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let mut honest = daemon.client();
    let number = honest.load(&load(), &echo(1, 0), &[]).expect("loaded").number;
    let mut handler = 100;
    let mut scribbler = || {
        handler += 10;
        Scribbler::new(&daemon, handler)
    };
    let dropped = |client: &mut Client| {
        let all = client.statistics("client").expect("statistics");
        all.messages_dropped.get("bad_message").copied().unwrap_or(0)
    };
    let others = |client: &mut Client| -> Vec<FifoInfo> {
        client.statistics("client").expect("statistics").fifos.into_iter().skip(1).collect()
    };

    // A whole ring of what is no message: each is dropped and counted, and the FIFO stays.
    let mut nonsense = scribbler();
    let ring = noise(HOST_FIFO * MESSAGE_BYTES);
    let capacity = u32::try_from(HOST_FIFO).expect("small");
    let at = u64::try_from(slot(Side::Host, 0, capacity)).expect("small");
    nonsense.memory.write_all_at(&ring, at).expect("written");
    nonsense.write(Word::Produced(Side::Host), capacity);
    nonsense.ring();
    wait_until("every one to be dropped", || dropped(&mut honest) == u64::from(capacity));
    let [fifo] = &others(&mut honest)[..] else { panic!("one other") };
    assert_eq!((fifo.malformed, fifo.from_client, &fifo.closed), (u64::from(capacity), 0, &None));

    // Counts that cannot be, either way; states of both sides; bells without end; noise everywhere.
    let mut forward = scribbler();
    forward.write(Word::Produced(Side::Host), u32::MAX / 2);
    let mut back = scribbler();
    back.write(Word::Consumed(Side::Host), 7);
    let mut states = scribbler();
    let mut bells = scribbler();
    let mut everywhere = scribbler();
    let size = usize::try_from(everywhere.memory.metadata().expect("a file").len()).expect("small");
    everywhere.memory.write_all_at(&noise(size), 0).expect("written");
    assert!(everywhere.memory.set_len(0).is_err(), "it is sealed");
    for round in 0..200 {
        for side in [Side::Host, Side::Adapter] {
            states.write(Word::State(side), [ASLEEP, GONE, 77, u32::MAX][round % 4]);
        }
        for scribbler in [&mut forward, &mut back, &mut states, &mut bells, &mut everywhere] {
            scribbler.ring();
        }
        storm(&mut honest, number, 20).expect("the honest one is answered");
        std::thread::sleep(Duration::from_micros(200));
    }
    let closed = |client: &mut Client| {
        others(client).into_iter().filter_map(|fifo| fifo.closed).collect::<Vec<String>>()
    };
    wait_until("the liars to be closed", || {
        bells.ring();
        std::thread::sleep(Duration::from_millis(2));
        let closed = closed(&mut honest);
        let has = |text: &str| closed.iter().any(|why| why.contains(text));
        has("count that cannot be") && has("rings without sending")
    });
    let info = honest.extensions().expect("a list").remove(0);
    assert_eq!((info.sent, info.received, info.lost), (4000, 4000, 0), "the honest one's");
    drop((nonsense, forward, back, states, bells, everywhere));
    wait_until("all to be gone", || {
        others(&mut honest).is_empty() && honest.extensions().is_ok_and(|all| all.len() == 1)
    });
}

/// The application that is killed. Does nothing where it is not asked for.
#[test]
fn child_that_storms() {
    let Ok(socket) = std::env::var(ROLE) else { return };
    let mut client = Client::open_at(socket.as_ref(), "storm").expect("the daemon listens");
    let number = client.load(&load(), &echo_at(50, 1, 0), &[]).expect("loaded").number;
    eprintln!("storming");
    loop {
        for _ in 0..64 {
            client.send(number, 51, &[]).expect("sent");
        }
    }
}

#[test]
fn an_application_killed_in_the_middle_of_a_storm_gives_everything_back() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let mut watcher = daemon.client();
    let number = watcher.load(&load(), &echo(1, 0), &[]).expect("loaded").number;
    storm(&mut watcher, number, 10).expect("answered");
    let descriptors =
        || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).map_or(0, Iterator::count);
    let frames = |watcher: &mut Client| {
        let counters = watcher.statistics("client").expect("statistics").counters;
        (counters["frames_free"], counters["frames"])
    };
    // The frames first: the daemon closes what goes beside an answer when it has sent it, and has done so once it
    // answers again.
    let state = |watcher: &mut Client| {
        let frames = frames(watcher);
        (descriptors(), frames)
    };
    let before = state(&mut watcher);
    for round in 0..3 {
        let mut command = Command::new(std::env::current_exe().expect("this test"));
        command.args(["--exact", "spined_fifo::child_that_storms", "--nocapture"]);
        command.env(ROLE, daemon.socket()).stdout(Stdio::null());
        let mut child = Running::start(command);
        child.wait_for("storming", PATIENCE);
        std::thread::sleep(Duration::from_millis(20 * round));
        assert_eq!(watcher.extensions().expect("a list").len(), 2);
        child.signal(Signal::SIGKILL);
        child.finish(PATIENCE);
        wait_until("its extension and its FIFO to go", || {
            let fifos = watcher.statistics("client").expect("statistics").fifos;
            fifos.len() == 1 && watcher.extensions().is_ok_and(|all| all.len() == 1)
        });
        storm(&mut watcher, number, 10).expect("the other application is served");
        let end = Instant::now() + PATIENCE;
        loop {
            let now = state(&mut watcher);
            if now == before {
                break;
            }
            assert!(Instant::now() < end, "round {round}: {now:?}, and before it was {before:?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
