//! Which of what changes can matter to whoever carries packets.
//!
//! A set that only chains at the input hook look into is none of a router's business, however often it changes. A snapshot
//! therefore knows from which hooks its chains and sets are reached. What it does not know yet is reached by nothing, until a change
//! of something that it does know leads there.

use std::collections::{BTreeSet, HashMap};

use spine_nic::netlink::wire::Raw;
use spine_nic::open::table_name;

use super::numbers as n;
use super::read::{self, Home, Listing};
use crate::model::{Hook, PerFamily, Program, Step, Verdict};

/// From which hooks what is reached.
#[derive(Debug, Default)]
pub(crate) struct Reach {
    tables: HashMap<Home, BTreeSet<Hook>>,
    chains: HashMap<(Home, String), BTreeSet<Hook>>,
    sets: HashMap<(Home, String), BTreeSet<Hook>>,
    /// Connection tracking is active, whatever is added.
    tracks: PerFamily<bool>,
}

impl Reach {
    /// Of a program and the listing that it was made from: chains by their number, and the sets that each uses.
    pub(super) fn of(
        program: &Program,
        listing: &Listing,
        chains: &HashMap<(&Home, &String), usize>,
        used: &HashMap<usize, BTreeSet<usize>>,
    ) -> Self {
        let mut hooks: Vec<BTreeSet<Hook>> = vec![BTreeSet::new(); program.chains.len()];
        for start in 0..program.chains.len() {
            if let Some(base) = &program.chains[start].base {
                spread(program, start, base.hook, &mut hooks);
            }
        }
        let mut reach = Self::default();
        // A table that sleeps may be woken.
        for chain in &listing.chains {
            let at = chain.hook.map(|(number, _)| super::hook(chain.home.0, number));
            reach.tables.entry(chain.home.clone()).or_default().extend(at);
        }
        for ((home, name), &number) in chains {
            let key = ((*home).clone(), (*name).clone());
            reach.chains.insert(key, hooks[number].clone());
            for &set in used.get(&number).into_iter().flatten() {
                let listed = &listing.sets[set];
                let key = (listed.home.clone(), listed.name.clone());
                reach.sets.entry(key).or_default().extend(&hooks[number]);
            }
        }
        reach.tracks =
            PerFamily { v4: program.tracks.v4.is_some(), v6: program.tracks.v6.is_some() };
        reach
    }

    /// Whether what a notification tells of can matter at some hooks.
    pub(crate) fn concerns(&self, raw: Raw<'_>, hooks: &[Hook]) -> bool {
        let meets = |reached: Option<&BTreeSet<Hook>>| {
            reached.is_some_and(|reached| reached.iter().any(|hook| hooks.contains(hook)))
        };
        let Some((home, name)) = read::subject(raw) else { return false };
        if !read::is_ours(home.0) || home == (n::NETDEV, table_name()) {
            return false;
        }
        match raw.kind {
            n::NEW_TABLE | n::DELETE_TABLE => meets(self.tables.get(&home)),
            n::NEW_CHAIN | n::DELETE_CHAIN => {
                let at = read::chain_hook(raw).map(|number| super::hook(home.0, number));
                at.is_some_and(|hook| hooks.contains(&hook))
                    || meets(self.chains.get(&(home, name)))
            }
            n::NEW_RULE => {
                let may_track =
                    home.0 != n::IPV6 && !self.tracks.v4 || home.0 != n::IPV4 && !self.tracks.v6;
                may_track && home.0 != n::NETDEV || meets(self.chains.get(&(home, name)))
            }
            // Where connection tracking ends with it, this is found with the next change that matters.
            n::DELETE_RULE => meets(self.chains.get(&(home, name))),
            n::NEW_ELEMENT | n::DELETE_ELEMENT => meets(self.sets.get(&(home, name))),
            // A set, an object or a flow table matters once a rule uses it.
            _ => false,
        }
    }
}

