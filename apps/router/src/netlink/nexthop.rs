//! Nexthop objects (RTM_NEWNEXTHOP and its kin), which `netlink-packet-route` 0.34 does not know.
//!
//! Numbers from linux/nexthop.h.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use spine_nic::netlink::wire::{Raw, attributes, u16_at, u32_at};

use super::state::{Change, Hop, NextHopObject};

/// A nexthop object appeared or changed.
pub const RTM_NEWNEXTHOP: u16 = 104;
/// A nexthop object went away.
pub const RTM_DELNEXTHOP: u16 = 105;
/// Asks for nexthop objects.
pub const RTM_GETNEXTHOP: u16 = 106;
/// The multicast group of such notifications.
pub const RTNLGRP_NEXTHOP: u32 = 32;
/// struct nhmsg: family, scope, protocol, reserved, flags.
pub const HEADER_BYTES: usize = 8;

/// The kernel does not use it (linux/rtnetlink.h).
const RTNH_F_DEAD: u32 = 1;

const NHA_ID: u16 = 1;
const NHA_GROUP: u16 = 2;
const NHA_GROUP_TYPE: u16 = 3;
const NHA_BLACKHOLE: u16 = 4;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
const NHA_ENCAP_TYPE: u16 = 7;
const NHA_ENCAP: u16 = 8;
const NHA_FDB: u16 = 11;
/// NEXTHOP_GRP_TYPE_MPATH.
const MULTIPATH: u16 = 0;
/// Bytes of struct nexthop_grp: id, weight less one, its high byte, reserved.
const GROUP_ENTRY_BYTES: usize = 8;

/// What a nexthop message says; `None` for one that makes no sense.
pub fn change(raw: Raw<'_>) -> Option<Change> {
    let family = i32::from(*raw.payload.first()?);
    let mut id = None;
    let mut object = None;
    let dead = u32_at(raw.payload, 4)? & RTNH_F_DEAD != 0;
    // Onto a link it leads by its own family alone; to a gateway, whoever uses it.
    let mut onto_other = family != libc::AF_INET;
    let (foreign, mut resilient) = (false, false);
    let mut hop = Hop { interface: 0, gateway: None, weight: 1, foreign, dead };
    for (kind, value) in attributes(raw.payload.get(HEADER_BYTES..)?) {
        match kind {
            NHA_ID => id = u32_at(value, 0),
            NHA_GROUP => object = Some(NextHopObject::Group(group(value))),
            NHA_BLACKHOLE => object = Some(NextHopObject::Blackhole),
            NHA_OIF => hop.interface = u32_at(value, 0)?,
            NHA_GROUP_TYPE => resilient = u16_at(value, 0) != Some(MULTIPATH),
            NHA_GATEWAY => {
                onto_other = false;
                hop.gateway = address(value);
                hop.foreign |= hop.gateway.is_none();
            }
            NHA_ENCAP_TYPE | NHA_ENCAP | NHA_FDB => hop.foreign = true,
            _ => {}
        }
    }
    hop.foreign |= onto_other;
    let object = match object {
        Some(NextHopObject::Group(_)) if resilient => NextHopObject::Resilient,
        Some(object) => object,
        None => NextHopObject::Single(hop),
    };
    Some(Change::NextHop(id?, (raw.kind == RTM_NEWNEXTHOP).then_some(object)))
}

fn address(value: &[u8]) -> Option<IpAddr> {
    match value.len() {
        4 => Some(Ipv4Addr::from(<[u8; 4]>::try_from(value).ok()?).into()),
        _ => Some(Ipv6Addr::from(<[u8; 16]>::try_from(value).ok()?).into()),
    }
}

fn group(value: &[u8]) -> Vec<(u32, u32)> {
    let member = |entry: &[u8]| {
        let weight_less_one = u16::from_le_bytes([*entry.get(4)?, *entry.get(5)?]);
        Some((u32_at(entry, 0)?, u32::from(weight_less_one) + 1))
    };
    value.chunks_exact(GROUP_ENTRY_BYTES).filter_map(member).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).expect("short");
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend_from_slice(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn parse(family: i32, kind: u16, attributes: &[Vec<u8>]) -> Option<Change> {
        let mut payload = vec![u8::try_from(family).expect("a family"), 0, 0, 0, 0, 0, 0, 0];
        payload.extend(attributes.concat());
        change(Raw { kind, flags: 0, sequence: 0, payload: &payload })
    }

    #[test]
    fn objects_are_read() {
        let id = attribute(NHA_ID, &7_u32.to_ne_bytes());
        let interface = attribute(NHA_OIF, &3_u32.to_ne_bytes());
        let gateway = attribute(NHA_GATEWAY, &[10, 0, 0, 1]);
        let hop = |gateway, foreign| {
            NextHopObject::Single(Hop { interface: 3, gateway, weight: 1, foreign, dead: false })
        };
        let members = [[1, 0, 0, 0, 0, 0, 0, 0], [2, 0, 0, 0, 4, 1, 0, 0]].concat();
        for (name, family, attributes, expected) in [
            (
                "gateway",
                libc::AF_INET,
                vec![id.clone(), interface.clone(), gateway],
                hop(Some(Ipv4Addr::new(10, 0, 0, 1).into()), false),
            ),
            (
                "gateway with an IPv6 address",
                libc::AF_INET6,
                vec![id.clone(), interface.clone(), attribute(NHA_GATEWAY, &[0xfe; 16])],
                hop(Some(Ipv6Addr::from([0xfe; 16]).into()), false),
            ),
            ("on link", libc::AF_INET, vec![id.clone(), interface.clone()], hop(None, false)),
            ("onto an IPv6 link", libc::AF_INET6, vec![id.clone(), interface], hop(None, true)),
            (
                "resilient group",
                libc::AF_UNSPEC,
                vec![
                    id.clone(),
                    attribute(NHA_GROUP, &members),
                    attribute(NHA_GROUP_TYPE, &1_u16.to_ne_bytes()),
                ],
                NextHopObject::Resilient,
            ),
            (
                "blackhole",
                libc::AF_INET,
                vec![id.clone(), attribute(NHA_BLACKHOLE, &[])],
                NextHopObject::Blackhole,
            ),
            (
                "group with a 16-bit weight",
                libc::AF_UNSPEC,
                vec![id.clone(), attribute(NHA_GROUP, &members)],
                NextHopObject::Group(vec![(1, 1), (2, 261)]),
            ),
        ] {
            let change = parse(family, RTM_NEWNEXTHOP, &attributes);
            assert_eq!(change, Some(Change::NextHop(7, Some(expected))), "{name}");
        }
        let gone = parse(libc::AF_INET, RTM_DELNEXTHOP, &[id]);
        assert_eq!(gone, Some(Change::NextHop(7, None)));
        assert_eq!(parse(libc::AF_INET, RTM_NEWNEXTHOP, &[]), None, "no number");
    }
}
