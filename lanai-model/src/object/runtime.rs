//! The routines that compilers call and nobody supplies for this processor.
//!
//! Why they are assembly text: whoever runs the model needs no compiler for it, the words are exact and cost what they cost
//! on the processor (a trap into the host would make a multiplication as cheap as an addition), and the text is what LLVM's
//! assembler reads too, which a test uses to check ours.

use super::assemble::{AssembleError, Assembly, assemble};

const SOURCES: [&str; 5] = [
    include_str!("../../runtime/multiply.s"),
    include_str!("../../runtime/divide.s"),
    include_str!("../../runtime/divide_wide.s"),
    include_str!("../../runtime/shift.s"),
    include_str!("../../runtime/memory.s"),
];

/// What the routines are called.
const ROUTINES: [&str; 18] = [
    "__mulsi3",
    "__muldi3",
    "__udivsi3",
    "__umodsi3",
    "__divsi3",
    "__modsi3",
    "__udivdi3",
    "__umoddi3",
    "__divdi3",
    "__moddi3",
    "__ashldi3",
    "__lshrdi3",
    "__ashrdi3",
    "memcpy",
    "memmove",
    "memset",
    "memcmp",
    "bcmp",
];

/// The assembly text of all supplied routines, for v11.
#[must_use]
pub fn runtime_source() -> String {
    SOURCES.concat()
}

/// Whether a routine of this name is supplied.
pub(super) fn supplies(name: &str) -> bool {
    ROUTINES.contains(&name)
}

/// The routines, assembled to run at `base`; all or none of them are in an image.
pub(super) fn runtime(base: u32) -> Result<Assembly, AssembleError> {
    let mut assembly = assemble(&runtime_source(), base)?;
    assembly.symbols.retain(|name, _| supplies(name));
    Ok(assembly)
}
