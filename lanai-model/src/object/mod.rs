//! From a compiler's files to words in memory.
//!
//! `clang --target=lanai -O2 -c` makes relocatable ELF files, and nothing exists that links them for a LANai: [`link`] does.
//! It also brings the routines that compiled code calls and no library has for this processor, written in assembly text for
//! [`assemble`]. Compile with `-mllvm -disable-peephole` too: LLVM 14 to 19 miscompile 64-bit `constant - x` for this target
//! otherwise. What it leaves out: archives, shared objects, debugging information, floating point.
//!
//! ```
//! use lanai_model::cpu::{Cpu, FlatMemory, Isa};
//! use lanai_model::object::assemble;
//!
//! let program = assemble("mov 0x2a, %rv", 0x100)?;
//! let mut memory = FlatMemory::new(0x1000);
//! memory.write_words(0x100, &program.words);
//! let mut cpu = Cpu::new(Isa::V11);
//! cpu.set_pc(0x100);
//! cpu.step(&mut memory);
//! assert_eq!(cpu.register(8), 42);
//! # Ok::<(), lanai_model::object::AssembleError>(())
//! ```

mod assemble;
mod elf;
mod error;
mod link;
mod operand;
mod relocate;
mod runtime;

pub use assemble::{AssembleError, Assembly, assemble};
pub use error::LinkError;
pub use link::{Image, link};
pub use runtime::runtime_source;
