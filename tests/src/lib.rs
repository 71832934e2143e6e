//! Tests of the whole, and the helpers they share
//!
//! A test of the network builds a [`Topology`]: namespaces joined by pairs of virtual interfaces (or wired ones, see
//! [`ports`]), which are gone when it is dropped. Commands run inside a [`Namespace`]; [`Router`] is `spine-router` running in
//! one; [`packet`] sends and receives single packets; [`iperf`] measures. A test that cannot run here says
//! why with [`need`] and passes.
//!
//! Helpers panic with what went wrong: they are part of tests, and have nobody to return an error to.

pub mod corpus;
pub mod daemon;
pub mod desktop;
pub mod flow;
pub mod held;
pub mod hostile;
pub mod iperf;
pub mod namespace;
pub mod need;
pub mod packet;
pub mod ping;
pub mod ports;
pub mod process;
pub mod program;
pub mod router;
pub mod topology;
pub mod video;

pub use daemon::Daemon;
pub use held::Held;
pub use namespace::Namespace;
pub use process::Running;
pub use router::{Report, Router};
pub use topology::{Link, Topology};
