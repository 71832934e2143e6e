//! Wrong packets by wire: none writes outside of what was granted, stops a handler, or goes uncounted.
//!
//! `SPINE_VIDEO_FUZZ_PACKETS` says how many (100,000 if it does not), `SPINE_VIDEO_FUZZ_SEED` which.

mod memory;
mod mutate;

use std::time::{Duration, Instant};

use spine_tests::packet::{Port, Udp};
use spine_tests::video::{Display, Receiver, Statistics, send};
use spine_tests::{Namespace, Topology, need_namespaces, need_programs};
use spine_video_extension::protocol::Counter;
use spine_video_packets::format::{Format, Size};
use spine_video_packets::packets::{Packetiser, Packets};

use self::memory::Guarded;
use self::mutate::{RTP, Random, mutate};
use crate::video::screen::ask;
use crate::video::{ADDRESS, INTERFACE, SENDER, net};

/// Packets a second: far below what the adapter takes, so that a moment without a processor loses none.
const RATE: u32 = 60_000;
/// Packets until it gets better or worse.
const PHASE: u64 = 2048;
/// Packets of one system call.
const BURST: usize = 64;
/// Pictures small enough that their lines come often, none a whole number of pages.
const STREAMS: [(u16, Format, &str); 4] = [
    (5004, Format::Bgra, "90x25"),
    (5006, Format::Rgb, "71x30"),
    (5008, Format::Uyvy, "90x24"),
    (5010, Format::Uyvp, "62x40"),
];

fn number(variable: &str, default: u64) -> u64 {
    let text = std::env::var(variable).ok();
    text.map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable}: {text:?}")))
}

/// One stream's packets without an end, some of them wrong.
struct Source {
    port: u16,
    format: Format,
    size: Size,
    packetiser: Packetiser,
    picture: Vec<u8>,
    packets: Packets,
    next: usize,
    timestamp: u32,
}

impl Source {
    fn new((port, format, size): (u16, Format, &str), most: usize) -> Self {
        let size: Size = size.parse().expect("a size");
        Self {
            port,
            format,
            size,
            packetiser: Packetiser::new(format, size, most, 0x5150_4945, 0),
            picture: (0..=255).cycle().take(format.picture_bytes(size)).collect(),
            packets: Packets::default(),
            next: 0,
            timestamp: 0,
        }
    }

    /// The next packet as it should be, in an Ethernet frame.
    fn next(&mut self, net: &Topology) -> Vec<u8> {
        if self.next == self.packets.len() {
            self.timestamp = self.timestamp.wrapping_add(3000);
            self.packetiser.pack(&self.picture, self.timestamp, &mut self.packets);
            self.next = 0;
        }
        let link = net.link(INTERFACE);
        let udp = Udp {
            to_mac: link.router_mac(),
            from_mac: link.host_mac(),
            from: SENDER.parse().expect("an address"),
            to: ADDRESS.parse().expect("an address"),
            ttl: 64,
            keep_whole: true,
            payload: self.packets.get(self.next),
        };
        self.next += 1;
        let mut frame = udp.frame();
        frame[RTP - 6..RTP - 4].copy_from_slice(&self.port.to_be_bytes());
        frame
    }

    fn option(&self) -> String {
        format!("--stream {}:{}:{}", self.port, self.format, self.size)
    }
}

fn sources() -> Vec<Source> {
    // From one line in a packet to many.
    STREAMS
        .into_iter()
        .zip([150, 420, 900, 1400])
        .map(|(stream, most)| Source::new(stream, most))
        .collect()
}

