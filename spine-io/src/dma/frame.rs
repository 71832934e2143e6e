//! The frame that is being filled: what has come of it, line by line.
//!
//! Bytes are counted for each line, so that a frame is known to be complete without the extension's word,
//! and an incomplete one where it is. The count does not know which bytes came twice: an extension that
//! does not throw duplicates away has holes in its own picture taken for filled, and harms nobody else.

use spine_abi::Nanos;

/// What is missing of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Missing {
    pub(super) lines: u32,
    pub(super) bytes: u64,
}

/// A frame between its first bytes and its end.
#[derive(Debug)]
pub(super) struct Frame {
    line_bytes: u64,
    came: Vec<u32>,
    open: bool,
    pub(super) tag: u32,
    pub(super) first: Nanos,
    pub(super) last: Nanos,
}

impl Frame {
    /// For frames of `lines` lines of `line_bytes` bytes; nothing has come yet.
    pub(super) fn new(lines: usize, line_bytes: usize) -> Self {
        Self {
            line_bytes: line_bytes as u64,
            came: vec![0; lines],
            open: false,
            tag: 0,
            first: Nanos(0),
            last: Nanos(0),
        }
    }

    /// Whether something has come since the last frame ended.
    #[inline]
    pub(super) fn is_open(&self) -> bool {
        self.open
    }

    /// Something of it comes now.
    #[inline]
    pub(super) fn touch(&mut self, tag: u32, now: Nanos) {
        if !self.open {
            self.open = true;
            self.first = now;
        }
        self.tag = tag;
        self.last = now;
    }

    /// So many bytes of a line have come.
    #[inline]
    pub(super) fn note(&mut self, line: usize, bytes: usize) {
        if let Some(came) = self.came.get_mut(line) {
            *came = came.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        }
    }

    /// What has not come.
    pub(super) fn missing(&self) -> Missing {
        self.came.iter().fold(Missing::default(), |missing, came| {
            let bytes = self.line_bytes.saturating_sub(u64::from(*came));
            Missing { lines: missing.lines + u32::from(bytes > 0), bytes: missing.bytes + bytes }
        })
    }

    /// The lines of which something is missing go to `into`.
    pub(super) fn holes(&self, into: &mut Vec<usize>) {
        let holes =
            self.came.iter().enumerate().filter(|(_, came)| u64::from(**came) < self.line_bytes);
        into.clear();
        into.extend(holes.map(|(line, _)| line));
    }

    /// Ends it: the next one has nothing yet.
    pub(super) fn end(&mut self) {
        self.open = false;
        self.came.fill(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_complete_when_every_byte_of_every_line_came() {
        let mut frame = Frame::new(3, 100);
        frame.touch(7, Nanos(5));
        for line in 0..3 {
            frame.note(line, 60);
        }
        frame.note(1, 40);
        assert_eq!(frame.missing(), Missing { lines: 2, bytes: 80 });
        let mut holes = vec![9];
        frame.holes(&mut holes);
        assert_eq!(holes, [0, 2]);
        frame.note(0, 1000);
        frame.note(2, 40);
        frame.note(99, 1);
        frame.touch(7, Nanos(9));
        assert_eq!(frame.missing(), Missing::default());
        assert_eq!((frame.first, frame.last, frame.tag), (Nanos(5), Nanos(9), 7));
        frame.end();
        assert!(!frame.is_open());
        assert_eq!(frame.missing(), Missing { lines: 3, bytes: 300 });
    }
}
