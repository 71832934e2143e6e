//! The lookup: address to group to next hop.

use crate::layout::{DIR, HALF_BYTES, HALVES, PLACES, TBL8, TBL8_ENTRIES, TBL8_FLAG, TBL8S, USED};
use crate::next_hop::NextHop;
use crate::{Load, Store, Used, ipv6};

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
    /// [`NO_ROUTE_GROUP`](crate::layout::NO_ROUTE_GROUP) if none does.
    #[inline(always)]
    pub fn lookup(&self, address: u32) -> u16 {
        let entry = self.region.u16_at(self.base + DIR + (address >> 8) as usize * 2);
        if entry & TBL8_FLAG == 0 {
            return entry;
        }
        // A damaged table leads to some entry of this half, not to memory beside it: here and below.
        let tbl8 = (usize::from(entry) & (TBL8S - 1)) * TBL8_ENTRIES;
        self.region.u16_at(self.base + TBL8 + (tbl8 + (address & 0xff) as usize) * 2)
    }

    /// The same for an IPv6 address, as it stands in a packet.
    #[inline(always)]
    pub fn lookup_ipv6(&self, address: &[u8; 16]) -> u16 {
        ipv6::lookup(self.region, self.base, address)
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

/// Where a half starts.
#[inline(always)]
pub(crate) const fn base(which: u32) -> usize {
    (which as usize & (HALVES - 1)) * HALF_BYTES
}

/// Which next hops are in use, as all adapters say it.
#[inline(always)]
pub fn used<Region: Store>(region: &Region) -> Used<'_, Region> {
    Used::at(region, USED)
}

/// A number that is the same for all packets of a flow and spreads flows evenly over any of its low
/// bits. `ports` is both ports as they stand in the packet, or zero where there are none (fragments).
#[inline]
pub fn flow_hash(source: u32, destination: u32, protocol: u8, ports: u32) -> u32 {
    // Multiplying carries each bit upwards only; folding brings the high half back down. Three rounds
    // until the low bits depend evenly on all of the input (the test below says how evenly).
    let pair = (u64::from(source) << 32) | u64::from(destination);
    let rest = (u64::from(ports) << 8) | u64::from(protocol);
    let folded = fold(pair, 0xd6e8_feb8_6659_fd93);
    let folded = fold(folded ^ rest, 0xff51_afd7_ed55_8ccd);
    (fold(folded, 0xc4ce_b9fe_1a85_ec53) & 0xffff_ffff) as u32
}

/// The same for IPv6. A sender that labels its flows says by `label` which is which (RFC 6437), of all packets
/// and of each of their fragments alike; for one that does not (zero), protocol and ports count.
#[inline]
pub fn flow_hash_ipv6(
    source: &[u8; 16],
    destination: &[u8; 16],
    label: u32,
    protocol: u8,
    ports: u32,
) -> u32 {
    let rest = match label {
        0 => (u64::from(ports) << 8) | u64::from(protocol),
        label => u64::from(label) | 1 << 63,
    };
    let mut folded = 0;
    for address in [source, destination] {
        for word in address.as_chunks::<8>().0 {
            folded = fold(folded ^ u64::from_le_bytes(*word), 0xd6e8_feb8_6659_fd93);
        }
    }
    let folded = fold(folded ^ rest, 0xff51_afd7_ed55_8ccd);
    (fold(folded, 0xc4ce_b9fe_1a85_ec53) & 0xffff_ffff) as u32
}

