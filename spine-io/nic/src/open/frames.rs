//! How many frames, and how large, with what rings: one rule for everybody who opens interfaces.

use super::{Interface, OpenError};
use crate::buffer::HEADROOM;
use crate::punt::inject;
use crate::xdp::Rings;

/// Bytes an Ethernet frame has beyond its MTU: header and one VLAN tag.
pub(super) const LINK_BYTES: u32 = 14 + 4;
/// The sizes that a frame can have: what the kernel takes for AF_XDP (half a page, or a page).
const SMALL: u32 = 2048;
const LARGE: u32 = 4096;
/// What cards' registers for the size of a frame count in.
const REGISTER_STEP: u32 = 1024;
/// Entries of a receive ring, at most.
const LONGEST_RING: u32 = 16384;

/// How many frames an adapter gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameCount {
    /// Frames for each queue of the interface with the most of them.
    pub each_queue: u32,
    /// Frames beside those.
    pub beside: u32,
    /// Frames of one adapter, at most.
    pub most: u32,
}

impl Default for FrameCount {
    /// Those lent to the queues, and those on their way through a router.
    fn default() -> Self {
        Self { each_queue: 2048, beside: 4096, most: u32::MAX }
    }
}

impl FrameCount {
    /// So many, however many queues there are.
    pub fn exactly(frames: u32) -> Self {
        Self { each_queue: 0, beside: frames, most: frames }
    }

    /// Frames of an adapter, where the interface with the most queues has so many.
    pub fn of(self, queues: u32) -> u32 {
        self.each_queue.saturating_mul(queues).saturating_add(self.beside).min(self.most)
    }
}

/// Rings that leave half of a queue's frames for what is on its way: longer ones bridge longer stalls.
pub(super) fn rings(frames: u32) -> Rings {
    let usual = Rings::default();
    let mut length = usual.receive;
    while length * 4 <= frames && length < LONGEST_RING {
        length *= 2;
    }
    Rings { receive: length, fill: length, ..usual }
}

/// The longest MTU of which every packet fits into one frame, and into what the kernel takes back: a
/// packet too long for the way out gets its ICMP error from the kernel.
pub fn longest_mtu() -> u32 {
    longest_packet(LARGE as usize) - LINK_BYTES
}

/// The longest packet, Ethernet header and all, that a frame of so many bytes holds and the kernel takes back. Longer ones are
/// the kernel's from the start.
pub(super) fn longest_packet(frame_bytes: usize) -> u32 {
    let frame = u32::try_from(frame_bytes).unwrap_or(u32::MAX);
    (frame - u32::from(HEADROOM)).min(inject::LONGEST)
}

/// Bytes of the frames that all these interfaces' packets fit into, if there are any.
///
/// A card that writes into our frames says how large they are in a register of its own, in whole kilobytes
/// (igb, igc, 82599): of 2048 bytes 1792 are left behind the headroom, of which it takes 1024, and a longer
/// packet is cut in two that arrive as two. So where that may be, frames are a page unless every packet fits
/// into the first kilobyte. Not by a list of drivers: those without such a register lose a little memory.
pub(super) fn bytes(
    interfaces: &[Interface],
    may_be_without_copies: impl Fn(&Interface) -> bool,
) -> usize {
    let is_long = |interface: &Interface| {
        let rounded = may_be_without_copies(interface) && !interface.is_virtual();
        interface.mtu > if rounded { REGISTER_STEP - LINK_BYTES } else { room(SMALL) }
    };
    let bytes = if interfaces.iter().any(is_long) { LARGE } else { SMALL };
    bytes as usize
}

/// Refuses interfaces with packets that fit into no frame, where nobody passes those to the kernel.
///
/// # Errors
/// [`OpenError::Mtu`] for the first. Not for the loopback interface, whose MTU says nothing of what is sent there: its longer packets
/// are counted as lost.
pub(super) fn refuse_longer(interfaces: &[Interface]) -> Result<(), OpenError> {
    let most = longest_mtu();
    let longer = |interface: &&Interface| interface.mtu > most && !interface.is_loopback;
    match interfaces.iter().find(longer) {
        None => Ok(()),
        Some(Interface { name, mtu, .. }) => {
            Err(OpenError::Mtu { interface: name.clone(), mtu: *mtu, most })
        }
    }
}

/// The longest MTU that a frame of so many bytes takes.
fn room(bytes: u32) -> u32 {
    bytes - u32::from(HEADROOM) - LINK_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(mtu: u32) -> Interface {
        Interface {
            index: 1,
            name: "a".to_owned(),
            mac: [2, 0, 0, 0, 0, 1],
            mtu,
            kind: None,
            is_loopback: false,
            has_carrier: true,
            xdp_program: None,
        }
    }

    #[test]
    fn frames_are_as_large_as_the_mtu_needs_and_no_larger_than_the_kernel_takes_back() {
        let bytes = |mtu| bytes(&[interface(mtu)], |_| false);
        assert_eq!(bytes(1500), 2048);
        assert_eq!(bytes(1774), 2048);
        assert_eq!(bytes(1775), 4096);
        assert_eq!(bytes(9000), 4096, "longer packets are the kernel's");
        assert_eq!((longest_packet(2048), longest_packet(4096)), (1792, 3408));
        let refused = |mtu| refuse_longer(&[interface(mtu)]).map_err(|error| error.to_string());
        assert_eq!(refused(3390), Ok(()));
        let sentence = "a has an MTU of 3391, and an adapter takes 3390 at most: \
                        ip link set dev a mtu 3390";
        assert_eq!(refused(3391), Err(sentence.to_owned()));
    }

    #[test]
    fn the_largest_mtu_of_several_decides_and_loopback_s_is_no_reason_to_refuse() {
        let loopback = Interface { is_loopback: true, ..interface(65_536) };
        assert_eq!(bytes(&[interface(1500), loopback.clone()], |_| false), 4096);
        assert!(refuse_longer(&[loopback]).is_ok());
    }

    #[test]
    fn what_a_card_may_cut_at_a_kilobyte_gets_a_page() {
        let of = |mtu, kind: Option<&str>, may: bool| {
            let kind = kind.map(str::to_owned);
            bytes(&[Interface { kind, ..interface(mtu) }], |_| may)
        };
        assert_eq!(of(1500, None, true), 4096);
        assert_eq!(of(1006, None, true), 2048);
        assert_eq!(of(1007, None, true), 4096);
        assert_eq!(of(1500, None, false), 2048, "copies go into frames of any size");
        assert_eq!(of(1500, Some("veth"), true), 2048, "no card is behind it");
    }

    #[test]
    fn rings_are_longer_where_there_are_frames_for_it() {
        for (frames, length) in
            [(256, 2048), (6144, 2048), (8192, 4096), (32768, 16384), (1 << 18, 16384)]
        {
            assert_eq!(rings(frames).receive, length, "{frames} frames");
        }
    }

    #[test]
    fn frames_grow_with_the_queues_up_to_a_bound() {
        assert_eq!(FrameCount::default().of(1), 6144);
        assert_eq!(FrameCount::default().of(4), 12288);
        assert_eq!(FrameCount::exactly(700).of(4), 700);
        let video = FrameCount { each_queue: 32768, beside: 0, most: 1 << 17 };
        assert_eq!((video.of(1), video.of(4), video.of(16)), (32768, 131_072, 131_072));
    }
}
