//! Traffic control on our interfaces: filters, and queueing disciplines that shape, police or delay.
//!
//! What the adapters send goes past the queueing disciplines, so only those are let be that merely
//! order packets.

use spine_nic::netlink::socket::{NetlinkError, NetlinkSocket};
use spine_nic::netlink::wire::{Raw, attributes, text, u32_at};

use super::{Named, Obstacle};
use crate::netlink::state::IfIndex;

const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
/// struct tcmsg: family, interface, handle, parent, info.
const HEADER_BYTES: usize = 20;
const TCA_KIND: u16 = 1;
/// Where the filters of a clsact queueing discipline hang (linux/pkt_sched.h).
const CLSACT: [(u32, &str); 2] = [(0xffff_fff2, "ingress"), (0xffff_fff3, "egress")];

/// What an interface has by itself, or what only orders packets. `clsact` and `ingress` hold filters.
const HARMLESS: [&str; 9] =
    ["noqueue", "mq", "pfifo_fast", "fq", "fq_codel", "pfifo", "bfifo", "clsact", "ingress"];

struct Qdisc {
    interface: IfIndex,
    handle: u32,
    kind: String,
}

pub(super) fn obstacles(
    requests: &mut NetlinkSocket,
    ours: &[Named<'_>],
) -> Result<Vec<Obstacle>, NetlinkError> {
    let all = [0; HEADER_BYTES];
    let qdiscs = requests.dump("queueing disciplines", RTM_GETQDISC, &all, qdisc)?;
    let mut found = Vec::new();
    for (index, name) in ours {
        for qdisc in qdiscs.iter().filter(|qdisc| qdisc.interface == *index) {
            if !HARMLESS.contains(&qdisc.kind.as_str()) {
                let kind = &qdisc.kind;
                found.push(Obstacle(format!("queueing discipline {kind} on {name}")));
            }
            for (parent, place) in places(qdisc) {
                if has_filters(requests, *index, parent)? {
                    found.push(Obstacle(format!("tc filter on {name} at its {place}")));
                }
            }
        }
    }
    Ok(found)
}

/// Where a queueing discipline may have filters: handle and name.
fn places(qdisc: &Qdisc) -> Vec<(u32, &str)> {
    match qdisc.kind.as_str() {
        "clsact" => CLSACT.to_vec(),
        "ingress" => vec![(qdisc.handle, "ingress")],
        kind => vec![(qdisc.handle, kind)],
    }
}

fn has_filters(
    requests: &mut NetlinkSocket,
    interface: IfIndex,
    parent: u32,
) -> Result<bool, NetlinkError> {
    let mut header = [0; HEADER_BYTES];
    header[4..8].copy_from_slice(&interface.to_ne_bytes());
    header[12..16].copy_from_slice(&parent.to_ne_bytes());
    let filter = |raw: Raw<'_>| (raw.kind == RTM_NEWTFILTER).then_some(());
    match requests.dump("tc filters", RTM_GETTFILTER, &header, filter) {
        Ok(filters) => Ok(!filters.is_empty()),
        // A queueing discipline that takes no filters.
        Err(error) if error.is_unsupported() => Ok(false),
        Err(error) => Err(error),
    }
}

fn qdisc(raw: Raw<'_>) -> Option<Qdisc> {
    if raw.kind != RTM_NEWQDISC {
        return None;
    }
    let kind = attributes(raw.payload.get(HEADER_BYTES..)?).find(|(kind, _)| *kind == TCA_KIND)?;
    Some(Qdisc {
        interface: u32_at(raw.payload, 4)?,
        handle: u32_at(raw.payload, 8)?,
        kind: text(kind.1),
    })
}
