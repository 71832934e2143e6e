//! An adapter of `spined` that does not answer: its clients are told, and nobody else notices.

use std::time::{Duration, Instant};

use spine_client::{Client, ClientError, Load};
use spine_tests::daemon::{ANSWER, ASK, Daemon, echo, echo_at, wait_until};
use spine_tests::{Held, Topology, need_namespaces};

/// What others may be kept waiting, at most.
const SOON: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(10);

fn load(interface: &str) -> Load {
    Load { interface: interface.to_owned(), ..Load::default() }
}

/// Does something a few times; the shortest time it took. A machine that others use, too, may put us or the
/// daemon aside for a while; a daemon that waits for an adapter takes seconds each time.
fn shortest(mut what: impl FnMut()) -> Duration {
    let time = |_| {
        let start = Instant::now();
        what();
        start.elapsed()
    };
    (0..5).map(time).min().unwrap_or_default()
}

fn refusal<T: std::fmt::Debug>(result: Result<T, ClientError>) -> String {
    match result {
        Err(ClientError::Refused(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_adapter_that_does_not_answer_keeps_its_own_clients_waiting_and_nobody_else() {
    let _alone = need_namespaces!();
    if std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        return println!("skipped: two adapters run beside each other on two cores");
    }
    let net = Topology::pair();
    let cores = ["--cores", "0,1"];
    let daemon = Daemon::start_on(net.router(), &["client", "server"], "", &cores);
    let mut honest = daemon.client();
    let number = honest.load(&load("server"), &echo(1, 0), &[]).expect("loaded").number;
    let mut doomed = daemon.client();
    doomed.load(&load("client"), &echo(2, 0), &[]).expect("loaded");
    let mut leaving = daemon.client();
    leaving.load(&load("client"), &echo_at(30, 3, 0), &[]).expect("loaded");

    let held = match Held::thread(daemon.pid(), "spine-cpu0") {
        Ok(held) => held,
        Err(error) => return println!("skipped: no thread can be held here: {error}"),
    };
    let socket = daemon.socket();
    let ask = |what: fn(&mut Client) -> String| {
        let socket = socket.clone();
        std::thread::spawn(move || {
            let mut client = Client::open_at(&socket, "patient").expect("the daemon listens");
            let start = Instant::now();
            let told = (what(&mut client), start.elapsed());
            client.adapters().expect("it is served on");
            told
        })
    };
    let waiting = [
        ask(|client| refusal(client.statistics("client"))),
        ask(|client| refusal(client.load(&load("client"), &echo_at(50, 4, 0), &[]))),
    ];
    drop(leaving);

    let took = [
        ("adapters", shortest(|| drop(honest.adapters().expect("a list")))),
        ("statistics", shortest(|| drop(honest.statistics("server").expect("counters")))),
        ("extensions", shortest(|| drop(honest.extensions().expect("a list")))),
        (
            "a message",
            shortest(|| drop(honest.ask(number, ASK.0, &[], ANSWER, PATIENCE).expect("ok"))),
        ),
        ("a new client", shortest(|| drop(daemon.client().adapters().expect("a list")))),
    ];
    for (what, took) in took {
        assert!(took < SOON, "{what} took {took:?}");
    }
    let more = honest.load(&load("server"), &echo_at(70, 5, 0), &[]).expect("loaded").number;
    honest.unload(more).expect("unloaded");

    for waits in waiting {
        let (why, took) = waits.join().expect("a client");
        assert!(took < PATIENCE, "{took:?}");
        assert!(why.contains("the adapter of client has not answered for 5s"), "{why}");
    }
    drop(held);

    // What nobody waited for is not left behind, and what had to wait is done.
    let mut names = Vec::new();
    wait_until("the adapter to answer again", || {
        let all = honest.extensions().expect("a list");
        names = all.iter().map(|it| (it.interface.clone(), it.handlers.clone())).collect();
        honest.statistics("client").is_ok_and(|counted| counted.fifos.len() == 1)
    });
    let left = [("server".to_owned(), vec![1, 2]), ("client".to_owned(), vec![1, 2])];
    assert_eq!(names, left);
    let again = honest.load(&load("client"), &echo_at(50, 6, 0), &[]).expect("they are free");
    let answer = honest.ask(again.number, 51, &[], ANSWER, PATIENCE).expect("an answer");
    assert_eq!(answer[0], 6);
}
