//! What was granted, and nothing beside it: where messages may go, and what becomes of who is granted no more.

use std::process::{Command, Stdio};
use std::time::Duration;

use spine_client::relay::{self, TAKEN};
use spine_client::{Client, ClientError, Load};
use spine_tests::daemon::{ANSWER, ASK, Daemon, echo, wait_until};
use spine_tests::{Topology, need_namespaces};

const BOB: u32 = 65534;
const PATIENCE: Duration = Duration::from_secs(20);

fn grant(interfaces: &str, more: &str) -> String {
    format!(
        "[[grant]]\nuser = {BOB}\ninterfaces = [{interfaces}]\ndomains = [\"peer\", \"host\", \"net\"]\n{more}\n"
    )
}

fn load(interface: &str) -> Load {
    Load { interface: interface.to_owned(), ..Load::default() }
}

/// Bob keeps a relay on the adapter of `client`, which sends what it is sent to a handler on that of `server`.
fn relay(daemon: &Daemon) -> u64 {
    let module = relay::module(1, ASK.0, 9);
    let file = daemon.file("relay.wasm", &module);
    let words = ["load", &file.to_string_lossy(), "--iface", "client", "--keep"];
    let loaded = daemon.ctl_as(Some(BOB), &words).expect_success("load").stdout;
    loaded.trim().parse().expect("a number")
}

/// Whether the echo extension on `server` was asked by what the relay was sent; `dropped` messages had no peer.
fn arrives(client: &mut Client, relay: u64, echo: u64) -> bool {
    let before = client.statistics("client").expect("counters");
    client.send(relay, 9, b"hello").expect("sent");
    let taken = client.wait_for(relay, TAKEN, PATIENCE).expect("the adapter took it");
    assert_eq!(taken, [0; 4]);
    let mut dropped = || {
        let sum =
            |all: &spine_client::AdapterStatistics| all.messages_dropped.values().sum::<u64>();
        let there = client.statistics("server").expect("counters");
        sum(&client.statistics("client").expect("counters")) > sum(&before)
            || there.messages_dropped.get("no_handler").is_some_and(|count| *count > 0)
    };
    let refused = (0..50).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        dropped()
    });
    let answered = client.wait_for(echo, ANSWER, Duration::from_millis(500));
    assert_eq!(refused, answered.is_err(), "{answered:?}");
    !refused
}

#[test]
fn messages_reach_other_adapters_and_other_users_only_where_a_grant_says_so() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    for (interfaces, more, reaches) in [
        ("\"client\"", "messages = [\"*\"]", false),
        ("\"client\", \"server\"", "", false),
        ("\"client\", \"server\"", "messages = [\"4711\"]", false),
        ("\"client\", \"server\"", "messages = [\"root\"]", true),
        ("\"*\"", "messages = [\"*\"]", true),
    ] {
        let policy = grant(interfaces, more);
        let daemon = Daemon::start_with(net.router(), &["client", "server"], &policy);
        let mut client = daemon.client();
        let echo = client.load(&load("server"), &echo(1, 0), &[]).expect("loaded").number;
        let relay = relay(&daemon);
        client.attach(relay).expect("root may");
        assert_eq!(arrives(&mut client, relay, echo), reaches, "{interfaces} {more}");
    }
}

#[test]
fn a_grant_that_is_taken_away_ends_what_it_covered_and_the_log_says_so() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start_with(net.router(), &["client", "server"], &grant("\"*\"", ""));
    let mut client = daemon.client();
    let own = client.load(&load("client"), &echo(1, 0), &[]).expect("loaded").number;
    let covered = relay(&daemon);
    client.attach(covered).expect("root may");
    // A policy that still covers it, one that cannot be read, and one that does not.
    daemon.reload(&grant("\"client\"", ""));
    daemon.reload("[[grant");
    assert!(client.adapters().is_ok());
    daemon.reload("");
    let ended = client.wait_for(covered, TAKEN, PATIENCE).expect_err("it is unloaded");
    let ClientError::Ended(why) = ended else { panic!("{ended:?}") };
    assert!(why.contains("its grant was taken away: the policy grants"), "{why}");
    let left = client.extensions().expect("a list");
    assert_eq!(left.iter().map(|it| it.number).collect::<Vec<_>>(), [own], "root's stays");
    drop(client);
    let said = daemon.stop().stderr;
    assert!(said.contains("an extension is unloaded: its grant is gone"), "{said}");
    assert!(said.contains(&format!("number={covered}")), "{said}");
}

