//! Writing the trie of a half that nobody reads.
//!
//! What a node stands for is worked out anew from its slots whenever one of them changes, and written to a row of its
//! own; nodes above it stay where they are, but for the one whose slot has a node now or has none any more.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;

use super::blocks::Blocks;
use super::read::{
    BELOW, FIRST_LEAF, FIRST_NODE, GROUP, HIGH, LOW, RUNS, STEPS, bucket_at, leaf_at, lookup,
    node_at, root_of, words,
};
use crate::Store;
use crate::layout::{
    HOST_BYTES, HOSTS_EACH, HOSTS_FLAG, IPV6_LEAVES, IPV6_NODES, KERNEL_GROUP, NO_ROUTE_GROUP,
    NODE_BYTES, NODE_FLAG, ROOT, ROOT_BITS, ROOT_ENTRIES, STRIDE_BITS, TAKEN_FLAG,
};

const SLOTS: usize = 1 << STRIDE_BITS;

/// Nodes or their groups had no room.
///
/// Nothing is misdelivered: all addresses of the prefix around it belong to
/// [`KERNEL_GROUP`] now, until they are painted again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exhausted {
    /// The first address of the prefix that the kernel has now, host order.
    pub prefix: u128,
    /// How long that prefix is.
    pub length: u8,
}

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (address, length) = (Ipv6Addr::from_bits(self.prefix), self.length);
        write!(f, "no room for more IPv6 routes: {address}/{length} is left to the kernel")
    }
}

impl core::error::Error for Exhausted {}

/// No room: whoever wanted it has given back all it had below.
struct Full;

/// A node, as it is written.
#[derive(Debug, Clone, Copy)]
struct Node {
    below: u64,
    runs: u64,
    first_node: u32,
    first_leaf: u32,
}

/// What a slot stands for.
#[derive(Debug, Clone, Copy)]
enum Slot {
    Leaf(u16),
    Below(Node),
}

/// A change of the trie.
#[derive(Debug, Clone, Copy)]
struct Paint {
    prefix: u128,
    length: u8,
    group: u16,
}

impl Paint {
    /// Its slots in a node for which `from` bits lead the way: the first and how many.
    fn slots(&self, from: u8) -> (usize, usize) {
        let first = (self.prefix << from >> (128 - u32::from(STRIDE_BITS))) as usize;
        let end = from + STRIDE_BITS;
        (first, if self.length <= end { 1 << (end - self.length) } else { 1 })
    }
}

/// The IPv6 routes of a half, as they are written.
#[derive(Debug)]
pub(crate) struct Trie {
    nodes: Blocks,
    leaves: Blocks,
    /// Single addresses in their buckets, by `u128` in host order.
    hosts: BTreeSet<u128>,
    /// Those that had no room there and are in the trie.
    crowded: BTreeSet<u128>,
    /// What the change at hand could not be given.
    starved: Option<(u128, u8)>,
}

impl Trie {
    /// The trie of a half of zeroes.
    pub(crate) fn new() -> Self {
        Self::with_room(IPV6_NODES, IPV6_LEAVES)
    }

    /// The same with less room, a multiple of 64 each.
    pub(super) fn with_room(nodes: usize, leaves: usize) -> Self {
        assert!(nodes <= IPV6_NODES && leaves <= IPV6_LEAVES, "not more than the layout has");
        let places = |count: usize| u32::try_from(count).expect("the layout's own numbers");
        Self {
            nodes: Blocks::new(places(nodes)),
            leaves: Blocks::new(places(leaves)),
            hosts: BTreeSet::new(),
            crowded: BTreeSet::new(),
            starved: None,
        }
    }

    /// Nodes and groups that are taken.
    pub(crate) fn taken(&self) -> (u32, u32) {
        (self.nodes.taken(), self.leaves.taken())
    }

    /// Gives every address of `prefix`/`length` to `group`, in the half that starts at `base`.
    ///
    /// # Errors
    /// [`Exhausted`].
    pub(crate) fn paint(
        &mut self,
        region: &impl Store,
        base: usize,
        prefix: u128,
        length: u8,
        group: u16,
    ) -> Result<(), Exhausted> {
        let prefix = prefix & mask(length);
        if length == 128 && !self.crowded.contains(&prefix) {
            if self.paint_host(region, base, prefix, group) {
                return Ok(());
            }
            self.crowded.insert(prefix);
        } else {
            self.forget_hosts(region, base, prefix, length);
        }
        let paint = Paint { prefix, length, group };
        if length <= ROOT_BITS {
            self.paint_root(region, base, paint);
        } else {
            self.paint_below(region, base, paint);
        }
        if length == 128 && !self.is_single(region, base, prefix) {
            self.crowded.remove(&prefix);
        }
        match self.starved.take() {
            Some((prefix, length)) => Err(Exhausted { prefix, length }),
            None => Ok(()),
        }
    }

