//! The module as it is loaded, in the real runtime, on a wire in memory.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use proptest::test_runner::{RngAlgorithm, TestRng};
use spine_abi::frame_buffer::{COMPLETE, Geometry, HEADER_BYTES, MAILBOX, counter, counters, slot};
use spine_abi::mailbox::{Reader, Word};
use spine_abi::{Endpoint, Message, Reason};
use spine_client::memory::Region;
use spine_client::signature::SecretKey;
use spine_io::dma::{FrameBuffer, Grant, Start};
use spine_io::{
    AdapterHandle, AdapterSetup, Budget, ExtensionId, Machine, RegionSource, TrustedKey,
};
use spine_nic::buffer::FrameMemory;
use spine_nic::loopback::{Loopback, Wire};
use spine_os::domain::Policy;
use spine_os::linker::Linker;
use spine_packets::frames;
use spine_video_extension::convert;
use spine_video_extension::protocol::{
    CONFIGURE, CONFIGURED, Colour, Counter, Format, REGION_BYTES, Stream, UNKNOWN_STREAM,
    counter_at,
};

const SOON: Duration = Duration::from_secs(10);
/// Every byte of a frame buffer that nobody has written.
const SENTINEL: u8 = 0xa5;
const COLOUR: Colour = Colour { bt709: true, full_range: false };
const PORT: u16 = 5004;

/// The linked module, and the linker whose images are taken. Linked once: compiling takes a while.
fn module() -> &'static (TrustedKey, Vec<u8>) {
    static MODULE: OnceLock<(TrustedKey, Vec<u8>)> = OnceLock::new();
    MODULE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../wasm-build");
        let path = spine_wasm_build::build("spine-video-extension", &folder).expect("it builds");
        let wasm = std::fs::read(path).expect("the module is there");
        let secret = SecretKey::generate().expect("randomness");
        let linker = Linker::new(secret, Policy::everything()).expect("a compiler");
        let key = TrustedKey::from_bytes(&linker.public().to_bytes()).expect("a key");
        (key, linker.link(&wasm).unwrap_or_else(|error| panic!("{error}")).into_bytes())
    })
}

/// The mailbox word of a region.
struct Mailbox<'a>(&'a Region);

impl Word for Mailbox<'_> {
    fn peek(&self) -> u32 {
        self.0.load_u32(MAILBOX).unwrap()
    }

    fn swap(&self, value: u32) -> u32 {
        // The adapter is quiet when a test looks.
        let old = self.peek();
        self.0.store_u32(MAILBOX, value).unwrap();
        old
    }
}

/// An adapter with the extension and one stream, whose window has a few bytes between its lines.
struct Rig {
    machine: Machine,
    extension: ExtensionId,
    wire: Wire,
    counters: Region,
    buffer: Region,
    geometry: Geometry,
    reader: Reader,
    sent: u64,
}

impl Rig {
    fn new(format: Format, width: u16, height: u16) -> Self {
        let (key, image) = module();
        let (memory, mut dealt) = FrameMemory::anonymous(512, 4096, 1).unwrap();
        let (nic, wire) = Loopback::wire("loop", Arc::clone(&memory), 256).unwrap();
        let setup =
            AdapterSetup::new(Box::new(nic.stamped(format.handler())), dealt.pop().unwrap());
        let machine = Machine::start(vec![setup], &memory, &[None], *key).unwrap();
        let counters = Region::create("counters", REGION_BYTES).unwrap();
        let source = RegionSource { file: fd(&counters), bytes: REGION_BYTES };
        let budget = Budget { message: 100_000, entry: 3_200_000, strikes: 1 };
        let extension = machine.adapters()[0].load(image, vec![source], budget).unwrap();
        let (wide, high) = (u32::from(width), u32::from(height));
        let geometry = Geometry::new(1, 3, (wide, high), 4 * wide + 32, 4).unwrap();
        let buffer = Region::create("window", geometry.bytes()).unwrap();
        let mut rig = Self {
            machine,
            extension,
            wire,
            counters,
            buffer,
            geometry,
            reader: Reader::new(3),
            sent: 0,
        };
        rig.begin(format, width, height);
        rig
    }

    fn adapter(&self) -> &AdapterHandle {
        &self.machine.adapters()[0]
    }

