//! The things the kernel forwards by: interfaces, neighbours, settings, next hops, routes.
//!
//! Each as the kernel has it, and when it takes one for another. [`state`](super::state) is about all of them
//! together.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

/// The kernel's number of an interface.
pub type IfIndex = u32;

/// The table of addresses of this machine.
pub const TABLE_LOCAL: u32 = 255;
/// The table `ip route` works on.
pub const TABLE_MAIN: u32 = 254;
/// The table asked when neither local nor main has a match.
pub const TABLE_DEFAULT: u32 = 253;

/// An interface.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Its name.
    pub name: String,
    /// Its Ethernet address; `None` for anything that is not Ethernet.
    pub mac: Option<[u8; 6]>,
    /// Bytes of the largest IP packet it takes.
    pub mtu: u32,
    /// Administratively up (IFF_UP).
    pub up: bool,
    /// Has a carrier (IFF_LOWER_UP).
    pub carrier: bool,
    /// The driver's word for it ("veth"), where it has one.
    pub kind: Option<String>,
    /// Its group (`ip link set group`), by which rules may ask for it.
    pub group: u32,
    /// What it is a port of: a bridge, a bond, a VRF.
    pub master: Option<IfIndex>,
    /// The interface on which it lies and whose packets it takes, although they are addressed to that
    /// one: for a VLAN device, an ipvlan, a macvlan of the kind that does.
    pub takes_from: Option<IfIndex>,
}

/// What is known about a machine on an interface's link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Its Ethernet address, once resolved.
    pub mac: Option<[u8; 6]>,
    /// The NUD_* bit of its state.
    pub state: u16,
}

/// NUD_INCOMPLETE .. NUD_PERMANENT (linux/neighbour.h).
pub mod nud {
    /// Being resolved for the first time.
    pub const INCOMPLETE: u16 = 0x01;
    /// Confirmed recently.
    pub const REACHABLE: u16 = 0x02;
    /// Not confirmed recently, still usable.
    pub const STALE: u16 = 0x04;
    /// Used while stale; will be probed.
    pub const DELAY: u16 = 0x08;
    /// Being probed.
    pub const PROBE: u16 = 0x10;
    /// Resolution failed.
    pub const FAILED: u16 = 0x20;
    /// Needs no resolution.
    pub const NOARP: u16 = 0x40;
    /// Set by hand.
    pub const PERMANENT: u16 = 0x80;
    /// States in which the kernel itself sends to the address (NUD_VALID).
    pub const VALID: u16 = PERMANENT | NOARP | REACHABLE | PROBE | STALE | DELAY;
}

impl Neighbour {
    /// Whether the kernel knows that it does not answer, or waits for its first answer.
    pub fn is_dead(&self) -> bool {
        self.state & nud::VALID == 0
    }

    /// The address to send to, if the kernel would send to it, too.
    pub fn usable(&self) -> Option<[u8; 6]> {
        self.mac.filter(|_| self.state & nud::VALID != 0)
    }
}

/// The settings under `net.ipv4.conf.<interface>` that forwarding depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Conf {
    /// Packets received here may be forwarded.
    pub forwarding: bool,
    /// Reverse-path filter: 0 off, 1 strict, 2 loose.
    pub rp_filter: u32,
    /// Routes over an interface without carrier are passed over.
    pub ignore_linkdown: bool,
}

/// Settings of a network namespace of which nothing is announced: they are read now and then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sysctls {
    /// `fib_multipath_use_neigh`: of several ways out those are passed over whose neighbour does not answer.
    pub multipath_minds_neighbours: bool,
    /// `ip_forward_use_pmtu`: what was learned of a path counts for forwarded packets.
    pub forward_uses_path_mtu: bool,
}

impl Sysctls {
    /// Those of the calling thread's namespace; what cannot be read is off, as a kernel without it has it.
    pub fn read() -> Self {
        let is_on = |name: &str| {
            let value = std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
            value.is_ok_and(|value| !["", "0"].contains(&value.trim()))
        };
        Self {
            multipath_minds_neighbours: is_on("fib_multipath_use_neigh"),
            forward_uses_path_mtu: is_on("ip_forward_use_pmtu"),
        }
    }
}

/// Where the settings of `conf/all` are found in [`KernelState::conf`](super::KernelState::conf).
pub const CONF_ALL: i32 = -1;
/// Where the settings of `conf/default` are found in [`KernelState::conf`](super::KernelState::conf).
pub const CONF_DEFAULT: i32 = -2;

