use super::*;
use crate::answers;
use crate::model::{Interface, NatTo, NewAddress};
use crate::packets::{Kept, Protocols};
use crate::report;

/// "nftables chain NAME", with a hook or without.
fn chain(name: &str, base: Option<(Hook, bool)>, rules: Vec<Vec<Step>>) -> Chain {
    let named =
        |(number, steps): (usize, Vec<Step>)| Rule { name: format!("rule {number}").into(), steps };
    Chain {
        place: name.into(),
        v4: true,
        v6: false,
        base: base.map(|(hook, drops)| Base { hook, priority: 0, drops, devices: None }),
        rules: rules.into_iter().enumerate().map(named).collect(),
    }
}

fn program(chains: Vec<Chain>) -> Program {
    Program { chains, ..Program::default() }
}

fn test(source: impl Fn(u16) -> Source, value: &[u8]) -> Step {
    let bytes = (0..).take(value.len()).map(|at| Byte::of(source(at))).collect();
    Step::Test(Test { bytes, keys: Keys::one(value.to_vec()), inverted: false })
}

fn fact(fact: Fact, value: &[u8]) -> Step {
    test(|at| Source::Fact(fact, u8::try_from(at).expect("short")), value)
}

fn not(step: Step) -> Step {
    match step {
        Step::Test(test) => Step::Test(Test { inverted: !test.inverted, ..test }),
        other => other,
    }
}

fn source(address: [u8; 4]) -> Step {
    test(|at| Source::Network(12 + at), &address)
}

fn destination_net(start: [u8; 2]) -> Step {
    test(|at| Source::Network(16 + at), &start)
}

fn protocol(number: u8) -> Step {
    fact(Fact::L4Proto, &[number])
}

fn destination_port(port: u16) -> Step {
    test(|at| Source::Transport(2 + at), &port.to_be_bytes())
}

fn input(name: &str) -> Step {
    fact(Fact::Input(Interface::Name), &[name.as_bytes(), &[0]].concat())
}

fn output(name: &str) -> Step {
    fact(Fact::Output(Interface::Name), &[name.as_bytes(), &[0]].concat())
}

/// `ct state`, whatever it asks for.
fn state() -> Step {
    fact(Fact::Connection, &[0, 0, 0, 2])
}

fn accept() -> Step {
    Step::Verdict(Verdict::Accept)
}

fn drop() -> Step {
    Step::Verdict(Verdict::Keep("drop".into()))
}

/// What is kept from lan to wan, as people read it.
fn kept(program: &Program) -> Vec<String> {
    let (lan, wan) = (Link::ethernet(2, "lan"), Link::ethernet(3, "wan"));
    let walk = |from, to| {
        let ends = Ends::Forwarded(from, to);
        walk(program, Way { family: Family::V4, ends, connections_have_marks: false })
    };
    let (this, other) = (walk(&lan, &wan), walk(&wan, &lan));
    let mut reasons = answers::follow(Family::V4, &this, &other);
    answers::translated(program, Family::V4, &mut reasons);
    let said = |kept: Kept| format!("{} | {}", kept.packets.describe(Family::V4), kept.why);
    report::few(Family::V4, reasons).into_iter().map(said).collect()
}

#[test]
fn what_is_accepted_by_interface_is_free_and_the_rest_falls_to_the_policy() {
    let forward = |first| chain("f", Some((Hook::Forward, true)), vec![vec![first, accept()]]);
    assert_eq!(kept(&program(vec![forward(input("lan"))])), [""; 0]);
    assert_eq!(kept(&program(vec![forward(output("wan"))])), [""; 0]);
    assert_eq!(kept(&program(vec![forward(input("other"))])), ["all | f: policy drop"]);
    assert_eq!(kept(&program(vec![forward(not(input("other")))])), [""; 0]);
    // Accepted now and then is not accepted.
    assert_eq!(kept(&program(vec![forward(Step::Perhaps)])), ["all | f: policy drop"]);
}

