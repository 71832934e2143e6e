//! Clients of `spined` that mean no good: whatever they send, the next one is served as if they were not there.

use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use spine_client::daemon::protocol::{Call, FromDaemon, Request, VERSION, encode, parse_answer};
use spine_client::daemon::socket::{Connection, Received};
use spine_client::{Client, Load};
use spine_tests::daemon::{ANSWER, ASK, Daemon, echo};
use spine_tests::{Topology, need_namespaces};

/// How long the daemon may take for a client while others torment it, on a busy machine.
const SOON: Duration = Duration::from_secs(2);

fn connect(daemon: &Daemon) -> Connection {
    Connection::connect(&daemon.socket()).expect("the daemon listens")
}

/// What the daemon says next, `None` when it has hung up.
fn hear(connection: &Connection) -> Option<FromDaemon> {
    match connection.receive(Duration::from_secs(5)).expect("a socket") {
        Received::Packet(packet) => Some(parse_answer(&packet.bytes).expect("an answer")),
        Received::HungUp => None,
        other => panic!("{other:?}"),
    }
}

fn greet(connection: &Connection) {
    let request = Request::Hello { version: VERSION, program: "hostile".to_owned() };
    connection.send(&encode(&Call { id: 1, request }).expect("a packet"), &[]).expect("sent");
    assert!(matches!(hear(connection), Some(FromDaemon::Answer { id: 1, .. })));
}

/// A client is answered soon, and can do what it came for.
fn is_well(daemon: &Daemon, what: &str) {
    let start = Instant::now();
    let mut client = daemon.client();
    client.adapters().unwrap_or_else(|error| panic!("{what}: {error}"));
    let took = start.elapsed();
    assert!(took < SOON, "{what}: {took:?}");
}

fn descriptors(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).map_or(0, Iterator::count)
}

/// The daemon closes what it does not need when it has answered: no more than `most` are left soon.
fn wait_for_descriptors(daemon: &Daemon, most: usize, what: &str) {
    let end = Instant::now() + Duration::from_secs(5);
    while descriptors(daemon) > most {
        assert!(Instant::now() < end, "{what} are not closed: {} of {most}", descriptors(daemon));
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn garbage_half_messages_and_wrong_versions_are_answered_once_and_hung_up_on() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let call = |request| encode(&Call { id: 9, request }).expect("a packet");
    let hello = |version| call(Request::Hello { version, program: "x".to_owned() });
    let half = hello(VERSION);
    let huge = vec![b'['; 200_000];
    let cases: [(&str, &[u8], &str); 7] = [
        ("garbage", &[0xff, 0, 1, 2], "not understood"),
        ("half a message", &half[..half.len() / 2], "not understood"),
        ("nested without end", &huge[..60_000], "not understood"),
        ("too large", &huge[..150_000], "larger than any request"),
        ("no hello", &call(Request::Adapters), "must be hello"),
        ("version", &hello(VERSION + 1), &format!("speaks version {VERSION} ")),
        ("text", b"GET / HTTP/1.1\r\n\r\n", "not understood"),
    ];
    for (name, bytes, sentence) in cases {
        let connection = connect(&daemon);
        connection.send(bytes, &[]).expect("sent");
        match hear(&connection) {
            Some(FromDaemon::Refused { why, .. }) => {
                assert!(why.contains(sentence), "{name}: {why}");
            }
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(hear(&connection), None, "{name}: the daemon hangs up");
        is_well(&daemon, name);
    }
    // And the same after a proper start, with descriptors that nobody wants.
    let connection = connect(&daemon);
    greet(&connection);
    let before = descriptors(&daemon);
    for _ in 0..100 {
        connection.send(&call(Request::Adapters), &[connection.as_fd(); 5]).expect("sent");
        assert!(matches!(hear(&connection), Some(FromDaemon::Answer { .. })));
    }
    wait_for_descriptors(&daemon, before, "unwanted descriptors");
    let load = Request::Load(Load { interface: "client".to_owned(), ..Load::default() });
    for (beside, sentence) in [
        (vec![], "no file came with the request"),
        (vec![connection.as_fd()], "not a memory file sealed"),
        (vec![connection.as_fd(); 3], "0 regions are announced, and 2 came"),
    ] {
        connection.send(&call(load.clone()), &beside).expect("sent");
        match hear(&connection) {
            Some(FromDaemon::Refused { id: 9, why }) => assert!(why.contains(sentence), "{why}"),
            other => panic!("{sentence}: {other:?}"),
        }
    }
}

#[test]
fn floods_of_descriptors_and_of_connections_leave_room_for_others() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let before = descriptors(&daemon);
    for _ in 0..20 {
        let connection = connect(&daemon);
        let many: Vec<BorrowedFd<'_>> = vec![connection.as_fd(); 250];
        let mut space = vec![MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(250))];
        let mut beside = SendAncillaryBuffer::new(&mut space);
        assert!(beside.push(SendAncillaryMessage::ScmRights(&many)));
        let parts = [IoSlice::new(b"flood")];
        rustix::net::sendmsg(&connection, &parts, &mut beside, SendFlags::empty()).expect("sent");
        assert!(matches!(hear(&connection), Some(FromDaemon::Refused { .. })));
    }
    is_well(&daemon, "descriptors");
    wait_for_descriptors(&daemon, before, "the flood");

    // Root may have 32 connections; those above are closed, and room is made when others go.
    let many: Vec<Connection> = (0..60).map(|_| connect(&daemon)).collect();
    let request = Request::Hello { version: VERSION, program: "x".to_owned() };
    let bytes = encode(&Call { id: 1, request }).expect("a packet");
    // One that was not let in was told so, and cannot be written to.
    let served = many.iter().filter(|connection| {
        let _ = connection.send(&bytes, &[]);
        matches!(hear(connection), Some(FromDaemon::Answer { id: 1, .. }))
    });
    assert_eq!(served.count(), 32);
    let refused = Client::open_at(&daemon.socket(), "one more").expect_err("no place").to_string();
    assert_eq!(refused, "too many connections: root has 32, and no more are left");
    drop(many);
    wait_for_descriptors(&daemon, before, "connections");
    is_well(&daemon, "connections");
}

#[test]
fn who_does_not_read_his_answers_or_links_nonsense_keeps_nobody_waiting() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    // One who sends requests as long as the socket takes them, and reads nothing.
    let deaf = connect(&daemon);
    greet(&deaf);
    let adapters = encode(&Call { id: 2, request: Request::Adapters }).expect("a packet");
    let taken = (0..100_000).take_while(|_| {
        let sent = deaf.try_send(&adapters, &[]);
        if sent.is_err() {
            std::thread::sleep(Duration::from_millis(50));
        }
        sent.is_ok() || deaf.try_send(&adapters, &[]).is_ok()
    });
    let taken = taken.count();
    assert!(taken < 100_000, "the daemon stops reading him");
    is_well(&daemon, "one who does not read");

    // Modules that are none; a valid one is linked beside them.
    let mut client = daemon.client();
    for module in [&b"not a module"[..], b"\0asm\x01\0\0\0", &[0; 1 << 20]] {
        let load = Load { interface: "client".to_owned(), ..Load::default() };
        let error = client.load(&load, module, &[]).expect_err("no extension").to_string();
        assert!(!error.contains('\n'), "{error}");
    }
    let load = Load { interface: "client".to_owned(), ..Load::default() };
    let number = client.load(&load, &echo(3, 0), &[]).expect("loaded").number;
    let answer = client.ask(number, ASK.0, &[], ANSWER, Duration::from_secs(5)).expect("an answer");
    assert_eq!(answer[0], 3);
    drop(deaf);
}
