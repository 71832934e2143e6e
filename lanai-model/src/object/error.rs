//! What can be wrong with an object file or with a set of them.

use thiserror::Error;

/// Why objects cannot be linked. Each message says which file, what is wrong and, where it helps, what to do.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinkError {
    /// Not an ELF file of 32 bits in big-endian order, or a damaged one.
    #[error("{file} is no readable 32-bit big-endian ELF file: {reason}")]
    NotElf {
        /// As its name was given.
        file: String,
        /// From the reader.
        reason: String,
    },
    /// ELF, but for another processor, or linked already.
    #[error(
        "{file} is no relocatable object for the Lanai (ELF machine {machine}, type {kind}); \
         compile it with `clang --target=lanai -c`"
    )]
    NotLanai {
        /// As its name was given.
        file: String,
        /// `e_machine`.
        machine: u16,
        /// `e_type`.
        kind: u16,
    },
    /// A field of the file contradicts the rest of it.
    #[error("{file}: section {section}: {reason}")]
    Section {
        /// As its name was given.
        file: String,
        /// Its name, or its number.
        section: String,
        /// What is wrong.
        reason: String,
    },
    /// A place that cannot hold what its relocation asks for.
    #[error("{file}: section {section} + {offset:#x}, which refers to {symbol}: {reason}")]
    Relocation {
        /// As its name was given.
        file: String,
        /// The section's name.
        section: String,
        /// The place in the section.
        offset: u64,
        /// What it refers to.
        symbol: String,
        /// What is wrong.
        reason: String,
    },
    /// A name with two definitions.
    #[error("{symbol} is defined in {first} and in {second}")]
    Twice {
        /// The name.
        symbol: String,
        /// One file.
        first: String,
        /// The other.
        second: String,
    },
    /// A name without a definition, in the objects or among the routines supplied.
    #[error(
        "{symbol}, which {file} refers to, is defined nowhere; give the object that defines it"
    )]
    Undefined {
        /// The name.
        symbol: String,
        /// Who refers to it.
        file: String,
    },
    /// More than the processor can branch to.
    #[error("the image would end at {end:#x}, beyond the 32 MB that branches reach")]
    TooLarge {
        /// The address after its last byte.
        end: u64,
    },
    /// The address that the image is to be linked for.
    #[error("an image cannot be linked at {base:#x}: the address must be a multiple of 16")]
    Base {
        /// The address.
        base: u32,
    },
}
