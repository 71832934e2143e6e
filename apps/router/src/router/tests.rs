//! The control loop over a real kernel, in a network namespace, with adapters that only acknowledge.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net};
use prefix_trie::PrefixMap;
use spine_abi::Reason;
use spine_fib::Half;
use spine_nic::open::Ingresses;
use spine_rules::Kept;

use super::*;
use crate::claims::ClassifierError;
use crate::fib::{Action, NextHop};
use crate::netlink::state::IfIndex;
use crate::testing::support::{in_namespace, run};
use crate::testing::{Echo, HeapRegion};

/// What a classifier was told.
#[derive(Default)]
struct Told {
    claims: PrefixMap<Ipv4Net, Ingresses>,
    kept: std::collections::BTreeMap<IfIndex, Vec<Kept>>,
    addresses: BTreeSet<Ipv4Addr>,
    enabled: BTreeSet<IfIndex>,
    macs: std::collections::BTreeMap<IfIndex, [u8; 6]>,
}

struct Recorder(Rc<RefCell<Told>>);

impl Classifier for Recorder {
    fn reach(&self) -> Reach {
        Reach { destinations: true, sets: 32 }
    }
    fn set_claim(&mut self, prefix: IpNet, from: Ingresses) -> Result<(), ClassifierError> {
        let IpNet::V4(prefix) = prefix else { panic!("{prefix} was claimed") };
        self.0.borrow_mut().claims.insert(prefix, from);
        Ok(())
    }
    fn set_kept(&mut self, interface: IfIndex, sets: &[Kept]) -> Result<(), ClassifierError> {
        self.0.borrow_mut().kept.insert(interface, sets.to_vec());
        Ok(())
    }
    fn remove_claim(&mut self, prefix: IpNet) -> Result<(), ClassifierError> {
        let IpNet::V4(prefix) = prefix else { panic!("{prefix} was never claimed") };
        self.0.borrow_mut().claims.remove(&prefix);
        Ok(())
    }
    fn set_address(&mut self, address: IpAddr) -> Result<(), ClassifierError> {
        let IpAddr::V4(address) = address else { panic!("{address} was named") };
        self.0.borrow_mut().addresses.insert(address);
        Ok(())
    }
    fn remove_address(&mut self, address: IpAddr) -> Result<(), ClassifierError> {
        let IpAddr::V4(address) = address else { panic!("{address} was never named") };
        self.0.borrow_mut().addresses.remove(&address);
        Ok(())
    }
    fn set_enabled(&mut self, interface: IfIndex, enabled: bool) -> Result<(), ClassifierError> {
        let told = &mut self.0.borrow_mut().enabled;
        if enabled {
            told.insert(interface)
        } else {
            told.remove(&interface)
        };
        Ok(())
    }
    fn set_mac(&mut self, interface: IfIndex, mac: [u8; 6]) -> Result<(), ClassifierError> {
        self.0.borrow_mut().macs.insert(interface, mac);
        Ok(())
    }
}

struct Bench {
    router: Router<HeapRegion>,
    told: Rc<RefCell<Told>>,
    said: Rc<RefCell<Vec<String>>>,
    spa: IfIndex,
    spb: IfIndex,
}

impl Bench {
    fn new(bypass_kernel_policy: bool) -> Self {
        Self::with(Mirror::open().expect("a mirror"), bypass_kernel_policy)
    }

    fn with(mirror: Mirror, bypass_kernel_policy: bool) -> Self {
        let index = |name| mirror.state().link_named(name).expect("the veth").0;
        let (spa, spb) = (index("spa"), index("spb"));
        let (told, said) = (Rc::default(), Rc::default());
        let log: Rc<RefCell<Vec<String>>> = Rc::clone(&said);
        let parts = Parts {
            mirror,
            ours: Interfaces::new(vec![spa, spb]),
            layout: crate::fib::Layout::Dir24,
            region: HeapRegion::new(),
            adapters: vec![Echo::boxed(usize::MAX), Echo::boxed(usize::MAX)],
            classifier: Box::new(Recorder(Rc::clone(&told))),
            complete_checksums: false,
            bypass_kernel_policy,
            reopens: true,
            say: Box::new(move |sentence| log.borrow_mut().push(sentence.to_owned())),
        };
        let router = Router::start(parts, Instant::now()).expect("a router");
        Self { router, told, said, spa, spb }
    }

    /// Does something to the kernel, and lets the router follow.
    fn after(&mut self, command: &str) -> &mut Self {
        run(command);
        let now = Instant::now();
        self.router.step(now).expect("a step");
        self
    }

