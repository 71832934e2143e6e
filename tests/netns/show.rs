//! What a running router says of itself is what it does: shown, explained, counted and captured.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use pcap_file::pcapng::blocks::enhanced_packet::EnhancedPacketOption;
use pcap_file::pcapng::{Block, PcapNgReader};
use serde_json::Value;
use spine_headers::checksum;
use spine_tests::daemon::wait_until;
use spine_tests::packet::Port;
use spine_tests::ping::ping;
use spine_tests::process::{Finished, Running};
use spine_tests::{Link, Router, Topology, need_namespaces, router};

const PATIENCE: Duration = Duration::from_secs(30);
/// Packets sent of each kind.
const EACH: u64 = 5;

/// A router that is asked at a socket in a folder of its own.
struct Asked {
    router: Router,
    /// Whether a classifier counts what it leaves to the kernel.
    is_classified: bool,
    folder: tempfile::TempDir,
}

impl Asked {
    fn start(net: &Topology, options: &[&str]) -> Self {
        Self::on("xdp", net, options)
    }

    fn on(nic: &str, net: &Topology, options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control").display().to_string();
        let all = [&["--nic", nic, "--control", &path], options].concat();
        let router = Router::start_with(net.router(), &net.interfaces(), &all);
        Self { router, is_classified: nic == "xdp", folder }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("control")
    }

    /// The answer to a question, by the socket itself.
    fn ask(&self, question: &Value) -> Value {
        let mut stream = UnixStream::connect(self.path()).expect("the socket");
        stream.write_all(format!("{question}\n").as_bytes()).expect("asked");
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).expect("an answer");
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    /// What the program prints when it is asked to.
    fn program(&self, net: &Topology, words: &[&str]) -> Finished {
        let path = self.path();
        self.running(net, words, &path).finish(PATIENCE)
    }

    fn running(&self, net: &Topology, words: &[&str], path: &Path) -> Running {
        let path = path.display().to_string();
        let words = [words, &["--control", &path]].concat();
        let program = router::binary().to_string_lossy().into_owned();
        Running::start(net.router().command(&program, &words))
    }

    fn explain(&self, packet: &str) -> Value {
        let answer = self.ask(&serde_json::json!({"ask": "explain", "packet": packet}));
        answer["explain"].clone()
    }

    /// The counters a packet may be found in, by a name each.
    fn counters(&self) -> BTreeMap<String, u64> {
        let answer = self.ask(&serde_json::json!({"ask": "counters"}));
        let report = &answer["counters"];
        let mut all = BTreeMap::new();
        for kind in ["classifier", "to_kernel_reasons", "dropped"] {
            for (name, count) in report[kind].as_object().expect("an object") {
                all.insert(format!("{kind} {name}"), count.as_u64().expect("a count"));
            }
        }
        for (name, line) in report["interfaces"].as_object().expect("an object") {
            let count = line["forwarded"].as_u64().expect("a count");
            all.insert(format!("forwarded {name}"), count);
        }
        // What hosts say of their own: ARP.
        all.remove("classifier not_ipv4");
        all
    }
}

/// What grew, and by how much.
fn growth(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let grown = after
        .iter()
        .map(|(name, count)| (name.clone(), count - before.get(name).copied().unwrap_or(0)));
    grown.filter(|(_, count)| *count > 0).collect()
}

/// A packet, for the wire and for the question.
#[derive(Clone, Copy)]
struct Sent {
    source: [u8; 4],
    destination: [u8; 4],
    protocol: u8,
    ports: Option<(u16, u16)>,
    ttl: u8,
    length: u16,
    fragment: bool,
    options: bool,
}

const UDP: u8 = 17;
const TCP: u8 = 6;
const PLAIN: Sent = Sent {
    source: [10, 9, 1, 2],
    destination: [10, 9, 2, 2],
    protocol: UDP,
    ports: Some((40_000, 9)),
    ttl: 64,
    length: 100,
    fragment: false,
    options: false,
};

const fn to(destination: [u8; 4]) -> Sent {
    Sent { destination, ..PLAIN }
}

const fn of(protocol: u8) -> Sent {
    Sent { protocol, ports: None, ..PLAIN }
}

