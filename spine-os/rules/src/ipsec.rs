//! IPsec policies: what they select is encrypted, dropped, or was to come in encrypted.
//!
//! Numbers and layouts from linux/xfrm.h.

use netlink_sys::protocols::NETLINK_XFRM;
use spine_nic::netlink::socket::{NetlinkError, NetlinkSocket};
use spine_nic::netlink::wire::{Raw, u16_at};

use crate::model::PerFamily;
use crate::packets::{Addresses, Family, Packets, Ports, Protocols};
use crate::region::Region;

const NEW_POLICY: u16 = 19;
const GET_POLICY: u16 = 21;
const GET_DEFAULT: u16 = 40;
/// struct xfrm_userpolicy_id.
const REQUEST_BYTES: usize = 64;

/// What policies select.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    /// Packets for this machine.
    pub(crate) delivered: PerFamily<Region>,
    /// Packets that are forwarded.
    pub(crate) forwarded: PerFamily<Region>,
}

/// Why.
pub(crate) const WHY: &str = "IPsec policy (see `ip xfrm policy`)";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
    Forward,
}

impl Policies {
    /// Reads all.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub(crate) fn read() -> Result<Self, NetlinkError> {
        let mut socket = NetlinkSocket::open(NETLINK_XFRM)?;
        let request = [0; REQUEST_BYTES];
        let policies = socket.dump("IPsec policies", GET_POLICY, &request, |raw: Raw<'_>| {
            (raw.kind == NEW_POLICY).then(|| policy(raw.payload))?
        })?;
        let mut found = Self::default();
        for (family, direction, packets) in policies {
            match direction {
                Direction::In => found.delivered.of_mut(family).push(packets),
                Direction::Out | Direction::Forward => {
                    found.forwarded.of_mut(family).push(packets);
                }
            }
        }
        found.by_default(&mut socket)?;
        Ok(found)
    }

    /// What becomes of packets without a policy, which kernels before 5.14 do not ask.
    fn by_default(&mut self, socket: &mut NetlinkSocket) -> Result<(), NetlinkError> {
        const BLOCK: u8 = 1;
        // The answer is of the same kind as the question.
        let default = |raw: Raw<'_>| {
            (raw.kind == GET_DEFAULT).then(|| raw.payload.first_chunk::<3>().copied())?
        };
        let defaults = match socket.get("IPsec default policy", GET_DEFAULT, &[0; 4], default) {
            Ok(defaults) => defaults,
            Err(error) if error.is_unsupported() => return Ok(()),
            Err(error) => return Err(error),
        };
        for [incoming, forwarded, outgoing] in defaults {
            for family in [Family::V4, Family::V6] {
                if incoming == BLOCK {
                    self.delivered.of_mut(family).push(Packets::all(family));
                }
                if forwarded == BLOCK || outgoing == BLOCK {
                    self.forwarded.of_mut(family).push(Packets::all(family));
                }
            }
        }
        Ok(())
    }
}

/// struct xfrm_userpolicy_info: its selector, and its direction.
fn policy(payload: &[u8]) -> Option<(Family, Direction, Packets)> {
    const DIRECTION: usize = 160;
    let family = match i32::from(u16_at(payload, 40)?) {
        libc::AF_INET => Family::V4,
        libc::AF_INET6 => Family::V6,
        _ => return None,
    };
    let direction = match payload.get(DIRECTION)? {
        0 => Direction::In,
        1 => Direction::Out,
        _ => Direction::Forward,
    };
    let address = |at: usize| {
        let length = match family {
            Family::V4 => 4,
            Family::V6 => 16,
        };
        let bytes = payload.get(at..at + length)?;
        Some(bytes.iter().fold(0, |number, byte| number << 8 | u128::from(*byte)))
    };
    let prefix = |at: usize, length: usize| {
        Some(Addresses::prefix(family, address(at)?, *payload.get(length)?))
    };
    let protocols = match *payload.get(44)? {
        0 => Protocols::ALL,
        one => Protocols::one(one),
    };
    const TCP: Protocols = Protocols::one(6);
    const UDP: Protocols = Protocols::one(17);
    // Of others its ports are something else, or not looked at.
    let ports = |at: usize| match protocols == TCP || protocols == UDP {
        true => port(payload, at),
        false => Some(Ports::ALL),
    };
    let packets = Packets {
        protocols,
        destination: prefix(0, 42)?,
        source: prefix(16, 43)?,
        destination_ports: ports(32)?,
        source_ports: ports(36)?,
        ..Packets::all(family)
    };
    Some((family, direction, packets))
}

/// A port and its mask, of which only all or nothing is understood.
fn port(payload: &[u8], at: usize) -> Option<Ports> {
    let number = |at: usize| Some(u16::from_be_bytes(*payload.get(at..)?.first_chunk()?));
    Some(match number(at + 2)? {
        u16::MAX => Ports::one(number(at)?),
        _ => Ports::ALL,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_is_a_set_of_packets() {
        let mut payload = vec![0; 168];
        payload[0..4].copy_from_slice(&[10, 2, 0, 0]);
        payload[16..20].copy_from_slice(&[10, 1, 0, 0]);
        payload[40..42].copy_from_slice(&2_u16.to_ne_bytes());
        (payload[42], payload[43]) = (16, 24);
        payload[44] = 17;
        payload[32..36].copy_from_slice(&[0, 53, 0xff, 0xff]);
        payload[160] = 2;
        let (family, direction, packets) = policy(&payload).expect("a policy");
        assert_eq!((family, direction), (Family::V4, Direction::Forward));
        let said = packets.describe(family);
        assert_eq!(said, "udp from 10.1.0.0/24 to 10.2.0.0/16 to port 53");
    }
}
