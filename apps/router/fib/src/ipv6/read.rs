//! The lookup: address to group.

use crate::Load;
use crate::layout::{
    HOST, HOST_BUCKETS, HOST_BYTES, HOSTS_EACH, HOSTS_FLAG, IPV6_LEAVES, IPV6_NODES, LEAF,
    NO_ROUTE_GROUP, NODE, NODE_BYTES, NODE_FLAG, ROOT, ROOT_BITS, STRIDE_BITS, TAKEN_FLAG,
};

/// Where the fields of a node are.
pub(super) const BELOW: usize = 0;
pub(super) const RUNS: usize = 8;
pub(super) const FIRST_NODE: usize = 16;
pub(super) const FIRST_LEAF: usize = 20;
/// Where the fields of a single address are.
pub(super) const HIGH: usize = 0;
pub(super) const LOW: usize = 8;
pub(super) const GROUP: usize = 16;

/// Nodes on a way down that the address's first 64 bits lead through, and those behind them.
const HIGH_STEPS: u8 = (64 - ROOT_BITS) / STRIDE_BITS;
const HIGH_BITS: u8 = ROOT_BITS + HIGH_STEPS * STRIDE_BITS;
pub(super) const STEPS: u8 = HIGH_STEPS + (128 - HIGH_BITS).div_ceil(STRIDE_BITS);

/// The group of the longest prefix that covers `address`, in the half that starts at `base`.
#[inline(always)]
pub(crate) fn lookup(region: &impl Load, base: usize, address: &[u8; 16]) -> u16 {
    let (high, low) = words(address);
    let entry = region.u32_at(base + ROOT + root_of(high) * 4);
    if entry & HOSTS_FLAG != 0
        && let Some(group) = host(region, base, high, low)
    {
        return group;
    }
    if entry & NODE_FLAG == 0 {
        return (entry & 0xffff) as u16;
    }
    let mut at = entry as usize;
    let mut rest = high.swap_bytes() << ROOT_BITS;
    for _ in 0..HIGH_STEPS {
        let node = node_at(base, at);
        let slot = (rest >> 58) as u32;
        match below(region, node, slot) {
            Some(next) => at = next,
            None => return leaf(region, base, node, slot),
        }
        rest <<= STRIDE_BITS;
    }
    deep(region, base, at, address)
}

/// The way down from where the first bits have led: what is longer than /60 and no single address.
#[cold]
fn deep(region: &impl Load, base: usize, mut at: usize, address: &[u8; 16]) -> u16 {
    let mut rest = u128::from_be_bytes(*address) << HIGH_BITS;
    for _ in HIGH_STEPS..STEPS {
        let node = node_at(base, at);
        let slot = (rest >> 122) as u32;
        match below(region, node, slot) {
            Some(next) => at = next,
            None => return leaf(region, base, node, slot),
        }
        rest <<= STRIDE_BITS;
    }
    // A trie has no nodes that far down: the table is damaged.
    NO_ROUTE_GROUP
}

/// The number of the node below a slot, if there is one.
#[inline(always)]
fn below(region: &impl Load, node: usize, slot: u32) -> Option<usize> {
    let nodes = region.u64_at(node + BELOW);
    let bit = 1 << slot;
    if nodes & bit == 0 {
        return None;
    }
    let before = (nodes & (bit - 1)).count_ones();
    Some(region.u32_at(node + FIRST_NODE).wrapping_add(before) as usize)
}

/// The group of a slot without a node: that of the last run that starts at it or before it.
#[inline(always)]
fn leaf(region: &impl Load, base: usize, node: usize, slot: u32) -> u16 {
    let runs = (region.u64_at(node + RUNS) & u64::MAX >> (63 - slot)).count_ones();
    let leaf = region.u32_at(node + FIRST_LEAF).wrapping_add(runs).wrapping_sub(1);
    region.u16_at(leaf_at(base, leaf as usize))
}

/// The group of a single address.
#[inline(always)]
fn host(region: &impl Load, base: usize, high: u64, low: u64) -> Option<u16> {
    let mut at = bucket_at(base, high, low);
    for _ in 0..HOSTS_EACH {
        let word = region.u32_at(at + GROUP);
        // The places that are taken stand before those that are not.
        if word & TAKEN_FLAG == 0 {
            return None;
        }
        if region.u64_at(at + LOW) == low && region.u64_at(at + HIGH) == high {
            return Some((word & 0xffff) as u16);
        }
        at += HOST_BYTES;
    }
    None
}

/// Where the bucket of an address starts, of whose two words the bytes stand as on the wire.
#[inline(always)]
pub(super) fn bucket_at(base: usize, high: u64, low: u64) -> usize {
    let mixed = (high ^ low.rotate_left(23)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let bucket = (mixed >> 40) as usize & (HOST_BUCKETS - 1);
    base + HOST + bucket * HOSTS_EACH * HOST_BYTES
}

/// The first 18 bits of an address, of its first word.
#[inline(always)]
pub(super) fn root_of(high: u64) -> usize {
    // Its first three bytes.
    let start = (high & 0xffff_ffff) as usize;
    (start & 0xff) << 10 | (start >> 8 & 0xff) << 2 | (start >> 22 & 3)
}

/// Where a node is; a damaged table leads to some node of this half, not to memory beside it: here and below.
#[inline(always)]
pub(super) fn node_at(base: usize, node: usize) -> usize {
    base + NODE + (node & (IPV6_NODES - 1)) * NODE_BYTES
}

#[inline(always)]
pub(super) fn leaf_at(base: usize, leaf: usize) -> usize {
    base + LEAF + (leaf & (IPV6_LEAVES - 1)) * 2
}

/// The two words of an address, in which the bytes stand as on the wire.
#[inline(always)]
pub(super) fn words(address: &[u8; 16]) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *address;
    (u64::from_le_bytes([a, b, c, d, e, f, g, h]), u64::from_le_bytes([i, j, k, l, m, n, o, p]))
}

const _: () = assert!(ROOT_BITS == 18, "root_of takes 18");
const _: () = assert!(STEPS == 19);
