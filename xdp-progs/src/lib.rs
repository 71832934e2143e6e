//! The XDP programs, compiled and embedded, and the layouts of their maps.
//!
//! The programs are C (`src/bpf/`), one a file, compiled by the build script. This crate only carries
//! them and says how to write their keys and values; loading and attaching is the business of
//! `spine-io`. All layouts are byte arrays, so that no loader's trait has to be implemented here and
//! nothing is transmuted. What each map means is in the crate's README.
#![forbid(unsafe_code)]

use std::net::{Ipv4Addr, Ipv6Addr};

use spine_abi::HandlerNumber;

/// ELF loaders read headers in place and want them aligned.
#[repr(C, align(8))]
struct Aligned<Bytes: ?Sized>(Bytes);

static CLASSIFIER_OBJECT: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/classifier.o")));
static CLASSIFIER_OF_TAGS_OBJECT: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/classifier_of_tags.o")));
static PASS_OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/pass.o")));

/// The classifier as a BPF object file: program [`CLASSIFIER_PROGRAM`] and the maps in [`maps`].
pub static CLASSIFIER: &[u8] = &CLASSIFIER_OBJECT.0;
/// The same that passes packets with a VLAN tag beside them, for one interface whose driver tells of those: it is to be loaded for that
/// interface, over the maps of the other.
pub static CLASSIFIER_OF_TAGS: &[u8] = &CLASSIFIER_OF_TAGS_OBJECT.0;
/// The name of the program in [`CLASSIFIER`].
pub const CLASSIFIER_PROGRAM: &str = "classifier";
/// The program that passes every packet, as a BPF object file: program [`PASS_PROGRAM`], no maps.
pub static PASS: &[u8] = &PASS_OBJECT.0;
/// The name of the program in [`PASS`].
pub const PASS_PROGRAM: &str = "pass";

/// A constant of [`CLASSIFIER`] (`u8`, set before it is loaded): whether the stamp says when a packet came.
pub const STAMP_TIMES: &str = "stamp_times";
/// Another (`u64`, nanoseconds): how long packets claimed by their destination may wait in a socket's ring that nobody
/// looks into, before such packets are the kernel's. Zero: for ever.
pub const PATIENCE: &str = "patience";
/// Another (`u64`, nanoseconds): how long they are, from the last that came meanwhile.
pub const HOLD: &str = "hold";

/// Names of the classifier's maps.
pub mod maps {
    /// `[0]`: a `u32` as [`control`](super::control) makes it.
    pub const CONTROL: &str = "control";
    /// Interface index (`u32`) to [`Port`](super::Port).
    pub const PORTS: &str = "ports";
    /// AF_XDP sockets by the index that a port's queues lead to.
    pub const SOCKETS: &str = "sockets";
    /// IPv4 address (octets) to a `u8`: to and from these the kernel has the packet.
    pub const ADDRESSES: &str = "addresses";
    /// [`claim_key`](super::claim_key) to [`Ingresses`](super::Ingresses).
    pub const CLAIMS: &str = "claims";
    /// IPv6 address (octets) to a `u8`, as [`ADDRESSES`].
    pub const ADDRESSES_IPV6: &str = "addresses6";
    /// [`claim_key_ipv6`](super::claim_key_ipv6) to [`Ingresses`](super::Ingresses).
    pub const CLAIMS_IPV6: &str = "claims6";
    /// A number (`u32`) to [`Kept`](super::Kept); which are of an interface, its [`Port`](super::Port) says.
    pub const KEPT: &str = "kept";
    /// The same of IPv6.
    pub const KEPT_IPV6: &str = "kept6";
    /// [`Kept::counter`](super::Kept) to a `u64` for each CPU.
    pub const KEPT_PACKETS: &str = "kept_packets";
    /// [`PROGRESS_BYTES`](super::PROGRESS_BYTES) for each of the sockets, to be mapped: the first eight count how often its
    /// adapter has looked into its ring.
    pub const PROGRESS: &str = "progress";
    /// [`flow_key`](super::flow_key) to a handler number (`u32`).
    pub const FLOWS: &str = "flows";
    /// [`Counter`](super::Counter) (`u32`) to a `u64` for each CPU.
    pub const COUNTERS: &str = "counters";
}

/// Sockets the classifier can lead to.
pub const SOCKETS: u32 = 1024;
/// Bytes of what is known of each socket's progress.
pub const PROGRESS_BYTES: usize = 128;
/// Interfaces it can serve.
pub const PORTS: u32 = 64;
/// Addresses it can know, of each family.
pub const ADDRESSES: u32 = 4096;
/// Prefixes it can hold, of each family.
pub const CLAIMS: u32 = 1 << 20;
/// Claimed UDP ports it can hold, the entries for fragments among them.
pub const FLOWS: u32 = 1024;

