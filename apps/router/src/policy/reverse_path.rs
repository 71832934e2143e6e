//! Senders the kernel does not believe.
//!
//! The adapters do not look a packet's source up. That makes no difference as long as the kernel would
//! let every source pass: with no filter, or with the loose one (2) where every source has a route,
//! which takes a default route and nothing that throws packets away. Sources that are addresses of this
//! machine it never believes; the classifier knows those one by one, not a whole network of them.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{Named, Obstacle};
use crate::netlink::KernelState;
use crate::netlink::state::{CONF_ALL, NextHopObject, Route, RouteKind, TABLE_LOCAL};

const STRICT: u32 = 1;
const LOOSE: u32 = 2;

pub(super) fn obstacles(state: &KernelState, ours: &[Named<'_>]) -> Vec<Obstacle> {
    let all = state.conf.get(&CONF_ALL).copied().unwrap_or_default().rp_filter;
    let mut found = Vec::new();
    // Looked for only if it matters: there may be a million routes.
    let mut hole = None;
    for (index, name) in ours {
        let own = state.conf_of(*index).rp_filter;
        let effective = own.max(all);
        let whose = if own == effective { name } else { "all" };
        match effective {
            STRICT => found.push(Obstacle(format!(
                "strict reverse-path filter on {name}: net.ipv4.conf.{whose}.rp_filter is 1"
            ))),
            LOOSE => {
                if let Some(hole) = hole.get_or_insert_with(|| first_hole(state)) {
                    found.push(Obstacle(format!(
                        "reverse-path filter on {name}: net.ipv4.conf.{whose}.rp_filter is 2, and {hole}"
                    )));
                }
            }
            _ => {}
        }
    }
    found.extend(local_networks(state));
    found
}

/// Why some source has no route, if that is so.
fn first_hole(state: &KernelState) -> Option<String> {
    let everything = Ipv4Net::default();
    let forwards = |route: &Route| route.kind == RouteKind::Unicast && route.tos == 0;
    let defaults = state.routes.get(&everything);
    if !defaults.is_some_and(|routes| routes.iter().any(forwards)) {
        return Some("there is no default route".to_owned());
    }
    if state.nexthops.values().any(|object| *object == NextHopObject::Blackhole) {
        return Some("a nexthop object is a blackhole".to_owned());
    }
    let hole = |route: &Route| route.table != TABLE_LOCAL && route.kind != RouteKind::Unicast;
    let (prefix, _) = state.routes.iter().find(|(_, routes)| routes.iter().any(hole))?;
    Some(format!("a route for {prefix} leads nowhere"))
}

/// Networks whose addresses are all this machine's, by a route of the local table.
fn local_networks(state: &KernelState) -> impl Iterator<Item = Obstacle> {
    let loopback = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    let local = |route: &Route| route.table == TABLE_LOCAL && route.kind == RouteKind::Local;
    let networks = state.routes.iter().filter(move |(prefix, routes)| {
        prefix.prefix_len() < 32 && !loopback.contains(prefix) && routes.iter().any(local)
    });
    networks.map(|(prefix, _)| {
        Obstacle(format!(
            "all of {prefix} are addresses of this machine (see `ip route show table local`)"
        ))
    })
}
