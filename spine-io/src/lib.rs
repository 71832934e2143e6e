//! The adapter side: the I/O runtime (SPINE 3.1).
//!
//! An *adapter* is a network interface with its dispatcher, its buffers and its extensions; it runs
//! on a *processor*, a pinned thread that several may share. All work is events in one loop
//! ([`runtime`]): packets come from a [network interface](spine_nic), the [`dispatcher`] finds the handler, an
//! [`extension`] is entered once for a burst of them, and its verdicts send each on to an
//! [`endpoint`]: a peer adapter, the wire, the host or the kernel.
//!
//! This side holds no compiler and no symbol table: it runs images that the linker (`spine-os`)
//! signed. The two meet in `spine-abi` only.

pub mod dispatcher;
pub mod dma;
pub mod doorbell;
pub mod endpoint;
pub mod extension;
pub mod handle;
mod id;
pub mod lanai;
pub mod machine;
pub mod message;
mod probe;
pub mod processor;
pub mod reference;
pub mod region;
pub mod runtime;
pub mod stats;
pub mod trace;
pub mod watchdog;

pub use endpoint::allowance::Allowance;
pub use endpoint::fifo::FifoError;
pub use extension::{Budget, LoadError, TrustedKey};
pub use handle::AdapterHandle;
pub use id::{ExtensionId, FifoId, User};
pub use machine::{AdapterSetup, Machine, MachineError};
pub use region::RegionSource;
