//! The host side: the OS runtime (SPINE 3.1).
//!
//! Everything that needs time, memory or trust happens here, before an extension comes near an
//! adapter: [`linker`] checks a WebAssembly module, resolves its imports against the [`domain`]s it
//! was granted, compiles it and signs the image; [`loader`] sends the image to adapters;
//! [`memory`] makes the regions that an application shares with its extension; [`fifo`] is its end of
//! the way its messages take; [`signature`] knows
//! whose code is whose.
//!
//! Where a daemon owns the interfaces, [`policy`] says who may load what, [`daemon`] how one talks with
//! it, and [`client`] is the library that applications do so with.
//!
//! Nothing here runs on the packet's way, and nothing here knows `spine-io`: both meet in `spine-abi`.
//!
//! ```
//! use spine_os::domain::Policy;
//! use spine_os::linker::Linker;
//! use spine_client::signature::SecretKey;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let linker = Linker::new(SecretKey::generate()?, Policy::everything())?;
//! let refused = linker.link(b"not a module").unwrap_err();
//! assert!(refused.to_string().starts_with("not a WebAssembly module"));
//! # Ok(())
//! # }
//! ```

pub mod domain;
pub mod linker;
pub mod loader;
pub mod probe;
