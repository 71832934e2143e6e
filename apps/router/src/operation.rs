//! What changes a half of the table, whichever kind of table it is.

use ipnet::{Ipv4Net, Ipv6Net};
use spine_fib::{NextHop, layout};

/// The group of addresses without a route.
pub const GROUP_NO_ROUTE: u16 = layout::NO_ROUTE_GROUP;

/// One step of a change to the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// All addresses of a prefix belong to a group, whatever they belonged to before.
    Paint(Ipv4Net, u16),
    /// The same of an IPv6 prefix.
    PaintIpv6(Ipv6Net, u16),
    /// A group spreads packets over these next hops; a power of two of them, at most [`BUCKETS`](crate::fib::BUCKETS).
    SetGroup(u16, Vec<u16>),
    /// From which adapters packets are believed whose source belongs to a group: a bit for each.
    SetSources(u16, u64),
    /// A next hop is now so.
    SetNextHop(u16, NextHop),
    /// Which adapters look up where a packet comes from: a bit for each. Not in the half, but with it.
    CheckSources(u64),
}
