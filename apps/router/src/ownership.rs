//! Whose the packets between our interfaces are: the adapters', or, where something in the kernel could treat them
//! otherwise than to let them pass, the kernel's.
//!
//! A *way* is a pair of interfaces, in and out. What keeps packets of a way keeps it as a whole, or some sets of packets on it.
//! The classifier does not know by which interface a packet leaves, only its destination. So a way that is
//! the kernel's as a whole is told as claims, each prefix with the interfaces from which it is ours ([`Ownership::from`]), and
//! sets are told for all that comes in ([`Ownership::parts`]): a set kept on one way is kept on all that begin where it does.
//! A classifier that knows less than that ([`Reach`]) leaves more to the kernel, never less.
//!
//! Left out: what keeps packets ([`crate::policy`]), and what a prefix means ([`crate::rib`]).

use std::collections::{BTreeMap, BTreeSet};

use spine_nic::open::Ingresses;
use spine_rules::{Family, Kept, Packets};

use crate::policy::Found;

/// What a classifier can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// Whether it looks at destinations, and knows from which interface which is ours.
    pub destinations: bool,
    /// How many sets of packets it can leave to the kernel of what one interface receives.
    pub sets: usize,
}

/// One pair of interfaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Way {
    /// Why all of its packets are the kernel's; none: they are not.
    whole: BTreeSet<String>,
    /// The sets that are.
    parts: BTreeSet<Kept>,
}

/// Whose the packets of all ways are. Interfaces are numbered in the order of the adapters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ownership {
    /// By ingress, then by egress.
    ways: Vec<Vec<Way>>,
    /// By ingress: what the kernel keeps of what comes in, as far as that is not all.
    parts: Vec<Vec<Kept>>,
}

impl Ownership {
    /// What comes of all that was found, for so many interfaces.
    pub fn of(interfaces: usize, reach: Reach, found: &[Found]) -> Self {
        let mut ways = vec![vec![Way::default(); interfaces]; interfaces];
        let everything = Packets::all(Family::V4);
        for Found { ingress, egress, kept } in found {
            for (into, row) in ways.iter_mut().enumerate() {
                for (out, way) in row.iter_mut().enumerate() {
                    let concerned = into != out
                        && ingress.is_none_or(|ingress| ingress == into)
                        && egress.is_none_or(|egress| egress == out);
                    if !concerned {
                        continue;
                    }
                    if kept.packets.covers(&everything) {
                        way.whole.insert(kept.why.clone());
                    } else {
                        way.parts.insert(kept.clone());
                    }
                }
            }
        }
        let mut ownership = Self { parts: vec![Vec::new(); interfaces], ways };
        for ingress in 0..interfaces {
            ownership.fit(ingress, reach);
        }
        ownership
    }

    /// What is kept of what comes in on an interface, as this classifier can be told it.
    fn fit(&mut self, ingress: usize, reach: Reach) {
        if !reach.destinations && self.open(ingress).count() < self.ways.len() - 1 {
            self.close(
                ingress,
                "without AF_XDP all that an interface receives is the adapters', or nothing",
            );
        }
        let mut parts = outermost(self.open(ingress).flat_map(|way| &way.parts));
        if parts.len() > reach.sets {
            parts = widened(parts);
        }
        if parts.len() > reach.sets {
            let what = match parts.as_slice() {
                [one] => format!("{}, and without AF_XDP no part can be left out", one.why),
                many => format!(
                    "{} sets of packets are kept ({} and others), and the classifier can be told of {}",
                    many.len(),
                    many[0].why,
                    reach.sets
                ),
            };
            self.close(ingress, &what);
            return;
        }
        self.parts[ingress] = parts;
    }

    fn open(&self, ingress: usize) -> impl Iterator<Item = &Way> {
        let ways = self.ways[ingress].iter().enumerate();
        ways.filter(move |(egress, way)| *egress != ingress && way.whole.is_empty())
            .map(|(_, way)| way)
    }

    fn close(&mut self, ingress: usize, why: &str) {
        for (egress, way) in self.ways[ingress].iter_mut().enumerate() {
            if egress != ingress && way.whole.is_empty() {
                way.whole.insert(why.to_owned());
            }
        }
    }

