//! From a compiler's files to words in memory.

mod assemble;
mod operand;

pub use assemble::{AssembleError, Assembly, assemble};
