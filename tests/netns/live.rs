//! What changes under a running router: its processor is taken away, an MTU grows, interfaces are of other kinds or called by other
//! names. The kernel alone does each first, in the same run.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::thread::{self, sleep};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use spine_tests::iperf::{self, Direction};
use spine_tests::ping::{ping, ping_with};
use spine_tests::topology::{Link, hex};
use spine_tests::{Report, Router, Topology, need_namespaces, router, video};

/// Packets that a receive ring holds.
const RING: u64 = 2048;

fn classified(report: &Report, counter: &str) -> u64 {
    report.counts("classifier").get(counter).copied().unwrap_or_default()
}

#[test]
fn a_router_that_is_stopped_has_the_kernel_forward_until_it_is_back() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let address = net.link("server").host_address();
    let options = ["--nic", "xdp", "--stuck-after", "20"];
    let mut router = Router::start_with(net.router(), &net.interfaces(), &options);
    let lost = thread::scope(|scope| {
        // Some 4500 packets a second: in two seconds four times what a ring holds.
        let transfer = scope.spawn(|| {
            iperf::udp(net.host("client"), net.host("server"), &address, 6, 50).lost_on_the_way()
        });
        sleep(Duration::from_millis(2000));
        kill(router.pid(), Signal::SIGSTOP).expect("it runs");
        sleep(Duration::from_millis(500));
        let before = net.router().kernel_forwarded();
        sleep(Duration::from_millis(1500));
        let meanwhile = net.router().kernel_forwarded() - before;
        kill(router.pid(), Signal::SIGCONT).expect("it is stopped");
        assert!(meanwhile > RING, "the kernel forwarded {meanwhile} packets meanwhile");
        transfer.join().expect("a transfer")
    });
    assert!(lost <= RING, "{lost} packets lost");
    let said = router.wait_for("the kernel forwarded", Duration::from_secs(20));
    assert!(said.contains("the adapters did not run for a while"), "{said}");
    let pings = ping(net.host("client"), &address, 20);
    assert_eq!(pings.answered, pings.sent, "pings once it is back");
    let report = router.stop();
    assert!(classified(&report, "adapter_stuck") > RING, "{report:?}");
    assert!(report.forwarded() > 1000, "{report:?}");
}

#[test]
fn a_router_may_be_told_to_keep_its_packets_however_long_they_wait() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let address = net.link("server").host_address();
    let options = ["--nic", "xdp", "--stuck-after", "0"];
    let router = Router::start_with(net.router(), &net.interfaces(), &options);
    kill(router.pid(), Signal::SIGSTOP).expect("it runs");
    let pings = thread::scope(|scope| {
        let pings = scope.spawn(|| ping(net.host("client"), &address, 20));
        sleep(Duration::from_millis(700));
        kill(router.pid(), Signal::SIGCONT).expect("it is stopped");
        pings.join().expect("pings")
    });
    let report = router.stop();
    assert_eq!(classified(&report, "adapter_stuck"), 0, "{report:?}");
    assert_eq!(pings.sent, 20);
    assert!(report.forwarded() > 0, "{report:?}");
}

/// Both ends of both links.
fn set_mtu(net: &Topology, mtu: u32) {
    for name in ["client", "server"] {
        net.router().ip(&format!("link set {name} mtu {mtu}"));
        net.host(name).ip(&format!("link set eth mtu {mtu}"));
    }
}

#[test]
fn packets_pass_that_are_longer_than_a_frame() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let address = net.link("server").host_address();
    let large = |data| ping_with(net.host("client"), &address, 20, data).answered;

    // The kernel alone, and then an MTU that is raised, and lowered again, while the router runs.
    for (mtu, data) in [(3000, 2900), (1400, 1300)] {
        set_mtu(&net, mtu);
        assert_eq!(large(data), 20, "the kernel alone, {data} bytes");
    }
    set_mtu(&net, 1500);
    let router = Router::start_with(net.router(), &net.interfaces(), &["--nic", "xdp"]);
    assert_eq!(large(1400), 20, "as at the start");
    for (mtu, data) in [(3000, 2900), (1400, 1300)] {
        set_mtu(&net, mtu);
        assert_eq!(large(data), 20, "with an MTU of {mtu} now, {data} bytes");
    }
    let report = router.stop();
    assert_eq!(classified(&report, "too_long"), 40, "{report:?}");
    assert!(report.forwarded() > 0, "the others are the adapters': {report:?}");
    assert_eq!(report.dropped_in_all(), 0, "{report:?}");

    // And one that no frame holds from the start.
    set_mtu(&net, 9000);
    assert_eq!(large(8900), 20, "the kernel alone, 8900 bytes");
    let router = Router::start_with(net.router(), &net.interfaces(), &["--nic", "xdp"]);
    let note = "client has an MTU of 9000: frames of more than 3408 bytes are left to the kernel";
    assert!(router.said().iter().any(|line| line.contains(note)), "{:?}", router.said());
    assert_eq!((large(8900), large(3300)), (20, 20), "of 8900 and 3300 bytes");
    let report = router.stop();
    assert_eq!(classified(&report, "too_long"), 40, "{report:?}");
    assert!(report.forwarded() > 0, "the others are the adapters': {report:?}");
    assert_eq!(report.dropped_in_all(), 0, "{report:?}");
}

