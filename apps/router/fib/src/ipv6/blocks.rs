//! Room for rows of 1 to 64 things: which places of an array are free.
//!
//! A row gets a block whose size is a power of two (a buddy system): what is given back joins its other half where
//! that is free, too, so that no use of it, however long, breaks the room into pieces. The same calls
//! give the same places, which is why the two halves of a table are alike.

use alloc::collections::BTreeSet;

/// Powers of two from 1 to 64.
const ORDERS: usize = 7;

#[derive(Debug)]
pub(super) struct Blocks {
    free: [BTreeSet<u32>; ORDERS],
    /// What is behind it was never given to anybody.
    untouched: u32,
    places: u32,
    taken: u32,
}

/// The size of the block for a row, as a power of two.
fn order(count: u32) -> usize {
    count.next_power_of_two().trailing_zeros() as usize
}

impl Blocks {
    /// All of these places are free: a multiple of 64.
    pub(super) fn new(places: u32) -> Self {
        Self { free: Default::default(), untouched: 0, places, taken: 0 }
    }

    /// Places that are taken, the unused ones at the end of blocks among them.
    pub(super) fn taken(&self) -> u32 {
        self.taken
    }

    /// The first place of a row of 1 to 64; `None`: there is no room for it.
    pub(super) fn take(&mut self, count: u32) -> Option<u32> {
        let wanted = order(count);
        let found = (wanted..ORDERS).find_map(|order| Some((order, self.free[order].pop_first()?)));
        let (order, first) = match found {
            Some(found) => found,
            None if self.untouched < self.places => {
                let first = self.untouched;
                self.untouched += 1 << (ORDERS - 1);
                (ORDERS - 1, first)
            }
            None => return None,
        };
        // What is left over of a larger block.
        for smaller in wanted..order {
            self.free[smaller].insert(first + (1 << smaller));
        }
        self.taken += 1 << wanted;
        Some(first)
    }

    /// Gives a row back.
    pub(super) fn give_back(&mut self, first: u32, count: u32) {
        let mut order = order(count);
        let mut first = first;
        self.taken -= 1 << order;
        while order < ORDERS - 1 && self.free[order].remove(&(first ^ 1 << order)) {
            first &= !(1 << order);
            order += 1;
        }
        self.free[order].insert(first);
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn all_room_can_be_taken_and_no_more() {
        let mut blocks = Blocks::new(128);
        let rows: Vec<_> = (0..128).map_while(|_| blocks.take(1)).collect();
        assert_eq!((rows.len(), blocks.take(1), blocks.taken()), (128, None, 128));
        for row in rows {
            blocks.give_back(row, 1);
        }
        assert_eq!([blocks.take(64), blocks.take(33), blocks.take(1)], [Some(0), Some(64), None]);
    }

    proptest! {
        #[test]
        fn rows_never_overlap_and_nothing_is_lost(
            steps in prop::collection::vec((any::<bool>(), 1_u32..=64, any::<prop::sample::Index>()), 1..200),
        ) {
            let mut blocks = Blocks::new(512);
            let mut rows: Vec<(u32, u32)> = Vec::new();
            for (take, count, which) in steps {
                if take {
                    let Some(first) = blocks.take(count) else { continue };
                    let apart = |&(other, length): &(u32, u32)| {
                        first + count <= other || other + length <= first
                    };
                    prop_assert!(first + count <= 512 && rows.iter().all(apart));
                    rows.push((first, count));
                } else if !rows.is_empty() {
                    let (first, count) = rows.swap_remove(which.index(rows.len()));
                    blocks.give_back(first, count);
                }
            }
            for (first, count) in rows {
                blocks.give_back(first, count);
            }
            prop_assert_eq!(blocks.taken(), 0);
            let whole: Vec<_> = (0..8).filter_map(|_| blocks.take(64)).collect();
            prop_assert_eq!(whole.len(), 8, "in one piece again");
        }
    }
}