impl Sent {
    fn question(&self) -> String {
        let [from, to] = [self.source, self.destination].map(Ipv4Addr::from);
        let mut text = format!("iif=client {from} > {to} {}", self.protocol);
        if let Some((from, to)) = self.ports.filter(|_| !self.fragment) {
            text.push_str(&format!(" {from}>{to}"));
        }
        text.push_str(&format!(" ttl={} len={}", self.ttl, self.length));
        for (there, word) in [(self.fragment, " fragment"), (self.options, " options")] {
            text.push_str(if there { word } else { "" });
        }
        text
    }

    fn frame(&self, link: &Link) -> Vec<u8> {
        let destination = Ipv4Addr::from(self.destination);
        let to = match destination.is_multicast() {
            true => [
                0x01,
                0,
                0x5e,
                self.destination[1] & 0x7f,
                self.destination[2],
                self.destination[3],
            ],
            false => link.router_mac(),
        };
        let [length_high, length_low] = self.length.to_be_bytes();
        let mut header =
            vec![0x45, 0, length_high, length_low, 0, 1, 0, 0, self.ttl, self.protocol, 0, 0];
        header.extend(self.source);
        header.extend(self.destination);
        if self.options {
            header[0] = 0x46;
            header.extend([1, 1, 1, 0]);
        }
        if self.fragment {
            header[6] = 0x20;
        }
        let sum = checksum::finish(checksum::sum(&header));
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        let mut payload = vec![0; usize::from(self.length) - header.len()];
        if let Some((from, to)) = self.ports {
            payload[0..2].copy_from_slice(&from.to_be_bytes());
            payload[2..4].copy_from_slice(&to.to_be_bytes());
        }
        if self.protocol == UDP {
            let length = self.length - 20;
            payload[4..6].copy_from_slice(&length.to_be_bytes());
        }
        [&to[..], &link.host_mac(), &[8, 0], &header, &payload].concat()
    }
}

/// A router between hosts that say nothing by themselves, with a route of each kind.
fn silent() -> Topology {
    let net = Topology::star(&[
        Link::to("client", 1).silent(),
        Link::to("server", 2).mtu(1400).silent(),
        Link::to("third", 3).silent(),
    ]);
    for route in [
        "10.50.0.0/16 via 10.9.2.2",
        "10.70.0.0/16 via 10.9.1.2",
        "blackhole 10.60.0.0/16",
        "unreachable 10.61.0.0/16",
        "10.80.0.0/16 nexthop via 10.9.2.2 nexthop via 10.9.3.2 weight 2",
        "10.90.0.0/16 dev lo",
    ] {
        net.router().ip(&format!("route add {route}"));
    }
    net
}

/// What the counters must say of packets of which this was explained.
fn expected(explanation: &Value, is_classified: bool) -> BTreeMap<String, u64> {
    let text = |key: &str| explanation[key].as_str().unwrap_or("-").to_owned();
    let reason = text("reason");
    let claimed = ("classifier claimed".to_owned(), EACH);
    let counts = match text("owner").as_str() {
        "kernel" => vec![(format!("classifier {reason}"), EACH)],
        "adapters" => vec![claimed, (format!("forwarded {}", text("leaves_by")), EACH)],
        "nobody" => vec![claimed, (format!("dropped {reason}"), EACH)],
        "kernel_after_adapters" => vec![claimed, (format!("to_kernel_reasons {reason}"), EACH)],
        other => panic!("an owner {other:?}"),
    };
    // Nobody counts before the adapters on AF_PACKET.
    counts
        .into_iter()
        .filter(|(name, _)| is_classified || !name.starts_with("classifier"))
        .collect()
}

