//! Streams: what the application said of each, and what was learnt of its sender and its frames.
//!
//! A frame is known by its timestamp. It ends when all of its bytes have come, or when a newer one begins;
//! what comes for it after that is late. The marker is counted and not waited for: it may be lost, or
//! overtake what is before it.

use spine_sdk::{Global, Publish};

use crate::packet::{Datagram, Rtp};
use crate::protocol::{self, ANY_PAYLOAD_TYPE, Colour, Counter, Format, STREAMS};
use crate::sequence::{Arrival, Sequence};

/// Packets of an unknown sender, with none of the known one between, after which it is the known one.
const RELEARN: u64 = 8;
/// Late packets, with none in time between, after which the sender's clock has jumped.
const JUMP: u32 = 64;

/// Ten seconds of RTP time: a frame that is so far ahead is another beginning.
const LEAP: i32 = -900_000;

const KNOWN: u64 = 1 << 32;
const OPEN: u64 = 1 << 33;

/// One stream's words. Each is right on its own: a handler may be stopped between two.
#[derive(Debug)]
pub struct Stream {
    /// Port and destination address.
    sent_to: Global<u64>,
    source: Global<u32>,
    /// Width, height, format, colours and payload type.
    shape: Global<u64>,
    /// The sender, and [`KNOWN`].
    ssrc: Global<u64>,
    /// Another sender, and how many of its packets came in a row (upper half).
    stranger: Global<u64>,
    /// The newest frame's timestamp, [`KNOWN`], and [`OPEN`] until it ends.
    frame: Global<u64>,
    /// Bytes of that frame so far.
    bytes: Global<u32>,
    late_in_a_row: Global<u32>,
    sequence: Sequence,
}

static STREAM: [Stream; STREAMS] = [const { Stream::new() }; STREAMS];
/// One bit for each stream that there is.
static CONFIGURED: Global<u32> = Global::<u32>::new(0);

/// What a stream is, unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Pixels of a line.
    pub width: u16,
    /// Lines.
    pub height: u16,
    /// Its format.
    pub format: Format,
    /// Its colours.
    pub colour: Colour,
    payload_type: u8,
}

impl Shape {
    /// Bytes of a whole frame on the wire.
    #[inline]
    fn frame_bytes(&self) -> u32 {
        let (bytes, pixels) = self.format.group();
        u32::from(self.width / pixels) * u32::from(bytes) * u32::from(self.height)
    }

    fn pack(stream: &protocol::Stream, format: Format) -> u64 {
        u64::from(stream.width)
            | u64::from(stream.height) << 16
            | (format as u64) << 32
            | u64::from(stream.colour.bt709) << 40
            | u64::from(stream.colour.full_range) << 41
            | u64::from(stream.payload_type) << 48
    }

    #[inline]
    fn unpack(bits: u64) -> Option<Self> {
        let [w0, w1, h0, h1, format, flags, payload_type, _] = bits.to_le_bytes();
        Some(Self {
            width: u16::from_le_bytes([w0, w1]),
            height: u16::from_le_bytes([h0, h1]),
            format: Format::from_number(format)?,
            colour: Colour { bt709: flags & 1 != 0, full_range: flags & 2 != 0 },
            payload_type,
        })
    }
}

/// What is done with a packet of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Its pixels go in the frame; `publish` says what ended by it so far.
    Place(Publish),
    /// It is of no use, and counted so.
    None(Counter),
}

impl Stream {
    const fn new() -> Self {
        Self {
            sent_to: Global::<u64>::new(0),
            source: Global::<u32>::new(0),
            shape: Global::<u64>::new(0),
            ssrc: Global::<u64>::new(0),
            stranger: Global::<u64>::new(0),
            frame: Global::<u64>::new(0),
            bytes: Global::<u32>::new(0),
            late_in_a_row: Global::<u32>::new(0),
            sequence: Sequence::new(),
        }
    }

    /// What it is; `None` before it was configured.
    #[inline]
    pub fn shape(&'static self) -> Option<Shape> {
        Shape::unpack(self.shape.get())
    }

    /// Whether its packets come from this address.
    #[inline]
    pub fn is_source(&'static self, address: [u8; 4]) -> bool {
        let source = self.source.get();
        source == 0 || source == u32::from_be_bytes(address)
    }

