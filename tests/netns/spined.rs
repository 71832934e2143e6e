//! `spined` and `spinectl`: who may load what, and what becomes of it.

use std::time::{Duration, Instant};

use nix::unistd::Pid;
use spine_client::{Client, ClientError, Load};
use spine_tests::daemon::{self, ANSWER, ASK, Daemon, echo, wait_until};
use spine_tests::{Namespace, Topology, need_namespaces};

/// Who owns nothing.
const NOBODY: u32 = 65534;

fn load(interface: &str) -> Load {
    Load { interface: interface.to_owned(), ..Load::default() }
}

/// Asks an echo extension; its version and count.
fn ask(client: &mut Client, extension: u64) -> (u8, u32) {
    let answer = client.ask(extension, ASK.0, &[], ANSWER, Duration::from_secs(5));
    let answer = answer.unwrap_or_else(|error| panic!("{error}"));
    let count = answer.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    (answer[0], count.expect("five bytes"))
}

fn has_xdp(namespace: &Namespace) -> bool {
    namespace.ip("-details link show").contains("xdp")
}

/// The descriptors a process has open.
fn descriptors(pid: Pid) -> usize {
    std::fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}

#[test]
fn an_extension_built_with_the_sdk_is_loaded_asked_counted_and_unloaded() {
    let _alone = need_namespaces!();
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("../wasm-build");
    let hello = spine_wasm_build::build("spine-hello", &folder).expect("hello builds");
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let hello = daemon.file("hello.wasm", &std::fs::read(hello).expect("the module"));
    let hello = hello.to_string_lossy();

    let adapters = daemon.ctl(&["adapters"]).expect_success("adapters").stdout;
    assert!(adapters.contains("client") && adapters.contains("server"), "{adapters}");
    let loaded =
        daemon.ctl(&["load", &hello, "--iface", "client", "--claim", "10.9.2.0/24", "--keep"]);
    let number = loaded.expect_success("load").stdout.trim().to_owned();
    // The extension gives what it counts to the kernel, which forwards it.
    let ping = spine_tests::ping::ping(net.host("client"), "10.9.2.2", 20);
    assert_eq!(ping.answered, ping.sent);

    let answer = daemon.ctl(&["send", &number, "2", "--text", "how many?", "--wait", "5"]);
    let answer = answer.expect_success("send").stdout;
    let counted =
        answer.trim().strip_prefix("1 ").and_then(spine_client::hex::decode).expect("hex");
    assert_eq!(&counted[16..], b"how many?", "{answer}");
    let packets = u64::from_le_bytes(counted[..8].try_into().expect("eight bytes"));
    assert!(packets >= u64::from(ping.sent), "{packets} packets counted");

    let stats = daemon.ctl(&["stats", "--json"]).expect_success("stats").stdout;
    let stats: serde_json::Value = serde_json::from_str(&stats).expect("JSON");
    assert!(stats[0]["counters"]["handled"].as_u64() >= Some(packets), "{stats}");
    assert!(stats[0]["to_kernel"]["unhandled"].as_u64() >= Some(packets), "{stats}");
    let top = daemon.ctl(&["top", "--once", "--interval", "0.2"]).expect_success("top").stdout;
    assert!(top.contains("2 adapters, 1 extensions") && top.contains("hello"), "{top}");
    let listed = daemon.ctl(&["extensions"]).expect_success("extensions").stdout;
    assert!(listed.contains("hello") && listed.contains("10.9.2.0/24"), "{listed}");

    daemon.ctl(&["unload", &number]).expect_success("unload");
    let again = daemon.ctl(&["unload", &number]);
    assert!(again.stderr.contains(&format!("there is no extension {number}")), "{again:?}");
    let ping = spine_tests::ping::ping(net.host("client"), "10.9.2.2", 20);
    assert_eq!(ping.answered, ping.sent, "the kernel forwards again");
    daemon.stop().expect_success("spined");
    assert!(!has_xdp(net.router()), "nothing stays attached");
}

