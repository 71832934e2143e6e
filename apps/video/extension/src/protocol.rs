//! What the two halves of the video client say to each other.
//!
//! The host half claims a stream's UDP port for [`BLIT`] or [`CONVERT`] ([`Format::handler`]), grants the
//! window with the stream's index, and says with [`Stream`] what the stream is. The extension answers with
//! the same bytes to [`CONFIGURED`]; a frame that was under way then is lost.
//!
//! Counters are in region 0, which the application reads when it likes: 64 bits each, little-endian,
//! [`counter_at`] by stream and [`Counter`]. Each packet is counted once more: as used, or by the reason why it
//! was not ([`Counter::FATES`]). Frames are counted by the runtime, in the frame buffer
//! (`spine_abi::frame_buffer::counter`).

use spine_sdk::HandlerNumber;

/// The handler of streams whose pixels are moved as they are.
pub const BLIT: HandlerNumber = HandlerNumber(40);
/// The handler of streams whose pixels are converted.
pub const CONVERT: HandlerNumber = HandlerNumber(41);
/// The handler of [`Stream`] messages.
pub const CONFIGURE: HandlerNumber = HandlerNumber(42);
/// The application's own number for the answer.
pub const CONFIGURED: HandlerNumber = HandlerNumber(42);

/// Streams of one extension: as many as windows.
pub const STREAMS: usize = spine_sdk::limits::WINDOWS;
/// Bytes of the packet that [`BLIT`] sees.
pub const BLIT_PREFIX: u16 = 128;
/// Bytes of the packet that [`CONVERT`] sees: all of the largest.
pub const CONVERT_PREFIX: u16 = 3840;
/// Any payload type.
pub const ANY_PAYLOAD_TYPE: u8 = 0xff;

/// How pixels are on the wire (RFC 4175 4.3, ST 2110-20).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Format {
    /// B, G, R, A of 8 bits: the screen's own.
    Bgra = 0,
    /// R, G, B of 8 bits.
    Rgb = 1,
    /// 4:2:2 of 8 bits: Cb, Y0, Cr, Y1.
    Uyvy = 2,
    /// 4:2:2 of 10 bits, five bytes for two pixels.
    Uyvp = 3,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Bgra, Self::Rgb, Self::Uyvy, Self::Uyvp];

    /// The format with this number.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|format| *format as u8 == number)
    }

    /// The smallest group of pixels that is sent together: its bytes and its pixels (RFC 4175 4.3).
    #[inline]
    pub const fn group(self) -> (u16, u16) {
        match self {
            Self::Bgra => (4, 1),
            Self::Rgb => (3, 1),
            Self::Uyvy => (4, 2),
            Self::Uyvp => (5, 2),
        }
    }

    /// Which handler a stream's port is claimed for.
    pub const fn handler(self) -> HandlerNumber {
        match self {
            Self::Bgra => BLIT,
            Self::Rgb | Self::Uyvy | Self::Uyvp => CONVERT,
        }
    }
}

/// How Y'CbCr becomes R'G'B'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Colour {
    /// ITU-R BT.709's coefficients; BT.601's if not.
    pub bt709: bool,
    /// Full range; narrow (16 to 235, 16 to 240) if not.
    pub full_range: bool,
}

/// What a stream is. Addresses are as in the packet, zero is any.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stream {
    /// Its index, which is its window's: below [`STREAMS`].
    pub index: u8,
    /// Its format; `None` ends the stream.
    pub format: Option<Format>,
    /// Its colours.
    pub colour: Colour,
    /// Its payload type, or [`ANY_PAYLOAD_TYPE`].
    pub payload_type: u8,
    /// The UDP port it is sent to.
    pub port: u16,
    /// The address it is sent to.
    pub destination: [u8; 4],
    /// The address it is sent from: of a source-specific group.
    pub source: [u8; 4],
    /// Pixels of a line.
    pub width: u16,
    /// Lines.
    pub height: u16,
    /// A number of the application's, to know the answer by.
    pub generation: u32,
}

/// Bytes of a [`Stream`] message.
pub const STREAM_BYTES: usize = 24;
const NO_FORMAT: u8 = 0xff;
const BT709: u8 = 1;
const FULL_RANGE: u8 = 2;

impl Stream {
    /// The message's arguments.
    pub fn to_bytes(&self) -> [u8; STREAM_BYTES] {
        let mut bytes = [0; STREAM_BYTES];
        bytes[0] = self.index;
        bytes[1] = self.format.map_or(NO_FORMAT, |format| format as u8);
        bytes[2] =
            u8::from(self.colour.bt709) * BT709 + u8::from(self.colour.full_range) * FULL_RANGE;
        bytes[3] = self.payload_type;
        bytes[4..6].copy_from_slice(&self.port.to_le_bytes());
        bytes[6..8].copy_from_slice(&self.width.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.height.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.destination);
        bytes[16..20].copy_from_slice(&self.source);
        bytes[20..24].copy_from_slice(&self.generation.to_le_bytes());
        bytes
    }

