//! Netlink: asking the kernel, and being told.
//!
//! [`socket`] is a socket of one protocol, [`wire`] the framing below it. What the messages say is the
//! business of whoever sends them: links and rules for packets here ([`open`](crate::open)), the whole
//! forwarding state in the router.

pub mod socket;
pub mod wire;
