//! Building a trie from routes, and writing it into a half that nobody reads.

use alloc::vec::Vec;
use core::fmt;

use super::{GROUPS, HALF_BYTES, NO_PREFIX, NODES, PLACES, PREFIXES_AT, ROUTES_AT, base, bits};
use crate::{NextHop, Store};

/// A route: packets to `address`/`length` (host order) belong to `group`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The network; bits beyond the length are ignored.
    pub address: u32,
    /// Bits of the network, 0 to 32.
    pub length: u8,
    /// Its group, under [`GROUPS`].
    pub group: u16,
}

/// More routes than a half has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge {
    /// Bytes they need.
    pub bytes: usize,
}

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let room = HALF_BYTES - NODES;
        let bytes = self.bytes;
        write!(f, "the routes need {bytes} bytes and the table has {room}: use fewer routes")
    }
}

impl core::error::Error for TooLarge {}

/// A trie that was built, to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trie {
    nodes: Vec<u32>,
    /// Address, and what it has in common with a prefix.
    routes: Vec<(u32, u32)>,
    prefixes: Vec<u32>,
}

impl Trie {
    /// Builds it. Of several routes to one network the last one counts.
    ///
    /// # Errors
    /// [`TooLarge`].
    ///
    /// # Panics
    /// If a length is over 32 or a group not under [`GROUPS`]: the caller's own numbers.
    pub fn build(routes: &[Route]) -> Result<Self, TooLarge> {
        let mut trie = Self { nodes: Vec::new(), routes: Vec::new(), prefixes: Vec::new() };
        trie.sort_out(&sorted(routes));
        trie.nodes.push(0);
        if !trie.routes.is_empty() {
            trie.node(0, 0..trie.routes.len(), 0);
        }
        let bytes = trie.bytes();
        if bytes > HALF_BYTES - NODES { Err(TooLarge { bytes }) } else { Ok(trie) }
    }

    /// Bytes that it takes: nodes, routes and prefixes.
    pub fn bytes(&self) -> usize {
        self.nodes.len() * 4 + self.routes.len() * 8 + self.prefixes.len() * 4
    }

    /// Parts routes with longer ones inside from those without, each with the longest that covers it.
    fn sort_out(&mut self, routes: &[Route]) {
        // The routes that cover the current one, shortest first: length, and place among the prefixes.
        let mut covers: Vec<(Route, u32)> = Vec::new();
        for (at, route) in routes.iter().enumerate() {
            while covers.last().is_some_and(|(cover, _)| !contains(cover, route)) {
                covers.pop();
            }
            let above = covers.last().map_or(NO_PREFIX, |(_, place)| *place);
            let entry = u32::from(route.length) << 26 | u32::from(route.group) << 16 | above;
            if routes.get(at + 1).is_some_and(|next| contains(route, next)) {
                let place = u32::try_from(self.prefixes.len()).unwrap_or(NO_PREFIX);
                covers.push((*route, place));
                self.prefixes.push(entry);
            } else {
                self.routes.push((route.address, entry));
            }
        }
    }

    /// Fills the node at `place` for these routes, of which the first `known` bits are alike.
    fn node(&mut self, place: usize, range: core::ops::Range<usize>, known: u32) {
        if range.len() == 1 {
            self.nodes[place] = word(range.start);
            return;
        }
        let (first, last) = (self.routes[range.start].0, self.routes[range.end - 1].0);
        let alike = (first ^ last).leading_zeros();
        let branch = self.branch(range.clone(), alike);
        let children = self.nodes.len();
        self.nodes[place] = branch << 27 | (alike - known) << 20 | word(children);
        self.nodes.resize(children + (1 << branch), 0);
        let mut from = range.start;
        for pattern in 0..1_u32 << branch {
            let inside = self.routes[from..range.end]
                .iter()
                .take_while(|(address, _)| bits(*address, alike, branch) == pattern)
                .count();
            let child = children + pattern as usize;
            if inside == 0 {
                let above = if alike == 0 { 0 } else { first >> (32 - alike) << (32 - alike) };
                let wanted = above | pattern << (32 - alike - branch);
                self.nodes[child] = word(self.nearest(from, &range, wanted));
            } else {
                self.node(child, from..from + inside, alike + branch);
            }
            from += inside;
        }
    }

    /// As many bits as keep half of the children in use; one at least.
    fn branch(&self, range: core::ops::Range<usize>, alike: u32) -> u32 {
        let mut branch = 1;
        while alike + branch < 32 && range.len() >= 1 << branch {
            let wider = branch + 1;
            let patterns =
                self.routes[range.clone()].iter().map(|route| bits(route.0, alike, wider));
            if count_runs(patterns) * 2 < 1 << wider {
                break;
            }
            branch = wider;
        }
        branch
    }