/// Sends `count` packets of all sources in turn, evenly paced. Half of the time seven of ten are wrong, half of
/// the time none, so that streams recover and every state is met.
fn attack(net: &Topology, sources: &mut [Source], count: u64, seed: u64) {
    let port = Port::open(net.host(INTERFACE), "eth");
    let mut random = Random::new(seed);
    let (start, mut sent) = (Instant::now(), 0);
    let mut before = Vec::new();
    while sent < count {
        let burst = usize::try_from(count - sent).unwrap_or(BURST).min(BURST);
        let frames: Vec<Vec<u8>> = (0..burst)
            .map(|_| {
                let which = random.below(sources.len());
                let mut frame = sources[which].next(net);
                if (sent / PHASE).is_multiple_of(2) {
                    match random.below(10) {
                        0..7 => mutate(&mut frame, &mut random),
                        // One that came before, late.
                        7 if !before.is_empty() => frame.clone_from(&before),
                        _ => {}
                    }
                }
                if random.below(50) == 0 {
                    before.clone_from(&frame);
                }
                frame
            })
            .collect();
        port.send_burst(&frames);
        sent += burst as u64;
        let due = Duration::from_secs(sent) / RATE;
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
}

/// What the sender's interface gave to the wire, and what found no room there.
fn on_the_wire(sender: &Namespace) -> u64 {
    sender.interface_counter("eth", "tx_packets")
}

/// Every packet the interface saw is in exactly one count.
fn check_accounts(received: &Statistics, on_wire: u64) {
    let seen: u64 = received.counts("classifier").values().sum();
    assert_eq!(seen, on_wire, "the classifier saw what was sent: {received:?}");
    let claimed = received.counts("classifier").get("claimed").copied().unwrap_or(0);
    let (packets, unknown) = (received.count("packets"), received.count("packets_unknown"));
    let lost = received.count("adapter_lost");
    assert_eq!(packets + unknown + lost, claimed, "{received:?}");
    for stream in received.streams() {
        let fates = Counter::FATES.iter().map(|fate| stream.count(fate.name()));
        assert_eq!(fates.sum::<u64>(), stream.count("packets"), "{stream:?}");
    }
}

#[test]
fn no_packet_by_wire_writes_outside_stops_a_handler_or_goes_uncounted() {
    let _alone = need_namespaces!();
    let (count, seed) =
        (number("SPINE_VIDEO_FUZZ_PACKETS", 100_000), number("SPINE_VIDEO_FUZZ_SEED", 1));
    let (net, mut sources) = (net(), sources());
    let streams: Vec<String> = sources.iter().map(Source::option).collect();
    let before = on_the_wire(net.host(INTERFACE));
    let receiver =
        Receiver::headless(net.router(), &format!("--iface {INTERFACE} {}", streams.join(" ")));
    let process = receiver.running().pid();
    let guarded: Vec<Guarded> =
        memory::files(process, "spine:video-frames").into_iter().map(Guarded::new).collect();
    assert_eq!(guarded.len(), STREAMS.len());
    attack(&net, &mut sources, count, seed);
    std::thread::sleep(Duration::from_millis(300));
    let sent = on_the_wire(net.host(INTERFACE)) - before;
    let received = receiver.stop();
    guarded.iter().for_each(Guarded::check);
    check_accounts(&received, sent);
    assert_eq!(received.count("handlers_stopped"), 0, "{received:?}");
    for stream in received.streams() {
        assert!(stream.count("frames_complete") > 10, "nothing was shown: {stream:?}");
        // The mutations reach what they are meant to reach; of these two nothing was said on the command line.
        let not_asked = [Counter::WrongSource, Counter::WrongPayloadType];
        for fate in Counter::FATES.iter().filter(|fate| !not_asked.contains(fate)) {
            assert!(stream.count(fate.name()) > 0, "no packet was {}: {stream:?}", fate.name());
        }
    }
    println!("{sent} packets of {count} on the wire, seed {seed}: {received:?}");
}

#[test]
fn no_packet_by_wire_writes_outside_of_a_lease_on_a_screen() {
    let _alone = need_namespaces!();
    need_programs!("Xvfb");
    let (net, mut sources) = (net(), sources());
    let folder = tempfile::tempdir().expect("a folder");
    let (display, control) = (Display::start(400, 300), folder.path().join("control"));
    let streams: Vec<String> = sources.iter().map(Source::option).collect();
    let options = format!(
        "--iface {INTERFACE} {} --screen 400x300 --control {}",
        streams.join(" "),
        control.display()
    );
    let receiver = Receiver::on_display(net.router(), &display, &options);
    // Apart from each other, with the desktop on all sides.
    for (video, place) in [(3, "220 170"), (2, "40 150"), (1, "200 30"), (0, "20 20")] {
        assert_eq!(ask(&control, &format!("move {video} {place}")), "ok");
    }
    for seed in 1..=4 {
        attack(&net, &mut sources, 10_000, seed);
        assert_eq!(ask(&control, "strays"), "0");
    }
    // All four are still received.
    for source in &sources {
        let Source { port, format, size, .. } = source;
        let options = format!(
            "test-pattern --to {ADDRESS}:{port} --format {format} --size {size} --fps 30 --count 20"
        );
        send(net.host(INTERFACE), &options);
    }
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(ask(&control, "strays"), "0");
    let received = receiver.stop();
    assert_eq!(received.count("handlers_stopped"), 0, "{received:?}");
    for stream in received.streams() {
        assert!(stream.count("frames_complete") > 10, "{stream:?}");
    }
}
