//! Claims on a running `spined`: an extension has the destinations that its application says, nobody can take
//! them from it, and they are the kernel's at once when it ends.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use ipnet::Ipv4Net;
use nix::sys::signal::Signal;
use spine_client::{ClaimChange, Load};
use spine_tests::daemon::{Daemon, echo, echo_at, wait_until};
use spine_tests::{Running, Topology, need_namespaces};

/// Who owns nothing.
const NOBODY: u32 = 65534;

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a prefix")
}

fn claimant(interface: &str) -> Load {
    Load { interface: interface.to_owned(), claimant: true, ..Load::default() }
}

/// Sends from the client to the server's network, where an echo extension answers for what it is given, and
/// nobody for the rest.
struct Probe(UdpSocket);

impl Probe {
    fn new(topology: &Topology) -> Self {
        let socket = topology.host("client").inside(|| UdpSocket::bind("0.0.0.0:0"));
        let socket = socket.expect("a socket");
        socket.set_read_timeout(Some(Duration::from_millis(300))).expect("set");
        Self(socket)
    }

    fn is_echoed(&self, address: &str) -> bool {
        let mut bytes = [0; 64];
        // An answer of the kernel (port unreachable) to an earlier one is an error here, and no echo.
        let sent = self.0.send_to(b"mine?", address).or_else(|_| self.0.send_to(b"mine?", address));
        let Ok((length, from)) = sent.and_then(|_| self.0.recv_from(&mut bytes)) else {
            return false;
        };
        &bytes[..length] == b"mine?" && from.to_string() == address
    }
}

#[test]
fn an_extension_has_the_destinations_its_application_says_while_it_says_so() {
    let _alone = need_namespaces!();
    let topology = Topology::pair();
    let daemon = Daemon::start(topology.router(), &["client", "server"]);
    let (mut client, probe) = (daemon.client(), Probe::new(&topology));
    let echo = client.load(&claimant("client"), &echo(1, 0), &[]).expect("loaded").number;
    let (one, other) = ("10.9.2.2:7777", "10.9.2.9:7777");

    // Claimed, and not given before it says so.
    client.claim(echo, &[ClaimChange::Take(net("10.9.2.0/24"))]).expect("claimed");
    assert!(!probe.is_echoed(one), "paused at first");
    client.set_claiming(echo, true).expect("enabled");
    wait_until("an echo", || probe.is_echoed(one) && probe.is_echoed(other));

    // The longest prefix decides, and what is forgotten decides nothing.
    let inside = net("10.9.2.2/32");
    client.claim(echo, &[ClaimChange::Leave(inside)]).expect("left");
    assert!(!probe.is_echoed(one) && probe.is_echoed(other));
    client.claim(echo, &[ClaimChange::Forget(inside)]).expect("forgotten");
    assert!(probe.is_echoed(one));
    client.claim(echo, &[ClaimChange::Forget(net("10.77.0.0/16"))]).expect("nothing to forget");

    // An address named as this machine's is the kernel's; the machine's own cannot be talked away.
    let address = "10.9.2.9".parse().expect("an address");
    client.claim(echo, &[ClaimChange::Own(address)]).expect("named");
    assert!(probe.is_echoed(one) && !probe.is_echoed(other));
    client.claim(echo, &[ClaimChange::Disown(address)]).expect("unnamed");
    assert!(probe.is_echoed(other));
    let own = "10.9.2.1".parse().expect("an address");
    client.claim(echo, &[ClaimChange::Own(own), ClaimChange::Disown(own)]).expect("followed");
    assert!(!probe.is_echoed("10.9.2.1:7777"), "the router's own address");

    client.set_claiming(echo, false).expect("paused");
    assert!(!probe.is_echoed(one));
    let listed = client.extensions().expect("a list");
    assert!(listed[0].paused && listed[0].claimed == 1, "{listed:?}");
    client.set_claiming(echo, true).expect("enabled again");
    assert!(probe.is_echoed(one));
    client.unload(echo).expect("unloaded");
    assert!(!probe.is_echoed(one), "the kernel's again");
}

