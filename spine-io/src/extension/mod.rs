//! Extensions: verified images, their instances, and what becomes of each message they are given.
//!
//! The way of an extension into the adapter (SPINE 3.3.3): [`image`] checks the linker's signature
//! and only then believes the bytes; [`instance`] makes the module, its slots and its regions;
//! `imports` are the calls it may make of the runtime, `link` those of other extensions; `paging` sees memory
//! being taken away; `ended` takes apart those that are over. What is left out: compiling, resolving and
//! symbols, which stay on the host (`spine-os`).

pub(crate) mod ended;
pub mod image;
mod imports;
pub mod instance;
mod judge;
mod link;
pub mod owner;
mod paging;
mod state;
mod sys;
mod timer;

pub use image::{ImageError, TrustedKey};
pub use instance::{Budget, Instance, LoadError, Loaded};
pub use owner::Owner;
