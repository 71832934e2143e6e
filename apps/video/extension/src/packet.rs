//! A packet from outside in: Ethernet, IPv4, UDP, RTP (RFC 3550), line headers (RFC 4175 4).
//!
//! Each step takes the packet's first bytes as the handler sees them and the length of the whole, and
//! answers with what the next one needs, or why there is no next. Nothing is indexed that was not asked
//! for. UDP checksums are not looked at: a veth leaves them undone.

use spine_headers::{ethernet, ipv4, protocol, udp};
use spine_sdk::limits::DMA_ELEMENTS;
use spine_sdk::{Element, Strides};

use crate::protocol::Format;

/// Why a packet goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Its headers contradict each other, or the packet, or are of another kind.
    Malformed,
    /// Its headers go on behind what this handler sees.
    BeyondPrefix,
    /// More line segments than one DMA list has elements.
    TooManySegments,
    /// A line of a field, not of a frame.
    Interlaced,
}

/// A UDP datagram: whose it is, and where its payload is in the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram {
    /// The address it comes from.
    pub source: [u8; 4],
    /// The address it was sent to.
    pub destination: [u8; 4],
    /// The port it was sent to.
    pub port: u16,
    /// Where its payload starts.
    pub start: usize,
    /// Where it ends: not behind the packet's end.
    pub end: usize,
}

const RTP: usize = 12;
const LINE_HEADER: usize = 6;

/// The datagram in a packet of which `seen` are the first bytes and `total` all.
///
/// # Errors
/// [`Refusal::Malformed`]: no unfragmented UDP over IPv4, or lengths that do not fit.
/// [`Refusal::BeyondPrefix`].
#[inline]
pub fn datagram(seen: &[u8], total: usize) -> Result<Datagram, Refusal> {
    let ethernet = ethernet::Header::new(part(seen, 0, total)?);
    let ip = ipv4::Header::new(part(seen, ethernet::BYTES, total)?);
    let (header, length) = (ip.header_length(), usize::from(ip.total_length()));
    let is_ipv4 = ethernet.ether_type() == ethernet::ether_type::IPV4
        && ip.version() == 4
        && header >= ipv4::BYTES;
    let is_whole_udp = ip.protocol() == protocol::UDP && !ip.is_fragment();
    if !is_ipv4 || !is_whole_udp || ethernet::BYTES + length > total {
        return Err(Refusal::Malformed);
    }
    let start = ethernet::BYTES + header;
    let udp = udp::Header::new(part(seen, start, total)?);
    let datagram = usize::from(udp.length());
    if datagram < udp::BYTES || header + datagram > length {
        return Err(Refusal::Malformed);
    }
    Ok(Datagram {
        source: ip.source().octets(),
        destination: ip.destination().octets(),
        port: udp.destination_port(),
        start: start + udp::BYTES,
        end: start + datagram,
    })
}

/// An RTP header, and where its payload is in the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rtp {
    /// The last packet of a frame.
    pub marker: bool,
    /// Payload type.
    pub payload_type: u8,
    /// Sequence number: its low 16 bits.
    pub sequence: u16,
    /// When the frame was sampled, in units of 1/90000 s.
    pub timestamp: u32,
    /// Who sends.
    pub ssrc: u32,
    /// Where the payload starts.
    pub start: usize,
    /// Where it ends, padding left out.
    pub end: usize,
}

/// The RTP header of a datagram. Contributing sources, the extension and the padding are skipped.
///
/// # Errors
/// [`Refusal::Malformed`]: another version, or lengths that do not fit. [`Refusal::BeyondPrefix`].
#[inline]
pub fn rtp(seen: &[u8], datagram: &Datagram) -> Result<Rtp, Refusal> {
    let fixed: &[u8; RTP] = part(seen, datagram.start, datagram.end)?;
    let [flags, kind, s0, s1, t0, t1, t2, t3, c0, c1, c2, c3] = *fixed;
    if flags >> 6 != 2 {
        return Err(Refusal::Malformed);
    }
    let mut start = datagram.start + RTP + usize::from(flags & 15) * 4;
    if flags & 0x10 != 0 {
        let extension: &[u8; 4] = part(seen, start, datagram.end)?;
        start += 4 + usize::from(u16::from_be_bytes([extension[2], extension[3]])) * 4;
    }
    let mut end = datagram.end;
    if flags & 0x20 != 0 {
        // The last byte says how many there are. A handler that does not see it lets one do that does.
        let padding: &[u8; 1] = part(seen, end - 1, end)?;
        if padding[0] == 0 {
            return Err(Refusal::Malformed);
        }
        end = end.checked_sub(usize::from(padding[0])).ok_or(Refusal::Malformed)?;
    }
    if start > end {
        return Err(Refusal::Malformed);
    }
    Ok(Rtp {
        marker: kind & 0x80 != 0,
        payload_type: kind & 0x7f,
        sequence: u16::from_be_bytes([s0, s1]),
        timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
        ssrc: u32::from_be_bytes([c0, c1, c2, c3]),
        start,
        end,
    })
}