    /// Whether anything that comes in on an interface is ours.
    pub fn has_ways(&self, ingress: usize) -> bool {
        self.open(ingress).next().is_some()
    }

    /// Whether anything is ours at all.
    pub fn is_any(&self) -> bool {
        (0..self.ways.len()).any(|ingress| self.has_ways(ingress))
    }

    /// Why all packets of a way are the kernel's; nothing: they are not.
    pub fn why(&self, ingress: usize, egress: usize) -> impl Iterator<Item = &str> {
        let way = self.ways.get(ingress).and_then(|row| row.get(egress));
        way.into_iter().flat_map(|way| way.whole.iter().map(String::as_str))
    }

    /// The sets of packets that are the kernel's of what comes in there.
    pub fn parts(&self, ingress: usize) -> &[Kept] {
        &self.parts[ingress]
    }

    /// The interfaces from which packets are ours that leave by any of these.
    pub fn from(&self, egresses: impl IntoIterator<Item = usize> + Clone) -> Ingresses {
        let is_ours = |ingress: usize| {
            egresses.clone().into_iter().all(|egress| {
                egress == ingress
                    || self.ways[ingress].get(egress).is_some_and(|way| way.whole.is_empty())
            })
        };
        Ingresses(
            (0..self.ways.len().min(64))
                .filter(|ingress| is_ours(*ingress))
                .map(|at| 1 << at)
                .sum(),
        )
    }

    /// Whether something that came in there was ours before and is not now: then whoever may still hold such packets
    /// gives them back.
    pub fn lost(&self, before: &Self, ingress: usize) -> bool {
        let ways = self.ways[ingress].iter().zip(&before.ways[ingress]);
        let closed = ways.clone().any(|(now, then)| then.whole.is_empty() && !now.whole.is_empty());
        let covered = |kept: &Kept| {
            before.parts[ingress].iter().any(|then| then.packets.covers(&kept.packets))
        };
        closed || !self.parts[ingress].iter().all(covered)
    }

    /// What has changed, for people; `names` are the interfaces'. What is said of several is said once.
    pub fn sentences(&self, before: Option<&Self>, names: &[String]) -> Vec<String> {
        let mut groups: Vec<(Vec<&str>, Vec<String>)> = Vec::new();
        for (ingress, name) in names.iter().enumerate().take(self.ways.len()) {
            let then = before.map(|before| before.summary(ingress));
            let now = self.summary(ingress);
            if then.as_ref() == Some(&now) {
                continue;
            }
            // What is as it would be without any rule need not be said at the start.
            if then.is_none() && now == Summary::default() {
                continue;
            }
            let said = now.predicates(names);
            match groups.iter_mut().find(|(_, known)| *known == said) {
                Some((of, _)) => of.push(name),
                None => groups.push((vec![name], said)),
            }
        }
        let sentences = |(of, said): (Vec<&str>, Vec<String>)| {
            let of = of.join(" and ");
            said.into_iter().map(move |said| format!("packets received on {of}{said}"))
        };
        groups.into_iter().flat_map(sentences).collect()
    }

    fn summary(&self, ingress: usize) -> Summary {
        let mut closed: Vec<(Vec<String>, Vec<usize>)> = Vec::new();
        for (egress, way) in self.ways[ingress].iter().enumerate() {
            if egress == ingress || way.whole.is_empty() {
                continue;
            }
            let why: Vec<String> = way.whole.iter().cloned().collect();
            match closed.iter_mut().find(|(known, _)| *known == why) {
                Some((_, egresses)) => egresses.push(egress),
                None => closed.push((why, vec![egress])),
            }
        }
        Summary { all: !self.has_ways(ingress), closed, parts: self.parts[ingress].clone() }
    }

    /// All that keeps packets, once each: what `--strict` refuses for and a report names.
    pub fn reasons(&self) -> BTreeSet<String> {
        let ways = self.ways.iter().flatten();
        ways.flat_map(|way| {
            way.whole.iter().cloned().chain(way.parts.iter().map(|kept| kept.why.clone()))
        })
        .collect()
    }
}

/// What people are told of one ingress.
#[derive(Debug, Default, PartialEq, Eq)]
struct Summary {
    all: bool,
    closed: Vec<(Vec<String>, Vec<usize>)>,
    parts: Vec<Kept>,
}