#[inline(always)]
const fn fold(value: u64, factor: u64) -> u64 {
    let product = value.wrapping_mul(factor);
    product ^ (product >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{BUCKETS, NEXT_HOPS};
    use crate::memory::Memory;
    use proptest::prelude::*;

    #[test]
    fn an_empty_region_has_no_route_anywhere() {
        let region = Memory::new();
        for which in [0, 1] {
            let half = Half::new(&region, which);
            for address in [0, 1, 0x0a00_0001, 0x7fff_ffff, 0xffff_ff00, u32::MAX] {
                assert_eq!(half.lookup(address), 0);
                assert_eq!(half.next_hop(0, || 0), (0, NextHop::NO_ROUTE));
            }
        }
    }

    #[test]
    fn use_is_marked_once_and_taken_once() {
        let region = Memory::new();
        let used = used(&region);
        used.mark(4095);
        used.mark(4095);
        assert!(used.take(4095));
        assert!(!used.take(4095));
        assert!(!used.take(0));
    }

    #[test]
    fn flows_spread_evenly_over_any_number_of_buckets() {
        // One bit of difference between flows, and a realistic lot: ports counting up.
        for bits in 1..=6 {
            let buckets = 1 << bits;
            let mut seen = [0u32; BUCKETS];
            for port in 0..6400u32 {
                let hash = flow_hash(0x0a00_0001, 0x0a01_0001, 6, (40_000 + port) << 16 | 80);
                seen[hash as usize & (buckets - 1)] += 1;
            }
            let fair = 6400 >> bits;
            for (bucket, count) in seen[..buckets].iter().enumerate() {
                assert!(
                    count.abs_diff(fair) < fair / 2,
                    "bucket {bucket} of {buckets}: {count} of {fair}"
                );
            }
        }
    }

    #[test]
    fn ipv6_flows_spread_by_label_or_else_by_ports() {
        let (from, to) = ([0x20; 16], [0x2a; 16]);
        let labelled = |label| flow_hash_ipv6(&from, &to, label, 6, 80);
        let unlabelled = |port: u32| flow_hash_ipv6(&from, &to, 0, 6, (40_000 + port) << 16 | 80);
        let neighbour = |host: u32| {
            let mut from = from;
            from[12..].copy_from_slice(&host.to_be_bytes());
            flow_hash_ipv6(&from, &to, 0, 58, 0)
        };
        for hash in [&labelled as &dyn Fn(u32) -> u32, &unlabelled, &neighbour] {
            for bits in 1..=6 {
                let mut seen = [0_u32; BUCKETS];
                for flow in 1..=6400 {
                    seen[hash(flow) as usize & ((1 << bits) - 1)] += 1;
                }
                let fair = 6400 >> bits;
                assert!(seen[..1 << bits].iter().all(|count| count.abs_diff(fair) < fair / 2));
            }
        }
        // A label alone says which flow: its fragments have no ports.
        assert_eq!(labelled(5), flow_hash_ipv6(&from, &to, 5, 44, 0));
        assert_ne!(labelled(5), flow_hash_ipv6(&to, &from, 5, 6, 80), "directions differ");
        assert_ne!(unlabelled(1), flow_hash_ipv6(&from, &to, 0, 17, 40_001 << 16 | 80));
    }

    #[test]
    fn every_input_matters_to_the_hash() {
        let plain = flow_hash(1, 2, 6, 3);
        assert_eq!(flow_hash(1, 2, 6, 3), plain);
        assert_ne!(flow_hash(2, 1, 6, 3), plain, "directions differ");
        assert_ne!(flow_hash(1, 2, 17, 3), plain);
        assert_ne!(flow_hash(1, 2, 6, 4), plain);
    }

    /// A region with different garbage at every offset.
    struct Garbage(u64);

    impl Garbage {
        fn word(&self, offset: usize) -> u32 {
            assert!(offset < 2 * HALF_BYTES, "read beyond the halves, at {offset}");
            let offset = u32::try_from(offset).expect("checked above");
            flow_hash(offset, (self.0 >> 32) as u32, 0, (self.0 & 0xffff_ffff) as u32)
        }
    }

    impl Load for Garbage {
        fn u8_at(&self, offset: usize) -> u8 {
            self.word(offset).to_le_bytes()[0]
        }
        fn u16_at(&self, offset: usize) -> u16 {
            (self.word(offset) & 0xffff) as u16
        }
        fn u32_at(&self, offset: usize) -> u32 {
            // Often enough a valid action.
            match self.word(offset) {
                word if word % 3 == 0 => word & 0xffff_ff03,
                word => word,
            }
        }
    }

    proptest! {
        #[test]
        fn garbage_never_panics_the_reader_nor_leads_it_outside(
            seed: u64, address: u32, ipv6: [u8; 16], which in 0u32..2, hash: u32, group: u16,
        ) {
            let region = Garbage(seed);
            let half = Half::new(&region, which);
            let _ = half.next_hop(group, || hash);
            for group in [half.lookup(address), half.lookup_ipv6(&ipv6)] {
                let (index, _) = half.next_hop(group, || hash);
                prop_assert!(usize::from(index) < NEXT_HOPS);
            }
        }
    }
}
