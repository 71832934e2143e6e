//! Echo requests, and what came of them.
//!
//! Why not the program `ping`? Once it has had an answer it waits for the last ones no longer than an interval (or
//! twice the longest round trip), whatever it is told: on busy cores, where an adapter may wait for a processor for
//! half a second, it reported as lost what was forwarded and answered a moment later.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use spine_headers::icmp::{self, v4};
use spine_headers::ipv4;

use crate::namespace::Namespace;
use crate::process::patient;

/// Between two requests.
const INTERVAL: Duration = Duration::from_millis(20);
/// How long the last answers may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of data behind a request's header, where none are asked for.
const DATA: usize = 56;
/// The largest IPv4 packet.
const LARGEST: usize = 65_535;

/// What became of some requests.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ping {
    /// Requests sent.
    pub sent: u32,
    /// Requests answered, each counted once.
    pub answered: u32,
    /// Mean time to the answer in milliseconds; 0 if there was none.
    pub mean: f64,
}

/// Sends `count` requests to `address`, 20 ms apart, and waits up to 2 s for the last answers.
pub fn ping(from: &Namespace, address: &str, count: u32) -> Ping {
    ping_with(from, address, count, DATA)
}

/// The same with so many bytes of data in each.
pub fn ping_with(from: &Namespace, address: &str, count: u32, data: usize) -> Ping {
    let to: Ipv4Addr = address.parse().unwrap_or_else(|error| panic!("{address}: {error}"));
    from.inside(|| Pinger::new(to, count, data).run())
}

struct Pinger {
    socket: UdpSocket,
    to: SocketAddrV4,
    identifier: u16,
    /// When each request left, and how long its answer took.
    requests: Vec<(Instant, Option<Duration>)>,
    count: usize,
    /// Bytes of data in each.
    data: usize,
}

impl Pinger {
    fn new(to: Ipv4Addr, count: u32, data: usize) -> Self {
        let raw =
            socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Icmp);
        // Raw, and used by the same calls.
        let socket = UdpSocket::from(raw.unwrap_or_else(|error| panic!("a raw socket: {error}")));
        let identifier = u16::try_from(std::process::id() & 0xffff).unwrap_or(1);
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Self { socket, to: SocketAddrV4::new(to, 0), identifier, requests: Vec::new(), count, data }
    }

    fn run(mut self) -> Ping {
        let start = Instant::now();
        for number in 0..self.count {
            self.listen(start + INTERVAL * u32::try_from(number).unwrap_or(u32::MAX));
            let number = u16::try_from(number).unwrap_or(u16::MAX);
            let request = request(self.identifier, number, self.data);
            self.requests.push((Instant::now(), None));
            // One that cannot be sent is one that is not answered.
            let _ = self.socket.send_to(&request, self.to);
        }
        self.listen(Instant::now() + patient(PATIENCE));
        let times: Vec<Duration> = self.requests.iter().filter_map(|(_, took)| *took).collect();
        let answered = u32::try_from(times.len()).unwrap_or(u32::MAX);
        let mean =
            times.iter().sum::<Duration>().as_secs_f64() * 1000.0 / f64::from(answered.max(1));
        Ping { sent: u32::try_from(self.count).unwrap_or(u32::MAX), answered, mean }
    }

    /// Takes answers until then, or until all are there.
    fn listen(&mut self, until: Instant) {
        let mut packet = vec![0; LARGEST];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let complete = self.requests.len() == self.count
                && self.requests.iter().all(|(_, at)| at.is_some());
            if left.is_zero() || complete {
                return;
            }
            let set = self.socket.set_read_timeout(Some(left));
            set.unwrap_or_else(|error| panic!("a timeout: {error}"));
            // An error is a timeout, or an ICMP error about a request.
            let Ok((length, _)) = self.socket.recv_from(&mut packet) else { continue };
            let Some(number) = reply(packet.get(..length).unwrap_or_default(), self.identifier)
            else {
                continue;
            };
            if let Some((left, took)) = self.requests.get_mut(usize::from(number)) {
                took.get_or_insert(left.elapsed());
            }
        }
    }
}

/// An echo request.
fn request(identifier: u16, number: u16, data: usize) -> Vec<u8> {
    let mut bytes = vec![0; icmp::BYTES + data];
    let (header, body) = bytes.split_at_mut(icmp::BYTES);
    let fields = icmp::Fields::echo(v4::ECHO_REQUEST, identifier, number);
    header.copy_from_slice(&fields.to_bytes_for(0, body));
    bytes
}

/// The number of the request that an IPv4 packet answers, if it answers one of ours. (A raw socket is
/// given packets whose lengths the kernel has checked.)
fn reply(packet: &[u8], identifier: u16) -> Option<u16> {
    let (ip, _) = ipv4::Header::split(packet).ok()?;
    let echo = icmp::Message::read(packet.get(ip.header_length()..)?).ok()?.header;
    let is_ours = echo.kind() == v4::ECHO_REPLY && echo.identifier() == identifier;
    is_ours.then(|| echo.sequence())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the kernel gives a raw socket a packet: its IPv4 header in front.
    fn received(kind: u8, identifier: u16, number: u16) -> Vec<u8> {
        let mut packet = vec![0; 20];
        packet[0] = 0x45;
        packet.extend(request(identifier, number, DATA));
        packet[20] = kind;
        packet
    }

    #[test]
    fn only_replies_to_ones_own_requests_count() {
        assert_eq!(reply(&received(v4::ECHO_REPLY, 7, 300), 7), Some(300));
        assert_eq!(reply(&received(v4::ECHO_REPLY, 8, 300), 7), None, "somebody else's");
        assert_eq!(reply(&received(v4::ECHO_REQUEST, 7, 300), 7), None, "the request itself");
        let packet = received(v4::ECHO_REPLY, 7, 300);
        for length in 0..28 {
            assert_eq!(reply(&packet[..length], 7), None, "{length} bytes");
        }
    }

    #[test]
    fn a_request_has_a_checksum_that_verifies() {
        let request = request(0xbeef, 9, DATA);
        assert!(icmp::Message::read(&request).is_ok_and(|message| message.has_right_checksum(0)));
    }
}