    /// Decides what a packet is good for; `count` is told what else it says.
    #[inline]
    pub fn judge(
        &'static self,
        shape: &Shape,
        rtp: &Rtp,
        mut count: impl FnMut(Counter, i64),
    ) -> Use {
        if shape.payload_type != ANY_PAYLOAD_TYPE && shape.payload_type != rtp.payload_type {
            return Use::None(Counter::WrongPayloadType);
        }
        let mut restarted = false;
        if self.ssrc.get() != u64::from(rtp.ssrc) | KNOWN {
            if !self.learn(rtp.ssrc) {
                return Use::None(Counter::WrongSsrc);
            }
            restarted = self.frame.get() & KNOWN != 0;
            self.sequence.restart();
        } else if self.stranger.get() != 0 {
            self.stranger.set(0);
        }
        let frame = self.frame.get();
        let newest = (frame & 0xffff_ffff) as u32;
        // Timestamps wrap, too: the nearer way around counts.
        let age = newest.wrapping_sub(rtp.timestamp).cast_signed();
        let newer = frame & KNOWN == 0 || restarted || age < 0;
        if frame & KNOWN != 0 && age < LEAP {
            restarted = true;
            self.sequence.restart();
        }
        match self.sequence.note(rtp.sequence, newer) {
            Arrival::Ahead(missing) => count(Counter::Lost, missing.cast_signed()),
            Arrival::Reordered => {
                count(Counter::Lost, -1);
                count(Counter::Reordered, 1);
            }
            Arrival::Earlier => count(Counter::Reordered, 1),
            Arrival::Duplicate => return Use::None(Counter::Duplicate),
            Arrival::Forgotten => return self.late(&mut count, rtp),
        }
        if !newer && (age > 0 || frame & OPEN == 0) {
            return self.late(&mut count, rtp);
        }
        if restarted {
            count(Counter::Restarts, 1);
        }
        self.late_in_a_row.set(0);
        if !newer {
            return Use::Place(Publish::No);
        }
        self.begin(rtp.timestamp);
        count(Counter::Frames, 1);
        Use::Place(if frame & OPEN != 0 { Publish::Before } else { Publish::No })
    }

    /// A packet of a frame that has ended; so many of them that the sender must have begun anew begin a
    /// frame.
    fn late(&'static self, count: &mut impl FnMut(Counter, i64), rtp: &Rtp) -> Use {
        let late = self.late_in_a_row.get() + 1;
        if late < JUMP {
            self.late_in_a_row.set(late);
            return Use::None(Counter::Late);
        }
        self.late_in_a_row.set(0);
        self.sequence.restart();
        self.sequence.note(rtp.sequence, true);
        let was_open = self.frame.get() & OPEN != 0;
        self.begin(rtp.timestamp);
        count(Counter::Restarts, 1);
        count(Counter::Frames, 1);
        Use::Place(if was_open { Publish::Before } else { Publish::No })
    }

    fn begin(&'static self, timestamp: u32) {
        self.bytes.set(0);
        self.frame.set(u64::from(timestamp) | KNOWN | OPEN);
    }

    /// So many bytes of the frame go in their places; says whether that was all of it, which ends it.
    #[inline]
    pub fn add(&'static self, shape: &Shape, bytes: u32) -> bool {
        let bytes = self.bytes.get().saturating_add(bytes);
        self.bytes.set(bytes);
        if bytes < shape.frame_bytes() {
            return false;
        }
        self.frame.set(self.frame.get() & !OPEN);
        true
    }

    /// Whether this is the stream's sender now: the first one is, and another one after a while.
    fn learn(&'static self, ssrc: u32) -> bool {
        let times = match self.stranger.get() {
            _ if self.ssrc.get() & KNOWN == 0 => RELEARN,
            stranger if stranger & 0xffff_ffff == u64::from(ssrc) => (stranger >> 32) + 1,
            _ => 1,
        };
        if times < RELEARN {
            self.stranger.set(times << 32 | u64::from(ssrc));
            return false;
        }
        self.stranger.set(0);
        self.ssrc.set(u64::from(ssrc) | KNOWN);
        true
    }

    /// Forgets the sender and ends the frame: what came of it is not gone on with.
    fn restart(&'static self) {
        self.ssrc.set(0);
        self.stranger.set(0);
        self.sequence.restart();
        self.late_in_a_row.set(0);
        // The next packet begins a frame, and ends the one under way.
        self.frame.set(self.frame.get() & OPEN);
    }
}

/// The stream of a datagram, with its index.
#[inline]
pub fn find(datagram: &Datagram) -> Option<(u8, &'static Stream)> {
    let to = sent_to(datagram.port, datagram.destination);
    let any = sent_to(datagram.port, [0; 4]);
    let mut left = CONFIGURED.get();
    while left != 0 {
        let index = left.trailing_zeros();
        left &= left - 1;
        let stream = STREAM.get(index as usize)?;
        let key = stream.sent_to.get();
        if key == to || key == any {
            return Some((u8::try_from(index).ok()?, stream));
        }
    }
    None
}

fn sent_to(port: u16, address: [u8; 4]) -> u64 {
    u64::from(port) << 32 | u64::from(u32::from_be_bytes(address))
}

/// Does as the application says of a stream.
pub fn configure(said: &protocol::Stream) {
    let Some(stream) = STREAM.get(usize::from(said.index)) else { return };
    let bit = 1 << said.index;
    // Off first: a stop in between leaves no stream rather than a mixed one.
    CONFIGURED.set(CONFIGURED.get() & !bit);
    let Some(format) = said.format else { return };
    stream.restart();
    stream.sent_to.set(sent_to(said.port, said.destination));
    stream.source.set(u32::from_be_bytes(said.source));
    stream.shape.set(Shape::pack(said, format));
    CONFIGURED.set(CONFIGURED.get() | bit);
}
