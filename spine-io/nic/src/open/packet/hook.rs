//! The kernel's side of a claim: nftables rules that drop it at the interface's ingress.
//!
//! The ingress hook of the netdev family comes after packet sockets have had their copy and before the
//! kernel's stack. One table holds a chain for each interface and a set with the addresses of this
//! machine. The table is *owned* (`NFT_TABLE_F_OWNER`, Linux 5.12): nobody else changes it, and the
//! kernel removes it with our netlink socket, however this process ends; then the kernel forwards again.
//!
//! Spoken directly to the kernel (NETLINK_NETFILTER), so that `nft` need not be installed; `nft list
//! ruleset` shows it. Numbers from linux/netfilter/nf_tables.h.

use std::net::Ipv4Addr;

use netlink_packet_core::NLM_F_CREATE;
use netlink_sys::protocols::NETLINK_NETFILTER;

use super::claim::{Field, Header, Test};
use crate::netlink::socket::{NetlinkError, NetlinkSocket};
use crate::netlink::wire::{attribute, nested};

const SUBSYSTEM: u16 = 10 << 8;
const NEW_TABLE: u16 = SUBSYSTEM;
const NEW_CHAIN: u16 = SUBSYSTEM | 3;
const NEW_RULE: u16 = SUBSYSTEM | 6;
const DELETE_RULE: u16 = SUBSYSTEM | 8;
const NEW_SET: u16 = SUBSYSTEM | 9;
const NEW_ELEMENT: u16 = SUBSYSTEM | 12;
const DELETE_ELEMENT: u16 = SUBSYSTEM | 14;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

const FAMILY_NETDEV: u8 = 5;
const HOOK_INGRESS: u32 = 0;
/// Before everybody else's.
const PRIORITY: i32 = -500;
const OWNED: u32 = 2;
/// "An IPv4 address", for `nft` to print.
const KEY_IPV4: u32 = 7;

const REGISTER: u32 = 1;
const REGISTER_VERDICT: u32 = 0;
const ACCEPT: u32 = 1;
const DROP: u32 = 0;
const COMPARE_EQUAL: u32 = 0;
const COMPARE_NOT_EQUAL: u32 = 1;
const COMPARE_GREATER: u32 = 4;

/// The set's name.
const LOCAL: &str = "local";
const WHAT: &str = "nftables rules at the ingress of an interface";

/// The name of this process's table.
pub fn table_name() -> String {
    format!("spine-router-{}", std::process::id())
}

/// The table, which ends with this.
pub(super) struct Hook {
    socket: NetlinkSocket,
    table: String,
}

type Request = (u16, u16, Vec<u8>);

impl Hook {
    /// Makes the table, with a chain without rules for each interface.
    ///
    /// # Errors
    /// [`NetlinkError`]: a kernel without such chains, or no CAP_NET_ADMIN.
    pub(super) fn open<'a>(
        interfaces: impl Iterator<Item = &'a str>,
    ) -> Result<Self, NetlinkError> {
        let mut hook =
            Self { socket: NetlinkSocket::open(NETLINK_NETFILTER)?, table: table_name() };
        let mut requests = vec![
            (NEW_TABLE, NLM_F_CREATE, [hook.named(1), number(2, OWNED)].concat()),
            (
                NEW_SET,
                NLM_F_CREATE,
                [
                    hook.named(1),
                    name(2, LOCAL),
                    number(3, 0),
                    number(4, KEY_IPV4),
                    number(5, 4),
                    number(10, 1),
                ]
                .concat(),
            ),
        ];
        for interface in interfaces {
            let place = [
                number(1, HOOK_INGRESS),
                attribute(2, &PRIORITY.to_be_bytes()),
                name(3, interface),
            ];
            let chain = [
                hook.named(1),
                name(3, interface),
                nested(4, &place.concat()),
                number(5, ACCEPT),
                name(7, "filter"),
            ];
            requests.push((NEW_CHAIN, NLM_F_CREATE, chain.concat()));
        }
        hook.commit(requests)?;
        Ok(hook)
    }

    /// Drops for the kernel what passes these tests on an interface, or nothing; in one step.
    ///
    /// # Errors
    /// [`NetlinkError`], and all is as before.
    pub(super) fn set(
        &mut self,
        interface: &str,
        tests: Option<&[Test]>,
    ) -> Result<(), NetlinkError> {
        let chain = [self.named(1), name(2, interface)].concat();
        let mut requests = vec![(DELETE_RULE, 0, chain.clone())];
        for rule in tests.into_iter().flat_map(rules) {
            /// NLM_F_APPEND, behind the ones before.
            const APPEND: u16 = 0x800;
            let rule = [chain.clone(), nested(4, &rule)].concat();
            requests.push((NEW_RULE, NLM_F_CREATE | APPEND, rule));
        }
        self.commit(requests)
    }

    /// Adds an address of this machine, or removes one.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub(super) fn set_address(
        &mut self,
        address: Ipv4Addr,
        is_ours: bool,
    ) -> Result<(), NetlinkError> {
        let element = nested(1, &nested(1, &attribute(1, &address.octets())));
        let elements = [self.named(1), name(2, LOCAL), nested(3, &element)].concat();
        self.commit(vec![match is_ours {
            true => (NEW_ELEMENT, NLM_F_CREATE, elements),
            false => (DELETE_ELEMENT, 0, elements),
        }])
    }

    fn named(&self, kind: u16) -> Vec<u8> {
        name(kind, &self.table)
    }

    /// All of it, or nothing.
    fn commit(&mut self, requests: Vec<Request>) -> Result<(), NetlinkError> {
        /// struct nfgenmsg: family, version, and the subsystem of a batch.
        const BATCH: [u8; 4] = [0, 0, 0, 10];
        let header = [FAMILY_NETDEV, 0, 0, 0];
        let begin = (BATCH_BEGIN, 0, BATCH.to_vec());
        let end = (BATCH_END, 0, BATCH.to_vec());
        let requests = requests
            .into_iter()
            .map(|(kind, flags, payload)| (kind, flags, [&header[..], &payload].concat()));
        let batch: Vec<Request> = [begin].into_iter().chain(requests).chain([end]).collect();
        self.socket.batch(WHAT, &batch)
    }
}

