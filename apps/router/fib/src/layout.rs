//! Where everything stands in the region.
//!
//! | bytes of a half | what | entry |
//! |---|---|---|
//! | 32 MiB | `dir24`, by the address's first 24 bits | u16: bit 15 clear: a group; set: a tbl8 |
//! | 16 MiB | 32768 `tbl8` of 256, by the address's last 8 bits | u16: a group |
//! | 16 KiB | 4096 groups | u16 mask (buckets - 1), u16 next hop if there is one bucket |
//! | 512 KiB | 64 buckets of each group | u16: a next hop |
//! | 128 KiB | 4096 next hops | 32 bytes, see [`NextHop`](crate::NextHop) |
//! | 32 KiB | 4096 groups | two u32, low one first: a bit for each adapter from which a source of the group is believed |
//! | 1 MiB | IPv6: `root`, by the address's first 18 bits | u32: bit 31 clear: a group; set: a node; bit 30: some of its single addresses are in `hosts` |
//! | 12 MiB | IPv6: 512 Ki nodes, by six bits more each | u64 which slots have a node below, u64 where runs of equal groups start, u32 first node below, u32 first group |
//! | 4 MiB | IPv6: 2 Mi groups of nodes | u16: a group |
//! | 768 KiB | IPv6: `hosts`, 8192 buckets of 4 single addresses | 16 bytes of address as on the wire, u32: bit 31 set: taken, and a group; u32 zero |
//!
//! That is as many `tbl8` as an entry of `dir24` can name; of a region only what was written takes memory.
//!
//! Groups and next hops are both families'. Two halves, and then the USED area that both share: one byte for each next hop. The extension sets
//! it to 1 when it sends by that next hop, the host clears it: so it knows which neighbours are in use.

use spine_abi::limits;

use crate::groups::Groups;

/// Next-hop groups of a half.
pub const GROUPS: usize = 4096;
/// Buckets of a group, at most.
pub const BUCKETS: usize = 64;
/// Next hops of a half.
pub const NEXT_HOPS: usize = 4096;
/// Arrays for prefixes longer than 24 bits.
pub const TBL8S: usize = 1 << 15;
/// Nodes of the IPv6 trie: a table of 230,000 routes takes some 330,000, see the tests of `ipv6`.
pub const IPV6_NODES: usize = 1 << 19;
/// Groups that these nodes have in all.
pub const IPV6_LEAVES: usize = 1 << 21;
/// Halves: one that is read, one that is written.
pub const HALVES: usize = 2;

/// The group of addresses without a route. Its next hop is [`NO_HOP`], and stays so.
pub const NO_ROUTE_GROUP: u16 = 0;
/// The group of addresses that have a route but no room for it: the kernel's. Its next hop is [`NO_HOP`].
pub const KERNEL_GROUP: u16 = 1;
/// The first group that is the caller's to use.
pub const FIRST_GROUP: u16 = 2;
/// The next hop of zeroes, which reads as "kernel, no route", and stays so.
pub const NO_HOP: u16 = 0;

pub(crate) const DIR_ENTRIES: usize = 1 << 24;
pub(crate) const TBL8_ENTRIES: usize = 256;
/// Set in an entry of `dir24` that names a tbl8.
pub(crate) const TBL8_FLAG: u16 = 1 << 15;
pub(crate) const NEXT_HOP_BYTES: usize = 32;
/// A bit for each adapter.
pub(crate) const SOURCES_BYTES: usize = limits::ADAPTERS.div_ceil(8).next_multiple_of(8);

pub(crate) const DIR: usize = 0;
pub(crate) const TBL8: usize = DIR + DIR_ENTRIES * 2;
pub(crate) const GROUP: usize = TBL8 + TBL8S * TBL8_ENTRIES * 2;
pub(crate) const BUCKET: usize = GROUP + GROUPS * 4;
pub(crate) const NEXT_HOP: usize = BUCKET + GROUPS * BUCKETS * 2;
pub(crate) const SOURCES: usize = NEXT_HOP + NEXT_HOPS * NEXT_HOP_BYTES;

/// From a group to a next hop.
pub(crate) const PLACES: Groups = Groups {
    groups: GROUPS,
    next_hops: NEXT_HOPS,
    group: GROUP,
    bucket: BUCKET,
    next_hop: NEXT_HOP,
    sources: SOURCES,
};

/// Bits of an IPv6 address by which `root` is indexed, and by which each node is.
pub(crate) const ROOT_BITS: u8 = 18;
pub(crate) const STRIDE_BITS: u8 = 6;
pub(crate) const ROOT_ENTRIES: usize = 1 << ROOT_BITS;
/// Set in an entry of `root` that names a node.
pub(crate) const NODE_FLAG: u32 = 1 << 31;
/// Set in an entry of `root` some of whose addresses are in `hosts`.
pub(crate) const HOSTS_FLAG: u32 = 1 << 30;
pub(crate) const NODE_BYTES: usize = 24;
pub(crate) const HOST_BUCKETS: usize = 1 << 13;
pub(crate) const HOSTS_EACH: usize = 4;
pub(crate) const HOST_BYTES: usize = 24;
/// Set in the last word but one of a place in `hosts` that is taken.
pub(crate) const TAKEN_FLAG: u32 = 1 << 31;

pub(crate) const ROOT: usize = SOURCES + GROUPS * SOURCES_BYTES;
pub(crate) const NODE: usize = ROOT + ROOT_ENTRIES * 4;
pub(crate) const LEAF: usize = NODE + IPV6_NODES * NODE_BYTES;
pub(crate) const HOST: usize = LEAF + IPV6_LEAVES * 2;

/// Bytes of a half, in whole pages so that the halves share none.
pub const HALF_BYTES: usize =
    (HOST + HOST_BUCKETS * HOSTS_EACH * HOST_BYTES).next_multiple_of(4096);
/// Where the USED area starts.
pub const USED: usize = HALVES * HALF_BYTES;
/// Bytes of the region: a whole number of WebAssembly pages.
pub const REGION_BYTES: usize = (USED + NEXT_HOPS).next_multiple_of(limits::PAGE_BYTES);

const _: () = assert!(REGION_BYTES <= limits::REGION_BYTES);
const _: () = assert!(TBL8S <= TBL8_FLAG as usize);
const _: () = assert!(GROUPS <= TBL8_FLAG as usize);
const _: () = assert!(GROUPS.is_power_of_two() && NEXT_HOPS.is_power_of_two());
const _: () = assert!(TBL8S.is_power_of_two());
const _: () = assert!(BUCKETS.is_power_of_two() && NEXT_HOPS <= u16::MAX as usize);
const _: () = assert!(SOURCES_BYTES == 8, "two words");
const _: () = assert!(NEXT_HOP.is_multiple_of(4) && HALF_BYTES.is_multiple_of(8));
const _: () = assert!(NODE.is_multiple_of(8) && LEAF.is_multiple_of(8) && HOST.is_multiple_of(8));
const _: () = assert!(IPV6_NODES.is_power_of_two() && IPV6_LEAVES.is_power_of_two());
const _: () = assert!(IPV6_NODES < HOSTS_FLAG as usize && HOST_BUCKETS.is_power_of_two());
