//! Second step: where does it go?

#[cfg(feature = "lc-trie")]
use spine_fib::lc_trie::used;
#[cfg(not(feature = "lc-trie"))]
use spine_fib::used;
use spine_fib::{Load, NextHop, Store};
use spine_sdk::Region;

use crate::packet::{Half, Packet};

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
    #[inline(always)]
    fn u64_at(&self, offset: usize) -> u64 {
        self.0.u64_at(offset)
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
#[inline(always)]
pub(crate) fn lookup<Region: Load>(
    region: &Region,
    half: u32,
    packet: &impl Packet,
    prefix: &[u8],
) -> (u16, NextHop) {
    let half = Half::new(region, half);
    let group = packet.group(&half);
    half.next_hop(group, || packet.flow_hash(prefix))
}

/// Whether the kernel's reverse-path filter would let a packet from this source pass: what it would not is its own to
/// count.
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