impl Summary {
    /// What is said of the packets received there: the rest of a sentence each.
    fn predicates(&self, names: &[String]) -> Vec<String> {
        let mut said = Vec::new();
        for (why, egresses) in &self.closed {
            let whither = match self.all && self.closed.len() == 1 {
                true => String::new(),
                false => {
                    let egresses: Vec<&str> = egresses
                        .iter()
                        .filter_map(|at| names.get(*at).map(String::as_str))
                        .collect();
                    format!(" for {}", egresses.join(" and "))
                }
            };
            said.push(format!("{whither} are left to the kernel: {}", few(why.clone(), "; ")));
        }
        if self.all {
            return said;
        }
        if self.closed.is_empty() && self.parts.is_empty() {
            said.push(" are forwarded by the adapters".to_owned());
            return said;
        }
        if !self.parts.is_empty() {
            let parts: Vec<String> = by_reason(&self.parts)
                .into_iter()
                .map(|(why, sets)| format!("{} ({why})", few(sets, ", ")))
                .collect();
            said.push(format!(" are forwarded by the adapters, except: {}", few(parts, "; ")));
        }
        said
    }
}

/// What a sentence names of a kind: the rest is counted, and `spine-router show` has all of it.
const NAMED: usize = 6;

/// The first of them, and how many more there are.
pub(crate) fn few(mut items: Vec<String>, between: &str) -> String {
    let more = items.len().saturating_sub(NAMED);
    items.truncate(NAMED);
    if more > 0 {
        items.push(format!("and {more} more"));
    }
    items.join(between)
}

/// Sets with what keeps them, each reason once.
fn by_reason(parts: &[Kept]) -> Vec<(&str, Vec<String>)> {
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for kept in parts {
        let set = kept.packets.describe(Family::V4);
        match reasons.iter_mut().find(|(why, _)| *why == kept.why) {
            Some((_, sets)) => sets.push(set),
            None => reasons.push((&kept.why, vec![set])),
        }
    }
    reasons
}

/// One set for each reason: the smallest that has all of its own.
fn widened(parts: Vec<Kept>) -> Vec<Kept> {
    let mut reasons: BTreeMap<String, Packets> = BTreeMap::new();
    for Kept { packets, why } in parts {
        reasons.entry(why).and_modify(|set| *set = set.hull(&packets)).or_insert(packets);
    }
    reasons.into_iter().map(|(why, packets)| Kept { packets, why }).collect()
}

/// Sets that no other one covers.
fn outermost<'a>(parts: impl Iterator<Item = &'a Kept>) -> Vec<Kept> {
    let all: BTreeSet<&Kept> = parts.collect();
    let all: Vec<&Kept> = all.into_iter().collect();
    let is_inside = |(at, kept): (usize, &&Kept)| {
        all.iter().enumerate().any(|(other, around)| {
            other != at
                && around.packets.covers(&kept.packets)
                // Of two alike the first stays.
                && (around.packets != kept.packets || other < at)
        })
    };
    all.iter().enumerate().filter(|at| !is_inside(*at)).map(|(_, kept)| (*kept).clone()).collect()
}

#[cfg(test)]
mod tests {
    use spine_rules::{Addresses, Pieces};

    use super::*;

    const FULL: Reach = Reach { destinations: true, sets: 32 };

    fn found(ingress: Option<usize>, egress: Option<usize>, packets: Packets, why: &str) -> Found {
        Found { ingress, egress, kept: Kept { packets, why: why.to_owned() } }
    }

    fn all() -> Packets {
        Packets::all(Family::V4)
    }

    fn docker() -> Packets {
        Packets { source: Addresses::prefix(Family::V4, 0xac11_0000, 16), ..all() }
    }

    fn names() -> Vec<String> {
        ["lan", "wan", "dmz"].map(str::to_owned).to_vec()
    }

    #[test]
    fn where_nothing_keeps_anything_all_is_ours_and_nothing_is_said() {
        let ownership = Ownership::of(3, FULL, &[]);
        assert_eq!(ownership.from([1]), Ingresses(0b111));
        assert_eq!(ownership.sentences(None, &names()), Vec::<String>::new());
        assert!((0..3).all(|at| ownership.has_ways(at) && ownership.parts(at).is_empty()));
    }

