//! Messages between the extensions of two `spined`, each on a machine of its own.

use std::path::Path;
use std::time::Duration;

use spine_abi::HandlerNumber;
use spine_abi::interface::{Domain, Domains};
use spine_abi::manifest::{FIXED_BYTES, HANDLER_BYTES, HandlerDeclaration, build};
use spine_client::pair_key;
use spine_client::{Client, Load, PeerInfo};
use spine_tests::daemon::{self, Daemon, wait_until};
use spine_tests::{Topology, need_namespaces};

/// The handler that answers, and the one that answers go to.
const ASK: u16 = 2;
const ANSWER: u16 = 7;
/// Who owns nothing.
const NOBODY: u32 = 65534;

/// An extension that sends each message of a peer back to it, to [`ANSWER`].
fn echo() -> Vec<u8> {
    let domains = Domains::CORE.with(Domain::Peer);
    let handler = HandlerDeclaration { number: HandlerNumber(ASK), prefix: 0, writeback: 0 };
    let manifest: [u8; FIXED_BYTES + HANDLER_BYTES] = build("far_echo", domains, 0, &[handler]);
    let section: String = manifest.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!(
        r#"(module
            (import "spine:core" "next" (func $next (param i64) (result i64)))
            (import "spine:peer" "send" (func $send (param i32 i32) (result i32)))
            (memory (export "memory") 1)
            (func (export "run") (local $slot i32)
                (loop $again
                    (local.set $slot (i32.wrap_i64 (call $next (i64.const 0))))
                    (if (local.get $slot) (then
                        (i32.store16 (local.get $slot) (i32.const {ANSWER}))
                        ;; The source: four bits say that it is a peer, twelve which.
                        (drop (call $send
                            (i32.and (i32.load16_u offset=4 (local.get $slot)) (i32.const 0xfff))
                            (local.get $slot)))
                        (br $again)))))
            (@custom "spine.manifest" "{section}"))"#
    );
    wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"))
}

/// What one daemon is told of the other.
struct Side<'a> {
    peer: &'a str,
    interface: &'a str,
    address: &'a str,
    key: &'a Path,
    more: &'a str,
}

impl Side<'_> {
    fn write(&self, file: &Path) {
        let Self { peer, interface, address, key, more } = self;
        let key = key.display();
        let text = format!(
            "[[peer]]\nname = \"{peer}\"\ninterface = \"{interface}\"\naddress = \"{address}\"\n\
             key = \"{key}\"\n{more}"
        );
        std::fs::write(file, text).expect("written");
    }
}

/// Two daemons: on the interface `client` of the router, and on the end of that link in the host.
struct Pair {
    near: Daemon,
    far: Daemon,
    folder: tempfile::TempDir,
}

impl Pair {
    fn start(
        net: &Topology,
        sides: [Side<'_>; 2],
        folder: tempfile::TempDir,
        policy: &str,
    ) -> Self {
        let [near, far] = sides;
        let start = |side: Side<'_>, namespace, policy: &str, name: &str| {
            let file = folder.path().join(name);
            side.write(&file);
            let arguments = ["--config", &file.to_string_lossy()];
            Daemon::start_on(namespace, &[side.interface], policy, &arguments)
        };
        let near = start(near, net.router(), policy, "near.toml");
        let far = start(far, net.host("client"), "", "far.toml");
        Self { near, far, folder }
    }

    /// On a link, with these keys.
    fn on_link(net: &Topology, keys: [&str; 2], policy: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let link = net.link("client");
        let mac = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
        let [near, far] = keys.map(|name| {
            let path = folder.path().join(name);
            if !path.exists() {
                pair_key::create_file(&path).expect("a key");
            }
            path
        });
        let (theirs, ours) = (mac(link.host_mac()), mac(link.router_mac()));
        let near =
            Side { peer: "vienna", interface: "client", address: &theirs, key: &near, more: "" };
        let far = Side { peer: "graz", interface: "eth", address: &ours, key: &far, more: "" };
        Self::start(net, [near, far], folder, policy)
    }

