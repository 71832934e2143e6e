//! Steps from state to state, and what they touch.

use super::*;

fn prefix(text: &str) -> Ipv4Net {
    text.parse().expect("a prefix")
}

fn via(gateway: u8, metric: u32) -> Route {
    let hop = Hop {
        interface: 2,
        gateway: Some([10, 0, 0, gateway].into()),
        weight: 1,
        foreign: false,
        dead: false,
    };
    Route {
        table: TABLE_MAIN,
        tos: 0,
        metric,
        kind: RouteKind::Unicast,
        via: Via::Hops(vec![hop]),
        mtu: None,
        origin: Origin::default(),
    }
}

fn gateways(state: &KernelState, at: Ipv4Net) -> Vec<u8> {
    let last_octet = |route: &Route| match &route.via {
        Via::Hops(hops) => match hops[0].gateway {
            Some(IpAddr::V4(gateway)) => gateway.octets()[3],
            other => panic!("a gateway: {other:?}"),
        },
        Via::Object(_) => 0,
    };
    state.routes.get(&at).map_or_else(Vec::new, |routes| routes.iter().map(last_octet).collect())
}

#[test]
fn routes_stand_in_the_order_in_which_the_kernel_tries_them() {
    let at = prefix("10.9.0.0/16");
    let mut state = KernelState::default();
    let mut dirty = Dirty::default();
    for (route, placement) in [
        (via(1, 100), Placement::Last),
        (via(2, 50), Placement::Last),
        (via(3, 100), Placement::Last),
        (via(4, 100), Placement::First),
        (via(5, 50), Placement::Replace),
    ] {
        state.apply(Change::AddRoute(at, route, placement), &mut dirty);
    }
    assert_eq!(gateways(&state, at), [5, 4, 1, 3]);
    assert_eq!(dirty.prefixes.into_iter().collect::<Vec<_>>(), [at]);
}

#[test]
fn old_news_changes_nothing() {
    let at = prefix("10.9.0.0/16");
    let mut state = KernelState::default();
    for route in [via(1, 100), via(2, 100)] {
        let add = Change::AddRoute(at, route, Placement::Last);
        state.apply(add, &mut Dirty::default());
    }
    let before = state.clone();
    let mut dirty = Dirty::default();
    for change in [
        Change::AddRoute(at, via(2, 100), Placement::First),
        Change::AddRoute(at, via(1, 100), Placement::Replace),
        Change::RemoveRoute(prefix("10.8.0.0/16"), via(1, 100)),
        Change::Neighbour([10, 0, 0, 9].into(), 2, None),
        Change::Link(77, None),
    ] {
        state.apply(change, &mut dirty);
    }
    assert_eq!(state, before);
    assert!(dirty.is_empty(), "{dirty:?}");
}

#[test]
fn routes_that_differ_only_in_their_origin_are_two() {
    let at = prefix("10.9.0.0/16");
    let source = Some([10, 0, 0, 1].into());
    for (name, origin) in [
        ("protocol", Origin { protocol: 12, ..Origin::default() }),
        ("scope", Origin { scope: 253, ..Origin::default() }),
        ("source", Origin { source, ..Origin::default() }),
    ] {
        let other = Route { origin, ..via(1, 0) };
        let mut state = KernelState::default();
        for change in [
            Change::AddRoute(at, via(1, 0), Placement::Last),
            Change::AddRoute(at, other.clone(), Placement::Last),
            Change::RemoveRoute(at, via(1, 0)),
        ] {
            state.apply(change, &mut Dirty::default());
        }
        assert_eq!(state.routes.get(&at), Some(&vec![other]), "{name}");
    }
}

#[test]
fn a_route_whose_hop_died_is_still_the_same_route() {
    let at = prefix("10.9.0.0/16");
    let mut dead = via(1, 0);
    if let Via::Hops(hops) = &mut dead.via {
        hops[0].dead = true;
    }
    let mut state = KernelState::default();
    let mut dirty = Dirty::default();
    state.apply(Change::AddRoute(at, via(1, 0), Placement::Last), &mut dirty);
    state.apply(Change::AddressAdded, &mut dirty);
    assert!(!dirty.doubtful, "nothing to revive");
    state.apply(Change::AddRoute(at, dead.clone(), Placement::Last), &mut dirty);
    assert_eq!(state.routes.get(&at), Some(&vec![dead]));
    state.apply(Change::AddressAdded, &mut dirty);
    assert!(dirty.doubtful, "the hop may live again");
    state.apply(Change::RemoveRoute(at, via(1, 0)), &mut dirty);
    assert_eq!(state.routes.get(&at), None);
}

#[test]
fn removing_a_route_we_know_differently_asks_for_a_dump() {
    let at = prefix("10.9.0.0/16");
    let mut state = KernelState::default();
    let mut dirty = Dirty::default();
    state.apply(Change::AddRoute(at, via(1, 0), Placement::Last), &mut dirty);
    state.apply(Change::RemoveRoute(at, via(9, 0)), &mut dirty);
    assert!(dirty.doubtful);
    assert_eq!(gateways(&state, at), [1]);
}

#[test]
fn replacing_the_state_names_exactly_what_differs() {
    let (kept, gone, new) = (prefix("10.1.0.0/16"), prefix("10.2.0.0/16"), prefix("0.0.0.0/0"));
    let mut before = KernelState::default();
    let mut after = KernelState::default();
    let mut scratch = Dirty::default();
    for (state, at) in [(0, kept), (0, gone), (1, kept), (1, new)] {
        let add = Change::AddRoute(at, via(1, 0), Placement::Last);
        if state == 0 { &mut before } else { &mut after }.apply(add, &mut scratch);
    }
    let dirty = before.replace(after.clone());
    assert_eq!(dirty.prefixes, BTreeSet::from([gone, new]));
    assert_eq!(before, after);
    assert!(before.replace(after).is_empty());
}
