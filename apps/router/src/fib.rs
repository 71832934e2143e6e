//! The table that the adapters read, and how it is switched.
//!
//! Left-right: operations go to the idle half, every adapter is told to swap and its acknowledgement
//! awaited, then the same operations go to the other half. So no adapter ever reads a half that is
//! being written, and both halves are the same in between.
//!
//! Which table that is, the adapters' extension decides: the router's is built for one [`Layout`].
//!
//! A half is also how forwarding is stopped: a swap that says "paused" is acknowledged like any
//! other, and from then on the adapter gives everything to the kernel.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use ipnet::{Ipv4Net, Ipv6Net};
use spine_abi::{Endpoint, Message};
use spine_fib::layout;
use spine_fib::protocol::{SWAP, SWAPPED, Swap};
use spine_fib::{Load, Store, Writer, lc_trie, used};

use crate::adapters::{Adapter, AdapterError};
use crate::operation::{GROUP_NO_ROUTE, Operation};
use crate::trie::{self, TrieHalf};

pub use spine_fib::{Action, Addresses, NextHop};

/// Longest list of buckets of a group.
pub const BUCKETS: usize = layout::BUCKETS;
/// The group that leaves everything to the kernel.
pub const GROUP_KERNEL: u16 = layout::KERNEL_GROUP;
/// The first group that is free for routes.
pub const FIRST_GROUP: u16 = layout::FIRST_GROUP;
/// The first next hop that is free for routes.
pub const FIRST_NEXT_HOP: u16 = layout::NO_HOP + 1;
/// Groups there are, the reserved ones included.
#[expect(clippy::cast_possible_truncation, reason = "the layout asserts that it fits")]
pub const GROUPS: u16 = layout::GROUPS as u16;
/// Next hops there are, the reserved one included.
#[expect(clippy::cast_possible_truncation, reason = "the layout asserts that it fits")]
pub const NEXT_HOPS: u16 = layout::NEXT_HOPS as u16;

/// How long an adapter may take to say that it reads the other half. It answers between two bursts,
/// within microseconds, unless its thread does not get the processor.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// How often it is told within that time.
const ATTEMPTS: u32 = 8;

/// A kind of table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// DIR-24-8.
    Dir24,
    /// The LC-trie of the paper's card.
    LcTrie,
}

impl Layout {
    /// Bytes of its region.
    pub fn region_bytes(self) -> usize {
        match self {
            Self::Dir24 => layout::REGION_BYTES,
            Self::LcTrie => lc_trie::REGION_BYTES,
        }
    }

    /// Groups there are, the reserved ones included.
    pub fn groups(self) -> u16 {
        match self {
            Self::Dir24 => GROUPS,
            Self::LcTrie => trie::GROUPS,
        }
    }

    /// Next hops there are, the reserved one included.
    pub fn next_hops(self) -> u16 {
        match self {
            Self::Dir24 => NEXT_HOPS,
            Self::LcTrie => trie::NEXT_HOPS,
        }
    }
}

/// The table was not switched: the halves differ, and the adapters must be stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FibError {
    /// An adapter did not acknowledge.
    #[error("adapter {name} did not take over table {sequence} within {} s", PATIENCE.as_secs())]
    Silent {
        /// Its interface.
        name: String,
        /// The number of the switch.
        sequence: u32,
    },
    /// An adapter is gone.
    #[error(transparent)]
    Gone(#[from] AdapterError),
}

/// The region as both writers and the USED area share it.
struct Shared<R>(Rc<R>);

impl<R: Store> Load for Shared<R> {
    fn u8_at(&self, offset: usize) -> u8 {
        self.0.u8_at(offset)
    }
    fn u16_at(&self, offset: usize) -> u16 {
        self.0.u16_at(offset)
    }
    fn u32_at(&self, offset: usize) -> u32 {
        self.0.u32_at(offset)
    }
    fn u64_at(&self, offset: usize) -> u64 {
        self.0.u64_at(offset)
    }
}

impl<R: Store> Store for Shared<R> {
    fn set_u8(&self, offset: usize, value: u8) {
        self.0.set_u8(offset, value);
    }
    fn set_u16(&self, offset: usize, value: u16) {
        self.0.set_u16(offset, value);
    }
    fn set_u32(&self, offset: usize, value: u32) {
        self.0.set_u32(offset, value);
    }
    fn set_u64(&self, offset: usize, value: u64) {
        self.0.set_u64(offset, value);
    }
}

/// Both halves of the table, as the host writes them.
pub struct Fib<R: Store> {
    region: Rc<R>,
    halves: [Half<R>; 2],
    /// The half no adapter reads. Before the first swap none reads any.
    idle: usize,
    sequence: u32,
    complete_checksums: bool,
    /// The numbers of the adapters, and which of them are to give everything to the kernel.
    numbers: Vec<u16>,
    paused: Vec<bool>,
    /// The adapters that look up where a packet comes from, as a bit for each number.
    checking: u64,
    /// IPv6 prefixes that had no room and are the kernel's since.
    starved_ipv6: BTreeSet<Ipv6Net>,
}

