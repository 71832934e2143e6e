//! References: what an extension holds instead of a frame, checked each time it shows one.
//!
//! A reference is the frame's index and a generation that the adapter has never given out before, so
//! it names one handing-out of one frame. It is good while the extension handles the message that
//! carries it and, if the verdict was "keep", until released. Everything else is stale or forged.

use spine_abi::limits::BURST;
use spine_abi::{BufferRef, ErrorCode};

use spine_nic::buffer::Frame;

/// Frames one extension may keep: what it could be given in four bursts, or less if its share of the
/// adapter's frames is less.
pub const KEPT: usize = 4 * BURST;

/// Gives out generations.
#[derive(Debug, Default)]
pub struct Generations(u32);

impl Generations {
    /// A reference for handing out this frame once.
    #[inline]
    pub fn refer(&mut self, frame: &Frame) -> BufferRef {
        // Zero means "no buffer", so the counter skips it when it wraps.
        self.0 = self.0.checked_add(1).unwrap_or(1);
        BufferRef { index: frame.index(), generation: self.0 }
    }
}

/// A frame that is kept.
#[derive(Debug)]
struct Held {
    reference: BufferRef,
    frame: Frame,
    touched: bool,
}

/// The frames an extension keeps.
#[derive(Debug)]
pub struct Kept {
    frames: Vec<Held>,
    newest: u32,
    limit: usize,
}

impl Default for Kept {
    fn default() -> Self {
        Self { frames: Vec::new(), newest: 0, limit: KEPT }
    }
}

impl Kept {
    /// Lets so many be kept from now on, and [`KEPT`] at most; what is kept already stays.
    #[inline]
    pub fn set_limit(&mut self, frames: usize) {
        self.limit = frames.min(KEPT);
    }

    /// Keeps a frame under the reference it was handed out with; a frame over the bound comes back.
    /// `touched` says whether its packet may be another than was received.
    pub fn keep(&mut self, reference: BufferRef, frame: Frame, touched: bool) -> Result<(), Frame> {
        self.newest = self.newest.max(reference.generation);
        if self.frames.len() >= self.limit {
            return Err(frame);
        }
        self.frames.push(Held { reference, frame, touched });
        Ok(())
    }

    fn find(&self, reference: BufferRef) -> Result<usize, ErrorCode> {
        let known = self.frames.iter().position(|held| held.reference == reference);
        let was_given_out = reference.is_some() && reference.generation <= self.newest;
        let wrong = if was_given_out { ErrorCode::StaleBuffer } else { ErrorCode::NoBuffer };
        known.ok_or(wrong)
    }

    /// The frame kept under a reference.
    ///
    /// # Errors
    /// [`ErrorCode::StaleBuffer`] for a generation that was given out before,
    /// [`ErrorCode::NoBuffer`] for one that never was.
    pub fn get_mut(&mut self, reference: BufferRef) -> Result<&mut Frame, ErrorCode> {
        let at = self.find(reference)?;
        Ok(&mut self.frames[at].frame)
    }

    /// Gives a kept frame back.
    ///
    /// # Errors
    /// As [`get_mut`](Self::get_mut).
    pub fn release(&mut self, reference: BufferRef) -> Result<Frame, ErrorCode> {
        let at = self.find(reference)?;
        Ok(self.frames.swap_remove(at).frame)
    }

    /// Notes that a reference was given back before it was kept: it is stale from now on.
    pub fn forget(&mut self, reference: BufferRef) {
        self.newest = self.newest.max(reference.generation);
    }

    /// Notes that the packet of a kept frame was changed.
    pub fn touch(&mut self, reference: BufferRef) {
        if let Ok(at) = self.find(reference) {
            self.frames[at].touched = true;
        }
    }

    /// Takes everything back, for an extension that ends: each frame, and whether its packet may be another
    /// than was received.
    pub fn drain(&mut self) -> impl Iterator<Item = (Frame, bool)> {
        self.frames.drain(..).map(|held| (held.frame, held.touched))
    }

    /// How many frames are kept.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use spine_nic::buffer::FrameMemory;

    use super::*;

    #[test]
    fn only_the_very_reference_opens_a_kept_frame() {
        let (_memory, mut dealt) = FrameMemory::anonymous(2, 2048, 1).unwrap();
        let mut generations = Generations::default();
        let mut kept = Kept::default();
        let frame = dealt[0].pop().unwrap();
        let old = generations.refer(&frame);
        let reference = generations.refer(&frame);
        kept.keep(reference, frame, false).unwrap();
        assert_eq!(kept.get_mut(old), Err(ErrorCode::StaleBuffer));
        let forged = BufferRef { generation: 77, ..reference };
        assert_eq!(kept.get_mut(forged), Err(ErrorCode::NoBuffer));
        let elsewhere = BufferRef { index: reference.index + 1, ..reference };
        assert_eq!(kept.get_mut(elsewhere), Err(ErrorCode::StaleBuffer));
        assert!(kept.get_mut(reference).is_ok());
        assert!(kept.release(reference).is_ok());
        assert_eq!(kept.get_mut(reference), Err(ErrorCode::StaleBuffer));
    }

    #[test]
    fn keeping_is_bounded_and_the_frame_is_not_lost() {
        let frames = u32::try_from(KEPT + 1).unwrap();
        let (_memory, mut dealt) = FrameMemory::anonymous(frames, 2048, 1).unwrap();
        let mut generations = Generations::default();
        let mut kept = Kept::default();
        for frame in dealt.pop().unwrap() {
            let reference = generations.refer(&frame);
            let full = kept.len() == KEPT;
            assert_eq!(kept.keep(reference, frame, false).is_err(), full);
        }
        assert_eq!(kept.drain().count(), KEPT);
    }
}
