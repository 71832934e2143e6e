//! Sets of packets as the rules tell them apart: boxes, a range in each field.
//!
//! A rule's conditions are a conjunction, so each is a box, and what is left of a box after another is taken out of
//! it is at most two boxes for each field. Nothing here is about what happens to the packets.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address family. Rules see one at a time, also where they are written for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The last address; the first is zero.
    pub const fn last_address(self) -> u128 {
        match self {
            Self::V4 => u32::MAX as u128,
            Self::V6 => u128::MAX,
        }
    }

    /// The protocol number of its control messages: ICMP or ICMPv6.
    pub const fn control_protocol(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 58,
        }
    }

    fn address(self, number: u128) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from(u32::try_from(number).unwrap_or(u32::MAX)).into(),
            Self::V6 => Ipv6Addr::from(number).into(),
        }
    }
}

/// Addresses from one to another, both meant. An IPv4 address is its 32 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Addresses {
    /// The first.
    pub first: u128,
    /// The last.
    pub last: u128,
}

/// Ports from one to another, both meant. Only TCP's and UDP's are told apart. For ICMP and ICMPv6, [the source's](Packets::source_ports) are the type and
/// the destination's the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ports {
    /// The first.
    pub first: u16,
    /// The last.
    pub last: u16,
}

/// A set of protocol numbers (of the IPv4 header, or of what follows IPv6's extension headers).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Protocols([u64; 4]);

/// Whole packets, pieces of fragmented ones, or both. A piece has no ports: a set with ports that does not
/// say [`WHOLE`](Self::WHOLE) holds the pieces of its addresses and protocols whatever their ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pieces {
    /// Packets that are not fragmented.
    pub whole: bool,
    /// Any piece: more fragments follow, or it is not the first.
    pub pieces: bool,
}

/// A set of packets: all that are in each of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Packets {
    /// Of these protocols.
    pub protocols: Protocols,
    /// From these.
    pub source: Addresses,
    /// To these.
    pub destination: Addresses,
    /// From these ports.
    pub source_ports: Ports,
    /// To these.
    pub destination_ports: Ports,
    /// In one or in pieces.
    pub pieces: Pieces,
}

/// Packets that stay the kernel's, and why.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kept {
    /// Which.
    pub packets: Packets,
    /// What keeps them, where, as people find it: "nftables chain ip nat POSTROUTING: masquerade".
    pub why: String,
}

impl Addresses {
    /// All of a family.
    pub const fn all(family: Family) -> Self {
        Self { first: 0, last: family.last_address() }
    }

    /// Those of a prefix.
    pub fn prefix(family: Family, address: u128, length: u8) -> Self {
        let bits = match family {
            Family::V4 => 32,
            Family::V6 => 128,
        };
        let host = family.last_address().checked_shr(u32::from(length.min(bits))).unwrap_or(0);
        Self { first: address & !host & family.last_address(), last: address | host }
    }

    /// Whether an address is one of them.
    pub const fn contains(&self, address: u128) -> bool {
        self.first <= address && address <= self.last
    }
}

impl Ports {
    /// All of them.
    pub const ALL: Self = Self { first: 0, last: u16::MAX };

    /// One.
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }
}

impl Pieces {
    /// Both.
    pub const ANY: Self = Self { whole: true, pieces: true };
    /// Packets that are not fragmented.
    pub const WHOLE: Self = Self { whole: true, pieces: false };
    /// Pieces.
    pub const PIECES: Self = Self { whole: false, pieces: true };
}

impl Protocols {
    /// All of them.
    pub const ALL: Self = Self([u64::MAX; 4]);
    /// None.
    pub const NONE: Self = Self([0; 4]);

    /// One.
    pub const fn one(protocol: u8) -> Self {
        let mut words = [0; 4];
        words[protocol as usize / 64] = 1 << (protocol % 64);
        Self(words)
    }

    /// As sixty-four at a time, the first bit of the first word protocol zero.
    pub const fn words(self) -> [u64; 4] {
        self.0
    }

    /// Whether a protocol is one of them.
    pub const fn contains(self, protocol: u8) -> bool {
        self.0[protocol as usize / 64] >> (protocol % 64) & 1 == 1
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self == Self::NONE
    }

