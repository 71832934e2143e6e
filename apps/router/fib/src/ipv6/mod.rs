//! IPv6 longest-prefix match: a trie whose nodes are bitmaps, and single addresses beside it.
//!
//! An array by the address's first 18 bits, and below it nodes of 64 slots, by six bits each (Asai and Ohara's
//! Poptrie, 2015). A node says with one bit for each slot whether a node is below it; these nodes stand one behind the
//! other, so that the count of bits before a slot's is the place of its node. The same holds for groups, of
//! which a run of equal ones is kept once. So a node takes 24 bytes however many slots it has in use, and a step down is
//! two loads.
//!
//! Single addresses (/128: a link's neighbours, loopbacks) would each be a chain of 19 nodes. They are in a
//! hash table beside the trie, asked only where `root` says that its 18 bits have some: a neighbour
//! is found at once, and a packet of the wide world does not pay for it. One whose bucket is full is in the trie after all.
//!
//! # Why this one?
//! Measured on 230,000 routes with the prefix lengths that the Internet has (`spine-bench fib`): binary
//! search on lengths and on ranges take as many dependent loads and cannot be changed in place; 256 slots of four bytes
//! each make 152 MB for the same speed, bitmaps of 256 slots twice the memory for one step less. 18 bits in front, as then
//! /36 and /48 end where a node does: the fewest nodes of 16, 18, 20 and 22.
//!
//! A reader takes at most 19 steps, each of which leads to some node of the half whatever the table says.

#[cfg(any(test, feature = "writer"))]
mod blocks;
mod read;
#[cfg(any(test, feature = "writer"))]
mod write;

pub(crate) use read::lookup;
#[cfg(any(test, feature = "writer"))]
pub use write::Exhausted;
#[cfg(any(test, feature = "writer"))]
pub(crate) use write::Trie;

#[cfg(test)]
mod tests;