/// Explains packets, sends them, and holds the counters against it; what differs.
fn differences(net: &Topology, asked: &Asked, cases: &[(&str, Sent, &str)]) -> Vec<String> {
    let port = Port::open(net.host("client"), "eth");
    let mut wrong = Vec::new();
    for (name, sent, owner) in cases {
        let explanation = asked.explain(&sent.question());
        if explanation["owner"] != **owner {
            wrong.push(format!("{name}: not {owner}: {explanation}"));
            continue;
        }
        for key in ["why", "change"] {
            if explanation[key].as_str().is_none_or(str::is_empty) {
                wrong.push(format!("{name}: no {key}: {explanation}"));
            }
        }
        let kernels = owner.starts_with("kernel");
        if explanation["kernel"].is_string() != kernels {
            wrong.push(format!("{name}: the kernel was asked where it decides: {explanation}"));
        }
        let expected = expected(&explanation, asked.is_classified);
        let before = asked.counters();
        let received = net.router().interface_counter("client", "rx_packets");
        for _ in 0..EACH {
            port.send(&sent.frame(net.link("client")));
        }
        if explanation["reason"] == "switched_off" {
            // An interface of which nothing is ours may have no classifier any more, that counts.
            let came = received + EACH;
            wait_until(name, || net.router().interface_counter("client", "rx_packets") >= came);
            let grown = growth(&before, &asked.counters());
            if !grown.is_empty() && grown != expected {
                wrong.push(format!("{name}: {grown:?}, and explained was {explanation}"));
            }
            continue;
        }
        let all = |grown: &BTreeMap<String, u64>| grown.values().sum::<u64>();
        let mut grown = BTreeMap::new();
        wait_until(name, || {
            grown = growth(&before, &asked.counters());
            all(&grown) >= all(&expected)
        });
        if grown != expected {
            wrong.push(format!("{name}: {grown:?}, and explained was {explanation}"));
        }
    }
    wrong
}

#[test]
fn what_is_explained_is_what_happens() {
    let _alone = need_namespaces!();
    let net = silent();
    let asked = Asked::start(&net, &[]);
    let cases = [
        ("to a neighbour", PLAIN, "adapters"),
        ("over a gateway", to([10, 50, 1, 1]), "adapters"),
        ("TCP", Sent { protocol: TCP, ports: Some((1, 443)), ..PLAIN }, "adapters"),
        ("ICMP", Sent { protocol: 1, ports: Some((0x0800, 0)), ..PLAIN }, "adapters"),
        ("a fragment", Sent { fragment: true, ..PLAIN }, "adapters"),
        ("the least ttl", Sent { ttl: 2, ..PLAIN }, "adapters"),
        ("as long as the way takes", Sent { length: 1400, ..PLAIN }, "adapters"),
        ("too long", Sent { length: 1401, ..PLAIN }, "kernel_after_adapters"),
        ("back where it came from", to([10, 70, 1, 1]), "kernel"),
        ("into a blackhole", to([10, 60, 1, 1]), "nobody"),
        ("at its end", Sent { ttl: 1, ..PLAIN }, "kernel"),
        ("IP options", Sent { options: true, ..PLAIN }, "kernel"),
        ("no route", to([8, 8, 8, 8]), "kernel"),
        ("a route that refuses", to([10, 61, 1, 1]), "kernel"),
        ("out by another interface", to([10, 90, 1, 1]), "kernel"),
        ("not resolved", to([10, 9, 2, 77]), "kernel"),
        ("for the router", to([10, 9, 1, 1]), "kernel"),
        ("for its other address", to([10, 9, 2, 1]), "kernel"),
        ("to all on a link", to([10, 9, 2, 255]), "kernel"),
        ("as if from the router", Sent { source: [10, 9, 2, 1], ..PLAIN }, "kernel"),
        ("from nowhere", Sent { source: [127, 0, 0, 1], ..PLAIN }, "kernel"),
        ("link-local", to([169, 254, 1, 1]), "kernel"),
        ("OSPF", of(89), "kernel"),
        ("GRE from a host that leaves checksums undone", of(47), "kernel"),
        ("ESP", of(50), "adapters"),
        ("to a group", Sent { protocol: 89, ports: None, ..to([224, 0, 0, 5]) }, "kernel"),
    ];
    assert_eq!(differences(&net, &asked, &cases), [""; 0]);

    // Of several ways, the one that each flow takes: some flows of each.
    let mut by_way: BTreeMap<String, Vec<Sent>> = BTreeMap::new();
    for port in 0..200 {
        let sent = Sent { ports: Some((1000 + port, 80)), ..to([10, 80, 1, 1]) };
        let way = asked.explain(&sent.question())["leaves_by"].to_string();
        by_way.entry(way).or_default().push(sent);
    }
    assert_eq!(by_way.len(), 2, "flows take both ways: {:?}", by_way.keys());
    let some =
        by_way.iter().flat_map(|(way, flows)| flows.iter().take(4).map(move |sent| (way, sent)));
    let flows: Vec<(&str, Sent, &str)> =
        some.map(|(way, sent)| (way.as_str(), *sent, "adapters")).collect();
    assert_eq!(differences(&net, &asked, &flows), [""; 0]);
    asked.router.stop();
}