    fn paint_root(&mut self, region: &impl Store, base: usize, paint: Paint) {
        let first = root_index(&paint.prefix.to_be_bytes());
        for index in first..first + (1 << (ROOT_BITS - paint.length)) {
            let at = base + ROOT + index * 4;
            if let Slot::Below(node) = root_slot(region, base, at) {
                self.give_back(region, base, node, Depth::Whole);
                self.nodes.give_back(region.u32_at(at) & NUMBER, 1);
            }
            region.set_u32(at, paint.group.into());
        }
    }

    fn paint_below(&mut self, region: &impl Store, base: usize, paint: Paint) {
        let at = base + ROOT + root_index(&paint.prefix.to_be_bytes()) * 4;
        let entry = region.u32_at(at);
        let hosts = entry & HOSTS_FLAG;
        let before = root_slot(region, base, at);
        let after = self.change(region, base, before, ROOT_BITS, paint);
        let number = match before {
            Slot::Below(_) => Some(entry & NUMBER),
            Slot::Leaf(_) => None,
        };
        let after = after.and_then(|after| match (after, number) {
            (Slot::Below(node), None) => match self.nodes.take(1) {
                Some(number) => Ok((after, Some(number))),
                None => {
                    self.give_back(region, base, node, Depth::Whole);
                    Err(Full)
                }
            },
            (after, number) => Ok((after, number)),
        });
        let word = match after {
            Ok((Slot::Below(node), Some(number))) => {
                write_node(region, base, number, &node);
                number | NODE_FLAG
            }
            Ok((Slot::Leaf(group), _)) => u32::from(group),
            Ok((Slot::Below(_), None)) | Err(Full) => {
                self.starved = Some((paint.prefix & mask(ROOT_BITS), ROOT_BITS));
                KERNEL_GROUP.into()
            }
        };
        if word & NODE_FLAG == 0
            && let Some(number) = number
        {
            self.nodes.give_back(number, 1);
        }
        region.set_u32(at, word | hosts);
    }

    /// What is in the place of `old` after a change, when `from` bits lead there.
    fn change(
        &mut self,
        region: &impl Store,
        base: usize,
        old: Slot,
        from: u8,
        paint: Paint,
    ) -> Result<Slot, Full> {
        let (first, count) = paint.slots(from);
        let is_deeper = paint.length > from + STRIDE_BITS;
        let mut slots = match old {
            Slot::Leaf(group) if group == paint.group => return Ok(old),
            Slot::Leaf(group) => [Slot::Leaf(group); SLOTS],
            Slot::Below(node) => {
                let mut leaf = None;
                if is_deeper && node.below >> first & 1 != 0 {
                    let before = (node.below & ((1 << first) - 1)).count_ones();
                    let number = node.first_node + before;
                    let below = Slot::Below(read_node(region, base, number));
                    match self.below(region, base, below, from, paint) {
                        Slot::Below(below) => {
                            write_node(region, base, number, &below);
                            return Ok(old);
                        }
                        after @ Slot::Leaf(_) => leaf = Some(after),
                    }
                }
                let mut slots = read_slots(region, base, &node);
                slots[first] = leaf.unwrap_or(slots[first]);
                self.give_back(region, base, node, Depth::Rows);
                slots
            }
        };
        if !is_deeper {
            for slot in &mut slots[first..first + count] {
                if let Slot::Below(node) = *slot {
                    self.give_back(region, base, node, Depth::Whole);
                }
                *slot = Slot::Leaf(paint.group);
            }
        } else if let Slot::Leaf(group) = slots[first]
            && self.starved.is_none()
            && group != paint.group
        {
            slots[first] = self.below(region, base, slots[first], from, paint);
        }
        match uniform(&slots) {
            Some(group) => Ok(Slot::Leaf(group)),
            None => self.write_slots(region, base, &slots).map(Slot::Below),
        }
    }

    /// The same one level down; where there is no room for it, the slot is the kernel's.
    fn below(
        &mut self,
        region: &impl Store,
        base: usize,
        old: Slot,
        from: u8,
        paint: Paint,
    ) -> Slot {
        let end = from + STRIDE_BITS;
        self.change(region, base, old, end, paint).unwrap_or_else(|Full| {
            self.starved = Some((paint.prefix & mask(end), end));
            Slot::Leaf(KERNEL_GROUP)
        })
    }