/// Large TCP both ways, as hosts send it with the offloads they have.
fn transfers(net: &Topology, what: &str) {
    let address = net.link("server").host_address();
    for direction in [Direction::ToServer, Direction::ToClient] {
        let (client, server) = (net.host("client"), net.host("server"));
        let tcp = iperf::tcp(client, server, &address, 2, direction);
        // A connection of which only small packets pass moves some kilobytes.
        assert!(tcp.bytes > 1 << 20, "{what}, {direction:?}: {} bytes", tcp.bytes);
    }
    let pings = ping(net.host("client"), &address, 20);
    assert_eq!(pings.answered, pings.sent, "{what}: pings");
}

/// Makes `name` the router's interface on the link of a host, in place of the virtual pair's end that it stands on.
fn stand_on(net: &Topology, host: &str, name: &str, kind: &str) {
    let (router, link) = (net.router(), net.link(host));
    let port = link.host;
    match kind {
        "bridge" => {
            router.ip(&format!("link add {name} type bridge"));
            router.ip(&format!("link set {port} master {name}"));
        }
        _ => drop(router.ip(&format!("link add {name} link {port} type {kind} mode bridge"))),
    }
    // Not the port's own, which the port would keep.
    let mac = hex([0x02, 0, 0, 9, link.net, 77]);
    router.ip(&format!("link set {name} address {mac} up"));
    let (near, far) = (link.router_address(), link.host_address());
    router.ip(&format!("address flush dev {port}"));
    router.ip(&format!("address add {near}/24 dev {name}"));
    let to = hex(link.host_mac());
    router.ip(&format!("neighbour replace {far} lladdr {to} dev {name} nud permanent"));
    net.host(host).ip(&format!("neighbour replace {near} lladdr {mac} dev eth nud permanent"));
}

#[test]
fn large_tcp_passes_on_every_kind_of_interface_with_the_offloads_that_hosts_have() {
    let _alone = need_namespaces!();
    let links = || [Link::to("client", 1).with_offloads(), Link::to("server", 2).with_offloads()];
    for (kinds, options) in [
        ([None, None], &["--xdp-mode", "generic"][..]),
        ([Some("bridge"), None], &[]),
        ([Some("macvlan"), None], &[]),
        ([Some("bridge"), Some("bridge")], &[]),
    ] {
        let net = Topology::star(&links());
        let mut names = Vec::new();
        for (host, kind) in ["client", "server"].into_iter().zip(kinds) {
            let name = match kind {
                None => host.to_owned(),
                Some(kind) => {
                    let name = format!("{kind}-{host}");
                    stand_on(&net, host, &name, kind);
                    name
                }
            };
            names.push(name);
        }
        let what = format!("{kinds:?} {options:?}");
        transfers(&net, &format!("{what}, the kernel alone"));
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let options = [&["--nic", "xdp"], options].concat();
        let router = Router::start_with(net.router(), &names, &options);
        transfers(&net, &what);
        let report = router.stop();
        assert!(report.forwarded() >= 40, "{what}: {report:?}");
    }
}

#[test]
fn an_interface_may_be_called_by_an_alternative_name() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    net.router().ip("link property add dev client altname a-name-longer-than-fifteen-bytes");
    let names = ["a-name-longer-than-fifteen-bytes", "server"];
    let options = ["--nic", "xdp", "--xdp-mode", "a-name-longer-than-fifteen-bytes=copy"];
    let router = Router::start_with(net.router(), &names, &options);
    let pings = ping(net.host("client"), &net.link("server").host_address(), 20);
    assert_eq!(pings.answered, pings.sent);
    let report = router.stop();
    assert_eq!(report.mode("client"), "af_xdp copy");
    assert!(report.forwarded() >= 40, "{report:?}");
    let twice = router::run_to_end(net.router(), &["client", names[0]], &[]);
    assert!(twice.stderr.contains("interface client is given twice"), "{}", twice.stderr);
}

#[test]
fn who_watches_is_told_where_packets_are_to_be_seen() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    // A watcher of all that one interface receives; this process is the program.
    let _watcher = spine_tests::packet::Port::open(net.router(), "client");
    let router = Router::start_with(net.router(), &net.interfaces(), &["--nic", "xdp"]);
    let told = |line: &String| {
        line.contains("on client will not see what the adapters forward: --nic packet shows it")
    };
    assert!(router.said().iter().any(told), "{:?}", router.said());
    router.stop();
}

