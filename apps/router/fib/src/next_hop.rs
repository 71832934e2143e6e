//! What to do with a packet, in 32 bytes.
//!
//! | bytes | field |
//! |---|---|
//! | 0 | action: 1 forward, 2 kernel, 3 drop; anything else: kernel, no route |
//! | 1 | reason (kernel, drop) |
//! | 2..4 | index of the peer adapter (forward) |
//! | 4..6 | MTU of the way out: bytes of the IP packet at most (forward) |
//! | 6..8 | zero |
//! | 8..14 | destination's link-layer address (forward) |
//! | 14..20 | source's link-layer address (forward) |
//! | 20..32 | zero |
//!
//! The two addresses stand as they do in an Ethernet header.

use spine_abi::Reason;

use crate::layout::NEXT_HOP_BYTES;
use crate::{Load, Store};

const FORWARD: u8 = 1;
const KERNEL: u8 = 2;
const DROP: u8 = 3;

/// What happens to a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is sent to the neighbour.
    Forward,
    /// The kernel gets it.
    Kernel(Reason),
    /// It is thrown away.
    Drop(Reason),
}

/// The end of a lookup. Without [`Action::Forward`] the other fields are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextHop {
    /// What happens to the packet.
    pub action: Action,
    /// The adapter whose wire it leaves by.
    pub peer: u16,
    /// Bytes of an IP packet that this way takes, at most.
    pub mtu: u16,
    /// The neighbour's link-layer address and ours.
    pub addresses: Addresses,
}

/// The first twelve bytes of an Ethernet header, in three little-endian words: what is loaded so from
/// the table is stored so to the packet. (As twelve bytes, a third of the extension's instructions after
/// the lookup took them apart and put them together again.)
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Addresses([u32; 3]);

impl Addresses {
    /// No addresses.
    pub const NONE: Self = Self([0; 3]);

    /// Where a frame goes, and where it comes from.
    pub const fn new(destination: [u8; 6], source: [u8; 6]) -> Self {
        let [a, b, c, d, e, f] = destination;
        let [g, h, i, j, k, l] = source;
        Self([
            u32::from_le_bytes([a, b, c, d]),
            u32::from_le_bytes([e, f, g, h]),
            u32::from_le_bytes([i, j, k, l]),
        ])
    }

    /// The neighbour's: where a frame goes.
    pub const fn destination(self) -> [u8; 6] {
        let [[a, b, c, d], [e, f, ..]] = [self.0[0].to_le_bytes(), self.0[1].to_le_bytes()];
        [a, b, c, d, e, f]
    }

    /// Ours: where it comes from.
    pub const fn source(self) -> [u8; 6] {
        let [[.., g, h], [i, j, k, l]] = [self.0[1].to_le_bytes(), self.0[2].to_le_bytes()];
        [g, h, i, j, k, l]
    }

    /// As they stand in the header.
    #[inline(always)]
    pub fn write(self, header: &mut [u8; 12]) {
        let (words, _) = header.as_chunks_mut::<4>();
        for (to, word) in words.iter_mut().zip(self.0) {
            *to = word.to_le_bytes();
        }
    }
}

impl NextHop {
    /// A packet without a route: the kernel answers.
    pub const NO_ROUTE: Self = Self::without_way(Action::Kernel(Reason::NoRoute));

    /// A next hop that sends nothing.
    pub const fn without_way(action: Action) -> Self {
        Self { action, peer: 0, mtu: 0, addresses: Addresses::NONE }
    }

    /// Reads the next hop at `offset`. Any bytes are one: what makes no sense is [`Self::NO_ROUTE`].
    #[inline(always)]
    pub(crate) fn load(region: &impl Load, offset: usize) -> Self {
        let [action, reason, peer_low, peer_high] = region.u32_at(offset).to_le_bytes();
        match action {
            FORWARD => Self {
                action: Action::Forward,
                peer: u16::from_le_bytes([peer_low, peer_high]),
                mtu: region.u16_at(offset + 4),
                // One by one: a closure over them is a call where this function is used twice.
                addresses: Addresses([
                    region.u32_at(offset + 8),
                    region.u32_at(offset + 12),
                    region.u32_at(offset + 16),
                ]),
            },
            KERNEL => match Reason::from_number(reason) {
                Some(reason) => Self::without_way(Action::Kernel(reason)),
                None => Self::NO_ROUTE,
            },
            DROP => match Reason::from_number(reason) {
                Some(reason) => Self::without_way(Action::Drop(reason)),
                None => Self::NO_ROUTE,
            },
            _ => Self::NO_ROUTE,
        }
    }

    /// Writes it at `offset`.
    #[cfg_attr(not(any(test, feature = "writer")), expect(dead_code, reason = "readers only load"))]
    pub(crate) fn store(&self, region: &impl Store, offset: usize) {
        let (action, reason) = match self.action {
            Action::Forward => (FORWARD, 0),
            Action::Kernel(reason) => (KERNEL, reason as u8),
            Action::Drop(reason) => (DROP, reason as u8),
        };
        let mut bytes = [0; NEXT_HOP_BYTES];
        bytes[0] = action;
        bytes[1] = reason;
        if self.action == Action::Forward {
            bytes[2..4].copy_from_slice(&self.peer.to_le_bytes());
            bytes[4..6].copy_from_slice(&self.mtu.to_le_bytes());
            if let Some(header) = bytes[8..].first_chunk_mut() {
                self.addresses.write(header);
            }
        }
        let (words, _) = bytes.as_chunks::<4>();
        for (i, word) in words.iter().enumerate() {
            region.set_u32(offset + i * 4, u32::from_le_bytes(*word));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::Memory;

    #[test]
    fn next_hops_survive_their_stored_form() {
        let region = Memory::new();
        let forward = NextHop {
            action: Action::Forward,
            peer: 4095,
            mtu: 1500,
            addresses: Addresses::new([7, 8, 9, 10, 11, 12], [1, 2, 3, 4, 5, 6]),
        };
        let others = Reason::ALL.iter().flat_map(|reason| {
            [Action::Kernel(*reason), Action::Drop(*reason)].map(NextHop::without_way)
        });
        for hop in others.chain([forward]) {
            hop.store(&region, 64);
            assert_eq!(NextHop::load(&region, 64), hop);
        }
        let bytes: alloc::vec::Vec<u8> = (72..84).map(|at| region.u8_at(at)).collect();
        assert_eq!(bytes, [7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6], "as in an Ethernet header");
    }

    #[test]
    fn an_old_forward_leaves_nothing_behind_in_a_drop() {
        let region = Memory::new();
        let forward = NextHop {
            action: Action::Forward,
            peer: 3,
            mtu: 9000,
            addresses: Addresses::new([0xff; 6], [0xff; 6]),
        };
        forward.store(&region, 0);
        NextHop::without_way(Action::Drop(Reason::Blackhole)).store(&region, 0);
        assert!((2..32).all(|at| region.u8_at(at) == 0));
    }

    #[test]
    fn zeroes_and_nonsense_have_no_route() {
        let region = Memory::new();
        assert_eq!(NextHop::load(&region, 0), NextHop::NO_ROUTE);
        for (action, reason) in [(0, 9), (4, 0), (255, 255), (KERNEL, 63), (DROP, 255)] {
            region.set_u8(0, action);
            region.set_u8(1, reason);
            assert_eq!(NextHop::load(&region, 0), NextHop::NO_ROUTE, "{action} {reason}");
        }
    }
}