#[test]
fn an_interface_whose_packets_go_out_is_not_known_before_routing() {
    let rules = vec![vec![output("wan"), drop()]];
    let before = chain("p", Some((Hook::Prerouting, false)), rules);
    assert_eq!(kept(&program(vec![before])), [""; 0]);
    let rules = vec![vec![input("lan"), drop()]];
    // Kernels differ in whether it is still known there.
    let after = chain("p", Some((Hook::Postrouting, false)), rules);
    assert_eq!(kept(&program(vec![after])), ["all | p: drop (rule 0)"]);
}

#[test]
fn a_port_is_not_seen_in_a_piece() {
    let rules = vec![vec![protocol(6), destination_port(25), drop()]];
    let forward = chain("f", Some((Hook::Forward, false)), rules);
    assert_eq!(
        kept(&program(vec![forward])),
        ["fragments tcp | f: drop (rule 0)", "tcp to port 25 | f: drop (rule 0)"]
    );
}

#[test]
fn only_where_no_state_is_asked_are_answers_free() {
    let rules = vec![vec![source([192, 0, 2, 1]), drop()]];
    let stateless = chain("f", Some((Hook::Forward, false)), rules);
    assert_eq!(kept(&program(vec![stateless])), ["from 192.0.2.1 | f: drop (rule 0)"]);
    let rules = vec![
        vec![protocol(17), state(), accept()],
        vec![source([192, 0, 2, 1]), protocol(17), drop()],
    ];
    let stateful = chain("f", Some((Hook::Forward, false)), rules);
    let found = kept(&program(vec![stateful]));
    assert!(found.contains(&"udp from 192.0.2.1 | f: drop (rule 1)".to_owned()), "{found:?}");
    assert!(
        found.contains(&"udp to 192.0.2.1 | answers, by connection: f: drop (rule 1)".to_owned()),
        "{found:?}"
    );
    assert!(found.iter().any(|said| said.starts_with("icmp type 3-5 | ICMP errors")), "{found:?}");
}

#[test]
fn what_is_invalid_may_be_anything() {
    let rules = vec![vec![state(), drop()], vec![accept()]];
    let forward = chain("f", Some((Hook::Forward, false)), rules);
    assert_eq!(kept(&program(vec![forward])), ["all | f: drop (rule 0)"]);
}

#[test]
fn an_answer_that_needs_state_keeps_what_it_answers() {
    // Echo requests pass by themselves, their answers only as such.
    let icmp = |kind| test(Source::Transport, &[kind]);
    let rules = vec![vec![state(), accept()], vec![protocol(1), icmp(8), accept()]];
    let forward = chain("f", Some((Hook::Forward, true)), rules);
    assert_eq!(kept(&program(vec![forward])), ["all | f: policy drop"]);
}

#[test]
fn a_jump_comes_back_and_a_goto_does_not() {
    let verdict = |to| vec![Step::Verdict(to)];
    let with = |to| {
        let forward = chain("f", Some((Hook::Forward, false)), vec![verdict(to), vec![drop()]]);
        let other = chain("o", None, vec![vec![source([10, 0, 0, 1]), accept()]]);
        kept(&program(vec![forward, other]))
    };
    assert_eq!(with(Verdict::Goto(1)), [""; 0]);
    let [before, after] = &with(Verdict::Jump(1))[..] else { panic!("two sets: all but one") };
    assert_eq!(before, "from 0.0.0.0-10.0.0.0 | f: drop (rule 1)");
    assert_eq!(after, "from 10.0.0.2-255.255.255.255 | f: drop (rule 1)");
}

#[test]
fn chains_that_call_each_other_for_ever_keep_everything() {
    let itself =
        chain("f", Some((Hook::Forward, false)), vec![vec![Step::Verdict(Verdict::Jump(0))]]);
    let found = kept(&program(vec![itself]));
    assert_eq!(found, ["all | f: more rules than are looked at"]);
}

#[test]
fn a_verdict_map_leads_each_key_its_own_way_and_others_on() {
    let bytes: Bytes = (0..4).map(|at| Byte::of(Source::Network(16 + at))).collect();
    let choice = |address: [u8; 4], verdict| Choice { keys: Keys::one(address.to_vec()), verdict };
    let choices = vec![
        choice([10, 0, 0, 1], Verdict::Keep("reject".into())),
        choice([10, 0, 0, 2], Verdict::Accept),
    ];
    let map = Step::Map(bytes, Arc::new(choices));
    let rules = vec![vec![map], vec![destination_net([10, 0]), drop()]];
    let found = kept(&program(vec![chain("f", Some((Hook::Forward, false)), rules)]));
    assert_eq!(
        found,
        [
            "to 10.0.0.1 | f: reject (rule 0)",
            "to 10.0.0.0 | f: drop (rule 1)",
            "to 10.0.0.3-10.0.255.255 | f: drop (rule 1)",
        ]
    );
}