impl<R: Store> Fib<R> {
    /// The table in a region of zeroes, [`layout::REGION_BYTES`] long, for adapters with these numbers, all
    /// of which start paused.
    pub fn new(region: R, numbers: &[u16], complete_checksums: bool) -> Self {
        Self::of(Layout::Dir24, region, numbers, complete_checksums)
    }

    /// The same with another layout, of its length.
    pub fn of(layout: Layout, region: R, numbers: &[u16], complete_checksums: bool) -> Self {
        let region = Rc::new(region);
        let half = |which| {
            let shared = Shared(Rc::clone(&region));
            match layout {
                Layout::Dir24 => Half::Dir24(Box::new(Writer::new(shared, which))),
                Layout::LcTrie => Half::LcTrie(Box::new(TrieHalf::new(shared, which))),
            }
        };
        let halves = [half(0), half(1)];
        let (numbers, paused) = (numbers.to_vec(), vec![true; numbers.len()]);
        Self {
            region,
            halves,
            idle: 0,
            sequence: 0,
            complete_checksums,
            numbers,
            paused,
            checking: 0,
            starved_ipv6: BTreeSet::new(),
        }
    }

    /// Makes the operations true for every adapter, and returns when they are. Gives back what had
    /// no room and is the kernel's for now: /24s to be painted again later.
    ///
    /// # Errors
    /// [`FibError`]: an adapter does not take part.
    pub fn apply(
        &mut self,
        operations: &[Operation],
        adapters: &mut [Box<dyn Adapter>],
    ) -> Result<BTreeSet<Ipv4Net>, FibError> {
        if operations.is_empty() {
            return Ok(BTreeSet::new());
        }
        for operation in operations {
            if let Operation::CheckSources(adapters) = operation {
                self.checking = *adapters;
            }
        }
        let starved = self.halves[self.idle].write(operations, &mut self.starved_ipv6);
        self.swap(adapters)?;
        // The same calls in the same order leave the same half behind.
        self.halves[self.idle].write(operations, &mut self.starved_ipv6);
        Ok(starved)
    }

    /// The IPv6 prefixes that are the kernel's although they were painted otherwise, for want of room.
    pub fn starved_ipv6(&self) -> &BTreeSet<Ipv6Net> {
        &self.starved_ipv6
    }

    /// Stops an adapter, or lets it go on, from the next [`swap`](Self::swap) on.
    pub fn set_paused(&mut self, adapter: usize, paused: bool) {
        if let Some(flag) = self.paused.get_mut(adapter) {
            *flag = paused;
        }
    }

    /// Whether an adapter is to give everything to the kernel.
    pub fn is_paused(&self, adapter: usize) -> bool {
        self.paused.get(adapter).copied().unwrap_or(true)
    }

    /// Lets every adapter read the idle half, and waits until all do.
    ///
    /// # Errors
    /// [`FibError`]: an adapter does not take part.
    pub fn swap(&mut self, adapters: &mut [Box<dyn Adapter>]) -> Result<(), FibError> {
        self.sequence = self.sequence.wrapping_add(1);
        let half = u32::try_from(self.idle).unwrap_or(0);
        let swaps = self.numbers.iter().zip(&self.paused).map(|(adapter, paused)| Swap {
            half,
            sequence: self.sequence,
            adapter: *adapter,
            complete_checksums: self.complete_checksums,
            check_sources: self.checking.checked_shr((*adapter).into()).unwrap_or(0) & 1 == 1,
            paused: *paused,
        });
        let swaps: Vec<Swap> = swaps.collect();
        for (adapter, swap) in adapters.iter_mut().zip(&swaps) {
            tell(adapter.as_mut(), swap)?;
        }
        for (adapter, swap) in adapters.iter_mut().zip(&swaps) {
            await_swapped(adapter.as_mut(), swap)?;
        }
        self.idle = 1 - self.idle;
        Ok(())
    }

    /// Whether the next hop was used since this was last asked.
    pub fn take_used(&self, next_hop: u16) -> bool {
        match &self.halves[self.idle] {
            Half::Dir24(_) => used(&*self.region).take(next_hop),
            Half::LcTrie(_) => lc_trie::used(&*self.region).take(next_hop),
        }
    }