    fn echo(&self) -> Client {
        let mut client = self.far.client();
        // Nobody else answers there.
        let load =
            Load { interface: "eth".to_owned(), peers: vec!["graz".to_owned()], ..Load::default() };
        client.load(&load, &echo(), &[]).expect("loaded");
        client
    }
}

fn peer(client: &mut Client) -> PeerInfo {
    client.peers().expect("a list").remove(0)
}

/// Asks the far echo, by the command line.
fn asked(daemon: &Daemon, user: Option<u32>, text: &str) -> Result<String, String> {
    let answer = ANSWER.to_string();
    let words = ["send", "vienna", "2", "--text", text, "--wait", "10", "--answer", &answer];
    let ended = daemon.ctl_as(user, &words);
    if !ended.status.success() {
        return Err(ended.stderr);
    }
    let line = ended.stdout.trim().strip_prefix("7 ").and_then(spine_client::hex::decode);
    Ok(String::from_utf8(line.expect("hexadecimal digits")).expect("text"))
}

#[test]
fn a_message_to_a_peer_is_handled_by_an_extension_there_and_its_answer_comes_back() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let policy = format!(
        "[[grant]]\nuser = {NOBODY}\ninterfaces = [\"client\"]\ndomains = [\"peer\", \"host\"]\n\
         peers = [\"vienna\"]\n\
         [[grant]]\nuser = {}\ninterfaces = [\"client\"]\ndomains = [\"peer\", \"host\"]\n",
        NOBODY - 1
    );
    let pair = Pair::on_link(&net, ["pair.key", "pair.key"], &policy);
    let mut far = pair.echo();
    assert_eq!(asked(&pair.near, None, "servus").as_deref(), Ok("servus"));
    assert_eq!(asked(&pair.near, Some(NOBODY), "griass di").as_deref(), Ok("griass di"));
    let refused = asked(&pair.near, Some(NOBODY - 1), "not I").expect_err("not granted");
    let sentence = "does not let user 65533 send messages to the peer vienna on client (line 6";
    assert!(refused.contains(sentence), "{refused}");

    // As a library, and a whole message: 240 bytes, many of them, in order.
    let mut near = pair.near.client();
    let relay = near.reach("vienna", ASK, ANSWER).expect("a way");
    let whole = |number: u32| {
        let mut bytes = vec![0xa5; 240];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        bytes
    };
    for number in 0..200 {
        near.send(relay, ANSWER, &whole(number)).expect("sent");
        let answer = near.wait_for(relay, ANSWER, Duration::from_secs(10)).expect("an answer");
        assert_eq!(answer, whole(number));
    }

    // What came last is acknowledged a little later than it is delivered.
    wait_until("every acknowledgement", || peer(&mut near).waiting + peer(&mut far).waiting == 0);
    let (ours, theirs) = (peer(&mut near), peer(&mut far));
    assert_eq!((ours.name.as_str(), ours.interface.as_str(), ours.number), ("vienna", "client", 1));
    assert_eq!((ours.sent, ours.received, ours.waiting, ours.lost), (202, 202, 0, 0));
    assert_eq!((theirs.sent, theirs.received, theirs.waiting), (202, 202, 0));
    let table = pair.near.ctl(&["peers"]).expect_success("peers").stdout;
    assert!(table.contains("vienna") && table.contains("02:00:00:09:01:02"), "{table}");
    let json = pair.near.ctl(&["peers", "--json"]).expect_success("peers").stdout;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json[0]["received"], 202);
    let unknown = near.reach("linz", ASK, ANSWER).expect_err("no such peer").to_string();
    assert!(unknown.contains("no peer \"linz\"; it knows vienna"), "{unknown}");
    // An extension that was not given the peer reaches nobody there.
    let load = Load { interface: "client".to_owned(), ..Load::default() };
    let load = Load { peers: vec!["linz".to_owned()], ..load };
    let unknown = near.load(&load, &echo(), &[]).expect_err("no such peer").to_string();
    assert!(unknown.contains("no peer \"linz\" on that interface; it knows vienna"), "{unknown}");
}

