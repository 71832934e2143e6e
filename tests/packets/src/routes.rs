//! Tables of routes as the Internet has them, for tests and measurements of tables.
//!
//! Nobody's real table: prefixes are drawn, always the same ones. What is as in a real one is what a table's size and speed
//! depend on: the shares of prefix lengths (as of 2025, rounded), registries' blocks, of which a few hold most
//! routes, and networks that are numbered from the bottom of what their owner has.

use std::collections::BTreeSet;

/// Of a thousand routes inside an allocation, how many have which length.
const LENGTHS: [(u8, u64); 17] = [
    (48, 537),
    (44, 97),
    (40, 109),
    (36, 63),
    (46, 48),
    (47, 34),
    (45, 25),
    (42, 21),
    (33, 12),
    (34, 10),
    (38, 10),
    (35, 8),
    (39, 7),
    (43, 6),
    (37, 5),
    (41, 5),
    (64, 3),
];
/// Registries' blocks with their share of allocations in a hundred.
const BLOCKS: [(u32, u64); 10] = [
    (0x2001_0200, 3),
    (0x2400_0000, 18),
    (0x2600_0000, 15),
    (0x2610_0000, 1),
    (0x2620_0000, 3),
    (0x2630_0000, 3),
    (0x2800_0000, 12),
    (0x2a00_0000, 25),
    (0x2a10_0000, 15),
    (0x2c00_0000, 5),
];

/// So many IPv6 prefixes, host order, and their lengths, in order: a prefix comes before those inside it.
pub fn ipv6(count: usize) -> Vec<(u128, u8)> {
    let mut random = Random(1);
    let mut routes = BTreeSet::new();
    let mut allocations = Vec::new();
    // 129 in a thousand are allocations themselves, of which one in five is a /29 and the others /32s.
    let wanted = count as u64 * 129 / 1000;
    for (block, share) in BLOCKS {
        let of_block = wanted * share / 100;
        for _ in 0..of_block {
            let (at, kind) = (random.below(2 * of_block), random.below(8 * 5));
            let length = if kind < 8 { 29 } else { 32 };
            let inside = if length == 32 { kind % 8 } else { 0 };
            let prefix = (u128::from(block) << 96) + u128::from(at * 8 + inside).wrapping_shl(96);
            if routes.insert((prefix, length)) {
                allocations.push((prefix, length));
            }
        }
    }
    while routes.len() < count && !allocations.is_empty() {
        // Few of them have most of the routes.
        let share = random.below(1 << 20).pow(3) >> 40;
        let at = ((share * allocations.len() as u64) >> 20) as usize;
        let (allocation, taken) = allocations[at * 7919 % allocations.len()];
        let length = random.length();
        if length <= taken {
            continue;
        }
        let networks = 1_u64 << (length - taken);
        let numbered = if random.below(2) == 0 { networks } else { networks.min(256) };
        let network = random.below(numbered);
        routes.insert((allocation | u128::from(network) << (128 - length), length));
    }
    routes.into_iter().take(count).collect()
}

/// Numbers without a pattern, the same in every run (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }

    fn length(&mut self) -> u8 {
        let mut at = self.below(LENGTHS.iter().map(|(_, share)| share).sum());
        for (length, share) in LENGTHS {
            if at < share {
                return length;
            }
            at -= share;
        }
        48
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_as_large_as_asked_in_order_and_always_the_same() {
        let table = ipv6(20_000);
        assert_eq!(table.len(), 20_000);
        assert!(table.is_sorted() && table == ipv6(20_000));
        let is_prefix =
            |&(prefix, length): &(u128, u8)| prefix << length == 0 && prefix >> 125 == 1;
        assert!(table.iter().all(is_prefix), "no bits behind the length, all in 2000::/3");
        let of = |wanted: u8| table.iter().filter(|(_, length)| *length == wanted).count();
        assert!(
            (8_000..11_000).contains(&of(48)) && (1_500..3_000).contains(&of(32)),
            "{}",
            of(48)
        );
    }
}
