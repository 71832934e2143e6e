//! Policy rules as they are for packets that come in on our interfaces.
//!
//! A rule that no such packet matches is none (a mark: what is forwarded has none unless a firewall sets one, and then
//! the firewall's rule keeps the packet); one that all of them match, or all to some destinations, is a *step* on the way
//! of each. The steps together make one table of the kernel's many ([`crate::rib`]). What is left are rules for some
//! packets only: those packets are the kernel's ([`crate::policy`]), and for all others such a rule is none.
//!
//! The kernel compares the interface's name, and so is it done here. A namespace in which rules of one's own were never
//! made looks local and main up as one table; whether that was so nobody tells ([`Chain::may_be_merged`]).

use ipnet::Ipv4Net;
use spine_rules::{Addresses, Family, Packets, Ports, Protocols};

use crate::interfaces::Interfaces;
use crate::netlink::KernelState;
use crate::netlink::state::{CONF_ALL, IfIndex, RouteKind, Rule, RuleAction, TABLE_LOCAL};

/// Destinations: those of a prefix, or all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Destinations {
    net: Ipv4Net,
    others: bool,
}

impl Destinations {
    const ALL: Self =
        Self { net: Ipv4Net::new_assert(std::net::Ipv4Addr::UNSPECIFIED, 0), others: false };

    /// Whether all addresses of a prefix are among them; none are if not, where the prefix does not reach
    /// beyond [`net`](Self::net).
    fn contain(&self, prefix: Ipv4Net) -> bool {
        self.net.contains(&prefix) != self.others
    }
}

/// For which packets of those received on an interface a rule is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Applies {
    /// None.
    Never,
    /// All to these destinations.
    To(Destinations),
    /// Some: [`selected`] of them.
    ToSome,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StepAction {
    /// Looks up in a table: its number, matches no longer than which do not count, and whether some others may
    /// not count either.
    Table { table: u32, longer_than: Option<u32>, unclear: bool },
    /// Goes on at the step with this index.
    Goto(usize),
    /// Ends the search.
    End(RouteKind),
    /// Nobody knows.
    Unclear,
}

/// A rule for all packets of ours to some destinations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Step {
    to: Destinations,
    action: StepAction,
}

/// The rules for all packets of ours, in their order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Chain {
    steps: Vec<Step>,
    may_be_merged: bool,
}

impl Chain {
    /// The rules as they are for packets received on these interfaces.
    pub(crate) fn of(state: &KernelState, ours: &Interfaces) -> Self {
        let mut steps = Vec::new();
        let mut places = Vec::new();
        let mut jumps = Vec::new();
        for rule in &state.rules {
            places.push((rule.preference, steps.len()));
            let Some(to) = for_all(state, ours, rule) else { continue };
            let action = match rule.action {
                RuleAction::Table(table) => StepAction::Table {
                    table,
                    longer_than: rule.longer_than,
                    unclear: rule.minds_groups,
                },
                RuleAction::Goto(target) => {
                    jumps.push((steps.len(), target));
                    StepAction::Unclear
                }
                RuleAction::Nothing => continue,
                RuleAction::End(kind) => StepAction::End(kind),
                RuleAction::Other => StepAction::Unclear,
            };
            steps.push(Step { to, action });
        }
        for (at, target) in jumps {
            let found = places.iter().find(|(preference, _)| *preference == target);
            // Without a rule to go to, the search goes on with the next.
            steps[at].action =
                StepAction::Goto(found.map_or(at + 1, |(_, place)| (*place).max(at + 1)));
        }
        Self { steps, may_be_merged: state.rules == Rule::defaults() }
    }

    /// Whether local and main may be one table to the kernel.
    pub(crate) fn may_be_merged(&self) -> bool {
        self.may_be_merged
    }

    /// Whether the local table is asked before all others, and its word is final.
    pub(crate) fn begins_with_local(&self) -> bool {
        let local = StepAction::Table { table: TABLE_LOCAL, longer_than: None, unclear: false };
        self.steps.first() == Some(&Step { to: Destinations::ALL, action: local })
    }

    /// Whether a table is looked up in for some destination.
    pub(crate) fn asks(&self, wanted: u32) -> bool {
        self.steps
            .iter()
            .any(|step| matches!(step.action, StepAction::Table { table, .. } if table == wanted))
    }

    /// Prefixes at whose edges the rules change. All addresses are one where a rule has an answer without a route.
    pub(crate) fn edges(&self) -> impl Iterator<Item = Ipv4Net> {
        let nets = self.steps.iter().map(|step| step.to.net).filter(|net| net.prefix_len() > 0);
        let answers = |step: &Step| matches!(step.action, StepAction::End(_) | StepAction::Unclear);
        nets.chain(self.steps.iter().any(answers).then(Ipv4Net::default))
    }

