//! From a message to a [`Change`].
//!
//! Of a message we cannot read, what it speaks of is left to the kernel: a route that
//! `netlink-packet-route` refuses becomes one of [`RouteKind::Other`].

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use netlink_packet_core::{NLM_F_APPEND, NLM_F_REPLACE, Parseable};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteNextHop,
    RouteNextHopFlags, RouteType, RouteVia,
};
use spine_nic::netlink::wire::{Raw, attributes, text, u16_at, u32_at};

use super::state::{Change, Hop, Link, Neighbour, Origin, Placement, Route, RouteKind, Via};
use super::{netconf, nexthop, rules};

pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(crate) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_DELROUTE: u16 = 25;
pub(super) const RTM_GETROUTE: u16 = 26;
pub(super) const RTM_NEWNEIGH: u16 = 28;
pub(super) const RTM_DELNEIGH: u16 = 29;
pub(super) const RTM_GETNEIGH: u16 = 30;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const RTM_NEWCHAIN: u16 = 100;
const RTM_DELCHAIN: u16 = 101;

/// What the message means to us; `None` for what does not concern IPv4 forwarding.
///
/// `dumped` says that it answers a dump, whose order is the kernel's.
pub fn change(raw: Raw<'_>, dumped: bool) -> Option<Change> {
    match raw.kind {
        RTM_NEWLINK | RTM_DELLINK => link(raw),
        RTM_NEWROUTE | RTM_DELROUTE => route(raw, dumped),
        RTM_NEWADDR => Some(Change::AddressAdded),
        RTM_DELADDR => Some(Change::AddressRemoved),
        RTM_NEWNEIGH | RTM_DELNEIGH => neighbour(raw),
        rules::RTM_NEWRULE | rules::RTM_DELRULE => Some(Change::Rules),
        RTM_NEWQDISC | RTM_DELQDISC | RTM_NEWTFILTER | RTM_DELTFILTER | RTM_NEWCHAIN
        | RTM_DELCHAIN => Some(Change::Policy),
        netconf::RTM_NEWNETCONF | netconf::RTM_DELNETCONF => netconf::change(raw),
        nexthop::RTM_NEWNEXTHOP | nexthop::RTM_DELNEXTHOP => nexthop::change(raw),
        _ => None,
    }
}

/// Read by hand: a link message has some sixty attributes, of which we want a few, and one that a
/// newer driver writes differently must not cost us the link.
fn link(raw: Raw<'_>) -> Option<Change> {
    const HEADER_BYTES: usize = 16;
    const IFLA_ADDRESS: u16 = 1;
    const IFLA_IFNAME: u16 = 3;
    const IFLA_MTU: u16 = 4;
    const IFLA_LINK: u16 = 5;
    const IFLA_MASTER: u16 = 10;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_GROUP: u16 = 27;
    const IFLA_LINK_NETNSID: u16 = 37;
    const ARPHRD_ETHER: u16 = 1;
    const IFF_UP: u32 = 1;
    const IFF_LOWER_UP: u32 = 1 << 16;

    // Bridges announce their ports in a family of their own; the interface is none the different.
    if *raw.payload.first()? != 0 {
        return None;
    }
    let ethernet = u16_at(raw.payload, 2)? == ARPHRD_ETHER;
    let index = u32_at(raw.payload, 4)?;
    let flags = u32_at(raw.payload, 8)?;
    if raw.kind == RTM_DELLINK {
        return Some(Change::Link(index, None));
    }
    let mut link =
        Link { up: flags & IFF_UP != 0, carrier: flags & IFF_LOWER_UP != 0, ..Link::default() };
    let (mut below, mut elsewhere, mut takes) = (None, false, false);
    for (kind, value) in attributes(raw.payload.get(HEADER_BYTES..)?) {
        match kind {
            IFLA_ADDRESS if ethernet => link.mac = value.try_into().ok(),
            IFLA_IFNAME => link.name = text(value),
            IFLA_MTU => link.mtu = u32_at(value, 0)?,
            IFLA_MASTER => link.master = u32_at(value, 0),
            IFLA_LINK => below = u32_at(value, 0),
            IFLA_GROUP => link.group = u32_at(value, 0).unwrap_or_default(),
            // What lies below is in another namespace, and the number is one of that.
            IFLA_LINK_NETNSID => elsewhere = true,
            IFLA_LINKINFO => (link.kind, takes) = link_info(value),
            _ => {}
        }
    }
    link.takes_from = below.filter(|_| takes && !elsewhere);
    Some(Change::Link(index, Some(link)))
}

