//! From a group to a next hop: the same in both tables, which differ in how an address finds its group.
//!
//! A group's word names its one next hop, or says how many buckets it has; a flow goes to one of them, and so
//! all of its packets to one next hop. Weights are given by naming a next hop several times.

use crate::Load;
use crate::layout::{BUCKETS, NEXT_HOP_BYTES, NO_HOP, SOURCES_BYTES};
use crate::next_hop::NextHop;

/// How many there are, each a power of two, and where they stand in a half.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Groups {
    /// Groups.
    pub(crate) groups: usize,
    /// Next hops.
    pub(crate) next_hops: usize,
    /// Where the groups start: a u16 mask (buckets - 1), and a u16 next hop if there is one bucket.
    pub(crate) group: usize,
    /// Where their buckets start: [`BUCKETS`] of each, a u16 next hop.
    pub(crate) bucket: usize,
    /// Where the next hops start.
    pub(crate) next_hop: usize,
    /// Where it starts from which adapters a source is believed: for each group, a bit for each adapter.
    pub(crate) sources: usize,
}

impl Groups {
    /// The next hop of `group` for a flow, and its index. A damaged table leads to some entry of the half
    /// that starts at `base`, not to memory beside it.
    #[inline(always)]
    pub(crate) fn next_hop(
        &self,
        region: &impl Load,
        base: usize,
        group: u16,
        flow_hash: impl FnOnce() -> u32,
    ) -> (u16, NextHop) {
        let group = usize::from(group) & (self.groups - 1);
        let word = region.u32_at(base + self.group + group * 4);
        let (mask, single) = (word as usize & (BUCKETS - 1), (word >> 16) as usize);
        let index = match mask {
            0 => single,
            mask => {
                let bucket = group * BUCKETS + (flow_hash() as usize & mask);
                usize::from(region.u16_at(base + self.bucket + bucket * 2))
            }
        };
        let index = index & (self.next_hops - 1);
        let hop = NextHop::load(region, base + self.next_hop + index * NEXT_HOP_BYTES);
        (u16::try_from(index).unwrap_or(NO_HOP), hop)
    }

    /// Whether a packet from an address of `group` is believed when it comes in on an adapter.
    #[inline(always)]
    pub(crate) fn believes(
        &self,
        region: &impl Load,
        base: usize,
        group: u16,
        adapter: u16,
    ) -> bool {
        let group = usize::from(group) & (self.groups - 1);
        let word = usize::from(adapter / 32) % (SOURCES_BYTES / 4);
        let bits = region.u32_at(base + self.sources + group * SOURCES_BYTES + word * 4);
        bits >> (adapter % 32) & 1 == 1
    }
}

#[cfg(any(test, feature = "writer"))]
use crate::Store;

#[cfg(any(test, feature = "writer"))]
impl Groups {
    /// Says which next hops a group has.
    ///
    /// # Panics
    /// If `group` is not one of the caller's, the number of buckets is not a power of two up to [`BUCKETS`],
    /// or a next hop is not under the number of them.
    pub(crate) fn set(&self, region: &impl Store, base: usize, group: u16, buckets: &[u16]) {
        let index = usize::from(group);
        let valid = group >= crate::layout::FIRST_GROUP && index < self.groups;
        assert!(valid, "group {group} is not the caller's");
        assert!(
            buckets.len().is_power_of_two() && buckets.len() <= BUCKETS,
            "a group has 1, 2, 4, ... or {BUCKETS} buckets, not {}",
            buckets.len()
        );
        let known = |hop: &u16| usize::from(*hop) < self.next_hops;
        assert!(buckets.iter().all(known), "a next hop that is none");
        for (i, hop) in buckets.iter().enumerate() {
            region.set_u16(base + self.bucket + (index * BUCKETS + i) * 2, *hop);
        }
        let mask = u16::try_from(buckets.len() - 1).expect("64 buckets at most, checked above");
        let word = u32::from(mask) | (u32::from(buckets[0]) << 16);
        region.set_u32(base + self.group + index * 4, word);
    }

    /// Says from which adapters packets are believed that come from addresses of a group: a bit for each.
    ///
    /// # Panics
    /// If `group` is not one of the caller's.
    pub(crate) fn set_sources(&self, region: &impl Store, base: usize, group: u16, adapters: u64) {
        let index = usize::from(group);
        let valid = group >= crate::layout::FIRST_GROUP && index < self.groups;
        assert!(valid, "group {group} is not the caller's");
        let at = base + self.sources + index * SOURCES_BYTES;
        let [a, b, c, d, e, f, g, h] = adapters.to_le_bytes();
        region.set_u32(at, u32::from_le_bytes([a, b, c, d]));
        region.set_u32(at + 4, u32::from_le_bytes([e, f, g, h]));
    }

    /// Writes a next hop.
    ///
    /// # Panics
    /// If `index` is [`NO_HOP`] or not under the number of them.
    pub(crate) fn set_next_hop(&self, region: &impl Store, base: usize, index: u16, hop: &NextHop) {
        let valid = index != NO_HOP && usize::from(index) < self.next_hops;
        assert!(valid, "next hop {index} is not the caller's");
        hop.store(region, base + self.next_hop + usize::from(index) * NEXT_HOP_BYTES);
    }
}