    fn outcome(&self, address: [u8; 4]) -> NextHop {
        let look = |half| {
            let half = Half::new(self.router.fib.region(), half);
            half.next_hop(half.lookup(u32::from_be_bytes(address)), || 0).1
        };
        assert_eq!(look(0), look(1), "the halves differ");
        look(0)
    }

    fn claimed(&self, address: [u8; 4]) -> bool {
        let host = Ipv4Net::from(Ipv4Addr::from(address));
        self.told.borrow().claims.get_lpm(&host).is_some_and(|(_, from)| *from != Ingresses::NONE)
    }

    fn said(&self) -> Vec<String> {
        self.said.take()
    }
}

#[test]
fn table_and_claims_follow_the_kernel() {
    in_namespace(|| {
        run("sysctl -qw net.ipv4.ip_forward=1");
        let mut bench = Bench::new(false);
        let unresolved = NextHop::without_way(Action::Kernel(Reason::Unresolved));
        let destination = [10, 9, 1, 1];
        assert_eq!(bench.outcome(destination), NextHop::NO_ROUTE);
        assert!(!bench.claimed(destination));

        bench.after("ip route add 10.9.0.0/16 via 10.1.1.2");
        assert_eq!(bench.outcome(destination), unresolved);
        assert!(!bench.claimed(destination), "the kernel has to find the gateway first");

        bench.after("ip neigh add 10.1.1.2 lladdr 02:00:00:00:00:02 dev spa");
        let resolved = bench.outcome(destination);
        assert_eq!(resolved.action, Action::Forward);
        assert_eq!(resolved.addresses.destination(), [2, 0, 0, 0, 0, 2]);
        assert_eq!((resolved.peer, resolved.mtu), (0, 1500));
        assert!(bench.claimed(destination));
        assert!(bench.claimed([10, 1, 1, 2]), "the neighbour itself");
        assert!(!bench.claimed([10, 1, 1, 3]), "the kernel resolves who is not known");

        bench.after("ip neigh replace 10.1.1.2 lladdr 02:00:00:00:00:03 dev spa");
        assert_eq!(bench.outcome(destination).addresses.destination(), [2, 0, 0, 0, 0, 3]);

        // The kernel forgets the neighbours of an interface whose address changes.
        bench.after("ip link set spa address 02:00:00:00:00:0b");
        assert_eq!(bench.outcome(destination), unresolved);
        bench.after("ip neigh replace 10.1.1.2 lladdr 02:00:00:00:00:03 dev spa");
        assert_eq!(bench.outcome(destination).addresses.source(), [2, 0, 0, 0, 0, 0x0b]);
        assert_eq!(bench.told.borrow().macs[&bench.spa], [2, 0, 0, 0, 0, 0x0b]);

        bench.after("ip route add blackhole 10.9.1.0/24");
        assert_eq!(bench.outcome(destination).action, Action::Drop(Reason::Blackhole));
        bench.after("ip route del blackhole 10.9.1.0/24");
        assert_eq!(bench.outcome(destination).action, Action::Forward);

        bench.after("ip addr add 10.9.1.1/32 dev spb");
        assert_eq!(bench.outcome(destination).action, Action::Kernel(Reason::Local));
        assert!(!bench.claimed(destination));
        assert!(bench.told.borrow().addresses.contains(&Ipv4Addr::from(destination)));
        bench.after("ip addr del 10.9.1.1/32 dev spb");
        assert!(bench.claimed(destination));

        bench.after("ip link set spb down");
        assert_eq!(bench.outcome(destination), unresolved, "no carrier");
        bench.after("ip link set spb up");
        assert_eq!(bench.outcome(destination).action, Action::Forward);

        bench.after("ip link set spa down");
        assert_eq!(bench.outcome(destination), NextHop::NO_ROUTE, "the kernel dropped the route");
        assert!(!bench.claimed(destination));
    });
}

#[test]
fn what_changed_since_the_mirror_was_opened_is_known_at_the_start() {
    in_namespace(|| {
        let mirror = Mirror::open().expect("a mirror");
        run("sysctl -qw net.ipv4.ip_forward=1");
        run("ip neigh add 10.1.1.2 lladdr 02:00:00:00:00:02 dev spa");
        run("ip route add 10.9.0.0/16 via 10.1.1.2");
        let bench = Bench::with(mirror, false);
        assert_eq!(bench.outcome([10, 9, 1, 1]).action, Action::Forward);
        assert!(bench.claimed([10, 9, 1, 1]));
        assert_eq!(bench.told.borrow().enabled, BTreeSet::from([bench.spa, bench.spb]));
    });
}

