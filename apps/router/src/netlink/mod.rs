//! The kernel's forwarding state, mirrored over netlink.
//!
//! Reading order: [`objects`] and [`state`] (the data), [`decode`] (a message to a change), [`mirror`] (snapshot,
//! subscription, resynchronisation); sockets and framing below them are [`spine_nic::netlink`].
//!
//! Why sockets of our own and not `rtnetlink`'s connection? One socket must carry links, routes,
//! neighbours, nexthop objects and settings, since a route only makes sense after the nexthop object
//! it names, and netlink keeps order within a socket only. Neither `rtnetlink` nor
//! `netlink-packet-route` 0.34 know nexthop and netconf messages, and a connection there drops what
//! it cannot decode. So the messages are read here, one by one, in one thread and without a runtime;
//! routes and neighbours are decoded by `netlink-packet-route`, the few attributes of
//! everything else by hand.

pub mod decode;
pub mod mirror;
pub mod netconf;
pub mod nexthop;
pub mod objects;
pub mod rules;
pub mod state;

pub use mirror::Mirror;
pub use state::{Change, Dirty, KernelState};