/// Sets of packets of a family that the kernel can keep of what one interface receives.
pub const KEPT: u32 = 32;
/// Counters of such packets.
pub const KEPT_COUNTERS: u32 = 256;

/// From which interfaces packets to a prefix are ours, by their [number](Port::ingress).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ingresses(pub u64);

impl Ingresses {
    /// From all.
    pub const ALL: Self = Self(u64::MAX);
    /// From none: the kernel's.
    pub const NONE: Self = Self(0);
}

impl From<bool> for Ingresses {
    fn from(ours: bool) -> Self {
        if ours { Self::ALL } else { Self::NONE }
    }
}

/// Packets of one family that are the kernel's wherever they go; ranges with both ends meant. For ICMP the source's port
/// is the type, and the destination's the code.
///
/// An IPv6 packet with extension headers is in whatever its protocol and its ports would be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept<Address = Ipv4Addr> {
    /// A bit for each protocol number, from the lowest bit of the first word on.
    pub protocols: [u64; 4],
    /// From these.
    pub source: (Address, Address),
    /// To these.
    pub destination: (Address, Address),
    /// From these ports.
    pub source_ports: (u16, u16),
    /// To these.
    pub destination_ports: (u16, u16),
    /// Packets in one piece.
    pub whole: bool,
    /// Pieces of fragmented packets, whatever their ports would be.
    pub pieces: bool,
    /// Where they are counted: below [`KEPT_COUNTERS`].
    pub counter: u32,
}

impl Kept<Ipv4Addr> {
    /// Size of the map's value.
    pub const BYTES: usize = 64;

    /// The map's value.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        self.write(&mut bytes, |address| u32::from(address).to_ne_bytes());
        bytes
    }
}

impl Kept<Ipv6Addr> {
    /// Size of the map's value.
    pub const BYTES: usize = 112;

    /// The map's value.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        self.write(&mut bytes, |address: Ipv6Addr| {
            let (octets, mut words) = (address.octets(), [0; 16]);
            for (from, to) in octets.as_chunks::<8>().0.iter().zip(words.as_chunks_mut().0) {
                *to = u64::from_be_bytes(*from).to_ne_bytes();
            }
            words
        });
        bytes
    }
}

impl<Address: Copy> Kept<Address> {
    /// Writes all of it, the addresses in this form.
    fn write<const N: usize>(self, bytes: &mut [u8], form: impl Fn(Address) -> [u8; N]) {
        let mut parts = Vec::with_capacity(bytes.len());
        for word in self.protocols {
            parts.extend(word.to_ne_bytes());
        }
        for address in [self.source.0, self.source.1, self.destination.0, self.destination.1] {
            parts.extend(form(address));
        }
        let ((a, b), (c, d)) = (self.source_ports, self.destination_ports);
        for port in [a, b, c, d] {
            parts.extend(port.to_ne_bytes());
        }
        let pieces = u32::from(self.whole) | u32::from(self.pieces) << 1;
        parts.extend(pieces.to_ne_bytes());
        parts.extend(self.counter.to_ne_bytes());
        bytes.copy_from_slice(&parts);
    }
}

/// The control map's value: whether packets are claimed at all, whether UDP ports are looked up, and
/// whether messages between hosts on a link are claimed.
pub const fn control(claim: bool, flows: bool, hosts: bool) -> u32 {
    match claim {
        false => 0,
        true => 1 | (flows as u32) << 1 | (hosts as u32) << 2,
    }
}

/// An interface the classifier claims packets on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    /// Index of the socket of the interface's queue 0; those of its other queues follow.
    pub first_socket: u32,
    /// How many queues have a socket.
    pub queues: u32,
    /// The interface's own address: only packets sent to it are claimed.
    pub mac: [u8; 6],
    /// The handler number to stamp.
    pub handler: HandlerNumber,
    /// Whether IPv4 packets received here are claimed by their destination, as a router's are. What comes to a claimed
    /// port, or from another host's adapter, is claimed all the same.
    pub enabled: bool,
    /// Whether IPv6 packets are.
    pub enabled_ipv6: bool,
    /// Whether senders here leave checksums to the card that do not cross a real one (a veth's peer):
    /// tunnels and SCTP are then the kernel's, which alone can complete theirs.
    pub unfinished_checksums: bool,
    /// Its number in [`Ingresses`], 0 to 63.
    pub ingress: u32,
    /// The first of the sets that the kernel keeps of what is received here, wherever it goes: see [`Kept`].
    pub first_kept: u32,
    /// How many there are, at most [`KEPT`].
    pub kept: u32,
    /// Whether what adapters hand back to the kernel comes by here again, as it does in generic mode.
    pub again: bool,
    /// Bytes of a packet, with its Ethernet header, that a frame holds: longer ones are the kernel's.
    pub longest: u32,
    /// The same of IPv6.
    pub first_kept_ipv6: u32,
    /// The same of IPv6.
    pub kept_ipv6: u32,
}