    /// The route beside a gap that has the most bits in common with it: whatever prefix covers the gap
    /// covers that route.
    fn nearest(&self, after: usize, range: &core::ops::Range<usize>, wanted: u32) -> usize {
        let alike = |place: usize| (self.routes[place].0 ^ wanted).leading_zeros();
        let before = after.checked_sub(1).filter(|place| range.contains(place));
        let behind = Some(after).filter(|place| range.contains(place));
        match (before, behind) {
            (Some(before), Some(behind)) if alike(behind) > alike(before) => behind,
            (Some(before), _) => before,
            (None, behind) => behind.unwrap_or(range.start),
        }
    }

    /// Writes it into a half, which nobody reads meanwhile. Groups and next hops are written apart.
    pub fn write(&self, region: &impl Store, which: u32) {
        let base = base(which);
        let routes = NODES + self.nodes.len() * 4;
        let prefixes = routes + self.routes.len() * 8;
        for (i, node) in self.nodes.iter().enumerate() {
            region.set_u32(base + NODES + i * 4, *node);
        }
        for (i, (address, entry)) in self.routes.iter().enumerate() {
            region.set_u32(base + routes + i * 8, *address);
            region.set_u32(base + routes + i * 8 + 4, *entry);
        }
        for (i, entry) in self.prefixes.iter().enumerate() {
            region.set_u32(base + prefixes + i * 4, *entry);
        }
        if self.routes.is_empty() {
            // The one node leads to a route of length 0, without a next hop.
            region.set_u32(base + routes, 0);
            region.set_u32(base + routes + 4, 0);
        }
        region.set_u32(base + ROUTES_AT, word(routes));
        region.set_u32(base + PREFIXES_AT, word(prefixes));
    }

    /// Says which next hops a group has: 1, 2, 4, ... or 64 buckets; a flow goes to one of them.
    ///
    /// # Panics
    /// If `group` is not one of the caller's (from [`FIRST_GROUP`](crate::layout::FIRST_GROUP) on, under
    /// [`GROUPS`]), the number of buckets is not a power of two up to 64, or a next hop is not under
    /// [`NEXT_HOPS`](super::NEXT_HOPS).
    pub fn set_group(region: &impl Store, which: u32, group: u16, buckets: &[u16]) {
        PLACES.set(region, base(which), group, buckets);
    }

    /// Says from which adapters packets are believed that come from addresses of a group: a bit for each.
    ///
    /// # Panics
    /// If `group` is not one of the caller's.
    pub fn set_sources(region: &impl Store, which: u32, group: u16, adapters: u64) {
        PLACES.set_sources(region, base(which), group, adapters);
    }

    /// Writes a next hop into a half.
    ///
    /// # Panics
    /// If `index` is [`NO_HOP`](crate::layout::NO_HOP) or not under [`NEXT_HOPS`](super::NEXT_HOPS).
    pub fn set_next_hop(region: &impl Store, which: u32, index: u16, hop: &NextHop) {
        PLACES.set_next_hop(region, base(which), index, hop);
    }
}

/// A place or offset as part of a word: all are under the bytes of a half.
fn word(place: usize) -> u32 {
    u32::try_from(place).unwrap_or(u32::MAX) & 0xf_ffff
}

fn contains(outer: &Route, inner: &Route) -> bool {
    outer.length <= inner.length && bits(outer.address ^ inner.address, 0, outer.length.into()) == 0
}

fn count_runs(patterns: impl Iterator<Item = u32>) -> usize {
    let mut last = None;
    patterns.filter(|pattern| last.replace(*pattern) != Some(*pattern)).count()
}

/// By address and then by length, so that what covers a route stands before it; each network once.
fn sorted(routes: &[Route]) -> Vec<Route> {
    let mut sorted: Vec<Route> = routes
        .iter()
        .map(|route| {
            assert!(route.length <= 32, "a prefix has at most 32 bits, not {}", route.length);
            assert!(usize::from(route.group) < GROUPS, "there are {GROUPS} groups");
            let host = u32::MAX.checked_shr(route.length.into()).unwrap_or(0);
            Route { address: route.address & !host, ..*route }
        })
        .collect();
    sorted.sort_by_key(|route| (route.address, route.length));
    sorted.reverse();
    sorted.dedup_by_key(|route| (route.address, route.length));
    sorted.reverse();
    sorted
}
