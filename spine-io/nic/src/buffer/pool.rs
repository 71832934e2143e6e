//! The frames an adapter has at home, free to receive into.

use super::Frame;

/// A stack of free frames: the one given back last is the one still in the cache.
#[derive(Debug)]
pub struct Pool {
    home: u16,
    total: usize,
    free: Vec<Frame>,
}

impl Pool {
    /// A pool of these frames, all of which are at home here.
    pub fn new(home: u16, frames: Vec<Frame>) -> Self {
        debug_assert!(frames.iter().all(|frame| frame.home() == home));
        Self { home, total: frames.len(), free: frames }
    }

    /// How many frames belong here.
    pub fn total(&self) -> usize {
        self.total
    }

    /// How many are here now.
    pub fn free(&self) -> usize {
        self.free.len()
    }

    /// The free frames, for a backend to take from the end.
    pub fn frames_mut(&mut self) -> &mut Vec<Frame> {
        &mut self.free
    }

    /// Takes a frame back, if it belongs here; a stranger comes back to the caller, who sends it home.
    #[inline]
    pub fn put(&mut self, frame: Frame) -> Option<Frame> {
        if frame.home() == self.home {
            self.free.push(frame);
            None
        } else {
            Some(frame)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buffer::FrameMemory;

    #[test]
    fn strangers_are_not_kept() {
        let (_memory, mut dealt) = FrameMemory::anonymous(4, 2048, 2).unwrap();
        let theirs = dealt.pop().unwrap();
        let mut pool = Pool::new(0, dealt.pop().unwrap());
        let mine = pool.frames_mut().pop().unwrap();
        assert_eq!(pool.free(), 1);
        assert!(pool.put(mine).is_none());
        for stranger in theirs {
            assert!(pool.put(stranger).is_some());
        }
        assert_eq!((pool.free(), pool.total()), (2, 2));
    }
}
