//! The traffic of the demo: ping, TCP both ways, UDP, traceroute.

use spine_tests::Topology;
use spine_tests::iperf::{self, Direction, Tcp, Udp};
use spine_tests::ping::{Ping, ping};

use crate::{done, step};

/// What one way of forwarding reached.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) ping: Ping,
    pub(crate) to_server: Tcp,
    pub(crate) to_client: Tcp,
    pub(crate) udp: Udp,
    /// The addresses that answered, from the nearest.
    pub(crate) route: Vec<String>,
}

const PINGS: u32 = 50;
const UDP_MEGABITS: u32 = 200;

/// All of it, one after the other, with a line for each.
pub(crate) fn all(net: &Topology, seconds: u32) -> Measured {
    let (client, server) = (net.host("client"), net.host("server"));
    let address = net.link("server").host_address();

    step(&format!("ping, {PINGS} times"));
    let ping = ping(client, &address, PINGS);
    done(&format!("{} of {} answered, {:.3} ms", ping.answered, ping.sent, ping.mean));

    step(&format!("TCP from client to server, {seconds} s"));
    let to_server = tcp_to_server(net, seconds);
    done(&format!("{:.2} Gbit/s", to_server.rate / 1e9));

    step(&format!("TCP from server to client, {seconds} s"));
    let to_client = iperf::tcp(client, server, &address, seconds, Direction::ToClient);
    done(&format!("{:.2} Gbit/s", to_client.rate / 1e9));

    step(&format!("UDP from client to server, {UDP_MEGABITS} Mbit/s for {seconds} s"));
    let udp = iperf::udp(client, server, &address, seconds, UDP_MEGABITS);
    done(&format!("{} of {} packets lost on the way", udp.lost_on_the_way(), udp.sent));

    step("traceroute");
    let route = traceroute(net, &address);
    done(&route.join(" -> "));

    Measured { ping, to_server, to_client, udp, route }
}

pub(crate) fn tcp_to_server(net: &Topology, seconds: u32) -> Tcp {
    let address = net.link("server").host_address();
    iperf::tcp(net.host("client"), net.host("server"), &address, seconds, Direction::ToServer)
}

/// Switches checksum and segmentation offload of both hosts.
pub(crate) fn switch_offloads(net: &Topology, state: &str) {
    for host in ["client", "server"] {
        net.host(host).run(&format!("ethtool -K eth tx {state} tso {state} gso {state}"));
    }
}

/// The hops of `traceroute -n`, whose lines are a number, an address and times.
fn traceroute(net: &Topology, address: &str) -> Vec<String> {
    let said = net.host("client").run(&format!("traceroute -n -q 1 -w 1 -m 5 {address}"));
    said.lines()
        .skip(1)
        .filter_map(|line| line.split_whitespace().nth(1))
        .map(str::to_owned)
        .collect()
}