    /// What is done with packets to a prefix, one after the other until `each` has an answer. The prefix must
    /// not reach over an [edge](Self::edges).
    pub(crate) fn walk<T>(
        &self,
        prefix: Ipv4Net,
        mut each: impl FnMut(StepAction) -> Option<T>,
    ) -> Option<T> {
        let mut at = 0;
        while let Some(step) = self.steps.get(at) {
            at += 1;
            match step.action {
                _ if !step.to.contain(prefix) => {}
                // Forward only, or this would not end: see where they are made.
                StepAction::Goto(target) => at = target,
                action => {
                    if let Some(answer) = each(action) {
                        return Some(answer);
                    }
                }
            }
        }
        None
    }
}

/// The destinations for which a rule is there for all packets of ours alike; `None` if it is there for none, or for
/// some only.
fn for_all(state: &KernelState, ours: &Interfaces, rule: &Rule) -> Option<Destinations> {
    match alike(state, ours, rule) {
        Some(Applies::To(to)) => Some(to),
        _ => None,
    }
}

/// How a rule applies to packets of ours, if that is the same whichever interface they come in on.
pub(crate) fn alike(state: &KernelState, ours: &Interfaces, rule: &Rule) -> Option<Applies> {
    let mut each = ours.indices().iter().map(|ingress| applies(state, rule, *ingress));
    let first = each.next().unwrap_or(Applies::Never);
    each.all(|other| other == first).then_some(first)
}

/// How a rule applies to packets received on an interface, which have no mark.
pub(crate) fn applies(state: &KernelState, rule: &Rule, ingress: IfIndex) -> Applies {
    let name = state.links.get(&ingress).map(|link| link.name.as_str());
    let elsewhere = rule.ingress.is_some() && rule.ingress.as_deref() != name;
    // What is forwarded counts as the first user's.
    let others = rule.users.is_some_and(|(first, _)| first > 0);
    let never = elsewhere
        || others
        || rule.egress.is_some()
        || rule.mark & rule.mask != 0
        || rule.vrf
        || rule.tunnel;
    let some = rule.source.prefix_len() > 0
        || rule.protocol.is_some()
        || rule.source_ports.is_some()
        || rule.destination_ports.is_some()
        || rule.users.is_some()
        || rule.unclear;
    let to = Destinations { net: rule.destination, others: rule.inverted };
    match (never, rule.inverted) {
        (true, true) => Applies::To(Destinations::ALL),
        (true, false) => Applies::Never,
        (false, _) if some => Applies::ToSome,
        (false, true) if rule.destination.prefix_len() == 0 => Applies::Never,
        (false, _) => Applies::To(to),
    }
}

/// All packets that a rule may be for, of those received on an interface.
pub(crate) fn selected(state: &KernelState, rule: &Rule, ingress: IfIndex) -> Vec<Packets> {
    let all = Packets::all(Family::V4);
    let to = |net: Ipv4Net| Packets { destination: addresses(net), ..all };
    match applies(state, rule, ingress) {
        Applies::Never => Vec::new(),
        Applies::To(Destinations { net, others: false }) => vec![to(net)],
        Applies::To(Destinations { net, others: true }) => all.without(&to(net)),
        Applies::ToSome => {
            let ends = Packets { source: addresses(rule.source), ..to(rule.destination) };
            if rule.inverted {
                // Only of addresses is it known which packets do not match.
                let only_addresses = rule.protocol.is_none()
                    && rule.source_ports.is_none()
                    && rule.destination_ports.is_none()
                    && rule.users.is_none()
                    && !rule.unclear;
                return if only_addresses { all.without(&ends) } else { vec![all] };
            }
            let ports = |range: Option<(u16, u16)>| {
                range.map_or(Ports::ALL, |(first, last)| Ports { first, last })
            };
            vec![Packets {
                protocols: rule.protocol.map_or(Protocols::ALL, Protocols::one),
                source_ports: ports(rule.source_ports),
                destination_ports: ports(rule.destination_ports),
                ..ends
            }]
        }
    }
}

/// The addresses of a prefix.
pub(crate) fn addresses(net: Ipv4Net) -> Addresses {
    Addresses::prefix(Family::V4, u32::from(net.network()).into(), net.prefix_len())
}

/// How the kernel checks the sources of packets received on an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SourceCheck {
    /// Not at all.
    #[default]
    Off,
    /// The way back has to lead over the interface.
    Strict,
    /// There has to be a way back.
    Loose,
}

impl SourceCheck {
    /// The reverse-path filter of an interface: the stricter of its own and that for all, where loose is the
    /// higher number. An interface without an address has nothing to be loose about.
    pub(crate) fn of(state: &KernelState, interface: IfIndex) -> Self {
        let all = state.conf.get(&CONF_ALL).copied().unwrap_or_default().rp_filter;
        match state.conf_of(interface).rp_filter.max(all) {
            0 => Self::Off,
            1 => Self::Strict,
            _ if state.has_address(interface) => Self::Loose,
            _ => Self::Strict,
        }
    }
}

#[cfg(test)]
mod tests;
