//! The paper's own table: an LC-trie, 1000 routes in under 20 KB (SPINE 5; Nilsson and Karlsson 1998).
//!
//! For memories in which DIR-24-8 does not fit. Level compression gives a node as many children as keeps
//! at least half of them in use; path compression skips the bits that all routes below share. A lookup
//! follows a few nodes to one route, compares it, and if the skipped bits were wrong goes to the routes
//! that are its prefixes. Addresses lead to groups, and these to next hops, as in DIR-24-8.
//!
//! | bytes of a half | what | entry |
//! |---|---|---|
//! | 4 | zero | |
//! | 4 | where the routes start, from the half's start | u32 |
//! | 4 | where the prefixes start, from the half's start | u32 |
//! | 4 | zero | |
//! | 8 KiB | 256 next hops | 32 bytes, see [`NextHop`] |
//! | 1 KiB | 256 groups | u16 mask (buckets - 1), u16 next hop if there is one bucket |
//! | 32 KiB | 64 buckets of each group | u16: a next hop |
//! | 2 KiB | 256 groups | a bit for each adapter from which a source of the group is believed |
//! | 85 KiB | nodes | u32: children (log2, 5 bits), bits skipped (7), first child or route (20) |
//! | then | routes without longer ones inside | u32 address, then a u32 as a prefix's |
//! | then | prefixes: routes with longer ones inside | u32: length (6 bits), group (10), its own prefix (16) |
//!
//! Two halves and a USED area, as in DIR-24-8; four pages of WebAssembly memory in all, a quarter of the card's.
//! That is room for some 4,000 routes. A change builds the trie anew. A region of zeroes has no routes. The reader trusts nothing it reads: it takes a bounded
//! number of steps, and a damaged table gives wrong answers.

#[cfg(any(test, feature = "writer"))]
mod build;

#[cfg(any(test, feature = "writer"))]
pub use build::{Route, TooLarge, Trie};

use crate::groups::Groups;
use crate::layout::{BUCKETS, HALVES, NEXT_HOP_BYTES, NO_ROUTE_GROUP, SOURCES_BYTES};
use crate::next_hop::NextHop;
use crate::{Load, Store, Used};
use spine_abi::limits::PAGE_BYTES;

/// Next hops of a half.
pub const NEXT_HOPS: usize = 256;
/// Groups of a half.
pub const GROUPS: usize = 256;
/// Bytes of the region.
pub const REGION_BYTES: usize = 4 * PAGE_BYTES;
/// Bytes of a half.
pub const HALF_BYTES: usize = (REGION_BYTES - NEXT_HOPS) / HALVES;
/// Where the USED area starts.
pub const USED: usize = HALVES * HALF_BYTES;

const ROUTES_AT: usize = 4;
const PREFIXES_AT: usize = 8;
const NEXT_HOP: usize = 16;
const GROUP: usize = NEXT_HOP + NEXT_HOPS * NEXT_HOP_BYTES;
const BUCKET: usize = GROUP + GROUPS * 4;
const SOURCES: usize = BUCKET + GROUPS * BUCKETS * 2;
const NODES: usize = SOURCES + GROUPS * SOURCES_BYTES;
/// From a group to a next hop.
const PLACES: Groups = Groups {
    groups: GROUPS,
    next_hops: NEXT_HOPS,
    group: GROUP,
    bucket: BUCKET,
    next_hop: NEXT_HOP,
    sources: SOURCES,
};
/// An offset in a half is at most this: the bits of one, and a multiple of four.
const OFFSET: u32 = 0x1_fffc;
/// The prefix of a route that has none.
const NO_PREFIX: u32 = 0xffff;
/// A chain of prefixes is at most this long: each is shorter than the one before.
const LENGTHS: usize = 33;

const _: () = assert!(USED + NEXT_HOPS <= REGION_BYTES);
const _: () = assert!(HALF_BYTES.is_multiple_of(4) && HALF_BYTES <= OFFSET as usize + 4);
// A group stands in ten bits of an entry.
const _: () = assert!(GROUPS <= 1 << 10);

/// One half of the table, to be read.
#[derive(Debug, Clone, Copy)]
pub struct Half<'a, Region: Load> {
    region: &'a Region,
    base: usize,
}