    /// Grants the window and configures the stream.
    fn begin(&mut self, format: Format, width: u16, height: u16) {
        let buffer =
            FrameBuffer { file: fd(&self.buffer), geometry: self.geometry, doorbell: None };
        let rectangle = self.geometry.whole();
        let grant = Grant { window: 2, buffer, rectangle, start: Start::NextFrame };
        self.adapter().grant(self.extension, grant).unwrap().wait(SOON).unwrap();
        let sentinels = vec![SENTINEL; self.geometry.bytes() - HEADER_BYTES];
        self.buffer.write(HEADER_BYTES, &sentinels).unwrap();
        let stream = Stream {
            index: 2,
            format: Some(format),
            colour: COLOUR,
            payload_type: 96,
            port: PORT,
            destination: [0; 4],
            source: [0; 4],
            width,
            height,
            generation: 7,
        };
        self.adapter().send(Message::small(CONFIGURE, Endpoint::Host, &stream.to_bytes())).unwrap();
        let answer = self.adapter().receive(SOON).expect("an answer");
        assert_eq!(
            (answer.header().handler, answer.arguments()),
            (CONFIGURED, &stream.to_bytes()[..])
        );
    }

    fn send(&mut self, packet: &[u8]) {
        let end = Instant::now() + SOON;
        while !self.wire.inject(packet) {
            assert!(Instant::now() < end, "no room on the wire");
            std::thread::yield_now();
        }
        self.sent += 1;
        if self.sent.is_multiple_of(64) {
            self.settle();
        }
    }

    /// Waits until the extension has had every packet.
    fn settle(&self) {
        let end = Instant::now() + SOON;
        // The stream's configuration is a message, too.
        while self.adapter().statistics().unwrap().counters.handled < self.sent + 1 {
            assert!(Instant::now() < end, "the adapter does not keep up");
            std::thread::yield_now();
        }
    }

    fn take(&mut self) -> bool {
        self.settle();
        self.reader.take(&Mailbox(&self.buffer))
    }

    /// The pixels of the frame taken last, without what is between the lines.
    fn picture(&self) -> Vec<u8> {
        let start = self.geometry.pixels(self.reader.front());
        let lines = 0..self.geometry.height() as usize;
        let mut line = vec![0; self.geometry.width() as usize * 4];
        lines
            .flat_map(|number| {
                let at = start + number * self.geometry.stride() as usize;
                self.buffer.read(at, &mut line).unwrap();
                line.clone()
            })
            .collect()
    }

    fn head(&self, field: usize) -> u32 {
        let at = self.geometry.slot_header(self.reader.front()) + field;
        self.buffer.load_u32(at).unwrap()
    }

    fn count(&self, counter: Counter) -> u64 {
        self.counters.load_u64(counter_at(2, counter)).unwrap()
    }

    fn frames(&self, which: usize) -> u64 {
        self.buffer.load_u64(counters(2) + which).unwrap()
    }

    /// Offsets that are written though they belong to no pixel and no header.
    fn strays(&self) -> Vec<usize> {
        let mut bytes = vec![0; self.geometry.bytes()];
        self.buffer.read(0, &mut bytes).unwrap();
        let geometry = self.geometry;
        let (stride, used) = (geometry.stride() as usize, geometry.width() as usize * 4);
        let allowed = |at: usize| {
            (0..3).any(|slot| {
                let header = geometry.slot_header(slot);
                match at.checked_sub(geometry.pixels(slot)) {
                    Some(inside) => inside < geometry.pixel_bytes() && inside % stride < used,
                    None => (header..header + 64).contains(&at),
                }
            })
        };
        let written = bytes.iter().enumerate().skip(HEADER_BYTES);
        written.filter(|(at, byte)| **byte != SENTINEL && !allowed(*at)).map(|(at, _)| at).collect()
    }
}

fn fd(region: &Region) -> OwnedFd {
    region.file().try_clone().unwrap().into()
}

fn random(seed: u8) -> impl FnMut(usize) -> Vec<u8> {
    use proptest::prelude::Rng;

    let mut source = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    move |length| {
        let mut bytes = vec![0; length];
        source.fill_bytes(&mut bytes);
        bytes
    }
}

