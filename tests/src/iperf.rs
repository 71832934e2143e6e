//! Streams between two hosts, made and measured by iperf3.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::namespace::Namespace;
use crate::process::{Running, patient};

/// A TCP transfer that is under way, or over.
#[derive(Debug)]
pub struct Transfer {
    server: Running,
    client: Running,
    seconds: u32,
}

/// What a TCP transfer reached.
#[derive(Debug, Clone)]
pub struct Tcp {
    /// At the receiver, bits a second.
    pub rate: f64,
    /// Bytes that the receiver got.
    pub bytes: u64,
    /// Segments sent again.
    pub retransmits: u64,
    /// Bits a second in each interval of 100 ms, at the sender.
    pub intervals: Vec<f64>,
}

/// What a UDP stream reached.
#[derive(Debug, Clone)]
pub struct Udp {
    /// Packets sent.
    pub sent: u64,
    /// Packets that did not arrive at the program.
    pub lost: u64,
    /// Of these, packets that came to the server and found its socket full, for want of processor time.
    pub overflowed: u64,
    /// Bits a second sent.
    pub rate: f64,
}

impl Udp {
    /// Packets that got lost between the two hosts.
    pub fn lost_on_the_way(&self) -> u64 {
        self.lost.saturating_sub(self.overflowed)
    }
}

/// Which way data flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// Starts a TCP transfer of `seconds` from `client` to the address of `server`.
pub fn start_tcp(
    client: &Namespace,
    server: &Namespace,
    address: &str,
    seconds: u32,
    direction: Direction,
) -> Transfer {
    let reverse = if direction == Direction::ToClient { "-R" } else { "" };
    start(client, server, address, seconds, &format!("-i 0.1 {reverse}"))
}

/// Runs a TCP transfer to its end.
pub fn tcp(
    client: &Namespace,
    server: &Namespace,
    address: &str,
    seconds: u32,
    direction: Direction,
) -> Tcp {
    start_tcp(client, server, address, seconds, direction).finish_tcp()
}

/// Runs a UDP stream of `megabits` a second, in packets of 1200 bytes.
pub fn udp(
    client: &Namespace,
    server: &Namespace,
    address: &str,
    seconds: u32,
    megabits: u32,
) -> Udp {
    let options = format!("-u -l 1200 -b {megabits}M");
    let full = || server.snmp("Udp", "RcvbufErrors");
    let before = full();
    let transfer = start(client, server, address, seconds, &options);
    let result = transfer.finish();
    let sum = &result["end"]["sum"];
    Udp {
        sent: whole(&sum["packets"]),
        lost: whole(&sum["lost_packets"]),
        overflowed: full() - before,
        rate: number(&result["end"]["sum_sent"]["bits_per_second"]),
    }
}

fn start(
    client: &Namespace,
    server: &Namespace,
    address: &str,
    seconds: u32,
    options: &str,
) -> Transfer {
    let listening = server.spawn(&format!("iperf3 -s -1 -B {address}"));
    wait_until_listening(server);
    let client = client
        .spawn(&format!("iperf3 -c {address} -t {seconds} -J --connect-timeout 5000 {options}"));
    Transfer { server: listening, client, seconds }
}

/// iperf3 says nothing on a pipe until it ends, so the kernel is asked.
fn wait_until_listening(server: &Namespace) {
    const LISTENING_ON_5201: &str = ":1451 00000000:0000 0A";
    let deadline = Instant::now() + patient(Duration::from_secs(5));
    while Instant::now() < deadline {
        let sockets = server.inside(|| std::fs::read_to_string("/proc/thread-self/net/tcp"));
        if sockets.is_ok_and(|text| text.contains(LISTENING_ON_5201)) {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("iperf3 does not listen");
}

impl Transfer {
    /// Waits for the end of a TCP transfer; panics if iperf3 reports an error (a reset, for one).
    pub fn finish_tcp(self) -> Tcp {
        let result = self.finish();
        let end = &result["end"];
        Tcp {
            rate: number(&end["sum_received"]["bits_per_second"]),
            bytes: whole(&end["sum_received"]["bytes"]),
            retransmits: whole(&end["sum_sent"]["retransmits"]),
            intervals: result["intervals"]
                .as_array()
                .into_iter()
                .flatten()
                .map(|interval| number(&interval["sum"]["bits_per_second"]))
                .collect(),
        }
    }

    fn finish(self) -> Value {
        let patience = Duration::from_secs(u64::from(self.seconds) + 20);
        let said = self.client.finish(patience);
        let result: Value = serde_json::from_str(&said.stdout)
            .unwrap_or_else(|error| panic!("iperf3: {error}: {} {}", said.stdout, said.stderr));
        assert!(said.status.success(), "iperf3: {}", result["error"]);
        self.server.finish(Duration::from_secs(10)).expect_success("iperf3 -s");
        result
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("iperf3 reported {value} for a number"))
}

fn whole(value: &Value) -> u64 {
    value.as_u64().unwrap_or_else(|| panic!("iperf3 reported {value} for a count"))
}