#[test]
fn an_address_that_the_machine_or_the_interface_gets_later_is_seen_with_the_next_change() {
    let _alone = need_namespaces!();
    let topology = Topology::pair();
    let daemon = Daemon::start(topology.router(), &["client", "server"]);
    let (mut client, probe) = (daemon.client(), Probe::new(&topology));
    let claim = Load { claimant: false, prefixes: vec![net("10.9.0.0/16")], ..claimant("client") };
    let echo = client.load(&claim, &echo(1, 0), &[]).expect("loaded").number;
    wait_until("an echo", || probe.is_echoed("10.9.2.2:7777"));

    topology.router().ip("address add 10.9.3.1/24 dev server");
    client.claim(echo, &[]).expect("looked at");
    assert!(!probe.is_echoed("10.9.3.1:7777"), "the machine's own by now");

    let mac = "02:00:00:09:01:77";
    topology.router().ip(&format!("link set client address {mac}"));
    topology.host("client").ip(&format!("neighbour replace 10.9.1.1 lladdr {mac} dev eth"));
    client.claim(echo, &[]).expect("looked at");
    wait_until("an echo of what is sent to the new address", || probe.is_echoed("10.9.2.2:7777"));
}

#[test]
fn destinations_are_one_clients_and_another_is_told_whose_they_are() {
    let _alone = need_namespaces!();
    let topology = Topology::pair();
    let daemon = Daemon::start(topology.router(), &["client", "server"]);
    let (mut first, mut second) = (daemon.client(), daemon.client());
    let probe = Probe::new(&topology);
    let owner = first.load(&claimant("client"), &echo(1, 0), &[]).expect("loaded").number;
    let sentence = format!(
        "extension {owner} (echo, of user 0) claims destinations on client already, and one extension of an \
         interface can"
    );

    // Neither as it is loaded, nor later; whether the first one has said anything yet or not.
    let prefix = net("10.9.2.0/24");
    let claim = Load { claimant: false, prefixes: vec![prefix], ..claimant("client") };
    for load in [&claimant("client"), &claim] {
        let refused = second.load(load, &echo_at(3, 2, 0), &[]).expect_err("refused").to_string();
        assert_eq!(refused, sentence);
    }
    let plain = Load { claimant: false, ..claimant("client") };
    let rival = second.load(&plain, &echo_at(3, 2, 0), &[]).expect("loaded").number;
    for enabled in [false, true] {
        first.set_claiming(owner, enabled).expect("followed");
        let refused = second.claim(rival, &[ClaimChange::Take(prefix)]).expect_err("refused");
        assert_eq!(refused.to_string(), sentence);
        assert_eq!(second.set_claiming(rival, true).expect_err("refused").to_string(), sentence);
    }
    first.claim(owner, &[ClaimChange::Take(prefix)]).expect("claimed");
    wait_until("an echo", || probe.is_echoed("10.9.2.2:7777"));

    // On another interface they are free, and here when their owner ends.
    let elsewhere = second.load(&claimant("server"), &echo(2, 0), &[]).expect("loaded").number;
    second.claim(elsewhere, &[ClaimChange::Take(prefix)]).expect("claimed");
    drop(first);
    wait_until("the first one's end", || second.extensions().is_ok_and(|all| all.len() == 2));
    assert!(!probe.is_echoed("10.9.2.2:7777"), "what it claimed is the kernel's");
    second.claim(rival, &[ClaimChange::Take(prefix)]).expect("free");
    assert!(!probe.is_echoed("10.9.2.2:7777"), "paused at first");
    second.set_claiming(rival, true).expect("enabled");
    wait_until("an echo by the other", || probe.is_echoed("10.9.2.2:7777"));
    let gone = second.claim(owner, &[]).expect_err("it has ended").to_string();
    assert!(gone.contains(&format!("there is no extension {owner}")), "{gone}");
}