/// The driver's word for the interface, and whether it takes packets addressed to the one below.
fn link_info(info: &[u8]) -> (Option<String>, bool) {
    const IFLA_INFO_KIND: u16 = 1;
    const IFLA_INFO_DATA: u16 = 2;
    const IFLA_MACVLAN_MODE: u16 = 1;
    // linux/if_link.h: "take over the underlying device", and by the sender's address.
    const PASSTHRU: u32 = 8;
    const SOURCE: u32 = 16;

    let find = |wanted| attributes(info).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
    let kind = find(IFLA_INFO_KIND).map(text);
    let takes = match kind.as_deref() {
        Some("vlan" | "ipvlan" | "ipvtap") => true,
        // In its other modes it has an address of its own.
        Some("macvlan" | "macvtap") => find(IFLA_INFO_DATA).is_some_and(|data| {
            attributes(data).any(|(kind, value)| {
                kind == IFLA_MACVLAN_MODE
                    && u32_at(value, 0).is_some_and(|mode| [PASSTHRU, SOURCE].contains(&mode))
            })
        }),
        _ => false,
    };
    (kind, takes)
}

fn neighbour(raw: Raw<'_>) -> Option<Change> {
    let message = NeighbourMessage::parse(raw.payload).ok()?;
    if !matches!(message.header.family, AddressFamily::Inet | AddressFamily::Inet6)
        || message.header.flags.contains(NeighbourFlags::Proxy)
    {
        return None;
    }
    let mut address: Option<IpAddr> = None;
    let mut mac = None;
    for attribute in message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(found)) => {
                address = Some(found.into());
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(found)) => {
                address = Some(found.into());
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.try_into().ok(),
            _ => {}
        }
    }
    let neighbour = Neighbour { mac, state: message.header.state.into() };
    let there = (raw.kind == RTM_NEWNEIGH).then_some(neighbour);
    Some(Change::Neighbour(address?, message.header.ifindex, there))
}

fn route(raw: Raw<'_>, dumped: bool) -> Option<Change> {
    let (prefix, route) = match RouteMessage::parse(raw.payload) {
        Ok(message) => readable(message)?,
        Err(_) => unreadable(raw.payload)?,
    };
    if raw.kind == RTM_DELROUTE {
        return Some(Change::RemoveRoute(prefix, route));
    }
    let placement = if dumped || raw.flags & NLM_F_APPEND != 0 {
        Placement::Last
    } else if raw.flags & NLM_F_REPLACE != 0 {
        Placement::Replace
    } else {
        Placement::First
    };
    Some(Change::AddRoute(prefix, route, placement))
}

fn readable(message: RouteMessage) -> Option<(Ipv4Net, Route)> {
    let header = message.header;
    if header.address_family != AddressFamily::Inet || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let mut destination = Ipv4Addr::UNSPECIFIED;
    let mut route = Route {
        table: u32::from(header.table),
        tos: header.tos,
        metric: 0,
        kind: kind_of(header.kind),
        via: Via::Hops(Vec::new()),
        mtu: None,
        origin: Origin {
            protocol: header.protocol.into(),
            scope: header.scope.into(),
            source: None,
        },
    };
    let mut object = None;
    let mut hops = Vec::new();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => destination = *address,
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::PrefSource(RouteAddress::Inet(address)) => {
                route.origin.source = Some(*address);
            }
            RouteAttribute::NhId(id) => object = Some(*id),
            RouteAttribute::MultiPath(members) => hops.extend(members.iter().map(member)),
            RouteAttribute::Metrics(metrics) => {
                route.mtu = metrics.iter().find_map(|metric| match metric {
                    RouteMetric::Mtu(mtu) => Some(*mtu),
                    _ => None,
                });
            }
            _ => {}
        }
    }
    let dead = header.flags.contains(RouteFlags::Dead);
    let only = Hop { dead, ..hop(&message.attributes, None) };
    if hops.is_empty() && (only.interface != 0 || only.gateway.is_some()) {
        hops.push(only);
    }
    route.via = object.map_or(Via::Hops(hops), Via::Object);
    let prefix = Ipv4Net::new(destination, header.destination_prefix_length).ok()?;
    Some((prefix.trunc(), route))
}

fn member(member: &RouteNextHop) -> Hop {
    // "hops" in the message is the weight less one.
    let weight = u32::from(member.hops) + 1;
    let dead = member.flags.contains(RouteNextHopFlags::Dead);
    Hop { weight, dead, ..hop(&member.attributes, Some(member.interface_index)) }
}

fn hop(attributes: &[RouteAttribute], interface: Option<u32>) -> Hop {
    let mut hop = Hop {
        interface: interface.unwrap_or(0),
        gateway: None,
        weight: 1,
        foreign: false,
        dead: false,
    };
    for attribute in attributes {
        match attribute {
            RouteAttribute::Oif(index) if interface.is_none() => hop.interface = *index,
            RouteAttribute::Gateway(RouteAddress::Inet(address))
            | RouteAttribute::Via(RouteVia::Inet(address)) => {
                hop.gateway = Some((*address).into());
            }
            RouteAttribute::Via(RouteVia::Inet6(address)) => hop.gateway = Some((*address).into()),
            RouteAttribute::Gateway(_)
            | RouteAttribute::Via(_)
            | RouteAttribute::Encap(_)
            | RouteAttribute::EncapType(_)
            | RouteAttribute::NewDestination(_) => hop.foreign = true,
            _ => {}
        }
    }
    hop
}

