//! A window: what an extension's DMA fills, and how its frames are published (SPINE 5.1).
//!
//! Tear-free by construction: the slot being filled is neither the application's nor in the mailbox, and
//! which slot that is only the runtime knows. A frame is published when its extension says so, behind all
//! DMA before that; an incomplete one is thrown away or, where the buffer has a fourth slot, completed
//! from the frame before, a slice at a time, while the next frame is being filled.
//!
//! In a screen's buffer (one slot) a window is a leased rectangle. What is written there is seen at once.
//! Revoking the lease takes the window away between two messages: after that nothing is written.

use std::sync::Arc;

use nix::sys::eventfd::EventFd;
use spine_abi::Nanos;
use spine_abi::dma::Element;
use spine_abi::frame_buffer::{self, COMPLETE, REPAIRED, SCREEN_SLOTS, SLOTS_WITH_REPAIR, slot};
use spine_abi::mailbox::{EMPTY, Writer};

use super::copy;
use super::counts::Counts;
use super::frame::{Frame, Missing};
use super::sys::Mapping;
use super::target::Target;

/// Bytes a repair moves at a time.
pub(super) const SLICE: usize = 64 << 10;

/// A window, mapped and ready to be filled.
pub(crate) struct Window {
    target: Target,
    /// `None` in a screen's buffer.
    writer: Option<Writer>,
    frame: Frame,
    counts: Counts,
    doorbell: Option<Arc<EventFd>>,
    /// The slot published last: what a repair copies from. It stays as it is until the next publication.
    published: Option<usize>,
    repair: Option<Repair>,
    holes: Vec<usize>,
}

/// A frame set aside for repair.
#[derive(Debug)]
struct Repair {
    head: Head,
    from: usize,
    /// Position in the holes, and in the line there.
    at: usize,
    done: usize,
}

/// What a slot's header says of its frame.
#[derive(Debug, Clone, Copy)]
struct Head {
    flags: u32,
    number: u64,
    tag: u32,
    missing: Missing,
    first: Nanos,
    last: Nanos,
}

impl Window {
    /// Takes a mapped buffer into use: writes its header and empties its mailbox. Whoever puts it in its
    /// place says which counters it has ([`count_on`](Self::count_on)).
    pub(super) fn new(
        memory: Mapping,
        geometry: frame_buffer::Geometry,
        rectangle: frame_buffer::Rectangle,
        doorbell: Option<Arc<EventFd>>,
    ) -> Self {
        let target = Target::new(memory, geometry, rectangle);
        for (at, value) in geometry.fields() {
            target.store32(at, value);
        }
        let writer = (geometry.slots() != SCREEN_SLOTS).then(|| Writer::new(geometry.slots()));
        if writer.is_some() {
            target.store32(frame_buffer::MAILBOX, EMPTY);
        }
        target.store64(frame_buffer::header::MAGIC, frame_buffer::MAGIC);
        Self {
            frame: Frame::new(target.lines(), target.line_bytes()),
            target,
            writer,
            counts: Counts::new(0),
            doorbell,
            published: None,
            repair: None,
            holes: Vec::new(),
        }
    }

    /// Goes on with the counters of the window that was here before.
    pub(super) fn count_on(&mut self, counts: Counts) {
        self.counts = counts;
        self.counts.show(&self.target);
    }

    /// The counters as they stand.
    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether a frame has begun and not ended.
    pub(super) fn is_open(&self) -> bool {
        self.frame.is_open()
    }

    /// Carries out one element whose window this is.
    #[inline]
    pub(super) fn copy(&mut self, element: &Element, source: &[u8], tag: u32, now: Nanos) {
        self.frame.touch(tag, now);
        let slot = self.writer.as_ref().map_or(0, Writer::back);
        let frame = &mut self.frame;
        let moved = copy::element(element, source, &self.target, slot, |line, bytes| {
            frame.note(line, bytes);
        });
        self.counts.moved(moved, element.bytes(), &self.target);
    }