/// One way out.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Hop {
    /// The interface.
    pub interface: IfIndex,
    /// The router to send to, which may have an IPv6 address (RFC 8950); `None`: the destination itself is on the
    /// link.
    pub gateway: Option<IpAddr>,
    /// Its share, 1 to 65536, relative to the other hops of the route.
    pub weight: u32,
    /// Something we do not do: an encapsulation, or a link of another family.
    pub foreign: bool,
    /// The kernel does not use it (RTNH_F_DEAD): its interface is down, or has lost its last address.
    pub dead: bool,
}

impl Hop {
    /// Whether it is the same way out, alive or dead.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        let way = |hop: &Self| (hop.interface, hop.gateway, hop.weight, hop.foreign);
        way(self) == way(other)
    }
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Via {
    /// Hops of its own; empty for a blackhole and its like.
    Hops(Vec<Hop>),
    /// A nexthop object (`ip nexthop`), by its number.
    Object(u32),
}

impl Via {
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hops(ours), Self::Hops(theirs)) => {
                ours.len() == theirs.len()
                    && ours.iter().zip(theirs).all(|(one, other)| one.is_same(other))
            }
            _ => self == other,
        }
    }

    /// Whether one of its own hops is dead.
    pub(super) fn has_dead_hop(&self) -> bool {
        matches!(self, Self::Hops(hops) if hops.iter().any(|hop| hop.dead))
    }
}

/// A nexthop object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextHopObject {
    /// One way out.
    Single(Hop),
    /// Throws packets away.
    Blackhole,
    /// Other objects by number, with their weights.
    Group(Vec<(u32, u32)>),
    /// A group whose members keep the flows they have, as nobody but the kernel knows.
    Resilient,
}

/// What happens to a packet that a route matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteKind {
    /// It is forwarded.
    Unicast,
    /// It is for this machine.
    Local,
    /// It is a broadcast on one of our links.
    Broadcast,
    /// It is dropped without a word.
    Blackhole,
    /// It is dropped and the sender told.
    Unreachable,
    /// It is dropped and the sender told so.
    Prohibit,
    /// The search goes on in the next table.
    Throw,
    /// Something else, or something we could not read.
    Other,
}

/// By what else the kernel tells routes apart; none of it matters to where packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Origin {
    /// Who made the route (RTPROT_*).
    pub protocol: u8,
    /// How far its destination is (RT_SCOPE_*).
    pub scope: u8,
    /// The source address of this machine's own packets.
    pub source: Option<Ipv4Addr>,
}

/// A route, without its prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Route {
    /// The table it stands in.
    pub table: u32,
    /// The type of service it is for; 0 for any.
    pub tos: u8,
    /// The lower, the better.
    pub metric: u32,
    /// What it does.
    pub kind: RouteKind,
    /// Where it leads.
    pub via: Via,
    /// The largest packet for this route, where one is set.
    pub mtu: Option<u32>,
    /// Whose it is.
    pub origin: Origin,
}

impl Route {
    /// Whether the kernel would take one for the other: they differ at most in which hops are dead.
    pub fn is_same(&self, other: &Self) -> bool {
        let rest = |route: &Self| (route.key(), route.kind, route.mtu, route.origin);
        rest(self) == rest(other) && self.via.is_same(&other.via)
    }

    /// Routes of one prefix with the same key replace each other.
    pub(super) fn key(&self) -> (std::cmp::Reverse<u32>, std::cmp::Reverse<u8>, u32) {
        (std::cmp::Reverse(self.table), std::cmp::Reverse(self.tos), self.metric)
    }
}

/// What a policy rule does with the packets it matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAction {
    /// Looks them up in a table, and the search goes on where that has nothing.
    Table(u32),
    /// The search goes on at the first rule with this preference, which is a higher one.
    Goto(u32),
    /// Nothing: the search goes on.
    Nothing,
    /// The search ends like that of a route of this kind.
    End(RouteKind),
    /// Something that is not understood.
    Other,
}