#[test]
fn without_a_classifier_what_is_explained_is_what_happens_too() {
    let _alone = need_namespaces!();
    let net = silent();
    let asked = Asked::on("packet", &net, &[]);
    let cases = [
        ("to a neighbour", PLAIN, "adapters"),
        ("over a gateway", to([10, 50, 1, 1]), "adapters"),
        ("into a blackhole", to([10, 60, 1, 1]), "nobody"),
        ("too long", Sent { length: 1401, ..PLAIN }, "kernel_after_adapters"),
        ("no route", to([8, 8, 8, 8]), "kernel_after_adapters"),
        ("not resolved", to([10, 9, 2, 77]), "kernel_after_adapters"),
        ("back where it came from", to([10, 70, 1, 1]), "kernel_after_adapters"),
    ];
    assert_eq!(differences(&net, &asked, &cases), [""; 0]);
    let local = asked.explain(&to([10, 9, 1, 1]).question());
    assert_eq!((&local["owner"], &local["reason"]), (&"kernel".into(), &"local".into()));
    asked.router.stop();
}

#[test]
fn what_would_change_it_does() {
    let _alone = need_namespaces!();
    let net = silent();
    let asked = Asked::start(&net, &[]);
    let owner = |sent: &Sent| {
        let explanation = asked.explain(&sent.question());
        explanation["owner"].as_str().map(str::to_owned).expect("an owner")
    };
    let becomes = |what: &str, sent: &Sent, wanted: &str| {
        wait_until(what, || owner(sent) == wanted);
        let cases = [(what, *sent, wanted)];
        assert_eq!(differences(&net, &asked, &cases), [""; 0]);
    };
    let unresolved = to([10, 9, 2, 77]);
    becomes("a machine nobody knows", &unresolved, "kernel");
    net.router()
        .ip("neighbour replace 10.9.2.77 lladdr 02:00:00:00:00:77 dev server nud permanent");
    becomes("the same, resolved", &unresolved, "adapters");

    net.router().sysctl("ipv4/conf/client/forwarding", "0");
    becomes("where nothing is forwarded", &PLAIN, "kernel");
    let explanation = asked.explain(&PLAIN.question());
    assert_eq!(explanation["rules"][0], "net.ipv4.conf.client.forwarding is 0");
    net.router().sysctl("ipv4/conf/client/forwarding", "1");
    becomes("where it is again", &PLAIN, "adapters");

    for command in [
        "nft add table ip filter",
        "nft add chain ip filter forward { type filter hook forward priority 0 ; policy drop ; }",
    ] {
        net.router().run(command);
    }
    becomes("a firewall that drops", &PLAIN, "kernel");
    let explanation = asked.explain(&PLAIN.question());
    let rule = explanation["rules"][0].as_str().expect("a rule");
    assert!(rule.contains("filter") && rule.contains("forward"), "{explanation}");
    let coverage = asked.ask(&serde_json::json!({"ask": "coverage"}));
    let ways = coverage["coverage"]["ways"].to_string();
    assert!(ways.contains("filter") && ways.contains("client"), "{coverage}");
    net.router().run("nft delete table ip filter");
    becomes("without it", &PLAIN, "adapters");

    // A rule keeps the packets that it is about, and no others.
    for command in [
        "nft add table ip filter",
        "nft add chain ip filter forward { type filter hook forward priority 0 ; }",
        "nft add rule ip filter forward udp dport 7 drop",
    ] {
        net.router().run(command);
    }
    let echo = Sent { ports: Some((40_000, 7)), ..PLAIN };
    becomes("what a rule drops", &echo, "kernel");
    let explanation = asked.explain(&echo.question());
    assert_eq!(explanation["reason"], "kept_by_rules", "{explanation}");
    assert!(explanation["rules"][0].as_str().is_some_and(|rule| rule.contains("filter")));
    becomes("what it does not", &PLAIN, "adapters");
    let coverage = asked.ask(&serde_json::json!({"ask": "coverage"}));
    let kept = coverage["coverage"]["kept"].as_object().expect("an object");
    assert!(kept.values().any(|count| count.as_u64() >= Some(EACH)), "{coverage}");
    net.router().run("nft delete table ip filter");
    becomes("without it", &echo, "adapters");

    // Whom the kernel does not believe.
    let strange = Sent { source: [10, 50, 1, 1], ..PLAIN };
    becomes("whoever it says that it is", &strange, "adapters");
    net.router().sysctl("ipv4/conf/client/rp_filter", "1");
    becomes("where that is looked at", &strange, "kernel_after_adapters");
    assert_eq!(asked.explain(&strange.question())["reason"], "reverse_path");
    becomes("and is right", &PLAIN, "adapters");
    asked.router.stop();
}

