//! Replacing an extension under load: not a packet is lost, and what the region holds goes on.

use std::collections::BTreeSet;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use spine_client::memory::Region;
use spine_client::{Client, Load};
use spine_tests::daemon::{ANSWER, ASK, Daemon, echo};
use spine_tests::{Topology, need_namespaces};

/// Packets a second: what the sender, the echo and a busy machine can all carry.
const RATE: u32 = 1000;

/// Asks an echo extension: its version, and how often it was asked.
fn ask(client: &mut Client, extension: u64) -> (u8, u32) {
    let answer = client.ask(extension, ASK.0, &[], ANSWER, Duration::from_secs(5));
    let answer = answer.unwrap_or_else(|error| panic!("{error}"));
    let count = answer.get(1..5).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes);
    (answer[0], count.expect("five bytes"))
}

/// Numbered packets, sent at a steady rate until told to stop, then their echoes.
struct Stream {
    sent: AtomicU32,
    stop: AtomicBool,
}

impl Stream {
    fn send(&self, socket: &UdpSocket) {
        let start = Instant::now();
        while !self.stop.load(Ordering::Acquire) {
            let number = self.sent.load(Ordering::Relaxed);
            let due = start + Duration::from_secs(1) * number / RATE;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            socket.send(&number.to_le_bytes()).expect("sent");
            self.sent.store(number + 1, Ordering::Release);
        }
    }

    fn collect(&self, socket: &UdpSocket) -> BTreeSet<u32> {
        socket.set_read_timeout(Some(Duration::from_secs(1))).expect("set");
        let mut heard = BTreeSet::new();
        let mut bytes = [0; 16];
        loop {
            match socket.recv(&mut bytes) {
                Ok(4) => assert!(
                    heard.insert(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
                ),
                Ok(length) => panic!("{length} bytes"),
                Err(_) if self.stop.load(Ordering::Acquire) => return heard,
                Err(_) => {}
            }
        }
    }
}

#[test]
fn a_replaced_extension_loses_no_packet_and_hands_its_region_over() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let mut client = daemon.client();
    let region = Region::create("count", 65536).expect("a region");
    let load = Load {
        interface: "client".to_owned(),
        prefixes: vec!["10.9.77.0/24".parse().expect("a prefix")],
        ..Load::default()
    };
    let number = client.load(&load, &echo(1, 1), &[&region]).expect("loaded").number;
    assert_eq!(ask(&mut client, number), (1, 1));

    let socket = net.host("client").inside(|| {
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        socket.connect("10.9.77.1:7777").expect("connected");
        socket
    });
    let stream = Stream { sent: AtomicU32::new(0), stop: AtomicBool::new(false) };
    let heard = std::thread::scope(|scope| {
        let collector = scope.spawn(|| stream.collect(&socket));
        scope.spawn(|| stream.send(&socket));
        for version in 2..=6 {
            let before = stream.sent.load(Ordering::Acquire);
            let now = client.replace(number, &echo(version, 1), None).expect("replaced");
            assert_eq!((now.number, now.version), (number, u32::from(version)));
            // The count is in the region, so it goes on; the version is in the code, so it does not.
            assert_eq!(ask(&mut client, number), (version, u32::from(version)));
            let during = stream.sent.load(Ordering::Acquire) - before;
            assert!(during > 0, "packets flowed while version {version} came");
            std::thread::sleep(Duration::from_millis(200));
        }
        stream.stop.store(true, Ordering::Release);
        collector.join().expect("collected")
    });
    assert_eq!(region.load_u32(0), Ok(6), "the application sees the same region");
    let sent = stream.sent.load(Ordering::Acquire);
    let lost: Vec<u32> = (0..sent).filter(|number| !heard.contains(number)).collect();
    let statistics = client.statistics("client").expect("statistics");
    assert!(sent > RATE, "{sent} packets");
    assert!(lost.is_empty(), "{} of {sent} lost: {lost:?}\n{statistics:?}", lost.len());
}

#[test]
fn a_replacement_that_does_not_fit_leaves_the_old_version_running() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let daemon = Daemon::start(net.router(), &["client", "server"]);
    let mut client = daemon.client();
    let load = Load { interface: "client".to_owned(), ..Load::default() };
    let number = client.load(&load, &echo(1, 0), &[]).expect("loaded").number;
    for (module, sentence) in [
        (echo(2, 1), "wants 1 regions and is given 0"),
        (b"nonsense".to_vec(), "not a WebAssembly module"),
    ] {
        let error = client.replace(number, &module, None).expect_err("refused").to_string();
        assert!(error.contains(sentence), "{error}");
    }
    let error = client.replace(number + 1, &echo(2, 0), None).expect_err("refused").to_string();
    assert!(error.contains("there is no extension"), "{error}");
    assert_eq!(ask(&mut client, number).0, 1);
    let file = daemon.file("echo-2.wasm", &echo(2, 0));
    let replaced = daemon.ctl(&["replace", &number.to_string(), &file.to_string_lossy()]);
    assert_eq!(
        replaced.expect_success("replace").stdout.trim(),
        format!("{number} is echo version 2")
    );
    assert_eq!(ask(&mut client, number).0, 2);
}
