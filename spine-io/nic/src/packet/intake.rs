//! From the socket into frames: packets as they are, large ones in pieces.
//!
//! One system call fetches a burst straight into empty frames. What is longer than a frame goes on in a
//! spill beside it, and is cut into as many frames as it takes; if these run out, the rest waits here
//! for more, and nothing new is fetched before it is gone.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use spine_abi::limits::BURST;
use spine_abi::verdict::ChecksumRequest;

use super::segment::Segments;
use super::sys;
use crate::ETHERNET_BYTES;
use crate::buffer::{Frame, FrameMemory, HEADROOM};
use crate::checksum::complete_checksum;

/// Room for one packet of any size: the longest that IPv4 can be, its Ethernet header, and a frame's
/// worth of bytes that go into the frame first.
const SPILL_BYTES: usize = 72 << 10;
/// Bytes of a VLAN tag, and of the addresses in front of it.
const TAG_BYTES: u16 = 4;
const ADDRESS_BYTES: usize = 12;

/// The receiving half of an AF_PACKET socket.
#[derive(Debug)]
pub(super) struct Intake {
    memory: Arc<FrameMemory>,
    empty: Vec<Frame>,
    /// Frames in the middle of one system call; empty between calls.
    burst: Vec<Frame>,
    /// What was received and not yet taken.
    staged: VecDeque<Staged>,
    /// The large packet that is being cut; it comes before what is staged.
    cut: Option<Cut>,
    /// Room for the large packets of one system call.
    spill: Vec<u8>,
    /// When each packet that was taken last arrived, where the kernel says so.
    taken: Vec<Option<u64>>,
    oversized: u64,
}

/// A packet as received, in its place among those of one system call.
#[derive(Debug)]
struct Staged {
    frame: Frame,
    arrival: sys::Arrival,
    place: usize,
}

/// A large packet on its way into frames.
#[derive(Debug)]
struct Cut {
    segments: Segments,
    /// Where in the spill it is.
    place: usize,
    bytes: usize,
    /// When it arrived: all pieces did.
    at: Option<u64>,
}

impl Intake {
    /// Without frames to receive into.
    pub(super) fn new(memory: Arc<FrameMemory>) -> Self {
        Self {
            memory,
            empty: Vec::with_capacity(2 * BURST),
            burst: Vec::with_capacity(BURST),
            staged: VecDeque::with_capacity(BURST),
            cut: None,
            // Touched, and so taken from the system, only where large packets come.
            spill: vec![0; BURST * SPILL_BYTES],
            taken: Vec::with_capacity(BURST),
            oversized: 0,
        }
    }

    /// Takes empty frames from the end of `from`.
    pub(super) fn refill(&mut self, from: &mut Vec<Frame>) {
        // The kernel holds what arrives: here one burst and one to follow are enough.
        let taken = (2 * BURST).saturating_sub(self.empty.len()).min(from.len());
        self.empty.extend(from.drain(from.len() - taken..));
    }

    /// Whether nothing is left of what was fetched.
    pub(super) fn is_drained(&self) -> bool {
        self.staged.is_empty() && self.cut.is_none()
    }

    /// Packets thrown away so far because they fit into no frame.
    pub(super) fn oversized(&self) -> u64 {
        self.oversized
    }

    /// Receives what the kernel has, one packet for each empty frame at most; whether it was asked. Only
    /// to be called when nothing is left of the last time.
    pub(super) fn fetch(&mut self, socket: BorrowedFd<'_>, most: usize) -> bool {
        let wanted = most.min(BURST).min(self.empty.len());
        if wanted == 0 {
            return false;
        }
        let first = self.empty.len() - wanted;
        self.burst.extend(self.empty.drain(first..));
        for frame in &mut self.burst {
            self.memory.set_packet(frame, HEADROOM, 0);
        }
        let mut arrivals = [sys::Arrival::default(); BURST];
        let (burst, spill) = (&mut self.burst, &mut self.spill);
        // An error is "nothing there", or news of the interface (down, gone) that flush reports, too.
        let arrived = sys::receive(socket, &self.memory, burst, spill, SPILL_BYTES, &mut arrivals)
            .unwrap_or(0);
        for (place, frame) in self.burst.drain(..).enumerate() {
            match arrivals[..arrived].get(place) {
                Some(arrival) => self.staged.push_back(Staged { frame, arrival: *arrival, place }),
                None => self.empty.push(frame),
            }
        }
        true
    }

    /// Moves at most `most` packets to the end of `into`, and says how many.
    pub(super) fn take(&mut self, into: &mut Vec<Frame>, most: usize) -> usize {
        let before = into.len();
        self.taken.clear();
        while into.len() - before < most && self.take_one(into) {}
        into.len() - before
    }