#[test]
fn one_of_two_routes_that_differ_in_who_made_them_is_left_when_the_other_goes() {
    in_namespace(|| {
        run("sysctl -qw net.ipv4.ip_forward=1");
        run("ip neigh add 10.1.1.2 lladdr 02:00:00:00:00:02 dev spa");
        let mut bench = Bench::new(false);
        bench.after("ip route add 10.9.0.0/16 via 10.1.1.2 proto static");
        bench.after("ip route append 10.9.0.0/16 via 10.1.1.2 proto bird");
        bench.after("ip route del 10.9.0.0/16 proto static");
        assert_eq!(bench.outcome([10, 9, 1, 1]).action, Action::Forward);
        bench.after("ip route del 10.9.0.0/16 proto bird");
        assert_eq!(bench.outcome([10, 9, 1, 1]), NextHop::NO_ROUTE);
    });
}

#[test]
fn adapters_stop_before_the_routes_of_the_same_batch_are_followed() {
    in_namespace(|| {
        run("sysctl -qw net.ipv4.ip_forward=1");
        let mut bench = Bench::new(false);
        // A dump is due, since an address goes; policy does not wait for it.
        run("ip route add 10.9.0.0/16 via 10.1.1.2");
        bench.router.step(Instant::now()).expect("a step");
        run(
            "ip rule add iif spa prohibit && ip rule add iif spb prohibit && ip addr del 10.1.1.1/24 dev spa",
        );
        bench.router.step(Instant::now()).expect("a step");
        assert_eq!(bench.told.borrow().enabled, BTreeSet::new());
        let dumps = bench.router.mirror.dumps;
        assert!(bench.router.mirror.deadline().is_some_and(|due| due <= Instant::now()));
        bench.router.step(Instant::now()).expect("a step");
        assert!(bench.router.mirror.dumps > dumps, "made up for");
        assert_eq!(bench.outcome([10, 9, 1, 1]), NextHop::NO_ROUTE);
    });
}

#[test]
fn a_deleted_interface_is_named_once_and_noticed_when_it_is_up_again() {
    in_namespace(|| {
        run("sysctl -qw net.ipv4.ip_forward=1");
        let mut bench = Bench::new(false);
        bench.said();
        // Both ends go, and come back as others.
        bench.after("ip link del spa");
        bench.after("ip link add spa type veth peer name spb");
        let mut said = bench.said();
        said.sort();
        let sentence = |name| {
            format!(
                "interface {name} was deleted: when one of that name is there again it is opened"
            )
        };
        assert_eq!(said, [sentence("spa"), sentence("spb")]);
        assert_eq!(bench.told.borrow().enabled, BTreeSet::new());

        let (now, soon) = (Instant::now(), Instant::now() + Duration::from_secs(1));
        assert_eq!((bench.router.returned(now), bench.router.returned(soon)), (None, None));
        bench.after("ip link set spb up");
        assert_eq!(bench.router.returned(now), None, "whoever made it may still be at it");
        assert_eq!(bench.router.returned(soon).as_deref(), Some("spb"));
        bench.after("ip link set spb down");
        assert_eq!(bench.router.returned(soon), None);
    });
}

#[test]
fn a_full_table_is_said_once_and_counted() {
    in_namespace(|| {
        let mut bench = Bench::new(false);
        bench.said();
        bench.router.table = Table::new(crate::fib::FIRST_GROUP, crate::fib::NEXT_HOPS);
        bench.after("ip route add 10.9.0.0/16 via 10.1.1.2");
        bench.after("ip route add 10.8.0.0/16 via 10.1.1.3");
        // A new table begins with all prefixes, the connected one among them.
        let sentence = "the table is full: prefixes without room in it, 2 at first, are left to the \
                        kernel";
        assert_eq!(bench.said(), [sentence]);
        assert!(!bench.claimed([10, 9, 1, 1]));
        bench.after("ip route flush proto boot");
        assert_eq!(bench.router.table().unrepresented(), 1);
        assert_eq!(bench.router.most_unrepresented(), 3);
    });
}

