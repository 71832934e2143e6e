//! UDP ports claimed on AF_PACKET: sockets are shown the packets to those ports, whole, and the kernel keeps
//! its copy.
//!
//! A classic BPF program, so that the kernel copies nothing else. Fragments are left to the kernel, as with
//! the classifier of AF_XDP: nobody could put them together here. A port is claimed at every address, for the
//! handler of all packets.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;
use spine_headers::ethernet::{self, ether_type};
use spine_headers::{in_u16, ipv4, protocol, udp};
use spine_xdp_progs::{Ingresses, Kept};

use super::{PortClaim, Steering, SteeringError, filter, show};
use crate::packet::code::{
    INDEX_IP_HEADER_LENGTH, JUMP_EQUAL, JUMP_SET, LOAD_1, LOAD_2, LOAD_2_INDEXED, RETURN,
};
use crate::packet::{FilterInstruction, PacketFilter};

const ETHERTYPE: u32 = in_u16(ethernet::offset::ETHER_TYPE) as u32;
const IPV4: u32 = ether_type::IPV4 as u32;
const PROTOCOL: u32 = in_u16(ethernet::BYTES + ipv4::offset::PROTOCOL) as u32;
const UDP: u32 = protocol::UDP as u32;
const FRAGMENT: u32 = in_u16(ethernet::BYTES + ipv4::offset::FRAGMENT) as u32;
const IS_FRAGMENT: u32 = ipv4::IS_FRAGMENT as u32;
const IP_HEADER: u32 = in_u16(ethernet::BYTES) as u32;
/// The destination port behind the IP header, whose length is in the index.
const PORT: u32 = in_u16(ethernet::BYTES + udp::offset::DESTINATION_PORT) as u32;
const WHOLE: u32 = 0x0004_0000;

/// The most ports: jumps stay short.
const PORTS: usize = spine_abi::limits::WINDOWS;

/// The program for these ports, at most [`PORTS`].
fn program(ports: &BTreeSet<u16>) -> Vec<FilterInstruction> {
    let count = u8::try_from(ports.len()).unwrap_or(u8::MAX);
    let step = |code, k| FilterInstruction { code, jt: 0, jf: 0, k };
    // What is none of ours goes to the refusal behind the comparisons of ports.
    let or_refuse =
        |code, k, between: u8| FilterInstruction { code, jt: 0, jf: between + count, k };
    let mut program = vec![
        step(LOAD_2, ETHERTYPE),
        or_refuse(JUMP_EQUAL, IPV4, 6),
        step(LOAD_1, PROTOCOL),
        or_refuse(JUMP_EQUAL, UDP, 4),
        step(LOAD_2, FRAGMENT),
        FilterInstruction { code: JUMP_SET, jt: 2 + count, jf: 0, k: IS_FRAGMENT },
        step(INDEX_IP_HEADER_LENGTH, IP_HEADER),
        step(LOAD_2_INDEXED, PORT),
    ];
    for (place, port) in (1..=count).zip(ports) {
        let to_whole = count - place + 1;
        program.push(FilterInstruction {
            code: JUMP_EQUAL,
            jt: to_whole,
            jf: 0,
            k: (*port).into(),
        });
    }
    program.extend([step(RETURN, 0), step(RETURN, WHOLE)]);
    program
}

/// What the sockets are shown.
pub(super) struct PortSteering {
    filters: Vec<PacketFilter>,
    ports: BTreeSet<u16>,
    is_open: bool,
}

impl PortSteering {
    /// Nothing yet.
    pub(super) fn new(filters: Vec<PacketFilter>) -> Self {
        Self { filters, ports: BTreeSet::new(), is_open: false }
    }

    fn apply(&self) -> Result<(), SteeringError> {
        let program = if self.is_open { program(&self.ports) } else { filter::CLOSED.to_vec() };
        self.filters.iter().try_for_each(|filter| show(filter, &program))
    }
}

impl Steering for PortSteering {
    fn set_all_enabled(&mut self, enabled: bool) -> Result<(), SteeringError> {
        self.is_open = enabled;
        self.apply()
    }

    fn claim_port(&mut self, claim: PortClaim) -> Result<(), SteeringError> {
        if self.ports.len() >= PORTS && !self.ports.contains(&claim.port) {
            return Err(SteeringError::Unsupported("as many UDP ports"));
        }
        self.ports.insert(claim.port);
        self.apply()
    }

    /// Nothing is claimed by destination, on any interface.
    fn set_enabled(&mut self, _interface: u32, _enabled: bool) -> Result<(), SteeringError> {
        Ok(())
    }

    /// The kernel has looked at it.
    fn set_mac(&mut self, _interface: u32, _mac: [u8; 6]) -> Result<(), SteeringError> {
        Ok(())
    }

    fn set_claim(&mut self, _prefix: IpNet, _from: Ingresses) -> Result<(), SteeringError> {
        Err(SteeringError::Unsupported("destinations beside UDP ports"))
    }

    fn set_kept(&mut self, _interface: u32, sets: &[Kept]) -> Result<(), SteeringError> {
        if sets.is_empty() {
            return Ok(());
        }
        Err(SteeringError::Unsupported("a part of what an interface receives"))
    }

    fn kept_packets(&self, _counter: u32) -> Result<u64, SteeringError> {
        Ok(0)
    }

    fn knows_destinations(&self) -> bool {
        false
    }

    fn most_kept(&self) -> usize {
        0
    }

    fn remove_claim(&mut self, _prefix: IpNet) -> Result<(), SteeringError> {
        Ok(())
    }

    fn set_address(&mut self, _address: IpAddr) -> Result<(), SteeringError> {
        Ok(())
    }

    fn remove_address(&mut self, _address: IpAddr) -> Result<(), SteeringError> {
        Ok(())
    }

    fn counters(&self) -> Result<Vec<(&'static str, u64)>, SteeringError> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use spine_packets::cbpf;

    use super::*;

    fn run(program: &[FilterInstruction], packet: &[u8]) -> u32 {
        let instruction =
            |&FilterInstruction { code, jt, jf, k }: &_| cbpf::Instruction { code, jt, jf, k };
        let program: Vec<_> = program.iter().map(instruction).collect();
        cbpf::run(&program, packet, false)
    }

    fn packet(port: u16, options: usize) -> Vec<u8> {
        let mut packet = vec![0; 14];
        packet[12..14].copy_from_slice(&[8, 0]);
        packet.extend([0x45 + u8::try_from(options).unwrap(), 0, 0, 60, 0, 0, 0x40, 0, 64, 17]);
        packet.resize(14 + 20 + 4 * options, 0);
        packet.extend([0x30, 0x39]);
        packet.extend(port.to_be_bytes());
        packet.extend([0; 12]);
        packet
    }

    #[test]
    fn only_whole_udp_packets_to_the_ports_pass() {
        let most: Vec<u16> = (5004..).take(PORTS).collect();
        for several in [&[5004][..], &[1, 5004, 9], &most] {
            let program = program(&several.iter().copied().collect());
            assert_eq!(run(&program, &packet(5004, 0)), WHOLE);
            assert_eq!(run(&program, &packet(5004, 3)), WHOLE, "behind IP options");
            assert_eq!(run(&program, &packet(4005, 0)), 0);
            for (at, byte) in [(12, 0x86), (23, 6), (20, 0x20), (21, 1)] {
                let mut other = packet(5004, 0);
                other[at] = byte;
                assert_eq!(run(&program, &other), 0, "byte {at}");
            }
            assert_eq!(run(&program, &packet(5004, 0)[..30]), 0, "truncated");
        }
    }
}