    /// Those of either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.zip(other, |a, b| a | b)
    }

    /// Those of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        self.zip(other, |a, b| a & b)
    }

    /// Those of the first alone.
    #[must_use]
    pub fn without(self, other: Self) -> Self {
        self.zip(other, |a, b| a & !b)
    }

    fn zip(self, other: Self, each: impl Fn(u64, u64) -> u64) -> Self {
        Self(std::array::from_fn(|at| each(self.0[at], other.0[at])))
    }
}

impl fmt::Debug for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALL {
            return f.write_str("all");
        }
        f.debug_set().entries((0..=u8::MAX).filter(|protocol| self.contains(*protocol))).finish()
    }
}

/// What two ranges of the same kind have in common, and what one has beside another.
trait Range: Copy + PartialEq {
    type Number: Ord + Copy;
    fn of(first: Self::Number, last: Self::Number) -> Self;
    fn ends(self) -> (Self::Number, Self::Number);
    fn before(number: Self::Number) -> Self::Number;
    fn after(number: Self::Number) -> Self::Number;

    fn common(self, other: Self) -> Option<Self> {
        let ((a, b), (c, d)) = (self.ends(), other.ends());
        let (first, last) = (a.max(c), b.min(d));
        (first <= last).then(|| Self::of(first, last))
    }

    fn hull(self, other: Self) -> Self {
        let ((a, b), (c, d)) = (self.ends(), other.ends());
        Self::of(a.min(c), b.max(d))
    }

    /// What lies below and above `inner`, which lies within.
    fn beside(self, inner: Self) -> [Option<Self>; 2] {
        let ((a, b), (c, d)) = (self.ends(), inner.ends());
        [
            (a < c).then(|| Self::of(a, Self::before(c))),
            (d < b).then(|| Self::of(Self::after(d), b)),
        ]
    }
}

macro_rules! range {
    ($range:ty, $number:ty) => {
        impl Range for $range {
            type Number = $number;
            fn of(first: $number, last: $number) -> Self {
                Self { first, last }
            }
            fn ends(self) -> ($number, $number) {
                (self.first, self.last)
            }
            fn before(number: $number) -> $number {
                number.saturating_sub(1)
            }
            fn after(number: $number) -> $number {
                number.saturating_add(1)
            }
        }
    };
}

range!(Addresses, u128);
range!(Ports, u16);

impl Packets {
    /// All of a family.
    pub const fn all(family: Family) -> Self {
        Self {
            protocols: Protocols::ALL,
            source: Addresses::all(family),
            destination: Addresses::all(family),
            source_ports: Ports::ALL,
            destination_ports: Ports::ALL,
            pieces: Pieces::ANY,
        }
    }

    /// Those in both.
    pub fn and(&self, other: &Self) -> Option<Self> {
        let protocols = self.protocols.and(other.protocols);
        let pieces = Pieces {
            whole: self.pieces.whole && other.pieces.whole,
            pieces: self.pieces.pieces && other.pieces.pieces,
        };
        if protocols.is_empty() || !(pieces.whole || pieces.pieces) {
            return None;
        }
        Some(Self {
            protocols,
            pieces,
            source: self.source.common(other.source)?,
            destination: self.destination.common(other.destination)?,
            source_ports: self.source_ports.common(other.source_ports)?,
            destination_ports: self.destination_ports.common(other.destination_ports)?,
        })
    }

    /// Whether all of `other` are in this one.
    pub fn covers(&self, other: &Self) -> bool {
        self.and(other).as_ref() == Some(other)
    }