#[test]
fn what_is_shown_is_what_there_is_as_text_and_as_json() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    for number in 0..200 {
        net.router().ip(&format!("route add 10.100.{number}.0/24 via 10.9.2.2"));
    }
    net.router().ip("route add unreachable 10.61.0.0/16");
    let asked = Asked::start(&net, &[]);
    assert_eq!(ping(net.host("client"), "10.9.2.2", 10).answered, 10);

    let text = asked.program(&net, &["show"]).expect_success("show").stdout;
    for part in [
        "client  af_xdp copy  veth  1 queue  MTU 1500  forwards",
        "by the adapters: 202 of 203 routes; left to the kernel: 1 no_route",
        " packets\n",
        "memory: ",
    ] {
        assert!(text.contains(part), "{part:?} in\n{text}");
    }
    let json = asked.program(&net, &["show", "--json"]).expect_success("show --json").stdout;
    let coverage: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(coverage["routes"]["adapters"], 202);
    let resident = coverage["memory"]["resident"].as_u64().expect("bytes");
    assert!((1 << 20..40 << 20).contains(&resident), "{resident} bytes beside frames and tables");
    let forwarded = coverage["packets"]["adapters"].as_u64().expect("a count");
    assert!(forwarded >= 20, "ten pings there and back: {coverage}");

    let list = asked.program(&net, &["show", "routes", "--limit", "3"]);
    let list = list.expect_success("show routes").stdout;
    assert!(list.ends_with("and 200 more (--limit, --prefix)\n"), "{list}");
    let list = asked.program(&net, &["show", "routes", "--prefix", "10.100.4.0/23", "--json"]);
    let list: Value =
        serde_json::from_str(&list.expect_success("show routes").stdout).expect("JSON");
    let prefixes: Vec<&str> = list["routes"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|row| row["prefix"].as_str())
        .collect();
    assert_eq!(prefixes, ["10.100.4.0/24", "10.100.5.0/24"]);

    let list = asked.program(&net, &["show", "neighbours"]).expect_success("neighbours").stdout;
    assert!(list.contains("10.9.2.2  server  02:00:00:09:02:02  permanent  a next hop"), "{list}");
    let text = asked.program(&net, &["show", "counters"]).expect_success("counters").stdout;
    assert!(text.contains("packets forwarded in"), "{text}");
    let text = asked.program(&net, &["show", "--metrics"]).expect_success("metrics").stdout;
    assert!(text.ends_with("# EOF\n"), "{text}");
    asked.router.stop();
}

