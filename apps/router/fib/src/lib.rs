//! The forwarding table that both halves of the router read.
//!
//! IPv4 longest-prefix match as DIR-24-8 (Gupta, Lin, McKeown 1998): an array indexed by the address's
//! first 24 bits, and small arrays for what is longer. One 16-bit load finds most routes, whatever their
//! number. IPv6 has a trie of its own in the same region ([`ipv6`]). The table lies in a region that the host half writes and the router extension reads, as plain words
//! at fixed offsets ([`layout`]), twice: the host changes the half that nobody reads, tells every adapter
//! to swap ([`protocol`]), waits for their acknowledgements, and repeats the change on the other half.
//! So a reader never sees a table that is being changed.
//!
//! Why not a trie, as the paper had? It had 1 MB of memory; its trie held 1000 routes in 20 KB and was
//! rebuilt for every change. Here memory is plentiful and a full table changes many times a second: a
//! change costs what its prefix covers, and nothing is rebuilt. For the model of the paper's card the
//! paper's table is here as well: `lc_trie`, with the feature `lc-trie`.
//!
//! An address leads to a *group* (a route's next hops, weighted), a group to a *next hop* (what to do
//! with the packet). A region of zeroes is a valid table without routes. The reader trusts nothing it
//! reads: a damaged table gives wrong answers, never a panic.
//!
//! Left out: the routes themselves. Which route stands behind another one is the caller's knowledge (it
//! keeps the routing table), and so is painting the longer ones again after their cover.
#![no_std]
#![forbid(unsafe_code)]

#[cfg(any(test, feature = "writer"))]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod groups;
pub mod ipv6;
pub mod layout;
#[cfg(any(test, feature = "lc-trie"))]
pub mod lc_trie;
mod next_hop;
pub mod protocol;
mod reader;
mod used;
#[cfg(any(test, feature = "writer"))]
mod writer;

pub use next_hop::{Action, Addresses, NextHop};
pub use reader::{Half, flow_hash, flow_hash_ipv6, used};
pub use used::Used;
#[cfg(any(test, feature = "writer"))]
pub use writer::{Exhausted, Writer};

/// Reading a region: little-endian words at byte offsets. Out of range reads as zero.
pub trait Load {
    /// The byte at `offset`.
    fn u8_at(&self, offset: usize) -> u8;
    /// The 16-bit word at `offset`, a multiple of two.
    fn u16_at(&self, offset: usize) -> u16;
    /// The 32-bit word at `offset`, a multiple of four.
    fn u32_at(&self, offset: usize) -> u32;
    /// The 64-bit word at `offset`, a multiple of eight.
    #[inline(always)]
    fn u64_at(&self, offset: usize) -> u64 {
        u64::from(self.u32_at(offset)) | u64::from(self.u32_at(offset + 4)) << 32
    }
}

/// Writing a region that others read at the same time, hence through a shared reference. Out of range
/// writes nothing.
pub trait Store: Load {
    /// Writes the byte at `offset`.
    fn set_u8(&self, offset: usize, value: u8);
    /// Writes the 16-bit word at `offset`, a multiple of two.
    fn set_u16(&self, offset: usize, value: u16);
    /// Writes the 32-bit word at `offset`, a multiple of four.
    fn set_u32(&self, offset: usize, value: u32);
    /// Writes the 64-bit word at `offset`, a multiple of eight.
    fn set_u64(&self, offset: usize, value: u64) {
        self.set_u32(offset, (value & 0xffff_ffff) as u32);
        self.set_u32(offset + 4, (value >> 32) as u32);
    }
}

impl<T: Load + ?Sized> Load for &T {
    #[inline]
    fn u8_at(&self, offset: usize) -> u8 {
        (**self).u8_at(offset)
    }
    #[inline]
    fn u16_at(&self, offset: usize) -> u16 {
        (**self).u16_at(offset)
    }
    #[inline]
    fn u32_at(&self, offset: usize) -> u32 {
        (**self).u32_at(offset)
    }
    #[inline]
    fn u64_at(&self, offset: usize) -> u64 {
        (**self).u64_at(offset)
    }
}

impl<T: Store + ?Sized> Store for &T {
    fn set_u8(&self, offset: usize, value: u8) {
        (**self).set_u8(offset, value);
    }
    fn set_u16(&self, offset: usize, value: u16) {
        (**self).set_u16(offset, value);
    }
    fn set_u32(&self, offset: usize, value: u32) {
        (**self).set_u32(offset, value);
    }
    fn set_u64(&self, offset: usize, value: u64) {
        (**self).set_u64(offset, value);
    }
}

#[cfg(test)]
mod memory;
