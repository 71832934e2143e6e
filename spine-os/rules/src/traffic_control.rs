//! Traffic control on interfaces: filters, and queueing disciplines that shape, police or delay.
//!
//! What a filter does is not looked into: it may drop, redirect, mark or change what it sees, so all of the protocol that it is for
//! are kept. Queueing disciplines are let be that merely order packets, because who carries packets past the kernel sends past those.

use std::collections::BTreeMap;
use std::sync::Arc;

use netlink_sys::protocols::NETLINK_ROUTE;
use nix::net::if_::if_indextoname;
use spine_nic::netlink::socket::{NetlinkError, NetlinkSocket};
use spine_nic::netlink::wire::{Raw, attributes, text, u32_at};

use crate::model::PerFamily;

const RTM_NEWQDISC: u16 = 36;
const RTM_GETQDISC: u16 = 38;
const RTM_NEWTFILTER: u16 = 44;
const RTM_GETTFILTER: u16 = 46;
/// struct tcmsg: family, interface, handle, parent, info.
const HEADER_BYTES: usize = 20;
const TCA_KIND: u16 = 1;
/// Where the filters of a clsact queueing discipline hang (linux/pkt_sched.h).
const CLSACT_INGRESS: u32 = 0xffff_fff2;
const CLSACT_EGRESS: u32 = 0xffff_fff3;

/// What an interface has by itself, or what only orders packets. `clsact` and `ingress` hold filters.
const HARMLESS: [&str; 9] =
    ["noqueue", "mq", "pfifo_fast", "fq", "fq_codel", "pfifo", "bfifo", "clsact", "ingress"];

/// Reasons to keep what comes in or goes out, by interface.
#[derive(Debug, Default)]
pub(crate) struct TrafficControl(BTreeMap<u32, Control>);

/// Of one interface.
#[derive(Debug, Default)]
pub(crate) struct Control {
    pub(crate) incoming: PerFamily<Option<Arc<str>>>,
    pub(crate) outgoing: PerFamily<Option<Arc<str>>>,
}

impl TrafficControl {
    /// Reads that of all interfaces.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub(crate) fn read() -> Result<Self, NetlinkError> {
        let mut socket = NetlinkSocket::open(NETLINK_ROUTE)?;
        let all = [0; HEADER_BYTES];
        let qdiscs = socket.dump("queueing disciplines", RTM_GETQDISC, &all, qdisc)?;
        let mut found = Self::default();
        for qdisc in qdiscs {
            let name = if_indextoname(qdisc.interface)
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default();
            let control = found.0.entry(qdisc.interface).or_default();
            if !HARMLESS.contains(&qdisc.kind.as_str()) {
                let why = format!("queueing discipline {} on {name}", qdisc.kind);
                keep(&mut control.outgoing, PerFamily { v4: true, v6: true }, &why);
            }
            for (parent, place, is_incoming) in places(&qdisc) {
                let filters = filters(&mut socket, qdisc.interface, parent)?;
                let side = match is_incoming {
                    true => &mut control.incoming,
                    false => &mut control.outgoing,
                };
                keep(side, filters, &format!("tc filter on {name} at its {place}"));
            }
        }
        Ok(found)
    }

    /// That of an interface.
    pub(crate) fn of(&self, interface: u32) -> Option<&Control> {
        self.0.get(&interface)
    }
}

fn keep(side: &mut PerFamily<Option<Arc<str>>>, families: PerFamily<bool>, why: &str) {
    if families.v4 {
        side.v4.get_or_insert_with(|| why.into());
    }
    if families.v6 {
        side.v6.get_or_insert_with(|| why.into());
    }
}

struct Qdisc {
    interface: u32,
    handle: u32,
    kind: String,
}

/// Where a queueing discipline may have filters: handle, name, and whether they see what comes in.
fn places(qdisc: &Qdisc) -> Vec<(u32, &str, bool)> {
    match qdisc.kind.as_str() {
        "noqueue" => Vec::new(),
        "clsact" => vec![(CLSACT_INGRESS, "ingress", true), (CLSACT_EGRESS, "egress", false)],
        "ingress" => vec![(qdisc.handle, "ingress", true)],
        kind => vec![(qdisc.handle, kind, false)],
    }
}

/// The families that filters at a place are for.
fn filters(
    socket: &mut NetlinkSocket,
    interface: u32,
    parent: u32,
) -> Result<PerFamily<bool>, NetlinkError> {
    let mut header = [0; HEADER_BYTES];
    header[4..8].copy_from_slice(&interface.to_ne_bytes());
    header[12..16].copy_from_slice(&parent.to_ne_bytes());
    let filter = |raw: Raw<'_>| (raw.kind == RTM_NEWTFILTER).then(|| protocol(raw.payload));
    match socket.dump("tc filters", RTM_GETTFILTER, &header, filter) {
        Ok(filters) => {
            let is_for = |family: u16| filters.iter().any(|of| concerns(*of, family));
            const IPV4: u16 = 0x0800;
            const IPV6: u16 = 0x86dd;
            Ok(PerFamily { v4: is_for(IPV4), v6: is_for(IPV6) })
        }
        // A queueing discipline that takes no filters.
        Err(error) if error.is_unsupported() => Ok(PerFamily::default()),
        Err(error) => Err(error),
    }
}

/// The protocol that a filter is for, if it is said.
fn protocol(payload: &[u8]) -> Option<u16> {
    const INFO: usize = 16;
    let [.., high, low] = (u32_at(payload, INFO)? & 0xffff).to_be_bytes();
    // In network order, in a number that is not.
    Some(u16::from_be(u16::from_be_bytes([high, low])))
}

fn concerns(protocol: Option<u16>, family: u16) -> bool {
    const IPV4: u16 = 0x0800;
    const IPV6: u16 = 0x86dd;
    const ARP: u16 = 0x0806;
    match protocol {
        Some(ARP) => false,
        Some(one @ (IPV4 | IPV6)) => one == family,
        // All, or of whatever else there is.
        _ => true,
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