#[test]
fn the_capabilities_that_are_named_are_enough() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    // Where somebody who is nobody may run it.
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let program = folder.path().join("spine-router");
    fs::copy(router::binary(), &program).expect("a copy");
    let program = program.display().to_string();
    let run = |capabilities: &str| {
        let words = format!(
            "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps {capabilities} --ambient-caps {capabilities} \
             --bounding-set {capabilities} prlimit --memlock=8388608 {program} --json --nic xdp --iface client --iface server \
             --duration 1"
        );
        net.router().try_run(&words, Duration::from_secs(60))
    };
    let none = run("-all");
    let named = "the capabilities CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF are missing";
    assert!(!none.status.success() && none.stderr.contains(named), "{}", none.stderr);
    let all = run("-all,+net_admin,+net_raw,+bpf").expect_success("with those");
    assert_eq!(Report::parse(&all.stdout).mode("client"), "af_xdp copy");
    assert!(!all.stderr.contains("VLAN"), "the driver is asked for tags: {}", all.stderr);
    // With as little memory to lock as a unit has, and a sentence about it.
    assert!(all.stderr.contains("packet buffers and not 6144"), "{}", all.stderr);

    let video = folder.path().join("spine-video");
    fs::copy(video::binary(), &video).expect("a copy");
    let words = format!(
        "setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps {named} --ambient-caps {named} --bounding-set {named} \
         prlimit --memlock=8388608 {video} --backend xdp --iface client --port 5004 --format UYVY --size 64x48 --headless \
         --json --duration 1",
        // It shows nothing that the old iptables may drop, whose list of tables is root's to read.
        named = "-all,+net_admin,+net_raw,+bpf,+dac_read_search",
        video = video.display(),
    );
    let done = net.router().try_run(&words, Duration::from_secs(60)).expect_success("spine-video");
    assert_eq!(video::Statistics::parse(&done.stdout).text("mode"), "af_xdp copy");
}

/// The link of a host once more, as it was: a virtual pair, addresses, neighbours and the host's route.
fn join_again(net: &Topology, name: &str) {
    let (link, router, host) = (net.link(name), net.router(), net.host(name));
    let (near, far) = (hex(link.router_mac()), hex(link.host_mac()));
    router.ip(&format!(
        "link add {name} address {near} type veth peer name eth address {far} netns {}",
        host.name()
    ));
    host.run("ethtool -K eth gro off tx off tso off gso off");
    host.ip("link set eth up");
    router.ip(&format!("link set {name} up"));
    router.ip(&format!("address add {}/24 dev {name}", link.router_address()));
    host.ip(&format!("address add {}/24 dev eth", link.host_address()));
    host.ip(&format!("route add default via {}", link.router_address()));
}

#[test]
fn an_interface_that_comes_back_is_forwarded_on_again_and_others_all_the_while() {
    let _alone = need_namespaces!();
    let links = [Link::to("client", 1), Link::to("server", 2), Link::to("third", 3)];
    let net = Topology::star(&links);
    let answered =
        |name: &str| ping(net.host("client"), &net.link(name).host_address(), 20).answered;
    let mut router = Router::start_with(net.router(), &net.interfaces(), &["--nic", "xdp"]);
    assert_eq!((answered("server"), answered("third")), (20, 20));
    for _ in 0..2 {
        net.router().ip("link delete server");
        router.wait_for("interface server was deleted", Duration::from_secs(10));
        assert_eq!(answered("third"), 20, "the others");
        join_again(&net, "server");
        router.wait_for("interface server is there again", Duration::from_secs(10));
        router.wait_for("the adapters forward again", Duration::from_secs(30));
        let before = net.router().kernel_forwarded();
        assert_eq!((answered("server"), answered("third")), (20, 20));
        let by_kernel = net.router().kernel_forwarded() - before;
        // A neighbour that is not known yet is found by the kernel.
        assert!(by_kernel < 20, "the kernel forwarded {by_kernel} of 80 packets");
    }
    let report = router.stop();
    assert!(report.forwarded() >= 60, "{report:?}");
}

/// Whether an XDP program is attached to an interface.
fn has_program(net: &Topology, interface: &str) -> bool {
    net.router().ip(&format!("-details link show dev {interface}")).contains("xdp")
}

/// Waits for a program to come or go.
fn wait_for_program(net: &Topology, interface: &str, wanted: bool) {
    for _ in 0..400 {
        if has_program(net, interface) == wanted {
            return;
        }
        sleep(Duration::from_millis(50));
    }
    panic!("{interface}: a program is {}attached", if wanted { "not " } else { "" });
}

