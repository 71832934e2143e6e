//! Packets that are wrong in the ways that senders, networks and enemies get them wrong.
//!
//! Each starts as a valid one and has up to three of its parts changed: every field of every header from
//! Ethernet to the last line header, the lengths, what is behind them, and where the packet ends.

use std::ops::Range;

use spine_headers::{ethernet, ipv4, udp};

/// Where headers start: behind Ethernet, behind IPv4 without options, behind UDP, behind RTP without sources.
const IP: usize = ethernet::BYTES;
const UDP: usize = IP + ipv4::BYTES;
pub(super) const RTP: usize = UDP + udp::BYTES;
const PAYLOAD: usize = RTP + 12;
/// The first line header, behind the upper half of the sequence number.
const LINE: usize = PAYLOAD + 2;
const LINE_BYTES: usize = 6;
/// The longest that fits an MTU of 1500.
const LONGEST: usize = 1514;
/// Values at which fields go wrong.
const EDGES: [u16; 12] = [0, 1, 2, 3, 4, 89, 90, 0x7fff, 0x8000, 0x8001, 0xfffc, 0xffff];

/// Numbers that repeat by their seed (xorshift64*).
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.max(1))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Less than `limit`, which is not zero.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap_or(0) % limit
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[7]
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.byte()).collect()
    }

    fn edge(&mut self) -> u16 {
        if self.below(4) == 0 {
            u16::from_be_bytes([self.byte(), self.byte()])
        } else {
            EDGES[self.below(EDGES.len())]
        }
    }
}

/// A frame, whole or not, on its way to being wrong.
struct Frame<'a> {
    bytes: &'a mut Vec<u8>,
    random: &'a mut Random,
}

/// Changes one to three parts of an Ethernet frame with an RTP packet.
pub(super) fn mutate(frame: &mut Vec<u8>, random: &mut Random) {
    let how_many = 1 + random.below(3);
    let mut frame = Frame { bytes: frame, random };
    for _ in 0..how_many {
        frame.mutate();
    }
    // What a packet socket takes and a wire carries.
    let length = frame.bytes.len().clamp(14, LONGEST);
    frame.bytes.resize(length, 0);
}