    /// A node for these slots, not all of which are one group's.
    fn write_slots(
        &mut self,
        region: &impl Store,
        base: usize,
        slots: &[Slot; SLOTS],
    ) -> Result<Node, Full> {
        let mut node = Node { below: 0, runs: 0, first_node: 0, first_leaf: 0 };
        let (mut nodes, mut leaves) = (Vec::new(), Vec::new());
        for (at, slot) in slots.iter().enumerate() {
            match slot {
                Slot::Below(below) => {
                    node.below |= 1 << at;
                    nodes.push(*below);
                }
                Slot::Leaf(group) if leaves.last() == Some(group) => {}
                Slot::Leaf(group) => {
                    node.runs |= 1 << at;
                    leaves.push(*group);
                }
            }
        }
        let Some((first_node, first_leaf)) = self.rows(&node) else {
            for below in nodes {
                self.give_back(region, base, below, Depth::Whole);
            }
            return Err(Full);
        };
        for (number, below) in (first_node..).zip(&nodes) {
            write_node(region, base, number, below);
        }
        for (number, group) in (first_leaf as usize..).zip(leaves) {
            region.set_u16(leaf_at(base, number), group);
        }
        Ok(Node { first_node, first_leaf, ..node })
    }

    /// Room for a node's rows.
    fn rows(&mut self, node: &Node) -> Option<(u32, u32)> {
        let (nodes, leaves) = (node.below.count_ones(), node.runs.count_ones());
        let first_node = if nodes > 0 { self.nodes.take(nodes)? } else { 0 };
        if leaves == 0 {
            return Some((first_node, 0));
        }
        let first_leaf = self.leaves.take(leaves);
        if first_leaf.is_none() && nodes > 0 {
            self.nodes.give_back(first_node, nodes);
        }
        Some((first_node, first_leaf?))
    }

    /// Gives back a node's rows, and what is below it, if that is meant, too.
    fn give_back(&mut self, region: &impl Store, base: usize, node: Node, depth: Depth) {
        let (nodes, leaves) = (node.below.count_ones(), node.runs.count_ones());
        if depth == Depth::Whole {
            for number in (node.first_node..).take(nodes as usize) {
                let below = read_node(region, base, number);
                self.give_back(region, base, below, Depth::Whole);
            }
        }
        if nodes > 0 {
            self.nodes.give_back(node.first_node, nodes);
        }
        if leaves > 0 {
            self.leaves.give_back(node.first_leaf, leaves);
        }
    }

    /// Gives a single address to a group; false: its bucket is full.
    fn paint_host(&mut self, region: &impl Store, base: usize, address: u128, group: u16) -> bool {
        let bytes = address.to_be_bytes();
        let place = find(region, base, &bytes);
        let root = base + ROOT + root_index(&bytes) * 4;
        let entry = region.u32_at(root);
        region.set_u32(root, entry & !HOSTS_FLAG);
        let around = lookup(region, base, &bytes);
        region.set_u32(root, entry);
        if around == group {
            if self.hosts.remove(&address) {
                self.remove_host(region, base, address);
            }
            return true;
        }
        let Some(place) = place else { return false };
        let (high, low) = words(&bytes);
        region.set_u64(place + HIGH, high);
        region.set_u64(place + LOW, low);
        region.set_u32(place + GROUP, TAKEN_FLAG | u32::from(group));
        region.set_u32(root, entry | HOSTS_FLAG);
        self.hosts.insert(address);
        true
    }

    /// Takes away the single addresses of a prefix.
    fn forget_hosts(&mut self, region: &impl Store, base: usize, prefix: u128, length: u8) {
        let within = prefix..=prefix | !mask(length);
        let gone: Vec<u128> = self.hosts.range(within.clone()).copied().collect();
        for address in gone {
            self.hosts.remove(&address);
            self.remove_host(region, base, address);
        }
        if length < 128 {
            let gone: Vec<u128> = self.crowded.range(within).copied().collect();
            for address in gone {
                self.crowded.remove(&address);
            }
        }
    }