    /// Reads a message's arguments; `None` if they are none: a wrong length, an index, format or colour
    /// that is not there, no port or no pixels, a width that its format's groups do not divide.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; STREAM_BYTES] = bytes.try_into().ok()?;
        let [index, format, flags, payload_type, p0, p1, w0, w1, h0, h1, 0, 0, rest @ ..] = bytes
        else {
            return None;
        };
        let [d0, d1, d2, d3, s0, s1, s2, s3, g0, g1, g2, g3] = rest;
        let format = match *format {
            NO_FORMAT => None,
            number => Some(Format::from_number(number)?),
        };
        let stream = Self {
            index: *index,
            format,
            colour: Colour { bt709: flags & BT709 != 0, full_range: flags & FULL_RANGE != 0 },
            payload_type: *payload_type,
            port: u16::from_le_bytes([*p0, *p1]),
            width: u16::from_le_bytes([*w0, *w1]),
            height: u16::from_le_bytes([*h0, *h1]),
            destination: [*d0, *d1, *d2, *d3],
            source: [*s0, *s1, *s2, *s3],
            generation: u32::from_le_bytes([*g0, *g1, *g2, *g3]),
        };
        let pixels = format.map_or(1, |format| format.group().1);
        let sound = usize::from(stream.index) < STREAMS
            && flags & !(BT709 | FULL_RANGE) == 0
            && (stream.payload_type < 128 || stream.payload_type == ANY_PAYLOAD_TYPE)
            && (format.is_none() || stream.port != 0 && stream.width != 0 && stream.height != 0)
            && stream.width.is_multiple_of(pixels);
        sound.then_some(stream)
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $name:literal;)*) => {
        /// What the extension counts for each stream.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(usize)]
        pub enum Counter { $($(#[$doc])* $variant),* }

        impl Counter {
            /// All of them, in the order of their places.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// What becomes of a packet: one of these for each.
            pub const FATES: &[Self] = &[
                Self::Used,
                Self::Late,
                Self::Duplicate,
                Self::WrongPayloadType,
                Self::WrongSsrc,
                Self::WrongSource,
                Self::Malformed,
                Self::TooManySegments,
                Self::Interlaced,
                Self::NoPixels,
            ];

            /// The name used in statistics and JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

counters! {
    /// Packets to the stream's port, whatever became of them.
    Packets = "packets";
    /// Bytes of them, with all headers.
    Bytes = "bytes";
    /// Gaps in the RTP sequence numbers that nothing has filled.
    Lost = "packets_lost";
    /// Packets behind one with a later number, but in time.
    Reordered = "packets_reordered";
    /// Packets of a frame that had ended; not used.
    Late = "packets_late";
    /// Packets that came before; not used.
    Duplicate = "packets_duplicate";
    /// Another payload type than the stream's; not used.
    WrongPayloadType = "packets_wrong_payload_type";
    /// Of another sender than the one learnt; not used.
    WrongSsrc = "packets_wrong_ssrc";
    /// From another address than the stream's source; not used.
    WrongSource = "packets_wrong_source";
    /// Not RTP, or line headers that contradict each other or the packet; not used.
    Malformed = "packets_malformed";
    /// With more than 16 line segments; not used.
    TooManySegments = "packets_too_many_segments";
    /// Interlaced (F = 1); not used.
    Interlaced = "packets_interlaced";
    /// With a segment outside of the picture, which is left out; the packet's others are used.
    OutOfPicture = "packets_out_of_picture";
    /// With no segment inside of the picture; not used.
    NoPixels = "packets_without_pixels";
    /// Whose pixels were put into the frame.
    Used = "packets_used";
    /// How often another sender was learnt, or the same one's clock jumped.
    Restarts = "restarts";
    /// Frames begun: timestamps.
    Frames = "frames";
    /// Packets with the marker: the last of their frame.
    Markers = "markers";
    /// RTP timestamp of the frame that came last (32 bits).
    Timestamp = "rtp_timestamp";
    /// Payload type of the packet that came last, whether it was used or not.
    PayloadType = "payload_type";
    /// The sender learnt (32 bits).
    Ssrc = "ssrc";
}

/// Bytes of region 0: what a region has at least.
pub const REGION_BYTES: usize = 65536;
/// Where packets to a claimed port that belong to no stream are counted.
pub const UNKNOWN_STREAM: usize = 0;
const FIRST_STREAM: usize = 256;
const BYTES_OF_STREAM: usize = 256;

/// Where a counter of a stream is in region 0.
#[inline]
pub const fn counter_at(stream: usize, counter: Counter) -> usize {
    FIRST_STREAM + stream * BYTES_OF_STREAM + counter as usize * 8
}

const _: () = assert!(Counter::ALL.len() * 8 <= BYTES_OF_STREAM);
const _: () = assert!(FIRST_STREAM + STREAMS * BYTES_OF_STREAM <= REGION_BYTES);

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Stream = Stream {
        index: 15,
        format: Some(Format::Uyvp),
        colour: Colour { bt709: true, full_range: false },
        payload_type: 96,
        port: 5004,
        destination: [239, 77, 0, 1],
        source: [10, 77, 0, 2],
        width: 1280,
        height: 720,
        generation: 0x0102_0304,
    };

    #[test]
    fn streams_survive_their_message() {
        for format in Format::ALL.map(Some).into_iter().chain([None]) {
            let stream = Stream { format, ..STREAM };
            assert_eq!(Stream::parse(&stream.to_bytes()), Some(stream));
        }
    }

    #[test]
    fn streams_that_cannot_be_are_refused() {
        for wrong in [
            Stream { index: 16, ..STREAM },
            Stream { payload_type: 128, ..STREAM },
            Stream { port: 0, ..STREAM },
            Stream { width: 0, ..STREAM },
            Stream { height: 0, ..STREAM },
            Stream { width: 1281, ..STREAM },
        ] {
            assert_eq!(Stream::parse(&wrong.to_bytes()), None, "{wrong:?}");
        }
        for (at, value) in [(1, 4), (2, 4), (10, 1), (11, 1)] {
            let mut bytes = STREAM.to_bytes();
            bytes[at] = value;
            assert_eq!(Stream::parse(&bytes), None, "byte {at}");
        }
        assert_eq!(Stream::parse(&STREAM.to_bytes()[..23]), None);
    }

    #[test]
    fn counters_are_where_their_numbers_say() {
        for (position, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, position);
        }
        assert_eq!(counter_at(1, Counter::Bytes), 256 + 256 + 8);
    }
}