impl Frame<'_> {
    fn mutate(&mut self) {
        match self.random.below(16) {
            0 => self.any_byte(0..RTP),
            1 => self.any_byte(RTP..LINE),
            2 => self.any_byte(LINE..LINE + 4 * LINE_BYTES),
            3 => self.any_byte(0..LONGEST),
            4 => self.line_field(0),
            5 => self.line_field(2),
            6 => self.line_field(4),
            7 => self.chain(),
            8 => self.sources(),
            9 => self.extension(),
            10 => self.padding(),
            11 => self.sequence(),
            12 => self.lengths(),
            13 => self.options(),
            14 => self.cut(),
            _ => self.noise(),
        }
    }

    /// Puts a 16-bit field where there is one.
    fn put(&mut self, at: usize, value: u16) {
        if let Some(field) = self.bytes.get_mut(at..at + 2) {
            field.copy_from_slice(&value.to_be_bytes());
        }
    }

    /// Puts bytes in between, and has the lengths of IP and UDP know of them.
    fn insert(&mut self, at: usize, bytes: &[u8]) {
        if at > self.bytes.len() || self.bytes.len() + bytes.len() > LONGEST {
            return;
        }
        self.bytes.splice(at..at, bytes.iter().copied());
        self.tell_lengths();
    }

    /// The lengths of IP and UDP as the frame's own says.
    fn tell_lengths(&mut self) {
        let length =
            |from: usize| u16::try_from(self.bytes.len().saturating_sub(from)).unwrap_or(0);
        let (ip, udp) = (length(IP), length(UDP));
        self.put(IP + ipv4::offset::TOTAL_LENGTH, ip);
        self.put(UDP + udp::offset::LENGTH, udp);
    }

    fn any_byte(&mut self, place: Range<usize>) {
        let end = place.end.min(self.bytes.len());
        if place.start < end {
            let at = place.start + self.random.below(end - place.start);
            self.bytes[at] = self.random.byte();
        }
    }

    /// Length, line or offset of one of the first line headers.
    fn line_field(&mut self, field: usize) {
        let (which, value) = (self.random.below(3), self.random.edge());
        self.put(LINE + which * LINE_BYTES + field, value);
    }

    /// Line headers that continue, up to more than a packet may have, some of them nonsense.
    fn chain(&mut self) {
        let count = 1 + self.random.below(40);
        let mut headers = Vec::new();
        for _ in 0..count {
            let edge = self.random.below(6) == 0;
            let (length, line) =
                if edge { (self.random.edge(), self.random.edge()) } else { (0, 1) };
            headers.extend(length.to_be_bytes());
            headers.extend(line.to_be_bytes());
            headers.extend([0x80, 0]);
        }
        self.insert(LINE, &headers);
    }

    /// Says that there are contributing sources; puts none, as many, or some.
    fn sources(&mut self) {
        let (says, has) = (self.random.below(16), self.random.below(3));
        if let Some(flags) = self.bytes.get_mut(RTP) {
            *flags = *flags & 0xf0 | u8::try_from(says).unwrap_or(0);
        }
        let bytes = self.random.bytes(4 * [0, says, says / 2][has]);
        self.insert(PAYLOAD, &bytes);
    }

    /// Says that there is a header extension; of any length.
    fn extension(&mut self) {
        if let Some(flags) = self.bytes.get_mut(RTP) {
            *flags |= 0x10;
        }
        let (words, has) = (self.random.below(20), self.random.below(3));
        let says = if has == 2 { self.random.edge() } else { u16::try_from(words).unwrap_or(0) };
        let mut bytes = vec![0xbe, 0xde];
        bytes.extend(says.to_be_bytes());
        bytes.extend(self.random.bytes(4 * words));
        if has > 0 {
            self.insert(PAYLOAD, &bytes);
        }
    }

    /// Says that there is padding; the last byte says how much.
    fn padding(&mut self) {
        if let Some(flags) = self.bytes.get_mut(RTP) {
            *flags |= 0x20;
        }
        let count = [0, 1, 4, 8, 255, self.random.below(256)][self.random.below(6)];
        if self.random.below(2) == 0 {
            let bytes = vec![u8::try_from(count).unwrap_or(0); count];
            self.insert(self.bytes.len(), &bytes);
        } else if let Some(last) = self.bytes.last_mut() {
            *last = u8::try_from(count).unwrap_or(0);
        }
    }

    /// Another number, another time, another sender, another payload.
    fn sequence(&mut self) {
        let value = self.random.edge();
        let at = RTP + [1, 2, 4, 6, 8, 10][self.random.below(6)];
        self.put(at, value);
    }

    /// Lengths of IP and UDP that do not fit.
    fn lengths(&mut self) {
        let value = self.random.edge();
        let at = [IP + ipv4::offset::TOTAL_LENGTH, UDP + udp::offset::LENGTH][self.random.below(2)];
        self.put(at, value);
    }

    /// IP options, or a header length that says so.
    fn options(&mut self) {
        let words = self.random.below(11);
        if let Some(first) = self.bytes.get_mut(IP) {
            *first = ipv4::PLAIN + u8::try_from(words).unwrap_or(0);
        }
        if self.random.below(2) == 0 {
            self.insert(UDP, &vec![1; 4 * words]);
        }
    }

    /// Ends early, with lengths that know it or not.
    fn cut(&mut self) {
        let length = self.random.below(self.bytes.len() + 1);
        self.bytes.truncate(length);
        if self.random.below(2) == 0 {
            self.tell_lengths();
        }
    }

    /// A payload that is anything at all.
    fn noise(&mut self) {
        let length = self.random.below(LONGEST - RTP);
        self.bytes.truncate(RTP);
        let bytes = self.random.bytes(length);
        self.bytes.extend(bytes);
        self.tell_lengths();
    }
}
