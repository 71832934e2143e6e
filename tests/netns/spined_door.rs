//! The door of `spined`, and what is left of clients that went: strangers take nothing from others.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Stdio};
use std::time::Duration;

use spine_client::Client;
use spine_client::Load;
use spine_tests::daemon::{ANSWER, ASK, Daemon, echo};
use spine_tests::hostile::{Holdings, unload_all};
use spine_tests::{Running, Topology, need_namespaces};

/// Users whom the policy names, and one whom it does not.
const ALICE: u32 = 4001;
const BOB: u32 = 4002;
const STRANGER: u32 = 4900;

const PATIENCE: Duration = Duration::from_secs(60);

fn policy() -> String {
    let grant = |user: u32| {
        format!(
            "[[grant]]\nuser = {user}\ninterfaces = [\"*\"]\ndomains = [\"net\", \"host\"]\n\
             prefixes = [\"10.9.0.0/16\"]\nports = [\"5000-5009\"]\n"
        )
    };
    [ALICE, BOB].map(grant).concat()
}

/// Strangers that have connected and wait for a line.
struct Silent(Child);

impl Silent {
    fn start(daemon: &Daemon, user: u32, count: u32) -> Self {
        let mut command = daemon.stranger(user, &["silent", &count.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("it runs");
        let mut line = String::new();
        let out = child.stdout.as_mut().expect("a pipe");
        // It writes nothing more before it is told to.
        BufReader::new(out).read_line(&mut line).expect("it connects");
        assert_eq!(line, "there\n");
        Self(child)
    }

    /// How many the daemon has not closed.
    fn stay(mut self) -> String {
        self.0.stdin.take().expect("a pipe").write_all(b"\n").expect("it waits");
        let mut line = String::new();
        let out = self.0.stdout.as_mut().expect("a pipe");
        BufReader::new(out).read_line(&mut line).expect("it answers");
        assert!(self.0.wait().expect("it ends").success());
        line.trim().to_owned()
    }
}

#[test]
fn strangers_who_say_nothing_are_closed_and_leave_the_places_of_others() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start_with(net.router(), &["client", "server"], &policy());
    let before = Holdings::of(&daemon);
    let many: Vec<Silent> =
        (0..20).map(|more| Silent::start(&daemon, STRANGER + more, 40)).collect();
    let alice = Silent::start(&daemon, ALICE, 40);
    // While they are there, or have been closed for it, root and who has a grant are served.
    assert!(daemon.ctl(&["adapters"]).status.success());
    assert!(daemon.ctl_as(Some(BOB), &["adapters"]).status.success());
    before.wait_for(&daemon);
    for silent in many.into_iter().chain([alice]) {
        assert_eq!(silent.stay(), "0 of 40 stay");
    }
}

#[test]
fn orders_go_with_their_clients_and_leave_nothing() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start_with(net.router(), &["client", "server"], &policy());
    let module = daemon.file("echo.wasm", &echo(1, 4));
    let module = module.to_string_lossy().into_owned();
    let before = Holdings::of(&daemon);
    let orders = |user| {
        let words = ["orders", "400", "client", module.as_str()];
        Running::start(daemon.stranger(user, &words))
    };
    let hostile = [ALICE, BOB].map(orders);
    // Root is served meanwhile.
    let mut client = daemon.client();
    let load = Load { interface: "server".to_owned(), ..Load::default() };
    for version in 0..10 {
        let number = client.load(&load, &echo(version, 0), &[]).expect("loaded").number;
        let answer = client.ask(number, ASK.0, &[], ANSWER, PATIENCE).expect("an answer");
        assert_eq!(answer[0], version);
        client.unload(number).expect("unloaded");
    }
    drop(client);
    for one in hostile {
        assert_eq!(one.finish(PATIENCE).expect_success("orders").stdout, "400 ordered\n");
    }
    unload_all(&mut daemon.client());
    before.wait_for(&daemon);
}

#[test]
fn a_flood_at_the_door_is_a_few_lines_without_colours_and_a_count() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start_with(net.router(), &["client", "server"], &policy());
    let held: Vec<Client> = (0..32).map(|_| daemon.client()).collect();
    for _ in 0..2000 {
        assert!(Client::open_at(&daemon.socket(), "flood").is_err(), "no place");
    }
    // The count comes once its second is over.
    std::thread::sleep(Duration::from_millis(2500));
    drop(held);
    let said = daemon.stop().stderr;
    let written = said.lines().filter(|line| line.contains("was not let in user=")).count();
    let counts = said.lines().filter(|line| line.contains("more in the last second: a client was"));
    let numbers: Vec<usize> = counts
        .filter_map(|line| {
            let number = line.split_once("... and ")?.1.split(' ').next()?;
            number.replace(',', "").parse().ok()
        })
        .collect();
    assert_eq!(written + numbers.iter().sum::<usize>(), 2000, "{said}");
    assert!(written < 500 && !numbers.is_empty(), "{said}");
    assert!(!said.contains('\u{1b}'), "no colours: {said}");
}
