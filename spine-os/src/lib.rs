//! The host side: the OS runtime (SPINE 3.1).
//!
//! Everything that needs time, memory or trust happens here, before an extension comes near an
//! adapter: [`linker`] checks a WebAssembly module, resolves its imports against the [`domain`]s it
//! was granted, compiles it and signs the image; [`probe`] makes the extension by which an adapter
//! finds out what a budget of fuel takes in the worst case.
//!
//! Why are keys, shared memory and the daemon's protocol not here? Applications need them and no
//! compiler: they are in `spine-client`, which this crate uses for the keys. Who may load what on a
//! daemon is `spine-policy`.
//!
//! Left out: loading. Whoever has both a linker and an adapter hands the image over, with
//! `spine_io::AdapterHandle`; the daemon does it in `tools/spined/src/job.rs`. Nothing here
//! runs on the packet's way, and nothing here knows `spine-io`: both meet in `spine-abi`.
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
pub mod probe;