#[test]
fn an_unprivileged_user_has_what_the_policy_grants_and_is_told_what_it_does_not() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let policy = format!(
        "[[grant]]\nuser = {NOBODY}\ninterfaces = [\"client\"]\ndomains = [\"host\", \"net\"]\n\
         prefixes = [\"10.9.77.0/24\"]\nextensions = 1\nfuel_per_message = 5000\n"
    );
    let daemon = Daemon::start_with(net.router(), &["client", "server"], &policy);
    let file = daemon.file("echo.wasm", &echo(1, 0));
    let file = file.to_string_lossy();
    let refused = |arguments: &[&str], sentence: &str| {
        let arguments: Vec<&str> = ["load", &file].iter().chain(arguments).copied().collect();
        let answer = daemon.ctl_as(Some(NOBODY), &arguments);
        assert!(!answer.status.success() && answer.stderr.contains(sentence), "{answer:?}");
        assert!(!answer.stderr.contains('\n'), "one sentence: {answer:?}");
    };
    let left = ["--iface", "client", "--keep"];
    refused(
        &["--iface", "server"],
        "nothing on server, and the extension echo asks for the domains core, net, host",
    );
    refused(
        &["--iface", "client", "--claim", "10.9.2.0/24"],
        "claim packets to 10.9.2.0/24 on client",
    );
    refused(&["--iface", "client", "--fuel", "8000"], "the policy allows this user 5000");
    refused(
        &["--iface", "client", "--domain", "host"],
        "asks for the domain net, which is not among",
    );
    refused(&["--iface", "eth9"], "spined has no adapter on \"eth9\"; it has client, server");
    let arguments: Vec<&str> = ["load", &file].iter().chain(&left).copied().collect();
    let loaded = daemon.ctl_as(Some(NOBODY), &arguments).expect_success("what is granted");
    let number = loaded.stdout.trim().to_owned();
    refused(&left, "2 extensions, and the policy allows this user 1");

    // Another user's is not one's own; root's are everybody's business but not the other way round.
    let others = daemon.ctl_as(Some(NOBODY - 1), &["unload", &number]);
    assert!(others.stderr.contains("is another user's"), "{others:?}");
    let nobody = daemon.ctl_as(Some(NOBODY - 1), &arguments);
    assert!(nobody.stderr.contains("grants user 65533 nothing on client"), "{nobody:?}");
    daemon.ctl(&["unload", &number]).expect_success("root unloads anybody's");
}

#[test]
fn an_application_that_dies_takes_its_extensions_with_it_but_for_those_that_are_kept() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let mut watcher = daemon.client();
    let wasm = echo(1, 0);
    // With its first extension there it has a FIFO to the adapter, as long as it is connected.
    let first = watcher.load(&load("client"), &wasm, &[]).expect("loaded").number;
    watcher.unload(first).expect("unloaded");
    let before = descriptors(daemon.pid());
    let mut client = daemon.client();
    let owned = client.load(&load("client"), &wasm, &[]).expect("loaded");
    assert_eq!(ask(&mut client, owned.number).0, 1);
    let kept = Load { keep: true, ..load("server") };
    let kept = client.load(&kept, &wasm, &[]).expect("loaded").number;
    let taken = client.load(&load("client"), &wasm, &[]).expect_err("it has these handlers");
    assert!(taken.to_string().contains("handler 1 of extension echo is taken"), "{taken}");
    let other = watcher.load(&load("client"), &echo(2, 0), &[]).expect("numbers of its own").number;
    assert_eq!((ask(&mut watcher, other).0, ask(&mut client, owned.number).0), (2, 1));
    watcher.unload(other).expect("unloaded");

    watcher.attach(owned.number).expect("attached");
    drop(client);
    let ended = watcher.wait_for(owned.number, ANSWER, Duration::from_secs(5));
    assert!(matches!(ended, Err(ClientError::Ended(_))), "{ended:?}");
    let left: Vec<u64> =
        watcher.extensions().expect("a list").iter().map(|extension| extension.number).collect();
    assert_eq!(left, [kept]);
    watcher.unload(kept).expect("unloaded");
    let again = watcher.load(&load("client"), &wasm, &[]).expect("the handlers are free").number;
    assert!(again > kept, "numbers are never used again");
    watcher.unload(again).expect("unloaded");
    wait_until("descriptors to be closed", || descriptors(daemon.pid()) <= before);
}

#[test]
fn a_claimed_udp_port_is_one_extensions_and_the_kernels_again_afterwards() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let mut client = daemon.client();
    let socket = net.host("client").inside(|| {
        let socket = std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket");
        socket.connect("10.9.1.1:7777").expect("connected");
        socket.set_read_timeout(Some(Duration::from_millis(300))).expect("set");
        socket
    });
    let echoed = |text: &[u8]| {
        let mut bytes = [0; 64];
        // An earlier answer of the kernel (port unreachable) is an error here, and no echo.
        let sent = socket.send(text).or_else(|_| socket.send(text));
        sent.and_then(|_| socket.recv(&mut bytes)).is_ok_and(|length| &bytes[..length] == text)
    };
    assert!(!echoed(b"nobody"), "nobody listens yet");
    let claim = Load { ports: vec![7777], ..load("client") };
    let number = client.load(&claim, &echo(1, 0), &[]).expect("loaded").number;
    wait_until("an echo", || echoed(b"hello"));
    let again = client.load(&claim, &echo(2, 0), &[]).expect_err("taken").to_string();
    assert!(again.contains("(echo, of user 0) has claimed UDP port 7777 on client"), "{again}");
    client.unload(number).expect("unloaded");
    assert!(!echoed(b"gone"), "the port is the kernel's, where nobody listens");
}

