//! What happened to a window, counted where the application sees it: in the buffer's header page.

use spine_abi::frame_buffer::{counter, counters};

use super::target::Target;

/// One window's counters, which go on when its buffer is replaced. Written to the shared page at each
/// change; never read back from there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    at: usize,
    values: [u64; VALUES],
}

/// How many counters a window has.
const VALUES: usize = 8;

const fn position(offset: usize) -> usize {
    offset / 8
}

const _: () = assert!(position(counter::REVOKED) < VALUES);

impl Counts {
    /// The counters of the window with this index, all zero.
    pub(super) fn new(window: usize) -> Self {
        Self { at: counters(window), values: [0; VALUES] }
    }

    #[inline]
    fn add(&mut self, offset: usize, count: u64, target: &Target) {
        let value = &mut self.values[position(offset)];
        *value += count;
        target.store64(self.at + offset, *value);
    }

    /// Shows all of them in a buffer that is new to the window.
    pub(super) fn show(&self, target: &Target) {
        for (position, value) in self.values.iter().enumerate() {
            target.store64(self.at + 8 * position, *value);
        }
    }

    /// An element moved so many bytes of those it asked for.
    #[inline]
    pub(super) fn moved(&mut self, bytes: u64, asked: u64, target: &Target) {
        self.add(counter::BYTES, bytes, target);
        if bytes < asked {
            self.add(counter::CLIPPED, 1, target);
        }
    }

    /// An element came while there was no window: seen when there is one again.
    pub(super) fn revoked(&mut self) {
        self.values[position(counter::REVOKED)] += 1;
    }

    /// A frame was shown, complete or not; another, not taken, was overwritten by that.
    pub(super) fn published(&mut self, complete: bool, overwritten: bool, target: &Target) {
        self.add(if complete { counter::COMPLETE } else { counter::REPAIRED }, 1, target);
        self.add(counter::OVERWRITTEN, u64::from(overwritten), target);
    }

    /// A frame ended with something missing.
    pub(super) fn incomplete(&mut self, target: &Target) {
        self.add(counter::INCOMPLETE, 1, target);
    }

    /// A frame was thrown away.
    pub(super) fn dropped(&mut self, target: &Target) {
        self.add(counter::DROPPED, 1, target);
    }

    /// How many frames ended.
    pub(super) fn frames(&self) -> u64 {
        let ended = [counter::COMPLETE, counter::INCOMPLETE];
        ended.iter().map(|offset| self.values[position(*offset)]).sum()
    }
}
