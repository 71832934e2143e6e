//! Video packets (RTP, RFC 4175) through the video extension as it is loaded, in the real runtime on a wire
//! in memory, into windows with sentinels around every line.
//!
//! An input is a sequence of packets: a byte that says for which stream, or that the packet is a whole
//! Ethernet frame; two bytes of length; the bytes. What is checked after each input: nothing was written
//! outside of the lines, no handler was stopped, and every packet is in exactly one count.
//!
//! There is no compiler here, which a sanitizer would take half an hour for: the extension comes linked, from
//! whoever says [`use_extension`] or in the file that `SPINE_FUZZ_VIDEO_IMAGE` names (the program `link-video` of
//! `spine-tests` writes it).

use std::cell::RefCell;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use spine_abi::frame_buffer::{Geometry, HEADER_BYTES, MAILBOX};
use spine_abi::mailbox::{Reader, Word};
use spine_abi::{Endpoint, Message, Nanos};
use spine_headers::{ethernet, ipv4, udp};
use spine_io::dma::{FrameBuffer, Grant, Start};
use spine_io::runtime::Adapter;
use spine_io::{
    AdapterHandle, AdapterSetup, Budget, ExtensionId, Machine, RegionSource, TrustedKey,
};
use spine_nic::buffer::FrameMemory;
use spine_nic::loopback::{Loopback, Wire};
use spine_packets::frames;
use spine_video_extension::protocol::{
    BLIT, CONFIGURE, Colour, Counter, Format, REGION_BYTES, Stream, UNKNOWN_STREAM, counter_at,
};

/// Where the linked extension is.
const IMAGE: &str = "SPINE_FUZZ_VIDEO_IMAGE";
/// The linker's public key, 32 bytes, and the image.
static EXTENSION: OnceLock<Vec<u8>> = OnceLock::new();

/// Says which extension it is: the linker's public key, 32 bytes, and the image. To be said before the first
/// input; what is said later is not heard.
pub fn use_extension(key_and_image: Vec<u8>) {
    // Whoever was first is heard.
    let _ = EXTENSION.set(key_and_image);
}

/// The extension from the file that the environment names.
fn read() -> Vec<u8> {
    let path = std::env::var(IMAGE).unwrap_or_else(|_| {
        panic!("{IMAGE} names no linked extension: the program link-video of spine-tests makes one")
    });
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// One stream of each format, at windows of their numbers.
const STREAMS: [(u8, Format, u16, u16); 4] = [
    (0, Format::Bgra, 33, 9),
    (1, Format::Rgb, 31, 7),
    (2, Format::Uyvy, 34, 8),
    (3, Format::Uyvp, 30, 5),
];
/// UDP port of the first stream.
const PORT: u16 = 5004;
const WHOLE_FRAME: u8 = 0x80;
/// What is in front of RTP.
const HEADERS: usize = ethernet::BYTES + ipv4::BYTES + udp::BYTES;
/// Packets of one input, at most: fewer than the wire holds.
const PACKETS: usize = 64;
/// The longest that the wire takes.
const LONGEST: usize = 3840;
const SENTINEL: u8 = 0xa5;
/// Bytes between the lines, which belong to no pixel.
const BETWEEN_LINES: u32 = 32;

/// A window's memory, and which of its bytes may be written.
struct Window {
    file: File,
    geometry: Geometry,
    allowed: Vec<bool>,
    reader: Reader,
}

/// The mailbox word of a file. The adapter is quiet while it is used: they share a thread.
struct Mailbox<'a>(&'a File);

impl Word for Mailbox<'_> {
    fn peek(&self) -> u32 {
        let mut word = [0; 4];
        self.0.read_exact_at(&mut word, MAILBOX as u64).expect("a mailbox");
        u32::from_le_bytes(word)
    }

    fn swap(&self, value: u32) -> u32 {
        let old = self.peek();
        self.0.write_all_at(&value.to_le_bytes(), MAILBOX as u64).expect("a mailbox");
        old
    }
}

/// A memory file of a fixed size, as regions are.
fn memory(name: &str, bytes: usize) -> File {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let file = File::from(memfd_create(name, flags).expect("a memory file"));
    file.set_len(bytes.next_multiple_of(REGION_BYTES) as u64).expect("memory");
    let seals = SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_SEAL;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).expect("seals");
    file
}

