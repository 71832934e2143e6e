//! Large TCP packets cut into what a wire carries.
//!
//! A local sender on the other end of a veth, or a card that merges what it receives, hands the kernel
//! one packet of up to 64 KiB in place of many (GSO, GRO). The kernel cuts it where it leaves for a
//! wire; whoever takes it from the kernel before that has to cut it himself, as a card with TCP
//! segmentation offload does: the headers in front of each piece, with the numbers moved on.
//!
//! IPv4 only, which is all that adapters are given. Anything unusual is not cut, and is for the caller
//! to throw away.

use spine_abi::verdict::ChecksumRequest;

use super::super::ETHERNET_BYTES;
use crate::checksum::{complete_checksum, fold, sum};

const ETHERNET: usize = ETHERNET_BYTES as usize;
const ETHERTYPE_IPV4: [u8; 2] = [8, 0];
const TCP: u8 = 6;
/// Bytes of the headers without options.
const IPV4_LEAST: usize = 20;
const TCP_LEAST: usize = 20;
/// The field of the checksum in a TCP header.
const TCP_CHECKSUM: u8 = 16;
/// Where TCP's flags are, and those that only the first or the last piece has.
const TCP_FLAGS: usize = 13;
const FIN_PSH: u8 = 0x09;
const CWR: u8 = 0x80;

/// A large packet on its way into pieces.
#[derive(Debug)]
pub(super) struct Segments {
    /// Bytes of the IPv4 header.
    ipv4: usize,
    /// Bytes of all headers.
    headers: usize,
    /// Bytes of data in each piece but the last.
    most: usize,
    /// Bytes of data that the pieces so far took.
    taken: usize,
    /// Pieces so far.
    pieces: u16,
}

impl Segments {
    /// For a packet, from its Ethernet header on, to be cut into pieces with `most` bytes of data.
    /// `None` if it is nothing that can be cut.
    pub(super) fn new(packet: &[u8], most: u16) -> Option<Self> {
        let ip = packet.get(ETHERNET..)?;
        if packet.get(12..14)? != ETHERTYPE_IPV4 || *ip.get(9)? != TCP || most == 0 {
            return None;
        }
        let ipv4 = 4 * usize::from(ip.first()? & 0x0f);
        let total = usize::from(u16::from_be_bytes([*ip.get(2)?, *ip.get(3)?]));
        let tcp = 4 * usize::from(ip.get(ipv4 + 12)? >> 4);
        let headers = ETHERNET + ipv4 + tcp;
        let sound = ipv4 >= IPV4_LEAST && tcp >= TCP_LEAST && total == ip.len();
        (sound && headers < packet.len()).then_some(Self {
            ipv4,
            headers,
            most: usize::from(most),
            taken: 0,
            pieces: 0,
        })
    }

    /// Writes the next piece of the packet into `room`, and says how many bytes it has; `None` after the
    /// last, or if there is no room for it.
    pub(super) fn next(&mut self, packet: &[u8], room: &mut [u8]) -> Option<u16> {
        let left = packet.get(self.headers + self.taken..)?;
        let data = left.get(..self.most.min(left.len()))?;
        if data.is_empty() {
            return None;
        }
        let piece = room.get_mut(..self.headers + data.len())?;
        let (headers, body) = piece.split_at_mut(self.headers);
        headers.copy_from_slice(packet.get(..self.headers)?);
        body.copy_from_slice(data);
        self.number(headers, data.len(), data.len() == left.len())?;
        let start = u8::try_from(ETHERNET + self.ipv4).ok()?;
        complete_checksum(piece, ChecksumRequest { start, offset: TCP_CHECKSUM });
        self.taken += data.len();
        self.pieces = self.pieces.wrapping_add(1);
        u16::try_from(piece.len()).ok()
    }

    /// Whether all of the packet is in the pieces so far.
    pub(super) fn is_done(&self, packet: &[u8]) -> bool {
        self.headers + self.taken >= packet.len()
    }

