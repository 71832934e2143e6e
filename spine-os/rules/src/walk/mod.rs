//! Walking the rules as the kernel does, with sets of packets in place of a packet.
//!
//! What a rule keeps is the kernel's whatever comes after, so the walk goes on without it. A packet of which it is not certain that
//! a rule lets it leave the chain stays in it. Each set is thus at least what it stands for, and what is kept at least what
//! must be.
//!
//! What is certain of a packet that is carried: it is whole or a piece, has no IPv6 extension headers (those stay the
//! kernel's whatever this crate says), was sent to the interface's own link-layer address, and has no socket.

mod compare;
mod way;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use self::compare::Match;
pub(crate) use self::way::{Ends, Way};
use crate::link::Link;
use crate::model::{
    Base, Byte, Bytes, Chain, Choice, Device, Fact, Hook, Key, Keys, Nat, Program, Rule, Source,
    Step, Test, Verdict,
};
use crate::packets::{Family, Packets, Pieces};
use crate::region::{self, Region};

/// Chains that call each other this deep are more than the kernel allows (16 in nftables).
const DEEPEST: usize = 64;
/// Rules looked at on one way; a chain that many call counts each time.
const MOST_RULES: usize = 1_000_000;
/// A set of more keys is looked at once.
const LARGE: usize = 16;

/// What a walk found.
#[derive(Debug)]
pub(crate) struct Walked {
    pub(crate) kept: Vec<Keeps>,
    /// Packets of which a rule asked the connection's state.
    pub(crate) asked: Region,
    /// Translation that some packets may meet.
    pub(crate) translated: Option<Arc<str>>,
    /// A connection may get a mark.
    pub(crate) marks_connections: bool,
    /// Chains with rules that count packets on this way, and one such rule.
    pub(crate) counts: BTreeMap<Arc<str>, Arc<str>>,
}

/// Packets that a rule keeps.
#[derive(Debug)]
pub(crate) struct Keeps {
    pub(crate) packets: Region,
    pub(crate) why: Arc<str>,
    /// Those of them of which the connection's state had been asked, or whose connection is translated.
    pub(crate) by_state: Region,
    /// Only what begins a connection is meant, which an ICMP error never does.
    pub(crate) is_translation: bool,
}

/// Walks all chains on a way.
pub(crate) fn walk(program: &Program, way: Way<'_>) -> Walked {
    let mut walk = Walk {
        program,
        way,
        hook: Hook::Elsewhere,
        marked: Region::new(),
        looked_up: HashMap::new(),
        rules_left: MOST_RULES,
        found: Walked {
            kept: Vec::new(),
            asked: Region::new(),
            translated: None,
            marks_connections: false,
            counts: BTreeMap::new(),
        },
    };
    // Pieces that connection tracking collects meet no rule.
    let collects = program.tracks.of(way.family).is_some();
    let pieces = if collects { Pieces::WHOLE } else { Pieces::ANY };
    let mut alive = vec![Packets { pieces, ..Packets::all(way.family) }];
    for (chain, base) in chains(program, way) {
        walk.hook = base.hook;
        let before = walk.found.kept.len();
        let through = walk.chain(chain, alive.clone(), 0);
        if base.drops {
            walk.keep(through, &format!("{}: policy drop", chain.place));
        }
        for keeps in &walk.found.kept[before..] {
            alive = region::without_at_least(&alive, &keeps.packets);
        }
        if alive.is_empty() {
            break;
        }
    }
    walk.found
}

/// What the steps of one rule let through to its end, all of it taken to be understood: for what a rule says by itself.
pub(crate) fn alone(family: Family, rule: &Rule) -> Region {
    let way = Way { family, ends: Ends::Unknown, connections_have_marks: true };
    let mut at = vec![Packets::all(family)];
    for step in &rule.steps {
        if let Step::Test(Test { bytes, keys, inverted }) = step {
            let marked = [Packets::all(family)];
            let matched = compare::compare(&way, Hook::Forward, &marked, (bytes, keys, *inverted));
            at = region::common_at_least(&at, &matched.plus);
        }
    }
    at
}

/// The chains that the kernel calls on a way, in its order.
fn chains<'a>(program: &'a Program, way: Way<'_>) -> Vec<(&'a Chain, &'a Base)> {
    let hooks: &[Hook] = match way.ends {
        Ends::Forwarded(..) => {
            &[Hook::Ingress, Hook::Prerouting, Hook::Forward, Hook::Postrouting, Hook::Egress]
        }
        Ends::Delivered(_) => &[Hook::Ingress, Hook::Prerouting, Hook::Input],
        Ends::Unknown => &[],
    };
    let on = |base: &Base| {
        let link = match (base.hook, way.ends) {
            (Hook::Ingress, Ends::Forwarded(link, _) | Ends::Delivered(link)) => link,
            (Hook::Egress, Ends::Forwarded(_, link)) => link,
            _ => return true,
        };
        base.devices.as_ref().is_none_or(|devices| devices.iter().any(|at| at.is(link)))
    };
    let mut found: Vec<_> = program
        .chains
        .iter()
        .filter(|chain| match way.family {
            Family::V4 => chain.v4,
            Family::V6 => chain.v6,
        })
        .filter_map(|chain| Some((chain, chain.base.as_ref()?)))
        .filter(|(_, base)| hooks.contains(&base.hook) && on(base))
        .collect();
    found.sort_by_key(|(_, base)| (base.hook, base.priority));
    found
}