/// A frame's pixels as packets of at most `most` bytes of them, lines following each other without regard
/// to where packets end: as the senders people have do it.
fn packets(
    format: Format,
    width: u16,
    frame: &[u8],
    most: usize,
    first: u16,
    time: u32,
) -> Vec<Vec<u8>> {
    let (group, pixels) = format.group();
    let (group, pixels) = (usize::from(group), usize::from(pixels));
    let line_bytes = usize::from(width) / pixels * group;
    let most = most / group * group;
    let count = frame.len().div_ceil(most);
    let piece = |(index, data): (usize, &[u8])| {
        let mut headers = Vec::new();
        let (mut at, end) = (index * most, index * most + data.len());
        while at < end {
            let (line, byte) = (at / line_bytes, at % line_bytes);
            let length = (line_bytes - byte).min(end - at);
            at += length;
            let more = u16::from(at < end) << 15;
            headers.extend(u16::try_from(length).unwrap().to_be_bytes());
            headers.extend(u16::try_from(line).unwrap().to_be_bytes());
            headers.extend((u16::try_from(byte / group * pixels).unwrap() | more).to_be_bytes());
        }
        let sequence = first.wrapping_add(u16::try_from(index).unwrap());
        packet(sequence, time, index + 1 == count, &[&headers[..], data].concat())
    };
    frame.chunks(most).enumerate().map(piece).collect()
}

/// A packet of the stream around line headers and data.
fn packet(sequence: u16, time: u32, marker: bool, payload: &[u8]) -> Vec<u8> {
    let mut rtp = vec![0x80, 96 | u8::from(marker) << 7];
    rtp.extend(sequence.to_be_bytes());
    rtp.extend(time.to_be_bytes());
    rtp.extend([1, 2, 3, 4, 0, 0]);
    rtp.extend(payload);
    let from = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 40_000);
    let to = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), PORT);
    frames::udp([[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]], [from, to], &rtp)
}

/// What a frame of the wire's pixels should be on the screen, by the same functions compiled for the host.
fn expected(format: Format, frame: &[u8]) -> Vec<u8> {
    let (group, pixels) = format.group();
    let length = frame.len() / usize::from(group) * usize::from(pixels) * 4;
    let scratch = spine_sdk::testing::region(length + convert::BLOCK_BYTES);
    match format {
        Format::Bgra => return frame.to_vec(),
        Format::Rgb => convert::rgb(frame, scratch, 0),
        Format::Uyvy => convert::uyvy(frame, scratch, 0, COLOUR),
        Format::Uyvp => convert::uyvp(frame, scratch, 0, COLOUR),
    }
    (0..length).map(|at| scratch.u8_at(at)).collect()
}

#[test]
fn frames_of_every_format_arrive_as_they_were_sent() {
    const WIDTH: u16 = 90;
    const HEIGHT: u16 = 24;
    for format in Format::ALL {
        let mut rig = Rig::new(format, WIDTH, HEIGHT);
        let mut random = random(1);
        let (group, pixels) = format.group();
        let bytes = usize::from(WIDTH / pixels * group) * usize::from(HEIGHT);
        let mut sequence = 65_500_u16;
        // From one line in a packet to many: past what the first handler sees.
        for (number, most) in (1..).zip([100, 500, 1380, 2500]) {
            let frame = random(bytes);
            let mut sent = packets(format, WIDTH, &frame, most, sequence, 3000 * number);
            sequence = sequence.wrapping_add(u16::try_from(sent.len()).unwrap());
            // In another order each time.
            let middle = sent.len() * number as usize / 5;
            sent.rotate_left(middle);
            sent.iter().for_each(|packet| rig.send(packet));
            assert!(rig.take(), "{format:?}, {most} bytes a packet");
            assert!(rig.picture() == expected(format, &frame), "{format:?}, {most} bytes a packet");
            assert_eq!(rig.head(slot::FLAGS), COMPLETE);
            assert_eq!(rig.head(slot::TAG), 3000 * number);
        }
        assert_eq!(rig.frames(counter::COMPLETE), 4, "{format:?}");
        assert_eq!(rig.count(Counter::Lost) + rig.count(Counter::Late), 0, "{format:?}");
        assert_eq!(rig.count(Counter::Packets), rig.sent);
        assert_eq!(rig.strays(), Vec::<usize>::new(), "{format:?}");
        let counters = rig.adapter().statistics().unwrap().counters;
        assert_eq!((counters.strikes, counters.dropped.total()), (0, 0), "{format:?}");
        println!("{format:?}: {} fuel a packet", counters.fuel / counters.handled);
    }
}

