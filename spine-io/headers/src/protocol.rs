//! What follows an IP header, by number (IANA, "Assigned Internet Protocol Numbers").
//!
//! IPv4 calls the field "protocol" and IPv6 "next header"; the numbers are the same. Left out: the
//! headers that only IPv6 has, which are with it ([`crate::ipv6::extension`]).

/// ICMP for IPv4.
pub const ICMP: u8 = 1;
/// Multicast groups.
pub const IGMP: u8 = 2;
/// IPv4 in IP.
pub const IPV4: u8 = 4;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// IPv6 in IP.
pub const IPV6: u8 = 41;
/// Reservations.
pub const RSVP: u8 = 46;
/// Generic routing encapsulation.
pub const GRE: u8 = 47;
/// Encrypted payload (RFC 4303).
pub const ESP: u8 = 50;
/// ICMP for IPv6.
pub const ICMPV6: u8 = 58;
/// EIGRP.
pub const EIGRP: u8 = 88;
/// OSPF.
pub const OSPF: u8 = 89;
/// Multicast routing.
pub const PIM: u8 = 103;
/// Virtual router redundancy.
pub const VRRP: u8 = 112;
/// SCTP.
pub const SCTP: u8 = 132;
