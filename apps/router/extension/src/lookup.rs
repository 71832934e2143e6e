//! Second step: where does it go?

#[cfg(feature = "lc-trie")]
use spine_fib::lc_trie::{Half, used};
#[cfg(not(feature = "lc-trie"))]
use spine_fib::{Half, used};
use spine_fib::{Load, NextHop, Store, flow_hash};
use spine_headers::ports;
use spine_sdk::Region;

use crate::classify::{HEADER_BYTES, Packet};

/// The shared region, as the table's functions want to see it.
#[derive(Debug, Clone, Copy)]
pub struct Table(pub Region);

impl Load for Table {
    #[inline(always)]
    fn u8_at(&self, offset: usize) -> u8 {
        self.0.u8_at(offset)
    }
    #[inline(always)]
    fn u16_at(&self, offset: usize) -> u16 {
        self.0.u16_at(offset)
    }
    #[inline(always)]
    fn u32_at(&self, offset: usize) -> u32 {
        self.0.u32_at(offset)
    }
}

impl Store for Table {
    #[inline(always)]
    fn set_u8(&self, offset: usize, value: u8) {
        self.0.set_u8(offset, value);
    }
    #[inline(always)]
    fn set_u16(&self, offset: usize, value: u16) {
        self.0.set_u16(offset, value);
    }
    #[inline(always)]
    fn set_u32(&self, offset: usize, value: u32) {
        self.0.set_u32(offset, value);
    }
}

/// The next hop of a packet and its index. `prefix` is where the ports are read, if they are needed.
#[inline]
pub fn lookup<Region: Load>(
    region: &Region,
    half: u32,
    packet: &Packet,
    prefix: &[u8],
) -> (u16, NextHop) {
    let half = Half::new(region, half);
    let group = half.lookup(packet.destination);
    half.next_hop(group, || {
        flow_hash(packet.source, packet.destination, packet.protocol, both_ports(packet, prefix))
    })
}

/// Whether the kernel's reverse-path filter would let a packet from this source pass: what it would not is its own to
/// count. Numbers and no references, or those who do not ask would pay for keeping things in memory.
#[inline(always)]
pub fn believed<Region: Load>(region: &Region, half: u32, adapter: u16, source: u32) -> bool {
    let half = Half::new(region, half);
    half.believes(half.lookup(source), adapter)
}

/// Remembers that the next hop is in use.
#[inline]
pub fn mark_used<Region: Store>(region: &Region, index: u16) {
    used(region).mark(index);
}

/// Both ports, zero where there are none. All fragments of a packet, the first one too, have none:
/// else they would go different ways.
fn both_ports(packet: &Packet, prefix: &[u8]) -> u32 {
    if packet.fragment || !ports::starts(packet.protocol) {
        return 0;
    }
    // Of a packet too short to have ports, padding is read: it has a hash as well.
    let ports = prefix.get(HEADER_BYTES..).and_then(<[u8]>::first_chunk::<{ ports::BYTES }>);
    ports.map_or(0, |ports| u32::from_le_bytes(*ports))
}
