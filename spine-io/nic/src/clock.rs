//! Time, as an argument: nothing on the adapter reads a clock by itself, but for wires whose packets the
//! kernel stamps by another one.
//!
//! The real clock is [`Monotonic`]; [`Manual`] stands still until it is told otherwise, which makes a
//! simulated run repeat exactly.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use spine_abi::Nanos;

/// Something that tells the time.
pub trait Clock: Send {
    /// The time now; never less than before.
    fn now(&self) -> Nanos;
}

/// CLOCK_MONOTONIC, since the first of them was made: all show the same time, by which wires say when
/// packets arrived.
#[derive(Debug, Clone, Copy)]
pub struct Monotonic {
    origin: u64,
}

impl Default for Monotonic {
    fn default() -> Self {
        static ORIGIN: LazyLock<u64> = LazyLock::new(|| kernel_time(ClockId::CLOCK_MONOTONIC));
        Self { origin: *ORIGIN }
    }
}

impl Monotonic {
    /// The time of a stamp that the kernel made by CLOCK_MONOTONIC, in nanoseconds.
    pub(crate) fn at(self, stamp: u64) -> Nanos {
        Nanos(stamp.saturating_sub(self.origin))
    }
}

impl Clock for Monotonic {
    #[inline]
    fn now(&self) -> Nanos {
        self.at(kernel_time(ClockId::CLOCK_MONOTONIC))
    }
}

/// CLOCK_THREAD_CPUTIME_ID: the processor's time that the calling thread had. It stands still while the machine
/// runs something else, and each look at it is a system call.
#[derive(Debug, Clone, Copy, Default)]
pub struct ThreadTime;

impl Clock for ThreadTime {
    fn now(&self) -> Nanos {
        Nanos(kernel_time(ClockId::CLOCK_THREAD_CPUTIME_ID))
    }
}

/// Nanoseconds by a clock of the kernel's.
#[inline]
pub(crate) fn kernel_time(clock: ClockId) -> u64 {
    // Every kernel has the clocks that are asked for here.
    let nanos = |time| u64::try_from(Duration::from(time).as_nanos()).unwrap_or(u64::MAX);
    clock_gettime(clock).map_or(0, nanos)
}

/// A clock that is set by hand; clones show the same time.
#[derive(Debug, Clone, Default)]
pub struct Manual(Arc<AtomicU64>);

impl Manual {
    /// Lets time pass.
    pub fn advance(&self, nanos: u64) {
        self.0.fetch_add(nanos, Ordering::Relaxed);
    }
}

impl Clock for Manual {
    fn now(&self) -> Nanos {
        Nanos(self.0.load(Ordering::Relaxed))
    }
}