impl Device {
    fn is(&self, link: &Link) -> bool {
        match self {
            Self::Named(name) => *name == link.name,
            Self::Prefix(start) => link.name.starts_with(start.as_str()),
        }
    }
}

struct Walk<'a> {
    program: &'a Program,
    way: Way<'a>,
    hook: Hook,
    /// Packets that may have a mark.
    marked: Region,
    /// What look-ups in large sets came to, by the set: many rules ask the same.
    looked_up: HashMap<*const Vec<Key>, Vec<LookUp>>,
    rules_left: usize,
    found: Walked,
}

/// A look-up of bytes in a set, or not in it, and what it came to at a hook.
struct LookUp {
    bytes: Bytes,
    inverted: bool,
    hook: Hook,
    matched: Rc<Match>,
}

/// Packets in a chain while it is walked.
struct Here {
    /// Not known to have left it.
    stay: Region,
    /// Come to its end, or sent back by a rule.
    back: Region,
}

impl Walk<'_> {
    /// What comes back out of a chain.
    fn chain(&mut self, chain: &Chain, packets: Region, depth: usize) -> Region {
        let mut here = Here { stay: packets, back: Region::new() };
        for rule in &chain.rules {
            if here.stay.is_empty() {
                break;
            }
            if depth > DEEPEST || self.rules_left == 0 {
                let why = format!("{}: more rules than are looked at", chain.place);
                self.keep(std::mem::take(&mut here.stay), &why);
                break;
            }
            self.rules_left -= 1;
            self.rule(chain, rule, &mut here, depth);
        }
        region::add(&mut here.back, &here.stay);
        here.back
    }

    fn rule(&mut self, chain: &Chain, rule: &Rule, here: &mut Here, depth: usize) {
        // At least and at most what has come so far in the rule.
        let mut plus = here.stay.clone();
        let mut minus = here.stay.clone();
        for step in &rule.steps {
            match step {
                Step::Test(Test { bytes, keys, inverted }) => {
                    self.ask(bytes, &plus);
                    let matched = self.compare((bytes, keys, *inverted));
                    plus = region::common_at_least(&plus, &matched.plus);
                    minus = region::common_at_most(&minus, &matched.minus);
                }
                Step::Map(bytes, choices) => {
                    self.ask(bytes, &plus);
                    for choice in choices.iter() {
                        self.choice(chain, rule, here, (&plus, &minus), (bytes, choice), depth);
                    }
                    return;
                }
                Step::Keep(what) => {
                    self.keep_by(chain, rule, what, &plus);
                    here.stay = region::without_at_least(&here.stay, &plus);
                    return;
                }
                // It stays, so that what is done with it further on is found as well.
                Step::Log(what) => self.keep_by(chain, rule, what, &plus),
                Step::Nat(nat) => {
                    self.translate(chain, rule, nat, &plus);
                    here.stay = region::without_at_least(&here.stay, &plus);
                    return;
                }
                Step::Mark(mark) => {
                    if self.mark(chain, rule, mark, &plus) {
                        here.stay = region::without_at_least(&here.stay, &plus);
                        return;
                    }
                }
                Step::ConnectionMark(mark) => {
                    let is_zero = self.is_zero(mark) && !region::meet(&plus, &self.marked);
                    self.found.marks_connections |= !is_zero;
                }
                Step::Perhaps => minus.clear(),
                Step::Never => return,
                Step::Count => {
                    let place = Arc::clone(&chain.place);
                    self.found.counts.entry(place).or_insert_with(|| Arc::clone(&rule.name));
                }
                Step::Verdict(verdict) => {
                    self.verdict(chain, rule, here, (&plus, &minus), verdict, depth);
                    return;
                }
            }
            if plus.is_empty() {
                return;
            }
        }
    }

    fn choice(
        &mut self,
        chain: &Chain,
        rule: &Rule,
        here: &mut Here,
        (plus, minus): (&Region, &Region),
        (bytes, Choice { keys, verdict }): (&Bytes, &Choice),
        depth: usize,
    ) {
        let matched = self.compare((bytes, keys, false));
        // What a choice before this one took is not here any more.
        let plus = region::common_at_least(plus, &matched.plus);
        let plus = region::common_at_least(&plus, &here.stay);
        let minus = region::common_at_most(minus, &matched.minus);
        if !plus.is_empty() {
            self.verdict(chain, rule, here, (&plus, &minus), verdict, depth);
        }
    }

    fn verdict(
        &mut self,
        chain: &Chain,
        rule: &Rule,
        here: &mut Here,
        (plus, minus): (&Region, &Region),
        verdict: &Verdict,
        depth: usize,
    ) {
        match verdict {
            Verdict::Accept => here.stay = region::without_at_least(&here.stay, minus),
            Verdict::Continue => {}
            Verdict::Return => {
                region::add(&mut here.back, plus);
                here.stay = region::without_at_least(&here.stay, minus);
            }
            Verdict::Jump(to) => {
                let back = self.chain(&self.program.chains[*to], plus.clone(), depth + 1);
                // Gone is what certainly went there and is not among what may have come back.
                let gone = region::without_at_most(minus, &back);
                here.stay = region::without_at_least(&here.stay, &gone);
            }
            Verdict::Goto(to) => {
                let back = self.chain(&self.program.chains[*to], plus.clone(), depth + 1);
                region::add(&mut here.back, &back);
                here.stay = region::without_at_least(&here.stay, minus);
            }
            Verdict::Keep(what) => {
                self.keep_by(chain, rule, what, plus);
                here.stay = region::without_at_least(&here.stay, plus);
            }
        }
    }

    fn compare(&mut self, comparison: (&[Byte], &Keys, bool)) -> Rc<Match> {
        let (bytes, keys, inverted) = comparison;
        let by_mark = |byte: &Byte| matches!(byte.source, Source::Fact(Fact::Mark, _));
        let (hook, set) = (self.hook, Arc::as_ptr(&keys.keys));
        let is_large = keys.keys.len() > LARGE && !bytes.iter().any(by_mark);
        let known = self.looked_up.get(&set).filter(|_| is_large).and_then(|known| {
            let same = |other: &&LookUp| {
                (other.hook, other.inverted) == (hook, inverted) && other.bytes == bytes
            };
            known.iter().find(same)
        });
        if let Some(known) = known {
            return Rc::clone(&known.matched);
        }
        let matched = Rc::new(compare::compare(&self.way, hook, &self.marked, comparison));
        if is_large {
            let (bytes, matched) = (bytes.to_vec(), Rc::clone(&matched));
            let look_up = LookUp { bytes, inverted, hook, matched };
            self.looked_up.entry(set).or_default().push(look_up);
        }
        matched
    }

    /// Remembers that the state of connections was asked.
    fn ask(&mut self, bytes: &[Byte], packets: &[Packets]) {
        let asks = |byte: &Byte| match byte.source {
            Source::Fact(Fact::Connection, _) => true,
            Source::Fact(Fact::ConnectionMark, _) => self.way.connections_have_marks,
            _ => false,
        };
        if bytes.iter().any(asks) {
            region::add(&mut self.found.asked, packets);
        }
    }

    fn translate(&mut self, chain: &Chain, rule: &Rule, nat: &Nat, packets: &Region) {
        let why: Arc<str> = why(chain, rule, &nat.name).into();
        self.found.translated.get_or_insert_with(|| Arc::clone(&why));
        let (packets, by_state) = (packets.clone(), packets.clone());
        self.found.kept.push(Keeps { packets, why, by_state, is_translation: true });
    }

    /// Packets get a mark; whether that is reason enough to keep them.
    fn mark(&mut self, chain: &Chain, rule: &Rule, mark: &Bytes, packets: &Region) -> bool {
        if self.is_zero(mark) && !region::meet(packets, &self.marked) {
            return false;
        }
        let routed_later = matches!(self.hook, Hook::Ingress | Hook::Prerouting);
        if routed_later && *self.program.routes_by_mark.of(self.way.family) {
            self.keep_by(chain, rule, "a mark, which policy rules (ip rule) ask for", packets);
            return true;
        }
        region::add(&mut self.marked, packets);
        false
    }

    /// Whether what is stored for a packet without a mark is zero.
    fn is_zero(&self, bytes: &Bytes) -> bool {
        compare::is_zero(&self.way, self.hook, bytes)
    }

    fn keep_by(&mut self, chain: &Chain, rule: &Rule, what: &str, packets: &Region) {
        self.keep(packets.clone(), &why(chain, rule, what));
    }

    fn keep(&mut self, packets: Region, why: &str) {
        if packets.is_empty() {
            return;
        }
        let by_state = region::common_at_least(&packets, &self.found.asked);
        let why = why.into();
        self.found.kept.push(Keeps { packets, why, by_state, is_translation: false });
    }
}

fn why(chain: &Chain, rule: &Rule, what: &str) -> String {
    format!("{}: {what} ({})", chain.place, rule.name)
}

#[cfg(test)]
mod tests;
