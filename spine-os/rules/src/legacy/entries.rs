//! The entries of a table, as chains of rules.
//!
//! A table is one run of entries. The chains that hooks call begin and end where the table's header says; the others
//! begin behind an entry that says their name. A jump says where it leads by the position of an entry.

use std::collections::BTreeMap;

use crate::ipset::IpSets;
use crate::model::{
    Base, Byte, Bytes, Chain, Fact, Hook, Interface, Keys, Program, Rule, Source, Step, Test,
    Verdict, address,
};
use crate::packets::Family;
use crate::xtables::{self, Info};

/// Where things are in an entry, which differs between the families.
pub(super) struct Layout {
    family: Family,
    address_bytes: usize,
    protocol: usize,
    flags: usize,
    inverted: usize,
    target: usize,
    elements: usize,
    goto: u8,
}

/// struct xt_entry_match and struct xt_entry_target: size, name, revision.
const ELEMENT_BYTES: usize = 32;
const ELEMENT_NAME: usize = 2;
const ELEMENT_REVISION: usize = 31;
const NAME_BYTES: usize = 16;

impl Layout {
    pub(super) fn of(family: Family) -> Self {
        match family {
            Family::V4 => Self {
                family,
                address_bytes: 4,
                protocol: 80,
                flags: 82,
                inverted: 83,
                target: 88,
                elements: 112,
                goto: 2,
            },
            Family::V6 => Self {
                family,
                address_bytes: 16,
                protocol: 128,
                flags: 131,
                inverted: 132,
                target: 140,
                elements: 168,
                goto: 4,
            },
        }
    }
}

fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn position_at(bytes: &[u8], offset: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, offset)?).ok()
}

/// The size of a table's entries, by its header.
pub(super) fn size(info: &[u8]) -> Option<usize> {
    position_at(info, 80)
}

/// Leaves out what packets change.
pub(super) fn clear_counters(layout: &Layout, entries: &mut [u8]) {
    const COUNTERS_BYTES: usize = 16;
    let places: Vec<usize> = split(layout, entries).into_keys().collect();
    for at in places {
        // They are the last of an entry's fixed part.
        let end = at + layout.elements;
        entries[end - COUNTERS_BYTES..end].fill(0);
    }
}

/// Adds a table.
pub(super) fn add(
    program: &mut Program,
    layout: &Layout,
    ipsets: &IpSets,
    (table, info, entries): (&str, &[u8], &[u8]),
) {
    let entries = split(layout, entries);
    let mut chains = chains(layout, table, info, &entries);
    let first = program.chains.len();
    let by_start: BTreeMap<usize, usize> =
        chains.iter().enumerate().map(|(at, chain)| (chain.start, first + at)).collect();
    let mut tracks = false;
    for chain in &mut chains {
        let inside = entries.range(chain.start..chain.end).enumerate();
        for (number, (at, entry)) in inside {
            let mut steps = Vec::new();
            let next = at + entry.len();
            let understood = rule(layout, ipsets, entry, next, &by_start, &mut steps);
            match understood {
                Some(starts) => tracks |= starts,
                None => steps.push(Step::Keep("not understood".into())),
            }
            let name = format!("rule {}", number + 1).into();
            chain.chain.rules.push(Rule { name, steps });
        }
    }
    if tracks {
        let word = program_name(layout.family);
        let place = format!("{word} table {table}");
        program.tracks.of_mut(layout.family).get_or_insert(place);
    }
    program.chains.extend(chains.into_iter().map(|chain| chain.chain));
}

/// Each entry, by its position.
fn split<'a>(layout: &Layout, entries: &'a [u8]) -> BTreeMap<usize, &'a [u8]> {
    let mut found = BTreeMap::new();
    let mut at = 0;
    while let Some(length) = entries.get(at..).and_then(|rest| u16_at(rest, layout.target + 2)) {
        let length = usize::from(length);
        let Some(entry) = entries.get(at..at + length).filter(|_| length >= layout.elements) else {
            break;
        };
        found.insert(at, entry);
        at += length;
    }
    found
}

