//! From a picture to RTP packets (RFC 4175 section 4).
//!
//! Each packet is filled to its limit with pieces of lines, as GStreamer and ffmpeg do it; so most have two
//! pieces. All headers come first, then all pixels. Unlike those two, the upper half of the sequence number
//! is filled in, as the RFC says.

use crate::format::{Format, Size};

/// Bytes of an RTP header without sources or extension.
const RTP_HEADER: usize = 12;
/// Bytes of the upper half of the sequence number.
const EXTENDED: usize = 2;
/// Bytes of a line header: length, line, offset.
const LINE_HEADER: usize = 6;
/// RTP version 2.
const VERSION: u8 = 0x80;
/// The bit of the last packet of a picture.
const MARKER: u8 = 0x80;
/// The bit that says: another line header follows.
const CONTINUES: u16 = 0x8000;

/// The packets of one picture, one after the other.
#[derive(Debug, Default, Clone)]
pub struct Packets {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Packets {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// One of them: an RTP packet; empty if there are fewer.
    pub fn get(&self, index: usize) -> &[u8] {
        let start = match index.checked_sub(1) {
            Some(before) => self.ends.get(before).copied(),
            None => Some(0),
        };
        let range = start.zip(self.ends.get(index).copied());
        range.and_then(|(start, end)| self.bytes.get(start..end)).unwrap_or_default()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.get(index))
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// A stream's packets, numbered on from picture to picture.
#[derive(Debug)]
pub struct Packetiser {
    format: Format,
    size: Size,
    /// Bytes of a packet at most: what UDP carries.
    most: usize,
    payload_type: u8,
    source: u32,
    sequence: u32,
}

/// A piece of a line: where in the picture's bytes, and what its header says.
#[derive(Debug, Clone, Copy)]
struct Piece {
    line: usize,
    offset: usize,
    start: usize,
    length: usize,
}

impl Packetiser {
    /// What fits into Ethernet's 1500 bytes behind the headers of IP and UDP.
    pub const LONGEST: usize = 1472;
    /// The dynamic payload type that everybody uses.
    pub const PAYLOAD_TYPE: u8 = 96;

    /// A stream that starts with the number `sequence`; `most` bytes a packet, of which at least one
    /// pixel group must fit behind the headers.
    pub fn new(format: Format, size: Size, most: usize, source: u32, sequence: u32) -> Self {
        let least = RTP_HEADER + EXTENDED + LINE_HEADER + format.group_bytes();
        let most = most.max(least);
        Self { format, size, most, payload_type: Self::PAYLOAD_TYPE, source, sequence }
    }

    /// Makes the packets of one picture, whose lines follow each other without gaps.
    ///
    /// A picture that is too short is packed as far as it goes.
    pub fn pack(&mut self, picture: &[u8], timestamp: u32, into: &mut Packets) {
        into.clear();
        let line_bytes = self.format.line_bytes(self.size.width());
        let end = picture.len().min(line_bytes * self.size.height());
        let mut at = 0;
        while at < end {
            let pieces = self.pieces(&mut at, end, line_bytes);
            self.header(at >= end, timestamp, into);
            for (index, piece) in pieces.iter().enumerate() {
                let more = if index + 1 < pieces.len() { CONTINUES } else { 0 };
                into.bytes.extend(short(piece.length).to_be_bytes());
                into.bytes.extend(short(piece.line).to_be_bytes());
                into.bytes.extend((short(piece.offset) | more).to_be_bytes());
            }
            for piece in &pieces {
                let pixels = picture.get(piece.start..piece.start + piece.length);
                into.bytes.extend(pixels.unwrap_or_default());
            }
            into.ends.push(into.bytes.len());
            self.sequence = self.sequence.wrapping_add(1);
        }
    }

    /// The pieces of the next packet; `at` moves behind them.
    fn pieces(&self, at: &mut usize, end: usize, line_bytes: usize) -> Vec<Piece> {
        let group = self.format.group_bytes();
        let mut room = self.most - RTP_HEADER - EXTENDED;
        let mut pieces = Vec::with_capacity(2);
        while *at < end && room >= LINE_HEADER + group {
            room -= LINE_HEADER;
            let (line, into_line) = (*at / line_bytes, *at % line_bytes);
            let whole_groups = room / group * group;
            let length = whole_groups.min(line_bytes - into_line).min(end - *at);
            let offset = into_line / group * self.format.group_pixels();
            pieces.push(Piece { line, offset, start: *at, length });
            *at += length;
            room -= length;
        }
        pieces
    }