    /// Moves on what differs from piece to piece, and leaves the pseudo-header's sum in the checksum.
    fn number(&self, headers: &mut [u8], data: usize, is_last: bool) -> Option<()> {
        let (ip, tcp) = headers.get_mut(ETHERNET..)?.split_at_mut_checked(self.ipv4)?;
        let length = u16::try_from(self.ipv4 + tcp.len() + data).ok()?;
        ip[2..4].copy_from_slice(&length.to_be_bytes());
        let number = u16::from_be_bytes([ip[4], ip[5]]).wrapping_add(self.pieces);
        ip[4..6].copy_from_slice(&number.to_be_bytes());
        ip[10..12].fill(0);
        let checksum = !fold(sum(ip));
        ip[10..12].copy_from_slice(&checksum.to_be_bytes());

        let at = u32::from_be_bytes(*tcp.get(4..)?.first_chunk()?);
        let at = at.wrapping_add(u32::try_from(self.taken).ok()?);
        tcp[4..8].copy_from_slice(&at.to_be_bytes());
        if !is_last {
            tcp[TCP_FLAGS] &= !FIN_PSH;
        }
        if self.taken > 0 {
            tcp[TCP_FLAGS] &= !CWR;
        }
        let segment = u64::try_from(tcp.len() + data).ok()?;
        let pseudo = sum(ip.get(12..20)?) + u64::from(TCP) + segment;
        let field = usize::from(TCP_CHECKSUM);
        tcp[field..field + 2].copy_from_slice(&fold(pseudo).to_be_bytes());
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLAGS: u8 = CWR | FIN_PSH | 0x10;

    /// A TCP packet with 12 bytes of options and so much data, its checksum as a sender with offloads
    /// leaves it.
    fn packet(data: usize) -> Vec<u8> {
        let length = u16::try_from(52 + data).expect("an IPv4 packet");
        let mut packet = [&[2; 12][..], &ETHERTYPE_IPV4].concat();
        packet.extend([0x45, 0]);
        packet.extend(length.to_be_bytes());
        packet.extend([0xff, 0xff, 0x40, 0, 64, TCP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend([0x12, 0x34, 0, 80, 0xff, 0xff, 0xff, 0xf0, 0, 0, 0, 1]);
        packet.extend([0x80, FLAGS, 1, 0, 0xab, 0xcd, 0, 0]);
        packet.extend([1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8]);
        packet.extend((0..data).map(|n| u8::try_from(n % 251).expect("small")));
        packet
    }

    fn cut(packet: &[u8], most: u16, room: usize) -> Vec<Vec<u8>> {
        let mut segments = Segments::new(packet, most).expect("can be cut");
        let mut room = vec![0; room];
        std::iter::from_fn(|| {
            let length = segments.next(packet, &mut room)?;
            Some(room[..usize::from(length)].to_vec())
        })
        .collect()
    }

    #[test]
    fn the_pieces_are_whole_packets_in_order_with_right_checksums() {
        let whole = packet(3000);
        let pieces = cut(&whole, 1448, 1600);
        let lengths: Vec<usize> = pieces.iter().map(Vec::len).collect();
        assert_eq!(lengths, [1514, 1514, 66 + 104]);
        let data: Vec<u8> = pieces.iter().flat_map(|piece| piece[66..].to_vec()).collect();
        assert_eq!(data, whole[66..], "nothing lost, nothing twice");
        for (number, piece) in pieces.iter().enumerate() {
            assert_eq!(fold(sum(&piece[14..34])), 0xffff, "IPv4 checksum of piece {number}");
            let segment = u64::try_from(piece.len() - 34).expect("small");
            let all = sum(&piece[26..34]) + u64::from(TCP) + segment + sum(&piece[34..]);
            assert_eq!(fold(all), 0xffff, "TCP checksum of piece {number}");
            assert_eq!(usize::from(u16::from_be_bytes([piece[16], piece[17]])), piece.len() - 14);
            assert_eq!(piece[54..66], whole[54..66], "options of piece {number}");
        }
        let of = |at: usize| pieces.iter().map(|piece| piece[at]).collect::<Vec<_>>();
        assert_eq!(of(19), [0xff, 0, 1], "identification, which wraps");
        let numbers: Vec<u32> = pieces
            .iter()
            .map(|piece| u32::from_be_bytes(*piece[38..].first_chunk().expect("there")))
            .collect();
        let first = 0xffff_fff0_u32;
        assert_eq!(numbers, [first, first.wrapping_add(1448), first.wrapping_add(2896)]);
        assert_eq!(of(47), [CWR | 0x10, 0x10, FIN_PSH | 0x10], "flags");
    }

    #[test]
    fn a_piece_without_room_ends_the_cutting() {
        assert_eq!(cut(&packet(3000), 1448, 1000), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn what_is_no_sound_tcp_packet_is_not_cut() {
        let change = |at: usize, to: u8| {
            let mut packet = packet(3000);
            packet[at] = to;
            packet
        };
        for (name, packet) in [
            ("IPv6", change(12, 0x86)),
            ("UDP", change(23, 17)),
            ("a short IP header", change(14, 0x44)),
            ("a short TCP header", change(46, 0x40)),
            ("headers longer than the packet", packet(0)),
            ("a total length that is not its length", change(17, 1)),
            ("too short for anything", vec![0; 20]),
        ] {
            assert!(Segments::new(&packet, 1448).is_none(), "{name}");
        }
        assert!(Segments::new(&packet(3000), 0).is_none(), "no data in a piece");
    }
}