/// A chain, and where its rules are.
struct Placed {
    start: usize,
    end: usize,
    chain: Chain,
}

fn program_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "iptables",
        Family::V6 => "ip6tables",
    }
}

fn chains(
    layout: &Layout,
    table: &str,
    info: &[u8],
    entries: &BTreeMap<usize, &[u8]>,
) -> Vec<Placed> {
    const VALID_HOOKS: usize = 32;
    const STARTS: usize = 36;
    const POLICIES: usize = 56;
    const HOOKS: [(Hook, &str); 5] = [
        (Hook::Prerouting, "PREROUTING"),
        (Hook::Input, "INPUT"),
        (Hook::Forward, "FORWARD"),
        (Hook::Elsewhere, "OUTPUT"),
        (Hook::Postrouting, "POSTROUTING"),
    ];
    let word = program_name(layout.family);
    let chain = |name: &str, base| Chain {
        place: format!("{word} chain {name} of table {table}").into(),
        v4: layout.family == Family::V4,
        v6: layout.family == Family::V6,
        base,
        rules: Vec::new(),
    };
    let mut found = Vec::new();
    let valid = u32_at(info, VALID_HOOKS).unwrap_or(0);
    for (number, (hook, name)) in HOOKS.into_iter().enumerate().filter(|(n, _)| valid >> n & 1 == 1)
    {
        let start = position_at(info, STARTS + 4 * number);
        let policy = position_at(info, POLICIES + 4 * number);
        let (Some(start), Some(policy)) = (start, policy) else { continue };
        // The policy is the last rule, without conditions.
        let drops =
            entries.get(&policy).and_then(|entry| verdict_of(layout, entry)) != Some(ACCEPT);
        let base = Base { hook, priority: priority(table, hook), drops, devices: None };
        found.push(Placed { start, end: policy, chain: chain(name, Some(base)) });
    }
    let names = entries.iter().filter_map(|(at, entry)| {
        let name = error_name(layout, entry)?;
        Some((*at, at + entry.len(), name))
    });
    let names: Vec<_> = names.collect();
    for pair in names.windows(2) {
        let ((_, start, name), (end, ..)) = (&pair[0], &pair[1]);
        found.push(Placed { start: *start, end: *end, chain: chain(name, None) });
    }
    found
}

fn priority(table: &str, hook: Hook) -> i32 {
    match (table, hook) {
        ("raw", _) => -300,
        ("mangle", _) => -150,
        ("nat", Hook::Postrouting | Hook::Input) => 100,
        ("nat", _) => -100,
        ("security", _) => 50,
        _ => 0,
    }
}

/// Verdicts are said as one less than their negative; others are positions.
const DROP: i32 = -1;
const ACCEPT: i32 = -2;
const QUEUE: i32 = -4;
const RETURN: i32 = -5;

fn element(bytes: &[u8]) -> Option<(String, u32, &[u8])> {
    let length = usize::from(u16_at(bytes, 0)?);
    let name = bytes.get(ELEMENT_NAME..ELEMENT_REVISION)?;
    let end = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    let name = String::from_utf8_lossy(&name[..end]).into_owned();
    Some((name, (*bytes.get(ELEMENT_REVISION)?).into(), bytes.get(ELEMENT_BYTES..length)?))
}

fn target<'a>(layout: &Layout, entry: &'a [u8]) -> Option<(String, u32, &'a [u8])> {
    element(entry.get(usize::from(u16_at(entry, layout.target)?)..)?)
}

/// The verdict of an entry whose target is one.
fn verdict_of(layout: &Layout, entry: &[u8]) -> Option<i32> {
    let (name, _, data) = target(layout, entry)?;
    name.is_empty().then(|| u32_at(data, 0).map(u32::cast_signed))?
}

/// The name that an entry gives to the chain behind it.
fn error_name(layout: &Layout, entry: &[u8]) -> Option<String> {
    let (name, _, data) = target(layout, entry)?;
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    (name == "ERROR").then(|| String::from_utf8_lossy(&data[..end]).into_owned())
}

