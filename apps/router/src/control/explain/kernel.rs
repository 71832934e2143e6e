//! What the kernel would do with a packet: it is asked, as `ip route get` asks it.

use std::net::Ipv4Addr;

use netlink_packet_core::Parseable as _;
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use spine_headers::protocol;
use spine_nic::netlink::socket::NetlinkError;

use super::super::View;
use super::super::listing::name_of;
use super::packet::Packet;
use crate::netlink::state::IfIndex;

const RTM_GETROUTE: u16 = 26;
const RTM_F_LOOKUP_TABLE: u32 = 0x1000;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_IIF: u16 = 3;
const RTA_IP_PROTO: u16 = 27;
const RTA_SPORT: u16 = 28;
const RTA_DPORT: u16 = 29;

/// What the kernel answers, as a sentence. Rules of its firewall it does not ask for that.
pub(super) fn ask(packet: &Packet, ingress: IfIndex, view: &mut View<'_>) -> String {
    let asked = view.requests.get("a route", RTM_GETROUTE, &request(packet, ingress), |raw| {
        RouteMessage::parse(raw.payload).ok()
    });
    match asked {
        Ok(answers) => answers
            .first()
            .map_or_else(|| "the kernel has no answer".to_owned(), |answer| said(answer, view)),
        Err(NetlinkError::Refused { error, .. }) => format!(
            "the kernel does not forward it: {}",
            match error.raw_os_error() {
                Some(libc::EHOSTUNREACH | libc::ENETUNREACH) =>
                    "it answers that the destination is unreachable".to_owned(),
                Some(libc::EACCES) => "it answers that this is prohibited".to_owned(),
                Some(libc::EXDEV) =>
                    "its reverse-path filter does not believe the source".to_owned(),
                Some(libc::EINVAL) =>
                    "it drops it (a blackhole, or an address that cannot be)".to_owned(),
                _ => error.to_string(),
            }
        ),
        Err(error) => format!("the kernel cannot be asked: {error}"),
    }
}

fn request(packet: &Packet, ingress: IfIndex) -> Vec<u8> {
    let inet = u8::try_from(libc::AF_INET).unwrap_or_default();
    // struct rtmsg: family, bits of destination and source, then what is asked for.
    let mut bytes = vec![inet, 32, 32, 0, 0, 0, 0, 0];
    bytes.extend(RTM_F_LOOKUP_TABLE.to_ne_bytes());
    let mut add = |kind: u16, payload: &[u8]| {
        let length = u16::try_from(payload.len() + 4).unwrap_or(u16::MAX);
        bytes.extend(length.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(payload);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
    };
    add(RTA_DST, &packet.destination.octets());
    add(RTA_SRC, &packet.source.octets());
    add(RTA_IIF, &ingress.to_ne_bytes());
    if [protocol::TCP, protocol::UDP].contains(&packet.protocol) && !packet.fragment {
        add(RTA_IP_PROTO, &[packet.protocol]);
        add(RTA_SPORT, &packet.source_port.to_be_bytes());
        add(RTA_DPORT, &packet.destination_port.to_be_bytes());
    }
    bytes
}

fn said(answer: &RouteMessage, view: &View<'_>) -> String {
    let out = answer.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Oif(index) => Some(name_of(view, *index)),
        _ => None,
    });
    let gateway: Option<Ipv4Addr> =
        answer.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => Some(*address),
            _ => None,
        });
    let out = out.unwrap_or_else(|| "?".to_owned());
    match (answer.header.kind, gateway) {
        (RouteType::Local, _) => "the kernel takes it for this machine".to_owned(),
        (RouteType::Broadcast | RouteType::Multicast, _) => {
            "the kernel takes it for this machine and others".to_owned()
        }
        (RouteType::Unicast, Some(gateway)) => {
            format!("the kernel's route leads out by {out} to {gateway}")
        }
        (RouteType::Unicast, None) => {
            format!("the kernel's route leads out by {out}, straight to it")
        }
        (other, _) => format!("the kernel's route is of the kind {other:?}"),
    }
}
