//! Random IPv4 packets as they cross a router: of flows and their answers, whole and in pieces, sound and not.

use std::net::Ipv4Addr;

use fastrand::Rng;
use spine_headers::{checksum, ipv4, protocol};

/// What makes a packet; the rest follows.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    /// The host that sends it.
    pub(crate) host: usize,
    pub(crate) source: Ipv4Addr,
    pub(crate) destination: Ipv4Addr,
    pub(crate) protocol: u8,
    /// Ports; type and code of ICMP.
    pub(crate) ports: (u16, u16),
    pub(crate) ttl: u8,
    pub(crate) keep_whole: bool,
    /// Offset in units of eight bytes, and whether more follows.
    pub(crate) piece: Option<(u16, bool)>,
    pub(crate) flags: u8,
    pub(crate) length: usize,
    pub(crate) options: bool,
    pub(crate) bad_checksum: bool,
}

const SYN: u8 = 2;
const ACK: u8 = 16;

impl Spec {
    /// The answer to a packet, from the host it is for.
    pub(crate) fn answer(&self, host: usize) -> Self {
        let (from, to) = self.ports;
        let (ports, flags) = match (self.protocol, from) {
            // An echo request, and its identifier's place.
            (protocol::ICMP, 8) => ((0, to), self.flags),
            (protocol::TCP, _) if self.flags == SYN => ((to, from), SYN | ACK),
            _ => ((to, from), ACK),
        };
        Self {
            host,
            source: self.destination,
            destination: self.source,
            ports,
            flags,
            piece: None,
            bad_checksum: false,
            ..self.clone()
        }
    }

    /// The packet, with a number by which it is told from all others.
    pub(crate) fn bytes(&self, number: u16) -> Vec<u8> {
        let payload = self.payload(number);
        let options: &[u8] = if self.options { &[7, 4, 4, 0] } else { &[] };
        let length = u16::try_from(payload.len() + options.len()).expect("a small packet");
        let fields = ipv4::Fields {
            ttl: self.ttl,
            identification: number,
            keep_whole: self.keep_whole && self.piece.is_none(),
            ..ipv4::Fields::new(self.source, self.destination, self.protocol, length)
        };
        let mut header = fields.to_bytes().to_vec();
        header.extend_from_slice(options);
        if self.options {
            header[0] = 0x46;
        }
        if let Some((offset, more)) = self.piece {
            let field = offset | if more { 0x2000 } else { 0 };
            header[6..8].copy_from_slice(&field.to_be_bytes());
        }
        header[10..12].fill(0);
        let mut sum = checksum::finish(checksum::sum(&header));
        if self.bad_checksum {
            sum ^= 0x0101;
        }
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [header, payload].concat()
    }

    fn payload(&self, number: u16) -> Vec<u8> {
        let fill: Vec<u8> = number.to_be_bytes().into_iter().cycle().take(self.length).collect();
        if self.piece.is_some_and(|(offset, _)| offset > 0) {
            return fill;
        }
        let (from, to) = self.ports;
        let mut payload = match self.protocol {
            protocol::TCP => {
                let mut segment = [from.to_be_bytes(), to.to_be_bytes()].concat();
                // Sequence numbers that no connection tracker finds out of its window at once.
                segment.extend([
                    0,
                    0,
                    16,
                    0,
                    0,
                    0,
                    16,
                    1,
                    5 << 4,
                    self.flags,
                    255,
                    255,
                    0,
                    0,
                    0,
                    0,
                ]);
                segment
            }
            protocol::UDP => {
                let length = u16::try_from(8 + self.length).expect("a small packet");
                [from.to_be_bytes(), to.to_be_bytes(), length.to_be_bytes(), [0, 0]].concat()
            }
            protocol::ICMP => {
                let [_, kind] = from.to_be_bytes();
                let [_, code] = to.to_be_bytes();
                vec![kind, code, 0, 0, 0, 1, 0, 1]
            }
            _ => vec![0; 8],
        };
        payload.extend(fill);
        let at = match self.protocol {
            protocol::TCP => 16,
            protocol::UDP => 6,
            protocol::ICMP => 2,
            _ => return payload,
        };
        let pseudo = match self.protocol {
            protocol::ICMP => 0,
            number => {
                let length = u16::try_from(payload.len()).expect("a small packet");
                ipv4::Fields::new(self.source, self.destination, number, length).pseudo_sum()
            }
        };
        let sum = checksum::finish(pseudo + checksum::sum(&payload));
        payload[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        payload
    }
}

/// What a packet may be sent from and to.
pub(crate) struct Places {
    /// Addresses behind each host.
    pub(crate) behind: Vec<Vec<Ipv4Addr>>,
    /// Addresses that are nobody's, or the router's own.
    pub(crate) strange: Vec<Ipv4Addr>,
}

const PORTS: [u16; 8] = [22, 25, 53, 80, 443, 1000, 8080, 40000];

impl Places {
    /// A random packet from a random host.
    pub(crate) fn draw(&self, rng: &mut Rng) -> Spec {
        let host = rng.usize(..self.behind.len());
        let mut other = rng.usize(..self.behind.len());
        if other == host && rng.u8(..4) > 0 {
            other = (host + 1) % self.behind.len();
        }
        let pick = |rng: &mut Rng, from: &[Ipv4Addr]| from[rng.usize(..from.len())];
        let source = match rng.u8(..12) {
            0 => pick(rng, &self.strange),
            1 => pick(rng, &self.behind[other]),
            _ => pick(rng, &self.behind[host]),
        };
        let destination = match rng.u8(..12) {
            0 => pick(rng, &self.strange),
            _ => pick(rng, &self.behind[other]),
        };
        let protocol = [
            protocol::UDP,
            protocol::UDP,
            protocol::TCP,
            protocol::TCP,
            protocol::TCP,
            protocol::ICMP,
            protocol::GRE,
            protocol::SCTP,
        ][rng.usize(..8)];
        let ports = match protocol {
            protocol::ICMP => [(8, 0), (0, 0), (3, 1), (3, 4), (11, 0), (13, 0)][rng.usize(..6)],
            _ => (PORTS[rng.usize(..PORTS.len())], PORTS[rng.usize(..PORTS.len())]),
        };
        Spec {
            host,
            source,
            destination,
            protocol,
            ports,
            ttl: [64, 64, 64, 64, 2, 1, 255][rng.usize(..7)],
            keep_whole: rng.bool(),
            piece: (rng.u8(..10) == 0).then(|| [(0, true), (3, true), (3, false)][rng.usize(..3)]),
            flags: [SYN, SYN, SYN | ACK, ACK, ACK, 17, 4, 3][rng.usize(..8)],
            length: [24, 24, 24, 200, 900, 1300, 1480 - 20][rng.usize(..7)],
            options: rng.u8(..40) == 0,
            bad_checksum: rng.u8(..40) == 0,
        }
    }
}