#[test]
fn an_extension_that_is_stopped_too_often_ends_and_its_application_is_told_why() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let mut client = daemon.client();
    // Too little for any message.
    let starved = Load { fuel: Some(1), ..load("client") };
    let number = client.load(&starved, &echo(1, 0), &[]).expect("loaded").number;
    // Messages go to the adapter without the daemon: one hears of the end a little later.
    let end = Instant::now() + Duration::from_secs(10);
    let refused = std::iter::repeat_with(|| client.send(number, ASK.0, &[]).err());
    let refused = refused.take_while(|_| Instant::now() < end).flatten().next();
    let sentence = refused.expect("it ends").to_string();
    assert!(sentence.contains("there is no extension"), "{sentence}");
    match client.wait_for(number, ANSWER, Duration::from_secs(5)) {
        Err(ClientError::Ended(why)) => assert!(why.contains("used up their fuel"), "{why}"),
        other => panic!("{other:?}"),
    }
    client.load(&load("client"), &echo(1, 0), &[]).expect("its place is free");
}

#[test]
fn a_second_daemon_ends_before_it_touches_anything_and_a_killed_one_leaves_no_trace() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let (socket, key) = (daemon.socket(), daemon.folder().join("linker.key"));
    let (socket, key) = (socket.to_string_lossy(), key.to_string_lossy());
    let second = daemon::run_to_end(
        net.router(),
        &["--iface", "client", "--socket", &socket, "--key", &key],
    );
    assert!(second.stderr.contains("another spined listens at"), "{second:?}");
    daemon.client().adapters().expect("the first one serves on");

    let folder = daemon.kill();
    let ping = spine_tests::ping::ping(net.host("client"), "10.9.2.2", 20);
    assert_eq!(ping.answered, ping.sent, "the kernel forwards");
    assert!(!has_xdp(net.router()), "the programs outlived their process");
    let daemon = Daemon::start_again(net.router(), &["client", "server"], folder);
    let mut client = daemon.client();
    let number = client.load(&load("client"), &echo(7, 0), &[]).expect("loaded").number;
    assert_eq!(ask(&mut client, number).0, 7);
}

#[test]
fn the_application_to_copy_counts_forwarded_packets_by_port() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let mut ports = std::process::Command::new(daemon::program("spine-ports"));
    ports.args(["client", "2"]).arg(daemon.socket());
    let mut ports = spine_tests::Running::start(ports);
    let socket =
        net.host("client").inside(|| std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket"));
    let mut sent = 0;
    while !ports.has_ended() && sent < 2000 {
        // Nobody listens there, which the sender hears of as an error.
        let _ = socket.send_to(b"count me", "10.9.2.2:4242");
        sent += 1;
        std::thread::sleep(Duration::from_millis(5));
    }
    let counted = ports.finish(Duration::from_secs(30)).expect_success("spine-ports").stdout;
    let line = counted.lines().find_map(|line| line.trim().strip_prefix("4242"));
    let count: u32 = line.and_then(|count| count.trim().parse().ok()).expect(&counted);
    assert!(count > 10, "{counted}");
    wait_until("its extension to go", || {
        daemon.client().extensions().is_ok_and(|all| all.is_empty())
    });
}

#[test]
fn bad_use_is_answered_with_one_sentence() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let folder = tempfile::tempdir().expect("a folder");
    let policy = folder.path().join("policy.toml");
    std::fs::write(&policy, "[[grant]]\nuser = 0\nuzer = 1\n").expect("written");
    let policy = policy.to_string_lossy();
    for (arguments, sentence) in [
        (vec![], "no interface is given"),
        (vec!["--iface", "nope"], "there is no interface \"nope\""),
        (vec!["--iface", "client", "--policy", &policy], "policy.toml:3: unknown field"),
        (vec!["--iface", "client", "--policy", "/nowhere"], "cannot read the policy /nowhere"),
    ] {
        let ended = daemon::run_to_end(net.router(), &arguments);
        assert_eq!(ended.status.code(), Some(2), "{ended:?}");
        assert!(ended.stderr.contains(sentence), "{ended:?}");
        assert!(!ended.stderr.contains('\n'), "one sentence: {ended:?}");
    }
}