    /// Takes an address, which is no more in `hosts`, out of its bucket.
    fn remove_host(&self, region: &impl Store, base: usize, address: u128) {
        let bytes = address.to_be_bytes();
        let Some(place) = find(region, base, &bytes) else { return };
        let (high, low) = words(&bytes);
        let start = bucket_at(base, high, low);
        let taken = |at: &usize| region.u32_at(at + GROUP) & TAKEN_FLAG != 0;
        // The last one goes where it was.
        let places = (0..HOSTS_EACH).map(|number| start + number * HOST_BYTES);
        let last = places.take_while(taken).last().unwrap_or(place);
        for word in (0..HOST_BYTES).step_by(8) {
            region.set_u64(place + word, region.u64_at(last + word));
            region.set_u64(last + word, 0);
        }
        let first = address & mask(ROOT_BITS);
        if self.hosts.range(first..=first | !mask(ROOT_BITS)).next().is_none() {
            let root = base + ROOT + root_index(&bytes) * 4;
            region.set_u32(root, region.u32_at(root) & !HOSTS_FLAG);
        }
    }

    /// Whether the trie says something of this very address.
    fn is_single(&self, region: &impl Store, base: usize, address: u128) -> bool {
        let mut slot =
            root_slot(region, base, base + ROOT + root_index(&address.to_be_bytes()) * 4);
        let mut from = ROOT_BITS;
        for step in 0..=STEPS {
            let Slot::Below(node) = slot else { return step == STEPS };
            slot = read_slots(region, base, &node)[(address << from >> 122) as usize];
            from = (from + STRIDE_BITS).min(127);
        }
        false
    }
}

/// How much of a node is given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// The rows of what is directly below it.
    Rows,
    /// All that is below it.
    Whole,
}

const NUMBER: u32 = !(NODE_FLAG | HOSTS_FLAG);

/// The group of all slots, if they have one.
fn uniform(slots: &[Slot; SLOTS]) -> Option<u16> {
    let Slot::Leaf(first) = slots[0] else { return None };
    let same = |slot: &Slot| matches!(slot, Slot::Leaf(group) if *group == first);
    slots.iter().all(same).then_some(first)
}

fn root_slot(region: &impl Store, base: usize, at: usize) -> Slot {
    match region.u32_at(at) {
        entry if entry & NODE_FLAG != 0 => Slot::Below(read_node(region, base, entry & NUMBER)),
        entry => Slot::Leaf((entry & 0xffff) as u16),
    }
}

fn read_node(region: &impl Store, base: usize, number: u32) -> Node {
    let at = node_at(base, number as usize);
    Node {
        below: region.u64_at(at + BELOW),
        runs: region.u64_at(at + RUNS),
        first_node: region.u32_at(at + FIRST_NODE),
        first_leaf: region.u32_at(at + FIRST_LEAF),
    }
}

fn write_node(region: &impl Store, base: usize, number: u32, node: &Node) {
    let at = node_at(base, number as usize);
    region.set_u64(at + BELOW, node.below);
    region.set_u64(at + RUNS, node.runs);
    region.set_u32(at + FIRST_NODE, node.first_node);
    region.set_u32(at + FIRST_LEAF, node.first_leaf);
}

fn read_slots(region: &impl Store, base: usize, node: &Node) -> [Slot; SLOTS] {
    let mut slots = [Slot::Leaf(NO_ROUTE_GROUP); SLOTS];
    let (mut number, mut leaf, mut group) = (node.first_node, node.first_leaf, NO_ROUTE_GROUP);
    for (at, slot) in slots.iter_mut().enumerate() {
        if node.runs >> at & 1 != 0 {
            group = region.u16_at(leaf_at(base, leaf as usize));
            leaf += 1;
        }
        *slot = if node.below >> at & 1 != 0 {
            number += 1;
            Slot::Below(read_node(region, base, number - 1))
        } else {
            Slot::Leaf(group)
        };
    }
    slots
}

/// The place of a single address in its bucket: its own, or else a free one.
fn find(region: &impl Store, base: usize, address: &[u8; 16]) -> Option<usize> {
    let (high, low) = words(address);
    let start = bucket_at(base, high, low);
    (0..HOSTS_EACH).map(|number| start + number * HOST_BYTES).find(|at| {
        let is_taken = region.u32_at(at + GROUP) & TAKEN_FLAG != 0;
        let is_it = region.u64_at(at + HIGH) == high && region.u64_at(at + LOW) == low;
        !is_taken || is_it
    })
}

/// The first 18 bits of an address.
fn root_index(address: &[u8; 16]) -> usize {
    root_of(words(address).0)
}

/// The network mask of a prefix length.
fn mask(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

const _: () = assert!(ROOT_ENTRIES == 1 << ROOT_BITS && NODE_BYTES == 24);