/// A policy rule (`ip rule`) for IPv4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its place: the lower, the earlier.
    pub preference: u32,
    /// What it does.
    pub action: RuleAction,
    /// It is for the packets that do *not* match.
    pub inverted: bool,
    /// From these.
    pub source: Ipv4Net,
    /// To these.
    pub destination: Ipv4Net,
    /// Received on the interface with this name.
    pub ingress: Option<String>,
    /// Bound to the interface with this name, which a forwarded packet is to none.
    pub egress: Option<String>,
    /// Of this mark, in the bits of the mask.
    pub mark: u32,
    /// Which bits of the mark count.
    pub mask: u32,
    /// Of this protocol.
    pub protocol: Option<u8>,
    /// From these ports.
    pub source_ports: Option<(u16, u16)>,
    /// To these ports.
    pub destination_ports: Option<(u16, u16)>,
    /// Of these users; what is forwarded counts as the first user's.
    pub users: Option<(u32, u32)>,
    /// Of a VRF.
    pub vrf: bool,
    /// Out of a tunnel with a number.
    pub tunnel: bool,
    /// A match in the table counts only if it is longer than this.
    pub longer_than: Option<u32>,
    /// A match in the table does not count if it leads over interfaces of some group.
    pub minds_groups: bool,
    /// It has a condition that cannot be judged: a type of service, or one that is not understood.
    pub unclear: bool,
}

impl Rule {
    /// The rule that leads everything to a table.
    pub fn lookup(preference: u32, table: u32) -> Self {
        Self {
            preference,
            action: RuleAction::Table(table),
            inverted: false,
            source: Ipv4Net::default(),
            destination: Ipv4Net::default(),
            ingress: None,
            egress: None,
            mark: 0,
            mask: 0,
            protocol: None,
            source_ports: None,
            destination_ports: None,
            users: None,
            vrf: false,
            tunnel: false,
            longer_than: None,
            minds_groups: false,
            unclear: false,
        }
    }

    /// The three that every network namespace starts with.
    pub fn defaults() -> Vec<Self> {
        vec![
            Self::lookup(0, TABLE_LOCAL),
            Self::lookup(32766, TABLE_MAIN),
            Self::lookup(32767, TABLE_DEFAULT),
        ]
    }
}

/// As `ip rule` takes it.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let everything = Ipv4Net::default();
        write!(f, "preference {}", self.preference)?;
        if self.inverted {
            f.write_str(" not")?;
        }
        for (word, net) in [("from", self.source), ("to", self.destination)] {
            if net != everything {
                write!(f, " {word} {net}")?;
            }
        }
        for (word, name) in [("iif", &self.ingress), ("oif", &self.egress)] {
            if let Some(name) = name {
                write!(f, " {word} {name}")?;
            }
        }
        match (self.mark, self.mask) {
            (0, 0) => {}
            (mark, u32::MAX) => write!(f, " fwmark {mark:#x}")?,
            (mark, mask) => write!(f, " fwmark {mark:#x}/{mask:#x}")?,
        }
        if let Some(protocol) = self.protocol {
            write!(f, " ipproto {protocol}")?;
        }
        for (word, ports) in [("sport", self.source_ports), ("dport", self.destination_ports)] {
            if let Some((first, last)) = ports {
                write!(f, " {word} {first}-{last}")?;
            }
        }
        if let Some((first, last)) = self.users {
            write!(f, " uidrange {first}-{last}")?;
        }
        let words = [(self.vrf, " l3mdev"), (self.tunnel, " tun_id"), (self.unclear, " and more")];
        for (_, word) in words.iter().filter(|(there, _)| *there) {
            f.write_str(word)?;
        }
        match self.action {
            RuleAction::Table(TABLE_MAIN) => f.write_str(" lookup main")?,
            RuleAction::Table(TABLE_LOCAL) => f.write_str(" lookup local")?,
            RuleAction::Table(TABLE_DEFAULT) => f.write_str(" lookup default")?,
            RuleAction::Table(table) => write!(f, " lookup {table}")?,
            RuleAction::Goto(preference) => write!(f, " goto {preference}")?,
            RuleAction::Nothing => f.write_str(" nop")?,
            RuleAction::End(RouteKind::Blackhole) => f.write_str(" blackhole")?,
            RuleAction::End(RouteKind::Prohibit) => f.write_str(" prohibit")?,
            RuleAction::End(_) => f.write_str(" unreachable")?,
            RuleAction::Other => f.write_str(" of an unknown kind")?,
        }
        match self.longer_than {
            Some(length) => write!(f, " suppress_prefixlength {length}"),
            None => Ok(()),
        }
    }
}