    /// What is left when those of `other` are taken out, as sets that have nothing in common.
    #[must_use]
    pub fn without(&self, other: &Self) -> Vec<Self> {
        let Some(common) = self.and(other) else { return vec![*self] };
        let mut left = Vec::new();
        let mut rest = *self;
        let protocols = rest.protocols.without(common.protocols);
        if !protocols.is_empty() {
            left.push(Self { protocols, ..rest });
        }
        rest.protocols = common.protocols;
        let pieces = Pieces {
            whole: rest.pieces.whole && !common.pieces.whole,
            pieces: rest.pieces.pieces && !common.pieces.pieces,
        };
        if pieces.whole || pieces.pieces {
            left.push(Self { pieces, ..rest });
        }
        rest.pieces = common.pieces;
        let beside = rest.source.beside(common.source);
        left.extend(beside.into_iter().flatten().map(|source| Self { source, ..rest }));
        rest.source = common.source;
        let beside = rest.destination.beside(common.destination);
        left.extend(beside.into_iter().flatten().map(|destination| Self { destination, ..rest }));
        rest.destination = common.destination;
        let beside = rest.source_ports.beside(common.source_ports);
        left.extend(beside.into_iter().flatten().map(|source_ports| Self { source_ports, ..rest }));
        rest.source_ports = common.source_ports;
        let beside = rest.destination_ports.beside(common.destination_ports);
        let last = beside.into_iter().flatten();
        left.extend(last.map(|destination_ports| Self { destination_ports, ..rest }));
        left
    }

    /// The smallest set of this kind with all of both.
    #[must_use]
    pub fn hull(&self, other: &Self) -> Self {
        Self {
            protocols: self.protocols.or(other.protocols),
            source: self.source.hull(other.source),
            destination: self.destination.hull(other.destination),
            source_ports: self.source_ports.hull(other.source_ports),
            destination_ports: self.destination_ports.hull(other.destination_ports),
            pieces: Pieces {
                whole: self.pieces.whole || other.pieces.whole,
                pieces: self.pieces.pieces || other.pieces.pieces,
            },
        }
    }

    /// The packets that answer these: the other way round. Of a protocol whose "ports" are something else, all.
    #[must_use]
    pub fn reversed(&self, family: Family) -> Self {
        let plain = !self.protocols.contains(family.control_protocol());
        let (source_ports, destination_ports) = match plain {
            true => (self.destination_ports, self.source_ports),
            false => (Ports::ALL, Ports::ALL),
        };
        Self {
            source: self.destination,
            destination: self.source,
            source_ports,
            destination_ports,
            ..*self
        }
    }

    /// As people write it: what is the same as everything is left out.
    pub fn describe(&self, family: Family) -> String {
        let mut words = Vec::new();
        if self.pieces == Pieces::PIECES {
            words.push("fragments".to_owned());
        }
        if self.protocols != Protocols::ALL {
            words.push(protocols_text(self.protocols));
        }
        let all = Addresses::all(family);
        // Of control messages these are no ports.
        let is_control = self.protocols == Protocols::one(family.control_protocol());
        let (sent, received) = if is_control { ("type", "code") } else { ("from port", "to port") };
        for (word, addresses, what, ports) in [
            ("from", self.source, sent, self.source_ports),
            ("to", self.destination, received, self.destination_ports),
        ] {
            if addresses != all {
                words.push(format!("{word} {}", addresses_text(family, addresses)));
            }
            if ports != Ports::ALL {
                words.push(format!("{what} {}", ports_text(ports)));
            }
        }
        if words.is_empty() { "all".to_owned() } else { words.join(" ") }
    }
}

fn ports_text(ports: Ports) -> String {
    match ports.first == ports.last {
        true => ports.first.to_string(),
        false => format!("{}-{}", ports.first, ports.last),
    }
}

fn addresses_text(family: Family, Addresses { first, last }: Addresses) -> String {
    let bits = (first ^ last).count_ones();
    let full = match family {
        Family::V4 => 32,
        Family::V6 => 128,
    };
    let host = 1_u128.checked_shl(bits).map_or(u128::MAX, |all| all - 1);
    let first_address = family.address(first);
    match (first == last, first & host == 0 && last == first | host) {
        (true, _) => first_address.to_string(),
        (false, true) => format!("{first_address}/{}", full - bits),
        (false, false) => format!("{first_address}-{}", family.address(last)),
    }
}