/// A piece of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Segment {
    /// The line, from 0.
    pub line: u16,
    /// The pixel it starts at.
    pub x: u16,
    /// Its bytes: in the packet, or, once placed, in the window.
    pub length: u16,
    /// Where they are in the packet or, converted, in scratch.
    pub at: u16,
}

impl Segment {
    /// What moves it to a window; its bytes are at `base` and where it says.
    #[inline(always)]
    pub fn element(&self, window: u8, base: u32) -> Element {
        let (line, x, length) = (self.line, self.x, self.length);
        let source = base.wrapping_add(u32::from(self.at));
        Element { source, window, line, x, length, strides: Strides::NONE }
    }
}

/// The segments of one packet. Small, and filled where it is: copies of it would be most of a packet's fuel.
#[derive(Debug)]
pub struct Segments {
    list: [Segment; DMA_ELEMENTS],
    count: usize,
}

impl Segments {
    /// None.
    #[inline(always)]
    pub const fn new() -> Self {
        const NOTHING: Segment = Segment { line: 0, x: 0, length: 0, at: 0 };
        Self { list: [NOTHING; DMA_ELEMENTS], count: 0 }
    }

    /// The segments, in the packet's order.
    #[inline(always)]
    pub fn as_slice(&self) -> &[Segment] {
        self.list.get(..self.count).unwrap_or(&[])
    }

    #[inline(always)]
    fn push(&mut self, segment: Segment) -> Result<(), Refusal> {
        *self.list.get_mut(self.count).ok_or(Refusal::TooManySegments)? = segment;
        self.count += 1;
        Ok(())
    }

    /// Keeps what `change` makes of each, until it says [`Kept::End`].
    #[inline(always)]
    pub fn change(&mut self, mut change: impl FnMut(&Segment) -> Kept) {
        let mut kept = 0;
        for index in 0..self.count {
            let Some(segment) = self.list.get(index) else { break };
            match change(segment) {
                Kept::As(segment) => {
                    if let Some(place) = self.list.get_mut(kept) {
                        *place = segment;
                        kept += 1;
                    }
                }
                Kept::No => {}
                Kept::End => break,
            }
        }
        self.count = kept;
    }
}

impl Default for Segments {
    fn default() -> Self {
        Self::new()
    }
}

/// What [`Segments::change`] makes of a segment.
#[derive(Debug, Clone, Copy)]
pub enum Kept {
    /// This.
    As(Segment),
    /// Nothing.
    No,
    /// Nothing, nor of those behind it.
    End,
}

/// The line headers of an RTP payload, which go to `into`. The upper half of the sequence number in front of them is not used:
/// the senders people have leave it zero.
///
/// # Errors
/// [`Refusal::Malformed`]: lengths or offsets that are no multiple of the format's groups, more data than
/// there is, or no header at all. [`Refusal::Interlaced`], [`Refusal::TooManySegments`],
/// [`Refusal::BeyondPrefix`].
#[inline]
pub fn segments(
    seen: &[u8],
    rtp: &Rtp,
    format: Format,
    into: &mut Segments,
) -> Result<(), Refusal> {
    let (group_bytes, group_pixels) = format.group();
    let mut at = rtp.start + 2;
    let mut interlaced = false;
    loop {
        let header: &[u8; LINE_HEADER] = part(seen, at, rtp.end)?;
        at += LINE_HEADER;
        let [l0, l1, f0, f1, c0, c1] = *header;
        let segment = Segment {
            length: u16::from_be_bytes([l0, l1]),
            line: u16::from_be_bytes([f0 & 0x7f, f1]),
            x: u16::from_be_bytes([c0 & 0x7f, c1]),
            at: 0,
        };
        interlaced |= f0 & 0x80 != 0;
        if !segment.length.is_multiple_of(group_bytes) || !segment.x.is_multiple_of(group_pixels) {
            return Err(Refusal::Malformed);
        }
        into.push(segment)?;
        if c0 & 0x80 == 0 {
            break;
        }
    }
    if interlaced {
        return Err(Refusal::Interlaced);
    }
    for segment in into.list.iter_mut().take(into.count) {
        segment.at = u16::try_from(at).map_err(|_| Refusal::Malformed)?;
        at += usize::from(segment.length);
    }
    if at > rtp.end { Err(Refusal::Malformed) } else { Ok(()) }
}

/// The `N` bytes at `at`, where the data ends at `end` and the handler sees `seen` of it.
#[inline(always)]
fn part<const N: usize>(seen: &[u8], at: usize, end: usize) -> Result<&[u8; N], Refusal> {
    if at + N > end {
        return Err(Refusal::Malformed);
    }
    let bytes = seen.get(at..).and_then(|rest| rest.first_chunk());
    bytes.ok_or(Refusal::BeyondPrefix)
}
