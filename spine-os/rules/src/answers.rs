//! What follows from what the rules keep: answers, ICMP errors, fragments.
//!
//! The kernel judges a packet by its connection where a rule asks for it, and it knows connections only from packets that it sees. So
//! if it must see a packet for that reason, it must see the answers to it, too, and the ICMP errors about both;
//! and where ICMP errors are judged so, the packets that they are about. Where it translates, answers and ICMP errors are changed
//! without any rule that says so.

use std::sync::Arc;

use crate::model::{Chain, NatTo, NewAddress, Program, Rule, Step};
use crate::packets::{Addresses, Family, Packets, Pieces, Ports, Protocols};
use crate::region::{self, Region};
use crate::walk::{self, Keeps, Walked};

/// Sets with their reasons; those that rules name come first.
#[derive(Debug, Default)]
pub(crate) struct Reasons {
    /// What rules say.
    pub(crate) direct: Vec<Reason>,
    /// What connection tracking collects before any rule.
    pub(crate) collected: Option<Reason>,
    /// What follows.
    pub(crate) derived: Vec<Reason>,
}

pub(crate) type Reason = (Arc<str>, Region);

impl Reasons {
    fn follows(&mut self, how: &str, why: &str, packets: Region) {
        if !packets.is_empty() {
            self.derived.push((format!("{how}: {why}").into(), packets));
        }
    }
}

const ANSWERS: &str = "answers, by connection";
const ERRORS: &str = "ICMP errors, by connection";
const ERRING: &str = "what ICMP errors are about, by connection";

/// What is kept one way, from what the rules keep that way and the other.
pub(crate) fn follow(family: Family, this: &Walked, other: &Walked) -> Reasons {
    let all = Packets::all(family);
    let mut reasons = Reasons::default();
    for keeps in &this.kept {
        reasons.direct.push((Arc::clone(&keeps.why), keeps.packets.clone()));
    }
    for Keeps { by_state, why, is_translation, .. } in &other.kept {
        let answers = by_state.iter().map(|set| set.reversed(family));
        reasons.follows(ANSWERS, why, answers.collect());
        if !is_translation {
            // Errors about packets that go the other way are sent to where these come from.
            let to = by_state.iter().map(|set| set.source);
            reasons.follows(ERRORS, why, about(family, to));
            let erring = erring(family, by_state);
            let from = erring.iter().map(|set| Packets { source: set.destination, ..all });
            reasons.follows(ERRING, why, from.collect());
        }
    }
    for Keeps { by_state, why, is_translation, .. } in &this.kept {
        if !is_translation {
            // Errors about the answers.
            let to = by_state.iter().map(|set| set.destination);
            reasons.follows(ERRORS, why, about(family, to));
            let erring = erring(family, by_state);
            let to = erring.iter().map(|set| Packets { destination: set.destination, ..all });
            reasons.follows(ERRING, why, to.collect());
        }
    }
    if let Some(why) = this.translated.as_ref().or(other.translated.as_ref()) {
        reasons.follows("ICMP errors, by translation", why, errors(family));
    }
    reasons
}

/// What is kept on every way because something is translated, wherever: answers from and to the new addresses.
pub(crate) fn translated(program: &Program, family: Family, reasons: &mut Reasons) {
    for chain in &program.chains {
        let is_ours = match family {
            Family::V4 => chain.v4,
            Family::V6 => chain.v6,
        };
        for rule in chain.rules.iter().filter(|_| is_ours) {
            of_rule(family, (chain, rule), reasons);
        }
    }
}

fn of_rule(family: Family, (chain, rule): (&Chain, &Rule), reasons: &mut Reasons) {
    for step in &rule.steps {
        let Step::Nat(nat) = step else { continue };
        let matched = || walk::alone(family, rule);
        let from_source = |set: &Packets, new: &NewAddress| {
            let destination_ports = new.ports(set.source_ports)?;
            let destination = new.addresses(family, set.source)?;
            Some(Packets { destination, destination_ports, ..set.reversed(family) })
        };
        let from_destination = |set: &Packets, new: &NewAddress| {
            let source_ports = new.ports(set.destination_ports)?;
            let source = new.addresses(family, set.destination)?;
            Some(Packets { source, source_ports, ..set.reversed(family) })
        };
        let answers: Region = match &nat.to {
            NatTo::Local => continue,
            NatTo::Source(new) => each(&matched(), new, from_source),
            NatTo::Destination(new) => each(&matched(), new, from_destination),
            NatTo::Either(new) => {
                let matched = matched();
                [each(&matched, new, from_source), each(&matched, new, from_destination)].concat()
            }
        };
        if answers.is_empty() {
            continue;
        }
        let why = format!("{}: {} ({})", chain.place, nat.name, rule.name);
        reasons.follows("answers, by translation", &why, answers);
        reasons.follows("ICMP errors, by translation", &why, errors(family));
    }
}

fn each(
    matched: &Region,
    new: &[NewAddress],
    answer: impl Fn(&Packets, &NewAddress) -> Option<Packets>,
) -> Region {
    let mut all: Region =
        matched.iter().flat_map(|set| new.iter().filter_map(|new| answer(set, new))).collect();
    region::reduce(&mut all, region::MOST);
    all
}

impl NewAddress {
    /// The addresses afterwards; `None` for the other family.
    fn addresses(&self, family: Family, before: Addresses) -> Option<Addresses> {
        match self.addresses {
            None => Some(before),
            Some((is_ipv6, first, last)) => {
                (is_ipv6 == (family == Family::V6)).then_some(Addresses { first, last })
            }
        }
    }

    fn ports(&self, before: Ports) -> Option<Ports> {
        match self.ports {
            None => Some(before),
            Some((first, last)) => (first <= last).then_some(Ports { first, last }),
        }
    }
}

/// Fragments, where connection tracking collects them.
pub(crate) fn collected(family: Family, place: &str) -> Reason {
    let why = format!("fragments: connection tracking collects them ({place})");
    (why.into(), vec![Packets { pieces: Pieces::PIECES, ..Packets::all(family) }])
}

/// ICMP errors, of any packet.
fn errors(family: Family) -> Region {
    let types: &[(u16, u16)] = match family {
        // Destination unreachable, source quench, redirect; time exceeded, parameter problem.
        Family::V4 => &[(3, 5), (11, 12)],
        Family::V6 => &[(1, 127)],
    };
    let set = |&(first, last): &(u16, u16)| Packets {
        protocols: Protocols::one(family.control_protocol()),
        source_ports: Ports { first, last },
        ..Packets::all(family)
    };
    types.iter().map(set).collect()
}

/// ICMP errors to any of some addresses.
fn about(family: Family, addresses: impl Iterator<Item = Addresses>) -> Region {
    let mut all: Region = addresses
        .flat_map(|destination| {
            errors(family).into_iter().map(move |set| Packets { destination, ..set })
        })
        .collect();
    region::reduce(&mut all, region::MOST);
    all
}

/// The ICMP errors among packets.
fn erring(family: Family, packets: &[Packets]) -> Region {
    region::common_at_least(packets, &errors(family))
}