/// The steps of an entry; whether one of them starts connection tracking.
fn rule(
    layout: &Layout,
    ipsets: &IpSets,
    entry: &[u8],
    next: usize,
    chains: &BTreeMap<usize, usize>,
    steps: &mut Vec<Step>,
) -> Option<bool> {
    conditions(layout, entry, steps)?;
    let is_ipv6 = layout.family == Family::V6;
    let mut tracks = false;
    let end = usize::from(u16_at(entry, layout.target)?);
    let mut at = layout.elements;
    while at < end {
        let bytes = entry.get(at..end)?;
        let (name, revision, data) = element(bytes)?;
        let info = Info { name: &name, revision, bytes: data, is_ipv6 };
        tracks |= xtables::add_match(info, ipsets, steps);
        at += usize::from(u16_at(bytes, 0)?);
    }
    steps.push(Step::Count);
    let (name, revision, data) = target(layout, entry)?;
    if !name.is_empty() {
        let info = Info { name: &name, revision, bytes: data, is_ipv6 };
        return Some(xtables::add_target(info, steps) | tracks);
    }
    let is_goto = entry.get(layout.flags)? & layout.goto != 0;
    let verdict = match u32_at(data, 0)?.cast_signed() {
        DROP => Verdict::Keep("DROP".into()),
        ACCEPT => Verdict::Accept,
        QUEUE => Verdict::Keep("QUEUE".into()),
        RETURN => Verdict::Return,
        position => {
            let position = usize::try_from(position).ok()?;
            match (position == next, is_goto) {
                (true, false) => Verdict::Continue,
                (_, false) => Verdict::Jump(*chains.get(&position)?),
                (_, true) => Verdict::Goto(*chains.get(&position)?),
            }
        }
    };
    steps.push(Step::Verdict(verdict));
    Some(tracks)
}