#[test]
fn who_has_another_key_is_counted_and_delivers_nothing() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let pair = Pair::on_link(&net, ["one.key", "other.key"], "");
    let mut far = pair.echo();
    let mut near = pair.near.client();
    let relay = near.reach("vienna", ASK, ANSWER).expect("a way");
    near.send(relay, ANSWER, b"let me in").expect("sent");
    wait_until("refused frames", || peer(&mut far).refused + peer(&mut near).refused >= 2);
    let (ours, theirs) = (peer(&mut near), peer(&mut far));
    assert_eq!((ours.waiting, ours.received, ours.sessions), (1, 0, 0));
    assert_eq!((theirs.received, theirs.sent, theirs.sessions), (0, 0, 0));
    assert_eq!(far.extensions().expect("a list")[0].received, 0);
    drop(pair.folder);
}

#[test]
fn beyond_the_link_messages_go_by_udp_and_the_port_is_nobody_elses() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("pair.key");
    pair_key::create_file(&key).expect("a key");
    let link = net.link("client");
    let (near, far) = (link.host_address() + ":4040", link.router_address() + ":4041");
    let near = Side {
        peer: "vienna",
        interface: "client",
        address: &near,
        key: &key,
        more: "port = 4041\n",
    };
    let far =
        Side { peer: "graz", interface: "eth", address: &far, key: &key, more: "port = 4040\n" };
    let pair = Pair::start(&net, [near, far], folder, "");
    let mut far = pair.echo();
    // The peer's packets pass the kernel by; what a stranger sends there is nobody's.
    let stranger =
        net.router().inside(|| std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket"));
    for _ in 0..10 {
        let _ = stranger.send_to(b"hello?", link.host_address() + ":4040");
    }
    assert_eq!(asked(&pair.near, None, "servus").as_deref(), Ok("servus"));
    let mut strays = || {
        let dropped = far.statistics("eth").expect("counters").dropped;
        dropped.get("no_peer").copied().unwrap_or(0)
    };
    wait_until("ten packets of a stranger", || strays() == 10);
    let claim = Load { interface: "eth".to_owned(), ports: vec![4040], ..Load::default() };
    let refused = far.load(&claim, &daemon::echo(1, 0), &[]).expect_err("taken").to_string();
    assert!(refused.contains("messages between machines come to UDP port 4040"), "{refused}");
}

#[test]
fn a_peer_that_cannot_be_is_refused_in_one_sentence_before_anything_is_touched() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let folder = tempfile::tempdir().expect("a folder");
    let key = folder.path().join("pair.key");
    pair_key::create_file(&key).expect("a key");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (file, socket, linker) = (path("spined.toml"), path("spined.sock"), path("linker.key"));
    let mut cases = vec![
        ("client", "02:00:00:00:00", "spined.toml:4: \"02:00:00:00:00\" is neither"),
        ("server2", "02:00:00:00:00:01", "is none of the interfaces spined owns (client)"),
        (
            "client",
            "198.51.100.7:4040",
            "no route to the peer vienna (198.51.100.7) leaves by client",
        ),
        ("client", "10.9.1.77:4040", "the next hop to the peer vienna is 10.9.1.77"),
    ];
    let run = |interface, address, sentence: &str| {
        Side { peer: "vienna", interface, address, key: &key, more: "" }.write(file.as_ref());
        let words = ["--config", &file, "--iface", "client", "--socket", &socket, "--key", &linker];
        let ended = daemon::run_to_end(net.router(), &words);
        assert!(!ended.status.success() && ended.stderr.contains(sentence), "{ended:?}");
        assert!(!ended.stderr.contains('\n'), "one sentence: {ended:?}");
    };
    for (interface, address, sentence) in cases.drain(..) {
        run(interface, address, sentence);
    }
    std::fs::write(&key, "spine-pair-key 00ff\n").expect("written");
    run("client", "02:00:00:00:00:01", "spined.toml:5: ");
    run("client", "02:00:00:00:00:01", "no line `spine-pair-key <64 hexadecimal digits>`");
    let open = <std::fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o640);
    std::fs::set_permissions(&key, open).expect("changed");
    run("client", "02:00:00:00:00:01", "its mode is 0640");
}
