//! What can be listed beside routes: interfaces, and the machines on their links.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::View;
use super::text::columns;
use crate::netlink::state::{IfIndex, Neighbour, nud};

/// Neighbours that are listed at most.
const MOST: usize = 10_000;

/// The name of an interface.
pub(super) fn name_of(view: &View<'_>, interface: IfIndex) -> String {
    let link = view.state.links.get(&interface);
    link.map_or_else(|| format!("interface {interface}"), |link| link.name.clone())
}

/// A link-layer address as people write it.
pub(super) fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// An interface of the router's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceRow {
    /// Its name.
    pub name: String,
    /// The kernel's number of it.
    pub index: u32,
    /// How packets reach its adapter.
    pub mode: String,
    /// Its driver, or what kind of software it is.
    pub driver: Option<String>,
    /// Its receive queues.
    pub queues: Option<usize>,
    /// Bytes of the largest IP packet it takes; nothing of one that is gone.
    pub mtu: Option<u32>,
    /// Up, with a carrier.
    pub up: bool,
    /// Whether the kernel forwards what it receives (`net.ipv4.conf.NAME.forwarding`).
    pub forwarding: bool,
    /// Whether its adapter forwards what it receives.
    pub enabled: bool,
    /// Packets that its adapter took from the wire.
    pub received: u64,
    /// Packets that its adapter put on the wire.
    pub transmitted: u64,
}

/// The router's interfaces.
///
/// # Errors
/// An adapter that does not answer: a sentence.
pub(super) fn interfaces(view: &View<'_>) -> Result<Vec<InterfaceRow>, String> {
    let mut rows = Vec::new();
    for (at, index) in view.ours.indices().iter().enumerate() {
        let link = view.state.links.get(index);
        let name = view.names.get(at).cloned().unwrap_or_default();
        let Some(adapter) = view.adapters.get(at) else { continue };
        let counted = adapter.statistics().map_err(|error| error.to_string())?;
        rows.push(InterfaceRow {
            index: *index,
            mode: counted.mode,
            driver: driver(&name).or_else(|| link.and_then(|link| link.kind.clone())),
            queues: queues(&name),
            mtu: link.map(|link| link.mtu),
            up: link.is_some_and(|link| link.up && link.carrier),
            forwarding: view.forwarding.get(at).copied().unwrap_or_default(),
            enabled: view.enabled.get(at).copied().unwrap_or_default(),
            received: counted.received,
            transmitted: counted.transmitted,
            name,
        });
    }
    Ok(rows)
}

/// The driver of a card, as sysfs has it, which shows the namespace it was mounted in.
fn driver(name: &str) -> Option<String> {
    let link = std::fs::read_link(format!("/sys/class/net/{name}/device/driver")).ok()?;
    link.file_name()?.to_str().map(str::to_owned)
}

fn queues(name: &str) -> Option<usize> {
    let queues = std::fs::read_dir(format!("/sys/class/net/{name}/queues")).ok()?.flatten();
    let names = queues.filter(|queue| queue.file_name().to_string_lossy().starts_with("rx-"));
    Some(names.count())
}

impl InterfaceRow {
    /// The row of a table.
    fn cells(&self) -> Vec<String> {
        let queues = match self.queues {
            Some(1) => "1 queue".to_owned(),
            Some(many) => format!("{many} queues"),
            None => String::new(),
        };
        let state = match (self.mtu, self.up, self.forwarding, self.enabled) {
            (None, ..) => "gone",
            (_, false, ..) => "down",
            (.., false, _) => "the kernel forwards nothing it receives",
            (.., true) => "forwards",
            (.., false) => "all it receives is the kernel's",
        };
        vec![
            self.name.clone(),
            self.mode.clone(),
            self.driver.clone().unwrap_or_default(),
            queues,
            self.mtu.map_or_else(String::new, |mtu| format!("MTU {mtu}")),
            state.to_owned(),
        ]
    }
}

/// The table of interfaces.
pub(super) fn interfaces_text(rows: &[InterfaceRow]) -> String {
    columns(&rows.iter().map(InterfaceRow::cells).collect::<Vec<_>>())
}

/// A machine on a link of the router's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeighbourRow {
    /// Its address.
    pub address: IpAddr,
    /// The interface.
    pub interface: String,
    /// Its link-layer address, once it is resolved.
    pub mac: Option<String>,
    /// What the kernel thinks of that.
    pub state: String,
    /// Whether a route of the adapters leads over it.
    pub used: bool,
}

/// The list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbours {
    /// In the order of their addresses.
    pub neighbours: Vec<NeighbourRow>,
    /// How many more there are.
    pub more: usize,
}

/// The machines on the links of the router's interfaces.
pub(super) fn neighbours(view: &View<'_>) -> Neighbours {
    let used: BTreeSet<(IfIndex, IpAddr)> = view
        .table
        .neighbours_in_use()
        .map(|(_, interface, address)| (interface, address))
        .collect();
    let all = view.state.neighbours.iter();
    let ours = all.filter(|((_, interface), _)| view.ours.contains(*interface));
    let mut list = Neighbours::default();
    for ((address, interface), neighbour) in ours {
        if list.neighbours.len() >= MOST {
            list.more += 1;
            continue;
        }
        list.neighbours.push(NeighbourRow {
            address: *address,
            interface: name_of(view, *interface),
            mac: neighbour.mac.map(mac_text),
            state: state_text(neighbour).to_owned(),
            used: used.contains(&(*interface, *address)),
        });
    }
    list
}

/// The state of a neighbour as `ip neigh` calls it.
pub(super) fn state_text(neighbour: &Neighbour) -> &'static str {
    match neighbour.state {
        nud::INCOMPLETE => "incomplete",
        nud::REACHABLE => "reachable",
        nud::STALE => "stale",
        nud::DELAY => "delay",
        nud::PROBE => "probe",
        nud::FAILED => "failed",
        nud::NOARP => "noarp",
        nud::PERMANENT => "permanent",
        _ => "none",
    }
}

impl fmt::Display for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |row: &NeighbourRow| {
            vec![
                row.address.to_string(),
                row.interface.clone(),
                row.mac.clone().unwrap_or_else(|| "-".to_owned()),
                row.state.clone(),
                if row.used { "a next hop" } else { "" }.to_owned(),
            ]
        };
        f.write_str(&columns(&self.neighbours.iter().map(row).collect::<Vec<_>>()))?;
        match self.more {
            0 => Ok(()),
            more => writeln!(f, "and {more} more"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_says_how_it_is_opened_and_why_it_forwards_nothing() {
        let row = InterfaceRow {
            name: "wan".to_owned(),
            index: 3,
            mode: "af_xdp copy".to_owned(),
            driver: Some("veth".to_owned()),
            queues: Some(2),
            mtu: Some(1500),
            up: true,
            forwarding: true,
            enabled: true,
            received: 1,
            transmitted: 2,
        };
        let said = |row: InterfaceRow| interfaces_text(&[row]);
        assert_eq!(said(row.clone()), "wan  af_xdp copy  veth  2 queues  MTU 1500  forwards\n");
        for (changed, end) in [
            (InterfaceRow { mtu: None, ..row.clone() }, "gone\n"),
            (InterfaceRow { up: false, ..row.clone() }, "down\n"),
            (
                InterfaceRow { forwarding: false, enabled: false, ..row.clone() },
                "the kernel forwards nothing it receives\n",
            ),
            (InterfaceRow { enabled: false, ..row.clone() }, "all it receives is the kernel's\n"),
        ] {
            let text = said(changed);
            assert!(text.ends_with(end), "{text}");
        }
    }
}
