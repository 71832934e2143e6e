//! Whole frames, made of what a test says and of what follows from that.

use std::net::SocketAddrV4;

use spine_headers::{ethernet, ipv4, protocol, udp};

/// A UDP datagram over IPv4 in a frame from one station to another. Nobody may cut it, its TTL is 64,
/// and the UDP checksum is left out, as RFC 768 allows.
///
/// # Panics
/// A payload that is too long for a datagram.
pub fn udp(
    [to_mac, from_mac]: [ethernet::Address; 2],
    [from, to]: [SocketAddrV4; 2],
    payload: &[u8],
) -> Vec<u8> {
    let bytes = u16::try_from(payload.len()).expect("a payload below 64 KiB");
    let ethernet = ethernet::Fields {
        destination: to_mac,
        source: from_mac,
        ether_type: ethernet::ether_type::IPV4,
    };
    let all = u16::try_from(udp::BYTES + payload.len()).expect("a payload below 64 KiB");
    let ip = ipv4::Fields::new(*from.ip(), *to.ip(), protocol::UDP, all);
    let udp = udp::Fields { source_port: from.port(), destination_port: to.port(), payload: bytes };
    [&ethernet.to_bytes()[..], &ip.to_bytes(), &udp.to_bytes(), payload].concat()
}

/// Makes the IPv4 checksum of a frame right again. Only the 20 bytes every header has are looked at.
///
/// # Panics
/// The frame ends before.
pub fn seal(frame: &mut [u8]) {
    let (_, rest) = ethernet::Header::split_mut(frame).expect("an Ethernet header");
    let (mut ip, _) = ipv4::Header::split_mut(rest).expect("an IPv4 header");
    ip.set_checksum(0);
    let sum = spine_headers::checksum::sum(ip.bytes());
    ip.set_checksum(spine_headers::checksum::finish(sum));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back_as_it_was_said() {
        let (from, to) = ("10.0.0.1:7".parse().unwrap(), "10.0.0.2:53".parse().unwrap());
        let mut frame = udp([[2; 6], [4; 6]], [from, to], b"abc");
        let (ethernet, rest) = ethernet::Header::split(&frame).unwrap();
        assert_eq!((ethernet.destination(), ethernet.source()), ([2; 6], [4; 6]));
        let ip = ipv4::Packet::read(rest).unwrap();
        assert!(ip.has_right_checksum());
        let datagram = spine_headers::udp::Datagram::read(ip.payload).unwrap();
        assert_eq!(SocketAddrV4::new(ip.header.source(), datagram.header.source_port()), from);
        let port = datagram.header.destination_port();
        assert_eq!(SocketAddrV4::new(ip.header.destination(), port), to);
        assert_eq!(datagram.payload, b"abc");

        frame[ethernet::BYTES + ipv4::offset::TTL] = 9;
        let is_right = |frame: &[u8]| {
            ipv4::Packet::read(&frame[ethernet::BYTES..]).unwrap().has_right_checksum()
        };
        assert!(!is_right(&frame));
        seal(&mut frame);
        assert!(is_right(&frame));
    }
}