#[test]
fn what_is_no_question_or_finds_nobody_is_one_sentence() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let asked = Asked::start(&net, &[]);
    for (line, sentence) in [
        ("give me all", "not a question: "),
        ("{\"ask\":\"explain\",\"packet\":\"hello\"}", "not a packet: "),
        (
            "{\"ask\":\"capture\",\"interfaces\":[\"eth9\"]}",
            "eth9 is none of the router's interfaces",
        ),
    ] {
        let mut stream = UnixStream::connect(asked.path()).expect("the socket");
        stream.write_all(format!("{line}\n").as_bytes()).expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        let refused = answer["refused"].as_str().expect("a sentence");
        assert!(refused.starts_with(sentence), "{refused}");
    }
    let failed = |finished: Finished, part: &str| {
        assert_eq!(finished.status.code(), Some(1), "{}", finished.stderr);
        assert!(finished.stderr.contains(part), "{}", finished.stderr);
        assert_eq!(finished.stderr.lines().count(), 1, "{}", finished.stderr);
    };
    failed(
        asked.program(&net, &["explain", "iif=client", "10.9.1.2"]),
        "not a packet: after 10.9.1.2",
    );
    let nowhere = asked.folder.path().join("nowhere");
    failed(asked.running(&net, &["show"], &nowhere).finish(PATIENCE), "no router answers at ");

    // Not even where everybody may open the socket is everybody answered.
    let path = asked.path().display().to_string();
    net.router().run(&format!("chmod 0755 {}", asked.folder.path().display()));
    net.router().run(&format!("chmod 0666 {path}"));
    let program = router::binary().display().to_string();
    let stranger = format!("setpriv --reuid 65534 --clear-groups {program} show --control {path}");
    let finished = net.router().try_run(&stranger, PATIENCE);
    if finished.stderr.contains("Permission denied") {
        spine_tests::need::say_skipped("a stranger", "may not reach the program or the folder");
    } else {
        failed(finished, "only root, and whoever the router runs as, may ask it");
    }
    asked.router.stop();
}

#[test]
fn clients_that_do_not_send_or_do_not_read_cost_the_router_nothing() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let batch = tempfile::NamedTempFile::new().expect("a file");
    let routes: String = (0..6000)
        .map(|number| {
            format!("route add 10.{}.{}.0/24 via 10.9.2.2\n", 100 + number / 250, number % 250)
        })
        .collect();
    std::fs::write(batch.path(), routes).expect("written");
    net.router().ip(&format!("-batch {}", batch.path().display()));
    let asked = Asked::start(&net, &[]);
    let mut held = Vec::new();
    for number in 0..24 {
        let mut stream = UnixStream::connect(asked.path()).expect("the socket");
        if number % 2 == 0 {
            // An answer that does not fit into a socket.
            stream.write_all(b"{\"ask\":\"routes\",\"limit\":10000}\n").expect("asked");
        }
        held.push(stream);
    }
    assert_eq!(ping(net.host("client"), "10.9.2.2", 100).answered, 100);
    // The loop follows the kernel all the while.
    net.router().ip("route add 10.77.0.0/16 via 10.9.2.2");
    let answer = asked.ask(&serde_json::json!({"ask": "routes", "prefix": "10.77.0.0/16"}));
    assert_eq!(answer["routes"]["routes"].as_array().map(Vec::len), Some(1), "{answer}");
    drop(held);
    asked.router.stop();
}