impl<'a, Region: Load> Half<'a, Region> {
    /// The half with the number `which`: 0 or 1; of anything else, its lowest bit counts.
    #[inline(always)]
    pub fn new(region: &'a Region, which: u32) -> Self {
        Self { region, base: base(which) }
    }

    /// The group of the longest prefix that covers `address` (in host order);
    /// [`NO_ROUTE_GROUP`] if none does.
    #[inline(always)]
    pub fn lookup(&self, address: u32) -> u16 {
        let mut node = self.region.u32_at(self.base + NODES);
        let mut position = skip(node);
        while branch(node) != 0 && position + branch(node) <= 32 {
            let child = child(node) + bits(address, position, branch(node));
            position += branch(node);
            node = self.region.u32_at(self.base + NODES + child as usize * 4);
            position += skip(node);
        }
        self.compare(address, child(node))
    }

    /// The group of an IPv6 address: none has a route here, the paper's card knows IPv4.
    #[inline(always)]
    pub fn lookup_ipv6(&self, _address: &[u8; 16]) -> u16 {
        NO_ROUTE_GROUP
    }

    /// The group of a route, or of the longest of its prefixes that covers the address.
    #[inline(always)]
    fn compare(&self, address: u32, route: u32) -> u16 {
        let at = self.base + self.offset(ROUTES_AT) + route as usize * 8;
        let difference = self.region.u32_at(at) ^ address;
        let mut entry = self.region.u32_at(at + 4);
        for _ in 0..LENGTHS {
            if bits(difference, 0, length(entry)) == 0 {
                return group(entry);
            }
            if prefix(entry) == NO_PREFIX {
                break;
            }
            let at = self.base + self.offset(PREFIXES_AT) + prefix(entry) as usize * 4;
            entry = self.region.u32_at(at);
        }
        NO_ROUTE_GROUP
    }

    /// Where something starts. A damaged word leads to some place of this half, or beyond the region.
    #[inline(always)]
    fn offset(&self, at: usize) -> usize {
        (self.region.u32_at(self.base + at) & OFFSET) as usize
    }

    /// The next hop of `group` for a flow, and its index (for [`Used`]). The flow's hash is asked for
    /// only where the group has several.
    #[inline(always)]
    pub fn next_hop(&self, group: u16, flow_hash: impl FnOnce() -> u32) -> (u16, NextHop) {
        PLACES.next_hop(self.region, self.base, group, flow_hash)
    }

    /// Whether a packet is believed that comes in on an adapter from an address of `group`, as far as the way back
    /// to that address goes. Of an address that has none nothing is.
    #[inline(always)]
    pub fn believes(&self, group: u16, adapter: u16) -> bool {
        PLACES.believes(self.region, self.base, group, adapter)
    }
}

/// Which next hops are in use, as all adapters say it.
#[inline(always)]
pub fn used<Region: Store>(region: &Region) -> Used<'_, Region> {
    Used::at(region, USED)
}

/// Where a half starts.
#[inline(always)]
const fn base(which: u32) -> usize {
    (which as usize & (HALVES - 1)) * HALF_BYTES
}

/// `count` bits of `word` from `position` on, the most significant bit being number 0.
#[inline(always)]
const fn bits(word: u32, position: u32, count: u32) -> u32 {
    if count == 0 || position >= 32 {
        0
    } else {
        word << position >> (32_u32.wrapping_sub(count) & 31)
    }
}

#[inline(always)]
const fn branch(node: u32) -> u32 {
    node >> 27
}

#[inline(always)]
const fn skip(node: u32) -> u32 {
    node >> 20 & 0x7f
}

#[inline(always)]
const fn child(node: u32) -> u32 {
    node & 0xf_ffff
}

#[inline(always)]
const fn length(entry: u32) -> u32 {
    entry >> 26
}

#[inline(always)]
const fn group(entry: u32) -> u16 {
    (entry >> 16 & 0x3ff) as u16
}

#[inline(always)]
const fn prefix(entry: u32) -> u32 {
    entry & 0xffff
}

#[cfg(test)]
mod tests;
