//! Wired interfaces of the machine that a topology uses in place of virtual ones.
//!
//! On a veth no driver is tested. Where `SPINE_TEST_PORTS` names pairs of interfaces that are wired to each other, as
//! in `r0=h0,r1=h1`, a topology moves those into its namespaces (the first of a pair is the router's end), and gives
//! them back. The same tests then run on a real driver; `tests/nic` boots a guest that has some.
//!
//! Names, addresses and MTUs are set by each topology anew; whoever is killed before it gives its interfaces back
//! leaves that to whoever made them.

use std::process::Command;
use std::time::{Duration, Instant};

use crate::namespace::Namespace;
use crate::process::patient;
use crate::topology::ip;

/// Names the pairs.
const PAIRS: &str = "SPINE_TEST_PORTS";
/// The MTU where a test does not ask for one of its own: a driver's frames, and so its ways, depend on it.
const MTU: &str = "SPINE_TEST_MTU";

/// Two interfaces that are wired to each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pair {
    /// The router's end.
    pub near: String,
    /// The host's end.
    pub far: String,
}

/// The pairs that there are; `None` where topologies make virtual ones.
pub fn wired() -> Option<Vec<Pair>> {
    let text = std::env::var(PAIRS).ok()?;
    Some(parse(&text).unwrap_or_else(|| panic!("{PAIRS}: {text:?} is not like r0=h0,r1=h1")))
}

/// The MTU of links that ask for none.
pub fn default_mtu() -> Option<u16> {
    let text = std::env::var(MTU).ok()?;
    Some(text.parse().unwrap_or_else(|error| panic!("{MTU}: {text:?}: {error}")))
}

fn parse(text: &str) -> Option<Vec<Pair>> {
    let pair = |pair: &str| {
        let (near, far) =
            pair.split_once('=').filter(|(near, far)| !near.is_empty() && !far.is_empty())?;
        Some(Pair { near: near.to_owned(), far: far.to_owned() })
    };
    text.split(',').map(pair).collect()
}

/// Moves an interface of the machine into a namespace, under another name, with the offloads of its driver (an earlier
/// test may have taken them off). It is down there.
pub(crate) fn take(interface: &str, namespace: &Namespace, name: &str) {
    ip(&["link", "set", interface, "down"]).expect_success(interface);
    ip(&["link", "set", interface, "netns", namespace.name(), "name", name])
        .expect_success(interface);
    // What a driver has not, it refuses.
    namespace.try_run(&format!("ethtool -K {name} tx on tso on gso on"), Duration::from_secs(10));
}

/// Waits until an interface that is up has a carrier: drivers that were reset take seconds.
pub fn wait_for_carrier(namespace: &Namespace, interface: &str) {
    let deadline = Instant::now() + patient(Duration::from_secs(10));
    while !has_carrier(namespace, interface) {
        assert!(Instant::now() < deadline, "{interface} has no carrier");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether packets can pass: the interface is up, and so is what it is wired to.
pub fn has_carrier(namespace: &Namespace, interface: &str) -> bool {
    namespace.ip(&format!("link show dev {interface}")).contains("LOWER_UP")
}

/// Gives it back to the first process's namespace. Nothing here may panic: it runs in drops.
pub(crate) fn give_back(interface: &str, namespace: &Namespace, name: &str) {
    for change in ["down", &format!("netns 1 name {interface}")] {
        let arguments = format!("-n {} link set {name} {change}", namespace.name());
        let _ = Command::new("ip").args(arguments.split(' ')).output();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_read_and_nothing_else() {
        let pair = |near: &str, far: &str| Pair { near: near.into(), far: far.into() };
        assert_eq!(parse("r0=h0,r1=h1"), Some(vec![pair("r0", "h0"), pair("r1", "h1")]));
        for wrong in ["", "r0", "r0=", "=h0", "r0=h0,"] {
            assert_eq!(parse(wrong), None, "{wrong:?}");
        }
    }
}
