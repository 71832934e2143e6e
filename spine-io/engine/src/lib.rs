//! The wasmtime configuration that linker and adapter must share.
//!
//! The linker compiles and the adapter runs, with two engines that never meet: machine code made
//! under one configuration is only sound under the same one. This crate is that configuration, and
//! the number by which an image says which one it was made for. It has no compiler: what only the
//! compiler needs (optimisation, NaN canonicalisation) is the linker's, and changes no meaning here.
//!
//! Invariants: [`config`] reads nothing from the environment, so two processes of one build
//! agree; every setting that wasmtime compares when it deserialises is set here by name, so that a
//! cargo feature switched on elsewhere in a build (they unify) cannot change it.
#![forbid(unsafe_code)]

mod compatibility;
mod configuration;
mod cost;

pub use compatibility::compatibility;
pub use configuration::{STACK_BYTES, config, features};
pub use cost::operator_cost;
