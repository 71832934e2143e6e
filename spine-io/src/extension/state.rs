//! What the imports work on while an extension runs: the burst, and what it asked for on the way.

use std::sync::Arc;

use spine_abi::dma::{Source, Transfer};
use spine_abi::interface::{Domain, Domains};
use spine_abi::limits::{ARGUMENT_BYTES, BURST, HEADER_BYTES};
use spine_abi::{BufferRef, ErrorCode, Message, Verdict};
use spine_nic::buffer::{Frame, FrameMemory};
use wasmtime::{Func, Global};

use super::link::{Lent, Link};
use super::paging::Paging;
use super::sys::OwnMemory;
use super::timer::Timers;
use crate::dma::Windows;
use crate::message::{Body, Pending};
use crate::reference::Kept;

/// Whether the extension is being initialised, runs a burst, or is called by another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Init,
    Run,
    Called,
}

/// One handler, as installed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Handler {
    pub(super) number: u16,
    pub(super) prefix: u16,
    pub(super) writeback: u16,
    pub(super) context: u32,
}

/// Messages an extension may have sent in one entry before the runtime takes them.
pub(super) const OUTBOX: usize = 2 * BURST;

/// What no verdict is: the judge refuses it.
const REFUSED: u64 = u64::MAX;

/// The data of the extension's store.
pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) domains: Domains,
    pub(super) handlers: Vec<Handler>,
    pub(super) regions: Vec<(u32, u32)>,
    pub(super) frames: Arc<FrameMemory>,
    pub(super) own: Option<OwnMemory>,

    /// The messages of this entry; `answered` of them have a verdict, and the one after has been
    /// given out when `asked` is one more.
    pub(super) burst: Vec<Pending>,
    pub(super) asked: usize,
    pub(super) answered: usize,
    pub(super) verdicts: [u64; BURST],
    /// What `next` answers for each message: its handler's context and its slot's address.
    pub(super) answers: [u64; BURST],
    pub(super) slots: u32,
    pub(super) stride: u32,

    /// Fuel of one message, of one entry, and used in this entry.
    pub(super) fuel: u64,
    pub(super) share: u64,
    pub(super) spent: u64,
    /// Fuel as of the last accounting.
    pub(super) renewed: u64,

    /// The adapters that its packets and messages may go to, a bit each.
    pub(super) egress: u64,
    /// Which adapter and which of its extensions this is: the source of what it sends.
    pub(super) adapter: u16,
    pub(super) number: u16,

    /// The frame buffers it may fill.
    pub(super) windows: Windows,

    pub(super) kept: Kept,
    pub(super) released: Vec<Frame>,
    pub(super) to_host: Vec<Message>,
    pub(super) to_peer: Vec<(u16, Message)>,
    /// Messages it may not send in this entry any more, and tried to.
    pub(super) refused: u64,

    /// Where the shadow stack's pointer is, and its value outside of calls.
    pub(super) stack_pointer: Option<(Global, i32)>,
    /// The domains of other extensions that it was linked against.
    pub(super) links: Vec<Link>,
    /// While it runs: those it can reach.
    pub(super) rack: Vec<Lent>,
    /// The interfaces it exports, in the order of their declaration.
    pub(super) interfaces: Vec<Func>,
    /// Calls in which it trapped, since the runtime looked last.
    pub(super) traps: u64,

    pub(super) timers: Timers,
    pub(super) paging: Paging,
}

impl State {
    /// The state of no extension on an adapter.
    pub(super) fn new(frames: Arc<FrameMemory>, adapter: u16) -> Self {
        Self {
            phase: Phase::Init,
            domains: Domains::default(),
            handlers: Vec::new(),
            regions: Vec::new(),
            frames,
            own: None,
            burst: Vec::new(),
            asked: 0,
            answered: 0,
            verdicts: [0; BURST],
            answers: [0; BURST],
            slots: 0,
            stride: 0,
            fuel: 0,
            share: 0,
            spent: 0,
            renewed: 0,
            egress: u64::MAX,
            adapter,
            number: 0,
            windows: Windows::default(),
            kept: Kept::default(),
            released: Vec::new(),
            to_host: Vec::new(),
            to_peer: Vec::new(),
            refused: 0,
            stack_pointer: None,
            links: Vec::new(),
            rack: Vec::new(),
            interfaces: Vec::new(),
            traps: 0,
            timers: Timers::default(),
            paging: Paging::default(),
        }
    }

    /// The state of no extension, on the same adapter.
    pub(super) fn vacant(like: &Self) -> Self {
        Self::new(Arc::clone(&like.frames), like.adapter)
    }

    /// Takes the verdict on the message given out last and gives out the next: the context of its
    /// handler and its slot's address, or `None` when the burst or the share is used up. `left` is the
    /// fuel not used.
    #[inline]
    pub(super) fn next(&mut self, verdict: u64, left: u64) -> Option<u64> {
        let mut left = left;
        if self.asked > self.answered {
            let verdict = if Verdict::is_frame_buffer(verdict) {
                self.fill_window(verdict, &mut left)
            } else {
                verdict
            };
            self.verdicts[self.answered] = verdict;
            self.answered += 1;
        }
        self.settle(left);
        if self.asked == self.burst.len() || self.spent >= self.share {
            return None;
        }
        self.renewed = self.fuel;
        self.asked += 1;
        Some(self.answers[self.asked - 1])
    }