impl Window {
    fn new(width: u16, height: u16) -> Self {
        let (width, height) = (u32::from(width), u32::from(height));
        let geometry = Geometry::new(1, 3, (width, height), 4 * width + BETWEEN_LINES, 4);
        let geometry = geometry.expect("a window");
        let file = memory("window", geometry.bytes());
        let length = usize::try_from(file.metadata().expect("a file").len()).expect("small");
        let (stride, used) = (geometry.stride() as usize, 4 * width as usize);
        let mut allowed = vec![false; length];
        allowed[..HEADER_BYTES].fill(true);
        for slot in 0..geometry.slots() {
            let (header, pixels) = (geometry.slot_header(slot), geometry.pixels(slot));
            allowed[header..header + 64].fill(true);
            for line in 0..height as usize {
                allowed[pixels + line * stride..][..used].fill(true);
            }
        }
        let around = vec![SENTINEL; length - HEADER_BYTES];
        file.write_all_at(&around, HEADER_BYTES as u64).expect("memory");
        Self { file, geometry, allowed, reader: Reader::new(3) }
    }

    fn check(&self) {
        let mut bytes = vec![0; self.allowed.len()];
        self.file.read_exact_at(&mut bytes, 0).expect("memory");
        let stray =
            bytes.iter().zip(&self.allowed).position(|(byte, may)| !may && *byte != SENTINEL);
        assert_eq!(stray, None, "a byte outside of the window was written: {:?}", self.geometry);
        assert_eq!(Geometry::parse(&bytes), Ok(self.geometry));
    }
}

/// An adapter, turned by hand, with the extension.
struct Rig {
    adapter: Adapter,
    handle: AdapterHandle,
    extension: ExtensionId,
    wire: Wire,
    counters: File,
    windows: Vec<Window>,
    now: u64,
}

impl Rig {
    fn new() -> Self {
        let bytes = EXTENSION.get_or_init(read);
        let (key, image) = bytes.split_first_chunk::<32>().expect("a key and an image");
        let key = TrustedKey::from_bytes(key).expect("a key");
        let (memory_of_frames, mut dealt) = FrameMemory::anonymous(256, 4096, 1).expect("memory");
        let (nic, wire) =
            Loopback::wire("wire", Arc::clone(&memory_of_frames), 128).expect("a wire");
        let setup = AdapterSetup::new(Box::new(nic.stamped(BLIT)), dealt.pop().expect("frames"));
        let (mut adapters, mut handles) =
            Machine::by_hand(vec![setup], &memory_of_frames, key).expect("an adapter");
        let (mut adapter, handle) = (adapters.remove(0), handles.remove(0));
        let counters = memory("counters", REGION_BYTES);
        let file = counters.try_clone().expect("a descriptor").into();
        let region = RegionSource { file, bytes: REGION_BYTES };
        // One strike would be an error, and is counted.
        let budget = Budget { message: 200_000, entry: 1_600_000, strikes: 100 };
        let loaded =
            handle.prepare(image, vec![region], budget).unwrap_or_else(|error| panic!("{error}"));
        let extension = adapter.install(loaded).unwrap_or_else(|error| panic!("{error}"));
        let windows =
            STREAMS.iter().map(|(_, _, width, height)| Window::new(*width, *height)).collect();
        let mut rig = Self { adapter, handle, extension, wire, counters, windows, now: 0 };
        rig.grant();
        rig
    }

    fn grant(&mut self) {
        for (window, (index, ..)) in (0..).zip(STREAMS) {
            let Window { file, geometry, .. } = &self.windows[window];
            let file = file.try_clone().expect("a descriptor").into();
            let buffer = FrameBuffer { file, geometry: *geometry, doorbell: None };
            let rectangle = geometry.whole();
            let grant = Grant { window: index, buffer, rectangle, start: Start::AtOnce };
            let acknowledged = self.handle.grant(self.extension, grant).expect("a window");
            self.settle();
            acknowledged.wait(Duration::ZERO).expect("a window");
        }
    }

    /// Begins anew: nothing of the inputs before is remembered.
    fn configure(&mut self) {
        for (place, (index, format, width, height)) in (0..).zip(STREAMS) {
            let stream = Stream {
                index,
                format: Some(format),
                colour: Colour::default(),
                payload_type: 96,
                port: PORT + place,
                destination: [0; 4],
                source: [0; 4],
                width,
                height,
                generation: 1,
            };
            let message = Message::small(CONFIGURE, Endpoint::Host, &stream.to_bytes());
            self.handle.send(message).expect("a queue");
            self.settle();
            let answer = self.handle.receive(Duration::ZERO).expect("an answer");
            assert_eq!(answer.arguments(), stream.to_bytes());
        }
    }

