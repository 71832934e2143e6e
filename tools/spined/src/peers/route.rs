//! The way to a machine beyond the link: which of our addresses packets come from, and the next hop.
//!
//! The kernel knows both: its routes are read from `/proc/net/route`, its neighbours from `/proc/net/arp`. A
//! neighbour that it does not know yet is asked for by sending it a packet that nobody listens to.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};
use std::{fs, io};

use nix::sys::socket::{setsockopt, sockopt};

use super::PeerError;
use super::config::link_address;

/// How long a neighbour may take to say its address.
const PATIENCE: Duration = Duration::from_secs(1);
/// The port that packets are discarded at (RFC 863).
const DISCARD: u16 = 9;
/// An entry of `/proc/net/arp` that holds an address (ATF_COM).
const COMPLETE: u32 = 2;

/// How packets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) from: Ipv4Addr,
    pub(super) next_hop: [u8; 6],
}

/// The way to an address by an interface; `next_hop` where it was said.
///
/// # Errors
/// [`PeerError`].
pub(super) fn to(
    peer: &str,
    interface: &str,
    to: Ipv4Addr,
    next_hop: Option<[u8; 6]>,
) -> Result<Way, PeerError> {
    let (peer, interface) = (peer.to_owned(), interface.to_owned());
    let socket = bound(&interface);
    let socket = socket.map_err(|error| PeerError::System { peer: peer.clone(), error })?;
    let Some(from) = source(&socket, to) else {
        return Err(PeerError::NoAddress { peer, interface });
    };
    if let Some(next_hop) = next_hop {
        return Ok(Way { from, next_hop });
    }
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let Some(hop) = next_in(&routes, &interface, to) else {
        return Err(PeerError::NoRoute { peer, interface, to });
    };
    match neighbour(&socket, &interface, hop) {
        Some(next_hop) => Ok(Way { from, next_hop }),
        None => Err(PeerError::NoNextHop { peer, interface, hop }),
    }
}

/// A socket whose packets leave by this interface and no other.
fn bound(interface: &str) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    setsockopt(&socket, sockopt::BindToDevice, &interface.into())?;
    Ok(socket)
}

/// The address that packets of this socket come from.
fn source(socket: &UdpSocket, to: Ipv4Addr) -> Option<Ipv4Addr> {
    socket.connect(SocketAddrV4::new(to, DISCARD)).ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(from) if !from.is_unspecified() => Some(from),
        _ => None,
    }
}

/// Where packets to an address go next, by the text of `/proc/net/route`: the gateway, or the address itself.
fn next_in(routes: &str, interface: &str, to: Ipv4Addr) -> Option<Ipv4Addr> {
    let number = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::from_be);
    let to_number = u32::from(to);
    let fitting = routes.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace();
        let (name, destination, gateway) = (words.next()?, words.next()?, words.next()?);
        // Flags, references, uses, metric come in between.
        let (destination, mask) = (number(destination)?, number(words.nth(4)?)?);
        let fits = name == interface && to_number & mask == destination;
        fits.then_some((mask, number(gateway)?))
    });
    let (_, gateway) = fitting.max_by_key(|(mask, _)| *mask)?;
    Some(if gateway == 0 { to } else { Ipv4Addr::from(gateway) })
}

/// A neighbour's link-layer address, asked for if the kernel does not know it.
fn neighbour(socket: &UdpSocket, interface: &str, hop: Ipv4Addr) -> Option<[u8; 6]> {
    let known = || {
        let neighbours = fs::read_to_string("/proc/net/arp").unwrap_or_default();
        address_in(&neighbours, interface, hop)
    };
    let end = Instant::now() + PATIENCE;
    let mut asked = false;
    loop {
        if let Some(address) = known() {
            return Some(address);
        }
        if Instant::now() >= end {
            return None;
        }
        if !std::mem::replace(&mut asked, true) {
            // What is refused shows in the neighbours: there is none then.
            let _ = socket.connect(SocketAddrV4::new(hop, DISCARD)).and_then(|()| socket.send(&[]));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// An address on an interface, by the text of `/proc/net/arp`.
fn address_in(neighbours: &str, interface: &str, hop: Ipv4Addr) -> Option<[u8; 6]> {
    neighbours.lines().skip(1).find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [address, _, flags, link, _, name] = words[..] else { return None };
        let flags = u32::from_str_radix(flags.strip_prefix("0x")?, 16).ok()?;
        let it = name == interface && address.parse() == Ok(hop) && flags & COMPLETE != 0;
        link_address(link).filter(|_| it)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        eth1\t00000000\t0102000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        eth1\t0002000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
        eth2\t0003000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
    const NEIGHBOURS: &str = "IP address       HW type     Flags       HW address            Mask     Device\n\
        10.0.2.1         0x1         0x2         02:00:00:00:00:01     *        eth1\n\
        10.0.2.3         0x1         0x0         00:00:00:00:00:00     *        eth1\n\
        10.0.3.1         0x1         0x2         02:00:00:00:00:03     *        eth2\n";

    #[test]
    fn the_longest_route_of_the_interface_names_the_next_hop() {
        let next = |interface, to: [u8; 4]| next_in(ROUTES, interface, Ipv4Addr::from(to));
        assert_eq!(next("eth1", [10, 0, 2, 9]), Some(Ipv4Addr::new(10, 0, 2, 9)), "on the link");
        assert_eq!(next("eth1", [192, 0, 2, 7]), Some(Ipv4Addr::new(10, 0, 2, 1)), "beyond it");
        assert_eq!(next("eth1", [10, 0, 3, 1]), Some(Ipv4Addr::new(10, 0, 2, 1)));
        assert_eq!(next("eth2", [192, 0, 2, 7]), None, "another interface's way");
        assert_eq!(next_in("", "eth1", Ipv4Addr::LOCALHOST), None);
    }

    #[test]
    fn a_neighbour_is_known_by_address_and_interface_once_it_has_answered() {
        let known = |interface, last| {
            address_in(NEIGHBOURS, interface, Ipv4Addr::new(10, 0, 2, last)).map(|mac| mac[5])
        };
        assert_eq!(known("eth1", 1), Some(1));
        assert_eq!(known("eth2", 1), None);
        assert_eq!(known("eth1", 3), None, "it has not answered");
        assert_eq!(address_in("IP\nnonsense\n", "eth1", Ipv4Addr::LOCALHOST), None);
    }
}
