//! Checks in straight code: no work goes on long after its fuel is used up (SPINE 3.3.2).
//!
//! The compiler counts all fuel, and looks whether any is left where a function begins and where a loop
//! begins again: nothing can run for ever in between. But much can: two megabytes of code without a loop are
//! a hundred budgets, and a module that has written its requests for messages out one after the other is
//! given a new budget before anybody looks. So the linker puts a look wherever one is missing: an empty
//! loop, which is three bytes of WebAssembly, changes nothing on the operand stack and may stand anywhere.
//!
//! Invariants, on every way through a function, counted in fuel: between two looks there are at most
//! [`BETWEEN`]; from the last one to the function's end at most [`AFTER`]. A call begins with a look (an
//! import looks, too, or takes its cost from what is left), so behind one there are at most `AFTER`,
//! whatever was called.
//!
//! What a module's own code needs is a few of them, since compilers write loops and short functions.

use wasmparser::{FunctionBody, Operator};
use wasmtime::OperatorCost;

/// Fuel between two looks, at most: an eighth of a usual budget.
pub(crate) const BETWEEN: u64 = 1_000;
/// Fuel between the last look in a function and its end, at most.
pub(crate) const AFTER: u64 = BETWEEN / 2;
/// What a copy or fill of a small constant length may cost beyond its instruction without a look of the
/// compiler's own (wasmtime 48, `SMALL_BULK_OP_COST`).
const SMALL_BULK: u64 = 128;

/// An empty loop: `loop`, no parameters or results, `end`.
pub(crate) const LOOK: [u8; 3] = [0x03, 0x40, 0x0b];

/// A block that is open.
struct Frame {
    is_loop: bool,
    /// The most fuel since a look with which it is left by a branch.
    left_with: u64,
    /// Of an `if` whose `else` has not come: the fuel since a look at its beginning.
    otherwise: Option<u64>,
}

impl Frame {
    fn new(is_loop: bool) -> Self {
        Self { is_loop, left_with: 0, otherwise: None }
    }
}

/// What is known on the way through a function.
struct Walk {
    /// The most fuel used since a look.
    used: u64,
    /// Open blocks; the first is the function.
    frames: Vec<Frame>,
    places: Vec<usize>,
}

/// Where looks are missing in a function: the places, in the file, of the instructions before which they
/// belong, in order.
///
/// # Errors
/// An instruction that cannot be read.
pub(crate) fn missing(
    body: &FunctionBody<'_>,
    costs: &OperatorCost,
) -> wasmparser::Result<Vec<usize>> {
    let mut walk = Walk { used: 1, frames: vec![Frame::new(false)], places: Vec::new() };
    for operator in body.get_operators_reader()?.into_iter_with_offsets() {
        let (operator, place) = operator?;
        walk.step(&operator, place, cost(&operator, costs));
    }
    Ok(walk.places)
}

fn cost(operator: &Operator<'_>, costs: &OperatorCost) -> u64 {
    let bulk = matches!(
        operator,
        Operator::MemoryCopy { .. } | Operator::MemoryFill { .. } | Operator::MemoryInit { .. }
    );
    u64::try_from(costs.cost(operator)).unwrap_or(0) + if bulk { SMALL_BULK } else { 0 }
}

impl Walk {
    fn step(&mut self, operator: &Operator<'_>, place: usize, cost: u64) {
        let most = if self.may_end(operator) { AFTER } else { BETWEEN };
        if self.used + cost > most {
            self.places.push(place);
            self.used = 0;
        }
        self.used += cost;
        match operator {
            Operator::Block { .. } => self.frames.push(Frame::new(false)),
            Operator::Loop { .. } => {
                self.frames.push(Frame::new(true));
                self.used = 0;
            }
            Operator::If { .. } => {
                let otherwise = Some(self.used);
                self.frames.push(Frame { otherwise, ..Frame::new(false) });
            }
            Operator::Else => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.left_with = frame.left_with.max(self.used);
                    self.used = frame.otherwise.take().unwrap_or(0);
                }
            }
            Operator::End => {
                if let Some(frame) = self.frames.pop() {
                    let otherwise = frame.otherwise.unwrap_or(0);
                    self.used = self.used.max(frame.left_with).max(otherwise);
                }
            }
            Operator::BrIf { relative_depth } => self.branch(*relative_depth),
            Operator::Br { relative_depth } => {
                self.branch(*relative_depth);
                self.used = 0;
            }
            Operator::BrTable { targets } => {
                targets.targets().filter_map(Result::ok).for_each(|depth| self.branch(depth));
                self.branch(targets.default());
                self.used = 0;
            }
            // What follows, up to the end of the block, is never run.
            Operator::Return | Operator::Unreachable => self.used = 0,
            Operator::Call { .. } | Operator::CallIndirect { .. } => self.used = AFTER,
            _ => {}
        }
    }

    /// Whether the function may end with this instruction.
    fn may_end(&self, operator: &Operator<'_>) -> bool {
        let function = self.frames.len().saturating_sub(1);
        let is_function = |depth: u32| depth as usize == function;
        match operator {
            Operator::Return => true,
            Operator::End => function == 0,
            Operator::Br { relative_depth } | Operator::BrIf { relative_depth } => {
                is_function(*relative_depth)
            }
            Operator::BrTable { targets } => {
                let mut all = targets.targets().filter_map(Result::ok);
                is_function(targets.default()) || all.any(is_function)
            }
            _ => false,
        }
    }

    /// A branch out of a block carries what was used to its end; one back to a loop meets a look there.
    fn branch(&mut self, depth: u32) {
        let outer = self.frames.iter_mut().rev().nth(depth as usize);
        if let Some(frame) = outer.filter(|frame| !frame.is_loop) {
            frame.left_with = frame.left_with.max(self.used);
        }
    }
}

/// A function's bytes with the looks in their places; `start` is where the bytes are in the file.
pub(crate) fn insert(bytes: &[u8], start: usize, places: &[usize]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len() + places.len() * LOOK.len());
    let mut done = 0;
    for place in places {
        // The places come from the parser, in order, and lie in these bytes.
        let next = place.saturating_sub(start).clamp(done, bytes.len());
        out.extend_from_slice(&bytes[done..next]);
        out.extend_from_slice(&LOOK);
        done = next;
    }
    out.extend_from_slice(&bytes[done..]);
    out
}

#[cfg(test)]
mod tests;