fn protocols_text(protocols: Protocols) -> String {
    let name = |protocol: u8| match protocol {
        1 => "icmp".to_owned(),
        6 => "tcp".to_owned(),
        17 => "udp".to_owned(),
        58 => "icmpv6".to_owned(),
        132 => "sctp".to_owned(),
        number => format!("protocol {number}"),
    };
    let list = |protocols: Protocols| {
        let names: Vec<String> =
            (0..=u8::MAX).filter(|number| protocols.contains(*number)).map(name).collect();
        names.join(", ")
    };
    let others = Protocols::ALL.without(protocols);
    let few = |protocols: Protocols| {
        protocols.words().iter().map(|word| word.count_ones()).sum::<u32>() <= 16
    };
    match (few(protocols), few(others)) {
        (true, _) => list(protocols),
        (false, true) => format!("all but {}", list(others)),
        (false, false) => "some protocols".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some() -> Packets {
        Packets {
            protocols: Protocols::one(6).or(Protocols::one(17)),
            source: Addresses::prefix(Family::V4, 0x0a00_0000, 8),
            destination: Addresses { first: 5, last: 9 },
            source_ports: Ports::ALL,
            destination_ports: Ports { first: 80, last: 90 },
            pieces: Pieces::ANY,
        }
    }

    fn contains(
        set: &Packets,
        (protocol, source, destination, port, piece): (u8, u128, u128, u16, bool),
    ) -> bool {
        set.protocols.contains(protocol)
            && set.source.contains(source)
            && set.destination.contains(destination)
            && set.destination_ports.first <= port
            && port <= set.destination_ports.last
            && (if piece { set.pieces.pieces } else { set.pieces.whole })
    }

    #[test]
    fn what_is_left_and_what_is_taken_out_are_all_and_share_nothing() {
        let all = Packets::all(Family::V4);
        let one = some();
        let other = Packets {
            source: Addresses::prefix(Family::V4, 0x0a01_0000, 16),
            pieces: Pieces::WHOLE,
            destination_ports: Ports::one(85),
            ..all
        };
        let probes = [1_u8, 6, 17].into_iter().flat_map(|protocol| {
            [0_u128, 0x0a00_0001, 0x0a01_0001, 0x0aff_ffff, 0x0b00_0000].into_iter().flat_map(
                move |source| {
                    [4_u128, 5, 9, 10].into_iter().flat_map(move |destination| {
                        [79_u16, 80, 85, 90, 91].into_iter().flat_map(move |port| {
                            [false, true].map(|piece| (protocol, source, destination, port, piece))
                        })
                    })
                },
            )
        });
        for probe in probes {
            for (whole, out) in [(&all, &one), (&one, &other), (&one, &all), (&other, &one)] {
                let left = whole.without(out).iter().filter(|set| contains(set, probe)).count();
                let expected = contains(whole, probe) && !contains(out, probe);
                assert_eq!(left, usize::from(expected), "{probe:?} of {whole:?} without {out:?}");
            }
        }
    }

    #[test]
    fn sets_are_said_as_people_write_them() {
        let said = |set: Packets| set.describe(Family::V4);
        let all = Packets::all(Family::V4);
        assert_eq!(said(all), "all");
        assert_eq!(said(Packets { pieces: Pieces::PIECES, ..all }), "fragments");
        let docker = Addresses::prefix(Family::V4, 0xac11_0000, 16);
        assert_eq!(said(Packets { source: docker, ..all }), "from 172.17.0.0/16");
        let tcp =
            Packets { protocols: Protocols::one(6), destination_ports: Ports::one(25), ..all };
        assert_eq!(said(tcp), "tcp to port 25");
        let errors = Packets {
            protocols: Protocols::one(1),
            source_ports: Ports { first: 3, last: 5 },
            ..all
        };
        assert_eq!(said(errors), "icmp type 3-5");
        let but = Packets { protocols: Protocols::ALL.without(Protocols::one(1)), ..all };
        assert_eq!(said(but), "all but icmp");
    }

    #[test]
    fn an_answer_goes_the_other_way() {
        let all = Packets::all(Family::V4);
        let one = Packets {
            protocols: Protocols::one(6),
            destination_ports: Ports::one(25),
            source: Addresses { first: 1, last: 1 },
            ..all
        };
        let answer = one.reversed(Family::V4);
        assert_eq!((answer.source_ports, answer.destination), (Ports::one(25), one.source));
        assert!(all.covers(&answer) && !answer.covers(&all));
    }
}
