//! A hundred thousand mutated packets: what the kernel forwards is forwarded, and nothing else.
//!
//! The kernel goes first, twice, as the oracle: what differs between its own two runs would say nothing
//! about a router. Then `spine-router` gets the same packets in the same namespaces, on each kind of wire.

use spine_tests::corpus::Corpus;
use spine_tests::router::Router;
use spine_tests::{Link, Topology, need_namespaces, on_each_wire};

on_each_wire! { what_the_kernel_forwards_is_forwarded_and_nothing_else }

const PACKETS: u32 = 100_000;
const SEED: u32 = 1;

/// Hosts only send and receive here: an answer of theirs would be one more packet to explain. The server's
/// link has the smaller MTU.
fn topology() -> Topology {
    let net =
        Topology::star(&[Link::to("client", 1).silent(), Link::to("server", 2).silent().mtu(1400)]);
    let router = net.router();
    for (host, net) in [("client", 1), ("server", 2)] {
        router.ip(&format!(
            "neighbour replace 10.9.{net}.3 lladdr 02:00:00:09:0{net}:03 dev {host} nud permanent"
        ));
    }
    router.ip("route add default via 10.9.2.2");
    router.ip("route add 198.18.0.0/16 via 10.9.2.3");
    router.ip("route add blackhole 198.19.0.0/18");
    router.ip("route add unreachable 198.19.64.0/18");
    router.ip("route add prohibit 198.19.128.0/18");
    net
}

fn what_the_kernel_forwards_is_forwarded_and_nothing_else(nic: &[&str]) {
    let _alone = need_namespaces!();
    let corpus = Corpus::make(PACKETS, SEED);
    let net = topology();
    let oracle = corpus.through(&net);
    println!("the kernel forwarded, by case: {:#?}", corpus.by_case(&oracle));
    assert_eq!(
        corpus.differences(&oracle, &corpus.through(&net)),
        [""; 0],
        "the kernel disagrees with itself: the corpus is no use as it is"
    );

    let before = net.router().kernel_forwarded();
    // Completing checksums changes packets by intention: a wrong checksum that happens to be the sum of
    // the pseudo-header (one packet in 65536) is taken for one that the sender left to its network card.
    let options = [&["--complete-checksums", "off"], nic].concat();
    let router = Router::start_with(net.router(), &net.interfaces(), &options);
    let found = corpus.through(&net);
    let report = router.stop();
    assert_eq!(corpus.differences(&oracle, &found), [""; 0], "{report:?}");

    // All of it is accounted for: by the classifier, which saw each packet and each marker, and then by
    // the adapters, which saw what it claimed. (On AF_PACKET nobody counts what the filter keeps out.)
    let classified: u64 = report.counts("classifier").values().sum();
    let counts = report.mode("client") != "af_packet";
    let all = if counts { u64::try_from(corpus.packets_sent()).expect("a count") } else { 0 };
    assert_eq!(classified, all, "{report:?}");
    let accounted = report.forwarded() + report.to_kernel() + report.dropped_in_all();
    assert_eq!(report.count("received"), accounted, "{report:?}");
    for reason in ["bad_checksum", "blackhole"] {
        let count = report.dropped().get(reason).copied().unwrap_or_default();
        assert!(count > 0, "nothing was dropped for {reason}: {report:?}");
    }
    // The kernel has options, fragments to make and what goes back where it came from.
    let by_kernel = net.router().kernel_forwarded() - before;
    assert!(report.forwarded() > by_kernel, "{by_kernel} by the kernel: {report:?}");
}