/// What an entry asks by itself: addresses, interfaces, the protocol.
fn conditions(layout: &Layout, entry: &[u8], steps: &mut Vec<Step>) -> Option<()> {
    const FRAGMENT: u8 = 1;
    const FRAGMENT_INVERTED: u8 = 0x20;
    const PROTOCOL_INVERTED: u8 = 0x40;
    let is_ipv6 = layout.family == Family::V6;
    let (flags, inverted) = (*entry.get(layout.flags)?, *entry.get(layout.inverted)?);
    let part = |at: usize, length: usize| entry.get(at..at + length);
    let mut test = |bytes: Bytes, mask: &[u8], value: &[u8], inverted: bool| {
        if mask.iter().any(|byte| *byte != 0) || inverted {
            let bytes = bytes.into_iter().zip(mask).map(|(byte, and)| Byte { and: *and, ..byte });
            // What the mask leaves out may be anything: of `eth+` the plus is still there.
            let value = value.iter().zip(mask).map(|(value, mask)| value & mask).collect();
            let (bytes, keys) = (bytes.collect(), Keys::one(value));
            steps.push(Step::Test(Test { bytes, keys, inverted }));
        }
    };
    let length = layout.address_bytes;
    for (at, is_source, bit) in [(0, true, 0x08), (length, false, 0x10)] {
        let (value, mask) = (part(at, length)?, part(at + 2 * length, length)?);
        test(address(is_ipv6, is_source), mask, value, inverted & bit != 0);
    }
    let names = 4 * length;
    let facts = [Fact::Input(Interface::Name), Fact::Output(Interface::Name)];
    for (number, (fact, bit)) in facts.into_iter().zip([0x01, 0x02]).enumerate() {
        let at = names + number * NAME_BYTES;
        let (value, mask) = (part(at, NAME_BYTES)?, part(at + 2 * NAME_BYTES, NAME_BYTES)?);
        let bytes = (0..16).map(|at| Byte::of(Source::Fact(fact, at))).collect();
        test(bytes, mask, value, inverted & bit != 0);
    }
    let protocol = u16_at(entry, layout.protocol)?;
    if protocol != 0 {
        let bytes = vec![Byte::of(Source::Fact(Fact::L4Proto, 0))];
        let number = [u8::try_from(protocol).ok()?];
        test(bytes, &[0xff], &number, inverted & PROTOCOL_INVERTED != 0);
    }
    if !is_ipv6 && flags & FRAGMENT != 0 {
        // The offset, of any but the first piece not zero.
        let bytes = [6, 7].map(|at| Byte::of(Source::Network(at)));
        test(bytes.to_vec(), &[0x1f, 0xff], &[0, 0], inverted & FRAGMENT_INVERTED == 0);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(target: &[u8], change: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let layout = Layout::of(Family::V4);
        let mut bytes = vec![0; layout.elements];
        let place = u16::try_from(layout.elements).expect("short").to_ne_bytes();
        bytes[layout.target..layout.target + 2].copy_from_slice(&place);
        bytes.extend(target);
        let length = u16::try_from(bytes.len()).expect("short").to_ne_bytes();
        bytes[layout.target + 2..layout.target + 4].copy_from_slice(&length);
        change(&mut bytes);
        bytes
    }

    fn target(name: &str, data: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; ELEMENT_BYTES];
        bytes[ELEMENT_NAME..ELEMENT_NAME + name.len()].copy_from_slice(name.as_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let length = u16::try_from(bytes.len()).expect("short").to_ne_bytes();
        bytes[..2].copy_from_slice(&length);
        bytes
    }

    fn verdict(verdict: i32) -> Vec<u8> {
        target("", &verdict.to_ne_bytes())
    }

    /// FORWARD: a rule that jumps to a chain of its own; policy drop.
    fn table() -> (Vec<u8>, Vec<u8>) {
        let length = entry(&verdict(0), |_| ()).len();
        let name = entry(&target("ERROR", b"own\0"), |_| ());
        let start_of_own = 2 * length + name.len();
        let jump = i32::try_from(start_of_own).expect("short");
        let entries = [
            entry(&verdict(jump), |bytes| bytes[80] = 17),
            entry(&verdict(DROP), |_| ()),
            name,
            entry(&verdict(ACCEPT), |_| ()),
            entry(&verdict(RETURN), |_| ()),
            entry(&target("ERROR", b"ERROR\0"), |_| ()),
        ];
        let mut info = vec![0; 84];
        let policy = u32::try_from(length).expect("short");
        info[32..36].copy_from_slice(&(1_u32 << 2).to_ne_bytes());
        info[36 + 8..36 + 12].copy_from_slice(&0_u32.to_ne_bytes());
        info[56 + 8..56 + 12].copy_from_slice(&policy.to_ne_bytes());
        (info, entries.concat())
    }

    #[test]
    fn a_run_of_entries_becomes_chains_that_call_each_other() {
        let (info, entries) = table();
        let mut program = Program::default();
        let layout = Layout::of(Family::V4);
        add(&mut program, &layout, &IpSets::default(), ("filter", &info, &entries));
        let [forward, own] = &program.chains[..] else { panic!("{:?}", program.chains) };
        assert_eq!(&*forward.place, "iptables chain FORWARD of table filter");
        assert!(forward.base.as_ref().is_some_and(|base| base.drops && base.hook == Hook::Forward));
        assert_eq!((forward.rules.len(), own.rules.len()), (1, 2), "the policy is no rule");
        let last = forward.rules[0].steps.last();
        assert!(matches!(last, Some(Step::Verdict(Verdict::Jump(1)))), "{last:?}");
        assert!(matches!(forward.rules[0].steps[0], Step::Test(_)), "UDP only");
        assert_eq!(&*own.place, "iptables chain own of table filter");
    }

    #[test]
    fn what_is_cut_or_leads_nowhere_keeps() {
        let (info, entries) = table();
        let layout = Layout::of(Family::V4);
        for length in 0..entries.len() {
            let mut program = Program::default();
            add(&mut program, &layout, &IpSets::default(), ("filter", &info, &entries[..length]));
            let rule = program.chains.first().and_then(|chain| chain.rules.first());
            let Some(rule) = rule else { continue };
            let last = rule.steps.last();
            let jumps = matches!(last, Some(Step::Verdict(Verdict::Jump(_))));
            assert!(jumps || matches!(last, Some(Step::Keep(_))), "{length}: {last:?}");
        }
    }
}
