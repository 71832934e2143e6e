//! The daemon's control socket: how an application talks with `spined` (SPINE 3.1, 3.3.3).
//!
//! `spined` owns the interfaces of a machine and their adapters, and lets several applications load
//! extensions on them. They reach it through a Unix socket of packets ([`socket`]), in a small
//! language of requests and answers ([`protocol`]); [`Client`](crate::Client) speaks it.
//!
//! Who somebody is, the kernel says (`SO_PEERCRED`); what he may do, the policy (`spine-policy`).
//! All else that comes over the socket is an allegation: sizes, names, numbers, and every file
//! descriptor.
//!
//! The daemon itself, which knows both sides of the bus, is `tools/spined`.

pub mod file;
pub mod protocol;
pub mod socket;

use std::path::PathBuf;

/// Where the daemon listens unless told otherwise.
pub const SOCKET: &str = "/run/spine/spined.sock";
/// The environment variable that tells clients otherwise.
pub const SOCKET_VARIABLE: &str = "SPINE_SOCKET";

/// Where this process looks for the daemon.
pub fn socket_path() -> PathBuf {
    std::env::var_os(SOCKET_VARIABLE).map_or_else(|| SOCKET.into(), PathBuf::from)
}