fn kind_of(kind: RouteType) -> RouteKind {
    match kind {
        RouteType::Unicast => RouteKind::Unicast,
        RouteType::Local => RouteKind::Local,
        RouteType::Broadcast => RouteKind::Broadcast,
        RouteType::BlackHole => RouteKind::Blackhole,
        RouteType::Unreachable => RouteKind::Unreachable,
        RouteType::Prohibit => RouteKind::Prohibit,
        RouteType::Throw => RouteKind::Throw,
        _ => RouteKind::Other,
    }
}

/// What can be said of a route with an attribute that is not understood: where it stands.
fn unreadable(payload: &[u8]) -> Option<(Ipv4Net, Route)> {
    const HEADER_BYTES: usize = 12;
    const RTA_DST: u16 = 1;
    const RTA_PRIORITY: u16 = 6;
    const RTA_PREFSRC: u16 = 7;
    const RTA_TABLE: u16 = 15;
    if i32::from(*payload.first()?) != libc::AF_INET {
        return None;
    }
    let mut destination = [0; 4];
    let mut route = Route {
        table: u32::from(*payload.get(4)?),
        tos: *payload.get(3)?,
        metric: 0,
        kind: RouteKind::Other,
        via: Via::Hops(Vec::new()),
        mtu: None,
        origin: Origin { protocol: *payload.get(5)?, scope: *payload.get(6)?, source: None },
    };
    for (kind, value) in attributes(payload.get(HEADER_BYTES..)?) {
        match kind {
            RTA_DST => destination = value.try_into().ok()?,
            RTA_PRIORITY => route.metric = u32_at(value, 0)?,
            RTA_PREFSRC => {
                route.origin.source = <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from);
            }
            RTA_TABLE => route.table = u32_at(value, 0)?,
            _ => {}
        }
    }
    Some((Ipv4Net::new(destination.into(), *payload.get(1)?).ok()?.trunc(), route))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(value.len() + 4).expect("short");
        let mut bytes = length.to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// RTM_NEWLINK of interface 7, `x`, with these attributes beside its name.
    fn decoded(attributes: &[Vec<u8>]) -> Link {
        let mut payload = vec![0; 16];
        payload[2] = 1;
        payload[4] = 7;
        payload.extend(attribute(3, b"x\0"));
        payload.extend(attributes.concat());
        let raw = Raw { kind: RTM_NEWLINK, flags: 0, sequence: 0, payload: &payload };
        match change(raw, false) {
            Some(Change::Link(7, Some(link))) => link,
            other => panic!("{other:?}"),
        }
    }

    fn info(kind: &str, data: &[u8]) -> Vec<u8> {
        let inner = [attribute(1, kind.as_bytes()), attribute(2, data)].concat();
        attribute(18 | 0x8000, &inner)
    }

    #[test]
    fn a_link_says_whose_packets_it_takes_and_what_it_is_a_port_of() {
        let below = attribute(5, &2_u32.to_ne_bytes());
        let foreign = attribute(37, &0_u32.to_ne_bytes());
        let mode = |mode: u32| attribute(1, &mode.to_ne_bytes());
        let id = attribute(1, &5_u16.to_ne_bytes());
        for (name, attributes, takes_from) in [
            ("vlan", vec![below.clone(), info("vlan", &id)], Some(2)),
            ("vlan, attributes turned round", vec![info("vlan", &id), below.clone()], Some(2)),
            ("vlan on another namespace's", vec![below.clone(), foreign, info("vlan", &id)], None),
            ("vlan without a word on what", vec![info("vlan", &id)], None),
            ("ipvlan", vec![below.clone(), info("ipvlan", &[])], Some(2)),
            ("macvlan, passthru", vec![below.clone(), info("macvlan", &mode(8))], Some(2)),
            ("macvtap, source", vec![below.clone(), info("macvtap", &mode(16))], Some(2)),
            ("macvlan, bridge", vec![below.clone(), info("macvlan", &mode(4))], None),
            ("veth: the link is its peer", vec![below.clone(), info("veth", &[])], None),
            ("no kind", vec![below.clone()], None),
        ] {
            assert_eq!(decoded(&attributes).takes_from, takes_from, "{name}");
        }
        assert_eq!(decoded(&[attribute(10, &9_u32.to_ne_bytes())]).master, Some(9));
        assert_eq!(decoded(&[attribute(10, &[9])]).master, None, "cut");
    }
}
