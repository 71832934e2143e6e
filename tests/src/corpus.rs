//! The corpus of mutated packets, and what a router makes of it.
//!
//! `tests/corpus/make.py` writes the packets. Each is sent to a router, and what leaves the router is
//! recorded at its other interfaces as IP packets (a kernel trims Ethernet padding when it forwards, so
//! frames cannot be compared). Left out is what the router itself says: packets with a source address of
//! its own, which no packet that it forwards can have.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use pcap_file::pcap::PcapReader;

use crate::packet::{self, Port, Received, Udp};
use crate::process::Running;
use crate::topology::Topology;

/// Packets between two waits for a marker: below every queue on the way, so that nothing is lost there.
const WINDOW: usize = 32;

/// Frames to send, in order, and what they are.
#[derive(Debug)]
pub struct Corpus {
    frames: Vec<Vec<u8>>,
    cases: Vec<String>,
}

/// What left the router: how often each IP packet did, by the host it came to.
pub type Outcome = BTreeMap<(&'static str, Vec<u8>), usize>;

impl Corpus {
    /// Makes a corpus of `count` packets.
    pub fn make(count: u32, seed: u32) -> Self {
        let folder = tempfile::tempdir().expect("a folder for temporary files");
        let file = folder.path().join("corpus.pcap");
        let mut command = Command::new("/usr/bin/python3");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus/make.py")).arg(&file).args([
            "--count",
            &count.to_string(),
            "--seed",
            &seed.to_string(),
        ]);
        Running::start(command)
            .finish(Duration::from_secs(120))
            .expect_success("corpus/make.py (it needs the Debian package python3-scapy)");
        Self::read(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    fn read(path: &Path) -> Result<Self, Box<dyn Error>> {
        let mut reader = PcapReader::new(BufReader::new(File::open(path)?))?;
        let mut frames = Vec::new();
        while let Some(packet) = reader.next_packet() {
            frames.push(packet?.data.into_owned());
        }
        let cases = std::fs::read_to_string(path.with_extension("pcap.cases"))?;
        Ok(Self { frames, cases: cases.lines().map(str::to_owned).collect() })
    }

    /// How many packets a run sends: the corpus, and a marker after each window.
    pub fn packets_sent(&self) -> usize {
        self.frames.len() + self.frames.len().div_ceil(WINDOW)
    }

    /// Sends it all from `client` through the router, and records what comes out at all hosts.
    pub fn through(&self, net: &Topology) -> Outcome {
        let done = AtomicBool::new(false);
        let sender = Port::open(net.host("client"), "eth");
        let markers = Port::open(net.host("server"), "eth");
        let own: Vec<Ipv4Addr> = net
            .interfaces()
            .iter()
            .filter_map(|host| net.link(host).router_address().parse().ok())
            .collect();
        std::thread::scope(|scope| {
            let collectors: Vec<_> = net
                .interfaces()
                .into_iter()
                .map(|host| {
                    let port = Port::open(net.host(host), "eth");
                    let done = &done;
                    (host, scope.spawn(move || port.collect_until(done)))
                })
                .collect();
            self.send(net, &sender, &markers);
            done.store(true, Ordering::Release);
            let mut outcome = Outcome::new();
            for (host, collector) in collectors {
                let frames = collector.join().expect("a collector does not panic");
                for packet in frames.iter().filter_map(|received| forwarded(received, &own)) {
                    *outcome.entry((host, packet)).or_default() += 1;
                }
            }
            outcome
        })
    }

    fn send(&self, net: &Topology, sender: &Port, markers: &Port) {
        let client = net.link("client");
        let server: Ipv4Addr =
            net.link("server").host_address().parse().expect("an address of the topology");
        for (number, window) in self.frames.chunks(WINDOW).enumerate() {
            for frame in window {
                sender.send(frame);
            }
            let number = u32::try_from(number).expect("fewer than 2^32 windows");
            let marker = Udp {
                to_mac: client.router_mac(),
                from_mac: client.host_mac(),
                from: Ipv4Addr::new(10, 9, client.net, 2),
                to: server,
                ttl: 64,
                keep_whole: true,
                payload: &packet::numbered(number),
            };
            sender.send(&marker.frame());
            wait_for_marker(markers, number);
        }
    }

    /// Says in which cases two outcomes differ, with one example of each; empty if they agree.
    pub fn differences(&self, expected: &Outcome, found: &Outcome) -> Vec<String> {
        let mut examples = BTreeMap::new();
        let packets = expected.keys().chain(found.keys());
        for key @ (host, packet) in packets {
            let (want, have) = (expected.get(key).unwrap_or(&0), found.get(key).unwrap_or(&0));
            if want != have {
                let case = self.case_of(packet);
                let entry = examples.entry(case).or_insert_with(|| {
                    (0, format!("at {host}: expected {want}, found {have}: {}", dump(packet)))
                });
                entry.0 += 1;
            }
        }
        examples
            .into_iter()
            .map(|(case, (count, example))| format!("{case}: {count} packets differ, as {example}"))
            .collect()
    }

    /// How many packets of each case are in an outcome.
    pub fn by_case<'a>(&'a self, outcome: &Outcome) -> BTreeMap<&'a str, usize> {
        let mut counts: BTreeMap<&str, usize> =
            self.cases.iter().map(|case| (case.as_str(), 0)).collect();
        for ((_, packet), count) in outcome {
            *counts.entry(self.case_of(packet)).or_default() += count;
        }
        counts
    }

    /// The case of a packet, from the number in its mark.
    fn case_of(&self, packet: &[u8]) -> &str {
        const MARK: &[u8] = b"spin";
        packet
            .windows(MARK.len() + 4)
            .rev()
            .find_map(|bytes| bytes.strip_prefix(MARK)?.try_into().ok())
            .and_then(|number| usize::try_from(u32::from_be_bytes(number)).ok())
            .and_then(|number| self.cases.get(number % self.cases.len()))
            .map_or("(mark lost)", String::as_str)
    }
}

/// The IP packet in a frame that a router passed on; `None` for markers and what the router itself said.
fn forwarded(received: &Received, own: &[Ipv4Addr]) -> Option<Vec<u8>> {
    let frame = &received.frame;
    if packet::sequence(frame).is_some() || own.contains(&packet::source(frame)?) {
        return None;
    }
    packet::ip_packet(frame).map(<[u8]>::to_vec)
}

fn wait_for_marker(markers: &Port, number: u32) {
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline {
        if markers.receive().is_some_and(|got| packet::sequence(&got.frame) == Some(number)) {
            return;
        }
    }
    panic!(
        "a plain packet, sent after packet {} of the corpus, did not arrive within 2 s",
        usize::try_from(number).unwrap_or_default() * WINDOW
    );
}

fn dump(packet: &[u8]) -> String {
    let shown: String = packet.iter().take(60).map(|byte| format!("{byte:02x}")).collect();
    format!("{} bytes {shown}", packet.len())
}
