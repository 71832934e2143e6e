//! Interfaces that share packets with ours.
//!
//! A packet that comes in on a bridge's port is the bridge's, whoever it is addressed to; one with a
//! VLAN tag is the VLAN device's, and where the tag is not in the packet but beside it, a program at the
//! driver takes it for an untagged one.

use spine_rules::{Family, Kept, Packets};

use super::Named;
use crate::netlink::KernelState;
use crate::netlink::state::IfIndex;

/// Interfaces of which everything stays the kernel's, and why.
pub(super) fn kept(state: &KernelState, ours: &[Named<'_>]) -> Vec<(Option<IfIndex>, Kept)> {
    let mut all = Vec::new();
    for name in ours {
        let keep = |why| (Some(name.0), Kept { packets: Packets::all(Family::V4), why });
        all.extend(sharing(state, &[*name]).into_iter().map(keep));
    }
    all
}

fn sharing(state: &KernelState, ours: &[Named<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    for (index, name) in ours {
        if let Some(master) = state.links.get(index).and_then(|link| link.master) {
            let master = match state.links.get(&master) {
                Some(link) => {
                    let kind = link.kind.as_deref().unwrap_or("interface");
                    format!("{kind} {}", link.name)
                }
                None => format!("interface {master}"),
            };
            found.push(format!("interface {name} is a port of {master}"));
        }
        for upper in state.links.values().filter(|link| link.takes_from == Some(*index)) {
            let kind = upper.kind.as_deref().unwrap_or("another");
            let upper = &upper.name;
            found.push(format!(
                "{kind} device {upper} on interface {name} takes packets that come in there"
            ));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::state::Link;

    #[test]
    fn devices_on_ours_are_named_and_others_are_not() {
        let link = |name: &str, kind: &str, takes_from, master| Link {
            name: name.to_owned(),
            kind: Some(kind.to_owned()),
            takes_from,
            master,
            ..Link::default()
        };
        let mut state = KernelState::default();
        for (index, link) in [
            (2, link("a", "veth", None, None)),
            (3, link("b", "veth", None, Some(8))),
            (4, link("c", "veth", None, Some(9))),
            (5, link("a.5", "vlan", Some(2), None)),
            (6, link("c.5", "vlan", Some(4), None)),
            (7, link("tap", "macvtap", Some(2), None)),
            (9, link("br", "bridge", None, None)),
        ] {
            state.links.insert(index, link);
        }
        let found = |ours: &[Named<'_>]| -> Vec<String> {
            kept(&state, ours).into_iter().map(|(_, kept)| kept.why).collect()
        };
        let on_a = [
            "vlan device a.5 on interface a takes packets that come in there",
            "macvtap device tap on interface a takes packets that come in there",
        ];
        assert_eq!(found(&[(2, "a")]), on_a);
        assert_eq!(found(&[(3, "b")]), ["interface b is a port of interface 8"], "master unseen");
        assert_eq!(
            found(&[(4, "c")]),
            [
                "interface c is a port of bridge br",
                "vlan device c.5 on interface c takes packets that come in there"
            ]
        );
        assert_eq!(found(&[(5, "a.5")]), Vec::<String>::new());
        let whose: Vec<Option<IfIndex>> =
            kept(&state, &[(2, "a"), (4, "c")]).into_iter().map(|(ingress, _)| ingress).collect();
        assert_eq!(whose, [Some(2), Some(2), Some(4), Some(4)]);
    }
}
