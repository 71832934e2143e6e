//! The routes, and what becomes of packets that follow them.
//!
//! A table may have a million, and the loop that reads them has other things to do: so they are walked some thousand at a time, from
//! where the last look ended. What changes meanwhile is seen where the walk has not been.

use std::collections::BTreeMap;
use std::fmt;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};
use spine_abi::Reason;

use super::View;
use super::text::{columns, meaning};
use crate::netlink::state::{Route, RouteKind, TABLE_LOCAL};
use crate::rib::{Target, TargetHop};
use crate::table::Entry;

/// Prefixes that are looked at in one step.
pub const CHUNK: usize = 4096;
/// Routes that are listed unless more are asked for.
pub const LIMIT: usize = 1000;
/// Routes that are listed at most.
pub const MOST: usize = 10_000;

/// A walk over the prefixes of the kernel's tables.
#[derive(Debug, Clone)]
pub struct Walk {
    within: Ipv4Net,
    /// The prefix that was looked at last.
    after: Option<Ipv4Net>,
}

/// One prefix as it was met.
#[derive(Debug)]
pub struct Met<'a> {
    /// The prefix.
    pub prefix: Ipv4Net,
    /// Its routes, the best first.
    pub routes: &'a [Route],
    /// What the table has of it.
    pub entry: Option<&'a Entry>,
    /// Why its packets are the kernel's; `None`: they are the adapters'.
    pub kernel: Option<&'static str>,
}

impl Walk {
    /// Over everything.
    pub fn over_all() -> Self {
        Self::over(None)
    }

    /// Over what is in a prefix.
    pub fn over(prefix: Option<Ipv4Net>) -> Self {
        Self { within: prefix.unwrap_or_default().trunc(), after: None }
    }

    /// Goes on for `most` prefixes, and says whether it is over. Routes to this machine are passed over, and those that count for
    /// nothing at the moment.
    pub fn go_on(&mut self, view: &View<'_>, most: usize, mut each: impl FnMut(Met<'_>)) -> bool {
        let start = self.after.unwrap_or(self.within);
        let within = self.within;
        let ahead = view.state.routes.iter_from(&start, self.after.is_none());
        let ahead = ahead.take_while(|(prefix, _)| within.contains(prefix));
        for (looked_at, (prefix, routes)) in ahead.enumerate() {
            if looked_at == most {
                return false;
            }
            self.after = Some(prefix);
            let entry = view.table.painted().get(&prefix);
            if let Some(kernel) = kernel(view, prefix, routes, entry) {
                each(Met { prefix, routes, entry, kernel });
            }
        }
        true
    }
}

/// Why the packets of a prefix are the kernel's (`Some(None)`: they are not); `None` where it is no route that packets are
/// forwarded by.
fn kernel(
    view: &View<'_>,
    prefix: Ipv4Net,
    routes: &[Route],
    entry: Option<&Entry>,
) -> Option<Option<&'static str>> {
    let forwards = |route: &Route| {
        route.table != TABLE_LOCAL && !matches!(route.kind, RouteKind::Local | RouteKind::Broadcast)
    };
    let entry = entry?;
    if !routes.iter().any(forwards) || *entry.target() == Target::Kernel(Reason::Local) {
        return None;
    }
    Some(match entry.target() {
        Target::Kernel(reason) => Some(reason.name()),
        _ if !entry.has_room() || view.whose().is_starved(prefix) => Some("no_room"),
        Target::Drop(_) => None,
        target if target.is_ours() && !entry.is_ours() => Some("unresolved"),
        Target::Forward(hops) => is_kept(view, hops).then_some("kept_way"),
    })
}

/// Whether from no interface of ours packets may go these ways.
fn is_kept(view: &View<'_>, hops: &[(TargetHop, u32)]) -> bool {
    let out = |hop: &TargetHop| view.ours.indices().iter().position(|at| *at == hop.interface);
    let egresses: Vec<usize> = hops.iter().filter_map(|(hop, _)| out(hop)).collect();
    let from = view.ownership.from(egresses.iter().copied());
    let others = egresses.iter().fold(from.0, |bits, egress| bits & !(1 << egress));
    others == 0
}

/// How many routes are whose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteCount {
    /// By which the adapters forward, or drop.
    pub adapters: u64,
    /// All of them.
    pub all: u64,
    /// Those that are the kernel's, by reason.
    pub kernel: BTreeMap<String, u64>,
}

impl RouteCount {
    /// Counts one.
    pub fn count(&mut self, route: &Met<'_>) {
        self.all += 1;
        match route.kernel {
            None => self.adapters += 1,
            Some(reason) => *self.kernel.entry(reason.to_owned()).or_default() += 1,
        }
    }
}

