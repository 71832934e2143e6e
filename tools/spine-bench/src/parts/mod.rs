//! What the parts of the adapter take on this machine: medians, for `SPECIFICATION.md`.
//!
//! Everything runs in this process, on wires in memory; what needs a network is measured by `spine-tests`.

pub(crate) mod call;
pub(crate) mod dispatcher;
pub(crate) mod fib;
pub(crate) mod fifo;
pub(crate) mod hosts;
pub(crate) mod strangers;
pub(crate) mod watchdog;
