//! Why an extension was not loaded, as whoever asked for it is told.

use spine_abi::HandlerNumber;

use crate::extension::image::ImageError;

/// Why an extension was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The image was refused.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The module does not have what every extension has.
    #[error("the extension has no {0}; link it again with this version")]
    Export(&'static str),
    /// It wants other regions than it is given.
    #[error("extension {name} wants {wanted} regions and is given {given}")]
    Regions {
        /// The extension.
        name: String,
        /// How many its manifest asks for.
        wanted: usize,
        /// How many the application offers.
        given: usize,
    },
    /// A region that could change under us, or of a wrong size.
    #[error("region {index} for extension {name} cannot be used: {why}")]
    Region {
        /// Which region.
        index: usize,
        /// The extension.
        name: String,
        /// What is wrong with it.
        why: String,
    },
    /// Too little memory, or too much wanted.
    #[error("no memory for extension {name}: {why}")]
    Memory {
        /// The extension.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// Its `init` was stopped or trapped.
    #[error("the init of extension {name} failed: {why}")]
    Init {
        /// The extension.
        name: String,
        /// What wasmtime says.
        why: String,
    },
    /// One of its handler numbers is taken on this adapter.
    #[error("handler {number} of extension {name} is taken on adapter {adapter}")]
    HandlerTaken {
        /// The number.
        number: HandlerNumber,
        /// The extension.
        name: String,
        /// The adapter.
        adapter: String,
    },
    /// A domain it was linked against is not there.
    #[error(
        "extension {name} was linked against the domain {domain}, and no extension on adapter {adapter} exports it as it was then: load that one first, or link this one again"
    )]
    Domain {
        /// The extension.
        name: String,
        /// The domain.
        domain: String,
        /// The adapter.
        adapter: String,
    },
    /// Calls would go in a circle, or through too many extensions.
    #[error(
        "extension {name} calls others on adapter {adapter} that call back to it, or more than {limit} of them at one time"
    )]
    Circle {
        /// The extension.
        name: String,
        /// The adapter.
        adapter: String,
        /// How many a call may be in.
        limit: usize,
    },
    /// The domain it exports is another one's already.
    #[error("extension {name} exports the domain {domain}, and on adapter {adapter} {by} does")]
    DomainTaken {
        /// The domain.
        domain: String,
        /// The extension.
        name: String,
        /// Who has it.
        by: String,
        /// The adapter.
        adapter: String,
    },
    /// Others need what it exports, or exported before.
    #[error(
        "{by} on adapter {adapter} is linked against a domain of extension {name}: unload {by} first, or replace {name} by a version that exports the same"
    )]
    Needed {
        /// The extension.
        name: String,
        /// One that is linked against it.
        by: String,
        /// The adapter.
        adapter: String,
    },
    /// There is nothing to replace.
    #[error("adapter {adapter} has no extension {extension} any more")]
    NoExtension {
        /// The place on the adapter.
        extension: u16,
        /// The adapter.
        adapter: String,
    },
    /// Too many hear it.
    #[error("as many applications hear the extension {0} as can")]
    Applications(String),
    /// No room for one more.
    #[error("adapter {0} has as many extensions as it can")]
    Full(String),
    /// The adapter is gone.
    #[error("adapter {0} has stopped")]
    Stopped(String),
}