#[test]
fn scrapers_are_answered_by_http_and_whoever_is_slow_holds_up_nobody() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    net.router().ip("link set lo up");
    let asked = Asked::start(&net, &["--metrics", "127.0.0.1:9464"]);
    let connect =
        || net.router().inside(|| TcpStream::connect("127.0.0.1:9464")).expect("a scraper");
    let get = |request: &str| {
        let mut stream = connect();
        stream.write_all(request.as_bytes()).expect("asked");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        answer
    };
    let slow = connect();
    assert_eq!(ping(net.host("client"), "10.9.2.2", 10).answered, 10);
    let forwarded = asked.counters()["forwarded server"];
    let sample =
        format!("spine_router_forwarded_packets_total{{interface=\"server\"}} {forwarded}");
    let mut answer = String::new();
    wait_until("the sample", || {
        answer = get("GET /metrics HTTP/1.1\r\nHost: router\r\n\r\n");
        answer.lines().any(|line| line == sample)
    });
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("# EOF\n"), "{answer}");
    assert!(get("POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    assert!(get("GET /etc/passwd HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(get("hello\r\n\r\n").starts_with("HTTP/1.1 400 "));
    drop(slow);
    asked.router.stop();

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("metrics");
    let asked = Asked::start(&net, &["--metrics", &path.display().to_string()]);
    let mut stream = UnixStream::connect(&path).expect("the socket");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    asked.router.stop();
    assert!(!path.exists(), "a socket goes with its router");
}

/// What a capture shows: the packets of each interface by direction and comment.
fn shown(file: &Path) -> BTreeMap<String, u64> {
    let bytes = std::fs::File::open(file).expect("the capture");
    let mut reader = PcapNgReader::new(bytes).expect("pcapng");
    let mut names = Vec::new();
    let mut counts = BTreeMap::new();
    while let Some(block) = reader.next_block() {
        match block.expect("a block") {
            Block::InterfaceDescription(interface) => names.push(format!("{interface:?}")),
            Block::EnhancedPacket(packet) => {
                let name = &names[usize::try_from(packet.interface_id).expect("small")];
                let name = if name.contains("client") { "client" } else { "server" };
                let mut what = String::new();
                for option in &packet.options {
                    match option {
                        EnhancedPacketOption::Flags(1) => what.push_str(" in"),
                        EnhancedPacketOption::Flags(2) => what.push_str(" out"),
                        EnhancedPacketOption::Comment(text) => what.push_str(&format!(" {text}")),
                        _ => {}
                    }
                }
                *counts.entry(format!("{name}{what}")).or_default() += 1;
            }
            _ => {}
        }
    }
    counts
}

#[test]
fn a_capture_shows_what_is_received_sent_dropped_and_given_away_with_the_reason() {
    let _alone = need_namespaces!();
    let net = silent();
    let asked = Asked::start(&net, &[]);
    let port = Port::open(net.host("client"), "eth");
    let file = asked.folder.path().join("all.pcapng");
    let name = file.display().to_string();
    let mut capture = asked.running(&net, &["capture", "-w", &name], &asked.path());
    capture.wait_for("packets of client, server, third", PATIENCE);
    let second = asked.program(&net, &["capture", "-w", "/dev/null"]);
    assert!(second.stderr.contains("somebody else already"), "{}", second.stderr);
    let sent = [(PLAIN, 5), (to([10, 60, 1, 1]), 3), (Sent { length: 1401, ..PLAIN }, 2)];
    for (sent, count) in sent {
        for _ in 0..count {
            port.send(&sent.frame(net.link("client")));
        }
    }
    let expected: BTreeMap<String, u64> = [
        ("client in", 10),
        ("client in dropped: blackhole", 3),
        ("client in given to the kernel: too_big", 2),
        ("server out", 5),
    ]
    .into_iter()
    .map(|(what, count)| (what.to_owned(), count))
    .collect();
    // Live: what came is in the file before the capture ends.
    wait_until("the packets", || {
        std::fs::metadata(&file).is_ok_and(|file| file.len() > 500) && shown(&file) == expected
    });
    capture.signal(Signal::SIGINT);
    let finished = capture.finish(PATIENCE).expect_success("capture");
    assert!(finished.stderr.contains("20 packets, and 0 lost"), "{}", finished.stderr);
    assert_eq!(shown(&file), expected);

    // One interface alone, and a reader that has enough.
    let mut capture =
        asked.running(&net, &["capture", "--iface", "server", "-w", &name], &asked.path());
    capture.wait_for("packets of server", PATIENCE);
    for _ in 0..4 {
        port.send(&PLAIN.frame(net.link("client")));
    }
    let expected = BTreeMap::from([("server out".to_owned(), 4)]);
    wait_until("the packets", || {
        std::fs::metadata(&file).is_ok_and(|file| file.len() > 100) && shown(&file) == expected
    });
    asked.router.stop();
    capture.finish(PATIENCE).expect_success("a capture whose router ends");
}

#[test]
fn whoever_captures_and_does_not_read_costs_no_packet_and_is_told_what_he_missed() {
    /// More, at 1400 bytes, than the ring of an interface and the socket hold.
    const BURSTS: u64 = 110;
    const BURST: u64 = 64;
    let _alone = need_namespaces!();
    let net = silent();
    let asked = Asked::start(&net, &[]);
    let mut stream = UnixStream::connect(asked.path()).expect("the socket");
    stream.write_all(b"{\"ask\":\"capture\",\"interfaces\":[\"client\"]}\n").expect("asked");
    let mut from = BufReader::new(stream.try_clone().expect("the same"));
    let mut line = String::new();
    from.read_line(&mut line).expect("an answer");
    assert!(line.contains("client"), "{line}");

    let port = Port::open(net.host("client"), "eth");
    let frame = Sent { length: 1400, ..PLAIN }.frame(net.link("client"));
    let burst = vec![frame; usize::try_from(BURST).expect("small")];
    for number in 1..=BURSTS {
        port.send_burst(&burst);
        let mut forwarded = 0;
        wait_until("every packet of a burst", || {
            forwarded = asked.counters()["forwarded server"];
            forwarded >= number * BURST
        });
        assert_eq!(forwarded, number * BURST);
    }
    stream.shutdown(std::net::Shutdown::Write).expect("enough");
    let mut length = [0; 4];
    loop {
        from.read_exact(&mut length).expect("a piece");
        let length = u64::from(u32::from_le_bytes(length));
        if length == 0 {
            break;
        }
        let taken = std::io::copy(&mut from.by_ref().take(length), &mut std::io::sink());
        assert_eq!(taken.expect("a piece"), length);
    }
    line.clear();
    from.read_line(&mut line).expect("what it came to");
    let came: Value = serde_json::from_str(&line).expect("JSON");
    let (packets, missed) = (came["packets"].as_u64(), came["missed"].as_u64());
    assert!(missed > Some(0), "nothing was missed: {came}");
    assert_eq!(packets.zip(missed).map(|(shown, missed)| shown + missed), Some(BURSTS * BURST));

    // When he is gone there is room for the next, who goes without a word.
    let mut stream = UnixStream::connect(asked.path()).expect("the socket");
    wait_until("the next capture", || {
        stream = UnixStream::connect(asked.path()).expect("the socket");
        stream.write_all(b"{\"ask\":\"capture\"}\n").expect("asked");
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).expect("an answer");
        line.starts_with("{\"capture\":")
    });
    drop(stream);
    port.send_burst(&burst);
    wait_until("every packet of a burst", || {
        asked.counters()["forwarded server"] == (BURSTS + 1) * BURST
    });
    asked.router.stop();
}