    /// Ends the frame: shows it, repairs it or throws it away. Nothing to do if none is open.
    pub(super) fn publish(&mut self) {
        if !self.frame.is_open() {
            return;
        }
        let missing = self.frame.missing();
        let head = Head {
            flags: if missing.bytes == 0 { COMPLETE } else { 0 },
            number: self.counts.frames() + 1,
            tag: self.frame.tag,
            missing,
            first: self.frame.first,
            last: self.frame.last,
        };
        self.abandon_repair();
        if missing.bytes > 0 {
            self.counts.incomplete(&self.target);
        }
        match (&self.writer, self.published) {
            (None, _) => self.show_on_screen(head),
            (Some(_), _) if missing.bytes == 0 => self.show(head),
            (Some(_), Some(from)) if self.target.geometry().slots() == SLOTS_WITH_REPAIR => {
                self.begin_repair(head, from);
            }
            _ => self.counts.dropped(&self.target),
        }
        self.frame.end();
    }

    /// What is on the screen is shown already; its header says what it is.
    fn show_on_screen(&mut self, head: Head) {
        self.counts.published(head.missing.bytes == 0, false, &self.target);
        self.ring();
    }

    fn show(&mut self, head: Head) {
        let Some(writer) = &mut self.writer else { return };
        let back = writer.back();
        write_head(&self.target, back, &head);
        let Some(mailbox) = self.target.mailbox() else { return };
        let overwritten = writer.publish(mailbox);
        self.published = Some(back);
        self.counts.published(true, overwritten, &self.target);
        self.ring();
    }

    fn ring(&self) {
        if let Some(doorbell) = &self.doorbell {
            // The only error is a full counter, and then it is readable anyway.
            let _ = doorbell.write(1);
        }
    }

    fn begin_repair(&mut self, head: Head, from: usize) {
        let Some(writer) = &mut self.writer else { return };
        writer.set_aside();
        self.frame.holes(&mut self.holes);
        self.repair = Some(Repair { head, from, at: 0, done: 0 });
    }

    /// The next frame ended before the repair of the last one: that one is of no use any more.
    fn abandon_repair(&mut self) {
        if self.repair.take().is_some() {
            self.counts.dropped(&self.target);
        }
    }

    /// Whether a repair waits for its next slice.
    pub(super) fn is_repairing(&self) -> bool {
        self.repair.is_some()
    }

    /// Does one slice of a repair, and shows the frame when it is done.
    pub(super) fn repair_slice(&mut self) {
        let (Some(repair), Some(writer)) = (&mut self.repair, &mut self.writer) else { return };
        let aside = writer.aside();
        let mut budget = SLICE;
        while let Some(line) = self.holes.get(repair.at).copied()
            && budget > 0
        {
            let end = self.target.line_bytes().min(repair.done + budget);
            self.target.copy_line(repair.from, aside, line, repair.done..end);
            budget -= end - repair.done;
            repair.done = end;
            if end == self.target.line_bytes() {
                repair.at += 1;
                repair.done = 0;
            }
        }
        if repair.at < self.holes.len() {
            return;
        }
        let head = Head { flags: REPAIRED, ..repair.head };
        self.repair = None;
        write_head(&self.target, aside, &head);
        let Some(mailbox) = self.target.mailbox() else { return };
        let overwritten = writer.publish_aside(mailbox);
        self.published = Some(aside);
        self.counts.published(false, overwritten, &self.target);
        self.ring();
    }
}

/// Writes a slot's header; the slot is not published yet.
fn write_head(target: &Target, slot_index: usize, head: &Head) {
    let at = target.geometry().slot_header(slot_index);
    let geometry = target.geometry();
    for (offset, value) in [
        (slot::GENERATION, geometry.generation()),
        (slot::FLAGS, head.flags),
        (slot::TAG, head.tag),
        (slot::WIDTH, geometry.width()),
        (slot::HEIGHT, geometry.height()),
        (slot::STRIDE, geometry.stride()),
        (slot::LINES_MISSING, head.missing.lines),
    ] {
        target.store32(at + offset, value);
    }
    for (offset, value) in [
        (slot::FRAME_NUMBER, head.number),
        (slot::BYTES_MISSING, head.missing.bytes),
        (slot::FIRST_TIME, head.first.0),
        (slot::LAST_TIME, head.last.0),
    ] {
        target.store64(at + offset, value);
    }
}