    fn header(&self, last: bool, timestamp: u32, into: &mut Packets) {
        let [high_1, high_2, low_1, low_2] = self.sequence.to_be_bytes();
        let marker = if last { MARKER } else { 0 };
        into.bytes.extend([VERSION, marker | self.payload_type, low_1, low_2]);
        into.bytes.extend(timestamp.to_be_bytes());
        into.bytes.extend(self.source.to_be_bytes());
        into.bytes.extend([high_1, high_2]);
    }
}

/// Lines, offsets and lengths here are below 32768: [`Size`] and the longest packet see to it.
fn short(value: usize) -> u16 {
    u16::try_from(value).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts pictures together again by the RFC's words alone.
    fn unpack(packets: &Packets, format: Format, size: Size) -> Vec<u8> {
        let line_bytes = format.line_bytes(size.width());
        let mut picture = vec![0xEE; format.picture_bytes(size)];
        for packet in packets.iter() {
            let word = |at: usize| usize::from(u16::from_be_bytes([packet[at], packet[at + 1]]));
            let mut headers = Vec::new();
            let mut at = RTP_HEADER + EXTENDED;
            loop {
                let (length, line, offset) = (word(at), word(at + 2), word(at + 4));
                headers.push((length, line, offset & 0x7fff));
                at += LINE_HEADER;
                if offset & 0x8000 == 0 {
                    break;
                }
            }
            for (length, line, offset) in headers {
                let start =
                    line * line_bytes + offset / format.group_pixels() * format.group_bytes();
                assert!(length.is_multiple_of(format.group_bytes()) && length > 0);
                picture[start..start + length].copy_from_slice(&packet[at..at + length]);
                at += length;
            }
            assert_eq!(at, packet.len(), "nothing but headers and pixels");
        }
        picture
    }

    #[test]
    fn every_format_and_packet_size_survives_the_way() {
        let mut random = fastrand::Rng::with_seed(7);
        for format in Format::ALL {
            for (size, most) in [("640x6", 1400), ("1280x3", 1472), ("2x9", 60), ("64x5", 300)] {
                let size: Size = size.parse().unwrap();
                let picture: Vec<u8> = std::iter::repeat_with(|| random.u8(..))
                    .take(format.picture_bytes(size))
                    .collect();
                let mut packets = Packets::default();
                Packetiser::new(format, size, most, 1, 0).pack(&picture, 0, &mut packets);
                assert_eq!(unpack(&packets, format, size), picture, "{format} {size} {most}");
                assert!(packets.iter().all(|packet| packet.len() <= most));
                let markers: Vec<bool> =
                    packets.iter().map(|packet| packet[1] & MARKER != 0).collect();
                assert_eq!(markers.iter().filter(|marker| **marker).count(), 1);
                assert_eq!(markers.last(), Some(&true));
            }
        }
    }

    /// GStreamer's packets of 640x480 UYVY, as they were seen on the wire: two pieces in each.
    #[test]
    fn packets_are_cut_as_gstreamer_cuts_them() {
        let (format, size) = (Format::Uyvy, "640x480".parse().unwrap());
        let picture = vec![0; format.picture_bytes(size)];
        let mut packets = Packets::default();
        Packetiser::new(format, size, 1400, 1, 0).pack(&picture, 0, &mut packets);
        assert_eq!(packets.len(), 448);
        let first = packets.get(0);
        assert_eq!(first[14..26], [0x05, 0, 0, 0, 0x80, 0, 0, 92, 0, 1, 0, 0], "1280@0/0, 92@1/0");
    }

    #[test]
    fn numbers_go_on_over_the_edge_of_sixteen_bits() {
        let (format, size) = (Format::Bgra, "4x2".parse().unwrap());
        let mut packets = Packets::default();
        let mut packetiser = Packetiser::new(format, size, 40, 0x0102_0304, 0xffff);
        packetiser.pack(&[0; 32], 0x0a0b_0c0d, &mut packets);
        let header = [0x80, 96, 0xff, 0xff, 0x0a, 0x0b, 0x0c, 0x0d, 1, 2, 3, 4, 0, 0];
        assert_eq!(packets.get(0)[..14], header);
        assert_eq!(packets.get(1)[2..4], [0, 0]);
        assert_eq!(packets.get(1)[12..14], [0, 1], "the extended half");
        assert_eq!(packets.get(99), [0_u8; 0]);
    }
}