/// Bits of a port's `enabled`.
const IPV4: u32 = 1 << 0;
const IPV6: u32 = 1 << 1;

impl Port {
    /// Size of the map's value.
    pub const BYTES: usize = 52;

    /// The map's value.
    pub fn to_bytes(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[0..4].copy_from_slice(&self.first_socket.to_ne_bytes());
        bytes[4..8].copy_from_slice(&self.queues.to_ne_bytes());
        bytes[8..14].copy_from_slice(&self.mac);
        bytes[14..16].copy_from_slice(&self.handler.0.to_ne_bytes());
        let enabled =
            if self.enabled { IPV4 } else { 0 } | if self.enabled_ipv6 { IPV6 } else { 0 };
        bytes[16..20].copy_from_slice(&enabled.to_ne_bytes());
        bytes[20..24].copy_from_slice(&u32::from(self.unfinished_checksums).to_ne_bytes());
        bytes[24..28].copy_from_slice(&self.ingress.to_ne_bytes());
        bytes[28..32].copy_from_slice(&self.first_kept.to_ne_bytes());
        bytes[32..36].copy_from_slice(&self.kept.to_ne_bytes());
        bytes[36..40].copy_from_slice(&u32::from(self.again).to_ne_bytes());
        bytes[40..44].copy_from_slice(&self.longest.to_ne_bytes());
        bytes[44..48].copy_from_slice(&self.first_kept_ipv6.to_ne_bytes());
        bytes[48..52].copy_from_slice(&self.kept_ipv6.to_ne_bytes());
        bytes
    }

    /// The port behind a value of the map.
    pub fn from_bytes(bytes: &[u8; Self::BYTES]) -> Self {
        let word =
            |at| u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        Self {
            first_socket: word(0),
            queues: word(4),
            mac: [bytes[8], bytes[9], bytes[10], bytes[11], bytes[12], bytes[13]],
            handler: HandlerNumber(u16::from_ne_bytes([bytes[14], bytes[15]])),
            enabled: word(16) & IPV4 != 0,
            enabled_ipv6: word(16) & IPV6 != 0,
            unfinished_checksums: word(20) != 0,
            ingress: word(24),
            first_kept: word(28),
            kept: word(32),
            again: word(36) != 0,
            longest: word(40),
            first_kept_ipv6: word(44),
            kept_ipv6: word(48),
        }
    }
}

/// The claims map's key for a prefix; bits of the address behind `length` mean nothing to the trie.
pub fn claim_key(prefix: Ipv4Addr, length: u8) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[0..4].copy_from_slice(&u32::from(length).to_ne_bytes());
    bytes[4..8].copy_from_slice(&prefix.octets());
    bytes
}

/// The same for IPv6.
pub fn claim_key_ipv6(prefix: Ipv6Addr, length: u8) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[0..4].copy_from_slice(&u32::from(length).to_ne_bytes());
    bytes[4..20].copy_from_slice(&prefix.octets());
    bytes
}

/// The flows map's key for a UDP port at a destination address.
///
/// Address 0.0.0.0 is any unicast address whose packets are sent to the interface: beside a router name
/// the address, or what is on its way to somebody else's port is claimed, too. Port 0 with any handler
/// but zero says that something is claimed at the address, so that fragments to it are counted.
pub fn flow_key(address: Ipv4Addr, port: u16) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[0..4].copy_from_slice(&address.octets());
    bytes[4..6].copy_from_slice(&port.to_be_bytes());
    bytes
}

macro_rules! counters {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// What became of a packet at the classifier.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        pub enum Counter { $($(#[$doc])* $variant = $number),* }

        impl Counter {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name used in statistics and JSON.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }
        }
    };
}

