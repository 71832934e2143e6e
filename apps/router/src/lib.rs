//! The host half of the router.
//!
//! The kernel keeps the routing table; this half mirrors it ([`netlink`]), works out what each prefix
//! means for the adapters ([`rib`]), writes it into the table they read ([`table`]), tells the
//! classifier which packets are ours ([`claims`]), and stands aside where the kernel has rules that
//! the adapters cannot honour ([`policy`]). Everything runs in one thread and sleeps in one poll.

// What is said goes by `spine_client::voice`, which nobody's absence ends.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod adapters;
pub mod buckets;
pub mod claims;
pub mod cli;
pub mod control;
pub mod dataplane;
pub mod extension;
pub mod fib;
pub mod freshness;
pub mod guest;
pub mod interfaces;
pub mod netlink;
pub mod operation;
pub mod ownership;
pub mod path;
pub mod policy;
pub mod privileges;
pub mod region;
pub mod report;
pub mod rib;
pub mod router;
mod routing;
mod sensors;
pub mod slots;
pub mod spined;
pub mod start;
pub mod table;
mod trie;

#[cfg(test)]
mod testing;