    #[test]
    fn a_way_that_is_kept_closes_that_way_alone() {
        let ownership =
            Ownership::of(3, FULL, &[found(Some(0), Some(1), all(), "chain f: policy drop")]);
        assert_eq!(ownership.from([1]), Ingresses(0b110), "out by wan");
        assert_eq!(ownership.from([2]), Ingresses(0b111), "out by dmz");
        assert_eq!(ownership.from([1, 2]), Ingresses(0b110), "out by either");
        assert_eq!(
            ownership.sentences(None, &names()),
            ["packets received on lan for wan are left to the kernel: chain f: policy drop"]
        );
    }

    #[test]
    fn sets_are_kept_of_all_that_comes_in_and_the_inner_ones_are_not_told() {
        let inner = Packets { pieces: Pieces::PIECES, ..docker() };
        let parts =
            [found(None, Some(1), docker(), "masquerade"), found(Some(0), None, inner, "another")];
        let ownership = Ownership::of(2, FULL, &parts);
        assert_eq!(ownership.parts(0), [Kept { packets: docker(), why: "masquerade".to_owned() }]);
        assert_eq!(ownership.parts(1), []);
        assert_eq!(
            ownership.sentences(None, &names()[..2]),
            [
                "packets received on lan are forwarded by the adapters, except: from 172.17.0.0/16 (masquerade)"
            ]
        );
    }

    #[test]
    fn a_classifier_that_knows_less_leaves_more_to_the_kernel() {
        let blind = Reach { destinations: false, sets: 0 };
        let way = [found(Some(0), Some(1), all(), "f")];
        assert!(
            !Ownership::of(3, blind, &way).has_ways(0) && Ownership::of(3, blind, &way).has_ways(1)
        );
        let part = [found(Some(0), None, docker(), "m")];
        let ownership = Ownership::of(2, blind, &part);
        assert!(!ownership.has_ways(0) && ownership.has_ways(1));
        assert_eq!(
            ownership.sentences(None, &names()[..2]),
            [
                "packets received on lan are left to the kernel: m, and without AF_XDP no part can be left out"
            ]
        );
    }

    #[test]
    fn what_is_said_of_several_interfaces_is_said_once() {
        let ownership = Ownership::of(2, FULL, &[found(None, None, docker(), "m")]);
        assert_eq!(
            ownership.sentences(None, &names()[..2]),
            [
                "packets received on lan and wan are forwarded by the adapters, except: from 172.17.0.0/16 (m)"
            ]
        );
        let closed = Ownership::of(3, FULL, &[found(None, Some(1), all(), "f")]);
        assert_eq!(
            closed.sentences(None, &names()),
            ["packets received on lan and dmz for wan are left to the kernel: f"]
        );
    }

    #[test]
    fn a_sentence_names_a_few_and_counts_the_rest() {
        let found: Vec<Found> =
            (0..9).map(|number| found(Some(0), None, all(), &format!("rule {number}"))).collect();
        assert_eq!(
            Ownership::of(2, FULL, &found).sentences(None, &names()[..2]),
            [
                "packets received on lan are left to the kernel: rule 0; rule 1; rule 2; rule 3; rule 4; rule 5; and 3 more"
            ]
        );
    }

    #[test]
    fn what_is_lost_is_seen_and_what_is_won_is_none_of_it() {
        let of = |found: &[Found]| Ownership::of(2, FULL, found);
        let (free, part) = (of(&[]), of(&[found(Some(0), None, docker(), "m")]));
        let smaller = Packets { pieces: Pieces::WHOLE, ..docker() };
        let inside = of(&[found(Some(0), None, smaller, "m")]);
        let closed = of(&[found(Some(0), None, all(), "f")]);
        for (before, after, lost) in [
            (&free, &part, true),
            (&part, &free, false),
            (&part, &inside, false),
            (&inside, &part, true),
            (&free, &closed, true),
            (&closed, &free, false),
            (&part, &part, false),
        ] {
            assert_eq!(after.lost(before, 0), lost, "{before:?} then {after:?}");
            assert!(!after.lost(before, 1));
        }
        assert_eq!(
            free.sentences(Some(&closed), &names()[..2]),
            ["packets received on lan are forwarded by the adapters"]
        );
    }
}
