//! The processor of the model, its disassembler and its linker, against their documents and against LLVM.

mod disassembler;
mod instructions;
mod tools;
