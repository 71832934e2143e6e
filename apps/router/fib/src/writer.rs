//! Writing a half that nobody reads.

use alloc::vec::Vec;
use core::fmt;

use crate::layout::{
    DIR, DIR_ENTRIES, GROUPS, HOST, HOST_BUCKETS, HOST_BYTES, HOSTS_EACH, KERNEL_GROUP, PLACES,
    ROOT, ROOT_ENTRIES, TBL8, TBL8_ENTRIES, TBL8_FLAG, TBL8S,
};
use crate::next_hop::NextHop;
use crate::reader::base;
use crate::{Store, ipv6};

/// No tbl8 was free for a prefix longer than 24 bits.
///
/// Nothing is misdelivered: all 256 addresses around it belong to
/// [`KERNEL_GROUP`](crate::layout::KERNEL_GROUP) now, until they are painted again. Once tbl8s are free,
/// paint what covers these addresses again, shortest prefix first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// The 24-bit prefix (host order, low byte zero) that the kernel has now.
    pub prefix: u32,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, _] = self.prefix.to_be_bytes();
        write!(
            f,
            "no room for routes longer than /24 (all {TBL8S} tables in use): {a}.{b}.{c}.0/24 is left \
             to the kernel"
        )
    }
}

impl core::error::Error for Exhausted {}

/// Writes one half of the table. Its order of operations decides: the same calls on the other half give
/// the same table.
#[derive(Debug)]
pub struct Writer<Region: Store> {
    region: Region,
    base: usize,
    free: Vec<u16>,
    ipv6: ipv6::Trie,
}

impl<Region: Store> Writer<Region> {
    /// A writer for the half with the number `which` (0 or 1), which must be all zeroes: a new region.
    /// For one that is not, [`clear`](Self::clear) it first.
    pub fn new(region: Region, which: u32) -> Self {
        Self { region, base: base(which), free: all_tbl8s(), ipv6: ipv6::Trie::new() }
    }

    /// Takes away all routes, by writing all of the 32 MiB and IPv6's. Groups and next hops stay.
    pub fn clear(&mut self) {
        for entry in (0..DIR_ENTRIES).step_by(2) {
            self.region.set_u32(self.dir(entry), 0);
        }
        self.free = all_tbl8s();
        let roots = self.base + ROOT..self.base + ROOT + ROOT_ENTRIES * 4;
        let hosts = self.base + HOST..self.base + HOST + HOST_BUCKETS * HOSTS_EACH * HOST_BYTES;
        for word in roots.chain(hosts).step_by(4) {
            self.region.set_u32(word, 0);
        }
        self.ipv6 = ipv6::Trie::new();
    }

    /// Gives every address of `prefix`/`length` (host order; bits beyond the length are ignored) to
    /// `group`, whatever it had before.
    ///
    /// After painting a prefix, the caller paints the longer ones inside it again, shorter before
    /// longer. To delete a route, paint it with the group of its cover
    /// ([`NO_ROUTE_GROUP`](crate::layout::NO_ROUTE_GROUP) without one) and do the same.
    ///
    /// # Errors
    /// [`Exhausted`]: `length` is over 24 and no tbl8 is free. It says what happened instead.
    ///
    /// # Panics
    /// If `length` is over 32 or `group` not under [`GROUPS`]: the caller's own numbers.
    pub fn paint(&mut self, prefix: u32, length: u8, group: u16) -> Result<(), Exhausted> {
        assert!(length <= 32, "a prefix has at most 32 bits, not {length}");
        assert!(usize::from(group) < GROUPS, "there are {GROUPS} groups, not {group}");
        let start = prefix & mask(length);
        if length <= 24 {
            self.paint_dir((start >> 8) as usize, 1 << (24 - length), group);
            Ok(())
        } else {
            self.paint_tbl8(start, 1 << (32 - length), group)
        }
    }

    /// The same for an IPv6 prefix.
    ///
    /// # Errors
    /// [`ipv6::Exhausted`]: `length` is over 18 and no more nodes are free. It says what happened instead.
    ///
    /// # Panics
    /// If `length` is over 128 or `group` not under [`GROUPS`]: the caller's own numbers.
    pub fn paint_ipv6(
        &mut self,
        prefix: u128,
        length: u8,
        group: u16,
    ) -> Result<(), ipv6::Exhausted> {
        assert!(length <= 128, "a prefix has at most 128 bits, not {length}");
        assert!(usize::from(group) < GROUPS, "there are {GROUPS} groups, not {group}");
        self.ipv6.paint(&self.region, self.base, prefix, length, group)
    }

