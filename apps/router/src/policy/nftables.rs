//! nftables: base chains that forwarded packets pass, and that do something.
//!
//! The table with which AF_PACKET keeps packets from the kernel is this process's own, and no obstacle.
//!
//! Asked of the kernel itself (NETLINK_NETFILTER): the rules are there whether `nft` is installed or
//! not. iptables-nft is the same to the kernel. Numbers from linux/netfilter/nf_tables.h.

use std::collections::BTreeMap;

use netlink_sys::protocols::NETLINK_NETFILTER;
use spine_nic::netlink::socket::{NetlinkError, NetlinkSocket};
use spine_nic::netlink::wire::{Raw, attributes, be32_at, text};
use spine_nic::open::table_name;

use super::{Named, Obstacle};

/// The multicast group that announces changes of rules.
pub(super) const NFNLGRP_NFTABLES: u32 = 7;

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const GET_CHAIN: u16 = (NFNL_SUBSYS_NFTABLES << 8) | 4;
const GET_RULE: u16 = (NFNL_SUBSYS_NFTABLES << 8) | 7;
/// struct nfgenmsg: family, version, resource.
const HEADER_BYTES: usize = 4;

const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_CHAIN_HOOK: u16 = 4;
const NFTA_CHAIN_POLICY: u16 = 5;
const NFTA_HOOK_HOOKNUM: u16 = 1;
const NFTA_HOOK_DEV: u16 = 3;
const NFTA_HOOK_DEVS: u16 = 4;
const NFTA_DEVICE_NAME: u16 = 1;
const NFTA_RULE_TABLE: u16 = 1;
const NFTA_RULE_CHAIN: u16 = 2;

const NFPROTO_INET: u8 = 1;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_NETDEV: u8 = 5;
const NF_DROP: u32 = 0;

/// Family, table and chain.
type Key = (u8, String, String);

struct BaseChain {
    key: Key,
    hook: u32,
    devices: Vec<String>,
    /// Bound to devices in a way we cannot read, such as by a prefix of their names.
    any_device: bool,
    drops: bool,
}

pub(super) fn obstacles(ours: &[Named<'_>]) -> Result<Vec<Obstacle>, NetlinkError> {
    let mut socket = NetlinkSocket::open(NETLINK_NETFILTER)?;
    let all_families = [0; HEADER_BYTES];
    let chains = socket.dump("nftables chains", GET_CHAIN, &all_families, base_chain)?;
    let rules = socket.dump("nftables rules", GET_RULE, &all_families, rule)?;
    let mut counts: BTreeMap<Key, usize> = BTreeMap::new();
    for key in rules {
        *counts.entry(key).or_default() += 1;
    }
    let own = (NFPROTO_NETDEV, table_name());
    let foreign = chains.into_iter().filter(|chain| (chain.key.0, &chain.key.1) != (own.0, &own.1));
    let concerning = foreign.filter_map(|chain| {
        let hook = forwarding_hook(&chain, ours)?;
        let count = counts.get(&chain.key).copied().unwrap_or(0);
        let (family, table, name) = &chain.key;
        let family = family_name(*family);
        let what = match (chain.drops, count) {
            (false, 0) => return None,
            (true, _) => "has policy drop".to_owned(),
            (false, 1) => "has a rule".to_owned(),
            (false, _) => format!("has {count} rules"),
        };
        Some(Obstacle(format!("nftables chain {family} {table} {name} (hook {hook}) {what}")))
    });
    Ok(concerning.collect())
}

/// The name of the hook, if packets that we forward would have passed it.
fn forwarding_hook(chain: &BaseChain, ours: &[Named<'_>]) -> Option<&'static str> {
    let on_ours = || {
        chain.any_device
            || chain.devices.iter().any(|device| ours.iter().any(|(_, name)| name == device))
    };
    match (chain.key.0, chain.hook) {
        (NFPROTO_INET | NFPROTO_IPV4, 0) => Some("prerouting"),
        (NFPROTO_INET | NFPROTO_IPV4, 2) => Some("forward"),
        (NFPROTO_INET | NFPROTO_IPV4, 4) => Some("postrouting"),
        (NFPROTO_INET, 5) | (NFPROTO_NETDEV, 0) => on_ours().then_some("ingress"),
        (NFPROTO_NETDEV, 1) => on_ours().then_some("egress"),
        _ => None,
    }
}

fn family_name(family: u8) -> &'static str {
    match family {
        NFPROTO_INET => "inet",
        NFPROTO_IPV4 => "ip",
        NFPROTO_NETDEV => "netdev",
        _ => "?",
    }
}

/// A chain with a hook; the others are only reached by rules of these.
fn base_chain(raw: Raw<'_>) -> Option<BaseChain> {
    let family = *raw.payload.first()?;
    let (mut table, mut name) = (String::new(), String::new());
    let (mut hook, mut devices, mut any_device, mut drops) = (None, Vec::new(), false, false);
    for (kind, value) in attributes(raw.payload.get(HEADER_BYTES..)?) {
        match kind {
            NFTA_CHAIN_TABLE => table = text(value),
            NFTA_CHAIN_NAME => name = text(value),
            NFTA_CHAIN_POLICY => drops = be32_at(value, 0) == Some(NF_DROP),
            NFTA_CHAIN_HOOK => {
                for (kind, value) in attributes(value) {
                    match kind {
                        NFTA_HOOK_HOOKNUM => hook = be32_at(value, 0),
                        NFTA_HOOK_DEV => devices.push(text(value)),
                        NFTA_HOOK_DEVS => {
                            for (kind, value) in attributes(value) {
                                match kind {
                                    NFTA_DEVICE_NAME => devices.push(text(value)),
                                    _ => any_device = true,
                                }
                            }
                        }
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    Some(BaseChain { key: (family, table, name), hook: hook?, devices, any_device, drops })
}

fn rule(raw: Raw<'_>) -> Option<Key> {
    let (mut table, mut chain) = (None, None);
    for (kind, value) in attributes(raw.payload.get(HEADER_BYTES..)?) {
        match kind {
            NFTA_RULE_TABLE => table = Some(text(value)),
            NFTA_RULE_CHAIN => chain = Some(text(value)),
            _ => {}
        }
    }
    Some((*raw.payload.first()?, table?, chain?))
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

    #[test]
    fn a_chain_bound_in_an_unknown_way_counts_as_bound_to_ours() {
        let ours = [(2, "spa")];
        for (name, device, expected) in [
            ("ours", attribute(NFTA_DEVICE_NAME, b"spa\0"), Some("ingress")),
            ("another", attribute(NFTA_DEVICE_NAME, b"spb\0"), None),
            ("a prefix", attribute(2, b"sp"), Some("ingress")),
            ("none", Vec::new(), None),
        ] {
            let number = attribute(NFTA_HOOK_HOOKNUM, &0_u32.to_be_bytes());
            let hook = [number, attribute(NFTA_HOOK_DEVS, &device)].concat();
            let mut payload = vec![NFPROTO_NETDEV, 0, 0, 0];
            payload.extend(attribute(NFTA_CHAIN_HOOK, &hook));
            let raw = Raw { kind: 0, flags: 0, sequence: 0, payload: &payload };
            let chain = base_chain(raw).expect("a chain with a hook");
            assert_eq!(forwarding_hook(&chain, &ours), expected, "{name}");
        }
    }
}
