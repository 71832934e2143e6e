//! Reading verdicts: what an extension may ask for, and what of its slots goes back to the packets.

use spine_abi::Verdict;
use spine_abi::interface::{Domain, Domains};
use spine_abi::limits::HEADER_BYTES;
use spine_abi::verdict::Finish;
use spine_nic::ETHERNET_BYTES;
use spine_nic::buffer::FrameMemory;

use super::state::Handler;
use super::sys::OwnMemory;
use crate::message::{Body, Outcome, Pending};

/// How often one message may be passed on from handler to handler.
const MAX_HOPS: u8 = 8;
/// Bytes that the runtime copies or sums for one unit of fuel.
const BYTES_PER_UNIT: u64 = 16;
/// What copying a small message costs.
const MESSAGE_COST: u64 = 16;
/// What handing a packet to the kernel costs.
const KERNEL_COST: u64 = 50;
/// Bytes of the header as a distance in linear memory.
const HEADER: u32 = 16;

const _: () = assert!(HEADER as usize == HEADER_BYTES);

/// What verdicts of one extension are judged by.
pub(super) struct Judge<'a> {
    pub(super) handlers: &'a [Handler],
    pub(super) frames: &'a FrameMemory,
    pub(super) own: Option<&'a OwnMemory>,
    pub(super) domains: Domains,
    /// The adapters that packets may go to, a bit each.
    pub(super) egress: u64,
}

impl Judge<'_> {
    /// The peer that a packet goes to, if that is all its verdict says and it may: `outcome` in short,
    /// for what nearly every packet of a router is. What its handler changed is copied back.
    #[inline(always)]
    pub(super) fn forwards(&self, bits: u64, pending: &mut Pending, slot: u32) -> Option<u16> {
        let peer = Verdict::plain_forward(bits)?;
        let may = matches!(pending.body, Body::Bulk(..))
            && self.domains.contains(Domain::Peer)
            && reaches(self.egress, peer);
        (may && self.write_back(pending, slot)).then_some(peer)
    }

    /// The outcome of a message whose slot is at `slot`; what its handler changed is copied back to
    /// the packet if that goes on.
    #[inline]
    pub(super) fn outcome(&self, bits: u64, pending: &mut Pending, slot: u32) -> Outcome {
        let Ok(verdict) = Verdict::from_bits(bits) else { return Outcome::Refused };
        let bulk = matches!(pending.body, Body::Bulk(..));
        let (allowed, goes_on) = match verdict {
            Verdict::Done => return Outcome::Returned(verdict),
            Verdict::Drop(reason) if reason.is_an_extensions() => {
                return Outcome::Returned(verdict);
            }
            // What the runtime counts is the runtime's to say: else who reads it looks for a fault that is not there.
            Verdict::Drop(_) => return Outcome::Refused,
            Verdict::Forward { peer, finish } => {
                (bulk && reaches(self.egress, peer) && self.may(Domain::Peer, finish), true)
            }
            Verdict::Transmit { finish } => (bulk && self.may(Domain::Net, finish), true),
            Verdict::Keep => (bulk && self.domains.contains(Domain::Buffer), true),
            Verdict::Kernel { reason, finish } => {
                (bulk && reason.is_an_extensions() && self.may(Domain::Kernel, finish), false)
            }
            Verdict::Next(_) => (pending.hops < MAX_HOPS, bulk),
            // Done already, when it was handed in (`State::next`), if it was allowed.
            Verdict::Dma(_) | Verdict::Publish { .. } => return Outcome::Returned(verdict),
        };
        if !allowed || goes_on && !self.write_back(pending, slot) {
            return Outcome::Refused;
        }
        pending.touched |= goes_on && self.handlers[usize::from(pending.handler)].writeback > 0;
        if let Verdict::Next(number) = verdict {
            let position = self.handlers.iter().position(|handler| handler.number == number.0);
            let Some(handler) = position.and_then(|at| u8::try_from(at).ok()) else {
                return Outcome::Refused;
            };
            pending.handler = handler;
            pending.hops += 1;
            return Outcome::Passed;
        }
        Outcome::Returned(verdict)
    }

    /// Whether packets may go there, cut so.
    #[inline]
    fn may(&self, domain: Domain, finish: Finish) -> bool {
        self.domains.contains(domain) && (finish.length == 0 || finish.length >= ETHERNET_BYTES)
    }

    /// What the runtime's own work on a message costs its extension, in fuel: copies to and from the
    /// slot, a checksum, the copy for the kernel.
    #[inline]
    pub(super) fn cost(&self, pending: &Pending, outcome: &Outcome) -> u64 {
        let Body::Bulk(frame, _) = &pending.body else { return MESSAGE_COST };
        let length = u64::from(frame.len());
        let extra =
            match outcome {
                Outcome::Returned(Verdict::Kernel { .. }) => KERNEL_COST + length / BYTES_PER_UNIT,
                Outcome::Returned(
                    Verdict::Forward { finish, .. } | Verdict::Transmit { finish },
                ) if finish.checksum.is_some() => length / BYTES_PER_UNIT,
                _ => 0,
            };
        self.copies(pending) + extra
    }

    /// What the copies of a packet to and from its slot cost.
    #[inline]
    pub(super) fn copies(&self, pending: &Pending) -> u64 {
        let handler = &self.handlers[usize::from(pending.handler)];
        (u64::from(handler.prefix) + u64::from(handler.writeback)) / BYTES_PER_UNIT
    }

    #[inline(always)]
    fn write_back(&self, pending: &mut Pending, slot: u32) -> bool {
        let Body::Bulk(frame, _) = &mut pending.body else { return true };
        let bytes = self.handlers[usize::from(pending.handler)].writeback.min(frame.len());
        let packet = &mut self.frames.packet_mut(frame)[..usize::from(bytes)];
        self.own.is_some_and(|own| own.copy_out(slot + HEADER, packet).is_ok())
    }
}

/// Whether an adapter is among these, a bit each.
#[inline(always)]
pub(super) fn reaches(adapters: u64, adapter: u16) -> bool {
    adapters.checked_shr(u32::from(adapter)).is_some_and(|bits| bits & 1 != 0)
}
