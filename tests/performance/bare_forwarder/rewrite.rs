//! What a router with one next hop does to a packet: addresses, TTL, checksum.

use spine_headers::{ethernet, ipv4};

/// The two link-layer addresses that a forwarded packet gets.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hop {
    /// Of the next hop.
    pub(crate) destination: [u8; 6],
    /// Of the interface it leaves by.
    pub(crate) source: [u8; 6],
}

impl Hop {
    /// Makes `frame` ready to leave; false for what is not IPv4 or has come to the end of its life.
    pub(crate) fn apply(&self, frame: &mut [u8]) -> bool {
        let Ok((mut ethernet, rest)) = ethernet::Header::split_mut(frame) else { return false };
        let Ok((mut ip, _)) = ipv4::Header::split_mut(rest) else { return false };
        let is_plain = ip.version_and_length() == ipv4::PLAIN;
        if ethernet.ether_type() != ethernet::ether_type::IPV4 || !is_plain || ip.ttl() <= 1 {
            return false;
        }
        ethernet.set_destination(self.destination);
        ethernet.set_source(self.source);
        ip.take_hop();
        true
    }
}