#[test]
fn translation_keeps_answers_that_no_rule_names() {
    let to =
        NewAddress { addresses: Some((false, 0x0a00_0005, 0x0a00_0005)), ports: Some((80, 80)) };
    let dnat = || Step::Nat(Nat { name: "dnat".into(), to: NatTo::Destination(vec![to]) });
    const LOCAL: u32 = 2;
    let local = || fact(Fact::DestinationType, &LOCAL.to_ne_bytes());
    let answer = "tcp from 10.0.0.5 from port 80 | answers, by translation: n: dnat (rule 0)";
    let rules = vec![vec![local(), protocol(6), destination_port(8080), dnat()]];
    let found = kept(&program(vec![chain("n", Some((Hook::Prerouting, false)), rules)]));
    assert!(found.iter().any(|said| said == answer), "{found:?}");
    assert!(
        !found.iter().any(|said| said.contains("to port 8080")),
        "the machine's own: {found:?}"
    );
    assert!(found.iter().any(|said| said.starts_with("icmp type 3-5 |")), "{found:?}");
}

#[test]
fn a_mark_is_zero_until_a_rule_on_the_way_sets_one() {
    let mark =
        |value: u32| Step::Mark(value.to_ne_bytes().into_iter().map(Byte::constant).collect());
    let marked = |value: u32| fact(Fact::Mark, &value.to_ne_bytes());
    let with = |set: Vec<Step>| {
        let before = chain("p", Some((Hook::Prerouting, false)), vec![set]);
        let forward = chain("f", Some((Hook::Forward, false)), vec![vec![marked(1), drop()]]);
        program(vec![before, forward])
    };
    assert_eq!(kept(&with(vec![input("other"), mark(1)])), [""; 0]);
    assert_eq!(kept(&with(vec![mark(0)])), [""; 0]);
    assert_eq!(kept(&with(vec![protocol(17), mark(1)])), ["udp | f: drop (rule 0)"]);
    let mut routed = with(vec![protocol(17), mark(1)]);
    routed.routes_by_mark.v4 = true;
    let why = "udp | p: a mark, which policy rules (ip rule) ask for (rule 0)";
    assert_eq!(kept(&routed), [why]);
}

#[test]
fn many_keys_are_few_sets() {
    let keys = (0..2000_u32).map(|n| crate::model::Key {
        first: (0x0a00_0000 + n * 4096).to_be_bytes().to_vec(),
        last: (0x0a00_0000 + n * 4096).to_be_bytes().to_vec(),
        fields: Arc::new(vec![(0, 4)]),
    });
    let keys = Keys { keys: Arc::new(keys.collect()), ..Keys::default() };
    let bytes = (0..4).map(|at| Byte::of(Source::Network(12 + at))).collect();
    let test = Step::Test(Test { bytes, keys, inverted: false });
    let rules = vec![vec![test, drop()]];
    let program = program(vec![chain("f", Some((Hook::Forward, false)), rules)]);
    let found = kept(&program);
    assert!((2..=32).contains(&found.len()), "{found:?}");
    let (lan, wan) = (Link::ethernet(2, "lan"), Link::ethernet(3, "wan"));
    let ends = Ends::Forwarded(&lan, &wan);
    let way = Way { family: Family::V4, ends, connections_have_marks: false };
    let walked = walk(&program, way);
    let all = |n: u128| Packets {
        source: crate::packets::Addresses { first: n, last: n },
        protocols: Protocols::one(6),
        ..Packets::all(Family::V4)
    };
    for n in 0..2000 {
        let one = [all(0x0a00_0000 + n * 4096)];
        assert!(region::meet(&walked.kept[0].packets, &one), "key {n} is kept");
    }
    assert!(!region::meet(&walked.kept[0].packets, &[all(0x0b00_0000)]), "others are not");
}