#[test]
fn what_a_rule_keeps_is_left_to_the_kernel_and_said() {
    in_namespace(|| {
        run("sysctl -qw net.ipv4.ip_forward=1");
        let mut bench = Bench::new(false);
        let both = BTreeSet::from([bench.spa, bench.spb]);
        assert_eq!(bench.told.borrow().enabled, both);
        assert_eq!(bench.said(), Vec::<String>::new(), "nothing is out of the ordinary");

        bench.after(
            "nft 'table ip t { chain c { type filter hook forward priority 0; policy drop; }; }'",
        );
        assert_eq!(bench.told.borrow().enabled, BTreeSet::new());
        assert!(!bench.router.is_enabled(0) && !bench.router.is_enabled(1));
        let said = bench.said();
        let begin = "packets received on spa and spb are left to the kernel: nftables chain ip t c";
        assert!(said.len() == 1 && said[0].starts_with(begin), "{said:?}");

        bench.after("nft delete table ip t");
        assert_eq!(bench.told.borrow().enabled, both);
        assert!(bench.router.is_enabled(0) && bench.router.is_enabled(1));
        let sentence = "packets received on spa and spb are forwarded by the adapters";
        assert_eq!(bench.said(), [sentence]);
        assert_eq!(bench.router.reasons().len(), 1, "for the report");

        bench.router.stop().expect("stopped");
        assert_eq!(bench.told.borrow().enabled, BTreeSet::new());
    });
}

#[test]
fn an_interface_that_does_not_forward_is_left_to_the_kernel() {
    in_namespace(|| {
        let mut bench = Bench::new(false);
        assert_eq!(bench.told.borrow().enabled, BTreeSet::new(), "ip_forward is off");
        assert_eq!(bench.said().len(), 2, "one sentence for each interface");

        bench.after("sysctl -qw net.ipv4.ip_forward=1");
        assert_eq!(bench.told.borrow().enabled, BTreeSet::from([bench.spa, bench.spb]));
        bench.said();

        bench.after("sysctl -qw net.ipv4.conf.spa.forwarding=0");
        assert_eq!(bench.told.borrow().enabled, BTreeSet::from([bench.spb]));
        assert!(!bench.router.is_enabled(0) && bench.router.is_enabled(1));
        let said = bench.said();
        assert!(said[0].contains("net.ipv4.conf.spa.forwarding is 0"), "{said:?}");
    });
}

#[test]
fn what_keeps_packets_is_bypassed_where_the_user_says_so_and_named() {
    in_namespace(|| {
        run("sysctl -qw net.ipv4.ip_forward=1");
        run("ip rule add from 10.3.0.0/16 prohibit");
        let mut bench = Bench::new(true);
        let both = BTreeSet::from([bench.spa, bench.spb]);
        assert_eq!(bench.told.borrow().enabled, both);
        let said = bench.said();
        assert!(
            said[0].starts_with("bypassed, as --bypass-kernel-policy says: policy rule"),
            "{said:?}"
        );
        bench.after("ip rule add from 10.4.0.0/16 prohibit");
        assert_eq!(bench.told.borrow().enabled, both);
        // Not even the user can make an interface forward that does not.
        bench.after("sysctl -qw net.ipv4.ip_forward=0");
        assert_eq!(bench.told.borrow().enabled, BTreeSet::new());
    });
}

#[test]
fn a_stale_neighbour_in_use_is_probed_by_the_kernel() {
    use netlink_sys::protocols::NETLINK_ROUTE;
    use spine_fib::used;
    use spine_nic::netlink::socket::NetlinkSocket;

    use crate::netlink::mirror::snapshot;
    use crate::netlink::state::nud;

    in_namespace(|| {
        run("sysctl -qw net.ipv4.ip_forward=1");
        run("ip neigh add 10.1.1.2 lladdr 02:00:00:00:00:02 dev spa nud stale");
        run("ip neigh add 10.1.1.3 lladdr 02:00:00:00:00:03 dev spa nud stale");
        let mut bench = Bench::new(false);
        let host = bench.outcome([10, 1, 1, 2]);
        assert_eq!(host.action, Action::Forward, "stale is usable");

        let half = Half::new(bench.router.fib.region(), 0);
        let (number, _) = half.next_hop(half.lookup(u32::from_be_bytes([10, 1, 1, 2])), || 0);
        used(bench.router.fib.region()).mark(number);
        bench.router.step(Instant::now() + freshness::INTERVAL).expect("a step");

        // Asked of the kernel: it announces the end of its probing, not the beginning.
        let mut socket = NetlinkSocket::open(NETLINK_ROUTE).expect("a socket");
        let kernel = snapshot(&mut socket).expect("a snapshot");
        let state_of = |last| kernel.neighbours[&([10, 1, 1, last].into(), bench.spa)].state;
        assert_ne!(state_of(2), nud::STALE, "used");
        assert_eq!(state_of(3), nud::STALE, "not used");
    });
}