    /// Does what a verdict on the current message asks of frame buffers, at once, and takes its cost from
    /// `left`. The verdict, or one that is refused if it may not be given.
    fn fill_window(&mut self, verdict: u64, left: &mut u64) -> u64 {
        let may = self.domains.contains(Domain::FrameBuffer);
        let cost = match Verdict::from_bits(verdict) {
            Ok(Verdict::Dma(transfer)) if may => self.transfer(transfer, *left),
            Ok(Verdict::Publish { window, .. }) if may => Ok(self.windows.publish(window)),
            _ => Err(ErrorCode::NotGranted),
        };
        match cost {
            Ok(cost) => {
                *left = left.saturating_sub(cost);
                verdict
            }
            Err(_) => REFUSED,
        }
    }

    fn transfer(&mut self, transfer: Transfer, fuel: u64) -> Result<u64, ErrorCode> {
        let own = self.own.as_ref().ok_or(ErrorCode::NotNow)?.bytes();
        let at = self.slots as usize + self.answered * self.stride as usize + HEADER_BYTES;
        let list = own.get(at..at + ARGUMENT_BYTES).ok_or(ErrorCode::OutOfRange)?;
        let source = match (transfer.source, self.burst.get(self.answered).map(|p| &p.body)) {
            (Source::Scratch, _) => own,
            (Source::Packet, Some(Body::Bulk(frame, _))) => self.frames.packet(frame),
            (Source::Packet, _) => return Err(ErrorCode::NoBuffer),
        };
        self.windows.carry_out(transfer, list, source, fuel)
    }

    /// Accounts for the fuel used since it was renewed or last accounted for; `left` remains.
    #[inline]
    pub(super) fn settle(&mut self, left: u64) {
        self.spent += self.renewed.saturating_sub(left);
        self.renewed = left;
    }

    /// Copies from a held buffer's data into memory: `(offset, into, length)`.
    ///
    /// # Errors
    /// The reference names nothing held, or one of the ranges leaves its place.
    pub(super) fn read(
        &mut self,
        reference: BufferRef,
        (offset, into, length): (u32, u32, u32),
    ) -> Result<u32, ErrorCode> {
        let place = self.in_burst(reference);
        let Self { burst, kept, frames, own, .. } = self;
        let frame = held(burst, place, kept, reference)?;
        let data = part(frames.packet(frame), offset, length)?;
        own.as_mut().ok_or(ErrorCode::NotNow)?.copy_in(into, data)?;
        Ok(length)
    }

    /// Copies from memory into a held buffer's data: `(offset, from, length)`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub(super) fn write(
        &mut self,
        reference: BufferRef,
        (offset, from, length): (u32, u32, u32),
    ) -> Result<u32, ErrorCode> {
        let place = self.in_burst(reference);
        let Self { burst, kept, frames, own, .. } = self;
        let frame = held(burst, place, kept, reference)?;
        part(frames.packet(frame), offset, length)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start + usize::try_from(length).unwrap_or(usize::MAX);
        let data = &mut frames.packet_mut(frame)[start..end];
        own.as_ref().ok_or(ErrorCode::NotNow)?.copy_out(from, data)?;
        match place.and_then(|place| burst.get_mut(place)) {
            Some(pending) => pending.touched = true,
            None => kept.touch(reference),
        }
        Ok(length)
    }

    /// Gives a kept buffer back; the frame waits in `released` until the entry ends.
    ///
    /// # Errors
    /// The reference names nothing kept.
    pub(super) fn release(&mut self, reference: BufferRef) -> Result<(), ErrorCode> {
        match self.in_burst(reference) {
            // Kept a moment ago, in this burst: now it is done with.
            Some(place) if place < self.answered => {
                self.verdicts[place] = Verdict::Done.to_bits();
                self.kept.forget(reference);
            }
            _ => self.released.push(self.kept.release(reference)?),
        }
        Ok(())
    }

    /// Position of the message in the burst whose buffer the extension holds under this reference: the
    /// one being handled, or one handled before that it wants to keep.
    fn in_burst(&self, reference: BufferRef) -> Option<usize> {
        let names =
            |pending: &Pending| matches!(&pending.body, Body::Bulk(_, own) if *own == reference);
        let keep = Verdict::Keep.to_bits();
        let handled = self.burst.get(..self.answered)?;
        let current = (self.asked > self.answered).then_some(self.answered);
        let kept =
            || (0..handled.len()).find(|at| self.verdicts[*at] == keep && names(&handled[*at]));
        current.filter(|at| self.burst.get(*at).is_some_and(names)).or_else(kept)
    }
}

/// The frame that an extension holds under a reference: of the message at `place` in the burst, or one
/// that it kept.
fn held<'a>(
    burst: &'a mut [Pending],
    place: Option<usize>,
    kept: &'a mut Kept,
    reference: BufferRef,
) -> Result<&'a mut Frame, ErrorCode> {
    match place.and_then(|place| burst.get_mut(place)) {
        Some(Pending { body: Body::Bulk(frame, _), .. }) => Ok(frame),
        _ => kept.get_mut(reference),
    }
}

fn part(data: &[u8], offset: u32, length: u32) -> Result<&[u8], ErrorCode> {
    let start = usize::try_from(offset).map_err(|_| ErrorCode::OutOfRange)?;
    let length = usize::try_from(length).map_err(|_| ErrorCode::OutOfRange)?;
    data.get(start..).and_then(|rest| rest.get(..length)).ok_or(ErrorCode::OutOfRange)
}