/// The rules of a chain, each a list of expressions.
fn rules(tests: &[Test]) -> Vec<Vec<u8>> {
    let mut rules = Vec::new();
    let mut drop = Vec::new();
    for test in tests {
        match *test {
            Test::Is(field, value) => {
                drop.extend([load(field), compare(COMPARE_EQUAL, field, value)].concat());
            }
            Test::Above(field, value) => {
                drop.extend([load(field), compare(COMPARE_GREATER, field, value.into())].concat());
            }
            Test::Outside(field, low, high) => {
                drop.extend([load(field), outside(field, low, high)].concat())
            }
            Test::NotLocal(field) => drop.extend([load(field), not_local()].concat()),
            // What fails this one is the kernel's, by a rule that comes before.
            Test::IsOrAtMost(field, value, other, most) => rules.push(
                [
                    load(field),
                    compare(COMPARE_NOT_EQUAL, field, value.into()),
                    load(other),
                    compare(COMPARE_GREATER, other, most.into()),
                    verdict(ACCEPT),
                ]
                .concat(),
            ),
        }
    }
    drop.extend(verdict(DROP));
    rules.push(drop);
    rules
}

fn load(field: Field) -> Vec<u8> {
    let base = match field.header {
        Header::Link => 0,
        Header::Network => 1,
    };
    let (offset, bytes) = (field.offset.into(), field.bytes.into());
    let data = [number(1, REGISTER), number(2, base), number(3, offset), number(4, bytes)];
    expression("payload", &data.concat())
}

fn compare(how: u32, field: Field, value: u64) -> Vec<u8> {
    let data = [number(1, REGISTER), number(2, how), nested(3, &data(field, value))];
    expression("cmp", &data.concat())
}

fn outside(field: Field, low: u32, high: u32) -> Vec<u8> {
    if low == high {
        return compare(COMPARE_NOT_EQUAL, field, low.into());
    }
    let data = [
        number(1, REGISTER),
        number(2, COMPARE_NOT_EQUAL),
        nested(3, &data(field, low.into())),
        nested(4, &data(field, high.into())),
    ];
    expression("range", &data.concat())
}

fn not_local() -> Vec<u8> {
    const INVERTED: u32 = 1;
    expression("lookup", &[name(1, LOCAL), number(2, REGISTER), number(5, INVERTED)].concat())
}

fn verdict(code: u32) -> Vec<u8> {
    let data = [number(1, REGISTER_VERDICT), nested(2, &nested(2, &number(1, code)))];
    expression("immediate", &data.concat())
}

/// A value as long as its field.
fn data(field: Field, value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let start = bytes.len().saturating_sub(field.bytes.into());
    attribute(1, &bytes[start..])
}

/// An expression in a list.
fn expression(kind: &str, data: &[u8]) -> Vec<u8> {
    nested(1, &[name(1, kind), nested(2, data)].concat())
}

fn number(kind: u16, value: u32) -> Vec<u8> {
    attribute(kind, &value.to_be_bytes())
}

fn name(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), &[0]].concat())
}

#[cfg(test)]
mod tests {
    use spine_packets::nft;
    use spine_packets::owners::{self, MTU, Owner, Tier};

    use super::super::claim::tests;
    use super::*;

    #[test]
    fn the_rules_answer_as_the_table_of_owners_says() {
        let rules = rules(&tests(owners::MAC, MTU.into()));
        let is_local = |set: &str, address: &[u8]| {
            assert_eq!(set, LOCAL);
            owners::LOCAL.iter().any(|local| local.octets() == address)
        };
        owners::check(Tier::Rule, |frame| match nft::drops(&rules, frame, is_local) {
            true => Owner::Adapter,
            false => Owner::Kernel,
        });
    }
}
