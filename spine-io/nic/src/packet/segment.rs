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
use spine_headers::tcp::flags::{CWR, FIN, PSH};
use spine_headers::{checksum, ethernet, in_u8, ipv4, protocol, tcp};

use crate::checksum::complete_checksum;

const TCP_CHECKSUM: u8 = in_u8(tcp::offset::CHECKSUM);

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
        let (ethernet, rest) = ethernet::Header::split(packet).ok()?;
        if ethernet.ether_type() != ethernet::ether_type::IPV4 || most == 0 {
            return None;
        }
        let ip = ipv4::Packet::read(rest).ok()?;
        let is_all = usize::from(ip.header.total_length()) == rest.len();
        if ip.header.protocol() != protocol::TCP || !is_all {
            return None;
        }
        let segment = tcp::Segment::read(ip.payload).ok()?;
        (!segment.payload.is_empty()).then_some(Self {
            ipv4: ip.header.header_length(),
            headers: packet.len() - segment.payload.len(),
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
        let start = u8::try_from(ethernet::BYTES + self.ipv4).ok()?;
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
        let (ip, tcp) = headers.get_mut(ethernet::BYTES..)?.split_at_mut_checked(self.ipv4)?;
        let segment = u16::try_from(tcp.len() + data).ok()?;
        let length = u16::try_from(ip.len()).ok()?.checked_add(segment)?;
        let (mut ip, options) = ipv4::Header::split_mut(ip).ok()?;
        ip.set_total_length(length);
        ip.set_identification(ip.identification().wrapping_add(self.pieces));
        ip.set_checksum(0);
        ip.set_checksum(checksum::finish(checksum::sum(ip.bytes()) + checksum::sum(options)));

        let (mut tcp, _) = tcp::Header::split_mut(tcp).ok()?;
        tcp.set_sequence(tcp.sequence().wrapping_add(u32::try_from(self.taken).ok()?));
        if !is_last {
            tcp.set_flags(tcp.flags() & !(FIN | PSH));
        }
        if self.taken > 0 {
            tcp.set_flags(tcp.flags() & !CWR);
        }
        let (source, destination) = (ip.source(), ip.destination());
        let pseudo = checksum::pseudo_ipv4(source, destination, protocol::TCP, segment);
        tcp.set_checksum(checksum::fold(pseudo));
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use spine_headers::tcp::flags::ACK;

    use super::*;

    const FLAGS: u8 = CWR | FIN | PSH | ACK;

    /// A TCP packet with 12 bytes of options and so much data, its checksum as a sender with offloads
    /// leaves it.
    fn packet(data: usize) -> Vec<u8> {
        let ether_type = ethernet::ether_type::IPV4;
        let ethernet = ethernet::Fields { destination: [2; 6], source: [2; 6], ether_type };
        let (from, to) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let length = u16::try_from(32 + data).expect("an IPv4 packet");
        let fields = ipv4::Fields::new(from, to, protocol::TCP, length);
        let ip = ipv4::Fields { identification: 0xffff, ..fields };
        let mut tcp = tcp::Fields {
            source_port: 0x1234,
            destination_port: 80,
            sequence: 0xffff_fff0,
            acknowledgement: 1,
            flags: FLAGS,
            window: 0x0100,
        }
        .to_bytes_for(0, &[]);
        tcp[tcp::offset::DATA_OFFSET] = 0x80;
        let mut packet = [&ethernet.to_bytes()[..], &ip.to_bytes(), &tcp].concat();
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
            let ip = ipv4::Packet::read(&piece[14..]).expect("a sound packet");
            assert!(ip.has_right_checksum(), "IPv4 checksum of piece {number}");
            let tcp = tcp::Segment::read(ip.payload).expect("a sound segment");
            assert!(tcp.has_right_checksum(ip.pseudo_sum()), "TCP checksum of piece {number}");
            assert_eq!(usize::from(ip.header.total_length()), piece.len() - 14);
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
        assert_eq!(of(47), [CWR | ACK, ACK, FIN | PSH | ACK], "flags");
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