    /// Turns the adapter until nothing moves any more.
    fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..10_000 {
            self.now += 1000;
            quiet = if self.adapter.turn(Nanos(self.now)) { 0 } else { quiet + 1 };
            if quiet == 3 {
                return;
            }
        }
        panic!("the adapter has still something to do after 10,000 turns");
    }

    fn count(&self, at: usize) -> u64 {
        let mut word = [0; 8];
        self.counters.read_exact_at(&mut word, at as u64).expect("counters");
        u64::from_le_bytes(word)
    }

    fn counts(&self, counter: Counter) -> u64 {
        STREAMS.iter().map(|(index, ..)| self.count(counter_at(usize::from(*index), counter))).sum()
    }

    /// Packets counted, and fates counted.
    fn accounts(&self) -> (u64, u64) {
        let packets = self.counts(Counter::Packets);
        let fates: u64 = Counter::FATES.iter().map(|fate| self.counts(*fate)).sum();
        assert_eq!(packets, fates, "each packet has one fate");
        (packets, self.count(UNKNOWN_STREAM))
    }

    fn run(&mut self, data: &[u8]) {
        self.configure();
        let (packets, unknown) = self.accounts();
        let mut sent = 0;
        let mut rest = data;
        while let [what, high, low, after @ ..] = rest
            && sent < PACKETS as u64
        {
            let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
            let (bytes, next) = after.split_at(length);
            rest = next;
            let Some(frame) = frame(*what, bytes) else { continue };
            assert!(self.wire.inject(&frame), "the wire is full");
            sent += 1;
        }
        self.settle();
        let (packets_now, unknown_now) = self.accounts();
        assert_eq!(packets_now - packets + unknown_now - unknown, sent, "each packet is counted");
        assert_eq!(self.adapter.counters().strikes, 0, "a handler was stopped");
        for window in &mut self.windows {
            window.check();
            window.reader.take(&Mailbox(&window.file));
        }
    }
}

/// The frame of one packet of an input; `None` if no wire carries it.
fn frame(what: u8, bytes: &[u8]) -> Option<Vec<u8>> {
    if what & WHOLE_FRAME != 0 {
        return (14..=LONGEST).contains(&bytes.len()).then(|| bytes.to_vec());
    }
    let bytes = &bytes[..bytes.len().min(LONGEST - HEADERS)];
    let from = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 1), 40_000);
    let to = SocketAddrV4::new(Ipv4Addr::new(10, 0, 0, 2), PORT + u16::from(what) % 4);
    Some(frames::udp([[2, 0, 0, 0, 0, 2], [2, 0, 0, 0, 0, 1]], [from, to], bytes))
}

/// Receives the packets of an input, and checks what came of them.
///
/// # Panics
/// That is how it says that something is wrong; or there is no image.
pub fn run(data: &[u8]) {
    thread_local! {
        static RIG: RefCell<Option<Rig>> = const { RefCell::new(None) };
    }
    RIG.with_borrow_mut(|rig| rig.get_or_insert_with(Rig::new).run(data));
}

/// A packet of an input: stream, length, RTP header, line headers (length, line, x), pixels.
fn packet(stream: u8, sequence: u16, time: u32, segments: &[(u16, u16, u16)]) -> Vec<u8> {
    let mut rtp = vec![0x80, 96];
    rtp.extend(sequence.to_be_bytes());
    rtp.extend(time.to_be_bytes());
    rtp.extend([0, 0, 0, 7, 0, 0]);
    for (place, (length, line, x)) in segments.iter().enumerate() {
        let more = if place + 1 < segments.len() { 0x8000 } else { 0 };
        for field in [*length, *line, x | more] {
            rtp.extend(field.to_be_bytes());
        }
    }
    let pixels: usize = segments.iter().map(|(length, ..)| usize::from(*length)).sum();
    rtp.extend((0..=255).cycle().take(pixels));
    let length = u16::try_from(rtp.len()).unwrap_or(u16::MAX).to_be_bytes();
    [&[stream], &length[..], &rtp].concat()
}

/// For each stream a frame in packets of a line each, in packets of many lines, and both one after the other.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (index, format, width, height) in STREAMS {
        let (bytes, pixels) = format.group();
        let line_bytes = width / pixels * bytes;
        let lines = |first: u16, end: u16| -> Vec<(u16, u16, u16)> {
            (first..end).map(|line| (line_bytes, line, 0)).collect()
        };
        let slow: Vec<u8> = (0..height)
            .flat_map(|line| packet(index, line, 3000, &lines(line, line + 1)))
            .collect();
        let middle = height / 2;
        let fast = [
            packet(index, 100, 6000, &lines(0, middle)),
            packet(index, 101, 6000, &lines(middle, height)),
        ];
        seeds.push([&slow[..], &fast.concat()].concat());
        seeds.push(fast.concat());
        let whole = frame(index, &packet(index, 5, 9000, &lines(0, 2))[3..]).unwrap_or_default();
        let length = u16::try_from(whole.len()).unwrap_or(u16::MAX).to_be_bytes();
        seeds.push([&[WHOLE_FRAME], &length[..], &whole].concat());
    }
    seeds
}
