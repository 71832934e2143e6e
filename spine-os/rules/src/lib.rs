//! What the kernel's rules keep from whoever carries packets past it.
//!
//! The kernel alone is the oracle: a program that takes packets before the kernel sees them may take only those that
//! the kernel would have let through unchanged. This crate says which those are *not*: for packets of a family that come
//! in on one interface and leave by another (or are for a port of this machine), the sets that some rule can treat
//! in any other way than to accept them as they are. What is not understood widens to everything that its hook sees.
//!
//! The carrier keeps its part: it takes no packet for an address of this machine, none with IPv6 extension headers
//! other than a fragment's, and none that was not sent to its interface's own link-layer address.
//!
//! Left out: routes and policy rules (the router's table has them), and what to do about it (whoever asks). Connections
//! whose answers come in on another interface than the one that their packets leave by.

mod answers;
mod ipsec;
mod ipset;
mod legacy;
mod link;
mod model;
mod nftables;
mod packets;
mod policy_rules;
mod programs;
mod region;
mod report;
mod rules;
mod traffic_control;
mod walk;
mod watch;
mod xtables;

pub use link::Link;
pub use packets::{Addresses, Family, Kept, Packets, Pieces, Ports, Protocols};
pub use rules::{Purpose, Rules, RulesError};
pub use watch::Watch;
