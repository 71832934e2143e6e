//! Settings of interfaces (RTM_NEWNETCONF), which `netlink-packet-route` 0.34 does not know.
//!
//! Writing `net.ipv4.ip_forward` or `net.ipv4.conf.*` is announced here, so nothing needs polling.
//! Numbers from linux/netconf.h.

use spine_nic::netlink::wire::{Raw, attributes, u32_at};

use super::state::{Change, ConfChange};

/// Settings changed, or an interface got some.
pub const RTM_NEWNETCONF: u16 = 80;
/// An interface has none any more.
pub const RTM_DELNETCONF: u16 = 81;
/// Asks for settings.
pub const RTM_GETNETCONF: u16 = 82;
/// The multicast group of such notifications for IPv4.
pub const RTNLGRP_IPV4_NETCONF: u32 = 24;
/// struct netconfmsg is the family alone, padded.
pub const HEADER_BYTES: usize = 4;

const NETCONFA_IFINDEX: u16 = 1;
const NETCONFA_FORWARDING: u16 = 2;
const NETCONFA_RP_FILTER: u16 = 3;
const NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN: u16 = 6;

/// What a netconf message says; `None` for another family or one that makes no sense.
pub fn change(raw: Raw<'_>) -> Option<Change> {
    if i32::from(*raw.payload.first()?) != libc::AF_INET {
        return None;
    }
    let mut interface = None;
    let mut change = ConfChange::default();
    for (kind, value) in attributes(raw.payload.get(HEADER_BYTES..)?) {
        let number = u32_at(value, 0);
        match kind {
            NETCONFA_IFINDEX => interface = number.map(u32::cast_signed),
            NETCONFA_FORWARDING => change.forwarding = number.map(|number| number != 0),
            NETCONFA_RP_FILTER => change.rp_filter = number,
            NETCONFA_IGNORE_ROUTES_WITH_LINKDOWN => {
                change.ignore_linkdown = number.map(|number| number != 0);
            }
            _ => {}
        }
    }
    Some(match raw.kind {
        RTM_DELNETCONF => Change::ConfGone(interface?),
        _ => Change::Conf(interface?, change),
    })
}