fn spread(program: &Program, at: usize, hook: Hook, hooks: &mut [BTreeSet<Hook>]) {
    let mut next = vec![at];
    while let Some(at) = next.pop() {
        if !hooks[at].insert(hook) {
            continue;
        }
        for step in program.chains[at].rules.iter().flat_map(|rule| &rule.steps) {
            let mut go = |verdict: &Verdict| {
                if let Verdict::Jump(to) | Verdict::Goto(to) = verdict {
                    next.push(*to);
                }
            };
            match step {
                Step::Verdict(verdict) => go(verdict),
                Step::Map(_, choices) => choices.iter().for_each(|choice| go(&choice.verdict)),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use spine_nic::netlink::wire::{attribute, nested};

    use super::*;

    const FORWARDING: [Hook; 2] = [Hook::Prerouting, Hook::Forward];

    fn home() -> Home {
        (n::INET, "t".to_owned())
    }

    fn reach(tracks: bool) -> Reach {
        let at = |hook| BTreeSet::from([hook]);
        let named = |name: &str| (home(), name.to_owned());
        Reach {
            tables: HashMap::from([(home(), BTreeSet::from([Hook::Input, Hook::Forward]))]),
            chains: HashMap::from([
                (named("in"), at(Hook::Input)),
                (named("for"), at(Hook::Forward)),
            ]),
            sets: HashMap::from([
                (named("bad"), at(Hook::Input)),
                (named("ways"), at(Hook::Forward)),
            ]),
            tracks: PerFamily { v4: tracks, v6: tracks },
        }
    }

    /// A message about something of the table `t`, whose name is in this attribute.
    fn message(family: u8, name: (u16, &str), more: Vec<u8>) -> Vec<u8> {
        let text = |kind, text: &str| attribute(kind, &[text.as_bytes(), &[0]].concat());
        [vec![family, 0, 0, 0], text(1, "t"), text(name.0, name.1), more].concat()
    }

    #[test]
    fn only_what_packets_on_the_way_meet_is_of_concern() {
        let hook = |number: u32| nested(n::chain::HOOK, &attribute(1, &number.to_be_bytes()));
        let set = |name| message(n::INET, (n::element::SET, name), Vec::new());
        let rule = |name| message(n::INET, (n::rule::CHAIN, name), Vec::new());
        let chain = |name, number| message(n::INET, (n::chain::NAME, name), hook(number));
        for (what, tracks, kind, payload, expected) in [
            ("an element of a set at input", true, n::NEW_ELEMENT, set("bad"), false),
            ("an element of a set on the way", true, n::NEW_ELEMENT, set("ways"), true),
            ("one taken out there", true, n::DELETE_ELEMENT, set("ways"), true),
            ("an element of a set unknown", true, n::NEW_ELEMENT, set("new"), false),
            ("a rule at input", true, n::NEW_RULE, rule("in"), false),
            ("one that may start tracking", false, n::NEW_RULE, rule("in"), true),
            ("a rule on the way", true, n::NEW_RULE, rule("for"), true),
            ("one taken out at input", false, n::DELETE_RULE, rule("in"), false),
            ("a chain at forward", true, n::NEW_CHAIN, chain("x", 2), true),
            ("a chain at output", true, n::NEW_CHAIN, chain("x", 3), false),
            ("its table", true, n::NEW_TABLE, set("x"), true),
            ("a generation", true, n::NEW_GENERATION, vec![0; 4], false),
            ("a bridge's", true, n::NEW_RULE, message(7, (2, "for"), Vec::new()), false),
        ] {
            let raw = Raw { kind, flags: 0, sequence: 0, payload: &payload };
            assert_eq!(reach(tracks).concerns(raw, &FORWARDING), expected, "{what}");
        }
        let own =
            [vec![n::NETDEV, 0, 0, 0], attribute(1, &[table_name().as_bytes(), &[0]].concat())];
        let payload = own.concat();
        let raw = Raw { kind: n::NEW_CHAIN, flags: 0, sequence: 0, payload: &payload };
        assert!(!reach(true).concerns(raw, &[Hook::Ingress]), "this process's own table");
    }
}