#[test]
fn an_interface_of_which_nothing_is_ours_has_no_program() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let address = net.link("server").host_address();
    let router = Router::start_with(net.router(), &net.interfaces(), &["--nic", "xdp"]);
    assert!(has_program(&net, "client") && has_program(&net, "server"));
    // What the client sends is nobody's to forward, and what comes from the server still is.
    net.router().sysctl("ipv4/conf/client/forwarding", "0");
    wait_for_program(&net, "client", false);
    assert!(has_program(&net, "server"));
    net.router().sysctl("ipv4/conf/client/forwarding", "1");
    wait_for_program(&net, "client", true);
    let before = net.router().kernel_forwarded();
    let pings = ping(net.host("client"), &address, 20);
    assert_eq!(pings.answered, pings.sent);
    assert_eq!(net.router().kernel_forwarded() - before, 0, "all are the adapters' again");
    let report = router.stop();
    assert!(report.forwarded() >= 40, "{report:?}");
}

/// Has a host send IPv4 packets with the tag of a VLAN beside them, where a device for that VLAN would put it. The kernel here may have none, so
/// a program does it.
fn tag_what_is_sent(net: &Topology, host: &str) {
    const PUSH: &str = r#"
        struct __sk_buff { unsigned int len, pkt_type, mark, queue_mapping, protocol; };
        static long (*push)(void *, unsigned short, unsigned short) = (void *)18;
        __attribute__((section("tc"), used)) int tag(struct __sk_buff *packet) {
            if (packet->protocol == __builtin_bswap16(0x0800))
                push(packet, __builtin_bswap16(0x8100), 5);
            return 0;
        }
        __attribute__((section("license"), used)) char terms[] = "GPL";
    "#;
    let folder = tempfile::tempdir().expect("a folder");
    let (source, object) = (folder.path().join("tag.c"), folder.path().join("tag.o"));
    fs::write(&source, PUSH).expect("written");
    let (source, object) = (source.display(), object.display());
    let namespace = net.host(host);
    namespace.run(&format!("clang -O2 -g -target bpf -c {source} -o {object}"));
    namespace.run("tc qdisc add dev eth clsact");
    namespace.run(&format!(
        "tc filter add dev eth egress bpf direct-action object-file {object} section tc"
    ));
}

#[test]
fn frames_of_a_vlan_that_is_not_the_router_s_go_nowhere_as_the_kernel_has_it() {
    let _alone = need_namespaces!();
    let net = Topology::pair();
    let address = net.link("server").host_address();
    let arrived = || {
        let before = net.host("server").snmp("Icmp", "InEchos");
        ping(net.host("client"), &address, 10);
        net.host("server").snmp("Icmp", "InEchos") - before
    };
    assert_eq!(arrived(), 10, "untagged, by the kernel");
    let router = Router::start_with(net.router(), &net.interfaces(), &["--nic", "xdp"]);
    assert_eq!(arrived(), 10, "untagged, by the adapters");
    tag_what_is_sent(&net, "client");
    assert_eq!(arrived(), 0, "tagged");
    let report = router.stop();
    assert_eq!(classified(&report, "tag_beside"), 10, "{report:?}");
    assert!(report.forwarded() > 0, "{report:?}");
    assert_eq!(arrived(), 0, "tagged, by the kernel alone");

    // Where no driver is asked that is said.
    let options = ["--nic", "xdp", "--xdp-mode", "generic"];
    let router = Router::start_with(net.router(), &net.interfaces(), &options);
    let told =
        |line: &String| line.contains("frames of VLANs are taken for untagged ones on client");
    assert!(router.said().iter().any(told), "{:?}", router.said());
    router.stop();
}

#[test]
fn what_is_handed_back_in_generic_mode_is_not_claimed_again() {
    let _alone = need_namespaces!();
    let net = Topology::star(&[Link::to("client", 1), Link::to("server", 2).mtu(1400)]);
    let (client, far) = (net.host("client"), net.link("server").host_address());
    let options = ["--nic", "xdp", "--xdp-mode", "generic"];
    let router = Router::start_with(net.router(), &net.interfaces(), &options);
    // Too long for the way out, and not to be cut: the kernel answers, once. What the sender sends after that is shorter.
    let before = net.router().snmp("Icmp", "OutDestUnreachs");
    client.try_run(&format!("ping -M do -c 1 -W 2 -s 1440 {far}"), Duration::from_secs(10));
    assert_eq!(net.router().snmp("Icmp", "OutDestUnreachs") - before, 1);
    let report = router.stop();
    assert_eq!((report.to_kernel(), classified(&report, "handed")), (1, 1), "{report:?}");
}
