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
//!
//! That is as many `tbl8` as an entry of `dir24` can name; of a region only what was written takes memory.
//!
//! Two halves, and then the USED area that both share: one byte for each next hop. The extension sets
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

/// Bytes of a half, in whole pages so that the halves share none.
pub const HALF_BYTES: usize = (SOURCES + GROUPS * SOURCES_BYTES).next_multiple_of(4096);
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
const _: () = assert!(NEXT_HOP.is_multiple_of(4) && HALF_BYTES.is_multiple_of(4));
