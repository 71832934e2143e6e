//! Policy rules (`ip rule`) for some of our packets.
//!
//! Rules for all of them are in the adapters' table ([`crate::rib`]). Of the others, what they select stays the
//! kernel's: packets of some sources, ports, protocols, or of one interface. But only those to destinations about which the
//! rule has something to say; a table without routes has nothing. And where the kernel checks sources, also the packets
//! whose way *back* such a rule may choose.

use spine_rules::{Family, Kept, Packets};

use crate::interfaces::Interfaces;
use crate::netlink::KernelState;
use crate::netlink::state::{IfIndex, Rule, RuleAction};
use crate::routing::{Applies, SourceCheck, addresses, alike, selected};

/// Destinations of one rule that are told apart; beyond, it is taken to be about all that it selects.
const REACH: usize = 64;

pub(super) fn kept(state: &KernelState, ours: &Interfaces) -> Vec<(Option<IfIndex>, Kept)> {
    let mut found = Vec::new();
    for rule in &state.rules {
        let for_all = matches!(alike(state, ours, rule), Some(Applies::Never | Applies::To(_)));
        if for_all || rule.action == RuleAction::Nothing {
            continue;
        }
        let why = format!("policy rule {rule}");
        let each: Vec<Vec<Packets>> =
            ours.indices().iter().map(|ingress| packets(state, ours, rule, *ingress)).collect();
        let alike = each.iter().all(|packets| *packets == each[0]);
        let all = if alike { &each[..1] } else { &each[..] };
        for (ingress, packets) in ours.indices().iter().zip(all) {
            let ingress = (!alike).then_some(*ingress);
            let keep = |packets: &Packets| (ingress, Kept { packets: *packets, why: why.clone() });
            found.extend(packets.iter().map(keep));
        }
    }
    found
}

/// What a rule may decide about, of what is received on an interface.
fn packets(state: &KernelState, ours: &Interfaces, rule: &Rule, ingress: IfIndex) -> Vec<Packets> {
    let reach = reach(state, rule);
    let within = |ingress: IfIndex| {
        let selected = selected(state, rule, ingress);
        let reach = &reach;
        selected.into_iter().flat_map(move |packets| {
            reach.iter().filter_map(move |to| packets.and(to)).collect::<Vec<Packets>>()
        })
    };
    let mut found: Vec<Packets> = within(ingress).collect();
    if SourceCheck::of(state, ingress) != SourceCheck::Off || names_machines(state, rule) {
        // The way back begins where the packet would leave: anywhere.
        let back = ours.indices().iter().flat_map(|way_out| within(*way_out));
        found.extend(back.map(|packets| packets.reversed(Family::V4)));
    }
    found.sort_unstable();
    found.dedup();
    found
}

/// The destinations for which a rule ends the search, or leads it elsewhere.
fn reach(state: &KernelState, rule: &Rule) -> Vec<Packets> {
    let all = Packets::all(Family::V4);
    let RuleAction::Table(table) = rule.action else { return vec![all] };
    let Some(prefixes) = state.table(table) else { return vec![all] };
    let longer_than = rule.longer_than.unwrap_or(0);
    let counts = |prefix: &&ipnet::Ipv4Net| {
        rule.longer_than.is_none() || u32::from(prefix.prefix_len()) > longer_than
    };
    let mut outer: Vec<ipnet::Ipv4Net> = Vec::new();
    // In order, a prefix comes before those inside it.
    for prefix in prefixes.iter().filter(counts) {
        if outer.last().is_some_and(|last| last.contains(prefix)) {
            continue;
        }
        if outer.len() == REACH {
            return vec![all];
        }
        outer.push(*prefix);
    }
    outer.into_iter().map(|net| Packets { destination: addresses(net), ..all }).collect()
}

/// Whether a rule's table says which addresses are machines' own, or no machine's: with such sources a packet goes
/// nowhere, whether there is a filter or not.
fn names_machines(state: &KernelState, rule: &Rule) -> bool {
    use crate::netlink::state::RouteKind::{Blackhole, Prohibit, Throw, Unicast, Unreachable};
    let RuleAction::Table(table) = rule.action else { return false };
    let names = |prefix: &ipnet::Ipv4Net| {
        let routes = state.routes.get(prefix).into_iter().flatten();
        routes.filter(|route| route.table == table).any(|route| {
            !matches!(route.kind, Unicast | Blackhole | Unreachable | Prohibit | Throw)
        })
    };
    state.table(table).is_some_and(|prefixes| prefixes.iter().any(names))
}

#[cfg(test)]
mod tests {
    use ipnet::Ipv4Net;

    use super::*;
    use crate::netlink::state::{
        Change, ConfChange, Dirty, Link, Origin, Placement, Route, RouteKind, TABLE_MAIN, Via,
    };

    fn net(text: &str) -> Ipv4Net {
        text.parse().expect("a prefix")
    }

