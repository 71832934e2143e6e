//! The processor of the model, its disassembler and its linker, against their documents and against LLVM.

mod differential;
mod disassembler;
mod forward;
mod generator;
mod instructions;
mod linker;
mod program;
mod runtime;
mod tools;
mod trie;
