//! Policy rules (`ip rule`) beyond the three the kernel starts with.

use netlink_packet_core::Parseable;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleMessage};
use spine_nic::netlink::socket::{NetlinkError, NetlinkSocket};
use spine_nic::netlink::wire::Raw;

use super::Obstacle;
use crate::netlink::state::{TABLE_DEFAULT, TABLE_LOCAL, TABLE_MAIN};

const RTM_NEWRULE: u16 = 32;
const RTM_GETRULE: u16 = 34;
/// struct fib_rule_hdr.
const HEADER_BYTES: usize = 12;

/// Preference, table, and its name.
const DEFAULTS: [(u32, u32, &str); 3] =
    [(0, TABLE_LOCAL, "local"), (32766, TABLE_MAIN, "main"), (32767, TABLE_DEFAULT, "default")];

/// A rule, or `None` for one that cannot be read.
type Rule = Option<RuleMessage>;

pub(super) fn obstacles(requests: &mut NetlinkSocket) -> Result<Vec<Obstacle>, NetlinkError> {
    let mut header = [0; HEADER_BYTES];
    header[0] = u8::try_from(libc::AF_INET).unwrap_or_default();
    let parse = |raw: Raw<'_>| -> Option<Rule> {
        (raw.kind == RTM_NEWRULE).then(|| RuleMessage::parse(raw.payload).ok())
    };
    let rules = requests.dump("policy rules", RTM_GETRULE, &header, parse)?;
    let mut found = Vec::new();
    let mut seen = [false; DEFAULTS.len()];
    for rule in rules {
        let Some(rule) = rule else {
            found.push(Obstacle("policy rule of an unknown kind (see `ip rule`)".to_owned()));
            continue;
        };
        let (preference, table) = place(&rule);
        let default = DEFAULTS.iter().position(|(at, to, _)| (*at, *to) == (preference, table));
        match default {
            Some(which) if is_plain(&rule) => seen[which] = true,
            _ => found.push(Obstacle(format!(
                "policy rule with preference {preference}{} (see `ip rule`)",
                if table == 0 { String::new() } else { format!(" for table {table}") }
            ))),
        }
    }
    for ((preference, _, name), seen) in DEFAULTS.iter().zip(seen) {
        if !seen {
            found.push(Obstacle(format!(
                "policy rule {preference} for table {name}, which every kernel starts with, is gone"
            )));
        }
    }
    Ok(found)
}

fn place(rule: &RuleMessage) -> (u32, u32) {
    let mut preference = 0;
    let mut table = u32::from(rule.header.table);
    for attribute in &rule.attributes {
        match attribute {
            RuleAttribute::Priority(number) => preference = *number,
            RuleAttribute::Table(number) => table = *number,
            _ => {}
        }
    }
    (preference, table)
}

/// Leads every packet to its table.
fn is_plain(rule: &RuleMessage) -> bool {
    let header = &rule.header;
    header.action == RuleAction::ToTable
        && (header.src_len, header.dst_len, header.tos) == (0, 0, 0)
        && rule.attributes.iter().all(|attribute| {
            matches!(
                attribute,
                RuleAttribute::Priority(_)
                    | RuleAttribute::Table(_)
                    | RuleAttribute::Protocol(_)
                    | RuleAttribute::SuppressPrefixLen(u32::MAX)
            )
        })
}