    fn state(rule: Rule, routes: &[(&str, u32)]) -> KernelState {
        let mut state = KernelState::default();
        for (index, name) in [(2, "lan"), (3, "wan")] {
            let link = Link { name: name.to_owned(), ..Link::default() };
            state.links.insert(index, link);
        }
        for (prefix, table) in routes {
            let via = Via::Hops(Vec::new());
            let (kind, origin) = (RouteKind::Unicast, Origin::default());
            let route = Route { table: *table, tos: 0, metric: 0, kind, via, mtu: None, origin };
            let change = Change::AddRoute(net(prefix), route, Placement::Last);
            state.apply(change, &mut Dirty::default());
        }
        state.rules.insert(1, rule);
        state
    }

    /// What is kept, as people read it: the interface, if it is one, and the packets.
    fn said(state: &KernelState) -> Vec<String> {
        let name = |ingress: Option<IfIndex>| {
            ingress.map_or(String::new(), |index| format!("{}: ", state.links[&index].name))
        };
        let ours = Interfaces::new(vec![2, 3]);
        kept(state, &ours)
            .into_iter()
            .map(|(ingress, kept)| name(ingress) + &kept.packets.describe(Family::V4))
            .collect()
    }

    fn rule() -> Rule {
        Rule::lookup(100, 100)
    }

    #[test]
    fn a_rule_keeps_what_it_selects_where_its_table_has_routes_and_no_more() {
        let ten = net("10.9.0.0/16");
        let everything: &[(&str, u32)] = &[("0.0.0.0/0", 100)];
        let some: &[(&str, u32)] =
            &[("192.0.2.0/24", 100), ("192.0.2.7/32", 100), ("10.0.0.0/8", 200)];
        let own = Some("lan".to_owned());
        for (name, rule, routes, expected) in [
            ("by source", Rule { source: ten, ..rule() }, everything, vec!["from 10.9.0.0/16"]),
            (
                "by source, some destinations",
                Rule { source: ten, ..rule() },
                some,
                vec!["from 10.9.0.0/16 to 192.0.2.0/24"],
            ),
            ("by source, no routes", Rule { source: ten, ..rule() }, &[], vec![]),
            (
                "by source, a table of which only the default counts",
                Rule { source: ten, longer_than: Some(0), ..rule() },
                everything,
                vec![],
            ),
            ("for all", rule(), everything, vec![]),
            ("for a mark", Rule { mark: 1, mask: 1, source: ten, ..rule() }, everything, vec![]),
            (
                "for all but a mark",
                Rule { mark: 1, mask: 1, inverted: true, ..rule() },
                everything,
                vec![],
            ),
            ("by destination", Rule { destination: ten, ..rule() }, everything, vec![]),
            ("by ingress", Rule { ingress: own.clone(), ..rule() }, everything, vec!["lan: all"]),
            (
                "by another's ingress",
                Rule { ingress: Some("tun0".to_owned()), ..rule() },
                everything,
                vec![],
            ),
            ("for what is bound", Rule { egress: own, ..rule() }, everything, vec![]),
            (
                "by port",
                Rule { protocol: Some(6), destination_ports: Some((25, 25)), ..rule() },
                everything,
                vec!["tcp to port 25"],
            ),
            (
                "not by source",
                Rule { inverted: true, source: net("0.0.0.0/1"), ..rule() },
                everything,
                vec!["from 128.0.0.0/1"],
            ),
            (
                "not by port",
                Rule { inverted: true, destination_ports: Some((25, 25)), ..rule() },
                everything,
                vec!["all"],
            ),
            ("by something unknown", Rule { unclear: true, ..rule() }, everything, vec!["all"]),
            (
                "of users, among them the first",
                Rule { users: Some((0, 99)), ..rule() },
                everything,
                vec!["all"],
            ),
            ("of other users", Rule { users: Some((1, 99)), ..rule() }, everything, vec![]),
            (
                "of an unknown kind",
                Rule { action: RuleAction::Other, source: ten, ..rule() },
                &[],
                vec!["from 10.9.0.0/16"],
            ),
            (
                "that does nothing",
                Rule { action: RuleAction::Nothing, source: ten, ..rule() },
                &[],
                vec![],
            ),
            (
                "to main",
                Rule { action: RuleAction::Table(TABLE_MAIN), source: ten, ..rule() },
                &[],
                vec!["from 10.9.0.0/16"],
            ),
        ] {
            assert_eq!(said(&state(rule, routes)), expected, "{name}");
        }
    }

    #[test]
    fn where_sources_are_checked_the_way_back_counts_as_well() {
        let rule = Rule { source: net("10.9.0.0/16"), ..rule() };
        let mut state = state(rule, &[("192.0.2.0/24", 100)]);
        let change = ConfChange { rp_filter: Some(1), ..ConfChange::default() };
        state.apply(Change::Conf(3, change), &mut Dirty::default());
        assert_eq!(
            said(&state),
            [
                "lan: from 10.9.0.0/16 to 192.0.2.0/24",
                "wan: from 10.9.0.0/16 to 192.0.2.0/24",
                "wan: from 192.0.2.0/24 to 10.9.0.0/16",
            ]
        );
    }
}