counters! {
    /// Given to an adapter; the kernel has all others.
    Claimed = 0, "claimed";
    /// The host half wants the kernel to have all packets, or all of this interface.
    SwitchedOff = 1, "switched_off";
    /// The interface is not ours, or its queue has no socket.
    NoSocket = 2, "no_socket";
    /// Not addressed to this interface; broadcast and multicast among them.
    OtherMac = 3, "other_mac";
    /// ARP, VLAN tags, anything else; IPv6 where it is not claimed.
    NotIpv4 = 4, "not_ipv4";
    /// Ends before its headers do.
    Truncated = 5, "truncated";
    /// Version and lengths contradict each other or the frame.
    BadHeader = 6, "bad_header";
    /// IP options, or a hop-by-hop header.
    Options = 7, "options";
    /// Would not survive a hop.
    TtlExceeded = 8, "ttl_exceeded";
    /// What routers say to each other: OSPF, IGMP, PIM, VRRP, RSVP, EIGRP.
    RoutingProtocol = 9, "routing_protocol";
    /// Multicast, broadcast, loopback, "this network", link-local.
    SpecialAddress = 10, "special_address";
    /// To or from an address of this machine.
    Local = 11, "local";
    /// The way out is not one of our interfaces.
    NotOurs = 12, "not_ours";
    /// A tunnel, SCTP, or behind an extension header, from senders that leave checksums undone.
    UnfinishedChecksums = 13, "unfinished_checksums";
    /// A fragment to an address where a UDP port is claimed: nobody here puts it together.
    Fragments = 14, "fragments";
    /// One of the kernel's rules could treat it otherwise than to let it pass: see [`Kept`].
    KeptByRules = 15, "kept_by_rules";
    /// Longer than a frame: an MTU beyond it, or segments that are not cut yet.
    TooLong = 16, "too_long";
    /// Nobody has looked into its socket's ring for too long, and packets wait there.
    AdapterStuck = 17, "adapter_stuck";
    /// A VLAN tag that its driver has beside it: of a VLAN that is not the interface's.
    TagBeside = 18, "tag_beside";
    /// What an adapter has handed back to the kernel, on its way there.
    Handed = 19, "handed";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The C side's list is the one the kernel counts by.
    #[test]
    fn counters_are_those_of_the_header_in_its_order() {
        let header = include_str!("bpf/spine.h");
        let list = header.split_once("enum spine_counter {").expect("the header has the enum").1;
        let list = list.split_once('}').expect("the enum ends").0;
        let in_c: Vec<String> = list
            .lines()
            .filter_map(|line| line.trim().strip_prefix("SPINE_")?.split(',').next())
            .map(str::to_lowercase)
            .collect();
        let mut here: Vec<&str> = Counter::ALL.iter().map(|counter| counter.name()).collect();
        for (position, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, position);
        }
        here.push("counters");
        assert_eq!(in_c, here);
    }

    #[test]
    fn objects_are_aligned_elf_files() {
        for object in [CLASSIFIER, CLASSIFIER_OF_TAGS, PASS] {
            assert_eq!(&object[..4], b"\x7fELF");
            assert_eq!(object.as_ptr().align_offset(8), 0);
        }
    }

    #[test]
    fn layouts_are_those_of_the_header() {
        let port = Port {
            first_socket: 1,
            queues: 2,
            mac: [3, 4, 5, 6, 7, 8],
            handler: HandlerNumber(9),
            enabled: false,
            enabled_ipv6: true,
            unfinished_checksums: true,
            ingress: 7,
            first_kept: 64,
            kept: 3,
            again: true,
            longest: 1792,
            first_kept_ipv6: 96,
            kept_ipv6: 4,
        };
        let mut expected = Vec::new();
        expected.extend(1u32.to_ne_bytes());
        expected.extend(2u32.to_ne_bytes());
        expected.extend([3, 4, 5, 6, 7, 8]);
        expected.extend(9u16.to_ne_bytes());
        expected.extend(2u32.to_ne_bytes());
        expected.extend(1u32.to_ne_bytes());
        expected.extend(7u32.to_ne_bytes());
        expected.extend(64u32.to_ne_bytes());
        expected.extend(3u32.to_ne_bytes());
        expected.extend(1u32.to_ne_bytes());
        expected.extend(1792u32.to_ne_bytes());
        expected.extend(96u32.to_ne_bytes());
        expected.extend(4u32.to_ne_bytes());
        assert_eq!(port.to_bytes().as_slice(), expected);
        assert_eq!(Port::from_bytes(&port.to_bytes()), port);
        assert_eq!(claim_key(Ipv4Addr::new(10, 1, 0, 0), 16)[4..], [10, 1, 0, 0]);
        let site = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 9);
        assert_eq!(claim_key_ipv6(site, 48)[4..], site.octets());
        let flow = flow_key(Ipv4Addr::new(239, 1, 2, 3), 5004);
        assert_eq!(flow, [239, 1, 2, 3, 0x13, 0x8c, 0, 0]);
    }
}
