//! Which rules are for all packets of ours, and in what order they ask.

use super::*;
use crate::netlink::state::{Link, TABLE_DEFAULT, TABLE_MAIN};

fn state(rules: Vec<Rule>) -> KernelState {
    let mut state = KernelState::default();
    state.rules = rules;
    for (index, name) in [(2, "lan"), (3, "wan"), (4, "other")] {
        state.links.insert(index, Link { name: name.to_owned(), ..Link::default() });
    }
    state
}

/// The tables that are asked for a prefix, in their order, as long as none has an answer.
fn asked(rules: Vec<Rule>, prefix: &str) -> Vec<u32> {
    let chain = Chain::of(&state(rules), &Interfaces::new(vec![2, 3]));
    let mut asked = Vec::new();
    let prefix = prefix.parse().expect("a prefix");
    let _: Option<()> = chain.walk(prefix, |action| match action {
        StepAction::Table { table, .. } => {
            asked.push(table);
            None
        }
        _ => {
            asked.push(0);
            Some(())
        }
    });
    asked
}

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a prefix")
}

#[test]
fn tables_are_asked_in_the_order_of_the_rules_that_are_for_all() {
    let plain = Rule::defaults;
    let with = |more: Vec<Rule>| {
        let mut all = [plain(), more].concat();
        all.sort_by_key(|rule| rule.preference);
        all
    };
    let usual = [TABLE_LOCAL, TABLE_MAIN, TABLE_DEFAULT];
    let marked = |preference, table| Rule {
        mark: 0x80000,
        mask: 0xff0000,
        ..Rule::lookup(preference, table)
    };
    let goto = |preference, target| Rule {
        action: RuleAction::Goto(target),
        ..Rule::lookup(preference, 0)
    };
    let local = TABLE_LOCAL;
    for (name, rules, expected) in [
        ("as it starts", plain(), usual.to_vec()),
        ("none at all", vec![], vec![]),
        (
            "a VPN's",
            with(vec![
                marked(5210, TABLE_MAIN),
                Rule { action: RuleAction::End(RouteKind::Unreachable), ..marked(5250, 0) },
                Rule::lookup(5270, 52),
            ]),
            vec![local, 52, TABLE_MAIN, TABLE_DEFAULT],
        ),
        (
            "another VPN's",
            with(vec![
                Rule { longer_than: Some(0), ..Rule::lookup(32764, TABLE_MAIN) },
                Rule { mark: 51820, mask: u32::MAX, inverted: true, ..Rule::lookup(32765, 51820) },
            ]),
            vec![local, TABLE_MAIN, 51820, TABLE_MAIN, TABLE_DEFAULT],
        ),
        (
            "a pod network's",
            vec![
                Rule { mark: 0x200, mask: 0xf00, ..Rule::lookup(9, 2004) },
                Rule::lookup(100, local),
                Rule::lookup(32766, TABLE_MAIN),
            ],
            vec![local, TABLE_MAIN],
        ),
        (
            "rules for some",
            with(vec![
                Rule { source: net("10.0.0.0/8"), ..Rule::lookup(10, 10) },
                Rule { ingress: Some("lan".to_owned()), ..Rule::lookup(11, 11) },
                Rule { ingress: Some("other".to_owned()), ..Rule::lookup(12, 12) },
                Rule { vrf: true, ..Rule::lookup(1000, 0) },
            ]),
            usual.to_vec(),
        ),
        (
            "not from another's interface",
            with(vec![Rule {
                ingress: Some("other".to_owned()),
                inverted: true,
                ..Rule::lookup(12, 12)
            }]),
            vec![local, 12, TABLE_MAIN, TABLE_DEFAULT],
        ),
        (
            "to a prefix, to all but another, to one that is not this",
            with(vec![
                Rule { destination: net("10.9.0.0/16"), ..Rule::lookup(10, 10) },
                Rule { destination: net("10.9.0.0/16"), inverted: true, ..Rule::lookup(11, 11) },
                Rule { destination: net("10.8.0.0/16"), ..Rule::lookup(12, 12) },
            ]),
            vec![local, 10, TABLE_MAIN, TABLE_DEFAULT],
        ),
        (
            "a jump over some, and one to nowhere",
            with(vec![goto(5, 20), Rule::lookup(10, 10), Rule::lookup(20, 20), goto(21, 99)]),
            vec![local, 20, TABLE_MAIN, TABLE_DEFAULT],
        ),
        (
            "an end",
            with(vec![Rule {
                action: RuleAction::End(RouteKind::Prohibit),
                ..Rule::lookup(40, 0)
            }]),
            vec![local, 0],
        ),
    ] {
        assert_eq!(asked(rules, "10.9.1.0/24"), expected, "{name}");
    }
}

#[test]
fn only_a_namespace_without_rules_of_its_own_may_have_local_and_main_in_one() {
    let merged = |rules| Chain::of(&state(rules), &Interfaces::new(vec![2])).may_be_merged();
    assert!(merged(Rule::defaults()));
    let mut more = Rule::defaults();
    more.insert(1, Rule { mark: 1, mask: 1, ..Rule::lookup(9, 9) });
    assert!(!merged(more));
}
