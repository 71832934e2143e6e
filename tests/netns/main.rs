//! The whole in network namespaces: programs of ours, run and asked from outside.
//!
//! One program for all of them, and one that holds neither the adapter nor a compiler: what is tested is on
//! the other side of a socket. Each test that uses the network waits for the others ([`spine_tests::need`]), here and in
//! other test programs: what is measured must not share the cores.

mod bad_use;
mod changes;
mod corpus;
mod driver;
mod exceptions;
mod forward;
mod lanai;
mod life_cycle;
mod live;
mod open;
mod packet;
mod policy;
mod rootless;
mod routing;
mod rules;
mod show;
mod spined;
mod spined_claims;
mod spined_client;
mod spined_confined;
mod spined_door;
mod spined_fifo;
mod spined_grants;
mod spined_hostile;
mod spined_kill;
mod spined_linked;
mod spined_peers;
mod spined_replace;
mod spined_router;
mod spined_stuck;
mod video;