#[test]
fn frames_that_lost_a_packet_are_not_shown_and_the_next_ones_are() {
    let (width, height) = (64, 16);
    let mut rig = Rig::new(Format::Bgra, width, height);
    let mut random = random(2);
    let mut sequence = 0_u16;
    for number in 1..=40_u32 {
        let frame = random(usize::from(width) * usize::from(height) * 4);
        let sent = packets(Format::Bgra, width, &frame, 700, sequence, 3000 * number);
        sequence += u16::try_from(sent.len()).unwrap();
        let lost = if number % 4 == 0 { number as usize / 4 % sent.len() } else { usize::MAX };
        for (index, packet) in sent.iter().enumerate() {
            if index != lost {
                rig.send(packet);
            }
        }
        let shown = rig.take();
        assert_eq!(shown, number % 4 != 0, "frame {number}");
        assert!(!shown || rig.picture() == frame, "frame {number}");
    }
    rig.send(&packet(sequence, 3000 * 41, false, &[0, 4, 0, 0, 0, 0, 1, 2, 3, 4]));
    rig.settle();
    assert_eq!(rig.frames(counter::COMPLETE), 30);
    assert_eq!((rig.frames(counter::INCOMPLETE), rig.frames(counter::DROPPED)), (10, 10));
    assert_eq!(rig.count(Counter::Lost), 10);
}

#[test]
fn no_packet_however_wrong_writes_outside_stops_the_handler_or_goes_uncounted() {
    let (width, height) = (32, 8);
    for (seed, format) in (3..).zip(Format::ALL) {
        let mut rig = Rig::new(format, width, height);
        let mut random = random(seed);
        let (group, pixels) = format.group();
        let bytes = usize::from(width / pixels * group) * usize::from(height);
        let frame = random(bytes);
        for round in 0..400_u32 {
            let first = u16::try_from(round % 60_000).unwrap() * 7;
            for mut packet in packets(format, width, &frame, 150, first, round * 3000) {
                // Twenty frames as they were, so that the stream recovers; of twenty a few bytes of each
                // packet, or its end, are anything.
                if round / 20 % 2 == 1 {
                    rig.send(&packet);
                    continue;
                }
                let [how_many, cut, ..] = random(2)[..] else { unreachable!() };
                for _ in 0..how_many % 5 {
                    let [high, low, value] = random(3)[..] else { unreachable!() };
                    let at = usize::from(u16::from_be_bytes([high, low])) % packet.len();
                    // Mostly in the headers.
                    let at = if high & 3 == 0 { at } else { 42 + at % 40 };
                    if let Some(byte) = packet.get_mut(at) {
                        *byte = value;
                    }
                }
                if cut < 20 {
                    packet.truncate(packet.len() - usize::from(cut));
                }
                rig.send(&packet);
            }
            if round % 40 == 0 {
                rig.take();
            }
        }
        rig.settle();
        assert_eq!(rig.strays(), Vec::<usize>::new(), "{format:?}");
        let counters = rig.adapter().statistics().unwrap().counters;
        assert_eq!(counters.strikes, 0, "{format:?}");
        assert_eq!(counters.dropped.get(Reason::BadVerdict), 0, "{format:?}");
        let refused = rig.counters.load_u64(UNKNOWN_STREAM).unwrap();
        assert_eq!(rig.count(Counter::Packets) + refused, rig.sent, "{format:?}");
        let useless = [
            Counter::WrongPayloadType,
            Counter::WrongSsrc,
            Counter::Malformed,
            Counter::Late,
            Counter::Duplicate,
        ];
        // The mutations reach what they are meant to reach.
        for counter in useless {
            assert!(rig.count(counter) > 0, "{format:?}: no packet was {}", counter.name());
        }
        assert!(rig.frames(counter::COMPLETE) > 0, "{format:?}: nothing was shown at all");
    }
}