#[test]
fn where_the_operator_says_so_it_goes_on_and_is_shown_as_not_covered() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("spined.toml");
    std::fs::write(&config, "revoked = \"mark\"\n").expect("written");
    let config = ["--config", &config.to_string_lossy()];
    let policy = grant("\"*\"", "");
    let daemon = Daemon::start_on(net.router(), &["client", "server"], &policy, &config);
    let mut client = daemon.client();
    let marked = relay(&daemon);
    let mut uncovered = || {
        let all = client.extensions().expect("a list");
        all.into_iter().find(|it| it.number == marked).expect("it goes on").uncovered
    };
    assert_eq!(uncovered(), None);
    daemon.reload("");
    wait_until("the mark", || uncovered().is_some_and(|why| why.contains("grants")));
    assert!(daemon.ctl(&["extensions"]).expect_success("a list").stdout.contains("not covered"));
    daemon.reload(&policy);
    wait_until("it to be covered again", || uncovered().is_none());
}

#[test]
fn hostile_clients_by_seed_keep_nobody_waiting_and_leave_nothing() {
    let _alone = need_namespaces!();
    let seconds = spine_tests::hostile::seconds();
    let seed = spine_tests::hostile::seed();
    let net = Topology::pair();
    let users = [4001, 4002, 4900];
    let honest = 4100;
    let of = |user: u32| {
        format!(
            "[[grant]]\nuser = {user}\ninterfaces = [\"*\"]\ndomains = [\"net\", \"host\"]\n\
             prefixes = [\"10.9.0.0/16\"]\nports = [\"5000-5009\"]\n"
        )
    };
    // One hostile user has a grant now and then.
    let policies = [[4001, honest].map(of).concat(), [4001, 4002, honest].map(of).concat()];
    let daemon = Daemon::start_with(net.router(), &["client", "server"], &policies[1]);
    let plain = daemon.file("plain.wasm", &echo(1, 0)).to_string_lossy().into_owned();
    let hostile = daemon.file("hostile.wasm", &echo(2, 1)).to_string_lossy().into_owned();
    let before = spine_tests::hostile::Holdings::of(&daemon);

    let time = seconds.to_string();
    let words = ["honest", &time, "server", &plain];
    let mut well = daemon.stranger(honest, &words);
    let mut well = well.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    println!("seed {seed}, {seconds} s");
    let mut turn = seed;
    while well.try_wait().expect("our child").is_none() {
        let fuzz = |user: &u32| {
            turn += 1;
            let (seed, time) = (turn.to_string(), "3");
            let words = ["fuzz", &seed, time, "client", &hostile];
            let mut command: Command = daemon.stranger(*user, &words);
            command.stdout(Stdio::null()).spawn().expect("it runs")
        };
        let mut all: Vec<_> = users.iter().map(fuzz).collect();
        // Each time another one of them is killed in the middle of what it does, and the policy changes.
        std::thread::sleep(Duration::from_millis(700));
        let doomed = usize::try_from(turn).unwrap_or(0) / 3 % all.len();
        all[doomed].kill().expect("our child");
        daemon.reload(&policies[usize::from(turn.is_multiple_of(2))]);
        for mut one in all {
            one.wait().expect("our child");
        }
    }
    let served = well.wait_with_output().expect("our child");
    let said = String::from_utf8_lossy(&served.stdout).into_owned();
    assert!(served.status.success(), "{said} {}", String::from_utf8_lossy(&served.stderr));
    println!("{}", said.trim());
    let turns: u64 = said.split(' ').next().and_then(|word| word.parse().ok()).expect("a number");
    assert!(turns > 0, "{said}");

    let mut client = daemon.client();
    spine_tests::hostile::unload_all(&mut client);
    drop(client);
    before.wait_for(&daemon);
}