    /// How many of [`IPV6_NODES`](crate::layout::IPV6_NODES) and of
    /// [`IPV6_LEAVES`](crate::layout::IPV6_LEAVES) are taken.
    pub fn ipv6_taken(&self) -> (u32, u32) {
        self.ipv6.taken()
    }

    /// Says which next hops a group has: 1, 2, 4, ... or 64 buckets; a flow goes to one of them. Weights
    /// are given by naming a next hop several times.
    ///
    /// # Panics
    /// If `group` is not one of the caller's (from [`FIRST_GROUP`](crate::layout::FIRST_GROUP) on, under
    /// [`GROUPS`]), the number of buckets is not a power of two up to 64, or a next hop is not under
    /// [`NEXT_HOPS`](crate::layout::NEXT_HOPS).
    pub fn set_group(&mut self, group: u16, buckets: &[u16]) {
        PLACES.set(&self.region, self.base, group, buckets);
    }

    /// Says from which adapters packets are believed that come from addresses of a group: a bit for each. The
    /// reader asks only where it is told to check sources.
    ///
    /// # Panics
    /// If `group` is not one of the caller's.
    pub fn set_sources(&mut self, group: u16, adapters: u64) {
        PLACES.set_sources(&self.region, self.base, group, adapters);
    }

    /// Writes a next hop.
    ///
    /// # Panics
    /// If `index` is [`NO_HOP`](crate::layout::NO_HOP) or not under
    /// [`NEXT_HOPS`](crate::layout::NEXT_HOPS).
    pub fn set_next_hop(&mut self, index: u16, hop: &NextHop) {
        PLACES.set_next_hop(&self.region, self.base, index, hop);
    }

    /// How many tbl8s are free: room for more 24-bit prefixes with longer ones inside.
    pub fn free_tbl8s(&self) -> usize {
        self.free.len()
    }

    fn paint_dir(&mut self, first: usize, count: usize, group: u16) {
        if self.free.len() < TBL8S {
            for entry in first..first + count {
                let old = self.region.u16_at(self.dir(entry));
                if old & TBL8_FLAG != 0 {
                    self.free.push(old & !TBL8_FLAG);
                }
            }
        }
        if count == 1 {
            self.region.set_u16(self.dir(first), group);
        } else {
            let pair = u32::from(group) | (u32::from(group) << 16);
            for entry in (first..first + count).step_by(2) {
                self.region.set_u32(self.dir(entry), pair);
            }
        }
    }

    fn paint_tbl8(&mut self, start: u32, count: usize, group: u16) -> Result<(), Exhausted> {
        let entry = self.dir((start >> 8) as usize);
        let old = self.region.u16_at(entry);
        let tbl8 = if old & TBL8_FLAG != 0 {
            old & !TBL8_FLAG
        } else if old == group {
            return Ok(());
        } else {
            let Some(tbl8) = self.free.pop() else {
                self.region.set_u16(entry, KERNEL_GROUP);
                return Err(Exhausted { prefix: start & mask(24) });
            };
            self.fill(tbl8, 0, TBL8_ENTRIES, old);
            self.region.set_u16(entry, tbl8 | TBL8_FLAG);
            tbl8
        };
        self.fill(tbl8, (start & 0xff) as usize, count, group);
        if self.is_uniform(tbl8, group) {
            self.region.set_u16(entry, group);
            self.free.push(tbl8);
        }
        Ok(())
    }

    fn fill(&self, tbl8: u16, first: usize, count: usize, group: u16) {
        for i in first..first + count {
            self.region.set_u16(self.tbl8(tbl8, i), group);
        }
    }

    /// Whether a tbl8 says nothing that its entry in `dir24` could not say: its last long route is gone.
    fn is_uniform(&self, tbl8: u16, group: u16) -> bool {
        (0..TBL8_ENTRIES).all(|i| self.region.u16_at(self.tbl8(tbl8, i)) == group)
    }

    fn dir(&self, entry: usize) -> usize {
        self.base + DIR + entry * 2
    }

    fn tbl8(&self, tbl8: u16, i: usize) -> usize {
        self.base + TBL8 + (usize::from(tbl8) * TBL8_ENTRIES + i) * 2
    }
}

fn all_tbl8s() -> Vec<u16> {
    (0..u16::MAX).take(TBL8S).rev().collect()
}

/// The network mask of a prefix length.
fn mask(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