    /// Where a packet to an address goes, as the adapters find it: in the half that they read, and of several ways
    /// the one of this flow.
    pub fn look_up(&self, address: Ipv4Addr, flow_hash: impl FnOnce() -> u32) -> NextHop {
        let read = 1 - self.idle;
        let which = u32::try_from(read).unwrap_or(0);
        match &self.halves[read] {
            Half::Dir24(_) => {
                let half = spine_fib::Half::new(&*self.region, which);
                half.next_hop(half.lookup(address.to_bits()), flow_hash).1
            }
            Half::LcTrie(_) => {
                let half = lc_trie::Half::new(&*self.region, which);
                half.next_hop(half.lookup(address.to_bits()), flow_hash).1
            }
        }
    }

    /// Whether an adapter believes that a packet comes from an address, where it asks at all.
    pub fn believes(&self, source: Ipv4Addr, adapter: u16) -> bool {
        if self.checking.checked_shr(adapter.into()).unwrap_or(0) & 1 == 0 {
            return true;
        }
        let read = 1 - self.idle;
        let which = u32::try_from(read).unwrap_or(0);
        match &self.halves[read] {
            Half::Dir24(_) => {
                let half = spine_fib::Half::new(&*self.region, which);
                half.believes(half.lookup(source.to_bits()), adapter)
            }
            Half::LcTrie(_) => {
                let half = lc_trie::Half::new(&*self.region, which);
                half.believes(half.lookup(source.to_bits()), adapter)
            }
        }
    }

    /// The region, to look things up in it.
    pub fn region(&self) -> &R {
        &self.region
    }
}

/// One half of the table.
enum Half<R: Store> {
    Dir24(Box<Writer<Shared<R>>>),
    LcTrie(Box<TrieHalf<Shared<R>>>),
}

impl<R: Store> Half<R> {
    /// Carries the operations out; gives back what had no room.
    fn write(
        &mut self,
        operations: &[Operation],
        starved_ipv6: &mut BTreeSet<Ipv6Net>,
    ) -> BTreeSet<Ipv4Net> {
        match self {
            Self::Dir24(half) => paint(half, operations, starved_ipv6),
            Self::LcTrie(half) => {
                // The paper's card has no table for them.
                starved_ipv6.extend(operations.iter().filter_map(|operation| match operation {
                    Operation::PaintIpv6(prefix, group) if *group != GROUP_NO_ROUTE => {
                        Some(*prefix)
                    }
                    _ => None,
                }));
                half.write(operations)
            }
        }
    }
}

fn paint<R: Store>(
    half: &mut Writer<R>,
    operations: &[Operation],
    starved_ipv6: &mut BTreeSet<Ipv6Net>,
) -> BTreeSet<Ipv4Net> {
    let mut starved = BTreeSet::new();
    for operation in operations {
        match operation {
            Operation::SetNextHop(number, hop) => half.set_next_hop(*number, hop),
            Operation::SetGroup(group, buckets) => half.set_group(*group, buckets),
            Operation::SetSources(group, adapters) => half.set_sources(*group, *adapters),
            Operation::CheckSources(_) => {}
            Operation::Paint(prefix, group) => {
                let painted = half.paint(prefix.addr().into(), prefix.prefix_len(), *group);
                if let Err(exhausted) = painted {
                    tracing::debug!(%exhausted);
                    starved.extend(Ipv4Net::new(exhausted.prefix.into(), 24));
                } else if prefix.prefix_len() <= 24 {
                    // Painted anew; it may have found room since.
                    starved.retain(|net| !prefix.contains(net));
                }
            }
            Operation::PaintIpv6(prefix, group) => {
                // Painted anew; it may have found room since.
                starved_ipv6.retain(|net| !prefix.contains(net));
                let (address, length) = (prefix.network().to_bits(), prefix.prefix_len());
                if let Err(exhausted) = half.paint_ipv6(address, length, *group) {
                    tracing::debug!(%exhausted);
                    starved_ipv6.extend(Ipv6Net::new(exhausted.prefix.into(), exhausted.length));
                }
            }
        }
    }
    starved
}

fn tell(adapter: &mut dyn Adapter, swap: &Swap) -> Result<(), AdapterError> {
    adapter.send(Message::small(SWAP, Endpoint::Host, &swap.to_bytes()))
}

fn await_swapped(adapter: &mut dyn Adapter, swap: &Swap) -> Result<(), FibError> {
    for _ in 0..ATTEMPTS {
        let deadline = Instant::now() + PATIENCE / ATTEMPTS;
        // What else an extension says to its host is not for us.
        while let Some(message) =
            adapter.receive(deadline.saturating_duration_since(Instant::now()))?
        {
            if message.header().handler == SWAPPED
                && Swap::parse(message.arguments()).as_ref() == Some(swap)
            {
                return Ok(());
            }
        }
        // Its acknowledgement may have found the FIFO full; the same swap is the same twice.
        tell(adapter, swap)?;
    }
    Err(FibError::Silent { name: adapter.name().to_owned(), sequence: swap.sequence })
}
