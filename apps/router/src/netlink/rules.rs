//! Policy rules (RTM_NEWRULE and its kin).
//!
//! Read by hand, since what matters is what is *not* known: a condition that a newer kernel has makes a rule unclear,
//! which is another thing than a rule without it. Numbers from linux/fib_rules.h.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use spine_nic::netlink::wire::{Raw, attributes, text, u16_at, u32_at};

use super::state::{RouteKind, Rule, RuleAction};

/// A rule appeared.
pub const RTM_NEWRULE: u16 = 32;
/// A rule went away.
pub const RTM_DELRULE: u16 = 33;
/// Asks for the rules.
pub const RTM_GETRULE: u16 = 34;
/// The multicast group of such notifications for IPv4.
pub const RTNLGRP_IPV4_RULE: u32 = 8;
/// struct fib_rule_hdr: family, lengths of the prefixes, TOS, table, two bytes, action, flags.
pub const HEADER_BYTES: usize = 12;

const FIB_RULE_INVERT: u32 = 2;

const FRA_DST: u16 = 1;
const FRA_SRC: u16 = 2;
const FRA_IIFNAME: u16 = 3;
const FRA_GOTO: u16 = 4;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_FLOW: u16 = 11;
const FRA_TUN_ID: u16 = 12;
const FRA_SUPPRESS_IFGROUP: u16 = 13;
const FRA_SUPPRESS_PREFIXLEN: u16 = 14;
const FRA_TABLE: u16 = 15;
const FRA_FWMASK: u16 = 16;
const FRA_OIFNAME: u16 = 17;
const FRA_PAD: u16 = 18;
const FRA_L3MDEV: u16 = 19;
const FRA_UID_RANGE: u16 = 20;
const FRA_PROTOCOL: u16 = 21;
const FRA_IP_PROTO: u16 = 22;
const FRA_SPORT_RANGE: u16 = 23;
const FRA_DPORT_RANGE: u16 = 24;
const FRA_SPORT_MASK: u16 = 28;
const FRA_DPORT_MASK: u16 = 29;

const FR_ACT_TO_TBL: u8 = 1;
const FR_ACT_GOTO: u8 = 2;
const FR_ACT_NOP: u8 = 3;
const FR_ACT_BLACKHOLE: u8 = 6;
const FR_ACT_UNREACHABLE: u8 = 7;
const FR_ACT_PROHIBIT: u8 = 8;

/// The rule of a message; `None` for another family or one that makes no sense at all.
pub fn rule(raw: Raw<'_>) -> Option<Rule> {
    let [family, to_bits, from_bits, tos, table, _, _, action] = *raw.payload.first_chunk()?;
    let flags = u32_at(raw.payload, 8)?;
    if i32::from(family) != libc::AF_INET {
        return None;
    }
    let (mut to, mut from) = (Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
    let (mut table, mut target) = (u32::from(table), None);
    let mut rule = Rule::lookup(0, table);
    rule.inverted = flags & FIB_RULE_INVERT != 0;
    rule.unclear = tos != 0;
    for (kind, value) in attributes(raw.payload.get(HEADER_BYTES..)?) {
        match kind {
            FRA_DST => to = address(value)?,
            FRA_SRC => from = address(value)?,
            FRA_IIFNAME => rule.ingress = Some(text(value)),
            FRA_OIFNAME => rule.egress = Some(text(value)),
            FRA_GOTO => target = u32_at(value, 0),
            FRA_PRIORITY => rule.preference = u32_at(value, 0)?,
            FRA_FWMARK => rule.mark = u32_at(value, 0)?,
            FRA_FWMASK => rule.mask = u32_at(value, 0)?,
            FRA_TUN_ID => rule.tunnel = value.iter().any(|byte| *byte != 0),
            FRA_SUPPRESS_PREFIXLEN => {
                rule.longer_than = u32_at(value, 0).filter(|length| *length != u32::MAX);
            }
            FRA_SUPPRESS_IFGROUP => rule.minds_groups = u32_at(value, 0) != Some(u32::MAX),
            FRA_TABLE => table = u32_at(value, 0)?,
            FRA_L3MDEV => rule.vrf = value.first().is_some_and(|byte| *byte != 0),
            FRA_UID_RANGE => rule.users = Some((u32_at(value, 0)?, u32_at(value, 4)?)),
            FRA_IP_PROTO => rule.protocol = value.first().copied().filter(|number| *number != 0),
            FRA_SPORT_RANGE => rule.source_ports = Some((u16_at(value, 0)?, u16_at(value, 2)?)),
            FRA_DPORT_RANGE => {
                rule.destination_ports = Some((u16_at(value, 0)?, u16_at(value, 2)?));
            }
            // A single port is said with all its bits.
            FRA_SPORT_MASK | FRA_DPORT_MASK if u16_at(value, 0) == Some(u16::MAX) => {}
            // Who made it, and a number for statistics.
            FRA_PROTOCOL | FRA_FLOW | FRA_PAD => {}
            _ => rule.unclear = true,
        }
    }
    rule.destination = Ipv4Net::new(to, to_bits).ok()?.trunc();
    rule.source = Ipv4Net::new(from, from_bits).ok()?.trunc();
    rule.action = match (action, target) {
        (FR_ACT_TO_TBL, _) => RuleAction::Table(table),
        (FR_ACT_GOTO, Some(target)) => RuleAction::Goto(target),
        (FR_ACT_NOP, _) => RuleAction::Nothing,
        (FR_ACT_BLACKHOLE, _) => RuleAction::End(RouteKind::Blackhole),
        (FR_ACT_UNREACHABLE, _) => RuleAction::End(RouteKind::Unreachable),
        (FR_ACT_PROHIBIT, _) => RuleAction::End(RouteKind::Prohibit),
        _ => RuleAction::Other,
    };
    Some(rule)
}

/// The rule of a message of which not even that can be read: anything may happen to any packet.
pub fn unreadable() -> Rule {
    Rule { action: RuleAction::Other, unclear: true, ..Rule::lookup(0, 0) }
}

fn address(value: &[u8]) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(value).ok().map(Ipv4Addr::from)
}