#[test]
fn a_user_claims_what_the_policy_grants_and_no_more_of_it_and_not_for_others() {
    let _alone = need_namespaces!();
    let topology = Topology::pair();
    let policy = format!(
        "[[grant]]\nuser = {NOBODY}\ninterfaces = [\"client\"]\ndomains = [\"host\", \"net\"]\n\
         prefixes = [\"10.9.2.0/24\"]\nclaims = 3\n"
    );
    let daemon = Daemon::start_with(topology.router(), &["client", "server"], &policy);
    let file = daemon.file("echo.wasm", &echo(1, 0));
    let file = file.to_string_lossy();
    let load = ["load", &file, "--iface", "client", "--keep", "--claim", "10.9.2.0/25"];
    let loaded = daemon.ctl_as(Some(NOBODY), &load).expect_success("load");
    let number = loaded.stdout.trim().to_owned();
    let claim = |user, more: &[&str]| {
        let words: Vec<&str> = ["claim", &number].iter().chain(more).copied().collect();
        daemon.ctl_as(Some(user), &words)
    };
    let refused = |user, more: &[&str], sentence: &str| {
        let answer = claim(user, more);
        assert!(!answer.status.success() && answer.stderr.contains(sentence), "{answer:?}");
        let listed = daemon.client().extensions().expect("a list");
        assert_eq!(listed[0].prefixes, [net("10.9.2.0/25")], "as before");
    };
    let inside = ["--take", "10.9.2.128/26", "--take", "10.9.2.192/27", "--take", "10.9.2.224/28"];
    refused(NOBODY, &["--take", "10.9.0.0/16"], "claim packets to 10.9.0.0/16 on client");
    refused(NOBODY, &["--take", "10.9.2.128/25", "--take", "10.9.1.0/24"], "to 10.9.1.0/24");
    refused(NOBODY, &inside, "that makes 4 prefixes, and the policy allows this user 3");
    refused(NOBODY - 1, &["--take", "10.9.2.128/25"], "is another user's");
    refused(NOBODY - 1, &["--pause"], "is another user's");

    // What it forgets makes room.
    let forget: Vec<&str> = ["--forget", "10.9.2.0/25"].iter().chain(&inside).copied().collect();
    claim(NOBODY, &forget).expect_success("claim");
    let listed = daemon.ctl(&["extensions"]).expect_success("extensions").stdout;
    assert!(listed.contains("10.9.2.128/26,10.9.2.192/27,10.9.2.224/28"), "{listed}");
}

#[test]
fn a_full_table_is_claimed_in_batches_and_gone_at_once_when_its_owner_is_killed() {
    let _alone = need_namespaces!();
    let topology = Topology::pair();
    let daemon = Daemon::start(topology.router(), &["client", "server"]);
    let probe = Probe::new(&topology);
    // An application of its own process, to be killed; what it has is claimed for it by another of its user.
    let module = daemon.file("echo.wasm", &echo(1, 0)).to_string_lossy().into_owned();
    let words = ["load", &module, "--iface", "client", "--claim", "10.9.2.0/24"];
    let owner = Running::start(daemon.ctl_command(None, &words));
    let mut client = daemon.client();
    wait_until("its extension", || client.extensions().is_ok_and(|all| all.len() == 1));
    let number = client.extensions().expect("a list")[0].number;
    let host = |number: u32| Ipv4Net::from(Ipv4Addr::from(0x0b00_0000 + number));
    let more: Vec<ClaimChange> = (0..HELD).map(|it| ClaimChange::Take(host(it))).collect();
    client.claim(number, &more).expect("claimed");
    wait_until("an echo", || probe.is_echoed("10.9.2.2:7777"));
    let listed = client.extensions().expect("a list");
    assert_eq!((listed[0].claimed, listed[0].prefixes.len()), (HELD + 1, 8));
    owner.signal(Signal::SIGKILL);
    owner.finish(Duration::from_secs(10));
    wait_until("its end", || daemon.client().extensions().is_ok_and(|all| all.is_empty()));
    assert!(!probe.is_echoed("10.9.2.2:7777"), "the kernel's again");
    // Nothing is left in the classifier: somebody else's claim is just that.
    let echo = client.load(&claimant("client"), &echo(1, 0), &[]).expect("loaded").number;
    client.set_claiming(echo, true).expect("enabled");
    assert!(!probe.is_echoed("10.9.2.2:7777") && !probe.is_echoed("10.9.9.9:7777"));
}

/// Prefixes beside the one that is tried.
const HELD: u32 = 20_000;
