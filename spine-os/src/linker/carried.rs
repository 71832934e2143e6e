//! What loops carry round: the look at a function that says how long a compiler will take for it.
//!
//! Each loop hands a value of each local that is set in it from one round to the next, and so does each loop around it.
//! The fuel is one more, of each loop and those around it.
//! A compiler's time goes with the third power of how many these are in a function (measured: 10,000 take a
//! twentieth of a second, 40,000 five, 100,000 more than a minute), and a few kilobytes of loops inside each other are
//! enough for that many. Loops that people and compilers write carry a few locals each.

use std::collections::BTreeSet;

use wasmparser::Operator;

/// A block that is open, and the locals set in it if it is a loop.
struct Frame {
    set: Option<BTreeSet<u32>>,
}

/// Counts what the loops of a function carry.
pub(crate) struct Carried {
    frames: Vec<Frame>,
    /// So far, by loops that have ended.
    count: usize,
    most: usize,
}

impl Carried {
    /// For a function in which there may be so much.
    pub(crate) const fn new(most: usize) -> Self {
        Self { frames: Vec::new(), count: 0, most }
    }

    /// Takes the next instruction in; nothing more is counted once it is too much.
    pub(crate) fn step(&mut self, operator: &Operator<'_>) {
        match operator {
            Operator::Loop { .. } => self.frames.push(Frame { set: Some(BTreeSet::new()) }),
            Operator::Block { .. } | Operator::If { .. } => self.frames.push(Frame { set: None }),
            Operator::LocalSet { local_index } | Operator::LocalTee { local_index } => {
                let mut open = self.frames.iter_mut().rev();
                if let Some(set) = open.find_map(|frame| frame.set.as_mut()) {
                    set.insert(*local_index);
                }
            }
            Operator::End => {
                if let Some(set) = self.frames.pop().and_then(|frame| frame.set) {
                    self.end(set);
                }
            }
            _ => {}
        }
    }

    /// A loop has ended: what it carries, those around it carry, too.
    fn end(&mut self, mut set: BTreeSet<u32>) {
        let around = self.frames.iter().filter(|frame| frame.set.is_some()).count();
        self.count = self.count.saturating_add(set.len() + 1 + around);
        let mut open = self.frames.iter_mut().rev();
        if self.count <= self.most
            && let Some(outer) = open.find_map(|frame| frame.set.as_mut())
        {
            if outer.len() < set.len() {
                std::mem::swap(outer, &mut set);
            }
            outer.extend(set);
        }
    }

    /// How much it is: more than was allowed is all that is known of the rest.
    pub(crate) const fn count(&self) -> usize {
        self.count
    }
}