    /// When each packet of the last [`take`](Self::take) arrived: nanoseconds of CLOCK_REALTIME, where the
    /// kernel says so.
    pub(super) fn taken(&self) -> &[Option<u64>] {
        &self.taken
    }

    /// Moves one packet to the end of `into`, or throws one away; false if there is none, or no frame
    /// for it.
    fn take_one(&mut self, into: &mut Vec<Frame>) -> bool {
        if self.cut.is_some() {
            return self.take_piece(into);
        }
        let Some(Staged { mut frame, arrival, place }) = self.staged.pop_front() else {
            return false;
        };
        if arrival.bytes > self.memory.packet_bytes() {
            self.begin_cut(frame, &arrival, place);
            return true;
        }
        let length = u16::try_from(arrival.bytes).unwrap_or(u16::MAX);
        if length < ETHERNET_BYTES {
            // A runt cannot come from a wire; it is thrown away under the name of the others.
            self.oversized += 1;
            self.empty.push(frame);
            return true;
        }
        if is_large_tcp(&arrival) && u32::from(length) > u32::from(arrival.offload.segment) {
            self.begin_cut(frame, &arrival, place);
            return true;
        }
        self.memory.set_packet(&mut frame, HEADROOM, length);
        self.finish_checksum(&mut frame, &arrival.offload);
        if let Some(tag) = arrival.tag {
            self.insert_tag(&mut frame, tag);
        }
        frame.set_handler(spine_abi::HandlerNumber::NONE);
        self.taken.push(arrival.at);
        into.push(frame);
        true
    }

    /// Begins to cut a large packet, of which the first part is in `frame`, or throws it away.
    fn begin_cut(&mut self, mut frame: Frame, arrival: &sys::Arrival, place: usize) {
        let start = place * SPILL_BYTES;
        let spill = &mut self.spill[start..start + SPILL_BYTES];
        let room = self.memory.room_mut(&mut frame);
        spill[..room.len()].copy_from_slice(room);
        self.empty.push(frame);
        // Tagged ones would have to carry the tag in each piece; adapters are not given any.
        let segments = spill
            .get(..arrival.bytes)
            .filter(|_| is_large_tcp(arrival) && arrival.tag.is_none())
            .and_then(|packet| Segments::new(packet, arrival.offload.segment));
        match segments {
            Some(segments) => {
                self.cut = Some(Cut { segments, place, bytes: arrival.bytes, at: arrival.at });
            }
            None => self.oversized += 1,
        }
    }

    /// Moves the next piece of the packet that is being cut to the end of `into`; false if there is no
    /// frame for it.
    fn take_piece(&mut self, into: &mut Vec<Frame>) -> bool {
        let Some(cut) = &mut self.cut else { return false };
        let Some(mut frame) = self.empty.pop() else { return false };
        let start = cut.place * SPILL_BYTES;
        let packet = &self.spill[start..start + cut.bytes];
        self.memory.set_packet(&mut frame, HEADROOM, 0);
        let piece = cut.segments.next(packet, self.memory.room_mut(&mut frame));
        let Some(length) = piece else {
            // No room for a piece: its sender's segments are longer than a frame.
            self.oversized += u64::from(!cut.segments.is_done(packet));
            self.empty.push(frame);
            self.cut = None;
            return true;
        };
        self.memory.set_packet(&mut frame, HEADROOM, length);
        frame.set_handler(spine_abi::HandlerNumber::NONE);
        self.taken.push(cut.at);
        into.push(frame);
        true
    }

    /// Completes the checksum that the sender left to its card.
    fn finish_checksum(&self, frame: &mut Frame, offload: &sys::Offload) {
        let fields = (u8::try_from(offload.checksum_start), u8::try_from(offload.checksum_offset));
        if offload.flags & sys::NEEDS_CHECKSUM != 0
            && let (Ok(start), Ok(offset)) = fields
        {
            complete_checksum(self.memory.packet_mut(frame), ChecksumRequest { start, offset });
        }
    }

    /// Puts back the tag that the kernel took out from behind the addresses: in front of the packet
    /// there is room for it.
    fn insert_tag(&self, frame: &mut Frame, tag: [u8; 4]) {
        let length = frame.len() + TAG_BYTES;
        self.memory.set_packet(frame, HEADROOM - TAG_BYTES, length);
        let packet = self.memory.packet_mut(frame);
        let moved = usize::from(TAG_BYTES);
        packet.copy_within(moved..moved + ADDRESS_BYTES, 0);
        packet[ADDRESS_BYTES..ADDRESS_BYTES + moved].copy_from_slice(&tag);
    }
}

/// Whether the packet stands for several of TCP over IPv4.
fn is_large_tcp(arrival: &sys::Arrival) -> bool {
    arrival.offload.kind & !sys::SEGMENTS_ECN == sys::SEGMENTS_TCP4
}