/// "12 of 14 routes", and what is with the other two.
impl fmt::Display for RouteCount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} routes", self.adapters, self.all)?;
        let kernel: Vec<String> = self
            .kernel
            .iter()
            .map(|(reason, count)| format!("{count} {reason} ({})", meaning(reason)))
            .collect();
        match kernel.is_empty() {
            true => Ok(()),
            false => write!(f, "; left to the kernel: {}", kernel.join(", ")),
        }
    }
}

/// A way out of a route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hop {
    /// The interface.
    pub interface: String,
    /// The router there; nothing: the destination itself is on the link.
    pub gateway: Option<std::net::IpAddr>,
    /// Its share, beside those of the others.
    pub weight: u32,
}

/// A route as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteRow {
    /// The prefix.
    pub prefix: Ipv4Net,
    /// The kernel's table, by number.
    pub table: u32,
    /// The lower, the better.
    pub metric: u32,
    /// What the route does: "forward", "drop", "kernel".
    pub action: String,
    /// The ways out.
    pub hops: Vec<Hop>,
    /// Why its packets are the kernel's; nothing: they are the adapters'.
    pub kernel: Option<String>,
}

/// The list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Routes {
    /// As many as were asked for.
    pub routes: Vec<RouteRow>,
    /// How many more there are.
    pub more: u64,
    /// How many are listed at most.
    pub limit: usize,
}

impl Routes {
    /// None yet, and at most so many.
    pub fn up_to(limit: usize) -> Self {
        Self { routes: Vec::new(), more: 0, limit: limit.min(MOST) }
    }

    /// One more.
    pub fn add(&mut self, met: &Met<'_>, view: &View<'_>) {
        if self.routes.len() >= self.limit {
            self.more += 1;
            return;
        }
        let best = met.routes.first();
        let target = met.entry.map(|entry| entry.target());
        let (action, hops) = match target {
            Some(Target::Forward(hops)) => ("forward", hops.as_slice()),
            Some(Target::Drop(_)) => ("drop", [].as_slice()),
            Some(Target::Kernel(_)) | None => ("kernel", [].as_slice()),
        };
        let hop = |(hop, weight): &(TargetHop, u32)| Hop {
            interface: super::listing::name_of(view, hop.interface),
            gateway: hop.gateway,
            weight: *weight,
        };
        self.routes.push(RouteRow {
            prefix: met.prefix,
            table: best.map_or(0, |route| route.table),
            metric: best.map_or(0, |route| route.metric),
            action: action.to_owned(),
            hops: hops.iter().map(hop).collect(),
            kernel: met.kernel.map(str::to_owned),
        });
    }
}

impl fmt::Display for Routes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |route: &RouteRow| {
            let hops: Vec<String> = route
                .hops
                .iter()
                .map(|hop| match hop.gateway {
                    Some(gateway) => format!("{gateway} {}", hop.interface),
                    None => hop.interface.clone(),
                })
                .collect();
            let whose = match &route.kernel {
                None if route.action == "drop" => "adapters: dropped".to_owned(),
                None => "adapters".to_owned(),
                Some(reason) => format!("kernel: {reason} ({})", meaning(reason)),
            };
            vec![route.prefix.to_string(), hops.join(", "), whose]
        };
        f.write_str(&columns(&self.routes.iter().map(row).collect::<Vec<_>>()))?;
        match self.more {
            0 => Ok(()),
            more => writeln!(f, "and {more} more (--limit, --prefix)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_says_what_is_whose_and_why_not() {
        let mut count = RouteCount { adapters: 12, all: 14, kernel: BTreeMap::new() };
        assert_eq!(count.to_string(), "12 of 14 routes");
        count.kernel = [("no_route".to_owned(), 1), ("not_ours".to_owned(), 1)].into();
        assert_eq!(
            count.to_string(),
            "12 of 14 routes; left to the kernel: 1 no_route (no route, or one that refuses: the kernel answers), \
             1 not_ours (its way out is not one of these interfaces, or the machine there is not resolved)"
        );
    }

    #[test]
    fn a_list_is_as_long_as_was_asked_and_says_what_it_leaves_out() {
        assert_eq!(Routes::up_to(usize::MAX).limit, MOST);
        let row = |prefix: &str, kernel: Option<&str>| RouteRow {
            prefix: prefix.parse().expect("a prefix"),
            table: 254,
            metric: 0,
            action: "forward".to_owned(),
            hops: vec![Hop {
                interface: "wan".to_owned(),
                gateway: "10.9.2.2".parse().ok(),
                weight: 1,
            }],
            kernel: kernel.map(str::to_owned),
        };
        let routes = vec![row("10.0.0.0/8", None), row("10.1.0.0/16", Some("kept_way"))];
        let list = Routes { routes, more: 899_000, limit: 2 };
        assert_eq!(
            list.to_string(),
            "10.0.0.0/8   10.9.2.2 wan  adapters\n\
             10.1.0.0/16  10.9.2.2 wan  kernel: kept_way (a rule or setting keeps all that goes this way)\n\
             and 899000 more (--limit, --prefix)\n"
        );
    }
}