#[test]
fn a_newcomer_with_a_firewall_of_many_rules_reads_in_ten_lines_what_is_taken_and_what_is_not() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let rules: String = (0..40)
        .map(|port| {
            let verdict = if port % 2 == 0 { "drop" } else { "accept" };
            format!("    udp dport {} counter {verdict}\n", 1000 + port)
        })
        .collect();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let table = format!(
        "table ip filter {{\n  chain forward {{\n    type filter hook forward priority 0;\n{rules}  }}\n}}\n"
    );
    std::fs::write(file.path(), table).expect("written");
    net.router().run(&format!("nft -f {}", file.path().display()));
    let asked = Asked::start(&net, &[]);
    let said = asked.router.said();
    let text = said.join("\n");
    assert!(said.len() <= 10, "{text}");
    assert!(said.iter().all(|line| line.len() < 2000), "{text}");
    for part in [
        "are forwarded by the adapters, except: ",
        "udp to port 1000 (nftables chain",
        "and ",
        " more",
        "2 of 2 routes",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    let coverage = asked.ask(&serde_json::json!({"ask": "coverage"}));
    let sets = coverage["coverage"]["sets"].as_array().map_or(0, Vec::len);
    assert!(sets >= 20, "all of them are shown: {coverage}");
    asked.router.stop();
}

#[test]
fn the_usual_place_is_the_namespaces_and_outlives_no_router() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let place = PathBuf::from(format!("/run/spine-router/{}.sock", net.router().name()));
    let interfaces = net.interfaces();
    let mut router = Router::start(net.router(), &interfaces);
    if !place.exists() {
        return spine_tests::need::say_skipped("the usual place", "/run is not ours");
    }
    let said = router.said().join("\n");
    assert!(router.said().len() <= 10, "a newcomer reads ten lines: {said}");
    for part in [
        "forwards on client (",
        " and server (",
        "of 2 routes",
        "capture",
        &place.display().to_string(),
    ] {
        assert!(said.contains(part), "{part:?} in {said}");
    }
    let program = router::binary().display().to_string();
    let show = |words: &str| net.router().try_run(&format!("{program} {words}"), PATIENCE);
    assert!(show("show").expect_success("show").stdout.contains("2 of 2 routes"));
    router.kill();
    assert!(place.exists(), "what is killed leaves its socket");
    assert!(!show("show").status.success());
    router = Router::start(net.router(), &interfaces);
    show("show").expect_success("show");
    router.stop();
    assert!(!place.exists());
}
